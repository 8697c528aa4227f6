//! variance, stddev, covar, corr and regr: from exact sums of x, x², y, y² and xy.
//!
//! The textbook formula `n·Σxy − Σx·Σy` loses all digits where the mean is large, if its sums are
//! rounded. Here they are not: the sums are exact, so is the difference, and only that is rounded,
//! once. So neither order nor batches nor deletions show in a result, and its error is that of the
//! one or two divisions and roots after it, some 1e-16 of it. Postgres's own (Youngs and Cramer's
//! updates of a running mean) loses a little at every row: it agrees in some 13 to 15 digits, fewer
//! where values lie close together far from zero.
//!
//! Squares below 1e-290 are rounded each for itself. Squares and products beyond the largest double
//! are 22003, as in Postgres.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, UInt64Array};
use arrow::datatypes::{DataType, Float64Type};

use super::count::counts;
use super::dense::{Dense, Fold};
use super::number::{RunningSum, read};
use super::{AggregateInput, Kernel};
use crate::error::{Error, Result, SqlState};
use crate::state::exact::ExactSum;

/// A square of a double has twice its bits: three doubles hold sums of them.
type ProductSum = ExactSum<3>;

/// What is computed from the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statistic {
    VarPop,
    VarSamp,
    StddevPop,
    StddevSamp,
    CovarPop,
    CovarSamp,
    Corr,
    RegrCount,
    RegrAvgX,
    RegrAvgY,
    RegrSxx,
    RegrSyy,
    RegrSxy,
    RegrSlope,
    RegrIntercept,
    RegrR2,
}

impl Statistic {
    /// By DataFusion's name of the function, and the number of its arguments.
    fn of(name: &str, arguments: usize) -> Option<Statistic> {
        Some(match (name, arguments) {
            ("var_pop", 1) => Statistic::VarPop,
            ("var" | "var_samp", 1) => Statistic::VarSamp,
            ("stddev_pop", 1) => Statistic::StddevPop,
            ("stddev" | "stddev_samp", 1) => Statistic::StddevSamp,
            ("covar_pop", 2) => Statistic::CovarPop,
            ("covar_samp", 2) => Statistic::CovarSamp,
            ("corr", 2) => Statistic::Corr,
            ("regr_count", 2) => Statistic::RegrCount,
            ("regr_avgx", 2) => Statistic::RegrAvgX,
            ("regr_avgy", 2) => Statistic::RegrAvgY,
            ("regr_sxx", 2) => Statistic::RegrSxx,
            ("regr_syy", 2) => Statistic::RegrSyy,
            ("regr_sxy", 2) => Statistic::RegrSxy,
            ("regr_slope", 2) => Statistic::RegrSlope,
            ("regr_intercept", 2) => Statistic::RegrIntercept,
            ("regr_r2", 2) => Statistic::RegrR2,
            _ => return None,
        })
    }
}

/// A kernel for one of these functions over doubles. Functions of two arguments are over (y, x), as
/// in SQL.
pub fn of(name: &str, arguments: &[DataType], result: &DataType) -> Option<Box<dyn Kernel>> {
    if arguments.iter().any(|argument| *argument != DataType::Float64) {
        return None;
    }
    let statistic = Statistic::of(name, arguments.len())?;
    let result = result.clone();
    Some(match arguments.len() {
        1 => Box::new(Dense::new(Moments::<ONE> { statistic, result })),
        _ => Box::new(Dense::new(Moments::<TWO> { statistic, result })),
    })
}

/// Sums over one argument: x, x².
const ONE: usize = 2;
/// Sums over two: x, x², y, y², xy.
const TWO: usize = 5;

const X: usize = 0;
const XX: usize = 1;
const Y: usize = 2;
const YY: usize = 3;
const XY: usize = 4;

#[derive(Clone)]
struct Moments<const SUMS: usize> {
    statistic: Statistic,
    result: DataType,
}

/// The sums over a group, and how many rows are in them.
#[derive(Clone)]
struct PowerSums<const SUMS: usize> {
    count: i64,
    sums: [ProductSum; SUMS],
}

impl<const SUMS: usize> Default for PowerSums<SUMS> {
    fn default() -> Self {
        PowerSums { count: 0, sums: std::array::from_fn(|_| ProductSum::default()) }
    }
}

