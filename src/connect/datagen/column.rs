//! How the values of a generated column are made.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, StringBuilder,
    TimestampMillisecondArray,
};
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, Field};

use super::super::options::{ConnectorOptions, bad, milliseconds};
use super::super::random::Random;
use super::RowPace;
use crate::error::{Error, Result, SqlState};

/// The options of a column.
pub(super) const OPTIONS: [&str; 11] = [
    "kind",
    "start",
    "end",
    "min",
    "max",
    "length",
    "max_past",
    "max-past",
    "max_past_mode",
    "null_rate",
    "null-rate",
];

/// The length of a random text that does not say.
const TEXT_LENGTH: u64 = 10;

/// A column, and how it is made.
pub(super) struct GeneratedColumn {
    /// Its number, of which its random numbers are a function.
    at: u64,
    field: Field,
    values: GeneratedValues,
    /// Of a thousand million values so many are NULL.
    nulls: u64,
}

enum GeneratedValues {
    Sequence {
        start: i64,
        end: i64,
    },
    Whole {
        min: i64,
        max: i64,
    },
    Real {
        min: f64,
        max: f64,
    },
    Text {
        length: u64,
    },
    Flag,
    /// Up to so many milliseconds before the row arrives.
    Time {
        max_past_ms: u64,
    },
}

const BILLION: u64 = 1_000_000_000;

/// The options of one column.
struct ColumnOptions<'a> {
    all: &'a ConnectorOptions<'a>,
    column: String,
}

impl<'a> ColumnOptions<'a> {
    fn get(&self, option: &str) -> Option<&'a str> {
        self.all.get(&format!("fields.{}.{option}", self.column))
    }

    fn read<T: std::str::FromStr>(&self, option: &str) -> Result<Option<T>> {
        let Some(value) = self.get(option) else { return Ok(None) };
        value.trim().parse().map(Some).map_err(|_| {
            bad(format!("option \"fields.{}.{option}\" cannot be '{value}'", self.column))
        })
    }

    /// `min` and `max`, or what they are by themselves.
    fn bounds<T: std::str::FromStr + PartialOrd>(&self, min: T, max: T) -> Result<(T, T)> {
        let bounds = (self.read("min")?.unwrap_or(min), self.read("max")?.unwrap_or(max));
        if bounds.0 > bounds.1 {
            let column = &self.column;
            let what = format!("fields.{column}.min is greater than fields.{column}.max");
            return Err(bad(what));
        }
        Ok(bounds)
    }

    /// A time in milliseconds: a number of them, or an interval.
    fn milliseconds(&self, option: &str) -> Result<Option<u64>> {
        let Some(value) = self.get(option) else { return Ok(None) };
        milliseconds(value).map(Some).ok_or_else(|| {
            bad(format!("option \"fields.{}.{option}\" cannot be '{value}'", self.column))
                .hint("Write for example '1 hour', or a number of milliseconds.")
        })
    }
}

impl GeneratedColumn {
    pub(super) fn of(
        options: &ConnectorOptions<'_>,
        at: usize,
        field: &Field,
    ) -> Result<GeneratedColumn> {
        let own = ColumnOptions { all: options, column: field.name().to_ascii_lowercase() };
        let kind = own.get("kind").unwrap_or("random").to_ascii_lowercase();
        let values = match kind.as_str() {
            "sequence" => sequence(&own, field)?,
            "random" => random(&own, field)?,
            other => {
                return Err(bad(format!(
                    "option \"fields.{}.kind\" cannot be '{other}'",
                    own.column
                ))
                .hint("It is random or sequence."));
            }
        };
        let rate = own.read::<f64>("null_rate")?.or(own.read("null-rate")?).unwrap_or(0.0);
        if !(0.0..=1.0).contains(&rate) {
            return Err(bad("a null_rate is from 0 to 1".to_owned()));
        }
        let nulls = (rate * BILLION as f64) as u64;
        Ok(GeneratedColumn { at: at as u64, field: field.clone(), values, nulls })
    }

    /// How many rows there can be.
    pub(super) fn rows(&self) -> Option<u64> {
        match self.values {
            GeneratedValues::Sequence { start, end } if end < i64::MAX => {
                Some(end.abs_diff(start).saturating_add(1))
            }
            _ => None,
        }
    }

    /// 42804: it is no time.
    pub(super) fn check_event_time(&self) -> Result<()> {
        match self.values {
            GeneratedValues::Time { .. } => Ok(()),
            _ => Err(Error::new(
                SqlState::TypeMismatch,
                format!("column \"{}\" of datagen is no time", self.field.name()),
            )),
        }
    }

