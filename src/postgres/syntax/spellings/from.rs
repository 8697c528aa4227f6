//! Functions in FROM.
//!
//! Sets of rows are arrays that are taken apart; any other function is a subquery of one row. Both may
//! read what stands before them. A series of constant numbers stays a relation that is computed batch by
//! batch.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, Ident, Join, JoinConstraint, JoinOperator,
    ObjectName, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, UnaryOperator, Value,
};

use super::arrays::set_as_array;
use super::functions::{check_json, is_function, json_set};
use super::json_rows::{
    NamedColumns, alias_of_columns, arrays_of_json, as_json, column, columns_of_json, json_record,
    records,
};
use super::pieces::{cast, number, plain, plain_name};
use crate::error::{Error, Result, SqlState};
use crate::postgres::functions::is_scalar;
use crate::sql::{function_call as call, select_all, visit_expressions};

/// What a function in FROM is here, if it is another relation.
///
/// The columns of JSON's functions have names of their own, but for the elements of an array AS e: who asks
/// for e gets it by that.
///
/// # Errors
/// 42P10 for more names than it has columns, 0A000 for functions that are not built.
pub(super) fn table(factor: &TableFactor, named: &NamedColumns) -> Result<Option<TableFactor>> {
    if let TableFactor::Function { name, .. } | TableFactor::Table { name, args: Some(_), .. } =
        factor
        && let Some(name) = plain_name(name)
        && json_record(&name).is_none()
    {
        check_json(&name)?;
    }
    let (name, arguments, alias, with_ordinality) = match factor {
        TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
            ("unnest".to_owned(), array_exprs.clone(), alias, *with_ordinality)
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } => {
            let Some(called) = called(name, args) else { return Ok(None) };
            (called.0, called.1, alias, *with_ordinality)
        }
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => {
            let Some(called) = called(name, &args.args) else { return Ok(None) };
            (called.0, called.1, alias, *with_ordinality)
        }
        _ => return Ok(None),
    };
    if let Some(records) = records(&name, &arguments, alias.as_ref())? {
        return Ok(Some(records));
    }
    let columns =
        |count, column: Option<&str>| with_names(alias, count, with_ordinality, &name, column);
    if let Some(arrays) = arrays_of_json(&name, &arguments) {
        let own = alias.clone().unwrap_or_else(|| alias_named(&name));
        let own = Some(alias_of_columns(&own, columns_of_json(&name, &own.name)));
        let own = with_names(&own, arrays.len(), with_ordinality, &name, None)?;
        return Ok(Some(as_json(&name, unnested(own, arrays, with_ordinality), named)));
    }
    if name == "unnest" {
        let alias = columns(arguments.len(), None)?;
        return Ok(Some(unnested(alias, arguments, with_ordinality)));
    }
    if name == "generate_series" && !with_ordinality {
        let alias = columns(1, named.value.then_some("value"))?;
        if let Some(numbers) = numbers(&arguments, &alias) {
            return Ok(Some(numbers));
        }
        return Ok(Some(unnested(alias, vec![call(&name, arguments)], false)));
    }
    if let Some(array) = set_as_array(&name) {
        let alias = columns(1, None)?;
        return Ok(Some(unnested(alias, vec![call(array, arguments)], with_ordinality)));
    }
    if name == "range" || !(is_function(&name) || is_scalar(&name)) {
        return Ok(None);
    }
    let alias = columns(1, None)?;
    Ok(Some(one_row(alias, call(&name, arguments), with_ordinality)))
}

fn called(name: &ObjectName, arguments: &[FunctionArg]) -> Option<(String, Vec<Expr>)> {
    let name = plain_name(name)?;
    let is_known = name == "unnest"
        || set_as_array(&name).is_some()
        || json_set(&name).is_some()
        || json_record(&name).is_some()
        || is_function(&name)
        || is_scalar(&name);
    is_known.then(|| plain(arguments)).flatten().map(|arguments| (name, arguments))
}

/// The alias with a name for every column: one alone is called as the relation or as `one` says, of
/// several each as the function, `own`.
fn with_names(
    alias: &Option<TableAlias>,
    count: usize,
    with_ordinality: bool,
    own: &str,
    one: Option<&str>,
) -> Result<TableAlias> {
    let mut alias = alias.clone().unwrap_or_else(|| alias_named(own));
    let all = count + usize::from(with_ordinality);
    if alias.columns.len() > all {
        let what = format!(
            "table \"{}\" has {all} columns available but {} columns specified",
            alias.name.value,
            alias.columns.len()
        );
        return Err(Error::new(SqlState::InvalidColumnReference, what));
    }
    while alias.columns.len() < count {
        let name = match (count, one) {
            (1, Some(one)) => Ident::new(one),
            (1, None) => alias.name.clone(),
            // Two of one name are told apart by what `shown_name` takes away.
            (_, _) if alias.columns.iter().any(|known| known.name.value == own) => {
                Ident::with_quote('"', format!("{own}\u{1}{}", alias.columns.len()))
            }
            _ => Ident::new(own),
        };
        alias.columns.push(column(name));
    }
    if alias.columns.len() < all {
        alias.columns.push(column(Ident::new("ordinality")));
    }
    Ok(alias)
}

