//! Functions in FROM.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, FunctionArg, Ident, ObjectName, SetExpr, TableAlias, TableAliasColumnDef,
    TableFactor, Value, Visitor,
};

use super::functions::{check_json, json_set};
use super::is_interval;
use super::pieces::{cast, plain, plain_name};
use crate::error::Result;
use crate::sql::{function_call as call, visit};

/// The columns that a query names.
#[derive(Debug, Default)]
pub(crate) struct NamedColumns {
    /// By their names alone.
    plain: HashSet<String>,
    /// Whether there is one called `value`, of any relation.
    value: bool,
}

impl Visitor for NamedColumns {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let name = match expr {
            Expr::Identifier(name) => {
                self.plain.insert(name.value.to_lowercase());
                Some(name)
            }
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        self.value |= name.is_some_and(|name| name.value.eq_ignore_ascii_case("value"));
        ControlFlow::Continue(())
    }
}

/// The function whose elements are the rows of one that gives rows.
pub(crate) fn array_of_rows(name: &str) -> Option<&'static str> {
    Some(match name {
        "generate_series" => "generate_series",
        "string_to_table" => "string_to_array",
        "regexp_split_to_table" => "regexp_split_to_array",
        _ => return None,
    })
}

/// Functions in FROM: `LATERAL unnest(…)` is UNNEST, and the column of `generate_series(…) AS g` is
/// g. Who asks for it by DataFusion's name, `value`, gets it by that. The columns of JSON's functions have
/// names of their own, but for the elements of an array AS e: who asks for e gets it by that.
///
/// # Errors
/// 0A000 for functions that are not built.
pub(crate) fn table(factor: &mut TableFactor, named: &NamedColumns) -> Result<Option<TableFactor>> {
    if let TableFactor::Function { name, .. } | TableFactor::Table { name, args: Some(_), .. } =
        &*factor
        && let Some(name) = plain_name(name)
    {
        check_json(&name)?;
    }
    Ok(with_ordinality(factor, named).or_else(|| set_of_rows(factor, named)))
}

fn set_of_rows(factor: &mut TableFactor, named: &NamedColumns) -> Option<TableFactor> {
    let unnest = |alias: &Option<TableAlias>, array_exprs| TableFactor::UNNEST {
        alias: alias.clone(),
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    };
    let (name, arguments, alias) = match factor {
        TableFactor::Function { name, args, alias, with_ordinality: false, .. } => {
            (&*name, &*args, alias)
        }
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: false, .. } => {
            (&*name, &args.args, alias)
        }
        _ => return None,
    };
    let function = plain_name(name)?;
    if let Some(arrays) = arrays_of_json(&function, arguments) {
        let alias = alias.get_or_insert_with(|| alias_named(&function)).clone();
        let names = columns_of_json(&function, &alias.name);
        return Some(as_json(
            &function,
            unnest(&Some(alias_of_columns(&alias, names)), arrays),
            named,
        ));
    }
    let arguments = plain(arguments)?;
    match function.as_str() {
        "unnest" => {
            // Its one column is called as it is there.
            if let (Some(alias), [_]) = (alias.as_mut(), arguments.as_slice())
                && alias.columns.is_empty()
            {
                alias.columns.push(column(alias.name.clone()));
            }
            Some(unnest(alias, arguments))
        }
        name @ ("generate_series" | "string_to_table" | "regexp_split_to_table") => {
            let alias = alias.get_or_insert_with(|| alias_named(name));
            let is_series = name == "generate_series";
            if alias.columns.is_empty() && !(is_series && named.value) {
                alias.columns.push(column(alias.name.clone()));
            }
            // A series of times is an array.
            let alias = Some(alias.clone());
            let is_array = !is_series || arguments.last().is_some_and(is_interval);
            let array = array_of_rows(name).filter(|_| is_array)?;
            Some(unnest(&alias, vec![call(array, arguments)]))
        }
        _ => None,
    }
}

fn alias_named(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: Ident::new(name), columns: Vec::new(), at: None }
}

