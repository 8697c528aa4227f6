//! The first rows of each key in an order: `row_number()`, `rank()` and `dense_rank()` up to a
//! number, ORDER BY … LIMIT, and DISTINCT ON.
//!
//! ```text
//!  rows that come ─▶ what can be among the first ─▶ rows, with numbers ─┐
//!                                                   order of each key ──┴─▶ what has moved ─▶ delta
//! ```
//! An epoch looks at the rows that it brings and at those that it gives, and not at the others of
//! their keys: each key's rows lie in order ([`Ranking`]), which follows from the rows and their
//! numbers and so is not stored. Where rows are taken back, any row may be among the first one day,
//! and all are kept. Where they are not, a row that is behind the first ones stays there, and is
//! forgotten at once; most of a busy stream are never taken in.
//!
//! Where somebody reads the rank, a row that comes in between changes that of all behind it: then
//! the top of the key is walked through. Else a shift of ranks changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use super::Closing;
use super::operator::{Operator, PassedOn, kept, rows_that_stay, size_of_tables};
use crate::error::{Error, Result};
use crate::limits::BATCH_ROWS;
use crate::state::{
    Arrangement, Delta, Interner, Location, Moved, Ranked, Ranking, StateTable, Tally, Wanted,
    change,
};
use crate::time::Watermark;

/// The first rows of what, and by which order.
#[derive(Debug, Clone)]
pub struct TopSpec {
    /// The columns of the key; none: all rows are of one.
    pub keys: Vec<usize>,
    /// The columns that rows are ordered by, with how.
    pub order: Vec<(usize, SortField)>,
    /// Which of them.
    pub wanted: Wanted,
    /// How many of the first columns are given.
    pub width: usize,
    /// What stands behind them.
    pub rank: Option<RankColumn>,
}

/// The column with the rank of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankColumn {
    /// What it is called.
    pub name: String,
    /// Somebody reads it; else it is 0 everywhere.
    pub is_read: bool,
}

/// What is kept of each key, and what has moved in the epoch.
pub struct Top {
    spec: TopSpec,
    rows: Arrangement,
    keys: Interner,
    /// The rows of each key in order.
    rankings: Vec<Ranking>,
    order: Option<RowConverter>,
    /// What the tops of keys have become in the epoch.
    moved: BTreeMap<u32, Moved>,
    /// Keys that are still to be given out of those; the last first.
    waiting: Option<Vec<u32>>,
    /// Rows that were in a top and have been taken back: which batch and row.
    taken_back: HashMap<u64, (usize, usize)>,
    batches: Vec<RecordBatch>,
    /// Rows that are not kept any more, until what has moved is given.
    forgotten: Vec<Ranked>,
    /// What is given, all nullable.
    output: SchemaRef,
    /// What the orders take of memory.
    order_bytes: usize,
    ids: Vec<u32>,
}

/// What a row's place in the order takes beside its bytes.
const PLACE_OVERHEAD: usize = size_of::<Ranked>() + 16;

/// What each row of a batch is ordered by.
struct Orders(Option<Rows>);

impl Orders {
    fn of(&self, row: usize) -> &[u8] {
        self.0.as_ref().map_or(&[], |rows| rows.row(row).data())
    }

    fn ranked(&self, row: usize, number: u64) -> Ranked {
        Ranked { order: self.of(row).into(), number }
    }
}

/// A row that is given, with its rank if somebody reads it.
struct GivenRow {
    number: u64,
    rank: usize,
    weight: i64,
}

