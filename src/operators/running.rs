//! GROUP BY without a window: a result per key that is kept up to date for ever.
//!
//! Beside the aggregates every group counts its rows (with their weights), so that a group whose
//! rows have all been taken back is gone. Some groups *stand*: they are there from the start, rows or
//! not. Without keys there is one group, which does, as in SQL; so do the totals of ROLLUP.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;

use super::operator::{Operator, PassedOn, kept, size_of_tables};
use super::untouched::UntouchedKeys;
use super::{AggregateSpec, Closing, Delta, Partial};
use crate::error::{Error, Result};
use crate::state::aggregates::update_all;
use crate::state::{
    Before, Interner, Kernel, Marks, PieceCursor, Shape, StateTable, in_parts, next_piece, partial,
};
use crate::time::Watermark;

/// An aggregate that runs for ever.
pub struct RunningAggregate {
    shape: Shape,
    output: SchemaRef,
    interner: Interner,
    kernels: Vec<Box<dyn Kernel>>,
    /// The rows of each group, with their weights.
    counts: Vec<i64>,
    before: Before,
    dirty: Marks,
    /// Groups that are gone and still have to be named in a checkpoint.
    gone: Vec<u32>,
    /// How many groups stand: those with the first ids.
    standing: u32,
    /// Whether their rows have been given out.
    begun: bool,
    track: bool,
    ids: Vec<u32>,
    /// When groups are forgotten.
    untouched: Option<UntouchedKeys>,
}

impl RunningAggregate {
    /// An operator without state.
    pub fn new(spec: AggregateSpec) -> Result<Self> {
        if spec.window.is_some() {
            return Err(Error::internal("a running aggregate with windows"));
        }
        let shape = Shape::new(&spec.input, &spec.keys, &spec.aggregates)?;
        let mut running = RunningAggregate {
            output: spec.output()?,
            interner: Interner::new(&shape.key_types)?,
            kernels: shape.kernels(),
            shape,
            counts: Vec::new(),
            before: Before::default(),
            dirty: Marks::default(),
            gone: Vec::new(),
            standing: 0,
            begun: false,
            track: false,
            ids: Vec::new(),
            untouched: None,
        };
        let standing = if spec.keys.is_empty() { 1 } else { spec.standing.len() };
        if standing > 0 {
            let column = |at: usize| {
                ScalarValue::iter_to_array(spec.standing.iter().map(|keys| keys[at].clone()))
            };
            let keys: Vec<ArrayRef> = (0..spec.keys.len()).map(column).collect::<Result<_, _>>()?;
            running.standing = standing as u32;
            running.touch(&keys, standing)?;
        }
        Ok(running)
    }

