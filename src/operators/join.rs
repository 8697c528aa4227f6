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

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};

use super::Closing;
use super::operator::{Operator, PassedOn, Question, kept, size_of_tables};
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
    /// Whether rows that come were asked about last.
    comes: bool,
    gone: Vec<RecordBatch>,
    come: Vec<RecordBatch>,
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
            comes: false,
            gone: Vec::new(),
            come: Vec::new(),
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
    fn push(&mut self, side: usize, delta: &Delta) -> Result<PassedOn> {
        self.sides[side].new.push(delta.clone());
        Ok(kept())
    }

    /// What is to be joined next of what the epoch has brought.
    fn ask(&mut self) -> Result<Option<Question>> {
        while self.next.0 < 2 {
            let (at, comes) = self.next;
            self.next = if comes { (at + 1, false) } else { (at, true) };
            let own = self.sides[at].new_of(comes)?;
            let other = match &own {
                Some(own) => self.sides[1 - at].rows_for(own, self.sides[at].first)?,
                None => Vec::new(),
            };
            if comes {
                let side = &mut self.sides[at];
                side.new.drain(..).try_for_each(|delta| side.rows.apply(&delta).map(drop))?;
            }
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

    fn state_size(&self) -> (usize, usize) {
        size_of_tables(self.sides.iter().map(|side| &side.rows as &dyn StateTable))
    }
}

impl Side {
    /// The rows that have come in the epoch, or those that have gone, each as often as its weight
    /// says; None: there are none.
    fn new_of(&self, comes: bool) -> Result<Option<RecordBatch>> {
        let mut batches = Vec::with_capacity(self.new.len());
        for delta in &self.new {
            let rows = delta.of_sign(if comes { 1 } else { -1 })?;
            if rows.num_rows() > 0 {
                batches.push(rows);
            }
        }
        match batches.first() {
            Some(first) => Ok(Some(concat_batches(&first.schema(), &batches)?)),
            None => Ok(None),
        }
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
