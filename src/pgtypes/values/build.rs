//! Values on their way in: a builder of one Arrow column that reads Postgres text and binary.

use std::sync::Arc;

use arrow::array::builder::{BooleanBufferBuilder, NullBufferBuilder};
use arrow::array::*;
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Field, Fields, IntervalMonthDayNano, i256,
};

use super::bytes_in::{BytesKind, append_bytes, cut_ends, push_end};
use super::datetime_in::POSTGRES_EPOCH_DAYS;
use super::number_in::{
    binary_timestamp, numeric_overflow, out_of_range, read_date, read_numeric, read_time,
    read_timestamp, without_loss,
};
use super::numeric::{self, Digits};
use super::{interval_in, nested_in, scalar_in};
use crate::error::{Error, Result, SqlState};
use crate::time::DAY_MICROS;
use crate::types::arrow::FREE_NUMERIC;
use crate::types::{SqlType, Zone};

/// Builds one column from values as Postgres clients send them.
///
/// A value that is refused may leave part of itself behind: after an error
/// [`truncate`](Self::truncate) takes it back.
#[derive(Debug)]
pub struct ColumnBuilder {
    sql_type: SqlType,
    zone: Zone,
    values: ColumnValues,
    nulls: NullBufferBuilder,
    /// Where the elements of an array or a row are unescaped.
    scratch: Vec<u8>,
}

