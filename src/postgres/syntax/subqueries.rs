//! Subqueries where a value is wanted: `SELECT EXISTS (…)`, `SELECT x IN (SELECT …)`, `ARRAY(SELECT
//! …)`.
//!
//! DataFusion plans EXISTS and IN as joins, so only where they are conditions; as values they are
//! written as subqueries for one value, which it plans everywhere:
//!
//! | written | planned |
//! |---|---|
//! | `EXISTS (SELECT … FROM t WHERE c)` | `(SELECT count(*) > 0 FROM t WHERE c)` |
//! | `EXISTS (q)` for other queries | `(SELECT count(*) > 0 FROM (q))` |
//! | `x IN (q)` | `CASE` over whether q has rows, has x, has a NULL: IN has three answers |
//! | `(a, b) IN (q)` as a condition | `EXISTS (SELECT 1 FROM (q) AS i(c, d) WHERE c = a AND d = b)` |
//! | `(a, b) NOT IN (q)` as a condition | `NOT EXISTS (… WHERE (c = a AND d = b) IS NOT FALSE)` |
//! | `ARRAY(q)` | see `collected` |
//!
//! EXISTS in WHERE, HAVING and ON is left alone, and so is IN where NULL counts as false: a join is
//! faster.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, JoinConstraint, LimitClause, Query, Select,
    SelectItem, SetExpr, UnaryOperator, Value, VisitorMut,
};

use super::collected::array;
use super::using::constraint;
use super::wrapped::{is_plain, named, over};
use crate::sql::{function_call as call, parse_expr, visit_mut};

/// Rewrites subqueries that are values, in a query and all that are in it.
pub fn rewrite_subqueries(query: &mut Query) {
    // The visitors never break off.
    let _ = visit_mut(query, &mut Lists);
}

/// Finds the places where a value is wanted.
struct Lists;

impl VisitorMut for Lists {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Exists { subquery, .. } = expr
            && limit_keeps_a_row(subquery)
        {
            (subquery.order_by, subquery.limit_clause) = (None, None);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                values(expr, true);
            }
        }
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(|expr| values(expr, true));
        }
        for join in select.from.iter_mut().flat_map(|item| &mut item.joins) {
            if let Some(JoinConstraint::On(on)) = constraint(&mut join.join_operator) {
                condition(on, ConditionMode::All);
            }
        }
        let conditions = [&mut select.selection, &mut select.having, &mut select.qualify];
        conditions.into_iter().flatten().for_each(|expr| condition(expr, ConditionMode::All));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(order_by) = &mut query.order_by {
            let mut values = ValueSubqueries { with_exists: true, ..ValueSubqueries::default() };
            let _ = visit_mut(order_by, &mut values);
        }
        if let SetExpr::Values(rows) = query.body.as_mut() {
            rows.rows.iter_mut().flat_map(|row| row.iter_mut()).for_each(|expr| values(expr, true));
        }
        ControlFlow::Continue(())
    }
}

/// How a part of a condition decides about the whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ConditionMode {
    /// All of these parts must be true.
    All,
    /// It makes no difference whether it is false or NULL.
    Any,
}

/// Leaves IN where a join says the same, which knows true and not true; elsewhere it is a value
/// with three answers.
fn condition(expr: &mut Expr, mode: ConditionMode) {
    if let Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } = expr {
        let mut inner = inner.as_mut();
        while let Expr::Nested(next) = inner {
            inner = next.as_mut();
        }
        if let Expr::InSubquery { expr: x, subquery, negated } = inner {
            *expr = Expr::InSubquery {
                expr: x.clone(),
                subquery: subquery.clone(),
                negated: !*negated,
            };
        }
    }
    match expr {
        Expr::Nested(inner) => condition(inner, mode),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            condition(left, mode);
            condition(right, mode);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
            condition(left, ConditionMode::Any);
            condition(right, ConditionMode::Any);
        }
        Expr::InSubquery { expr: x, subquery, negated: false }
            if let Expr::Tuple(tuple) = x.as_ref() =>
        {
            let subquery = row_exists(tuple, subquery);
            *expr = Expr::Exists { subquery, negated: false };
        }
        // NOT IN is true where no row is equal, and of none it is unknown whether it is.
        Expr::InSubquery { expr: x, subquery, negated: true }
            if let (Expr::Tuple(tuple), ConditionMode::All) = (x.as_ref(), mode) =>
        {
            let subquery = rows_that(tuple, subquery, |equal| Expr::IsNotFalse(Box::new(equal)));
            *expr = Expr::Exists { subquery, negated: true };
        }
        Expr::InSubquery { expr: x, negated, .. } if !*negated || mode == ConditionMode::All => {
            values(x, false)
        }
        other => values(other, false),
    }
}

