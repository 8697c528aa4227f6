//! Inner joins of rows that change, row by row: what comes or goes on one side is joined with what is
//! there on the other.
//!
//! ```text
//!  Δ(A ⋈ B) = ΔA ⋈ B  +  (A + ΔA) ⋈ ΔB
//! ```
//! (Blakeley, Larson, Tompa: Efficiently Updating Materialized Views, SIGMOD 1986.) Both sides are
//! kept by the columns that are equal; of the other side only the rows of the keys that have come are
//! looked at, so a row costs what it gives, however many there are. The joining itself is a plan of
//! DataFusion's over the rows of both ports, run by the executor, with whatever condition it has.
//! Nothing that it has given is kept.
//!
//! Where keys are forgotten that no row comes for, both sides forget them together: what has been joined
//! stays, and a row that is taken back later and is not known any more changes nothing.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};

use super::Closing;
use super::operator::{Operator, PassedOn, Question, kept, size_of_tables};
use super::untouched::UntouchedValues;
use crate::error::Result;
use crate::state::{Arrangement, Delta, StateTable, change, distinct_keys};
use crate::time::Watermark;

/// Both sides of a join.
pub struct InnerJoin {
    sides: [Side; 2],
    /// What is given: its columns, all nullable, and then the key.
    output: SchemaRef,
    /// What is to be asked next: the side, and whether its rows that come are (else those that go).
    next: (usize, bool),
    /// The rows of that side that have come.
    coming: Option<RecordBatch>,
    /// Whether rows that come were asked about last.
    comes: bool,
    gone: Vec<RecordBatch>,
    come: Vec<RecordBatch>,
    /// When keys are forgotten.
    untouched: Option<UntouchedValues>,
}

struct Side {
    rows: Arrangement,
    /// What the epoch has brought.
    new: Vec<Delta>,
    /// The first column of the key.
    first: usize,
    /// How many columns it has.
    key: usize,
}

impl InnerJoin {
    /// Without state, for sides with these columns (and whether rows are taken back, and the first
    /// column of the key), and a plan with these, the last `key` of which are the key.
    pub fn new(
        sides: [(SchemaRef, bool, usize); 2],
        output: &Schema,
        key: usize,
    ) -> Result<InnerJoin> {
        let side = |(schema, retracts, first): (SchemaRef, bool, usize)| -> Result<Side> {
            let mut rows = Arrangement::new("rows by key", &schema, first, key)?;
            if retracts {
                rows.taken_out_by_value()?;
            }
            Ok(Side { rows, new: Vec::new(), first, key })
        };
        let [left, right] = sides;
        let fields = output.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        Ok(InnerJoin {
            sides: [side(left)?, side(right)?],
            output: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            next: (0, false),
            coming: None,
            comes: false,
            gone: Vec::new(),
            come: Vec::new(),
            untouched: None,
        })
    }

    /// What was gathered of the epoch, without rows that come and go.
    fn changes(&mut self) -> Result<Delta> {
        let gone = concat_batches(&self.output, &std::mem::take(&mut self.gone))?;
        let come = concat_batches(&self.output, &std::mem::take(&mut self.come))?;
        Ok(change(&gone, &come)?.0)
    }
}

impl Operator for InnerJoin {
    fn forget_after(&mut self, ttl: i64) -> bool {
        let Side { rows, first, key, .. } = &self.sides[0];
        let schema = rows.schema();
        self.untouched = UntouchedValues::new(&schema.fields()[*first..*first + *key], ttl);
        self.sides.iter_mut().for_each(|side| side.rows.forgets());
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

    fn push(&mut self, side: usize, delta: &Delta) -> Result<PassedOn> {
        let side = &mut self.sides[side];
        if let Some(untouched) = &mut self.untouched {
            untouched.touch(&delta.batch.columns()[side.first..side.first + side.key])?;
        }
        side.new.push(delta.clone());
        Ok(kept())
    }

    /// What is to be joined next of what the epoch has brought.
    fn ask(&mut self) -> Result<Option<Question>> {
        while self.next.0 < 2 {
            let (at, comes) = self.next;
            self.next = if comes { (at + 1, false) } else { (at, true) };
            let own = if comes {
                self.coming.take()
            } else {
                let [gone, come] = self.sides[at].take_in()?;
                self.coming = come;
                gone
            };
            let other = match &own {
                Some(own) => self.sides[1 - at].rows_for(own, self.sides[at].first)?,
                None => Vec::new(),
            };
            if let (Some(own), false) = (own, other.is_empty()) {
                self.comes = comes;
                let own = vec![own];
                return Ok(Some(if at == 0 { vec![own, other] } else { vec![other, own] }));
            }
        }
        self.next = (0, false);
        Ok(None)
    }

    /// Keeps what was joined; it is given with the changes of the epoch.
    fn answer(&mut self, rows: Vec<RecordBatch>) -> Result<Delta> {
        let rows = rows
            .iter()
            .map(|batch| RecordBatch::try_new(Arc::clone(&self.output), batch.columns().to_vec()));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        if self.comes {
            self.come.extend(rows)
        } else {
            self.gone.extend(rows)
        }
        Ok(Delta::insert(RecordBatch::new_empty(Arc::clone(&self.output))))
    }

    fn settle(&mut self, _: &[Watermark], out: &mut Vec<Delta>) -> Result<Closing> {
        out.push(self.changes()?);
        Ok(Closing::Done)
    }

    /// The rows of each side.
    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        self.sides.iter_mut().map(|side| &mut side.rows as &mut dyn StateTable).collect()
    }

    fn state_restored(&mut self) -> Result<()> {
        let Some(untouched) = &mut self.untouched else { return Ok(()) };
        self.sides.iter().try_for_each(|side| untouched.touch(&side.rows.keys()?))
    }

    fn state_size(&self) -> (usize, usize) {
        let tables = self.sides.iter().map(|side| &side.rows as &dyn StateTable);
        let (bytes, rows) = size_of_tables(tables);
        (bytes + self.untouched.as_ref().map_or(0, UntouchedValues::size), rows)
    }
}

impl Side {
    /// Takes in what the epoch has brought: which rows have gone and which have come, each as often as
    /// its weight says; None: there are none.
    fn take_in(&mut self) -> Result<[Option<RecordBatch>; 2]> {
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for delta in std::mem::take(&mut self.new) {
            let applied = self.rows.apply(&delta)?;
            let removed: UInt32Array = applied.removed.iter().map(|row| Some(row.0)).collect();
            gone.push(take_record_batch(&delta.batch, &removed)?);
            come.push(take_record_batch(&delta.batch, &UInt32Array::from(applied.added))?);
        }
        let joined = |parts: Vec<RecordBatch>| -> Result<Option<RecordBatch>> {
            let Some(first) = parts.first() else { return Ok(None) };
            let rows = concat_batches(&first.schema(), &parts)?;
            Ok(Some(rows).filter(|rows| rows.num_rows() > 0))
        };
        Ok([joined(gone)?, joined(come)?])
    }

    /// The rows of this side that have the keys of rows of the other, whose keys begin there.
    fn rows_for(&self, other: &RecordBatch, first: usize) -> Result<Vec<RecordBatch>> {
        if self.rows.rows() == 0 {
            return Ok(Vec::new());
        }
        let columns = &other.columns()[first..first + self.key];
        let (keys, count) = distinct_keys(columns, other.num_rows())?;
        let rows = self.rows.rows_of(&keys, count)?;
        Ok(rows.into_iter().filter(|batch| batch.num_rows() > 0).collect())
    }
}
