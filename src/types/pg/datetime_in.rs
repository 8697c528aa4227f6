//! Dates, times and timestamps as people and programs write them.
//!
//! The common form `YYYY-MM-DD HH:MM:SS[.f]` is read by position, without looking back. Everything else goes through
//! a reader of fields that knows the spellings of Postgres (manual, appendix B) with month-day-year order.

use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{POSTGRES_EPOCH_MICROS, days_in_month, days_of};
use crate::types::zone::Zone;

const DAY_NANOS: i64 = 86_400_000_000_000;

/// What a text says about a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Moment {
    Infinity,
    MinusInfinity,
    At(Fields),
}

/// A date, a time of day, a zone: whichever were written.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Fields {
    /// Days since 1970.
    pub(super) days: Option<i64>,
    /// Nanoseconds into the day; one day at the most.
    pub(super) nanos: Option<i64>,
    pub(super) zone: Option<Zone>,
}

/// Why a text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    Syntax,
    Range,
    Zone,
    Clock,
}

impl Wrong {
    pub(super) fn error(self, text: &str, type_name: &str) -> Error {
        match self {
            Wrong::Syntax => Error::new(
                SqlState::BadDatetime,
                format!("invalid input syntax for type {type_name}: \"{text}\""),
            ),
            Wrong::Range => Error::new(
                SqlState::DatetimeOverflow,
                format!("date/time field value out of range: \"{text}\""),
            ),
            Wrong::Zone => Error::new(
                SqlState::DatetimeOverflow,
                format!("time zone displacement out of range: \"{text}\""),
            ),
            Wrong::Clock => Error::unsupported(format!("\"{text}\" as input for type {type_name}"))
                .hint("Use now() or current_date in the statement."),
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
pub(super) fn fast_date(text: &[u8]) -> Option<i64> {
    if text.len() < 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = i64::from(two(text, 0)? * 100 + two(text, 2)?);
    let (month, day) = (two(text, 5)?, two(text, 8)?);
    let valid =
        year > 0 && (1..=12).contains(&month) && day >= 1 && (day <= 28 || day <= days_in_month(year, month));
    valid.then(|| days_of(year, month, day))
}

/// `HH:MM:SS[.f…]` to the end, in nanoseconds; None if it is anything else.
#[inline]
pub(super) fn fast_time(text: &[u8]) -> Option<i64> {
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
pub(super) fn fast_timestamp(text: &[u8]) -> Option<(i64, i64)> {
    if text.len() < 19 || !matches!(text[10], b' ' | b'T') {
        return None;
    }
    Some((fast_date(text)?, fast_time(&text[11..])?))
}

/// Any spelling.
pub(super) fn read(text: &str) -> Result<Moment, Wrong> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "infinity" | "+infinity" | "inf" | "+inf" => return Ok(Moment::Infinity),
        "-infinity" | "-inf" => return Ok(Moment::MinusInfinity),
        "epoch" => {
            let epoch = Fields { days: Some(0), nanos: Some(0), zone: Some(Zone::Utc) };
            return Ok(Moment::At(epoch));
        }
        "now" | "today" | "tomorrow" | "yesterday" => return Err(Wrong::Clock),
        _ => {}
    }
    if text.is_empty() || text.len() > 128 || !text.is_ascii() {
        return Err(Wrong::Syntax);
    }
    Reader::default().run(text, &lower).map(Moment::At)
}

#[derive(Default)]
struct Reader {
    /// Year, month, day; the year as written, before the era is known.
    date: Option<(i64, u32, u32)>,
    month_name: Option<u32>,
    loose: Vec<String>,
    nanos: Option<i64>,
    afternoon: Option<bool>,
    zone: Option<Zone>,
    before_christ: bool,
    /// The year was written with two digits.
    short_year: bool,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

fn month_of(word: &str) -> Option<u32> {
    let full = |m: &&str| word.len() >= 3 && (m.starts_with(word) && word.len() == 3 || *m == word);
    MONTHS.iter().position(|m| full(m)).map(|i| i as u32 + 1).or((word == "sept").then_some(9))
}

impl Reader {
    fn run(mut self, text: &str, lower: &str) -> Result<Fields, Wrong> {
        let mut at = 0;
        while at < lower.len() {
            let rest = &lower[at..];
            let first = rest.as_bytes()[0];
            if first.is_ascii_whitespace() || first == b',' {
                at += 1;
                continue;
            }
            let is_part: fn(u8) -> bool = match first {
                b'0'..=b'9' => |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'.' | b':' | b'+'),
                b'+' | b'-' => |b| b.is_ascii_digit() || matches!(b, b':' | b'+' | b'-'),
                b'a'..=b'z' => |b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-' | b'+' | b':'),
                _ => return Err(Wrong::Syntax),
            };
            let len = rest.bytes().position(|b| !is_part(b)).unwrap_or(rest.len());
            let (word, written) = (&rest[..len], &text[at..at + len]);
            at += len;
            match first {
                b'0'..=b'9' => self.number(word, written)?,
                b'+' | b'-' => self.set_zone(written)?,
                _ => self.word(word, written)?,
            }
        }
        self.finish()
    }

    fn set_zone(&mut self, text: &str) -> Result<(), Wrong> {
        if self.zone.is_some() {
            return Err(Wrong::Syntax);
        }
        self.zone = Some(Zone::of_suffix(text).ok_or(match text.as_bytes()[0] {
            b'+' | b'-' if text.bytes().skip(1).all(|b| b.is_ascii_digit() || b == b':') => Wrong::Zone,
            _ => Wrong::Syntax,
        })?);
        Ok(())
    }

    fn word(&mut self, word: &str, written: &str) -> Result<(), Wrong> {
        match word {
            "bc" => self.before_christ = true,
            "ad" | "at" | "on" | "t" => {}
            "am" => self.afternoon = Some(false),
            "pm" => self.afternoon = Some(true),
            "allballs" => (self.nanos, self.zone) = (Some(0), Some(Zone::Utc)),
            _ => {
                if let Some(month) = month_of(word) {
                    self.month_name = Some(month);
                } else if let Some(rest) =
                    word.strip_prefix('t').filter(|r| r.starts_with(|c: char| c.is_ascii_digit()))
                {
                    return self.number(rest, &written[1..]);
                } else if let Some((month, rest)) =
                    word.split_once('-').and_then(|(m, r)| Some((month_of(m)?, r)))
                {
                    // Jan-08-1999
                    self.month_name = Some(month);
                    self.loose.extend(rest.split('-').map(str::to_owned));
                } else if !WEEKDAYS.iter().any(|d| word.len() >= 3 && d.starts_with(word)) {
                    self.set_zone(written)?;
                }
            }
        }
        Ok(())
    }

    /// A word that begins with a digit: a date, a time, both glued together, with or without a zone behind.
    fn number(&mut self, word: &str, written: &str) -> Result<(), Wrong> {
        if let Some(colon) = word.find(':') {
            // In `1999-01-08t04:05:06` the date stands before the T.
            if let Some(t) = word.find('t').filter(|t| *t < colon) {
                self.number(&word[..t], &written[..t])?;
                return self.number(&word[t + 1..], &written[t + 1..]);
            }
            let end = word
                .bytes()
                .position(|b| !(b.is_ascii_digit() || b == b':' || b == b'.'))
                .unwrap_or(word.len());
            self.set_time(&word[..end])?;
            return self.after_time(&word[end..], &written[end..]);
        }
        if let Some(t) = word.find('t').filter(|t| word[t + 1..].starts_with(|c: char| c.is_ascii_digit())) {
            let time = &word[t + 1..];
            self.number(&word[..t], &written[..t])?;
            let end = time.bytes().position(|b| !(b.is_ascii_digit() || b == b'.')).unwrap_or(time.len());
            self.set_compact_time(&time[..end])?;
            return self.after_time(&time[end..], &written[t + 1 + end..]);
        }
        if let Some(separator) = word.bytes().find(|b| matches!(b, b'-' | b'/')) {
            return self.set_date(word, char::from(separator));
        }
        let digits = word.bytes().take_while(|b| b.is_ascii_digit()).count();
        match &word[digits..] {
            "" => {}
            "am" | "pm" | "bc" | "ad" => {
                self.number(&word[..digits], &written[..digits])?;
                return self.word(&word[digits..], &written[digits..]);
            }
            rest if rest.starts_with('.') && self.date.is_some() => return self.set_compact_time(word),
            rest if rest.starts_with('.') => return self.set_date(word, '.'),
            _ => return Err(Wrong::Syntax),
        }
        match word.len() {
            8 if self.date.is_none() => {
                let n = |r: std::ops::Range<usize>| word[r].parse::<u32>().map_err(|_| Wrong::Syntax);
                self.date = Some((i64::from(n(0..4)?), n(4..6)?, n(6..8)?));
            }
            6 if self.date.is_some()
                || self.nanos.is_none() && self.loose.is_empty() && self.month_name.is_none() =>
            {
                if self.date.is_some() { self.set_compact_time(word)? } else { self.set_short_date(word)? }
            }
            _ => self.loose.push(word.to_owned()),
        }
        Ok(())
    }

    fn set_short_date(&mut self, word: &str) -> Result<(), Wrong> {
        let n = |r: std::ops::Range<usize>| word[r].parse::<u32>().map_err(|_| Wrong::Syntax);
        self.date = Some((i64::from(n(0..2)?), n(2..4)?, n(4..6)?));
        self.short_year = true;
        Ok(())
    }

    fn after_time(&mut self, rest: &str, written: &str) -> Result<(), Wrong> {
        match rest {
            "" => Ok(()),
            "am" | "pm" => self.word(rest, written),
            _ => self.set_zone(written),
        }
    }

    fn set_date(&mut self, word: &str, separator: char) -> Result<(), Wrong> {
        let parts: Vec<&str> = word.split(separator).collect();
        let [a, b, c] = parts[..] else {
            return Err(Wrong::Syntax);
        };
        if self.date.is_some() {
            return Err(Wrong::Syntax);
        }
        if let Some(month) = month_of(b) {
            self.month_name = Some(month);
            self.loose.extend([a.to_owned(), c.to_owned()]);
            return Ok(());
        }
        let n = |s: &str| s.parse::<u32>().map_err(|_| Wrong::Syntax);
        let (year, month, day) = if a.len() > 2 { (a, b, c) } else { (c, a, b) };
        self.short_year = year.len() <= 2;
        self.date = Some((i64::from(n(year)?), n(month)?, n(day)?));
        Ok(())
    }

    fn set_time(&mut self, word: &str) -> Result<(), Wrong> {
        let (clock, fraction) = word.split_once('.').unwrap_or((word, ""));
        let parts: Vec<&str> = clock.split(':').collect();
        let (h, m, s) = match parts[..] {
            [h, m] => (h, m, "0"),
            [h, m, s] => (h, m, s),
            _ => return Err(Wrong::Syntax),
        };
        self.clock(h, m, s, fraction)
    }

    fn set_compact_time(&mut self, word: &str) -> Result<(), Wrong> {
        let (clock, fraction) = word.split_once('.').unwrap_or((word, ""));
        match clock.len() {
            2 => self.clock(clock, "0", "0", fraction),
            4 => self.clock(&clock[..2], &clock[2..], "0", fraction),
            6 => self.clock(&clock[..2], &clock[2..4], &clock[4..], fraction),
            _ => Err(Wrong::Syntax),
        }
    }

    fn clock(&mut self, h: &str, m: &str, s: &str, fraction: &str) -> Result<(), Wrong> {
        let n = |text: &str| text.parse::<i64>().map_err(|_| Wrong::Syntax);
        if self.nanos.is_some() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Wrong::Syntax);
        }
        let (h, m, s) = (n(h)?, n(m)?, n(s)?);
        let fraction = fraction_nanos(fraction.as_bytes());
        let nanos = ((h * 60 + m) * 60 + s) * 1_000_000_000 + fraction;
        if m > 59 || s > 60 || h > 24 || nanos > DAY_NANOS {
            return Err(Wrong::Range);
        }
        self.nanos = Some(nanos);
        Ok(())
    }

