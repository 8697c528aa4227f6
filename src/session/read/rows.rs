//! Small results that are made here: SHOW, EXPLAIN, DESCRIBE.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::error::{Error, Result};
use crate::session::client_session::{Outcome, RowStream};

/// Batches as a stream.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// Columns of text.
pub fn text_schema(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(
        names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>(),
    ))
}

/// Rows of text in a [`text_schema`].
pub fn text_batch(schema: &SchemaRef, rows: &[Vec<Option<String>>]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = (0..schema.fields().len())
        .map(|at| {
            let values = rows.iter().map(|row| row.get(at).cloned().flatten());
            Arc::new(values.collect::<StringArray>()) as ArrayRef
        })
        .collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// A result of text.
pub fn text_rows(
    tag: &'static str,
    names: &[&str],
    rows: &[Vec<Option<String>>],
) -> Result<Outcome> {
    let schema = text_schema(names);
    let batch = text_batch(&schema, rows)?;
    Ok(uncounted(tag, schema, vec![batch]))
}

/// A result of one text column, a line a row.
pub fn lines(
    tag: &'static str,
    name: &str,
    lines: impl IntoIterator<Item = String>,
) -> Result<Outcome> {
    let rows: Vec<Vec<Option<String>>> = lines.into_iter().map(|line| vec![Some(line)]).collect();
    text_rows(tag, &[name], &rows)
}

/// A result that is there, with a tag without a count.
pub fn uncounted(tag: &'static str, schema: SchemaRef, batches: Vec<RecordBatch>) -> Outcome {
    Outcome::Rows(RowStream { schema, stream: ready(batches), tag, counted: false })
}

/// A result that is there, with a count.
pub fn counted(tag: &'static str, schema: SchemaRef, batches: Vec<RecordBatch>) -> Outcome {
    Outcome::Rows(RowStream { schema, stream: ready(batches), tag, counted: true })
}

/// Batches that are there as a stream.
pub fn ready(batches: Vec<RecordBatch>) -> Batches {
    stream::iter(batches.into_iter().map(Ok::<_, Error>)).boxed()
}

/// The batch in another schema of as many columns: names as the client sees them, types cast where
/// the plan's differ.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        return Err(Error::internal("a result of another number of columns"));
    }
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                // A value that does not fit must not become NULL on the way.
                Ok(cast_with_options(
                    column,
                    field.data_type(),
                    &CastOptions { safe: false, ..CastOptions::default() },
                )?)
            }
        })
        .collect::<Result<_>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
