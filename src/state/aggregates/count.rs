//! count(*) and count(x).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;

use super::dense::{Dense, Fold};
use super::{AggregateInput, Kernel, mismatch};
use crate::error::Result;

#[derive(Clone)]
struct CountRows;

/// A kernel for count(*) and count(x).
pub fn count() -> Box<dyn Kernel> {
    Box::new(Dense::new(CountRows))
}

impl Fold for CountRows {
    type Cell = i64;
    const COLUMNS: usize = 1;

    fn update(&self, cells: &mut [i64], input: &AggregateInput<'_>) -> Result<usize> {
        let (mask, groups) = (input.mask(), input.groups);
        match (mask, input.weights, cells) {
            (None, None, [cell]) => *cell += groups.len() as i64,
            (Some(mask), None, [cell]) => *cell += (mask.len() - mask.null_count()) as i64,
            (None, None, cells) => groups.iter().for_each(|&g| cells[g as usize] += 1),
            (None, Some(weights), cells) => {
                groups.iter().zip(weights).for_each(|(&g, &w)| cells[g as usize] += w);
            }
            (Some(mask), weights, cells) => mask.inner().set_indices().for_each(|i| {
                cells[groups[i] as usize] += weights.map_or(1, |weights| weights[i]);
            }),
        }
        Ok(0)
    }

    fn merge(&self, into: &mut i64, other: &i64) -> Result<()> {
        *into += other;
        Ok(())
    }

    fn subtract(&self, from: &mut i64, other: &i64) -> Result<()> {
        *from -= other;
        Ok(())
    }

    fn write(&self, cells: &[&i64]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(cells)?])
    }

    fn read(&self, columns: &[ArrayRef]) -> Result<Vec<i64>> {
        counts(columns, 0)
    }

    fn finish(&self, cells: &[&i64]) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(cells.iter().map(|&&count| count))))
    }

    fn invertible(&self) -> bool {
        true
    }
}

/// A column of counts in a written state.
pub(super) fn counts(columns: &[ArrayRef], at: usize) -> Result<Vec<i64>> {
    let column = columns.get(at).and_then(|c| c.as_primitive_opt::<Int64Type>());
    Ok(column.ok_or_else(mismatch)?.values().to_vec())
}