fn overflow() -> Error {
    Error::new(SqlState::OutOfRange, "value out of range: overflow")
}

impl<const SUMS: usize> PowerSums<SUMS> {
    fn add(&mut self, x: f64, y: f64, times: i64) -> Result<usize> {
        self.count += times;
        let mut heap = self.add_value(X, x, times)?;
        if SUMS == TWO {
            heap += self.add_value(Y, y, times)?;
            heap += self.add_product(XY, x, y, times)?;
        }
        Ok(heap)
    }

    fn add_value(&mut self, at: usize, value: f64, times: i64) -> Result<usize> {
        Ok(self.sums[at].add_times(value, times) + self.add_product(at + 1, value, value, times)?)
    }

    fn add_product(&mut self, at: usize, a: f64, b: f64, times: i64) -> Result<usize> {
        if !(a * b).is_finite() && a.is_finite() && b.is_finite() {
            return Err(overflow());
        }
        Ok(self.sums[at].add_product(a, b, times))
    }

    /// `n²` times the population's covariance of two of the values, or variance of one: `n·Σab −
    /// Σa·Σb`, rounded once.
    fn scatter(&self, ab: usize, a: usize, b: usize) -> f64 {
        let [ab, a, b] = [ab, a, b].map(|at| self.sums[at].parts());
        if [&ab, &a, &b].into_iter().flatten().any(|part| !part.is_finite()) {
            return f64::NAN;
        }
        let mut difference = ExactSum::<4>::default();
        for part in ab {
            difference.add_product(part, self.count as f64, 1);
        }
        for a in a {
            for b in &b {
                difference.add_product(a, *b, -1);
            }
        }
        difference.value()
    }
}

/// `a / sqrt(b · c)`, also where the product has no room.
fn over_root(a: f64, b: f64, c: f64) -> f64 {
    let product = b * c;
    if product.is_normal() { a / product.sqrt() } else { a / b.sqrt() / c.sqrt() }
}

impl<const SUMS: usize> Moments<SUMS> {
    /// The result of a group of at least one row; `None` where there is none, as in Postgres.
    fn value(&self, sums: &PowerSums<SUMS>) -> Option<f64> {
        let n = sums.count as f64;
        // n · (n − 1), or NULL for the one row that has no deviation.
        let sample = (sums.count > 1).then_some(n * (n - 1.0));
        let xx = || sums.scatter(XX, X, X);
        let yy = || sums.scatter(YY, Y, Y);
        let xy = || sums.scatter(XY, X, Y);
        // Points above each other have no slope.
        let slope = || Some(xx()).filter(|&xx| xx != 0.0).map(|xx| xy() / xx);
        Some(match self.statistic {
            Statistic::VarPop => xx() / (n * n),
            Statistic::VarSamp => xx() / sample?,
            Statistic::StddevPop => (xx() / (n * n)).sqrt(),
            Statistic::StddevSamp => (xx() / sample?).sqrt(),
            Statistic::CovarPop => xy() / (n * n),
            Statistic::CovarSamp => xy() / sample?,
            Statistic::Corr => match (xx(), yy()) {
                (0.0, _) | (_, 0.0) => return None,
                (xx, yy) => over_root(xy(), xx, yy),
            },
            Statistic::RegrCount => n,
            Statistic::RegrAvgX => sums.sums[X].value() / n,
            Statistic::RegrAvgY => sums.sums[Y].value() / n,
            Statistic::RegrSxx => xx() / n,
            Statistic::RegrSyy => yy() / n,
            Statistic::RegrSxy => xy() / n,
            Statistic::RegrSlope => slope()?,
            Statistic::RegrIntercept => {
                (sums.sums[Y].value() - sums.sums[X].value() * slope()?) / n
            }
            Statistic::RegrR2 => match (xx(), yy()) {
                (0.0, _) => return None,
                (_, 0.0) => 1.0,
                (xx, yy) => {
                    let (square, product) = (xy() * xy(), xx * yy);
                    let fits = square.is_normal() && product.is_normal();
                    if fits { square / product } else { over_root(xy(), xx, yy).powi(2) }
                }
            },
        })
    }
}

impl<const SUMS: usize> Fold for Moments<SUMS> {
    type Cell = PowerSums<SUMS>;
    /// The count, and a column for each sum.
    const COLUMNS: usize = 1 + SUMS;

