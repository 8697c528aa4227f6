//! One table of groups: keys, their aggregate states, and what has changed since one last looked.
//!
//! A [`Table`] is the state of one window (or of one running aggregate): an [`Interner`] whose ids
//! are the slots of the kernels. It remembers which slots were touched since the last checkpoint,
//! and, if it emits changes, what the results of the touched slots were before.

use arrow::array::{Array, ArrayRef, Int64Array, make_comparator, new_empty_array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{concat, interleave};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::aggregates::{self, AggregateCall, Kernel, Place, sequence};
use super::keys::Interner;
use super::portions::next_piece;
use super::state_table::{PieceCursor, of_another_form};
use crate::error::{Error, Result};

/// When results are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Each window's rows once, when the watermark has passed it.
    OnClose,
    /// After each epoch, the new version of every row that changed.
    OnChange,
}

/// What all tables of one operator have in common.
pub struct Shape {
    /// Key columns of the input.
    pub keys: Vec<usize>,
    /// Their types.
    pub key_types: Vec<DataType>,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    prototypes: Vec<Box<dyn Kernel>>,
    /// The types of the states' columns.
    state_types: Vec<DataType>,
}

impl Shape {
    /// Checks columns and functions once, so that nothing can be missing later.
    pub fn new(input: &SchemaRef, keys: &[usize], calls: &[AggregateCall]) -> Result<Self> {
        let mut key_types = Vec::with_capacity(keys.len());
        for &key in keys {
            match input.fields().get(key) {
                Some(field) => key_types.push(field.data_type().clone()),
                None => return Err(Error::internal(format!("there is no key column {key}"))),
            }
        }
        let calls: Vec<AggregateCall> =
            calls.iter().map(|call| aggregates::determinate(call, input)).collect::<Result<_>>()?;
        let prototypes =
            calls.iter().map(|call| aggregates::kernel(call, input)).collect::<Result<Vec<_>>>()?;
        let mut state_types = Vec::new();
        for kernel in &prototypes {
            state_types.extend(kernel.states(&[])?.iter().map(|column| column.data_type().clone()));
        }
        Ok(Shape { keys: keys.to_vec(), key_types, calls, prototypes, state_types })
    }

    /// Fresh kernels.
    pub fn kernels(&self) -> Vec<Box<dyn Kernel>> {
        self.prototypes.iter().map(|k| k.empty()).collect()
    }

    /// Whether no aggregate shows in which order rows were merged.
    pub fn exact(&self) -> bool {
        self.prototypes.iter().all(|k| k.exact())
    }

    /// The key columns of a batch of the input.
    pub fn key_columns(&self, columns: &[ArrayRef]) -> Vec<ArrayRef> {
        self.keys.iter().map(|&k| ArrayRef::clone(&columns[k])).collect()
    }

    /// Cuts the columns after a partial's prefix into key columns and the state columns of each
    /// aggregate. What another version has stored may have other columns: that is said, and not
    /// read as something else.
    pub fn cut<'a>(
        &self,
        columns: &'a [ArrayRef],
    ) -> Result<(&'a [ArrayRef], Vec<&'a [ArrayRef]>)> {
        let types = self.key_types.iter().chain(&self.state_types);
        let wanted = self.key_types.len() + self.state_types.len();
        let mut typed = columns.iter().zip(types);
        if columns.len() != wanted || !typed.all(|(c, t)| c.data_type().equals_datatype(t)) {
            return Err(of_another_form());
        }
        let (keys, mut rest) = columns.split_at(self.key_types.len());
        let mut states = Vec::with_capacity(self.prototypes.len());
        for kernel in &self.prototypes {
            let (own, others) = rest.split_at(kernel.state_columns());
            states.push(own);
            rest = others;
        }
        Ok((keys, states))
    }
}

/// A set of slots that remembers in which order they came.
#[derive(Default)]
pub struct Marks {
    marked: Vec<bool>,
    list: Vec<u32>,
}

impl Marks {
    /// Marks these.
    pub fn mark(&mut self, slots: &[u32], bound: usize) {
        if self.marked.len() < bound {
            self.marked.resize(bound, false);
        }
        for &slot in slots {
            if !std::mem::replace(&mut self.marked[slot as usize], true) {
                self.list.push(slot);
            }
        }
    }

