//! min and max over primitive columns.
//!
//! Floats compare as in Postgres: NaN is greater than every number. Of the two zeros, which are
//! equal, -0 is less.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;

use super::dense::{Dense, Fold};
use super::{AggregateInput, Kernel, mismatch, no_inverse};
use crate::error::Result;

/// Values that have a least and a greatest.
trait Ordered: Copy {
    fn less(self, other: Self) -> bool;
}

macro_rules! ordered {
    ($($native:ty),*) => { $(impl Ordered for $native { fn less(self, other: Self) -> bool { self < other } })* };
}
ordered!(i8, i16, i32, i64, i128, i256, u8, u16, u32, u64);

macro_rules! ordered_float {
    ($($native:ty),*) => { $(impl Ordered for $native {
        // -0.0 comes before 0.0, though they are equal: which of them is kept must not depend on
        // who came first.
        fn less(self, other: Self) -> bool {
            self < other
                || (other.is_nan() && !self.is_nan())
                || (self == other && self.is_sign_negative() && other.is_sign_positive())
        }
    })* };
}
ordered_float!(f32, f64);

/// Which end is kept; a type, so that the choice costs nothing per row.
trait End: Clone + Send + Sync + 'static {
    fn better<T: Ordered>(new: T, old: T) -> bool;
}

#[derive(Clone)]
struct Least;
#[derive(Clone)]
struct Greatest;

impl End for Least {
    fn better<T: Ordered>(new: T, old: T) -> bool {
        new.less(old)
    }
}

impl End for Greatest {
    fn better<T: Ordered>(new: T, old: T) -> bool {
        old.less(new)
    }
}

struct Extreme<T, E> {
    data_type: DataType,
    kind: PhantomData<fn() -> (T, E)>,
}

impl<T, E> Clone for Extreme<T, E> {
    fn clone(&self) -> Self {
        Extreme { data_type: self.data_type.clone(), kind: PhantomData }
    }
}

/// The best value so far, if there is one.
#[derive(Clone, Copy, Default)]
struct Best<N> {
    value: N,
    any: bool,
}

impl<N: Ordered> Best<N> {
    #[inline]
    fn take<E: End>(&mut self, value: N) {
        if !self.any || E::better(value, self.value) {
            *self = Best { value, any: true };
        }
    }
}

impl<T, E> Fold for Extreme<T, E>
where
    T: ArrowPrimitiveType,
    T::Native: Ordered + Default + Send + Sync,
    E: End,
{
    type Cell = Best<T::Native>;
    const COLUMNS: usize = 1;

    fn update(&self, cells: &mut [Self::Cell], input: &AggregateInput<'_>) -> Result<usize> {
        if input.has_deletions() {
            return Err(no_inverse("min or max"));
        }
        let (values, groups) = (input.values::<T>(0)?.values(), input.groups);
        match (input.mask(), cells) {
            // One group: its cell stays in a register.
            (mask, [cell]) => {
                let mut best = *cell;
                match mask {
                    None => values.iter().for_each(|&v| best.take::<E>(v)),
                    Some(mask) => {
                        mask.inner().set_indices().for_each(|i| best.take::<E>(values[i]))
                    }
                }
                *cell = best;
            }
            (None, cells) => {
                groups.iter().zip(values).for_each(|(&g, &v)| cells[g as usize].take::<E>(v))
            }
            (Some(mask), cells) => {
                mask.inner()
                    .set_indices()
                    .for_each(|i| cells[groups[i] as usize].take::<E>(values[i]));
            }
        }
        Ok(0)
    }

    fn merge(&self, into: &mut Self::Cell, other: &Self::Cell) -> Result<()> {
        if other.any {
            into.take::<E>(other.value);
        }
        Ok(())
    }

    fn subtract(&self, _: &mut Self::Cell, _: &Self::Cell) -> Result<()> {
        Err(no_inverse("min or max"))
    }

    fn write(&self, cells: &[&Self::Cell]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(cells)?])
    }

    fn read(&self, columns: &[ArrayRef]) -> Result<Vec<Self::Cell>> {
        let column =
            columns.first().and_then(|c| c.as_primitive_opt::<T>()).ok_or_else(mismatch)?;
        let cells = column.iter().map(|v| Best { value: v.unwrap_or_default(), any: v.is_some() });
        Ok(cells.collect())
    }

    fn finish(&self, cells: &[&Self::Cell]) -> Result<ArrayRef> {
        let nulls = cells.iter().any(|c| !c.any);
        let nulls = nulls.then(|| cells.iter().map(|c| c.any).collect::<NullBuffer>());
        let array = PrimitiveArray::<T>::new(cells.iter().map(|c| c.value).collect(), nulls);
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }

    fn invertible(&self) -> bool {
        false
    }
}