    fn update(&self, cells: &mut [Self::Cell], input: &AggregateInput<'_>) -> Result<usize> {
        // Of two arguments the first is y.
        let x = input.values::<Float64Type>(input.args.len().saturating_sub(1))?.values();
        let y = input.values::<Float64Type>(0)?.values();
        let mask = input.mask();
        let mut heap = 0;
        for (row, &group) in input.groups.iter().enumerate() {
            if mask.as_ref().is_none_or(|mask| mask.is_valid(row)) {
                let times = input.weights.map_or(1, |weights| weights[row]);
                heap += cells[group as usize].add(x[row], y[row], times)?;
            }
        }
        Ok(heap)
    }

    fn merge(&self, into: &mut Self::Cell, other: &Self::Cell) -> Result<()> {
        into.count += other.count;
        into.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| sum.merge(more));
        Ok(())
    }

    fn subtract(&self, from: &mut Self::Cell, other: &Self::Cell) -> Result<()> {
        from.count -= other.count;
        from.sums.iter_mut().zip(&other.sums).for_each(|(sum, less)| sum.subtract(less));
        Ok(())
    }

    fn write(&self, cells: &[&Self::Cell]) -> Result<Vec<ArrayRef>> {
        let counts = Int64Array::from_iter_values(cells.iter().map(|cell| cell.count));
        let sums =
            (0..SUMS).map(|at| ProductSum::write_all(cells.iter().map(|cell| &cell.sums[at])));
        [Ok(Arc::new(counts) as ArrayRef)].into_iter().chain(sums).collect()
    }

    fn read(&self, columns: &[ArrayRef]) -> Result<Vec<Self::Cell>> {
        let cells = counts(columns, 0)?.into_iter();
        let mut cells: Vec<_> =
            cells.map(|count| PowerSums { count, ..PowerSums::default() }).collect();
        for at in 0..SUMS {
            let sums = read::<ProductSum>(columns, 1 + at)?;
            cells.iter_mut().zip(sums).for_each(|(cell, sum)| cell.sums[at] = sum);
        }
        Ok(cells)
    }

    fn finish(&self, cells: &[&Self::Cell]) -> Result<ArrayRef> {
        if self.statistic == Statistic::RegrCount && self.result == DataType::UInt64 {
            let counts = cells.iter().map(|cell| cell.count.unsigned_abs());
            return Ok(Arc::new(UInt64Array::from_iter_values(counts)));
        }
        let value = |cell: &Self::Cell| {
            let value = if cell.count == 0 { None } else { self.value(cell) };
            // Only what was no number before may be none in the result.
            let allowed =
                |value: f64| value.is_finite() || cell.sums.iter().any(|sum| sum.has_special());
            if value.is_none_or(allowed) { Ok(value) } else { Err(overflow()) }
        };
        let values = cells.iter().map(|cell| value(cell)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Float64Array::from(values)))
    }

    fn invertible(&self) -> bool {
        true
    }

    fn heap(cell: &Self::Cell) -> usize {
        cell.sums.iter().map(ExactSum::heap).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};

    fn made(name: &str, arguments: usize) -> Box<dyn Kernel> {
        let mut kernel = of(name, &vec![DataType::Float64; arguments], &DataType::Float64).unwrap();
        kernel.resize(1);
        kernel
    }

    fn take_in(
        kernel: &mut dyn Kernel,
        rows: &[(f64, f64)],
        weights: Option<&[i64]>,
    ) -> Result<()> {
        let column = |f: fn(&(f64, f64)) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(rows.iter().map(f)))
        };
        let args = [column(|row| row.0), column(|row| row.1)];
        // A count and two or five sums.
        let count = kernel.state_columns() / 3;
        let groups = vec![0; rows.len()];
        kernel.update(&AggregateInput {
            args: &args[..count],
            groups: &groups,
            filter: None,
            weights,
        })
    }

    fn shown(kernel: &dyn Kernel) -> Option<u64> {
        let result = kernel.evaluate(&[0]).unwrap();
        let result = result.as_primitive::<Float64Type>();
        result.is_valid(0).then(|| result.value(0).to_bits())
    }

    const NAMES: [(&str, usize); 15] = [
        ("var_pop", 1),
        ("var", 1),
        ("stddev_pop", 1),
        ("stddev", 1),
        ("covar_pop", 2),
        ("covar_samp", 2),
        ("corr", 2),
        ("regr_avgx", 2),
        ("regr_avgy", 2),
        ("regr_sxx", 2),
        ("regr_syy", 2),
        ("regr_sxy", 2),
        ("regr_slope", 2),
        ("regr_intercept", 2),
        ("regr_r2", 2),
    ];

    #[test]
    fn values_close_together_far_from_zero_keep_their_deviation() {
        let rows: Vec<(f64, f64)> = [1.0, 2.0, 3.0, 4.0].map(|v| (1e15 + v, v)).to_vec();
        for (name, arguments, expect) in
            [("var", 1, 5.0 / 3.0), ("var_pop", 1, 1.25), ("corr", 2, 1.0), ("regr_slope", 2, 1.0)]
        {
            let mut kernel = made(name, arguments);
            take_in(kernel.as_mut(), &rows, None).unwrap();
            assert_eq!(shown(kernel.as_ref()).map(f64::from_bits), Some(expect), "{name}");
        }
    }

    #[test]
    fn neither_splits_nor_order_nor_deletions_show() {
        let row = |i: u32| {
            let (x, y) =
                (f64::from(i * 7919 % 1009) / 7.0 - 50.0, f64::from(i * 104_729 % 2003) * 0.1);
            (x * 10_f64.powi(i as i32 % 40 - 20), y)
        };
        let rows: Vec<(f64, f64)> = (0..300).map(row).collect();
        for (name, arguments) in NAMES {
            let mut whole = made(name, arguments);
            take_in(whole.as_mut(), &rows, None).unwrap();
            let expect = shown(whole.as_ref());
            assert!(expect.is_some(), "{name}");
            let mut parts = made(name, arguments);
            let stranger = (1e100, f64::NAN);
            take_in(parts.as_mut(), &[stranger, rows[0], rows[0]], Some(&[1, 3, -1])).unwrap();
            for chunk in rows.rchunks(7) {
                let mut part = parts.empty();
                part.resize(1);
                take_in(part.as_mut(), chunk, None).unwrap();
                parts.merge_states(&part.states(&[0]).unwrap(), &[0]).unwrap();
            }
            take_in(parts.as_mut(), &[stranger, rows[0]], Some(&[-1, -2])).unwrap();
            assert_eq!(shown(parts.as_ref()), expect, "{name}");
            parts.subtract(whole.as_ref(), &[0], &[0]).unwrap();
            assert_eq!(shown(parts.as_ref()), None, "{name}");
        }
    }

    #[test]
    fn a_square_beyond_the_largest_double_is_an_error_and_nan_is_not() {
        let mut kernel = made("var_pop", 1);
        let error = take_in(kernel.as_mut(), &[(1e200, 0.0)], None).unwrap_err();
        assert_eq!(error.state(), SqlState::OutOfRange);
        for special in [f64::NAN, f64::INFINITY] {
            let mut kernel = made("var_pop", 1);
            take_in(kernel.as_mut(), &[(special, 0.0), (1.0, 0.0)], None).unwrap();
            assert!(f64::from_bits(shown(kernel.as_ref()).unwrap()).is_nan());
        }
    }

    #[test]
    fn a_single_row_has_no_sample_deviation_and_points_above_each_other_no_slope() {
        let check = |name, arguments, rows: &[(f64, f64)], expect: Option<f64>| {
            let mut kernel = made(name, arguments);
            take_in(kernel.as_mut(), rows, None).unwrap();
            assert_eq!(shown(kernel.as_ref()).map(f64::from_bits), expect, "{name}");
        };
        check("var", 1, &[(3.0, 0.0)], None);
        check("var_pop", 1, &[(3.0, 0.0)], Some(0.0));
        check("var_pop", 1, &[], None);
        check("covar_samp", 2, &[(3.0, 1.0)], None);
        check("regr_slope", 2, &[(3.0, 1.0), (4.0, 1.0)], None);
        check("regr_r2", 2, &[(3.0, 1.0), (3.0, 2.0)], Some(1.0));
        check("corr", 2, &[(3.0, 1.0), (3.0, 2.0)], None);
        check("regr_intercept", 2, &[(3.0, 1.0), (5.0, 2.0)], Some(1.0));
    }
}
