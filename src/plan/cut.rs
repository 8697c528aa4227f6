//! Cuts a logical plan into a [`Pipeline`], or refuses it with a hint.
//!
//! The plan has been analysed and optimized. Going from the leaves up, each node is one of:
//! *static* (reads no stream; it stays an ordinary DataFusion plan), *stateless* (it joins the
//! fragment that is open), or an operator, which ends the fragments that are open below it and begins
//! the next: each Aggregate that is met on the way, a window whose rows wait for it to close, with no
//! aggregate above it, UNION ALL, the first rows in an order (`top`), and whatever else there is, by
//! its keys (`keyed`).

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::{
    Expr, FetchType, Join, LogicalPlan, Projection, SkipType, TableScan, Union,
};

use super::aggregate;
use super::bounds::time_bounds;
use super::equal_parts;
use super::expiry;
use super::keyed;
use super::keys::{KeyColumns, keys_of, keys_of_join};
use super::origin::{Origin, column_at, trace};
use super::pipeline::{Frontier, OutputTime, Pipeline, SourceScan, Stateful};
use super::relations::{has_versions, read_by, scanned, tables_of};
use super::session::SessionNode;
use super::session_windows;
use super::stage::{
    ClosedWindows, CutOptions, Edge, EventTimeColumn, Open, Stage, contains_window, rebuilt,
};
use super::temporal::{self, TimedConditions, TimedFilter};
use super::timed_join;
use super::top;
use super::window::WindowNode;
use crate::catalog::{Emission, Kind, Relation};
use crate::error::{Error, Result};

/// Cuts an optimized plan.
pub fn cut(plan: LogicalPlan, options: CutOptions) -> Result<Pipeline> {
    let (plan, limit) = if options.limit_ends { take_limit(plan)? } else { (plan, None) };
    let schema = Arc::clone(plan.schema().inner());
    let follows = options.state.revises;
    let mut cutter = Cutter { options, follows, notices: Vec::new() };
    let stage = cutter.visit(plan, Within::Query)?;
    match cutter.followed(stage)? {
        Stage::Static(plan)
            if read_by([&plan])?.is_empty() && !plan.schema().fields().is_empty() =>
        {
            cutter.pipeline(keyed::constant(plan)?, limit, schema)
        }
        Stage::Static(_) => {
            Err(Error::unsupported("a continuous query must read a stream, a table or a view")
                .hint("Leave EMIT away, or use CREATE VIEW: what it reads never changes."))
        }
        Stage::Open(stage) => cutter.pipeline(*stage, limit, schema),
    }
}

/// What the rows of a part of the plan come to next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// The query's answer, or a window.
    Query,
    /// An aggregate, which closes windows itself.
    Aggregate,
}

struct Cutter {
    options: CutOptions,
    /// Tables are followed: a change of them changes the answer. Else they are looked up.
    follows: bool,
    notices: Vec<String>,
}

impl Cutter {
    fn visit(&mut self, plan: LogicalPlan, within: Within) -> Result<Stage> {
        let part = plan.clone();
        let mut stage = self.taken_apart(plan, within)?;
        if let Stage::Open(open) = &mut stage {
            open.answers(&part);
        }
        Ok(stage)
    }

