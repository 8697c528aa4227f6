//! Dates, times and timestamps as people and programs write them.
//!
//! The common form `YYYY-MM-DD HH:MM:SS[.f]` is read by position, without looking back. Everything
//! else goes through a reader of fields that knows the spellings of Postgres (manual, appendix B)
//! with month-day-year order.

use super::datetime_words;
use crate::error::{Error, Result, SqlState};
use crate::time::{DAY_MICROS, SECOND_MICROS};
use crate::types::calendar::{days_in_month, days_of};
use crate::types::zone::Zone;

/// Days from 1970-01-01 to 2000-01-01, where Postgres counts from.
pub(crate) const POSTGRES_EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(crate) const POSTGRES_EPOCH_MICROS: i64 = POSTGRES_EPOCH_DAYS as i64 * DAY_MICROS;

/// What a text says about a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ParsedMoment {
    Infinity,
    MinusInfinity,
    At(Fields),
}

/// A date, a time of day, a zone: whichever were written.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Fields {
    /// Days since 1970.
    pub(crate) days: Option<i64>,
    /// Nanoseconds into the day; one day at the most.
    pub(crate) nanos: Option<i64>,
    pub(crate) zone: Option<Zone>,
}

/// Why a text is no moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DateTimeFault {
    Syntax,
    Range,
    /// An offset that is too large.
    Zone,
    /// A zone by a name that no zone has.
    UnknownZone(String),
    Clock,
}

impl DateTimeFault {
    pub(crate) fn error(self, text: &str, type_name: &str) -> Error {
        match self {
            DateTimeFault::Syntax => Error::new(
                SqlState::BadDatetime,
                format!("invalid input syntax for type {type_name}: \"{text}\""),
            ),
            DateTimeFault::Range => Error::new(
                SqlState::DatetimeOverflow,
                format!("date/time field value out of range: \"{text}\""),
            ),
            DateTimeFault::Zone => Error::new(
                SqlState::BadZoneOffset,
                format!("time zone displacement out of range: \"{text}\""),
            ),
            DateTimeFault::UnknownZone(name) => {
                Error::new(SqlState::BadArgument, format!("time zone \"{name}\" not recognized"))
            }
            DateTimeFault::Clock => {
                Error::unsupported(format!("\"{text}\" as input for type {type_name}"))
                    .hint("Use now() or current_date in the statement.")
            }
        }
    }
}

#[inline]
fn two(bytes: &[u8], at: usize) -> Option<u32> {
    let (a, b) = (bytes[at].wrapping_sub(b'0'), bytes[at + 1].wrapping_sub(b'0'));
    (a < 10 && b < 10).then(|| u32::from(a) * 10 + u32::from(b))
}

/// `YYYY-MM-DD` at the start; None if it is anything else.
#[inline]
pub(crate) fn fast_date(text: &[u8]) -> Option<i64> {
    if text.len() < 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = i64::from(two(text, 0)? * 100 + two(text, 2)?);
    let (month, day) = (two(text, 5)?, two(text, 8)?);
    let valid = year > 0
        && (1..=12).contains(&month)
        && day >= 1
        && (day <= 28 || day <= days_in_month(year, month));
    valid.then(|| days_of(year, month, day))
}

/// `HH:MM:SS[.f…]` to the end, in nanoseconds; None if it is anything else.
#[inline]
pub(crate) fn fast_time(text: &[u8]) -> Option<i64> {
    if text.len() < 8 || text[2] != b':' || text[5] != b':' {
        return None;
    }
    let (h, m, s) = (two(text, 0)?, two(text, 3)?, two(text, 6)?);
    if h > 23 || m > 59 || s > 59 {
        return None;
    }
    let seconds = i64::from(h * 3600 + m * 60 + s);
    let fraction = match &text[8..] {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            let mut value = 0i64;
            for digit in digits {
                let digit = digit.wrapping_sub(b'0');
                if digit > 9 {
                    return None;
                }
                value = value * 10 + i64::from(digit);
            }
            value * 10i64.pow(9 - digits.len() as u32)
        }
        _ => return None,
    };
    Some(seconds * 1_000_000_000 + fraction)
}

/// `YYYY-MM-DD HH:MM:SS[.f]` or with `T`: days and nanoseconds.
#[inline]
pub(crate) fn fast_timestamp(text: &[u8]) -> Option<(i64, i64)> {
    if text.len() < 19 || !matches!(text[10], b' ' | b'T') {
        return None;
    }
    Some((fast_date(text)?, fast_time(&text[11..])?))
}

