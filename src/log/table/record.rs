//! One change of a table as it is stored: what was deleted, what was added, which chunks were
//! merged after that.
//!
//! Replaying the records in order gives the same chunks with the same numbers again, which is what
//! the row ids in later records refer to. A base is a record that begins with nothing.

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use super::chunk::{RowId, TableChunk, live_rows};
use crate::error::Result;
use crate::store::codec::{ValueReader, ValueWriter, corrupted};

const VERSION: u8 = 1;

/// A change, or with `is_base` the whole table.
#[derive(Debug, Default)]
pub(super) struct TableRecord {
    pub(super) is_base: bool,
    /// New chunks, appended in order.
    pub(super) added: Vec<RecordBatch>,
    /// Chunks that have no row left.
    pub(super) emptied: Vec<usize>,
    /// Single rows, of old and of new chunks.
    pub(super) deleted: Vec<RowId>,
    /// All chunks from this one on become one.
    pub(super) merge_from: Option<usize>,
}

impl TableRecord {
    pub(super) fn encode(&self) -> Result<Bytes> {
        let mut out = ValueWriter::new(VERSION);
        out.varint(u64::from(self.is_base));
        out.varint(self.merge_from.map_or(0, |from| from as u64 + 1));
        out.varint(self.emptied.len() as u64);
        self.emptied.iter().for_each(|chunk| out.varint(*chunk as u64));
        out.varint(self.deleted.len() as u64);
        self.deleted.iter().for_each(|id| out.varint(id.0));
        out.varint(self.added.len() as u64);
        for batch in &self.added {
            out.batch(batch)?;
        }
        Ok(out.finish())
    }

    pub(super) fn decode(value: Bytes, schema: &SchemaRef) -> Result<TableRecord> {
        let mut value = ValueReader::open(value, VERSION)?;
        let is_base = value.varint()? != 0;
        let merge_from = value.varint()?.checked_sub(1).map(|from| from as usize);
        let emptied =
            (0..value.varint()?).map(|_| Ok(value.varint()? as usize)).collect::<Result<_>>()?;
        let deleted =
            (0..value.varint()?).map(|_| Ok(RowId(value.varint()?))).collect::<Result<_>>()?;
        let added =
            (0..value.varint()?).map(|_| value.batch(schema, None)).collect::<Result<_>>()?;
        if value.is_at_end() {
            Ok(TableRecord { is_base, added, emptied, deleted, merge_from })
        } else {
            Err(corrupted("there is more in it than it says"))
        }
    }

    /// Does the change.
    pub(super) fn apply(&self, schema: &SchemaRef, chunks: &mut Vec<TableChunk>) -> Result<()> {
        if self.is_base {
            chunks.clear();
        }
        chunks.extend(self.added.iter().cloned().map(TableChunk::new));
        for at in &self.emptied {
            *chunks
                .get_mut(*at)
                .ok_or_else(|| corrupted("it empties a chunk that is not there"))? =
                TableChunk::empty(schema);
        }
        for id in &self.deleted {
            if !chunks.get_mut(id.chunk()).is_some_and(|chunk| chunk.delete(id.row())) {
                return Err(corrupted("it deletes a row that is not there"));
            }
        }
        if let Some(from) = self.merge_from {
            let tail = chunks
                .get(from..)
                .ok_or_else(|| corrupted("it merges chunks that are not there"))?;
            let merged = live_rows(schema, tail)?;
            chunks.truncate(from);
            chunks.push(TableChunk::new(merged));
        }
        Ok(())
    }
}
