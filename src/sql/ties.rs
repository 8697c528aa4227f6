//! `ORDER BY … FETCH FIRST n ROWS WITH TIES`: the rows whose rank is n or less.
//!
//! ```text
//! SELECT a FROM t ORDER BY b FETCH FIRST 2 ROWS WITH TIES
//! ─▶ SELECT * EXCLUDE (__rank, __place) FROM
//!      (SELECT a, rank() OVER (ORDER BY b) AS __rank, row_number() OVER (ORDER BY b) AS __place FROM t)
//!    WHERE __rank <= 2 ORDER BY __place
//! ```
//! What is ordered by after DISTINCT or window functions is a column of a query below. With OFFSET m the first m rows go, and the rank is up to m + n.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Function, LimitClause, OrderBy, OrderByExpr, OrderByKind,
    OrderByOptions, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, Value, WindowSpec,
    WindowType,
};

use super::tree::{all_but, binary, column, function_call, quoted};
use super::visit::visit_expressions;
use super::windows::select_all;
use crate::error::{Error, Result, SqlState};

const RANK: &str = "__rank";
const ROW: &str = "__place";

/// The query, whose FETCH has been taken out, with so many rows and those that are tied.
pub(super) fn rewrite(query: &mut Query, quantity: Expr) -> Result<()> {
    let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = query.order_by.take() else {
        let what = "WITH TIES cannot be specified without ORDER BY clause";
        return Err(Error::new(SqlState::Syntax, what));
    };
    let offset = match query.limit_clause.take() {
        None => None,
        Some(LimitClause::LimitOffset { limit: None, offset, .. }) => offset.map(|o| o.value),
        Some(_) => {
            return Err(Error::new(SqlState::Syntax, "multiple LIMIT clauses not allowed"));
        }
    };
    let last = match &offset {
        None => quantity,
        Some(skip) => binary(skip.clone(), BinaryOperator::Plus, quantity),
    };
    let mut condition = binary(column(RANK), BinaryOperator::LtEq, last);
    if let Some(skip) = offset {
        let behind = binary(column(ROW), BinaryOperator::Gt, skip);
        condition = binary(behind, BinaryOperator::And, condition);
    }
    let with = query.with.take();
    let (numbered, keys) = numbered(query.clone(), &order)?;
    let mut outer = select_all(derived(numbered));
    if let SetExpr::Select(select) = outer.body.as_mut() {
        let hidden: Vec<&str> =
            [RANK, ROW].into_iter().chain(keys.iter().map(String::as_str)).collect();
        select.projection = vec![all_but(&hidden)];
        select.selection = Some(condition);
    }
    let by = OrderByExpr {
        expr: column(ROW),
        options: OrderByOptions { asc: None, nulls_first: None },
        with_fill: None,
    };
    outer.order_by = Some(OrderBy { kind: OrderByKind::Expressions(vec![by]), interpolate: None });
    outer.with = with;
    *query = outer;
    Ok(())
}

/// The query with the rank and the number of each row behind its columns, and what other columns it has
/// got for these.
fn numbered(mut query: Query, order: &[OrderByExpr]) -> Result<(Query, Vec<String>)> {
    let mut keys = Vec::new();
    let order = match query.body.as_mut() {
        SetExpr::Select(select) => {
            let order: Vec<OrderByExpr> =
                order.iter().map(|by| resolved(by, select)).collect::<Result<_>>()?;
            if is_plain(select, &order) {
                order
            } else {
                keys = (0..order.len()).map(|at| format!("__key_{at}")).collect();
                for (key, by) in keys.iter().zip(&order) {
                    let expr = by.expr.clone();
                    select.projection.push(SelectItem::ExprWithAlias { expr, alias: quoted(key) });
                }
                // It chooses the rows by their order.
                if matches!(select.distinct, Some(Distinct::On(_))) {
                    let kind = OrderByKind::Expressions(order.clone());
                    query.order_by = Some(OrderBy { kind, interpolate: None });
                }
                query = select_all(derived(query));
                let keyed = keys.iter().zip(order);
                keyed.map(|(key, by)| OrderByExpr { expr: column(key), ..by }).collect()
            }
        }
        body => {
            let mut first = &*body;
            loop {
                first = match first {
                    SetExpr::SetOperation { left, .. } => left,
                    SetExpr::Query(inner) => &inner.body,
                    _ => break,
                };
            }
            let order = match first {
                SetExpr::Select(select) => order.iter().map(|by| named(by, select)).collect(),
                _ => Ok(order.iter().map(of_values).collect()),
            };
            query = select_all(derived(query));
            order?
        }
    };
    if let SetExpr::Select(select) = query.body.as_mut() {
        for (name, function) in [(RANK, "rank"), (ROW, "row_number")] {
            let expr = over(function, order.clone());
            select.projection.push(SelectItem::ExprWithAlias { expr, alias: quoted(name) });
        }
    }
    Ok((query, keys))
}

