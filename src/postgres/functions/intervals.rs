//! Intervals as Postgres has them: multiplied, the fraction of a month becomes days and that of a
//! day becomes time; compared, a month is 30 days and a day 24 hours.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::logical_expr::{Expr, ScalarUDF, Signature, Volatility};

use super::cast::time_cast;
use super::scalar::Scalar;
use crate::error::{Error, Result, SqlState};
use crate::time::{DAY_MICROS, DAY_NANOS};
use crate::types::calendar::{date_of, days_in_month, days_of, is_finite};
use crate::types::normalised;

const DAYS_OF_MONTH: f64 = 30.0;
const SECONDS_OF_DAY: f64 = 86_400.0;

pub(crate) fn all() -> Vec<ScalarUDF> {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let of = |name, arguments, call| {
        let signature = Signature::any(arguments, Volatility::Immutable);
        ScalarUDF::from(Scalar { name, aliases: vec![], signature, out: interval.clone(), call })
    };
    vec![
        of("justify_hours", 1, |args, _| each(&args[0], hours_as_days)),
        of("justify_days", 1, |args, _| each(&args[0], days_as_months)),
        of("justify_interval", 1, |args, _| each(&args[0], as_one_sign)),
        of("age", 2, age),
        of(KEY, 1, |args, _| key(&args[0])),
        ScalarUDF::from(Scalar {
            name: SIZE,
            aliases: vec![],
            signature: Signature::any(1, Volatility::Immutable),
            out: DataType::Int64,
            call: |args, _| size(&args[0]),
        }),
    ]
}

/// What intervals are compared by.
/// The function that gives how long an interval is, in microseconds.
pub const SIZE: &str = "interval_size";

/// How long the interval is, in microseconds: a month is 30 days and a day 24 hours long (Postgres
/// manual, 9.9). Arrow compares months, then days, then the rest, so that a day would be longer
/// than 25 hours.
pub fn interval_size(interval: Expr) -> Expr {
    let size = all().into_iter().find(|function| function.name() == SIZE);
    size.map_or_else(|| interval.clone(), |size| size.call(vec![interval.clone()]))
}

/// What intervals are keys by.
const KEY: &str = "interval_key";

/// The interval in the form that all of its length have.
pub fn interval_key(interval: Expr) -> Expr {
    let key = all().into_iter().find(|function| function.name() == KEY);
    key.map_or_else(|| interval.clone(), |key| key.call(vec![interval.clone()]))
}

fn key(intervals: &ArrayRef) -> Result<ArrayRef> {
    Ok(normalised(&cast(intervals, &DataType::Interval(IntervalUnit::MonthDayNano))?))
}

fn size(intervals: &ArrayRef) -> Result<ArrayRef> {
    let intervals = cast(intervals, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    Ok(Arc::new(intervals.unary::<_, Int64Type>(micros_of)))
}

/// The length of an interval that it is compared by.
pub(crate) fn micros_of(interval: IntervalMonthDayNano) -> i64 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    let micros = days * i128::from(DAY_MICROS) + i128::from(interval.nanoseconds / 1_000);
    i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX })
}

/// A column of intervals; the difference of two moments, which has no days of its own, has them
/// then.
pub(super) fn as_intervals(array: &ArrayRef) -> Result<ArrayRef> {
    let intervals = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    Ok(match array.data_type() {
        DataType::Duration(_) => {
            let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
            Arc::new(intervals.unary::<_, IntervalMonthDayNanoType>(hours_as_days))
        }
        _ => intervals,
    })
}

fn each(
    intervals: &ArrayRef,
    of: fn(IntervalMonthDayNano) -> IntervalMonthDayNano,
) -> Result<ArrayRef> {
    let intervals = as_intervals(intervals)?;
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    Ok(Arc::new(intervals.unary::<_, IntervalMonthDayNanoType>(of)))
}

/// 24 hours as a day; days and hours then have one sign (Postgres manual, 9.9).
fn hours_as_days(interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let mut days = i64::from(interval.days) + interval.nanoseconds / DAY_NANOS;
    let mut rest = interval.nanoseconds % DAY_NANOS;
    if days > 0 && rest < 0 {
        (days, rest) = (days - 1, rest + DAY_NANOS);
    } else if days < 0 && rest > 0 {
        (days, rest) = (days + 1, rest - DAY_NANOS);
    }
    let days = days.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    IntervalMonthDayNano::new(interval.months, days, rest)
}

/// 30 days as a month; months and days then have one sign.
fn days_as_months(interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let mut months = interval.months.saturating_add(interval.days / 30);
    let mut days = interval.days % 30;
    if months > 0 && days < 0 {
        (months, days) = (months - 1, days + 30);
    } else if months < 0 && days > 0 {
        (months, days) = (months + 1, days - 30);
    }
    IntervalMonthDayNano::new(months, days, interval.nanoseconds)
}

/// Both, and all parts have one sign.
fn as_one_sign(interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let mut days = i64::from(interval.days) + interval.nanoseconds / DAY_NANOS;
    let mut rest = interval.nanoseconds % DAY_NANOS;
    let mut months = i64::from(interval.months) + days / 30;
    days %= 30;
    if months > 0 && (days < 0 || days == 0 && rest < 0) {
        (months, days) = (months - 1, days + 30);
    } else if months < 0 && (days > 0 || days == 0 && rest > 0) {
        (months, days) = (months + 1, days - 30);
    }
    if days > 0 && rest < 0 {
        (days, rest) = (days - 1, rest + DAY_NANOS);
    } else if days < 0 && rest > 0 {
        (days, rest) = (days + 1, rest - DAY_NANOS);
    }
    let months = months.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    IntervalMonthDayNano::new(months, days as i32, rest)
}

