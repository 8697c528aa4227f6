//! TUMBLE, HOP and CUMULATE in a FROM clause: a logical node that appends `window_start`,
//! `window_end`, `window_time`.
//!
//! The node survives DataFusion's optimizer (filters on the input's columns go below it, unused
//! columns are pruned through it). A snapshot runs it as [`WindowExec`], which writes each row once
//! per window. A continuous query never runs it: the planner finds it below an aggregate and hands
//! the window's shape to the operator that works on slices.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, DFSchemaRef, ExprSchema, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, Projection, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties,
};
use datafusion::sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, TableAlias, TableFactor,
};
use futures::{StreamExt, TryStreamExt};

use super::midnight::{with_midnights, without_midnights};
use super::session::SessionNode;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::operators::assign;
use crate::sql;
use crate::time::{DAY_NANOS, WINDOW_COLUMNS, WindowKind, WindowSpec, ticks_per_second};

/// What the time column of a window over windows is called behind it.
const INNER_TIME: &str = "inner_window_time";

/// The input's columns ++ window_start, window_end, window_time; each row once per window that
/// holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowNode {
    /// Its input.
    pub input: LogicalPlan,
    /// The time column, a column of the input.
    pub time: Expr,
    /// The windows, in ticks of the time column.
    pub spec: WindowSpec,
    schema: DFSchemaRef,
}

impl WindowNode {
    /// Checks the time column and builds the node.
    pub fn try_new(input: LogicalPlan, time: Expr, spec: WindowSpec) -> DfResult<Self> {
        let Expr::Column(column) = &time else {
            return Err(Error::new(
                SqlState::TypeMismatch,
                "the time of a window must be a column",
            )
            .into());
        };
        let (qualifier, time_field) = input.schema().qualified_field_from_column(column)?;
        let time_type = time_field.data_type().clone();
        let qualifier = qualifier.cloned();
        let mut fields: Vec<_> =
            input.schema().iter().map(|(q, field)| (q.cloned(), Arc::clone(field))).collect();
        for name in WINDOW_COLUMNS {
            fields.push((qualifier.clone(), Arc::new(Field::new(name, time_type.clone(), false))));
        }
        let schema =
            DFSchema::new_with_metadata(fields, input.schema().as_arrow().metadata().clone())
                .map_err(|_| {
                    Error::new(
                    SqlState::DuplicateColumn,
                    "the input of a window has a column window_start, window_end or window_time",
                )
                .hint("Rename it in a subquery, or select the columns that you need.")
                })?;
        Ok(WindowNode { input, time, spec, schema: Arc::new(schema) })
    }

    /// How many columns the input has; the window's columns follow.
    pub fn input_width(&self) -> usize {
        self.input.schema().fields().len()
    }

