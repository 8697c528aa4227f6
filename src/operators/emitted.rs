//! What a query has emitted for each group, where that cannot be computed again.
//!
//! When a group changes, its old output rows are taken back. Usually they follow from the old
//! aggregate. Behind a join with a static table they do not: the table may have changed since, and
//! a later table change does not revise rows already emitted. So the rows are kept, by the identity
//! of the operator's row that they came from.
//!
//! The rows of all groups lie together in a [`RowStore`]; a group has the numbers of its own.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int64Array, RecordBatch,
    UInt32Array,
};
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};

use super::Partial;
use crate::error::{Error, Result};
use crate::state::{
    Delta, Interner, Location, Marks, PieceCursor, RowStore, StateTable, part_ranges,
};

/// Output rows by the identity of the row they came from.
pub struct EmittedRows {
    /// The output's columns.
    schema: SchemaRef,
    /// How many of the operator's first columns identify a row (window and keys); none: there is
    /// one.
    identity: usize,
    converter: Option<RowConverter>,
    groups: Interner,
    rows: RowStore,
    /// The rows of each group.
    places: Vec<Vec<Location>>,
    dirty: Marks,
    track: bool,
    ids: Vec<u32>,
}

impl EmittedRows {
    /// For an operator with this output, the first `identity` columns of which identify a row.
    pub fn new(operator: &Schema, identity: usize, schema: SchemaRef) -> Result<EmittedRows> {
        let types: Vec<DataType> =
            (0..identity).map(|i| operator.field(i).data_type().clone()).collect();
        let converter = if types.is_empty() {
            None
        } else {
            Some(RowConverter::new(types.iter().cloned().map(SortField::new).collect())?)
        };
        Ok(EmittedRows {
            rows: RowStore::new(Arc::clone(&schema), &[])?,
            schema,
            identity,
            converter,
            groups: Interner::new(&types)?,
            places: Vec::new(),
            dirty: Marks::default(),
            track: false,
            ids: Vec::new(),
        })
    }

    /// Turns a delta of the operator and the output rows of its added rows into a delta of the
    /// output. `output`'s last column says which row of `delta` a row came from.
    pub fn apply(&mut self, delta: &Delta, output: &[RecordBatch]) -> Result<Delta> {
        self.intern(&delta.batch.columns()[..self.identity], delta.rows())?;
        if self.track {
            self.dirty.mark(&self.ids, self.groups.bound());
        }
        let (new, from) = self.added(output)?;
        let first = self.rows.next_number();
        self.rows.insert(&new)?;
        // The rows of each row of the delta, in the order in which they came out.
        let mut added: Vec<Vec<usize>> = vec![Vec::new(); delta.rows()];
        for (at, &row) in from.iter().enumerate() {
            let row = usize::try_from(row).ok().filter(|row| *row < added.len());
            added[row.ok_or_else(|| Error::internal("an output row without its input"))?].push(at);
        }
        let (mut old, mut picks, mut weights) = (Vec::new(), Vec::new(), Vec::<i64>::new());
        for (row, &id) in self.ids.iter().enumerate() {
            let places = &mut self.places[id as usize];
            let gone = std::mem::take(places);
            if delta.weight(row) < 0 {
                picks.extend((old.len()..old.len() + gone.len()).map(|at| (0, at)));
            } else {
                places.extend(added[row].iter().map(|at| Location::of(first + *at as u64)));
                picks.extend(added[row].iter().map(|at| (1, *at)));
            }
            weights.resize(picks.len(), delta.weight(row).signum());
            old.extend(gone);
        }
        let taken_back = self.rows.fetch(&old)?;
        self.rows.delete(&old)?;
        if !self.track {
            let ids = std::mem::take(&mut self.ids);
            self.forget(&ids);
        }
        let batch = if picks.is_empty() {
            RecordBatch::new_empty(Arc::clone(&self.schema))
        } else {
            interleave_record_batch(&[&taken_back, &new], &picks)?
        };
        Ok(Delta { batch, weights: Some(Int64Array::from(weights)) })
    }

    fn intern(&mut self, identity: &[ArrayRef], rows: usize) -> Result<()> {
        self.groups.intern(identity, rows, &mut self.ids)?;
        if self.places.len() < self.groups.bound() {
            self.places.resize(self.groups.bound(), Vec::new());
        }
        Ok(())
    }

