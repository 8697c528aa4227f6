//! Between text and bytes: `convert_from`, `convert_to`, and `encode(…, 'escape')`.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, StringBuilder,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{ScalarUDF, Signature, Volatility};

use super::scalar::{Scalar, strings, text};
use crate::error::{Error, Result, SqlState};

pub(crate) fn all() -> Vec<ScalarUDF> {
    let function = |name, arguments, out, call| {
        let signature = Signature::any(arguments, Volatility::Immutable);
        ScalarUDF::from(Scalar { name, aliases: vec![], signature, out, call })
    };
    vec![
        function("convert_from", 2, DataType::Utf8, convert_from),
        function("convert_to", 2, DataType::Binary, convert_to),
        function("encode_escape", 1, DataType::Utf8, encode_escape),
    ]
}

fn binary(array: &ArrayRef) -> Result<BinaryArray> {
    Ok(cast(array, &DataType::Binary)?.as_binary::<i32>().clone())
}

/// Only one encoding is known, and ASCII is a part of it.
fn check_encoding(name: &str, what: &str) -> Result<()> {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match plain.as_str() {
        "utf8" | "unicode" | "sqlascii" => Ok(()),
        _ => Err(Error::new(
            SqlState::BadArgument,
            format!("invalid {what} encoding name \"{name}\""),
        )
        .hint("The encoding is UTF8.")),
    }
}

/// `convert_from(bytes, 'UTF8')`.
fn convert_from(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (values, encodings) = (binary(&args[0])?, strings(&args[1])?);
    let mut out = StringBuilder::new();
    for row in 0..rows {
        let (true, Some(encoding)) = (values.is_valid(row), text(&encodings, row)) else {
            out.append_null();
            continue;
        };
        check_encoding(encoding, "source")?;
        let bytes = values.value(row);
        let value = std::str::from_utf8(bytes).map_err(|error| {
            let wrong: Vec<String> = bytes[error.valid_up_to()..]
                .iter()
                .take(1)
                .map(|byte| format!("0x{byte:02x}"))
                .collect();
            let what = format!("invalid byte sequence for encoding \"UTF8\": {}", wrong.join(" "));
            Error::new(SqlState::BadCharacter, what)
        })?;
        if value.contains('\0') {
            let what = "invalid byte sequence for encoding \"UTF8\": 0x00";
            return Err(Error::new(SqlState::BadCharacter, what));
        }
        out.append_value(value);
    }
    Ok(Arc::new(out.finish()))
}

/// `convert_to(text, 'UTF8')`.
fn convert_to(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (values, encodings) = (strings(&args[0])?, strings(&args[1])?);
    let mut out = BinaryBuilder::new();
    for row in 0..rows {
        match (text(&values, row), text(&encodings, row)) {
            (Some(value), Some(encoding)) => {
                check_encoding(encoding, "destination")?;
                out.append_value(value.as_bytes());
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// `encode(bytes, 'escape')`: zero bytes and those above 127 as `\ooo`, a backslash twice.
fn encode_escape(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let values = binary(&args[0])?;
    let (mut out, mut one) = (StringBuilder::new(), String::new());
    for row in 0..rows {
        if values.is_null(row) {
            out.append_null();
            continue;
        }
        one.clear();
        for byte in values.value(row) {
            match byte {
                b'\\' => one.push_str("\\\\"),
                0 | 128.. => {
                    // A String takes everything.
                    let _ = write!(one, "\\{byte:03o}");
                }
                _ => one.push(char::from(*byte)),
            }
        }
        out.append_value(&one);
    }
    Ok(Arc::new(out.finish()))
}
