//! Overlapping windows that close: every row is aggregated once, into its slice, and windows are
//! sums of slices.
//!
//! ```text
//!  slices   |--1--|--2--|--3--|--4--|--5--|--6--|        each: id → states
//!  window         [======front=====|===back====]          result = front[id] + back[id]
//!                                  ^ border
//! ```
//!
//! Going from one window to the next, one slice enters and one leaves. An aggregate with an exact
//! inverse keeps one total (in `back`): the slice that enters is merged in, the one that leaves is
//! subtracted. For the others the slices of a window fall into two stacks at a *border*. Slices
//! that enter are merged into `back`. `front` was made by walking from the border to the oldest
//! slice, and before each step the old values were put aside with the slice (`undo`); when that
//! slice leaves they are put back. When the window has moved past the border, the next border is
//! set one window size later, and what is in `back` becomes the new front. So each group of a slice
//! costs a constant number of merges however many slices a window has, and groups a slice does not
//! hold cost nothing.
//!
//! Borders lie at multiples of the window size in event time, not where the first window happened
//! to be. So floats add up in the same order after a restart, to the last bit.
//!
//! Sources: Tangwongsan, Hirzel, Schneider, "General incremental sliding-window aggregation", VLDB
//! 2015 (two stacks).

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::aggregates::{self, Kernel, Place, sequence};
use super::keys::Interner;
use super::portions::next_piece;
use super::state_table::PieceCursor;
use super::table::{Marks, Shape};
use crate::error::Result;
use crate::time::{EventTime, Slice, Window, WindowSpec};

const NO_SLOT: u32 = u32::MAX;

/// id → slot of one slice.
enum SlotMap {
    /// Many of the ids are in the slice.
    Dense(Vec<u32>),
    /// Few are.
    Sparse(HashMap<u32, u32, FixedState>),
}

struct SliceTable {
    /// slot → id
    ids: Vec<u32>,
    /// `None` while nobody asks: of slices that are merged and to which no late rows come.
    map: Option<SlotMap>,
    kernels: Vec<Box<dyn Kernel>>,
    /// What `front` held before this slice was merged into it; `None` for aggregates with an
    /// inverse.
    undo: Vec<Option<Box<dyn Kernel>>>,
    dirty: Marks,
    /// Whether the kernels remember what changes.
    tracked: bool,
}

impl SliceTable {
    /// Bytes of memory held.
    fn size(&self) -> usize {
        let map = match &self.map {
            None => 0,
            Some(SlotMap::Dense(map)) => map.capacity() * 4,
            Some(SlotMap::Sparse(map)) => map.capacity() * 9,
        };
        let undo = self.undo.iter().flatten().map(|k| k.size()).sum::<usize>();
        let kernels = self.kernels.iter().map(|k| k.size()).sum::<usize>();
        self.ids.capacity() * 4 + map + kernels + undo
    }

    #[cfg(test)]
    fn walked(&self) -> usize {
        let kernels = || self.kernels.iter().chain(self.undo.iter().flatten());
        let counted: usize = kernels().map(|k| k.size()).sum();
        kernels().map(|k| k.walked()).sum::<usize>() + self.size() - counted
    }

    fn ids_of(&self, slots: &[u32]) -> Vec<u32> {
        slots.iter().map(|&slot| self.ids[slot as usize]).collect()
    }

    /// Slots for ids; ids that were not in the slice are added to it and to `new`.
    fn slots(&mut self, ids: &[u32], bound: usize, slots: &mut Vec<u32>, new: &mut Vec<u32>) {
        slots.clear();
        new.clear();
        let map = self.map.take().filter(|map| !self.outgrown(map, bound, ids.len()));
        let mut map = map.unwrap_or_else(|| self.new_map(bound, ids.len()));
        match &mut map {
            SlotMap::Dense(map) => {
                if map.len() < bound {
                    map.resize(bound, NO_SLOT);
                }
                for &id in ids {
                    let slot = &mut map[id as usize];
                    if *slot == NO_SLOT {
                        *slot = self.ids.len() as u32;
                        self.ids.push(id);
                        new.push(id);
                    }
                    slots.push(*slot);
                }
            }
            SlotMap::Sparse(map) => {
                for &id in ids {
                    slots.push(*map.entry(id).or_insert_with(|| {
                        self.ids.push(id);
                        new.push(id);
                        self.ids.len() as u32 - 1
                    }));
                }
            }
        }
        self.map = Some(map);
    }

