//! The one that changes a table: under its lock, on its own list of chunks, with savepoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use datafusion::execution::memory_pool::MemoryReservation;
use hashbrown::{HashMap, HashSet};
use tokio::sync::OwnedMutexGuard;

use super::chunk::{RowId, TableChunk, TableVersion};
use super::index::{KeyIndex, has_key};
use super::past::{Past, PastRows};
use super::record::{TableRecord, gone, stamped};
use super::{TableHandle, TableWork, all_keys, key};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::log::transaction::Transaction;
use crate::log::{CommitNo, StreamSpec};
use crate::memory::MemoryPart;
use crate::memory::rows::batch_bytes;
use crate::store::{Space, Store};

/// A savepoint of a [`TableWriter`].
#[derive(Debug, Clone)]
pub struct Mark {
    chunks: Vec<TableChunk>,
    undo: usize,
    bytes: usize,
}

/// Holds a table's lock and changes it. Dropping it without committing takes everything back.
pub struct TableWriter {
    table: Arc<TableHandle>,
    work: OwnedMutexGuard<TableWork>,
    base: Arc<TableVersion>,
    chunks: Vec<TableChunk>,
    /// What an index, by its number, held before each change of it, oldest first.
    undo: Vec<(usize, Box<[u8]>, Option<RowId>)>,
    /// The indexes before they were made anew with a base.
    saved: Option<Vec<HashMap<Box<[u8]>, RowId>>>,
    /// What its new rows take until they are the table's.
    memory: MemoryReservation,
}

/// What a commit will have written.
struct PreparedWrite {
    is_base: bool,
    bytes: bytes::Bytes,
    /// The rows that go.
    gone: Vec<PastRows>,
}

impl TableWriter {
    pub(super) fn new(table: Arc<TableHandle>, work: OwnedMutexGuard<TableWork>) -> TableWriter {
        let base = table.version();
        let chunks = base.chunks.clone();
        let memory = table.accounts.reserve(MemoryPart::Writes);
        TableWriter { table, work, base, chunks, undo: Vec::new(), saved: None, memory }
    }

    /// The table.
    pub fn table(&self) -> &Arc<TableHandle> {
        &self.table
    }

    /// The table as this writer sees it, its own changes included.
    pub fn scan(&self) -> TableVersion {
        TableVersion::new(
            self.base.commit,
            Arc::clone(&self.table.spec.schema),
            self.chunks.clone(),
            Arc::clone(&self.base.past),
        )
    }

    /// The rows with these values of the key with that number, one answer for each.
    pub fn find(&self, key: usize, key_columns: &[ArrayRef]) -> Result<Vec<Option<RowId>>> {
        let Some(index) = self.work.indexes.get(key) else {
            return Err(Error::new(
                SqlState::InvalidColumnReference,
                format!("table \"{}\" has no such key", self.table.spec.name),
            ));
        };
        let keys = index.keys(key_columns)?;
        Ok(keys.iter().map(|key| index.rows.get(key.as_ref()).copied()).collect())
    }

    /// Adds rows, all or (23505, 23502, 53200) none, and returns their ids.
    pub fn append(&mut self, batch: RecordBatch) -> Result<Vec<RowId>> {
        let spec = &self.table.spec;
        let shape = StreamSpec {
            schema: Arc::clone(&spec.schema),
            watermark: None,
            retention_ms: None,
            retention_bytes: None,
        };
        crate::log::staging::check_rows(&shape, &batch)?;
        let batch = RecordBatch::try_new(Arc::clone(&spec.schema), batch.columns().to_vec())?;
        let chunk = self.chunks.len();
        let ids: Vec<RowId> = (0..batch.num_rows()).map(|row| RowId::new(chunk, row)).collect();
        if ids.is_empty() {
            return Ok(ids);
        }
        let memory = self.memory.new_empty();
        memory.try_grow(batch_bytes(&batch))?;
        let mut all_keys = Vec::with_capacity(self.work.indexes.len());
        for index in &self.work.indexes {
            let columns = index.key_columns(&batch);
            let keys = index.keys(&columns)?;
            let mut fresh: HashSet<&[u8]> = HashSet::with_capacity(ids.len());
            for row in (0..ids.len()).filter(|row| has_key(&columns, *row)) {
                if index.rows.contains_key(keys.row(row).as_ref())
                    || !fresh.insert(keys.row(row).data())
                {
                    return Err(index.duplicate(&columns, row));
                }
            }
            drop(fresh);
            all_keys.push((columns, keys));
        }
        for (number, (columns, keys)) in all_keys.iter().enumerate() {
            for (row, id) in ids.iter().enumerate().filter(|(row, _)| has_key(columns, *row)) {
                let key: Box<[u8]> = keys.row(row).as_ref().into();
                self.undo.push((number, key.clone(), None));
                self.work.indexes[number].rows.insert(key, *id);
            }
        }
        self.memory.grow(memory.free());
        self.chunks.push(TableChunk::new(batch));
        Ok(ids)
    }

