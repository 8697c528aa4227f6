//! `string_agg` with a bound.
//!
//! A text grows by doubling, and its memory is asked for only when it has grown; to be given out it
//! is copied three times more. Under `--memory-limit 1GiB` one of 900 MB would take 2.7 GB. So none
//! is longer than [`limits::CALL_BYTES`] (Postgres ends at 1 GB, with the same SQLSTATE).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::string_agg::string_agg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

use crate::error::{Error, SqlState};
use crate::limits;

/// The aggregate.
pub(super) fn string_agg() -> AggregateUDF {
    AggregateUDF::new_from_impl(StringAgg { inner: string_agg_udaf().as_ref().clone() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct StringAgg {
    inner: AggregateUDF,
}

impl AggregateUDFImpl for StringAgg {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Reversed(Arc::new(string_agg()))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(WithLengths { inner: self.inner.accumulator(args)?, lengths: vec![0] }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let inner = self.inner.create_groups_accumulator(args)?;
        Ok(Box::new(WithLengths { inner, lengths: Vec::new() }))
    }
}

/// What collects texts, and how long each of them is by now, bytes; separators do not count.
#[derive(Debug)]
struct WithLengths<A> {
    inner: A,
    lengths: Vec<usize>,
}

impl<A> WithLengths<A> {
    /// Before values are taken: those that stand in `rows` of a group each.
    fn count(&mut self, values: &ArrayRef, group_of: impl Fn(usize) -> usize) -> Result<()> {
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let length = &mut self.lengths[group_of(row)];
            *length += bytes_of(values, row);
            if *length > limits::CALL_BYTES {
                let most = limits::CALL_BYTES >> 20;
                return Err(Error::new(SqlState::ProgramLimit, "requested length too large")
                    .hint(format!("string_agg makes texts of {most} MiB at the most."))
                    .into());
            }
        }
        Ok(())
    }
}

/// How long a text is. The state of `string_agg(DISTINCT …)` is a list, which counts by its parts.
fn bytes_of(values: &ArrayRef, row: usize) -> usize {
    match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().value_length(row) as usize,
        DataType::LargeUtf8 => values.as_string::<i64>().value_length(row) as usize,
        DataType::Utf8View => values.as_string_view().value(row).len(),
        DataType::List(_) => {
            let parts = values.as_list::<i32>().value(row);
            (0..parts.len()).filter(|at| parts.is_valid(*at)).map(|at| bytes_of(&parts, at)).sum()
        }
        _ => 0,
    }
}

impl Accumulator for WithLengths<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count(&values[0], |_| 0)?;
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.count(&states[0], |_| 0)?;
        self.inner.merge_batch(states)
    }
}

impl GroupsAccumulator for WithLengths<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.lengths.resize(total, 0);
        self.count(&values[0], |row| groups[row])?;
        self.inner.update_batch(values, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        emit_to.take_needed(&mut self.lengths);
        self.inner.evaluate(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        emit_to.take_needed(&mut self.lengths);
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.lengths.resize(total, 0);
        self.count(&states[0], |row| groups[row])?;
        self.inner.merge_batch(states, groups, total)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.inner.size() + self.lengths.capacity() * size_of::<usize>()
    }
}
