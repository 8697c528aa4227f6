//! One column's values on their way out.
//!
//! An [`Encoder`] knows from the field which of Arrow's layouts the values are in and how Postgres
//! wants them; per value it downcasts the array, which is one comparison, and writes.

use arrow::array::types::{IntervalDayTimeType, IntervalMonthDayNanoType, IntervalYearMonthType};
use arrow::array::{Array, ArrowPrimitiveType, AsArray, downcast_dictionary_array};
use arrow::datatypes::*;
use bytes::{BufMut, BytesMut};

use super::datetime_in::{POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROS};
use super::numeric::{self, Magnitude, Shown};
use super::{TextStyle, nested_out, scalar_out};
use crate::error::{Error, Result, SqlState};
use crate::time::DAY_MICROS;
use crate::types::{SqlType, WIDE_NUMERIC};

/// Writes the values of one column.
#[derive(Debug, Clone)]
pub struct Encoder {
    pub(crate) layout: Layout,
    sql_type: SqlType,
}

/// How the values lie in memory.
#[derive(Debug, Clone)]
pub(crate) enum Layout {
    /// One of Arrow's flat types; which one is told by the array.
    Flat(DataType),
    /// Any of the list types; the encoder of the elements.
    List(Box<Encoder>),
    Struct(Vec<Encoder>),
    /// Keys and values, written as a JSON object.
    Map(Box<Encoder>, Box<Encoder>),
    /// Dictionary and run-end encoding: a value stands elsewhere.
    Indirect(Box<Encoder>),
    Union(Vec<(i8, Encoder)>),
}

