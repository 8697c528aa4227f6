//! variance and stddev of exact numbers: numerics, with the digits that Postgres gives them.
//!
//! Exact sums of x and x², so `n·Σx² − (Σx)²` is exact as well; the one quotient after it is rounded as any
//! of numerics is, and a root to as many places.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, Decimal256Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Int64Type, i256};

use super::count::counts;
use super::dense::{Dense, Fold};
use super::number::{RunningSum, read};
use super::{AggregateInput, Kernel, mismatch};
use crate::error::{Error, Result, SqlState};
use crate::types::decimal::{self, Decimal, power};
use crate::types::transcendental::root;

/// A kernel for one of these functions over integers and numerics.
pub fn of(name: &str, input: &DataType, result: &DataType) -> Option<Box<dyn Kernel>> {
    let (is_of_sample, is_root) = match name {
        "var" | "var_samp" => (true, false),
        "var_pop" => (false, false),
        "stddev" | "stddev_samp" => (true, true),
        "stddev_pop" => (false, true),
        _ => return None,
    };
    let DataType::Decimal256(..) = result else { return None };
    let (input, result) = (input.clone(), result.clone());
    let is_exact = matches!(input, DataType::Int64) || input.is_decimal();
    let spread = Spread { is_of_sample, is_root, input, result };
    is_exact.then(|| Box::new(Dense::new(spread)) as Box<dyn Kernel>)
}

#[derive(Clone)]
struct Spread {
    is_of_sample: bool,
    is_root: bool,
    input: DataType,
    result: DataType,
}

/// The sums over a group: of values with so many places, and of their squares with twice as many.
#[derive(Clone, Default)]
struct ExactPowerSums {
    count: i64,
    places: i8,
    sum: i256,
    squares: i256,
}

fn overflow() -> Error {
    Error::new(SqlState::OutOfRange, "value overflows numeric format")
}

/// The number with so many places more.
fn widened(value: i256, places: i8) -> Option<i256> {
    if places == 0 { Some(value) } else { value.checked_mul(power(places.try_into().ok()?)?) }
}

impl ExactPowerSums {
    /// Makes room for so many places.
    fn widen(&mut self, places: i8) -> Option<()> {
        if places > self.places {
            let more = places - self.places;
            self.sum = widened(self.sum, more)?;
            self.squares = widened(self.squares, more.checked_mul(2)?)?;
            self.places = places;
        }
        Some(())
    }

    fn add(&mut self, value: Decimal, times: i64) -> Option<()> {
        self.widen(value.scale)?;
        let value = widened(value.value, self.places - value.scale)?;
        let times_value = value.checked_mul(i256::from_i128(times.into()))?;
        self.count += times;
        self.sum = self.sum.checked_add(times_value)?;
        self.squares = self.squares.checked_add(value.checked_mul(times_value)?)?;
        Some(())
    }

    fn merge(&mut self, other: &Self, sign: i64) -> Option<()> {
        let mut other = other.clone();
        self.widen(other.places)?;
        other.widen(self.places)?;
        let sign_of = i256::from_i128(sign.into());
        self.count += sign * other.count;
        self.sum = self.sum.checked_add(other.sum.checked_mul(sign_of)?)?;
        self.squares = self.squares.checked_add(other.squares.checked_mul(sign_of)?)?;
        Some(())
    }

    /// `n·Σx² − (Σx)²`.
    fn scatter(&self) -> Option<Decimal> {
        let count = i256::from_i128(self.count.into());
        let square = self.sum.checked_mul(self.sum)?;
        let scatter = count.checked_mul(self.squares)?.checked_sub(square)?;
        Some(Decimal::new(scatter, self.places.checked_mul(2)?))
    }
}

