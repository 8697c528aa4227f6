//! `mode() WITHIN GROUP (ORDER BY v)` (PostgreSQL manual, 9.21, table 9.62): the most frequent value, the
//! first one in the order of several. The aggregate is an array in this order, and what is here finds
//! the longest run of equal elements.

use std::sync::Arc;

use arrow::array::{Array, AsArray, UInt32Array};
use arrow::compute::{partition, take};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::scalar::over_columns;
use crate::error::Error;

/// What the function is called; nobody writes it.
pub(crate) const MODE_OF_SORTED: &str = "__mode_of_sorted";

pub(super) fn mode_of_sorted() -> ScalarUDF {
    ScalarUDF::from(ModeOfSorted { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ModeOfSorted {
    signature: Signature,
}

impl ScalarUDFImpl for ModeOfSorted {
    fn name(&self) -> &str {
        MODE_OF_SORTED
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::List(element)] => Ok(element.data_type().clone()),
            _ => Err(Error::internal("the mode of what is no array").into()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, args.number_rows, |columns, _| {
            let lists = columns[0].as_list::<i32>();
            let mut places: Vec<Option<u32>> = Vec::with_capacity(lists.len());
            for row in 0..lists.len() {
                if lists.is_null(row) || lists.value_length(row) == 0 {
                    places.push(None);
                    continue;
                }
                let runs = partition(&[lists.value(row)])?.ranges();
                // Of equal ones `max_by_key` takes the last.
                let longest = runs.into_iter().rev().max_by_key(|run| run.len());
                let first = longest.map_or(0, |run| run.start);
                places.push(Some(lists.value_offsets()[row] as u32 + first as u32));
            }
            Ok(Arc::new(take(lists.values(), &UInt32Array::from(places), None)?))
        })
    }
}
