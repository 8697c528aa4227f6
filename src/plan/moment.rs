//! `now()`, `current_date` and `current_time` in a continuous query: the time of the epoch that
//! reads a row.
//!
//! A snapshot has one moment, and the optimizer puts it in as a constant. A continuous query has
//! one for each epoch. So the functions are replaced twice: before the query is optimized by a
//! variable, which the optimizer moves about like a column and does not compute, and then by a
//! function that reads a [`Moment`], a cell that the pipeline shares with whoever runs it and that is
//! set when an epoch begins. What an epoch has computed is committed with it; one that runs again
//! after a crash had not been seen by anyone, and may have another time.
//!
//! Conditions that become true or false as time passes are an operator's ([`super::temporal`]). Else
//! rows are not looked at again because time passes. Where a row would be computed twice, once to
//! show it and once to take it back, the two would differ; there the planner refuses the functions.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use crate::error::{Error, Result};
use crate::time::DAY_MICROS;

/// Functions whose value is the moment's.
const FUNCTIONS: [&str; 5] = ["now", "current_timestamp", "current_date", "current_time", "today"];

/// The name of what they are replaced by.
const NAME: &str = "epoch_moment";

/// What is said when such a query is created.
pub const NOTICE: &str =
    "now() is the time at which a row was read; no row is looked at again because time passes";

/// The time of the running epoch.
#[derive(Debug, Clone, Default)]
pub struct Moment(Arc<AtomicI64>);

impl Moment {
    /// Begins an epoch: milliseconds since 1970.
    pub fn set(&self, now_ms: i64) {
        // The fragments of an epoch run after this on the same task.
        self.0.store(now_ms.saturating_mul(1_000), Ordering::Relaxed);
    }

    fn micros(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The plan with a variable in place of its functions of the moment; None if it has none.
pub fn marked(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    replaced(plan, |expr| {
        if !matches!(&expr, Expr::ScalarFunction(call) if FUNCTIONS.contains(&call.func.name())) {
            return Ok(Transformed::no(expr));
        }
        let field = Field::new(NAME, expr.get_type(&DFSchema::empty())?, false);
        Ok(Transformed::yes(Expr::ScalarVariable(Arc::new(field), vec![NAME.to_owned()])))
    })
}

/// The plan with its variables reading a cell; None if it has none.
pub fn bound(plan: &LogicalPlan, moment: &Moment) -> Result<Option<LogicalPlan>> {
    replaced(plan, |expr| {
        let Expr::ScalarVariable(field, _) = &expr else { return Ok(Transformed::no(expr)) };
        let function = EpochMoment {
            moment: moment.clone(),
            data_type: field.data_type().clone(),
            signature: Signature::nullary(Volatility::Volatile),
        };
        let function = Arc::new(ScalarUDF::from(function));
        Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, Vec::new()))))
    })
}

fn replaced(
    plan: &LogicalPlan,
    put: impl Fn(Expr) -> DfResult<Transformed<Expr>>,
) -> Result<Option<LogicalPlan>> {
    let done = plan.clone().transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let put = expr.transform_up(&put)?;
            Ok(if put.transformed { put.update_data(|expr| name.restore(expr)) } else { put })
        })
    })?;
    Ok(done.transformed.then_some(done.data))
}

/// The type of the moment, if an expression is that and no more.
pub(super) fn type_of(expr: &Expr) -> Option<&DataType> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let function: &dyn std::any::Any = call.func.inner().as_ref();
    function.downcast_ref::<EpochMoment>().map(|moment| &moment.data_type)
}

/// Whether an expression of a bound plan reads the time of the epoch.
pub(super) fn is_in(expr: &Expr) -> Result<bool> {
    Ok(expr.exists(|part| Ok(type_of(part).is_some()))?)
}

/// Whether a plan that is not bound reads the clock.
pub fn reads_clock(plan: &LogicalPlan) -> Result<bool> {
    calls_one_of(plan, &FUNCTIONS)
}

/// Whether a bound plan reads the time of the epoch.
pub(super) fn is_read_in(plan: &LogicalPlan) -> Result<bool> {
    calls_one_of(plan, &[NAME])
}

fn calls_one_of(plan: &LogicalPlan, names: &[&str]) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|part| {
                Ok(matches!(part, Expr::ScalarFunction(call) if names.contains(&call.func.name())))
            })?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// The function that reads the cell. It is volatile, so that it is not made a constant when the
/// query is planned.
#[derive(Debug)]
struct EpochMoment {
    moment: Moment,
    data_type: DataType,
    signature: Signature,
}

impl PartialEq for EpochMoment {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.moment.0, &other.moment.0) && self.data_type == other.data_type
    }
}

impl Eq for EpochMoment {}

impl Hash for EpochMoment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.moment.0).hash(state);
        self.data_type.hash(state);
    }
}

impl ScalarUDFImpl for EpochMoment {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(ColumnarValue::Scalar(value(self.moment.micros(), &self.data_type)?))
    }
}

fn value(micros: i64, data_type: &DataType) -> Result<ScalarValue> {
    let nanos = |micros: i64| micros.saturating_mul(1_000);
    Ok(match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            ScalarValue::TimestampMicrosecond(Some(micros), zone.clone())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            ScalarValue::TimestampNanosecond(Some(nanos(micros)), zone.clone())
        }
        DataType::Date32 => ScalarValue::Date32(i32::try_from(micros.div_euclid(DAY_MICROS)).ok()),
        DataType::Time64(TimeUnit::Microsecond) => {
            ScalarValue::Time64Microsecond(Some(micros.rem_euclid(DAY_MICROS)))
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            ScalarValue::Time64Nanosecond(Some(nanos(micros.rem_euclid(DAY_MICROS))))
        }
        other => return Err(Error::internal(format!("a moment as {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_and_a_time_of_day() {
        let moment = Moment::default();
        moment.set(-1);
        let check =
            |data_type, expect| assert_eq!(value(moment.micros(), &data_type).unwrap(), expect);
        check(DataType::Date32, ScalarValue::Date32(Some(-1)));
        check(
            DataType::Time64(TimeUnit::Nanosecond),
            ScalarValue::Time64Nanosecond(Some(86_399_999_000_000)),
        );
    }
}
