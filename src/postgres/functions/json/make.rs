//! JSON made of values: `to_json`, `json_build_object`, `json_build_array`, and the parts that `json_agg`
//! and `json_object_agg` collect.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::{TextStyle, normal_json, value_as_json};
use crate::types::SqlType;

pub(crate) fn all() -> Vec<ScalarUDF> {
    use SqlType::{Json, Jsonb, Text};
    let function = |name, out, make: Make, aliases: &[&str]| {
        let forms = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        let signature = Signature::one_of(forms, Volatility::Immutable);
        let aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
        ScalarUDF::from(Maker { name, aliases, out, make, zone: None, signature })
    };
    vec![
        function("to_json", Json, Make::Value, &["row_to_json", "array_to_json"]),
        function("to_jsonb", Jsonb, Make::Value, &[]),
        function("json_value", Text, Make::Element, &[]),
        function("json_member", Text, Make::Member, &[]),
        function("json_build_object", Json, Make::Object, &[]),
        function("jsonb_build_object", Jsonb, Make::Object, &[]),
        function("json_build_array", Json, Make::Array, &[]),
        function("jsonb_build_array", Jsonb, Make::Array, &[]),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Make {
    Value,
    /// What `json_agg` collects: arrays and rows are put on lines of their own.
    Element,
    /// What `json_object_agg` collects.
    Member,
    Object,
    Array,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Maker {
    name: &'static str,
    aliases: Vec<String>,
    out: SqlType,
    make: Make,
    /// That of a session; none: UTC.
    zone: Option<String>,
    signature: Signature,
}

/// The function with moments as they are in a zone; None: it is another one.
pub(in crate::postgres::functions) fn in_zone(
    function: &ScalarUDF,
    zone: &str,
) -> Option<ScalarUDF> {
    let maker = function.inner().downcast_ref::<Maker>()?;
    Some(ScalarUDF::from(Maker { zone: Some(zone.to_owned()), ..maker.clone() }))
}

struct JsonArguments<'a> {
    columns: &'a [ArrayRef],
    fields: &'a [FieldRef],
    style: &'a TextStyle,
    row: usize,
}

impl JsonArguments<'_> {
    fn json(&self, at: usize) -> String {
        value_as_json(&self.fields[at], self.columns[at].as_ref(), self.row, self.style)
    }

    /// One that is a key: its text.
    fn key(&self, at: usize) -> Result<String> {
        let json = self.json(at);
        let sql_type = SqlType::from_field(&self.fields[at]);
        match (&sql_type, json.as_str()) {
            (_, "null") => Err(bad("field name must not be null")),
            (SqlType::Array(_) | SqlType::Row(_) | SqlType::Json | SqlType::Jsonb, _) => {
                Err(bad("key value must be scalar, not array, composite, or json"))
            }
            (_, text) if text.starts_with('"') => Ok(json),
            (_, other) => Ok(serde_json::Value::from(other).to_string()),
        }
    }

    fn is_null(&self, at: usize) -> bool {
        // A constant NULL without a type has no bits that say so.
        *self.columns[at].data_type() == DataType::Null || self.columns[at].is_null(self.row)
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(SqlState::BadArgument, message)
}

impl Maker {
    fn of(&self, given: &JsonArguments<'_>) -> Result<Option<String>> {
        let all = 0..given.columns.len();
        Ok(match self.make {
            Make::Value | Make::Element if given.is_null(0) => None,
            Make::Value => Some(given.json(0)),
            Make::Element => {
                let is_long =
                    matches!(given.fields[0].data_type(), DataType::List(_) | DataType::Struct(_));
                Some(format!("{}{}", if is_long { "\n " } else { "" }, given.json(0)))
            }
            Make::Member => Some(format!("{} : {}", given.key(0)?, given.json(1))),
            Make::Array => {
                Some(format!("[{}]", all.map(|at| given.json(at)).collect::<Vec<_>>().join(", ")))
            }
            Make::Object => {
                let pair = |at| {
                    if given.is_null(at) {
                        return Err(self.null_key(at + 1));
                    }
                    Ok(format!("{} : {}", given.key(at)?, given.json(at + 1)))
                };
                let pairs = all.step_by(2).map(pair).collect::<Result<Vec<_>>>()?;
                Some(format!("{{{}}}", pairs.join(", ")))
            }
        })
    }

    fn null_key(&self, at: usize) -> Error {
        match self.out {
            SqlType::Jsonb => bad(format!("argument {at}: key must not be null")),
            _ => bad(format!("argument {at} cannot be null")).hint("Object keys should be text."),
        }
    }
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
            Make::Value | Make::Element if count != 1 => {
                let message = format!("function {} takes one argument", self.name);
                Err(Error::new(SqlState::UndefinedFunction, message).into())
            }
            Make::Member if count != 2 => {
                let message = "json_object_agg takes a key and a value";
                Err(Error::new(SqlState::UndefinedFunction, message).into())
            }
            _ => Ok(Arc::new(self.out.to_field(self.name, true))),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let columns =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let style = self.zone.as_ref().map_or_else(TextStyle::default, TextStyle::in_zone);
        let (columns, fields, style) = (&columns[..], &args.arg_fields[..], &style);
        let value = |row| {
            let json = self.of(&JsonArguments { columns, fields, style, row })?;
            match self.out {
                SqlType::Jsonb => json.map(|json| normal_json(&json)).transpose(),
                _ => Ok(json),
            }
        };
        Ok(ColumnarValue::Array(Arc::new((0..rows).map(value).collect::<Result<StringArray>>()?)))
    }
}
