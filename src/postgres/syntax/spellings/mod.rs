//! Postgres's spellings of what DataFusion has under another name, or for other operands only.
//!
//! They are rewritten in the syntax tree, before a query is planned. What depends on the types of
//! the operands is left to a function (`timezone`), which sees them.

mod arrays;
mod empty_frames;
mod from;
mod functions;
mod groups;
mod json_rows;
pub(in crate::postgres) mod pieces;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArguments, Ident, Query, Select, SelectItem,
    SetExpr, TableFactor, TimezoneInfo, TrimWhereField, TypedString, UnaryOperator, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};

use crate::error::{Error, Result};
use crate::postgres::functions::{
    LIKE_ESCAPE, SIMILAR_TO_ESCAPE, TIME_OF_DIGITS, one_sign, similar_to, with_backslashes,
};
use crate::postgres::syntax::rows::compared;
use crate::sql::{function_call as call, visit, visit_mut};
use arrays::{
    Quantifier, SetsOfRows, cast_array, like_quantified, literal, matched, quantified, subscripted,
};
use from::{first_as_subquery, fold_lateral, table};
pub(crate) use functions::is_function;
use functions::{called, local_moment};
use json_rows::NamedColumns;
pub(super) use pieces::case_when;
pub(super) use pieces::cast;
use pieces::{binary, nested, number, plain_name, text_of, text_value};