    /// The columns of the output.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// The ids of keys, and room for them.
    fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        self.interner.intern(keys, rows, &mut self.ids)?;
        let bound = self.interner.bound();
        self.kernels.iter_mut().for_each(|k| k.resize(bound));
        self.counts.resize(bound.max(self.counts.len()), 0);
        Ok(())
    }

    /// Interns keys and makes ready for a change of these groups.
    fn touch(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        self.intern(keys, rows)?;
        let bound = self.interner.bound();
        let (counts, standing) = (&self.counts, if self.begun { self.standing } else { 0 });
        self.before.keep(&self.ids, bound, &self.kernels, |id| {
            id < standing || counts[id as usize] != 0
        })?;
        if self.track {
            self.dirty.mark(&self.ids, bound);
        }
        if let Some(untouched) = &mut self.untouched {
            untouched.touch(&self.ids);
        }
        Ok(())
    }

    /// Groups are gone as if their rows had never been.
    fn forget(&mut self, ids: &[u32]) -> Result<()> {
        let bound = self.interner.bound();
        let counts = &self.counts;
        self.before.keep(ids, bound, &self.kernels, |id| counts[id as usize] != 0)?;
        if self.track {
            self.dirty.mark(ids, bound);
        }
        ids.iter().for_each(|id| self.counts[*id as usize] = 0);
        Ok(())
    }

    /// Takes in rows that appear (+) and go (−). Rows that go need aggregates that have an inverse.
    pub fn push(&mut self, batch: &RecordBatch, weights: Option<&Int64Array>) -> Result<()> {
        let Some(weights) = weights.filter(|w| w.values().iter().any(|&w| w != 1)) else {
            return self.append(batch);
        };
        if weights.len() != batch.num_rows() {
            return Err(Error::internal("a delta whose weights are not as many as its rows"));
        }
        if weights.values().contains(&0) {
            let keep: BooleanArray = weights.values().iter().map(|&w| Some(w != 0)).collect();
            let kept: Int64Array = weights.values().iter().filter(|&&w| w != 0).copied().collect();
            return self.push(&filter_record_batch(batch, &keep)?, Some(&kept));
        }
        let columns = batch.columns();
        self.touch(&self.shape.key_columns(columns), batch.num_rows())?;
        update_all(
            &mut self.kernels,
            &self.shape.calls,
            columns,
            &self.ids,
            Some(weights.values()),
        )?;
        for (&id, &weight) in self.ids.iter().zip(weights.values()) {
            self.counts[id as usize] += weight;
        }
        Ok(())
    }

    fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns();
        self.touch(&self.shape.key_columns(columns), batch.num_rows())?;
        self.ids.iter().for_each(|&id| self.counts[id as usize] += 1);
        update_all(&mut self.kernels, &self.shape.calls, columns, &self.ids, None)
    }

    /// What has changed since the last call, in order of keys: the old version of each row with −1,
    /// the new one with +1. To be called at the end of every epoch.
    pub fn changes(&mut self) -> Result<Delta> {
        let (counts, standing) = (&self.counts, self.standing);
        if let Some(&id) = self.before.touched().iter().find(|&&id| counts[id as usize] < 0) {
            let count = counts[id as usize];
            return Err(Error::internal(format!(
                "a group has {count} rows: more went than had come"
            )));
        }
        let is_gone = |id: &u32| *id >= standing && counts[*id as usize] == 0;
        let gone: Vec<u32> = self.before.touched().iter().copied().filter(is_gone).collect();
        let (ids, results, weights) = self.before.changes(&self.interner, &self.kernels, |id| {
            id < standing || counts[id as usize] != 0
        })?;
        self.begun = true;
        let mut columns = self.interner.keys(&ids)?;
        columns.extend(results);
        self.kernels.iter_mut().for_each(|k| k.clear(&gone));
        if self.track {
            self.gone.extend(gone);
        } else {
            gone.into_iter().for_each(|id| self.interner.forget(id));
        }
        let rows = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(ids.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &rows)?;
        Ok(Delta::new(batch, weights))
    }

    /// All state, as one partial.
    pub fn whole(&self) -> Result<Partial> {
        self.check_given_out()?;
        let ids: Vec<u32> =
            (0..self.interner.bound() as u32).filter(|&id| self.is_there(id)).collect();
        self.written(&ids)
    }

    /// All state in parts, but at least one: that the group without keys is there has to be known.
    fn all_parts(&self) -> Result<Vec<Partial>> {
        let whole = self.whole()?;
        let parts = in_parts(&whole);
        Ok(if parts.is_empty() { vec![whole] } else { parts })
    }

    fn is_there(&self, id: u32) -> bool {
        id < self.standing || self.counts.get(id as usize).is_some_and(|&count| count != 0)
    }

    fn check_given_out(&self) -> Result<()> {
        if self.before.is_empty() {
            return Ok(());
        }
        Err(Error::internal(
            "a checkpoint was taken before the changes of its epoch were given out",
        ))
    }

    fn written(&self, ids: &[u32]) -> Result<Partial> {
        let mut columns = self.groups(ids)?;
        for kernel in &self.kernels {
            columns.extend(kernel.states(ids)?);
        }
        partial(columns)
    }

    fn written_changes(&mut self, ids: &[u32]) -> Result<Partial> {
        let mut columns = self.groups(ids)?;
        for kernel in &mut self.kernels {
            columns.extend(kernel.take_changed(ids)?);
        }
        partial(columns)
    }

    /// How many rows groups have, and their keys.
    fn groups(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let counts = Int64Array::from_iter_values(ids.iter().map(|&id| self.counts[id as usize]));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(counts)];
        columns.extend(self.interner.keys(ids)?);
        Ok(columns)
    }

    /// Puts stored groups in the place of those that are there.
    fn load(&mut self, partial: &Partial) -> Result<()> {
        let counts = partial.columns().first().and_then(|c| c.as_primitive_opt::<Int64Type>());
        let Some(counts) = counts else {
            return Err(Error::internal("a partial without the number of rows of its groups"));
        };
        let (keys, states) = self.shape.cut(&partial.columns()[1..])?;
        self.intern(keys, partial.num_rows())?;
        for (kernel, states) in self.kernels.iter_mut().zip(&states) {
            kernel.restore(states, &self.ids)?;
        }
        for (&id, &count) in self.ids.iter().zip(counts.values()) {
            self.counts[id as usize] = count;
        }
        Ok(())
    }
}