fn column(name: Ident) -> TableAliasColumnDef {
    TableAliasColumnDef { name, data_type: None }
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// The columns of what a function of JSON gives, as arrays.
fn arrays_of_json(function: &str, arguments: &[FunctionArg]) -> Option<Vec<Expr>> {
    let (family, set) = json_set(function)?;
    let arrays: &[&str] = match set {
        "array_elements" => &["elements"],
        "array_elements_text" => &["elements_text"],
        "object_keys" => &["keys"],
        "each" => &["member_keys", "member_values"],
        _ => &["member_names", "member_texts"],
    };
    let arguments = plain(arguments)?;
    Some(arrays.iter().map(|of| call(&format!("{family}_{of}"), arguments.clone())).collect())
}

fn columns_of_json(function: &str, alias: &Ident) -> Vec<TableAliasColumnDef> {
    let names: &[&str] = match json_set(function) {
        Some((_, "each" | "each_text")) => &["key", "value"],
        Some((_, "array_elements" | "array_elements_text")) => &["value"],
        _ => return vec![column(alias.clone())],
    };
    names.iter().map(|name| column(Ident::new(*name))).collect()
}

/// The alias with the names of columns that it does not give.
fn alias_of_columns(alias: &TableAlias, names: Vec<TableAliasColumnDef>) -> TableAlias {
    let mut alias = alias.clone();
    let given = alias.columns.len();
    alias.columns.extend(names.into_iter().skip(given));
    alias
}

/// `(SELECT jsonb_as_is(value) AS value FROM UNNEST(…) AS e (value)) AS e`: UNNEST forgets that elements
/// are JSON. Who asks for the element of an array AS e by that name gets it by that, too.
fn as_json(function: &str, rows: TableFactor, named: &NamedColumns) -> TableFactor {
    let TableFactor::UNNEST { alias: Some(alias), array_exprs, .. } = &rows else { return rows };
    let Some((family, set)) = json_set(function) else { return rows };
    let is_named = set.starts_with("array_elements") && named.plain.contains(&folded(&alias.name));
    if !is_named && !matches!(set, "array_elements" | "each") {
        return rows;
    }
    let last = usize::from(set == "each");
    let mut items = Vec::new();
    for (at, column) in alias.columns.iter().enumerate() {
        let name = &column.name;
        let value = if at == last && !set.ends_with("text") {
            format!("{family}_as_is({name})")
        } else {
            name.to_string()
        };
        let is_element = at == 0 && is_named && folded(name) == "value";
        if !is_element || named.value {
            items.push(format!("{value} AS {name}"));
        }
        if is_element {
            items.push(format!("{value} AS {}", alias.name));
        }
    }
    let reads_columns = array_exprs.iter().any(|array| visit(array, &mut ReadsColumns).is_break());
    let Ok(mut parsed) = crate::sql::parse_query(&format!("SELECT {} FROM x", items.join(", ")))
    else {
        return rows;
    };
    let outer = TableAlias { columns: Vec::new(), ..alias.clone() };
    if let SetExpr::Select(select) = parsed.query.body.as_mut()
        && let Some(from) = select.from.first_mut()
    {
        from.relation = rows;
    }
    TableFactor::Derived {
        lateral: reads_columns,
        subquery: parsed.query,
        alias: Some(outer),
        sample: None,
    }
}

/// Looks for a column.
struct ReadsColumns;

impl Visitor for ReadsColumns {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// `unnest(a, b) WITH ORDINALITY AS t (x, y, n)` is `unnest(a, b, numbers) AS t (x, y, n)`, where the
/// numbers are as many as the longest array has elements.
fn with_ordinality(factor: &mut TableFactor, named: &NamedColumns) -> Option<TableFactor> {
    let (arrays, alias, function) = match factor {
        TableFactor::UNNEST { alias, array_exprs, with_ordinality: true, .. } => {
            (array_exprs.clone(), alias, None)
        }
        TableFactor::Function { name, args, alias, with_ordinality: true, .. } => {
            (arrays(name, args)?, alias, plain_name(name))
        }
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: true, .. } => {
            (arrays(name, &args.args)?, alias, plain_name(name))
        }
        _ => return None,
    };
    let function = function.filter(|name| json_set(name).is_some());
    let zero = || number("0");
    let lengths = arrays
        .iter()
        .map(|array| call("coalesce", vec![call("cardinality", vec![array.clone()]), zero()]));
    let length = cast(call("greatest", lengths.chain([zero()]).collect()), DataType::BigInt(None));
    let numbers = call("generate_series", vec![number("1"), length]);
    let mut alias =
        alias.clone().unwrap_or_else(|| alias_named(function.as_deref().unwrap_or("unnest")));
    if let Some(function) = &function {
        alias = alias_of_columns(&alias, columns_of_json(function, &alias.name));
    }
    // One that has no name of its own is called as it is there.
    while alias.columns.len() < arrays.len() {
        alias.columns.push(column(alias.name.clone()));
    }
    if alias.columns.len() == arrays.len() {
        alias.columns.push(column(Ident::new("ordinality")));
    }
    let rows = TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs: arrays.into_iter().chain([numbers]).collect(),
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    };
    Some(match function {
        Some(function) => as_json(&function, rows, named),
        None => rows,
    })
}

/// The arrays whose elements a function in FROM gives.
fn arrays(name: &ObjectName, arguments: &[FunctionArg]) -> Option<Vec<Expr>> {
    let function = plain_name(name)?;
    if let Some(arrays) = arrays_of_json(&function, arguments) {
        return Some(arrays);
    }
    let arguments = plain(arguments)?;
    match function.as_str() {
        "unnest" => Some(arguments),
        "generate_series" => Some(vec![call("generate_series", arguments)]),
        _ => None,
    }
}

fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.into(), false).into())
}
