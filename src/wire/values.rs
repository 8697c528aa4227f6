//! The seam to `types::pg`: how a value of a column becomes bytes, and a parameter's bytes a value.

use bytes::BytesMut;
use datafusion::arrow::array::{Array, ArrayRef, Int64Array, StringArray, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field};

use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;
use crate::types::pg::TextStyle;

/// Writes the values of one column.
pub(super) struct Encoder(DataType);

impl Encoder {
    pub fn new(field: &Field) -> Self {
        Self(field.data_type().clone())
    }

    pub fn text(&self, array: &dyn Array, row: usize, _: &TextStyle, out: &mut BytesMut) {
        if let Some(array) = array.as_any().downcast_ref::<Int64Array>() {
            out.extend_from_slice(array.value(row).to_string().as_bytes());
        } else if let Some(array) = array.as_any().downcast_ref::<StringArray>() {
            out.extend_from_slice(array.value(row).as_bytes());
        }
    }

    pub fn binary(&self, array: &dyn Array, row: usize, out: &mut BytesMut) -> Result<()> {
        if let Some(array) = array.as_any().downcast_ref::<Int64Array>() {
            out.extend_from_slice(&array.value(row).to_be_bytes());
            Ok(())
        } else if let Some(array) = array.as_any().downcast_ref::<StringArray>() {
            out.extend_from_slice(array.value(row).as_bytes());
            Ok(())
        } else {
            Err(Error::unsupported(format!("binary format of {} is not supported", self.0)))
        }
    }
}

pub(super) fn sql_type(field: &Field) -> SqlType {
    match field.data_type() {
        DataType::Int64 => SqlType::BigInt,
        _ => SqlType::Text,
    }
}

pub(super) fn oid(sql: &SqlType) -> u32 {
    match sql {
        SqlType::BigInt => 20,
        _ => 25,
    }
}

pub(super) fn typlen(sql: &SqlType) -> i16 {
    match sql {
        SqlType::BigInt => 8,
        _ => -1,
    }
}

pub(super) fn modifier(_: &SqlType) -> i32 {
    -1
}

pub(super) fn from_oid(oid: u32) -> Option<SqlType> {
    match oid {
        20 => Some(SqlType::BigInt),
        25 => Some(SqlType::Text),
        _ => None,
    }
}

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

pub(super) fn null(sql: &SqlType) -> ArrayRef {
    match sql {
        SqlType::BigInt => new_null_array(&DataType::Int64, 1),
        _ => new_null_array(&DataType::Utf8, 1),
    }
}
