//! Aggregates whose steps are functions of the user's (CREATE AGGREGATE).
//!
//! A group's state is one value, to which a function adds a row at a time: that is a fold, and rows
//! of one group come one after the other. Rows of different groups do not, so a batch is taken in by
//! rounds: the first row of each group, the second one of each, and so on, each round in one call.
//!
//! What the functions mean is in the Postgres manual under CREATE AGGREGATE. Beside the value a state
//! has the number of its rows: of none it is what a group begins with, and is left out when states
//! are combined.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array, new_empty_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{AggregateInput, Kernel, Place, mismatch, no_inverse, sequence};
use crate::error::{Error, Result};

/// A function over columns of equal length.
pub trait RowFunction: Send + Sync + fmt::Debug {
    /// It gives NULL where an argument is NULL.
    fn is_strict(&self) -> bool;

    /// The value of each row.
    fn call(&self, columns: &[ArrayRef], rows: usize) -> Result<ArrayRef>;
}

/// The steps of an aggregate.
#[derive(Debug)]
pub struct UserFold {
    /// The aggregate's name.
    pub name: String,
    /// (state, arguments…) → state.
    pub transition: Arc<dyn RowFunction>,
    /// (state, state) → state.
    pub combine: Option<Arc<dyn RowFunction>>,
    /// (state, arguments…) → state: the row was never there.
    pub inverse: Option<Arc<dyn RowFunction>>,
    /// state → result.
    pub finish: Option<Arc<dyn RowFunction>>,
    /// What a group begins with; NULL of the state's type if nothing was said.
    pub initial: ScalarValue,
    /// A state is a value like the rows', and is added and taken out as they are.
    pub reduces: bool,
}

impl UserFold {
    /// The type of a state.
    pub fn state_type(&self) -> DataType {
        self.initial.data_type()
    }

    fn combine(&self) -> Result<&Arc<dyn RowFunction>> {
        self.combine.as_ref().ok_or_else(|| {
            Error::internal(format!("states of {} are combined without a COMBINEFUNC", self.name))
        })
    }
}

/// The state of a group.
#[derive(Clone)]
struct FoldState {
    value: ScalarValue,
    /// How many rows have been added and not taken out again.
    rows: i64,
}

/// What is done with a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FoldStep {
    Add,
    TakeOut,
}

/// A row that is added to a slot or taken out.
#[derive(Clone, Copy)]
struct RowStep {
    row: u32,
    slot: u32,
    step: FoldStep,
}

/// The states of all groups.
pub struct FoldedStates {
    fold: Arc<UserFold>,
    states: Vec<FoldState>,
    bytes: usize,
}

impl FoldedStates {
    /// A kernel without slots.
    pub fn new(fold: Arc<UserFold>) -> FoldedStates {
        FoldedStates { fold, states: Vec::new(), bytes: 0 }
    }

    fn fresh(&self) -> FoldState {
        FoldState { value: self.fold.initial.clone(), rows: 0 }
    }

    fn set(&mut self, slot: u32, state: FoldState) {
        let state = if state.rows == 0 { self.fresh() } else { state };
        let place = &mut self.states[slot as usize];
        self.bytes = self.bytes + state.value.size() - place.value.size();
        *place = state;
    }

    /// The values of these slots as a column.
    fn column(&self, slots: impl Iterator<Item = u32>) -> Result<ArrayRef> {
        let mut values = slots.map(|slot| self.states[slot as usize].value.clone()).peekable();
        match values.peek() {
            Some(_) => Ok(ScalarValue::iter_to_array(values)?),
            None => Ok(new_empty_array(&self.fold.state_type())),
        }
    }

    /// Puts the values of a column into slots, whose rows become `rows` more.
    fn put(&mut self, values: &ArrayRef, slots: &[u32], rows: &[i64]) -> Result<()> {
        for (at, (&slot, more)) in slots.iter().zip(rows).enumerate() {
            let value = ScalarValue::try_from_array(values, at)?;
            let rows = self.states[slot as usize].rows + more;
            self.set(slot, FoldState { value, rows });
        }
        Ok(())
    }

