//! What sums are kept in: exact, whatever is added up.
//!
//! | values                | kept as                                        |
//! |-----------------------|------------------------------------------------|
//! | smallint, integer     | i64                                            |
//! | bigint, numeric       | i128, i256                                     |
//! | real, double          | [`ExactSum`], rounded once, at the end         |
//! | interval              | months, days and nanoseconds, each for itself  |

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryBuilder, PrimitiveArray,
};
use arrow::datatypes::{
    Decimal128Type, Decimal256Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, i256,
};

use super::mismatch;
use crate::error::{Error, Result, SqlState};
use crate::state::exact::ExactSum;

/// A running sum.
pub(super) trait RunningSum: Clone + Default + Send + Sync + 'static {
    /// What is added to it.
    type Value: Copy;

    /// Adds a value; false if there is no room for the result. `heap` grows with what is allocated.
    fn add(&mut self, value: Self::Value, heap: &mut usize) -> bool;

    /// Adds a value as many times; a negative number takes it out.
    fn add_times(&mut self, value: Self::Value, times: i64, heap: &mut usize) -> bool;

    /// Adds many values.
    fn add_all(&mut self, values: impl Iterator<Item = Self::Value>, heap: &mut usize) -> bool {
        // In a register, until all are added.
        let (mut sum, mut fits) = (self.clone(), true);
        values.for_each(|value| fits &= sum.add(value, heap));
        *self = sum;
        fits
    }

    /// Adds another sum; false if there is no room for the result.
    fn merge(&mut self, other: &Self) -> bool;

    /// Takes another sum out.
    fn subtract(&mut self, other: &Self) -> bool;

    /// Bytes held beside the number itself.
    fn heap(&self) -> usize {
        0
    }

    /// Sums as a column of states.
    fn write_all<'a>(sums: impl ExactSizeIterator<Item = &'a Self>) -> Result<ArrayRef>;

    /// A column of states as sums.
    fn read_all(column: &ArrayRef) -> Option<Vec<Self>>;
}

fn column<T: ArrowPrimitiveType>(values: Vec<T::Native>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values.into(), None))
}

macro_rules! integer {
    ($native:ty, $arrow:ty, $from:expr) => {
        impl RunningSum for $native {
            type Value = $native;

            #[inline]
            fn add(&mut self, value: $native, _: &mut usize) -> bool {
                self.checked_add(value).map(|sum| *self = sum).is_some()
            }

            fn add_times(&mut self, value: $native, times: i64, _: &mut usize) -> bool {
                let product = value.checked_mul($from(times));
                product.and_then(|more| self.checked_add(more)).map(|sum| *self = sum).is_some()
            }

            fn merge(&mut self, other: &Self) -> bool {
                self.checked_add(*other).map(|sum| *self = sum).is_some()
            }

            fn subtract(&mut self, other: &Self) -> bool {
                self.checked_sub(*other).map(|sum| *self = sum).is_some()
            }

            fn write_all<'a>(sums: impl ExactSizeIterator<Item = &'a Self>) -> Result<ArrayRef> {
                Ok(column::<$arrow>(sums.copied().collect()))
            }

            fn read_all(column: &ArrayRef) -> Option<Vec<Self>> {
                Some(column.as_primitive_opt::<$arrow>()?.values().to_vec())
            }
        }
    };
}

integer!(i64, Int64Type, i64::from);
integer!(i128, Decimal128Type, i128::from);
integer!(i256, Decimal256Type, |times: i64| i256::from_i128(times.into()));

impl<const N: usize> RunningSum for ExactSum<N> {
    type Value = f64;

    #[inline]
    fn add(&mut self, value: f64, heap: &mut usize) -> bool {
        *heap += ExactSum::add(self, value);
        true
    }

    fn add_times(&mut self, value: f64, times: i64, heap: &mut usize) -> bool {
        *heap += ExactSum::add_times(self, value, times);
        true
    }

    fn add_all(&mut self, values: impl Iterator<Item = f64>, heap: &mut usize) -> bool {
        *heap += ExactSum::add_all(self, values);
        true
    }

    fn merge(&mut self, other: &Self) -> bool {
        ExactSum::merge(self, other);
        true
    }

    fn subtract(&mut self, other: &Self) -> bool {
        ExactSum::subtract(self, other);
        true
    }

    fn heap(&self) -> usize {
        ExactSum::heap(self)
    }

