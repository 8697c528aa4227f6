//! Joins of rows that stay: what comes on one side is joined with what is there on the other, in all
//! kinds, and what no row to come can be joined with is forgotten.
//!
//! ```text
//!  Δ(A ⋈ B) = ΔA ⋈ B  +  (A + ΔA) ⋈ ΔB        and of each row: whether it has been joined
//! ```
//! A pair that has been found stays, so nothing of what was given is kept. A row of a side whose rows
//! come out alone, too (of LEFT, RIGHT and FULL, and of those that ask whether there is a partner),
//! is marked when the first partner is found. Alone it is given
//! - with EMIT CHANGES at the end of the epoch that brought it, and taken back with the first partner;
//! - with EMIT ON WINDOW CLOSE when no partner can come any more.
//!
//! That is known from [`JoinBounds`] on the event times of both sides, with which this is the
//! interval join of Flink and others: a row is done with when the other side's watermark has passed
//! the last time that it could be joined with. Which rows are late is not decided here but where
//! they are read, by the watermark of their own stream ([`lateness`]).
//!
//! The joining itself is a plan of DataFusion's over the rows of both ports, with whatever condition
//! there is. It gives the pairs, and for each side that is marked the number of the row and whether
//! it is marked already.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array,
    new_null_array,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::JoinType;

use super::operator::{Operator, PassedOn, Question, kept, size_of_tables};
use super::untouched::UntouchedValues;
use super::{Closing, Trigger, lateness};
use crate::error::{Error, Result};
use crate::limits::BATCH_ROWS;
use crate::state::{Arrangement, Delta, Location, StateTable, distinct_keys};
use crate::time::{EventTime, Watermark};

/// The columns that the plan has of a side that is marked, behind the port's: the number of the row,
/// and whether it has been joined.
pub const MARKS: [&str; 2] = ["__number", "__joined"];

/// How far apart the event times of two rows that are joined may be, in ticks: the right one's less
/// the left one's is from `from` to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinBounds {
    /// The columns with the event times, in the rows of each port.
    pub columns: [usize; 2],
    /// The least.
    pub from: i64,
    /// The greatest.
    pub to: i64,
    /// How far behind the watermark of its port the event time of a row to come may be.
    pub behind: [i64; 2],
}

/// What is joined, and when it is given.
#[derive(Debug, Clone, Copy)]
pub struct JoinSpec {
    /// The kind; marks are for other operators.
    pub kind: JoinType,
    /// If there are any.
    pub bounds: Option<JoinBounds>,
    /// When rows without a partner are given.
    pub trigger: Trigger,
}

impl JoinSpec {
    /// Whether pairs are given; else rows of one side.
    pub fn gives_pairs(&self) -> bool {
        matches!(self.kind, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full)
    }

    /// Whether rows of this side are given without a partner.
    pub fn gives_alone(&self, side: usize) -> bool {
        match self.kind {
            JoinType::Left | JoinType::LeftAnti => side == 0,
            JoinType::Right | JoinType::RightAnti => side == 1,
            JoinType::Full => true,
            _ => false,
        }
    }

    /// Whether a row of this side is given once when it has a partner.
    fn gives_joined(&self, side: usize) -> bool {
        match self.kind {
            JoinType::LeftSemi => side == 0,
            JoinType::RightSemi => side == 1,
            _ => false,
        }
    }

    /// Whether rows of this side are marked when they have been joined.
    pub fn marks(&self, side: usize) -> bool {
        self.gives_alone(side) || self.gives_joined(side)
    }

    /// Whether rows that are given are taken back.
    pub fn retracts(&self) -> bool {
        self.trigger == Trigger::OnChange && [0, 1].iter().any(|side| self.gives_alone(*side))
    }
}

/// Both sides of a join, and what has been found in the epoch.
pub struct AppendJoin {
    spec: JoinSpec,
    sides: [KeptSide; 2],
    /// The columns of what is given, all nullable.
    output: SchemaRef,
    /// The side that is to be asked about next.
    next: usize,
    /// What is to be given at the end of the epoch.
    found: Vec<Delta>,
    /// When keys are forgotten.
    untouched: Option<UntouchedValues>,
}

struct KeptSide {
    rows: Arrangement,
    /// What the epoch has brought.
    new: Vec<RecordBatch>,
    /// How many columns are given; the key is behind them.
    width: usize,
    /// How many columns it has.
    key: usize,
    /// Rows are marked.
    marks: bool,
    /// The rows that the epoch has brought have numbers from here on.
    first_new: u64,
    /// Which rows without a mark have been joined since the plan was asked.
    joined: BTreeSet<u64>,
    /// The column with the event time, and how far the watermark of the other side has to be behind
    /// it for the row to be done with.
    time: Option<(usize, i64)>,
    /// The event times of all rows and their numbers, if they have any; NULL, with which nothing can
    /// be joined, is the first.
    times: BTreeSet<(i64, u64)>,
}

