//! Which types can be cast to which (PostgreSQL manual, `pg_cast`). DataFusion casts numbers to times, by
//! the units that they are stored in, and anything to JSON.

use arrow::datatypes::Field;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::ExprSchemable;
use datafusion::logical_expr::expr::Cast;

use crate::error::{Error, SqlState};
use crate::types::SqlType;

/// Types that are cast alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CastFamily {
    Boolean,
    /// The only numbers that are cast to booleans and back.
    Int,
    Number,
    Date,
    Time,
    Timestamp,
    Interval,
    Json,
    /// All others, which are not looked at here.
    Other,
}

fn family(of: &SqlType) -> CastFamily {
    match of {
        SqlType::Boolean => CastFamily::Boolean,
        SqlType::Int => CastFamily::Int,
        SqlType::SmallInt
        | SqlType::BigInt
        | SqlType::Real
        | SqlType::Double
        | SqlType::Decimal(_) => CastFamily::Number,
        SqlType::Date => CastFamily::Date,
        SqlType::Time => CastFamily::Time,
        SqlType::Timestamp(_) | SqlType::TimestampTz(_) => CastFamily::Timestamp,
        SqlType::Interval => CastFamily::Interval,
        SqlType::Json | SqlType::Jsonb => CastFamily::Json,
        _ => CastFamily::Other,
    }
}

fn types(cast: &Cast, schema: &DFSchema) -> Result<(SqlType, SqlType)> {
    // Not its field, of which the name of a long chain would be made.
    let from = Field::new("", cast.expr.get_type(schema)?, true);
    Ok((SqlType::from_field(&from), SqlType::from_field(&cast.field)))
}

/// Whether there is such a cast.
pub(super) fn is_castable(cast: &Cast, schema: &DFSchema) -> bool {
    use CastFamily::{Boolean, Date, Int, Interval, Json, Number, Other, Time, Timestamp};
    if family(&SqlType::from_field(&cast.field)) == Other {
        return true;
    }
    let Ok((from, to)) = types(cast, schema) else { return true };
    let (from, to) = (family(&from), family(&to));
    from == to
        || from == Other
        || matches!(
            (from, to),
            (Int | Number, Int | Number)
                | (Boolean, Int)
                | (Int, Boolean)
                | (Date, Timestamp)
                | (Timestamp, Date | Time)
                | (Time, Interval)
                | (Interval, Time)
                | (Json, Boolean | Int | Number)
        )
}

/// 42846, with another way to the value.
pub(super) fn missing(cast: &Cast, schema: &DFSchema) -> Result<Error> {
    use CastFamily::{Date, Int, Json, Number, Timestamp};
    let (from, to) = types(cast, schema)?;
    let error = Error::new(SqlState::CannotCast, format!("cannot cast type {from} to {to}"));
    Ok(match (family(&from), family(&to)) {
        (Int | Number, Date | Timestamp) => {
            error.hint("to_timestamp(seconds) is the moment so many seconds after 1970.")
        }
        (Date | Timestamp, Int | Number) => {
            error.hint("extract(epoch FROM …) gives the seconds since 1970.")
        }
        (_, Json) => error.hint("Use to_jsonb."),
        _ => error,
    })
}
