//! min and max over primitive columns.
//!
//! Floats compare as in Postgres: NaN is greater than every number, and the two zeros are equal.

use std::marker::PhantomData;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::*;

use super::dense::{Dense, Fold};
use super::{Kernel, mask, mismatch, no_inverse};
use crate::error::Result;

/// Values that have a least and a greatest.
trait Ordered: Copy {
    fn less(self, other: Self) -> bool;
}

macro_rules! ordered {
    ($($native:ty),*) => { $(impl Ordered for $native { fn less(self, other: Self) -> bool { self < other } })* };
}
ordered!(i8, i16, i32, i64, i128, u8, u16, u32, u64);

macro_rules! ordered_float {
    ($($native:ty),*) => { $(impl Ordered for $native {
        fn less(self, other: Self) -> bool { self < other || (other.is_nan() && !self.is_nan()) }
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

    fn update(
        &self,
        cells: &mut [Self::Cell],
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let column = args.first().ok_or_else(mismatch)?;
        let values = column.as_primitive_opt::<T>().ok_or_else(mismatch)?.values();
        // One group: its cell stays in a register.
        if let [cell] = cells {
            let mut best = *cell;
            match mask(Some(column), filter) {
                None => values.iter().for_each(|&v| best.take::<E>(v)),
                Some(mask) => mask.inner().set_indices().for_each(|i| best.take::<E>(values[i])),
            }
            *cell = best;
            return Ok(());
        }
        match mask(Some(column), filter) {
            None => groups.iter().zip(values).for_each(|(&g, &v)| cells[g as usize].take::<E>(v)),
            Some(mask) => {
                mask.inner().set_indices().for_each(|i| cells[groups[i] as usize].take::<E>(values[i]));
            }
        }
        Ok(())
    }

    fn weigh(
        &self,
        cells: &mut [Self::Cell],
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
        weights: &[i64],
    ) -> Result<()> {
        if weights.iter().all(|&w| w > 0) {
            self.update(cells, args, groups, filter)
        } else {
            Err(no_inverse("min or max"))
        }
    }

    fn merge(&self, into: &mut Self::Cell, other: Self::Cell) -> Result<()> {
        if other.any {
            into.take::<E>(other.value);
        }
        Ok(())
    }

    fn subtract(&self, _: &mut Self::Cell, _: Self::Cell) -> Result<()> {
        Err(no_inverse("min or max"))
    }

    fn write(&self, cells: impl ExactSizeIterator<Item = Self::Cell> + Clone) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(cells)?])
    }

    fn read(&self, columns: &[ArrayRef]) -> Result<Vec<Self::Cell>> {
        let column = columns.first().and_then(|c| c.as_primitive_opt::<T>()).ok_or_else(mismatch)?;
        let cells = column.iter().map(|v| Best { value: v.unwrap_or_default(), any: v.is_some() });
        Ok(cells.collect())
    }

    fn finish(&self, cells: impl ExactSizeIterator<Item = Self::Cell> + Clone) -> Result<ArrayRef> {
        let nulls: Option<NullBuffer> =
            if cells.clone().all(|c| c.any) { None } else { Some(cells.clone().map(|c| c.any).collect()) };
        let array = PrimitiveArray::<T>::new(cells.map(|c| c.value).collect(), nulls);
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }

    fn invertible(&self) -> bool {
        false
    }

    fn exact(&self) -> bool {
        // -0.0 and 0.0 are equal but do not look the same: which of them is kept depends on who came first.
        !self.data_type.is_floating()
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
            Box::new(Dense::new(Extreme::<$arrow, E> { data_type: input.clone(), kind: PhantomData }))
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
        D::Decimal128(_, _) => of!(Decimal128Type),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Float64Array;

    #[test]
    fn nan_is_the_greatest_number() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0, -f64::NAN, f64::INFINITY]));
        for (kernel, expect) in [(min(column.data_type()), Some(1.0)), (max(column.data_type()), None)] {
            let mut kernel = kernel.unwrap();
            kernel.resize(1);
            kernel.update(&[Arc::clone(&column)], &[0, 0, 0], None).unwrap();
            let got = kernel.evaluate(&[0]).unwrap().as_primitive::<Float64Type>().value(0);
            match expect {
                Some(expect) => assert_eq!(got, expect),
                None => assert!(got.is_nan()),
            }
        }
    }
}
