//! What a sum or an average has seen so far, per group: a total and a count, exact where SQL wants it exact.
//!
//! Integers and decimals are added up as 128-bit integers, so that an overflow is found when the result is asked for
//! (smaller types cannot overflow on the way) or at the addition (decimals); floats as 64-bit floats; intervals as
//! months, days and nanoseconds, each for itself.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, i256,
};
use datafusion::arrow::error::ArrowError;

use super::decimal::{self, Decimal};
use crate::error::{Error, SqlState};
use crate::types::{WIDE_NUMERIC, is_free_numeric};

/// Which of the two is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wanted {
    Sum,
    Avg,
}

/// One group's total; total and count beside each other, for they are always touched together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Total<S> {
    pub(crate) sum: S,
    pub(crate) count: i64,
}

/// What values are added up as.
pub(crate) trait Sum: Copy + Default + Debug + Send + Sync + 'static {
    /// How it is stored in a state column.
    type Stored: ArrowPrimitiveType;
    /// The addition; `None` when there is no room for the result.
    fn plus(self, other: Self) -> Option<Self>;
    fn minus(self, other: Self) -> Option<Self>;
    fn store(self) -> Option<<Self::Stored as ArrowPrimitiveType>::Native>;
    fn load(stored: <Self::Stored as ArrowPrimitiveType>::Native) -> Self;
    /// The results of groups, whose values had the type `input`.
    fn results(
        totals: &[Total<Self>],
        wanted: Wanted,
        input: &DataType,
        out: &DataType,
    ) -> Result<ArrayRef, Error>;
}

pub(crate) fn overflow(out: &DataType) -> Error {
    let what = match out {
        DataType::Int64 => "bigint out of range",
        DataType::Interval(_) => "interval out of range",
        _ => "value overflows numeric format",
    };
    Error::new(SqlState::OutOfRange, what)
}

/// A column with a value for each group that has seen one.
fn column<T: ArrowPrimitiveType, S: Sum>(
    totals: &[Total<S>],
    out: &DataType,
    value: impl Fn(&Total<S>) -> Option<T::Native>,
) -> Result<ArrayRef, Error> {
    let values = totals.iter().map(|total| match total.count {
        0 => Ok(None),
        _ => value(total).map(Some).ok_or_else(|| ArrowError::from(overflow(out))),
    });
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let array: PrimitiveArray<T> = values.into_iter().collect();
    Ok(Arc::new(array.with_data_type(out.clone())))
}

/// State columns: the totals (NULL: none), and for an average the counts.
pub(crate) fn states<S: Sum>(
    totals: &[Total<S>],
    wanted: Wanted,
    stored: &DataType,
) -> Result<Vec<ArrayRef>, Error> {
    let sums = column::<S::Stored, S>(totals, stored, |total| total.sum.store())?;
    Ok(match wanted {
        Wanted::Sum => vec![sums],
        Wanted::Avg => {
            let counts: PrimitiveArray<Int64Type> = totals.iter().map(|total| Some(total.count)).collect();
            vec![sums, Arc::new(counts)]
        }
    })
}

/// The largest number a decimal of 38 digits can be, and one more.
const DECIMAL_END: i128 = 10i128.pow(38);

impl Sum for i128 {
    type Stored = Decimal128Type;

    #[inline]
    fn plus(self, other: i128) -> Option<i128> {
        self.checked_add(other)
    }

    fn minus(self, other: i128) -> Option<i128> {
        self.checked_sub(other)
    }

    fn store(self) -> Option<i128> {
        Some(self)
    }

    fn load(stored: i128) -> i128 {
        stored
    }

    fn results(
        totals: &[Total<i128>],
        wanted: Wanted,
        input: &DataType,
        out: &DataType,
    ) -> Result<ArrayRef, Error> {
        let decimal = |value: i128| (value.abs() < DECIMAL_END).then_some(value);
        match (wanted, out) {
            (Wanted::Sum, DataType::Int64) => {
                column::<Int64Type, _>(totals, out, |total| i64::try_from(total.sum).ok())
            }
            (Wanted::Sum, _) => column::<Decimal128Type, _>(totals, out, |total| decimal(total.sum)),
            (Wanted::Avg, DataType::Decimal128(_, out_scale)) => {
                let factor = 10i128.pow(u32::from(out_scale.abs_diff(scale(input))));
                column::<Decimal128Type, _>(totals, out, |total| {
                    divide(total.sum, i128::from(total.count), factor).and_then(decimal)
                })
            }
            (Wanted::Avg, other) => Err(Error::internal(format!("an average as {other}"))),
        }
    }
}

/// The type in which a sum of such values is stored.
pub(crate) fn stored(input: &DataType) -> DataType {
    match input {
        DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
        DataType::Decimal256(..) if is_free_numeric(input) => input.clone(),
        DataType::Decimal256(_, scale) => DataType::Decimal256(WIDE_NUMERIC - 1, *scale),
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => DataType::Decimal128(38, 0),
    }
}

fn scale(data_type: &DataType) -> i8 {
    match data_type {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    }
}

/// Computed numerics: their average is rounded as a quotient is.
impl Sum for i256 {
    type Stored = Decimal256Type;

    fn plus(self, other: i256) -> Option<i256> {
        self.checked_add(other)
    }

    fn minus(self, other: i256) -> Option<i256> {
        self.checked_sub(other)
    }

    fn store(self) -> Option<i256> {
        Some(self)
    }

    fn load(stored: i256) -> i256 {
        stored
    }