impl AppendJoin {
    /// Without state, for sides with these columns and the first column of the key of each, which is
    /// this long and the last of them; `output` are the columns of what is given.
    pub fn new(
        spec: JoinSpec,
        sides: [(SchemaRef, usize); 2],
        output: &Schema,
        key: usize,
    ) -> Result<AppendJoin> {
        let side = |at: usize, (schema, width): &(SchemaRef, usize)| -> Result<KeptSide> {
            let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
            let marks = spec.marks(at);
            if marks && spec.gives_pairs() {
                fields.push(Arc::new(Field::new(MARKS[1], DataType::Boolean, true)));
            }
            let time = spec.bounds.map(|bounds| {
                // A right row may be as late as `to` after the left one, a left one as late as
                // `from` says before the right one.
                let reach = if at == 0 { bounds.to } else { bounds.from.saturating_neg() };
                (bounds.columns[at], reach.saturating_add(bounds.behind[1 - at]))
            });
            Ok(KeptSide {
                rows: Arrangement::new("rows by key", &Schema::new(fields), *width, key)?,
                new: Vec::new(),
                width: *width,
                key,
                marks,
                first_new: 0,
                joined: BTreeSet::new(),
                time,
                times: BTreeSet::new(),
            })
        };
        let fields = output.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        Ok(AppendJoin {
            spec,
            sides: [side(0, &sides[0])?, side(1, &sides[1])?],
            output: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            next: 0,
            found: Vec::new(),
            untouched: None,
        })
    }

    /// Marks what has been joined: alone it is given no more, and where it is not wanted for other
    /// pairs it is done with.
    fn mark(&mut self, at: usize) -> Result<()> {
        let side = &mut self.sides[at];
        let joined: Vec<u64> = std::mem::take(&mut side.joined).into_iter().collect();
        for numbers in joined.chunks(BATCH_ROWS) {
            let side = &mut self.sides[at];
            let places: Vec<Location> = numbers.iter().map(|at| Location::of(*at)).collect();
            let rows = side.rows.fetch(&places)?;
            side.forget(&rows, &places)?;
            if self.spec.gives_pairs() {
                side.keep(&marked(&rows)?)?;
            }
            let before = numbers.partition_point(|number| *number < side.first_new);
            if self.spec.gives_joined(at) {
                self.found.push(Delta::insert(self.alone(at, &rows)?));
            } else if self.spec.trigger == Trigger::OnChange && before > 0 {
                let gone = self.alone(at, &rows.slice(0, before))?;
                self.found.push(Delta::new(gone, Int64Array::from_value(-1, before)));
            }
        }
        Ok(())
    }

    /// Rows of a side as they are given without a partner.
    fn alone(&self, at: usize, rows: &RecordBatch) -> Result<RecordBatch> {
        let own = &rows.columns()[..self.sides[at].width];
        let columns = if self.spec.gives_pairs() {
            let nulls = |fields: &[Arc<Field>]| -> Vec<ArrayRef> {
                fields.iter().map(|f| new_null_array(f.data_type(), rows.num_rows())).collect()
            };
            let fields = self.output.fields();
            if at == 0 {
                [own.to_vec(), nulls(&fields[own.len()..])].concat()
            } else {
                [nulls(&fields[..fields.len() - own.len()]), own.to_vec()].concat()
            }
        } else {
            own.to_vec()
        };
        self.given(columns, rows.num_rows())
    }

    fn given(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let rows = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &rows)?)
    }

    /// The rows that the epoch has brought on a side and that have no partner.
    fn give_new_alone(&mut self, at: usize, out: &mut Vec<Delta>) -> Result<()> {
        let mut next = self.sides[at].first_new;
        while let Some((piece, after)) = self.sides[at].rows.numbered(next, BATCH_ROWS)? {
            let rows = unmarked(&piece.batch)?;
            if rows.num_rows() > 0 {
                out.push(Delta::insert(self.alone(at, &rows)?));
            }
            next = after;
        }
        Ok(())
    }

    /// Forgets the rows of a side that are done with, a portion at a time.
    fn forget_done(
        &mut self,
        at: usize,
        watermark: Watermark,
        out: &mut Vec<Delta>,
    ) -> Result<Closing> {
        let Some((_, reach)) = self.sides[at].time else { return Ok(Closing::Done) };
        let mut places = Vec::new();
        let side = &mut self.sides[at];
        let done = |time: i64| watermark.closes(EventTime(time.saturating_add(reach + 1)));
        while let Some((_, number)) = side.times.first().copied().filter(|first| done(first.0)) {
            side.times.pop_first();
            places.push(Location::of(number));
            if places.len() >= BATCH_ROWS {
                break;
            }
        }
        if places.is_empty() {
            return Ok(Closing::Done);
        }
        if self.spec.trigger == Trigger::OnClose && self.spec.gives_alone(at) {
            let rows = unmarked(&side.rows.fetch(&places)?)?;
            if rows.num_rows() > 0 {
                out.push(Delta::insert(self.alone(at, &rows)?));
            }
        }
        self.sides[at].rows.remove(&places)?;
        Ok(Closing::More)
    }
}

