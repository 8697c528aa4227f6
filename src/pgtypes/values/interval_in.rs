//! Intervals in all the spellings of Postgres (manual, 8.5.4): units, clock times, SQL standard,
//! ISO 8601.

use arrow::datatypes::IntervalMonthDayNano;

use crate::error::{Error, Result, SqlState};
use crate::time::DAY_MICROS;

/// Reads an interval: `1 day 2 hours`, `01:02:03.5`, `1-2`, `P1DT2H`, `2 weeks ago`, `1.5 hours`.
/// Microseconds are the finest; a fraction of a month is days, a fraction of a day is time, as in
/// Postgres.
pub fn parse_interval(text: &str) -> Result<IntervalMonthDayNano> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let lower = trimmed.to_ascii_lowercase();
    let mut sum = Sum::default();
    let read = if lower.starts_with('p') || lower.starts_with("-p") || lower.starts_with("+p") {
        iso8601(&lower, &mut sum)
    } else {
        words(&lower, &mut sum)
    };
    read.and_then(|()| sum.finish()).map_err(|wrong| match wrong {
        IntervalFault::Syntax => Error::new(
            SqlState::BadDatetime,
            format!("invalid input syntax for type interval: \"{text}\""),
        ),
        IntervalFault::Field => Error::new(
            SqlState::IntervalOverflow,
            format!("interval field value out of range: \"{text}\""),
        ),
        IntervalFault::Range => Error::new(SqlState::DatetimeOverflow, "interval out of range"),
    })
}

#[derive(Debug, Clone, Copy)]
enum IntervalFault {
    Syntax,
    /// One of the numbers is too large.
    Field,
    /// They are too large together.
    Range,
}

/// A number as written. The fraction is a double and is rounded in the way of Postgres, so that the
/// same text is the same interval to the microsecond.
#[derive(Debug, Clone, Copy)]
struct Number {
    whole: i128,
    fraction: f64,
}

impl Number {
    /// `[+-]digits[.digits]`.
    fn read(text: &str) -> Option<Number> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
        let digits_only = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let decimals = fraction.strip_prefix('.').unwrap_or_default();
        if whole.len() + decimals.len() == 0
            || whole.len() > 20
            || !digits_only(whole)
            || !digits_only(decimals)
        {
            return None;
        }
        let value = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? };
        let fraction = if decimals.is_empty() { 0.0 } else { fraction.parse().ok()? };
        let number = Number { whole: value, fraction };
        Some(if negative { number.negated() } else { number })
    }

    fn negated(self) -> Number {
        Number { whole: -self.whole, fraction: -self.fraction }
    }

    fn is_fractional(self) -> bool {
        self.fraction != 0.0
    }
}

const DAY: f64 = DAY_MICROS as f64;

/// Months, days and microseconds added up so far.
#[derive(Debug, Default)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
    /// A bit for each unit there was: none may come twice.
    seen: u32,
}

/// To the nearest whole number; a half goes towards zero.
fn nearest(value: f64) -> i128 {
    let whole = value.trunc();
    let rest = value - whole;
    whole as i128 + i128::from(rest > 0.5) - i128::from(rest < -0.5)
}

/// The bits of [`Sum::seen`].
const YEAR: u32 = 1;
const MONTH: u32 = 1 << 4;
const DAYS: u32 = 1 << 6;
const HOUR: u32 = 1 << 7;
const SECOND: u32 = 1 << 9;
/// A time of day is hours, minutes and seconds.
const CLOCK: u32 = HOUR | HOUR << 1 | SECOND;

impl Sum {
    fn see(&mut self, units: u32) -> Result<(), IntervalFault> {
        if self.seen & units != 0 {
            return Err(IntervalFault::Syntax);
        }
        self.seen |= units;
        Ok(())
    }

