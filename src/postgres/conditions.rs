//! What WHERE throws away fails no statement: `WHERE b <> 0 AND a / b > 1`.
//!
//! Postgres looks at a condition row by row, goes no further where a part of it is false, and computes
//! what is selected for the rows that are left. DataFusion evaluates both sides of AND for all rows of a
//! batch unless next to none are left, and moves what is computed below a condition where that makes rows
//! narrower. So, when a plan has been optimized,
//!
//! - of the parts of a condition those that cannot fail (`is_sure`) come first, together; then each other,
//!   in its order, for the rows that are left (`Stepwise`);
//! - a projection that may fail changes places with the condition above it;
//! - AND and OR within expressions are lazy (`lazily`).

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{conjunction, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr, update_expr};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::lazy::{BooleanPart, booleans, is_sure, lazily};

/// The rule, for snapshots and continuous queries alike.
#[derive(Debug)]
pub struct OnlyRowsLeft;

impl PhysicalOptimizerRule for OnlyRowsLeft {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|node| {
            let any = node.as_ref() as &dyn Any;
            let changed = if let Some(filter) = any.downcast_ref::<FilterExec>() {
                filtered(filter)?
            } else if let Some(projection) = any.downcast_ref::<ProjectionExec>() {
                projected(projection)?
            } else if let Some(aggregate) = any.downcast_ref::<AggregateExec>() {
                aggregated(aggregate)?
            } else {
                None
            };
            Ok(changed.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &str {
        "only_rows_left"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn filtered(filter: &FilterExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(exchanged) = exchanged(filter)? {
        return Ok(Some(exchanged));
    }
    let Some(predicate) = stepwise(filter.predicate(), &filter.input().schema())? else {
        return Ok(None);
    };
    let filter = FilterExecBuilder::from(filter).with_predicate(predicate);
    Ok(Some(Arc::new(filter.build()?)))
}

fn projected(projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let schema = projection.input().schema();
    let mut is_changed = false;
    let mut exprs = Vec::with_capacity(projection.expr().len());
    for one in projection.expr() {
        let lazy = lazily(Arc::clone(&one.expr), &schema)?;
        is_changed |= lazy.transformed;
        exprs.push(ProjectionExpr { expr: lazy.data, alias: one.alias.clone() });
    }
    if !is_changed {
        return Ok(None);
    }
    Ok(Some(Arc::new(ProjectionExec::try_new(exprs, Arc::clone(projection.input()))?)))
}

/// An aggregate with its arguments and FILTERs so.
fn aggregated(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if aggregate.mode().input_mode() != AggregateInputMode::Raw {
        return Ok(None);
    }
    let schema = aggregate.input().schema();
    let (mut is_changed, mut has_other_filters) = (false, false);
    let mut calls = Vec::with_capacity(aggregate.aggr_expr().len());
    for call in aggregate.aggr_expr() {
        let mut args = Vec::new();
        let mut is_other = false;
        for arg in call.expressions() {
            let lazy = lazily(arg, &schema)?;
            is_other |= lazy.transformed;
            args.push(lazy.data);
        }
        let order = call.order_bys().iter().map(|by| Arc::clone(&by.expr)).collect();
        let other = if is_other { call.with_new_expressions(args, order) } else { None };
        is_changed |= other.is_some();
        calls.push(other.map_or_else(|| Arc::clone(call), Arc::new));
    }
    let mut filters = Vec::with_capacity(aggregate.filter_expr().len());
    for filter in aggregate.filter_expr() {
        let other = filter.as_ref().map(|filter| stepwise(filter, &schema)).transpose()?.flatten();
        has_other_filters |= other.is_some();
        filters.push(other.or_else(|| filter.clone()));
    }
    if !has_other_filters {
        return Ok(is_changed.then(|| Arc::new(aggregate.with_new_aggr_exprs(calls)) as _));
    }
    let (input, groups) = (Arc::clone(aggregate.input()), aggregate.group_expr().clone());
    let changed = AggregateExec::try_new(
        *aggregate.mode(),
        groups,
        calls,
        filters,
        input,
        aggregate.input_schema(),
    )?;
    Ok(Some(Arc::new(changed.with_limit_options(aggregate.limit_options()))))
}

/// The filter below the projection that stood below it, if that may fail and the condition only reads
/// columns that it hands on.
fn exchanged(filter: &FilterExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(projection) = (filter.input().as_ref() as &dyn Any).downcast_ref::<ProjectionExec>()
    else {
        return Ok(None);
    };
    let schema = projection.input().schema();
    let exprs = projection.expr();
    let is_handed_on = |column: &Column| exprs[column.index()].expr.is::<Column>();
    if exprs.iter().all(|one| is_sure(&one.expr, &schema))
        || !collect_columns(filter.predicate()).iter().all(is_handed_on)
    {
        return Ok(None);
    }
    let Some(predicate) = update_expr(filter.predicate(), exprs, true)? else { return Ok(None) };
    let below = FilterExecBuilder::new(predicate, Arc::clone(projection.input()))
        .with_batch_size(filter.batch_size())
        .with_default_selectivity(filter.default_selectivity())
        .build()?;
    let selected = match filter.projection() {
        Some(columns) => columns.iter().map(|at| exprs[*at].clone()).collect(),
        None => exprs.to_vec(),
    };
    let above = ProjectionExec::try_new(selected, Arc::new(below))?;
    Ok(Some(projected(&above)?.unwrap_or_else(|| Arc::new(above))))
}

/// The condition of a filter step by step; None: it need not be.
fn stepwise(
    predicate: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let parts = split_conjunction(predicate);
    let (sure, others): (Vec<_>, Vec<_>) =
        parts.into_iter().cloned().partition(|part| is_sure(part, schema));
    let mut steps = Vec::with_capacity(others.len());
    let mut is_changed = sure.len() + others.len() > 1 && !others.is_empty();
    for part in others {
        let lazy = lazily(part, schema)?;
        is_changed |= lazy.transformed;
        steps.push(BooleanPart::new(&lazy.data)?);
    }
    let sure = (!sure.is_empty()).then(|| conjunction(sure));
    Ok(is_changed.then(|| Arc::new(Stepwise { sure, steps }) as _))
}

/// A condition whose parts are looked at one after the other. Where one is NULL it is false: so it is for
/// a filter.
#[derive(Debug)]
struct Stepwise {
    sure: Option<Arc<dyn PhysicalExpr>>,
    /// Parts that may fail.
    steps: Vec<BooleanPart>,
}

impl PartialEq for Stepwise {
    fn eq(&self, other: &Self) -> bool {
        self.children() == other.children()
    }
}

impl Eq for Stepwise {}

impl Hash for Stepwise {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.children().hash(state);
    }
}

impl fmt::Display for Stepwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.children().into_iter().enumerate() {
            write!(f, "{}{part}", if at == 0 { "" } else { " AND " })?;
        }
        Ok(())
    }
}

/// For which rows a condition is true.
fn truths(values: &BooleanArray) -> BooleanBuffer {
    if values.null_count() > 0 {
        prep_null_mask_filter(values).values().clone()
    } else {
        values.values().clone()
    }
}

impl PhysicalExpr for Stepwise {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let mut kept = match &self.sure {
            Some(sure) => truths(&booleans(sure, batch)?),
            None => BooleanBuffer::new_set(batch.num_rows()),
        };
        for step in &self.steps {
            if kept.count_set_bits() == 0 {
                break;
            }
            kept = &kept & &truths(&step.of(batch, &kept)?);
        }
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(kept))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.sure.iter().chain(self.steps.iter().map(|step| &step.whole)).collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let steps = children.split_off(usize::from(self.sure.is_some()));
        let steps = steps.iter().map(BooleanPart::new).collect::<Result<_>>()?;
        Ok(Arc::new(Stepwise { sure: children.pop(), steps }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
