//! A whole row as text that can be read: a JSON object of its columns' texts, for rows that are kept to be looked at.

use bytes::BytesMut;
use datafusion::arrow::array::RecordBatch;

use super::{Encoder, TextStyle};

/// One row of a batch as a JSON object: each column by its name, as Postgres would write it; NULL is null.
pub fn row_as_json(batch: &RecordBatch, row: usize) -> String {
    let style = TextStyle::default();
    let schema = batch.schema();
    let values = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let encoder = Encoder::new(field);
        let mut text = BytesMut::new();
        let value = match encoder.is_null(column.as_ref(), row) {
            true => serde_json::Value::Null,
            false => {
                encoder.text(column.as_ref(), row, &style, &mut text);
                serde_json::Value::String(String::from_utf8_lossy(&text).into_owned())
            }
        };
        (field.name().clone(), value)
    });
    serde_json::Value::Object(values.collect()).to_string()
}
