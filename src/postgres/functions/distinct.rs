//! An aggregate over DISTINCT values, whatever the aggregate: the values with how often each is
//! there.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::sort;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::utils::format_state_name;

use crate::error::Error;

/// One group that counts each value once: the values, and how often each one is there.
#[derive(Debug)]
pub(super) struct Distinct {
    seen: HashMap<ScalarValue, i64>,
    input: DataType,
    /// Empty, for adding up at the end.
    inner: Box<dyn Accumulator>,
}

impl Distinct {
    /// Over an accumulator that has seen nothing, and can take values out again.
    pub(super) fn new(input: DataType, inner: Box<dyn Accumulator>) -> Distinct {
        Distinct { seen: HashMap::new(), input, inner }
    }

    /// The field of its state.
    pub(super) fn state_field(name: &str, input: &DataType) -> FieldRef {
        let item = Field::new_list_field(input.clone(), true);
        Arc::new(Field::new_list(format_state_name(name, "values"), item, true))
    }

    /// In order: what is written must not depend on the order of a hash table.
    fn values(&self) -> Result<ArrayRef> {
        if self.seen.is_empty() {
            Ok(arrow::array::new_empty_array(&self.input))
        } else {
            Ok(sort(&ScalarValue::iter_to_array(self.seen.keys().cloned())?, None)?)
        }
    }

    fn change(&mut self, array: &ArrayRef, by: i64) -> Result<()> {
        for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
            let value = ScalarValue::try_from_array(array, row)?;
            let times = self.seen.entry(value).or_insert(0);
            *times += by;
            if *times <= 0 {
                let value = ScalarValue::try_from_array(array, row)?;
                self.seen.remove(&value);
            }
        }
        Ok(())
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        self.change(&arrays[0], 1)
    }

    fn retract_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        self.change(&arrays[0], -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values = [self.values()?];
        self.inner.update_batch(&values)?;
        let result = self.inner.evaluate();
        self.inner.retract_batch(&values)?;
        result
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = self.values()?;
        let values = (0..values.len()).map(|row| ScalarValue::try_from_array(&values, row));
        let values = values.collect::<Result<Vec<_>>>()?;
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.input))])
    }

    fn merge_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        let lists = arrays[0].as_any().downcast_ref::<arrow::array::ListArray>();
        let lists =
            lists.ok_or_else(|| Error::internal("a state of a distinct sum that is none"))?;
        for list in lists.iter().flatten() {
            self.change(&list, 1)?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.seen.capacity() * (size_of::<ScalarValue>() + 16)
    }
}
