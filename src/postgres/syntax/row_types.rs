//! The types of the rows of VALUES: what has none of its own has that of the others in its column, and
//! of several types it is the widest (PostgreSQL manual, 10.5).
//!
//! What a type says beyond what is kept of it, DataFusion compares from row to row as it is written, and
//! refuses rows that differ.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Ident, Interval, ObjectName, ObjectNamePart,
    TimezoneInfo, UnaryOperator, Value, Values,
};

use super::spellings::case_when;
use crate::sql::{interval_text, sql_type};
use crate::types::SqlType;

/// In `VALUES ('{}'::jsonb), (NULL), ('[]')` all are JSONB.
pub fn type_rows(values: &mut Values) {
    let width = values.rows.iter().map(|row| row.content.len()).min().unwrap_or(0);
    for at in 0..width {
        let written: Vec<DataType> =
            values.rows.iter().filter_map(|row| written_type(&row.content[at])).collect();
        let is_all = written.len() == values.rows.len();
        let Some(data_type) = common(&written, is_all) else { continue };
        for cell in values.rows.iter_mut().map(|row| &mut row.content[at]) {
            let is_other = match written_type(cell) {
                Some(own) => own != data_type,
                None => takes(cell, &data_type),
            };
            if is_other {
                *cell = typed(cell.clone(), &data_type);
            }
        }
    }
}

/// The type that an expression says it has.
fn written_type(expr: &Expr) -> Option<DataType> {
    match expr {
        Expr::Nested(inner) => written_type(inner),
        Expr::Cast { data_type, .. } => Some(data_type.clone()),
        Expr::TypedString(typed) => Some(typed.data_type.clone()),
        Expr::Interval(_) => Some(DataType::Interval { fields: None, precision: None }),
        _ => None,
    }
}

/// The type of all of these, the same or the widest; None: they are of no one kind. `is_all`: there are
/// no others, which would not be cut to the first ones' length.
fn common(written: &[DataType], is_all: bool) -> Option<DataType> {
    let (first, rest) = written.split_first()?;
    let is_same = rest.iter().all(|other| other == first);
    if is_same && (is_all || sql_type(first).is_ok_and(|of| place(&of).is_none())) {
        return Some(first.clone());
    }
    let places = written.iter().map(|of| place(&sql_type(of).ok()?)).collect::<Option<Vec<_>>>()?;
    let (kind, _) = *places.first()?;
    if places.iter().any(|(other, _)| *other != kind) {
        return None;
    }
    let (_, widest) = places.into_iter().max()?;
    Some(match (kind, widest) {
        (TypeFamily::Number, 0) => DataType::SmallInt(None),
        (TypeFamily::Number, 1) => DataType::Int(None),
        (TypeFamily::Number, 2) => DataType::BigInt(None),
        (TypeFamily::Number, 3) => DataType::Numeric(ExactNumberInfo::None),
        (TypeFamily::Number, 4) => DataType::Real,
        (TypeFamily::Number, _) => DataType::DoublePrecision,
        (TypeFamily::Text, _) => text_type(first),
        (TypeFamily::Time, 0) => DataType::Date,
        (TypeFamily::Time, 1) => DataType::Timestamp(None, TimezoneInfo::None),
        (TypeFamily::Time, _) => DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
    })
}

/// A type of texts without its length.
fn text_type(of: &DataType) -> DataType {
    match sql_type(of) {
        Ok(SqlType::Varchar(_)) => DataType::Varchar(None),
        Ok(SqlType::Bpchar(_)) => {
            let name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new("bpchar"))]);
            DataType::Custom(name, vec![])
        }
        _ => DataType::Text,
    }
}

/// Types of which one is wider than another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TypeFamily {
    Number,
    Text,
    Time,
}

fn place(of: &SqlType) -> Option<(TypeFamily, u8)> {
    Some(match of {
        SqlType::SmallInt => (TypeFamily::Number, 0),
        SqlType::Int => (TypeFamily::Number, 1),
        SqlType::BigInt => (TypeFamily::Number, 2),
        SqlType::Decimal(_) => (TypeFamily::Number, 3),
        SqlType::Real => (TypeFamily::Number, 4),
        SqlType::Double => (TypeFamily::Number, 5),
        SqlType::Varchar(_) | SqlType::Bpchar(_) | SqlType::Text => (TypeFamily::Text, 0),
        SqlType::Date => (TypeFamily::Time, 0),
        SqlType::Timestamp(_) => (TypeFamily::Time, 1),
        SqlType::TimestampTz(_) => (TypeFamily::Time, 2),
        _ => return None,
    })
}

/// Whether an expression that says no type is of this one beside others that are.
fn takes(cell: &Expr, data_type: &DataType) -> bool {
    match cell {
        Expr::Value(value) if !matches!(value.value, Value::Number(..)) => true,
        _ if matches!(data_type, DataType::Numeric(ExactNumberInfo::None)) => is_number(cell),
        Expr::Value(_) => false,
        // Of a function's result DataFusion would find that it is not told the type in the same words.
        _ => matches!(
            data_type,
            DataType::Text | DataType::Timestamp(..) | DataType::JSONB | DataType::JSON
        ),
    }
}

/// Whether it is computed of written numbers.
fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::Nested(inner) => is_number(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => is_number(expr),
        Expr::BinaryOp { left, right, .. } => is_number(left) && is_number(right),
        _ => false,
    }
}

fn typed(cell: Expr, data_type: &DataType) -> Expr {
    if matches!(data_type, DataType::Interval { .. })
        && let Expr::Value(value) = &cell
        && let Value::SingleQuotedString(text) = &value.value
        && let Ok(parts) = interval_text(text)
    {
        return Expr::Interval(Interval {
            value: Box::new(Expr::value(Value::SingleQuotedString(parts.to_string()))),
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        });
    }
    // DataFusion would keep what a numeric says of itself in the cast of it.
    let is_numeric = |of: &DataType| matches!(sql_type(of), Ok(SqlType::Decimal(_)));
    let cell = match written_type(&cell) {
        Some(own) if is_numeric(&own) && !is_numeric(data_type) => {
            case_when(Expr::value(Value::Boolean(true)), cell, Expr::value(Value::Null))
        }
        _ => cell,
    };
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(cell),
        data_type: data_type.clone(),
        array: false,
        format: None,
    }
}
