//! Rows by key: a multiset that changes by deltas and gives back the rows of the keys it is asked
//! for, in the order in which they came.
//!
//! The rows lie in a [`RowStore`] and keep their numbers; a key has the numbers of its rows. What is
//! stored of it are rows with their numbers, and the numbers of rows that have gone, so a commit
//! writes what has changed however many rows a key has.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, UInt64Array, new_null_array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};

use super::{
    Applied, Delta, Interner, Location, NumberedRows, PieceCursor, RowStore, StateTable, in_parts,
    of_another_form,
};
use crate::error::{Error, Result, SqlState};
use crate::limits::BATCH_ROWS;

/// Rows by key.
pub struct Arrangement {
    name: &'static str,
    /// The columns, of which all may be NULL.
    schema: SchemaRef,
    rows: RowStore,
    /// None: all rows are of one key.
    keys: Option<ByKey>,
    /// Rows from this number on have not been stored.
    stored: u64,
    /// Those below it that have gone since.
    removed: Vec<u64>,
    /// There has been something to store, or it was restored.
    track: bool,
    found: StoredRows,
}

struct ByKey {
    columns: std::ops::Range<usize>,
    groups: Interner,
    /// The rows of each key, in the order in which they came.
    places: Vec<Vec<Location>>,
    ids: Vec<u32>,
}

/// What was found when it is restored.
#[derive(Default)]
struct StoredRows {
    parts: Vec<NumberedRows>,
    removed: Vec<u64>,
    next: u64,
}

impl Arrangement {
    /// An empty one of rows with these columns; `key` of them are the key, from `first` on.
    pub fn new(
        name: &'static str,
        schema: &Schema,
        first: usize,
        key: usize,
    ) -> Result<Arrangement> {
        let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = first..first + key;
        let keys = if key == 0 {
            None
        } else {
            let types: Vec<DataType> =
                columns.clone().map(|at| schema.field(at).data_type().clone()).collect();
            let groups = Interner::new(&types)?;
            Some(ByKey { columns, groups, places: Vec::new(), ids: Vec::new() })
        };
        Ok(Arrangement {
            name,
            rows: RowStore::new(Arc::clone(&schema), &[])?,
            schema,
            keys,
            stored: 0,
            removed: Vec::new(),
            track: false,
            found: StoredRows::default(),
        })
    }

