//! OVER over rows that stay, in the order of their event time: each row is answered once, when no row
//! to come can change what it is answered with.
//!
//! ```text
//!  of one key:   kept for frames to come │ to be answered now │ rows ahead of them │ not yet final
//!                ────────────────────────┴────────────────────┴────────────────────┴──────▶ event time
//!                                                                              watermark ┘
//! ```
//! What is behind the watermark is *final*: its rows and their order stay. A row is answered when all
//! that its frames reach is final: as much time ahead as `RANGE … FOLLOWING` says, as many rows as
//! `ROWS … FOLLOWING` or `lead` say. Rows of one time come and are answered together, so whatever else
//! they are ordered by decides nothing here. What frames of rows to come do not reach is forgotten.
//!
//! The answering is a plan of DataFusion's over the rows of the keys at hand, between the first and the
//! last that are reached. It gets the number of each row, by which it orders rows of one time, and
//! whether the row is wanted.
//!
//! Which rows have been answered is not stored: it follows from the watermark and the rows that are
//! kept, for of these only the oldest go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};

use super::operator::{Operator, PassedOn, Question, kept, rows_that_stay, size_of_tables};
use super::split::{ticks, timed, times};
use crate::error::Result;
use crate::limits::BATCH_ROWS;
use crate::state::{Arrangement, Delta, Interner, Location, StateTable};
use crate::time::{EventTime, Watermark};

/// The columns that the plan has behind the port's: the number of the row, and whether it is wanted.
pub const ASKED: [&str; 2] = ["__number", "__wanted"];

/// How far frames reach: all of that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameReach {
    /// Of event time.
    pub ticks: i64,
    /// Rows.
    pub rows: usize,
    /// Times that rows have.
    pub times: usize,
}

impl FrameReach {
    /// As far as the further of both.
    #[must_use]
    pub fn or(self, other: FrameReach) -> FrameReach {
        FrameReach {
            ticks: self.ticks.max(other.ticks),
            rows: self.rows.max(other.rows),
            times: self.times.max(other.times),
        }
    }

    /// Whether it depends on how many rows come.
    pub fn counts(self) -> bool {
        self.rows > 0 || self.times > 0
    }

    fn is_within(self, rows: usize, times: usize) -> bool {
        self.rows <= rows && self.times <= times
    }
}

/// How OVER is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverSpec {
    /// The column with the event time.
    pub time: usize,
    /// How many columns the rows have; the key is behind them.
    pub width: usize,
    /// How far back frames reach; None: to the first row.
    pub back: Option<FrameReach>,
    /// How far ahead.
    pub ahead: FrameReach,
    /// How far behind the watermark rows to come may be.
    pub behind: i64,
}

impl OverSpec {
    /// How long rows are kept if the watermark alone decides that.
    fn kept_for(&self) -> Option<i64> {
        let back = self.back.filter(|back| !back.counts() && !self.ahead.counts())?;
        Some(back.ticks)
    }
}

/// The rows that frames reach.
pub struct OverEventTime {
    spec: OverSpec,
    rows: Arrangement,
    groups: Interner,
    keys: Vec<KeyTimes>,
    /// Times of rows that have not been answered, and their keys.
    waiting: BTreeSet<(i64, u32)>,
    /// Watermarks at which to look at a key, where answers wait for rows ahead.
    coming: BTreeSet<(i64, u32)>,
    /// Times of rows that have been answered, and their keys, if the watermark alone decides how long
    /// they are kept.
    answered: BTreeSet<(i64, u32)>,
    passed: Watermark,
    rejected: u64,
}

/// The rows of a key.
#[derive(Default)]
struct KeyTimes {
    /// Their numbers, by event time.
    rows: BTreeMap<i64, Vec<u64>>,
    /// The last time whose rows have been answered.
    answered: Option<i64>,
}

impl KeyTimes {
    /// The first time whose rows have not been answered.
    fn next(&self) -> Option<i64> {
        let from = self.answered.map_or(i64::MIN, |last| last.saturating_add(1));
        self.rows.range(from..).next().map(|(time, _)| *time)
    }