    /// Deletes rows; returns how many of them there were.
    pub fn delete(&mut self, ids: &[RowId]) -> Result<usize> {
        let mut by_chunk: std::collections::BTreeMap<usize, Vec<u32>> = Default::default();
        for id in ids {
            let is_there =
                self.chunks.get_mut(id.chunk()).is_some_and(|chunk| chunk.delete(id.row()));
            if is_there {
                by_chunk.entry(id.chunk()).or_default().push(id.row() as u32);
            }
        }
        let count = by_chunk.values().map(Vec::len).sum();
        for (number, index) in self.work.indexes.iter_mut().enumerate() {
            for (at, rows) in &by_chunk {
                let rows = UInt32Array::from(rows.clone());
                let columns = index.key_columns(&self.chunks[*at].batch);
                let columns: Vec<ArrayRef> =
                    columns.iter().map(|c| take(c, &rows, None)).collect::<Result<_, _>>()?;
                for key in index.keys(&columns)?.iter() {
                    if let Some((key, old)) = index.rows.remove_entry(key.as_ref()) {
                        self.undo.push((number, key, Some(old)));
                    }
                }
            }
        }
        Ok(count)
    }

    /// Deletes all rows; returns how many there were.
    pub fn truncate(&mut self) -> usize {
        let count = self.chunks.iter().map(|chunk| chunk.live).sum();
        for chunk in &mut self.chunks {
            *chunk = TableChunk::empty(&self.table.spec.schema);
        }
        for (number, index) in self.work.indexes.iter_mut().enumerate() {
            self.undo.extend(index.rows.drain().map(|(key, id)| (number, key, Some(id))));
        }
        count
    }

    /// Where [`rollback_to`](Self::rollback_to) can come back to.
    pub fn savepoint(&self) -> Mark {
        Mark { chunks: self.chunks.clone(), undo: self.undo.len(), bytes: self.memory.size() }
    }

    /// Takes back what was done since; the mark can be used again.
    pub fn rollback_to(&mut self, mark: &Mark) {
        self.chunks = mark.chunks.clone();
        self.memory.resize(mark.bytes);
        self.undo_to(mark.undo);
    }

    /// Takes everything back and gives the lock free.
    pub fn rollback(self) {}

    /// Adds the end of the table to a transaction: all that is stored of it goes. The lock is held
    /// until then.
    pub fn drop_table(self, store: Arc<dyn Store>, transaction: &mut Transaction) {
        let id = self.table.id;
        let image = Arc::clone(&self.table.image);
        transaction.with_commit(move |_, batch| {
            let (from, to) = all_keys(id);
            for key in store.keys(Space::Tables, &from, &to)? {
                batch.delete(Space::Tables, key?);
            }
            image.end(batch);
            Ok(())
        });
        transaction.on_commit(move |_| drop(self));
    }

    /// Whether anything is different from the published version.
    pub fn has_changes(&self) -> bool {
        let same = |(new, old): (&TableChunk, &TableChunk)| new.live == old.live;
        self.chunks.len() != self.base.chunks.len()
            || !self.chunks.iter().zip(&self.base.chunks).all(same)
    }