    fn finish(mut self) -> Result<Fields, Wrong> {
        if let Some(month) = self.month_name {
            let (day, year) = match (self.date, &self.loose[..]) {
                (None, [a, b]) if a.len() > 2 => (b, a),
                (None, [a, b]) => (a, b),
                _ => return Err(Wrong::Syntax),
            };
            self.short_year = year.len() <= 2;
            let year_value: i64 = year.parse().map_err(|_| Wrong::Syntax)?;
            self.date = Some((year_value, month, day.parse().map_err(|_| Wrong::Syntax)?));
        } else if !self.loose.is_empty() {
            match (&self.loose[..], self.nanos, self.afternoon) {
                ([hour], None, Some(_)) => {
                    let hour = hour.clone();
                    self.clock(&hour, "0", "0", "")?;
                }
                _ => return Err(Wrong::Syntax),
            }
        }
        if let Some(afternoon) = self.afternoon {
            let nanos = self.nanos.ok_or(Wrong::Syntax)?;
            let hour = nanos / 3_600_000_000_000;
            if !(1..=12).contains(&hour) {
                return Err(Wrong::Range);
            }
            let shift = hour % 12 - hour + if afternoon { 12 } else { 0 };
            self.nanos = Some(nanos + shift * 3_600_000_000_000);
        }
        // Two digits mean 1970 to 2069, unless they are a year before Christ.
        let short = self.short_year && !self.before_christ;
        let full = |year: i64| {
            if !short || year > 99 {
                year
            } else if year < 70 {
                year + 2000
            } else {
                year + 1900
            }
        };
        let days =
            self.date.map(|(y, m, d)| checked_days((full(y), m, d), self.before_christ)).transpose()?;
        Ok(Fields { days, nanos: self.nanos, zone: self.zone })
    }
}

