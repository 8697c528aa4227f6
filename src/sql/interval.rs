//! INTERVAL constants, in every spelling: `'10 seconds'`, `'10' SECOND`, `'1 day 02:03:04.5'`, `'20:10.525' MINUTE TO
//! SECOND`, `'1-2' YEAR TO MONTH`, `'PT10S'`, `'10 s'::interval`.

use std::fmt;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, DateTimeField, Expr, Interval, TypedString, UnaryOperator, Value,
};

use crate::error::{Error, Result, SqlState};

/// A constant interval. Months, days and microseconds stay apart: neither a month nor, strictly, a day has a fixed length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IntervalParts {
    /// Months; a year has twelve.
    pub months: i32,
    /// Days; a week has seven.
    pub days: i32,
    /// The rest.
    pub micros: i64,
}

const SECOND: i128 = 1_000_000;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;

impl IntervalParts {
    /// So many microseconds; whole days are days.
    pub fn from_micros(micros: i64) -> IntervalParts {
        let day = 86_400_000_000;
        match i32::try_from(micros / day) {
            Ok(days) if micros % day == 0 => IntervalParts { months: 0, days, micros: 0 },
            _ => IntervalParts { months: 0, days: 0, micros },
        }
    }

    /// Microseconds, a day counted as 24 hours; None with months, or out of range.
    pub fn as_micros(&self) -> Option<i64> {
        let micros = i128::from(self.days) * DAY + i128::from(self.micros);
        (self.months == 0).then(|| i64::try_from(micros).ok()).flatten()
    }
}

/// As a constant that Postgres, DataFusion and we read alike: `5 seconds`, `1 day 250 milliseconds`.
impl fmt::Display for IntervalParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (micros, unit) = UNITS
            .iter()
            .find(|(ticks, _)| i128::from(self.micros) % ticks == 0)
            .map_or((i128::from(self.micros), "microsecond"), |(ticks, unit)| {
                (i128::from(self.micros) / ticks, unit)
            });
        let parts = [(i128::from(self.months), "month"), (i128::from(self.days), "day"), (micros, unit)];
        let mut gap = "";
        for (number, unit) in parts.into_iter().filter(|(number, _)| *number != 0) {
            write!(f, "{gap}{number} {unit}{}", if number == 1 { "" } else { "s" })?;
            gap = " ";
        }
        if gap.is_empty() { f.write_str("0 seconds") } else { Ok(()) }
    }
}

/// What a number of microseconds is said in: the largest unit of which it is a whole number.
const UNITS: [(i128, &str); 4] =
    [(HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second"), (SECOND / 1_000, "millisecond")];

/// Sums before they are known to fit.
#[derive(Default, Clone, Copy)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
}

impl Sum {
    /// Adds `number` (in millionths) of a unit; fractions go down to the smaller units as in Postgres.
    fn add(&mut self, millionths: i128, unit: Unit) {
        let (whole, fraction) = (millionths / SECOND, millionths % SECOND);
        match unit {
            Unit::Months(n) => {
                let months = millionths * n;
                self.months += months / SECOND;
                let days = months % SECOND * 30;
                self.days += days / SECOND;
                self.micros += days % SECOND * (DAY / SECOND);
            }
            Unit::Days(n) => {
                self.days += whole * n;
                let days = fraction * n;
                self.days += days / SECOND;
                self.micros += days % SECOND * (DAY / SECOND);
            }
            Unit::Micros(n) => self.micros += whole * n + fraction * n / SECOND,
        }
    }

    fn negated(self) -> Self {
        Sum { months: -self.months, days: -self.days, micros: -self.micros }
    }

    fn fit(self) -> Result<IntervalParts> {
        let parts = (i32::try_from(self.months), i32::try_from(self.days), i64::try_from(self.micros));
        match parts {
            (Ok(months), Ok(days), Ok(micros)) => Ok(IntervalParts { months, days, micros }),
            _ => Err(Error::new(SqlState::DatetimeOverflow, "interval out of range")),
        }
    }
}

#[derive(Clone, Copy)]
enum Unit {
    Months(i128),
    Days(i128),
    Micros(i128),
}

fn unit(name: &str) -> Option<Unit> {
    let lower = name.to_ascii_lowercase();
    Some(match lower.as_str() {
        "c" | "cent" | "century" | "centuries" => Unit::Months(1200),
        "dec" | "decs" | "decade" | "decades" => Unit::Months(120),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12),
        "quarter" | "quarters" => Unit::Months(3),
        "mon" | "mons" | "month" | "months" => Unit::Months(1),
        "w" | "week" | "weeks" => Unit::Days(7),
        "d" | "day" | "days" => Unit::Days(1),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(HOUR),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(MINUTE),
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(SECOND),
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" => {
            Unit::Micros(1000)
        }
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" => Unit::Micros(1),
        _ => return None,
    })
}

