//! `round` of a double takes halves to the even neighbour, as IEEE 754 and so Postgres do; a numeric's halves go away from zero.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::math;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

pub(super) fn all() -> Vec<ScalarUDF> {
    vec![ScalarUDF::from(Round { inner: math::round().as_ref().clone() })]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Round {
    inner: ScalarUDF,
}

fn to_even(values: &ArrayRef) -> Option<ArrayRef> {
    Some(match values.data_type() {
        DataType::Float64 => {
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even))
        }
        DataType::Float32 => {
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round_ties_even))
        }
        _ => return None,
    })
}

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(
        &self,
        args: ReturnFieldArgs,
    ) -> Result<datafusion::arrow::datatypes::FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let [value] = args.args.as_slice() {
            let rounded = match value {
                ColumnarValue::Array(values) => to_even(values).map(ColumnarValue::Array),
                ColumnarValue::Scalar(value) => match to_even(&value.to_array()?) {
                    Some(values) => Some(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
                    None => None,
                },
            };
            if let Some(rounded) = rounded {
                return Ok(rounded);
            }
        }
        self.inner.invoke_with_args(args)
    }
}