    /// The first time that frames of rows at this time reach.
    fn back_from(&self, time: i64, reach: Option<FrameReach>) -> i64 {
        let Some(reach) = reach else { return i64::MIN };
        let (mut first, mut rows, mut times) = (time.saturating_sub(reach.ticks), 0, 0);
        for (before, numbers) in self.rows.range(..time).rev() {
            if reach.is_within(rows, times) {
                break;
            }
            (rows, times) = (rows + numbers.len(), times + 1);
            first = first.min(*before);
        }
        first
    }

    /// The last time that they reach, and whether all of that is final.
    fn ahead_from(&self, time: i64, reach: FrameReach, passed: Watermark) -> (i64, bool) {
        let mut last = time.saturating_add(reach.ticks);
        let (mut rows, mut times) = (0, 0);
        for (after, numbers) in self.rows.range(time.saturating_add(1)..) {
            if reach.is_within(rows, times) || !is_final(*after, passed) {
                break;
            }
            (rows, times) = (rows + numbers.len(), times + 1);
            last = last.max(*after);
        }
        let is_there = reach.is_within(rows, times) || passed == Watermark::INFINITY;
        (last, is_there && is_final(time.saturating_add(reach.ticks), passed))
    }
}

/// Whether all rows with this time have come.
fn is_final(time: i64, passed: Watermark) -> bool {
    passed.closes(EventTime(time.saturating_add(1)))
}

impl OverEventTime {
    /// Without state, for rows with these columns, at this watermark.
    pub fn at(input: &Schema, spec: OverSpec, watermark: Watermark) -> Result<OverEventTime> {
        let key = &input.fields()[spec.width..];
        let types: Vec<DataType> = key.iter().map(|field| field.data_type().clone()).collect();
        Ok(OverEventTime {
            rows: Arrangement::new("rows in time", input, 0, 0)?,
            groups: Interner::new(&types)?,
            keys: Vec::new(),
            waiting: BTreeSet::new(),
            coming: BTreeSet::new(),
            answered: BTreeSet::new(),
            passed: watermark.less(spec.behind),
            rejected: 0,
            spec,
        })
    }

    /// Notes rows by their keys and times; gives which keys these are, and at what time.
    fn note(
        &mut self,
        batch: &RecordBatch,
        numbers: impl Iterator<Item = u64>,
    ) -> Result<BTreeSet<(i64, u32)>> {
        let data = times(batch.column(self.spec.time))?;
        let (keys, mut ids) = (&batch.columns()[self.spec.width..], Vec::new());
        self.groups.intern(keys, batch.num_rows(), &mut ids)?;
        if self.keys.len() < self.groups.bound() {
            self.keys.resize_with(self.groups.bound(), KeyTimes::default);
        }
        let mut noted = BTreeSet::new();
        for ((time, id), number) in ticks(&data).iter().zip(ids).zip(numbers) {
            self.keys[id as usize].rows.entry(*time).or_default().push(number);
            noted.insert((*time, id));
        }
        Ok(noted)
    }

    /// Rows of this time and key are to be answered.
    fn wait(&mut self, time: i64, id: u32) {
        let is_new = self.waiting.insert((time, id));
        if is_new && self.spec.ahead.counts() {
            let end = time.saturating_add(self.spec.ahead.ticks);
            self.coming.extend([time, end].map(|time| (time.saturating_add(1), id)));
        }
    }

    /// The rows that can be answered next: their time and key.
    fn next_due(&mut self) -> Option<(i64, u32)> {
        let (ahead, passed) = (self.spec.ahead, self.passed);
        if !ahead.counts() || passed == Watermark::INFINITY {
            let first = self.waiting.first().copied();
            return first.filter(|first| is_final(first.0.saturating_add(ahead.ticks), passed));
        }
        while let Some((at, id)) = self.coming.first().copied() {
            if !passed.closes(EventTime(at)) {
                break;
            }
            let key = &self.keys[id as usize];
            if let Some(time) = key.next()
                && key.ahead_from(time, ahead, passed).1
            {
                return Some((time, id));
            }
            self.coming.pop_first();
        }
        None
    }

