//! A change: rows with weights.

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, UInt64Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::record_batch::RecordBatch;

use crate::error::Result;

/// Rows that appear (+1) and go (−1). Append-only paths carry no weights.
#[derive(Debug, Clone)]
pub struct Delta {
    /// The rows.
    pub batch: RecordBatch,
    /// One weight per row, without NULLs; `None` means every row appears once.
    pub weights: Option<Int64Array>,
}

impl Delta {
    /// Rows that appear.
    pub fn insert(batch: RecordBatch) -> Self {
        Delta { batch, weights: None }
    }

    /// Rows with weights, as many as there are rows.
    pub fn new(batch: RecordBatch, weights: Int64Array) -> Self {
        assert_eq!(batch.num_rows(), weights.len(), "a delta has one weight per row");
        Delta { batch, weights: Some(weights) }
    }

    /// How many rows the batch has (not the sum of weights).
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there is no change.
    pub fn is_empty(&self) -> bool {
        self.batch.num_rows() == 0
    }

    /// The weight of one row.
    pub fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |w| w.value(row))
    }

    /// The rows of a weight above or below zero, each as often as its weight says.
    pub fn of_sign(&self, sign: i64) -> Result<RecordBatch> {
        let Some(weights) = &self.weights else {
            let rows = if sign > 0 { self.rows() } else { 0 };
            return Ok(self.batch.slice(0, rows));
        };
        let copies: UInt64Array = (0_u64..)
            .zip(weights.values())
            .filter(|(_, weight)| weight.signum() == sign)
            .flat_map(|(row, weight)| std::iter::repeat_n(row, weight.unsigned_abs() as usize))
            .collect();
        Ok(take_record_batch(&self.batch, &copies)?)
    }

    /// All rows, each as often as it appears or goes, and for each +1 or −1.
    pub fn spread(&self) -> Result<(RecordBatch, Int64Array)> {
        let (mut positions, mut signs) = (Vec::<u64>::new(), Vec::<i64>::new());
        for row in 0..self.rows() {
            let weight = self.weight(row);
            let times = usize::try_from(weight.unsigned_abs()).unwrap_or(usize::MAX);
            positions.extend(std::iter::repeat_n(row as u64, times));
            signs.extend(std::iter::repeat_n(weight.signum(), times));
        }
        let rows = take_record_batch(&self.batch, &UInt64Array::from(positions))?;
        Ok((rows, Int64Array::from(signs)))
    }

    /// The rows that pass.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Delta> {
        let batch = filter_record_batch(&self.batch, keep)?;
        let weights = match &self.weights {
            Some(weights) => {
                let kept: ArrayRef = arrow::compute::filter(weights, keep)?;
                kept.as_any().downcast_ref::<Int64Array>().cloned()
            }
            None => None,
        };
        Ok(Delta { batch, weights })
    }
}
