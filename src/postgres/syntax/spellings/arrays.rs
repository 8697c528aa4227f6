//! Arrays as calls of the functions that know their types: `ARRAY[…]`, subscripts, ANY and ALL, and the
//! functions that give sets of rows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, DataType, Expr, Query, Subscript, UnaryOperator,
    Value, VisitorMut,
};

use super::pieces::{binary, cast, function_named, number, text_of, text_value};
use crate::error::{Error, Result, SqlState};
use crate::postgres::functions::{RegexOptions, translated};
use crate::sql::{function_call as call, visit_mut};

/// Functions that give a set of rows, and those that give it as an array.
pub(super) const SETS: [(&str, &str); 5] = [
    ("generate_series", "generate_series"),
    ("generate_subscripts", "generate_subscripts"),
    ("regexp_matches", "regexp_matches"),
    ("regexp_split_to_table", "regexp_split_to_array"),
    ("string_to_table", "string_to_array"),
];

/// The function that gives a set as an array.
pub(super) fn set_as_array(name: &str) -> Option<&'static str> {
    SETS.iter().find(|(set, _)| *set == name).map(|(_, array)| *array)
}

/// `ARRAY[…]`.
pub(super) fn literal(elements: &[Expr]) -> Expr {
    call("make_array", elements.to_vec())
}

/// The elements of what was `ARRAY[…]`.
pub(super) fn elements_of(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Nested(inner) => elements_of(inner),
        _ => function_named(expr)
            .filter(|(name, _)| name == "make_array")
            .map(|(_, elements)| elements),
    }
}

fn element_type(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(inner, _))
        | DataType::Array(ArrayElemTypeDef::AngleBracket(inner)) => {
            Some(element_type(inner).unwrap_or(inner))
        }
        _ => None,
    }
}

/// `ARRAY[…]::t[]` has its elements cast, and `'{{1},{2}}'::t[]` as many dimensions as are written.
pub(super) fn cast_array(expr: &Expr, data_type: &DataType) -> Option<Expr> {
    let element = element_type(data_type)?;
    if let Some(text) = text_of(expr) {
        let written = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
        let depth = written.take_while(|byte| *byte == b'{').count();
        let declared = depth_of(data_type);
        if depth <= declared {
            return None;
        }
        let around =
            |inner, _| DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(inner), None));
        return Some(cast(expr.clone(), (declared..depth).fold(data_type.clone(), around)));
    }
    let elements = elements_of(expr)?;
    if elements.iter().all(|element| elements_of(element).is_some_and(|inner| inner.is_empty())) {
        return Some(cast(text_value("{}"), data_type.clone()));
    }
    let of_element = |one: Expr| match elements_of(&one) {
        Some(_) => cast_array(&one, data_type).unwrap_or(one),
        None => cast(one, element.clone()),
    };
    Some(call("make_array", elements.into_iter().map(of_element).collect()))
}

fn depth_of(data_type: &DataType) -> usize {
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(inner, _))
        | DataType::Array(ArrayElemTypeDef::AngleBracket(inner)) => 1 + depth_of(inner),
        _ => 0,
    }
}

/// `a[1][2]`, `a[1:2]`; `None` for fields, and for what is found by a text.
pub(super) fn subscripted(root: &Expr, chain: &[AccessExpr]) -> Option<Expr> {
    let is_text = |access: &AccessExpr| matches!(access, AccessExpr::Subscript(Subscript::Index { index }) if text_of(index).is_some());
    let is_subscript = |access: &AccessExpr| matches!(access, AccessExpr::Subscript(_));
    if chain.iter().any(is_text) || !chain.iter().any(is_subscript) {
        return None;
    }
    let (mut base, mut run) = (root.clone(), Vec::new());
    for access in chain {
        match access {
            AccessExpr::Subscript(subscript) => run.push(subscript),
            AccessExpr::Dot(field) => {
                base = taken(base, std::mem::take(&mut run))?;
                base = match (base, field) {
                    (Expr::Identifier(first), Expr::Identifier(name)) => {
                        Expr::CompoundIdentifier(vec![first, name.clone()])
                    }
                    (Expr::CompoundIdentifier(mut parts), Expr::Identifier(name)) => {
                        parts.push(name.clone());
                        Expr::CompoundIdentifier(parts)
                    }
                    (base, _) => Expr::CompoundFieldAccess {
                        root: Box::new(base),
                        access_chain: vec![access.clone()],
                    },
                };
            }
        }
    }
    taken(base, run)
}