/// The constant that an expression writes. Not an interval constant: 42601; a text that is no interval: 22007.
pub fn interval(expr: &Expr) -> Result<IntervalParts> {
    sum(expr, 0)?.fit()
}

/// The interval that a text means, as in `'7 days'`; a number alone is seconds. 22007 if it is none.
pub fn interval_text(text: &str) -> Result<IntervalParts> {
    parse(text, None, None)?.fit()
}

fn sum(expr: &Expr, depth: usize) -> Result<Sum> {
    match expr {
        _ if depth > 8 => Err(not_constant()),
        Expr::Nested(inner) => sum(inner, depth + 1),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Ok(sum(expr, depth + 1)?.negated()),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => sum(expr, depth + 1),
        Expr::Interval(interval) => literal(interval),
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => match data_type {
            DataType::Interval { .. } => parse(&text(expr)?, None, None),
            _ => Err(not_constant()),
        },
        Expr::TypedString(TypedString { data_type: DataType::Interval { .. }, value, .. }) => {
            parse(&value.value.clone().into_string().ok_or_else(not_constant)?, None, None)
        }
        _ => Err(not_constant()),
    }
}

fn not_constant() -> Error {
    Error::new(SqlState::Syntax, "an interval constant is needed here")
        .hint("Write it as INTERVAL '10 seconds' or INTERVAL '10' SECOND.")
}

fn literal(interval: &Interval) -> Result<Sum> {
    let text = text(&interval.value)?;
    parse(&text, interval.leading_field.as_ref(), interval.last_field.as_ref())
}

/// The text of a literal: a string, or a number as in INTERVAL 10 SECOND.
fn text(expr: &Expr) -> Result<String> {
    match expr {
        Expr::Nested(inner) => text(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match &**expr {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => Ok(format!("-{digits}")),
                _ => Err(not_constant()),
            },
            _ => Err(not_constant()),
        },
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => Ok(digits.clone()),
            other => other.clone().into_string().ok_or_else(not_constant),
        },
        _ => Err(not_constant()),
    }
}

fn bad(text: &str) -> Error {
    Error::new(SqlState::BadDatetime, format!("invalid input syntax for type interval: \"{text}\""))
        .hint("Write it as INTERVAL '10 seconds', '1 hour 30 minutes' or '10' SECOND.")
}

fn parse(text: &str, first: Option<&DateTimeField>, last: Option<&DateTimeField>) -> Result<Sum> {
    let found = match first {
        Some(first) => fielded(text.trim(), first, last),
        // Without a field it is read as a value of the type is.
        None => {
            let value = crate::pgtypes::values::parse_interval(text)?;
            Some(Sum {
                months: i128::from(value.months),
                days: i128::from(value.days),
                micros: i128::from(value.nanoseconds / 1_000),
            })
        }
    };
    found.ok_or_else(|| bad(text))
}

/// `'10' SECOND`, `'1-2' YEAR TO MONTH`, `'1 2:3' DAY TO MINUTE`. With units in the text the field only names a precision.
fn fielded(text: &str, first: &DateTimeField, last: Option<&DateTimeField>) -> Option<Sum> {
    let smallest = last.unwrap_or(first).to_string();
    let mut sum = Sum::default();
    if let Some(millionths) = decimal(text) {
        sum.add(millionths, unit(&smallest)?);
        return Some(sum);
    }
    let upper = smallest.to_ascii_uppercase();
    let colons = text.matches(':').count();
    if last.is_some() && colons == 1 && upper == "SECOND" {
        // '20:10.525' MINUTE TO SECOND: without an hour.
        let (head, time) = text.rsplit_once(' ').unwrap_or(("", text));
        let (negative, time) = sign(time);
        let (minutes, seconds) = time.split_once(':')?;
        sum = if head.is_empty() { sum } else { free(head)? };
        let mut part = Sum::default();
        part.add(decimal(minutes)?, Unit::Micros(MINUTE));
        part.add(decimal(seconds)?, Unit::Micros(SECOND));
        sum.micros += if negative { -part.micros } else { part.micros };
        return Some(sum);
    }
    // '1 2' DAY TO HOUR: the last number without a unit is of the last field.
    if let Some((head, tail)) = text.rsplit_once(' ')
        && last.is_some()
        && let (Some(days), Some(millionths)) = (decimal(head.trim()), decimal(tail))
    {
        sum.add(days, Unit::Days(1));
        sum.add(millionths, unit(&smallest)?);
        return Some(sum);
    }
    free(text)
}

