//! INTERVAL constants, in every spelling: `'10 seconds'`, `'10' SECOND`, `'1 day 02:03:04.5'`,
//! `'20:10.525' MINUTE TO SECOND`, `'1-2' YEAR TO MONTH`, `'PT10S'`, `'10 s'::interval`.

use std::fmt;

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, DateTimeField, Expr, Interval, TypedString, UnaryOperator, Value,
};

use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::parse_interval;
use crate::time::{DAY_MICROS, HOUR_MICROS, MINUTE_MICROS, SECOND_MICROS};

/// A constant interval. Months, days and microseconds stay apart: neither a month nor, strictly, a
/// day has a fixed length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IntervalParts {
    /// Months; a year has twelve.
    pub months: i32,
    /// Days; a week has seven.
    pub days: i32,
    /// The rest.
    pub micros: i64,
}

impl IntervalParts {
    /// So many microseconds; whole days are days.
    pub fn from_micros(micros: i64) -> IntervalParts {
        match i32::try_from(micros / DAY_MICROS) {
            Ok(days) if micros % DAY_MICROS == 0 => IntervalParts { months: 0, days, micros: 0 },
            _ => IntervalParts { months: 0, days: 0, micros },
        }
    }

    /// Microseconds, a day counted as 24 hours; None with months, or out of range.
    pub fn as_micros(&self) -> Option<i64> {
        let days = i64::from(self.days).checked_mul(DAY_MICROS).filter(|_| self.months == 0);
        days?.checked_add(self.micros)
    }

    fn negated(self) -> Result<IntervalParts> {
        let parts = (self.months.checked_neg(), self.days.checked_neg(), self.micros.checked_neg());
        match parts {
            (Some(months), Some(days), Some(micros)) => Ok(IntervalParts { months, days, micros }),
            _ => Err(Error::new(SqlState::DatetimeOverflow, "interval out of range")),
        }
    }
}

/// As a constant that Postgres, DataFusion and we read alike: `5 seconds`, `1 day 250
/// milliseconds`.
impl fmt::Display for IntervalParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(ticks, _)| self.micros % ticks == 0);
        let (ticks, unit) = unit.copied().unwrap_or((1, "microsecond"));
        let parts =
            [(self.months.into(), "month"), (self.days.into(), "day"), (self.micros / ticks, unit)];
        let mut gap = "";
        for (number, unit) in parts.into_iter().filter(|(number, _)| *number != 0) {
            write!(f, "{gap}{number} {unit}{}", if number == 1 { "" } else { "s" })?;
            gap = " ";
        }
        if gap.is_empty() { f.write_str("0 seconds") } else { Ok(()) }
    }
}

/// What a number of microseconds is said in: the largest unit of which it is a whole number.
const UNITS: [(i64, &str); 4] = [
    (HOUR_MICROS, "hour"),
    (MINUTE_MICROS, "minute"),
    (SECOND_MICROS, "second"),
    (SECOND_MICROS / 1_000, "millisecond"),
];

impl From<IntervalMonthDayNano> for IntervalParts {
    fn from(value: IntervalMonthDayNano) -> IntervalParts {
        let micros = value.nanoseconds / 1_000;
        IntervalParts { months: value.months, days: value.days, micros }
    }
}

/// The constant that an expression writes. Not an interval constant: 42601; a text that is no
/// interval: 22007.
pub fn interval(expr: &Expr) -> Result<IntervalParts> {
    constant(expr, 0)
}

/// The interval that a text means, as in `'7 days'`; a number alone is seconds. 22007 if it is
/// none.
pub fn interval_text(text: &str) -> Result<IntervalParts> {
    parse_interval(text).map(IntervalParts::from)
}

fn constant(expr: &Expr, depth: usize) -> Result<IntervalParts> {
    match expr {
        _ if depth > 8 => Err(not_constant()),
        Expr::Nested(inner) => constant(inner, depth + 1),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => constant(expr, depth + 1)?.negated(),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => constant(expr, depth + 1),
        Expr::Interval(interval) => literal(interval),
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
            match data_type {
                DataType::Interval { .. } => interval_text(&text(expr)?),
                _ => Err(not_constant()),
            }
        }
        Expr::TypedString(TypedString { data_type: DataType::Interval { .. }, value, .. }) => {
            interval_text(&value.value.clone().into_string().ok_or_else(not_constant)?)
        }
        // A text whose type is not told is of the type that is needed.
        Expr::Value(value) => match value.value.clone().into_string() {
            Some(text) => interval_text(&text),
            None => Err(not_constant()),
        },
        _ => Err(not_constant()),
    }
}

fn not_constant() -> Error {
    Error::new(SqlState::Syntax, "an interval constant is needed here")
        .hint("Write it as INTERVAL '10 seconds' or INTERVAL '10' SECOND.")
}

fn literal(interval: &Interval) -> Result<IntervalParts> {
    let text = text(&interval.value)?;
    let Some(first) = &interval.leading_field else { return interval_text(&text) };
    interval_text(&with_units(text.trim(), first, interval.last_field.as_ref()))
        .map_err(|error| if error.state() == SqlState::BadDatetime { bad(&text) } else { error })
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

/// The text with the units that the fields stand for: `'10' SECOND`, `'1 2' DAY TO HOUR`, `'20:10'
/// MINUTE TO SECOND`. A text with units of its own is as it was; the field only names a precision
/// then.
fn with_units(text: &str, first: &DateTimeField, last: Option<&DateTimeField>) -> String {
    let field = last.unwrap_or(first).to_string().to_ascii_lowercase();
    if is_number(text) {
        return format!("{text} {field}");
    }
    if last.is_none() {
        return text.to_owned();
    }
    let (head, tail) = text.rsplit_once(' ').unwrap_or(("", text));
    if is_number(head.trim()) && is_number(tail) {
        return format!("{head} day {tail} {field}");
    }
    if field == "second" && tail.matches(':').count() == 1 {
        // Minutes and seconds; without the field they would be hours and minutes.
        let (sign, clock) = tail.split_at(usize::from(tail.starts_with(['-', '+'])));
        return format!("{head} {sign}0:{clock}");
    }
    text.to_owned()
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::super::parse_expr;
    use super::*;

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
            ("'ten seconds'", SqlState::BadDatetime),
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