    /// Adds the changes to a transaction: they become durable with it, are published when they are,
    /// and are taken back if it fails. The lock is held until then.
    pub fn into_transaction(mut self, transaction: &mut Transaction) -> Result<()> {
        if !self.has_changes() {
            return Ok(());
        }
        let PreparedWrite { is_base, bytes, gone } = self.prepare()?;
        let (size, replaces) = (bytes.len(), !gone.is_empty());
        let old = if is_base { self.work.records.clone() } else { Vec::new() };
        // Told by one to the other, both in the commit thread.
        let time = Arc::new(AtomicI64::new(0));
        let (table, stamp) = (Arc::clone(&self.table), Arc::clone(&time));
        transaction.with_commit(move |commit, batch| {
            let at = table.commit_micros(replaces);
            stamp.store(at, Ordering::Relaxed);
            old.into_iter().for_each(|key| batch.delete(Space::Tables, key));
            batch.put(Space::Tables, key(table.id, commit), stamped(&bytes, at));
            Ok(())
        });
        transaction.on_commit(move |commit| {
            self.publish(commit, size, is_base, gone, time.load(Ordering::Relaxed));
        });
        Ok(())
    }

    fn publish(
        mut self,
        commit: CommitNo,
        size: usize,
        is_base: bool,
        gone: Vec<PastRows>,
        at: i64,
    ) {
        self.undo.clear();
        self.saved = None;
        let work = &mut *self.work;
        if is_base {
            work.records.clear();
            (work.base_bytes, work.change_bytes) = (size, 0);
        } else {
            work.change_bytes += size;
        }
        work.records.push(key(self.table.id, commit));
        let mut chunks = std::mem::take(&mut self.chunks);
        chunks.iter_mut().for_each(|chunk| chunk.stamp(at));
        let past = self.past_with(gone, at);
        let index_bytes = self.work.indexes.iter().map(KeyIndex::bytes).sum();
        let version = TableVersion::new(commit, Arc::clone(&self.table.spec.schema), chunks, past);
        self.memory.free();
        self.table.publish(version, index_bytes);
    }

    /// The rows that are no more, with those that have gone now.
    fn past_with(&self, gone: Vec<PastRows>, at: i64) -> Arc<Past> {
        if gone.is_empty() {
            return Arc::clone(&self.base.past);
        }
        let mut past = Past::clone(&self.base.past);
        let gone = gone.into_iter().map(|rows| rows.stamped(at)).collect();
        if let Err(error) = self.table.kept.push(&mut past, gone, at) {
            // The table itself is as it should be.
            tracing::error!("table {}: its past is not kept: {error}", self.table.spec.name);
        }
        Arc::new(past)
    }