impl Encoder {
    /// For the values of this field.
    pub fn new(field: &Field) -> Self {
        let of = |field: &Field| Box::new(Encoder::new(field));
        let layout = match field.data_type() {
            DataType::List(f)
            | DataType::LargeList(f)
            | DataType::FixedSizeList(f, _)
            | DataType::ListView(f)
            | DataType::LargeListView(f) => Layout::List(of(f)),
            DataType::Struct(fields) => {
                Layout::Struct(fields.iter().map(|f| Encoder::new(f)).collect())
            }
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(kv) if kv.len() == 2 => Layout::Map(of(&kv[0]), of(&kv[1])),
                other => Layout::Flat(other.clone()),
            },
            DataType::Dictionary(_, values) => {
                Layout::Indirect(of(&field.clone().with_data_type((**values).clone())))
            }
            DataType::RunEndEncoded(_, values) => Layout::Indirect(of(values)),
            DataType::Union(fields, _) => {
                Layout::Union(fields.iter().map(|(id, f)| (id, Encoder::new(f))).collect())
            }
            flat => Layout::Flat(flat.clone()),
        };
        Encoder { layout, sql_type: SqlType::from_field(field) }
    }

    /// The SQL type the values are written as.
    pub fn sql_type(&self) -> &SqlType {
        &self.sql_type
    }

    /// Whether the value is NULL, for every layout (a `NullArray` or a dictionary hides it from
    /// `Array::is_null`).
    pub fn is_null(&self, array: &dyn Array, row: usize) -> bool {
        if array.is_null(row) {
            return true;
        }
        match &self.layout {
            Layout::Flat(DataType::Null) => true,
            Layout::Indirect(inner) => match indirect(array, row) {
                Some((values, index)) => inner.is_null(values, index),
                None => true,
            },
            Layout::Union(children) => {
                let union = array.as_union();
                let child = children.iter().find(|(id, _)| *id == union.type_id(row));
                child.is_none_or(|(id, inner)| {
                    inner.is_null(union.child(*id), union.value_offset(row))
                })
            }
            Layout::Flat(_) | Layout::List(_) | Layout::Struct(_) | Layout::Map(_, _) => false,
        }
    }

    /// Appends a value that is not NULL, as text.
    pub fn text(&self, array: &dyn Array, row: usize, style: &TextStyle, out: &mut BytesMut) {
        match &self.layout {
            Layout::Flat(data_type) => self.flat_text(data_type, array, row, style, out),
            Layout::List(element) => nested_out::array_text(element, array, row, style, out),
            Layout::Struct(fields) => nested_out::record_text(fields, array, row, style, out),
            Layout::Map(key, value) => nested_out::map_text(key, value, array, row, style, out),
            Layout::Indirect(inner) => {
                if let Some((values, index)) = indirect(array, row) {
                    inner.text(values, index, style, out);
                }
            }
            Layout::Union(children) => {
                let union = array.as_union();
                if let Some((id, inner)) = children.iter().find(|(id, _)| *id == union.type_id(row))
                {
                    inner.text(union.child(*id), union.value_offset(row), style, out);
                }
            }
        }
    }

    /// Appends a value that is not NULL, in the binary format; without its length.
    pub fn binary(&self, array: &dyn Array, row: usize, out: &mut BytesMut) -> Result<()> {
        match &self.layout {
            Layout::Flat(data_type) => self.flat_binary(data_type, array, row, out)?,
            Layout::List(element) => nested_out::array_binary(element, array, row, out)?,
            Layout::Struct(fields) => nested_out::record_binary(fields, array, row, out)?,
            Layout::Map(..) => {
                out.put_u8(1);
                self.text(array, row, &TextStyle::default(), out);
            }
            Layout::Indirect(inner) => {
                if let Some((values, index)) = indirect(array, row) {
                    inner.binary(values, index, out)?;
                }
            }
            Layout::Union(_) => self.text(array, row, &TextStyle::default(), out),
        }
        Ok(())
    }

    /// Appends a value that is not NULL, in the binary format, behind its length in four bytes.
    pub fn sized(&self, array: &dyn Array, row: usize, out: &mut BytesMut) -> Result<()> {
        nested_out::sized(self, array, row, out)
    }

    fn flat_text(
        &self,
        data_type: &DataType,
        array: &dyn Array,
        row: usize,
        style: &TextStyle,
        out: &mut BytesMut,
    ) {
        match data_type {
            DataType::Boolean => {
                out.put_u8(if array.as_boolean().value(row) { b't' } else { b'f' })
            }
            DataType::Int8 => scalar_out::integer(value::<Int8Type>(array, row), out),
            DataType::Int16 => scalar_out::integer(value::<Int16Type>(array, row), out),
            DataType::Int32 => scalar_out::integer(value::<Int32Type>(array, row), out),
            DataType::Int64 => scalar_out::integer(value::<Int64Type>(array, row), out),
            DataType::UInt8 => scalar_out::integer(value::<UInt8Type>(array, row), out),
            DataType::UInt16 => scalar_out::integer(value::<UInt16Type>(array, row), out),
            DataType::UInt32 => scalar_out::integer(value::<UInt32Type>(array, row), out),
            DataType::UInt64 => scalar_out::integer(value::<UInt64Type>(array, row), out),
            DataType::Float16 => scalar_out::float4(value::<Float16Type>(array, row).to_f32(), out),
            DataType::Float32 => scalar_out::float4(value::<Float32Type>(array, row), out),
            DataType::Float64 => scalar_out::float8(value::<Float64Type>(array, row), out),
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => {
                let (magnitude, scale) = magnitude(data_type, array, row);
                numeric::text(&magnitude, scale, self.shown(), out);
            }
            DataType::Date32 => scalar_out::date(value::<Date32Type>(array, row), out),
            DataType::Date64 | DataType::Timestamp(_, _) => {
                let (ticks, per_second) = timestamp(data_type, array, row);
                let zone =
                    matches!(data_type, DataType::Timestamp(_, Some(_))).then(|| style.zone());
                scalar_out::timestamp(ticks, per_second, zone.as_ref(), out);
            }
            DataType::Time32(_) | DataType::Time64(_) => {
                let (ticks, per_second) = time(data_type, array, row);
                scalar_out::time(ticks, per_second, out);
            }
            DataType::Interval(_) | DataType::Duration(_) => {
                let (months, days, nanos) = interval(data_type, array, row);
                scalar_out::interval(months, days, nanos, out);
            }
            DataType::FixedSizeBinary(16) if self.sql_type == SqlType::Uuid => {
                scalar_out::uuid(array.as_fixed_size_binary().value(row), out);
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                self.string(bytes_of(data_type, array, row), out);
            }
            _ => scalar_out::bytea(bytes_of(data_type, array, row), style.bytea_output, out),
        }
    }

    fn flat_binary(
        &self,
        data_type: &DataType,
        array: &dyn Array,
        row: usize,
        out: &mut BytesMut,
    ) -> Result<()> {
        match data_type {
            DataType::Boolean => out.put_u8(u8::from(array.as_boolean().value(row))),
            _ if data_type.is_integer() => return self.integer_binary(data_type, array, row, out),
            DataType::Float16 => out.put_f32(value::<Float16Type>(array, row).to_f32()),
            DataType::Float32 => out.put_f32(value::<Float32Type>(array, row)),
            DataType::Float64 => out.put_f64(value::<Float64Type>(array, row)),
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => {
                let (magnitude, scale) = magnitude(data_type, array, row);
                numeric::binary(&magnitude, scale, self.shown(), out);
            }
            DataType::Date32 => match value::<Date32Type>(array, row) {
                infinite @ (i32::MAX | i32::MIN) => out.put_i32(infinite),
                days => out.put_i32(
                    days.checked_sub(POSTGRES_EPOCH_DAYS).ok_or_else(|| out_of_range("date"))?,
                ),
            },
            DataType::Date64 | DataType::Timestamp(_, _) => {
                let (ticks, per_second) = timestamp(data_type, array, row);
                let shifted = match scalar_out::micros(ticks, per_second) {
                    infinite @ Some(i64::MAX | i64::MIN) => infinite,
                    micros => micros.and_then(|m| m.checked_sub(POSTGRES_EPOCH_MICROS)),
                };
                out.put_i64(shifted.ok_or_else(|| out_of_range("timestamp"))?);
            }
            DataType::Time32(_) | DataType::Time64(_) => {
                let (ticks, per_second) = time(data_type, array, row);
                out.put_i64(
                    scalar_out::micros(ticks, per_second).unwrap_or(0).clamp(0, DAY_MICROS),
                );
            }
            DataType::Interval(_) | DataType::Duration(_) => {
                let (months, days, nanos) = interval(data_type, array, row);
                out.put_i64(nanos / 1_000);
                out.put_i32(days);
                out.put_i32(months);
            }
            _ => {
                if self.sql_type == SqlType::Jsonb {
                    out.put_u8(1);
                }
                self.string(bytes_of(data_type, array, row), out);
            }
        }
        Ok(())
    }

    /// Integers go out in the width of the SQL type, which for Arrow's unsigned and 8-bit types is
    /// another.
    fn integer_binary(
        &self,
        data_type: &DataType,
        array: &dyn Array,
        row: usize,
        out: &mut BytesMut,
    ) -> Result<()> {
        let wide: i128 = match data_type {
            DataType::Int8 => value::<Int8Type>(array, row).into(),
            DataType::Int16 => value::<Int16Type>(array, row).into(),
            DataType::Int32 => value::<Int32Type>(array, row).into(),
            DataType::Int64 => value::<Int64Type>(array, row).into(),
            DataType::UInt8 => value::<UInt8Type>(array, row).into(),
            DataType::UInt16 => value::<UInt16Type>(array, row).into(),
            DataType::UInt32 => value::<UInt32Type>(array, row).into(),
            _ => value::<UInt64Type>(array, row).into(),
        };
        match self.sql_type {
            SqlType::SmallInt => out.put_i16(wide as i16),
            SqlType::Int => out.put_i32(wide as i32),
            SqlType::BigInt => {
                let error = || Error::new(SqlState::OutOfRange, "bigint out of range");
                out.put_i64(i64::try_from(wide).map_err(|_| error())?);
            }
            SqlType::Oid => out.put_u32(u32::try_from(wide).map_err(|_| out_of_range("oid"))?),
            _ => numeric::binary(&Magnitude::of_i128(wide), 0, Shown::Fixed, out),
        }
        Ok(())
    }

    /// Appends a text, with the blanks that a CHAR(n) has at its end.
    fn string(&self, bytes: &[u8], out: &mut BytesMut) {
        out.put_slice(bytes);
        if let SqlType::Bpchar(Some(length)) = self.sql_type {
            let characters = bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
            out.put_bytes(b' ', (length as usize).saturating_sub(characters));
        }
    }

    fn shown(&self) -> Shown {
        match self.sql_type {
            SqlType::Decimal(None | Some((WIDE_NUMERIC, _))) => Shown::Free,
            _ => Shown::Fixed,
        }
    }
}

