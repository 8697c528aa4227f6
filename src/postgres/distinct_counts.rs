//! `count(DISTINCT x)` in a snapshot, as a count of groups.
//!
//! DataFusion's accumulator keeps the values of a partition in one hash table, of which the pool
//! hears only when it has grown: while it is copied to twice its size it takes three times what was
//! counted, and its values are copied once more for the next stage. Groups are counted as they come,
//! and dealt out to all threads.
//!
//! DataFusion has a rule for this that also takes `sum`, `min` and `max` apart, and relies on a sum
//! having the type of what it sums up, which in Postgres it has not. Here it is given what it does
//! right: counts alone, over types of which equal values have equal bytes.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::single_distinct_to_groupby::SingleDistinctToGroupBy;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Counts distinct values by grouping.
#[derive(Debug)]
pub struct DistinctCounts(SingleDistinctToGroupBy);

impl DistinctCounts {
    /// The rule.
    pub fn rule() -> Arc<dyn OptimizerRule + Send + Sync> {
        Arc::new(DistinctCounts(SingleDistinctToGroupBy::new()))
    }
}

impl OptimizerRule for DistinctCounts {
    /// DataFusion's, in whose place it stands.
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Aggregate(aggregate)
                if aggregate.aggr_expr.iter().all(|expr| is_plain(expr, aggregate)) =>
            {
                self.0.rewrite(plan, config)
            }
            _ => Ok(Transformed::no(plan)),
        }
    }
}

/// Whether it is a `count(DISTINCT x)` of values that are equal where their bytes are.
fn is_plain(expr: &Expr, aggregate: &Aggregate) -> bool {
    let Expr::AggregateFunction(call) = expr else { return false };
    let [value] = call.params.args.as_slice() else { return false };
    let counts = call.func.name() == "count" && call.params.distinct;
    counts && value.get_type(aggregate.input.schema()).is_ok_and(|kind| is_exact(&kind))
}

fn is_exact(kind: &DataType) -> bool {
    kind.is_integer()
        || kind.is_string()
        || matches!(
            kind,
            DataType::Boolean
                | DataType::Date32
                | DataType::Timestamp(..)
                | DataType::Decimal128(..)
                | DataType::Decimal256(..)
        )
}