    /// Brings the chunks into the form in which they are published, and says what to store for it.
    fn prepare(&mut self) -> Result<PreparedWrite> {
        let is_large = self.work.base_bytes + self.work.change_bytes >= self.table.whole_bytes();
        let mut record = self.difference();
        let keeps = self.table.kept.is_any();
        let gone = if keeps { gone(&self.base.chunks, &self.chunks)? } else { Vec::new() };
        if is_large {
            record.compacted = self.compact_a_chunk()?;
        }
        record.merge_from = self.merge_from();
        let bytes = record.encode()?;
        let schema = Arc::clone(&self.table.spec.schema);
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.live == 0) {
            *chunk = TableChunk::empty(&schema);
        }
        let (base_bytes, change_bytes) =
            (self.work.base_bytes, self.work.change_bytes + bytes.len());
        if change_bytes > base_bytes + limits::TABLE_CHANGE_BYTES && !is_large {
            let whole = TableChunk::merged(&schema, &self.chunks)?;
            let (rows, most) = (whole.batch.num_rows(), limits::TABLE_MERGED_ROWS);
            let part = |at: usize| {
                let part = at..rows.min(at + most);
                (whole.batch.slice(at, part.len()), whole.since[part].into())
            };
            let added = (0..rows).step_by(most).map(part).collect();
            // Those that go now are stamped with this commit like those that come.
            let past = self.base.past.iter().chain(&gone).cloned().collect();
            let base = TableRecord { is_base: true, added, past, ..TableRecord::default() };
            base.apply(&schema, &mut self.chunks, false)?;
            let indexes = self.work.indexes.iter_mut();
            self.saved = Some(indexes.map(|index| std::mem::take(&mut index.rows)).collect());
            for index in &mut self.work.indexes {
                index.rebuild(&self.chunks)?;
            }
            let bytes = base.encode()?;
            return Ok(PreparedWrite { is_base: true, bytes, gone });
        }
        if let Some(from) = record.merge_from {
            let merged = TableChunk::merged(&schema, &self.chunks[from..])?;
            self.chunks.truncate(from);
            self.reindex(from, &merged.batch)?;
            self.chunks.push(merged);
        }
        Ok(PreparedWrite { is_base: false, bytes, gone })
    }

    /// A large table is never written whole by a writer, so rows that are gone must go in another
    /// way: a chunk that has more of them than of others gives up their room, one with a commit.
    fn compact_a_chunk(&mut self) -> Result<Option<usize>> {
        let is_hollow =
            |chunk: &TableChunk| chunk.live > 0 && chunk.batch.num_rows() > 2 * chunk.live;
        let Some(at) = self.chunks.iter().position(is_hollow) else { return Ok(None) };
        let schema = Arc::clone(&self.table.spec.schema);
        let compact = TableChunk::merged(&schema, &self.chunks[at..=at])?;
        self.reindex(at, &compact.batch)?;
        self.chunks[at] = compact;
        Ok(Some(at))
    }

    /// What is different from the published version.
    fn difference(&self) -> TableRecord {
        let mut record = TableRecord::default();
        let schema = &self.table.spec.schema;
        for (at, chunk) in self.chunks.iter().enumerate() {
            let old = self.base.chunks.get(at);
            if old.is_none() {
                // A chunk of this writer that is empty again keeps its number.
                let rows = if chunk.live == 0 {
                    RecordBatch::new_empty(Arc::clone(schema))
                } else {
                    chunk.batch.clone()
                };
                let since = chunk.since[..rows.num_rows()].into();
                record.added.push((rows, since));
            }
            let was_live = old.map_or(chunk.batch.num_rows(), |old| old.live);
            if chunk.live == was_live || old.is_none() && chunk.live == 0 {
                continue;
            }
            if chunk.live == 0 {
                record.emptied.push(at);
                continue;
            }
            let is_new = |row: &usize| {
                chunk.is_deleted(*row) && !old.is_some_and(|old| old.is_deleted(*row))
            };
            record
                .deleted
                .extend((0..chunk.batch.num_rows()).filter(is_new).map(|row| RowId::new(at, row)));
        }
        record
    }

    /// From which chunk on to merge: as long as the one before is not twice as large as all after
    /// it.
    fn merge_from(&self) -> Option<usize> {
        let mut from = self.chunks.len();
        let (mut rows, mut bytes) = (0, 0);
        while let Some(before) = from.checked_sub(1) {
            let (live, size) = (self.chunks[before].live, self.chunks[before].bytes());
            let is_full = live + rows > limits::TABLE_MERGED_ROWS
                || bytes + size > limits::TABLE_MERGED_BYTES;
            if is_full || from < self.chunks.len() && live > 2 * rows {
                break;
            }
            (rows, bytes) = (rows + live, bytes + size);
            from = before;
        }
        (self.chunks.len() - from >= 2).then_some(from)
    }

    /// The rows of a merged chunk have new ids.
    fn reindex(&mut self, chunk: usize, merged: &RecordBatch) -> Result<()> {
        for (number, index) in self.work.indexes.iter_mut().enumerate() {
            let keys = index.keys(&index.key_columns(merged))?;
            for (row, key) in keys.iter().enumerate() {
                if let Some(id) = index.rows.get_mut(key.as_ref()) {
                    self.undo.push((number, key.as_ref().into(), Some(*id)));
                    *id = RowId::new(chunk, row);
                }
            }
        }
        Ok(())
    }

    fn undo_to(&mut self, mark: usize) {
        let indexes = &mut self.work.indexes;
        for (index, saved) in indexes.iter_mut().zip(self.saved.take().into_iter().flatten()) {
            index.rows = saved;
        }
        while self.undo.len() > mark
            && let Some((number, key, old)) = self.undo.pop()
        {
            let index = &mut indexes[number];
            match old {
                Some(id) => index.rows.insert(key, id),
                None => index.rows.remove(&key),
            };
        }
    }
}

impl Drop for TableWriter {
    fn drop(&mut self) {
        self.undo_to(0);
    }
}
