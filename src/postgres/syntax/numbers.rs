//! Numbers as they are written have the types that they have in Postgres (manual, 4.1.2.6): a whole one is
//! an INT if it fits, else a BIGINT, else a NUMERIC; one with a point or an exponent is a NUMERIC.
//!
//! DataFusion makes a BIGINT of each whole number, and while it plans it settles by that what is not looked
//! at again (the columns of a recursive query, what a subquery reads of the row around it). So the tree
//! says the type, by a cast that nobody can write, and [`folded`] takes the cast away before anything else
//! looks at the plan.

use std::ops::ControlFlow;

use arrow::datatypes::{DECIMAL256_MAX_PRECISION, DataType as ArrowType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr as Planned;
use datafusion::logical_expr::expr::TryCast;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Distinct, ExactNumberInfo, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, LimitClause, OrderByKind, Query, Select, SelectItem,
    TableFactor, UnaryOperator, Value, VisitMut, VisitorMut, WindowFrameBound, WindowType,
};

use super::spellings::pieces::{cast, number, plain_name, text_value};
use crate::sql::visit_mut;
use crate::types::decimal::MAX_SCALE;

/// Gives the numbers of a tree their types; the last that is done to it.
pub fn type_numbers(part: &mut impl VisitMut) {
    // The visitor never breaks off.
    let _ = visit_mut(part, &mut WrittenNumbers);
}

/// The constant that is meant by the cast of a written number.
pub fn folded(cast: &TryCast) -> Option<Planned> {
    let value = match (cast.expr.as_ref(), cast.field.data_type()) {
        (Planned::Literal(ScalarValue::Int64(Some(value)), _), ArrowType::Int32) => *value,
        _ => return None,
    };
    i32::try_from(value).ok().map(|value| Planned::Literal(ScalarValue::Int32(Some(value)), None))
}

/// Aggregates of DataFusion that take a number for what it is without a type: `count(*)` is `count(1)`,
/// and the others read theirs while they are planned.
const AS_WRITTEN: [&str; 3] = ["count", "nth_value", "approx_percentile_cont"];

struct WrittenNumbers;

impl VisitorMut for WrittenNumbers {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Value(value) => {
                if let Value::Number(digits, _) = &value.value
                    && let Some(typed) = typed(digits)
                {
                    *expr = typed;
                }
            }
            // `- 1` is one number.
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => {
                if let Some(digits) = digits(inner).map(str::to_owned)
                    && let Ok(value) = format!("-{digits}").parse::<i64>()
                {
                    **inner = number(&digits);
                    if i32::try_from(value).is_ok() {
                        *expr = as_int(take(expr));
                    }
                }
            }
            Expr::Interval(interval) => bare(&mut interval.value),
            // They take the type of what is looked for among them, and there may be very many.
            Expr::InList { list, .. } => list.iter_mut().for_each(bare),
            Expr::Function(call) => {
                if let Some(WindowType::WindowSpec(window)) = &mut call.over
                    && let Some(frame) = &mut window.window_frame
                {
                    bare_bound(&mut frame.start_bound);
                    frame.end_bound.iter_mut().for_each(bare_bound);
                }
                if AS_WRITTEN.contains(&plain_name(&call.name).as_deref().unwrap_or_default())
                    && let FunctionArguments::List(list) = &mut call.args
                {
                    for argument in &mut list.args {
                        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument {
                            bare(expr);
                        }
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Function { name, args, .. }
                if plain_name(name).as_deref() == Some("range") =>
            {
                let _ = visit_mut(args, &mut Bare);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// The number of a column is no value.
    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            keys.iter_mut().for_each(bare_key);
        }
        if let Some(Distinct::On(keys)) = &mut select.distinct {
            keys.iter_mut().for_each(|key| meant_by_number(key, &select.projection));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(order) = &mut query.order_by
            && let OrderByKind::Expressions(keys) = &mut order.kind
        {
            keys.iter_mut().for_each(|key| bare(&mut key.expr));
        }
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                limit.iter_mut().for_each(bare);
                offset.iter_mut().for_each(|offset| bare(&mut offset.value));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                bare(offset);
                bare(limit);
            }
            None => {}
        }
        let fetched = query.fetch.as_mut().and_then(|fetch| fetch.quantity.as_mut());
        fetched.into_iter().for_each(bare);
        ControlFlow::Continue(())
    }
}

/// Takes the types from numbers that are read as they are written.
struct Bare;

impl VisitorMut for Bare {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        bare(expr);
        ControlFlow::Continue(())
    }
}

