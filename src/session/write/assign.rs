//! Assignment casts: a column of an expression's type becomes a column of the target's type, or the
//! statement fails.
//!
//! Which pairs of types there are is [`crate::types::assignment`]. Values that do not fit are errors,
//! never NULL.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Float64Type};
use bytes::BytesMut;

use crate::catalog::Column;
use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::{ColumnBuilder, Encoder, TextStyle};
use crate::types::assignment::{Family, family, is_assignable};
use crate::types::{SqlType, Zone};

/// The values of an expression as values of the column. `field` tells their type.
pub(super) fn assign(
    values: &ArrayRef,
    field: &Field,
    column: &Column,
    style: &TextStyle,
) -> Result<ArrayRef> {
    check(field, values.data_type(), column)?;
    convert(values, field, &column.sql_type, style)
}

/// 42804 unless values of that type can be assigned to the column.
pub(in crate::session) fn check(
    field: &Field,
    data_type: &DataType,
    column: &Column,
) -> Result<()> {
    let from = SqlType::from_field(field);
    if !is_assignable(&from, data_type, &column.sql_type) {
        let what = format!(
            "column \"{}\" is of type {} but expression is of type {from}",
            column.name, column.sql_type
        );
        return Err(Error::new(SqlState::TypeMismatch, what)
            .hint("You will need to rewrite or cast the expression."));
    }
    Ok(())
}

/// The conversion itself; the pair of types has been found to be assignable.
fn convert(values: &ArrayRef, field: &Field, to: &SqlType, style: &TextStyle) -> Result<ArrayRef> {
    let from = SqlType::from_field(field);
    let wanted = to.data_type();
    if *values.data_type() == DataType::Null || values.null_count() == values.len() {
        return Ok(new_null_array(&wanted, values.len()));
    }
    match (&from, to) {
        (_, SqlType::Text | SqlType::Name | SqlType::Char | SqlType::Unknown)
            if family(&from) == Family::Text =>
        {
            Ok(cast(values, &wanted)?)
        }
        (SqlType::Json, SqlType::Json) | (SqlType::Jsonb, SqlType::Json | SqlType::Jsonb) => {
            Ok(cast(values, &wanted)?)
        }
        (_, SqlType::Varchar(None)) if family(&from) == Family::Text => Ok(cast(values, &wanted)?),
        (SqlType::Varchar(Some(n)), SqlType::Varchar(Some(m)))
        | (SqlType::Bpchar(Some(n)), SqlType::Varchar(Some(m)) | SqlType::Bpchar(Some(m)))
            if n <= m =>
        {
            Ok(cast(values, &wanted)?)
        }
        // Its blanks are those of the other type, if any.
        (SqlType::Bpchar(_), _) if family(to) == Family::Text => {
            through_text(values, &SqlType::Text.to_field("", true), to, style)
        }
        (SqlType::Unknown, _) => through_text(values, field, to, style),
        _ if family(to) == Family::Text || family(to) == Family::Json => {
            through_text(values, field, to, style)
        }
        _ if family(&from) == Family::Number => number(values, &from, to),
        (SqlType::Timestamp(_), SqlType::TimestampTz(_))
        | (SqlType::TimestampTz(_), SqlType::Timestamp(_))
        | (SqlType::TimestampTz(_), SqlType::Date | SqlType::Time)
        | (SqlType::Date, SqlType::TimestampTz(_))
            if !is_utc(style) =>
        {
            through_text(values, field, to, style)
        }
        (SqlType::Timestamp(p), SqlType::Timestamp(q))
        | (SqlType::TimestampTz(p), SqlType::TimestampTz(q))
            if p <= q =>
        {
            ticks(values, &wanted)
        }
        _ if family(&from) == Family::Moment && family(to) == Family::Moment => match to {
            // Fewer digits than the value has are rounded, which reading the text does.
            SqlType::Timestamp(p) | SqlType::TimestampTz(p) if *p < 6 => {
                through_text(values, field, to, style)
            }
            _ => ticks(values, &wanted),
        },
        (SqlType::Array(_), SqlType::Array(_)) => list(values, to, style),
        (SqlType::Row(_), SqlType::Row(_)) => row(values, to, style),
        _ if *values.data_type() == wanted => Ok(Arc::clone(values)),
        _ => strict(values, &wanted),
    }
}

fn is_utc(style: &TextStyle) -> bool {
    matches!(Zone::of_setting(&style.time_zone), Ok(Zone::Utc))
}

