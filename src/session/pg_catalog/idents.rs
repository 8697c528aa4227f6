//! `parse_ident('a."B c"')`: the parts of a name, as Grafana takes apart what a user has chosen.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, Result, SqlState};

/// The function.
pub(crate) fn function() -> Arc<ScalarUDF> {
    let signature = Signature::exact(vec![DataType::Utf8], Volatility::Immutable);
    Arc::new(ScalarUDF::from(ParseIdent { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ParseIdent {
    signature: Signature,
}

/// The parts of a name; those without quotes in lower case.
fn parts(text: &str) -> Result<Vec<String>> {
    let bad = || {
        Error::new(SqlState::BadArgument, format!("string is not a valid identifier: \"{text}\""))
    };
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                // Two quotes stand for one.
                let hidden = quoted.replace("\"\"", "\u{1}\u{1}");
                let end = hidden.find('"').ok_or_else(bad)?;
                (quoted[..end].replace("\"\"", "\""), &quoted[end + 1..])
            }
            None => {
                let end = rest
                    .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
                    .unwrap_or(rest.len());
                (rest[..end].to_lowercase(), &rest[end..])
            }
        };
        if part.is_empty() {
            return Err(bad());
        }
        parts.push(part);
        let after = after.trim_start();
        match after.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() => return Ok(parts),
            None => return Err(bad()),
        }
    }
}

impl ScalarUDFImpl for ParseIdent {
    fn name(&self) -> &str {
        "parse_ident"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::new_list(DataType::Utf8, true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(names) = arrays.first() else {
            return Err(Error::internal("parse_ident takes a name").into());
        };
        let names = cast(names, &DataType::Utf8)?;
        let names = names.as_string::<i32>();
        let mut lists = ListBuilder::new(StringBuilder::new());
        for row in 0..names.len() {
            if names.is_valid(row) {
                parts(names.value(row))?.iter().for_each(|part| lists.values().append_value(part));
            }
            lists.append(names.is_valid(row));
        }
        let lists: ArrayRef = Arc::new(lists.finish());
        Ok(ColumnarValue::Array(lists))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_falls_into_its_parts() {
        let check =
            |text: &str, expect: &[&str]| assert_eq!(parts(text).unwrap(), expect, "{text}");
        check("Public.Clicks", &["public", "clicks"]);
        check(r#" "A ""b"".c" . d "#, &[r#"A "b".c"#, "d"]);
        for wrong in ["", "a.", "a b", r#""a"#, "a..b"] {
            assert_eq!(parts(wrong).unwrap_err().state(), SqlState::BadArgument, "{wrong}");
        }
    }
}
