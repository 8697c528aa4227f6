//! How the store's keys and values of queries are written: batches, changes, rings of kept rows.

use std::io::Cursor;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;

use crate::catalog::RelationId;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::state::Delta;
use crate::store::{Space, Store, WriteBatch};

/// The weight's column in a stored delta.
const WEIGHT: &str = "__weight";

/// The key of a query's progress record.
pub(super) fn progress_key(id: RelationId) -> Vec<u8> {
    format!("query/{:016x}", id.0).into_bytes()
}

/// What the keys of a query's state and answer begin with.
pub(super) fn prefix(id: RelationId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

/// The key behind those of a query's state and answer.
pub(super) fn end(id: RelationId) -> Vec<u8> {
    (id.0 + 1).to_be_bytes().to_vec()
}

/// The key of a part of what an epoch has stored; in order of query, epoch, part, number.
pub(super) fn key(id: RelationId, epoch: u64, part: u8, number: u32) -> Vec<u8> {
    let mut key = prefix(id);
    key.extend_from_slice(&epoch.to_be_bytes());
    key.push(part);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The key of row `number` in a ring: it overwrites row `number` − [`limits::KEPT_ROWS`].
pub(super) fn ring_key(ring: &str, id: RelationId, number: u64) -> Vec<u8> {
    format!("{ring}/{:016x}/{:08x}", id.0, number % limits::KEPT_ROWS as u64).into_bytes()
}

/// The keys of a ring: from, and up to but not with.
pub(super) fn ring_keys(ring: &str, id: RelationId) -> (Vec<u8>, Vec<u8>) {
    (format!("{ring}/{:016x}/", id.0).into_bytes(), format!("{ring}/{:016x}0", id.0).into_bytes())
}

/// Adds the removal of a ring to a commit.
pub(super) fn delete_ring(
    store: &dyn Store,
    ring: &str,
    id: RelationId,
    batch: &mut WriteBatch,
) -> Result<()> {
    let (from, to) = ring_keys(ring, id);
    for entry in store.scan(Space::Meta, &from, &to)? {
        batch.delete(Space::Meta, entry?.0);
    }
    Ok(())
}

/// The delta as one batch, weights last.
pub(super) fn weighted(delta: &Delta) -> Result<RecordBatch> {
    let mut fields: Vec<_> = delta.batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
    let mut columns: Vec<ArrayRef> = delta.batch.columns().to_vec();
    columns.push(match &delta.weights {
        Some(weights) => Arc::new(weights.clone()),
        None => Arc::new(Int64Array::from_value(1, delta.batch.num_rows())),
    });
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The delta that [`weighted`] was given.
pub(super) fn unweighted(batch: &RecordBatch) -> Result<Delta> {
    let last = batch.num_columns().saturating_sub(1);
    let weights = batch
        .columns()
        .last()
        .and_then(|column| column.as_any().downcast_ref::<Int64Array>())
        .cloned()
        .ok_or_else(|| Error::new(SqlState::Corrupted, "a stored change has no weights"))?;
    Ok(Delta { batch: batch.project(&(0..last).collect::<Vec<_>>())?, weights: Some(weights) })
}

/// A batch as an Arrow IPC stream.
pub(super) fn encode(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

/// The batch of an Arrow IPC stream.
pub(super) fn decode(bytes: &[u8]) -> Result<RecordBatch> {
    let damaged = |what: String| Error::new(SqlState::Corrupted, format!("stored state is damaged: {what}"));
    let mut reader =
        StreamReader::try_new(Cursor::new(bytes), None).map_err(|error| damaged(error.to_string()))?;
    match reader.next() {
        Some(batch) => batch.map_err(|error| damaged(error.to_string())),
        None => Err(damaged("no batch".to_owned())),
    }
}
