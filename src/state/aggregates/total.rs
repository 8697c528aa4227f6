//! count, sum and avg: aggregates that add up.
//!
//! A cell holds the sum and how many values went into it, so that a sum of nothing is NULL and taking values out
//! again is exact (for integers and decimals; floats round, and are never subtracted). Sums of integers and decimals
//! are checked: Postgres raises 22003 where a machine word would wrap.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int64Array, PrimitiveArray,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::average::quotient;
use super::dense::{Dense, Fold};
use super::{Kernel, mask, mismatch, no_inverse};
use crate::error::{Error, Result, SqlState};

/// count(*) and count(x).
#[derive(Clone)]
struct Count;

/// A kernel for count(*) and count(x).
pub fn count() -> Box<dyn Kernel> {
    Box::new(Dense::new(Count))
}

impl Fold for Count {
    type Cell = i64;
    const COLUMNS: usize = 1;

    fn update(
        &self,
        cells: &mut [i64],
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        match (mask(args.first(), filter), cells) {
            (None, [cell]) => *cell += groups.len() as i64,
            (Some(mask), [cell]) => *cell += (mask.len() - mask.null_count()) as i64,
            (None, cells) => groups.iter().for_each(|&g| cells[g as usize] += 1),
            (Some(mask), cells) => {
                mask.inner().set_indices().for_each(|i| cells[groups[i] as usize] += 1);
            }
        }
        Ok(())
    }

    fn weigh(
        &self,
        cells: &mut [i64],
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
        weights: &[i64],
    ) -> Result<()> {
        match mask(args.first(), filter) {
            None => groups.iter().zip(weights).for_each(|(&g, &w)| cells[g as usize] += w),
            Some(mask) => {
                mask.inner().set_indices().for_each(|i| cells[groups[i] as usize] += weights[i]);
            }
        }
        Ok(())
    }

    fn merge(&self, into: &mut i64, other: i64) -> Result<()> {
        *into += other;
        Ok(())
    }

    fn subtract(&self, from: &mut i64, other: i64) -> Result<()> {
        *from -= other;
        Ok(())
    }

    fn write(&self, cells: impl ExactSizeIterator<Item = i64> + Clone) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(cells)?])
    }

    fn read(&self, columns: &[ArrayRef]) -> Result<Vec<i64>> {
        integers(columns, 0)
    }

    fn finish(&self, cells: impl ExactSizeIterator<Item = i64> + Clone) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(cells)))
    }

    fn invertible(&self) -> bool {
        true
    }

    fn exact(&self) -> bool {
        true
    }
}

fn integers(columns: &[ArrayRef], at: usize) -> Result<Vec<i64>> {
    let column = columns.get(at).and_then(|c| c.as_primitive_opt::<Int64Type>());
    Ok(column.ok_or_else(mismatch)?.values().to_vec())
}

/// What sums are kept in: i64, i128 (Decimal128) or f64.
trait Number: Copy + Default + Send + Sync + 'static {
    const EXACT: bool;
    fn plus(self, other: Self) -> Option<Self>;
    fn minus(self, other: Self) -> Option<Self>;
    fn times(self, weight: i64) -> Option<Self>;
    fn write(values: Vec<Self>) -> ArrayRef;
    fn read(column: &ArrayRef) -> Option<Vec<Self>>;
}

macro_rules! integer_number {
    ($native:ty, $write:expr, $arrow:ty) => {
        impl Number for $native {
            const EXACT: bool = true;
            fn plus(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }
            fn minus(self, other: Self) -> Option<Self> {
                self.checked_sub(other)
            }
            fn times(self, weight: i64) -> Option<Self> {
                self.checked_mul(<$native>::from(weight))
            }
            fn write(values: Vec<Self>) -> ArrayRef {
                $write(values)
            }
            fn read(column: &ArrayRef) -> Option<Vec<Self>> {
                Some(column.as_primitive_opt::<$arrow>()?.values().to_vec())
            }
        }
    };
}

integer_number!(i64, |v: Vec<i64>| Arc::new(Int64Array::from(v)), Int64Type);
integer_number!(i128, |v: Vec<i128>| Arc::new(Decimal128Array::from(v)), Decimal128Type);

impl Number for f64 {
    const EXACT: bool = false;
    fn plus(self, other: Self) -> Option<Self> {
        Some(self + other)
    }
    fn minus(self, other: Self) -> Option<Self> {
        Some(self - other)
    }
    fn times(self, weight: i64) -> Option<Self> {
        Some(self * weight as f64)
    }
    fn write(values: Vec<Self>) -> ArrayRef {
        Arc::new(Float64Array::from(values))
    }
    fn read(column: &ArrayRef) -> Option<Vec<Self>> {
        Some(column.as_primitive_opt::<Float64Type>()?.values().to_vec())
    }
}