/// A cast in which a value that does not fit is an error.
fn strict(values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(values, wanted, &options)?)
}

/// Between timestamps of several units: ±infinity stays what it is.
fn ticks(values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    let units = |t: &DataType| match t {
        DataType::Timestamp(unit, _) => Some(*unit),
        _ => None,
    };
    match (units(values.data_type()), units(wanted)) {
        (Some(a), Some(b)) if a == b => Ok(cast(values, wanted)?),
        (Some(_), Some(_)) => {
            let raw = cast(values, &DataType::Int64)?;
            let raw = raw.as_primitive::<arrow::datatypes::Int64Type>();
            let is_infinite = raw.iter().flatten().any(|tick| tick == i64::MAX || tick == i64::MIN);
            if is_infinite {
                let options = CastOptions::default();
                let finite = cast_with_options(values, wanted, &options)?;
                let finite = cast(&finite, &DataType::Int64)?;
                let finite = finite.as_primitive::<arrow::datatypes::Int64Type>();
                let mixed: Int64Array = raw
                    .iter()
                    .zip(finite.iter())
                    .map(|(raw, finite)| {
                        raw.filter(|tick| *tick == i64::MAX || *tick == i64::MIN).or(finite)
                    })
                    .collect();
                Ok(cast(&(Arc::new(mixed) as ArrayRef), wanted)?)
            } else {
                strict(values, wanted)
                    .map_err(|_| Error::new(SqlState::DatetimeOverflow, "timestamp out of range"))
            }
        }
        _ => strict(values, wanted),
    }
}

/// Written as text and read again as the other type: what Postgres calls an I/O conversion.
fn through_text(
    values: &ArrayRef,
    field: &Field,
    to: &SqlType,
    style: &TextStyle,
) -> Result<ArrayRef> {
    let encoder = Encoder::new(field);
    let zone = Zone::of_setting(&style.time_zone).unwrap_or(Zone::Utc);
    let mut column = ColumnBuilder::new(to, values.len()).in_zone(zone);
    let mut text = BytesMut::new();
    for row in 0..values.len() {
        if encoder.is_null(values.as_ref(), row) {
            column.append_null()
        } else {
            text.clear();
            encoder.text(values.as_ref(), row, style, &mut text);
            column.append_text(&text)?;
        }
    }
    Ok(column.finish())
}

/// Between numbers: exact where it can be, rounded where digits are lost, 22003 where it does not
/// fit.
fn number(values: &ArrayRef, from: &SqlType, to: &SqlType) -> Result<ArrayRef> {
    let wanted = to.data_type();
    let out_of_range = || match to {
        SqlType::Decimal(_) => Error::new(SqlState::OutOfRange, "numeric field overflow"),
        other => Error::new(SqlState::OutOfRange, format!("{other} out of range")),
    };
    if *values.data_type() == wanted {
        return Ok(Arc::clone(values));
    }
    let is_whole = matches!(to, SqlType::SmallInt | SqlType::Int | SqlType::BigInt | SqlType::Oid);
    let from_float = matches!(from, SqlType::Real | SqlType::Double);
    if is_whole && from_float {
        let floats = cast(values, &DataType::Float64)?;
        let rounded: Float64Array =
            floats.as_primitive::<Float64Type>().unary(f64::round_ties_even);
        // 2^63 has no bigint, but its nearest double casts to the greatest one.
        let bound = 2_f64.powi(63);
        if rounded.iter().flatten().any(|v| !(-bound..bound).contains(&v)) {
            return Err(out_of_range());
        }
        let whole = strict(&(Arc::new(rounded) as ArrayRef), &DataType::Int64)?;
        return strict(&whole, &wanted).map_err(|_| out_of_range());
    }
    if is_whole && matches!(from, SqlType::Decimal(_)) {
        // Arrow cuts the digits after the point; Postgres rounds them, halves away from zero.
        let rounded = match values.data_type() {
            DataType::Decimal128(_, _) => strict(values, &DataType::Decimal128(38, 0)),
            _ => strict(values, &DataType::Decimal256(76, 0)),
        };
        let rounded = rounded.map_err(|_| out_of_range())?;
        return strict(&rounded, &wanted).map_err(|_| out_of_range());
    }
    if matches!(to, SqlType::Decimal(_)) && from_float {
        return decimal_of_float(values, to);
    }
    let cast = strict(values, &wanted).map_err(|_| out_of_range())?;
    if let (SqlType::Real, SqlType::Double | SqlType::Decimal(_)) = (to, from) {
        let narrow = cast.as_primitive::<arrow::datatypes::Float32Type>();
        let before = strict(values, &DataType::Float64)?;
        let before = before.as_primitive::<Float64Type>();
        if narrow
            .iter()
            .zip(before.iter())
            .any(|(n, b)| n.is_some_and(f32::is_infinite) && b.is_some_and(f64::is_finite))
        {
            return Err(out_of_range());
        }
    }
    Ok(cast)
}