    fn add(&mut self, n: Number, unit: &str) -> Result<(), IntervalFault> {
        let unit_bit = match unit {
            "y" | "yr" | "yrs" | "year" | "years" => self.add_months(n, 12, YEAR)?,
            "dec" | "decs" | "decade" | "decades" => self.add_months(n, 120, YEAR << 1)?,
            "c" | "cent" | "century" | "centuries" => self.add_months(n, 1_200, YEAR << 2)?,
            "mil" | "mils" | "millennium" | "millenniums" | "millennia" => {
                self.add_months(n, 12_000, YEAR << 3)?
            }
            "mon" | "mons" | "month" | "months" => {
                self.months += small(n)?;
                self.add_days(n.fraction * 30.0);
                MONTH
            }
            "w" | "week" | "weeks" => {
                self.days += small(n)? * 7;
                self.add_days(n.fraction * 7.0);
                MONTH << 1
            }
            "d" | "day" | "days" => {
                self.days += small(n)?;
                self.micros += nearest(n.fraction * DAY);
                DAYS
            }
            "h" | "hr" | "hrs" | "hour" | "hours" => self.add_time(n, 3_600_000_000, HOUR),
            "m" | "min" | "mins" | "minute" | "minutes" => self.add_time(n, 60_000_000, HOUR << 1),
            // With a fraction they are milliseconds and microseconds as well.
            "s" | "sec" | "secs" | "second" | "seconds" => {
                self.add_time(n, 1_000_000, if n.is_fractional() { SECOND * 7 } else { SECOND })
            }
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" => {
                self.add_time(n, 1_000, SECOND << 1)
            }
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" => {
                self.add_time(n, 1, SECOND << 2)
            }
            _ => return Err(IntervalFault::Syntax),
        };
        self.see(unit_bit)
    }

    fn add_months(&mut self, n: Number, months: i32, bit: u32) -> Result<u32, IntervalFault> {
        self.months += small(n)? * i128::from(months);
        self.months += (n.fraction * f64::from(months)).round_ties_even() as i128;
        Ok(bit)
    }

    /// Whole days, the rest as time.
    fn add_days(&mut self, days: f64) {
        self.days += days.trunc() as i128;
        self.micros += nearest(days.fract() * DAY);
    }

    fn add_time(&mut self, n: Number, unit: i64, bit: u32) -> u32 {
        self.micros += n.whole * i128::from(unit) + nearest(n.fraction * unit as f64);
        bit
    }

    fn finish(self) -> Result<IntervalMonthDayNano, IntervalFault> {
        if self.seen == 0 {
            return Err(IntervalFault::Syntax);
        }
        Ok(IntervalMonthDayNano {
            months: i32::try_from(self.months).map_err(|_| IntervalFault::Range)?,
            days: i32::try_from(self.days).map_err(|_| IntervalFault::Field)?,
            nanoseconds: i64::try_from(self.micros * 1_000).map_err(|_| IntervalFault::Field)?,
        })
    }
}

/// Months and days are counted in 32 bits.
fn small(n: Number) -> Result<i128, IntervalFault> {
    i32::try_from(n.whole).map(i128::from).map_err(|_| IntervalFault::Field)
}

/// Numbers with units, clock times and `year-month`, in any order.
fn words(lower: &str, sum: &mut Sum) -> Result<(), IntervalFault> {
    let mut tokens = tokens(lower)?;
    let ago = tokens.last() == Some(&"ago");
    if ago {
        tokens.pop();
    }
    let mut i = usize::from(tokens.first() == Some(&"@"));
    while let Some(token) = tokens.get(i) {
        i += 1;
        // A sign may stand apart from its number.
        let (apart, token) = match (*token, tokens.get(i)) {
            ("-" | "+", Some(number)) if number.starts_with(|c: char| c.is_ascii_digit()) => {
                i += 1;
                (*token == "-", number)
            }
            _ => (false, token),
        };
        if token.contains(':') {
            clock(token, apart, sum)?;
        } else if let Some((year, month)) = year_month(token) {
            sum.see(MONTH)?;
            if month > 11 {
                return Err(IntervalFault::Field);
            }
            let sign = if apart { -1 } else { 1 };
            sum.months += sign * (year * 12 + if token.starts_with('-') { -month } else { month });
        } else {
            let number = signed(Number::read(token).ok_or(IntervalFault::Syntax)?, apart);
            match tokens.get(i) {
                Some(unit) if unit.starts_with(|c: char| c.is_ascii_lowercase()) => {
                    sum.add(number, unit)?;
                    i += 1;
                }
                // `1 02:03:04` is a day and a time; a last number alone is seconds.
                Some(next) if next.contains(':') && !number.is_fractional() => {
                    sum.add(number, "d")?
                }
                None if !ago => sum.add(number, "s")?,
                None => return Err(IntervalFault::Syntax),
                Some(_) => return Err(IntervalFault::Syntax),
            }
        }
    }
    if ago {
        (sum.months, sum.days, sum.micros) = (-sum.months, -sum.days, -sum.micros);
    }
    Ok(())
}

