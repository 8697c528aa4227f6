//! Dates and times: parts of them, and text from and to them by patterns of Postgres and Flink.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::{DatePart, cast, date_part};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, IntervalMonthDayNanoType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::logical_expr::{ScalarUDF, Signature, Volatility};

use super::calendar_time::{CalendarTime, TimeKind};
use super::format::{self, PatternPiece};
use super::format_in::{self, ReadTime};
use super::forms::{Form, over};
use super::recent::Recent;
use super::scalar::{Scalar, strings, text};
use super::text::Budget;
use crate::error::{Error, Result, SqlState};
use crate::time::DAY_MICROS;
use crate::types::Zone;

pub(crate) fn all() -> Vec<ScalarUDF> {
    let function = |name, arguments, out, call| {
        let signature = Signature::any(arguments, Volatility::Immutable);
        ScalarUDF::from(Scalar { name, aliases: vec![], signature, out, call })
    };
    vec![
        function("year", 1, DataType::Int64, |args, _| part(args, DatePart::Year)),
        function("month", 1, DataType::Int64, |args, _| part(args, DatePart::Month)),
        function("day", 1, DataType::Int64, |args, _| part(args, DatePart::Day)),
        function("hour", 1, DataType::Int64, |args, _| part(args, DatePart::Hour)),
        function("minute", 1, DataType::Int64, |args, _| part(args, DatePart::Minute)),
        function("second", 1, DataType::Int64, |args, _| part(args, DatePart::Second)),
        function("date_format", 2, DataType::Utf8, date_format),
    ]
}

pub(super) fn forms() -> Vec<Form> {
    vec![
        over("to_char(timestamp, text) text", to_char),
        over("to_char(timestamptz, text) text", to_char),
        over("to_char(interval, text) text", to_char),
        over("to_timestamp(double) timestamptz", |args, _| from_seconds(&args[0])),
        over("to_timestamp(text, text) timestamptz", |args, rows| {
            to_timestamp_in(Zone::Utc, args, rows)
        }),
        over("to_date(text, text) date", |args, rows| {
            let times = parsed(args, rows, |time| Ok(time.local))?;
            let days = times.unary::<_, Date32Type>(|micros| micros.div_euclid(DAY_MICROS) as i32);
            Ok(Arc::new(days))
        }),
    ]
}

fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// A part of a date, time or timestamp as a bigint; text is taken for a timestamp.
fn part(args: &[ArrayRef], part: DatePart) -> Result<ArrayRef> {
    let array = if args[0].data_type().is_temporal() {
        args[0].clone()
    } else {
        cast(&args[0], &micros())?
    };
    Ok(cast(&date_part(&array, part)?, &DataType::Int64)?)
}

/// What is written of a row; None where there is none, or at the end of time.
enum WrittenTimes {
    Times(TimestampMicrosecondArray),
    /// As the clocks of a zone show them.
    Moments(TimestampMicrosecondArray, Zone),
    Intervals(IntervalMonthDayNanoArray),
}

impl WrittenTimes {
    fn at(&self, row: usize) -> Option<CalendarTime> {
        let micros = |times: &TimestampMicrosecondArray| {
            let micros = times.is_valid(row).then(|| times.value(row));
            micros.filter(|micros| *micros != i64::MIN && *micros != i64::MAX)
        };
        match self {
            WrittenTimes::Times(times) => {
                micros(times).map(|micros| CalendarTime::of_micros(micros, TimeKind::Local))
            }
            WrittenTimes::Moments(times, zone) => {
                micros(times).map(|micros| CalendarTime::of_moment(micros, *zone))
            }
            WrittenTimes::Intervals(intervals) => {
                intervals.is_valid(row).then(|| CalendarTime::of_interval(intervals.value(row)))
            }
        }
    }
}

/// `to_char(timestamp, 'YYYY-MM-DD HH24:MI:SS')`; nothing is written by an empty pattern.
fn to_char(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    to_char_in(Zone::Utc, args, rows)
}

/// `to_char` in the time zone of a session.
pub(super) fn to_char_in(zone: Zone, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let shown = match args[0].data_type() {
        DataType::Interval(_) => {
            WrittenTimes::Intervals(args[0].as_primitive::<IntervalMonthDayNanoType>().clone())
        }
        other => {
            let times = args[0].as_primitive::<TimestampMicrosecondType>().clone();
            match other {
                DataType::Timestamp(_, Some(_)) => WrittenTimes::Moments(times, zone),
                _ => WrittenTimes::Times(times),
            }
        }
    };
    formatted(&shown, &args[1], rows, |pattern| Ok(format::postgres(pattern)))
}