/// As [`fast_timestamp`], with an offset behind it if there is one: `Z`, `+hh`, `+hhmm` or
/// `+hh:mm`, in seconds.
#[inline]
pub(crate) fn fast_zoned(text: &[u8]) -> Option<(i64, i64, Option<i32>)> {
    let behind = text.get(19..)?;
    let fraction = match behind {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|b| b.is_ascii_digit()).count(),
        _ => 0,
    };
    let (moment, zone) = text.split_at(19 + fraction);
    let (days, nanos) = fast_timestamp(moment)?;
    let offset = match zone {
        [] => None,
        [b'Z'] => Some(0),
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let minutes = match rest {
                [_, _] => 0,
                [_, _, b':', _, _] => two(rest, 3)?,
                [_, _, _, _] => two(rest, 2)?,
                _ => return None,
            };
            let hours = two(rest, 0)?;
            if hours > 15 || minutes > 59 {
                return None;
            }
            let seconds = (hours * 3600 + minutes * 60) as i32;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => return None,
    };
    Some((days, nanos, offset))
}

/// Any spelling; `time_only` as a TIME is read.
pub(crate) fn read(text: &str, time_only: bool) -> Result<ParsedMoment, DateTimeFault> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "infinity" | "+infinity" => return Ok(ParsedMoment::Infinity),
        "-infinity" => return Ok(ParsedMoment::MinusInfinity),
        "epoch" if !time_only => {
            let epoch = Fields { days: Some(0), nanos: Some(0), zone: Some(Zone::Utc) };
            return Ok(ParsedMoment::At(epoch));
        }
        "now" | "today" | "tomorrow" | "yesterday" => return Err(DateTimeFault::Clock),
        _ => {}
    }
    if text.is_empty() || text.len() > 128 || !text.is_ascii() {
        return Err(DateTimeFault::Syntax);
    }
    datetime_words::read(text, &with_point(lower), time_only).map(ParsedMoment::At)
}

/// ISO 8601 and the logs of Java write the fraction of a second behind a comma. A time of day
/// without a date has a point, as in Postgres.
fn with_point(mut lower: String) -> String {
    if !lower.contains(['-', '/']) {
        return lower;
    }
    let comma = lower.as_bytes().windows(8).position(|around| {
        around.iter().zip(b":dd:dd,d").all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            mark => byte == mark,
        })
    });
    if let Some(at) = comma {
        lower.replace_range(at + 6..=at + 6, ".");
    }
    lower
}

/// Digits behind a point as nanoseconds, rounded.
pub(crate) fn fraction_nanos(digits: &[u8]) -> i64 {
    let mut value = 0i64;
    for i in 0..9 {
        value = value * 10 + digits.get(i).map_or(0, |d| i64::from(d - b'0'));
    }
    value + i64::from(digits.get(9).is_some_and(|d| *d >= b'5'))
}

/// Nanoseconds of a day as ticks of a type with `precision` digits: microseconds up to 6,
/// nanoseconds above, half away from zero.
#[inline]
pub(crate) fn ticks_of_day(nanos: i64, precision: u8) -> i64 {
    if precision > 6 {
        return round_to(nanos, 10i64.pow(9 - u32::from(precision.min(9))));
    }
    round_to(micros_of_day(nanos), 10i64.pow(6 - u32::from(precision)))
}

fn micros_of_day(nanos: i64) -> i64 {
    match nanos % 1_000 {
        0 => nanos / 1_000,
        // Postgres reads the fraction as a double, and that decides which side of the half it is
        // on.
        500 => {
            let fraction = (nanos % 1_000_000_000) as f64 / 1e9;
            nanos / 1_000_000_000 * 1_000_000 + (fraction * 1e6).round_ties_even() as i64
        }
        _ => (nanos + 500) / 1_000,
    }
}

fn round_to(value: i64, unit: i64) -> i64 {
    if unit == 1 || value % unit == 0 { value } else { (value + unit / 2).div_euclid(unit) * unit }
}