fn out_of_range(what: &str) -> Error {
    Error::new(SqlState::DatetimeOverflow, format!("{what} out of range"))
}

#[inline]
fn value<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

/// Where the value of a dictionary or a run stands.
fn indirect(array: &dyn Array, row: usize) -> Option<(&dyn Array, usize)> {
    fn run<R: RunEndIndexType>(array: &dyn Array, row: usize) -> (&dyn Array, usize) {
        let runs = array.as_run::<R>();
        (runs.values().as_ref(), runs.get_physical_index(row))
    }
    if let DataType::RunEndEncoded(ends, _) = array.data_type() {
        return Some(match ends.data_type() {
            DataType::Int16 => run::<Int16Type>(array, row),
            DataType::Int32 => run::<Int32Type>(array, row),
            _ => run::<Int64Type>(array, row),
        });
    }
    downcast_dictionary_array!(
        array => Some((array.values().as_ref(), array.key(row)?)),
        _ => None
    )
}

fn magnitude(data_type: &DataType, array: &dyn Array, row: usize) -> (Magnitude, i8) {
    match data_type {
        DataType::Decimal32(_, s) => {
            (Magnitude::of_i128(value::<Decimal32Type>(array, row).into()), *s)
        }
        DataType::Decimal64(_, s) => {
            (Magnitude::of_i128(value::<Decimal64Type>(array, row).into()), *s)
        }
        DataType::Decimal256(_, s) => (Magnitude::of_i256(value::<Decimal256Type>(array, row)), *s),
        DataType::Decimal128(_, s) => (Magnitude::of_i128(value::<Decimal128Type>(array, row)), *s),
        _ => (Magnitude::of_i128(0), 0),
    }
}

