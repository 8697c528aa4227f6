//! Chunks of rows with marks on the deleted ones, and versions made of them.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::{
    concat_batches, filter, filter_record_batch, interleave_record_batch, take_record_batch,
};
use arrow::datatypes::SchemaRef;

use super::past::{Past, PastRows, UNSTAMPED, stamped, versions};
use crate::error::Result;
use crate::log::CommitNo;
use crate::memory::rows::batch_bytes;

/// Where a row is: chunk in the upper half, row in the lower. Valid for the version or writer it
/// comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub u64);

impl RowId {
    pub(super) fn new(chunk: usize, row: usize) -> RowId {
        RowId((chunk as u64) << 32 | row as u64)
    }

    pub(super) fn chunk(self) -> usize {
        (self.0 >> 32) as usize
    }

    pub(super) fn row(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }
}

/// Rows, some of which are deleted.
#[derive(Debug, Clone)]
pub(super) struct TableChunk {
    pub(super) batch: RecordBatch,
    /// From when each row is there, microseconds since 1970; [`UNSTAMPED`], [`EVER`](super::past::EVER).
    pub(super) since: Arc<[i64]>,
    /// Of some that is not known yet.
    is_unstamped: bool,
    /// One bit a row, set: deleted. None: no row is.
    deleted: Option<Arc<Vec<u64>>>,
    pub(super) live: usize,
}

impl TableChunk {
    /// Rows that come with the commit that is being put together.
    pub(super) fn new(batch: RecordBatch) -> TableChunk {
        let since = std::iter::repeat_n(UNSTAMPED, batch.num_rows()).collect();
        TableChunk::since(batch, since)
    }

    /// Rows, and from when each is there.
    pub(super) fn since(batch: RecordBatch, since: Arc<[i64]>) -> TableChunk {
        let is_unstamped = since.contains(&UNSTAMPED);
        TableChunk { live: batch.num_rows(), batch, since, is_unstamped, deleted: None }
    }

    /// The rows of some chunks that are not deleted as one.
    pub(super) fn merged(schema: &SchemaRef, chunks: &[TableChunk]) -> Result<TableChunk> {
        let since = chunks.iter().flat_map(TableChunk::live_since).collect();
        Ok(TableChunk::since(live_rows(schema, chunks)?, since))
    }

    /// From when those of its rows are there that are not deleted.
    fn live_since(&self) -> impl Iterator<Item = i64> + '_ {
        let rows = 0..self.batch.num_rows();
        rows.filter(|row| !self.is_deleted(*row)).map(|row| self.since[row])
    }

    /// Its commit has got its time.
    pub(super) fn stamp(&mut self, at: i64) {
        if std::mem::take(&mut self.is_unstamped) {
            self.since = stamped(&self.since, at);
        }
    }

    /// Those of its rows that are deleted in a later state of it.
    pub(super) fn gone_in(&self, later: Option<&TableChunk>) -> Result<PastRows> {
        let same = later.filter(|later| later.batch.num_rows() == self.batch.num_rows());
        let is_gone =
            |row: &usize| !self.is_deleted(*row) && same.is_none_or(|later| later.is_deleted(*row));
        let rows: Vec<usize> = (0..self.batch.num_rows()).filter(is_gone).collect();
        let places = UInt32Array::from_iter_values(rows.iter().map(|row| *row as u32));
        Ok(PastRows {
            batch: take_record_batch(&self.batch, &places)?,
            since: rows.iter().map(|row| self.since[*row]).collect(),
            until: std::iter::repeat_n(UNSTAMPED, rows.len()).collect(),
        })
    }

    /// Takes the place of a chunk that has no row left.
    pub(super) fn empty(schema: &SchemaRef) -> TableChunk {
        TableChunk::new(RecordBatch::new_empty(Arc::clone(schema)))
    }

    pub(super) fn is_deleted(&self, row: usize) -> bool {
        self.deleted.as_ref().is_some_and(|bits| bits[row / 64] >> (row % 64) & 1 == 1)
    }

    /// Marks a row; false if there is no such live row.
    pub(super) fn delete(&mut self, row: usize) -> bool {
        let rows = self.batch.num_rows();
        if row >= rows || self.is_deleted(row) {
            return false;
        }
        let bits = self.deleted.get_or_insert_with(|| Arc::new(vec![0; rows.div_ceil(64)]));
        Arc::make_mut(bits)[row / 64] |= 1 << (row % 64);
        self.live -= 1;
        true
    }

    pub(super) fn bytes(&self) -> usize {
        batch_bytes(&self.batch)
            + size_of_val(&*self.since)
            + self.deleted.as_ref().map_or(0, |bits| bits.len() * size_of::<u64>())
    }

    fn kept(&self) -> Option<BooleanArray> {
        let bits = self.deleted.as_ref()?;
        let kept: Vec<u64> = bits.iter().map(|word| !word).collect();
        Some(BooleanArray::new(
            BooleanBuffer::new(Buffer::from_vec(kept), 0, self.batch.num_rows()),
            None,
        ))
    }

    /// The rows that are not deleted.
    pub(super) fn rows(&self) -> Result<RecordBatch> {
        self.rows_of(None)
    }

    /// The rows that are not deleted, of these columns only (None: of all).
    fn rows_of(&self, columns: Option<&[usize]>) -> Result<RecordBatch> {
        let batch = match columns {
            Some(columns) => self.batch.project(columns)?,
            None => self.batch.clone(),
        };
        match self.kept() {
            None => Ok(batch),
            Some(kept) => Ok(filter_record_batch(&batch, &kept)?),
        }
    }

    /// The ids of the rows that are deleted, this being chunk number `chunk`.
    pub(super) fn deleted_ids(&self, chunk: usize) -> Vec<RowId> {
        let rows = 0..self.batch.num_rows();
        rows.filter(|row| self.is_deleted(*row)).map(|row| RowId::new(chunk, row)).collect()
    }

    /// The ids of the rows that are not deleted, this being chunk number `chunk`.
    pub(super) fn ids(&self, chunk: usize) -> Result<UInt64Array> {
        let ids = UInt64Array::from_iter_values(
            (0..self.batch.num_rows()).map(|row| RowId::new(chunk, row).0),
        );
        match self.kept() {
            None => Ok(ids),
            Some(kept) => {
                let data = filter(&ids, &kept)?;
                Ok(UInt64Array::from(data.to_data()))
            }
        }
    }
}

