//! Values as JSON: a whole row that is kept to be looked at, and what `to_json` makes of a value.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field};
use bytes::BytesMut;

use super::{Encoder, TextStyle, json_in};
use crate::error::{Error, Result};
use crate::types::SqlType;

/// One row of a batch as a JSON object: each column by its name. Numbers, truth values, JSON and
/// NULL are JSON's own; all other values are strings as Postgres would write them.
pub fn row_as_json(batch: &RecordBatch, row: usize) -> String {
    let schema = batch.schema();
    let pairs = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let value = if is_null(field, column.as_ref(), row) {
            "null".to_owned()
        } else {
            scalar(field, column.as_ref(), row, &TextStyle::default())
        };
        format!("{}:{value}", string(field.name()))
    });
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

/// One value as `to_json` writes it (Postgres manual, 9.16): arrays and rows are those of JSON,
/// moments are written as ISO 8601 has them.
pub fn value_as_json(field: &Field, values: &dyn Array, row: usize, style: &TextStyle) -> String {
    if is_null(field, values, row) {
        return "null".to_owned();
    }
    match field.data_type() {
        DataType::List(item) => {
            let items = values.as_list::<i32>().value(row);
            let items = (0..items.len()).map(|at| value_as_json(item, items.as_ref(), at, style));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        DataType::Struct(_) => {
            let parts = values.as_struct();
            let pairs = parts.fields().iter().zip(parts.columns()).enumerate().map(
                |(at, (field, column))| {
                    // The fields of ROW(1, 2) have no names of their own.
                    let name = match field.name().strip_prefix('c') {
                        Some(digits) if digits == at.to_string() => format!("f{}", at + 1),
                        _ => field.name().clone(),
                    };
                    let value = value_as_json(field, column.as_ref(), row, style);
                    format!("{}:{value}", string(&name))
                },
            );
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
        DataType::Timestamp(_, zone) => {
            let mut text = scalar(field, values, row, style).replacen(' ', "T", 1);
            // +00 for +00:00.
            if zone.is_some()
                && text.len() > 4
                && matches!(text.as_bytes()[text.len() - 4], b'+' | b'-')
            {
                text.insert_str(text.len() - 1, ":00");
            }
            text
        }
        _ => scalar(field, values, row, style),
    }
}

/// A JSON text as JSONB has it: keys in order, the last of equal ones, one space after each comma
/// and colon.
///
/// # Errors
/// 22P02 if it is no JSON.
pub fn normal_json(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    json_in::normalize(text, &mut bytes)?;
    String::from_utf8(bytes).map_err(|_| Error::internal("JSON that is not UTF-8"))
}

fn is_null(field: &Field, values: &dyn Array, row: usize) -> bool {
    Encoder::new(field).is_null(values, row)
}

fn scalar(field: &Field, values: &dyn Array, row: usize, style: &TextStyle) -> String {
    let mut text = BytesMut::new();
    Encoder::new(field).text(values, row, style, &mut text);
    let text = String::from_utf8_lossy(&text);
    match (field.data_type(), is_json(field)) {
        (DataType::Boolean, _) => if text == "t" { "true" } else { "false" }.to_owned(),
        (_, true) => text.into_owned(),
        // Not NaN and the infinities, which are no numbers in JSON.
        (of, _) if of.is_numeric() && text.ends_with(|c: char| c.is_ascii_digit()) => {
            text.into_owned()
        }
        _ => string(&text),
    }
}

fn is_json(field: &Field) -> bool {
    matches!(SqlType::from_field(field), SqlType::Json | SqlType::Jsonb)
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn numbers_are_numbers_and_the_rest_is_text() {
        let price =
            Decimal128Array::from(vec![Some(1_250)]).with_precision_and_scale(30, 2).unwrap();
        let batch = RecordBatch::try_from_iter(vec![
            ("id", Arc::new(Int64Array::from(vec![i64::MIN])) as _),
            ("a \"b\"", Arc::new(StringArray::from(vec!["x\n\"y\""])) as _),
            ("ok", Arc::new(BooleanArray::from(vec![true])) as _),
            ("f", Arc::new(Float64Array::from(vec![f64::INFINITY])) as _),
            ("g", Arc::new(Float64Array::from(vec![1e300])) as _),
            ("price", Arc::new(price) as _),
            ("none", Arc::new(Int64Array::from(vec![None])) as _),
        ])
        .unwrap();
        let text = row_as_json(&batch, 0);
        assert_eq!(
            text,
            "{\"id\":-9223372036854775808,\"a \\\"b\\\"\":\"x\\n\\\"y\\\"\",\"ok\":true,\"f\":\"Infinity\",\"g\":1e+300,\
             \"price\":12.50,\"none\":null}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