    /// Takes all marks away.
    pub fn take(&mut self) -> Vec<u32> {
        let list = std::mem::take(&mut self.list);
        list.iter().for_each(|&slot| self.marked[slot as usize] = false);
        list
    }

    /// Whether nothing is marked.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// The results of touched slots before they were touched.
#[derive(Default)]
pub struct Before {
    /// In order of touching.
    touched: Vec<u32>,
    /// Where a slot stands in `touched`, counted from 1; 0 if it does not.
    place: Vec<u32>,
    /// For each touched slot: its row in `rows`, if it had been given out.
    row: Vec<Option<u32>>,
    rows: Vec<Vec<ArrayRef>>,
    count: u32,
    /// What `rows` take of memory.
    bytes: usize,
}

impl Before {
    /// To be called before slots are updated: keeps the results of those not touched yet that
    /// `exist`.
    pub fn keep(
        &mut self,
        slots: &[u32],
        bound: usize,
        kernels: &[Box<dyn Kernel>],
        exists: impl Fn(u32) -> bool,
    ) -> Result<()> {
        if self.place.len() < bound {
            self.place.resize(bound, 0);
        }
        let mut old = Vec::new();
        for &slot in slots {
            let place = &mut self.place[slot as usize];
            if *place != 0 {
                continue;
            }
            self.touched.push(slot);
            *place = self.touched.len() as u32;
            if exists(slot) {
                self.row.push(Some(self.count));
                self.count += 1;
                old.push(slot);
            } else {
                self.row.push(None)
            }
        }
        if !old.is_empty() {
            let rows = kernels.iter().map(|k| k.evaluate(&old)).collect::<Result<Vec<_>>>()?;
            self.bytes += rows.iter().map(|column| column.get_array_memory_size()).sum::<usize>();
            self.rows.push(rows);
        }
        Ok(())
    }

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// The slots touched so far.
    pub fn touched(&self) -> &[u32] {
        &self.touched
    }

    /// Bytes of memory held.
    pub fn size(&self) -> usize {
        self.bytes + (self.touched.capacity() + self.place.capacity() + self.row.capacity() * 2) * 4
    }

    /// What [`size`](Self::size) should be.
    #[cfg(test)]
    pub fn walked(&self) -> usize {
        let columns = self.rows.iter().flatten();
        columns.map(|column| column.get_array_memory_size()).sum::<usize>() + self.size()
            - self.bytes
    }

