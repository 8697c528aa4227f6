//! What a plan is taken apart into: static, over the stream's rows, above the stateful operator;
//! and the hands for it.
//!
//! [`super::cut`] goes through the plan, [`super::aggregate`] plans the operator; both work on what
//! stands here.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan};

use super::pipeline::{FragmentPlan, SourceScan, Stateful};
use super::placeholder::INPUT;
use super::window::WindowNode;
use crate::catalog::Emission;
use crate::error::{Error, Result, SqlState};
use crate::operators::lateness::LatenessRule;
use crate::time::ticks_of_millis;

/// What the planner is told besides the plan.
#[derive(Debug, Clone, Copy)]
pub struct CutOptions {
    /// EMIT.
    pub emission: Emission,
    /// Allowed lateness, milliseconds.
    pub lateness_ms: i64,
}

impl CutOptions {
    /// Ticks of allowed lateness for a time column of this unit.
    pub(super) fn lateness(self, unit: TimeUnit) -> i64 {
        ticks_of_millis(self.lateness_ms, unit)
    }
}

/// A part of the plan, by what it needs.
pub(super) enum Stage {
    /// Reads no stream.
    Static(LogicalPlan),
    /// Reads the stream, keeps nothing.
    Stateless(Stateless),
    /// Above the stateful operator.
    Stateful(Box<StatefulStage>),
}

/// A plan over the stream's rows.
pub(super) struct Stateless {
    pub(super) source: SourceScan,
    /// Over the placeholder of the source's columns.
    pub(super) plan: LogicalPlan,
    pub(super) input: DFSchemaRef,
    pub(super) has_tables: bool,
}

/// A plan over the operator's output.
pub(super) struct StatefulStage {
    pub(super) source: SourceScan,
    pub(super) below: FragmentPlan,
    pub(super) stateful: Stateful,
    pub(super) lateness: Option<LatenessRule>,
    pub(super) above: LogicalPlan,
    pub(super) input: DFSchemaRef,
    pub(super) above_tables: bool,
}

impl Stage {
    /// Puts a join with a static table on top.
    pub(super) fn join(
        self,
        build: impl FnOnce(LogicalPlan) -> Result<LogicalPlan>,
    ) -> Result<Stage> {
        Ok(match self {
            Stage::Static(plan) => Stage::Static(build(plan)?),
            Stage::Stateless(stage) => {
                Stage::Stateless(Stateless { plan: build(stage.plan)?, has_tables: true, ..stage })
            }
            Stage::Stateful(mut stage) => {
                stage.above = build(stage.above)?;
                stage.above_tables = true;
                Stage::Stateful(stage)
            }
        })
    }
}

/// A fragment; whether it changes anything is seen from its plan.
pub(super) fn fragment_of(
    plan: LogicalPlan,
    input: &DFSchemaRef,
    has_tables: bool,
) -> FragmentPlan {
    let is_identity = is_identity(&plan, input);
    FragmentPlan { plan, input: Arc::clone(input), is_identity, has_tables }
}

/// Whether the plan yields exactly its input: the placeholder, perhaps under aliases and
/// projections of all its columns in order under their own names.
fn is_identity(plan: &LogicalPlan, input: &DFSchemaRef) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => scan.table_name.table() == INPUT,
        LogicalPlan::SubqueryAlias(alias) => is_identity(&alias.input, input),
        LogicalPlan::Projection(projection) => {
            let same = projection.expr.len() == input.fields().len()
                && projection.expr.iter().enumerate().all(|(i, expr)| match expr {
                    Expr::Column(column) => {
                        projection.input.schema().maybe_index_of_column(column) == Some(i)
                            && column.name == *input.field(i).name()
                    }
                    _ => false,
                });
            same && is_identity(&projection.input, input)
        }
        _ => false,
    }
}

/// The node over other inputs, its schema computed anew (aliases of columns keep their names).
pub(super) fn rebuilt(plan: &LogicalPlan, inputs: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    Ok(plan.with_new_exprs(plan.expressions(), inputs)?)
}

/// Whether a window function is somewhere in the plan.
pub(super) fn contains_window(plan: &LogicalPlan) -> bool {
    find_window(plan).is_some()
}

/// The window function in a stateless plan.
pub(super) fn find_window(plan: &LogicalPlan) -> Option<&WindowNode> {
    if let LogicalPlan::Extension(extension) = plan
        && let Some(window) = extension.node.as_any().downcast_ref::<WindowNode>()
    {
        return Some(window);
    }
    plan.inputs().into_iter().find_map(find_window)
}

/// A row that is taken back would be joined with another version of the table than when it came.
pub(super) fn joined_changes(name: &str) -> Error {
    Error::unsupported(format!(
        "a join of \"{name}\", whose rows change, with a table in a continuous query is not supported yet"
    ))
    .hint(format!("Join \"{name}\" with the table when you read it."))
}

/// A filter over a plan.
pub(super) fn filter(plan: LogicalPlan, predicate: Expr) -> Result<LogicalPlan> {
    let kind = predicate.get_type(plan.schema())?;
    if kind != DataType::Boolean {
        return Err(Error::new(SqlState::TypeMismatch, "a filter must be a condition"));
    }
    Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?))
}