    fn taken_apart(&mut self, plan: LogicalPlan, within: Within) -> Result<Stage> {
        if keyed::applies(&plan)? {
            return self.by_leaves(plan);
        }
        if let Some(first) = top::first_rows(self.options, &plan)? {
            return match self.visit(first.input.clone(), Within::Query)? {
                Stage::Static(_) => Ok(Stage::Static(plan)),
                Stage::Open(input) => top::plan(&mut self.notices, first, *input),
            };
        }
        if let Some(timed) = temporal::conditions(self.options, &plan)? {
            return self.timed(plan, timed);
        }
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Join(join) => match timed_join::apart(self.options, join)? {
                LogicalPlan::Join(join) => self.join(join, within),
                above => self.visit(above, within),
            },
            LogicalPlan::Aggregate(aggregate) => {
                let input = Arc::unwrap_or_clone(Arc::clone(&aggregate.input));
                match self.visit(input, Within::Aggregate)? {
                    Stage::Static(input) => {
                        rebuilt(&LogicalPlan::Aggregate(aggregate), vec![input]).map(Stage::Static)
                    }
                    Stage::Open(stage)
                        if aggregate::needs_rows(&aggregate, &stage)
                            || expiry::forgets_rows(self.options, &stage)
                                && !aggregate.group_expr.is_empty() =>
                    {
                        let node = LogicalPlan::Aggregate(aggregate);
                        let (keys, input) = (keys_of(&node)?, vec![Stage::Open(stage)]);
                        keyed::plan(self.options, &mut self.notices, &node, input, keys)
                    }
                    Stage::Open(stage) => {
                        aggregate::plan(self.options, &mut self.notices, aggregate, *stage)
                            .map(|stage| Stage::Open(Box::new(stage)))
                    }
                }
            }
            LogicalPlan::Extension(ref extension) => {
                if let Some(session) = extension.node.as_any().downcast_ref::<SessionNode>() {
                    let session = session.clone();
                    return self.session(&plan, &session);
                }
                let Some(window) = extension.node.as_any().downcast_ref::<WindowNode>() else {
                    return Err(unsupported_node(&plan));
                };
                let window = window.clone();
                self.window(plan, window, within)
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Unnest(_) => self.unary(plan, within),
            LogicalPlan::Union(union) => self.union(union),
            // The rows of an answer have no order but that in which they are read.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                self.visit(Arc::unwrap_or_clone(sort.input), within)
            }
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::Window(_) => {
                self.by_key(plan)
            }
            LogicalPlan::RecursiveQuery(_) => self.by_leaves(plan),
            other => self.only_static(other),
        }
    }

    /// A filter that time changes: what it is over is followed, also a table.
    fn timed(&mut self, node: LogicalPlan, timed: TimedFilter) -> Result<Stage> {
        let follows = self.follows || is_static(&timed.input)?;
        let before = std::mem::replace(&mut self.follows, follows);
        let input = self.visit(timed.input, Within::Query)?;
        self.follows = before;
        match input {
            Stage::Static(_) => Ok(Stage::Static(node)),
            Stage::Open(stage) => {
                let mut stage = temporal::plan(timed.conditions, *stage)?;
                for above in &timed.above {
                    stage.plan = rebuilt(above, vec![stage.plan])?;
                }
                Ok(Stage::Open(Box::new(stage)))
            }
        }
    }

    /// A node that is answered anew, key by key.
    fn by_key(&mut self, node: LogicalPlan) -> Result<Stage> {
        let inputs =
            keyed::inputs_of(&node).into_iter().map(|input| self.visit(input, Within::Query));
        let inputs = inputs.collect::<Result<_>>()?;
        let inputs = self.all_followed(inputs)?;
        let keys = keys_of(&node)?;
        keyed::plan(self.options, &mut self.notices, &node, inputs, keys)
    }

    fn session(&mut self, node: &LogicalPlan, session: &SessionNode) -> Result<Stage> {
        let input = self.visit(session.input.clone(), Within::Query)?;
        match input {
            Stage::Open(part) if session_windows::close(session, &part)? => {
                let stage = session_windows::plan(self.options, session, *part)?;
                Ok(Stage::Open(Box::new(stage)))
            }
            input => {
                let inputs = self.all_followed(vec![input])?;
                keyed::plan(self.options, &mut self.notices, node, inputs, keys_of(node)?)
            }
        }
    }

    /// A part of the plan that is answered anew as a whole, over the rows of all that it reads.
    fn by_leaves(&mut self, part: LogicalPlan) -> Result<Stage> {
        if is_static(&part)? && !self.follows {
            return Ok(Stage::Static(part));
        }
        let (part, leaves) = keyed::leaves(part)?;
        let before = std::mem::replace(&mut self.follows, true);
        let leaves = leaves.into_iter().map(|leaf| self.scan(leaf)).collect::<Result<_>>()?;
        self.follows = before;
        keyed::plan_whole(self.options, &mut self.notices, part, leaves)
    }

    /// Inputs of a node that follows its tables if it reads anything else.
    fn all_followed(&mut self, inputs: Vec<Stage>) -> Result<Vec<Stage>> {
        if inputs.iter().all(|input| matches!(input, Stage::Static(_))) {
            return Ok(inputs);
        }
        inputs.into_iter().map(|input| self.followed(input)).collect()
    }

    /// A part that reads tables, made one that follows them.
    fn followed(&mut self, stage: Stage) -> Result<Stage> {
        match stage {
            Stage::Static(plan) if !tables_of([&plan])?.is_empty() => {
                let before = std::mem::replace(&mut self.follows, true);
                let stage = self.visit(plan, Within::Query);
                self.follows = before;
                stage
            }
            other => Ok(other),
        }
    }

    fn union(&mut self, union: Union) -> Result<Stage> {
        let mut parts = Vec::new();
        for input in &union.inputs {
            parts.push(self.visit(input.as_ref().clone(), Within::Query)?);
        }
        let parts = self.all_followed(parts)?;
        if parts.iter().any(|part| matches!(part, Stage::Static(_))) {
            let node = LogicalPlan::Union(union);
            let none = KeyColumns::default();
            return keyed::plan(self.options, &mut self.notices, &node, parts, none);
        }
        let parts: Vec<Open> = parts.into_iter().filter_map(Stage::open).collect();
        let (mut edge, mut sources) = (Edge::default(), 0);
        edge.closed = parts.first().and_then(closed_on_top);
        for part in &parts {
            edge.retracts |= part.edge.retracts;
            if closed_on_top(part) != edge.closed {
                edge.closed = None;
            }
            let own = event_times_on_top(part, sources);
            if sources == 0 {
                edge.event_time = own;
            } else {
                edge.event_time.retain_mut(|time| {
                    let other = own.iter().find(|other| other.column == time.column);
                    let Some(other) = other else { return false };
                    time.of.extend(&other.of);
                    time.behind = time.behind.max(other.behind);
                    true
                });
            }
            sources += part.sources().count();
        }
        let operator = (Stateful::Union { schema: Arc::clone(&union.schema) }, Frontier::Input);
        let stage = Open::over(parts, operator, &union.schema, edge)?;
        Ok(Stage::Open(Box::new(stage)))
    }

    fn scan(&mut self, scan: TableScan) -> Result<Stage> {
        let Some(relation) = scanned(&scan) else {
            return Ok(Stage::Static(LogicalPlan::TableScan(scan)));
        };
        match relation.kind {
            Kind::Table(_) if !self.follows || has_versions(&scan) => {
                Ok(Stage::Static(LogicalPlan::TableScan(scan)))
            }
            Kind::Stream(_) | Kind::MaterializedView(_) | Kind::Table(_) => {
                let columns = match &scan.projection {
                    Some(columns) => columns.clone(),
                    None => (0..relation.columns.len()).collect(),
                };
                let input = Arc::clone(&scan.projected_schema);
                let source = SourceScan { relation, columns };
                if source.columns.is_empty() && source.retracts() {
                    return rows_alone(source.relation, &scan);
                }
                Ok(Stage::Open(Box::new(Open::source(source, input))))
            }
            Kind::View { .. } | Kind::Sink(_) => {
                Err(Error::internal(format!("view {} was not put in place", relation.name)))
            }
        }
    }

    fn unary(&mut self, plan: LogicalPlan, within: Within) -> Result<Stage> {
        let input = match plan.inputs().first() {
            Some(input) => (*input).clone(),
            None => return Ok(Stage::Static(plan)),
        };
        Ok(match self.visit(input, within)? {
            Stage::Static(input) => Stage::Static(rebuilt(&plan, vec![input])?),
            Stage::Open(mut stage) => {
                stage.plan = rebuilt(&plan, vec![stage.plan])?;
                Stage::Open(stage)
            }
        })
    }

    fn window(&mut self, plan: LogicalPlan, window: WindowNode, within: Within) -> Result<Stage> {
        match self.visit(window.input.clone(), Within::Query)? {
            Stage::Static(input) => Ok(Stage::Static(rebuilt(&plan, vec![input])?)),
            Stage::Open(stage) => {
                if contains_window(&stage.plan) {
                    return Err(Error::unsupported(
                        "a window over a window needs an aggregate between them",
                    )
                    .hint("Window the stream once."));
                }
                let plan = rebuilt(&plan, vec![stage.plan.clone()])?;
                let mut stage = *stage;
                if within == Within::Query && aggregate::closes(self.options, &stage, &window) {
                    stage =
                        aggregate::buffer(self.options, &mut self.notices, window, plan, stage)?;
                } else {
                    stage.plan = plan;
                }
                Ok(Stage::Open(Box::new(stage)))
            }
        }
    }

    /// A side of a join without the conditions on it that time changes, and these. They are put on it,
    /// or on the join, when it is known which rows the join keeps.
    fn side(&self, join: &Join, side: &LogicalPlan) -> Result<(LogicalPlan, TimedConditions)> {
        let is_of_rows_that_come = !is_static(&join.left)? && !is_static(&join.right)?;
        if join.join_type == JoinType::Inner
            && is_of_rows_that_come
            && let Some(pulled_up) = temporal::pulled_up(self.options, side)?
        {
            return Ok(pulled_up);
        }
        Ok((side.clone(), TimedConditions::default()))
    }

    /// A join that forgets by event time, of rows that stay: what it gives comes and leaves.
    fn joined_in_time(
        &mut self,
        join: &Join,
        sides: [Stage; 2],
        conditions: TimedConditions,
    ) -> Result<Stage> {
        let node = LogicalPlan::Join(join.clone());
        let keys = keys_of_join(join)?;
        match keyed::plan(self.options, &mut self.notices, &node, sides.into(), keys)? {
            Stage::Open(stage) => Ok(Stage::Open(Box::new(temporal::plan(conditions, *stage)?))),
            fixed => Ok(fixed),
        }
    }

    fn join(&mut self, join: Join, within: Within) -> Result<Stage> {
        // Windows of rows that are joined with a table alone stay with what is above.
        let within = match (is_static(&join.left)?, is_static(&join.right)?) {
            (false, false) => Within::Query,
            (true, _) | (_, true) => within,
        };
        let (left, left_timed) = self.side(&join, &join.left)?;
        let (right, right_timed) = self.side(&join, &join.right)?;
        let (left, right) = (self.visit(left, within)?, self.visit(right, within)?);
        let is_timed = !left_timed.is_empty() || !right_timed.is_empty();
        if is_timed && forgets(&join, &left, &right) {
            return self.joined_in_time(&join, [left, right], left_timed.and(right_timed));
        }
        let left = temporal::put_on(left_timed, left)?;
        let right = temporal::put_on(right_timed, right)?;
        match (left, right) {
            (Stage::Static(left), Stage::Static(right)) => {
                Ok(Stage::Static(rebuilt(&LogicalPlan::Join(join), vec![left, right])?))
            }
            (Stage::Open(stream), Stage::Static(table))
                if is_looked_up(&stream, &join, StreamSide::Left) =>
            {
                Stage::Open(stream)
                    .join(|plan| stream_table_join(&join, plan, table, StreamSide::Left))
            }
            (Stage::Static(table), Stage::Open(stream))
                if is_looked_up(&stream, &join, StreamSide::Right) =>
            {
                Stage::Open(stream)
                    .join(|plan| stream_table_join(&join, plan, table, StreamSide::Right))
            }
            (left, right) => {
                let keys = keys_of_join(&join)?;
                let node = LogicalPlan::Join(join);
                let inputs = self.all_followed(vec![left, right])?;
                keyed::plan(self.options, &mut self.notices, &node, inputs, keys)
            }
        }
    }

    /// Nodes that may stand over static input only.
    fn only_static(&mut self, plan: LogicalPlan) -> Result<Stage> {
        let mut inputs = Vec::new();
        for input in plan.inputs() {
            match self.visit(input.clone(), Within::Query)? {
                Stage::Static(input) => inputs.push(input),
                Stage::Open(_) => return Err(unsupported_node(&plan)),
            }
        }
        Ok(Stage::Static(rebuilt(&plan, inputs)?))
    }

    fn pipeline(self, stage: Open, limit: Option<usize>, schema: SchemaRef) -> Result<Pipeline> {
        if self.options.emission == Emission::OnClose && stage.edge.retracts {
            let rows = stage.rows_of();
            return Err(Error::unsupported(format!(
                "EMIT ON WINDOW CLOSE over {rows}, whose rows change, is not supported"
            ))
            .hint("Use EMIT CHANGES."));
        }
        let mut notices = self.notices;
        let event_time = output_time(&stage);
        let (sources, steps, parts) = stage.finish();
        let (sources, mut steps) = equal_parts::merged(sources, steps, parts);
        top::leave_out_ranks(&mut steps);
        if let Some(ttl_ms) = self.options.state.ttl_ms {
            expiry::expire(ttl_ms, &sources, &mut steps, &mut notices)?;
        }
        let below = sources.iter().map(|source| &source.below.plan);
        let tables = tables_of(below.chain(steps.iter().map(|step| &step.above.plan)))?;
        Ok(Pipeline {
            sources,
            steps,
            schema,
            emission: self.options.emission,
            limit,
            tables,
            notices,
            moment: None,
            event_time,
        })
    }
}

