//! `json_build_object(key, value, …)`: clients ask for details of columns as one JSON value.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// The function.
pub(super) fn function() -> Arc<ScalarUDF> {
    let forms = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    Arc::new(ScalarUDF::from(BuildObject { signature: Signature::one_of(forms, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BuildObject {
    signature: Signature,
}

/// An argument: its texts, and whether they are JSON as they are.
struct Column {
    texts: StringArray,
    is_bare: bool,
}

impl Column {
    fn new(array: &ArrayRef, field: &FieldRef) -> Result<Column> {
        let sql_type = SqlType::from_field(field);
        let is_bare = matches!(
            sql_type,
            SqlType::Boolean
                | SqlType::SmallInt
                | SqlType::Int
                | SqlType::BigInt
                | SqlType::Oid
                | SqlType::Real
                | SqlType::Double
                | SqlType::Decimal(_)
                | SqlType::Json
                | SqlType::Jsonb
        );
        Ok(Column { texts: cast(array, &DataType::Utf8)?.as_string::<i32>().clone(), is_bare })
    }

    fn value(&self, row: usize) -> String {
        match (self.texts.is_null(row), self.is_bare) {
            (true, _) => "null".to_owned(),
            (false, true) => self.texts.value(row).to_owned(),
            (false, false) => serde_json::Value::from(self.texts.value(row)).to_string(),
        }
    }
}

fn object(columns: &[Column], row: usize) -> Result<String> {
    let pairs = columns.chunks(2).map(|pair| match pair {
        [key, _] if key.texts.is_null(row) => {
            Err(Error::new(SqlState::BadArgument, "argument 1 must not be null")
                .hint("Object keys should be text."))
        }
        [key, value] => {
            let key = serde_json::Value::from(key.texts.value(row));
            Ok(format!("{key} : {}", value.value(row)))
        }
        _ => Err(Error::new(SqlState::BadArgument, "argument list must have even number of elements")
            .hint("The arguments of json_build_object() must consist of alternating keys and values.")),
    });
    Ok(format!("{{{}}}", pairs.collect::<Result<Vec<_>>>()?.join(", ")))
}

impl ScalarUDFImpl for BuildObject {
    fn name(&self) -> &str {
        "json_build_object"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(SqlType::Json.to_field(self.name(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let columns = args
            .args
            .iter()
            .zip(&args.arg_fields)
            .map(|(arg, field)| Ok(Column::new(&arg.to_array(args.number_rows)?, field)?))
            .collect::<DfResult<Vec<_>>>()?;
        let objects = (0..args.number_rows).map(|row| object(&columns, row).map(Some));
        Ok(ColumnarValue::Array(Arc::new(objects.collect::<Result<StringArray>>()?)))
    }
}
