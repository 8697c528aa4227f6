//! Rows while a condition on the time holds: `ts > now() - INTERVAL '1 hour'`.
//!
//! ```text
//!             arrives            leaves
//!  row  ──┬───────●════════════════●──────▶ time
//!         │       +1               −1
//!         └ comes
//! ```
//! A condition that becomes true at some moment lets a row in, one that becomes false lets it go. The
//! moment is found by asking the condition about the row at one time after the other, each halving
//! what is left of the times that there are: so it is exact whatever the condition computes, and the
//! same when the row is taken back. That asks it 53 times for each batch, some 8 µs a row; where a time
//! of the row is compared with now() and a fixed interval, the moment is their sum.
//!
//! Kept are the rows of which something is still to become, in the order in which it will. One that
//! is there for ever is not kept: whoever takes it back brings it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion::physical_plan::PhysicalExpr;

use super::Closing;
use super::operator::{Operator, PassedOn, kept, size_of_tables};
use crate::error::{Error, Result};
use crate::limits::BATCH_ROWS;
use crate::state::{Arrangement, Delta, Location, StateTable};

/// From 1970 to 2255, microseconds: no clock says anything else, and differences of such times and
/// the times of rows are still intervals.
const TIMES: (i64, i64) = (0, 1 << 53);

/// It has always been so.
const ALWAYS: i64 = i64::MIN;

/// It will never be so.
const NEVER: i64 = i64::MAX;

/// When rows are there.
#[derive(Debug, Clone, Default)]
pub struct TemporalSpec {
    /// Each becomes true at some time and stays so.
    pub arriving: Vec<TimedCondition>,
    /// Each becomes false at some time and stays so.
    pub leaving: Vec<TimedCondition>,
}

/// A condition that changes once.
#[derive(Debug, Clone)]
pub enum TimedCondition {
    /// So many microseconds behind a time of the row: microseconds since 1970, as a BIGINT.
    Behind(Arc<dyn PhysicalExpr>, i64),
    /// The condition itself, about a row and, in a column behind its own, a time: a TIMESTAMP in
    /// microseconds.
    Asked(Arc<dyn PhysicalExpr>),
}

impl fmt::Display for TemporalSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.arriving.is_empty(), self.leaving.is_empty()) {
            (false, false) => "rows arrive and leave",
            (false, true) => "rows arrive",
            (true, _) => "rows leave",
        })
    }
}

/// Rows that are there for a while.
pub struct TemporalFilter {
    spec: TemporalSpec,
    asked: SchemaRef,
    width: usize,
    /// Rows that are to arrive or to leave, when they do; the former is `ALWAYS` when they have.
    rows: Arrangement,
    /// When something next becomes of which row, by its number.
    next: BTreeSet<(i64, u64)>,
    /// The time of the epoch.
    now: i64,
}

impl TemporalFilter {
    /// Without state, for rows with these columns.
    pub fn new(input: &Schema, spec: TemporalSpec) -> Result<TemporalFilter> {
        let with = |more: &[Field]| {
            let fields = input.fields().iter().map(|field| field.as_ref().clone());
            Schema::new(fields.chain(more.iter().cloned()).collect::<Vec<_>>())
        };
        let time = Field::new("__moment", DataType::Timestamp(TimeUnit::Microsecond, None), false);
        let times = ["__arrives", "__leaves"].map(|name| Field::new(name, DataType::Int64, false));
        Ok(TemporalFilter {
            spec,
            asked: Arc::new(with(&[time])),
            width: input.fields().len(),
            rows: Arrangement::new("rows in time", &with(&times), 0, 0)?,
            next: BTreeSet::new(),
            now: ALWAYS,
        })
    }

