//! `variance` and `stddev` and their like: of integers and numerics they are numerics, of floats doubles
//! (PostgreSQL manual, 9.21, table 9.61).
//!
//! Here are the types alone; the sums are kept in [`crate::state::aggregates`], for snapshots and live
//! queries.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
    Volatility,
};

use super::kernels;
use crate::error::missing_function;
use crate::types::WIDE_NUMERIC;
use crate::types::decimal::MAX_SCALE;

/// By the names that they have here, with the others that they have.
const NAMES: [(&str, &[&str]); 4] = [
    ("var_samp", &["var", "var_sample", "variance"]),
    ("var_pop", &["var_population"]),
    ("stddev", &["stddev_samp"]),
    ("stddev_pop", &[]),
];

pub(super) fn all() -> impl Iterator<Item = AggregateUDF> {
    NAMES.into_iter().map(|(name, aliases)| {
        let aliases = aliases.iter().map(ToString::to_string).collect();
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::from(SpreadFunction { name, aliases, signature })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SpreadFunction {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
}

impl AggregateUDFImpl for SpreadFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(match types {
            [DataType::UInt64] => vec![DataType::Decimal128(20, 0)],
            [of] if of.is_integer() => vec![DataType::Int64],
            [DataType::Decimal128(..) | DataType::Decimal256(..)] => types.to_vec(),
            [of] if of.is_floating() || of.is_null() => vec![DataType::Float64],
            _ => {
                let types: Vec<String> =
                    types.iter().map(|of| of.to_string().to_lowercase()).collect();
                return Err(missing_function(self.name, Some(&types.join(", "))).into());
            }
        })
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match types {
            [of] if of.is_floating() => DataType::Float64,
            _ => DataType::Decimal256(WIDE_NUMERIC, MAX_SCALE),
        })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        kernels::accumulator(self.name, &args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        kernels::state_fields(self.name, &args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        kernels::groups(self.name, &args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}
