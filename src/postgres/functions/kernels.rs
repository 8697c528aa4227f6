//! DataFusion's aggregates over kernels of [`crate::state::aggregates`], which live queries run as
//! well.
//!
//! [`OverKernel`] is a function of DataFusion's whose computing is replaced, and nothing else:
//! covariance and its kin, which in DataFusion depend on where batches end, and min and max of
//! floats, where it leaves NaN to the order of rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::{correlation, covariance, min_max, regr};
use datafusion::logical_expr::function::{
    AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs,
};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};

use super::distinct::Distinct;
use super::extreme::ExtremeArray;
use crate::error::Error;
use crate::state::Kernel;
use crate::state::aggregates::accumulator::{self, GroupsOfKernel, OneOfKernel};
use crate::state::aggregates::dense;

fn kernel(name: &str, inputs: &[FieldRef], result: &FieldRef) -> Result<Box<dyn Kernel>, Error> {
    let inputs: Vec<DataType> = inputs.iter().map(|field| field.data_type().clone()).collect();
    dense(name, &inputs, result.data_type(), false)
        .ok_or_else(|| Error::internal(format!("there is no {name} of {inputs:?}")))
}

/// Whether DISTINCT makes a difference.
fn distinguishes(name: &str, is_distinct: bool) -> bool {
    is_distinct && !is_extreme(name)
}

fn is_extreme(name: &str) -> bool {
    matches!(name, "min" | "max")
}

/// An accumulator over the kernel of that name.
pub(super) fn accumulator(name: &str, args: &AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
    let one = Box::new(OneOfKernel::new(kernel(name, args.expr_fields, &args.return_field)?));
    match (distinguishes(name, args.is_distinct), args.expr_fields) {
        (false, _) => Ok(one),
        (true, [input]) => Ok(Box::new(Distinct::new(input.data_type().clone(), one))),
        (true, _) => Err(Error::unsupported(format!("{name}(DISTINCT …) of two arguments")).into()),
    }
}

/// The same for many groups; not for DISTINCT.
pub(super) fn groups(name: &str, args: &AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
    let kernel = kernel(name, args.expr_fields, &args.return_field)?;
    Ok(Box::new(GroupsOfKernel::new(kernel)))
}

/// The columns of their states.
pub(super) fn state_fields(name: &str, args: &StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
    if distinguishes(name, args.is_distinct) {
        return Ok(vec![Distinct::state_field(args.name, args.input_fields[0].data_type())]);
    }
    let kernel = kernel(name, args.input_fields, &args.return_field)?;
    accumulator::state_fields(kernel.as_ref(), args.name)
}

fn is_float(field: &FieldRef) -> bool {
    matches!(field.data_type(), DataType::Float32 | DataType::Float64)
}

/// The functions that are replaced.
pub(super) fn all() -> Vec<AggregateUDF> {
    let all = [
        min_max::min_udaf(),
        min_max::max_udaf(),
        covariance::covar_samp_udaf(),
        covariance::covar_pop_udaf(),
        correlation::corr_udaf(),
        regr::regr_slope_udaf(),
        regr::regr_intercept_udaf(),
        regr::regr_count_udaf(),
        regr::regr_r2_udaf(),
        regr::regr_avgx_udaf(),
        regr::regr_avgy_udaf(),
        regr::regr_sxx_udaf(),
        regr::regr_syy_udaf(),
        regr::regr_sxy_udaf(),
    ];
    all.into_iter().map(|function| AggregateUDF::from(OverKernel { function })).collect()
}

/// A function of DataFusion's that is computed by a kernel.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OverKernel {
    function: Arc<AggregateUDF>,
}

impl OverKernel {
    fn replaces(&self, inputs: &[FieldRef]) -> bool {
        !is_extreme(self.name()) || inputs.iter().all(is_float)
    }

    fn is_of_arrays(&self, inputs: &[FieldRef]) -> bool {
        let is_array = |field: &FieldRef| matches!(field.data_type(), DataType::List(_));
        is_extreme(self.name()) && inputs.iter().any(is_array)
    }

    fn original(&self) -> &dyn AggregateUDFImpl {
        self.function.inner().as_ref()
    }
}

impl AggregateUDFImpl for OverKernel {
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if self.replaces(args.expr_fields) {
            accumulator(self.name(), &args)
        } else if self.is_of_arrays(args.expr_fields) {
            let data_type = args.return_field.data_type().clone();
            Ok(Box::new(ExtremeArray::new(self.name() == "max", data_type)))
        } else {
            self.original().accumulator(args)
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if self.replaces(args.input_fields) {
            state_fields(self.name(), &args)
        } else {
            self.original().state_fields(args)
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        if self.replaces(args.expr_fields) {
            !distinguishes(self.name(), args.is_distinct)
        } else {
            !self.is_of_arrays(args.expr_fields)
                && self.original().groups_accumulator_supported(args)
        }
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if self.replaces(args.expr_fields) {
            groups(self.name(), &args)
        } else {
            self.original().create_groups_accumulator(args)
        }
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        // The kernels of min and max cannot take a value out, DataFusion's windows can.
        if is_extreme(self.name()) {
            self.original().create_sliding_accumulator(args)
        } else {
            self.accumulator(args)
        }
    }

    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.original().coerce_types(arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.original().return_type(arguments)
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        self.original().return_field(arguments)
    }

    fn is_nullable(&self) -> bool {
        self.original().is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.original().default_value(data_type)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.original().simplify()
    }

    fn is_descending(&self) -> Option<bool> {
        self.original().is_descending()
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.original().value_from_stats(statistics)
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.original().set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original().documentation()
    }
}
