//! The general operator: rows by key, the keys that an epoch has touched, and what was answered for
//! each, so that only the difference goes out.
//!
//! ```text
//!  port 0 ─▶ rows by key ─┐ rows of touched keys
//!  port 1 ─▶ rows by key ─┴──▶ any plan (run by the executor) ──▶ less what was answered ─▶ delta
//! ```
//! The plan is DataFusion's; this keeps what goes in and what came out. The rows of a key are given
//! to the plan in the order in which they came, so that ties are decided the same way again.
//!
//! Where windows close, the key is a column of the window: its rows are answered once, when the
//! frontier has passed its `window_time`, and forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::Closing;
use super::lateness::ticks;
use super::operator::{Operator, PassedOn, Question, kept, size_of_tables};
use super::untouched::UntouchedValues;
use crate::error::{Error, Result};
use crate::limits::BATCH_ROWS;
use crate::state::{Arrangement, Delta, Interner, Location, StateTable, change};
use crate::time::{EventTime, Watermark};

/// What goes in and what came out, by key.
pub struct PerKey {
    ports: Vec<Port>,
    /// What was answered, its key last; None: a key is answered once.
    answered: Option<Arrangement>,
    /// The answer's columns and then the key.
    output: SchemaRef,
    /// How many columns stand before that.
    answer: usize,
    /// How many columns of the key the rows are kept by.
    key: usize,
    touched: Touched,
    /// Which keys the plan has been asked about, and how many.
    asked: (Vec<ArrayRef>, usize),
    /// When keys are forgotten.
    untouched: Option<UntouchedValues>,
}

struct Port {
    rows: Arrangement,
    /// The first column of the key.
    first: usize,
}

enum Touched {
    /// There is one key; it has been touched.
    All(bool),
    /// These.
    Keys(Box<Interner>, Vec<u32>),
    /// Windows that wait for their end: their columns' values in ticks. `until` is from there to
    /// their `window_time`.
    Windows { open: BTreeSet<i64>, until: i64, kind: DataType },
}

impl PerKey {
    /// Without state, for ports with these columns (and whether rows are taken back, and the first
    /// column of the key), and a plan with these, the last `key` of which are the key. `until`: see
    /// [`ClosingKey`](crate::plan::ClosingKey).
    pub fn new(
        ports: &[(SchemaRef, bool, usize)],
        output: SchemaRef,
        key: usize,
        until: Option<i64>,
    ) -> Result<PerKey> {
        let first_key = output.fields().len() - key;
        let types = |schema: &Schema, first: usize| -> Vec<DataType> {
            (first..first + key).map(|at| schema.field(at).data_type().clone()).collect()
        };
        let key_types = types(&output, first_key);
        let touched = match (until, key) {
            (Some(until), _) => {
                let kind = key_types.first().cloned();
                let kind = kind.ok_or_else(|| Error::internal("a window that is no key"))?;
                Touched::Windows { open: BTreeSet::new(), until, kind }
            }
            // What is answered over no rows need not be nothing.
            (None, 0) => Touched::All(true),
            (None, _) => Touched::Keys(Box::new(Interner::new(&key_types)?), Vec::new()),
        };
        // A window closes as a whole, so its rows are kept together.
        let by = if until.is_some() { 1 } else { key };
        let mut own = Vec::with_capacity(ports.len());
        for (schema, retracts, first) in ports {
            let mut rows = Arrangement::new("rows by key", schema, *first, by)?;
            if *retracts {
                rows.taken_out_by_value()?;
            }
            own.push(Port { rows, first: *first });
        }
        let answered = match until {
            Some(_) => None,
            None => Some(Arrangement::new("answers by key", &output, first_key, key)?),
        };
        let (answer, asked) = (first_key, (Vec::new(), 0));
        let untouched = None;
        Ok(PerKey { ports: own, answered, output, answer, key: by, touched, asked, untouched })
    }

    /// The answers of windows, in the order of their ends.
    fn in_order(&self, rows: &RecordBatch) -> Result<Delta> {
        let ends = values(rows.column(self.answer))?;
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        order.sort_by_key(|row| ends.value(*row as usize));
        Ok(Delta::insert(take_record_batch(rows, &UInt32Array::from(order))?))
    }
}

impl Operator for PerKey {
    fn forget_after(&mut self, ttl: i64) -> bool {
        let Touched::Keys(..) = &self.touched else { return false };
        self.untouched = UntouchedValues::new(&self.output.fields()[self.answer..], ttl);
        self.ports.iter_mut().for_each(|port| port.rows.forgets());
        self.untouched.is_some()
    }

    /// Without its rows a key is answered as if they had never been.
    fn tick(&mut self, now: i64, _: &mut Vec<Delta>) -> Result<Closing> {
        let Some(untouched) = &mut self.untouched else { return Ok(Closing::Done) };
        let Some(keys) = untouched.tick(now)? else { return Ok(Closing::Done) };
        self.ports.iter_mut().try_for_each(|port| port.rows.remove_keys(&keys))?;
        if let Touched::Keys(groups, ids) = &mut self.touched {
            groups.intern(&keys, keys[0].len(), ids)?;
        }
        Ok(Closing::Done)
    }

    fn wakes(&self) -> Option<i64> {
        self.untouched.as_ref()?.wakes()
    }