/// Text with its own units: `1 year 2 mons 3 days 04:05:06.7`, `10s`, `-1-2 3 4:5`, `@ 1 hour ago`, `P1DT2H`.
fn free(text: &str) -> Option<Sum> {
    if let Some(iso) = text.strip_prefix(['P', 'p']) {
        return iso8601(iso);
    }
    let text = text.strip_prefix('@').unwrap_or(text).trim();
    let (text, ago) = match text.strip_suffix("ago") {
        Some(rest) => (rest.trim_end(), true),
        None => (text, false),
    };
    let tokens = tokens(text)?;
    let mut sum = Sum::default();
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at];
        let (negative, digits) = sign(token);
        if digits.contains(':') {
            let part = time(digits)?;
            sum.micros += if negative { -part } else { part };
            at += 1;
        } else if let Some((years, months)) = digits.split_once('-') {
            let part = years.parse::<i128>().ok()?.checked_mul(12)? + i128::from(months.parse::<u32>().ok()?);
            sum.months += if negative { -part } else { part };
            at += 1;
        } else {
            let millionths = decimal(token)?;
            match tokens.get(at + 1) {
                Some(name) if name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                    sum.add(millionths, unit(name)?);
                    at += 2;
                }
                // '3 4:05:06': days before a time.
                Some(next) if next.contains(':') => {
                    sum.add(millionths, Unit::Days(1));
                    at += 1;
                }
                Some(_) => return None,
                None => {
                    sum.add(millionths, Unit::Micros(SECOND));
                    at += 1;
                }
            }
        }
    }
    (!tokens.is_empty()).then(|| if ago { sum.negated() } else { sum })
}

/// Words and numbers, also where no blank is between them.
fn tokens(text: &str) -> Option<Vec<&str>> {
    let mut all = Vec::new();
    for word in text.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty()) {
        let mut rest = word;
        while !rest.is_empty() {
            let letters = rest.starts_with(|c: char| c.is_ascii_alphabetic());
            let end = rest.find(|c: char| c.is_ascii_alphabetic() != letters).unwrap_or(rest.len());
            all.push(&rest[..end]);
            rest = &rest[end..];
        }
        if all.len() > 64 {
            return None;
        }
    }
    Some(all)
}