/// Rows that change and of which no column is asked for (`count(*)`): which of them come and which go
/// is told apart by values. What has changed in a table is found by those of all its columns.
fn rows_alone(relation: Arc<Relation>, scan: &TableScan) -> Result<Stage> {
    let is_table = matches!(relation.kind, Kind::Table(_));
    let columns: Vec<usize> =
        if is_table { (0..relation.columns.len()).collect() } else { vec![0] };
    let read = relation.schema().project(&columns)?;
    let input = Arc::new(DFSchema::try_from_qualified_schema(scan.table_name.clone(), &read)?);
    let mut stage = Open::source(SourceScan { relation, columns }, input);
    stage.plan = LogicalPlan::Projection(Projection::try_new(Vec::new(), Arc::new(stage.plan))?);
    Ok(Stage::Open(Box::new(stage)))
}

/// Whether a join is of rows that stay and bounds how far apart in event time they are.
fn forgets(join: &Join, left: &Stage, right: &Stage) -> bool {
    let (Stage::Open(left), Stage::Open(right)) = (left, right) else { return false };
    !left.edge.retracts && !right.edge.retracts && time_bounds(join, left, right).is_some()
}

/// Whether a plan reads nothing that is written to for ever.
fn is_static(plan: &LogicalPlan) -> Result<bool> {
    let is_table = |relation: &Arc<Relation>| matches!(relation.kind, Kind::Table(_));
    Ok(read_by([plan])?.iter().all(is_table))
}