/// Whether the rank can be computed where the rows are.
fn is_plain(select: &Select, order: &[OrderByExpr]) -> bool {
    let has_window = |tree: &Expr| {
        let see = |part: &Expr| match part {
            Expr::Function(Function { over: Some(_), .. }) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        visit_expressions(tree, see).is_break()
    };
    select.distinct.is_none() && !order.iter().any(|by| has_window(&by.expr))
}

/// The place of a column that an ORDER BY gives, from 0.
fn number(by: &OrderByExpr) -> Option<usize> {
    let Expr::Value(value) = &by.expr else { return None };
    let Value::Number(at, _) = &value.value else { return None };
    at.to_string().parse::<usize>().ok()?.checked_sub(1)
}

/// ORDER BY with what is selected in place of its name or position.
fn resolved(by: &OrderByExpr, select: &Select) -> Result<OrderByExpr> {
    let item = match (&by.expr, number(by)) {
        (_, Some(at)) => Some(select.projection.get(at).ok_or_else(|| missing(at))?),
        (Expr::Identifier(name), None) => select.projection.iter().find(
            |item| matches!(item, SelectItem::ExprWithAlias { alias, .. } if alias.value == name.value),
        ),
        _ => None,
    };
    let expr = match item {
        None => &by.expr,
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => expr,
        Some(_) => return Err(unnamed()),
    };
    Ok(OrderByExpr { expr: expr.clone(), ..by.clone() })
}

/// ORDER BY with the name of a column in place of its position.
fn named(by: &OrderByExpr, select: &Select) -> Result<OrderByExpr> {
    let Some(at) = number(by) else { return Ok(by.clone()) };
    let name = match select.projection.get(at).ok_or_else(|| missing(at))? {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().cloned(),
        _ => None,
    };
    let expr = Expr::Identifier(name.ok_or_else(unnamed)?);
    Ok(OrderByExpr { expr, ..by.clone() })
}

/// ORDER BY with the name that VALUES gives to a column in place of its position.
fn of_values(by: &OrderByExpr) -> OrderByExpr {
    let name = number(by).map(|at| column(&format!("column{}", at + 1)));
    OrderByExpr { expr: name.unwrap_or_else(|| by.expr.clone()), ..by.clone() }
}

fn missing(at: usize) -> Error {
    let what = format!("ORDER BY position {} is not in select list", at + 1);
    Error::new(SqlState::InvalidColumnReference, what)
}

fn unnamed() -> Error {
    let what = "WITH TIES with ORDER BY the number of a column without a name is not supported";
    Error::unsupported(what).hint("Give the column a name, and order by that.")
}

/// `function() OVER (ORDER BY …)`.
fn over(function: &str, order_by: Vec<OrderByExpr>) -> Expr {
    let mut call = function_call(function, Vec::new());
    if let Expr::Function(call) = &mut call {
        let spec = WindowSpec {
            window_name: None,
            partition_by: Vec::new(),
            order_by,
            window_frame: None,
        };
        call.over = Some(WindowType::WindowSpec(spec));
    }
    call
}

fn derived(query: Query) -> TableFactor {
    let alias =
        TableAlias { explicit: true, name: quoted("__ties"), columns: Vec::new(), at: None };
    TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(alias),
        sample: None,
    }
}