impl Operator for AppendJoin {
    fn forget_after(&mut self, ttl: i64) -> bool {
        let KeptSide { rows, width, key, .. } = &self.sides[0];
        let schema = rows.schema();
        self.untouched = UntouchedValues::new(&schema.fields()[*width..*width + *key], ttl);
        self.untouched.is_some()
    }

    /// What has been joined stays.
    fn tick(&mut self, now: i64, _: &mut Vec<Delta>) -> Result<Closing> {
        let Some(untouched) = &mut self.untouched else { return Ok(Closing::Done) };
        let Some(keys) = untouched.tick(now)? else { return Ok(Closing::Done) };
        self.sides.iter_mut().try_for_each(|side| side.rows.remove_keys(&keys))?;
        Ok(Closing::Done)
    }

    fn wakes(&self) -> Option<i64> {
        self.untouched.as_ref()?.wakes()
    }

    fn push(&mut self, at: usize, delta: &Delta) -> Result<PassedOn> {
        let gone = delta.of_sign(-1)?;
        if gone.num_rows() > 0 {
            return Err(Error::internal("a row is taken back from a join of rows that stay"));
        }
        let new = delta.of_sign(1)?;
        let side = &mut self.sides[at];
        if let Some(untouched) = &mut self.untouched {
            untouched.touch(&new.columns()[side.width..side.width + side.key])?;
        }
        side.new.push(new);
        Ok(kept())
    }

    /// What is to be joined next of what the epoch has brought.
    fn ask(&mut self) -> Result<Option<Question>> {
        self.mark(0)?;
        self.mark(1)?;
        while self.next < 2 {
            let at = self.next;
            self.next += 1;
            let new = std::mem::take(&mut self.sides[at].new);
            let Some(first) = new.first() else { continue };
            let own = concat_batches(&first.schema(), &new)?;
            let other = self.sides[1 - at].rows_for(&own, self.sides[at].width)?;
            let own = self.sides[at].take_in(own)?;
            if !other.is_empty() {
                let own = vec![own];
                return Ok(Some(if at == 0 { vec![own, other] } else { vec![other, own] }));
            }
        }
        self.next = 0;
        Ok(None)
    }

    fn answers_in_parts(&self) -> bool {
        true
    }

    fn part(&mut self, rows: RecordBatch) -> Result<Delta> {
        let gives_pairs = self.spec.gives_pairs();
        let pairs = if gives_pairs { self.output.fields().len() } else { 0 };
        let mut marks = pairs;
        for side in self.sides.iter_mut().filter(|side| side.marks) {
            let numbers = rows.column(marks).as_primitive::<UInt64Type>();
            marks += 1;
            if !gives_pairs {
                side.joined.extend(numbers.values());
                continue;
            }
            let known = rows.column(marks).as_boolean();
            marks += 1;
            let new = (0..rows.num_rows()).filter(|row| !known.value(*row));
            side.joined.extend(new.map(|row| numbers.value(row)));
        }
        if !gives_pairs {
            return Ok(Delta::insert(RecordBatch::new_empty(Arc::clone(&self.output))));
        }
        self.given(rows.columns()[..pairs].to_vec(), rows.num_rows()).map(Delta::insert)
    }

    fn settle(&mut self, passed: &[Watermark], out: &mut Vec<Delta>) -> Result<Closing> {
        out.append(&mut self.found);
        for at in [0, 1] {
            if self.spec.trigger == Trigger::OnChange && self.spec.gives_alone(at) {
                self.give_new_alone(at, out)?;
            }
            self.sides[at].first_new = self.sides[at].rows.next_number();
        }
        for at in [0, 1] {
            if self.forget_done(at, passed[1 - at], out)? == Closing::More {
                return Ok(Closing::More);
            }
        }
        Ok(Closing::Done)
    }

    fn closes_next(&self) -> Option<Watermark> {
        let next = |side: &KeptSide| {
            let ((_, reach), (time, _)) = (side.time?, side.times.first()?);
            Some(Watermark(time.saturating_add(reach).saturating_add(1)))
        };
        self.sides.iter().filter_map(next).min()
    }

