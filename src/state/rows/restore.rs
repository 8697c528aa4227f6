//! Rows as they are stored: with their numbers, in pieces that may overlap.
//!
//! What is stored of a store is a set of *pieces*, each the rows that were there between two
//! numbers at one moment, and the changes since the oldest of them. A row never changes and its
//! number is never given to another, so the order of all this does not matter: a row is there if
//! some part has it and no change has removed it. Of two parts that overlap the one that begins
//! first has every row up to its end that is not removed, so the other one's rows up to there are
//! left out.

use std::sync::Arc;

use arrow::array::{UInt32Array, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::record_batch::RecordBatch;

use super::RowStore;
use super::chunk::Chunk;
use crate::error::{Error, Result};
use crate::limits::BATCH_ROWS;

/// Rows and their numbers, ascending.
#[derive(Debug, Clone)]
pub struct NumberedRows {
    /// One number a row.
    pub numbers: UInt64Array,
    /// The rows.
    pub batch: RecordBatch,
}

impl RowStore {
    /// The rows there are from this number on, some thousands, and the number to go on with;
    /// `None`: there are none.
    pub fn piece(&self, from: u64, rows: usize) -> Result<Option<(NumberedRows, u64)>> {
        let (mut batches, mut numbers) = (Vec::new(), Vec::<u64>::new());
        let chunk = self.chunks.partition_point(|c| c.len() == 0 || c.number(c.len() - 1) < from);
        for chunk in &self.chunks[chunk..] {
            if !numbers.is_empty() && numbers.len() + chunk.left() > rows {
                break;
            }
            let new: Vec<u64> = chunk.numbers().collect();
            let known = new.partition_point(|number| *number < from);
            let left = (new.len() - known).min(rows - numbers.len());
            batches.push(chunk.rows()?.slice(known, left));
            numbers.extend(&new[known..known + left]);
            if known + left < new.len() {
                break;
            }
        }
        let Some(last) = numbers.last().copied() else { return Ok(None) };
        let batch = concat_batches(&self.schema, &batches)?;
        Ok(Some((NumberedRows { numbers: UInt64Array::from(numbers), batch }, last + 1)))
    }

    /// Puts the store together: the rows that are there already, and those of `parts`, without the
    /// removed ones. The next row gets the number `next` or a greater one.
    pub fn restore(
        &mut self,
        mut parts: Vec<NumberedRows>,
        mut removed: Vec<u64>,
        next: u64,
    ) -> Result<()> {
        for chunk in self.chunks.iter().filter(|chunk| chunk.left() > 0) {
            parts.push(NumberedRows { numbers: chunk.numbers().collect(), batch: chunk.rows()? });
        }
        parts.retain(|part| !part.numbers.is_empty());
        parts.sort_by_key(|part| part.numbers.value(0));
        removed.sort_unstable();
        let mut made =
            Restored { store: self, rows: Vec::new(), numbers: Vec::new(), chunks: Vec::new() };
        let (mut done, mut gone) = (0_u64, removed.iter().peekable());
        for part in parts {
            let mut kept = Vec::with_capacity(part.numbers.len());
            for (row, &number) in part.numbers.values().iter().enumerate() {
                if number < done {
                    continue;
                }
                while gone.next_if(|gone| **gone < number).is_some() {}
                if gone.peek() != Some(&&number) {
                    kept.push(row as u32);
                }
            }
            done = done.max(part.numbers.value(part.numbers.len() - 1) + 1);
            made.take(&part, &kept)?;
        }
        made.flush()?;
        let chunks = made.chunks;
        self.put_in(chunks, next.max(done))
    }

    fn put_in(&mut self, chunks: Vec<Chunk>, next: u64) -> Result<()> {
        if self.key.is_some() {
            return Err(Error::internal("rows with a primary key are not restored by number"));
        }
        self.whole = None;
        self.sparse = 0;
        self.rows = chunks.iter().map(Chunk::left).sum();
        self.chunk_bytes = chunks.iter().map(Chunk::bytes).sum();
        self.next = self.next.max(next);
        self.chunks = Arc::new(chunks);
        Ok(())
    }
}

/// Chunks that are being filled.
struct Restored<'a> {
    store: &'a RowStore,
    rows: Vec<RecordBatch>,
    numbers: Vec<u64>,
    chunks: Vec<Chunk>,
}

impl Restored<'_> {
    /// Takes these rows of a part.
    fn take(&mut self, part: &NumberedRows, kept: &[u32]) -> Result<()> {
        for kept in kept.chunks(BATCH_ROWS) {
            if self.numbers.len() + kept.len() > BATCH_ROWS {
                self.flush()?;
            }
            let rows = if kept.len() == part.batch.num_rows() {
                part.batch.clone()
            } else {
                take_record_batch(&part.batch, &UInt32Array::from(kept.to_vec()))?
            };
            self.rows.push(RecordBatch::try_new(
                Arc::clone(&self.store.schema),
                rows.columns().to_vec(),
            )?);
            self.numbers.extend(kept.iter().map(|row| part.numbers.value(*row as usize)));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if !self.numbers.is_empty() {
            let batch = concat_batches(&self.store.schema, &self.rows)?;
            self.chunks.push(Chunk::numbered(batch, std::mem::take(&mut self.numbers)));
            self.rows.clear();
        }
        Ok(())
    }
}
