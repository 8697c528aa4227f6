//! The mark on a cast (see [`crate::postgres::syntax::casts`]): a function that gives its argument
//! back.

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::error::Error;
use crate::postgres::syntax::casts::MARK_FUNCTION;

/// The function.
pub(crate) fn marked() -> ScalarUDF {
    ScalarUDF::from(Marked { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Marked {
    signature: Signature,
}

impl ScalarUDFImpl for Marked {
    fn name(&self) -> &str {
        MARK_FUNCTION
    }

    /// The cast itself has no name: `v::int` is `v` and its mark.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match args {
            [value, Expr::Literal(kind, _)] => format!("{}::{kind}", value.schema_name()),
            _ => MARK_FUNCTION.to_owned(),
        })
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.first().map_or_else(|| MARK_FUNCTION.to_owned(), |value| value.to_string()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| Error::internal("a mark on nothing").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields.first() {
            Some(field) => Ok(FieldRef::new(Field::clone(field).with_name(MARK_FUNCTION))),
            None => Err(Error::internal("a mark on nothing").into()),
        }
    }

    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(if args.is_empty() {
            ExprSimplifyResult::Original(args)
        } else {
            ExprSimplifyResult::Simplified(args.swap_remove(0))
        })
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if args.args.is_empty() {
            Err(Error::internal("a mark on nothing").into())
        } else {
            Ok(args.args.swap_remove(0))
        }
    }
}