impl Top {
    /// Without state, for rows with these columns.
    pub fn new(spec: TopSpec, input: &Schema) -> Result<Top> {
        let mut rows = Arrangement::new("rows in order", input, 0, 0)?;
        if spec.wanted.keeps_rest {
            rows.taken_out_by_value()?;
        }
        let types: Vec<DataType> =
            spec.keys.iter().map(|at| input.field(*at).data_type().clone()).collect();
        let sort: Vec<SortField> = spec.order.iter().map(|(_, field)| field.clone()).collect();
        let order = if sort.is_empty() { None } else { Some(RowConverter::new(sort)?) };
        let given = input.fields().iter().take(spec.width);
        let mut fields: Vec<Field> =
            given.map(|field| field.as_ref().clone().with_nullable(true)).collect();
        if let Some(rank) = &spec.rank {
            fields.push(Field::new(&rank.name, DataType::UInt64, true));
        }
        Ok(Top {
            rows,
            keys: Interner::new(&types)?,
            rankings: Vec::new(),
            order,
            moved: BTreeMap::new(),
            waiting: None,
            taken_back: HashMap::new(),
            batches: Vec::new(),
            forgotten: Vec::new(),
            output: Arc::new(Schema::new(fields)),
            order_bytes: 0,
            ids: Vec::new(),
            spec,
        })
    }

    /// Finds the key of each row, which is in `ids` then, and what it is ordered by.
    fn look_at(&mut self, batch: &RecordBatch) -> Result<Orders> {
        let keys: Vec<ArrayRef> =
            self.spec.keys.iter().map(|at| Arc::clone(batch.column(*at))).collect();
        self.keys.intern(&keys, batch.num_rows(), &mut self.ids)?;
        self.rankings.resize_with(self.keys.bound(), Ranking::default);
        let columns: Vec<ArrayRef> =
            self.spec.order.iter().map(|(at, _)| Arc::clone(batch.column(*at))).collect();
        let rows = self.order.as_ref().map(|order| order.convert_columns(&columns)).transpose()?;
        Ok(Orders(rows))
    }

    /// Which of these rows can be among the first of their keys, where none is taken back.
    fn candidates(&self, orders: &Orders, rows: usize) -> Vec<usize> {
        let wanted = &self.spec.wanted;
        let key = |row: usize| self.ids[row];
        let mut found: Vec<usize> = (0..rows)
            .filter(|row| !self.rankings[key(*row) as usize].is_behind(orders.of(*row), wanted))
            .collect();
        found.sort_by(|a, b| (key(*a), orders.of(*a), a).cmp(&(key(*b), orders.of(*b), b)));
        let (mut count, mut last) = (Tally::default(), None);
        found.retain(|&row| {
            let before = last.replace(row);
            let of_key = before.filter(|before| key(*before) == key(row));
            if of_key.is_none() {
                count = Tally::default();
            }
            let begins = of_key.is_none_or(|before| orders.of(before) != orders.of(row));
            wanted.numbering.next(&mut count, begins) <= wanted.skip.saturating_add(wanted.count)
        });
        found.sort_unstable();
        found
    }

    /// Takes in rows of which none is taken back.
    fn push_new(&mut self, batch: &RecordBatch) -> Result<()> {
        let orders = self.look_at(batch)?;
        let found = self.candidates(&orders, batch.num_rows());
        if found.is_empty() {
            return Ok(());
        }
        let picked = UInt32Array::from_iter_values(found.iter().map(|row| *row as u32));
        let applied = self.rows.apply(&Delta::insert(take_record_batch(batch, &picked)?))?;
        for (number, row) in (applied.first..).zip(found) {
            self.insert(self.ids[row], orders.ranked(row, number));
        }
        Ok(())
    }

    /// Takes in rows that come and go.
    fn push_changes(&mut self, delta: &Delta) -> Result<()> {
        let orders = self.look_at(&delta.batch)?;
        let applied = self.rows.apply(delta)?;
        for &(row, number) in &applied.removed {
            let (id, ranked) = (self.ids[row as usize], orders.ranked(row as usize, number));
            self.order_bytes -= ranked.order.len() + PLACE_OVERHEAD;
            let moved = self.moved.entry(id).or_default();
            self.rankings[id as usize].remove(&ranked, &self.spec.wanted, moved);
            if moved.left.contains(&ranked) {
                self.taken_back.insert(number, (self.batches.len(), row as usize));
            }
        }
        if !applied.removed.is_empty() {
            self.batches.push(delta.batch.clone());
        }
        for (number, &row) in (applied.first..).zip(&applied.added) {
            self.insert(self.ids[row as usize], orders.ranked(row as usize, number));
        }
        // A key may have come with rows that have all gone.
        for &id in &self.ids {
            if self.rankings[id as usize].is_empty() {
                self.moved.entry(id).or_default();
            }
        }
        Ok(())
    }