    /// The rows of a batch that count, in rounds: each slot is at most once in a round.
    fn rounds(&self, input: &AggregateInput<'_>) -> Result<Vec<Vec<RowStep>>> {
        let is_strict = self.fold.transition.is_strict();
        let args = if is_strict { input.args } else { &[] };
        let passing = AggregateInput { args, ..*input }.mask();
        let mut begun = HashMap::<u32, usize, FixedState>::default();
        let mut rounds: Vec<Vec<RowStep>> = Vec::new();
        for (row, &slot) in input.groups.iter().enumerate() {
            if passing.as_ref().is_some_and(|passing| passing.is_null(row)) {
                continue;
            }
            let weight = input.weights.map_or(1, |weights| weights[row]);
            let step = if weight < 0 { FoldStep::TakeOut } else { FoldStep::Add };
            for _ in 0..weight.unsigned_abs() {
                let round = begun.entry(slot).or_default();
                if *round == rounds.len() {
                    rounds.push(Vec::new());
                }
                rounds[*round].push(RowStep { row: row as u32, slot, step });
                *round += 1;
            }
        }
        if self.fold.inverse.is_none()
            && rounds.iter().flatten().any(|row| row.step == FoldStep::TakeOut)
        {
            return Err(no_inverse(&self.fold.name));
        }
        Ok(rounds)
    }

    /// One round: all slots are different.
    fn step(&mut self, rows: &[RowStep], args: &[ArrayRef]) -> Result<()> {
        let is_strict = self.fold.transition.is_strict();
        let (mut add, mut out) = (Vec::new(), Vec::new());
        for row in rows {
            let state = &self.states[row.slot as usize];
            if is_strict && state.value.is_null() {
                if state.rows == 0 && row.step == FoldStep::Add {
                    // The first value is the state.
                    let first = args.first().ok_or_else(mismatch)?;
                    let value = ScalarValue::try_from_array(first, row.row as usize)?;
                    self.set(row.slot, FoldState { value, rows: 1 });
                } else {
                    let rows = state.rows + if row.step == FoldStep::Add { 1 } else { -1 };
                    let value = state.value.clone();
                    self.set(row.slot, FoldState { value, rows });
                }
                continue;
            }
            match row.step {
                FoldStep::Add => add.push(*row),
                // Of the last row nothing is left, whatever an inverse would make of it.
                FoldStep::TakeOut if state.rows == 1 => {
                    let fresh = self.fresh();
                    self.set(row.slot, fresh);
                }
                FoldStep::TakeOut => out.push(*row),
            }
        }
        let transition = Arc::clone(&self.fold.transition);
        self.apply(&transition, &add, args, 1)?;
        let Some(inverse) = self.fold.inverse.clone() else { return Ok(()) };
        self.apply(&inverse, &out, args, -1)?;
        if out.iter().any(|row| self.states[row.slot as usize].value.is_null()) {
            let what = format!("the MINVFUNC of {} has given NULL", self.fold.name);
            return Err(Error::unsupported(what)
                .hint("Leave out MINVFUNC where it cannot take every row out again."));
        }
        Ok(())
    }

    fn apply(
        &mut self,
        function: &Arc<dyn RowFunction>,
        rows: &[RowStep],
        args: &[ArrayRef],
        more: i64,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let slots: Vec<u32> = rows.iter().map(|row| row.slot).collect();
        let places = UInt32Array::from_iter_values(rows.iter().map(|row| row.row));
        let mut columns = vec![self.column(slots.iter().copied())?];
        for arg in args {
            columns.push(take(arg, &places, None)?);
        }
        let values = function.call(&columns, rows.len())?;
        self.put(&values, &slots, &vec![more; slots.len()])
    }