    fn write_all<'a>(sums: impl ExactSizeIterator<Item = &'a Self>) -> Result<ArrayRef> {
        let mut column =
            BinaryBuilder::with_capacity(sums.len(), sums.len() * N * size_of::<f64>());
        let mut bytes = Vec::new();
        for sum in sums {
            bytes.clear();
            sum.write(&mut bytes);
            column.append_value(&bytes);
        }
        Ok(Arc::new(column.finish()))
    }

    fn read_all(column: &ArrayRef) -> Option<Vec<Self>> {
        let column = column.as_any().downcast_ref::<BinaryArray>()?;
        (0..column.len()).map(|row| ExactSum::read(column.value(row))).collect()
    }
}

/// A sum of intervals: its parts do not carry into each other.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct IntervalSum {
    months: i64,
    days: i64,
    nanos: i128,
}

impl From<IntervalMonthDayNano> for IntervalSum {
    fn from(interval: IntervalMonthDayNano) -> IntervalSum {
        IntervalSum {
            months: interval.months.into(),
            days: interval.days.into(),
            nanos: interval.nanoseconds.into(),
        }
    }
}

impl IntervalSum {
    /// Months and days that do not divide go on as days of 24 hours and months of 30 days, as in
    /// Postgres.
    pub(super) fn divided(self, count: i64) -> Option<IntervalSum> {
        let days = self.days.checked_add((self.months % count).checked_mul(30)?)?;
        let nanos = self.nanos + i128::from(days % count) * 86_400_000_000_000;
        Some(IntervalSum {
            months: self.months / count,
            days: days / count,
            nanos: nanos / i128::from(count),
        })
    }

    /// The sum as an interval, if it is one.
    pub(super) fn interval(self) -> Option<IntervalMonthDayNano> {
        let (months, days) = (i32::try_from(self.months).ok()?, i32::try_from(self.days).ok()?);
        Some(IntervalMonthDayNano::new(months, days, i64::try_from(self.nanos).ok()?))
    }

    fn times(self, times: i64) -> Option<IntervalSum> {
        Some(IntervalSum {
            months: self.months.checked_mul(times)?,
            days: self.days.checked_mul(times)?,
            nanos: self.nanos.checked_mul(times.into())?,
        })
    }

    fn plus(self, other: IntervalSum) -> Option<IntervalSum> {
        Some(IntervalSum {
            months: self.months.checked_add(other.months)?,
            days: self.days.checked_add(other.days)?,
            nanos: self.nanos.checked_add(other.nanos)?,
        })
    }
}

impl RunningSum for IntervalSum {
    type Value = IntervalSum;

    fn add(&mut self, value: IntervalSum, _: &mut usize) -> bool {
        self.merge(&value)
    }

    fn add_times(&mut self, value: IntervalSum, times: i64, _: &mut usize) -> bool {
        value.times(times).is_some_and(|more| self.merge(&more))
    }

    fn merge(&mut self, other: &Self) -> bool {
        self.plus(*other).map(|sum| *self = sum).is_some()
    }

    fn subtract(&mut self, other: &Self) -> bool {
        other.times(-1).is_some_and(|less| self.merge(&less))
    }

    fn write_all<'a>(sums: impl ExactSizeIterator<Item = &'a Self>) -> Result<ArrayRef> {
        let overflow = || Error::new(SqlState::OutOfRange, "interval out of range");
        let sums = sums.map(|sum| sum.interval().ok_or_else(overflow));
        Ok(column::<IntervalMonthDayNanoType>(sums.collect::<Result<_>>()?))
    }

    fn read_all(column: &ArrayRef) -> Option<Vec<Self>> {
        let column = column.as_primitive_opt::<IntervalMonthDayNanoType>()?;
        Some(column.values().iter().map(|&interval| interval.into()).collect())
    }
}

/// Lossless conversion of an argument into what is added up.
pub(super) trait Widen<T> {
    fn widen(value: T) -> Self;
}

macro_rules! widen {
    ($to:ty: $($from:ty),*) => {
        $(impl Widen<$from> for $to { fn widen(value: $from) -> $to { value.into() } })*
    };
}
widen!(i64: i16, i32, i64);
widen!(i128: i16, i32, i64, i128);
widen!(i256: i256);

impl Widen<i128> for i256 {
    fn widen(value: i128) -> i256 {
        i256::from_i128(value)
    }
}

widen!(f64: f32, f64);
widen!(IntervalSum: IntervalMonthDayNano);

/// A column of states that is not of this kind of number.
pub(super) fn read<N: RunningSum>(columns: &[ArrayRef], at: usize) -> Result<Vec<N>> {
    columns.get(at).and_then(N::read_all).ok_or_else(mismatch)
}
