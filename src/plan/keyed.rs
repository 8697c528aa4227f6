//! Whatever a plan can do, kept up to date: it is answered anew for the keys whose rows have
//! changed.
//!
//! Joins, OVER, EXCEPT and INTERSECT (which the optimizer makes joins of), recursion: DataFusion
//! answers all of these over rows that are there. What makes an answer that follows changes is a
//! *key*: columns of all inputs and of the answer such that rows of one key have nothing to do with
//! those of another ([`super::keys`]).
//!
//! With EMIT ON WINDOW CLOSE the key has the window in it, and a key is answered once, when its
//! window has closed: a closed window is a table. (OVER in the order of event time needs no windows:
//! [`super::over`].)

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DFSchemaRef, JoinType};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{LogicalPlan, Projection, TableScan, Window, lit};

use super::append_join;
use super::closing::time_unit;
use super::expiry;
use super::keys::{KeyColumns, columns_of, say_what_is_kept, with_keys};
use super::origin::{Origin, column_at, trace};
use super::over;
use super::pipeline::{ClosingKey, Frontier, PerKeyPlan, Stateful};
use super::placeholder::{input_name, placeholder_of};
use super::ports;
use super::relations::scanned;
use super::stage::{ClosedWindows, CutOptions, Edge, Open, Stage, rebuilt};
use super::whole_rows::{self, WholeRows};
use crate::catalog::Emission;
use crate::error::{Error, Result};
use crate::postgres::subplan;
use crate::time::ticks_of_millis;

/// What is below a node; LIMIT is one node with the ORDER BY that it cuts off.
pub(super) fn inputs_of(node: &LogicalPlan) -> Vec<LogicalPlan> {
    sort_below(node).unwrap_or(node).inputs().into_iter().cloned().collect()
}

/// Whether a plan's rows come in an order.
pub(super) fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().first().is_some_and(|input| is_ordered(input))
        }
        _ => false,
    }
}

/// The ORDER BY that a LIMIT is over.
fn sort_below(node: &LogicalPlan) -> Option<&LogicalPlan> {
    let LogicalPlan::Limit(limit) = node else { return None };
    let mut below = limit.input.as_ref();
    if !is_ordered(below) {
        return None;
    }
    while !matches!(below, LogicalPlan::Sort(_)) {
        below = below.inputs().first()?;
    }
    Some(below)
}

/// Whether a node, with what belongs to it, applies a subquery.
pub(super) fn applies(node: &LogicalPlan) -> Result<bool> {
    let last = sort_below(node).unwrap_or(node);
    let mut part = node;
    while !subplan::applies(part)? {
        part = match part.inputs().first() {
            Some(below) if !std::ptr::eq(part, last) => below,
            _ => return Ok(false),
        };
    }
    Ok(true)
}

/// The node over other inputs.
fn put_together(node: &LogicalPlan, inputs: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    match node {
        LogicalPlan::Limit(limit) if is_ordered(&limit.input) => {
            let below = put_in_order(&limit.input, inputs)?;
            rebuilt(node, vec![below])
        }
        _ => rebuilt(node, inputs),
    }
}

fn put_in_order(plan: &LogicalPlan, inputs: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    match (plan, plan.inputs().first()) {
        (LogicalPlan::Sort(_), _) | (_, None) => rebuilt(plan, inputs),
        (_, Some(below)) => rebuilt(plan, vec![put_in_order(below, inputs)?]),
    }
}