/// A sum and how many values are in it.
#[derive(Clone, Copy, Default)]
struct Sum<N> {
    sum: N,
    values: i64,
}

/// What becomes of the sum at the end.
#[derive(Clone, Debug)]
enum Finish {
    /// The sum, as this type.
    Sum(DataType),
    /// Sum ÷ count as a float.
    AvgFloat,
    /// Sum ÷ count, rounded half away from zero; the sum has `from` decimals, the result is `to`.
    AvgDecimal { from: i8, to: DataType },
}

/// How a value of the argument becomes a number: one reader per argument type, chosen when the kernel is made.
type Reader<N> =
    fn(&Total<N>, &mut [Sum<N>], &ArrayRef, &[u32], Option<&NullBuffer>, Option<&[i64]>) -> Result<()>;

struct Total<N: Number> {
    reader: Reader<N>,
    finish: Finish,
}

impl<N: Number> Clone for Total<N> {
    fn clone(&self) -> Self {
        Total { reader: self.reader, finish: self.finish.clone() }
    }
}

fn overflow() -> Error {
    Error::new(SqlState::OutOfRange, "sum out of range")
}

/// Adds the values of a primitive column to the sums. One instance per (argument type, sum type), no calls per row.
fn add<T: ArrowPrimitiveType, N: Number + Widen<T::Native>>(
    _: &Total<N>,
    cells: &mut [Sum<N>],
    column: &ArrayRef,
    groups: &[u32],
    mask: Option<&NullBuffer>,
    weights: Option<&[i64]>,
) -> Result<()> {
    let values = column.as_primitive_opt::<T>().ok_or_else(mismatch)?.values();
    if let ([cell], None) = (&mut *cells, weights) {
        return add_to_one::<T, N>(cell, values, mask);
    }
    let mut fits = true;
    let mut one = |i: usize, group: u32| {
        let cell = &mut cells[group as usize];
        match cell.sum.plus(N::widen(values[i])) {
            Some(sum) => cell.sum = sum,
            None => fits = false,
        }
        cell.values += 1;
    };
    match (mask, weights) {
        (None, None) => groups.iter().enumerate().for_each(|(i, &g)| one(i, g)),
        (Some(mask), None) => mask.inner().set_indices().for_each(|i| one(i, groups[i])),
        (mask, Some(weights)) => {
            for (i, &group) in groups.iter().enumerate() {
                if mask.is_none_or(|m| m.is_valid(i)) {
                    let cell = &mut cells[group as usize];
                    let value = N::widen(values[i]).times(weights[i]).ok_or_else(overflow)?;
                    cell.sum = cell.sum.plus(value).ok_or_else(overflow)?;
                    cell.values += weights[i];
                }
            }
        }
    }
    if fits { Ok(()) } else { Err(overflow()) }
}

/// The same where there is one group: the sum stays in a register. Floats are added in the same order.
fn add_to_one<T: ArrowPrimitiveType, N: Number + Widen<T::Native>>(
    cell: &mut Sum<N>,
    values: &[T::Native],
    mask: Option<&NullBuffer>,
) -> Result<()> {
    let (mut sum, mut fits) = (cell.sum, true);
    let mut one = |value: T::Native| match sum.plus(N::widen(value)) {
        Some(more) => sum = more,
        None => fits = false,
    };
    match mask {
        None => values.iter().for_each(|&v| one(v)),
        Some(mask) => mask.inner().set_indices().for_each(|i| one(values[i])),
    }
    cell.sum = sum;
    cell.values += mask.map_or(values.len(), |m| m.len() - m.null_count()) as i64;
    if fits { Ok(()) } else { Err(overflow()) }
}

/// Lossless (or, to floats, nearest) conversion of an argument into the type of its sum.
trait Widen<T> {
    fn widen(value: T) -> Self;
}

macro_rules! widen {
    ($to:ty: $($from:ty),*) => { $(impl Widen<$from> for $to { fn widen(value: $from) -> $to { value as $to } })* };
}
widen!(i64: i8, i16, i32, i64, u8, u16, u32);
widen!(i128: i8, i16, i32, i64, u8, u16, u32, u64, i128);
widen!(f64: f32, f64, i8, i16, i32, i64, u8, u16, u32, u64);