/// Arrays that are taken apart beside each other; the numbers of the rows are one more, as long as the
/// longest.
fn unnested(alias: TableAlias, mut arrays: Vec<Expr>, with_ordinality: bool) -> TableFactor {
    if with_ordinality {
        let zero = || number("0");
        let lengths = arrays
            .iter()
            .map(|array| call("coalesce", vec![call("cardinality", vec![array.clone()]), zero()]));
        let length = call("greatest", lengths.chain([zero()]).collect());
        let first = cast(number("1"), DataType::BigInt(None));
        let numbers = vec![first, cast(length, DataType::BigInt(None))];
        arrays.push(call("generate_series", numbers));
    }
    TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs: arrays,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    }
}

/// A subquery without FROM.
fn one_row(alias: TableAlias, value: Expr, with_ordinality: bool) -> TableFactor {
    let mut values = vec![value];
    if with_ordinality {
        values.push(cast(number("1"), DataType::BigInt(None)));
    }
    derived(alias, values, None)
}

/// The relation of these values over a relation, called as the alias says.
fn derived(alias: TableAlias, values: Vec<Expr>, from: Option<TableFactor>) -> TableFactor {
    let items = values
        .into_iter()
        .zip(&alias.columns)
        .map(|(expr, column)| SelectItem::ExprWithAlias { expr, alias: column.name.clone() });
    let items: Vec<SelectItem> = items.collect();
    let lateral = from.is_none();
    let mut subquery = select_all(from.unwrap_or_else(|| range(Vec::new())));
    if let SetExpr::Select(select) = subquery.body.as_mut() {
        select.projection = items;
        select.from.truncate(usize::from(!lateral));
    }
    TableFactor::Derived { lateral, subquery: Box::new(subquery), alias: Some(alias), sample: None }
}

/// `generate_series` of constant numbers: `range`, whose end is behind its last number.
fn numbers(arguments: &[Expr], alias: &TableAlias) -> Option<TableFactor> {
    let values = arguments.iter().map(constant).collect::<Option<Vec<i64>>>()?;
    let (first, last, step) = match values[..] {
        [first, last] => (first, last, 1),
        [first, last, step] if step != 0 => (first, last, step),
        _ => return None,
    };
    let end = last.checked_add(step.signum())?;
    let number = |value: i64| {
        let digits = number(&value.unsigned_abs().to_string());
        if value < 0 {
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(digits) }
        } else {
            digits
        }
    };
    let is_int = values.iter().all(|value| i32::try_from(*value).is_ok());
    let data_type = if is_int { DataType::Int(None) } else { DataType::BigInt(None) };
    let range = range([first, end, step].map(number).to_vec());
    let value = cast(Expr::Identifier(Ident::new("value")), data_type);
    Some(derived(alias.clone(), vec![value], Some(range)))
}

/// DataFusion's relation of numbers.
fn range(arguments: Vec<Expr>) -> TableFactor {
    let argument = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    TableFactor::Function {
        lateral: false,
        name: ObjectName::from(vec![Ident::new("range")]),
        args: arguments.into_iter().map(argument).collect(),
        with_ordinality: false,
        alias: None,
    }
}

/// A whole number as it is written.
fn constant(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Nested(inner) => constant(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => constant(expr)?.checked_neg(),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// `FROM a, b CROSS JOIN f(a.x)` is `FROM a CROSS JOIN b CROSS JOIN f(a.x)`: what may read all that stands
/// before it is joined to all of that.
pub(super) fn fold_lateral(from: &mut Vec<TableWithJoins>) {
    for at in (1..from.len()).rev() {
        if !reads_before(&from[at]) {
            continue;
        }
        let item = from.remove(at);
        let before = &mut from[at - 1].joins;
        before.push(Join {
            relation: item.relation,
            global: false,
            join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
        });
        before.extend(item.joins);
    }
}

/// The first function of a FROM is a subquery like any, which may read the query around it; beside
/// others it reads those.
pub(super) fn first_as_subquery(from: &mut [TableWithJoins], named: &NamedColumns) -> Result<()> {
    let Some(first) = from.first_mut().map(|item| &mut item.relation) else { return Ok(()) };
    if let Some(new) = table(first, named)? {
        *first = new;
    }
    let has_names = |expr: &Expr| {
        visit_expressions(expr, |part| match part {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
        .is_break()
    };
    match first {
        TableFactor::UNNEST { alias: Some(alias), array_exprs, .. }
            if array_exprs.iter().any(has_names) =>
        {
            let elements = array_exprs.iter().map(|array| call("unnest", vec![array.clone()]));
            let mut subquery = derived(alias.clone(), elements.collect(), None);
            if let TableFactor::Derived { lateral, .. } = &mut subquery {
                *lateral = false;
            }
            *first = subquery;
        }
        TableFactor::Derived { lateral, .. } => *lateral = false,
        _ => {}
    }
    Ok(())
}

/// Whether a join in it may read what stands before the whole, and may as well be joined to that.
fn reads_before(item: &TableWithJoins) -> bool {
    let is_lateral = |join: &Join| {
        matches!(
            &join.relation,
            TableFactor::UNNEST { .. }
                | TableFactor::Function { .. }
                | TableFactor::Table { args: Some(_), .. }
                | TableFactor::Derived { lateral: true, .. }
        )
    };
    let is_plain = |join: &Join| match &join.join_operator {
        JoinOperator::CrossJoin(_) => true,
        JoinOperator::Join(on)
        | JoinOperator::Inner(on)
        | JoinOperator::Left(on)
        | JoinOperator::LeftOuter(on) => matches!(on, JoinConstraint::On(_) | JoinConstraint::None),
        _ => false,
    };
    item.joins.iter().any(is_lateral) && item.joins.iter().all(is_plain)
}

fn alias_named(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: Ident::new(name), columns: Vec::new(), at: None }
}
