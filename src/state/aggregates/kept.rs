//! Aggregates that keep the values of every group, one by one: DISTINCT, medians, and whatever has
//! no inverse over rows that are taken back.
//!
//! A group is a multiset of rows of arguments. A [`ValueReading`] says how its result comes from
//! them; most need not look at more than what has changed. Others are computed anew from all values
//! of the group when they are asked for. The values then come in their order, for the order in
//! which they came is not kept: an aggregate that depends on it has to say ORDER BY, or has rows
//! that only come (`arrivals`).
//!
//! A checkpoint writes the values of a group that have changed, not the group.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int64Builder, ListArray, ListBuilder,
};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::function::ValueFunction;
use super::reading::ValueReading;
use super::{AggregateInput, Kernel, Place, mismatch, sequence};
use crate::error::Result;
use crate::state::multiset::Multiset;
use crate::state::state_table::Portion;
use crate::types::with_equal_floats;

/// The values of all groups of one aggregate.
pub struct KeptValues {
    function: Arc<ValueFunction>,
    reading: ValueReading,
    sets: Vec<Multiset>,
    /// A set without values, as a slot begins.
    fresh: Multiset,
    bytes: usize,
}

/// What is done with a value.
#[derive(Clone, Copy)]
enum ValueChange {
    /// It is there so many times more.
    Add(i64),
    /// It is there so many times.
    Set(i64),
}

impl KeptValues {
    /// A kernel without slots for this function over arguments of these types.
    pub fn new(expr: Arc<AggregateFunctionExpr>, inputs: Vec<DataType>) -> Result<Self> {
        let function = ValueFunction::new(expr, inputs)?;
        let reading = ValueReading::of(&function);
        let (sets, fresh) = (Vec::new(), Multiset::default());
        Ok(KeptValues { function, reading, sets, fresh, bytes: 0 })
    }

    fn with(&self, reading: ValueReading, sets: Vec<Multiset>) -> KeptValues {
        let (function, fresh) = (Arc::clone(&self.function), Multiset::default());
        let bytes = sets.iter().map(Multiset::size).sum();
        KeptValues { function, reading, sets, fresh, bytes }
    }

    /// To be followed by [`settle`](Self::settle) when all values have been changed.
    fn change(&mut self, slot: u32, value: &[u8], change: ValueChange) {
        let set = &mut self.sets[slot as usize];
        let size = set.size();
        let (before, after) = match change {
            ValueChange::Add(times) => {
                let before = set.add(value, times);
                (before, before + times)
            }
            ValueChange::Set(count) => (set.set(value, count), count),
        };
        self.bytes = self.bytes + set.size() - size;
        self.reading.note(&self.function, slot, value, before, after);
    }

    fn settle(&mut self) -> Result<()> {
        self.reading.settle(&self.function, &self.sets)
    }

    fn same<'a>(&self, other: &'a dyn Kernel) -> Result<&'a KeptValues> {
        other.as_any().downcast_ref::<KeptValues>().ok_or_else(mismatch)
    }
}

/// Values of groups as columns of a state: for each group a list of values, and of how often each
/// is there.
fn written(groups: impl Iterator<Item = Vec<(Box<[u8]>, i64)>>) -> Vec<ArrayRef> {
    let mut values = ListBuilder::new(BinaryBuilder::new());
    let mut counts = ListBuilder::new(Int64Builder::new());
    for group in groups {
        for (value, count) in group {
            values.values().append_value(value);
            counts.values().append_value(count);
        }
        values.append(true);
        counts.append(true);
    }
    vec![Arc::new(values.finish()), Arc::new(counts.finish())]
}

/// Calls `each` with the values of state columns: (row, value, how often it is there).
fn read(columns: &[ArrayRef], mut each: impl FnMut(usize, &[u8], i64)) -> Result<()> {
    let list = |at: usize| -> Result<&ListArray> {
        columns.get(at).and_then(|c| c.as_list_opt::<i32>()).ok_or_else(mismatch)
    };
    let (values, counts) = (list(0)?, list(1)?);
    for row in 0..values.len() {
        let (values, counts) = (values.value(row), counts.value(row));
        let values = values.as_any().downcast_ref::<BinaryArray>().ok_or_else(mismatch)?;
        let counts = counts.as_primitive_opt::<Int64Type>().ok_or_else(mismatch)?;
        if values.len() != counts.len() {
            return Err(mismatch());
        }
        (0..values.len()).for_each(|at| each(row, values.value(at), counts.value(at)));
    }
    Ok(())
}

impl Kernel for KeptValues {
    fn resize(&mut self, slots: usize) {
        if self.sets.len() < slots {
            self.sets.resize(slots, self.fresh.clone());
        }
        self.reading.resize(self.sets.len());
    }

    fn update(&mut self, input: &AggregateInput<'_>) -> Result<()> {
        if input.groups.is_empty() {
            return Ok(());
        }
        let args: Vec<ArrayRef> = input.args.iter().map(with_equal_floats).collect();
        let rows = self.function.rows(&args)?;
        let passing = AggregateInput { args: &[], ..*input }.mask();
        for (at, (row, &slot)) in rows.iter().zip(input.groups).enumerate() {
            if passing.as_ref().is_none_or(|passing| passing.is_valid(at)) {
                let times = input.weights.map_or(1, |weights| weights[at]);
                self.change(slot, row.data(), ValueChange::Add(times));
            }
        }
        self.settle()
    }

