//! The functions of ASOF JOIN: one that says of a condition that it is that of such a join, and one that
//! looks for the last row before.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    ColumnarValue, Expr, PartitionEvaluator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, WindowFunctionDefinition, WindowUDF, WindowUDFImpl,
};

use crate::error::Error;
use crate::sql::ASOF;

/// The function that the condition of an ASOF join is the argument of.
pub(super) fn asof() -> ScalarUDF {
    ScalarUDF::from(Asof { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Asof {
    signature: Signature,
}

impl ScalarUDFImpl for Asof {
    fn name(&self) -> &str {
        ASOF
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(Error::internal("an ASOF JOIN is still there").into())
    }
}

/// The condition of an ASOF join.
pub(crate) fn asof_condition(filter: &Expr) -> Option<&Expr> {
    match filter {
        Expr::ScalarFunction(call) if call.func.inner().is::<Asof>() => call.args.first(),
        _ => None,
    }
}

const LAST: &str = "asof";

/// The value in the last row up to this one of which `is_there` is true; NULL before the first.
pub(crate) fn last_value_where(value: Expr, is_there: Expr) -> Expr {
    static FUNCTION: LazyLock<Arc<WindowUDF>> = LazyLock::new(|| {
        let signature = Signature::any(2, Volatility::Immutable);
        Arc::new(WindowUDF::from(LastWhere { signature }))
    });
    FUNCTION.call(vec![value, is_there])
}

/// Whether an expression of a window is such a value.
pub(crate) fn is_last_value_where(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_last_value_where(&alias.expr),
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::WindowUDF(function) => function.inner().is::<LastWhere>(),
            WindowFunctionDefinition::AggregateUDF(_) => false,
        },
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LastWhere {
    signature: Signature,
}

impl WindowUDFImpl for LastWhere {
    fn name(&self) -> &str {
        LAST
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Partition))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        match args.input_fields().first() {
            Some(value) => {
                let field = value.as_ref().clone().with_name(args.name()).with_nullable(true);
                Ok(Arc::new(field))
            }
            None => Err(Error::internal("the last value of nothing").into()),
        }
    }
}

#[derive(Debug)]
struct Partition;

impl PartitionEvaluator for Partition {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let [value, is_there] = values else {
            return Err(Error::internal("the last value of nothing").into());
        };
        let is_there = is_there.as_boolean();
        let mut last = None;
        let indices = (0..rows).map(|row| {
            if is_there.is_valid(row) && is_there.value(row) {
                last = u64::try_from(row).ok();
            }
            last
        });
        Ok(take(value, &indices.collect::<UInt64Array>(), None)?)
    }
}
