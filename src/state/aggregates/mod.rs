//! Grouped aggregate states that can be looked at without being used up.
//!
//! A [`Kernel`] holds the state of one aggregate for many groups, one *slot* a group. Unlike
//! DataFusion's accumulators its states can be evaluated, copied and written out any number of
//! times while it goes on; that is what windows that overlap, changes after every epoch, and
//! checkpoints need.
//!
//! There are two families. [`mod@dense`] holds a cell per slot in one vector, without a call or an
//! allocation per row:
//!
//! | file | functions |
//! |---|---|
//! | [`count`] | count |
//! | [`total`], `number` | sum and avg |
//! | [`moments`] | variance, stddev, covar, corr, regr |
//! | [`spread`] | variance and stddev of integers and numerics |
//! | [`extreme`] | min and max of primitive columns |
//!
//! These are also what snapshots compute with ([`accumulator`] makes DataFusion's accumulators of
//! them), so that a view and a snapshot agree to the last bit. [`generic`] wraps every other
//! DataFusion aggregate and keeps its states as rows of Arrow columns.
//!
//! Such a row is written whole whenever the group changes. Where it would grow with the group, the
//! group's values are kept instead, and a checkpoint writes those that have changed; [`function`]
//! makes them bytes:
//!
//! | file | functions |
//! |---|---|
//! | [`kept`], [`reading`] | DISTINCT, medians, and anything over rows that may be taken back |
//! | [`arrivals`] | array_agg and string_agg, in order of arrival |
//!
//! An aggregate that the user has made is [`user`]; its states are in [`fold`].

pub mod accumulator;
pub mod arrivals;
pub mod count;
pub mod dense;
pub mod extreme;
pub mod fold;
pub mod function;
pub mod generic;
pub mod kept;
pub mod moments;
mod number;
pub mod reading;
pub mod spread;
pub mod total;
pub mod user;

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};

use super::state_table::Portion;
use crate::error::{Error, Result};

/// One aggregate of a query: what to compute over which columns of the operator's input.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// The DataFusion function with its result field.
    pub expr: Arc<AggregateFunctionExpr>,
    /// The argument columns; for ordered aggregates the ORDER BY columns after them. Empty for
    /// `count(*)`.
    pub args: Vec<usize>,
    /// The boolean column of `FILTER (WHERE …)`.
    pub filter: Option<usize>,
    /// Whether `DISTINCT` was written.
    pub distinct: bool,
    /// Whether rows may be taken back.
    pub retracts: bool,
}

/// On which side of the present state another one is merged: only aggregates that depend on order
/// care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The other state comes from rows before the present ones.
    Before,
    /// The other state comes from rows after the present ones.
    After,
}

/// A batch of rows as one aggregate sees it.
#[derive(Clone, Copy)]
pub struct AggregateInput<'a> {
    /// The argument columns.
    pub args: &'a [ArrayRef],
    /// Row `i` belongs to slot `groups[i]`.
    pub groups: &'a [u32],
    /// Rows that count.
    pub filter: Option<&'a BooleanArray>,
    /// How often each row counts, negative if it is taken back; `None`: once.
    pub weights: Option<&'a [i64]>,
}

impl<'a> AggregateInput<'a> {
    /// The columns of a call in a batch of an operator's input.
    fn of(
        call: &AggregateCall,
        columns: &'a [ArrayRef],
        args: &'a [ArrayRef],
        groups: &'a [u32],
        weights: Option<&'a [i64]>,
    ) -> Self {
        let filter = call.filter.and_then(|c| columns[c].as_boolean_opt());
        AggregateInput { args, groups, filter, weights }
    }

    /// The values of an argument.
    pub(crate) fn values<T: ArrowPrimitiveType>(&self, at: usize) -> Result<&'a PrimitiveArray<T>> {
        self.args.get(at).and_then(|c| c.as_primitive_opt::<T>()).ok_or_else(mismatch)
    }

    /// Rows that count: valid in all arguments and true in the filter. `None` means all.
    pub(crate) fn mask(&self) -> Option<NullBuffer> {
        let passing = self.filter.map(|f| match f.nulls() {
            Some(nulls) => NullBuffer::new(f.values() & nulls.inner()),
            None => NullBuffer::new(f.values().clone()),
        });
        self.args.iter().fold(passing, |mask, column| {
            let valid = column.logical_nulls().filter(|n| n.null_count() > 0);
            NullBuffer::union(mask.as_ref(), valid.as_ref())
        })
    }

    /// Whether a row is taken back.
    pub(crate) fn has_deletions(&self) -> bool {
        self.weights.is_some_and(|weights| weights.iter().any(|&w| w < 0))
    }
}

