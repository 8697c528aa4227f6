//! The rows of a view or a table: a multiset that changes by deltas and can be read as it was.
//!
//! ```text
//! chunks   [ batch ■■■■■ | gone ·x··x ] [ batch ■■■ | gone ··· ]      appended to at the end only
//! index    hash of the row ─▶ (chunk, row)
//! key      hash of the primary key ─▶ (chunk, row)
//! ```
//!
//! Rows are never overwritten: a deleted row is marked in its chunk's bitmap. A [`Snapshot`] shares chunks and bitmaps, which are
//! copied before the next change only if somebody still holds them. When over half of the rows are gone, the rest
//! are written anew. Rows are equal when their arrow-row bytes are, so NULL equals NULL.

use std::hash::BuildHasher;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::Delta;
use super::keys::normalised;
use crate::error::{Error, Result, SqlState};
use crate::limits::BATCH_ROWS;

/// Where a row lies. Valid until the next change of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    chunk: u32,
    row: u32,
}

/// Rows appended together, and which of them are gone.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The rows.
    pub batch: RecordBatch,
    gone: Arc<Vec<u64>>,
    left: usize,
}

impl Chunk {
    fn new(batch: RecordBatch) -> Self {
        let rows = batch.num_rows();
        Chunk { batch, gone: Arc::new(vec![0; rows.div_ceil(64)]), left: rows }
    }

    /// Whether this row has been deleted.
    pub fn is_gone(&self, row: usize) -> bool {
        self.gone[row / 64] >> (row % 64) & 1 == 1
    }

    fn delete(&mut self, row: usize) {
        Arc::make_mut(&mut self.gone)[row / 64] |= 1 << (row % 64);
        self.left -= 1;
    }

    /// The rows that are there.
    pub fn rows(&self) -> Result<RecordBatch> {
        match self.left == self.batch.num_rows() {
            true => Ok(self.batch.clone()),
            false => {
                let there = BooleanBuffer::collect_bool(self.batch.num_rows(), |row| !self.is_gone(row));
                Ok(filter_record_batch(&self.batch, &BooleanArray::new(there, None))?)
            }
        }
    }
}

/// The contents at one moment; holding it does not hold up the store.
#[derive(Debug, Clone)]
pub struct Snapshot {
    schema: SchemaRef,
    chunks: Arc<Vec<Chunk>>,
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

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.chunks.iter().map(|c| c.left).sum()
    }
}

/// An index over some columns: hash of the values → where.
struct Index {
    columns: Vec<usize>,
    converter: RowConverter,
    table: HashTable<(u64, Location)>,
    hasher: FixedState,
}

impl Index {
    fn new(schema: &SchemaRef, columns: Vec<usize>) -> Result<Self> {
        let mut fields = Vec::with_capacity(columns.len());
        for &column in &columns {
            match schema.fields().get(column) {
                Some(field) => fields.push(SortField::new(field.data_type().clone())),
                None => {
                    return Err(Error::internal(format!("an index over column {column} that is not there")));
                }
            }
        }
        let converter = RowConverter::new(fields)?;
        Ok(Index { columns, converter, table: HashTable::new(), hasher: FixedState::default() })
    }