impl Operator for RunningAggregate {
    fn forget_after(&mut self, ttl: i64) -> bool {
        self.untouched = Some(UntouchedKeys::new(ttl));
        true
    }

    fn tick(&mut self, now: i64, _: &mut Vec<Delta>) -> Result<Closing> {
        let due = self.untouched.as_mut().map_or(Vec::new(), |untouched| untouched.tick(now));
        let standing = self.standing;
        let due: Vec<u32> =
            due.into_iter().filter(|id| *id >= standing && self.is_there(*id)).collect();
        self.forget(&due)?;
        Ok(Closing::Done)
    }

    fn wakes(&self) -> Option<i64> {
        self.untouched.as_ref()?.wakes()
    }

    fn state_restored(&mut self) -> Result<()> {
        let ids: Vec<u32> =
            (0..self.interner.bound() as u32).filter(|&id| self.is_there(id)).collect();
        if let Some(untouched) = &mut self.untouched {
            untouched.touch(&ids);
        }
        Ok(())
    }

    fn push(&mut self, _: usize, delta: &Delta) -> Result<PassedOn> {
        self.push(&delta.batch, delta.weights.as_ref())?;
        Ok(kept())
    }

    fn settle(&mut self, _: &[Watermark], out: &mut Vec<Delta>) -> Result<Closing> {
        out.push(self.changes()?);
        Ok(Closing::Done)
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![self]
    }

    fn state_size(&self) -> (usize, usize) {
        let (bytes, rows) = size_of_tables([self as &dyn StateTable]);
        (bytes + self.untouched.as_ref().map_or(0, UntouchedKeys::size), rows)
    }
}

impl StateTable for RunningAggregate {
    fn name(&self) -> &'static str {
        "groups"
    }

    /// To be called after [`changes`](Self::changes).
    fn take_changed(&mut self) -> Result<Vec<Partial>> {
        if !std::mem::replace(&mut self.track, true) {
            self.kernels.iter_mut().for_each(|k| k.track());
            return self.all_parts();
        }
        self.check_given_out()?;
        let ids = self.dirty.take();
        let written =
            if ids.is_empty() { Vec::new() } else { in_parts(&self.written_changes(&ids)?) };
        let mut gone = std::mem::take(&mut self.gone);
        // A key may have gone, come back and gone again in the meantime.
        gone.sort_unstable();
        gone.dedup();
        for id in gone.into_iter().filter(|&id| self.counts[id as usize] == 0) {
            self.interner.forget(id);
        }
        Ok(written)
    }

    fn piece(&mut self, cursor: &mut PieceCursor, rows: usize) -> Result<Option<Partial>> {
        self.check_given_out()?;
        let bound = self.interner.bound();
        let (ids, states) = next_piece(&self.kernels, cursor, rows, bound, |id| self.is_there(id))?;
        if ids.is_empty() {
            return Ok(None);
        }
        let mut columns = self.groups(&ids)?;
        columns.extend(states);
        partial(columns).map(Some)
    }

    fn restore_rows(&mut self, rows: &Partial) -> Result<()> {
        // That its row has been given out is known from its being stored.
        self.begun = true;
        self.load(rows)
    }

    fn restored(&mut self) -> Result<()> {
        // Of an operator without state everything is written at first: its group without keys, too.
        self.track = self.begun;
        if self.track {
            self.kernels.iter_mut().for_each(|k| k.track());
        }
        if self.begun {
            self.before = Before::default();
        }
        for id in
            (self.standing..self.counts.len() as u32).filter(|&id| self.counts[id as usize] == 0)
        {
            self.interner.forget(id);
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.interner.size()
            + self.kernels.iter().map(|k| k.size()).sum::<usize>()
            + self.counts.capacity() * 8
            + self.before.size()
    }

    fn rows(&self) -> usize {
        self.interner.len() - self.gone.len().min(self.interner.len())
    }

    #[cfg(test)]
    fn walked(&self) -> (usize, usize) {
        let counted: usize = self.kernels.iter().map(|k| k.size()).sum();
        let walked: usize = self.kernels.iter().map(|k| k.walked()).sum();
        let before = self.before.walked() - self.before.size();
        (self.size() + walked - counted + before, self.rows())
    }
}
