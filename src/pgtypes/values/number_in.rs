//! From the text of a number, a date or a time to the integer that stands for it in a column: what
//! the scalar readers found, checked against the range of the type, with the errors of Postgres.

use super::datetime_in::{
    self, DateTimeFault, Fields as DateFields, POSTGRES_EPOCH_MICROS, ParsedMoment,
};
use super::numeric::{self, Digits};
use super::scalar_in;
use crate::error::{Error, Result, SqlState};
use crate::time::DAY_MICROS;
use crate::types::arrow::FREE_NUMERIC;
use crate::types::{SqlType, Zone};

/// A value that its type has no room for.
pub(crate) fn out_of_range(what: &str) -> Error {
    Error::new(SqlState::DatetimeOverflow, format!("{what} out of range"))
}

/// Digits of a number; a type with a precision has no room for an infinity.
pub(crate) fn read_numeric(text: &[u8], scratch: &mut Digits, sql_type: &SqlType) -> Result<()> {
    let body = scalar_in::trimmed(text);
    numeric::read_text(body, scratch).ok_or_else(|| {
        let word = body
            .strip_prefix(b"-")
            .or(body.strip_prefix(b"+"))
            .unwrap_or(body)
            .to_ascii_lowercase();
        match (word.as_slice(), sql_type) {
            (b"infinity" | b"inf", SqlType::Decimal(Some((precision, scale)))) => Error::new(
                SqlState::OutOfRange,
                "numeric field overflow",
            )
            .detail(format!(
                "A field with precision {precision}, scale {scale} cannot hold an infinite value."
            )),
            (b"nan" | b"infinity" | b"inf", _) => numeric::not_finite(),
            _ => scalar_in::bad_text("numeric", text),
        }
    })
}

/// A number that has more digits than its type.
pub(crate) fn numeric_overflow(precision: u8, scale: i8) -> Error {
    let digits = i32::from(precision) - i32::from(scale);
    Error::new(SqlState::OutOfRange, "numeric field overflow").detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{digits}."
    ))
}

/// NUMERIC without precision is never rounded (Postgres manual, 8.1.2): what it has no room for is refused.
pub(crate) fn without_loss(digits: &Digits, sql_type: &SqlType) -> Result<()> {
    let places = FREE_NUMERIC.1;
    if *sql_type != SqlType::Decimal(None) || digits.has_places(places) {
        return Ok(());
    }
    let what = format!("a numeric has no more than {places} digits behind the point");
    Err(Error::new(SqlState::OutOfRange, what).hint("Round it, or use DOUBLE PRECISION."))
}

fn read_moment(text: &[u8], type_name: &str) -> Result<ParsedMoment> {
    let text = scalar_in::string(text)?;
    datetime_in::read(text, type_name == "time").map_err(|wrong| wrong.error(text, type_name))
}

fn wrong(wrong: DateTimeFault, text: &[u8], type_name: &str) -> Error {
    wrong.error(&scalar_in::shown(text), type_name)
}

/// The dates Postgres has, from 4714-11-24 BC, a Julian day of 0, to the end of 5874897.
const DATES: std::ops::RangeInclusive<i32> = -2_440_588..=2_145_042_905;

/// Days since 1970.
pub(crate) fn read_date(text: &[u8]) -> Result<i32> {
    if text.len() == 10
        && let Some(days) = datetime_in::fast_date(text)
    {
        return Ok(days as i32);
    }
    match read_moment(text, "date")? {
        ParsedMoment::Infinity => Ok(i32::MAX),
        ParsedMoment::MinusInfinity => Ok(i32::MIN),
        ParsedMoment::At(DateFields { days: Some(days), .. }) => {
            i32::try_from(days).ok().filter(|days| DATES.contains(days)).ok_or_else(|| {
                let message = format!("date out of range: \"{}\"", scalar_in::shown(text));
                Error::new(SqlState::DatetimeOverflow, message)
            })
        }
        ParsedMoment::At(_) => Err(wrong(DateTimeFault::Syntax, text, "date")),
    }
}

/// Microseconds of the day.
pub(crate) fn read_time(text: &[u8]) -> Result<i64> {
    let nanos = match datetime_in::fast_time(text) {
        Some(nanos) => nanos,
        None => match read_moment(text, "time")? {
            ParsedMoment::At(DateFields { nanos: Some(nanos), .. }) => nanos,
            _ => return Err(wrong(DateTimeFault::Syntax, text, "time")),
        },
    };
    Ok(datetime_in::ticks_of_day(nanos, 6))
}

/// With a default zone it is a TIMESTAMPTZ; without one a zone that is written is ignored, as in
/// Postgres.
#[inline]
pub(crate) fn read_timestamp(text: &[u8], precision: u8, default: Option<&Zone>) -> Result<i64> {
    if let Some((days, nanos, written)) = datetime_in::fast_zoned(text) {
        let offset = match (default, written) {
            (None, _) => 0,
            (Some(_), Some(offset)) => offset,
            (Some(zone), None) => zone.offset_of_local(days * 86_400 + nanos / 1_000_000_000),
        };
        if let Some(ticks) = datetime_in::timestamp_ticks(days, nanos, offset, precision) {
            return Ok(ticks);
        }
    }
    let name = if default.is_some() { "timestamp with time zone" } else { "timestamp" };
    match read_moment(text, name)? {
        ParsedMoment::Infinity => Ok(i64::MAX),
        ParsedMoment::MinusInfinity => Ok(i64::MIN),
        ParsedMoment::At(DateFields { days: Some(days), nanos, zone }) => {
            let nanos = nanos.unwrap_or(0);
            let offset = default.map_or(0, |default| {
                zone.as_ref()
                    .unwrap_or(default)
                    .offset_of_local(days * 86_400 + nanos / 1_000_000_000)
            });
            datetime_in::timestamp_ticks(days, nanos, offset, precision).ok_or_else(|| {
                let message = format!("timestamp out of range: \"{}\"", scalar_in::shown(text));
                Error::new(SqlState::DatetimeOverflow, message)
            })
        }
        ParsedMoment::At(_) => Err(wrong(DateTimeFault::Syntax, text, name)),
    }
}

/// Ticks of the binary form, which is microseconds since 2000.
pub(crate) fn binary_timestamp(micros: i64, precision: u8) -> Result<i64> {
    if matches!(micros, i64::MAX | i64::MIN) {
        return Ok(micros);
    }
    let micros =
        micros.checked_add(POSTGRES_EPOCH_MICROS).ok_or_else(|| out_of_range("timestamp"))?;
    let (days, rest) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
    datetime_in::timestamp_ticks(days, rest * 1_000, 0, precision)
        .ok_or_else(|| out_of_range("timestamp"))
}
