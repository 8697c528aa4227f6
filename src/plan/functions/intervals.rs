//! An interval times a number, as Postgres has it: the fraction of a month becomes days, that of a day becomes time.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::logical_expr::{ScalarUDF, Signature, Volatility};

use super::scalar::Scalar;
use crate::error::{Error, Result, SqlState};

const DAYS_OF_MONTH: f64 = 30.0;
const SECONDS_OF_DAY: f64 = 86_400.0;

/// `interval_times(interval, number)` and `interval_divided(interval, number)`.
pub(super) fn all() -> Vec<ScalarUDF> {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let function = |name, call| {
        let signature = Signature::any(2, Volatility::Immutable);
        ScalarUDF::from(Scalar { name, aliases: vec![], signature, out: interval.clone(), call })
    };
    vec![
        function("interval_times", |args, rows| combined(args, rows, times)),
        function("interval_divided", |args, rows| {
            combined(args, rows, |interval, by| match by == 0.0 {
                true => Err(Error::new(SqlState::DivisionByZero, "division by zero")),
                false => scaled(interval, |number| number / by),
            })
        }),
    ]
}

fn times(interval: IntervalMonthDayNano, by: f64) -> Result<IntervalMonthDayNano> {
    scaled(interval, |number| number * by)
}

fn combined(
    args: &[ArrayRef],
    rows: usize,
    of: fn(IntervalMonthDayNano, f64) -> Result<IntervalMonthDayNano>,
) -> Result<ArrayRef> {
    let intervals = cast(&args[0], &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let numbers = cast(&args[1], &DataType::Float64)?;
    let numbers = numbers.as_primitive::<Float64Type>();
    let value = |row| match intervals.is_valid(row) && numbers.is_valid(row) {
        true => of(intervals.value(row), numbers.value(row)).map(Some),
        false => Ok(None),
    };
    Ok(Arc::new((0..rows).map(value).collect::<Result<IntervalMonthDayNanoArray>>()?))
}

/// Each part scaled, what is left over of months and days handed down.
fn scaled(interval: IntervalMonthDayNano, scale: impl Fn(f64) -> f64) -> Result<IntervalMonthDayNano> {
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
    let micros = (scale(interval.nanoseconds as f64 / 1_000.0) + seconds * 1_000_000.0).round_ties_even();
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