    /// Of some rows that can be answered the keys, and of each the first and the last time.
    fn take_due(&mut self) -> BTreeMap<u32, (i64, i64)> {
        let (mut due, mut count) = (BTreeMap::new(), 0);
        while count < BATCH_ROWS
            && let Some((time, id)) = self.next_due()
        {
            self.waiting.remove(&(time, id));
            if self.spec.kept_for().is_some() {
                self.answered.insert((time, id));
            }
            let key = &mut self.keys[id as usize];
            key.answered = Some(time);
            count += key.rows.get(&time).map_or(0, Vec::len);
            due.entry(id).or_insert((time, time)).1 = time;
        }
        due
    }

    /// The rows that these reach, and they themselves, which are wanted.
    fn question(&self, due: &BTreeMap<u32, (i64, i64)>) -> Result<Question> {
        let (mut places, mut wanted) = (Vec::new(), Vec::new());
        for (id, (first, last)) in due {
            let key = &self.keys[*id as usize];
            let from = key.back_from(*first, self.spec.back);
            let (to, _) = key.ahead_from(*last, self.spec.ahead, self.passed);
            for (time, numbers) in key.rows.range(from..=to) {
                if !is_final(*time, self.passed) {
                    break;
                }
                let is_wanted = (*first..=*last).contains(time);
                places.extend(numbers.iter().map(|number| Location::of(*number)));
                wanted.resize(places.len(), is_wanted);
            }
        }
        let mut fields: Vec<_> = self.rows.schema().fields().iter().cloned().collect();
        let kinds = [DataType::UInt64, DataType::Boolean];
        fields.extend(
            ASKED.iter().zip(kinds).map(|(name, kind)| Arc::new(Field::new(*name, kind, false))),
        );
        let schema = Arc::new(Schema::new(fields));
        let parts = places.chunks(BATCH_ROWS).zip(wanted.chunks(BATCH_ROWS));
        let batches = parts.map(|(places, wanted)| {
            let mut columns = self.rows.fetch(places)?.columns().to_vec();
            let numbers = UInt64Array::from_iter_values(places.iter().map(|at| at.number()));
            columns.extend([
                Arc::new(numbers) as ArrayRef,
                Arc::new(BooleanArray::from(wanted.to_vec())) as ArrayRef,
            ]);
            Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
        });
        Ok(vec![batches.collect::<Result<_>>()?])
    }

    fn keeps(&self, id: u32) -> bool {
        !self.keys[id as usize].rows.is_empty()
    }

    /// Forgets what no frame of rows to come reaches of these keys, whose rows have been answered.
    fn forget(&mut self, ids: Vec<u32>) -> Result<()> {
        let mut gone = Vec::new();
        for id in ids {
            let key = &mut self.keys[id as usize];
            let kept = match (key.next(), self.passed) {
                (None, Watermark::INFINITY) => BTreeMap::new(),
                (next, Watermark(passed)) => {
                    let next = next.map_or(passed, |next| next.min(passed));
                    let from = key.back_from(next, self.spec.back);
                    key.rows.split_off(&from)
                }
            };
            let old = std::mem::replace(&mut key.rows, kept);
            gone.extend(old.into_values().flatten());
            self.forget_if_empty(id);
        }
        self.remove(&gone)
    }

    /// Forgets what no frame of rows to come reaches, if the watermark alone says what that is.
    fn expire(&mut self) -> Result<()> {
        let Some(ticks) = self.spec.kept_for() else { return Ok(()) };
        // Frames of rows that wait reach as far back.
        let oldest = self.waiting.first().map_or(Watermark::INFINITY, |first| Watermark(first.0));
        let to_come = self.passed.min(oldest);
        let mut gone = Vec::new();
        while let Some((time, id)) = self.answered.first().copied() {
            if !is_final(time.saturating_add(ticks), to_come) {
                break;
            }
            self.answered.pop_first();
            gone.extend(self.keys[id as usize].rows.remove(&time).into_iter().flatten());
            self.forget_if_empty(id);
        }
        self.remove(&gone)
    }

