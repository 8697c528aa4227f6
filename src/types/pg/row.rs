//! A whole row as text that can be read: a JSON object of its columns, for rows that are kept to be looked at.

use bytes::BytesMut;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field};

use super::{Encoder, TextStyle};
use crate::types::SqlType;

/// One row of a batch as a JSON object: each column by its name. Numbers, truth values, JSON and NULL are JSON's own; all
/// other values are strings as Postgres would write them.
pub fn row_as_json(batch: &RecordBatch, row: usize) -> String {
    let style = TextStyle::default();
    let schema = batch.schema();
    let mut out = String::from("{");
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&string(field.name()));
        out.push(':');
        let encoder = Encoder::new(field);
        if encoder.is_null(column.as_ref(), row) {
            out.push_str("null");
            continue;
        }
        let mut text = BytesMut::new();
        encoder.text(column.as_ref(), row, &style, &mut text);
        let text = String::from_utf8_lossy(&text);
        match (field.data_type(), is_json(field)) {
            (DataType::Boolean, _) => out.push_str(if text == "t" { "true" } else { "false" }),
            (_, true) => out.push_str(&text),
            // Not NaN and the infinities, which are no numbers in JSON.
            (of, _) if of.is_numeric() && text.ends_with(|c: char| c.is_ascii_digit()) => out.push_str(&text),
            _ => out.push_str(&string(&text)),
        }
    }
    out.push('}');
    out
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

    use datafusion::arrow::array::{BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn numbers_are_numbers_and_the_rest_is_text() {
        let price = Decimal128Array::from(vec![Some(1_250)]).with_precision_and_scale(30, 2).unwrap();
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