/// The grouped state of one aggregate. Slots that were never touched hold the state of "no rows".
///
/// Slots named in one call of `merge`, `subtract`, `assign` or `merge_states` are all different.
pub trait Kernel: Send + Sync + Any {
    /// Makes room for slots `0..slots`.
    fn resize(&mut self, slots: usize);

    /// Takes in a batch. Rows of negative weight are refused by aggregates without an inverse.
    fn update(&mut self, input: &AggregateInput<'_>) -> Result<()>;

    /// Merges slot `from[i]` of a kernel of the same aggregate into slot `to[i]`.
    fn merge(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32], place: Place) -> Result<()>;

    /// Takes slot `from[i]` of the other kernel out of slot `to[i]`; only if
    /// [`invertible`](Self::invertible).
    fn subtract(&mut self, other: &dyn Kernel, from: &[u32], to: &[u32]) -> Result<()>;

    /// The states of these slots as columns, for checkpoints and other workers.
    fn states(&self, slots: &[u32]) -> Result<Vec<ArrayRef>>;

    /// Merges rows of state columns, row `i` into slot `to[i]`, after the present state.
    fn merge_states(&mut self, columns: &[ArrayRef], to: &[u32]) -> Result<()>;

    /// Begins to remember what changes, for [`take_changed`](Self::take_changed).
    fn track(&mut self) {}

    /// What has changed of the states of these slots since the last call, or all of them.
    fn take_changed(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.states(slots)
    }

    /// Takes in what [`take_changed`](Self::take_changed) or [`states`](Self::states) returned
    /// later than what is there.
    fn restore(&mut self, columns: &[ArrayRef], to: &[u32]) -> Result<()> {
        self.clear(to);
        self.merge_states(columns, to)
    }

    /// Some of the state of a slot that is too large to be written at once, about so many bytes of
    /// it, from where `portion` says; that moves behind it. States that do not grow with their
    /// groups are written as they are.
    fn portion(&self, slot: u32, portion: &mut Portion, _bytes: usize) -> Result<Vec<ArrayRef>> {
        *portion = Portion::End;
        self.states(&[slot])
    }

    /// About how many bytes of the state of a slot are values of its group.
    fn slot_bytes(&self, _slot: u32) -> usize {
        0
    }

    /// The results of these slots.
    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef>;

    /// A new kernel whose slot `i` is slot `slots[i]` of this one.
    fn copy(&self, slots: &[u32]) -> Result<Box<dyn Kernel>>;

    /// Overwrites slot `to[i]` with slot `i` of the other kernel.
    fn assign(&mut self, other: &dyn Kernel, to: &[u32]) -> Result<()>;

    /// Puts these slots back to "no rows".
    fn clear(&mut self, slots: &[u32]);

    /// Puts all slots back to "no rows".
    fn clear_all(&mut self);

    /// A kernel of the same aggregate without slots.
    fn empty(&self) -> Box<dyn Kernel>;

    /// How many columns [`states`](Self::states) returns.
    fn state_columns(&self) -> usize;

    /// Whether there is an exact inverse, so that a part can be subtracted from a total.
    fn invertible(&self) -> bool;

    /// Whether merging gives the same result in any order and grouping of the rows.
    fn exact(&self) -> bool;

    /// Bytes of memory held; counted, not walked.
    fn size(&self) -> usize;

    /// What [`size`](Self::size) should be, of a kernel that counts it as it changes.
    #[cfg(test)]
    fn walked(&self) -> usize {
        self.size()
    }

    /// For the downcast in `merge`.
    fn as_any(&self) -> &dyn Any;
}

/// The call with an order where its result would otherwise be in the order of a hash table, which
/// differs from one evaluation to the next: a row could then not be taken back. DISTINCT without
/// ORDER BY is sorted, as in Postgres.
pub fn determinate(call: &AggregateCall, input: &SchemaRef) -> Result<AggregateCall> {
    let distinct = call.distinct || call.expr.is_distinct();
    let lists = is_list(call.expr.fun().name());
    let (true, true, true, Some(&value)) =
        (distinct, lists, call.expr.order_bys().is_empty(), call.args.first())
    else {
        return Ok(call.clone());
    };
    let args = call.expr.expressions();
    let order = PhysicalSortExpr::new(Arc::clone(&args[0]), SortOptions::new(false, false));
    let expr = AggregateExprBuilder::new(Arc::new(call.expr.fun().clone()), args)
        .schema(Arc::clone(input))
        .alias(call.expr.name())
        .order_by(vec![order])
        .with_distinct(true)
        .build()?;
    let args = call.args.iter().copied().chain([value]).collect();
    Ok(AggregateCall { expr: Arc::new(expr), args, ..call.clone() })
}