    fn push(&mut self, port: usize, delta: &Delta) -> Result<PassedOn> {
        let Port { rows, first } = &mut self.ports[port];
        let keys = &delta.batch.columns()[*first..*first + self.key];
        match &mut self.touched {
            Touched::All(touched) => *touched = true,
            Touched::Keys(groups, ids) => {
                groups.intern(keys, delta.rows(), ids)?;
                if let Some(untouched) = &mut self.untouched {
                    untouched.touch(keys)?;
                }
            }
            Touched::Windows { open, .. } => open.extend(values(&keys[0])?.iter().flatten()),
        }
        rows.apply(delta)?;
        Ok(kept())
    }

    /// The rows of the keys that the epoch has touched.
    fn ask(&mut self) -> Result<Option<Question>> {
        let (keys, count) = match &mut self.touched {
            Touched::Windows { .. } => return Ok(None),
            Touched::All(touched) => {
                if !std::mem::take(touched) {
                    return Ok(None);
                }
                (Vec::new(), 1)
            }
            Touched::Keys(groups, _) if groups.is_empty() => return Ok(None),
            Touched::Keys(groups, _) => {
                let empty = Box::new(groups.empty()?);
                let all: Vec<u32> = (0..groups.bound() as u32).collect();
                let keys = std::mem::replace(groups, empty).keys(&all)?;
                (keys, all.len())
            }
        };
        let ports = self.ports.iter().map(|port| port.rows.rows_of(&keys, count));
        let question = ports.collect::<Result<_>>()?;
        self.asked = (keys, count);
        Ok(Some(question))
    }

    /// The rows of windows that this frontier has closed, of some of them if they are many.
    fn due(&mut self, frontier: Watermark) -> Result<Option<Question>> {
        let Touched::Windows { open, until, kind } = &mut self.touched else { return Ok(None) };
        let is_due = |time: i64| frontier.closes(EventTime(time.saturating_add(*until + 1)));
        let mut times = Vec::new();
        let mut due: Vec<Vec<Location>> = vec![Vec::new(); self.ports.len()];
        while let Some(time) = open.first().copied().filter(|time| is_due(*time)) {
            let key = [cast(&Int64Array::from(vec![time]), kind)?];
            for (port, due) in self.ports.iter().zip(&mut due) {
                due.extend(port.rows.places(&key, 1)?);
            }
            open.pop_first();
            times.push(time);
            if due.iter().map(Vec::len).sum::<usize>() >= BATCH_ROWS {
                break;
            }
        }
        if times.is_empty() {
            return Ok(None);
        }
        let mut ports = Vec::with_capacity(due.len());
        for (port, due) in self.ports.iter_mut().zip(due) {
            let rows = due.chunks(BATCH_ROWS).map(|due| port.rows.fetch(due));
            ports.push(rows.collect::<Result<_>>()?);
            port.rows.remove(&due)?;
        }
        Ok(Some(ports))
    }

    fn closes_next(&self) -> Option<Watermark> {
        let Touched::Windows { open, until, .. } = &self.touched else { return None };
        Some(Watermark(open.first()?.saturating_add(*until).saturating_add(1)))
    }

    /// The difference to what had been answered before for these keys.
    fn answer(&mut self, rows: Vec<RecordBatch>) -> Result<Delta> {
        let nullable: SchemaRef = Arc::new(Schema::new(
            self.output
                .fields()
                .iter()
                .map(|f| f.as_ref().clone().with_nullable(true))
                .collect::<Vec<_>>(),
        ));
        let rows = rows
            .iter()
            .map(|batch| RecordBatch::try_new(Arc::clone(&nullable), batch.columns().to_vec()));
        let new = concat_batches(&nullable, &rows.collect::<Result<Vec<_>, _>>()?)?;
        let Some(answered) = &mut self.answered else { return self.in_order(&new) };
        let (keys, count) = std::mem::take(&mut self.asked);
        let places = answered.places(&keys, count)?;
        let old = answered.fetch(&places)?;
        let (delta, gone) = change(&old, &new)?;
        answered.remove(&gone.iter().map(|row| places[*row]).collect::<Vec<_>>())?;
        let come = delta.batch.slice(gone.len(), delta.rows() - gone.len());
        answered.apply(&Delta::insert(come))?;
        Ok(delta)
    }

    /// The rows of each port, and what was answered.
    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        let ports = self.ports.iter_mut().map(|port| &mut port.rows as &mut dyn StateTable);
        ports.chain(self.answered.as_mut().map(|rows| rows as &mut dyn StateTable)).collect()
    }

    /// Windows that wait are known by their rows.
    fn state_restored(&mut self) -> Result<()> {
        if let Touched::All(touched) = &mut self.touched {
            *touched = false;
        }
        if let Some(untouched) = &mut self.untouched {
            self.ports.iter().try_for_each(|port| untouched.touch(&port.rows.keys()?))?;
        }
        let Touched::Windows { open, .. } = &mut self.touched else { return Ok(()) };
        for port in &self.ports {
            for key in port.rows.keys()? {
                open.extend(values(&key)?.iter().flatten());
            }
        }
        Ok(())
    }

    fn state_size(&self) -> (usize, usize) {
        let tables = self.ports.iter().map(|port| &port.rows).chain(&self.answered);
        let (bytes, rows) = size_of_tables(tables.map(|table| table as &dyn StateTable));
        let keys = self.untouched.as_ref().map_or(0, UntouchedValues::size);
        (bytes + keys, rows)
    }
}

/// The ticks of a window's column.
fn values(column: &ArrayRef) -> Result<Int64Array> {
    let field = Field::new("window", column.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    ticks(&RecordBatch::try_new(schema, vec![Arc::clone(column)])?, 0)
}
