//! `sum` and `avg` as in Postgres: sums of integers do not wrap and are one size larger, averages
//! of integers are exact numerics, and sums of doubles do not depend on the order of rows.
//!
//! | of                | sum            | avg                    |
//! |-------------------|----------------|------------------------|
//! | smallint, integer | bigint         | numeric (16 places)    |
//! | bigint            | numeric        | numeric (16 places)    |
//! | numeric(p, s)     | numeric(38, s) | numeric(38, max(s,16)) |
//! | computed numeric  | the same       | as a quotient          |
//! | real              | real           | double precision       |
//! | double precision  | the same       | the same               |
//! | interval          | the same       | the same               |
//!
//! Here are the types alone; the adding up is [`crate::state::aggregates::total`]'s, for snapshots
//! and live queries.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, FieldRef, IntervalUnit};
use datafusion::common::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
};

use super::kernels;
use crate::error::{Error, SqlState};
use crate::state::aggregates::total::TotalKind;
use crate::types::decimal::MAX_SCALE;
use crate::types::{WIDE_NUMERIC, is_free_numeric};

/// `sum`.
pub(crate) fn sum() -> SumOrAvg {
    SumOrAvg {
        wanted: TotalKind::Sum,
        signature: Signature::user_defined(Volatility::Immutable),
        aliases: vec![],
    }
}

/// `avg`, also `mean`.
pub(crate) fn avg() -> SumOrAvg {
    let signature = Signature::user_defined(Volatility::Immutable);
    SumOrAvg { wanted: TotalKind::Avg, signature, aliases: vec!["mean".into()] }
}

/// The function as DataFusion knows it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct SumOrAvg {
    wanted: TotalKind,
    signature: Signature,
    aliases: Vec<String>,
}

impl AggregateUDFImpl for SumOrAvg {
    fn name(&self) -> &str {
        match self.wanted {
            TotalKind::Sum => "sum",
            TotalKind::Avg => "avg",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let undefined = |what: String| {
            Error::new(
                SqlState::UndefinedFunction,
                format!("function {}({what}) does not exist", self.name()),
            )
            .hint("It takes one number or interval; a cast may help.")
        };
        let [argument] = arg_types else {
            return Err(undefined(format!("{} arguments", arg_types.len())).into());
        };
        let argument = if let DataType::Dictionary(_, value) = argument { value } else { argument };
        let coerced = match argument {
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => DataType::Int16,
            DataType::UInt16 | DataType::Int32 => DataType::Int32,
            DataType::UInt32 | DataType::Int64 | DataType::Null => DataType::Int64,
            DataType::UInt64 => DataType::Decimal128(20, 0),
            DataType::Float16 | DataType::Float32 => DataType::Float32,
            DataType::Float64 => DataType::Float64,
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
                DataType::Decimal128(*p, *s)
            }
            DataType::Decimal256(p, s) => DataType::Decimal256(*p, *s),
            DataType::Interval(_) | DataType::Duration(_) => {
                DataType::Interval(IntervalUnit::MonthDayNano)
            }
            other => return Err(undefined(other.to_string().to_lowercase()).into()),
        };
        Ok(vec![coerced])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match (self.wanted, &arg_types[0]) {
            (TotalKind::Sum, DataType::Int16 | DataType::Int32) => DataType::Int64,
            (TotalKind::Sum, DataType::Float32) => DataType::Float32,
            (TotalKind::Avg, DataType::Decimal128(p, s))
                if has_room(*p) && i16::from(*p) + 16 - i16::from((*s).min(16)) <= 38 =>
            {
                DataType::Decimal128(38, (*s).max(16))
            }
            (TotalKind::Avg, DataType::Decimal128(..) | DataType::Decimal256(..)) => {
                DataType::Decimal256(WIDE_NUMERIC, MAX_SCALE)
            }
            (TotalKind::Avg, DataType::Int16 | DataType::Int32 | DataType::Int64) => {
                DataType::Decimal128(38, 16)
            }
            (_, other) => stored(other),
        })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        kernels::accumulator(self.name(), &args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        kernels::state_fields(self.name(), &args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        kernels::groups(self.name(), &args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Whether 128 bits have room for the sum of some ten thousand of the greatest values. A sum in 256 bits
/// takes longer.
fn has_room(precision: u8) -> bool {
    precision + 4 <= DECIMAL128_MAX_PRECISION
}

/// The type in which a sum of such values is stored.
fn stored(input: &DataType) -> DataType {
    match input {
        DataType::Decimal128(p, scale) if has_room(*p) => DataType::Decimal128(38, *scale),
        DataType::Decimal256(..) if is_free_numeric(input) => input.clone(),
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => {
            DataType::Decimal256(WIDE_NUMERIC - 1, *scale)
        }
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => DataType::Decimal128(38, 0),
    }
}
