//! From the values of some columns to the numbers of the rows that have them.
//!
//! An entry is a hash and the newest row with it; older rows of the same hash are chained behind.
//! Rows that occur once pay for nothing more, and a value that occurs a million times is still put
//! in and taken out in one step. The hash is not trusted: whoever finds a row compares the bytes.

use std::hash::BuildHasher;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use crate::error::{Error, Result};
use crate::types::with_equal_floats;

/// An index over some columns.
pub(super) struct Index {
    columns: Vec<usize>,
    converter: RowConverter,
    newest: HashTable<(u64, u64)>,
    /// Row → the next older row of the same hash.
    older: HashMap<u64, u64, FixedState>,
    hasher: FixedState,
}

impl Index {
    pub fn new(schema: &SchemaRef, columns: Vec<usize>) -> Result<Self> {
        let mut fields = Vec::with_capacity(columns.len());
        for &column in &columns {
            match schema.fields().get(column) {
                Some(field) => fields.push(SortField::new(field.data_type().clone())),
                None => {
                    return Err(Error::internal(format!(
                        "an index over column {column} that is not there"
                    )));
                }
            }
        }
        let converter = RowConverter::new(fields)?;
        let hasher = FixedState::default();
        Ok(Index {
            columns,
            converter,
            newest: HashTable::new(),
            older: HashMap::default(),
            hasher,
        })
    }

    /// Makes room for so many rows more, at once.
    pub fn reserve(&mut self, rows: usize) {
        self.newest.reserve(rows, |e| e.0);
    }

    /// The bytes of these values, one column per column of the index.
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<Rows> {
        // Not `normalised`: of two intervals that are equal, the one that is taken out is the one
        // that looks so.
        let columns: Vec<ArrayRef> = columns.iter().map(with_equal_floats).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    /// The bytes of a batch's rows.
    pub fn of_batch(&self, batch: &RecordBatch) -> Result<Rows> {
        self.encode(
            &self.columns.iter().map(|&c| ArrayRef::clone(batch.column(c))).collect::<Vec<_>>(),
        )
    }

    pub fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }

    /// Adds a row, newer than all of its hash.
    pub fn push(&mut self, hash: u64, row: u64) {
        match self.newest.find_mut(hash, |e| e.0 == hash) {
            Some(entry) => {
                self.older.insert(row, entry.1);
                entry.1 = row;
            }
            None => {
                self.newest.insert_unique(hash, (hash, row), |e| e.0);
            }
        }
    }

    /// The rows of this hash, newest first.
    pub fn rows(&self, hash: u64) -> impl Iterator<Item = u64> + '_ {
        let newest = self.newest.find(hash, |e| e.0 == hash).map(|e| e.1);
        std::iter::successors(newest, |row| self.older.get(row).copied())
    }

    /// Takes the newest row of this hash out.
    pub fn pop(&mut self, hash: u64) -> Option<u64> {
        let mut entry = self.newest.find_entry(hash, |e| e.0 == hash).ok()?;
        let row = entry.get().1;
        match self.older.remove(&row) {
            Some(older) => entry.get_mut().1 = older,
            None => {
                entry.remove();
            }
        }
        Some(row)
    }

    /// Takes this row out.
    pub fn take(&mut self, hash: u64, row: u64) {
        let Some(newest) = self.rows(hash).next() else { return };
        if newest == row {
            self.pop(hash);
            return;
        }
        let newer = self.rows(hash).find(|other| self.older.get(other) == Some(&row));
        if let Some(newer) = newer {
            match self.older.remove(&row) {
                Some(older) => self.older.insert(newer, older),
                None => self.older.remove(&newer),
            };
        }
    }

    pub fn clear(&mut self) {
        self.newest.clear();
        self.older.clear();
    }

    pub fn bytes(&self) -> usize {
        (self.newest.capacity() + self.older.capacity()) * 17
    }
}