fn checked_days((year, month, day): (i64, u32, u32), before_christ: bool) -> Result<i64, Wrong> {
    if year == 0 || year > 5_874_897 {
        return Err(Wrong::Range);
    }
    let year = if before_christ { 1 - year } else { year };
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return Err(Wrong::Range);
    }
    Ok(days_of(year, month, day))
}

/// Digits behind a point as nanoseconds, rounded.
pub(super) fn fraction_nanos(digits: &[u8]) -> i64 {
    let mut value = 0i64;
    for i in 0..9 {
        value = value * 10 + digits.get(i).map_or(0, |d| i64::from(d - b'0'));
    }
    value + i64::from(digits.get(9).is_some_and(|d| *d >= b'5'))
}

/// Nanoseconds of a day as ticks of a type with `precision` digits: microseconds up to 6, nanoseconds above, half
/// away from zero.
#[inline]
pub(super) fn ticks_of_day(nanos: i64, precision: u8) -> i64 {
    if precision > 6 {
        return round_to(nanos, 10i64.pow(9 - u32::from(precision.min(9))));
    }
    let micros = if nanos % 1_000 == 0 { nanos / 1_000 } else { (nanos + 500) / 1_000 };
    round_to(micros, 10i64.pow(6 - u32::from(precision)))
}

