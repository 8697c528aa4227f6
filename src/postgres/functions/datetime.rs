//! Dates and times: parts of them, and text from and to them by patterns of Postgres and Flink.

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::{DatePart, cast, date_part};
use datafusion::arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::format::{self, PatternPiece};
use super::scalar::{Scalar, strings, text};
use crate::error::{Error, Result, SqlState};

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
        function("to_char", 2, DataType::Utf8, to_char),
        function("date_format", 2, DataType::Utf8, date_format),
        ScalarUDF::from(ToTimestamp::new()),
        ScalarUDF::from(Scalar {
            name: "to_date",
            aliases: vec![],
            signature: Signature::one_of(
                vec![TypeSignature::Any(1), TypeSignature::Any(2)],
                Volatility::Immutable,
            ),
            out: DataType::Date32,
            call: to_date,
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

/// The moments of a column, and what stands for its time zone.
fn moments(array: &ArrayRef, function: &str) -> Result<(TimestampMicrosecondArray, &'static str)> {
    let zone = match array.data_type() {
        DataType::Timestamp(_, Some(_)) => "UTC",
        _ => "",
    };
    let wanted = match array.data_type() {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Date32 | DataType::Date64 | DataType::Null => micros(),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 if function == "date_format" => {
            micros()
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let time = cast(array, &DataType::Time64(TimeUnit::Microsecond))?;
            let since_1970 = cast(&time, &DataType::Int64)?;
            return Ok((
                cast(&since_1970, &micros())?.as_primitive::<TimestampMicrosecondType>().clone(),
                zone,
            ));
        }
        other => {
            return Err(Error::unsupported(format!("{function} of {other} is not supported"))
                .hint("It takes a timestamp or a date; cast numbers to TEXT and pad them with lpad()."));
        }
    };
    Ok((cast(array, &wanted)?.as_primitive::<TimestampMicrosecondType>().clone(), zone))
}

fn moment(micros: i64) -> Result<NaiveDateTime> {
    let out_of_range = || Error::new(SqlState::DatetimeOverflow, "timestamp out of range");
    Ok(DateTime::from_timestamp_micros(micros).ok_or_else(out_of_range)?.naive_utc())
}

/// `to_char(timestamp, 'YYYY-MM-DD HH24:MI:SS')`.
fn to_char(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    formatted(args, rows, "to_char", |pattern| Ok(format::postgres(pattern)))
}

/// `date_format(timestamp, 'yyyy-MM-dd HH:mm:ss')`, as in Flink.
fn date_format(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    formatted(args, rows, "date_format", |pattern| {
        format::java(pattern).map_err(|letter| {
            Error::new(
                SqlState::BadArgument,
                format!("date_format does not know the pattern letter '{letter}'"),
            )
            .hint("Put letters that stand for themselves between single quotes.")
        })
    })
}

/// The pattern of each row, parsed once as long as it stays the same.
struct Patterns<'p> {
    texts: &'p StringArray,
    read: fn(&str) -> Result<Vec<PatternPiece>>,
    last: Option<(&'p str, Vec<PatternPiece>)>,
}

impl<'p> Patterns<'p> {
    fn at(&mut self, row: usize) -> Result<Option<&[PatternPiece]>> {
        let Some(pattern) = text(self.texts, row) else { return Ok(None) };
        if self.last.as_ref().is_none_or(|(last, _)| *last != pattern) {
            self.last = Some((pattern, (self.read)(pattern)?));
        }
        Ok(self.last.as_ref().map(|(_, pieces)| pieces.as_slice()))
    }
}

fn formatted(
    args: &[ArrayRef],
    rows: usize,
    function: &str,
    read: fn(&str) -> Result<Vec<PatternPiece>>,
) -> Result<ArrayRef> {
    let (times, zone) = moments(&args[0], function)?;
    let texts = strings(&args[1])?;
    let mut patterns = Patterns { texts: &texts, read, last: None };
    let (mut out, mut one) = (StringBuilder::new(), String::new());
    for row in 0..rows {
        match patterns.at(row)? {
            Some(pieces) if times.is_valid(row) => {
                one.clear();
                format::format(pieces, moment(times.value(row))?, zone, &mut one);
                out.append_value(&one);
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// `to_timestamp(seconds)` as in Postgres, `to_timestamp(text, pattern)` with its patterns, and
/// `to_timestamp(text | timestamp)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToTimestamp {
    signature: Signature,
}

impl ToTimestamp {
    fn new() -> ToTimestamp {
        let one_or_two = vec![TypeSignature::Any(1), TypeSignature::Any(2)];
        ToTimestamp { signature: Signature::one_of(one_or_two, Volatility::Immutable) }
    }

    fn out() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }
}

impl ScalarUDFImpl for ToTimestamp {
    fn name(&self) -> &str {
        "to_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(Self::out())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let scalar = Scalar {
            name: "to_timestamp",
            aliases: vec![],
            signature: self.signature.clone(),
            out: Self::out(),
            call: to_timestamp,
        };
        scalar.invoke_with_args(args)
    }
}

fn to_timestamp(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let array = match (args.len(), args[0].data_type()) {
        (1, kind) if kind.is_numeric() => from_seconds(&args[0])?,
        (1, _) => cast(&args[0], &micros())?,
        _ => parsed(args, rows)?,
    };
    Ok(cast(&array, &ToTimestamp::out())?)
}

/// `to_date(text, pattern)` with the patterns of Postgres, and `to_date(text)`.
fn to_date(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let array = match args.len() {
        1 => args[0].clone(),
        _ => parsed(args, rows)?,
    };
    Ok(cast(&array, &DataType::Date32)?)
}

fn from_seconds(array: &ArrayRef) -> Result<ArrayRef> {
    let seconds = cast(array, &DataType::Float64)?;
    let micros = seconds.as_primitive::<Float64Type>().iter().map(|seconds| match seconds {
        None => Ok(None),
        Some(seconds) if seconds.abs() < 9.2e12 => Ok(Some((seconds * 1e6).round() as i64)),
        Some(seconds) => Err(Error::new(
            SqlState::DatetimeOverflow,
            format!("timestamp out of range: \"{seconds}\""),
        )),
    });
    Ok(Arc::new(micros.collect::<Result<TimestampMicrosecondArray>>()?))
}

fn parsed(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (values, texts) = (strings(&args[0])?, strings(&args[1])?);
    let mut patterns =
        Patterns { texts: &texts, read: |pattern| Ok(format::postgres(pattern)), last: None };
    let mut out = TimestampMicrosecondArray::builder(rows);
    for row in 0..rows {
        let (Some(value), Some(pieces)) = (text(&values, row), patterns.at(row)?) else {
            out.append_null();
            continue;
        };
        let moment = format::parse(pieces, value).ok_or_else(|| {
            let pattern = texts.value(row);
            Error::new(
                SqlState::BadDatetime,
                format!("\"{value}\" is no timestamp in the pattern \"{pattern}\""),
            )
        })?;
        out.append_value(moment.and_utc().timestamp_micros());
    }
    Ok(Arc::new(out.finish()))
}