    fn time_index(&self) -> DfResult<usize> {
        match &self.time {
            Expr::Column(column) => self.input.schema().index_of_column(column),
            other => Err(Error::internal(format!("window over {other}")).into()),
        }
    }
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.spec
            .partial_cmp(&other.spec)
            .filter(|order| *order != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.time.clone()]
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        WINDOW_COLUMNS.iter().map(|name| (*name).to_owned()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let time = self.time_index().map_err(|_| fmt::Error)?;
        let time_type = self.input.schema().field(time).data_type();
        write!(f, "{} on {}", describe(&self.spec, time_type), self.time)
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        WindowNode::try_new(inputs.swap_remove(0), exprs.swap_remove(0), self.spec)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input_width();
        let mut needed: Vec<usize> =
            output_columns.iter().copied().filter(|c| *c < width).collect();
        needed.push(self.time_index().ok()?);
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// `HOP slide='1 second' size='1 minute'`; `time` is the type of the time column.
pub fn describe(spec: &WindowSpec, time: &DataType) -> String {
    let length = |ticks: i64| format!("'{}'", length(ticks, time));
    let shape = match spec.kind {
        WindowKind::Tumble { size } => format!("TUMBLE size={}", length(size)),
        WindowKind::Hop { slide, size } => {
            format!("HOP slide={} size={}", length(slide), length(size))
        }
        WindowKind::Cumulate { step, size } => {
            format!("CUMULATE step={} size={}", length(step), length(size))
        }
    };
    match spec.offset {
        0 => shape,
        offset => format!("{shape} offset={}", length(offset)),
    }
}

/// So many ticks of a timestamp, in words.
fn length(ticks: i64, time: &DataType) -> String {
    let DataType::Timestamp(unit, _) = time else { return format!("{ticks} ticks") };
    let nanos = i128::from(ticks) * i128::from(1_000_000_000 / ticks_per_second(*unit));
    match i64::try_from(nanos / 1_000) {
        Ok(micros) if nanos % 1_000 == 0 => sql::IntervalParts::from_micros(micros).to_string(),
        _ => format!("{nanos} nanoseconds"),
    }
}

/// DataFusion's hook that plans window functions in FROM; relies on the normal form that
/// [`crate::sql`] documents.
#[derive(Debug)]
pub struct WindowPlanner;

impl RelationPlanner for WindowPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let Some((function, args, alias)) = window_call(&relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let plan = plan_window(function, args, context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// The window functions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WindowFunction {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

fn window_call(
    relation: &TableFactor,
) -> Option<(WindowFunction, Vec<ast::Expr>, Option<TableAlias>)> {
    let (name, args, alias) = match relation {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, &args.args, alias),
        TableFactor::Function { name, args, alias, .. } => (name, args, alias),
        _ => return None,
    };
    let function = match name.to_string().to_ascii_lowercase().as_str() {
        "tumble" => WindowFunction::Tumble,
        "hop" => WindowFunction::Hop,
        "cumulate" => WindowFunction::Cumulate,
        "session" => WindowFunction::Session,
        _ => return None,
    };
    let args = args
        .iter()
        .filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect();
    Some((function, args, alias.clone()))
}

fn plan_window(
    function: WindowFunction,
    mut args: Vec<ast::Expr>,
    context: &mut dyn RelationPlannerContext,
) -> DfResult<LogicalPlan> {
    if args.len() < 3 {
        return Err(bad_arguments(function).into());
    }
    let lengths = args.split_off(2);
    let (Some(time), Some(data)) = (args.pop(), args.pop()) else {
        return Err(bad_arguments(function).into());
    };
    let ast::Expr::Subquery(subquery) = data else {
        return Err(bad_arguments(function).into());
    };
    let input = context.plan(TableFactor::Derived {
        lateral: false,
        subquery,
        alias: None,
        sample: None,
    })?;
    let time = context.sql_to_expr(time, input.schema())?;
    let (input, time, of_date) = with_midnights(input, time)?;
    let plan = window_over(function, input, time, lengths, context)?;
    if of_date { without_midnights(plan) } else { Ok(plan) }
}

fn window_over(
    function: WindowFunction,
    input: LogicalPlan,
    time: Expr,
    mut lengths: Vec<ast::Expr>,
    context: &mut dyn RelationPlannerContext,
) -> DfResult<LogicalPlan> {
    let unit = time_unit(&time, &input)?;
    if function == WindowFunction::Session {
        let keys = lengths.split_off(1).into_iter();
        let keys = keys.map(|key| context.sql_to_expr(key, input.schema()));
        let keys = keys.collect::<DfResult<Vec<_>>>()?;
        let gap = interval_ticks(&lengths[0], TimeUnit::Nanosecond)?;
        let (input, time) = without_inner_window(input, time)?;
        let node = SessionNode::try_new(input, time, gap, keys)?;
        return Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }));
    }
    let ticks =
        lengths.iter().map(|length| interval_ticks(length, unit)).collect::<Result<Vec<i64>>>()?;
    let spec = window_spec(function, &ticks)?;
    let (input, time) = without_inner_window(input, time)?;
    let node = WindowNode::try_new(input, time, spec)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// A window over the rows of windows: the new window's columns take the place of the old ones. The
/// time column, if it is one of them, is kept under another name, since the new windows are made
/// from it.
fn without_inner_window(input: LogicalPlan, time: Expr) -> Result<(LogicalPlan, Expr)> {
    let is_window = |name: &str| WINDOW_COLUMNS.contains(&name);
    if !input.schema().fields().iter().any(|field| is_window(field.name())) {
        return Ok((input, time));
    }
    let Expr::Column(column) = &time else {
        return Ok((input, time));
    };
    let kept = input.schema().iter().filter(|(_, field)| !is_window(field.name()));
    let mut exprs: Vec<Expr> = kept.map(|pair| Expr::Column(Column::from(pair))).collect();
    let time = if is_window(&column.name) {
        exprs.push(time.clone().alias(INNER_TIME));
        Expr::Column(Column::new_unqualified(INNER_TIME))
    } else {
        time
    };
    Ok((LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?), time))
}