/// A fresh kernel for one aggregate over the columns of `input`.
pub fn kernel(call: &AggregateCall, input: &Schema) -> Result<Box<dyn Kernel>> {
    let mut types = Vec::with_capacity(call.args.len());
    for &column in &call.args {
        match input.fields().get(column) {
            Some(field) => types.push(field.data_type().clone()),
            None => {
                return Err(Error::internal(format!(
                    "aggregate over column {column} that is not there"
                )));
            }
        }
    }
    if let Some(filter) = call.filter {
        match input.fields().get(filter).map(|f| f.data_type()) {
            Some(DataType::Boolean) => {}
            _ => return Err(Error::internal("the filter of an aggregate is not a boolean column")),
        }
    }
    if let Some(aggregate) = user::UserAggregate::of(&call.expr) {
        return aggregate.kernel(call.retracts);
    }
    let distinct = call.distinct || call.expr.is_distinct();
    let (name, result) = (call.expr.fun().name(), call.expr.field());
    let is_ordered = !call.expr.order_bys().is_empty();
    let dense = if is_ordered { None } else { dense(name, &types, result.data_type(), distinct) };
    let expr = Arc::clone(&call.expr);
    match dense {
        Some(kernel) if kernel.invertible() || !call.retracts => Ok(kernel),
        _ if call.retracts => Ok(Box::new(kept::KeptValues::new(expr, types)?)),
        _ if !function::ValueFunction::keeps(&types) => {
            Ok(Box::new(generic::Generic::new(expr, types)?))
        }
        _ if grows_with_values(name, distinct) => Ok(Box::new(kept::KeptValues::new(expr, types)?)),
        _ if is_list(name) => Ok(Box::new(arrivals::Arrivals::new(expr, types)?)),
        _ => Ok(Box::new(generic::Generic::new(expr, types)?)),
    }
}

/// Whether the state of a function has a part for every (different) value, in no order of their
/// arrival.
fn grows_with_values(name: &str, distinct: bool) -> bool {
    match name {
        "median" | "percentile_cont" => true,
        // DISTINCT makes no difference to these, or their state is one value.
        "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or" => false,
        "first_value" | "last_value" | "nth_value" | "any_value" => false,
        name if name.starts_with("approx_") => false,
        _ => distinct,
    }
}

/// Whether a function gives all values of a group, in the order in which they came or are to be
/// put.
fn is_list(name: &str) -> bool {
    matches!(name, "array_agg" | "string_agg")
}

/// The kernel over cells of a function with arguments and a result of these types, if there is one.
pub fn dense(
    name: &str,
    arguments: &[DataType],
    result: &DataType,
    distinct: bool,
) -> Option<Box<dyn Kernel>> {
    match (name.to_ascii_lowercase().as_str(), arguments) {
        ("min", [input]) if input == result => extreme::min(input),
        ("max", [input]) if input == result => extreme::max(input),
        (_, _) if distinct => None,
        ("count", [] | [_]) if *result == DataType::Int64 => Some(count::count()),
        ("sum", [input]) => total::sum(input, result),
        ("avg", [input]) => total::avg(input, result),
        (name, [input]) if input.is_decimal() || input.is_integer() => {
            spread::of(name, input, result)
        }
        (name, inputs) => moments::of(name, inputs, result),
    }
}

/// A kernel takes in a batch of the operator's input.
pub fn update_one(
    kernel: &mut dyn Kernel,
    call: &AggregateCall,
    columns: &[ArrayRef],
    groups: &[u32],
    weights: Option<&[i64]>,
) -> Result<()> {
    let args: Vec<ArrayRef> = call.args.iter().map(|&c| Arc::clone(&columns[c])).collect();
    kernel.update(&AggregateInput::of(call, columns, &args, groups, weights))
}

/// All kernels of a query take in one batch.
pub fn update_all(
    kernels: &mut [Box<dyn Kernel>],
    calls: &[AggregateCall],
    columns: &[ArrayRef],
    groups: &[u32],
    weights: Option<&[i64]>,
) -> Result<()> {
    for (kernel, call) in kernels.iter_mut().zip(calls) {
        update_one(kernel.as_mut(), call, columns, groups, weights)?;
    }
    Ok(())
}

/// `n` slots in order.
pub fn sequence(n: usize) -> Vec<u32> {
    (0..n as u32).collect()
}

pub(crate) fn mismatch() -> Error {
    Error::internal("states of two different aggregates were merged")
}

pub(crate) fn no_inverse(name: &str) -> Error {
    Error::unsupported(format!("{name} over rows that can be taken back is not supported"))
        .hint("Read the stream itself.")
}