    fn insert(&mut self, id: u32, row: Ranked) {
        self.order_bytes += row.order.len() + PLACE_OVERHEAD;
        let moved = self.moved.entry(id).or_default();
        let ranking = &mut self.rankings[id as usize];
        ranking.insert(row, &self.spec.wanted, moved, &mut self.forgotten);
    }

    /// What has moved in the top of this key.
    fn changes_of(&self, id: u32, moved: &Moved, given: &mut Vec<GivenRow>) {
        let reads_rank = self.spec.rank.as_ref().is_some_and(|rank| rank.is_read);
        let is_same = moved.entered.is_empty() && moved.left.is_empty();
        if reads_rank && !is_same {
            renumbered(self.rankings[id as usize].top(), moved, &self.spec.wanted, given);
            return;
        }
        let of = |weight: i64| move |row: &Ranked| GivenRow { number: row.number, rank: 0, weight };
        given.extend(moved.left.iter().map(of(-1)));
        given.extend(moved.entered.iter().map(of(1)));
    }

    /// What has moved in these keys, without rows that leave and enter.
    fn delta(&self, given: &[GivenRow]) -> Result<Delta> {
        let sides = [-1, 1].map(|weight| {
            let rows: Vec<&GivenRow> = given.iter().filter(|row| row.weight == weight).collect();
            self.rows_of(&rows)
        });
        let [gone, come] = sides;
        Ok(change(&gone?, &come?)?.0)
    }

    /// These rows, be they there or taken back, as they are given.
    fn rows_of(&self, given: &[&GivenRow]) -> Result<RecordBatch> {
        let there = given.iter().filter(|row| !self.taken_back.contains_key(&row.number));
        let there: Vec<Location> = there.map(|row| Location::of(row.number)).collect();
        let kept = self.rows.fetch(&there)?;
        let mut sources: Vec<RecordBatch> = vec![kept];
        for batch in &self.batches {
            let columns = batch.columns().to_vec();
            sources.push(RecordBatch::try_new(self.rows.schema(), columns)?);
        }
        let mut next = 0..;
        let picks = given.iter().map(|row| match self.taken_back.get(&row.number) {
            Some((batch, row)) => (batch + 1, *row),
            None => (0, next.next().unwrap_or_default()),
        });
        let picks: Vec<(usize, usize)> = picks.collect();
        let rows = interleave_record_batch(&sources.iter().collect::<Vec<_>>(), &picks)?;
        let mut columns = rows.columns()[..self.spec.width].to_vec();
        if self.spec.rank.is_some() {
            let ranks = given.iter().map(|row| row.rank as u64);
            columns.push(Arc::new(UInt64Array::from_iter_values(ranks)));
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(given.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &rows)?)
    }

    /// All has been given: forgets what is not wanted any more, and keys without rows.
    fn end(&mut self) -> Result<()> {
        let forgotten = std::mem::take(&mut self.forgotten);
        let places: Vec<Location> = forgotten.iter().map(|row| Location::of(row.number)).collect();
        for row in forgotten {
            self.order_bytes -= row.order.len() + PLACE_OVERHEAD;
        }
        self.rows.remove(&places)?;
        for id in std::mem::take(&mut self.moved).into_keys() {
            if self.rankings[id as usize].is_empty() {
                self.rankings[id as usize] = Ranking::default();
                self.keys.forget(id);
            }
        }
        self.taken_back.clear();
        self.batches.clear();
        self.waiting = None;
        Ok(())
    }
}