    /// Combines states with those of slots; `rows` says how many rows are in each.
    fn combine(&mut self, values: &ArrayRef, rows: &[i64], to: &[u32], place: Place) -> Result<()> {
        let mut both = Vec::new();
        for (at, &slot) in to.iter().enumerate() {
            let state = &self.states[slot as usize];
            let is_strict = self.fold.combine.as_ref().is_some_and(|combine| combine.is_strict());
            if rows[at] == 0 {
                continue;
            }
            if state.rows == 0 {
                let value = ScalarValue::try_from_array(values, at)?;
                self.set(slot, FoldState { value, rows: rows[at] });
            } else if is_strict && (state.value.is_null() || values.is_null(at)) {
                // Of a NULL and a state the state is left.
                let value = if state.value.is_null() {
                    ScalarValue::try_from_array(values, at)?
                } else {
                    state.value.clone()
                };
                self.set(slot, FoldState { value, rows: state.rows + rows[at] });
            } else {
                both.push(at as u32);
            }
        }
        if both.is_empty() {
            return Ok(());
        }
        let combine = Arc::clone(self.fold.combine()?);
        let slots: Vec<u32> = both.iter().map(|&at| to[at as usize]).collect();
        let more: Vec<i64> = both.iter().map(|&at| rows[at as usize]).collect();
        let old = self.column(slots.iter().copied())?;
        let new = take(values, &UInt32Array::from(both), None)?;
        let columns = match place {
            Place::Before => [new, old],
            Place::After => [old, new],
        };
        let values = combine.call(&columns, slots.len())?;
        self.put(&values, &slots, &more)
    }

    fn rows(&self, slots: &[u32]) -> Vec<i64> {
        slots.iter().map(|&slot| self.states[slot as usize].rows).collect()
    }

    fn same<'a>(&self, other: &'a dyn Kernel) -> Result<&'a FoldedStates> {
        other.as_any().downcast_ref::<FoldedStates>().ok_or_else(mismatch)
    }
}

impl Kernel for FoldedStates {
    fn resize(&mut self, slots: usize) {
        if self.states.len() < slots {
            let fresh = self.fresh();
            self.bytes += fresh.value.size() * (slots - self.states.len());
            self.states.resize(slots, fresh);
        }
    }

    fn update(&mut self, input: &AggregateInput<'_>) -> Result<()> {
        for round in self.rounds(input)? {
            self.step(&round, input.args)?;
        }
        Ok(())
    }

