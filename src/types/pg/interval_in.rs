//! Intervals in all the spellings of Postgres (manual, 8.5.4): units, clock times, SQL standard, ISO 8601.

use datafusion::arrow::datatypes::IntervalMonthDayNano;

use crate::error::{Error, Result, SqlState};

/// Reads an interval: `1 day 2 hours`, `01:02:03.5`, `1-2`, `P1DT2H`, `2 weeks ago`, `1.5 hours`. Microseconds are
/// the finest; a fraction of a month is days, a fraction of a day is time, as in Postgres.
pub fn parse_interval(text: &str) -> Result<IntervalMonthDayNano> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let lower = trimmed.to_ascii_lowercase();
    let mut sum = Sum::default();
    let read = if lower.starts_with('p') || lower.starts_with("-p") || lower.starts_with("+p") {
        iso8601(&lower, &mut sum)
    } else {
        words(&lower, &mut sum)
    };
    match read.and_then(|()| sum.finish()) {
        Ok(interval) => Ok(interval),
        Err(Wrong::Syntax) => Err(Error::new(
            SqlState::BadDatetime,
            format!("invalid input syntax for type interval: \"{text}\""),
        )),
        Err(Wrong::Range) => Err(Error::new(
            SqlState::DatetimeOverflow,
            format!("interval field value out of range: \"{text}\""),
        )),
    }
}

#[derive(Debug, Clone, Copy)]
enum Wrong {
    Syntax,
    Range,
}

/// A number as written: exact, so that `0.1 s` is 100,000 µs.
#[derive(Debug, Clone, Copy)]
struct Number {
    whole: i128,
    /// Billionths.
    fraction: i128,
}

impl Number {
    /// `[+-]digits[.digits]`.
    fn read(text: &str) -> Option<Number> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let digits_only = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.len() + fraction.len() == 0
            || whole.len() > 20
            || !digits_only(whole)
            || !digits_only(fraction)
        {
            return None;
        }
        let value = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? };
        let fraction = i128::from(super::datetime_in::fraction_nanos(fraction.as_bytes()));
        let sign = if negative { -1 } else { 1 };
        Some(Number { whole: sign * value, fraction: sign * fraction })
    }

    fn negated(self) -> Number {
        Number { whole: -self.whole, fraction: -self.fraction }
    }

    fn is_fractional(self) -> bool {
        self.fraction != 0
    }
}

const BILLION: i128 = 1_000_000_000;
const DAY: i128 = 86_400_000_000;

/// Months, days and microseconds added up so far.
#[derive(Debug, Default)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
    fields: usize,
}

fn rounded(value: i128, unit: i128) -> i128 {
    let half = unit / 2;
    if value >= 0 { (value + half) / unit } else { (value - half) / unit }
}

impl Sum {
    fn add(&mut self, n: Number, unit: &str) -> Result<(), Wrong> {
        self.fields += 1;
        let mut months = |per: i128| {
            self.months += n.whole * per + rounded(n.fraction * per, BILLION);
        };
        match unit {
            "y" | "yr" | "yrs" | "year" | "years" => months(12),
            "dec" | "decs" | "decade" | "decades" => months(120),
            "c" | "cent" | "century" | "centuries" => months(1_200),
            "mil" | "mils" | "millennium" | "millennia" => months(12_000),
            "mon" | "mons" | "month" | "months" => {
                self.months += n.whole;
                self.add_days(n.fraction * 30);
            }
            "w" | "week" | "weeks" => {
                self.days += n.whole * 7;
                self.add_days(n.fraction * 7);
            }
            "d" | "day" | "days" => {
                self.days += n.whole;
                self.micros += rounded(n.fraction * DAY, BILLION);
            }
            "h" | "hr" | "hrs" | "hour" | "hours" => self.add_time(n, 3_600_000_000),
            "m" | "min" | "mins" | "minute" | "minutes" => self.add_time(n, 60_000_000),
            "s" | "sec" | "secs" | "second" | "seconds" => self.add_time(n, 1_000_000),
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" => {
                self.add_time(n, 1_000)
            }
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" => {
                self.add_time(n, 1)
            }
            _ => return Err(Wrong::Syntax),
        }
        Ok(())
    }

    /// Billionths of a day: whole days, the rest as time.
    fn add_days(&mut self, billionths: i128) {
        self.days += billionths / BILLION;
        self.micros += rounded(billionths % BILLION * DAY, BILLION);
    }

    fn add_time(&mut self, n: Number, unit: i128) {
        self.micros += n.whole * unit + rounded(n.fraction * unit, BILLION);
    }

    fn finish(self) -> Result<IntervalMonthDayNano, Wrong> {
        if self.fields == 0 {
            return Err(Wrong::Syntax);
        }
        let range = |_| Wrong::Range;
        Ok(IntervalMonthDayNano {
            months: i32::try_from(self.months).map_err(range)?,
            days: i32::try_from(self.days).map_err(range)?,
            nanoseconds: i64::try_from(self.micros * 1_000).map_err(range)?,
        })
    }
}