impl Spread {
    fn take_in<T: ArrowPrimitiveType>(
        cells: &mut [ExactPowerSums],
        input: &AggregateInput<'_>,
        value: impl Fn(T::Native) -> Decimal,
    ) -> Result<usize> {
        let values = input.values::<T>(0)?.values();
        let mask = input.mask();
        for (row, &group) in input.groups.iter().enumerate() {
            if mask.as_ref().is_none_or(|mask| mask.is_valid(row)) {
                let times = input.weights.map_or(1, |weights| weights[row]);
                let cell = &mut cells[group as usize];
                cell.add(value(values[row]), times).ok_or_else(overflow)?;
            }
        }
        Ok(0)
    }

    /// The result of a group, None where there is none.
    fn value(&self, sums: &ExactPowerSums) -> Result<Option<i256>> {
        let least = if self.is_of_sample { 2 } else { 1 };
        if sums.count < least {
            return Ok(None);
        }
        let places = match self.result {
            DataType::Decimal256(_, places) => places,
            _ => return Err(mismatch()),
        };
        let count = i128::from(sums.count);
        let of = count * if self.is_of_sample { count - 1 } else { count };
        let scatter = sums.scatter().ok_or_else(overflow)?;
        if scatter.value == i256::ZERO {
            return Ok(Some(i256::ZERO));
        }
        let quotient = decimal::divided(scatter, Decimal::new(i256::from_i128(of), 0));
        let quotient = quotient.map_err(|_| overflow())?;
        let value = if self.is_root { root(quotient).map_err(|_| overflow())? } else { quotient };
        value.rescaled(places).map(Some).map_err(|_| overflow())
    }
}

impl Fold for Spread {
    type Cell = ExactPowerSums;
    /// The count, the places and both sums.
    const COLUMNS: usize = 4;

    fn update(&self, cells: &mut [Self::Cell], input: &AggregateInput<'_>) -> Result<usize> {
        match self.input {
            DataType::Int64 => Self::take_in::<Int64Type>(cells, input, |value| {
                Decimal::new(i256::from_i128(value.into()), 0)
            }),
            DataType::Decimal128(_, scale) => {
                Self::take_in::<Decimal128Type>(cells, input, |value| {
                    Decimal::new(i256::from_i128(value), scale)
                })
            }
            // Those without a scale have the places that they need.
            DataType::Decimal256(_, scale) => {
                Self::take_in::<Decimal256Type>(cells, input, |value| {
                    Decimal::new(value, scale).trimmed()
                })
            }
            _ => Err(mismatch()),
        }
    }

    fn merge(&self, into: &mut Self::Cell, other: &Self::Cell) -> Result<()> {
        into.merge(other, 1).ok_or_else(overflow)
    }

    fn subtract(&self, from: &mut Self::Cell, other: &Self::Cell) -> Result<()> {
        from.merge(other, -1).ok_or_else(overflow)
    }

    fn write(&self, cells: &[&Self::Cell]) -> Result<Vec<ArrayRef>> {
        let counts = Int64Array::from_iter_values(cells.iter().map(|cell| cell.count));
        let places = Int64Array::from_iter_values(cells.iter().map(|cell| cell.places.into()));
        Ok(vec![
            Arc::new(counts),
            Arc::new(places),
            i256::write_all(cells.iter().map(|cell| &cell.sum))?,
            i256::write_all(cells.iter().map(|cell| &cell.squares))?,
        ])
    }

    fn read(&self, columns: &[ArrayRef]) -> Result<Vec<Self::Cell>> {
        let (all, places) = (counts(columns, 0)?, counts(columns, 1)?);
        let (sums, squares) = (read::<i256>(columns, 2)?, read::<i256>(columns, 3)?);
        let cells = all.into_iter().zip(places).zip(sums.into_iter().zip(squares));
        cells
            .map(|((count, places), (sum, squares))| {
                let places = i8::try_from(places).map_err(|_| mismatch())?;
                Ok(ExactPowerSums { count, places, sum, squares })
            })
            .collect()
    }

    fn finish(&self, cells: &[&Self::Cell]) -> Result<ArrayRef> {
        let values = cells.iter().map(|cell| self.value(cell)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Decimal256Array::from(values).with_data_type(self.result.clone())))
    }

    fn invertible(&self) -> bool {
        true
    }
}