    fn merge(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32], _: Place) -> Result<()> {
        let other = self.same(other)?;
        for (&from, &to) in from.iter().zip(to) {
            let more = other.sets[from as usize].iter();
            more.for_each(|(value, count)| self.change(to, value, ValueChange::Add(count)));
        }
        self.settle()
    }

    fn subtract(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32]) -> Result<()> {
        let other = self.same(other)?;
        for (&from, &to) in from.iter().zip(to) {
            let less = other.sets[from as usize].iter();
            less.for_each(|(value, count)| self.change(to, value, ValueChange::Add(-count)));
        }
        self.settle()
    }

    fn states(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let all = |&slot: &u32| -> Vec<(Box<[u8]>, i64)> {
            self.sets[slot as usize].iter().map(|(value, count)| (value.into(), count)).collect()
        };
        Ok(written(slots.iter().map(all)))
    }

    fn portion(&self, slot: u32, portion: &mut Portion, bytes: usize) -> Result<Vec<ArrayRef>> {
        let from = match std::mem::replace(portion, Portion::End) {
            Portion::Beginning => Vec::new(),
            Portion::From(value) => value,
            Portion::End => return Ok(written(std::iter::once(Vec::new()))),
        };
        let (mut values, mut size) = (Vec::<(Box<[u8]>, i64)>::new(), 0);
        for (value, count) in self.sets[slot as usize].from(&from) {
            if size >= bytes {
                *portion = Portion::From(value.to_vec());
                break;
            }
            size += value.len() + size_of::<i64>();
            values.push((value.into(), count));
        }
        Ok(written(std::iter::once(values)))
    }

    fn slot_bytes(&self, slot: u32) -> usize {
        self.sets[slot as usize].size()
    }

    fn track(&mut self) {
        self.sets.iter_mut().chain([&mut self.fresh]).for_each(Multiset::track);
    }

    fn take_changed(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(written(slots.iter().map(|&slot| self.sets[slot as usize].take_changed())))
    }

    fn merge_states(&mut self, columns: &[ArrayRef], to: &[u32]) -> Result<()> {
        read(columns, |row, value, count| self.change(to[row], value, ValueChange::Add(count)))?;
        self.settle()
    }

    fn restore(&mut self, columns: &[ArrayRef], to: &[u32]) -> Result<()> {
        read(columns, |row, value, count| self.change(to[row], value, ValueChange::Set(count)))?;
        self.settle()
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.reading.evaluate(&self.function, slots, &self.sets)
    }

    fn copy(&self, slots: &[u32]) -> Result<Box<dyn Kernel>> {
        let sets = slots.iter().map(|&slot| self.sets[slot as usize].clone()).collect();
        Ok(Box::new(self.with(self.reading.copy(slots)?, sets)))
    }

    fn assign(&mut self, other: &dyn Kernel, to: &[u32]) -> Result<()> {
        let other = self.same(other)?;
        self.clear(to);
        for (from, &to) in other.sets.iter().zip(to) {
            from.iter().for_each(|(value, count)| self.change(to, value, ValueChange::Add(count)));
        }
        self.settle()
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            let set = &mut self.sets[slot as usize];
            self.bytes -= set.size();
            set.clear();
            self.reading.clear(slot);
        }
    }

    fn clear_all(&mut self) {
        self.clear(&sequence(self.sets.len()));
    }

    fn empty(&self) -> Box<dyn Kernel> {
        Box::new(self.with(self.reading.empty(), Vec::new()))
    }

    fn state_columns(&self) -> usize {
        2
    }

    fn invertible(&self) -> bool {
        true
    }

    fn exact(&self) -> bool {
        true
    }

    fn size(&self) -> usize {
        self.bytes + self.sets.capacity() * size_of::<Multiset>() + self.reading.size()
    }

    #[cfg(test)]
    fn walked(&self) -> usize {
        let sets: usize = self.sets.iter().map(Multiset::walked).sum();
        sets + self.size() - self.bytes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::aggregates::{AggregateCall, kernel};
    use crate::state::fixture::Dice;
    use arrow::array::StringArray;
    use arrow::datatypes::{Field, Schema};
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    use datafusion::functions_aggregate as f;
    use datafusion::logical_expr::AggregateUDF;
    use datafusion::physical_expr::aggregate::AggregateExprBuilder;
    use datafusion::physical_expr::expressions::Column;

    const SLOTS: u32 = 3;

    type Row<'a> = (u32, Option<&'a str>, i64);

    fn made(udaf: &Arc<AggregateUDF>, distinct: bool, retracts: bool) -> Box<dyn Kernel> {
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Utf8, true)]));
        let expr = AggregateExprBuilder::new(Arc::clone(udaf), vec![Arc::new(Column::new("v", 0))])
            .schema(Arc::clone(&schema))
            .alias("a")
            .with_distinct(distinct)
            .build()
            .unwrap();
        let expr = Arc::new(expr);
        let call = AggregateCall { expr, args: vec![0], filter: None, distinct, retracts };
        let mut kernel = kernel(&call, &schema).unwrap();
        kernel.resize(SLOTS as usize);
        kernel
    }

    fn take_in(kernel: &mut dyn Kernel, rows: &[Row<'_>]) {
        let args: [ArrayRef; 1] = [Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1)))];
        let groups: Vec<u32> = rows.iter().map(|row| row.0).collect();
        let weights: Vec<i64> = rows.iter().map(|row| row.2).collect();
        let input =
            AggregateInput { args: &args, groups: &groups, filter: None, weights: Some(&weights) };
        kernel.update(&input).unwrap();
    }

    fn shown(kernel: &dyn Kernel) -> Vec<String> {
        let result = kernel.evaluate(&sequence(SLOTS as usize)).unwrap();
        let format = FormatOptions::new().with_null("NULL");
        let formatter = ArrayFormatter::try_new(&result, &format).unwrap();
        (0..result.len()).map(|row| formatter.value(row).to_string()).collect()
    }

    #[test]
    fn what_was_taken_back_does_not_show_also_after_a_restart() {
        let functions = [
            (f::min_max::min_udaf(), false),
            (f::min_max::max_udaf(), false),
            (f::count::count_udaf(), true),
            (f::array_agg::array_agg_udaf(), false),
        ];
        for (udaf, distinct) in functions {
            let mut kernel = made(&udaf, distinct, true);
            kernel.track();
            let mut restored = made(&udaf, distinct, true);
            // What is there, by group: the reference adds only that.
            let mut there: Vec<Row<'_>> = Vec::new();
            let mut dice = Dice(12_345);
            for step in 0..200 {
                let roll = dice.roll(1 << 31) as usize;
                if roll.is_multiple_of(2) && !there.is_empty() {
                    let (slot, value, _) = there.swap_remove(roll / 2 % there.len());
                    take_in(kernel.as_mut(), &[(slot, value, -1)]);
                } else {
                    let value = [None, Some("a"), Some("b"), Some("cc"), Some("")][roll % 5];
                    there.push((roll as u32 / 5 % SLOTS, value, 1));
                    take_in(kernel.as_mut(), &there[there.len() - 1..]);
                }
                let mut expect = made(&udaf, distinct, false);
                there.sort();
                take_in(expect.as_mut(), &there);
                assert_eq!(
                    shown(kernel.as_ref()),
                    shown(expect.as_ref()),
                    "{} {step}",
                    udaf.name()
                );
                if roll.is_multiple_of(3) {
                    let slots = sequence(SLOTS as usize);
                    restored.restore(&kernel.take_changed(&slots).unwrap(), &slots).unwrap();
                    assert_eq!(shown(restored.as_ref()), shown(kernel.as_ref()), "{}", udaf.name());
                }
            }
        }
    }

    #[test]
    fn a_checkpoint_writes_the_values_that_have_changed() {
        let mut kernel = made(&f::count::count_udaf(), true, true);
        kernel.track();
        let names: Vec<String> = (0..1000).map(|i| format!("value {i}")).collect();
        let rows: Vec<Row<'_>> = names.iter().map(|name| (0, Some(name.as_str()), 1)).collect();
        take_in(kernel.as_mut(), &rows);
        let written = |kernel: &mut dyn Kernel| -> usize {
            kernel.take_changed(&[0]).unwrap()[1].as_list::<i32>().value(0).len()
        };
        assert_eq!(written(kernel.as_mut()), 1000);
        take_in(kernel.as_mut(), &[(0, Some("value 7"), -1), (0, Some("another"), 1)]);
        assert_eq!(written(kernel.as_mut()), 2);
        assert_eq!(written(kernel.as_mut()), 0);
        assert_eq!(shown(kernel.as_ref())[0], "1000");
    }

    #[test]
    fn portions_of_a_group_are_together_the_group_as_it_changes() {
        let mut kernel = made(&f::count::count_udaf(), true, false);
        kernel.track();
        let names: Vec<String> = (0..100).map(|i| format!("value {i:02}")).collect();
        let rows: Vec<Row<'_>> = names.iter().map(|name| (1, Some(name.as_str()), 1)).collect();
        take_in(kernel.as_mut(), &rows);
        kernel.take_changed(&[1]).unwrap();
        let (mut restored, mut portion, mut portions) =
            (made(&f::count::count_udaf(), true, false), Portion::Beginning, 0);
        while portion != Portion::End {
            restored.restore(&kernel.portion(1, &mut portion, 200).unwrap(), &[1]).unwrap();
            portions += 1;
            // Behind where the walk is, and before it.
            take_in(kernel.as_mut(), &[(1, Some("a"), 1), (1, Some("z"), 1)]);
        }
        assert!((5..20).contains(&portions), "{portions} portions");
        restored.restore(&kernel.take_changed(&[1]).unwrap(), &[1]).unwrap();
        assert_eq!(shown(restored.as_ref()), shown(kernel.as_ref()));
        assert_eq!(shown(restored.as_ref())[1], "102");
    }
}
