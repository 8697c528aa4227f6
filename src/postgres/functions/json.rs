//! JSON made of values: `to_json`, `json_build_object`, `json_build_array`, and what `json_agg` is
//! rewritten to; `json_typeof`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::{normal_json, value_as_json};
use crate::types::SqlType;

pub(crate) fn all() -> Vec<ScalarUDF> {
    use SqlType::{Json, Jsonb, Text};
    let function = |name, out, make: Make, aliases: &[&str]| {
        let forms = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        let signature = Signature::one_of(forms, Volatility::Immutable);
        let aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
        ScalarUDF::from(Maker { name, aliases, out, make, signature })
    };
    vec![
        function("to_json", Json, Make::Value, &["row_to_json", "array_to_json"]),
        function("to_jsonb", Jsonb, Make::Value, &[]),
        function("json_of_rows", Json, Make::Rows, &[]),
        function("jsonb_of_rows", Jsonb, Make::Rows, &[]),
        function("json_build_object", Json, Make::Object, &[]),
        function("jsonb_build_object", Jsonb, Make::Object, &[]),
        function("json_build_array", Json, Make::Array, &[]),
        function("jsonb_build_array", Jsonb, Make::Array, &[]),
        function("json_typeof", Text, Make::TypeName, &["jsonb_typeof"]),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Make {
    Value,
    /// An array whose elements were the rows of a group.
    Rows,
    Object,
    Array,
    TypeName,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Maker {
    name: &'static str,
    aliases: Vec<String>,
    out: SqlType,
    make: Make,
    signature: Signature,
}

struct JsonArguments<'a> {
    columns: &'a [ArrayRef],
    fields: &'a [FieldRef],
    row: usize,
}

impl JsonArguments<'_> {
    fn json(&self, at: usize) -> String {
        value_as_json(&self.fields[at], self.columns[at].as_ref(), self.row)
    }

    /// One that is a key: its text.
    fn key(&self, at: usize) -> Result<String> {
        let json = self.json(at);
        match json.as_str() {
            "null" => Err(Error::new(
                SqlState::BadArgument,
                format!("argument {} must not be null", at + 1),
            )
            .hint("Object keys should be text.")),
            text if text.starts_with('"') => Ok(json),
            other => Ok(serde_json::Value::from(other).to_string()),
        }
    }
}

impl Make {
    fn of(self, given: &JsonArguments<'_>) -> Result<Option<String>> {
        let all = 0..given.columns.len();
        let is_null = |at: usize| given.columns[at].is_null(given.row);
        Ok(match self {
            Make::Value | Make::Rows | Make::TypeName if is_null(0) => None,
            Make::Value => Some(given.json(0)),
            Make::Rows => Some(rows(given)),
            Make::Array => {
                Some(format!("[{}]", all.map(|at| given.json(at)).collect::<Vec<_>>().join(", ")))
            }
            Make::Object => {
                let pair = |at| Ok(format!("{} : {}", given.key(at)?, given.json(at + 1)));
                Some(format!(
                    "{{{}}}",
                    all.step_by(2).map(pair).collect::<Result<Vec<_>>>()?.join(", ")
                ))
            }
            Make::TypeName => {
                let text = cast(&given.columns[0].slice(given.row, 1), &DataType::Utf8)?;
                Some(type_name(text.as_string::<i32>().value(0))?.to_owned())
            }
        })
    }
}

/// As `json_agg` spaces them: records each on a line of its own.
fn rows(given: &JsonArguments<'_>) -> String {
    let (DataType::List(item), Some(list)) =
        (given.fields[0].data_type(), given.columns[0].as_list_opt::<i32>())
    else {
        return given.json(0);
    };
    let items = list.value(given.row);
    let separator = if matches!(item.data_type(), DataType::Struct(_)) { ", \n " } else { ", " };
    let items = (0..items.len()).map(|at| value_as_json(item, items.as_ref(), at));
    format!("[{}]", items.collect::<Vec<_>>().join(separator))
}

fn type_name(json: &str) -> Result<&'static str> {
    let value: serde_json::Value = serde_json::from_str(json)
        .map_err(|_| Error::new(SqlState::BadText, "invalid input syntax for type json"))?;
    Ok(match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "boolean",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
    })
}

impl ScalarUDFImpl for Maker {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let count = args.arg_fields.len();
        match self.make {
            Make::Object if count % 2 == 1 => {
                let message = "argument list must have even number of elements";
                let hint = format!(
                    "The arguments of {}() must consist of alternating keys and values.",
                    self.name
                );
                Err(Error::new(SqlState::BadArgument, message).hint(hint).into())
            }
            Make::Value | Make::Rows | Make::TypeName if count != 1 => {
                let message = format!("function {} takes one argument", self.name);
                Err(Error::new(SqlState::UndefinedFunction, message).into())
            }
            _ => Ok(Arc::new(self.out.to_field(self.name, true))),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let columns =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let value = |row| {
            let json = self.make.of(&JsonArguments {
                columns: &columns,
                fields: &args.arg_fields,
                row,
            })?;
            match self.out {
                SqlType::Jsonb => json.map(|json| normal_json(&json)).transpose(),
                _ => Ok(json),
            }
        };
        Ok(ColumnarValue::Array(Arc::new((0..rows).map(value).collect::<Result<StringArray>>()?)))
    }
}