    fn is_dense(&self, bound: usize, rows: usize) -> bool {
        bound < 4096 || (self.ids.len() + rows) * 16 > bound
    }

    fn outgrown(&self, map: &SlotMap, bound: usize, rows: usize) -> bool {
        matches!(map, SlotMap::Sparse(_)) && self.is_dense(bound, rows)
    }

    fn new_map(&self, bound: usize, rows: usize) -> SlotMap {
        let slots = self.ids.iter().enumerate().map(|(slot, &id)| (id, slot as u32));
        if !self.is_dense(bound, rows) {
            return SlotMap::Sparse(slots.collect());
        }
        let mut map = vec![NO_SLOT; bound];
        slots.for_each(|(id, slot)| map[id as usize] = slot);
        SlotMap::Dense(map)
    }
}

/// The slices of overlapping windows, and the running totals of the window that closes next.
pub struct Hops {
    spec: WindowSpec,
    interner: Interner,
    slices: BTreeMap<Slice, SliceTable>,
    prototypes: Vec<Box<dyn Kernel>>,
    back: Vec<Box<dyn Kernel>>,
    front: Vec<Box<dyn Kernel>>,
    /// Slices before it are in `front`, those from it on in `back`.
    border: Option<EventTime>,
    /// Slices that end here or before are in the totals.
    merged: Option<EventTime>,
    front_stale: bool,
    back_stale: bool,
    /// In how many merged slices an id is.
    live: Vec<u32>,
    /// The ids with `live > 0` in order of keys, but for the newcomers.
    order: Vec<u32>,
    newcomers: Vec<u32>,
    ids: Vec<u32>,
    slots: Vec<u32>,
    new: Vec<u32>,
    /// How many groups all slices have, and what these take of memory: counted, not walked.
    groups: usize,
    slice_bytes: usize,
}

impl Hops {
    /// No slices yet.
    pub fn new(shape: &Shape, spec: WindowSpec) -> Result<Self> {
        Ok(Hops {
            spec,
            interner: Interner::new(&shape.key_types)?,
            slices: BTreeMap::new(),
            prototypes: shape.kernels(),
            back: shape.kernels(),
            front: shape.kernels(),
            border: None,
            merged: None,
            front_stale: false,
            back_stale: false,
            live: Vec::new(),
            order: Vec::new(),
            newcomers: Vec::new(),
            ids: Vec::new(),
            slots: Vec::new(),
            new: Vec::new(),
            groups: 0,
            slice_bytes: 0,
        })
    }

    /// Takes in rows of one slice, of which at least one window is open.
    pub fn push(
        &mut self,
        shape: &Shape,
        slice: Slice,
        columns: &[ArrayRef],
        rows: usize,
        track: bool,
    ) -> Result<()> {
        self.touch(slice, &shape.key_columns(columns), rows, track)?;
        let Some(table) = self.slices.get_mut(&slice) else { return Ok(()) };
        let before = table.size();
        aggregates::update_all(&mut table.kernels, &shape.calls, columns, &self.slots, None)?;
        self.slice_bytes = self.slice_bytes + table.size() - before;
        if self.merged.is_none_or(|merged| slice.end > merged) {
            return Ok(());
        }
        // The slice is in the totals already: the rows are late for windows that have closed, and
        // count in later ones.
        let in_front = self.border.is_some_and(|border| slice.start < border);
        for (kernel, call) in self.back.iter_mut().zip(&shape.calls) {
            match (kernel.invertible(), in_front, kernel.exact()) {
                (true, _, _) | (false, false, true) => {
                    aggregates::update_one(kernel.as_mut(), call, columns, &self.ids, None)?;
                }
                (false, true, _) => self.front_stale = true,
                (false, false, false) => self.back_stale = true,
            }
        }
        Ok(())
    }