    fn merge(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32], place: Place) -> Result<()> {
        let other = self.same(other)?;
        let values = other.column(from.iter().copied())?;
        self.combine(&values, &other.rows(from), to, place)
    }

    fn subtract(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32]) -> Result<()> {
        let other = self.same(other)?;
        let inverse = self.fold.inverse.clone().filter(|_| self.fold.reduces);
        let inverse = inverse.ok_or_else(|| no_inverse(&self.fold.name))?;
        let (mut slots, mut less, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for (&from, &to) in from.iter().zip(to) {
            let (state, part) = (&self.states[to as usize], &other.states[from as usize]);
            if part.rows == 0 {
                continue;
            }
            if state.rows == part.rows {
                let fresh = self.fresh();
                self.set(to, fresh);
            } else {
                slots.push(to);
                less.push(-part.rows);
                taken.push(from);
            }
        }
        if slots.is_empty() {
            return Ok(());
        }
        let columns = [self.column(slots.iter().copied())?, other.column(taken.into_iter())?];
        let values = inverse.call(&columns, slots.len())?;
        self.put(&values, &slots, &less)
    }

    fn states(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let rows = Int64Array::from(self.rows(slots));
        Ok(vec![self.column(slots.iter().copied())?, Arc::new(rows)])
    }

    fn merge_states(&mut self, columns: &[ArrayRef], to: &[u32]) -> Result<()> {
        let [values, rows] = columns else { return Err(mismatch()) };
        let rows = rows.as_primitive_opt::<Int64Type>().ok_or_else(mismatch)?;
        // One slot may be named several times.
        for (at, &slot) in to.iter().enumerate() {
            self.combine(&values.slice(at, 1), &[rows.value(at)], &[slot], Place::After)?;
        }
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let states = self.column(slots.iter().copied())?;
        match &self.fold.finish {
            Some(finish) => finish.call(&[states], slots.len()),
            None => Ok(states),
        }
    }

    fn copy(&self, slots: &[u32]) -> Result<Box<dyn Kernel>> {
        let mut copy = FoldedStates::new(Arc::clone(&self.fold));
        copy.states = slots.iter().map(|&slot| self.states[slot as usize].clone()).collect();
        copy.bytes = copy.states.iter().map(|state| state.value.size()).sum();
        Ok(Box::new(copy))
    }

    fn assign(&mut self, other: &dyn Kernel, to: &[u32]) -> Result<()> {
        let other = self.same(other)?;
        for (state, &to) in other.states.iter().zip(to) {
            self.set(to, state.clone());
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            let fresh = self.fresh();
            self.set(slot, fresh);
        }
    }

    fn clear_all(&mut self) {
        self.clear(&sequence(self.states.len()));
    }

    fn empty(&self) -> Box<dyn Kernel> {
        Box::new(FoldedStates::new(Arc::clone(&self.fold)))
    }

    fn state_columns(&self) -> usize {
        2
    }

    fn invertible(&self) -> bool {
        self.fold.reduces && self.fold.inverse.is_some()
    }

    fn exact(&self) -> bool {
        false
    }

    fn size(&self) -> usize {
        self.bytes + self.states.capacity() * size_of::<i64>()
    }

    #[cfg(test)]
    fn walked(&self) -> usize {
        let values: usize = self.states.iter().map(|state| state.value.size()).sum();
        values + self.size() - self.bytes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::kernels::numeric::{add, sub};

    use super::*;

    /// A strict function of two columns.
    #[derive(Debug)]
    struct Strict(fn(&Int64Array, &Int64Array) -> ArrayRef);

    impl RowFunction for Strict {
        fn is_strict(&self) -> bool {
            true
        }

        fn call(&self, columns: &[ArrayRef], _: usize) -> Result<ArrayRef> {
            Ok((self.0)(columns[0].as_primitive(), columns[1].as_primitive()))
        }
    }

    fn kernel() -> FoldedStates {
        let plus = || Arc::new(Strict(|a, b| add(a, b).unwrap())) as Arc<dyn RowFunction>;
        let mut kernel = FoldedStates::new(Arc::new(UserFold {
            name: "total".to_owned(),
            transition: plus(),
            combine: Some(plus()),
            inverse: Some(Arc::new(Strict(|a, b| sub(a, b).unwrap()))),
            finish: None,
            initial: ScalarValue::Int64(None),
            reduces: true,
        }));
        kernel.resize(2);
        kernel
    }

    fn take_in(kernel: &mut FoldedStates, rows: &[(u32, Option<i64>, i64)]) {
        let args: [ArrayRef; 1] = [Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1)))];
        let groups: Vec<u32> = rows.iter().map(|row| row.0).collect();
        let weights: Vec<i64> = rows.iter().map(|row| row.2).collect();
        let input =
            AggregateInput { args: &args, groups: &groups, filter: None, weights: Some(&weights) };
        kernel.update(&input).unwrap();
        assert_eq!(kernel.size(), kernel.walked());
    }

    fn shown(kernel: &FoldedStates) -> Vec<Option<i64>> {
        kernel.evaluate(&[0, 1]).unwrap().as_primitive::<Int64Type>().iter().collect()
    }

    #[test]
    fn rows_come_and_go_and_of_none_nothing_is_left() {
        let mut kernel = kernel();
        assert_eq!(shown(&kernel), [None, None]);
        take_in(&mut kernel, &[(0, Some(1), 1), (1, None, 1), (0, Some(2), 3), (0, None, 1)]);
        assert_eq!(shown(&kernel), [Some(7), None]);
        take_in(&mut kernel, &[(0, Some(2), -2), (1, Some(5), 1)]);
        assert_eq!(shown(&kernel), [Some(3), Some(5)]);
        take_in(&mut kernel, &[(1, Some(5), -1), (0, Some(1), -1)]);
        assert_eq!(shown(&kernel), [Some(2), None]);
    }

    #[test]
    fn parts_are_combined_taken_out_and_read_again() {
        let (mut whole, mut part) = (kernel(), kernel());
        take_in(&mut whole, &[(0, Some(1), 1)]);
        take_in(&mut part, &[(0, Some(10), 1), (1, Some(20), 1)]);
        whole.merge(&part, &[0, 1], &[0, 1], Place::After).unwrap();
        assert_eq!(shown(&whole), [Some(11), Some(20)]);
        let mut read = kernel();
        read.restore(&whole.states(&[0, 1]).unwrap(), &[0, 1]).unwrap();
        assert_eq!(shown(&read), shown(&whole));
        read.subtract(&part, &[0, 1], &[0, 1]).unwrap();
        assert_eq!(shown(&read), [Some(1), None]);
    }
}
