//! Which types can be assigned to which.
//!
//! Postgres converts on assignment between numbers, between dates and timestamps, and from anything
//! to text; not from text to something else, nor between booleans and numbers (PostgreSQL manual,
//! "Value Storage"). A column is assigned to, and so is the result of a function.

use arrow::datatypes::DataType;

use super::SqlType;

/// Types that are converted into each other on assignment, but for `Other`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Number,
    Text,
    Json,
    Moment,
    Other,
}

/// The family of a type.
pub(crate) fn family(sql_type: &SqlType) -> Family {
    match sql_type {
        SqlType::SmallInt | SqlType::Int | SqlType::BigInt | SqlType::Oid => Family::Number,
        SqlType::Real | SqlType::Double | SqlType::Decimal(_) => Family::Number,
        SqlType::Text | SqlType::Varchar(_) | SqlType::Bpchar(_) => Family::Text,
        SqlType::Name | SqlType::Char | SqlType::Unknown => Family::Text,
        SqlType::Json | SqlType::Jsonb => Family::Json,
        SqlType::Date | SqlType::Timestamp(_) | SqlType::TimestampTz(_) => Family::Moment,
        SqlType::Boolean | SqlType::Bytea | SqlType::Time | SqlType::Interval | SqlType::Uuid => {
            Family::Other
        }
        SqlType::Array(_) | SqlType::Row(_) => Family::Other,
    }
}

/// Whether what has one type can be assigned to the other; `data_type` is what holds it.
pub(crate) fn is_assignable(from: &SqlType, data_type: &DataType, to: &SqlType) -> bool {
    if *data_type == DataType::Null || *from == SqlType::Unknown || from == to {
        return true;
    }
    match (from, to) {
        (SqlType::Array(a), SqlType::Array(b)) => {
            let null =
                matches!(data_type, DataType::List(item) if *item.data_type() == DataType::Null);
            null || is_assignable(a, &a.data_type(), b)
        }
        (SqlType::Row(a), SqlType::Row(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|((_, a), (_, b))| is_assignable(a, &a.data_type(), b))
        }
        (SqlType::Timestamp(_) | SqlType::TimestampTz(_), SqlType::Time) => true,
        (SqlType::Interval, SqlType::Time) | (SqlType::Time, SqlType::Interval) => true,
        _ => {
            let (a, b) = (family(from), family(to));
            b == Family::Text || a == b && a != Family::Other
        }
    }
}