/// The rows of a top as it was and as it is whose numbers differ, or that are in one of both.
fn renumbered<'a>(
    top: impl Iterator<Item = &'a Ranked>,
    moved: &'a Moved,
    wanted: &Wanted,
    given: &mut Vec<GivenRow>,
) {
    let (mut was, mut is) = (Tally::behind(wanted.skip), Tally::behind(wanted.skip));
    let (mut last_was, mut last_is): (Option<&[u8]>, Option<&[u8]>) = (None, None);
    let (mut top, mut left) = (top.peekable(), moved.left.iter().peekable());
    loop {
        let goes = match (top.peek(), left.peek()) {
            (None, None) => return,
            (Some(stays), Some(goes)) => goes < stays,
            (None, Some(_)) => true,
            (Some(_), None) => false,
        };
        let Some(row) = (if goes { left.next() } else { top.next() }) else { return };
        let order = &row.order[..];
        let number = |count: &mut Tally, last: &mut Option<&'a [u8]>| {
            let begins = last.replace(order) != Some(order);
            wanted.numbering.next(count, begins)
        };
        let enters = !goes && moved.entered.contains(row);
        let before = (!enters).then(|| number(&mut was, &mut last_was));
        let after = (!goes).then(|| number(&mut is, &mut last_is));
        if before != after {
            let of = |rank: usize, weight| GivenRow { number: row.number, rank, weight };
            given.extend(before.map(|rank| of(rank, -1)));
            given.extend(after.map(|rank| of(rank, 1)));
        }
    }
}

impl Operator for Top {
    fn push(&mut self, _: usize, delta: &Delta) -> Result<PassedOn> {
        if self.spec.wanted.keeps_rest {
            self.push_changes(delta)?;
        } else {
            rows_that_stay(delta)?;
            self.push_new(&delta.of_sign(1)?)?;
        }
        Ok(kept())
    }

    /// What has moved in the epoch, key by key in the order of the keys.
    fn settle(&mut self, _: &[Watermark], out: &mut Vec<Delta>) -> Result<Closing> {
        let mut waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => {
                let mut ids: Vec<u32> = self.moved.keys().copied().collect();
                self.keys.sort(&mut ids);
                ids.reverse();
                ids
            }
        };
        let mut given = Vec::new();
        while let Some(id) = waiting.pop() {
            let moved = self.moved.get(&id);
            let moved = moved.ok_or_else(|| Error::internal("a key that has not moved"))?;
            self.changes_of(id, moved, &mut given);
            if given.len() >= BATCH_ROWS {
                break;
            }
        }
        if !given.is_empty() {
            out.push(self.delta(&given)?);
        }
        if !waiting.is_empty() {
            self.waiting = Some(waiting);
            return Ok(Closing::More);
        }
        self.end()?;
        Ok(Closing::Done)
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![&mut self.rows]
    }

    /// The order follows from the rows.
    fn state_restored(&mut self) -> Result<()> {
        let mut next = 0;
        while let Some((piece, after)) = self.rows.numbered(next, BATCH_ROWS)? {
            let orders = self.look_at(&piece.batch)?;
            for (row, &number) in piece.numbers.values().iter().enumerate() {
                self.insert(self.ids[row], orders.ranked(row, number));
            }
            next = after;
        }
        // It has been given.
        self.moved.clear();
        Ok(())
    }

    fn state_size(&self) -> (usize, usize) {
        let (bytes, rows) = size_of_tables([&self.rows as &dyn StateTable]);
        let rankings = self.rankings.capacity() * size_of::<Ranking>();
        (bytes + self.keys.size() + rankings + self.order_bytes, rows)
    }
}

#[cfg(test)]
impl Top {
    /// What it counts its orders as, and what they are.
    pub fn counted_and_walked(&self) -> (usize, usize) {
        let ranked = self.rankings.iter().flat_map(Ranking::rows).chain(&self.forgotten);
        (self.order_bytes, ranked.map(|row| row.order.len() + PLACE_OVERHEAD).sum())
    }
}