/// Ticks, and how many of them are a second.
fn timestamp(data_type: &DataType, array: &dyn Array, row: usize) -> (i64, i64) {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => (value::<TimestampSecondType>(array, row), 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            (value::<TimestampMillisecondType>(array, row), 1_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            (value::<TimestampMicrosecondType>(array, row), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            (value::<TimestampNanosecondType>(array, row), 1_000_000_000)
        }
        _ => (value::<Date64Type>(array, row), 1_000),
    }
}

fn time(data_type: &DataType, array: &dyn Array, row: usize) -> (i64, i64) {
    match data_type {
        DataType::Time32(TimeUnit::Second) => (value::<Time32SecondType>(array, row).into(), 1),
        DataType::Time32(_) => (value::<Time32MillisecondType>(array, row).into(), 1_000),
        DataType::Time64(TimeUnit::Nanosecond) => {
            (value::<Time64NanosecondType>(array, row), 1_000_000_000)
        }
        _ => (value::<Time64MicrosecondType>(array, row), 1_000_000),
    }
}

/// Months, days, nanoseconds. A duration of more than 292 years of nanoseconds shows its end.
fn interval(data_type: &DataType, array: &dyn Array, row: usize) -> (i32, i32, i64) {
    match data_type {
        DataType::Interval(IntervalUnit::YearMonth) => {
            (value::<IntervalYearMonthType>(array, row), 0, 0)
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let v = value::<IntervalDayTimeType>(array, row);
            (0, v.days, i64::from(v.milliseconds) * 1_000_000)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let v = value::<IntervalMonthDayNanoType>(array, row);
            (v.months, v.days, v.nanoseconds)
        }
        DataType::Duration(TimeUnit::Second) => {
            days_and_nanos(value::<DurationSecondType>(array, row), 1)
        }
        DataType::Duration(TimeUnit::Millisecond) => {
            days_and_nanos(value::<DurationMillisecondType>(array, row), 1_000)
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            days_and_nanos(value::<DurationMicrosecondType>(array, row), 1_000_000)
        }
        _ => days_and_nanos(value::<DurationNanosecondType>(array, row), 1_000_000_000),
    }
}

/// A difference of timestamps has days and hours in Postgres, not hours alone.
fn days_and_nanos(ticks: i64, per_second: i64) -> (i32, i32, i64) {
    let day = 86_400 * per_second;
    let days = i32::try_from(ticks / day).unwrap_or(if ticks < 0 { i32::MIN } else { i32::MAX });
    (0, days, ticks % day * (1_000_000_000 / per_second))
}

fn bytes_of<'a>(data_type: &DataType, array: &'a dyn Array, row: usize) -> &'a [u8] {
    match data_type {
        DataType::Utf8 => array.as_string::<i32>().value(row).as_bytes(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).as_bytes(),
        DataType::Utf8View => array.as_string_view().value(row).as_bytes(),
        DataType::Binary => array.as_binary::<i32>().value(row),
        DataType::LargeBinary => array.as_binary::<i64>().value(row),
        DataType::BinaryView => array.as_binary_view().value(row),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().value(row),
        _ => &[],
    }
}