fn integer_reader(input: &DataType) -> Option<Reader<i64>> {
    Some(match input {
        DataType::Int8 => add::<Int8Type, i64>,
        DataType::Int16 => add::<Int16Type, i64>,
        DataType::Int32 => add::<Int32Type, i64>,
        DataType::Int64 => add::<Int64Type, i64>,
        DataType::UInt8 => add::<UInt8Type, i64>,
        DataType::UInt16 => add::<UInt16Type, i64>,
        DataType::UInt32 => add::<UInt32Type, i64>,
        _ => return None,
    })
}

fn wide_reader(input: &DataType) -> Option<(Reader<i128>, i8)> {
    Some(match input {
        DataType::Int8 => (add::<Int8Type, i128>, 0),
        DataType::Int16 => (add::<Int16Type, i128>, 0),
        DataType::Int32 => (add::<Int32Type, i128>, 0),
        DataType::Int64 => (add::<Int64Type, i128>, 0),
        DataType::UInt8 => (add::<UInt8Type, i128>, 0),
        DataType::UInt16 => (add::<UInt16Type, i128>, 0),
        DataType::UInt32 => (add::<UInt32Type, i128>, 0),
        DataType::UInt64 => (add::<UInt64Type, i128>, 0),
        DataType::Decimal128(_, scale) => (add::<Decimal128Type, i128>, *scale),
        _ => return None,
    })
}

fn float_reader(input: &DataType) -> Option<Reader<f64>> {
    Some(match input {
        DataType::Float32 => add::<Float32Type, f64>,
        DataType::Float64 => add::<Float64Type, f64>,
        DataType::Int8 => add::<Int8Type, f64>,
        DataType::Int16 => add::<Int16Type, f64>,
        DataType::Int32 => add::<Int32Type, f64>,
        DataType::Int64 => add::<Int64Type, f64>,
        _ => return None,
    })
}

fn made<N: Finishes>(reader: Reader<N>, finish: Finish) -> Box<dyn Kernel> {
    Box::new(Dense::new(Total { reader, finish }))
}

/// A kernel for sum, if this pair of argument and result type has one.
pub fn sum(input: &DataType, result: &DataType) -> Option<Box<dyn Kernel>> {
    let finish = Finish::Sum(result.clone());
    match result {
        DataType::Int64 => Some(made(integer_reader(input)?, finish)),
        DataType::Decimal128(_, scale) => match wide_reader(input)? {
            (reader, from) if from == *scale => Some(made(reader, finish)),
            (_, _) => None,
        },
        DataType::Float64 | DataType::Float32 => match input {
            DataType::Float32 | DataType::Float64 => Some(made(float_reader(input)?, finish)),
            _ => None,
        },
        _ => None,
    }
}

/// A kernel for avg, if this pair of argument and result type has one.
pub fn avg(input: &DataType, result: &DataType) -> Option<Box<dyn Kernel>> {
    match result {
        DataType::Float64 => Some(made(float_reader(input)?, Finish::AvgFloat)),
        DataType::Decimal128(_, _) => {
            let (reader, from) = wide_reader(input)?;
            Some(made(reader, Finish::AvgDecimal { from, to: result.clone() }))
        }
        _ => None,
    }
}

impl<N: Number + Finishes> Fold for Total<N> {
    type Cell = Sum<N>;
    const COLUMNS: usize = 2;

    fn update(
        &self,
        cells: &mut [Sum<N>],
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let column = args.first().ok_or_else(mismatch)?;
        (self.reader)(self, cells, column, groups, mask(Some(column), filter).as_ref(), None)
    }

    fn weigh(
        &self,
        cells: &mut [Sum<N>],
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
        weights: &[i64],
    ) -> Result<()> {
        if !N::EXACT {
            return Err(no_inverse("sum or avg of floating-point numbers"));
        }
        let column = args.first().ok_or_else(mismatch)?;
        (self.reader)(self, cells, column, groups, mask(Some(column), filter).as_ref(), Some(weights))
    }

    fn merge(&self, into: &mut Sum<N>, other: Sum<N>) -> Result<()> {
        into.sum = into.sum.plus(other.sum).ok_or_else(overflow)?;
        into.values += other.values;
        Ok(())
    }

    fn subtract(&self, from: &mut Sum<N>, other: Sum<N>) -> Result<()> {
        from.sum = from.sum.minus(other.sum).ok_or_else(overflow)?;
        from.values -= other.values;
        Ok(())
    }

    fn write(&self, cells: impl ExactSizeIterator<Item = Sum<N>> + Clone) -> Result<Vec<ArrayRef>> {
        let values = Int64Array::from_iter_values(cells.clone().map(|c| c.values));
        Ok(vec![N::write(cells.map(|c| c.sum).collect()), Arc::new(values)])
    }

