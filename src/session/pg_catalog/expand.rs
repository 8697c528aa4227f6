//! `expandarray(array)`: a list of rows `(x, n)`, an element and its number; what
//! `information_schema._pg_expandarray` is made of.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Error;

/// The function.
pub(crate) fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Expand { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Expand {
    signature: Signature,
}

fn columns(array: &DataType) -> DfResult<Fields> {
    match array {
        DataType::List(element) => Ok(Fields::from(vec![
            element.as_ref().clone().with_name("x").with_nullable(true),
            Field::new("n", DataType::Int32, true),
        ])),
        _ => Err(Error::internal("expandarray takes an array").into()),
    }
}

impl ScalarUDFImpl for Expand {
    fn name(&self) -> &str {
        "expandarray"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        let rows = columns(args.first().unwrap_or(&DataType::Null))?;
        Ok(DataType::new_list(DataType::Struct(rows), true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(list) = arrays.first().and_then(|array| array.as_list_opt::<i32>()) else {
            return Err(Error::internal("expandarray takes an array").into());
        };
        let offsets = list.offsets();
        let (first, end) = (offsets[0], offsets[offsets.len() - 1]);
        let elements = list.values().slice(first as usize, (end - first) as usize);
        let numbers: Int32Array =
            offsets.windows(2).flat_map(|pair| 1..=pair[1] - pair[0]).collect();
        let fields = columns(list.data_type())?;
        let rows = StructArray::try_new(fields.clone(), vec![elements, Arc::new(numbers)], None)?;
        let lengths = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
        let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
        let item = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
        let expanded: ArrayRef =
            Arc::new(ListArray::try_new(item, offsets, Arc::new(rows), list.nulls().cloned())?);
        Ok(ColumnarValue::Array(expanded))
    }
}
