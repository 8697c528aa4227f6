//! Any DataFusion aggregate as a kernel that can be looked at without being used up.
//!
//! DataFusion's accumulators may be consumed by `state()` and `evaluate()`, and cannot give the
//! state of one group. So states live here as rows of Arrow columns, and an accumulator only lives
//! for one step:
//!
//! ```text
//! batch ──▶ accumulator ──state()──┐
//!                                  ├─merge─▶ accumulator ──state()──▶ appended rows; place[slot]
//! old rows of the slots touched ───┘
//! ```
//!
//! The rows lie in runs of falling size; a new run is joined with the one before it while that is
//! not much larger (a log-structured merge), which also drops the rows no slot points to any more.
//! So a row is rewritten O(log n) times, and garbage stays below about half.
//!
//! A slot without a row has the state of "no rows", which is kept as one row: an accumulator that
//! has never seen a group may otherwise answer 0 or false for it where NULL is right. Estimates
//! (approx_median, approx_percentile_cont) are merged from digests of batches; their last digits
//! depend on where batches end.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_empty_array, new_null_array,
};
use arrow::compute::{interleave, take};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::{AggregateInput, Kernel, Place, mismatch, no_inverse, sequence};
use crate::error::Result;

/// Where the state of a slot lies; `NOWHERE` when it is the state of "no rows".
#[derive(Clone, Copy, PartialEq, Eq)]
struct Spot {
    run: u32,
    row: u32,
}

const NOWHERE: Spot = Spot { run: u32::MAX, row: u32::MAX };

/// State rows written together.
struct Run {
    columns: Vec<ArrayRef>,
    /// The slot each row was written for.
    owners: Vec<u32>,
}

/// The states of one aggregate, as rows.
pub struct Generic {
    expr: Arc<AggregateFunctionExpr>,
    inputs: Vec<DataType>,
    /// The state of "no rows": one row.
    nothing: Vec<ArrayRef>,
    spots: Vec<Spot>,
    runs: Vec<Run>,
    native: bool,
}

impl Generic {
    /// A kernel without slots for this function over arguments of these types.
    pub fn new(expr: Arc<AggregateFunctionExpr>, inputs: Vec<DataType>) -> Result<Self> {
        // DataFusion's grouped bit_xor forgets about DISTINCT.
        let native = expr.groups_accumulator_supported()
            && !(expr.is_distinct() && expr.fun().name() == "bit_xor");
        let mut kernel = Generic {
            expr,
            inputs,
            nothing: Vec::new(),
            spots: Vec::new(),
            runs: Vec::new(),
            native,
        };
        // What DataFusion cannot run at all is refused here, not at the first row.
        kernel.nothing = kernel.no_rows()?;
        Ok(kernel)
    }

    /// A group of one row that does not pass the filter has the state of "no rows".
    fn no_rows(&self) -> Result<Vec<ArrayRef>> {
        let mut accumulator = self.accumulator()?;
        let args: Vec<ArrayRef> = self.inputs.iter().map(|t| new_null_array(t, 1)).collect();
        accumulator.update_batch(&args, &[0], Some(&BooleanArray::from(vec![false])), 1)?;
        Ok(accumulator.state(EmitTo::All)?)
    }

    /// The same aggregate without slots.
    fn bare(&self) -> Generic {
        Generic {
            expr: Arc::clone(&self.expr),
            inputs: self.inputs.clone(),
            nothing: self.nothing.clone(),
            spots: Vec::new(),
            runs: Vec::new(),
            native: self.native,
        }
    }

    fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if self.native {
            return Ok(self.expr.create_groups_accumulator()?);
        }
        let expr = Arc::clone(&self.expr);
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || expr.create_accumulator())))
    }

    /// The results over these rows alone; `groups` are below `count`.
    pub fn over(&self, args: &[ArrayRef], groups: &[u32], count: usize) -> Result<ArrayRef> {
        let (local, distinct) = renumber(groups, count);
        if distinct.len() == count && distinct.iter().zip(0..).all(|(&group, at)| group == at) {
            let mut accumulator = self.accumulator()?;
            accumulator.update_batch(args, &local, None, count)?;
            return Ok(accumulator.evaluate(EmitTo::All)?);
        }
        let mut slots = self.bare();
        slots.resize(count);
        slots.update(&AggregateInput { args, groups, filter: None, weights: None })?;
        slots.evaluate(&sequence(count))
    }

    /// The stored rows of those slots that have one, and which of the slots these are.
    fn fetch(&self, slots: &[u32]) -> Result<(Vec<ArrayRef>, Vec<usize>)> {
        let mut places = Vec::with_capacity(slots.len());
        let mut which = Vec::with_capacity(slots.len());
        for (i, &slot) in slots.iter().enumerate() {
            let spot = self.spots[slot as usize];
            if spot != NOWHERE {
                places.push((spot.run as usize, spot.row as usize));
                which.push(i);
            }
        }
        Ok((self.gather(&places)?, which))
    }

    /// The stored rows of all these slots, those without one having the state of "no rows".
    fn fetch_all(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let places: Vec<(usize, usize)> = slots
            .iter()
            .map(|&slot| match self.spots[slot as usize] {
                NOWHERE => (self.runs.len(), 0),
                spot => (spot.run as usize, spot.row as usize),
            })
            .collect();
        self.gather(&places)
    }

    /// State rows at (run, row); the run after the last is the state of "no rows".
    fn gather(&self, places: &[(usize, usize)]) -> Result<Vec<ArrayRef>> {
        if places.is_empty() {
            return Ok(self.nothing.iter().map(|c| new_empty_array(c.data_type())).collect());
        }
        let columns = self.nothing.iter().enumerate();
        columns
            .map(|(c, nothing)| {
                let runs = self.runs.iter().map(|r| r.columns[c].as_ref());
                let parts: Vec<&dyn Array> = runs.chain([nothing.as_ref()]).collect();
                Ok(interleave(&parts, places)?)
            })
            .collect()
    }

    /// Makes `columns` the states of `slots`.
    fn append(&mut self, columns: Vec<ArrayRef>, slots: &[u32]) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        let run = self.runs.len() as u32;
        for (row, &slot) in slots.iter().enumerate() {
            self.spots[slot as usize] = Spot { run, row: row as u32 };
        }
        self.runs.push(Run { columns, owners: slots.to_vec() });
        self.tidy()
    }

    /// Joins runs from the back while the last is at least half as large as the one before.
    fn tidy(&mut self) -> Result<()> {
        let mut first = self.runs.len() - 1;
        let mut size = self.runs[first].owners.len();
        while first > 0 && size * 2 >= self.runs[first - 1].owners.len() {
            first -= 1;
            size += self.runs[first].owners.len();
        }
        if first + 1 == self.runs.len() {
            return Ok(());
        }
        let (mut places, mut owners) = (Vec::with_capacity(size), Vec::with_capacity(size));
        for (r, run) in self.runs.iter().enumerate().skip(first) {
            for (row, &owner) in run.owners.iter().enumerate() {
                if self.spots[owner as usize] == (Spot { run: r as u32, row: row as u32 }) {
                    places.push((r, row));
                    owners.push(owner);
                }
            }
        }
        let columns = self.gather(&places)?;
        self.runs.truncate(first);
        for (row, &owner) in owners.iter().enumerate() {
            self.spots[owner as usize] = Spot { run: first as u32, row: row as u32 };
        }
        if !owners.is_empty() {
            self.runs.push(Run { columns, owners });
        }
        Ok(())
    }

    /// Merges rows of states into slots, one row a slot.
    fn combine(&mut self, states: &[ArrayRef], to: &[u32], place: Place) -> Result<()> {
        if to.is_empty() {
            return Ok(());
        }
        let (old, which) = self.fetch(to)?;
        if which.is_empty() {
            return self.append(states.to_vec(), to);
        }
        // Accumulators expect that a group is in the batch with which it first counts among the
        // groups: so groups with an old state are numbered before those without.
        let mut local = vec![usize::MAX; to.len()];
        which.iter().enumerate().for_each(|(number, &i)| local[i] = number);
        let new = local.iter_mut().filter(|local| **local == usize::MAX);
        (which.len()..).zip(new).for_each(|(number, local)| *local = number);
        let mut owners = vec![0; to.len()];
        local.iter().zip(to).for_each(|(&local, &slot)| owners[local] = slot);
        let olds: Vec<usize> = (0..which.len()).collect();
        let mut accumulator = self.accumulator()?;
        match place {
            Place::After => {
                accumulator.merge_batch(&old, &olds, which.len())?;
                accumulator.merge_batch(states, &local, to.len())?;
            }
            Place::Before => {
                accumulator.merge_batch(states, &local, to.len())?;
                accumulator.merge_batch(&old, &olds, to.len())?;
            }
        }
        let merged = accumulator.state(EmitTo::All)?;
        self.append(merged, &owners)
    }

    /// A row of weight n counts n times.
    fn update_times(&mut self, input: &AggregateInput<'_>, weights: &[i64]) -> Result<()> {
        let mut rows = Vec::new();
        for (i, &w) in weights.iter().enumerate() {
            rows.extend(std::iter::repeat_n(i as u32, w as usize));
        }
        let groups: Vec<u32> = rows.iter().map(|&i| input.groups[i as usize]).collect();
        let rows = UInt32Array::from(rows);
        let args =
            input.args.iter().map(|a| Ok(take(a, &rows, None)?)).collect::<Result<Vec<_>>>()?;
        let filter = match input.filter {
            Some(filter) => Some(take(filter, &rows, None)?),
            None => None,
        };
        let filter = filter.as_ref().and_then(|f| f.as_boolean_opt());
        self.update(&AggregateInput { args: &args, groups: &groups, filter, weights: None })
    }

    fn same<'a>(&self, other: &'a dyn Kernel) -> Result<&'a Generic> {
        other.as_any().downcast_ref::<Generic>().ok_or_else(mismatch)
    }
}