fn values(expr: &mut Expr, with_exists: bool) {
    // The visitor never breaks off.
    let _ = visit_mut(expr, &mut ValueSubqueries { with_exists, ..ValueSubqueries::default() });
}

/// Rewrites those of an expression, not those in its subqueries, which have had their turn.
#[derive(Default)]
struct ValueSubqueries {
    /// Subqueries around.
    depth: usize,
    /// Calls around.
    calls: usize,
    with_exists: bool,
}

impl VisitorMut for ValueSubqueries {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.calls += usize::from(self.depth == 0 && matches!(expr, Expr::Function(_)));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        self.calls -= usize::from(matches!(expr, Expr::Function(_)));
        let value = match expr {
            Expr::Exists { subquery, negated } if self.with_exists => {
                Some((Expr::Subquery(exists(subquery)), *negated))
            }
            Expr::InSubquery { expr, subquery, negated } => {
                contains(expr, subquery, self.calls > 0).map(|value| (value, *negated))
            }
            Expr::Function(function) => array(function).map(|value| (value, false)),
            _ => None,
        };
        match value {
            Some((value, true)) => {
                *expr = Expr::UnaryOp {
                    op: UnaryOperator::Not,
                    expr: Box::new(Expr::Nested(Box::new(value))),
                }
            }
            Some((value, false)) => *expr = value,
            None => {}
        }
        ControlFlow::Continue(())
    }
}

/// Whether the query has a row, as a query for one value.
fn exists(query: &Query) -> Box<Query> {
    let any = Expr::BinaryOp {
        left: Box::new(count_all()),
        op: BinaryOperator::Gt,
        right: Box::new(Expr::value(Value::Number("0".to_owned(), false))),
    };
    let mut direct = Box::new(query.clone());
    if limit_keeps_a_row(query)
        && let SetExpr::Select(select) = direct.body.as_mut()
        && is_plain(select)
    {
        select.projection = vec![named(any, "exists")];
        select.distinct = None;
        (direct.order_by, direct.limit_clause, direct.fetch) = (None, None, None);
        return direct;
    }
    over(query, "SELECT count(*) > 0 AS \"exists\" FROM (SELECT 1) AS __exists")
}

/// For `(a, b) IN (query)`: the rows of the query that are it.
fn row_exists(tuple: &[Expr], query: &Query) -> Box<Query> {
    rows_that(tuple, query, |equal| equal)
}

/// The rows of the query of which `condition` holds, given that they are `(a, b)`.
fn rows_that(tuple: &[Expr], query: &Query, condition: impl Fn(Expr) -> Expr) -> Box<Query> {
    let names: Vec<String> = (0..tuple.len()).map(|at| format!("__value_{at}")).collect();
    let mut rows = over(query, &format!("SELECT 1 FROM (SELECT 1) AS __in({})", names.join(", ")));
    if let SetExpr::Select(select) = rows.body.as_mut() {
        let equations = names.iter().zip(tuple).map(|(name, x)| Expr::BinaryOp {
            left: Box::new(Expr::Identifier(Ident::new(name))),
            op: BinaryOperator::Eq,
            right: Box::new(Expr::Nested(Box::new(x.clone()))),
        });
        select.selection = equations.reduce(|all, next| Expr::BinaryOp {
            left: Box::new(all),
            op: BinaryOperator::And,
            right: Box::new(next),
        });
        select.selection =
            select.selection.take().map(|equal| condition(Expr::Nested(Box::new(equal))));
    }
    rows
}

/// `(a, b) IN (query)` as a value: NULL where no row is equal and of some it is unknown.
fn contains_row(tuple: &[Expr], query: &Query) -> Option<Expr> {
    let mut case =
        parse_expr("CASE WHEN 1 = 1 THEN true WHEN 1 = 1 THEN NULL ELSE false END").ok()?;
    let Expr::Case { conditions, .. } = &mut case else { return None };
    let [found, unknown] = conditions.as_mut_slice() else { return None };
    found.condition = Expr::Subquery(exists(&row_exists(tuple, query)));
    let unknown_rows = rows_that(tuple, query, |equal| Expr::IsNull(Box::new(equal)));
    unknown.condition = Expr::Subquery(exists(&unknown_rows));
    Some(case)
}