/// A node over these inputs as an operator.
pub(super) fn plan(
    options: CutOptions,
    notices: &mut Vec<String>,
    node: &LogicalPlan,
    inputs: Vec<Stage>,
    mut keys: KeyColumns,
) -> Result<Stage> {
    if inputs.iter().all(|input| matches!(input, Stage::Static(_))) {
        let inputs = inputs.into_iter().filter_map(Stage::fixed).collect();
        return Ok(Stage::Static(put_together(node, inputs)?));
    }
    if inputs.iter().any(|input| matches!(input, Stage::Static(_))) {
        keys = KeyColumns::default();
    }
    let is_whole = keys.is_none();
    if is_whole && (has_no_columns(node) || inputs.iter().any(Stage::has_no_columns)) {
        // Rows are kept as values of columns, so there has to be one.
        keys = KeyColumns { inputs: vec![vec![lit(1)]; inputs.len()], output: vec![lit(1)] };
    }
    let stays = match node {
        LogicalPlan::Join(join) => append_join::is_of_rows_that_stay(join, &inputs),
        _ => false,
    };
    let closing = match options.emission {
        Emission::OnClose => match (closing(node, &inputs, &mut keys), node) {
            // They need not be of windows to be done with.
            (Err(_), _) if stays => None,
            (Err(_), LogicalPlan::Window(window)) => {
                return over_event_time(options, notices, window, inputs);
            }
            (closing, _) => Some(closing?),
        },
        Emission::OnChange => None,
    };
    if let (LogicalPlan::Join(join), true, None) = (node, stays, &closing) {
        let sides: Vec<Open> = inputs.into_iter().filter_map(Stage::open).collect();
        let sides = sides.try_into().map_err(|_| Error::internal("a join of not two sides"))?;
        return append_join::plan(options, notices, join, sides, &keys);
    }
    let Ports { parts, ports, leaves } = Ports::of(options, inputs, &keys)?;
    let answer = put_together(node, leaves)?;
    let schema = Arc::clone(node.schema());
    let plan = with_keys(answer, &keys.output)?;
    let is_inner = matches!(node, LogicalPlan::Join(join) if join.join_type == JoinType::Inner);
    let joins = is_inner && parts.len() == 2;
    let (edge, closes) = match closing {
        Some((closes, edge)) => (edge, Some(closes)),
        None => {
            say_what_is_kept(notices, node, is_whole);
            (Edge::of(true), None)
        }
    };
    let plan = Box::new(PerKeyPlan { plan, key: keys.output.len(), ports, closes });
    let operator =
        if joins && closes.is_none() { Stateful::Join(plan) } else { Stateful::PerKey(plan) };
    finish(parts, operator, &schema, edge)
}

/// OVER that is not within windows.
fn over_event_time(
    options: CutOptions,
    notices: &mut Vec<String>,
    window: &Window,
    inputs: Vec<Stage>,
) -> Result<Stage> {
    let input = inputs.into_iter().find_map(Stage::open);
    over::plan(options, notices, window, input.ok_or_else(|| Error::internal("OVER of nothing"))?)
}

/// What a plan is over: the parts that give rows to its ports, the first column of the key in each
/// port's rows, and its leaves, of which some read nothing that changes.
struct Ports {
    parts: Vec<Open>,
    ports: Vec<usize>,
    leaves: Vec<LogicalPlan>,
}

impl Ports {
    fn of(options: CutOptions, inputs: Vec<Stage>, keys: &KeyColumns) -> Result<Ports> {
        let (mut parts, mut ports, mut leaves) = (Vec::new(), Vec::new(), Vec::new());
        for (at, input) in inputs.into_iter().enumerate() {
            let mut part = match input {
                Stage::Open(part) => part,
                Stage::Static(fixed) => {
                    leaves.push(fixed);
                    continue;
                }
            };
            let (mut by, mut above) = (keys.of(at).to_vec(), Vec::new());
            let mut width = part.plan.schema().fields().len();
            if !by.is_empty() && expiry::forgets_rows(options, &part) {
                let whole = WholeRows::of(*part, &by)?;
                (*part, width) = (whole.part, whole.width);
                (by, above) = (whole.keys, whole.above);
            }
            let mut columns = columns_of(&part.plan);
            ports.push(columns.len());
            part.plan = with_keys(part.plan, &by)?;
            let leaf = placeholder_of(part.plan.schema(), parts.len());
            let rows = if by.is_empty() {
                leaf
            } else {
                columns.truncate(width);
                LogicalPlan::Projection(Projection::try_new(columns, Arc::new(leaf))?)
            };
            leaves.push(whole_rows::put_on(rows, &above)?);
            parts.push(*part);
        }
        Ok(Ports { parts, ports, leaves })
    }
}

