//! One column that is being built from text.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder,
    StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder, TimestampNanosecondBuilder,
};
use datafusion::arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use super::values;
use crate::error::{Error, Result};

/// A declared column: checks every value, keeps those of the columns that are wanted.
pub(crate) struct Column {
    name: String,
    nullable: bool,
    wanted: bool,
    /// Of a timestamp: the last value, microseconds.
    micros: Option<i64>,
    builder: Builder,
}

enum Builder {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder, Zoned),
    TimestampNanos(TimestampNanosecondBuilder, Zoned),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
}

/// Whether the type has a time zone: only then does a zone in the text count (as in Postgres).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zoned {
    Yes,
    No,
}

impl Column {
    pub(super) fn new(field: &Field, wanted: bool) -> Result<Column> {
        let zoned = |zone: &Option<Arc<str>>| if zone.is_some() { Zoned::Yes } else { Zoned::No };
        let builder = match field.data_type() {
            DataType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            DataType::Int16 => Builder::Int16(Int16Builder::new()),
            DataType::Int32 => Builder::Int32(Int32Builder::new()),
            DataType::Int64 => Builder::Int64(Int64Builder::new()),
            DataType::Float32 => Builder::Float32(Float32Builder::new()),
            DataType::Float64 => Builder::Float64(Float64Builder::new()),
            kind @ DataType::Decimal128(p, s) => {
                Builder::Decimal(Decimal128Builder::new().with_data_type(kind.clone()), *p, *s)
            }
            DataType::Utf8 => Builder::Text(StringBuilder::new()),
            DataType::Binary => Builder::Bytes(BinaryBuilder::new()),
            DataType::Date32 => Builder::Date(Date32Builder::new()),
            DataType::Time64(TimeUnit::Microsecond) => Builder::Time(Time64MicrosecondBuilder::new()),
            kind @ DataType::Timestamp(TimeUnit::Microsecond, zone) => Builder::Timestamp(
                TimestampMicrosecondBuilder::new().with_data_type(kind.clone()),
                zoned(zone),
            ),
            kind @ DataType::Timestamp(TimeUnit::Nanosecond, zone) => Builder::TimestampNanos(
                TimestampNanosecondBuilder::new().with_data_type(kind.clone()),
                zoned(zone),
            ),
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Builder::Interval(IntervalMonthDayNanoBuilder::new())
            }
            DataType::FixedSizeBinary(16) => Builder::Uuid(FixedSizeBinaryBuilder::new(16)),
            other => {
                return Err(Error::unsupported(format!(
                    "connector 'file' cannot read column \"{}\" of type {other}",
                    field.name()
                ))
                .hint("Declare it as TEXT or JSON and take it apart in the query."));
            }
        };
        Ok(Column {
            name: field.name().clone(),
            nullable: field.is_nullable(),
            wanted,
            micros: None,
            builder,
        })
    }

    /// Refuses a type that cannot be read.
    pub(crate) fn check(field: &Field) -> Result<()> {
        Column::new(field, false).map(|_| ())
    }

    /// Appends a value; when it is none of this type nothing is appended and the reason returned.
    #[inline]
    pub(super) fn append(&mut self, text: Option<&str>) -> Result<(), String> {
        let Some(text) = text else {
            if !self.nullable {
                return Err(format!("null value in column \"{}\" violates not-null constraint", self.name));
            }
            self.micros = None;
            self.fill();
            return Ok(());
        };
        let wanted = self.wanted;
        macro_rules! append {
            ($builder:expr, $value:expr, $kind:literal) => {
                match $value {
                    Some(value) if wanted => $builder.append_value(value),
                    Some(_) => {}
                    None => return Err(self.invalid($kind, text)),
                }
            };
        }
        match &mut self.builder {
            Builder::Int64(b) => append!(b, integer(text), "bigint"),
            Builder::Text(b) if wanted => b.append_value(text),
            Builder::Text(_) => {}
            Builder::Timestamp(b, zoned) => {
                self.micros = micros(text, *zoned);
                append!(b, self.micros, "timestamp");
            }
            Builder::Boolean(b) => append!(b, values::boolean(text), "boolean"),
            Builder::Int16(b) => append!(b, integer(text).and_then(|v| i16::try_from(v).ok()), "smallint"),
            Builder::Int32(b) => append!(b, integer(text).and_then(|v| i32::try_from(v).ok()), "integer"),
            Builder::Float32(b) => {
                append!(b, text.trim().parse::<f32>().ok().filter(|v| finite(text, v.is_finite())), "real")
            }
            Builder::Float64(b) => append!(
                b,
                text.trim().parse::<f64>().ok().filter(|v| finite(text, v.is_finite())),
                "double precision"
            ),
            Builder::Decimal(b, p, s) => append!(b, values::decimal(text, *p, *s), "numeric"),
            Builder::Bytes(b) => append!(b, values::bytes(text), "bytea"),
            Builder::Date(b) => append!(b, values::date(text), "date"),
            Builder::Time(b) => append!(b, values::time(text), "time"),
            Builder::TimestampNanos(b, zoned) => {
                self.micros = micros(text, *zoned);
                append!(b, self.micros.and_then(|v| v.checked_mul(1000)), "timestamp")
            }
            Builder::Interval(b) => append!(b, parse_interval_month_day_nano(text).ok(), "interval"),
            Builder::Uuid(b) => match uuid::Uuid::parse_str(text.trim()) {
                Ok(uuid) if wanted => {
                    b.append_value(uuid.as_bytes()).map_err(|error| error.to_string())?;
                }
                Ok(_) => {}
                Err(_) => return Err(self.invalid("uuid", text)),
            },
        }
        Ok(())
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The value appended last, if it is a timestamp and not NULL: microseconds.
    pub(super) fn micros(&self) -> Option<i64> {
        self.micros
    }

    fn invalid(&self, kind: &str, text: &str) -> String {
        let shown: String = text.chars().take(100).collect();
        format!("column \"{}\": invalid input for type {kind}: \"{shown}\"", self.name)
    }

    /// A NULL, whatever the constraint: also the place holder in a row that will not be delivered.
    pub(super) fn fill(&mut self) {
        if !self.wanted {
            return;
        }
        macro_rules! each {
            ($($kind:ident)*) => { match &mut self.builder {
                Builder::Decimal(b, _, _) => b.append_null(),
                Builder::Timestamp(b, _) => b.append_null(),
                Builder::TimestampNanos(b, _) => b.append_null(),
                $(Builder::$kind(b) => b.append_null(),)*
            } };
        }
        each!(Boolean Int16 Int32 Int64 Float32 Float64 Text Bytes Date Time Interval Uuid);
    }

    /// What has been appended.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        macro_rules! each {
            ($($kind:ident)*) => { match &mut self.builder {
                Builder::Decimal(b, _, _) => Arc::new(b.finish()),
                Builder::Timestamp(b, _) => Arc::new(b.finish()),
                Builder::TimestampNanos(b, _) => Arc::new(b.finish()),
                $(Builder::$kind(b) => Arc::new(b.finish()),)*
            } };
        }
        Ok(each!(Boolean Int16 Int32 Int64 Float32 Float64 Text Bytes Date Time Interval Uuid))
    }
}

/// Postgres lets blanks stand around a number.
#[inline]
fn integer(text: &str) -> Option<i64> {
    text.parse().or_else(|_| text.trim().parse()).ok()
}

/// `1e400` is not infinity; `infinity` is.
fn finite(text: &str, is_finite: bool) -> bool {
    is_finite || !text.bytes().any(|b| b.is_ascii_digit())
}

fn micros(text: &str, zoned: Zoned) -> Option<i64> {
    let (local, zone) = values::timestamp(text)?;
    match (zoned, zone) {
        (Zoned::Yes, Some(seconds)) => local.checked_sub(seconds * 1_000_000),
        _ => Some(local),
    }
}
