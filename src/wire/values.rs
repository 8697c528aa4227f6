//! The seam to `types::pg`: a parameter's bytes become a value.

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};

use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

pub(super) fn parse_text(sql: &SqlType, text: &str) -> Result<ArrayRef> {
    match sql {
        SqlType::BigInt => {
            let value: i64 = text.parse().map_err(|_| {
                Error::new(SqlState::BadText, format!("invalid input syntax for type bigint: \"{text}\""))
            })?;
            Ok(std::sync::Arc::new(Int64Array::from(vec![value])))
        }
        _ => Ok(std::sync::Arc::new(StringArray::from(vec![text]))),
    }
}

pub(super) fn parse_binary(sql: &SqlType, bytes: &[u8]) -> Result<ArrayRef> {
    match sql {
        SqlType::BigInt => {
            let value = <[u8; 8]>::try_from(bytes)
                .map_err(|_| Error::new(SqlState::BadBinary, "incorrect binary data format"))?;
            Ok(std::sync::Arc::new(Int64Array::from(vec![i64::from_be_bytes(value)])))
        }
        _ => parse_text(sql, super::messages::utf8(bytes)?),
    }
}