/// Rewrites a query, or an expression.
///
/// # Errors
/// 0A000 where a pattern has to be a constant and is none.
pub fn rewrite_spellings(part: &mut impl VisitMut) -> Result<()> {
    match visit_mut(part, &mut Spellings::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

#[derive(Default)]
struct Spellings {
    /// Of each SELECT around: the columns that it names.
    named: Vec<NamedColumns>,
}

impl VisitorMut for Spellings {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        prefix_last(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match compared(expr)
            .and_then(|rows| rows.map_or_else(|| rewritten(expr), |new| Ok(Some(new))))
        {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(new)) => {
                *expr = new;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let nothing = NamedColumns::default();
        match table(factor, self.named.last().unwrap_or(&nothing)) {
            Ok(Some(new)) => *factor = new,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<Error> {
        self.named.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let mut named = NamedColumns::default();
        // It never breaks off.
        let _ = visit(&*select, &mut named);
        fold_lateral(&mut select.from);
        groups::of_all_rows(select);
        if let Err(error) = first_as_subquery(&mut select.from, &named) {
            return ControlFlow::Break(error);
        }
        self.named.push(named);
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                SetsOfRows::apart(expr);
            }
        }
        let conditions = [(&mut select.selection, "WHERE"), (&mut select.having, "HAVING")];
        for (condition, clause) in conditions {
            if let Some(Err(error)) =
                condition.as_mut().map(|condition| SetsOfRows::refuse(condition, clause))
            {
                return ControlFlow::Break(error);
            }
        }
        ControlFlow::Continue(())
    }
}

fn rewritten(expr: &mut Expr) -> Result<Option<Expr>> {
    Ok(match expr {
        Expr::Function(_) => called(expr)?,
        Expr::Cast { .. } | Expr::TypedString(_) => typed(expr),
        Expr::AtTimeZone { timestamp, time_zone } => {
            Some(call("timezone", vec![(**time_zone).clone(), (**timestamp).clone()]))
        }
        Expr::Extract { field, expr, .. } => {
            let field = field.to_string();
            Some(call("extract", vec![text_value(field.trim_matches('\'')), (**expr).clone()]))
        }
        Expr::Substring { .. }
        | Expr::Trim { .. }
        | Expr::Position { .. }
        | Expr::Overlay { .. } => special_call(expr),
        Expr::Value(value) => match &value.value {
            Value::UnicodeStringLiteral(text) => Some(text_value(text)),
            _ => None,
        },
        Expr::SimilarTo { negated, expr: text, pattern, escape_char } => {
            let op = if *negated {
                BinaryOperator::PGRegexNotMatch
            } else {
                BinaryOperator::PGRegexMatch
            };
            let escape = escape_sign(escape_char.as_ref())?;
            let regex = match (text_of(pattern), escape) {
                (Some(pattern), Some(escape)) => text_value(&similar_to(pattern, escape)?),
                _ => escaped_by(SIMILAR_TO_ESCAPE, pattern, escape_char.take()),
            };
            Some(binary((**text).clone(), op, regex))
        }
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            escape_by_backslash(pattern, escape_char)?;
            of_arrays(expr)
        }
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr } => {
            Some(call("bit_not", vec![(**expr).clone()]))
        }
        Expr::BinaryOp { left, op, right } => match matched(left, op, right)? {
            Some(found) => Some(found),
            None => operator(left, op, right),
        },
        // DataFusion would negate the text of a constant.
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } if is_interval(inner) => {
            let bare = !matches!(**inner, Expr::Nested(_));
            bare.then(|| minus(nested((**inner).clone())))
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => sign_first(expr),
        Expr::Identifier(name)
            if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("localtimestamp") =>
        {
            Some(local_moment())
        }
        Expr::UnaryOp { op: UnaryOperator::PGSquareRoot, expr } => {
            Some(call("sqrt", vec![cast((**expr).clone(), DataType::DoublePrecision)]))
        }
        Expr::UnaryOp { op: UnaryOperator::PGCubeRoot, expr } => {
            Some(call("cbrt", vec![cast((**expr).clone(), DataType::DoublePrecision)]))
        }
        Expr::UnaryOp { op: UnaryOperator::PGAbs, expr } => {
            Some(call("abs", vec![(**expr).clone()]))
        }
        _ => of_arrays(expr),
    })
}

/// What says its type.
fn typed(expr: &mut Expr) -> Option<Expr> {
    match expr {
        Expr::Cast { expr: inner, data_type: DataType::Time(Some(digits), zone), .. } => {
            time_of_digits((**inner).clone(), *digits, *zone)
        }
        Expr::Cast { expr, data_type, .. } => cast_array(expr, data_type),
        Expr::TypedString(TypedString {
            data_type: DataType::Time(Some(digits), zone),
            value,
            ..
        }) => time_of_digits(Expr::Value(value.clone()), *digits, *zone),
        _ => None,
    }
}

/// A time of day with so many digits of a second.
fn time_of_digits(time: Expr, digits: u64, zone: TimezoneInfo) -> Option<Expr> {
    let is_plain = matches!(zone, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone);
    let time = || cast(nested(time), DataType::Time(None, TimezoneInfo::None));
    (is_plain && digits < 6)
        .then(|| call(TIME_OF_DIGITS, vec![time(), number(&digits.to_string())]))
}

/// Arrays, their parts, and what compares with their elements.
fn of_arrays(expr: &mut Expr) -> Option<Expr> {
    let is_like = matches!(expr, Expr::Like { .. });
    match expr {
        Expr::Array(array) => Some(literal(&array.elem)),
        Expr::CompoundFieldAccess { root, access_chain } => subscripted(root, access_chain),
        Expr::Like { pattern, any, negated, expr, .. }
        | Expr::ILike { pattern, any, negated, expr, .. } => {
            let op = match (is_like, *negated) {
                (true, false) => BinaryOperator::PGLikeMatch,
                (true, true) => BinaryOperator::PGNotLikeMatch,
                (false, false) => BinaryOperator::PGILikeMatch,
                (false, true) => BinaryOperator::PGNotILikeMatch,
            };
            like_quantified(expr, pattern, *any, op)
        }
        Expr::AnyOp { left, compare_op, right, .. } => {
            let is_in = *compare_op == BinaryOperator::Eq;
            let found = is_in.then(|| in_subquery(left, right, false)).flatten();
            name_compared(right);
            found.or_else(|| quantified(left, compare_op, right, Quantifier::Any))
        }
        Expr::AllOp { left, compare_op, right } => {
            let is_in = *compare_op == BinaryOperator::NotEq;
            let found = is_in.then(|| in_subquery(left, right, true)).flatten();
            name_compared(right);
            found.or_else(|| quantified(left, compare_op, right, Quantifier::All))
        }
        _ => None,
    }
}

/// A call whose arguments have words between them.
fn special_call(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Substring { expr: text, substring_from, substring_for, shorthand, .. } => {
            let from = substring_from.as_deref().cloned().unwrap_or_else(|| number("1"));
            let arguments = [(**text).clone(), from].into_iter();
            let arguments = arguments.chain(substring_for.as_deref().cloned()).collect();
            Some(call(if *shorthand { "substr" } else { "substring" }, arguments))
        }
        Expr::Trim { expr: text, trim_where, trim_what, trim_characters } => {
            let cut = trim_what.iter().map(|cut| (**cut).clone());
            let cut = cut.chain(trim_characters.iter().flatten().cloned());
            let arguments = std::iter::once((**text).clone()).chain(cut).collect();
            Some(call(trim_name(trim_where.as_ref()), arguments))
        }
        Expr::Position { expr: sought, r#in: whole } => {
            Some(call("position", vec![(**whole).clone(), (**sought).clone()]))
        }
        Expr::Overlay { expr: text, overlay_what, overlay_from, overlay_for } => {
            let arguments = [text, overlay_what, overlay_from].into_iter().chain(overlay_for);
            Some(call("overlay", arguments.map(|argument| (**argument).clone()).collect()))
        }
        _ => None,
    }
}