#[derive(Debug)]
enum ColumnValues {
    Boolean(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Oid(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal128 { values: Vec<i128>, precision: u8, scale: i8, scratch: Digits },
    Decimal256 { values: Vec<i256>, precision: u8, scale: i8, scratch: Digits },
    Bytes { ends: Vec<i32>, bytes: Vec<u8>, kind: BytesKind },
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp { ticks: Vec<i64>, precision: u8 },
    TimestampTz { ticks: Vec<i64>, precision: u8 },
    Interval(Vec<IntervalMonthDayNano>),
    Uuid(Vec<u8>),
    List { ends: Vec<i32>, element: Box<ColumnBuilder> },
    Row(Vec<ColumnBuilder>),
}

impl ColumnBuilder {
    /// A builder for values of this type, with room for so many.
    pub fn new(sql_type: &SqlType, capacity: usize) -> Self {
        let n = capacity;
        let bytes = |kind| {
            let mut ends = Vec::with_capacity(n + 1);
            ends.push(0);
            ColumnValues::Bytes { ends, bytes: Vec::with_capacity(n * 8), kind }
        };
        let values = match sql_type {
            SqlType::Boolean => ColumnValues::Boolean(BooleanBufferBuilder::new(n)),
            SqlType::SmallInt => ColumnValues::Int16(Vec::with_capacity(n)),
            SqlType::Int => ColumnValues::Int32(Vec::with_capacity(n)),
            SqlType::BigInt => ColumnValues::Int64(Vec::with_capacity(n)),
            SqlType::Oid => ColumnValues::Oid(Vec::with_capacity(n)),
            SqlType::Real => ColumnValues::Float32(Vec::with_capacity(n)),
            SqlType::Double => ColumnValues::Float64(Vec::with_capacity(n)),
            SqlType::Decimal(declared) => {
                let (precision, scale) = declared.unwrap_or(FREE_NUMERIC);
                let scratch = Digits::default();
                if precision > DECIMAL128_MAX_PRECISION {
                    let values = Vec::with_capacity(n);
                    ColumnValues::Decimal256 { values, precision, scale, scratch }
                } else {
                    let values = Vec::with_capacity(n);
                    ColumnValues::Decimal128 { values, precision, scale, scratch }
                }
            }
            SqlType::Text | SqlType::Name | SqlType::Char | SqlType::Unknown => {
                bytes(BytesKind::Text)
            }
            SqlType::Varchar(None) | SqlType::Bpchar(None) => bytes(BytesKind::Text),
            SqlType::Varchar(Some(length)) => bytes(BytesKind::Varchar(*length)),
            SqlType::Bpchar(Some(length)) => bytes(BytesKind::Bpchar(*length)),
            SqlType::Json => bytes(BytesKind::Json),
            SqlType::Jsonb => bytes(BytesKind::Jsonb),
            SqlType::Bytea => bytes(BytesKind::Bytea),
            SqlType::Date => ColumnValues::Date(Vec::with_capacity(n)),
            SqlType::Time => ColumnValues::Time(Vec::with_capacity(n)),
            SqlType::Timestamp(p) => {
                ColumnValues::Timestamp { ticks: Vec::with_capacity(n), precision: *p }
            }
            SqlType::TimestampTz(p) => {
                ColumnValues::TimestampTz { ticks: Vec::with_capacity(n), precision: *p }
            }
            SqlType::Interval => ColumnValues::Interval(Vec::with_capacity(n)),
            SqlType::Uuid => ColumnValues::Uuid(Vec::with_capacity(n * 16)),
            SqlType::Array(element) => ColumnValues::List {
                ends: vec![0],
                element: Box::new(ColumnBuilder::new(element, n)),
            },
            SqlType::Row(fields) => {
                ColumnValues::Row(fields.iter().map(|(_, t)| ColumnBuilder::new(t, n)).collect())
            }
        };
        ColumnBuilder {
            sql_type: sql_type.clone(),
            zone: Zone::Utc,
            values,
            nulls: NullBufferBuilder::new(n),
            scratch: Vec::new(),
        }
    }

    /// The zone of a TIMESTAMPTZ that is written without one; UTC unless told.
    #[must_use]
    pub fn in_zone(mut self, zone: Zone) -> Self {
        self.set_zone(zone);
        self
    }

    fn set_zone(&mut self, zone: Zone) {
        self.zone = zone;
        match &mut self.values {
            ColumnValues::List { element, .. } => element.set_zone(zone),
            ColumnValues::Row(fields) => fields.iter_mut().for_each(|field| field.set_zone(zone)),
            _ => {}
        }
    }

    /// The type being built.
    pub fn sql_type(&self) -> &SqlType {
        &self.sql_type
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much memory the values take, about.
    pub fn bytes(&self) -> usize {
        let values = match &self.values {
            ColumnValues::Boolean(v) => v.len() / 8,
            ColumnValues::Int16(v) => v.len() * 2,
            ColumnValues::Int32(v) | ColumnValues::Date(v) => v.len() * 4,
            ColumnValues::Float32(v) => v.len() * 4,
            ColumnValues::Float64(v) => v.len() * 8,
            ColumnValues::Int64(v) | ColumnValues::Oid(v) | ColumnValues::Time(v) => v.len() * 8,
            ColumnValues::Timestamp { ticks, .. } | ColumnValues::TimestampTz { ticks, .. } => {
                ticks.len() * 8
            }
            ColumnValues::Decimal128 { values, .. } => values.len() * 16,
            ColumnValues::Decimal256 { values, .. } => values.len() * 32,
            ColumnValues::Bytes { ends, bytes, .. } => ends.len() * 4 + bytes.len(),
            ColumnValues::Interval(v) => v.len() * 16,
            ColumnValues::Uuid(v) => v.len(),
            ColumnValues::List { ends, element } => ends.len() * 4 + element.bytes(),
            ColumnValues::Row(fields) => fields.iter().map(ColumnBuilder::bytes).sum(),
        };
        values + self.len() / 8
    }

    /// Appends NULL.
    pub fn append_null(&mut self) {
        match &mut self.values {
            ColumnValues::Boolean(v) => v.append(false),
            ColumnValues::Int16(v) => v.push(0),
            ColumnValues::Int32(v) | ColumnValues::Date(v) => v.push(0),
            ColumnValues::Int64(v) | ColumnValues::Oid(v) | ColumnValues::Time(v) => v.push(0),
            ColumnValues::Float32(v) => v.push(0.0),
            ColumnValues::Float64(v) => v.push(0.0),
            ColumnValues::Decimal128 { values, .. } => values.push(0),
            ColumnValues::Decimal256 { values, .. } => values.push(i256::ZERO),
            ColumnValues::Bytes { ends, bytes, .. } => ends.push(bytes.len() as i32),
            ColumnValues::Timestamp { ticks, .. } | ColumnValues::TimestampTz { ticks, .. } => {
                ticks.push(0)
            }
            ColumnValues::Interval(v) => v.push(IntervalMonthDayNano::default()),
            ColumnValues::Uuid(v) => v.extend_from_slice(&[0; 16]),
            ColumnValues::List { ends, element } => ends.push(element.len() as i32),
            ColumnValues::Row(fields) => fields.iter_mut().for_each(ColumnBuilder::append_null),
        }
        self.nulls.append_null();
    }

    /// Takes back all values behind the first `len`, and whatever a refused value has left of
    /// itself.
    pub fn truncate(&mut self, len: usize) {
        match &mut self.values {
            ColumnValues::Boolean(v) => v.truncate(len),
            ColumnValues::Int16(v) => v.truncate(len),
            ColumnValues::Int32(v) | ColumnValues::Date(v) => v.truncate(len),
            ColumnValues::Int64(v) | ColumnValues::Oid(v) | ColumnValues::Time(v) => {
                v.truncate(len)
            }
            ColumnValues::Float32(v) => v.truncate(len),
            ColumnValues::Float64(v) => v.truncate(len),
            ColumnValues::Decimal128 { values, .. } => values.truncate(len),
            ColumnValues::Decimal256 { values, .. } => values.truncate(len),
            ColumnValues::Timestamp { ticks, .. } | ColumnValues::TimestampTz { ticks, .. } => {
                ticks.truncate(len)
            }
            ColumnValues::Interval(v) => v.truncate(len),
            ColumnValues::Uuid(v) => v.truncate(len * 16),
            ColumnValues::Bytes { ends, bytes, .. } => bytes.truncate(cut_ends(ends, len)),
            ColumnValues::List { ends, element } => element.truncate(cut_ends(ends, len)),
            ColumnValues::Row(fields) => fields.iter_mut().for_each(|field| field.truncate(len)),
        }
        self.nulls.truncate(len);
    }

    /// The moment that was appended last, in microseconds; None if it is NULL or the type has none.
    pub(crate) fn last_micros(&self) -> Option<i64> {
        let (ColumnValues::Timestamp { ticks, precision }
        | ColumnValues::TimestampTz { ticks, precision }) = &self.values
        else {
            return None;
        };
        match ticks.last().copied().filter(|_| self.nulls.is_valid(self.len() - 1))? {
            infinite @ (i64::MIN | i64::MAX) => Some(infinite),
            nanos if *precision > 6 => Some(nanos.div_euclid(1_000)),
            micros => Some(micros),
        }
    }

    /// As [`append_text`](Self::append_text) of what is known to be UTF-8.
    #[inline]
    pub fn append_str(&mut self, text: &str) -> Result<()> {
        let ColumnValues::Bytes { ends, bytes, kind: BytesKind::Text } = &mut self.values else {
            return self.append_text(text.as_bytes());
        };
        scalar_in::without_nul(text.as_bytes())?;
        bytes.extend_from_slice(text.as_bytes());
        push_end(ends, bytes.len())?;
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends a value written as text, as Postgres accepts it.
    pub fn append_text(&mut self, text: &[u8]) -> Result<()> {
        match &mut self.values {
            ColumnValues::Boolean(v) => v.append(scalar_in::boolean(text)?),
            ColumnValues::Int16(v) => {
                v.push(
                    scalar_in::integer(text, i16::MIN.into(), i16::MAX.into(), "smallint")? as i16
                );
            }
            ColumnValues::Int32(v) => {
                v.push(
                    scalar_in::integer(text, i32::MIN.into(), i32::MAX.into(), "integer")? as i32
                );
            }
            ColumnValues::Int64(v) => {
                v.push(scalar_in::integer(text, i64::MIN, i64::MAX, "bigint")?)
            }
            // As in Postgres a negative number is taken for the bits it has.
            ColumnValues::Oid(v) => {
                let oid = scalar_in::integer(text, i32::MIN.into(), u32::MAX.into(), "oid")?;
                v.push(i64::from(oid as u32));
            }
            ColumnValues::Float32(v) => v.push(scalar_in::float4(text)?),
            ColumnValues::Float64(v) => v.push(scalar_in::float8(text)?),
            ColumnValues::Decimal128 { values, precision, scale, scratch } => {
                read_numeric(text, scratch, &self.sql_type)?;
                let value = scratch.to_i128(*precision, *scale);
                values.push(value.ok_or_else(|| numeric_overflow(*precision, *scale))?);
            }
            ColumnValues::Decimal256 { values, precision, scale, scratch } => {
                read_numeric(text, scratch, &self.sql_type)?;
                without_loss(scratch, &self.sql_type)?;
                let value = scratch.to_i256(*precision, *scale);
                values.push(value.ok_or_else(|| numeric_overflow(*precision, *scale))?);
            }
            ColumnValues::Bytes { ends, bytes, kind } => append_bytes(text, *kind, ends, bytes)?,
            ColumnValues::Date(v) => v.push(read_date(text)?),
            ColumnValues::Time(v) => v.push(read_time(text)?),
            ColumnValues::Timestamp { ticks, precision } => {
                ticks.push(read_timestamp(text, *precision, None)?)
            }
            ColumnValues::TimestampTz { ticks, precision } => {
                ticks.push(read_timestamp(text, *precision, Some(&self.zone))?);
            }
            ColumnValues::Interval(v) => {
                v.push(interval_in::parse_interval(scalar_in::string(text)?)?)
            }
            ColumnValues::Uuid(v) => v.extend_from_slice(&scalar_in::uuid(text)?),
            ColumnValues::List { .. } => {
                let mut scratch = std::mem::take(&mut self.scratch);
                let appended =
                    self.append_list(|element| nested_in::array_text(text, element, &mut scratch));
                self.scratch = scratch;
                return appended;
            }
            ColumnValues::Row(fields) => nested_in::record_text(text, fields, &mut self.scratch)?,
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends an array whose elements are put into its builder by `fill`, which says how many.
    pub(crate) fn append_list(
        &mut self,
        fill: impl FnOnce(&mut ColumnBuilder) -> Result<i32>,
    ) -> Result<()> {
        let ColumnValues::List { ends, element } = &mut self.values else {
            return Err(Error::internal("elements for a column that is no array"));
        };
        fill(element)?;
        push_end(ends, element.len())?;
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends a row whose fields are put into their builders by `fill`.
    pub(crate) fn append_row(
        &mut self,
        mut fill: impl FnMut(usize, &mut ColumnBuilder) -> Result<()>,
    ) -> Result<()> {
        let ColumnValues::Row(fields) = &mut self.values else {
            return Err(Error::internal("fields for a column that is no row"));
        };
        fields.iter_mut().enumerate().try_for_each(|(at, field)| fill(at, field))?;
        self.nulls.append_non_null();
        Ok(())
    }

    /// How many elements the array added last has in each of its dimensions; of one without
    /// elements, none.
    pub(crate) fn last_extents(&self) -> nested_in::Extents {
        let mut extents = nested_in::Extents::default();
        let mut column = self;
        while let ColumnValues::List { ends, element } = &column.values
            && let [.., start, end] = ends[..]
            && end > start
        {
            extents.push(end - start);
            column = element;
        }
        extents
    }

    /// Appends a value in the binary format (without its length).
    pub fn append_binary(&mut self, value: &[u8]) -> Result<()> {
        match &mut self.values {
            ColumnValues::Boolean(v) => v.append(fixed::<1>(value)?[0] != 0),
            ColumnValues::Int16(v) => v.push(i16::from_be_bytes(fixed(value)?)),
            ColumnValues::Int32(v) => v.push(i32::from_be_bytes(fixed(value)?)),
            ColumnValues::Int64(v) => v.push(i64::from_be_bytes(fixed(value)?)),
            ColumnValues::Oid(v) => v.push(u32::from_be_bytes(fixed(value)?).into()),
            // NaN has one form here, and there may be others over the wire.
            ColumnValues::Float32(v) => {
                v.push(scalar_in::plain_real(f32::from_be_bytes(fixed(value)?)))
            }
            ColumnValues::Float64(v) => {
                v.push(scalar_in::plain_double(f64::from_be_bytes(fixed(value)?)))
            }
            ColumnValues::Decimal128 { values, precision, scale, scratch } => {
                numeric::read_binary(value, scratch)?;
                let value = scratch.to_i128(*precision, *scale);
                values.push(value.ok_or_else(|| numeric_overflow(*precision, *scale))?);
            }
            ColumnValues::Decimal256 { values, precision, scale, scratch } => {
                numeric::read_binary(value, scratch)?;
                without_loss(scratch, &self.sql_type)?;
                let value = scratch.to_i256(*precision, *scale);
                values.push(value.ok_or_else(|| numeric_overflow(*precision, *scale))?);
            }
            ColumnValues::Bytes { ends, bytes, kind: BytesKind::Bytea } => {
                bytes.extend_from_slice(value);
                push_end(ends, bytes.len())?;
            }
            ColumnValues::Bytes { ends, bytes, kind: BytesKind::Jsonb } => match value {
                [1, json @ ..] => append_bytes(json, BytesKind::Jsonb, ends, bytes)?,
                _ => {
                    return Err(Error::new(
                        SqlState::BadBinary,
                        "unsupported jsonb version number",
                    ));
                }
            },
            ColumnValues::Bytes { ends, bytes, kind } => append_bytes(value, *kind, ends, bytes)?,
            ColumnValues::Date(v) => v.push(match i32::from_be_bytes(fixed(value)?) {
                infinite @ (i32::MAX | i32::MIN) => infinite,
                days => {
                    days.checked_add(POSTGRES_EPOCH_DAYS).ok_or_else(|| out_of_range("date"))?
                }
            }),
            ColumnValues::Time(v) => {
                let micros = i64::from_be_bytes(fixed(value)?);
                v.push(
                    Some(micros)
                        .filter(|m| (0..=DAY_MICROS).contains(m))
                        .ok_or_else(|| out_of_range("time"))?,
                );
            }
            ColumnValues::Timestamp { ticks, precision }
            | ColumnValues::TimestampTz { ticks, precision } => {
                ticks.push(binary_timestamp(i64::from_be_bytes(fixed(value)?), *precision)?);
            }
            ColumnValues::Interval(v) => v.push(binary_interval(value)?),
            ColumnValues::Uuid(v) => v.extend_from_slice(&fixed::<16>(value)?),
            ColumnValues::List { .. } => return self.append_array_binary(value),
            ColumnValues::Row(fields) => nested_in::record_binary(value, fields)?,
        }
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_array_binary(&mut self, value: &[u8]) -> Result<()> {
        let (extents, mut cursor) = nested_in::array_header(value, self.sql_type.innermost())?;
        let mut depth = 0;
        let mut inner = &self.sql_type;
        while let SqlType::Array(element) = inner {
            inner = element;
            depth += 1;
        }
        let extents = extents.as_slice();
        if extents.is_empty() {
            return self.append_list(|_| Ok(0));
        }
        if extents.len() != depth {
            let message =
                format!("an array of {} dimensions for a column of {depth}", extents.len());
            return Err(Error::unsupported(message)
                .hint("Declare the column with as many [] as there are dimensions."));
        }
        nested_in::array_element(&mut cursor, extents, self)?;
        if cursor.0.is_empty() { Ok(()) } else { Err(bad_binary()) }
    }

    /// The column.
    pub fn finish(mut self) -> ArrayRef {
        let nulls = self.nulls.finish();
        let data_type = self.sql_type.data_type();
        match self.values {
            ColumnValues::Boolean(mut v) => Arc::new(BooleanArray::new(v.finish(), nulls)),
            ColumnValues::Int16(v) => Arc::new(Int16Array::new(v.into(), nulls)),
            ColumnValues::Int32(v) => Arc::new(Int32Array::new(v.into(), nulls)),
            ColumnValues::Int64(v) | ColumnValues::Oid(v) => {
                Arc::new(Int64Array::new(v.into(), nulls))
            }
            ColumnValues::Float32(v) => Arc::new(Float32Array::new(v.into(), nulls)),
            ColumnValues::Float64(v) => Arc::new(Float64Array::new(v.into(), nulls)),
            ColumnValues::Decimal128 { values, .. } => {
                Arc::new(Decimal128Array::new(values.into(), nulls).with_data_type(data_type))
            }
            ColumnValues::Decimal256 { values, .. } => Arc::new(
                Decimal256Array::new(ScalarBuffer::from(values), nulls).with_data_type(data_type),
            ),
            ColumnValues::Bytes { ends, bytes, kind } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
                let bytes = Buffer::from_vec(bytes);
                if kind == BytesKind::Bytea {
                    Arc::new(BinaryArray::new(offsets, bytes, nulls))
                } else {
                    Arc::new(StringArray::new(offsets, bytes, nulls))
                }
            }
            ColumnValues::Date(v) => Arc::new(Date32Array::new(v.into(), nulls)),
            ColumnValues::Time(v) => Arc::new(Time64MicrosecondArray::new(v.into(), nulls)),
            ColumnValues::Timestamp { ticks, .. } | ColumnValues::TimestampTz { ticks, .. } => {
                match data_type {
                    DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, zone) => Arc::new(
                        TimestampNanosecondArray::new(ticks.into(), nulls).with_timezone_opt(zone),
                    ),
                    DataType::Timestamp(_, zone) => Arc::new(
                        TimestampMicrosecondArray::new(ticks.into(), nulls).with_timezone_opt(zone),
                    ),
                    _ => Arc::new(Int64Array::new(ticks.into(), nulls)),
                }
            }
            ColumnValues::Interval(v) => {
                Arc::new(IntervalMonthDayNanoArray::new(ScalarBuffer::from(v), nulls))
            }
            ColumnValues::Uuid(v) => {
                Arc::new(FixedSizeBinaryArray::new(16, Buffer::from_vec(v), nulls))
            }
            ColumnValues::List { ends, element } => {
                let field = element.sql_type.to_field(Field::LIST_FIELD_DEFAULT_NAME, true);
                let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
                Arc::new(ListArray::new(Arc::new(field), offsets, element.finish(), nulls))
            }
            ColumnValues::Row(fields) => {
                let declared = match data_type {
                    DataType::Struct(declared) => declared,
                    _ => Fields::empty(),
                };
                let length =
                    nulls.as_ref().map_or_else(|| fields.first().map_or(0, Self::len), |n| n.len());
                let columns: Vec<ArrayRef> = fields.into_iter().map(Self::finish).collect();
                if columns.is_empty() {
                    Arc::new(StructArray::new_empty_fields(length, nulls))
                } else {
                    Arc::new(StructArray::new(declared, columns, nulls))
                }
            }
        }
    }
}

fn bad_binary() -> Error {
    Error::new(SqlState::BadBinary, "incorrect binary data format")
}

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N]> {
    value.try_into().map_err(|_| bad_binary())
}

/// Microseconds, days and months as they come over the wire.
fn binary_interval(value: &[u8]) -> Result<IntervalMonthDayNano> {
    let bytes: [u8; 16] = fixed(value)?;
    let (micros, days, months) = (&bytes[..8], &bytes[8..12], &bytes[12..]);
    let micros = i64::from_be_bytes(fixed(micros)?);
    Ok(IntervalMonthDayNano {
        months: i32::from_be_bytes(fixed(months)?),
        days: i32::from_be_bytes(fixed(days)?),
        nanoseconds: micros.checked_mul(1_000).ok_or_else(|| out_of_range("interval"))?,
    })
}