fn taken(base: Expr, run: Vec<&Subscript>) -> Option<Expr> {
    if run.is_empty() {
        return Some(base);
    }
    let is_slice = run.iter().any(|subscript| matches!(subscript, Subscript::Slice { .. }));
    let mut arguments = vec![base];
    for subscript in run {
        match subscript {
            Subscript::Index { index } if is_slice => {
                arguments.extend([number("1"), index.clone()])
            }
            Subscript::Index { index } => arguments.push(index.clone()),
            Subscript::Slice { stride: Some(_), .. } => return None,
            Subscript::Slice { lower_bound, upper_bound, .. } => arguments.extend([
                lower_bound.clone().unwrap_or_else(|| number("1")),
                upper_bound.clone().unwrap_or_else(|| number("2147483647")),
            ]),
        }
    }
    let name = if is_slice { "array_slice" } else { "array_element" };
    Some(call(name, arguments))
}

/// ANY or ALL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    Any,
    All,
}

/// `x op ANY (array)`.
pub(super) fn quantified(
    left: &Expr,
    op: &BinaryOperator,
    right: &Expr,
    quantifier: Quantifier,
) -> Option<Expr> {
    let is_query = |expr: &Expr| matches!(expr, Expr::Subquery(_));
    match right {
        Expr::Nested(inner) if is_query(inner) => return None,
        right if is_query(right) => return None,
        _ => {}
    }
    let negated = match (op, quantifier) {
        (BinaryOperator::Eq, Quantifier::Any) => Some(false),
        (BinaryOperator::NotEq, Quantifier::All) => Some(true),
        _ => None,
    };
    let is_value = |expr: &Expr| elements_of(expr).is_none();
    if let (Some(negated), Some(list)) = (negated, elements_of(right))
        && !list.is_empty()
        && list.iter().all(is_value)
    {
        return Some(Expr::InList { expr: Box::new(left.clone()), list, negated });
    }
    let op = match op {
        BinaryOperator::PGLikeMatch => "~~",
        BinaryOperator::PGILikeMatch => "~~*",
        BinaryOperator::PGNotLikeMatch => "!~~",
        BinaryOperator::PGNotILikeMatch => "!~~*",
        BinaryOperator::PGRegexMatch => "~",
        BinaryOperator::PGRegexIMatch => "~*",
        BinaryOperator::PGRegexNotMatch => "!~",
        BinaryOperator::PGRegexNotIMatch => "!~*",
        other => &other.to_string(),
    };
    let name = if quantifier == Quantifier::Any { "compare_any" } else { "compare_all" };
    Some(call(name, vec![text_value(op), left.clone(), right.clone()]))
}

/// `x LIKE ANY (array)`, which the parser takes for a LIKE.
pub(super) fn like_quantified(
    left: &Expr,
    pattern: &Expr,
    is_any: bool,
    op: BinaryOperator,
) -> Option<Expr> {
    if is_any {
        return quantified(left, &op, pattern, Quantifier::Any);
    }
    let (name, arguments) = function_named(pattern)?;
    match (name.as_str(), arguments.as_slice()) {
        ("all", [array]) => quantified(left, &op, array, Quantifier::All),
        ("any" | "some", [array]) => quantified(left, &op, array, Quantifier::Any),
        _ => None,
    }
}