/// A part of the plan over placeholders for what it reads.
pub(super) fn plan_whole(
    options: CutOptions,
    notices: &mut Vec<String>,
    plan: LogicalPlan,
    leaves: Vec<Stage>,
) -> Result<Stage> {
    if leaves.is_empty() {
        return Ok(Stage::Static(plan));
    }
    if options.emission == Emission::OnClose {
        return Err(never_closes(&plan));
    }
    say_what_is_kept(notices, &plan, true);
    let mut parts: Vec<Open> = leaves.into_iter().filter_map(Stage::open).collect();
    for part in parts.iter_mut().filter(|part| has_no_columns(&part.plan)) {
        let row = vec![lit(1_i64).alias(ROW)];
        let plan = std::mem::take(&mut part.plan);
        part.plan = LogicalPlan::Projection(Projection::try_new(row, Arc::new(plan))?);
    }
    let ports = parts.iter().map(|part| part.plan.schema().fields().len()).collect();
    let schema = Arc::clone(plan.schema());
    let plan = Box::new(PerKeyPlan { plan, key: 0, ports, closes: None });
    finish(parts, Stateful::PerKey(plan), &schema, Edge::of(true))
}

/// A query of constants: it is answered once, at the start.
pub(super) fn constant(plan: LogicalPlan) -> Result<Open> {
    let schema = Arc::clone(plan.schema());
    let plan = Box::new(PerKeyPlan { plan, key: 0, ports: Vec::new(), closes: None });
    let operator = (Stateful::PerKey(plan), Frontier::Input);
    Open::over(Vec::new(), operator, &schema, Edge::of(false))
}

fn finish(parts: Vec<Open>, operator: Stateful, schema: &DFSchemaRef, edge: Edge) -> Result<Stage> {
    let (mut parts, mut operator) = (parts, operator);
    if let Stateful::PerKey(plan) = &mut operator {
        parts = ports::fitted(parts, plan)?;
    }
    let stage = Open::over(parts, (operator, Frontier::Input), schema, edge)?;
    Ok(Stage::Open(Box::new(stage)))
}

/// A part of the plan with a placeholder for everything that is written to for ever, and what these
/// stand for.
pub(super) fn leaves(part: LogicalPlan) -> Result<(LogicalPlan, Vec<TableScan>)> {
    let mut found = Vec::new();
    let replaced = with_leaves(part, &mut found)?;
    Ok((replaced, found))
}

fn with_leaves(plan: LogicalPlan, found: &mut Vec<TableScan>) -> DfResult<LogicalPlan> {
    let replaced = plan.transform_with_subqueries(|node| match &node {
        LogicalPlan::TableScan(scan) if scanned(scan).is_some() => {
            let leaf = renamed_placeholder(&scan.projected_schema, found.len())?;
            found.push(scan.clone());
            Ok(Transformed::yes(leaf))
        }
        LogicalPlan::TableScan(_) => Ok(Transformed::no(node)),
        _ => subplan::map(node, &mut |inner| with_leaves(inner, found)),
    })?;
    Ok(replaced.data)
}

/// What is kept of rows of which no column is asked for, since rows are kept as values of columns.
const ROW: &str = "__there";

/// A placeholder under the names of what it stands for: a subquery is optimized when it is run, and
/// then a leaf's columns are called after the leaf.
fn renamed_placeholder(schema: &DFSchemaRef, port: usize) -> DfResult<LogicalPlan> {
    let row = Schema::new(vec![Field::new(ROW, DataType::Int64, false)]);
    let kept = if schema.fields().is_empty() { &row } else { schema.as_arrow() };
    let own = DFSchema::try_from_qualified_schema(input_name(port), kept)?;
    let leaf = placeholder_of(&Arc::new(own), port);
    let names = schema.iter().enumerate().map(|(at, (qualifier, field))| {
        column_at(&leaf, at).alias_qualified(qualifier.cloned(), field.name())
    });
    Ok(LogicalPlan::Projection(Projection::try_new(names.collect(), Arc::new(leaf.clone()))?))
}