/// The function behind a TRIM.
pub(crate) fn trim_name(place: Option<&TrimWhereField>) -> &'static str {
    match place {
        Some(TrimWhereField::Leading) => "ltrim",
        Some(TrimWhereField::Trailing) => "rtrim",
        Some(TrimWhereField::Both) | None => "btrim",
    }
}

/// The sign behind which others stand for themselves: a backslash unless ESCAPE says another one, or
/// none. None: ESCAPE NULL.
///
/// # Errors
/// 22025 for a text of several characters.
fn escape_sign(escape: Option<&ValueWithSpan>) -> Result<Option<Option<char>>> {
    match escape.map(|sign| &sign.value) {
        None => Ok(Some(Some('\\'))),
        Some(Value::SingleQuotedString(sign)) => one_sign(sign).map(Some),
        Some(_) => Ok(None),
    }
}

/// The pattern as a function makes it of one with such an ESCAPE.
fn escaped_by(function: &str, pattern: &Expr, escape: Option<ValueWithSpan>) -> Expr {
    let pattern = std::iter::once(pattern.clone());
    call(function, pattern.chain(escape.map(Expr::Value)).collect())
}

/// `x LIKE pattern ESCAPE '/'`, with the one sign that DataFusion knows for it.
fn escape_by_backslash(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) -> Result<()> {
    let sign = escape_sign(escape.as_ref())?;
    let written = escape.take();
    if sign != Some(Some('\\')) {
        *pattern = match (text_of(pattern), sign) {
            (Some(text), Some(sign)) => text_value(&with_backslashes(text, sign)),
            _ => escaped_by(LIKE_ESCAPE, pattern, written),
        };
    }
    Ok(())
}

/// `= ANY (SELECT …)` is IN, and `<> ALL (SELECT …)` is NOT IN; `ARRAY(SELECT …)` has the same
/// elements.
fn in_subquery(left: &Expr, right: &Expr, negated: bool) -> Option<Expr> {
    let subquery = match right {
        Expr::Subquery(subquery) => subquery.as_ref(),
        Expr::Nested(inner) => return in_subquery(left, inner, negated),
        Expr::Function(function) => array_subquery(function)?,
        _ => return None,
    };
    Some(Expr::InSubquery {
        expr: Box::new(left.clone()),
        subquery: Box::new(subquery.clone()),
        negated,
    })
}

/// The query in `ARRAY(SELECT …)`.
pub(crate) fn array_subquery(function: &Function) -> Option<&Query> {
    match &function.args {
        FunctionArguments::Subquery(query) if plain_name(&function.name)? == "array" => Some(query),
        _ => None,
    }
}

/// Gives the column that ANY or ALL compares with a name of its own. The comparison is put into the
/// subquery, where a column of the outer query and one of the same name inside would be taken for
/// one another.
fn name_compared(right: &mut Expr) {
    let Expr::Subquery(query) = right else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    if let [item @ (SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })] =
        select.projection.as_mut_slice()
        && let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = &*item
    {
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::new("__compared") };
    }
}

/// `-2 ^ 2` is `(-2) ^ 2` in Postgres, where the sign binds more tightly than the power; for the
/// parser it is `-(2 ^ 2)`.
fn sign_first(power: &Expr) -> Option<Expr> {
    let Expr::BinaryOp { left, op: BinaryOperator::PGExp, right } = power else { return None };
    let signed = sign_first(left).unwrap_or_else(|| nested(minus((**left).clone())));
    Some(nested(binary(signed, BinaryOperator::PGExp, (**right).clone())))
}

fn minus(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(expr) }
}

/// `~a + b` is `~(a + b)` in Postgres, where `~`, `@`, `|/` and `||/` bind less tightly than arithmetic;
/// for the parser it is `(~a) + b`.
fn prefix_last(expr: &mut Expr) {
    if matches!(expr, Expr::BinaryOp { .. })
        && let Some(op) = without_prefix(expr)
    {
        let whole = std::mem::replace(expr, Expr::value(Value::Null));
        *expr = Expr::UnaryOp { op, expr: Box::new(whole) };
    }
}

