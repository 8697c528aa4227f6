//! What is different between two multisets of rows.

use std::collections::HashMap;

use arrow::array::Int64Array;
use arrow::compute::interleave_record_batch;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};

use super::Delta;
use crate::error::Result;

/// Which of the old rows are not among the new ones, and which of the new ones are not among the
/// old; each row counts as often as it is there. Of equal old rows the first are matched.
fn difference(old: &RecordBatch, new: &RecordBatch) -> Result<(Vec<usize>, Vec<usize>)> {
    if old.num_rows() == 0 || new.num_rows() == 0 {
        return Ok(((0..old.num_rows()).collect(), (0..new.num_rows()).collect()));
    }
    let types = old.schema();
    let fields = types.fields().iter().map(|f| SortField::new(f.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let (before, after) =
        (converter.convert_columns(old.columns())?, converter.convert_columns(new.columns())?);
    let mut there: HashMap<&[u8], Vec<usize>> = HashMap::with_capacity(old.num_rows());
    for row in (0..old.num_rows()).rev() {
        there.entry(before.row(row).data()).or_default().push(row);
    }
    let mut come = Vec::new();
    for row in 0..new.num_rows() {
        if there.get_mut(after.row(row).data()).and_then(Vec::pop).is_none() {
            come.push(row);
        }
    }
    let mut gone: Vec<usize> = there.into_values().flatten().collect();
    gone.sort_unstable();
    Ok((gone, come))
}

/// From the old rows to the new ones: the rows that go, with −1, and then those that come. Beside it
/// which of the old rows go. Both have the same columns.
pub fn change(old: &RecordBatch, new: &RecordBatch) -> Result<(Delta, Vec<usize>)> {
    if old.num_rows() == 0 {
        return Ok((Delta::insert(new.clone()), Vec::new()));
    }
    let (gone, come) = difference(old, new)?;
    let picks: Vec<(usize, usize)> =
        gone.iter().map(|row| (0, *row)).chain(come.iter().map(|row| (1, *row))).collect();
    if picks.is_empty() {
        return Ok((Delta::insert(new.slice(0, 0)), gone));
    }
    let weights = Int64Array::from_iter_values(
        std::iter::repeat_n(-1, gone.len()).chain(std::iter::repeat_n(1, come.len())),
    );
    Ok((Delta::new(interleave_record_batch(&[old, new], &picks)?, weights), gone))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn rows(values: &[Option<i64>]) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("v", column)]).unwrap()
    }

    #[test]
    fn each_row_counts_as_often_as_it_is_there() {
        let old = rows(&[Some(1), None, Some(1), Some(2), Some(1)]);
        let new = rows(&[None, Some(3), Some(1), None]);
        assert_eq!(difference(&old, &new).unwrap(), (vec![2, 3, 4], vec![1, 3]));
        assert_eq!(difference(&old, &old).unwrap(), (vec![], vec![]));
        assert_eq!(difference(&rows(&[]), &new).unwrap(), (vec![], vec![0, 1, 2, 3]));
    }
}