/// Splits at spaces and between a number and its unit: `1h30m` is four tokens.
fn tokens(text: &str) -> Result<Vec<&str>, IntervalFault> {
    let mut all = Vec::new();
    for word in text.split(|c: char| c.is_ascii_whitespace() || c == ',') {
        let mut rest = word;
        while let Some(first) = rest.bytes().next() {
            let letter = first.is_ascii_lowercase();
            let same = |b: &u8| b.is_ascii_lowercase() == letter;
            let len = rest.as_bytes().iter().position(|b| !same(b)).unwrap_or(rest.len());
            if !rest.is_char_boundary(len) {
                return Err(IntervalFault::Syntax);
            }
            all.push(&rest[..len]);
            rest = &rest[len..];
        }
    }
    Ok(all)
}

/// `1-2`: a year with its sign, and two months, for which the sign holds as well.
fn year_month(token: &str) -> Option<(i128, i128)> {
    let (sign, body) = match token.as_bytes().first()? {
        b'-' => (-1, &token[1..]),
        b'+' => (1, &token[1..]),
        _ => (1, token),
    };
    let (year, month) = body.split_once('-')?;
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<i128>().ok())?;
    Some((sign * number(year)?, number(month)?))
}

/// `h:m`, `h:m:s[.f]`, and `m:s.f`.
fn clock(token: &str, apart: bool, sum: &mut Sum) -> Result<(), IntervalFault> {
    let (sign, body) = match token.as_bytes().first() {
        Some(b'-') => (-1, &token[1..]),
        Some(b'+') => (1, &token[1..]),
        _ => (1, token),
    };
    let sign = if apart { -sign } else { sign };
    let parts: Vec<&str> = body.split(':').collect();
    let (h, m, s) = match parts[..] {
        [m, s] if s.contains('.') => ("0", m, s),
        [h, ""] => (h, "0", "0"),
        [h, m] => (h, m, "0"),
        [h, m, s] => (h, m, s),
        _ => return Err(IntervalFault::Syntax),
    };
    let whole = |text: &str| -> Result<i128, IntervalFault> {
        let plain =
            !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten().ok_or(IntervalFault::Syntax)
    };
    let (h, m) = (whole(h)?, whole(m)?);
    let s = Number::read(s).filter(|n| n.whole >= 0).ok_or(IntervalFault::Syntax)?;
    if m > 59 || s.whole > 60 {
        return Err(IntervalFault::Field);
    }
    sum.see(CLOCK)?;
    let seconds = s.whole * 1_000_000 + (s.fraction * 1e6).round_ties_even() as i128;
    sum.micros += sign * (h * 3_600_000_000 + m * 60_000_000 + seconds);
    Ok(())
}

