//! min and max of arrays: in Postgres's order, in which a NULL among the elements is behind all others.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::collect::scalar_at;
use super::compared::ElementKeys;

/// The least or greatest array of a group.
#[derive(Debug)]
pub(super) struct ExtremeArray {
    is_max: bool,
    data_type: DataType,
    found: Option<ScalarValue>,
}

impl ExtremeArray {
    pub(super) fn new(is_max: bool, data_type: DataType) -> ExtremeArray {
        ExtremeArray { is_max, data_type, found: None }
    }

    fn typed(&self) -> Result<ScalarValue> {
        match &self.found {
            Some(found) => Ok(found.clone()),
            None => ScalarValue::try_from(&self.data_type),
        }
    }
}

impl Accumulator for ExtremeArray {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [arrays] = values else { return Ok(()) };
        let known = self.typed()?.to_array()?;
        let keys = ElementKeys::new(&[arrays, &known])?;
        let mut best = self.found.is_some().then_some((1, 0));
        for row in (0..arrays.len()).filter(|row| arrays.is_valid(*row)) {
            let is_better = best.is_none_or(|best| {
                if self.is_max {
                    keys.compare((0, row), best).is_gt()
                } else {
                    keys.compare((0, row), best).is_lt()
                }
            });
            if is_better {
                best = Some((0, row));
            }
        }
        if let Some((0, row)) = best {
            // A row of its own, not a part of the batch.
            let one = arrow::compute::take(
                arrays,
                &arrow::array::UInt64Array::from(vec![row as u64]),
                None,
            )?;
            self.found = Some(scalar_at(&one, 0)?);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.typed()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.found.as_ref().map_or(0, ScalarValue::size)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.typed()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
