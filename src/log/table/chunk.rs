//! Chunks of rows with marks on the deleted ones, and versions made of them.

use std::sync::Arc;

use datafusion::arrow::array::{BooleanArray, RecordBatch, UInt64Array};
use datafusion::arrow::buffer::{BooleanBuffer, Buffer};
use datafusion::arrow::compute::{
    concat_batches, filter, filter_record_batch, interleave_record_batch,
};
use datafusion::arrow::datatypes::SchemaRef;

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
    /// One bit a row, set: deleted. None: no row is.
    deleted: Option<Arc<Vec<u64>>>,
    pub(super) live: usize,
}

impl TableChunk {
    pub(super) fn new(batch: RecordBatch) -> TableChunk {
        TableChunk { live: batch.num_rows(), batch, deleted: None }
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
}

impl TableVersion {
    pub(super) fn new(
        commit: CommitNo,
        schema: SchemaRef,
        chunks: Vec<TableChunk>,
    ) -> TableVersion {
        TableVersion { commit, schema, chunks }
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
        self.chunks.iter().map(TableChunk::bytes).sum()
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
