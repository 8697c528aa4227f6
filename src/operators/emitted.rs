//! What a query has emitted for each group, where that cannot be computed again.
//!
//! When a group changes, its old output rows are taken back. Usually they follow from the old aggregate. Behind a join with a
//! static table they do not: the table may have changed since, and a later table change does not revise rows already
//! emitted. So the rows are kept, by the identity of the operator's row that they came from.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int64Array, RecordBatch,
    new_null_array,
};
use datafusion::arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::arrow::row::{RowConverter, SortField};

use crate::error::{Error, Result};
use crate::state::Delta;

/// Output rows by the identity of the row they came from.
pub struct EmittedRows {
    /// The output's columns.
    schema: SchemaRef,
    /// Which columns of the operator's output identify a row (window and keys).
    identity: Vec<usize>,
    converter: RowConverter,
    rows: HashMap<Box<[u8]>, RecordBatch>,
    dirty: Vec<Box<[u8]>>,
}

impl EmittedRows {
    /// For an operator with this output, the first `identity` columns of which identify a row.
    pub fn new(operator: &Schema, identity: usize, schema: SchemaRef) -> Result<EmittedRows> {
        let fields = (0..identity).map(|i| SortField::new(operator.field(i).data_type().clone())).collect();
        Ok(EmittedRows {
            schema,
            identity: (0..identity).collect(),
            converter: RowConverter::new(fields)?,
            rows: HashMap::new(),
            dirty: Vec::new(),
        })
    }

    /// Turns a delta of the operator and the output rows of its added rows into a delta of the output. `output`'s last
    /// column says which row of `delta` a row came from.
    pub fn apply(&mut self, delta: &Delta, output: &[RecordBatch]) -> Result<Delta> {
        let columns: Vec<ArrayRef> =
            self.identity.iter().map(|i| Arc::clone(delta.batch.column(*i))).collect();
        let identities = self.converter.convert_columns(&columns)?;
        let mut added = self.by_row(output)?;
        let mut batches = Vec::new();
        let mut weights: Vec<i64> = Vec::new();
        for row in 0..delta.batch.num_rows() {
            let identity: Box<[u8]> = identities.row(row).as_ref().into();
            let weight = delta.weights.as_ref().map_or(1, |weights| weights.value(row));
            let batch = if weight < 0 {
                self.rows.remove(&identity)
            } else {
                added.remove(&row).inspect(|batch| {
                    self.rows.insert(identity.clone(), batch.clone());
                })
            };
            self.dirty.push(identity);
            if let Some(batch) = batch {
                weights.extend(std::iter::repeat_n(weight.signum(), batch.num_rows()));
                batches.push(batch);
            }
        }
        Ok(Delta { batch: concat_batches(&self.schema, &batches)?, weights: Some(Int64Array::from(weights)) })
    }

    /// The output rows by the delta's row they came from, without that column.
    fn by_row(&self, output: &[RecordBatch]) -> Result<HashMap<usize, RecordBatch>> {
        let mut found: HashMap<usize, Vec<RecordBatch>> = HashMap::new();
        for batch in output {
            let last = batch.num_columns() - 1;
            let from = batch.column(last).as_primitive::<Int64Type>();
            let columns = batch.columns()[..last].to_vec();
            let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
            let mut positions: HashMap<i64, Vec<i64>> = HashMap::new();
            for (at, row) in from.values().iter().enumerate() {
                positions.entry(*row).or_default().push(at as i64);
            }
            for (row, at) in positions {
                // A copy, so that a group does not keep the whole batch alive.
                found.entry(row as usize).or_default().push(take_record_batch(&rows, &Int64Array::from(at))?);
            }
        }
        found.into_iter().map(|(row, parts)| Ok((row, concat_batches(&self.schema, &parts)?))).collect()
    }

    /// The groups touched since the last call: identity, whether it has rows, and the rows.
    pub fn dirty(&mut self) -> Result<Option<RecordBatch>> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        if dirty.is_empty() { Ok(None) } else { self.encode(dirty.iter()).map(Some) }
    }

    /// All groups, in the form of [`Self::dirty`].
    pub fn whole(&self) -> Result<RecordBatch> {
        let mut keys: Vec<_> = self.rows.keys().collect();
        keys.sort_unstable();
        self.encode(keys.into_iter())
    }

    fn encode<'a>(&self, identities: impl Iterator<Item = &'a Box<[u8]>>) -> Result<RecordBatch> {
        let mut names = BinaryBuilder::new();
        let mut present = Vec::new();
        let nothing = self.schema.fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
        let nothing = RecordBatch::try_new(nullable(&self.schema), nothing)?;
        let mut batches = Vec::new();
        for identity in identities {
            let batch = match self.rows.get(identity) {
                Some(batch) => RecordBatch::try_new(nullable(&self.schema), batch.columns().to_vec())?,
                None => nothing.clone(),
            };
            let is_present = self.rows.contains_key(identity);
            for _ in 0..batch.num_rows() {
                names.append_value(identity);
                present.push(is_present);
            }
            batches.push(batch);
        }
        let rows = concat_batches(&nullable(&self.schema), &batches)?;
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(names.finish()), Arc::new(BooleanArray::from(present))];
        columns.extend(rows.columns().iter().cloned());
        Ok(RecordBatch::try_new(self.stored_schema(), columns)?)
    }

    fn stored_schema(&self) -> SchemaRef {
        let mut fields = vec![
            Arc::new(Field::new("__identity", DataType::Binary, false)),
            Arc::new(Field::new("__present", DataType::Boolean, false)),
        ];
        fields.extend(nullable(&self.schema).fields().iter().cloned());
        Arc::new(Schema::new(fields))
    }

    /// Takes back what [`Self::dirty`] or [`Self::whole`] gave, in the order it was given.
    pub fn restore(&mut self, stored: &RecordBatch) -> Result<()> {
        let identities = stored
            .column(0)
            .as_any()
            .downcast_ref::<BinaryArray>()
            .ok_or_else(|| Error::internal("emitted rows without identity"))?;
        let present = stored.column(1).as_boolean();
        let mut begin = 0;
        while begin < stored.num_rows() {
            let identity = identities.value(begin);
            let mut end = begin + 1;
            while end < stored.num_rows() && identities.value(end) == identity {
                end += 1;
            }
            if present.value(begin) {
                let rows = stored.slice(begin, end - begin);
                let rows = RecordBatch::try_new(Arc::clone(&self.schema), rows.columns()[2..].to_vec())?;
                let all = BooleanArray::from(vec![true; rows.num_rows()]);
                self.rows.insert(identity.into(), filter_record_batch(&rows, &all)?);
            } else {
                self.rows.remove(identity);
            }
            begin = end;
        }
        Ok(())
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.rows.iter().map(|(key, rows)| key.len() + rows.get_array_memory_size()).sum()
    }
}

fn nullable(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(
        schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
    ))
}