    /// Interns keys into `self.ids`, finds `self.slots` in the slice, and keeps account of the new
    /// ones.
    fn touch(&mut self, slice: Slice, keys: &[ArrayRef], rows: usize, track: bool) -> Result<()> {
        self.interner.intern(keys, rows, &mut self.ids)?;
        let bound = self.interner.bound();
        let before = self.slices.get(&slice).map_or(0, SliceTable::size);
        let table = self.slices.entry(slice).or_insert_with(|| SliceTable {
            ids: Vec::new(),
            map: None,
            kernels: self.prototypes.iter().map(|k| k.empty()).collect(),
            undo: Vec::new(),
            dirty: Marks::default(),
            tracked: false,
        });
        table.slots(&self.ids, bound, &mut self.slots, &mut self.new);
        self.interner.retain(&self.new);
        let slots = table.ids.len();
        table.kernels.iter_mut().for_each(|k| k.resize(slots));
        if track {
            if !std::mem::replace(&mut table.tracked, true) {
                table.kernels.iter_mut().for_each(|k| k.track());
            }
            table.dirty.mark(&self.slots, slots);
        }
        self.groups += self.new.len();
        self.slice_bytes = self.slice_bytes + table.size() - before;
        if self.merged.is_some_and(|merged| slice.end <= merged) {
            self.back.iter_mut().chain(&mut self.front).for_each(|k| k.resize(bound));
            enter(&mut self.live, &mut self.newcomers, &self.new, bound);
        }
        Ok(())
    }

    /// Puts the states of a partial of one slice in the place of those that are there.
    pub fn load(
        &mut self,
        slice: Slice,
        keys: &[ArrayRef],
        states: &[&[ArrayRef]],
        rows: usize,
    ) -> Result<()> {
        self.touch(slice, keys, rows, false)?;
        let Some(table) = self.slices.get_mut(&slice) else { return Ok(()) };
        let before = table.size();
        for (kernel, states) in table.kernels.iter_mut().zip(states) {
            kernel.restore(states, &self.slots)?;
        }
        self.slice_bytes = self.slice_bytes + table.size() - before;
        if self.merged.is_some_and(|merged| slice.end <= merged) {
            self.restart();
        }
        Ok(())
    }

    /// Forgets the totals: they are made anew from the slices for the next window.
    fn restart(&mut self) {
        self.back.iter_mut().chain(&mut self.front).for_each(|k| k.clear_all());
        self.border = None;
        self.merged = None;
        self.live.fill(0);
        self.order.clear();
        self.newcomers.clear();
        self.slices.values_mut().for_each(|table| table.undo.clear());
        self.slice_bytes = self.slices.values().map(SliceTable::size).sum();
    }

    /// The oldest slice.
    pub fn oldest(&self) -> Option<Slice> {
        self.slices.keys().next().copied()
    }

    /// Moves the totals on to this window, which must not end before an earlier one, and returns
    /// its rows in order of keys: key columns, then results.
    pub fn close(&mut self, window: &Window) -> Result<Vec<ArrayRef>> {
        self.advance(window)?;
        self.sort();
        let ids = &self.order;
        let mut columns = self.interner.keys(ids)?;
        for (front, back) in self.front.iter().zip(&self.back) {
            if back.invertible() {
                columns.push(back.evaluate(ids)?);
                continue;
            }
            let mut both = front.copy(ids)?;
            both.merge(back.as_ref(), ids, &sequence(ids.len()), Place::After)?;
            columns.push(both.evaluate(&sequence(ids.len()))?);
        }
        Ok(columns)
    }

    /// The first start of a slice in the second half of the window's two stacks.
    fn border(&self, window: &Window) -> EventTime {
        let (size, offset) = (i128::from(self.spec.size()), i128::from(self.spec.offset));
        let border = (i128::from(window.end.0) - offset).div_euclid(size) * size + offset;
        EventTime(i64::try_from(border).unwrap_or(i64::MIN))
    }

