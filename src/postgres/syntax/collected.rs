//! `ARRAY(query)`: the rows of a query, collected in its order.
//!
//! | written | planned |
//! |---|---|
//! | `ARRAY(SELECT e FROM t ORDER BY o)` | `(SELECT array_agg(e ORDER BY o) FROM t)`, or `{}` |
//! | `ARRAY(q ORDER BY o)` | `(SELECT array_agg(e ORDER BY o) FROM (q) AS r(e, o))`, or `{}` |

use datafusion::sql::sqlparser::ast::{
    DataType, Distinct, Expr, Function, FunctionArgumentClause, FunctionArguments, Ident,
    OrderByExpr, OrderByKind, Query, SelectItem, SetExpr, Value,
};

use super::spellings::{array_subquery, case_when, cast};
use super::wrapped::{is_plain, named, over};
use crate::sql::{function_call as call, ident_name};

/// `ARRAY(query)`.
pub(super) fn array(function: &Function) -> Option<Expr> {
    let query = array_subquery(function)?;
    let collected = collected(query).or_else(|| ordered(query));
    Some(Expr::Subquery(collected.unwrap_or_else(|| {
        // The rows are numbered as they come, since nothing else says in which order they are
        // collected.
        let text = "SELECT CASE WHEN count(*) > 0 THEN array_agg(__value ORDER BY __row) ELSE '{}' END AS \"array\" \
                    FROM (SELECT __value, row_number() OVER () AS __row FROM (SELECT 1) AS __rows(__value)) AS __array";
        over(query, text)
    })))
}

/// The elements of a plain query, collected where they are: its columns of the query around it stay
/// within sight.
fn collected(written: &Query) -> Option<Box<Query>> {
    let mut query = Box::new(written.clone());
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return None;
    }
    let order = match query.order_by.take() {
        None => Vec::new(),
        Some(order_by) => match order_by.kind {
            OrderByKind::Expressions(order) => order,
            OrderByKind::All(_) => return None,
        },
    };
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    if !is_plain(select) || select.distinct.is_some() {
        return None;
    }
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    let order: Vec<OrderByExpr> = order
        .into_iter()
        .map(|mut by| {
            if is_element(&by.expr, written) {
                by.expr = item.clone();
            }
            by
        })
        .collect();
    let is_null = matches!(item, Expr::Value(value) if value.value == Value::Null);
    let item = if is_null { cast(item.clone(), DataType::Text) } else { item.clone() };
    let mut all = call("array_agg", vec![item]);
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut all
        && !order.is_empty()
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    // The text becomes an array of what the other one is of.
    let empty = Expr::value(Value::SingleQuotedString("{}".to_owned()));
    let is_some = Expr::IsNotNull(Box::new(all.clone()));
    select.projection = vec![named(case_when(is_some, all, empty), "array")];
    Some(query)
}

/// The elements of any query in the order that it gives them: what it orders by stands beside each,
/// where it is not the element itself.
fn ordered(query: &Query) -> Option<Box<Query>> {
    let OrderByKind::Expressions(order) = &query.order_by.as_ref()?.kind else { return None };
    let mut rows = query.clone();
    let distinct = match query.body.as_ref() {
        SetExpr::Select(select) => select.distinct.as_ref(),
        _ => None,
    };
    // Which rows there are may depend on it as well.
    let picks = rows.limit_clause.is_some() || matches!(distinct, Some(Distinct::On(_)));
    if !picks && rows.fetch.is_none() {
        rows.order_by = None;
    }
    let (mut columns, mut keys) = (vec!["__value".to_owned()], Vec::new());
    for by in order {
        let mut name = columns[0].clone();
        match rows.body.as_mut() {
            SetExpr::Select(select)
                if !matches!(distinct, Some(Distinct::Distinct))
                    && !is_element(&by.expr, query) =>
            {
                name = format!("__key_{}", columns.len());
                select.projection.push(named(by.expr.clone(), &name));
                columns.push(name.clone());
            }
            _ => {}
        }
        keys.push(OrderByExpr { expr: Expr::Identifier(Ident::new(name)), ..by.clone() });
    }
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let text = format!(
        "SELECT CASE WHEN count(*) > 0 THEN array_agg(__value ORDER BY {}) ELSE '{{}}' END AS \"array\" \
         FROM (SELECT 1) AS __rows({})",
        keys.join(", "),
        columns.join(", ")
    );
    Some(over(&rows, &text))
}

/// Whether an ORDER BY names the only column of a query, by its number or name.
fn is_element(by: &Expr, query: &Query) -> bool {
    let item = match query.body.as_ref() {
        SetExpr::Select(select) => select.projection.first(),
        _ => None,
    };
    match (by, item) {
        (Expr::Value(value), _) => matches!(value.value, Value::Number(..)),
        (Expr::Identifier(name), Some(SelectItem::ExprWithAlias { alias, .. })) => {
            ident_name(name) == ident_name(alias)
        }
        _ => false,
    }
}