/// The windows of a part's rows, by the columns of the plan on top of it.
fn closed_on_top(part: &Open) -> Option<ClosedWindows> {
    let closed = part.edge.closed?;
    let origins: Vec<Origin> = origins(part);
    let columns = closed.columns.map(|column| {
        let column = Origin::Source(column?);
        origins.iter().position(|origin| *origin == column)
    });
    Some(ClosedWindows { columns, ..closed })
}

/// The column by which a query's rows come in order, but for a delay: of windows that have closed one
/// of theirs, else the event time of the one source that they come from.
fn output_time(part: &Open) -> Option<OutputTime> {
    if let Some(closed) = closed_on_top(part) {
        let [_, end, time] = closed.columns;
        let column = time.or(end)?;
        return Some(OutputTime { column, delay: 0, behind: 0 });
    }
    event_times_on_top(part, 0).into_iter().find_map(|time| match &time.of[..] {
        [(source, _)] => {
            let Kind::Stream(stream) = &part.sources().nth(*source)?.kind else { return None };
            let delay = stream.watermark.as_ref()?.delay.checked_add(time.behind)?;
            Some(OutputTime { column: time.column, delay, behind: time.behind })
        }
        _ => None,
    })
}

/// The event times of a part's rows, by the columns of the plan on top of it; its first source has
/// this number.
fn event_times_on_top(part: &Open, first: usize) -> Vec<EventTimeColumn> {
    let times = origins(part).into_iter().enumerate().filter_map(|(at, origin)| {
        let Origin::Source(column) = origin else { return None };
        let time = part.edge.event_time.iter().find(|time| time.column == column)?;
        let of = time.of.iter().map(|(source, column)| (source + first, *column)).collect();
        Some(EventTimeColumn { column: at, of, behind: time.behind })
    });
    times.collect()
}

