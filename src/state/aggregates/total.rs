//! sum and avg, as in Postgres.
//!
//! A cell holds the sum and how many values went into it, so that a sum of nothing is NULL and
//! taking values out again is exact. Sums that are too large for their result are 22003, where a
//! machine word would wrap.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, Int64Array, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, i256,
};

use super::count::counts;
use super::dense::{Dense, Fold};
use super::number::{IntervalSum, RunningSum, Widen, read};
use super::{AggregateInput, Kernel, mismatch};
use crate::error::{Error, Result, SqlState};
use crate::state::exact::ExactSum;
use crate::types::decimal::{self, Decimal};
use crate::types::{WIDE_NUMERIC, is_free_numeric};

/// The sum of doubles. Two doubles hold what people add up; anything else is held as well, but
/// slower.
type DoubleSum = ExactSum<2>;

/// A sum and how many values are in it.
#[derive(Clone, Default)]
struct CountedSum<N> {
    sum: N,
    values: i64,
}

/// Which of the two is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TotalKind {
    /// sum
    Sum,
    /// avg
    Avg,
}

/// What becomes of a sum at the end.
#[derive(Clone)]
struct Finish {
    wanted: TotalKind,
    input: DataType,
    result: DataType,
}

/// How a column of values is added to cells: one instance per argument type, chosen when the kernel
/// is made.
type Adder<N> = fn(&mut [CountedSum<N>], &AggregateInput<'_>, &mut usize) -> Result<bool>;

struct Total<N: Finished> {
    add: Adder<N>,
    finish: Finish,
}

impl<N: Finished> Clone for Total<N> {
    fn clone(&self) -> Self {
        Total { add: self.add, finish: self.finish.clone() }
    }
}

/// A kernel for sum, if this pair of argument and result type has one.
pub fn sum(input: &DataType, result: &DataType) -> Option<Box<dyn Kernel>> {
    let finish = Finish { wanted: TotalKind::Sum, input: input.clone(), result: result.clone() };
    match (input, result) {
        (DataType::Int16, DataType::Int64) => made(add::<Int16Type, i64>, finish),
        (DataType::Int32, DataType::Int64) => made(add::<Int32Type, i64>, finish),
        (DataType::Int64, DataType::Int64) => made(add::<Int64Type, i64>, finish),
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) if from != to => None,
        (_, DataType::Decimal128(..)) => wide(finish),
        (_, result) if input.is_floating() && !result.is_floating() => None,
        _ => others(finish),
    }
}

/// A kernel for avg, if this pair of argument and result type has one.
pub fn avg(input: &DataType, result: &DataType) -> Option<Box<dyn Kernel>> {
    let finish = Finish { wanted: TotalKind::Avg, input: input.clone(), result: result.clone() };
    match (input, result) {
        (_, DataType::Decimal128(..)) => wide(finish),
        (_, DataType::Float64) if !input.is_floating() => None,
        _ => others(finish),
    }
}

fn wide(finish: Finish) -> Option<Box<dyn Kernel>> {
    match finish.input {
        DataType::Int16 => made(add::<Int16Type, i128>, finish),
        DataType::Int32 => made(add::<Int32Type, i128>, finish),
        DataType::Int64 => made(add::<Int64Type, i128>, finish),
        DataType::Decimal128(..) => made(add::<Decimal128Type, i128>, finish),
        _ => None,
    }
}

fn others(finish: Finish) -> Option<Box<dyn Kernel>> {
    match finish.input {
        DataType::Decimal128(..) => made(add::<Decimal128Type, i256>, finish),
        DataType::Decimal256(..) => made(add::<Decimal256Type, i256>, finish),
        DataType::Float32 => made(add::<Float32Type, DoubleSum>, finish),
        DataType::Float64 => made(add::<Float64Type, DoubleSum>, finish),
        DataType::Interval(_) => made(add::<IntervalMonthDayNanoType, IntervalSum>, finish),
        _ => None,
    }
}