/// Numbers the distinct groups in order of appearance: (number of each row, the groups).
fn renumber(groups: &[u32], slots: usize) -> (Vec<usize>, Vec<u32>) {
    let mut distinct = Vec::new();
    if slots <= groups.len() * 64 + 1024 {
        let mut number = vec![u32::MAX; slots];
        let local = groups
            .iter()
            .map(|&g| {
                let n = &mut number[g as usize];
                if *n == u32::MAX {
                    *n = distinct.len() as u32;
                    distinct.push(g);
                }
                *n as usize
            })
            .collect();
        return (local, distinct);
    }
    let mut number = hashbrown::HashMap::<u32, usize, foldhash::fast::FixedState>::default();
    let local = groups
        .iter()
        .map(|&g| {
            *number.entry(g).or_insert_with(|| {
                distinct.push(g);
                distinct.len() - 1
            })
        })
        .collect();
    (local, distinct)
}

impl Kernel for Generic {
    fn resize(&mut self, slots: usize) {
        if self.spots.len() < slots {
            self.spots.resize(slots, NOWHERE);
        }
    }

    fn update(&mut self, input: &AggregateInput<'_>) -> Result<()> {
        if input.has_deletions() {
            return Err(no_inverse(self.expr.fun().name()));
        }
        if input.groups.is_empty() {
            return Ok(());
        }
        if let Some(weights) = input.weights.filter(|weights| weights.iter().any(|&w| w != 1)) {
            return self.update_times(input, weights);
        }
        debug_assert_eq!(input.args.len(), self.inputs.len());
        // A NULL in a filter is false; DataFusion's accumulators expect that or NULL, both are the
        // same to them.
        let (local, distinct) = renumber(input.groups, self.spots.len());
        let mut accumulator = self.accumulator()?;
        accumulator.update_batch(input.args, &local, input.filter, distinct.len())?;
        let states = accumulator.state(EmitTo::All)?;
        self.combine(&states, &distinct, Place::After)
    }

