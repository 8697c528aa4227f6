//! `round` of a double takes halves to the even neighbour, as IEEE 754 and so Postgres do; a
//! numeric's halves go away from zero.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF, Signature, Volatility};

use super::scalar::Scalar;

/// `round(x)` where x is a double or real; `None` for all other calls.
pub fn round_double(call: &ScalarFunction, schema: &datafusion::common::DFSchema) -> Option<Expr> {
    let [value] = call.args.as_slice() else { return None };
    let is_double = matches!(value.get_type(schema), Ok(DataType::Float64 | DataType::Float32));
    (call.func.name() == "round" && is_double).then(|| to_even().call(call.args.clone()))
}

fn to_even() -> ScalarUDF {
    ScalarUDF::from(Scalar {
        name: "round_to_even",
        aliases: vec![],
        signature: Signature::any(1, Volatility::Immutable),
        out: DataType::Float64,
        call: |args, _| {
            let values = cast(&args[0], &DataType::Float64)?;
            let rounded =
                values.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even);
            Ok(Arc::new(rounded))
        },
    })
}