/// Takes away the operator before the first operand of arithmetic.
fn without_prefix(expr: &mut Expr) -> Option<UnaryOperator> {
    use UnaryOperator::{BitwiseNot, PGAbs, PGCubeRoot, PGSquareRoot};
    match expr {
        Expr::BinaryOp { left, op, .. } if is_arithmetic(op) => without_prefix(left),
        Expr::UnaryOp {
            op: op @ (BitwiseNot | PGAbs | PGCubeRoot | PGSquareRoot),
            expr: inner,
        } => {
            let op = *op;
            let operand = std::mem::replace(inner.as_mut(), Expr::value(Value::Null));
            *expr = operand;
            Some(op)
        }
        _ => None,
    }
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, PGExp, Plus};
    matches!(op, Plus | Minus | Multiply | Divide | Modulo | PGExp)
}

fn operator(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Expr> {
    let two = |name| Some(call(name, vec![left.clone(), right.clone()]));
    match op {
        BinaryOperator::Overlaps => overlaps(left, right),
        BinaryOperator::PGOverlap => two("array_has_any"),
        BinaryOperator::PGStartsWith => two("starts_with"),
        _ => None,
    }
}

/// `INTERVAL '…'`, or something cast to it.
fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Interval(_) => true,
        Expr::Nested(inner) => is_interval(inner),
        Expr::Cast { data_type, .. } => matches!(data_type, DataType::Interval { .. }),
        _ => false,
    }
}

/// `(a, b) OVERLAPS (c, d)`; an interval is how long a period is.
fn overlaps(left: &Expr, right: &Expr) -> Option<Expr> {
    let ends = |period: &Expr| match period {
        Expr::Tuple(ends) => match ends.as_slice() {
            [from, to] if is_interval(to) => Some([
                from.clone(),
                binary(nested(from.clone()), BinaryOperator::Plus, nested(to.clone())),
            ]),
            [from, to] => Some([from.clone(), to.clone()]),
            _ => None,
        },
        _ => None,
    };
    Some(call("overlaps", [ends(left)?, ends(right)?].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql;

    fn spelled(text: &str) -> String {
        let mut expr = sql::parse_expr(text).unwrap();
        rewrite_spellings(&mut expr).unwrap();
        expr.to_string()
    }

    #[test]
    fn postgres_spellings_become_ours() {
        let check = |text: &str, expect: &str| assert_eq!(spelled(text), expect, "{text}");
        check("mod(a + 1, 3)", "((a + 1) % (3))");
        check("-2 ^ 2 ^ 3", "(((-2) ^ 2) ^ 3)");
        check("a = ANY (SELECT b FROM t)", "a IN (SELECT b FROM t)");
        check("a > ALL (SELECT b FROM t)", "a > ALL(SELECT b AS __compared FROM t)");
        check("~x", "bit_not(x)");
        check("~x + 1 - y", "bit_not(x + 1 - y)");
        check("@ -a + b", "abs(-a + b)");
        check("ts AT TIME ZONE 'UTC'", "timezone('UTC', ts)");
        check("jsonb_array_length(j)", "jsonb_array_length(j)");
        check("jsonb_agg(x ORDER BY y)", "jsonb_of_values(array_agg(json_value(x) ORDER BY y))");
        check("json_object_agg(k, v)", "json_of_members(array_agg(json_member(k, v)))");
        check("jsonb_object_keys(j)", "unnest(jsonb_keys(j))");
        check("json_array_elements(j)", "json_as_is(unnest(json_elements(j)))");
        check("'{{1},{2}}'::int[]", "CAST('{{1},{2}}' AS INT[][])");
        check("ARRAY['1', x]::int[]", "make_array(CAST('1' AS INT), CAST(x AS INT))");
        check("ARRAY[1, 2.5]", "make_array(1, 2.5)");
        check("a[1][i]", "array_element(a, 1, i)");
        check("a[2:]", "array_slice(a, 2, 2147483647)");
        check("x = ANY(ARRAY[1, y])", "x IN (1, y)");
        check("x < ALL(a)", "compare_all('<', x, a)");
        check("s LIKE ANY(a)", "compare_any('~~', s, (a))");
        check("s ~ 'a.'", "s ~ 'a(?s:.)'");
        check("s !~ p", "NOT regexp_like(s, p, '')");
        check("array_fill(x, ARRAY[2, 3])", "array_repeated(array_repeated(x, 3), 2)");
        check("a SIMILAR TO '(a|b)%_.'", "a ~ '^(?:(?:a|b)(?s:.*)(?s:.)\\.)$'");
        check("a NOT SIMILAR TO '[a.-]+\\%'", "a !~ '^(?:[a.-]+%)$'");
    }
}
