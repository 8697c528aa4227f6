//! The rows of a view or a table: a multiset that changes by deltas and can be read as it was.
//!
//! ```text
//! chunks   [ batch ■■■■■ | gone ·x··x ] [ batch ■■■ | gone ··· ]      appended to at the end only
//! whole    hash of the row ─▶ number of the row
//! key      hash of the primary key ─▶ number of the row
//! ```
//!
//! Rows are numbered as they come, for ever. They are never overwritten: a deleted row is marked in
//! its chunk's bitmap. Small chunks are joined and half-empty ones written anew, a few at a time
//! (`tidy`), but a row keeps its number, so no index ever hears of that. A [`Snapshot`] shares
//! chunks and bitmaps, which are copied before the next change only if somebody still holds them.
//! The numbers are also what is stored of a row's place: `restore` puts a store together from rows
//! with their numbers, without comparing values.
//!
//! Rows are equal when their arrow-row bytes are, so NULL equals NULL. Of several equal rows the
//! newest goes first. A change is looked up as a whole: its rows are encoded once, and so are the
//! rows that may be meant. Nothing is changed before all of it is known to be possible.

mod chunk;
mod index;
mod restore;
#[cfg(test)]
mod tests;
mod tidy;

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::Rows;

pub use chunk::{Chunk, Snapshot};
pub use restore::NumberedRows;

use super::Delta;
use crate::error::{Error, Result, SqlState};
use crate::limits::BATCH_ROWS;
use chunk::{gather, locate};
use index::Index;

/// Which row; valid as long as the row is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location(u64);

impl Location {
    /// The row of this number.
    pub fn of(number: u64) -> Location {
        Location(number)
    }

    /// The row's number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The contents of a view or a table.
pub struct RowStore {
    schema: SchemaRef,
    chunks: Arc<Vec<Chunk>>,
    /// The number of the next row.
    next: u64,
    rows: usize,
    /// How many chunks have more rows that are gone than rows that are there.
    sparse: usize,
    /// What the chunks take of memory, counted as they change.
    chunk_bytes: usize,
    /// By the whole row; built when the first row is deleted by value, since append-only views
    /// never need it.
    whole: Option<Index>,
    /// By the primary key, if there is one: unique.
    key: Option<Index>,
    /// Rows that go need not be there: they have been forgotten.
    forgets: bool,
}

impl RowStore {
    /// An empty store, with a unique index over the key columns if there are any.
    pub fn new(schema: SchemaRef, key: &[usize]) -> Result<Self> {
        let key = if key.is_empty() { None } else { Some(Index::new(&schema, key.to_vec())?) };
        Ok(RowStore {
            schema,
            chunks: Arc::new(Vec::new()),
            next: 0,
            rows: 0,
            sparse: 0,
            chunk_bytes: 0,
            whole: None,
            key,
            forgets: false,
        })
    }

