//! What a plan is taken apart into: static, or over rows that come, with the operators below; and
//! the hands for it.
//!
//! [`super::cut`] goes through the plan, [`super::aggregate`] plans the operator; both work on what
//! stands here.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan};

use super::pipeline::{
    FragmentPlan, Frontier, Giver, OperatorPlan, SourcePlan, SourceScan, Stateful,
};
use super::placeholder::{INPUT, placeholder};
use super::window::WindowNode;
use crate::catalog::{Emission, Kind, Relation, StateOptions};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::operators::lateness::LatenessRule;
use crate::time::{Watermark, WindowSpec, ticks_of_millis};

/// What the planner is told besides the plan.
#[derive(Debug, Clone, Copy)]
pub struct CutOptions {
    /// EMIT.
    pub emission: Emission,
    /// Allowed lateness, milliseconds.
    pub lateness_ms: i64,
    /// LIMIT ends the query; else it is of the answer, as ORDER BY is.
    pub limit_ends: bool,
    /// What a view says of its state.
    pub state: StateOptions,
}

impl CutOptions {
    /// Ticks of allowed lateness for a time column of this unit.
    pub(super) fn lateness(self, unit: TimeUnit) -> i64 {
        ticks_of_millis(self.lateness_ms, unit).min(Watermark::NEVER - 1)
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
    /// The fragment of the one that the plan on top is over is not known yet.
    sources: Vec<SourcePlan>,
    /// The same holds of the last step.
    steps: Vec<OperatorPlan>,
    /// Which part of the query each of them answers, where that is known.
    parts: Vec<Option<LogicalPlan>>,
    /// What the plan on top is over.
    on: Giver,
    /// Over the placeholder.
    pub(super) plan: LogicalPlan,
    /// What the placeholder stands for: the source's columns, or the last operator's.
    pub(super) input: DFSchemaRef,
    pub(super) has_tables: bool,
    pub(super) edge: Edge,
}

/// What is known of the rows that a plan on top is over.
#[derive(Debug, Clone, Default)]
pub(super) struct Edge {
    /// Rows are taken back.
    pub(super) retracts: bool,
    /// They are those of windows that have closed, window by window.
    pub(super) closed: Option<ClosedWindows>,
    /// Columns of which rows to come have no value that is older than the watermark; that of a source
    /// is one.
    pub(super) event_time: Vec<EventTimeColumn>,
}

impl Edge {
    /// Rows of which nothing is known.
    pub(super) fn of(retracts: bool) -> Edge {
        Edge { retracts, ..Edge::default() }
    }

    /// Rows of windows that have closed.
    pub(super) fn of_closed(windows: ClosedWindows) -> Edge {
        Edge { closed: Some(windows), ..Edge::default() }
    }
}

/// An event time: the watermark column of a source, or one that follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventTimeColumn {
    pub(super) column: usize,
    /// Sources of which no row is late as yet, and which of the columns that are read.
    pub(super) of: Vec<(usize, usize)>,
    /// How far behind the watermark, in ticks, rows to come may be that are not late.
    pub(super) behind: i64,
}

/// Rows of windows that have closed, in the order of the windows' ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClosedWindows {
    pub(super) spec: WindowSpec,
    /// Where [`WINDOW_COLUMNS`](crate::time::WINDOW_COLUMNS) are among the columns.
    pub(super) columns: [Option<usize>; 3],
}

impl Open {
    /// The rows of a source.
    pub(super) fn source(scan: SourceScan, input: DFSchemaRef) -> Open {
        let watermark = watermark_column(&scan.relation);
        let column = watermark.and_then(|time| scan.columns.iter().position(|at| *at == time));
        let event_time =
            column.map(|column| EventTimeColumn { column, of: vec![(0, column)], behind: 0 });
        let edge = Edge {
            retracts: scan.retracts(),
            closed: None,
            event_time: event_time.into_iter().collect(),
        };
        let plan = placeholder(&input);
        let below = fragment_of(plan.clone(), &input, false);
        Open {
            sources: vec![SourcePlan { scan, below, lateness: None }],
            steps: Vec::new(),
            parts: Vec::new(),
            on: Giver::Source(0),
            plan,
            input,
            has_tables: false,
            edge,
        }
    }