    fn read(&self, columns: &[ArrayRef]) -> Result<Vec<Sum<N>>> {
        let sums = columns.first().and_then(N::read).ok_or_else(mismatch)?;
        let counts = integers(columns, 1)?;
        Ok(sums.into_iter().zip(counts).map(|(sum, values)| Sum { sum, values }).collect())
    }

    fn finish(&self, cells: impl ExactSizeIterator<Item = Sum<N>> + Clone) -> Result<ArrayRef> {
        N::finish(&self.finish, cells)
    }

    fn invertible(&self) -> bool {
        N::EXACT
    }

    fn exact(&self) -> bool {
        N::EXACT
    }
}

/// The result column of sums kept in this type.
trait Finishes: Number {
    fn finish(finish: &Finish, cells: impl ExactSizeIterator<Item = Sum<Self>> + Clone) -> Result<ArrayRef>;
}

fn nulls<N>(cells: impl Iterator<Item = Sum<N>> + Clone) -> Option<NullBuffer> {
    if cells.clone().all(|c| c.values != 0) { None } else { Some(cells.map(|c| c.values != 0).collect()) }
}

impl Finishes for i64 {
    fn finish(_: &Finish, cells: impl ExactSizeIterator<Item = Sum<i64>> + Clone) -> Result<ArrayRef> {
        let nulls = nulls(cells.clone());
        Ok(Arc::new(Int64Array::new(cells.map(|c| c.sum).collect(), nulls)))
    }
}

impl Finishes for f64 {
    fn finish(finish: &Finish, cells: impl ExactSizeIterator<Item = Sum<f64>> + Clone) -> Result<ArrayRef> {
        let nulls = nulls(cells.clone());
        Ok(match finish {
            Finish::Sum(DataType::Float32) => {
                Arc::new(Float32Array::new(cells.map(|c| c.sum as f32).collect(), nulls))
            }
            Finish::AvgFloat => {
                Arc::new(Float64Array::new(cells.map(|c| c.sum / c.values as f64).collect(), nulls))
            }
            Finish::Sum(_) | Finish::AvgDecimal { .. } => {
                Arc::new(Float64Array::new(cells.map(|c| c.sum).collect(), nulls))
            }
        })
    }
}

impl Finishes for i128 {
    fn finish(finish: &Finish, cells: impl ExactSizeIterator<Item = Sum<i128>> + Clone) -> Result<ArrayRef> {
        let nulls = nulls(cells.clone());
        let (to, values) = match finish {
            Finish::Sum(to) => (to, cells.map(|c| c.sum).collect::<Vec<_>>()),
            Finish::AvgFloat => return Err(mismatch()),
            Finish::AvgDecimal { from, to } => {
                let DataType::Decimal128(_, scale) = to else { return Err(mismatch()) };
                let shift = i32::from(*scale) - i32::from(*from);
                let values: Result<Vec<_>> =
                    cells.map(|c| quotient(c.sum, c.values, shift).ok_or_else(overflow)).collect();
                (to, values?)
            }
        };
        if let DataType::Decimal128(precision, _) = to {
            let limit = 10_u128.pow(u32::from(*precision));
            if values.iter().any(|v| v.unsigned_abs() >= limit) {
                return Err(overflow());
            }
        }
        let array = PrimitiveArray::<Decimal128Type>::new(values.into(), nulls);
        Ok(Arc::new(array.with_data_type(to.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Array;

    #[test]
    fn a_sum_beyond_bigint_is_an_error_and_not_a_negative_number() {
        let mut kernel = sum(&DataType::Int64, &DataType::Int64).unwrap();
        kernel.resize(1);
        let args: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
        let error = kernel.update(&[args], &[0, 0], None).unwrap_err();
        assert_eq!(error.state(), SqlState::OutOfRange);
    }

    #[test]
    fn a_sum_of_only_filtered_rows_is_null() {
        let mut kernel = sum(&DataType::Int64, &DataType::Decimal128(38, 0)).unwrap();
        kernel.resize(2);
        let args: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None, Some(7)]));
        let filter = BooleanArray::from(vec![Some(true), Some(true), None]);
        kernel.update(&[args], &[0, 1, 1], Some(&filter)).unwrap();
        let result = kernel.evaluate(&[0, 1]).unwrap();
        assert_eq!(result.as_primitive::<Decimal128Type>().value(0), 5);
        assert!(result.is_null(1));
    }
}
