//! TEXT, VARCHAR and CHAR beside each other (PostgreSQL manual, 8.3 and 10.5).
//!
//! In memory a CHAR(n) has no blanks at its end, so as a text it is what it is, and two of them are
//! equal and in order as they are in Postgres. What is compared with one leaves its blanks, too, unless
//! it is a text. Where the blanks count (LIKE, `octet_length`, functions of any type) and where it goes
//! among values of other lengths, it is written with them, as it is when it is shown.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, Cast, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, WindowFunctionDefinition, lit};

use super::binary::constant;
use super::projected::with_columns;
use crate::postgres::functions::{NAMED_ROW, cast_to, with_blanks, with_blanks_of, without_blanks};
use crate::types::SqlType;

/// The type of an expression among texts.
#[derive(Clone, PartialEq)]
enum TextKind {
    /// NULL, a constant in quotes, a parameter.
    Untyped,
    /// TEXT, VARCHAR or CHAR, and `name`.
    Typed(SqlType),
    Other,
}

fn kind(expr: &Expr, schema: &DFSchema) -> TextKind {
    match expr {
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, None) => TextKind::Untyped,
        Expr::Placeholder(placeholder) if placeholder.field.is_none() => TextKind::Untyped,
        // It may be a long chain, whose type each link would ask for again.
        Expr::BinaryExpr(_) => TextKind::Typed(SqlType::Text),
        _ => match expr.get_type(schema) {
            Ok(DataType::Null) => TextKind::Untyped,
            Ok(of) if of.is_string() => match expr.to_field(schema) {
                Ok((_, field)) => of_type(SqlType::from_field(&field)),
                Err(_) => TextKind::Other,
            },
            _ => TextKind::Other,
        },
    }
}

fn of_type(sql_type: SqlType) -> TextKind {
    match sql_type {
        SqlType::Varchar(_) | SqlType::Bpchar(_) | SqlType::Text => TextKind::Typed(sql_type),
        SqlType::Name | SqlType::Char => TextKind::Typed(SqlType::Text),
        SqlType::Unknown => TextKind::Untyped,
        _ => TextKind::Other,
    }
}

/// The type that values of these have together, if one of them is more than a text.
fn common(kinds: &[TextKind]) -> Option<SqlType> {
    let typed = kinds.iter().filter_map(|kind| match kind {
        TextKind::Typed(sql_type) => Some(sql_type),
        _ => None,
    });
    let first = typed.clone().next().filter(|_| !kinds.contains(&TextKind::Other))?;
    let is_one = !kinds.contains(&TextKind::Untyped) && typed.clone().all(|other| other == first);
    if typed.clone().all(|of| *of == SqlType::Text) {
        return None;
    }
    Some(if is_one { first.clone() } else { first.without_length() })
}

/// The expression as that type; `None`: it is.
fn as_type(expr: Expr, own: &TextKind, wanted: &SqlType) -> Option<Expr> {
    match own {
        TextKind::Typed(own) if own == wanted => None,
        TextKind::Typed(own) => Some(cast_to(with_blanks_of(expr, own, wanted), wanted)),
        _ => Some(cast_to(expr, wanted)),
    }
}

/// Gives the results of a CASE and the like the type that they have together, which is to be said of the
/// whole; `None` if DataFusion finds the same.
pub(super) fn together<'e>(
    results: impl IntoIterator<Item = &'e mut Expr>,
    schema: &DFSchema,
) -> Option<SqlType> {
    let results: Vec<&mut Expr> = results.into_iter().collect();
    let kinds: Vec<TextKind> = results.iter().map(|result| kind(result, schema)).collect();
    let wanted = common(&kinds)?;
    for (result, own) in results.into_iter().zip(&kinds) {
        if let Some(cast) = as_type(result.clone(), own, &wanted) {
            *result = cast;
        }
    }
    Some(wanted)
}

/// Sides of a set operation with their texts in the types that they have together; `None` if there is
/// nothing to do.
pub(super) fn of_sides(sides: &[Arc<LogicalPlan>]) -> Result<Option<Vec<Arc<LogicalPlan>>>> {
    let width = sides.iter().map(|side| side.schema().fields().len()).min().unwrap_or(0);
    let kinds_of = |at: usize| -> Vec<TextKind> {
        let kind = |side: &Arc<LogicalPlan>| match constant(side, at) {
            Some(_) => TextKind::Untyped,
            None => of_type(SqlType::from_field(side.schema().field(at))),
        };
        sides.iter().map(kind).collect()
    };
    let columns: Vec<_> = (0..width).map(kinds_of).collect();
    let wanted: Vec<_> = columns.iter().map(|kinds| common(kinds)).collect();
    let is_there = |number: usize, at: usize| match &wanted[at] {
        Some(wanted) => columns[at][number] == TextKind::Typed(wanted.clone()),
        None => true,
    };
    if (0..sides.len()).all(|number| (0..width).all(|at| is_there(number, at))) {
        return Ok(None);
    }
    let side = |(number, side): (usize, &Arc<LogicalPlan>)| {
        let cast = |at: usize, column| {
            as_type(column, &columns.get(at)?[number], wanted.get(at)?.as_ref()?)
        };
        with_columns(side, cast).map(Arc::new)
    };
    sides.iter().enumerate().map(side).collect::<Result<_>>().map(Some)
}

