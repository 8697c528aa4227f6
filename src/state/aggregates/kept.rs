//! Aggregates without an inverse over rows that are taken back: they keep the values of every group.
//!
//! A group is a multiset of rows of arguments. The least, the greatest and the number of different ones are read off it;
//! any other aggregate is computed anew from all values of the group when it is asked for, as [`Generic`] does it. The
//! values then come in their order, for the order in which they came is not kept: an aggregate that depends on it has to say
//! ORDER BY.
//!
//! A checkpoint writes the values of a group that have changed, not the group.

use std::any::Any;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int64Array, Int64Builder, ListArray, ListBuilder,
    new_empty_array, new_null_array,
};
use datafusion::arrow::compute::{cast, concat};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::generic::Generic;
use super::{AggregateInput, Kernel, Place, mismatch, sequence};
use crate::error::Result;
use crate::state::multiset::Multiset;
use crate::types::with_equal_floats;

/// How a group's result comes from its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueReading {
    Least,
    Greatest,
    /// How many different values there are.
    Count,
    /// The aggregate over all values.
    Computed,
}

/// The values of all groups of one aggregate.
pub struct KeptValues {
    expr: Arc<AggregateFunctionExpr>,
    inputs: Vec<DataType>,
    reading: ValueReading,
    converter: Arc<RowConverter>,
    sets: Vec<Multiset>,
    /// A set without values, as a slot begins.
    fresh: Multiset,
    bytes: usize,
}

impl KeptValues {
    /// A kernel without slots for this function over arguments of these types.
    pub fn new(expr: Arc<AggregateFunctionExpr>, inputs: Vec<DataType>) -> Result<Self> {
        // What DataFusion cannot run at all is refused here, not at the first row.
        Generic::new(Arc::clone(&expr), inputs.clone())?;
        let reading = match (expr.fun().name(), expr.is_distinct(), inputs.as_slice()) {
            ("min", _, [input]) if input == expr.field().data_type() && has_row_order(input) => {
                ValueReading::Least
            }
            ("max", _, [input]) if input == expr.field().data_type() && has_row_order(input) => {
                ValueReading::Greatest
            }
            ("count", true, [_]) if *expr.field().data_type() == DataType::Int64 => ValueReading::Count,
            _ => ValueReading::Computed,
        };
        let fields = inputs.iter().map(|t| SortField::new(t.clone())).collect();
        let converter = Arc::new(RowConverter::new(fields)?);
        let (sets, fresh) = (Vec::new(), Multiset::default());
        Ok(KeptValues { expr, inputs, reading, converter, sets, fresh, bytes: 0 })
    }

    fn bare(&self) -> KeptValues {
        KeptValues {
            expr: Arc::clone(&self.expr),
            inputs: self.inputs.clone(),
            reading: self.reading,
            converter: Arc::clone(&self.converter),
            sets: Vec::new(),
            fresh: Multiset::default(),
            bytes: 0,
        }
    }

    fn change(&mut self, slot: u32, how: impl FnOnce(&mut Multiset)) {
        let set = &mut self.sets[slot as usize];
        let before = set.size();
        how(set);
        self.bytes = self.bytes + set.size() - before;
    }

    /// Argument columns with these rows.
    fn columns<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(rows.map(|row| parser.parse(row)))?;
        let typed = columns.into_iter().zip(&self.inputs);
        typed.map(|(c, wanted)| if c.data_type() == wanted { Ok(c) } else { Ok(cast(&c, wanted)?) }).collect()
    }

    /// The bytes of a row of NULLs, which min, max and count do not see.
    fn null(&self) -> Result<Box<[u8]>> {
        let nulls: Vec<ArrayRef> = self.inputs.iter().map(|t| new_null_array(t, 1)).collect();
        Ok(self.converter.convert_columns(&nulls)?.row(0).data().into())
    }

    fn numbers(&self, slots: &[u32]) -> Result<ArrayRef> {
        let null = self.null()?;
        let number = |&slot: &u32| {
            let set = &self.sets[slot as usize];
            (set.len() - usize::from(set.contains(&null))) as i64
        };
        Ok(Arc::new(Int64Array::from_iter_values(slots.iter().map(number))))
    }

    fn ends(&self, slots: &[u32]) -> Result<ArrayRef> {
        let null = self.null()?;
        let end = |slot: u32| {
            let mut values = self.sets[slot as usize].iter().map(|(value, _)| value).filter(|v| **v != *null);
            if self.reading == ValueReading::Least { values.next() } else { values.next_back() }
        };
        let rows = slots.iter().map(|&slot| end(slot).unwrap_or(&null));
        self.columns(rows)?.into_iter().next().ok_or_else(mismatch)
    }

    /// The aggregate over all values of the groups.
    fn computed(&self, slots: &[u32]) -> Result<ArrayRef> {
        let (mut rows, mut groups) = (Vec::new(), Vec::new());
        for (group, &slot) in slots.iter().enumerate() {
            for (value, count) in self.sets[slot as usize].iter() {
                let times = if self.expr.is_distinct() { 1 } else { count.max(0) as usize };
                rows.extend(std::iter::repeat_n(value, times));
                groups.resize(rows.len(), group as u32);
            }
        }
        let mut generic = Generic::new(Arc::clone(&self.expr), self.inputs.clone())?;
        generic.resize(slots.len());
        let args = self.columns(rows.into_iter())?;
        generic.update(&AggregateInput { args: &args, groups: &groups, filter: None, weights: None })?;
        generic.evaluate(&sequence(slots.len()))
    }

    fn same<'a>(&self, other: &'a dyn Kernel) -> Result<&'a KeptValues> {
        other.as_any().downcast_ref::<KeptValues>().ok_or_else(mismatch)
    }
}