/// A number with its type, where that is not what DataFusion makes of it.
fn typed(digits: &str) -> Option<Expr> {
    let plain = digits.replace('_', "");
    if plain.contains(['e', 'E']) {
        let float = || cast(text_value(&plain), DataType::DoublePrecision);
        return Some(without_exponent(&plain).map_or_else(float, |plain| number(&plain)));
    }
    match (plain.contains('.'), plain.parse::<i64>()) {
        (false, Ok(value)) => i32::try_from(value).is_ok().then(|| as_int(number(&plain))),
        // With a point it is a decimal, whatever its size.
        (false, Err(_)) => Some(number(&format!("{plain}."))),
        // What has more places than a numeric is refused where it is read.
        (true, _) => {
            let places = plain.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let numeric = DataType::Numeric(ExactNumberInfo::None);
            (places > MAX_SCALE as usize).then(|| cast(text_value(&plain), numeric))
        }
    }
}

/// `1e15` with all its digits and a point; None: these are more than a decimal holds.
pub(in crate::postgres) fn without_exponent(digits: &str) -> Option<String> {
    let (number, exponent) = digits.split_once(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all = format!("{whole}{fraction}");
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let holds = i32::from(DECIMAL256_MAX_PRECISION);
    if all.len() > usize::from(DECIMAL256_MAX_PRECISION)
        || point > holds
        || fraction.len() as i32 - exponent > i32::from(MAX_SCALE)
    {
        return None;
    }
    Some(match usize::try_from(point) {
        Ok(point) if point >= all.len() => format!("{all}{}.", "0".repeat(point - all.len())),
        Ok(point) => format!("{}.{}", &all[..point], &all[point..]),
        Err(_) => format!("0.{}{all}", "0".repeat(point.unsigned_abs() as usize)),
    })
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

/// The cast, which has no spelling.
fn as_int(expr: Expr) -> Expr {
    Expr::Cast {
        kind: CastKind::SafeCast,
        expr: Box::new(expr),
        data_type: DataType::Int(None),
        array: false,
        format: None,
    }
}

/// The number without its type.
fn written(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Nested(inner) => written(inner),
        Expr::Cast { kind: CastKind::SafeCast, expr, .. } => Some((**expr).clone()),
        _ => None,
    }
}

/// The digits of a whole number.
fn digits(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Nested(inner) | Expr::Cast { kind: CastKind::SafeCast, expr: inner, .. } => {
            digits(inner)
        }
        Expr::Value(value) => match &value.value {
            // The one that is a BIGINT below zero and none above it has been given a point.
            Value::Number(digits, _) if digits == "9223372036854775808." => {
                Some("9223372036854775808")
            }
            Value::Number(digits, _) => Some(digits),
            _ => None,
        },
        _ => None,
    }
}

fn bare(expr: &mut Expr) {
    if let Some(number) = written(expr) {
        *expr = number;
    }
}

fn bare_bound(bound: &mut WindowFrameBound) {
    if let WindowFrameBound::Preceding(Some(expr)) | WindowFrameBound::Following(Some(expr)) = bound
    {
        bare(expr);
    }
}

/// `DISTINCT ON (1)` is by the first column; one that a `*` hides stays a number.
fn meant_by_number(key: &mut Expr, columns: &[SelectItem]) {
    let Some(at) = digits(key).and_then(|digits| digits.parse::<usize>().ok()) else { return };
    let is_listed = |item: &&SelectItem| {
        matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
    };
    let before = columns.iter().take(at).filter(is_listed).count();
    match columns.get(at.wrapping_sub(1)) {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. })
            if before == at =>
        {
            *key = expr.clone();
        }
        _ => bare(key),
    }
}

fn bare_key(key: &mut Expr) {
    match key {
        Expr::GroupingSets(sets) | Expr::Rollup(sets) | Expr::Cube(sets) => {
            sets.iter_mut().flatten().for_each(bare);
        }
        Expr::Tuple(keys) => keys.iter_mut().for_each(bare),
        key => bare(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_type_of_its_digits() {
        let shown = |sql: &str| {
            let mut expr = crate::sql::parse_expr(sql).unwrap();
            type_numbers(&mut expr);
            expr.to_string()
        };
        for (sql, typed) in [
            ("1", "SAFE_CAST(1 AS INT)"),
            ("-2147483647", "SAFE_CAST(-2147483647 AS INT)"),
            ("-2147483648", "SAFE_CAST(-2147483648 AS INT)"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("- 1.5", "-1.5"),
            ("2147483648", "2147483648"),
            ("9223372036854775808", "9223372036854775808."),
            ("1.50", "1.50"),
            ("1e3", "1000."),
            ("1.25e1", "12.5"),
            (".25E-2", "0.0025"),
            ("1e200", "CAST('1e200' AS DOUBLE PRECISION)"),
        ] {
            assert_eq!(shown(sql), typed);
        }
        let frame = "sum(x) OVER (ORDER BY y ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)";
        assert_eq!(shown(frame), frame);
    }
}