    /// The rows of each side.
    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        self.sides.iter_mut().map(|side| &mut side.rows as &mut dyn StateTable).collect()
    }

    fn state_restored(&mut self) -> Result<()> {
        for side in &mut self.sides {
            if let Some(untouched) = &mut self.untouched {
                untouched.touch(&side.rows.keys()?)?;
            }
            side.first_new = side.rows.next_number();
            let mut next = 0;
            while let Some((piece, after)) = side.rows.numbered(next, BATCH_ROWS)? {
                side.remember(&piece.batch, piece.numbers.values().iter().copied())?;
                next = after;
            }
        }
        Ok(())
    }

    fn state_size(&self) -> (usize, usize) {
        let (bytes, rows) =
            size_of_tables(self.sides.iter().map(|side| &side.rows as &dyn StateTable));
        let times: usize = self.sides.iter().map(|side| side.times.len()).sum();
        let keys = self.untouched.as_ref().map_or(0, UntouchedValues::size);
        (bytes + times * 2 * size_of::<(i64, u64)>() + keys, rows)
    }
}

impl KeptSide {
    /// Takes rows in, and gives them as the plan gets them.
    fn take_in(&mut self, rows: RecordBatch) -> Result<RecordBatch> {
        let first = self.rows.next_number();
        let mut columns = rows.columns().to_vec();
        if self.rows.schema().fields().len() > columns.len() {
            columns.push(Arc::new(BooleanArray::from(vec![false; rows.num_rows()])));
        }
        let kept = RecordBatch::try_new(self.rows.schema(), columns)?;
        self.keep(&kept)?;
        self.as_asked(&kept, first..first + kept.num_rows() as u64)
    }

    /// Keeps rows.
    fn keep(&mut self, rows: &RecordBatch) -> Result<()> {
        let first = self.rows.next_number();
        self.rows.apply(&Delta::insert(rows.clone()))?;
        self.remember(rows, first..first + rows.num_rows() as u64)
    }

    /// Takes out rows that are at these places.
    fn forget(&mut self, rows: &RecordBatch, places: &[Location]) -> Result<()> {
        for (time, place) in self.times_of(rows)?.into_iter().zip(places) {
            self.times.remove(&(time, place.number()));
        }
        self.rows.remove(places)
    }

    /// The event times of rows of these numbers.
    fn remember(&mut self, rows: &RecordBatch, numbers: impl Iterator<Item = u64>) -> Result<()> {
        self.times.extend(self.times_of(rows)?.into_iter().zip(numbers));
        Ok(())
    }

    fn times_of(&self, rows: &RecordBatch) -> Result<Vec<i64>> {
        let Some((column, _)) = self.time else { return Ok(Vec::new()) };
        let times = lateness::ticks(rows, column)?;
        Ok(times.iter().map(|time| time.unwrap_or(i64::MIN)).collect())
    }

    /// The rows of this side that have the keys of rows of the other, whose keys begin there.
    fn rows_for(&self, other: &RecordBatch, first: usize) -> Result<Vec<RecordBatch>> {
        if self.rows.rows() == 0 {
            return Ok(Vec::new());
        }
        let columns = &other.columns()[first..first + self.key];
        let (keys, count) = distinct_keys(columns, other.num_rows())?;
        let places = self.rows.places(&keys, count)?;
        let rows = places.chunks(BATCH_ROWS).map(|places| {
            self.as_asked(&self.rows.fetch(places)?, places.iter().map(|at| at.number()))
        });
        rows.collect()
    }

    /// Rows as the plan gets them: of a side that is marked with their numbers, before the mark.
    fn as_asked(
        &self,
        rows: &RecordBatch,
        numbers: impl Iterator<Item = u64>,
    ) -> Result<RecordBatch> {
        if !self.marks {
            return Ok(rows.clone());
        }
        let own = self.width + self.key;
        let mut columns = rows.columns().to_vec();
        columns.insert(own, Arc::new(UInt64Array::from_iter_values(numbers)));
        let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
        fields.insert(own, Arc::new(Field::new(MARKS[0], DataType::UInt64, true)));
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}

/// The rows with the mark set, which is their last column.
fn marked(rows: &RecordBatch) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns.pop();
    columns.push(Arc::new(BooleanArray::from(vec![true; rows.num_rows()])));
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

/// The rows without a mark. Where there is none in the last column, all of them are.
fn unmarked(rows: &RecordBatch) -> Result<RecordBatch> {
    let schema = rows.schema();
    let Some((last, field)) = rows.columns().last().zip(schema.fields().last()) else {
        return Ok(rows.clone());
    };
    if field.name() != MARKS[1] {
        return Ok(rows.clone());
    }
    let mark = last.as_boolean();
    let without: BooleanArray = (0..mark.len()).map(|row| Some(!mark.value(row))).collect();
    Ok(filter_record_batch(rows, &without)?)
}
