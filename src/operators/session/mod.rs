//! SESSION windows of rows that stay: a row is in the session of its key that it follows or precedes
//! by less than the gap, and may join two sessions to one. A session ends a gap behind its last row,
//! closes when the watermark has come there, and is forgotten.
//!
//! Which rows are late cannot be told from their times alone, as it can for windows of the clock: a
//! row that is old may belong to a session that is still open. It is late when the session that it
//! would be in has closed by the watermark that the writes before its own had reached:
//! - it is within the gap of a session of its key that has closed, or
//! - no open session is within the gap of it, and the one that it would be alone in has closed.
//!
//! Of the closed sessions of a key only the end of the last is needed for that: what lies further
//! back has closed too. It is kept until no row could be let in before it. So no row ever comes to a
//! session that has been given, and the sessions are those of the rows that were not late, however
//! they are cut into epochs.
//!
//! With EMIT CHANGES the rows of a session that has grown are taken back and given with its new ends,
//! once an epoch.

mod given;
mod open;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::assign::expanded;
use super::operator::{Operator, PassedOn, kept, rows_that_stay, size_of_tables};
use super::split::{ticks, timed, times};
use super::{Closing, Trigger, time_type, time_unit};
use crate::error::Result;
use crate::limits::BATCH_ROWS;
use crate::state::{Arrangement, Delta, Interner, Location, StateTable};
use crate::time::{EventTime, Watermark, ticks_of_millis};
use given::{GivenRows, RowsInSessions};
use open::{OpenSession, SessionKey};

/// How rows become sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSpec {
    /// The column with the event time.
    pub time: usize,
    /// How many columns are given; the keys are behind them.
    pub width: usize,
    /// How many ticks nothing comes between two sessions.
    pub gap: i64,
    /// When rows are given.
    pub trigger: Trigger,
    /// How long sessions stay open behind the watermark, in ticks.
    pub lateness: i64,
}

/// The sessions that are open, and their rows.
pub struct SessionWindows {
    spec: SessionSpec,
    time_type: DataType,
    output: SchemaRef,
    /// Of open sessions.
    rows: Arrangement,
    /// The end of the last session of a key that has closed: the key, and ticks.
    ends: Arrangement,
    groups: Interner,
    keys: Vec<SessionKey>,
    /// When each open session closes.
    closing: BTreeSet<Closes>,
    /// When the ends of closed ones are no longer needed, and of which key.
    expiring: BTreeSet<(i64, u32)>,
    /// Sessions that have changed since the last epoch: their keys, and where they begin.
    touched: BTreeSet<(u32, i64)>,
    passed: Watermark,
    rejected: u64,
    late: Vec<RecordBatch>,
}

/// When a session closes; those that end together in the order in which they began to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Closes {
    end: i64,
    first: i64,
    oldest: u64,
    key: u32,
}

impl SessionWindows {
    /// Without state, for rows with these columns, at this watermark.
    pub fn at(input: &Schema, spec: SessionSpec, watermark: Watermark) -> Result<SessionWindows> {
        let given = Arc::new(input.project(&(0..spec.width).collect::<Vec<_>>())?);
        let mut ends: Vec<_> = input.fields()[spec.width..].to_vec();
        let types: Vec<DataType> = ends.iter().map(|field| field.data_type().clone()).collect();
        ends.push(Arc::new(Field::new("__end", DataType::Int64, false)));
        Ok(SessionWindows {
            time_type: time_type(&given, spec.time)?,
            output: expanded(&given, spec.time)?,
            rows: Arrangement::new("rows of sessions", input, 0, 0)?,
            ends: Arrangement::new("ends of sessions", &Schema::new(ends), 0, 0)?,
            groups: Interner::new(&types)?,
            keys: Vec::new(),
            closing: BTreeSet::new(),
            expiring: BTreeSet::new(),
            touched: BTreeSet::new(),
            passed: watermark.less(spec.lateness),
            rejected: 0,
            late: Vec::new(),
            spec,
        })
    }

    /// Puts a row into its session; whether it was not late.
    fn take_in(&mut self, id: u32, time: i64, number: u64) -> bool {
        let gap = self.spec.gap;
        let key = &mut self.keys[id as usize];
        if key.closed.is_some_and(|(end, _)| time < end) {
            return false;
        }
        let within = key.within(time, gap);
        let end = time.saturating_add(gap);
        if within == [None, None] && self.passed.closes(EventTime(end)) {
            return false;
        }
        let mut session = OpenSession::of(time, number);
        let mut first = time;
        for begin in within.into_iter().flatten() {
            let Some(other) = key.open.remove(&begin) else { continue };
            self.closing.remove(&other.closes(begin, gap, id));
            self.touched.remove(&(id, begin));
            first = first.min(begin);
            session.join(other);
        }
        self.closing.insert(session.closes(first, gap, id));
        if self.spec.trigger == Trigger::OnChange {
            self.touched.insert((id, first));
        }
        key.open.insert(first, session);
        true
    }