/// `P1Y2M3DT4H5M6.7S`, after the P.
fn iso8601(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let (date, time) = match text.split_once(['T', 't']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut part = |text: &str, units: &[(char, Unit)]| -> Option<bool> {
        let (mut rest, mut any) = (text, false);
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let letter = rest[end..].chars().next()?.to_ascii_uppercase();
            let (_, unit) = units.iter().find(|(name, _)| *name == letter)?;
            sum.add(decimal(&rest[..end])?, *unit);
            rest = &rest[end + 1..];
            any = true;
        }
        Some(any)
    };
    let dates = [('Y', Unit::Months(12)), ('M', Unit::Months(1)), ('W', Unit::Days(7)), ('D', Unit::Days(1))];
    let times = [('H', Unit::Micros(HOUR)), ('M', Unit::Micros(MINUTE)), ('S', Unit::Micros(SECOND))];
    let has_date = part(date, &dates)?;
    let has_time = match time {
        Some(time) => part(time, &times)?,
        None => false,
    };
    (has_date || has_time).then_some(sum)
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// `h:m[:s[.f]]` in microseconds.
fn time(text: &str) -> Option<i128> {
    let mut parts = text.split(':');
    let hours = decimal_unsigned(parts.next()?)?;
    let minutes = decimal_unsigned(parts.next()?)?;
    let seconds = parts.next().map_or(Some(0), decimal_unsigned)?;
    let whole = hours % SECOND == 0 && minutes % SECOND == 0 && parts.next().is_none();
    let in_range = minutes < 60 * SECOND && seconds <= 60 * SECOND;
    (whole && in_range).then(|| hours / SECOND * HOUR + minutes / SECOND * MINUTE + seconds)
}

/// A number in millionths.
fn decimal(text: &str) -> Option<i128> {
    let (negative, digits) = sign(text);
    let millionths = decimal_unsigned(digits)?;
    Some(if negative { -millionths } else { millionths })
}

fn decimal_unsigned(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() <= 18;
    if !plain(whole) || !plain(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut digits: String = fraction.chars().take(7).collect();
    let rounded_up = digits.len() == 7 && digits.pop().is_some_and(|digit| digit >= '5');
    let fraction: i128 = format!("{digits:0<6}").parse().ok()?;
    Some(whole * SECOND + fraction + i128::from(rounded_up))
}

#[cfg(test)]
mod tests {
    use super::super::parse_expr;
    use super::*;

    #[track_caller]
    #[test]
    fn a_constant_is_written_in_the_largest_unit() {
        let check = |months, days, micros, text: &str| {
            assert_eq!(IntervalParts { months, days, micros }.to_string(), text);
        };
        check(0, 0, 0, "0 seconds");
        check(0, 0, 5_000_000, "5 seconds");
        check(0, 0, 3_600_000_000, "1 hour");
        check(0, 1, 5_400_000_000, "1 day 90 minutes");
        check(14, -2, 250_000, "14 months -2 days 250 milliseconds");
        check(0, 0, -1, "-1 microseconds");
    }

    fn check(sql: &str, months: i32, days: i32, micros: i64) {
        let found = interval(&parse_expr(sql).unwrap()).unwrap();
        assert_eq!(found, IntervalParts { months, days, micros }, "{sql}");
    }

    #[test]
    fn every_spelling_of_an_interval_is_read() {
        let s = 1_000_000;
        check("INTERVAL '10 seconds'", 0, 0, 10 * s);
        check("INTERVAL '10' SECOND", 0, 0, 10 * s);
        check("INTERVAL 10 SECOND", 0, 0, 10 * s);
        check("interval '1' hour", 0, 0, 3600 * s);
        check("INTERVAL '10s'", 0, 0, 10 * s);
        check("INTERVAL '10'", 0, 0, 10 * s);
        check("INTERVAL '1 minute 30 s'", 0, 0, 90 * s);
        check("INTERVAL '1m30s'", 0, 0, 90 * s);
        check("INTERVAL '250 ms'", 0, 0, 250_000);
        check("INTERVAL '250' MILLISECOND", 0, 0, 250_000);
        check("INTERVAL '0.5' SECOND", 0, 0, s / 2);
        check("INTERVAL '20:10.525' MINUTE TO SECOND", 0, 0, 1_210_525_000);
        check("INTERVAL '-20:10.525' MINUTE TO SECOND", 0, 0, -1_210_525_000);
        check("INTERVAL '1:02' HOUR TO MINUTE", 0, 0, 3720 * s);
        check("INTERVAL '1:02:03.5' HOUR TO SECOND", 0, 0, 3_723_500_000);
        check("INTERVAL '2 3' DAY TO HOUR", 0, 2, 3 * 3600 * s);
        check("INTERVAL '2 03:04' DAY TO MINUTE", 0, 2, 11_040 * s);
        check("INTERVAL '2 03:04:05' DAY TO SECOND(3)", 0, 2, 11_045 * s);
        check("INTERVAL '10' DAY(2)", 0, 10, 0);
        check("INTERVAL '1-2' YEAR TO MONTH", 14, 0, 0);
        check("INTERVAL '-1-2' YEAR TO MONTH", -14, 0, 0);
        check("INTERVAL '1 year 2 mons 3 days 04:05:06.789'", 14, 3, 14_706_789_000);
        check("INTERVAL '-1 day +02:00'", 0, -1, 7200 * s);
        check("-INTERVAL '5 seconds'", 0, 0, -5 * s);
        check("INTERVAL '-5' SECOND", 0, 0, -5 * s);
        check("INTERVAL '1 day ago'", 0, -1, 0);
        check("INTERVAL '1.5 days'", 0, 1, 43_200 * s);
        check("INTERVAL '2 weeks'", 0, 14, 0);
        check("INTERVAL 'P1DT2H'", 0, 1, 7200 * s);
        check("INTERVAL 'PT10S'", 0, 0, 10 * s);
        check("'10 seconds'::interval", 0, 0, 10 * s);
        check("CAST('10 s' AS INTERVAL)", 0, 0, 10 * s);
        check("(INTERVAL '1 h')", 0, 0, 3600 * s);
    }

    #[test]
    fn what_is_no_interval_is_an_error() {
        for (sql, state) in [
            ("INTERVAL 'soon'", SqlState::BadDatetime),
            ("INTERVAL ''", SqlState::BadDatetime),
            ("INTERVAL '10 parsecs'", SqlState::BadDatetime),
            ("INTERVAL '1 2 3'", SqlState::BadDatetime),
            ("INTERVAL '99999999999999 years'", SqlState::IntervalOverflow),
            ("10", SqlState::Syntax),
            ("'10 seconds'", SqlState::Syntax),
            ("x", SqlState::Syntax),
        ] {
            let error = parse_expr(sql).and_then(|expr| interval(&expr)).unwrap_err();
            assert_eq!(error.state(), state, "{sql}: {error}");
        }
    }

    #[test]
    fn a_day_is_24_hours_and_a_month_is_no_number_of_hours() {
        let parts = |months, days, micros| IntervalParts { months, days, micros };
        assert_eq!(parts(0, 1, 1).as_micros(), Some(86_400_000_001));
        assert_eq!(parts(1, 0, 0).as_micros(), None);
    }
}