    /// The bytes of these key columns.
    fn encode(&self, columns: &[ArrayRef]) -> Result<Rows> {
        let columns: Vec<ArrayRef> = columns.iter().map(normalised).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    fn of_batch(&self, batch: &RecordBatch) -> Result<Rows> {
        self.encode(&self.columns.iter().map(|&c| ArrayRef::clone(batch.column(c))).collect::<Vec<_>>())
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }

    fn add(&mut self, hash: u64, at: Location) {
        self.table.insert_unique(hash, (hash, at), |&(hash, _)| hash);
    }

    fn remove(&mut self, hash: u64, at: Location) {
        if let Ok(entry) = self.table.find_entry(hash, |&(_, other)| other == at) {
            entry.remove();
        }
    }

    /// The rows with these bytes.
    fn find(&self, chunks: &[Chunk], bytes: &[u8]) -> Result<Vec<Location>> {
        let hash = self.hash(bytes);
        let mut found = Vec::new();
        for &(_, at) in self.table.iter_hash(hash).filter(|(other, _)| *other == hash) {
            if self.bytes_at(chunks, at)?.row(0).data() == bytes {
                found.push(at);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn bytes_at(&self, chunks: &[Chunk], at: Location) -> Result<Rows> {
        self.of_batch(&chunks[at.chunk as usize].batch.slice(at.row as usize, 1))
    }
}

/// The contents of a view or a table.
pub struct RowStore {
    schema: SchemaRef,
    chunks: Arc<Vec<Chunk>>,
    rows: usize,
    gone: usize,
    /// By the whole row; built when the first row is deleted by value, since append-only views never need it.
    whole: Option<Index>,
    /// By the primary key, if there is one: unique.
    key: Option<Index>,
}

impl RowStore {
    /// An empty store, with a unique index over the key columns if there are any.
    pub fn new(schema: SchemaRef, key: &[usize]) -> Result<Self> {
        let key = match key.is_empty() {
            true => None,
            false => Some(Index::new(&schema, key.to_vec())?),
        };
        Ok(RowStore { schema, chunks: Arc::new(Vec::new()), rows: 0, gone: 0, whole: None, key })
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Applies a change: first rows that go, then rows that appear, so that a key may be given anew in one change. Deleting a row that
    /// is not there is an error, and so is a second row with the same key (23505); then nothing of the
    /// change may be used.
    pub fn apply(&mut self, delta: &Delta) -> Result<()> {
        let Some(weights) = &delta.weights else { return self.insert(&delta.batch) };
        let (mut plus, mut minus) = (Vec::new(), Vec::new());
        for (row, &weight) in weights.values().iter().enumerate() {
            let (rows, copies) = if weight > 0 { (&mut plus, weight) } else { (&mut minus, -weight) };
            rows.extend(std::iter::repeat_n(row as u32, usize::try_from(copies).unwrap_or(0)));
        }
        // A row that comes and goes in one change need not have been there before.
        if !minus.is_empty() {
            let missing = self.delete_rows(&delta.batch, minus)?;
            if !missing.is_empty() {
                self.insert(&take_record_batch(&delta.batch, &UInt32Array::from(plus))?)?;
                return match self.delete_rows(&delta.batch, missing)?.is_empty() {
                    true => self.tidy(),
                    false => Err(Error::internal("a row was taken back that is not there")),
                };
            }
        }
        if !plus.is_empty() {
            self.insert(&take_record_batch(&delta.batch, &UInt32Array::from(plus))?)?;
        }
        self.tidy()
    }

    /// Appends rows.
    pub fn insert(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = (batch.num_rows() - from).min(BATCH_ROWS);
            self.insert_chunk(batch.slice(from, rows))?;
            from += rows;
        }
        Ok(())
    }

    fn insert_chunk(&mut self, batch: RecordBatch) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())?;
        let rows = batch.num_rows();
        let chunk = self.chunks.len() as u32;
        Arc::make_mut(&mut self.chunks).push(Chunk::new(batch.clone()));
        self.rows += rows;
        if let Some(index) = &mut self.key {
            let encoded = index.of_batch(&batch)?;
            for (row, bytes) in encoded.iter().enumerate() {
                if !index.find(&self.chunks, bytes.data())?.is_empty() {
                    return Err(Error::new(
                        SqlState::Unique,
                        "duplicate key value violates unique constraint",
                    )
                    .hint("Use INSERT … ON CONFLICT to replace or keep the row that is there."));
                }
                let hash = index.hash(bytes.data());
                index.add(hash, Location { chunk, row: row as u32 });
            }
        }
        if let Some(index) = &mut self.whole {
            let encoded = index.of_batch(&batch)?;
            for (row, bytes) in encoded.iter().enumerate() {
                let hash = index.hash(bytes.data());
                index.add(hash, Location { chunk, row: row as u32 });
            }
        }
        self.join_tail()
    }

    /// Joins the last chunks while the last is at least half as large as the one before, so that many small changes
    /// do not leave many small chunks.
    fn join_tail(&mut self) -> Result<()> {
        let mut first = self.chunks.len() - 1;
        let mut size = self.chunks[first].batch.num_rows();
        while first > 0 {
            let before = self.chunks[first - 1].batch.num_rows();
            if size * 2 < before || size + before > BATCH_ROWS {
                break;
            }
            first -= 1;
            size += before;
        }
        if first + 1 == self.chunks.len() {
            return Ok(());
        }
        self.rewrite(first)
    }

    /// Writes the chunks from this one on anew, without the rows that are gone.
    fn rewrite(&mut self, first: usize) -> Result<()> {
        let chunks = Arc::make_mut(&mut self.chunks);
        let old = chunks.split_off(first);
        for index in self.whole.iter_mut().chain(&mut self.key) {
            index.table.retain(|(_, at)| (at.chunk as usize) < first);
        }
        let gone: usize = old.iter().map(|c| c.batch.num_rows() - c.left).sum();
        self.gone -= gone;
        let left = old.iter().filter(|c| c.left > 0).map(Chunk::rows).collect::<Result<Vec<_>>>()?;
        let all = concat_batches(&self.schema, &left)?;
        let mut from = 0;
        while from < all.num_rows() {
            let rows = (all.num_rows() - from).min(BATCH_ROWS);
            let batch = all.slice(from, rows);
            let chunk = chunks.len() as u32;
            for index in self.whole.iter_mut().chain(&mut self.key) {
                for (row, bytes) in index.of_batch(&batch)?.iter().enumerate() {
                    let hash = index.hash(bytes.data());
                    index.add(hash, Location { chunk, row: row as u32 });
                }
            }
            chunks.push(Chunk::new(batch));
            from += rows;
        }
        Ok(())
    }

    /// Deletes one row equal to each of these; returns those of which none was left.
    fn delete_rows(&mut self, batch: &RecordBatch, rows: Vec<u32>) -> Result<Vec<u32>> {
        self.index_whole()?;
        let Some(index) = &self.whole else { return Ok(rows) };
        let encoded = index.of_batch(batch)?;
        let mut missing = Vec::new();
        for row in rows {
            let bytes = encoded.row(row as usize);
            let found = match &self.whole {
                Some(index) => index.find(&self.chunks, bytes.data())?.first().copied(),
                None => None,
            };
            match found {
                Some(at) => self.remove(at)?,
                None => missing.push(row),
            }
        }
        Ok(missing)
    }

    fn index_whole(&mut self) -> Result<()> {
        if self.whole.is_some() {
            return Ok(());
        }
        let mut index = Index::new(&self.schema, (0..self.schema.fields().len()).collect())?;
        for (c, chunk) in self.chunks.iter().enumerate() {
            for (row, bytes) in index.of_batch(&chunk.batch)?.iter().enumerate() {
                if !chunk.is_gone(row) {
                    let hash = index.hash(bytes.data());
                    index.add(hash, Location { chunk: c as u32, row: row as u32 });
                }
            }
        }
        self.whole = Some(index);
        Ok(())
    }

    fn remove(&mut self, at: Location) -> Result<()> {
        for index in self.whole.iter_mut().chain(&mut self.key) {
            let bytes = index.bytes_at(&self.chunks, at)?;
            let hash = index.hash(bytes.row(0).data());
            index.remove(hash, at);
        }
        Arc::make_mut(&mut self.chunks)[at.chunk as usize].delete(at.row as usize);
        self.rows -= 1;
        self.gone += 1;
        Ok(())
    }

    fn tidy(&mut self) -> Result<()> {
        match self.gone > BATCH_ROWS / 8 && self.gone > self.rows {
            true => self.rewrite(0),
            false => Ok(()),
        }
    }

    /// Where the row with each of these keys lies; only for a store with a key. One column of `key` per key column.
    pub fn find(&self, key: &[ArrayRef]) -> Result<Vec<Option<Location>>> {
        let Some(index) = &self.key else {
            return Err(Error::internal("a lookup by key in a table without one"));
        };
        let rows = index.encode(key)?;
        rows.iter().map(|row| Ok(index.find(&self.chunks, row.data())?.first().copied())).collect()
    }

    /// The rows at these places.
    pub fn fetch(&self, places: &[Location]) -> Result<RecordBatch> {
        let rows: Vec<RecordBatch> =
            places.iter().map(|at| self.chunks[at.chunk as usize].batch.slice(at.row as usize, 1)).collect();
        Ok(concat_batches(&self.schema, &rows)?)
    }

    /// Deletes the rows at these places, all different and found since the last change.
    pub fn delete(&mut self, places: &[Location]) -> Result<()> {
        for &at in places {
            let there = self.chunks.get(at.chunk as usize).is_some_and(|chunk| {
                (at.row as usize) < chunk.batch.num_rows() && !chunk.is_gone(at.row as usize)
            });
            if !there {
                return Err(Error::internal("a row was deleted that is not there"));
            }
            self.remove(at)?;
        }
        self.tidy()
    }

    /// Deletes everything.
    pub fn clear(&mut self) {
        self.chunks = Arc::new(Vec::new());
        (self.rows, self.gone) = (0, 0);
        self.whole = None;
        if let Some(key) = &mut self.key {
            key.table.clear();
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
        let columns = self.chunks.iter().flat_map(|chunk| chunk.batch.columns());
        let rows: usize = columns.map(|c| c.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        let indexes = self.whole.iter().chain(&self.key).map(|i| i.table.capacity() * 17);
        rows + indexes.sum::<usize>() + self.chunks.iter().map(|c| c.gone.len() * 8).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{AsArray, Int64Array, StringArray};
    use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};

    fn batch(rows: &[(i64, Option<&str>)]) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![
            Field::new("k", DataType::Int64, false),
            Field::new("t", DataType::Utf8, true),
        ]));
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)));
        let text: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1)));
        RecordBatch::try_new(schema, vec![keys, text]).unwrap()
    }

    fn keys(snapshot: &Snapshot) -> Vec<i64> {
        let batches = snapshot.batches().unwrap();
        let mut keys: Vec<i64> =
            batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn rows_come_and_go_by_value_and_a_snapshot_stays_as_it_was() {
        let mut store = RowStore::new(batch(&[]).schema(), &[]).unwrap();
        let mut expect: Vec<i64> = Vec::new();
        for round in 0..60_i64 {
            let old = (store.snapshot(), expect.clone());
            let new: Vec<_> = (round * 100..round * 100 + 150).map(|k| (k, None)).collect();
            store.apply(&Delta::insert(batch(&new))).unwrap();
            expect.extend(new.iter().map(|r| r.0));
            if round >= 2 {
                let gone: Vec<_> = (round * 100 - 200..round * 100 - 100).map(|k| (k, None)).collect();
                let weights = Int64Array::from_value(-1, gone.len());
                store.apply(&Delta::new(batch(&gone), weights)).unwrap();
                for (key, _) in gone {
                    let at = expect.iter().position(|&k| k == key).unwrap();
                    expect.remove(at);
                }
            }
            expect.sort_unstable();
            assert_eq!(keys(&store.snapshot()), expect);
            assert_eq!(keys(&old.0), old.1);
            assert_eq!(store.rows(), expect.len());
        }
        let error = store.apply(&Delta::new(batch(&[(-1, Some("x"))]), Int64Array::from(vec![-1])));
        assert_eq!(error.unwrap_err().state(), SqlState::Internal);
    }

    #[test]
    fn a_primary_key_finds_its_row_and_refuses_a_second_one() {
        let mut store = RowStore::new(batch(&[]).schema(), &[0]).unwrap();
        store.insert(&batch(&[(1, Some("a")), (2, None)])).unwrap();
        let find = |store: &RowStore, k: i64| store.find(&[Arc::new(Int64Array::from(vec![k]))]).unwrap()[0];
        assert_eq!(find(&store, 3), None);
        let at = find(&store, 1).unwrap();
        assert_eq!(store.fetch(&[at]).unwrap(), batch(&[(1, Some("a"))]));
        // A key is given anew in one change.
        let change = Delta::new(batch(&[(1, Some("b")), (1, Some("a"))]), Int64Array::from(vec![1, -1]));
        store.apply(&change).unwrap();
        let at = find(&store, 1).unwrap();
        assert_eq!(store.fetch(&[at]).unwrap(), batch(&[(1, Some("b"))]));
        store.delete(&[at]).unwrap();
        assert_eq!((find(&store, 1), store.rows()), (None, 1));
        let error = store.insert(&batch(&[(2, None)])).unwrap_err();
        assert_eq!(error.state(), SqlState::Unique);
    }
}
