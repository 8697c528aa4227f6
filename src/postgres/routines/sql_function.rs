//! A function's body that is run as one function: each argument is computed once, however often the
//! body names it, and where an argument of a STRICT function is NULL the body is not computed.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, filter_record_batch, take};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_plan::PhysicalExpr;

use crate::catalog::RelationId;

/// A body over columns.
#[derive(Debug)]
pub(crate) struct SqlFunction {
    pub(super) id: RelationId,
    pub(super) name: String,
    /// Of the arguments, and of what the body takes beside them.
    pub(super) schema: SchemaRef,
    /// How many of them are arguments.
    pub(super) arguments: usize,
    pub(super) field: FieldRef,
    pub(super) strict: bool,
    pub(super) expr: Arc<dyn PhysicalExpr>,
    /// How much it computes for a row, in operators and calls.
    pub(super) nodes: usize,
    /// It calls what may make much of little.
    pub(crate) explodes: bool,
    signature: Signature,
}

impl SqlFunction {
    /// A body over these columns. It can be called once it has been told what it is.
    pub(super) fn new(
        id: RelationId,
        name: &str,
        fields: Vec<FieldRef>,
        field: FieldRef,
        expr: Arc<dyn PhysicalExpr>,
    ) -> SqlFunction {
        let signature = match fields.len() {
            0 => Signature::nullary(Volatility::Immutable),
            n => Signature::any(n, Volatility::Immutable),
        };
        SqlFunction {
            id,
            name: name.to_owned(),
            arguments: fields.len(),
            schema: Arc::new(Schema::new(fields)),
            field,
            strict: false,
            expr,
            nodes: 0,
            explodes: false,
            signature,
        }
    }

    /// The value of each row.
    pub(crate) fn evaluate(&self, columns: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let fields = self.schema.fields().iter();
        let columns = columns.iter().zip(fields).map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                Ok(cast(column, field.data_type())?)
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let known = if self.strict { known(&columns[..self.arguments]) } else { None };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        match known {
            None => self.over(&batch),
            Some(known) if known.null_count() == rows => {
                Ok(new_null_array(self.field.data_type(), rows))
            }
            Some(known) => {
                let keep = BooleanArray::new(known.inner().clone(), None);
                let values = self.over(&filter_record_batch(&batch, &keep)?)?;
                let mut next = 0..;
                let places: UInt32Array = known
                    .iter()
                    .map(|is_known| if is_known { next.next() } else { None })
                    .collect();
                Ok(take(&values, &places, None)?)
            }
        }
    }

    fn over(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let values = self.expr.evaluate(batch)?.into_array(batch.num_rows())?;
        if values.data_type() == self.field.data_type() {
            Ok(values)
        } else {
            Ok(cast(&values, self.field.data_type())?)
        }
    }
}

/// Rows in which no column is NULL; None: all are such.
fn known(columns: &[ArrayRef]) -> Option<NullBuffer> {
    let all = columns.iter().fold(None, |known, column| {
        NullBuffer::union(known.as_ref(), column.logical_nulls().as_ref())
    });
    all.filter(|known| known.null_count() > 0)
}

impl PartialEq for SqlFunction {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.schema == other.schema
    }
}

impl Eq for SqlFunction {}

impl Hash for SqlFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// The body behind a function, if it is one of the user's.
pub(crate) fn body_of(function: &ScalarUDF) -> Option<&SqlFunction> {
    function.inner().downcast_ref::<SqlFunction>()
}

impl ScalarUDFImpl for SqlFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::clone(&self.field))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let values = self.evaluate(&columns, rows)?;
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)
        } else {
            ColumnarValue::Array(values)
        })
    }
}