/// `x IN (query)`, if x is one value. Whether x is among the rows is found by a join; in an
/// argument or the FILTER of an aggregate, where no subquery may read columns around it, in an
/// array.
fn contains(x: &Expr, query: &Query, in_call: bool) -> Option<Expr> {
    if let Expr::Tuple(tuple) = x {
        return contains_row(tuple, query);
    }
    if matches!(x, Expr::Subquery(_)) {
        return None;
    }
    let value = |text: &str| Expr::Subquery(over(query, text));
    let x = || Box::new(Expr::Nested(Box::new(x.clone())));
    let has_x = if in_call {
        let text = "SELECT array_agg(__value) FROM (SELECT 1) AS __in(__value) \
                        WHERE __value IS NOT NULL";
        call("array_has", vec![value(text), *x()])
    } else {
        let mut has = over(query, "SELECT count(*) > 0 FROM (SELECT 1) AS __in(__value)");
        if let SetExpr::Select(select) = has.body.as_mut() {
            let left = Box::new(Expr::Identifier(Ident::new("__value")));
            select.selection = Some(Expr::BinaryOp { left, op: BinaryOperator::Eq, right: x() });
        }
        Expr::Subquery(has)
    };
    let mut case = parse_expr(
        "CASE WHEN 1 IS NULL THEN CASE WHEN has_rows THEN NULL ELSE false END \
         WHEN has_x THEN true WHEN has_null THEN NULL ELSE false END",
    )
    .ok()?;
    let Expr::Case { conditions, .. } = &mut case else { return None };
    let [of_null, found, unknown] = conditions.as_mut_slice() else { return None };
    of_null.condition = Expr::IsNull(x());
    if let Expr::Case { conditions, .. } = &mut of_null.result {
        conditions.first_mut()?.condition = value("SELECT count(*) > 0 FROM (SELECT 1) AS __in");
    }
    found.condition = has_x;
    unknown.condition = value("SELECT count(*) > count(__value) FROM (SELECT 1) AS __in(__value)");
    Some(case)
}

/// Whether a LIMIT leaves a row if there is one.
fn limit_keeps_a_row(query: &Query) -> bool {
    let is_positive = |expr: &Expr| match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => text.parse::<u64>().is_ok_and(|limit| limit > 0),
            _ => false,
        },
        _ => false,
    };
    let limit = match &query.limit_clause {
        None => true,
        Some(LimitClause::LimitOffset { limit, offset: None, limit_by }) => {
            limit_by.is_empty() && limit.as_ref().is_none_or(is_positive)
        }
        Some(_) => false,
    };
    limit && query.fetch.is_none()
}

fn count_all() -> Expr {
    parse_expr("count(*)").unwrap_or_else(|_| call("count", vec![]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_query;

    fn rewritten(sql: &str) -> String {
        let mut parsed = parse_query(sql).unwrap();
        rewrite_subqueries(&mut parsed.query);
        parsed.query.to_string()
    }

    #[test]
    fn a_subquery_that_is_a_value_is_one_for_a_value() {
        let check = |sql: &str, expect: &str| assert_eq!(rewritten(sql), expect, "{sql}");
        check(
            "SELECT EXISTS (SELECT a FROM t WHERE t.a = s.a ORDER BY a LIMIT 1) FROM s",
            "SELECT (SELECT count(*) > 0 AS \"exists\" FROM t WHERE t.a = s.a) FROM s",
        );
        check(
            "SELECT NOT EXISTS (SELECT max(a) FROM t)",
            "SELECT NOT ((SELECT count(*) > 0 AS \"exists\" FROM (SELECT max(a) FROM t) AS __exists))",
        );
        check(
            "SELECT ARRAY(SELECT a AS b FROM t ORDER BY b DESC, c)",
            "SELECT (SELECT CASE WHEN array_agg(a ORDER BY a DESC, c) IS NOT NULL THEN array_agg(a ORDER BY a DESC, c) ELSE '{}' END AS \"array\" FROM t)",
        );
    }

    #[test]
    fn conditions_stay_as_they_are() {
        for sql in [
            "SELECT a FROM s WHERE EXISTS (SELECT 1 FROM t) AND a IN (SELECT b FROM t)",
            "SELECT (SELECT max(b) FROM t WHERE EXISTS (SELECT 1 FROM s)) FROM s",
            "SELECT a FROM s WHERE (a IN (SELECT b FROM t) OR b) AND a NOT IN (SELECT b FROM t)",
        ] {
            assert_eq!(rewritten(sql), sql);
        }
        for sql in [
            "SELECT a FROM s WHERE a NOT IN (SELECT b FROM t) OR b",
            "SELECT a FROM s WHERE (a IN (SELECT b FROM t)) IS NULL",
        ] {
            assert!(rewritten(sql).contains("CASE"), "{sql}");
        }
    }
}