    /// When each row arrives and leaves.
    fn times(&self, batch: &RecordBatch) -> Result<(Vec<i64>, Vec<i64>)> {
        let rows = batch.num_rows();
        let (mut arrives, mut leaves) = (vec![ALWAYS; rows], vec![NEVER; rows]);
        for condition in &self.spec.arriving {
            let times = self.first(batch, condition, true)?;
            arrives.iter_mut().zip(times).for_each(|(last, time)| *last = time.max(*last));
        }
        for condition in &self.spec.leaving {
            let times = self.first(batch, condition, false)?;
            leaves.iter_mut().zip(times).for_each(|(first, time)| *first = time.min(*first));
        }
        Ok((arrives, leaves))
    }

    /// The first time at which a condition on each row is so.
    fn first(
        &self,
        batch: &RecordBatch,
        condition: &TimedCondition,
        wanted: bool,
    ) -> Result<Vec<i64>> {
        match condition {
            TimedCondition::Asked(condition) => self.asked(batch, condition, wanted),
            TimedCondition::Behind(time, after) => {
                let times = time.evaluate(batch)?.into_array(batch.num_rows())?;
                let times = times.as_primitive_opt::<Int64Type>();
                let times = times.ok_or_else(|| Error::internal("a time that is no number"))?;
                // NULL is never true.
                let none = if wanted { NEVER } else { ALWAYS };
                let known = |time: Option<i64>| match time {
                    None => none,
                    Some(time) => match time.saturating_add(*after) {
                        at if at <= TIMES.0 => ALWAYS,
                        at if at >= TIMES.1 => NEVER,
                        at => at,
                    },
                };
                Ok(times.iter().map(known).collect())
            }
        }
    }

    /// The first time at which a condition is so of each row, found by asking it.
    fn asked(
        &self,
        batch: &RecordBatch,
        condition: &Arc<dyn PhysicalExpr>,
        wanted: bool,
    ) -> Result<Vec<i64>> {
        let rows = batch.num_rows();
        let (mut least, mut most) = (vec![TIMES.0; rows], vec![TIMES.1; rows]);
        while least.iter().zip(&most).any(|(least, most)| least < most) {
            let middle: Vec<i64> =
                least.iter().zip(&most).map(|(least, most)| least + (most - least) / 2).collect();
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(TimestampMicrosecondArray::from(middle.clone())));
            let asked = RecordBatch::try_new(Arc::clone(&self.asked), columns)?;
            let answer = condition.evaluate(&asked)?.into_array(rows)?;
            let answer = answer.as_boolean_opt().ok_or_else(|| Error::internal("no condition"))?;
            for (row, middle) in middle.into_iter().enumerate() {
                // NULL is not true.
                let is_so = (answer.is_valid(row) && answer.value(row)) == wanted;
                if is_so {
                    most[row] = middle;
                } else if least[row] < most[row] {
                    least[row] = middle + 1;
                }
            }
        }
        let known = |time| match time {
            time if time == TIMES.0 => ALWAYS,
            time if time == TIMES.1 => NEVER,
            time => time,
        };
        Ok(least.into_iter().map(known).collect())
    }

    /// What becomes next of a row that is kept.
    fn next_of(arrives: i64, leaves: i64) -> i64 {
        if arrives == ALWAYS { leaves } else { arrives }
    }

    /// Takes rows in, or out, of which something is still to become.
    fn keep(&mut self, delta: &Delta, times: &[(i64, i64)]) -> Result<()> {
        if delta.is_empty() {
            return Ok(());
        }
        let mut columns = delta.batch.columns().to_vec();
        let column = |times: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(times)) };
        columns.push(column(times.iter().map(|times| times.0).collect()));
        columns.push(column(times.iter().map(|times| times.1).collect()));
        let batch = RecordBatch::try_new(self.rows.schema(), columns)?;
        let applied = self.rows.apply(&Delta { batch, weights: delta.weights.clone() })?;
        let next = |row: u32| Self::next_of(times[row as usize].0, times[row as usize].1);
        for (row, number) in &applied.removed {
            self.next.remove(&(next(*row), *number));
        }
        for (number, row) in (applied.first..).zip(&applied.added) {
            self.next.insert((next(*row), number));
        }
        Ok(())
    }

    /// The columns of rows that are kept, and when they arrive and leave.
    fn parts(&self, rows: &RecordBatch) -> Result<(RecordBatch, Vec<(i64, i64)>)> {
        let arrives = super::lateness::ticks(rows, self.width)?;
        let leaves = super::lateness::ticks(rows, self.width + 1)?;
        let times = arrives.values().iter().copied().zip(leaves.values().iter().copied()).collect();
        Ok((rows.project(&(0..self.width).collect::<Vec<_>>())?, times))
    }
}