    /// Room for keys, and their ids.
    fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.groups.intern(keys, rows, &mut ids)?;
        if self.keys.len() < self.groups.bound() {
            self.keys.resize_with(self.groups.bound(), SessionKey::default);
        }
        Ok(ids)
    }

    fn forget_empty(&mut self, ids: impl IntoIterator<Item = u32>) {
        for id in ids {
            if self.keys[id as usize].is_empty() {
                self.groups.forget(id);
            }
        }
    }

    /// Notes where the last closed sessions of keys end, as long as a row could come before.
    fn note_ends(&mut self, closed: &BTreeMap<u32, i64>) -> Result<()> {
        let (mut gone, mut ids, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (&id, &end) in closed {
            let key = &mut self.keys[id as usize];
            gone.extend(key.closed.take().map(|(_, place)| place));
            if key.needs(end, self.spec.gap, self.passed) {
                ids.push(id);
                ends.push(end);
            }
        }
        self.ends.remove(&gone)?;
        let first = self.ends.next_number();
        for ((id, end), number) in ids.iter().zip(&ends).zip(first..) {
            self.keys[*id as usize].closed = Some((*end, Location::of(number)));
            self.expiring.insert((end.saturating_add(self.spec.gap), *id));
        }
        if !ids.is_empty() {
            let mut columns = self.groups.keys(&ids)?;
            columns.push(Arc::new(Int64Array::from(ends)));
            self.ends.apply(&Delta::insert(RecordBatch::try_new(self.ends.schema(), columns)?))?;
        }
        self.forget_empty(closed.keys().copied());
        Ok(())
    }

    /// Forgets ends that no row could come before any more.
    fn expire(&mut self) -> Result<()> {
        let (mut gone, mut ids) = (Vec::new(), Vec::new());
        while let Some(&(until, id)) = self.expiring.first() {
            if !self.passed.closes(EventTime(until)) {
                break;
            }
            self.expiring.pop_first();
            let key = &mut self.keys[id as usize];
            let Some((end, place)) = key.closed else { continue };
            // Beside an open session it is needed until that closes, which then takes its place.
            if end.saturating_add(self.spec.gap) == until
                && !key.needs(end, self.spec.gap, self.passed)
            {
                key.closed = None;
                gone.push(place);
                ids.push(id);
            }
        }
        self.ends.remove(&gone)?;
        self.forget_empty(ids);
        Ok(())
    }

    fn shown(&self) -> RowsInSessions<'_> {
        RowsInSessions {
            rows: &self.rows,
            output: &self.output,
            time_type: &self.time_type,
            width: self.spec.width,
            gap: self.spec.gap,
        }
    }
}

impl Operator for SessionWindows {
    fn push(&mut self, _: usize, delta: &Delta) -> Result<PassedOn> {
        let (batch, rejected) = timed(rows_that_stay(delta)?, self.spec.time)?;
        self.rejected += rejected;
        let data = times(batch.column(self.spec.time))?;
        let ids = self.intern(&batch.columns()[self.spec.width..], batch.num_rows())?;
        let mut number = self.rows.next_number();
        let mut on_time = Vec::with_capacity(ids.len());
        for (id, time) in ids.iter().zip(ticks(&data)) {
            let is_on_time = self.take_in(*id, *time, number);
            number += u64::from(is_on_time);
            on_time.push(is_on_time);
        }
        if !on_time.contains(&false) {
            self.rows.apply(&Delta::insert(batch))?;
            return Ok(kept());
        }
        let late = BooleanArray::from_iter(on_time.iter().map(|is| Some(!is)));
        let given: Vec<usize> = (0..self.spec.width).collect();
        self.late.push(filter_record_batch(&batch.project(&given)?, &late)?);
        let rows = filter_record_batch(&batch, &BooleanArray::from(on_time))?;
        self.rows.apply(&Delta::insert(rows))?;
        self.forget_empty(ids.into_iter().collect::<BTreeSet<_>>());
        Ok(kept())
    }