    fn advance(&mut self, window: &Window) -> Result<()> {
        let bound = self.interner.bound();
        self.back.iter_mut().chain(&mut self.front).for_each(|k| k.resize(bound));
        let from =
            Slice { start: self.merged.unwrap_or(EventTime(i64::MIN)), end: EventTime(i64::MIN) };
        let border = self.border(window);
        let flip = self.border != Some(border);
        let remake_back = flip || self.back_stale;
        for (_, table) in self.slices.range_mut(from..).take_while(|(s, _)| s.end <= window.end) {
            enter(&mut self.live, &mut self.newcomers, &table.ids, bound);
            table.map = None;
            let all = sequence(table.ids.len());
            for (total, kernel) in self.back.iter_mut().zip(&table.kernels) {
                if total.invertible() || !remake_back {
                    total.merge(kernel.as_ref(), &all, &table.ids, Place::After)?;
                }
            }
        }
        self.merged = Some(window.end);
        self.border = Some(border);
        if flip || self.front_stale {
            self.remake_front(border, window.end)?;
        }
        if remake_back {
            self.remake_back(border, window.end)?;
        }
        (self.front_stale, self.back_stale) = (false, false);
        // The walk over the slices is part of moving the totals on.
        self.slice_bytes = self.slices.values().map(SliceTable::size).sum();
        Ok(())
    }

    /// Walks from the border to the oldest slice, putting aside what each step overwrites.
    fn remake_front(&mut self, border: EventTime, end: EventTime) -> Result<()> {
        self.front.iter_mut().filter(|k| !k.invertible()).for_each(|k| k.clear_all());
        let to = Slice { start: border, end: EventTime(i64::MIN) };
        for (_, table) in self.slices.range_mut(..to).rev().filter(|(s, _)| s.end <= end) {
            let all = sequence(table.ids.len());
            table.undo.clear();
            for (total, kernel) in self.front.iter_mut().zip(&table.kernels) {
                if total.invertible() {
                    table.undo.push(None);
                    continue;
                }
                table.undo.push(Some(total.copy(&table.ids)?));
                total.merge(kernel.as_ref(), &all, &table.ids, Place::Before)?;
            }
        }
        Ok(())
    }

    fn remake_back(&mut self, border: EventTime, end: EventTime) -> Result<()> {
        self.back.iter_mut().filter(|k| !k.invertible()).for_each(|k| k.clear_all());
        let from = Slice { start: border, end: EventTime(i64::MIN) };
        for (_, table) in self.slices.range(from..).take_while(|(s, _)| s.end <= end) {
            let all = sequence(table.ids.len());
            for (total, kernel) in self.back.iter_mut().zip(&table.kernels) {
                if !total.invertible() {
                    total.merge(kernel.as_ref(), &all, &table.ids, Place::After)?;
                }
            }
        }
        Ok(())
    }

    /// Brings the newcomers into `order`.
    fn sort(&mut self) {
        if self.newcomers.is_empty() {
            return;
        }
        let mut new = std::mem::take(&mut self.newcomers);
        self.interner.sort(&mut new);
        let old = std::mem::take(&mut self.order);
        let mut order = Vec::with_capacity(old.len() + new.len());
        let mut rest = old.as_slice();
        for id in new {
            let before = rest.partition_point(|&other| self.interner.compare(other, id).is_lt());
            order.extend_from_slice(&rest[..before]);
            order.push(id);
            rest = &rest[before..];
        }
        order.extend_from_slice(rest);
        self.order = order;
    }

    /// Lets the slices that start before `start` go: no window that is still open holds them.
    pub fn evict(&mut self, start: EventTime) -> Result<()> {
        while let Some(entry) = self.slices.first_entry().filter(|e| e.key().start < start) {
            let (slice, table) = entry.remove_entry();
            self.groups -= table.ids.len();
            self.slice_bytes -= table.size();
            if self.merged.is_some_and(|merged| slice.end <= merged) {
                self.leave(&slice, &table)?;
            }
            self.interner.release(&table.ids);
        }
        Ok(())
    }