    fn results(
        totals: &[Total<i256>],
        wanted: Wanted,
        input: &DataType,
        out: &DataType,
    ) -> Result<ArrayRef, Error> {
        let end = decimal::power(WIDE_NUMERIC.into()).unwrap_or(i256::MAX);
        let fits = |value: i256| (value < end && value > end.wrapping_neg()).then_some(value);
        column::<Decimal256Type, _>(totals, out, |total| match wanted {
            Wanted::Sum => fits(total.sum),
            Wanted::Avg => {
                let sum = Decimal::new(total.sum, scale(input));
                let sum = if is_free_numeric(input) { sum.trimmed() } else { sum };
                let count = Decimal::new(i256::from_i128(total.count.into()), 0);
                fits(decimal::divided(sum, count).ok()?.rescaled(scale(out)).ok()?)
            }
        })
    }
}

/// sum · factor ÷ count, rounded half away from zero. The whole part first: the product alone might not have room.
fn divide(sum: i128, count: i128, factor: i128) -> Option<i128> {
    let (whole, rest) = (sum / count, sum % count);
    let scaled = rest.checked_mul(factor)?;
    let (mut part, rest) = (scaled / count, scaled % count);
    if rest.abs() >= count - rest.abs() && rest != 0 {
        part += rest.signum();
    }
    whole.checked_mul(factor)?.checked_add(part)
}

impl Sum for f64 {
    type Stored = Float64Type;

    #[inline]
    fn plus(self, other: f64) -> Option<f64> {
        Some(self + other)
    }

    fn minus(self, other: f64) -> Option<f64> {
        Some(self - other)
    }

    fn store(self) -> Option<f64> {
        Some(self)
    }

    fn load(stored: f64) -> f64 {
        stored
    }

    fn results(
        totals: &[Total<f64>],
        wanted: Wanted,
        _: &DataType,
        out: &DataType,
    ) -> Result<ArrayRef, Error> {
        let value = |total: &Total<f64>| match wanted {
            Wanted::Sum => total.sum,
            Wanted::Avg => total.sum / total.count as f64,
        };
        match out {
            DataType::Float32 => column::<Float32Type, _>(totals, out, |total| Some(value(total) as f32)),
            _ => column::<Float64Type, _>(totals, out, |total| Some(value(total))),
        }
    }
}

/// A sum of intervals: its parts do not carry into each other.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IntervalSum {
    months: i64,
    days: i64,
    nanos: i128,
}

impl IntervalSum {
    /// Months and days that do not divide go on as days of 24 hours and months of 30 days, as in Postgres.
    fn divided(self, count: i64) -> Option<IntervalSum> {
        let days = self.days.checked_add((self.months % count).checked_mul(30)?)?;
        let nanos = self.nanos + i128::from(days % count) * 86_400_000_000_000;
        Some(IntervalSum {
            months: self.months / count,
            days: days / count,
            nanos: nanos / i128::from(count),
        })
    }
}

impl Sum for IntervalSum {
    type Stored = IntervalMonthDayNanoType;

    fn plus(self, other: IntervalSum) -> Option<IntervalSum> {
        Some(IntervalSum {
            months: self.months.checked_add(other.months)?,
            days: self.days.checked_add(other.days)?,
            nanos: self.nanos.checked_add(other.nanos)?,
        })
    }

    fn minus(self, other: IntervalSum) -> Option<IntervalSum> {
        self.plus(IntervalSum { months: -other.months, days: -other.days, nanos: -other.nanos })
    }

    fn store(self) -> Option<IntervalMonthDayNano> {
        let (months, days) = (i32::try_from(self.months).ok()?, i32::try_from(self.days).ok()?);
        Some(IntervalMonthDayNano::new(months, days, i64::try_from(self.nanos).ok()?))
    }

    fn load(stored: IntervalMonthDayNano) -> IntervalSum {
        IntervalSum {
            months: stored.months.into(),
            days: stored.days.into(),
            nanos: stored.nanoseconds.into(),
        }
    }

    fn results(
        totals: &[Total<Self>],
        wanted: Wanted,
        _: &DataType,
        out: &DataType,
    ) -> Result<ArrayRef, Error> {
        column::<IntervalMonthDayNanoType, _>(totals, out, |total| match wanted {
            Wanted::Sum => total.sum.store(),
            Wanted::Avg => total.sum.divided(total.count)?.store(),
        })
    }
}

/// Reads state columns back: what each row adds to its group.
pub(crate) fn each_state<S: Sum>(
    states: &[ArrayRef],
    wanted: Wanted,
    mut add: impl FnMut(usize, Total<S>) -> Result<(), Error>,
) -> Result<(), Error> {
    let wrong = || Error::internal("a state of a sum that is none");
    let sums = states.first().and_then(|a| a.as_any().downcast_ref::<PrimitiveArray<S::Stored>>());
    let sums = sums.ok_or_else(wrong)?;
    let counts = match wanted {
        Wanted::Sum => None,
        Wanted::Avg => {
            let counts = states.get(1).and_then(|a| a.as_any().downcast_ref::<PrimitiveArray<Int64Type>>());
            Some(counts.ok_or_else(wrong)?)
        }
    };
    for row in 0..sums.len() {
        if sums.is_valid(row) {
            let count = counts.map_or(1, |counts| counts.value(row));
            add(row, Total { sum: S::load(sums.value(row)), count })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_rounded_half_away_from_zero() {
        let check = |sum, count, expect| assert_eq!(divide(sum, count, 10), Some(expect), "{sum}/{count}");
        check(1, 4, 3);
        check(-1, 4, -3);
        check(10, 4, 25);
        check(1, 3, 3);
        check(2, 3, 7);
        check(0, 5, 0);
        assert_eq!(
            divide(i128::from(i64::MAX) * 1000, 1000, 10i128.pow(16)),
            Some(i128::from(i64::MAX) * 10i128.pow(16))
        );
        assert_eq!(divide(i128::MAX, 1, 10), None);
    }
}