fn origins(part: &Open) -> Vec<Origin> {
    let columns = 0..part.plan.schema().fields().len();
    columns.map(|at| trace(&column_at(&part.plan, at), &part.plan)).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamSide {
    Left,
    Right,
}

/// Whether a table is looked up as each row comes: where the rows are never taken back, or are those
/// of an aggregate over such rows, of which what was given out is kept. A kind of join that has rows
/// of the table alone follows it.
fn is_looked_up(stream: &Open, join: &Join, side: StreamSide) -> bool {
    let join_type = as_probed(join, side);
    let is_kind = matches!(
        join_type,
        JoinType::Inner
            | JoinType::Right
            | JoinType::RightSemi
            | JoinType::RightAnti
            | JoinType::RightMark
    );
    // Without columns that are equal there is nothing to look up by whether a row is there.
    let is_by_key = matches!(join_type, JoinType::Inner | JoinType::Right) || !join.on.is_empty();
    let comes = !stream.edge.retracts || stream.is_on_aggregate() && !stream.reads_changes();
    is_kind && is_by_key && !join.null_aware && comes
}

/// The kind of join with the stream on the right.
fn as_probed(join: &Join, side: StreamSide) -> JoinType {
    match side {
        StreamSide::Left => join.join_type.swap(),
        StreamSide::Right => join.join_type,
    }
}

/// The join with the table as the left (build) side, which DataFusion keeps from run to run, and
/// the stream as the probe side; columns in the order they had.
fn stream_table_join(
    join: &Join,
    stream: LogicalPlan,
    table: LogicalPlan,
    side: StreamSide,
) -> Result<LogicalPlan> {
    let join_type = as_probed(join, side);
    let on = match side {
        StreamSide::Left => join.on.iter().map(|(l, r)| (r.clone(), l.clone())).collect(),
        StreamSide::Right => join.on.clone(),
    };
    let swapped = Join::try_new(
        Arc::new(table),
        Arc::new(stream),
        on,
        join.filter.clone(),
        join_type,
        join.join_constraint,
        join.null_equality,
        false,
    )?;
    let swapped = LogicalPlan::Join(swapped);
    if side == StreamSide::Right || !matches!(join_type, JoinType::Inner | JoinType::Right) {
        return Ok(swapped);
    }
    let order: Vec<Expr> =
        join.schema.iter().map(|pair| Expr::Column(Column::from(pair))).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(order, Arc::new(swapped))?))
}