fn made<N: Finished>(add: Adder<N>, finish: Finish) -> Option<Box<dyn Kernel>> {
    Some(Box::new(Dense::new(Total { add, finish })))
}

/// Adds the values of a column to the sums; false if a sum has no room.
fn add<T: ArrowPrimitiveType, N: RunningSum>(
    cells: &mut [CountedSum<N>],
    input: &AggregateInput<'_>,
    heap: &mut usize,
) -> Result<bool>
where
    N::Value: Widen<T::Native>,
{
    let values = input.values::<T>(0)?.values();
    let (mask, groups) = (input.mask(), input.groups);
    let mut fits = true;
    if let Some(weights) = input.weights {
        for (i, &group) in groups.iter().enumerate() {
            if mask.as_ref().is_none_or(|m| m.is_valid(i)) {
                let cell = &mut cells[group as usize];
                fits &= cell.sum.add_times(N::Value::widen(values[i]), weights[i], heap);
                cell.values += weights[i];
            }
        }
        return Ok(fits);
    }
    if let [cell] = cells {
        cell.values += mask.as_ref().map_or(values.len(), |m| m.len() - m.null_count()) as i64;
        return Ok(match mask {
            None => cell.sum.add_all(values.iter().map(|&v| N::Value::widen(v)), heap),
            Some(mask) => {
                let rows = mask.inner().set_indices();
                cell.sum.add_all(rows.map(|i| N::Value::widen(values[i])), heap)
            }
        });
    }
    let mut one = |i: usize, group: u32| {
        let cell = &mut cells[group as usize];
        fits &= cell.sum.add(N::Value::widen(values[i]), heap);
        cell.values += 1;
    };
    match mask {
        None => groups.iter().enumerate().for_each(|(i, &g)| one(i, g)),
        Some(mask) => mask.inner().set_indices().for_each(|i| one(i, groups[i])),
    }
    Ok(fits)
}

fn overflow(result: &DataType) -> Error {
    let what = match result {
        DataType::Int64 => "bigint out of range",
        DataType::Interval(_) => "interval out of range",
        DataType::Float32 | DataType::Float64 => "value out of range: overflow",
        _ => "value overflows numeric format",
    };
    Error::new(SqlState::OutOfRange, what)
}

impl<N: Finished> Fold for Total<N> {
    type Cell = CountedSum<N>;
    const COLUMNS: usize = 2;

    fn update(&self, cells: &mut [CountedSum<N>], input: &AggregateInput<'_>) -> Result<usize> {
        let mut heap = 0;
        if (self.add)(cells, input, &mut heap)? {
            Ok(heap)
        } else {
            Err(overflow(&self.finish.result))
        }
    }

    fn merge(&self, into: &mut CountedSum<N>, other: &CountedSum<N>) -> Result<()> {
        into.values += other.values;
        if into.sum.merge(&other.sum) { Ok(()) } else { Err(overflow(&self.finish.result)) }
    }

    fn subtract(&self, from: &mut CountedSum<N>, other: &CountedSum<N>) -> Result<()> {
        from.values -= other.values;
        if from.sum.subtract(&other.sum) { Ok(()) } else { Err(overflow(&self.finish.result)) }
    }

    fn write(&self, cells: &[&CountedSum<N>]) -> Result<Vec<ArrayRef>> {
        let values = Int64Array::from_iter_values(cells.iter().map(|c| c.values));
        Ok(vec![N::write_all(cells.iter().map(|c| &c.sum))?, Arc::new(values)])
    }

    fn read(&self, columns: &[ArrayRef]) -> Result<Vec<CountedSum<N>>> {
        let sums = read::<N>(columns, 0)?;
        let counts = counts(columns, 1)?;
        Ok(sums.into_iter().zip(counts).map(|(sum, values)| CountedSum { sum, values }).collect())
    }

    fn finish(&self, cells: &[&CountedSum<N>]) -> Result<ArrayRef> {
        N::finish(&self.finish, cells)
    }

    fn invertible(&self) -> bool {
        true
    }

    fn heap(cell: &CountedSum<N>) -> usize {
        cell.sum.heap()
    }
}

