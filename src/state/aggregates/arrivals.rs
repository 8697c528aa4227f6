//! Aggregates that keep the rows of every group in the order in which they came: array_agg and
//! string_agg.
//!
//! A group is a list of rows of arguments that only grows, so a row's key is its place in the list,
//! and what stands at a place never changes. A checkpoint writes what has come since the last one,
//! with the place of its first row. The answer is computed from all rows when it is asked for, as
//! if they had come in one batch; it is as long as they are.
//!
//! What is stored of a group may come back in any order: a sweep (`exec::folding`) leaves out what
//! an older one has written, so rows may come before those of lower places. They wait for these.
//! What is there already is the same.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int64Array, ListArray, ListBuilder,
};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::function::ValueFunction;
use super::{AggregateInput, Kernel, Place, mismatch, no_inverse, sequence};
use crate::error::{Error, Result, SqlState};
use crate::state::state_table::Portion;

/// Rows in order of arrival.
#[derive(Clone, Default)]
struct RowList {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
    /// So many of them have been written.
    written: usize,
}

impl RowList {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
    }

    fn append(&mut self, other: &RowList) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| base + end));
    }

    /// The rows from a place on.
    fn from(&self, place: usize) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).skip(place).map(|(start, &end)| &self.bytes[start..end])
    }

    fn size(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

/// The rows of all groups of one aggregate.
pub struct Arrivals {
    function: Arc<ValueFunction>,
    lists: Vec<RowList>,
    /// Rows that have been read before those that stand before them, by slot and place.
    waiting: BTreeMap<(u32, usize), Vec<Box<[u8]>>>,
    bytes: usize,
}

impl Arrivals {
    /// A kernel without slots for this function over arguments of these types.
    pub fn new(expr: Arc<AggregateFunctionExpr>, inputs: Vec<DataType>) -> Result<Self> {
        let function = ValueFunction::new(expr, inputs)?;
        Ok(Arrivals { function, lists: Vec::new(), waiting: BTreeMap::new(), bytes: 0 })
    }

    fn with(&self, lists: Vec<RowList>) -> Arrivals {
        let bytes = lists.iter().map(RowList::size).sum();
        Arrivals { function: Arc::clone(&self.function), lists, waiting: BTreeMap::new(), bytes }
    }

    fn change(&mut self, slot: u32, how: impl FnOnce(&mut RowList)) {
        let list = &mut self.lists[slot as usize];
        let before = list.size();
        how(list);
        self.bytes = self.bytes + list.size() - before;
    }

    /// Puts rows in their place, and then those that have waited for them.
    fn put(&mut self, slot: u32, place: usize, rows: Vec<Box<[u8]>>) {
        self.waiting.insert((slot, place), rows);
        while let Some(entry) = self.waiting.range((slot, 0)..).next().map(|(key, _)| *key)
            && entry.0 == slot
            && entry.1 <= self.lists[slot as usize].len()
        {
            let Some(rows) = self.waiting.remove(&entry) else { return };
            self.change(slot, |list| {
                let known = list.len() - entry.1;
                rows.iter().skip(known).for_each(|row| list.push(row));
            });
        }
    }

    /// The aggregate over the rows of some groups.
    fn computed(&self, slots: &[u32]) -> Result<ArrayRef> {
        let mut groups = Vec::new();
        for (group, &slot) in slots.iter().enumerate() {
            groups.resize(groups.len() + self.lists[slot as usize].len(), group as u32);
        }
        let rows = slots.iter().flat_map(|&slot| self.lists[slot as usize].from(0));
        self.function.over(rows, &groups, slots.len())
    }

    fn same<'a>(&self, other: &'a dyn Kernel) -> Result<&'a Arrivals> {
        other.as_any().downcast_ref::<Arrivals>().ok_or_else(mismatch)
    }
}

/// Rows of groups as columns of a state: for each group the place of the first one, and a list of
/// them.
fn written<'a, R: Iterator<Item = &'a [u8]>>(
    groups: impl Iterator<Item = (usize, R)>,
) -> Vec<ArrayRef> {
    let (mut places, mut rows) = (Vec::new(), ListBuilder::new(BinaryBuilder::new()));
    for (place, group) in groups {
        places.push(place as i64);
        group.for_each(|row| rows.values().append_value(row));
        rows.append(true);
    }
    vec![Arc::new(Int64Array::from(places)), Arc::new(rows.finish())]
}