/// Whether the order of a type's row bytes is its order in SQL.
fn has_row_order(data_type: &DataType) -> bool {
    !data_type.is_nested() && !matches!(data_type, DataType::Interval(_))
}

/// Values of groups as columns of a state: for each group a list of values, and of how often each is there.
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
    }

    fn update(&mut self, input: &AggregateInput<'_>) -> Result<()> {
        if input.groups.is_empty() {
            return Ok(());
        }
        let args: Vec<ArrayRef> = input.args.iter().map(with_equal_floats).collect();
        let rows = self.converter.convert_columns(&args)?;
        let passing = AggregateInput { args: &[], ..*input }.mask();
        for (at, (row, &slot)) in rows.iter().zip(input.groups).enumerate() {
            if passing.as_ref().is_none_or(|passing| passing.is_valid(at)) {
                let times = input.weights.map_or(1, |weights| weights[at]);
                self.change(slot, |set| set.add(row.data(), times));
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32], _: Place) -> Result<()> {
        let other = self.same(other)?;
        for (&from, &to) in from.iter().zip(to) {
            let more = &other.sets[from as usize];
            self.change(to, |set| more.iter().for_each(|(value, count)| set.add(value, count)));
        }
        Ok(())
    }

    fn subtract(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32]) -> Result<()> {
        let other = self.same(other)?;
        for (&from, &to) in from.iter().zip(to) {
            let less = &other.sets[from as usize];
            self.change(to, |set| less.iter().for_each(|(value, count)| set.add(value, -count)));
        }
        Ok(())
    }

    fn states(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let all = |&slot: &u32| -> Vec<(Box<[u8]>, i64)> {
            self.sets[slot as usize].iter().map(|(value, count)| (value.into(), count)).collect()
        };
        Ok(written(slots.iter().map(all)))
    }

    fn track(&mut self) {
        self.sets.iter_mut().chain([&mut self.fresh]).for_each(Multiset::track);
    }

    fn take_changed(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(written(slots.iter().map(|&slot| self.sets[slot as usize].take_changed())))
    }

    fn merge_states(&mut self, columns: &[ArrayRef], to: &[u32]) -> Result<()> {
        read(columns, |row, value, count| self.change(to[row], |set| set.add(value, count)))
    }

    fn restore(&mut self, columns: &[ArrayRef], to: &[u32]) -> Result<()> {
        read(columns, |row, value, count| self.change(to[row], |set| set.set(value, count)))
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        if slots.is_empty() {
            return Ok(new_empty_array(self.expr.field().data_type()));
        }
        match self.reading {
            ValueReading::Least | ValueReading::Greatest => self.ends(slots),
            ValueReading::Count => self.numbers(slots),
            // One group at a time may be all that memory holds, and is as fast where groups are large.
            ValueReading::Computed => {
                let parts = slots.chunks(GROUPS_AT_ONCE).map(|slots| self.computed(slots));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
            }
        }
    }

    fn copy(&self, slots: &[u32]) -> Result<Box<dyn Kernel>> {
        let mut copy = self.bare();
        copy.sets = slots.iter().map(|&slot| self.sets[slot as usize].clone()).collect();
        copy.bytes = copy.sets.iter().map(Multiset::size).sum();
        Ok(Box::new(copy))
    }

    fn assign(&mut self, other: &dyn Kernel, to: &[u32]) -> Result<()> {
        let other = self.same(other)?;
        for (from, &to) in other.sets.iter().zip(to) {
            self.change(to, |set| {
                set.clear();
                from.iter().for_each(|(value, count)| set.add(value, count));
            });
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        slots.iter().for_each(|&slot| self.change(slot, Multiset::clear));
    }

    fn clear_all(&mut self) {
        self.clear(&sequence(self.sets.len()));
    }

    fn empty(&self) -> Box<dyn Kernel> {
        Box::new(self.bare())
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
        self.bytes + self.sets.capacity() * size_of::<Multiset>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Groups whose values are computed together.
const GROUPS_AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::aggregates::{AggregateCall, kernel};
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
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
        let input = AggregateInput { args: &args, groups: &groups, filter: None, weights: Some(&weights) };
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
            let mut dice = 12_345_u64;
            for step in 0..200 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let roll = (dice >> 33) as usize;
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
                assert_eq!(shown(kernel.as_ref()), shown(expect.as_ref()), "{} {step}", udaf.name());
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
}