/// `P1Y2M3W4DT5H6M7.8S`, and the alternative form `P0001-02-03T04:05:06`.
fn iso8601(text: &str, sum: &mut Sum) -> Result<(), IntervalFault> {
    let (negative, body) = match text.as_bytes() {
        [b'-', b'p', ..] => (true, &text[2..]),
        [b'+', b'p', ..] => (false, &text[2..]),
        _ => (false, &text[1..]),
    };
    let (date, time) = match body.split_once('t') {
        Some((date, time)) => (date, Some(time)),
        None => (body, None),
    };
    let is_alternative = |s: &str| !s.contains(|c: char| c.is_ascii_lowercase());
    if !date.is_empty() && is_alternative(date) {
        let units = ["y", "mon", "d"];
        for (part, unit) in date.split('-').zip(units) {
            sum.add(signed(Number::read(part).ok_or(IntervalFault::Syntax)?, negative), unit)?;
        }
    } else {
        designated(date, &[("y", "y"), ("m", "mon"), ("w", "w"), ("d", "d")], negative, sum)?;
    }
    match time {
        Some(time) if time.contains(':') => clock(time, negative, sum)?,
        Some(time) => designated(time, &[("h", "h"), ("m", "m"), ("s", "s")], negative, sum)?,
        None => {}
    }
    Ok(())
}

fn signed(number: Number, negative: bool) -> Number {
    if negative { number.negated() } else { number }
}

fn designated(
    text: &str,
    units: &[(&str, &str)],
    negative: bool,
    sum: &mut Sum,
) -> Result<(), IntervalFault> {
    let mut rest = text;
    while !rest.is_empty() {
        let len = rest.bytes().position(|b| b.is_ascii_lowercase()).ok_or(IntervalFault::Syntax)?;
        let number = Number::read(&rest[..len]).ok_or(IntervalFault::Syntax)?;
        let unit = units
            .iter()
            .find(|(letter, _)| *letter == &rest[len..=len])
            .ok_or(IntervalFault::Syntax)?;
        sum.add(signed(number, negative), unit.1)?;
        rest = &rest[len + 1..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_interval_is_understood() {
        let check = |text: &str, months, days, micros: i64| {
            let got = parse_interval(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(
                (got.months, got.days, got.nanoseconds),
                (months, days, micros * 1_000),
                "{text}"
            );
        };
        check("1 day 2 hours", 0, 1, 7_200_000_000);
        check("01:02:03", 0, 0, 3_723_000_000);
        check("-01:02:03.5", 0, 0, -3_723_500_000);
        check("1-2", 14, 0, 0);
        check("-1-2", -14, 0, 0);
        check("P1DT2H", 0, 1, 7_200_000_000);
        check("P1Y2M3W4DT5H6M7.8S", 14, 25, 18_367_800_000);
        check("P0001-02-03T04:05:06", 14, 3, 14_706_000_000);
        check("2 weeks ago", 0, -14, 0);
        check("1.5 hours", 0, 0, 5_400_000_000);
        check("1.5 days", 0, 1, 43_200_000_000);
        check("1.5 months", 1, 15, 0);
        check("1.5 years", 18, 0, 0);
        check("@ 1 minute", 0, 0, 60_000_000);
        check("1 02:03:04", 0, 1, 7_384_000_000);
        check("10", 0, 0, 10_000_000);
        check("0.1 s", 0, 0, 100_000);
        check("1h30m", 0, 0, 5_400_000_000);
        check("1 day 1:", 0, 1, 3_600_000_000);
        check("20:10.525", 0, 0, 1_210_525_000);
        check("1 year 2 mons -3 days +04:05:06.7", 14, -3, 14_706_700_000);
        check("-1 day 2 hours", 0, -1, 7_200_000_000);
        check("3 ms 5 us", 0, 0, 3_005);
    }

    #[test]
    fn what_is_no_interval_is_refused() {
        for text in ["", "abc", "1 fortnight", "1 2 3", "P", "1:2:3:4", "--1 day", "ago", "é"] {
            assert_eq!(parse_interval(text).unwrap_err().state(), SqlState::BadDatetime, "{text}");
        }
        assert_eq!(
            parse_interval("99999999999 years").unwrap_err().state(),
            SqlState::IntervalOverflow
        );
        assert_eq!(
            parse_interval("200000000 years").unwrap_err().state(),
            SqlState::DatetimeOverflow
        );
    }
}