    fn forget_if_empty(&mut self, id: u32) {
        let key = &mut self.keys[id as usize];
        if key.rows.is_empty() {
            *key = KeyTimes::default();
            self.groups.forget(id);
        }
    }

    fn remove(&mut self, numbers: &[u64]) -> Result<()> {
        let places: Vec<Location> = numbers.iter().map(|number| Location::of(*number)).collect();
        self.rows.remove(&places)
    }
}

impl Operator for OverEventTime {
    fn push(&mut self, _: usize, delta: &Delta) -> Result<PassedOn> {
        let (batch, rejected) = timed(rows_that_stay(delta)?, self.spec.time)?;
        self.rejected += rejected;
        let first = self.rows.next_number();
        for (time, id) in self.note(&batch, first..first + batch.num_rows() as u64)? {
            self.wait(time, id);
        }
        self.rows.apply(&Delta::insert(batch))?;
        Ok(kept())
    }

    fn due(&mut self, frontier: Watermark) -> Result<Option<Question>> {
        self.passed = frontier.less(self.spec.behind).max(self.passed);
        let due = self.take_due();
        if due.is_empty() {
            self.expire()?;
            if self.passed == Watermark::INFINITY {
                let all = 0..self.keys.len() as u32;
                self.forget(all.filter(|id| self.keeps(*id)).collect())?;
            }
            return Ok(None);
        }
        let question = self.question(&due)?;
        if self.spec.kept_for().is_none() {
            self.forget(due.into_keys().collect())?;
        }
        Ok(Some(question))
    }

    fn answers_in_parts(&self) -> bool {
        true
    }

    fn closes_next(&self) -> Option<Watermark> {
        let answers = if self.spec.ahead.counts() {
            self.coming.first().map(|first| first.0)
        } else {
            let end = |first: &(i64, u32)| first.0.saturating_add(self.spec.ahead.ticks + 1);
            self.waiting.first().map(end)
        };
        Some(Watermark(answers?.saturating_add(self.spec.behind)))
    }

    /// Rows that wait for others ahead of them may be far behind the watermark.
    fn frontier(&self, watermark: Watermark) -> Watermark {
        let OverSpec { ahead, behind, .. } = self.spec;
        let oldest = self.waiting.first().filter(|_| ahead.counts());
        oldest.map_or(watermark, |(time, _)| {
            let as_if = time.saturating_add(behind).saturating_add(ahead.ticks);
            watermark.min(Watermark(as_if))
        })
    }

    fn rejected(&self) -> u64 {
        self.rejected
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![&mut self.rows]
    }

    fn state_restored(&mut self) -> Result<()> {
        let (mut all, mut next) = (BTreeSet::new(), 0);
        while let Some((piece, after)) = self.rows.numbered(next, BATCH_ROWS)? {
            all.extend(self.note(&piece.batch, piece.numbers.values().iter().copied())?);
            next = after;
        }
        for (time, id) in all {
            let key = &mut self.keys[id as usize];
            if !key.ahead_from(time, self.spec.ahead, self.passed).1 {
                self.wait(time, id);
                continue;
            }
            key.answered = Some(time);
            if self.spec.kept_for().is_some() {
                self.answered.insert((time, id));
            }
        }
        Ok(())
    }

    fn state_size(&self) -> (usize, usize) {
        let (bytes, rows) = size_of_tables([&self.rows as &dyn StateTable]);
        let of_row = size_of::<(i64, Vec<u64>)>() + size_of::<u64>();
        let queued = self.waiting.len() + self.coming.len() + self.answered.len();
        let index = rows * of_row + queued * 2 * size_of::<(i64, u32)>();
        (bytes + index + self.groups.size() + self.keys.capacity() * size_of::<KeyTimes>(), rows)
    }
}
