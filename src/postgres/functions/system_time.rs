//! `__system_time(e)`: the microseconds since 1970 of the time that FOR SYSTEM_TIME AS OF is said by.
//! A time without a zone is one in UTC, as the event times of streams are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::scalar::over_columns;
use crate::error::{Error, Result, SqlState};
use crate::sql::SYSTEM_TIME;

pub(crate) fn system_time() -> ScalarUDF {
    ScalarUDF::from(SystemTime { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SystemTime {
    signature: Signature,
}

impl ScalarUDFImpl for SystemTime {
    fn name(&self) -> &str {
        SYSTEM_TIME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        // Found when it is planned, and not by the first row.
        micros(&new_empty_array(&types[0]))?;
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        over_columns(&args.args, args.number_rows, |columns, _| Ok(micros(&columns[0])?))
    }
}

fn micros(time: &ArrayRef) -> Result<ArrayRef> {
    let scale: fn(i64) -> i64 = match time.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => |ticks| ticks.saturating_mul(1_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => |ticks| ticks.saturating_mul(1_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => |ticks| ticks,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => |ticks| ticks.div_euclid(1_000),
        DataType::Date32 => |days| days.saturating_mul(86_400_000_000),
        DataType::Null => return Ok(Arc::new(Int64Array::new_null(time.len()))),
        _ => {
            return Err(Error::new(
                SqlState::TypeMismatch,
                "FOR SYSTEM_TIME AS OF must be followed by a time",
            )
            .hint("Write a column of type timestamp or timestamptz, or PROCTIME()."));
        }
    };
    let ticks = cast(time, &DataType::Int64)
        .or_else(|_| cast(&cast(time, &DataType::Int32)?, &DataType::Int64))?;
    // At the end of time there is what there is now.
    let micros = ticks
        .as_primitive::<Int64Type>()
        .unary::<_, Int64Type>(|ticks| scale(ticks).min(i64::MAX - 1));
    Ok(Arc::new(micros))
}