    /// Takes in a change; says which rows it has added and removed.
    pub fn apply(&mut self, delta: &Delta) -> Result<Applied> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), delta.batch.columns().to_vec())?;
        let delta = Delta { batch, weights: delta.weights.clone() };
        let applied = self.rows.apply(&delta)?;
        if let Some(keys) = &mut self.keys {
            keys.apply(&delta.batch, &applied)?;
        }
        self.gone(applied.removed.iter().map(|(_, number)| *number));
        Ok(applied)
    }

    fn gone(&mut self, numbers: impl Iterator<Item = u64>) {
        if self.track {
            let stored = self.stored;
            self.removed.extend(numbers.filter(|number| *number < stored));
        }
    }

    /// Where the rows of these keys are, each key's in the order in which they came. Without a key
    /// all rows are meant. `keys`: one column for each column of the key, all different.
    pub fn places(&self, keys: &[ArrayRef], count: usize) -> Result<Vec<Location>> {
        match &self.keys {
            None => self.all(),
            Some(by) => {
                let ids = by.groups.find(keys, count)?;
                let own = |id: u32| by.places[id as usize].iter().copied();
                Ok(ids.into_iter().flatten().flat_map(own).collect())
            }
        }
    }

    fn all(&self) -> Result<Vec<Location>> {
        let (mut all, mut next) = (Vec::with_capacity(self.rows.rows()), 0);
        while let Some((piece, after)) = self.rows.piece(next, BATCH_ROWS)? {
            all.extend(piece.numbers.values().iter().map(|number| Location::of(*number)));
            next = after;
        }
        Ok(all)
    }

    /// The rows of these keys, as batches of a bounded size.
    pub fn rows_of(&self, keys: &[ArrayRef], count: usize) -> Result<Vec<RecordBatch>> {
        if self.keys.is_none() {
            return self.rows.snapshot().batches();
        }
        let places = self.places(keys, count)?;
        places.chunks(BATCH_ROWS).map(|places| self.rows.fetch(places)).collect()
    }

    /// The rows at these places.
    pub fn fetch(&self, places: &[Location]) -> Result<RecordBatch> {
        self.rows.fetch(places)
    }

    /// The columns of the rows.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The number that the next row gets.
    pub fn next_number(&self) -> u64 {
        self.rows.next_number()
    }

    /// The rows from this number on, so many or fewer, and the number to go on with; None: there are
    /// none.
    pub fn numbered(&self, from: u64, rows: usize) -> Result<Option<(NumberedRows, u64)>> {
        self.rows.piece(from, rows)
    }

    /// Takes these rows out.
    pub fn remove(&mut self, places: &[Location]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        if let Some(keys) = &mut self.keys {
            let batch = self.rows.fetch(places)?;
            let removed = (0..).zip(places.iter().map(|at| at.number())).collect();
            keys.apply(&batch, &Applied { first: 0, added: Vec::new(), removed })?;
        }
        self.rows.delete(places)?;
        self.gone(places.iter().map(|at| at.number()));
        Ok(())
    }

    /// Takes the rows of these keys out; see [`Self::places`].
    pub fn remove_keys(&mut self, keys: &[ArrayRef]) -> Result<()> {
        let places = self.places(keys, keys.first().map_or(0, |column| column.len()))?;
        self.remove(&places)
    }

    /// The key's columns of all rows.
    pub fn keys(&self) -> Result<Vec<ArrayRef>> {
        let Some(keys) = &self.keys else { return Ok(Vec::new()) };
        let all: Vec<u32> = (0..keys.places.len() as u32)
            .filter(|id| !keys.places[*id as usize].is_empty())
            .collect();
        keys.groups.keys(&all)
    }

    /// Rows are taken out by their values: makes the index for that now, and not with the first.
    pub fn taken_out_by_value(&mut self) -> Result<()> {
        self.rows.index_whole()
    }

    /// Rows are forgotten: one that goes and is not there changes nothing.
    pub fn forgets(&mut self) {
        self.rows.forgets();
    }

    /// 0A000 if what is stored are not rows with these columns: the query is planned otherwise now.
    fn check_columns(&self, stored: &RecordBatch) -> Result<()> {
        let schema = stored.schema();
        let own = schema.fields().iter().skip(2).map(|field| field.data_type());
        if own.eq(self.schema.fields().iter().map(|field| field.data_type())) {
            return Ok(());
        }
        Err(of_another_form())
    }

    /// Rows with their numbers, and numbers whose rows have gone.
    fn encode(&self, rows: Option<&NumberedRows>, removed: &[u64]) -> Result<RecordBatch> {
        let (there, numbers) = match rows {
            Some(rows) => (rows.batch.num_rows(), rows.numbers.values().iter().copied()),
            None => (0, [].iter().copied()),
        };
        let numbers = UInt64Array::from_iter_values(numbers.chain(removed.iter().copied()));
        let present: BooleanArray = (0..numbers.len()).map(|row| Some(row < there)).collect();
        let mut fields = vec![
            Arc::new(Field::new("__number", DataType::UInt64, false)),
            Arc::new(Field::new("__present", DataType::Boolean, false)),
        ];
        fields.extend(self.schema.fields().iter().cloned());
        let mut columns: Vec<ArrayRef> = vec![Arc::new(numbers), Arc::new(present)];
        for (at, field) in self.schema.fields().iter().enumerate() {
            columns.push(match rows {
                Some(rows) => Arc::clone(rows.batch.column(at)),
                None => new_null_array(field.data_type(), removed.len()),
            });
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}

impl ByKey {
    fn apply(&mut self, batch: &RecordBatch, applied: &Applied) -> Result<()> {
        let columns = &batch.columns()[self.columns.clone()];
        self.groups.intern(columns, batch.num_rows(), &mut self.ids)?;
        if self.places.len() < self.groups.bound() {
            self.places.resize(self.groups.bound(), Vec::new());
        }
        for (row, number) in &applied.removed {
            let places = &mut self.places[self.ids[*row as usize] as usize];
            // The newest go first.
            if let Some(at) = places.iter().rposition(|place| place.number() == *number) {
                places.remove(at);
            }
        }
        for (number, row) in (applied.first..).zip(&applied.added) {
            self.places[self.ids[*row as usize] as usize].push(Location::of(number));
        }
        if !applied.removed.is_empty() || applied.added.len() < batch.num_rows() {
            let mut ids = std::mem::take(&mut self.ids);
            ids.sort_unstable();
            ids.dedup();
            for &id in &ids {
                if self.places[id as usize].is_empty() {
                    self.places[id as usize] = Vec::new();
                    self.groups.forget(id);
                }
            }
            self.ids = ids;
        }
        Ok(())
    }
}

impl StateTable for Arrangement {
    fn name(&self) -> &'static str {
        self.name
    }

    fn take_changed(&mut self) -> Result<Vec<RecordBatch>> {
        let mut changed = Vec::new();
        let mut next = if self.track { self.stored } else { 0 };
        self.track = true;
        while let Some((piece, after)) = self.rows.piece(next, BATCH_ROWS)? {
            changed.extend(in_parts(&self.encode(Some(&piece), &[])?));
            next = after;
        }
        self.stored = self.rows.next_number();
        let removed = std::mem::take(&mut self.removed);
        for removed in removed.chunks(BATCH_ROWS) {
            changed.push(self.encode(None, removed)?);
        }
        Ok(changed)
    }

    fn piece(&mut self, cursor: &mut PieceCursor, rows: usize) -> Result<Option<RecordBatch>> {
        let Some((piece, next)) = self.rows.piece(cursor.next, rows)? else { return Ok(None) };
        cursor.next = next;
        self.encode(Some(&piece), &[]).map(Some)
    }

    fn restore_rows(&mut self, stored: &RecordBatch) -> Result<()> {
        self.check_columns(stored)?;
        let damaged = || Error::new(SqlState::Corrupted, "rows by key have no numbers");
        let numbers = stored.column(0).as_primitive_opt::<UInt64Type>().ok_or_else(damaged)?;
        let present = stored.column(1).as_boolean_opt().ok_or_else(damaged)?;
        let there: Vec<u32> =
            (0..present.len() as u32).filter(|row| present.value(*row as usize)).collect();
        let gone = (0..present.len()).filter(|row| !present.value(*row));
        self.found.removed.extend(gone.map(|row| numbers.value(row)));
        let next = numbers.values().iter().max().map_or(0, |last| last + 1);
        self.found.next = self.found.next.max(next);
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), stored.columns()[2..].to_vec())?;
        let batch = take_record_batch(&batch, &UInt32Array::from(there.clone()))?;
        let numbers = there.iter().map(|row| numbers.value(*row as usize));
        let numbers = UInt64Array::from_iter_values(numbers);
        self.found.parts.push(NumberedRows { numbers, batch });
        Ok(())
    }

    fn restored(&mut self) -> Result<()> {
        let StoredRows { parts, removed, next } = std::mem::take(&mut self.found);
        self.rows.restore(parts, removed, next)?;
        self.stored = self.rows.next_number();
        self.track = true;
        if let Some(keys) = &mut self.keys {
            let mut next = 0;
            while let Some((piece, after)) = self.rows.piece(next, BATCH_ROWS)? {
                let columns = &piece.batch.columns()[keys.columns.clone()];
                keys.groups.intern(columns, piece.batch.num_rows(), &mut keys.ids)?;
                keys.places.resize(keys.groups.bound(), Vec::new());
                for (id, number) in keys.ids.iter().zip(piece.numbers.values()) {
                    keys.places[*id as usize].push(Location::of(*number));
                }
                next = after;
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        let keys = self.keys.as_ref().map_or(0, |keys| {
            keys.groups.size()
                + keys.places.capacity() * size_of::<Vec<Location>>()
                + self.rows.rows() * size_of::<Location>()
        });
        self.rows.bytes() + keys + self.removed.capacity() * 8
    }

    fn rows(&self) -> usize {
        self.rows.rows()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn schema() -> Schema {
        Schema::new(vec![
            Field::new("v", DataType::Int64, false),
            Field::new("k", DataType::Utf8, false),
        ])
    }

    fn delta(rows: &[(i64, &str, i64)]) -> Delta {
        let values = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
        let keys = StringArray::from_iter_values(rows.iter().map(|row| row.1));
        let columns: Vec<ArrayRef> = vec![Arc::new(values), Arc::new(keys)];
        let batch = RecordBatch::try_new(Arc::new(schema()), columns).unwrap();
        Delta::new(batch, Int64Array::from_iter_values(rows.iter().map(|row| row.2)))
    }

    fn of(table: &Arrangement, key: &str) -> Vec<i64> {
        let keys: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec![key]))];
        let rows = table.rows_of(&keys, 1).unwrap();
        rows.iter()
            .flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect()
    }

    #[test]
    fn the_rows_of_a_key_come_back_in_the_order_in_which_they_came() {
        let mut table = Arrangement::new("rows", &schema(), 1, 1).unwrap();
        table.apply(&delta(&[(1, "a", 1), (2, "b", 1), (3, "a", 1), (1, "a", 2)])).unwrap();
        assert_eq!(of(&table, "a"), [1, 3, 1, 1]);
        table.apply(&delta(&[(1, "a", -1), (2, "b", -1), (9, "a", 1)])).unwrap();
        assert_eq!(of(&table, "a"), [1, 3, 1, 9]);
        assert!(of(&table, "b").is_empty() && of(&table, "c").is_empty());
        assert_eq!(table.rows(), 4);
    }

    #[test]
    fn what_was_stored_with_other_columns_is_refused() {
        let mut table = Arrangement::new("rows", &schema(), 1, 1).unwrap();
        table.apply(&delta(&[(1, "a", 1)])).unwrap();
        let stored = table.take_changed().unwrap();
        let fields = schema().fields().iter().take(1).cloned().collect::<Vec<_>>();
        let mut other = Arrangement::new("rows", &Schema::new(fields), 0, 0).unwrap();
        let error = other.restore_rows(&stored[0]).unwrap_err();
        assert_eq!(error.state().code(), "0A000");
    }

    #[test]
    fn what_is_stored_after_each_change_and_in_pieces_gives_the_same_rows() {
        let changes = [
            delta(&[(1, "a", 1), (2, "b", 1), (3, "a", 1)]),
            delta(&[(3, "a", -1), (4, "a", 1)]),
            delta(&[(4, "a", -1)]),
            delta(&[(5, "a", 1), (2, "b", -1)]),
        ];
        // A sweep that begins before change `from`; what was stored before it is gone.
        for from in 0..changes.len() {
            let mut table = Arrangement::new("rows", &schema(), 1, 1).unwrap();
            let mut stored = Vec::new();
            for (at, change) in changes.iter().enumerate() {
                if at == from {
                    stored.clear();
                    let mut cursor = PieceCursor::default();
                    while let Some(piece) = table.piece(&mut cursor, 1).unwrap() {
                        stored.push(piece);
                    }
                }
                table.apply(change).unwrap();
                stored.extend(table.take_changed().unwrap());
            }
            let mut again = Arrangement::new("rows", &schema(), 1, 1).unwrap();
            stored.iter().for_each(|rows| again.restore_rows(rows).unwrap());
            again.restored().unwrap();
            assert_eq!((of(&again, "a"), of(&again, "b")), (of(&table, "a"), of(&table, "b")));
            assert!(again.take_changed().unwrap().is_empty());
            again.apply(&delta(&[(6, "b", 1), (1, "a", -1)])).unwrap();
            assert_eq!((of(&again, "a"), of(&again, "b")), (vec![5], vec![6]));
        }
    }
}