/// Numbers with units, clock times and `year-month`, in any order.
fn words(lower: &str, sum: &mut Sum) -> Result<(), Wrong> {
    let mut tokens = tokens(lower)?;
    let ago = tokens.last() == Some(&"ago");
    if ago {
        tokens.pop();
    }
    let mut i = usize::from(tokens.first() == Some(&"@"));
    while let Some(token) = tokens.get(i) {
        i += 1;
        if token.contains(':') {
            clock(token, sum)?;
        } else if let Some((year, month)) = year_month(token) {
            sum.fields += 1;
            sum.months += year * 12 + month;
        } else {
            let number = Number::read(token).ok_or(Wrong::Syntax)?;
            match tokens.get(i) {
                Some(unit) if unit.starts_with(|c: char| c.is_ascii_lowercase()) => {
                    sum.add(number, unit)?;
                    i += 1;
                }
                // `1 02:03:04` is a day and a time; a last number alone is seconds.
                Some(next) if next.contains(':') && !number.is_fractional() => sum.add(number, "d")?,
                None => sum.add(number, "s")?,
                Some(_) => return Err(Wrong::Syntax),
            }
        }
    }
    if ago {
        (sum.months, sum.days, sum.micros) = (-sum.months, -sum.days, -sum.micros);
    }
    Ok(())
}

/// Splits at spaces and between a number and its unit: `1h30m` is four tokens.
fn tokens(text: &str) -> Result<Vec<&str>, Wrong> {
    let mut all = Vec::new();
    for word in text.split(|c: char| c.is_ascii_whitespace()) {
        let mut rest = word;
        while let Some(first) = rest.bytes().next() {
            let letter = first.is_ascii_lowercase();
            let same = |b: &u8| b.is_ascii_lowercase() == letter;
            let len = rest.as_bytes().iter().position(|b| !same(b)).unwrap_or(rest.len());
            if !rest.is_char_boundary(len) {
                return Err(Wrong::Syntax);
            }
            all.push(&rest[..len]);
            rest = &rest[len..];
        }
    }
    Ok(all)
}

/// `1-2`: a year and two months; the sign holds for both.
fn year_month(token: &str) -> Option<(i128, i128)> {
    let (sign, body) = match token.as_bytes().first()? {
        b'-' => (-1, &token[1..]),
        b'+' => (1, &token[1..]),
        _ => (1, token),
    };
    let (year, month) = body.split_once('-')?;
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<i128>().ok())?;
    let month = number(month).filter(|m| *m < 12)?;
    Some((sign * number(year)?, sign * month))
}

/// `h:m`, `h:m:s[.f]`, and `m:s.f`.
fn clock(token: &str, sum: &mut Sum) -> Result<(), Wrong> {
    let (sign, body) = match token.as_bytes().first() {
        Some(b'-') => (-1, &token[1..]),
        Some(b'+') => (1, &token[1..]),
        _ => (1, token),
    };
    let parts: Vec<&str> = body.split(':').collect();
    let (h, m, s) = match parts[..] {
        [m, s] if s.contains('.') => ("0", m, s),
        [h, m] => (h, m, "0"),
        [h, m, s] => (h, m, s),
        _ => return Err(Wrong::Syntax),
    };
    let whole = |text: &str| -> Result<i128, Wrong> {
        let plain = !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten().ok_or(Wrong::Syntax)
    };
    let (h, m) = (whole(h)?, whole(m)?);
    let s = Number::read(s).filter(|n| n.whole >= 0).ok_or(Wrong::Syntax)?;
    if m > 59 || s.whole > 60 {
        return Err(Wrong::Range);
    }
    sum.fields += 1;
    let seconds = s.whole * 1_000_000 + rounded(s.fraction * 1_000_000, BILLION);
    sum.micros += sign * (h * 3_600_000_000 + m * 60_000_000 + seconds);
    Ok(())
}

/// `P1Y2M3W4DT5H6M7.8S`, and the alternative form `P0001-02-03T04:05:06`.
fn iso8601(text: &str, sum: &mut Sum) -> Result<(), Wrong> {
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
            sum.add(signed(Number::read(part).ok_or(Wrong::Syntax)?, negative), unit)?;
        }
    } else {
        designated(date, &[("y", "y"), ("m", "mon"), ("w", "w"), ("d", "d")], negative, sum)?;
    }
    match time {
        Some(time) if time.contains(':') => clock(time, sum)?,
        Some(time) => designated(time, &[("h", "h"), ("m", "m"), ("s", "s")], negative, sum)?,
        None => {}
    }
    Ok(())
}

fn signed(number: Number, negative: bool) -> Number {
    if negative { number.negated() } else { number }
}

fn designated(text: &str, units: &[(&str, &str)], negative: bool, sum: &mut Sum) -> Result<(), Wrong> {
    let mut rest = text;
    while !rest.is_empty() {
        let len = rest.bytes().position(|b| b.is_ascii_lowercase()).ok_or(Wrong::Syntax)?;
        let number = Number::read(&rest[..len]).ok_or(Wrong::Syntax)?;
        let unit = units.iter().find(|(letter, _)| *letter == &rest[len..=len]).ok_or(Wrong::Syntax)?;
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
            assert_eq!((got.months, got.days, got.nanoseconds), (months, days, micros * 1_000), "{text}");
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
        assert_eq!(parse_interval("99999999999 years").unwrap_err().state(), SqlState::DatetimeOverflow);
    }
}