/// The live rows of chunks as one batch.
pub(super) fn live_rows(schema: &SchemaRef, chunks: &[TableChunk]) -> Result<RecordBatch> {
    let rows =
        chunks.iter().filter(|c| c.live > 0).map(TableChunk::rows).collect::<Result<Vec<_>>>()?;
    Ok(concat_batches(schema, &rows)?)
}

/// The contents of a table at one commit. Never changes.
#[derive(Debug)]
pub struct TableVersion {
    /// The commit that made it (0: the table was empty when it was created).
    pub commit: CommitNo,
    schema: SchemaRef,
    pub(super) chunks: Vec<TableChunk>,
    pub(super) past: Arc<Past>,
}

impl TableVersion {
    pub(super) fn new(
        commit: CommitNo,
        schema: SchemaRef,
        chunks: Vec<TableChunk>,
        past: Arc<Past>,
    ) -> TableVersion {
        TableVersion { commit, schema, chunks, past }
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.live).sum()
    }

    /// How many bytes they take, deleted ones that are still there included.
    pub fn bytes(&self) -> usize {
        let past: usize = self.past.iter().map(PastRows::bytes).sum();
        self.chunks.iter().map(TableChunk::bytes).sum::<usize>() + past
    }

    /// Its rows and those that are no more, each with the time from which and up to which it is
    /// there, with the columns of [`versions_schema`](super::versions_schema): so many parts.
    pub fn version_parts(&self) -> usize {
        self.past.len() + self.chunks.len()
    }

    /// A part of them; None: there are none in it.
    pub fn version_part(&self, at: usize) -> Result<Option<RecordBatch>> {
        if let Some(past) = self.past.get(at) {
            return versions(past.batch.clone(), &past.since, &past.until).map(Some);
        }
        let chunk = self.chunks.get(at - self.past.len());
        let Some(chunk) = chunk.filter(|chunk| chunk.live > 0) else { return Ok(None) };
        let since: Vec<i64> = chunk.live_since().collect();
        versions(chunk.rows()?, &since, &vec![UNSTAMPED; since.len()]).map(Some)
    }

    /// All rows.
    pub fn batches(&self) -> Result<Vec<RecordBatch>> {
        self.chunks.iter().filter(|c| c.live > 0).map(TableChunk::rows).collect()
    }

    /// How many parts it has, some of them without rows.
    pub fn parts(&self) -> usize {
        self.chunks.len()
    }

    /// The rows of a part, of these columns only (None: of all); None: there are none in it.
    pub fn part(&self, at: usize, columns: Option<&[usize]>) -> Result<Option<RecordBatch>> {
        self.chunks
            .get(at)
            .filter(|chunk| chunk.live > 0)
            .map(|chunk| chunk.rows_of(columns))
            .transpose()
    }

    /// The rows with these ids, in this order.
    pub fn fetch(&self, ids: &[RowId]) -> Result<RecordBatch> {
        let mut used: Vec<usize> = ids.iter().map(|id| id.chunk()).collect();
        used.sort_unstable();
        used.dedup();
        let batches: Option<Vec<&RecordBatch>> =
            used.iter().map(|chunk| self.chunks.get(*chunk).map(|chunk| &chunk.batch)).collect();
        let is_row =
            |id: &RowId| self.chunks.get(id.chunk()).is_some_and(|c| id.row() < c.batch.num_rows());
        let Some(batches) = batches.filter(|_| ids.iter().all(is_row)) else {
            return Err(crate::error::Error::internal("a row is not in this version of the table"));
        };
        if ids.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        let place = |id: &RowId| (used.partition_point(|chunk| *chunk < id.chunk()), id.row());
        Ok(interleave_record_batch(&batches, &ids.iter().map(place).collect::<Vec<_>>())?)
    }

    /// All rows with their ids, which a writer of this very state understands.
    pub fn batches_with_ids(&self) -> Result<Vec<(RecordBatch, UInt64Array)>> {
        let live = self.chunks.iter().enumerate().filter(|(_, c)| c.live > 0);
        live.map(|(at, chunk)| Ok((chunk.rows()?, chunk.ids(at)?))).collect()
    }
}