    /// The source that what is on top is over, if it is over a source's own rows.
    pub(super) fn on_source(&self) -> Option<&Arc<Relation>> {
        match self.on {
            Giver::Source(at) => Some(&self.sources[at].scan.relation),
            Giver::Step(_) => None,
        }
    }

    /// Whether what is on top is over an aggregate.
    pub(super) fn is_on_aggregate(&self) -> bool {
        let last = self.steps.last().map(|step| &step.operator);
        matches!((self.on, last), (Giver::Step(_), Some(Stateful::Aggregate { .. })))
    }

    /// The operators, and what the plan on top is over.
    pub(super) fn given_by(&self) -> (&[OperatorPlan], Giver) {
        (&self.steps, self.on)
    }

    /// Reads so much of the source below that its rows are told apart, if it takes rows back. The plan on
    /// top gives all columns that are read.
    pub(super) fn read_whole_rows(&mut self) -> Result<()> {
        let Giver::Source(at) = self.on else { return Ok(()) };
        let scan = &mut self.sources[at].scan;
        if !scan.retracts() {
            return Ok(());
        }
        let all: Vec<usize> = match &scan.relation.kind {
            Kind::Table(table) if !table.primary_key.is_empty() => table.primary_key.clone(),
            _ => (0..scan.relation.columns.len()).collect(),
        };
        let missing: Vec<usize> =
            all.into_iter().filter(|column| !scan.columns.contains(column)).collect();
        let own = scan.relation.schema();
        let qualifier = self.input.iter().next().and_then(|(qualifier, _)| qualifier.cloned());
        let mut fields: Vec<_> =
            self.input.iter().map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
        fields.extend(missing.iter().map(|at| (qualifier.clone(), Arc::clone(&own.fields()[*at]))));
        scan.columns.extend(missing);
        self.input = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        self.plan = over_placeholder(&self.plan, &self.input)?;
        Ok(())
    }

    /// Whether rows of what is read are taken back.
    pub(super) fn reads_changes(&self) -> bool {
        self.sources.iter().any(|source| source.scan.retracts())
    }