    fn merge(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32], place: Place) -> Result<()> {
        let (states, which) = self.same(other)?.fetch(from)?;
        let to: Vec<u32> = which.iter().map(|&i| to[i]).collect();
        self.combine(&states, &to, place)
    }

    fn subtract(&mut self, _: &dyn Kernel, _: &[u32], _: &[u32]) -> Result<()> {
        Err(no_inverse(self.expr.fun().name()))
    }

    fn states(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.fetch_all(slots)
    }

    fn merge_states(&mut self, columns: &[ArrayRef], to: &[u32]) -> Result<()> {
        self.combine(columns, to, Place::After)
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        if slots.is_empty() {
            return Ok(new_empty_array(self.expr.field().data_type()));
        }
        let all: Vec<usize> = (0..slots.len()).collect();
        let mut accumulator = self.accumulator()?;
        accumulator.merge_batch(&self.fetch_all(slots)?, &all, slots.len())?;
        Ok(accumulator.evaluate(EmitTo::All)?)
    }

    fn copy(&self, slots: &[u32]) -> Result<Box<dyn Kernel>> {
        let (rows, which) = self.fetch(slots)?;
        let mut copy = self.bare();
        copy.spots = vec![NOWHERE; slots.len()];
        let owners: Vec<u32> = which.iter().map(|&i| i as u32).collect();
        copy.append(rows, &owners)?;
        Ok(Box::new(copy))
    }

    fn assign(&mut self, other: &dyn Kernel, to: &[u32]) -> Result<()> {
        self.clear(to);
        let (states, which) = self.same(other)?.fetch(&sequence(to.len()))?;
        let to: Vec<u32> = which.iter().map(|&i| to[i]).collect();
        self.append(states, &to)
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            self.spots[slot as usize] = NOWHERE;
        }
    }

    fn clear_all(&mut self) {
        self.spots.fill(NOWHERE);
        self.runs.clear();
    }

    fn empty(&self) -> Box<dyn Kernel> {
        Box::new(self.bare())
    }

    fn state_columns(&self) -> usize {
        self.nothing.len()
    }

    fn invertible(&self) -> bool {
        false
    }

    fn exact(&self) -> bool {
        false
    }

    fn size(&self) -> usize {
        let rows: usize =
            self.runs.iter().flat_map(|r| &r.columns).map(|c| c.get_array_memory_size()).sum();
        rows + self.runs.iter().map(|r| r.owners.capacity() * 4).sum::<usize>()
            + self.spots.capacity() * 8
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::aggregates::{AggregateCall, kernel};
    use arrow::array::Int64Array;
    use arrow::datatypes::{Field, Schema};
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    use datafusion::functions_aggregate as f;
    use datafusion::logical_expr::AggregateUDF;
    use datafusion::physical_expr::aggregate::AggregateExprBuilder;
    use datafusion::physical_expr::expressions::Column;

    fn made(udaf: Arc<AggregateUDF>, data_type: DataType, distinct: bool) -> Box<dyn Kernel> {
        let schema = Arc::new(Schema::new(vec![Field::new("v", data_type, true)]));
        let expr = AggregateExprBuilder::new(udaf, vec![Arc::new(Column::new("v", 0))])
            .schema(Arc::clone(&schema))
            .alias("a")
            .with_distinct(distinct)
            .build()
            .unwrap();
        let expr = Arc::new(expr);
        let call = AggregateCall { expr, args: vec![0], filter: None, distinct, retracts: false };
        kernel(&call, &schema).unwrap()
    }

    fn shown(kernel: &dyn Kernel, slots: &[u32]) -> Vec<String> {
        let result = kernel.evaluate(slots).unwrap();
        let format = FormatOptions::new().with_null("NULL");
        let formatter = ArrayFormatter::try_new(&result, &format).unwrap();
        (0..slots.len()).map(|row| formatter.value(row).to_string()).collect()
    }

    fn take_in(kernel: &mut dyn Kernel, values: &[Option<i64>], groups: &[u32]) {
        let args: [ArrayRef; 1] = [Arc::new(Int64Array::from(values.to_vec()))];
        kernel
            .update(&AggregateInput { args: &args, groups, filter: None, weights: None })
            .unwrap();
    }

    #[test]
    fn a_group_without_values_stays_null_whatever_is_merged_beside_it() {
        for udaf in [f::bit_and_or_xor::bit_and_udaf(), f::bit_and_or_xor::bit_or_udaf()] {
            let mut kernel = made(udaf, DataType::Int64, false);
            kernel.resize(4);
            take_in(kernel.as_mut(), &[Some(6), None], &[2, 0]);
            take_in(kernel.as_mut(), &[Some(6), None, None], &[2, 1, 0]);
            assert_eq!(shown(kernel.as_ref(), &[0, 1, 2, 3]), ["NULL", "NULL", "6", "NULL"]);
            let mut other = kernel.empty();
            other.resize(4);
            other.merge_states(&kernel.states(&[3, 2, 1, 0]).unwrap(), &[3, 2, 1, 0]).unwrap();
            other.merge(kernel.as_ref(), &[0, 2], &[0, 2], Place::Before).unwrap();
            assert_eq!(shown(other.as_ref(), &[0, 1, 2, 3]), ["NULL", "NULL", "6", "NULL"]);
        }
    }

    #[test]
    fn states_keep_the_order_in_which_they_are_merged() {
        let mut early = made(f::array_agg::array_agg_udaf(), DataType::Int64, false);
        early.resize(2);
        let mut late = early.empty();
        late.resize(2);
        take_in(early.as_mut(), &[Some(1), Some(2), None], &[0, 1, 0]);
        take_in(late.as_mut(), &[Some(8), Some(9)], &[0, 0]);
        let mut after = early.copy(&[0, 1]).unwrap();
        after.merge(late.as_ref(), &[0, 1], &[0, 1], Place::After).unwrap();
        late.merge(early.as_ref(), &[0, 1], &[0, 1], Place::Before).unwrap();
        for kernel in [after, late] {
            assert_eq!(shown(kernel.as_ref(), &[0, 1]), ["[1, NULL, 8, 9]", "[2]"]);
        }
    }

    #[test]
    fn distinct_is_distinct_over_all_batches() {
        let mut kernel = made(f::bit_and_or_xor::bit_xor_udaf(), DataType::Int64, true);
        kernel.resize(2);
        for _ in 0..3 {
            take_in(kernel.as_mut(), &[Some(5), Some(5), Some(3)], &[0, 0, 1]);
            take_in(kernel.as_mut(), &[Some(2)], &[0]);
            assert_eq!(
                shown(kernel.as_ref(), &[0, 1]),
                ["7", "3"],
                "and looking at it changes nothing"
            );
        }
    }

    #[test]
    fn runs_of_states_are_joined_and_old_ones_dropped() {
        let schema = DataType::Int64;
        let mut kernel = Generic::new(
            Arc::new(
                AggregateExprBuilder::new(
                    f::median::median_udaf(),
                    vec![Arc::new(Column::new("v", 0))],
                )
                .schema(Arc::new(Schema::new(vec![Field::new("v", schema.clone(), true)])))
                .alias("m")
                .build()
                .unwrap(),
            ),
            vec![schema],
        )
        .unwrap();
        kernel.resize(100);
        let all: Vec<u32> = (0..100).collect();
        take_in(&mut kernel, &vec![Some(1); 100], &all);
        for round in 0..200 {
            take_in(&mut kernel, &[Some(1), Some(1)], &[round % 100, (round * 7) % 100]);
        }
        let rows: usize = kernel.runs.iter().map(|r| r.owners.len()).sum();
        assert!(kernel.runs.len() < 12 && rows < 250, "{} runs of {rows} rows", kernel.runs.len());
        assert_eq!(shown(&kernel, &[0, 99]), ["1", "1"]);
    }
}
