//! What a plan is taken apart into: static, or over rows that come, with the operators below; and
//! the hands for it.
//!
//! [`super::cut`] goes through the plan, [`super::aggregate`] plans the operator; both work on what
//! stands here.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan};

use super::pipeline::{FragmentPlan, Frontier, OperatorPlan, SourceScan, Stateful};
use super::placeholder::{INPUT, placeholder};
use super::window::WindowNode;
use crate::catalog::Emission;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::operators::lateness::LatenessRule;
use crate::time::{WindowSpec, ticks_of_millis};

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
    /// Reads the stream.
    Open(Box<Open>),
}

/// A part of the plan over rows that come: what has been cut off below, and a plan on top that may
/// still grow.
pub(super) struct Open {
    pub(super) source: SourceScan,
    pub(super) lateness: Option<LatenessRule>,
    /// From the source to the first operator, once there is one.
    below: Option<FragmentPlan>,
    /// The operators; the fragment on the last of them is the plan on top.
    steps: Vec<OperatorPlan>,
    /// Over the placeholder.
    pub(super) plan: LogicalPlan,
    /// What the placeholder stands for: the source's columns, or the last operator's.
    pub(super) input: DFSchemaRef,
    pub(super) has_tables: bool,
    pub(super) edge: Edge,
}

/// What is known of the rows that a plan on top is over.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Edge {
    /// Rows are taken back.
    pub(super) retracts: bool,
    /// They are those of windows that have closed, window by window.
    pub(super) closed: Option<ClosedWindows>,
}

/// Rows of windows that have closed, in the order of the windows' ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClosedWindows {
    pub(super) spec: WindowSpec,
    /// Where [`WINDOW_COLUMNS`](crate::time::WINDOW_COLUMNS) are among the columns.
    pub(super) columns: [Option<usize>; 3],
}

impl Open {
    /// The rows of a source.
    pub(super) fn source(source: SourceScan, input: DFSchemaRef) -> Open {
        let edge = Edge { retracts: source.retracts(), closed: None };
        Open {
            source,
            lateness: None,
            below: None,
            steps: Vec::new(),
            plan: placeholder(&input),
            input,
            has_tables: false,
            edge,
        }
    }

    /// Whether what is on top is over the source's own rows.
    pub(super) fn is_on_source(&self) -> bool {
        self.steps.is_empty()
    }

    /// What rows are called in a message.
    pub(super) fn rows_of(&self) -> String {
        if self.is_on_source() {
            format!("\"{}\"", self.source.relation.name)
        } else {
            "an aggregate".to_owned()
        }
    }

    /// Ends the plan on top with `top`, and puts an operator on it that gives these columns.
    pub(super) fn with_step(
        mut self,
        top: LogicalPlan,
        operator: (Stateful, Frontier),
        output: &DFSchemaRef,
        edge: Edge,
    ) -> Result<Open> {
        if self.steps.len() == limits::QUERY_OPERATORS {
            return Err(Error::unsupported("so many aggregates over each other in one query")
                .hint("Create a materialized view of an inner one, and go on over that."));
        }
        self.end(top);
        let (operator, frontier) = operator;
        self.plan = placeholder(output);
        self.input = Arc::clone(output);
        self.has_tables = false;
        self.edge = edge;
        let above = fragment_of(self.plan.clone(), output, false);
        self.steps.push(OperatorPlan { operator, frontier, above });
        Ok(self)
    }

    fn end(&mut self, top: LogicalPlan) {
        let fragment = fragment_of(top, &self.input, self.has_tables);
        match self.steps.last_mut() {
            Some(step) => step.above = fragment,
            None => self.below = Some(fragment),
        }
    }

    /// All of it as fragments and operators.
    pub(super) fn finish(mut self) -> Result<(SourceScan, FragmentPlan, Vec<OperatorPlan>)> {
        let top = self.plan.clone();
        self.end(top);
        let below = self.below.ok_or_else(|| Error::internal("nothing was cut off"))?;
        Ok((self.source, below, self.steps))
    }
}

impl Stage {
    /// Puts a join with a static table on top.
    pub(super) fn join(
        self,
        build: impl FnOnce(LogicalPlan) -> Result<LogicalPlan>,
    ) -> Result<Stage> {
        Ok(match self {
            Stage::Static(plan) => Stage::Static(build(plan)?),
            Stage::Open(mut stage) => {
                stage.plan = build(stage.plan)?;
                stage.has_tables = true;
                Stage::Open(stage)
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
