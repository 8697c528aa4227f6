//! A [`Kernel`] as DataFusion's accumulators: so snapshots and live queries compute with the same
//! code.

use std::fmt;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::{AggregateInput, Kernel, sequence};

/// The state columns of a kernel as fields of an aggregate of this name.
pub fn state_fields(kernel: &dyn Kernel, name: &str) -> Result<Vec<FieldRef>> {
    let columns = kernel.states(&[])?.into_iter().enumerate();
    Ok(columns
        .map(|(i, column)| {
            Field::new(
                format_state_name(name, &format!("state{i}")),
                column.data_type().clone(),
                true,
            )
            .into()
        })
        .collect())
}

/// Many groups at once: slot `i` is group `i`.
pub struct GroupsOfKernel {
    kernel: Box<dyn Kernel>,
    slots: usize,
    groups: Vec<u32>,
}

impl GroupsOfKernel {
    /// Over a kernel without slots.
    pub fn new(kernel: Box<dyn Kernel>) -> Self {
        GroupsOfKernel { kernel, slots: 0, groups: Vec::new() }
    }

    fn renew(&mut self, groups: &[usize], slots: usize) {
        self.groups.clear();
        self.groups.extend(groups.iter().map(|&group| group as u32));
        self.resize(slots);
    }

    fn resize(&mut self, slots: usize) {
        self.slots = self.slots.max(slots);
        self.kernel.resize(self.slots);
    }

    /// What is asked for of the groups that go, which are the first ones.
    fn emit<T>(
        &mut self,
        to: EmitTo,
        get: impl FnOnce(&dyn Kernel, &[u32]) -> Result<T>,
    ) -> Result<T> {
        let slots = sequence(self.slots);
        let (gone, rest) = match to {
            EmitTo::All => (slots.as_slice(), &[][..]),
            EmitTo::First(n) => slots.split_at(n),
        };
        let result = get(self.kernel.as_ref(), gone)?;
        self.kernel = if rest.is_empty() { self.kernel.empty() } else { self.kernel.copy(rest)? };
        self.slots = rest.len();
        Ok(result)
    }
}

impl GroupsAccumulator for GroupsOfKernel {
    fn update_batch(
        &mut self,
        args: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        slots: usize,
    ) -> Result<()> {
        self.renew(groups, slots);
        let input = AggregateInput { args, groups: &self.groups, filter, weights: None };
        Ok(self.kernel.update(&input)?)
    }

    fn evaluate(&mut self, to: EmitTo) -> Result<ArrayRef> {
        self.emit(to, |kernel, slots| Ok(kernel.evaluate(slots)?))
    }

    fn state(&mut self, to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.emit(to, |kernel, slots| Ok(kernel.states(slots)?))
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], slots: usize) -> Result<()> {
        self.renew(groups, slots);
        Ok(self.kernel.merge_states(states, &self.groups)?)
    }

    fn convert_to_state(
        &self,
        args: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let groups = sequence(args.first().map_or(0, |column| column.len()));
        let mut kernel = self.kernel.empty();
        kernel.resize(groups.len());
        kernel.update(&AggregateInput { args, groups: &groups, filter, weights: None })?;
        Ok(kernel.states(&groups)?)
    }

    fn size(&self) -> usize {
        self.kernel.size() + self.groups.capacity() * size_of::<u32>()
    }
}

/// One group, out of which values can also be taken again if the kernel can.
pub struct OneOfKernel {
    kernel: Box<dyn Kernel>,
    /// As many as the largest batch had rows.
    groups: Vec<u32>,
    weights: Vec<i64>,
}

impl OneOfKernel {
    /// Over a kernel without slots.
    pub fn new(mut kernel: Box<dyn Kernel>) -> Self {
        kernel.resize(1);
        OneOfKernel { kernel, groups: Vec::new(), weights: Vec::new() }
    }
}

impl fmt::Debug for OneOfKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneOfKernel").finish_non_exhaustive()
    }
}

impl Accumulator for OneOfKernel {
    fn update_batch(&mut self, args: &[ArrayRef]) -> Result<()> {
        let rows = args.first().map_or(0, |column| column.len());
        self.groups.resize(rows, 0);
        let input = AggregateInput { args, groups: &self.groups, filter: None, weights: None };
        Ok(self.kernel.update(&input)?)
    }

    fn retract_batch(&mut self, args: &[ArrayRef]) -> Result<()> {
        let rows = args.first().map_or(0, |column| column.len());
        self.groups.resize(rows, 0);
        self.weights.resize(rows, -1);
        let weights = Some(self.weights.as_slice());
        let input = AggregateInput { args, groups: &self.groups, filter: None, weights };
        Ok(self.kernel.update(&input)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.kernel.invertible()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.kernel.evaluate(&[0])?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = self.kernel.states(&[0])?;
        columns.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |column| column.len());
        self.groups.resize(rows, 0);
        Ok(self.kernel.merge_states(states, &self.groups)?)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
            + self.kernel.size()
            + (self.groups.capacity() + 2 * self.weights.capacity()) * 4
    }
}