/// `text ~ pattern`. A constant pattern is told to the operator in its own language; with what that does
/// not know, and with patterns that are columns, it is a function.
pub(super) fn matched(left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Option<Expr>> {
    let (flags, is_negated) = match op {
        BinaryOperator::PGRegexMatch => ("", false),
        BinaryOperator::PGRegexIMatch => ("i", false),
        BinaryOperator::PGRegexNotMatch => ("", true),
        BinaryOperator::PGRegexNotIMatch => ("i", true),
        _ => return Ok(None),
    };
    if let Some(pattern) = text_of(right) {
        let is_plain = |c: char| c.is_alphanumeric() || " ^$-_/:,;@".contains(c);
        if pattern.chars().all(is_plain) {
            return Ok(None);
        }
        let known = translated(pattern, RegexOptions::default())?;
        if !known.is_fancy {
            return Ok(Some(binary(left.clone(), op.clone(), text_value(&known.text))));
        }
    }
    let found = call("regexp_like", vec![left.clone(), right.clone(), text_value(flags)]);
    Ok(Some(if is_negated {
        Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(found) }
    } else {
        found
    }))
}

/// `array_fill(value, ARRAY[2, 3])` repeats it in each dimension.
pub(super) fn filled(arguments: Vec<Expr>) -> Result<Option<Expr>> {
    let mut arguments = arguments.into_iter();
    let (Some(value), Some(lengths)) = (arguments.next(), arguments.next()) else {
        return Ok(None);
    };
    let is_one = |bound: &Expr| *bound == number("1");
    let begins_at_one = match arguments.next() {
        Some(bounds) => elements_of(&bounds).is_some_and(|bounds| bounds.iter().all(is_one)),
        None => true,
    };
    if matches!(&lengths, Expr::Value(value) if value.value == Value::Null) {
        let what = "dimension array or low bound array cannot be null";
        return Err(Error::new(SqlState::NullNotAllowed, what));
    }
    match elements_of(&lengths) {
        Some(lengths) if begins_at_one => {
            let once = |inner, length| call("array_repeated", vec![inner, length]);
            Ok(Some(lengths.into_iter().rev().fold(value, once)))
        }
        _ => Err(Error::unsupported("array_fill with other dimensions than a written ARRAY[…], or bounds other than 1, is not supported")
            .hint("Write the dimensions as ARRAY[2, 3].")),
    }
}

/// Sets of rows in an expression of a SELECT list: arrays that are taken apart. Where there may be none,
/// they are only found.
pub(super) struct SetsOfRows {
    pub(super) rewrites: bool,
    depth: usize,
}

impl SetsOfRows {
    /// Takes the sets of an expression apart.
    pub(super) fn apart(expr: &mut Expr) {
        let _ = visit_mut(expr, &mut SetsOfRows { rewrites: true, depth: 0 });
    }

    /// 0A000 for a set of rows where there may be none.
    pub(super) fn refuse(expr: &mut Expr, clause: &str) -> Result<()> {
        match visit_mut(expr, &mut SetsOfRows { rewrites: false, depth: 0 }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                let what = format!("set-returning functions are not allowed in {clause}");
                Err(Error::new(SqlState::NotSupported, what)
                    .hint("Call it in FROM, or in the SELECT list of a subquery."))
            }
        }
    }
}

impl VisitorMut for SetsOfRows {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Some((name, mut arguments)) = function_named(expr).filter(|_| self.depth == 0) else {
            return ControlFlow::Continue(());
        };
        let array = set_as_array(&name);
        if !self.rewrites {
            return if array.is_some() || name == "unnest" {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            };
        }
        match (array, arguments.as_slice()) {
            (Some(array), _) => *expr = call("unnest", vec![call(array, arguments)]),
            // An array is what it is in there.
            (None, [inner]) if name == "unnest" => {
                let set = function_named(inner).filter(|(inner, _)| inner == "unnest");
                let is_series = |set: &Expr| {
                    function_named(set).is_some_and(|(name, _)| name.starts_with("generate_"))
                };
                if set.is_some_and(|(_, inner)| inner.iter().any(is_series)) {
                    *expr = arguments.swap_remove(0);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