/// Sums of this kind as results.
trait Finished: RunningSum {
    fn finish(finish: &Finish, cells: &[&CountedSum<Self>]) -> Result<ArrayRef>;
}

impl Finish {
    /// A column with a value for each group that has seen one.
    fn column<T: ArrowPrimitiveType, N>(
        &self,
        cells: &[&CountedSum<N>],
        value: impl Fn(&CountedSum<N>) -> Option<T::Native>,
    ) -> Result<ArrayRef> {
        let nulls = cells.iter().any(|c| c.values == 0);
        let nulls = nulls.then(|| cells.iter().map(|c| c.values != 0).collect::<NullBuffer>());
        // Windows that overlap are hardly more than this loop. To collect results would call a
        // function for each cell, whose answer goes through memory: sliding windows took twice the
        // time.
        let mut all_fit = true;
        let values = cells.iter().map(|cell| match cell.values {
            0 => T::Native::default(),
            _ => value(cell).unwrap_or_else(|| {
                all_fit = false;
                T::Native::default()
            }),
        });
        let array = PrimitiveArray::<T>::new(values.collect::<Vec<_>>().into(), nulls);
        if !all_fit {
            return Err(overflow(&self.result));
        }
        Ok(Arc::new(array.with_data_type(self.result.clone())))
    }
}

fn scale(data_type: &DataType) -> i8 {
    match data_type {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    }
}

impl Finished for i64 {
    fn finish(finish: &Finish, cells: &[&CountedSum<i64>]) -> Result<ArrayRef> {
        finish.column::<Int64Type, _>(cells, |cell| Some(cell.sum))
    }
}

impl Finished for i128 {
    fn finish(finish: &Finish, cells: &[&CountedSum<i128>]) -> Result<ArrayRef> {
        let DataType::Decimal128(precision, to) = finish.result else { return Err(mismatch()) };
        let end = 10_u128.pow(precision.into());
        let factor = 10_i128.pow(to.abs_diff(scale(&finish.input)).into());
        let fits = |value: i128| (value.unsigned_abs() < end).then_some(value);
        match finish.wanted {
            TotalKind::Sum => finish.column::<Decimal128Type, _>(cells, |cell| fits(cell.sum)),
            TotalKind::Avg => finish.column::<Decimal128Type, _>(cells, |cell| {
                fits(divided(cell.sum, cell.values.into(), factor)?)
            }),
        }
    }
}

/// sum · factor ÷ count, rounded half away from zero. The whole part first: the product alone might
/// not have room.
fn divided(sum: i128, count: i128, factor: i128) -> Option<i128> {
    let (whole, rest) = (sum / count, sum % count);
    let scaled = rest.checked_mul(factor)?;
    let (mut part, rest) = (scaled / count, scaled % count);
    if rest.abs() >= count - rest.abs() && rest != 0 {
        part += rest.signum();
    }
    whole.checked_mul(factor)?.checked_add(part)
}

/// Computed numerics: their average is rounded as a quotient is.
impl Finished for i256 {
    fn finish(finish: &Finish, cells: &[&CountedSum<i256>]) -> Result<ArrayRef> {
        let end = decimal::power(WIDE_NUMERIC.into()).unwrap_or(i256::MAX);
        let fits = |value: i256| (value < end && value > end.wrapping_neg()).then_some(value);
        let input = &finish.input;
        finish.column::<Decimal256Type, _>(cells, |cell| match finish.wanted {
            TotalKind::Sum => fits(cell.sum),
            TotalKind::Avg => {
                let sum = Decimal::new(cell.sum, scale(input));
                let sum = if is_free_numeric(input) { sum.trimmed() } else { sum };
                let count = Decimal::new(i256::from_i128(cell.values.into()), 0);
                fits(decimal::divided(sum, count).ok()?.rescaled(scale(&finish.result)).ok()?)
            }
        })
    }
}