    /// What is read.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.sources.iter().map(|source| &source.scan.relation)
    }

    /// What rows are called in a message.
    pub(super) fn rows_of(&self) -> String {
        match (self.on_source(), self.steps.last().map(|step| &step.operator)) {
            (Some(relation), _) => format!("\"{}\"", relation.name),
            (None, Some(Stateful::Aggregate { .. })) => "an aggregate".to_owned(),
            (None, _) => "a query".to_owned(),
        }
    }

    /// From now on rows of this source are late by this rule.
    pub(super) fn late_by(&mut self, source: usize, rule: LatenessRule) {
        self.sources[source].lateness = Some(rule);
    }

    /// Ends the plan on top with `top`, and puts an operator on it that gives these columns.
    pub(super) fn with_step(
        mut self,
        top: LogicalPlan,
        operator: (Stateful, Frontier),
        output: &DFSchemaRef,
        edge: Edge,
    ) -> Result<Open> {
        self.plan = top;
        Open::over(vec![self], operator, output, edge)
    }

    /// Ends the plans on top of these, and puts an operator on them that gives these columns. The
    /// edge speaks of the sources as they come one part after the other.
    pub(super) fn over(
        parts: Vec<Open>,
        (operator, frontier): (Stateful, Frontier),
        output: &DFSchemaRef,
        edge: Edge,
    ) -> Result<Open> {
        let (mut sources, mut steps, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
        let mut answered = Vec::new();
        for mut part in parts {
            part.end();
            let (source, step) = (sources.len(), steps.len());
            let moved = |giver| match giver {
                Giver::Source(at) => Giver::Source(at + source),
                Giver::Step(at) => Giver::Step(at + step),
            };
            inputs.push(moved(part.on));
            sources.extend(part.sources);
            answered.extend(part.parts);
            steps.extend(part.steps.into_iter().map(|mut step: OperatorPlan| {
                step.inputs.iter_mut().for_each(|giver| *giver = moved(*giver));
                step
            }));
        }
        if steps.len() >= limits::QUERY_OPERATORS {
            return Err(Error::unsupported("so many operators in one query")
                .hint("Create a materialized view of an inner query, and go on over that."));
        }
        if sources.len() > limits::QUERY_SOURCES {
            return Err(Error::unsupported("so many streams, views and tables in one query")
                .hint("Create a materialized view of some of them, and go on over that."));
        }
        let plan = placeholder(output);
        let above = fragment_of(plan.clone(), output, false);
        let retracts = edge.retracts;
        steps.push(OperatorPlan { inputs, operator, frontier, retracts, ttl_ms: None, above });
        answered.push(None);
        let (on, input) = (Giver::Step(steps.len() - 1), Arc::clone(output));
        Ok(Open { sources, steps, parts: answered, on, plan, input, has_tables: false, edge })
    }

    /// The last step is what has become of this part of the query, if it is not that of a part of it.
    pub(super) fn answers(&mut self, part: &LogicalPlan) {
        if let Some(last @ None) = self.parts.last_mut() {
            *last = Some(part.clone());
        }
    }

    fn end(&mut self) {
        let fragment = fragment_of(self.plan.clone(), &self.input, self.has_tables);
        match self.on {
            Giver::Source(at) => self.sources[at].below = fragment,
            Giver::Step(at) => self.steps[at].above = fragment,
        }
    }

    /// All of it as sources and operators, and which parts of the query these answer.
    pub(super) fn finish(
        mut self,
    ) -> (Vec<SourcePlan>, Vec<OperatorPlan>, Vec<Option<LogicalPlan>>) {
        self.end();
        (self.sources, self.steps, self.parts)
    }
}

/// Filters over a placeholder that has more columns now.
fn over_placeholder(plan: &LogicalPlan, input: &DFSchemaRef) -> Result<LogicalPlan> {
    match plan.inputs().first() {
        Some(below) => rebuilt(plan, vec![over_placeholder(below, input)?]),
        None => Ok(placeholder(input)),
    }
}

/// The watermark column of a stream.
pub(super) fn watermark_column(relation: &Relation) -> Option<usize> {
    match &relation.kind {
        Kind::Stream(stream) => stream.watermark.as_ref().map(|watermark| watermark.column),
        Kind::Table(_) | Kind::View { .. } | Kind::MaterializedView(_) | Kind::Sink(_) => None,
    }
}

impl Stage {
    /// Whether its rows are only there.
    pub(super) fn has_no_columns(&self) -> bool {
        let plan = match self {
            Stage::Static(plan) => plan,
            Stage::Open(open) => &open.plan,
        };
        plan.schema().fields().is_empty()
    }

    /// The plan that reads no stream, if it is one.
    pub(super) fn fixed(self) -> Option<LogicalPlan> {
        match self {
            Stage::Static(plan) => Some(plan),
            Stage::Open(_) => None,
        }
    }

    /// The part over rows that come, if it is one.
    pub(super) fn open(self) -> Option<Open> {
        match self {
            Stage::Static(_) => None,
            Stage::Open(open) => Some(*open),
        }
    }

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

/// A filter over a plan.
pub(super) fn filter(plan: LogicalPlan, predicate: Expr) -> Result<LogicalPlan> {
    let kind = predicate.get_type(plan.schema())?;
    if kind != DataType::Boolean {
        return Err(Error::new(SqlState::TypeMismatch, "a filter must be a condition"));
    }
    Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?))
}