fn has_no_columns(plan: &LogicalPlan) -> bool {
    plan.schema().fields().is_empty()
}

/// When each key has come to its end, and what is then known of the answer's rows. The column of
/// the window comes first among the keys.
fn closing(
    node: &LogicalPlan,
    inputs: &[Stage],
    keys: &mut KeyColumns,
) -> Result<(ClosingKey, Edge)> {
    let mut all = Vec::new();
    for (input, by) in inputs.iter().zip(&keys.inputs) {
        let Stage::Open(part) = input else { return Err(never_closes(node)) };
        let Some(closed) = part.edge.closed else { return Err(never_closes(node)) };
        let which: Vec<Option<usize>> = by
            .iter()
            .map(|key| match trace(key, &part.plan) {
                Origin::Source(column) => closed.columns.iter().position(|at| *at == Some(column)),
                Origin::Window(_) | Origin::Other => None,
            })
            .collect();
        all.push((part, closed, which));
    }
    let Some((part, closed, which)) = all.first() else { return Err(never_closes(node)) };
    let same = |at: &usize| {
        which[*at].is_some()
            && all.iter().all(|(_, other, its)| other.spec == closed.spec && its[*at] == which[*at])
    };
    // By their ends windows come in order, and of those that grow several have one start.
    let rank = |at: &usize| [2, 0, 1][which[*at].unwrap_or_default()];
    let Some(at) = (0..which.len()).filter(same).min_by_key(rank) else {
        return Err(never_closes(node));
    };
    let which = which[at].unwrap_or_default();
    let unit = time_unit(&part.input, closed.columns[which].unwrap_or_default())?;
    let millisecond = ticks_of_millis(1, unit).max(1);
    let until = match which {
        // Of windows that grow the last of those with one start.
        0 => closed.spec.size() - millisecond,
        1 => -millisecond,
        _ => 0,
    };
    keys.inputs.iter_mut().for_each(|keys| keys.swap(0, at));
    keys.output.swap(0, at);
    let edge = Edge::of_closed(ClosedWindows {
        columns: windows_in(node, part, *closed),
        spec: closed.spec,
    });
    Ok((ClosingKey { until }, edge))
}

/// Where the window's columns are in what a node gives whose first input is this part.
fn windows_in(node: &LogicalPlan, part: &Open, closed: ClosedWindows) -> [Option<usize>; 3] {
    let width = part.plan.schema().fields().len();
    let keeps = match node {
        LogicalPlan::Window(_) => true,
        // Of other kinds the first input's columns are not there, or NULL where the second has a
        // row alone.
        LogicalPlan::Join(join) => matches!(
            join.join_type,
            JoinType::Inner
                | JoinType::Left
                | JoinType::LeftSemi
                | JoinType::LeftAnti
                | JoinType::LeftMark
        ),
        _ => false,
    };
    let find = |column: Option<usize>| {
        let column = Origin::Source(column?);
        (0..width).find(|at| trace(&column_at(&part.plan, *at), &part.plan) == column)
    };
    if keeps { closed.columns.map(find) } else { [None; 3] }
}

fn never_closes(node: &LogicalPlan) -> Error {
    let (what, hint) = match node {
        LogicalPlan::Join(_) => (
            "a join that is not of windows",
            "Join windows that are the same on both sides by window_start and window_end, or use EMIT CHANGES.",
        ),
        LogicalPlan::Extension(_) => (
            "SESSION windows that are not over event time",
            "Add WATERMARK FOR ts AS ts - INTERVAL '5 seconds' to CREATE STREAM and use that column, or use EMIT CHANGES.",
        ),
        _ => ("this form of query", "Use EMIT CHANGES."),
    };
    Error::unsupported(format!("EMIT ON WINDOW CLOSE of {what} is not supported")).hint(hint)
}