fn bad_arguments(function: WindowFunction) -> Error {
    let form = match function {
        WindowFunction::Tumble => "TUMBLE(stream, time column, INTERVAL size [, INTERVAL offset])",
        WindowFunction::Hop => {
            "HOP(stream, time column, INTERVAL slide, INTERVAL size [, INTERVAL offset])"
        }
        WindowFunction::Cumulate => {
            "CUMULATE(stream, time column, INTERVAL step, INTERVAL size [, INTERVAL offset])"
        }
        WindowFunction::Session => {
            "SESSION(stream [PARTITION BY key, …], time column, INTERVAL gap)"
        }
    };
    Error::new(SqlState::UndefinedFunction, "wrong arguments for a window function")
        .hint(format!("Write {form}."))
}

/// The unit of the time column; anything but a timestamp column is an error.
fn time_unit(time: &Expr, input: &LogicalPlan) -> Result<TimeUnit> {
    let Expr::Column(column) = time else {
        return Err(Error::new(SqlState::TypeMismatch, "the time of a window must be a column")
            .hint("Compute it in a subquery or a generated column first."));
    };
    let field = input.schema().field_from_column(column).map_err(Error::from)?;
    match field.data_type() {
        DataType::Timestamp(unit, _) => Ok(*unit),
        other => Err(Error::new(
            SqlState::TypeMismatch,
            format!(
                "the time column \"{}\" of a window must be a timestamp or a date, not {}",
                column.name,
                crate::types::SqlType::from_field(&Field::new("", other.clone(), true))
            ),
        )
        .hint("Name a TIMESTAMP, TIMESTAMPTZ or DATE column, or cast it in a subquery.")),
    }
}

/// A constant interval in ticks; months have no fixed length (22023).
pub fn interval_ticks(expr: &ast::Expr, unit: TimeUnit) -> Result<i64> {
    let parts = sql::interval(expr)?;
    if parts.months != 0 {
        return Err(Error::new(
            SqlState::BadArgument,
            "an interval in months or years has no fixed length",
        )
        .hint("Use days, hours, minutes or seconds."));
    }
    let nanos = i128::from(parts.days) * i128::from(DAY_NANOS) + i128::from(parts.micros) * 1_000;
    let tick = i128::from(1_000_000_000 / ticks_per_second(unit));
    if nanos % tick != 0 {
        return Err(Error::new(
            SqlState::BadArgument,
            "the interval is finer than the time column",
        )
        .hint("Use a multiple of the time column's precision."));
    }
    i64::try_from(nanos / tick)
        .map_err(|_| Error::new(SqlState::OutOfRange, "interval out of range"))
}