/// Calls `each` with the rows of state columns: (row of the columns, place of the first, the rows).
fn read(columns: &[ArrayRef], mut each: impl FnMut(usize, usize, &BinaryArray)) -> Result<()> {
    let [places, lists] = columns else { return Err(mismatch()) };
    let places = places.as_primitive_opt::<Int64Type>().ok_or_else(mismatch)?;
    let lists: &ListArray = lists.as_list_opt::<i32>().ok_or_else(mismatch)?;
    for row in 0..lists.len() {
        let place = usize::try_from(places.value(row)).map_err(|_| mismatch())?;
        let list = lists.value(row);
        each(row, place, list.as_binary_opt::<i32>().ok_or_else(mismatch)?);
    }
    Ok(())
}

impl Kernel for Arrivals {
    fn resize(&mut self, slots: usize) {
        if self.lists.len() < slots {
            self.lists.resize(slots, RowList::default());
        }
    }

    fn update(&mut self, input: &AggregateInput<'_>) -> Result<()> {
        if input.has_deletions() {
            return Err(no_inverse(self.function.expr.fun().name()));
        }
        if input.groups.is_empty() {
            return Ok(());
        }
        let rows = self.function.rows(input.args)?;
        let passing = AggregateInput { args: &[], ..*input }.mask();
        for (at, (row, &slot)) in rows.iter().zip(input.groups).enumerate() {
            if passing.as_ref().is_none_or(|passing| passing.is_valid(at)) {
                let times = input.weights.map_or(1, |weights| weights[at]);
                self.change(slot, |list| (0..times).for_each(|_| list.push(row.data())));
            }
        }
        Ok(())
    }