    /// Its values in these rows.
    pub(super) fn values(&self, rows: Range<u64>, pace: &RowPace) -> Result<ArrayRef> {
        let random = |row: u64| Random::of(pace.seed, row, self.at);
        let values: ArrayRef = match self.values {
            GeneratedValues::Sequence { start, .. } => {
                let value = |row: u64| start.saturating_add_unsigned(row);
                Arc::new(Int64Array::from_iter_values(rows.clone().map(value)))
            }
            GeneratedValues::Whole { min, max } => {
                let span = max.abs_diff(min).saturating_add(1);
                let value = |row: u64| min.saturating_add_unsigned(random(row).below(span));
                Arc::new(Int64Array::from_iter_values(rows.clone().map(value)))
            }
            GeneratedValues::Real { min, max } => {
                let value = |row: u64| min + random(row).unit() * (max - min);
                Arc::new(Float64Array::from_iter_values(rows.clone().map(value)))
            }
            GeneratedValues::Flag => Arc::new(
                rows.clone().map(|row| Some(random(row).below(2) == 1)).collect::<BooleanArray>(),
            ),
            GeneratedValues::Text { length } => {
                let (mut texts, mut buffer) = (StringBuilder::new(), Vec::new());
                for row in rows.clone() {
                    texts.append_value(random(row).letters(length as usize, &mut buffer));
                }
                Arc::new(texts.finish())
            }
            GeneratedValues::Time { max_past_ms } => {
                let value = |row: u64| {
                    let past = random(row).below(max_past_ms.saturating_add(1));
                    pace.arrival_ms(row).saturating_sub_unsigned(past)
                };
                Arc::new(TimestampMillisecondArray::from_iter_values(rows.clone().map(value)))
            }
        };
        let values = cast(&values, self.field.data_type())?;
        if self.nulls == 0 {
            return Ok(values);
        }
        // Numbers of their own, so that which rows are NULL says nothing of the values.
        let is_null =
            |row: u64| Some(Random::of(!pace.seed, row, self.at).below(BILLION) < self.nulls);
        Ok(nullif(values.as_ref() as &dyn Array, &rows.map(is_null).collect::<BooleanArray>())?)
    }
}

fn sequence(own: &ColumnOptions<'_>, field: &Field) -> Result<GeneratedValues> {
    let kind = field.data_type();
    if !kind.is_numeric() && !kind.is_string() {
        return Err(refused(field, "counts up"));
    }
    let start = own.read("start")?.unwrap_or(0);
    let most = match kind {
        DataType::Int16 => i64::from(i16::MAX),
        DataType::Int32 => i64::from(i32::MAX),
        _ => i64::MAX,
    };
    let end = own.read("end")?.unwrap_or(most);
    if start > end {
        let column = &own.column;
        return Err(bad(format!("fields.{column}.start is greater than fields.{column}.end")));
    }
    Ok(GeneratedValues::Sequence { start, end })
}

fn random(own: &ColumnOptions<'_>, field: &Field) -> Result<GeneratedValues> {
    Ok(match field.data_type() {
        DataType::Boolean => GeneratedValues::Flag,
        DataType::Int16 => whole(own, i64::from(i16::MIN), i64::from(i16::MAX))?,
        DataType::Int32 => whole(own, i64::from(i32::MIN), i64::from(i32::MAX))?,
        DataType::Int64 => whole(own, i64::MIN, i64::MAX)?,
        DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => {
            let (min, max) = own.bounds(0.0, 1.0)?;
            GeneratedValues::Real { min, max }
        }
        DataType::Utf8 => {
            GeneratedValues::Text { length: own.read("length")?.unwrap_or(TEXT_LENGTH) }
        }
        DataType::Timestamp(..) | DataType::Date32 => {
            let past = own.milliseconds("max_past")?.or(own.milliseconds("max-past")?);
            GeneratedValues::Time { max_past_ms: past.unwrap_or(0) }
        }
        _ => return Err(refused(field, "is random")),
    })
}

fn whole(own: &ColumnOptions<'_>, least: i64, most: i64) -> Result<GeneratedValues> {
    let (min, max) = own.bounds(least, most)?;
    if min < least || max > most {
        return Err(bad(format!("fields.{} has bounds that its type has not", own.column)));
    }
    Ok(GeneratedValues::Whole { min, max })
}

fn refused(field: &Field, what: &str) -> Error {
    Error::unsupported(format!(
        "a column of datagen that {what} and is of type {} is not supported",
        field.data_type()
    ))
    .hint(
        "Use numbers, texts, booleans and times, and compute others from them: col AS expression.",
    )
}