fn window_spec(function: WindowFunction, ticks: &[i64]) -> Result<WindowSpec> {
    let (lengths, offset) = match (function, ticks) {
        (WindowFunction::Tumble, [size]) => ((*size, *size), 0),
        (WindowFunction::Tumble, [size, offset]) => ((*size, *size), *offset),
        (WindowFunction::Hop | WindowFunction::Cumulate, [slide, size]) => ((*slide, *size), 0),
        (WindowFunction::Hop | WindowFunction::Cumulate, [slide, size, offset]) => {
            ((*slide, *size), *offset)
        }
        _ => return Err(bad_arguments(function)),
    };
    let (slide, size) = lengths;
    if slide <= 0 || size <= 0 {
        return Err(Error::new(
            SqlState::BadArgument,
            "the size and slide of a window must be positive",
        )
        .hint("Write for example INTERVAL '10 seconds'."));
    }
    let kind = match function {
        WindowFunction::Tumble => WindowKind::Tumble { size },
        WindowFunction::Hop if slide > size => {
            return Err(Error::new(SqlState::BadArgument, "the slide of HOP is longer than its size")
                .hint("The slide comes first, then the size: HOP(stream, time column, slide, size). Swap the two intervals."));
        }
        WindowFunction::Hop => WindowKind::Hop { slide, size },
        WindowFunction::Cumulate if size % slide != 0 => {
            return Err(Error::new(
                SqlState::BadArgument,
                "the size of CUMULATE must be a multiple of its step",
            )
            .hint("The step comes first, then the size."));
        }
        WindowFunction::Cumulate => WindowKind::Cumulate { step: slide, size },
        WindowFunction::Session => return Err(bad_arguments(function)),
    };
    let spec = WindowSpec { kind, offset };
    if spec.windows_per_row() > limits::WINDOWS_PER_ROW {
        let most = limits::WINDOWS_PER_ROW;
        return Err(Error::new(
            SqlState::ProgramLimit,
            format!("a row would be in more than {most} windows"),
        )
        .hint("Make the slide longer or the size shorter."));
    }
    Ok(spec)
}

/// Runs a [`WindowNode`] over finite input.
#[derive(Debug)]
pub struct WindowExec {
    input: Arc<dyn ExecutionPlan>,
    time: usize,
    spec: WindowSpec,
    properties: Arc<PlanProperties>,
}

impl WindowExec {
    /// Over `input`, whose column `time` is a timestamp.
    pub fn new(input: Arc<dyn ExecutionPlan>, time: usize, spec: WindowSpec) -> Self {
        let schema = window_schema(&input.schema(), time);
        let properties = PlanProperties::new(
            datafusion::physical_expr::EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        WindowExec { input, time, spec, properties: Arc::new(properties) }
    }

    /// For a logical node whose input has been planned.
    pub fn plan(
        node: &dyn UserDefinedLogicalNode,
        input: &Arc<dyn ExecutionPlan>,
    ) -> DfResult<Option<Self>> {
        let Some(window) = node.as_any().downcast_ref::<WindowNode>() else {
            return Ok(None);
        };
        Ok(Some(WindowExec::new(Arc::clone(input), window.time_index()?, window.spec)))
    }
}

/// `input` ++ window_start, window_end, window_time.
pub fn window_schema(input: &Schema, time: usize) -> SchemaRef {
    let time_type = input.field(time).data_type().clone();
    let mut fields: Vec<_> = input.fields().iter().cloned().collect();
    fields.extend(WINDOW_COLUMNS.map(|name| Arc::new(Field::new(name, time_type.clone(), false))));
    Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()))
}

impl DisplayAs for WindowExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let input = self.input.schema();
        write!(f, "WindowExec: {}", describe(&self.spec, input.field(self.time).data_type()))
    }
}

impl ExecutionPlan for WindowExec {
    fn name(&self) -> &str {
        "WindowExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(WindowExec::new(children.swap_remove(0), self.time, self.spec)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (time, spec, schema) = (self.time, self.spec, self.schema());
        let stream = input
            .map(move |batch| {
                let batch = batch?;
                let expanded = assign::expand(&batch, time, &spec)
                    .map_err(datafusion::error::DataFusionError::from)?;
                Ok::<_, datafusion::error::DataFusionError>(futures::stream::iter(
                    expanded.map(|b| b.map_err(datafusion::error::DataFusionError::from)),
                ))
            })
            .try_flatten();
        // One batch of input can give very many: a statement that only counts them must still be
        // cancelled.
        Ok(Box::pin(cooperative(RecordBatchStreamAdapter::new(schema, stream))))
    }
}