/// LIMIT at the top ends a continuous query, if it is over no order.
fn take_limit(plan: LogicalPlan) -> Result<(LogicalPlan, Option<usize>)> {
    match plan {
        LogicalPlan::Limit(limit) if !keyed::is_ordered(&limit.input) => {
            let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
                (limit.get_skip_type()?, limit.get_fetch_type()?)
            else {
                return Err(Error::unsupported("LIMIT of a continuous query must be a constant"));
            };
            if skip != 0 {
                return Err(Error::unsupported("OFFSET in a continuous query needs ORDER BY")
                    .hint("Use LIMIT alone, which ends the query."));
            }
            Ok((Arc::unwrap_or_clone(limit.input), fetch))
        }
        // The optimizer may have put the limit below the last projection.
        LogicalPlan::Projection(projection)
            if matches!(*projection.input, LogicalPlan::Limit(_)) =>
        {
            let (input, limit) = take_limit(Arc::unwrap_or_clone(projection.input))?;
            Ok((
                LogicalPlan::Projection(Projection::try_new(projection.expr, Arc::new(input))?),
                limit,
            ))
        }
        other => Ok((other, None)),
    }
}

fn unsupported_node(plan: &LogicalPlan) -> Error {
    let (what, hint) = match plan {
        LogicalPlan::Subquery(_) => ("this subquery in a continuous query", "Write it as a join."),
        _ => (
            "this form of query over a stream",
            "Use filters, projections, windows, GROUP BY, joins, OVER and set operations.",
        ),
    };
    Error::unsupported(format!("{what} is not supported yet")).hint(hint)
}