/// `date_format(timestamp, 'yyyy-MM-dd HH:mm:ss')`, as in Flink.
fn date_format(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let of_day = match args[0].data_type() {
        DataType::Time32(_) | DataType::Time64(_) => {
            cast(&cast(&args[0], &DataType::Time64(TimeUnit::Microsecond))?, &DataType::Int64)?
        }
        other if other.is_numeric() || other.is_nested() => {
            return Err(Error::unsupported(format!("date_format of {other} is not supported"))
                .hint("It takes a timestamp or a date."));
        }
        _ => Arc::clone(&args[0]),
    };
    let times = cast(&of_day, &micros())?;
    let times = times.as_primitive::<TimestampMicrosecondType>().clone();
    formatted(&WrittenTimes::Times(times), &args[1], rows, |pattern| {
        format::java(pattern).map_err(|letter| {
            Error::new(
                SqlState::BadArgument,
                format!("date_format does not know the pattern letter '{letter}'"),
            )
            .hint("Put letters that stand for themselves between single quotes.")
        })
    })
}

fn formatted(
    shown: &WrittenTimes,
    patterns: &ArrayRef,
    rows: usize,
    read: fn(&str) -> Result<Vec<PatternPiece>>,
) -> Result<ArrayRef> {
    let texts = strings(patterns)?;
    let mut patterns = Recent::default();
    let (mut out, mut one) = (StringBuilder::new(), String::new());
    let mut budget = Budget::default();
    for row in 0..rows {
        let pattern = text(&texts, row).filter(|pattern| !pattern.is_empty());
        match (pattern, shown.at(row)) {
            (Some(pattern), Some(time)) => {
                let pieces = patterns.of(pattern, |pattern| read(pattern))?;
                one.clear();
                format::format(pieces, &time, &mut one)?;
                budget.add(one.len())?;
                out.append_value(&one);
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn from_seconds(array: &ArrayRef) -> Result<ArrayRef> {
    let out_of_range = |what: String| Error::new(SqlState::DatetimeOverflow, what);
    let micros = array.as_primitive::<Float64Type>().iter().map(|seconds| match seconds {
        None => Ok(None),
        Some(seconds) if seconds.is_nan() => {
            Err(out_of_range("timestamp cannot be NaN".to_owned()))
        }
        Some(f64::INFINITY) => Ok(Some(i64::MAX)),
        Some(f64::NEG_INFINITY) => Ok(Some(i64::MIN)),
        Some(seconds) if (-210_866_803_200.0..9_223_372_036_000.0).contains(&seconds) => {
            Ok(Some((seconds * 1e6).round_ties_even() as i64))
        }
        Some(seconds) => {
            let shown = format!("{seconds:e}").replace('e', "e+");
            Err(out_of_range(format!("timestamp out of range: \"{shown}\"")))
        }
    });
    let zone = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Ok(Arc::new(micros.collect::<Result<TimestampMicrosecondArray>>()?.with_data_type(zone)))
}

/// `to_timestamp` of text in the time zone of a session.
pub(super) fn to_timestamp_in(zone: Zone, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let moments = parsed(args, rows, |time| time.moment_in(zone))?;
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Ok(Arc::new(moments.with_data_type(utc)))
}

fn parsed(
    args: &[ArrayRef],
    rows: usize,
    micros: impl Fn(ReadTime) -> Result<i64>,
) -> Result<TimestampMicrosecondArray> {
    let (values, texts) = (strings(&args[0])?, strings(&args[1])?);
    let mut patterns = Recent::default();
    let mut out = TimestampMicrosecondArray::builder(rows);
    for row in 0..rows {
        match (text(&values, row), text(&texts, row)) {
            (Some(value), Some(pattern)) => {
                let read = |pattern: &&str| Ok::<_, Error>(format::postgres(pattern));
                out.append_value(micros(format_in::read(patterns.of(pattern, read)?, value)?)?);
            }
            _ => out.append_null(),
        }
    }
    Ok(out.finish())
}