    /// The changes since the last call, in order of keys: (slots, result columns, weights). An
    /// unchanged row is not among them.
    pub fn changes(
        &mut self,
        interner: &Interner,
        kernels: &[Box<dyn Kernel>],
        exists: impl Fn(u32) -> bool,
    ) -> Result<(Vec<u32>, Vec<ArrayRef>, Int64Array)> {
        let mut sorted = std::mem::take(&mut self.touched);
        let row = std::mem::take(&mut self.row);
        let parts = std::mem::take(&mut self.rows);
        (self.count, self.bytes) = (0, 0);
        interner.sort(&mut sorted);
        let place = &mut self.place;
        let old_rows: Vec<Option<u32>> = sorted
            .iter()
            .map(|&s| row[std::mem::take(&mut place[s as usize]) as usize - 1])
            .collect();
        let new: Vec<ArrayRef> =
            kernels.iter().map(|k| k.evaluate(&sorted)).collect::<Result<_>>()?;
        let old: Vec<ArrayRef> = (0..kernels.len())
            .map(|c| {
                let columns: Vec<&dyn Array> = parts.iter().map(|p| p[c].as_ref()).collect();
                if columns.is_empty() {
                    Ok(new_empty_array(new[c].data_type()))
                } else {
                    Ok(concat(&columns)?)
                }
            })
            .collect::<Result<_>>()?;
        let same = unchanged(&old, &new, &old_rows)?;
        let (mut ids, mut weights, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (i, &slot) in sorted.iter().enumerate() {
            let exists = exists(slot);
            if same[i] && exists {
                continue;
            }
            if let Some(row) = old_rows[i] {
                ids.push(slot);
                weights.push(-1);
                places.push((0, row as usize));
            }
            if exists {
                ids.push(slot);
                weights.push(1);
                places.push((1, i));
            }
        }
        let columns = old.iter().zip(&new).map(|(old, new)| Ok(interleave(&[old, new], &places)?));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok((ids, columns, Int64Array::from(weights)))
    }
}

/// For each row of `new` whether all its columns are as in row `rows[i]` of `old`.
fn unchanged(old: &[ArrayRef], new: &[ArrayRef], rows: &[Option<u32>]) -> Result<Vec<bool>> {
    let (positions, olds): (Vec<usize>, Vec<u32>) =
        rows.iter().enumerate().filter_map(|(i, r)| Some((i, (*r)?))).unzip();
    let mut same = vec![false; rows.len()];
    if positions.is_empty() {
        return Ok(same);
    }
    positions.iter().for_each(|&i| same[i] = true);
    let left_rows = arrow::array::UInt32Array::from(olds);
    let right_rows =
        arrow::array::UInt32Array::from_iter_values(positions.iter().map(|&i| i as u32));
    for (old, new) in old.iter().zip(new) {
        let left = arrow::compute::take(old, &left_rows, None)?;
        let right = arrow::compute::take(new, &right_rows, None)?;
        match not_distinct(&left, &right) {
            Ok(equal) => {
                positions.iter().enumerate().for_each(|(k, &i)| same[i] &= equal.value(k));
            }
            // Nested types have no comparison kernel.
            Err(_) => match make_comparator(&left, &right, Default::default()) {
                Ok(compare) => {
                    positions
                        .iter()
                        .enumerate()
                        .for_each(|(k, &i)| same[i] &= compare(k, k).is_eq());
                }
                Err(_) => positions.iter().for_each(|&i| same[i] = false),
            },
        }
    }
    Ok(same)
}

/// Groups of one window: ids of keys are slots of states.
pub struct Table {
    interner: Interner,
    kernels: Vec<Box<dyn Kernel>>,
    trigger: Trigger,
    before: Before,
    dirty: Marks,
    /// Whether the kernels remember what changes.
    tracked: bool,
    ids: Vec<u32>,
}

impl Table {
    /// An empty table.
    pub fn new(shape: &Shape, trigger: Trigger) -> Result<Self> {
        Ok(Table {
            interner: Interner::new(&shape.key_types)?,
            kernels: shape.kernels(),
            trigger,
            before: Before::default(),
            dirty: Marks::default(),
            tracked: false,
            ids: Vec::new(),
        })
    }

    /// Interns keys into `self.ids` and makes room for them.
    fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        self.interner.intern(keys, rows, &mut self.ids)?;
        let bound = self.interner.bound();
        self.kernels.iter_mut().for_each(|k| k.resize(bound));
        Ok(())
    }

    /// Interns keys into `self.ids` and makes everything ready for a change of these slots.
    fn touch(&mut self, keys: &[ArrayRef], rows: usize, track: bool) -> Result<()> {
        let known = self.interner.bound() as u32;
        let known = if self.interner.is_empty() { 0 } else { known };
        self.intern(keys, rows)?;
        let bound = self.interner.bound();
        if self.trigger == Trigger::OnChange {
            self.before.keep(&self.ids, bound, &self.kernels, |slot| slot < known)?;
        }
        if track {
            if !std::mem::replace(&mut self.tracked, true) {
                self.kernels.iter_mut().for_each(|k| k.track());
            }
            self.dirty.mark(&self.ids, bound);
        }
        Ok(())
    }

    /// Takes in rows of the operator's input. `track`: whether a checkpoint will ask what changed.
    pub fn push(
        &mut self,
        shape: &Shape,
        columns: &[ArrayRef],
        rows: usize,
        track: bool,
    ) -> Result<()> {
        self.touch(&shape.key_columns(columns), rows, track)?;
        aggregates::update_all(&mut self.kernels, &shape.calls, columns, &self.ids, None)
    }

