//! Rows appended together, and which of them are gone; and many such chunks at one moment.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::{concat_batches, filter_record_batch, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use crate::memory::rows::batch_bytes;

/// The numbers of a chunk's rows, ascending.
#[derive(Debug, Clone)]
enum Numbers {
    /// This one and those after it.
    From(u64),
    /// These: some rows between them are gone.
    List(Arc<[u64]>),
}

/// Rows appended together, and which of them are gone.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The rows.
    pub batch: RecordBatch,
    numbers: Numbers,
    gone: Arc<Vec<u64>>,
    left: usize,
    bytes: usize,
}

impl Chunk {
    /// Rows numbered from `first` on.
    pub(super) fn new(batch: RecordBatch, first: u64) -> Self {
        Self::with(batch, Numbers::From(first))
    }

    fn with(batch: RecordBatch, numbers: Numbers) -> Self {
        let rows = batch.num_rows();
        let bytes = batch_bytes(&batch);
        Chunk { batch, numbers, gone: Arc::new(vec![0; rows.div_ceil(64)]), left: rows, bytes }
    }

    /// One chunk of the rows that are left in these.
    pub(super) fn joined(schema: &SchemaRef, chunks: &[Chunk]) -> Result<Self> {
        let left = chunks.iter().map(Chunk::rows).collect::<Result<Vec<_>>>()?;
        let numbers = chunks.iter().flat_map(Chunk::numbers).collect();
        Ok(Self::numbered(concat_batches(schema, &left)?, numbers))
    }

    /// Rows of these numbers, which are ascending.
    pub(super) fn numbered(batch: RecordBatch, numbers: Vec<u64>) -> Self {
        let dense = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let numbers = match (dense, numbers.first()) {
            (true, Some(&first)) => Numbers::From(first),
            (_, _) => Numbers::List(numbers.into()),
        };
        Self::with(batch, numbers)
    }

    /// The numbers of the rows that are there.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len()).filter(|&row| !self.is_gone(row)).map(|row| self.number(row))
    }

    /// Whether most of its rows are gone.
    pub(super) fn is_sparse(&self) -> bool {
        self.left * 2 < self.len()
    }

    /// How many rows, with those that are gone.
    pub(super) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// How many rows are there.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    pub(super) fn bytes(&self) -> usize {
        let numbers = match &self.numbers {
            Numbers::From(_) => 0,
            Numbers::List(list) => list.len() * 8,
        };
        self.bytes + numbers + self.gone.len() * 8
    }

    pub(super) fn number(&self, row: usize) -> u64 {
        match &self.numbers {
            Numbers::From(first) => first + row as u64,
            Numbers::List(list) => list[row],
        }
    }

    fn row(&self, number: u64) -> Option<usize> {
        match &self.numbers {
            Numbers::From(first) => {
                number.checked_sub(*first).map(|row| row as usize).filter(|&row| row < self.len())
            }
            Numbers::List(list) => list.binary_search(&number).ok(),
        }
    }

    /// Whether this row has been deleted.
    pub fn is_gone(&self, row: usize) -> bool {
        self.gone[row / 64] >> (row % 64) & 1 == 1
    }

    pub(super) fn delete(&mut self, row: usize) {
        Arc::make_mut(&mut self.gone)[row / 64] |= 1 << (row % 64);
        self.left -= 1;
    }

    /// The rows that are there.
    pub fn rows(&self) -> Result<RecordBatch> {
        self.rows_of(None)
    }

    /// The rows that are there, of these columns only (None: of all).
    pub fn rows_of(&self, columns: Option<&[usize]>) -> Result<RecordBatch> {
        let batch = match columns {
            Some(columns) => self.batch.project(columns)?,
            None => self.batch.clone(),
        };
        if self.left == self.len() {
            return Ok(batch);
        }
        let there = self.gone.iter().map(|word| !word).collect::<Vec<_>>();
        let there = BooleanBuffer::new(Buffer::from_vec(there), 0, self.len());
        Ok(filter_record_batch(&batch, &BooleanArray::new(there, None))?)
    }
}

/// Where the row of this number lies: (chunk, row). Rows that are gone may still be found.
pub(super) fn locate(chunks: &[Chunk], number: u64) -> Option<(usize, usize)> {
    let after = chunks.partition_point(|c| c.len() == 0 || c.number(0) <= number);
    let chunk = after.checked_sub(1)?;
    Some((chunk, chunks[chunk].row(number)?))
}

/// The rows of these numbers, in this order.
pub(super) fn gather(schema: &SchemaRef, chunks: &[Chunk], numbers: &[u64]) -> Result<RecordBatch> {
    if numbers.is_empty() {
        return Ok(RecordBatch::new_empty(Arc::clone(schema)));
    }
    // Only the chunks that are needed: there may be thousands.
    let mut part = vec![usize::MAX; chunks.len()];
    let (mut parts, mut places) = (Vec::new(), Vec::with_capacity(numbers.len()));
    for &number in numbers {
        let (chunk, row) = locate(chunks, number)
            .ok_or_else(|| Error::internal("a row was asked for that is not there"))?;
        if part[chunk] == usize::MAX {
            part[chunk] = parts.len();
            parts.push(&chunks[chunk].batch);
        }
        places.push((part[chunk], row));
    }
    Ok(interleave_record_batch(&parts, &places)?)
}

/// The contents at one moment; holding it does not hold up the store.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) schema: SchemaRef,
    pub(super) chunks: Arc<Vec<Chunk>>,
}

impl Snapshot {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The chunks with their deletions.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The rows, batch by batch.
    pub fn batches(&self) -> Result<Vec<RecordBatch>> {
        self.chunks.iter().filter(|c| c.left > 0).map(Chunk::rows).collect()
    }

    /// How many parts it has, some of them without rows.
    pub fn parts(&self) -> usize {
        self.chunks.len()
    }

    /// The rows of a part, of these columns only (None: of all); None: there are none in it.
    pub fn part(&self, at: usize, columns: Option<&[usize]>) -> Result<Option<RecordBatch>> {
        self.chunks
            .get(at)
            .filter(|chunk| chunk.left > 0)
            .map(|chunk| chunk.rows_of(columns))
            .transpose()
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.chunks.iter().map(|c| c.left).sum()
    }

    /// How many bytes they take, deleted ones that are still there included.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::bytes).sum()
    }
}