/// `age(later, earlier)`: years, months and days as people count them, and the rest.
fn age(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let moments = |at: usize| time_cast(&args[at], &micros);
    let (later, earlier) = (moments(0)?, moments(1)?);
    let (later, earlier) = (
        later.as_primitive::<TimestampMicrosecondType>(),
        earlier.as_primitive::<TimestampMicrosecondType>(),
    );
    let value = |row| {
        if later.is_null(row) || earlier.is_null(row) {
            return Ok(None);
        }
        let (later, earlier) = (later.value(row), earlier.value(row));
        // Of the two ends of time Postgres reckons with the later one alone.
        if later == i64::MIN || earlier == i64::MIN {
            return Err(Error::new(SqlState::DatetimeOverflow, "timestamp out of range"));
        }
        Ok(Some(between(later, earlier)))
    };
    Ok(Arc::new((0..rows).map(value).collect::<Result<IntervalMonthDayNanoArray>>()?))
}

/// What a clock and a calendar show.
struct Wall {
    months: i32,
    days_in_month: i32,
    day: i32,
    of_day: i64,
}

/// Infinity is as far away as Postgres, which counts from 2000, has it.
fn wall(micros: i64) -> Wall {
    let from = if is_finite(micros) { 0 } else { days_of(2000, 1, 1) };
    let (year, month, day) = date_of(micros.div_euclid(DAY_MICROS) + from);
    let months = year * 12 + i64::from(month) - 1;
    let days_in_month = days_in_month(year, month) as i32;
    let of_day = micros.rem_euclid(DAY_MICROS);
    Wall { months: months as i32, days_in_month, day: day as i32, of_day }
}

fn between(one: i64, other: i64) -> IntervalMonthDayNano {
    if one < other {
        let back = between(other, one);
        return IntervalMonthDayNano::new(-back.months, -back.days, -back.nanoseconds);
    }
    let (later, earlier) = (wall(one), wall(other));
    let mut nanoseconds = (later.of_day - earlier.of_day) * 1_000;
    let mut days = later.day - earlier.day;
    let mut count = later.months - earlier.months;
    if nanoseconds < 0 {
        nanoseconds += DAY_NANOS;
        days -= 1;
    }
    if days < 0 {
        // The month that has begun is the earlier moment's.
        days += earlier.days_in_month;
        count -= 1;
    }
    IntervalMonthDayNano::new(count, days, nanoseconds)
}

/// `interval * number`.
pub(super) fn times(interval: IntervalMonthDayNano, by: f64) -> Result<IntervalMonthDayNano> {
    scaled(interval, |number| number * by)
}

/// `interval / number`.
pub(super) fn divided(interval: IntervalMonthDayNano, by: f64) -> Result<IntervalMonthDayNano> {
    if by == 0.0 {
        return Err(Error::new(SqlState::DivisionByZero, "division by zero"));
    }
    scaled(interval, |number| number / by)
}

/// Each part scaled, what is left over of months and days handed down.
fn scaled(
    interval: IntervalMonthDayNano,
    scale: impl Fn(f64) -> f64,
) -> Result<IntervalMonthDayNano> {
    let months = scale(f64::from(interval.months));
    let days = scale(f64::from(interval.days));
    let days_of_months = to_micros((months - months.trunc()) * DAYS_OF_MONTH);
    let mut seconds =
        to_micros((days - days.trunc() + days_of_months - days_of_months.trunc()) * SECONDS_OF_DAY);
    let mut whole_days = days.trunc() + days_of_months.trunc();
    if seconds.abs() >= SECONDS_OF_DAY {
        whole_days += (seconds / SECONDS_OF_DAY).trunc();
        seconds -= (seconds / SECONDS_OF_DAY).trunc() * SECONDS_OF_DAY;
    }
    let micros =
        (scale(interval.nanoseconds as f64 / 1_000.0) + seconds * 1_000_000.0).round_ties_even();
    let fits = |number: f64, most: f64| number.is_finite() && number.abs() <= most;
    if !fits(months, i32::MAX.into())
        || !fits(whole_days, i32::MAX.into())
        || !fits(micros, i64::MAX as f64 / 1_000.0)
    {
        return Err(Error::new(SqlState::DatetimeOverflow, "interval out of range"));
    }
    Ok(IntervalMonthDayNano::new(months.trunc() as i32, whole_days as i32, micros as i64 * 1_000))
}

/// Rounded to six digits behind the point: what a float has lost is no microsecond.
fn to_micros(number: f64) -> f64 {
    (number * 1e6).round_ties_even() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_handed_down() {
        let check = |(months, days, micros): (i32, i32, i64), by: f64, expect: (i32, i32, i64)| {
            let found = times(IntervalMonthDayNano::new(months, days, micros * 1_000), by).unwrap();
            assert_eq!((found.months, found.days, found.nanoseconds / 1_000), expect);
        };
        check((0, 1, 0), 2.0, (0, 2, 0));
        check((1, 0, 0), 1.5, (1, 15, 0));
        check((0, 1, 0), 0.5, (0, 0, 43_200_000_000));
        check((1, 1, 0), 0.25, (0, 7, 64_800_000_000));
        check((0, 0, 1_000_000), -1.5, (0, 0, -1_500_000));
        assert_eq!(
            times(IntervalMonthDayNano::new(1, 0, 0), 1e300).unwrap_err().state(),
            SqlState::DatetimeOverflow
        );
    }
}