    fn leave(&mut self, slice: &Slice, table: &SliceTable) -> Result<()> {
        let all = sequence(table.ids.len());
        let in_front = self.border.is_some_and(|border| slice.start < border) && !self.front_stale;
        for (i, kernel) in table.kernels.iter().enumerate() {
            if kernel.invertible() {
                self.back[i].subtract(kernel.as_ref(), &all, &table.ids)?;
            } else if in_front && let Some(Some(undo)) = table.undo.get(i) {
                self.front[i].assign(undo.as_ref(), &table.ids)?;
            }
        }
        let mut gone = false;
        for &id in &table.ids {
            self.live[id as usize] -= 1;
            gone |= self.live[id as usize] == 0;
        }
        if gone {
            // At once, since the id may stand for another key soon.
            self.order.retain(|&id| self.live[id as usize] > 0);
            self.newcomers.retain(|&id| self.live[id as usize] > 0);
        }
        Ok(())
    }

    /// Keys and states of some groups from the cursor on, slice by slice, and their slice; `None`:
    /// there are no more.
    pub fn piece(
        &self,
        cursor: &mut PieceCursor,
        rows: usize,
    ) -> Result<Option<(Slice, usize, Vec<ArrayRef>)>> {
        loop {
            let (start, end) = cursor.span.unwrap_or((i64::MIN, i64::MIN));
            let from = Slice { start: EventTime(start), end: EventTime(end) };
            let Some((&slice, table)) = self.slices.range(from..).next() else { return Ok(None) };
            if slice != from {
                *cursor = PieceCursor::of(Some((slice.start.0, slice.end.0)));
            }
            let (slots, states) =
                next_piece(&table.kernels, cursor, rows, table.ids.len(), |_| true)?;
            if !slots.is_empty() {
                let mut columns = self.interner.keys(&table.ids_of(&slots))?;
                columns.extend(states);
                return Ok(Some((slice, slots.len(), columns)));
            }
            let next = Some((slice.start.0, slice.end.0.saturating_add(1)));
            *cursor = PieceCursor::of(next);
        }
    }

    /// Keys and states of every slice, or of what was touched since the last call.
    pub fn written(&mut self, which: Which) -> Result<Vec<(Slice, usize, Vec<ArrayRef>)>> {
        let mut parts = Vec::new();
        for (&slice, table) in &mut self.slices {
            let slots = match which {
                Which::All => sequence(table.ids.len()),
                Which::Dirty => table.dirty.take(),
            };
            if slots.is_empty() {
                continue;
            }
            let mut columns = self.interner.keys(&table.ids_of(&slots))?;
            for kernel in &mut table.kernels {
                columns.extend(match which {
                    Which::All => kernel.states(&slots)?,
                    Which::Dirty => kernel.take_changed(&slots)?,
                });
            }
            parts.push((slice, slots.len(), columns));
        }
        Ok(parts)
    }

    /// How many groups all slices have.
    pub fn rows(&self) -> usize {
        self.groups
    }

    /// Bytes of memory held.
    pub fn size(&self) -> usize {
        let kernels = |all: &[Box<dyn Kernel>]| all.iter().map(|k| k.size()).sum::<usize>();
        let own = (self.live.capacity() + self.order.capacity() + self.newcomers.capacity()) * 4;
        self.interner.size() + self.slice_bytes + kernels(&self.back) + kernels(&self.front) + own
    }

    /// What [`size`](Self::size) and [`rows`](Self::rows) should be.
    #[cfg(test)]
    pub fn walked(&self) -> (usize, usize) {
        let totals = || self.back.iter().chain(&self.front);
        let counted = totals().map(|k| k.size()).sum::<usize>() + self.slice_bytes;
        let slices = self.slices.values().map(SliceTable::walked).sum::<usize>();
        let walked = totals().map(|k| k.walked()).sum::<usize>() + slices;
        let rows = self.slices.values().map(|table| table.ids.len()).sum();
        (self.size() + walked - counted, rows)
    }
}

/// What [`Hops::written`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Everything.
    All,
    /// What was touched since the last time.
    Dirty,
}

fn enter(live: &mut Vec<u32>, newcomers: &mut Vec<u32>, ids: &[u32], bound: usize) {
    if live.len() < bound {
        live.resize(bound, 0);
    }
    for &id in ids {
        if live[id as usize] == 0 {
            newcomers.push(id);
        }
        live[id as usize] += 1;
    }
}