/// Ticks since 1970 of a day and a time, shifted from a zone to UTC; None beyond what the type can
/// hold.
#[inline]
pub(crate) fn timestamp_ticks(
    days: i64,
    nanos: i64,
    offset_seconds: i32,
    precision: u8,
) -> Option<i64> {
    let per_second: i64 = if precision > 6 { 1_000_000_000 } else { SECOND_MICROS };
    let ticks = if precision == 6 && nanos % 1_000 == 0 {
        nanos / 1_000
    } else {
        fine_ticks(days, nanos, precision)
    };
    let ticks = days
        .checked_mul(86_400 * per_second)?
        .checked_add(ticks)?
        .checked_sub(i64::from(offset_seconds) * per_second)?;
    // The ends of the range are the infinities; Postgres begins at 4714-11-24 BC.
    const FIRST: i64 = POSTGRES_EPOCH_MICROS - 211_813_488_000_000_000;
    (ticks < i64::MAX && ticks > i64::MIN && (per_second > 1_000_000 || ticks >= FIRST))
        .then_some(ticks)
}

/// Postgres rounds to microseconds first, and then away from the year 2000: before it, a half goes
/// down.
fn fine_ticks(days: i64, nanos: i64, precision: u8) -> i64 {
    let ticks = ticks_of_day(nanos, precision);
    if precision >= 6 || days >= i64::from(POSTGRES_EPOCH_DAYS) {
        return ticks;
    }
    let unit = 10i64.pow(6 - u32::from(precision));
    if micros_of_day(nanos) % unit * 2 == unit { ticks - unit } else { ticks }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match read(text, false) {
            Ok(ParsedMoment::At(f)) => {
                let date = f.days.map(crate::types::calendar::date_of);
                format!("{date:?} {:?} {:?}", f.nanos, f.zone)
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn every_spelling_of_a_moment_is_the_same_moment() {
        let expect = "Some((1999, 1, 8)) Some(14706500000000) None";
        for text in [
            "1999-01-08 04:05:06.5",
            "1999-01-08T04:05:06.5",
            "19990108 040506.5",
            "19990108T040506.5",
            "Jan 8, 1999 04:05:06.5",
            "January 8 1999 4:05:06.5 AM",
            "8-Jan-1999 04:05:06.5",
            "1999-01-08 04:05:06,5",
            "Jan-08-1999 04:05:06.5",
            "1/8/1999 04:05:06.5",
            "Fri 1999-Jan-08 04:05:06.5",
            "  1999/1/8 4:05:06.5 ",
        ] {
            assert_eq!(show(text), expect, "{text}");
        }
    }

    #[test]
    fn zones_eras_and_special_words_are_understood() {
        let check = |text: &str, expect: &str| assert_eq!(show(text), expect, "{text}");
        check("1999-01-08 04:05:06Z", "Some((1999, 1, 8)) Some(14706000000000) Some(Utc)");
        check(
            "1999-01-08 04:05:06+05:30",
            "Some((1999, 1, 8)) Some(14706000000000) Some(Fixed(19800))",
        );
        check(
            "1999-01-08T04:05:06-0800",
            "Some((1999, 1, 8)) Some(14706000000000) Some(Fixed(-28800))",
        );
        check(
            "1999-01-08 04:05 PST",
            "Some((1999, 1, 8)) Some(14700000000000) Some(Fixed(-28800))",
        );
        check("0044-03-15 BC", "Some((-43, 3, 15)) None None");
        check("2024-02-30", "Err(Range)");
        check("2024-13-01", "Err(Range)");
        check("1999-01-08 24:00:00", "Some((1999, 1, 8)) Some(86400000000000) None");
        check("1999-01-08 25:00:00", "Err(Range)");
        check("12:30 pm", "None Some(45000000000000) None");
        check("Infinity", "Ok(Infinity)");
        check("abc", "Err(Syntax)");
        check("now", "Err(Clock)");
        assert!(matches!(
            read("2024-07-01 12:00 America/New_York", false),
            Ok(ParsedMoment::At(Fields { zone: Some(Zone::Named(_)), .. }))
        ));
    }

    #[test]
    fn a_precision_rounds_half_away_from_the_year_2000() {
        assert_eq!(timestamp_ticks(0, 1_500_000_000, 0, 0), Some(1_000_000));
        assert_eq!(
            timestamp_ticks(20_000, 1_500_000_000, 0, 0),
            Some(20_000 * 86_400_000_000 + 2_000_000)
        );
        assert_eq!(timestamp_ticks(0, 1_234_567_890, 0, 3), Some(1_235_000));
        assert_eq!(timestamp_ticks(0, 1_234_567_890, 0, 9), Some(1_234_567_890));
        assert_eq!(timestamp_ticks(200_000, 0, 0, 9), None);
    }
}