impl Finished for DoubleSum {
    fn finish(finish: &Finish, cells: &[&CountedSum<DoubleSum>]) -> Result<ArrayRef> {
        // Only what was no number before may be none in the result.
        let allowed =
            |is_finite: bool, cell: &CountedSum<DoubleSum>| is_finite || cell.sum.has_special();
        if finish.result == DataType::Float32 {
            return finish.column::<Float32Type, _>(cells, |cell| {
                let value = cell.sum.single();
                allowed(value.is_finite(), cell).then_some(value)
            });
        }
        finish.column::<Float64Type, _>(cells, |cell| {
            let value = match finish.wanted {
                TotalKind::Sum => cell.sum.value(),
                TotalKind::Avg => cell.sum.value() / cell.values as f64,
            };
            allowed(value.is_finite(), cell).then_some(value)
        })
    }
}

impl Finished for IntervalSum {
    fn finish(finish: &Finish, cells: &[&CountedSum<IntervalSum>]) -> Result<ArrayRef> {
        finish.column::<IntervalMonthDayNanoType, _>(cells, |cell| match finish.wanted {
            TotalKind::Sum => cell.sum.interval(),
            TotalKind::Avg => cell.sum.divided(cell.values)?.interval(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::aggregates::Place;
    use arrow::array::{Array, AsArray, BooleanArray, Float64Array};

    fn input<'a>(args: &'a [ArrayRef], groups: &'a [u32]) -> AggregateInput<'a> {
        AggregateInput { args, groups, filter: None, weights: None }
    }

    #[test]
    fn a_sum_beyond_bigint_is_an_error_and_not_a_negative_number() {
        let mut kernel = sum(&DataType::Int64, &DataType::Int64).unwrap();
        kernel.resize(1);
        let args: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![i64::MAX, 1]))];
        let error = kernel.update(&input(&args, &[0, 0])).unwrap_err();
        assert_eq!(error.state(), SqlState::OutOfRange);
    }

    #[test]
    fn a_sum_of_only_filtered_rows_is_null() {
        let mut kernel = sum(&DataType::Int64, &DataType::Decimal128(38, 0)).unwrap();
        kernel.resize(2);
        let args: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![Some(5), None, Some(7)]))];
        let filter = BooleanArray::from(vec![Some(true), Some(true), None]);
        kernel
            .update(&AggregateInput { filter: Some(&filter), ..input(&args, &[0, 1, 1]) })
            .unwrap();
        let result = kernel.evaluate(&[0, 1]).unwrap();
        assert_eq!(result.as_primitive::<Decimal128Type>().value(0), 5);
        assert!(result.is_null(1));
    }

    #[test]
    fn what_doubles_hold_beside_their_cells_is_counted_as_it_comes_and_goes() {
        let mut kernel = sum(&DataType::Float64, &DataType::Float64).unwrap();
        kernel.resize(3);
        let empty = kernel.size();
        let args: [ArrayRef; 1] = [Arc::new(Float64Array::from(vec![1e300, 1.0, 1e-300, 2.0]))];
        kernel.update(&input(&args, &[0, 0, 0, 1])).unwrap();
        let one = kernel.size() - empty;
        assert!(one > 0);
        let mut other = kernel.copy(&[0, 1, 2]).unwrap();
        let cells = other.size() - one;
        other.merge(kernel.as_ref(), &[0], &[2], Place::After).unwrap();
        assert_eq!(other.size(), cells + 2 * one);
        other.clear(&[0, 2]);
        assert_eq!(other.size(), cells);
    }

    #[test]
    fn averages_are_rounded_half_away_from_zero() {
        let check =
            |sum, count, expect| assert_eq!(divided(sum, count, 10), Some(expect), "{sum}/{count}");
        check(1, 4, 3);
        check(-1, 4, -3);
        check(10, 4, 25);
        check(1, 3, 3);
        check(2, 3, 7);
        check(0, 5, 0);
        let (large, factor) = (i128::from(i64::MAX), 10i128.pow(16));
        assert_eq!(divided(large * 1000, 1000, factor), Some(large * factor));
        assert_eq!(divided(i128::MAX, 1, 10), None);
    }
}
