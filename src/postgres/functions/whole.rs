//! `ceil`, `floor` and `trunc` of a numeric have no digits behind the point: 2, where DataFusion
//! says 2.0.

use std::sync::Arc;

use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::functions::math;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::scalar::as_inner;

pub(crate) fn all() -> Vec<ScalarUDF> {
    let whole = |inner: Arc<ScalarUDF>| ScalarUDF::from(Whole { inner: inner.as_ref().clone() });
    vec![whole(math::ceil()), whole(math::floor()), whole(math::trunc())]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Whole {
    inner: ScalarUDF,
}

/// Without a scale, if it has one.
fn whole(of: DataType) -> DataType {
    match of {
        DataType::Decimal128(precision, 1..) => DataType::Decimal128(precision, 0),
        DataType::Decimal256(precision, 1..) => DataType::Decimal256(precision, 0),
        other => other,
    }
}

impl ScalarUDFImpl for Whole {
    as_inner!(inner);

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let of = self.inner.return_type(types)?;
        // trunc(x, 2) has digits behind the point.
        Ok(if types.len() == 1 { whole(of) } else { of })
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.return_type().clone();
        let types: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        let field =
            args.return_field.as_ref().clone().with_data_type(self.inner.return_type(&types)?);
        args.return_field = Arc::new(field);
        Ok(match self.inner.invoke_with_args(args)? {
            ColumnarValue::Array(array) => ColumnarValue::Array(cast(&array, &wanted)?),
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.cast_to(&wanted)?),
        })
    }
}