/// A kernel for min, if the type has one.
pub fn min(input: &DataType) -> Option<Box<dyn Kernel>> {
    extreme::<Least>(input)
}

/// A kernel for max, if the type has one.
pub fn max(input: &DataType) -> Option<Box<dyn Kernel>> {
    extreme::<Greatest>(input)
}

fn extreme<E: End>(input: &DataType) -> Option<Box<dyn Kernel>> {
    use DataType as D;
    macro_rules! of {
        ($arrow:ty) => {
            Box::new(Dense::new(Extreme::<$arrow, E> {
                data_type: input.clone(),
                kind: PhantomData,
            }))
        };
    }
    Some(match input {
        D::Int8 => of!(Int8Type),
        D::Int16 => of!(Int16Type),
        D::Int32 => of!(Int32Type),
        D::Int64 => of!(Int64Type),
        D::UInt8 => of!(UInt8Type),
        D::UInt16 => of!(UInt16Type),
        D::UInt32 => of!(UInt32Type),
        D::UInt64 => of!(UInt64Type),
        D::Float32 => of!(Float32Type),
        D::Float64 => of!(Float64Type),
        D::Date32 => of!(Date32Type),
        D::Date64 => of!(Date64Type),
        D::Time32(TimeUnit::Second) => of!(Time32SecondType),
        D::Time32(TimeUnit::Millisecond) => of!(Time32MillisecondType),
        D::Time64(TimeUnit::Microsecond) => of!(Time64MicrosecondType),
        D::Time64(TimeUnit::Nanosecond) => of!(Time64NanosecondType),
        D::Timestamp(TimeUnit::Second, _) => of!(TimestampSecondType),
        D::Timestamp(TimeUnit::Millisecond, _) => of!(TimestampMillisecondType),
        D::Timestamp(TimeUnit::Microsecond, _) => of!(TimestampMicrosecondType),
        D::Timestamp(TimeUnit::Nanosecond, _) => of!(TimestampNanosecondType),
        D::Decimal128(..) => of!(Decimal128Type),
        D::Decimal256(..) => of!(Decimal256Type),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Float64Array;

    fn extremes(values: &[f64]) -> [f64; 2] {
        let args: [ArrayRef; 1] = [Arc::new(Float64Array::from(values.to_vec()))];
        [min(args[0].data_type()), max(args[0].data_type())].map(|kernel| {
            let mut kernel = kernel.unwrap();
            kernel.resize(1);
            let groups = vec![0; values.len()];
            let input =
                AggregateInput { args: &args, groups: &groups, filter: None, weights: None };
            kernel.update(&input).unwrap();
            kernel.evaluate(&[0]).unwrap().as_primitive::<Float64Type>().value(0)
        })
    }

    #[test]
    fn nan_is_the_greatest_number() {
        for values in [[1.0, -f64::NAN, f64::INFINITY], [f64::NAN, f64::INFINITY, 1.0]] {
            let [least, greatest] = extremes(&values);
            assert_eq!(least, 1.0);
            assert!(greatest.is_nan());
        }
        assert!(extremes(&[f64::NAN, f64::NAN])[0].is_nan());
    }

    #[test]
    fn which_zero_is_kept_does_not_depend_on_the_order() {
        for values in [[0.0, -0.0], [-0.0, 0.0]] {
            assert_eq!(extremes(&values).map(f64::to_bits), [-0.0_f64, 0.0].map(f64::to_bits));
        }
    }
}
