//! `named_row('a', x, 'b', y)`, which nobody can write: a row whose fields have names, and the types of what they hold.
//!
//! DataFusion's `named_struct` knows Arrow's types alone: JSON in it is a text.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::scalar::over_columns;
use crate::error::Error;

/// What it is called.
pub const NAMED_ROW: &str = "\u{1}named_row";

pub(super) fn named_row() -> ScalarUDF {
    ScalarUDF::from(NamedRow { signature: Signature::variadic_any(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NamedRow {
    signature: Signature,
}

impl ScalarUDFImpl for NamedRow {
    fn name(&self) -> &str {
        NAMED_ROW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(Error::internal("the type of a row follows from its fields").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let pairs = args.scalar_arguments.chunks(2).zip(args.arg_fields.chunks(2));
        let field = |(names, fields): (&[Option<&ScalarValue>], &[FieldRef])| {
            let name = names.first().copied().flatten().and_then(ScalarValue::try_as_str)??;
            Some(fields.get(1)?.as_ref().clone().with_name(name).with_nullable(true))
        };
        let fields: Option<Fields> = pairs.map(field).collect();
        let fields = fields.ok_or_else(|| Error::internal("a field of a row has no name"))?;
        Ok(Arc::new(arrow::datatypes::Field::new(NAMED_ROW, DataType::Struct(fields), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::Struct(fields) = args.return_field.data_type() else {
            return Err(Error::internal("a row that is none").into());
        };
        over_columns(&args.args, args.number_rows, |columns, rows| {
            let values: Vec<ArrayRef> = columns.iter().skip(1).step_by(2).cloned().collect();
            let row = StructArray::try_new_with_length(fields.clone(), values, None, rows)?;
            Ok(Arc::new(row))
        })
    }
}