    /// From now on a row that goes and is not there changes nothing.
    pub fn forgets(&mut self) {
        self.forgets = true;
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Applies a change: rows that go and rows that appear, so that a key may be given anew in one
    /// change, and a row that comes and goes need not have been there before. A row that goes and
    /// is not there is an error (unless rows are [forgotten](Self::forgets)), and so is a second row with the same key (23505); the store is
    /// then as it was. Returns which rows it concerned.
    pub fn apply(&mut self, delta: &Delta) -> Result<Applied> {
        let Some(weights) = &delta.weights else {
            let plus = (0..delta.rows() as u32).collect();
            return self.append(&delta.batch, plus);
        };
        let (mut plus, mut minus) = (Vec::new(), Vec::new());
        for (row, &weight) in weights.values().iter().enumerate() {
            let (rows, copies) =
                if weight > 0 { (&mut plus, weight) } else { (&mut minus, -weight) };
            rows.extend(std::iter::repeat_n(row as u32, usize::try_from(copies).unwrap_or(0)));
        }
        if minus.is_empty() {
            let rows = take_record_batch(&delta.batch, &UInt32Array::from(plus.clone()))?;
            return self.append(&rows, plus);
        }
        let claimed = self.claim(&delta.batch, &minus, &mut plus)?;
        let hashes = self.leave_key(&claimed)?;
        let rows = take_record_batch(&delta.batch, &UInt32Array::from(plus.clone()))?;
        let done = self.append(&rows, plus);
        if done.is_err() {
            if let Some(key) = &mut self.key {
                claimed.iter().zip(hashes).rev().for_each(|(row, hash)| key.push(hash, row.number));
            }
            self.give_back(&claimed);
            return done;
        }
        self.mark_gone(claimed.iter().map(|row| row.number));
        self.tidy()?;
        let removed = claimed.iter().map(|row| (row.row, row.number)).collect();
        done.map(|added| Applied { removed, ..added })
    }

    fn append(&mut self, rows: &RecordBatch, added: Vec<u32>) -> Result<Applied> {
        let first = self.next;
        self.insert(rows)?;
        Ok(Applied { first, added, removed: Vec::new() })
    }

    /// Takes a row equal to each of `minus` out of the index of whole rows. Those that are not
    /// there are taken out of `plus` instead. Fails, with everything as it was, if one is in
    /// neither.
    fn claim(
        &mut self,
        batch: &RecordBatch,
        minus: &[u32],
        plus: &mut Vec<u32>,
    ) -> Result<Vec<Claimed>> {
        self.index_whole()?;
        let Some(index) = &mut self.whole else {
            return Err(Error::internal("an index was not built"));
        };
        let encoded = index.of_batch(batch)?;
        let (mut claimed, mut missing) = (Vec::with_capacity(minus.len()), Vec::new());
        for &row in minus {
            let hash = index.hash(encoded.row(row as usize).data());
            match index.pop(hash) {
                Some(number) => claimed.push(Claimed { row, hash, number }),
                None => missing.push(row),
            }
        }
        let numbers: Vec<u64> = claimed.iter().map(|row| row.number).collect();
        let found = index.of_batch(&gather(&self.schema, &self.chunks, &numbers)?)?;
        let same = |(i, row): (usize, &Claimed)| {
            found.row(i).data() == encoded.row(row.row as usize).data()
        };
        if !claimed.iter().enumerate().all(same) {
            // Two different rows with one hash: rare enough to be looked up one by one.
            self.give_back(&claimed);
            (claimed, missing) = self.claim_slowly(&encoded, minus)?;
        }
        if !self.forgets
            && let Err(error) = cancel(&encoded, &missing, plus)
        {
            self.give_back(&claimed);
            return Err(error);
        }
        Ok(claimed)
    }

    fn claim_slowly(&mut self, encoded: &Rows, minus: &[u32]) -> Result<(Vec<Claimed>, Vec<u32>)> {
        let (mut claimed, mut missing) = (Vec::new(), Vec::new());
        for &row in minus {
            let bytes = encoded.row(row as usize);
            let Some(index) = &mut self.whole else { continue };
            let hash = index.hash(bytes.data());
            let candidates: Vec<u64> = index.rows(hash).collect();
            let rows = index.of_batch(&gather(&self.schema, &self.chunks, &candidates)?)?;
            match (0..candidates.len()).find(|&i| rows.row(i).data() == bytes.data()) {
                Some(i) => {
                    index.take(hash, candidates[i]);
                    claimed.push(Claimed { row, hash, number: candidates[i] });
                }
                None => missing.push(row),
            }
        }
        Ok((claimed, missing))
    }

    /// Puts claimed rows back into the index of whole rows.
    fn give_back(&mut self, claimed: &[Claimed]) {
        if let Some(index) = &mut self.whole {
            claimed.iter().rev().for_each(|row| index.push(row.hash, row.number));
        }
    }

    /// Takes claimed rows out of the index by key; returns the hashes of their keys.
    fn leave_key(&mut self, claimed: &[Claimed]) -> Result<Vec<u64>> {
        let Some(key) = &mut self.key else { return Ok(Vec::new()) };
        let numbers: Vec<u64> = claimed.iter().map(|row| row.number).collect();
        let encoded = key.of_batch(&gather(&self.schema, &self.chunks, &numbers)?)?;
        let hashes: Vec<u64> = encoded.iter().map(|row| key.hash(row.data())).collect();
        hashes.iter().zip(&numbers).for_each(|(&hash, &number)| key.take(hash, number));
        Ok(hashes)
    }

    fn mark_gone(&mut self, numbers: impl Iterator<Item = u64>) {
        let chunks = Arc::make_mut(&mut self.chunks);
        for number in numbers {
            if let Some((chunk, row)) = locate(chunks, number) {
                let chunk = &mut chunks[chunk];
                let was_sparse = chunk.is_sparse();
                chunk.delete(row);
                self.rows -= 1;
                self.sparse += usize::from(!was_sparse && chunk.is_sparse());
            }
        }
    }

    /// Appends rows: all of them, or none if a key is there already (23505).
    pub fn insert(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())?;
        self.enter_key(&batch)?;
        if let Some(index) = &mut self.whole {
            for (row, bytes) in (self.next..).zip(index.of_batch(&batch)?.iter()) {
                index.push(index.hash(bytes.data()), row);
            }
        }
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = (batch.num_rows() - from).min(BATCH_ROWS);
            let chunk = Chunk::new(batch.slice(from, rows), self.next);
            self.chunk_bytes += chunk.bytes();
            Arc::make_mut(&mut self.chunks).push(chunk);
            self.next += rows as u64;
            self.rows += rows;
            from += rows;
            self.join_tail()?;
        }
        Ok(())
    }