/// Takes the blanks from what is compared with a CHAR, but for texts; says whether there is one.
pub(super) fn compared(sides: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let kinds: Vec<TextKind> = sides.iter().map(|side| kind(side, schema)).collect();
    let is_char = |of: &TextKind| matches!(of, TextKind::Typed(SqlType::Bpchar(_)));
    if !kinds.iter().any(is_char) {
        return false;
    }
    let is_of_chars = !kinds.contains(&TextKind::Typed(SqlType::Text));
    let mut is_changed = false;
    for (side, own) in sides.iter_mut().zip(&kinds) {
        let has_blanks = match own {
            TextKind::Typed(SqlType::Bpchar(length)) => length.is_none(),
            TextKind::Typed(SqlType::Varchar(_)) | TextKind::Untyped => is_of_chars,
            _ => false,
        };
        if let (true, Expr::Literal(ScalarValue::Utf8(Some(text)), _)) = (has_blanks, &**side) {
            **side = lit(text.trim_end_matches(' '));
            is_changed = true;
        } else if has_blanks && !matches!(side, Expr::Literal(..)) {
            **side = without_blanks(std::mem::take(*side));
            is_changed = true;
        }
    }
    is_changed
}

/// Gives a CHAR(n) its blanks; says whether it is one.
pub(super) fn show(expr: &mut Expr, schema: &DFSchema) -> bool {
    let TextKind::Typed(SqlType::Bpchar(Some(length))) = kind(expr, schema) else { return false };
    *expr = with_blanks(std::mem::take(expr), length);
    true
}

/// Functions of any type that see a value as it is shown, rows, and `octet_length`.
const OF_SHOWN: [&str; 6] = ["concat", "concat_ws", "format", "octet_length", "struct", NAMED_ROW];

/// Gives a function the blanks of a CHAR(n) that count there; says whether there are such.
pub(super) fn of_shown(call: &mut ScalarFunction, schema: &DFSchema) -> bool {
    let mut is_changed = false;
    if OF_SHOWN.contains(&call.func.name()) {
        for arg in &mut call.args {
            is_changed |= show(arg, schema);
        }
    }
    is_changed
}

/// A cast from a CHAR, whose blanks are those of the type that it is cast to; `None` for any other.
pub(super) fn cast(cast: &Cast, schema: &DFSchema) -> Option<Expr> {
    let TextKind::Typed(own @ SqlType::Bpchar(_)) = kind(&cast.expr, schema) else { return None };
    let inner = cast.expr.as_ref().clone();
    let value = with_blanks_of(inner, &own, &SqlType::from_field(&cast.field));
    (value != *cast.expr)
        .then(|| Expr::Cast(Cast { expr: Box::new(value), field: Arc::clone(&cast.field) }))
}

/// Takes the blanks from what an aggregate of texts is given; says whether there may be some.
pub(super) fn of_texts(call: &mut AggregateFunction, schema: &DFSchema) -> bool {
    let [text, ..] = &mut call.params.args[..] else { return false };
    if call.func.name() != "string_agg" || of_char(text, schema) != Some(SqlType::Bpchar(None)) {
        return false;
    }
    *text = without_blanks(std::mem::take(text));
    true
}

/// Aggregates, over groups or frames, with the types of what they give said above them, where DataFusion only
/// knows that they are texts: the least and the greatest CHAR, and arrays; `None` if there are no such.
pub(super) fn aggregated(node: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let (input, exprs) = match node {
        LogicalPlan::Aggregate(aggregate) => (&aggregate.input, &aggregate.aggr_expr),
        LogicalPlan::Window(window) => (&window.input, &window.window_expr),
        _ => return Ok(None),
    };
    let said: Vec<_> = exprs.iter().map(|expr| type_of_result(expr, input.schema())).collect();
    if said.iter().all(Option::is_none) {
        return Ok(None);
    }
    let others = node.schema().fields().len() - said.len();
    let say =
        |at: usize, column| Some(cast_to(column, said.get(at.checked_sub(others)?)?.as_ref()?));
    with_columns(&Arc::new(node.clone()), say).map(Some)
}

/// The type of what an aggregate gives, if DataFusion does not know it.
fn type_of_result(expr: &Expr, schema: &DFSchema) -> Option<SqlType> {
    let (name, args) = match expr {
        Expr::Alias(alias) => return type_of_result(&alias.expr, schema),
        Expr::AggregateFunction(call) => (call.func.name(), &call.params.args),
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => {
                (function.name(), &call.params.args)
            }
            WindowFunctionDefinition::WindowUDF(_) => return None,
        },
        _ => return None,
    };
    let TextKind::Typed(own) = kind(args.first()?, schema) else { return None };
    match (name, own) {
        ("min" | "max", own @ SqlType::Bpchar(_)) => Some(own),
        ("array_agg", own @ (SqlType::Varchar(_) | SqlType::Bpchar(_))) => {
            Some(SqlType::Array(Box::new(own)))
        }
        _ => None,
    }
}

/// The value of a NULLIF and its type, if it is a CHAR: beside a text it is compared as one, and is one.
pub(super) fn of_nullif(value: &Expr, other: &Expr, schema: &DFSchema) -> Option<(Expr, SqlType)> {
    let own = of_char(value, schema)?;
    let is_text = kind(other, schema) == TextKind::Typed(SqlType::Text);
    let to = if is_text { SqlType::Text } else { own.clone() };
    Some((with_blanks_of(value.clone(), &own, &to), to))
}

/// The type of a CHAR.
fn of_char(expr: &Expr, schema: &DFSchema) -> Option<SqlType> {
    match kind(expr, schema) {
        TextKind::Typed(own @ SqlType::Bpchar(_)) => Some(own),
        _ => None,
    }
}
