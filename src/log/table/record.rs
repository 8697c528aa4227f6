//! One change of a table as it is stored: what was deleted, what was added, which chunks were
//! merged after that.
//!
//! Replaying the records in order gives the same chunks with the same numbers again, which is what
//! the row ids in later records refer to. A base is a record that begins with nothing.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use super::chunk::{RowId, TableChunk};
use super::past::{EVER, PastRows, read_times, write_times};
use crate::error::Result;
use crate::store::codec::{ValueReader, ValueWriter, corrupted};

const VERSION: u8 = 2;

/// Before rows had times.
const WITHOUT_TIMES: u8 = 1;

/// What stands behind the value: the time of its commit, which is known when all else has been
/// written down, and the checksum of that.
const STAMP: usize = 12;

/// A change, or with `is_base` the whole table.
#[derive(Debug, Default)]
pub(super) struct TableRecord {
    pub(super) is_base: bool,
    /// New chunks, appended in order, and from when their rows are there.
    pub(super) added: Vec<(RecordBatch, Arc<[i64]>)>,
    /// Chunks that have no row left.
    pub(super) emptied: Vec<usize>,
    /// Single rows, of old and of new chunks.
    pub(super) deleted: Vec<RowId>,
    /// A chunk that gives up the room of its deleted rows.
    pub(super) compacted: Option<usize>,
    /// All chunks from this one on become one.
    pub(super) merge_from: Option<usize>,
    /// Of a whole table the rows that are no more.
    pub(super) past: Vec<PastRows>,
    /// When it was committed, if it was stored with that: microseconds since 1970.
    pub(super) at: Option<i64>,
}

/// A record with the time of its commit.
pub(super) fn stamped(value: &Bytes, at: i64) -> Bytes {
    let time = at.to_le_bytes();
    let sum = crc32fast::hash(&time).to_le_bytes();
    [&value[..], &time[..], &sum[..]].concat().into()
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
        out.varint(self.compacted.map_or(0, |chunk| chunk as u64 + 1));
        out.varint(self.added.len() as u64);
        for (batch, since) in &self.added {
            write_times(since, &mut out);
            out.batch(batch)?;
        }
        out.varint(self.past.len() as u64);
        self.past.iter().try_for_each(|rows| rows.write(&mut out))?;
        Ok(out.finish())
    }

    pub(super) fn decode(value: Bytes, schema: &SchemaRef) -> Result<TableRecord> {
        if value.first() == Some(&WITHOUT_TIMES) {
            return TableRecord::without_times(value, schema);
        }
        let (value, at) = without_stamp(value)?;
        let mut value = ValueReader::open(value, VERSION)?;
        let mut record = TableRecord::without_rows(&mut value)?;
        record.at = Some(at);
        record.compacted = value.varint()?.checked_sub(1).map(|chunk| chunk as usize);
        for _ in 0..value.varint()? {
            let since = read_times(&mut value)?;
            record.added.push((value.batch(schema, None)?, since));
        }
        for _ in 0..value.varint()? {
            record.past.push(PastRows::read(&mut value, schema)?);
        }
        record.when_at_end(&value)
    }

    /// A record of before: its rows have always been there, as far as is known.
    fn without_times(value: Bytes, schema: &SchemaRef) -> Result<TableRecord> {
        let mut value = ValueReader::open(value, WITHOUT_TIMES)?;
        let mut record = TableRecord::without_rows(&mut value)?;
        for _ in 0..value.varint()? {
            let batch = value.batch(schema, None)?;
            let since = std::iter::repeat_n(EVER, batch.num_rows()).collect();
            record.added.push((batch, since));
        }
        record.when_at_end(&value)
    }

    /// What a record of either form begins with.
    fn without_rows(value: &mut ValueReader) -> Result<TableRecord> {
        let is_base = value.varint()? != 0;
        let merge_from = value.varint()?.checked_sub(1).map(|from| from as usize);
        let emptied =
            (0..value.varint()?).map(|_| Ok(value.varint()? as usize)).collect::<Result<_>>()?;
        let deleted =
            (0..value.varint()?).map(|_| Ok(RowId(value.varint()?))).collect::<Result<_>>()?;
        Ok(TableRecord { is_base, merge_from, emptied, deleted, ..TableRecord::default() })
    }

    fn when_at_end(self, value: &ValueReader) -> Result<TableRecord> {
        if value.is_at_end() {
            Ok(self)
        } else {
            Err(corrupted("there is more in it than it says"))
        }
    }

    /// Does the change; gives the rows that have gone with it. `is_image`: it is a part of a table as
    /// it was, whose deleted rows had gone before.
    pub(super) fn apply(
        &self,
        schema: &SchemaRef,
        chunks: &mut Vec<TableChunk>,
        is_image: bool,
    ) -> Result<Vec<PastRows>> {
        if self.is_base {
            chunks.clear();
        }
        let before = chunks.clone();
        let added = self.added.iter().cloned();
        chunks.extend(added.map(|(batch, since)| TableChunk::since(batch, since)));
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
        let is_known = !is_image && self.at.is_some();
        let mut past = if is_known { gone(&before, chunks)? } else { Vec::new() };
        if let Some(at) = self.compacted {
            let chunk = chunks.get_mut(at);
            let chunk = chunk.ok_or_else(|| corrupted("it compacts a chunk that is not there"))?;
            *chunk = TableChunk::merged(schema, std::slice::from_ref(chunk))?;
        }
        if let Some(from) = self.merge_from {
            let tail = chunks
                .get(from..)
                .ok_or_else(|| corrupted("it merges chunks that are not there"))?;
            let merged = TableChunk::merged(schema, tail)?;
            chunks.truncate(from);
            chunks.push(merged);
        }
        if let Some(at) = self.at {
            chunks.iter_mut().for_each(|chunk| chunk.stamp(at));
            past.extend(self.past.iter().cloned());
            past = past.into_iter().map(|rows| rows.stamped(at)).collect();
        }
        Ok(past)
    }
}

/// The rows of chunks that are deleted in a later state of them, which may be longer.
pub(super) fn gone(before: &[TableChunk], now: &[TableChunk]) -> Result<Vec<PastRows>> {
    let mut past = Vec::new();
    for (at, chunk) in before.iter().enumerate() {
        let later = now.get(at);
        if later.is_some_and(|later| later.live == chunk.live) {
            continue;
        }
        past.push(chunk.gone_in(later)?);
    }
    Ok(past)
}

/// The value before the time of its commit, and that.
fn without_stamp(value: Bytes) -> Result<(Bytes, i64)> {
    let cut = || corrupted("it is cut short");
    let at = value.len().checked_sub(STAMP).ok_or_else(cut)?;
    let (time, sum) = value[at..].split_at(8);
    if crc32fast::hash(time).to_le_bytes() != *sum {
        return Err(corrupted("the time of its commit is damaged"));
    }
    let time = i64::from_le_bytes(time.try_into().map_err(|_| cut())?);
    Ok((value.slice(..at), time))
}