    fn close(&mut self, watermark: Watermark, out: &mut Vec<Delta>) -> Result<Closing> {
        self.passed = watermark.less(self.spec.lateness).max(self.passed);
        let mut portion = GivenRows::default();
        let (mut places, mut closed) = (Vec::new(), BTreeMap::new());
        while let Some(next) = self.closing.first().copied() {
            if !self.passed.closes(EventTime(next.end)) || places.len() >= BATCH_ROWS {
                break;
            }
            self.closing.pop_first();
            let key = &mut self.keys[next.key as usize];
            let Some(session) = key.open.remove(&next.first) else { continue };
            let is_touched = self.touched.remove(&(next.key, next.first));
            if is_touched || self.spec.trigger == Trigger::OnClose {
                portion.add(next.first, &session);
            }
            places.extend(session.rows().map(Location::of));
            let last = closed.entry(next.key).or_insert(next.end);
            *last = next.end.max(*last);
        }
        if places.is_empty() {
            self.expire()?;
            return Ok(Closing::Done);
        }
        portion.give(&self.shown(), out)?;
        self.rows.remove(&places)?;
        self.note_ends(&closed)?;
        Ok(Closing::More)
    }

    fn closes_next(&self) -> Option<Watermark> {
        let closes = self.closing.first().map(|next| next.end);
        let expires = self.expiring.first().map(|(until, _)| *until);
        let next = closes.into_iter().chain(expires).min()?;
        Some(Watermark(next.saturating_add(self.spec.lateness)))
    }

    /// What is still to come ends after the watermark.
    fn frontier(&self, watermark: Watermark) -> Watermark {
        let millisecond = ticks_of_millis(1, time_unit(&self.time_type)).max(1);
        watermark.less(self.spec.lateness).less(millisecond - 1)
    }

    fn settle(&mut self, _: &[Watermark], out: &mut Vec<Delta>) -> Result<Closing> {
        let mut portion = GivenRows::default();
        while portion.rows() < BATCH_ROWS
            && let Some((id, first)) = self.touched.pop_first()
        {
            if let Some(session) = self.keys[id as usize].open.get_mut(&first) {
                portion.add(first, session);
                session.is_given(first);
            }
        }
        portion.give(&self.shown(), out)?;
        Ok(if self.touched.is_empty() { Closing::Done } else { Closing::More })
    }

    fn late(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.late)
    }

    fn rejected(&self) -> u64 {
        self.rejected
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![&mut self.rows, &mut self.ends]
    }

    /// Sessions are known by their rows: those that are open are apart from each other.
    fn state_restored(&mut self) -> Result<()> {
        let mut rows: Vec<(u32, i64, u64)> = Vec::with_capacity(self.rows.rows());
        let mut next = 0;
        while let Some((piece, after)) = self.rows.numbered(next, BATCH_ROWS)? {
            let keys = &piece.batch.columns()[self.spec.width..];
            let ids = self.intern(keys, piece.batch.num_rows())?;
            let data = times(piece.batch.column(self.spec.time))?;
            let numbers = piece.numbers.values().iter();
            rows.extend(ids.iter().zip(ticks(&data)).zip(numbers).map(|((i, t), n)| (*i, *t, *n)));
            next = after;
        }
        rows.sort_unstable();
        let passed = std::mem::replace(&mut self.passed, Watermark::NONE);
        for (id, time, number) in rows {
            self.take_in(id, time, number);
        }
        self.passed = passed;
        for (id, first) in std::mem::take(&mut self.touched) {
            if let Some(session) = self.keys[id as usize].open.get_mut(&first) {
                session.is_given(first);
            }
        }
        let mut next = 0;
        while let Some((piece, after)) = self.ends.numbered(next, BATCH_ROWS)? {
            let last = piece.batch.num_columns() - 1;
            let ids = self.intern(&piece.batch.columns()[..last], piece.batch.num_rows())?;
            let ends = super::lateness::ticks(&piece.batch, last)?;
            for ((id, end), number) in ids.iter().zip(ends.values()).zip(piece.numbers.values()) {
                self.keys[*id as usize].closed = Some((*end, Location::of(*number)));
                self.expiring.insert((end.saturating_add(self.spec.gap), *id));
            }
            next = after;
        }
        Ok(())
    }

    fn state_size(&self) -> (usize, usize) {
        let tables = [&self.rows as &dyn StateTable, &self.ends];
        let (bytes, rows) = size_of_tables(tables);
        let index = self.rows.rows() * size_of::<u64>()
            + self.closing.len() * 2 * (size_of::<OpenSession>() + size_of::<Closes>());
        (bytes + index + self.groups.size() + self.keys.capacity() * size_of::<SessionKey>(), rows)
    }
}