impl Operator for TemporalFilter {
    fn tick(&mut self, now: i64, out: &mut Vec<Delta>) -> Result<Closing> {
        self.now = now.max(self.now);
        let mut due = Vec::new();
        while due.len() < BATCH_ROWS
            && let Some(&(time, number)) = self.next.first()
            && time <= self.now
        {
            self.next.pop_first();
            due.push(Location::of(number));
        }
        if due.is_empty() {
            return Ok(Closing::Done);
        }
        let (rows, times) = self.parts(&self.rows.fetch(&due)?)?;
        self.rows.remove(&due)?;
        let now = self.now;
        // One that has come and gone since the last epoch was never seen.
        let weights = times.iter().map(|(arrives, leaves)| match *arrives {
            ALWAYS => -1,
            _ => i64::from(*leaves > now),
        });
        let weights = Int64Array::from_iter_values(weights);
        let arrived: Vec<bool> = weights.values().iter().map(|weight| *weight > 0).collect();
        let seen = weights.values().iter().map(|weight| Some(*weight != 0)).collect();
        let stays = |row: usize| arrived[row] && times[row].1 != NEVER;
        let staying = BooleanArray::from_iter((0..times.len()).map(|row| Some(stays(row))));
        let leaving: Vec<(i64, i64)> =
            (0..times.len()).filter(|row| stays(*row)).map(|row| (ALWAYS, times[row].1)).collect();
        self.keep(&Delta::insert(filter_record_batch(&rows, &staying)?), &leaving)?;
        out.push(Delta::new(rows, weights).filter(&seen)?);
        Ok(Closing::More)
    }

    fn wakes(&self) -> Option<i64> {
        self.next.first().map(|(time, _)| *time)
    }

    fn push(&mut self, _: usize, delta: &Delta) -> Result<PassedOn> {
        let (arrives, leaves) = self.times(&delta.batch)?;
        let now = self.now;
        let comes = |row: usize| arrives[row] < leaves[row] && leaves[row] > now;
        let is_there = |row: usize| comes(row) && arrives[row] <= now;
        let rows = 0..delta.rows();
        let mask = |is: &dyn Fn(usize) -> bool| -> BooleanArray {
            rows.clone().map(|row| Some(is(row))).collect()
        };
        let changes = |row: usize| comes(row) && !(is_there(row) && leaves[row] == NEVER);
        let times = |row: usize| (if is_there(row) { ALWAYS } else { arrives[row] }, leaves[row]);
        let kept_times: Vec<_> = rows.clone().filter(|row| changes(*row)).map(times).collect();
        self.keep(&delta.filter(&mask(&changes))?, &kept_times)?;
        let there = delta.filter(&mask(&is_there))?;
        if there.is_empty() {
            return Ok(kept());
        }
        Ok(Box::new(std::iter::once(Ok(there))))
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![&mut self.rows]
    }

    fn state_restored(&mut self) -> Result<()> {
        let mut next = 0;
        while let Some((piece, after)) = self.rows.numbered(next, BATCH_ROWS)? {
            let (_, times) = self.parts(&piece.batch)?;
            let numbers = piece.numbers.values().iter();
            self.next.extend(times.iter().zip(numbers).map(|(t, n)| (Self::next_of(t.0, t.1), *n)));
            next = after;
        }
        Ok(())
    }

    fn state_size(&self) -> (usize, usize) {
        let (bytes, rows) = size_of_tables([&self.rows as &dyn StateTable]);
        // A set of such pairs takes about half as much again.
        (bytes + self.next.len() * size_of::<(i64, u64)>() * 3 / 2, rows)
    }
}
