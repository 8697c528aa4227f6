//! A query that can be stopped, and that leaves room for others while it runs.
//!
//! DataFusion's operators give way to others once they have read so many batches. A join that makes
//! much of little (a cross join of a million rows with a million) reads next to nothing: it would
//! hold its thread for minutes in one turn, cancelled or not, and as many such queries as there are
//! threads would be the end of all others. So the last rule of the physical optimizer sees to it
//! that
//!
//! - each join gives way after so many batches that come *out* of it;
//! - the condition of a join, which may throw away all of them, looks each time whether the query
//!   is still wanted, and lets another thread take over the other work of its own;
//! - a subquery that is run for each row (`apply.rs`) looks as well.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
    PiecewiseMergeJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::budget::Allowance;
use super::piecewise::{Explosive, PiecewiseProjection, column};
use super::portions::{carefully, dealt_before, in_portions};
use super::unnesting::in_chunks;

/// The last rule: guards the plan of a snapshot. What stops it is the token of the statement's
/// [`Allowance`].
#[derive(Debug)]
pub struct Guarding;

impl PhysicalOptimizerRule for Guarding {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let allowance = Allowance::of(config);
        Ok(plan.transform_up(|node| guarded(node, &allowance))?.data)
    }

    fn name(&self) -> &str {
        "guard"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The rule for the physical plans of continuous queries: expressions that make much of little take
/// as many rows at a time as fit. Without it, it would depend on the batches in which rows arrive
/// whether a query can go on. It is not asked here whether anyone still wants it: what runs it asks
/// between two portions.
#[derive(Debug)]
pub struct InPieces;

impl PhysicalOptimizerRule for InPieces {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let allowance = Allowance::default();
        let in_pieces = |node: Arc<dyn ExecutionPlan>| {
            let any = node.as_ref() as &dyn Any;
            let changed: Option<Arc<dyn ExecutionPlan>> =
                match any.downcast_ref::<ProjectionExec>() {
                    Some(projection) => PiecewiseProjection::of(projection, &allowance)?
                        .map(|node| Arc::new(node) as _),
                    None if any.is::<FilterExec>() => watched(&node, &allowance)?,
                    None => None,
                };
            Ok(changed.map_or_else(|| Transformed::no(node), Transformed::yes))
        };
        Ok(plan.transform_up(in_pieces)?.data)
    }

    fn name(&self) -> &str {
        "pieces"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn guarded(
    node: Arc<dyn ExecutionPlan>,
    allowance: &Allowance,
) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(projection) = (node.as_ref() as &dyn Any).downcast_ref::<ProjectionExec>()
        && let Some(bounded) = in_portions(projection, allowance)?
    {
        return Ok(Transformed::yes(bounded));
    }
    if let Some(projection) = (node.as_ref() as &dyn Any).downcast_ref::<ProjectionExec>()
        && let Some(piecewise) = PiecewiseProjection::of(projection, allowance)?
    {
        return Ok(Transformed::yes(Arc::new(piecewise)));
    }
    if let Some(repartition) = (node.as_ref() as &dyn Any).downcast_ref::<RepartitionExec>()
        && let Some(bounded) = dealt_before(repartition)?
    {
        return Ok(Transformed::yes(bounded));
    }
    let node = match watched(&node, allowance)? {
        Some(watched) => watched,
        None if multiplies(&node) => in_chunks(&node)?.unwrap_or(node),
        None => match carefully(&node, allowance)? {
            Some(careful) => careful,
            None => return Ok(Transformed::no(node)),
        },
    };
    Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>))
}

/// Operators that can make more rows than they read.
fn multiplies(node: &Arc<dyn ExecutionPlan>) -> bool {
    let node = node.as_ref() as &dyn Any;
    node.is::<CrossJoinExec>()
        || node.is::<HashJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<PiecewiseMergeJoinExec>()
        || node.is::<UnnestExec>()
}

/// The join with its condition watched, if it is one that has a condition, or the filter, if its
/// condition makes much of little.
fn watched(
    node: &Arc<dyn ExecutionPlan>,
    allowance: &Allowance,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let watch = |filter: &JoinFilter| -> Result<JoinFilter> {
        let expr = Arc::new(Watched::new(filter.expression(), allowance)?);
        Ok(JoinFilter::new(expr, filter.column_indices().to_vec(), Arc::clone(filter.schema())))
    };
    let any = node.as_ref() as &dyn Any;
    if let Some(join) = any.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let join =
            NestedLoopJoinExecBuilder::from(join).with_filter(Some(watch(filter)?)).build()?;
        return Ok(Some(Arc::new(join)));
    }
    if let Some(join) = any.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return Ok(Some(join.builder().with_filter(Some(watch(filter)?)).build_exec()?));
    }
    if let Some(filter) = any.downcast_ref::<FilterExec>()
        && Explosive::among([filter.predicate()].into_iter())?.is_some()
    {
        let predicate = Arc::new(Watched::new(filter.predicate(), allowance)?);
        return Ok(Some(Arc::new(
            FilterExecBuilder::from(filter).with_predicate(predicate).build()?,
        )));
    }
    Ok(None)
}

/// A condition that fails as soon as the query is no longer wanted.
#[derive(Debug)]
struct Watched {
    expr: Arc<dyn PhysicalExpr>,
    allowance: Allowance,
    explosive: Option<Explosive>,
}

impl Watched {
    fn new(expr: &Arc<dyn PhysicalExpr>, allowance: &Allowance) -> Result<Watched> {
        let explosive = Explosive::among([expr].into_iter())?;
        Ok(Watched { expr: Arc::clone(expr), allowance: allowance.clone(), explosive })
    }

    fn value(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        match &self.explosive {
            None => self.expr.evaluate(batch),
            Some(explosive) => {
                Ok(ColumnarValue::Array(column(explosive, &self.expr, batch, &self.allowance)?))
            }
        }
    }
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        self.expr.eq(&other.expr)
    }
}

impl Eq for Watched {}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expr.hash(state);
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

impl PhysicalExpr for Watched {
    fn data_type(&self, input: &Schema) -> Result<DataType> {
        self.expr.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.expr.nullable(input)
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.expr.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.allowance.check()?;
        let is_worker = Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
        if is_worker {
            tokio::task::block_in_place(|| self.value(batch))
        } else {
            self.value(batch)
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.expr]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(expr) => Ok(Arc::new(Watched::new(&expr, &self.allowance)?)),
            None => Ok(self),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt_sql(f)
    }
}