fn round_to(value: i64, unit: i64) -> i64 {
    if unit == 1 || value % unit == 0 { value } else { (value + unit / 2).div_euclid(unit) * unit }
}

/// Ticks since 1970 of a day and a time, shifted from a zone to UTC; None beyond what the type can hold.
#[inline]
pub(super) fn timestamp_ticks(days: i64, nanos: i64, offset_seconds: i32, precision: u8) -> Option<i64> {
    let per_second: i64 = if precision > 6 { 1_000_000_000 } else { 1_000_000 };
    let ticks =
        if precision == 6 && nanos % 1_000 == 0 { nanos / 1_000 } else { fine_ticks(days, nanos, precision) };
    let ticks = days
        .checked_mul(86_400 * per_second)?
        .checked_add(ticks)?
        .checked_sub(i64::from(offset_seconds) * per_second)?;
    // The ends of the range are the infinities; Postgres begins at 4714-11-24 BC.
    const FIRST: i64 = POSTGRES_EPOCH_MICROS - 211_813_488_000_000_000;
    (ticks < i64::MAX && ticks > i64::MIN && (per_second > 1_000_000 || ticks >= FIRST)).then_some(ticks)
}

/// Postgres rounds away from the year 2000: before it, a half goes down.
fn fine_ticks(days: i64, nanos: i64, precision: u8) -> i64 {
    let unit = 10i64.pow(9 - u32::from(precision.min(9)));
    let half_down =
        days < POSTGRES_EPOCH_MICROS / 86_400_000_000 && nanos % unit * 2 == unit && precision < 6;
    let ticks = ticks_of_day(nanos, precision);
    if half_down { ticks - 10i64.pow(6 - u32::from(precision.min(6))) } else { ticks }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match read(text) {
            Ok(Moment::At(f)) => {
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
        check("1999-01-08 04:05:06+05:30", "Some((1999, 1, 8)) Some(14706000000000) Some(Fixed(19800))");
        check("1999-01-08T04:05:06-0800", "Some((1999, 1, 8)) Some(14706000000000) Some(Fixed(-28800))");
        check("1999-01-08 04:05 PST", "Some((1999, 1, 8)) Some(14700000000000) Some(Fixed(-28800))");
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
            read("2024-07-01 12:00 America/New_York"),
            Ok(Moment::At(Fields { zone: Some(Zone::Named(_)), .. }))
        ));
    }

    #[test]
    fn a_precision_rounds_half_away_from_the_year_2000() {
        assert_eq!(timestamp_ticks(0, 1_500_000_000, 0, 0), Some(1_000_000));
        assert_eq!(timestamp_ticks(20_000, 1_500_000_000, 0, 0), Some(20_000 * 86_400_000_000 + 2_000_000));
        assert_eq!(timestamp_ticks(0, 1_234_567_890, 0, 3), Some(1_235_000));
        assert_eq!(timestamp_ticks(0, 1_234_567_890, 0, 9), Some(1_234_567_890));
        assert_eq!(timestamp_ticks(200_000, 0, 0, 9), None);
    }
}