    /// Before the present rows are put only those of totals, which are not stored: places would
    /// change.
    fn merge(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32], place: Place) -> Result<()> {
        let other = self.same(other)?;
        for (&from, &to) in from.iter().zip(to) {
            let more = &other.lists[from as usize];
            self.change(to, |list| match place {
                Place::After => list.append(more),
                Place::Before => {
                    let mut first = more.clone();
                    first.append(list);
                    *list = first;
                }
            });
        }
        Ok(())
    }

    fn subtract(&mut self, _: &dyn Kernel, _: &[u32], _: &[u32]) -> Result<()> {
        Err(no_inverse(self.function.expr.fun().name()))
    }

    fn states(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(written(slots.iter().map(|&slot| (0, self.lists[slot as usize].from(0)))))
    }

    fn portion(&self, slot: u32, portion: &mut Portion, bytes: usize) -> Result<Vec<ArrayRef>> {
        let list = &self.lists[slot as usize];
        let from = match portion {
            Portion::Beginning => 0,
            Portion::From(place) => {
                let place = place.as_slice().try_into().map_err(|_| mismatch())?;
                usize::from_le_bytes(place)
            }
            Portion::End => list.len(),
        };
        let start = if from == 0 { 0 } else { list.ends[from - 1] };
        // At least one row, so that the walk comes to an end.
        let count = 1 + list.ends[from..].partition_point(|end| end - start < bytes);
        let to = (from + count).min(list.len());
        *portion =
            if to == list.len() { Portion::End } else { Portion::From(to.to_le_bytes().to_vec()) };
        Ok(written(std::iter::once((from, list.from(from).take(to - from)))))
    }

    fn slot_bytes(&self, slot: u32) -> usize {
        self.lists[slot as usize].bytes.len()
    }

    fn track(&mut self) {
        self.lists.iter_mut().for_each(|list| list.written = list.len());
    }

    fn take_changed(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let list = |slot: u32| &self.lists[slot as usize];
        let columns = written(slots.iter().map(|&slot| {
            let list = list(slot);
            (list.written, list.from(list.written))
        }));
        for &slot in slots {
            let list = &mut self.lists[slot as usize];
            list.written = list.len();
        }
        Ok(columns)
    }

    fn merge_states(&mut self, columns: &[ArrayRef], to: &[u32]) -> Result<()> {
        read(columns, |row, _, rows| {
            self.change(to[row], |list| rows.iter().flatten().for_each(|row| list.push(row)))
        })
    }

    fn restore(&mut self, columns: &[ArrayRef], to: &[u32]) -> Result<()> {
        read(columns, |row, place, rows| {
            self.put(to[row], place, rows.iter().flatten().map(Into::into).collect());
        })
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        if !self.waiting.is_empty() {
            return Err(Error::new(
                SqlState::Corrupted,
                "rows of a group are missing in its stored state",
            ));
        }
        let rows = |slot: u32| self.lists[slot as usize].len();
        self.function.in_portions(slots, rows, |slots| self.computed(slots))
    }

    fn copy(&self, slots: &[u32]) -> Result<Box<dyn Kernel>> {
        Ok(Box::new(
            self.with(slots.iter().map(|&slot| self.lists[slot as usize].clone()).collect()),
        ))
    }

    fn assign(&mut self, other: &dyn Kernel, to: &[u32]) -> Result<()> {
        let other = self.same(other)?;
        for (from, &to) in other.lists.iter().zip(to) {
            self.change(to, |list| *list = from.clone());
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        slots.iter().for_each(|&slot| self.change(slot, |list| *list = RowList::default()));
    }

    fn clear_all(&mut self) {
        self.clear(&sequence(self.lists.len()));
    }

    fn empty(&self) -> Box<dyn Kernel> {
        Box::new(self.with(Vec::new()))
    }

    fn state_columns(&self) -> usize {
        2
    }

    fn invertible(&self) -> bool {
        false
    }

    fn exact(&self) -> bool {
        false
    }

    fn size(&self) -> usize {
        self.bytes + self.lists.capacity() * size_of::<RowList>()
    }

    #[cfg(test)]
    fn walked(&self) -> usize {
        self.lists.iter().map(RowList::size).sum::<usize>() + self.size() - self.bytes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::aggregates::{AggregateCall, kernel};
    use arrow::array::StringArray;
    use arrow::datatypes::{Field, Schema};
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    use datafusion::functions_aggregate as f;
    use datafusion::physical_expr::aggregate::AggregateExprBuilder;
    use datafusion::physical_expr::expressions::Column;

    fn made() -> Box<dyn Kernel> {
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Utf8, true)]));
        let builder = AggregateExprBuilder::new(
            f::array_agg::array_agg_udaf(),
            vec![Arc::new(Column::new("v", 0))],
        );
        let expr = Arc::new(builder.schema(Arc::clone(&schema)).alias("a").build().unwrap());
        let call =
            AggregateCall { expr, args: vec![0], filter: None, distinct: false, retracts: false };
        let mut kernel = kernel(&call, &schema).unwrap();
        kernel.resize(2);
        kernel
    }

    fn take_in(kernel: &mut dyn Kernel, values: &[&str]) {
        let args: [ArrayRef; 1] = [Arc::new(StringArray::from_iter_values(values))];
        let groups = vec![1; values.len()];
        kernel
            .update(&AggregateInput { args: &args, groups: &groups, filter: None, weights: None })
            .unwrap();
    }

    fn shown(kernel: &dyn Kernel) -> String {
        let result = kernel.evaluate(&[1]).unwrap();
        ArrayFormatter::try_new(&result, &FormatOptions::new()).unwrap().value(0).to_string()
    }

    #[test]
    fn rows_that_are_read_before_those_before_them_wait() {
        let mut kernel = made();
        kernel.track();
        take_in(kernel.as_mut(), &["a", "b"]);
        // An old change, which a sweep that has begun after it makes superfluous.
        kernel.take_changed(&[1]).unwrap();
        take_in(kernel.as_mut(), &["a", "c"]);
        let change = kernel.take_changed(&[1]).unwrap();
        let (mut pieces, mut portion) = (Vec::new(), Portion::Beginning);
        while portion != Portion::End {
            pieces.push(kernel.portion(1, &mut portion, 1).unwrap());
            if pieces.len() == 2 {
                take_in(kernel.as_mut(), &["d"]);
            }
        }
        assert_eq!(pieces.len(), 5, "a row each");
        let last = kernel.take_changed(&[1]).unwrap();
        let mut restored = made();
        restored.restore(&change, &[1]).unwrap();
        let error = restored.evaluate(&[1]).unwrap_err();
        assert_eq!(error.state(), SqlState::Corrupted, "the first rows are not there");
        pieces.iter().chain([&last]).for_each(|columns| restored.restore(columns, &[1]).unwrap());
        assert_eq!(shown(restored.as_ref()), "[a, b, a, c, d]");
        assert_eq!(shown(kernel.as_ref()), "[a, b, a, c, d]");
        restored.track();
        take_in(restored.as_mut(), &["e"]);
        let written = restored.take_changed(&[1]).unwrap();
        assert_eq!(written[0].as_primitive::<Int64Type>().value(0), 5);
        assert_eq!(written[1].as_list::<i32>().value(0).len(), 1);
        for kernel in [&kernel, &restored] {
            assert_eq!(kernel.size(), kernel.walked());
        }
    }
}