/// A float becomes the decimal number that it is written as: 0.1 is 0.1.
fn decimal_of_float(values: &ArrayRef, to: &SqlType) -> Result<ArrayRef> {
    let mut column = ColumnBuilder::new(to, values.len());
    let floats = cast(values, &DataType::Utf8)?;
    for value in floats.as_string::<i32>() {
        match value {
            Some(text) => column.append_text(text.as_bytes())?,
            None => column.append_null(),
        }
    }
    Ok(column.finish())
}

fn list(values: &ArrayRef, to: &SqlType, style: &TextStyle) -> Result<ArrayRef> {
    let wanted = to.data_type();
    let (DataType::List(item), SqlType::Array(element)) = (&wanted, to) else {
        return Err(Error::internal("an array is assigned to something else"));
    };
    let values = match values.data_type() {
        DataType::List(_) => Arc::clone(values),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            strict(values, &DataType::List(Arc::clone(item)))?
        }
        other => return Err(Error::internal(format!("{other} is no list"))),
    };
    let from = values.as_list::<i32>();
    let DataType::List(inner) = values.data_type() else {
        return Err(Error::internal("a list has no element"));
    };
    let elements = convert(from.values(), inner, element, style)?;
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(item),
        from.offsets().clone(),
        elements,
        from.nulls().cloned(),
    )?))
}

fn row(values: &ArrayRef, to: &SqlType, style: &TextStyle) -> Result<ArrayRef> {
    let wanted = to.data_type();
    let (DataType::Struct(fields), SqlType::Row(types)) = (&wanted, to) else {
        return Err(Error::internal("a row is assigned to something else"));
    };
    let from = values.as_struct();
    let columns = from.columns().iter().zip(from.fields()).zip(types);
    let columns = columns
        .map(|((column, field), (_, t))| convert(column, field, t, style))
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, from.nulls().cloned())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(sql_type: SqlType) -> Column {
        Column::new("x", sql_type)
    }

    fn check(values: ArrayRef, to: SqlType) -> Result<String> {
        let field = Field::new("v", values.data_type().clone(), true);
        let to_field = to.to_field("x", true);
        let assigned = assign(&values, &field, &column(to), &TextStyle::default())?;
        let mut out = BytesMut::new();
        Encoder::new(&to_field).text(assigned.as_ref(), 0, &TextStyle::default(), &mut out);
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn numbers_are_rounded_as_in_postgres_and_must_fit() {
        let floats = |v: f64| Arc::new(Float64Array::from(vec![v])) as ArrayRef;
        assert_eq!(check(floats(2.5), SqlType::Int).unwrap(), "2");
        assert_eq!(check(floats(0.1), SqlType::Decimal(Some((5, 2)))).unwrap(), "0.10");
        assert_eq!(check(floats(1e10), SqlType::Int).unwrap_err().state(), SqlState::OutOfRange);
        assert_eq!(
            check(floats(f64::NAN), SqlType::BigInt).unwrap_err().state(),
            SqlState::OutOfRange
        );
        let decimals: ArrayRef = Arc::new(
            Decimal128Array::from_iter_values([25_i128]).with_precision_and_scale(3, 1).unwrap(),
        );
        assert_eq!(check(Arc::clone(&decimals), SqlType::Int).unwrap(), "3");
        assert_eq!(check(decimals, SqlType::Text).unwrap(), "2.5");
    }

    #[test]
    fn text_is_not_assigned_to_a_number_and_must_not_be_too_long() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["12345"]));
        assert_eq!(
            check(Arc::clone(&text), SqlType::Int).unwrap_err().state(),
            SqlState::TypeMismatch
        );
        assert_eq!(
            check(Arc::clone(&text), SqlType::Varchar(Some(3))).unwrap_err().state(),
            SqlState::StringTooLong
        );
        assert_eq!(check(text, SqlType::Varchar(Some(5))).unwrap(), "12345");
    }

    #[test]
    fn an_infinite_timestamp_stays_infinite_in_another_unit() {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]));
        assert_eq!(check(Arc::clone(&times), SqlType::Timestamp(9)).unwrap(), "infinity");
    }
}