    /// The output rows as one batch without their last column, and that column.
    fn added(&self, output: &[RecordBatch]) -> Result<(RecordBatch, Vec<i64>)> {
        let (mut batches, mut from) = (Vec::new(), Vec::new());
        for batch in output {
            let last = batch.num_columns() - 1;
            from.extend(batch.column(last).as_primitive::<Int64Type>().values());
            let columns = batch.columns()[..last].to_vec();
            batches.push(RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
        }
        Ok((concat_batches(&self.schema, &batches)?, from))
    }

    /// Groups that have no rows leave their number to others.
    fn forget(&mut self, ids: &[u32]) {
        let mut empty: Vec<u32> =
            ids.iter().copied().filter(|&id| self.places[id as usize].is_empty()).collect();
        empty.sort_unstable();
        empty.dedup();
        empty.into_iter().for_each(|id| self.groups.forget(id));
    }

    /// Groups as they are stored: identity, whether there are rows, and a row; a group of several
    /// rows is there several times, one without any once.
    fn encode(&self, ids: &[u32]) -> Result<Partial> {
        let mut names = BinaryBuilder::new();
        let (mut present, mut places) = (Vec::new(), Vec::new());
        let keys = self.groups.keys(ids)?;
        let encoded = match &self.converter {
            Some(converter) => Some(converter.convert_columns(&keys)?),
            None => None,
        };
        let mut rows: Vec<Option<u32>> = Vec::new();
        for (at, &id) in ids.iter().enumerate() {
            let own = &self.places[id as usize];
            let name = encoded.as_ref().map(|encoded| encoded.row(at));
            for _ in 0..own.len().max(1) {
                names.append_value(name.as_ref().map_or(&[][..], |name| name.data()));
                present.push(!own.is_empty());
            }
            if own.is_empty() {
                rows.push(None);
            }
            rows.extend((places.len()..places.len() + own.len()).map(|row| Some(row as u32)));
            places.extend_from_slice(own);
        }
        let nullable = self.rows.fetch(&places)?;
        let nullable =
            RecordBatch::try_new(all_nullable(&self.schema), nullable.columns().to_vec())?;
        let nullable = take_record_batch(&nullable, &UInt32Array::from(rows))?;
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(names.finish()), Arc::new(BooleanArray::from(present))];
        columns.extend(nullable.columns().iter().cloned());
        Ok(RecordBatch::try_new(self.stored_schema(), columns)?)
    }

    /// In parts that do not cut a group, since a part replaces the rows of the groups it names.
    fn encode_parts(&self, ids: &[u32]) -> Result<Vec<Partial>> {
        let whole = self.encode(ids)?;
        let names = whole.column(0).as_binary::<i32>();
        let begins = |row: usize| names.value(row) != names.value(row - 1);
        let ranges = part_ranges(&whole, begins);
        Ok(ranges.into_iter().map(|(from, rows)| whole.slice(from, rows)).collect())
    }

    fn stored_schema(&self) -> SchemaRef {
        let mut fields = vec![
            Arc::new(Field::new("__identity", DataType::Binary, false)),
            Arc::new(Field::new("__present", DataType::Boolean, false)),
        ];
        fields.extend(all_nullable(&self.schema).fields().iter().cloned());
        Arc::new(Schema::new(fields))
    }

    /// The identities as columns.
    fn identities(&self, stored: &BinaryArray) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        Ok(converter.convert_rows(stored.iter().flatten().map(|bytes| parser.parse(bytes)))?)
    }
}

impl StateTable for EmittedRows {
    fn name(&self) -> &'static str {
        "emitted rows"
    }

    fn take_changed(&mut self) -> Result<Vec<Partial>> {
        if !std::mem::replace(&mut self.track, true) {
            let all: Vec<u32> = (0..self.groups.bound() as u32)
                .filter(|&id| self.places.get(id as usize).is_some_and(|places| !places.is_empty()))
                .collect();
            return if all.is_empty() { Ok(Vec::new()) } else { self.encode_parts(&all) };
        }
        let dirty = self.dirty.take();
        if dirty.is_empty() {
            return Ok(Vec::new());
        }
        let changed = self.encode_parts(&dirty)?;
        self.forget(&dirty);
        Ok(changed)
    }

    fn piece(&mut self, cursor: &mut PieceCursor, wanted: usize) -> Result<Option<Partial>> {
        let places = &self.places;
        let ids = cursor.slots(wanted, places.len(), |id| !places[id as usize].is_empty());
        if ids.is_empty() { Ok(None) } else { self.encode(&ids).map(Some) }
    }

    fn restore_rows(&mut self, stored: &Partial) -> Result<()> {
        let identities = stored
            .column(0)
            .as_any()
            .downcast_ref::<BinaryArray>()
            .ok_or_else(|| Error::internal("emitted rows without identity"))?;
        let present = stored.column(1).as_boolean();
        self.intern(&self.identities(identities)?, stored.num_rows())?;
        let ids = std::mem::take(&mut self.ids);
        let old: Vec<Location> =
            ids.iter().flat_map(|&id| std::mem::take(&mut self.places[id as usize])).collect();
        self.rows.delete(&old)?;
        let there: Vec<u32> =
            (0..present.len() as u32).filter(|&row| present.value(row as usize)).collect();
        let rows =
            RecordBatch::try_new(all_nullable(&self.schema), stored.columns()[2..].to_vec())?;
        let rows = take_record_batch(&rows, &UInt32Array::from(there.clone()))?;
        let first = self.rows.next_number();
        self.rows.insert(&rows)?;
        for (number, row) in (first..).zip(there) {
            self.places[ids[row as usize] as usize].push(Location::of(number));
        }
        self.ids = ids;
        Ok(())
    }

    fn restored(&mut self) -> Result<()> {
        let all: Vec<u32> = (0..self.places.len() as u32).collect();
        self.forget(&all);
        self.track = true;
        Ok(())
    }

    fn size(&self) -> usize {
        // A group has mostly one row.
        self.rows.bytes()
            + self.groups.size()
            + self.places.capacity() * size_of::<Vec<Location>>()
            + self.rows.rows() * size_of::<Location>()
    }

    fn rows(&self) -> usize {
        self.rows.rows()
    }
}

fn all_nullable(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(
        schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
    ))
}
