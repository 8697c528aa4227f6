//! `ORDER BY … FETCH FIRST n ROWS WITH TIES`: the rows whose rank is n or less.
//!
//! ```text
//! SELECT a FROM t ORDER BY b FETCH FIRST 2 ROWS WITH TIES
//! ─▶ SELECT * EXCLUDE (__rank, __place) FROM
//!      (SELECT a, rank() OVER (ORDER BY b) AS __rank, row_number() OVER (ORDER BY b) AS __place FROM t)
//!    WHERE __rank <= 2 ORDER BY __place
//! ```
//! With OFFSET m the first m rows go, and the rank is up to m + n.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, LimitClause, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, Query,
    Select, SelectItem, SetExpr, TableAlias, TableFactor, Value, WindowSpec, WindowType,
};

use super::tree::{all_but, binary, column, function_call, quoted};
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
    let mut outer = select_all(derived(numbered(query.clone(), &order)));
    if let SetExpr::Select(select) = outer.body.as_mut() {
        select.projection = vec![all_but(&[RANK, ROW])];
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

/// The query with the rank and the number of each row behind its columns.
fn numbered(query: Query, order: &[OrderByExpr]) -> Query {
    let mut query = query;
    // What is ordered by may be no column of a SELECT, and has to be one of anything else.
    let is_plain =
        matches!(query.body.as_ref(), SetExpr::Select(select) if select.distinct.is_none());
    if !is_plain {
        query = select_all(derived(query));
    }
    if let SetExpr::Select(select) = query.body.as_mut() {
        let order = order.iter().map(|by| resolved(by, select)).collect::<Vec<_>>();
        for (name, function) in [(RANK, "rank"), (ROW, "row_number")] {
            let expr = over(function, order.clone());
            select.projection.push(SelectItem::ExprWithAlias { expr, alias: quoted(name) });
        }
    }
    query
}

/// ORDER BY with what is selected in place of its name or position.
fn resolved(by: &OrderByExpr, select: &Select) -> OrderByExpr {
    let expr = match &by.expr {
        Expr::Identifier(name) => select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if alias.value == name.value => Some(expr),
            _ => None,
        }),
        Expr::Value(value) => {
            match &value.value {
                Value::Number(at, _) => at.to_string().parse::<usize>().ok().and_then(|at| {
                    match select.projection.get(at.checked_sub(1)?)? {
                        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                            Some(expr)
                        }
                        _ => None,
                    }
                }),
                _ => None,
            }
        }
        _ => None,
    };
    OrderByExpr { expr: expr.unwrap_or(&by.expr).clone(), ..by.clone() }
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
