//! Inner joins, row by row: what comes on one side is joined with what is there on the other.
//!
//! ```text
//!  Δ(A ⋈ B) = ΔA ⋈ B  +  (A + ΔA) ⋈ ΔB
//! ```
//! (Blakeley, Larson, Tompa: Efficiently Updating Materialized Views, SIGMOD 1986.) Both sides are
//! kept by the columns that are equal; of the other side only the rows of the keys that have come are
//! looked at, so a row costs what it gives, however many there are. The joining itself is a plan of
//! DataFusion's over the rows of both ports, run by the executor, with whatever condition it has.
//! Where no side takes rows back the join never does, and nothing that it has given is kept.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::compute::{concat_batches, interleave_record_batch};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};

use crate::error::Result;
use crate::state::{Arrangement, Delta, Interner, StateTable, difference};

/// Rows to be joined.
pub struct JoinQuestion {
    /// Of each port.
    pub ports: Vec<Vec<RecordBatch>>,
    sign: i64,
}

/// Both sides of a join.
pub struct InnerJoin {
    sides: [Side; 2],
    /// What is given: its columns, all nullable, and then the key.
    output: SchemaRef,
    /// How many columns stand before the key.
    answer: usize,
    /// Rows may be taken back.
    retracts: bool,
    /// What is to be asked next: the side, and whether its rows that come are (else those that go).
    next: (usize, bool),
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
        let retracts = sides.iter().any(|(_, retracts, _)| *retracts);
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
            answer: output.fields().len() - key,
            output: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            retracts,
            next: (0, false),
            gone: Vec::new(),
            come: Vec::new(),
        })
    }

    /// Takes rows of a side.
    pub fn push(&mut self, side: usize, delta: &Delta) {
        self.sides[side].new.push(delta.clone());
    }

    /// What is to be joined next of what the epoch has brought; None: nothing any more.
    pub fn question(&mut self) -> Result<Option<JoinQuestion>> {
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
                side.new.drain(..).try_for_each(|delta| side.rows.apply(&delta))?;
            }
            if let (Some(own), false) = (own, other.is_empty()) {
                let own = vec![own];
                let ports = if at == 0 { vec![own, other] } else { vec![other, own] };
                return Ok(Some(JoinQuestion { ports, sign: if comes { 1 } else { -1 } }));
            }
        }
        self.next = (0, false);
        Ok(None)
    }

    /// Whether rows are ever taken back. If not, what is joined need not be given to
    /// [`answer`](Self::answer): it is what is given out.
    pub fn retracts(&self) -> bool {
        self.retracts
    }

    /// Takes what was joined; it is given with the changes of the epoch.
    pub fn answer(&mut self, question: &JoinQuestion, rows: Vec<RecordBatch>) -> Result<Delta> {
        let rows = rows
            .iter()
            .map(|batch| RecordBatch::try_new(Arc::clone(&self.output), batch.columns().to_vec()));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        if question.sign < 0 {
            self.gone.extend(rows)
        } else {
            self.come.extend(rows)
        }
        Ok(Delta::insert(RecordBatch::new_empty(Arc::clone(&self.output))))
    }

    /// What was gathered of the epoch, without rows that come and go.
    pub fn changes(&mut self) -> Result<Delta> {
        let gone = concat_batches(&self.output, &std::mem::take(&mut self.gone))?;
        let come = concat_batches(&self.output, &std::mem::take(&mut self.come))?;
        if gone.num_rows() == 0 {
            return Ok(Delta::insert(come));
        }
        let (going, coming) = difference(&gone, &come)?;
        let picks: Vec<(usize, usize)> =
            going.iter().map(|row| (0, *row)).chain(coming.iter().map(|row| (1, *row))).collect();
        if picks.is_empty() {
            return Ok(Delta::insert(RecordBatch::new_empty(Arc::clone(&self.output))));
        }
        let weights = Int64Array::from_iter_values(
            std::iter::repeat_n(-1, going.len()).chain(std::iter::repeat_n(1, coming.len())),
        );
        Ok(Delta::new(interleave_record_batch(&[&gone, &come], &picks)?, weights))
    }

    /// Its state: the rows of each side.
    pub fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        self.sides.iter_mut().map(|side| &mut side.rows as &mut dyn StateTable).collect()
    }

    /// How many columns a row that is given has; behind them is its key.
    pub fn answer_columns(&self) -> usize {
        self.answer
    }

    /// Bytes and rows of its state.
    pub fn size(&self) -> (usize, usize) {
        let sizes = self.sides.iter().map(|side| (side.rows.size(), side.rows.rows()));
        sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1))
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
        let (keys, count) = distinct(columns, other.num_rows())?;
        let rows = self.rows.rows_of(&keys, count)?;
        Ok(rows.into_iter().filter(|batch| batch.num_rows() > 0).collect())
    }
}

/// Each key once.
fn distinct(columns: &[ArrayRef], rows: usize) -> Result<(Vec<ArrayRef>, usize)> {
    if columns.is_empty() {
        return Ok((Vec::new(), 1));
    }
    let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
    let mut keys = Interner::new(&types)?;
    keys.intern(columns, rows, &mut Vec::new())?;
    let all: Vec<u32> = (0..keys.bound() as u32).collect();
    Ok((keys.keys(&all)?, all.len()))
}