    /// Adds the keys of rows that are to be appended, or none of them if one is there already.
    fn enter_key(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(index) = &mut self.key else { return Ok(()) };
        let encoded = index.of_batch(batch)?;
        for (row, bytes) in encoded.iter().enumerate() {
            let hash = index.hash(bytes.data());
            let same: Vec<u64> = index.rows(hash).collect();
            let mut is_there = false;
            for number in same {
                is_there |= match number.checked_sub(self.next) {
                    Some(earlier) => encoded.row(earlier as usize) == bytes,
                    None => {
                        let found =
                            index.of_batch(&gather(&self.schema, &self.chunks, &[number])?)?;
                        found.row(0).data() == bytes.data()
                    }
                };
            }
            if is_there {
                for (number, bytes) in (self.next..).zip(encoded.iter()).take(row) {
                    index.take(index.hash(bytes.data()), number);
                }
                let error =
                    Error::new(SqlState::Unique, "duplicate key value violates unique constraint");
                return Err(error
                    .hint("Use INSERT … ON CONFLICT to replace or keep the row that is there."));
            }
            index.push(hash, self.next + row as u64);
        }
        Ok(())
    }

    /// Builds the index that deletions by value need, if it is not there: otherwise the first of
    /// them does.
    pub fn index_whole(&mut self) -> Result<()> {
        if self.whole.is_some() {
            return Ok(());
        }
        let mut index = Index::new(&self.schema, (0..self.schema.fields().len()).collect())?;
        index.reserve(self.rows);
        for chunk in self.chunks.iter() {
            for (row, bytes) in index.of_batch(&chunk.batch)?.iter().enumerate() {
                if !chunk.is_gone(row) {
                    index.push(index.hash(bytes.data()), chunk.number(row));
                }
            }
        }
        self.whole = Some(index);
        Ok(())
    }