    /// Takes in the groups of another table over other rows.
    pub fn merge(&mut self, other: &Table, track: bool) -> Result<()> {
        let from = sequence(other.interner.len());
        self.touch(&other.interner.keys(&from)?, from.len(), track)?;
        for (kernel, other) in self.kernels.iter_mut().zip(&other.kernels) {
            kernel.merge(other.as_ref(), &from, &self.ids, Place::After)?;
        }
        Ok(())
    }

    /// Puts the keys and states of a partial in the place of those that are there. What was stored
    /// had been given out and need not be written again.
    pub fn load(&mut self, keys: &[ArrayRef], states: &[&[ArrayRef]], rows: usize) -> Result<()> {
        self.intern(keys, rows)?;
        self.kernels.iter_mut().zip(states).try_for_each(|(k, states)| k.restore(states, &self.ids))
    }

    /// Whether something was touched and not given out by [`changes`](Self::changes).
    pub fn is_pending(&self) -> bool {
        !self.before.is_empty()
    }

    /// Whether a checkpoint has something to write.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// All groups in order of keys: key columns, then results.
    pub fn results(&self) -> Result<Vec<ArrayRef>> {
        let mut slots = sequence(self.interner.len());
        self.interner.sort(&mut slots);
        let mut columns = self.interner.keys(&slots)?;
        for kernel in &self.kernels {
            columns.push(kernel.evaluate(&slots)?);
        }
        Ok(columns)
    }

    /// What changed since the last call, in order of keys: key columns, then results, and their
    /// weights.
    pub fn changes(&mut self) -> Result<(Vec<ArrayRef>, Int64Array)> {
        let (ids, results, weights) =
            self.before.changes(&self.interner, &self.kernels, |_| true)?;
        let mut columns = self.interner.keys(&ids)?;
        columns.extend(results);
        Ok((columns, weights))
    }

    /// Keys and states of everything.
    pub fn whole(&self) -> Result<(usize, Vec<ArrayRef>)> {
        self.written(&sequence(self.interner.len()))
    }

    /// Keys and states of some groups from the slot of the cursor on; none: there are no more.
    pub fn piece(&self, cursor: &mut PieceCursor, rows: usize) -> Result<(usize, Vec<ArrayRef>)> {
        let (slots, states) =
            next_piece(&self.kernels, cursor, rows, self.interner.len(), |_| true)?;
        let mut columns = self.interner.keys(&slots)?;
        columns.extend(states);
        Ok((slots.len(), columns))
    }

    /// Keys and states touched since the last call.
    pub fn take_dirty(&mut self) -> Result<(usize, Vec<ArrayRef>)> {
        let slots = self.dirty.take();
        let mut columns = self.interner.keys(&slots)?;
        for kernel in &mut self.kernels {
            columns.extend(kernel.take_changed(&slots)?);
        }
        Ok((slots.len(), columns))
    }

    fn written(&self, slots: &[u32]) -> Result<(usize, Vec<ArrayRef>)> {
        let mut columns = self.interner.keys(slots)?;
        for kernel in &self.kernels {
            columns.extend(kernel.states(slots)?);
        }
        Ok((slots.len(), columns))
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.interner.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.interner.is_empty()
    }

    /// Bytes of memory held.
    pub fn size(&self) -> usize {
        self.interner.size()
            + self.kernels.iter().map(|k| k.size()).sum::<usize>()
            + self.ids.capacity() * 4
            + self.dirty.marked.capacity()
            + self.before.size()
    }

    /// What [`size`](Self::size) should be.
    #[cfg(test)]
    pub fn walked(&self) -> usize {
        let counted: usize = self.kernels.iter().map(|k| k.size()).sum();
        let walked: usize = self.kernels.iter().map(|k| k.walked()).sum();
        self.size() + walked - counted + self.before.walked() - self.before.size()
    }
}

/// A partial as one batch: prefix columns, keys, states; the columns have no names that mean
/// anything.
pub fn partial(columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let named = columns.into_iter().enumerate().map(|(i, c)| (format!("c{i}"), c, true));
    Ok(RecordBatch::try_from_iter_with_nullable(named)?)
}