    /// Where the row with each of these keys lies; only for a store with a key. One column of `key`
    /// per key column.
    pub fn find(&self, key: &[ArrayRef]) -> Result<Vec<Option<Location>>> {
        let Some(index) = &self.key else {
            return Err(Error::internal("a lookup by key in a table without one"));
        };
        let wanted = index.encode(key)?;
        let (mut asked, mut candidates) = (Vec::new(), Vec::new());
        for (i, row) in wanted.iter().enumerate() {
            for number in index.rows(index.hash(row.data())) {
                asked.push(i);
                candidates.push(number);
            }
        }
        let rows = index.of_batch(&gather(&self.schema, &self.chunks, &candidates)?)?;
        let mut found = vec![None; wanted.num_rows()];
        for (row, (&i, &number)) in asked.iter().zip(&candidates).enumerate() {
            if rows.row(row).data() == wanted.row(i).data() {
                found[i] = Some(Location(number));
            }
        }
        Ok(found)
    }

    /// The rows at these places.
    pub fn fetch(&self, places: &[Location]) -> Result<RecordBatch> {
        gather(&self.schema, &self.chunks, &places.iter().map(|at| at.0).collect::<Vec<_>>())
    }

    /// Deletes the rows at these places, all different; all of them, or none if one is not there.
    pub fn delete(&mut self, places: &[Location]) -> Result<()> {
        let there = |at: &Location| {
            locate(&self.chunks, at.0).is_some_and(|(chunk, row)| !self.chunks[chunk].is_gone(row))
        };
        if !places.iter().all(there) {
            return Err(Error::internal("a row was deleted that is not there"));
        }
        if self.whole.is_none() && self.key.is_none() {
            self.mark_gone(places.iter().map(|at| at.0));
            return self.tidy();
        }
        let rows = self.fetch(places)?;
        for index in self.whole.iter_mut().chain(&mut self.key) {
            for (bytes, at) in index.of_batch(&rows)?.iter().zip(places) {
                index.take(index.hash(bytes.data()), at.0);
            }
        }
        self.mark_gone(places.iter().map(|at| at.0));
        self.tidy()
    }

    /// Deletes everything.
    pub fn clear(&mut self) {
        self.chunks = Arc::new(Vec::new());
        (self.rows, self.sparse, self.chunk_bytes) = (0, 0, 0);
        self.whole = None;
        if let Some(key) = &mut self.key {
            key.clear();
        }
    }

    /// The contents now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { schema: Arc::clone(&self.schema), chunks: Arc::clone(&self.chunks) }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        let indexes = self.whole.iter().chain(&self.key).map(Index::bytes);
        indexes.sum::<usize>() + self.chunk_bytes
    }

    /// The number that the next row gets.
    pub fn next_number(&self) -> u64 {
        self.next
    }
}

/// Which rows a change has added and removed, by their numbers and by where they stand in the
/// change.
#[derive(Debug, Default, Clone)]
pub struct Applied {
    /// The number of the first row added; the others follow.
    pub first: u64,
    /// The added rows as rows of the change, ascending; a row of weight n is there n times, one
    /// that was taken back by the same change is not.
    pub added: Vec<u32>,
    /// The removed rows: which row of the change, ascending, and the number.
    pub removed: Vec<(u32, u64)>,
}

/// A row of a change and the row of the store that goes for it.
struct Claimed {
    row: u32,
    hash: u64,
    number: u64,
}

/// Takes a row equal to each missing one out of those that appear.
fn cancel(encoded: &Rows, missing: &[u32], plus: &mut Vec<u32>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut wanted = std::collections::HashMap::<&[u8], usize>::new();
    for &row in missing {
        *wanted.entry(encoded.row(row as usize).data()).or_default() += 1;
    }
    let mut open = missing.len();
    plus.retain(|&row| match wanted.get_mut(encoded.row(row as usize).data()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            open -= 1;
            false
        }
        Some(_) | None => true,
    });
    match open {
        0 => Ok(()),
        _ => Err(Error::internal("a row was taken back that is not there")),
    }
}
