//! EXPLAIN: how a query is answered, how a view runs.

use std::sync::Arc;

use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::sql::sqlparser::ast::ObjectName;
use futures::StreamExt;

use super::show;
use super::watermarks::{time_text, watermark};
use crate::catalog::{Kind, Names, Relation, StreamDef};
use crate::clock::Stopwatch;
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::exec::node_figures::NodeFigures;
use crate::exec::runner::Runner;
use crate::exec::tables::PresentTables;
use crate::pgtypes::values::TextStyle;
use crate::session::client_session::Outcome;
use crate::session::read::continuous::{self, AtLimit};
use crate::session::read::query::execute;
use crate::session::read::rows::lines;
use crate::session::session::Session;
use crate::sql::{ContinuousQuery, Explain};
use crate::types::SqlType;

/// Runs EXPLAIN.
pub async fn explain(session: &mut Session, what: &Explain, text: &Arc<str>) -> Result<Outcome> {
    let shown = match what {
        Explain::Query { analyze, verbose, query } => match query.emit {
            None => snapshot(session, query, *analyze, *verbose, text).await?,
            Some(_) if *analyze => {
                return Err(Error::unsupported("EXPLAIN ANALYZE of a continuous query is not supported")
                    .hint("Create a materialized view and use EXPLAIN MATERIALIZED VIEW for its live counters."));
            }
            Some(_) => pipeline(session, query, text).await?,
        },
        Explain::View { analyze, name } => view(session, name, *analyze)?,
        Explain::Watermark(name) => {
            let own = session.reads(text).await.own;
            watermark(&session.engine, own, name, &session.settings.style()).await?
        }
    };
    lines("EXPLAIN", "QUERY PLAN", shown)
}

async fn snapshot(
    session: &Session,
    query: &ContinuousQuery,
    analyze: bool,
    verbose: bool,
    text: &Arc<str>,
) -> Result<Vec<String>> {
    let planned = session.reads(text).await.plan(&query.query).await?;
    let logical = planned.plan.display_indent().to_string();
    let runnable = planned.physical(&session.engine).await?;
    let physical = Arc::clone(&runnable.physical);
    let mut shown = Vec::new();
    if verbose {
        shown.push("Logical plan:".to_owned());
        shown.extend(split(&logical));
        shown.push("Physical plan:".to_owned());
    }
    if !analyze {
        shown.extend(split(
            &DisplayableExecutionPlan::new(physical.as_ref()).indent(false).to_string(),
        ));
        return Ok(shown);
    }
    let watch = Stopwatch::start();
    let mut rows = 0;
    let mut stream = execute(&session.engine, runnable);
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows();
    }
    let took = watch.ms();
    let plan = DisplayableExecutionPlan::with_metrics(physical.as_ref()).indent(false).to_string();
    shown.extend(split(&plan));
    shown.push(format!("Rows: {rows}"));
    shown.push(format!("Execution Time: {took:.3} ms"));
    Ok(shown)
}

fn split(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines().map(str::to_owned)
}

async fn pipeline(
    session: &Session,
    query: &ContinuousQuery,
    text: &Arc<str>,
) -> Result<Vec<String>> {
    let reading = session.reading(text)?;
    let ready = continuous::plan(&session.engine, query, &reading, AtLimit::Ends).await?;
    let engine = Arc::clone(&session.engine);
    let shown = async move {
        let tables = PresentTables::new(&engine);
        let shown = Runner::new(Arc::new(ready.pipeline), ready.state, &tables).await?.explain();
        Ok(shown.into_iter().map(|line| line.text).collect())
    };
    session.engine.planning.plan_once(shown).await
}

fn view(session: &Session, name: &ObjectName, analyze: bool) -> Result<Vec<String>> {
    let relation = materialized(&session.engine, name)?;
    let view = session.engine.view(relation.id)?;
    let figures = view.figures();
    let mut shown = Vec::new();
    for line in view.explained() {
        let node = line.node.filter(|_| analyze).and_then(|node| figures.nodes.get(node));
        let indent = line.text.len() - line.text.trim_start().len();
        shown.push(line.text);
        if let Some(node) = node {
            let figures = node_text(node, &session.settings.style())?;
            shown.push(format!("{:indent$}  ({figures})", ""));
        }
    }
    let names = session.engine.catalog.names();
    let others = names.answers_of(relation.query_id()).filter(|other| other.id != relation.id);
    let others: Vec<String> = others.map(|other| other.shown_name()).collect();
    if !others.is_empty() {
        shown.push(format!("Shared with: {}", others.join(", ")));
    }
    let counters = figures.counters;
    shown.push(format!("State: {}", view.phase().borrow().name()));
    shown.push(format!(
        "Rows: in={}, out={}, late={}, rejected={}",
        counters.rows_in, counters.rows_out, counters.late_rows, counters.rejected_rows
    ));
    shown.push(format!(
        "Memory: {} bytes, {} rows of state",
        figures.state_bytes, figures.state_rows
    ));
    shown.push(format!("Epoch: {}, last took {:.3} ms", figures.epoch, figures.last_epoch_ms));
    if let Some((_, sql_type)) = time_column(&session.engine.catalog.names(), &relation)
        && let Some(watermark) = figures.watermark
    {
        shown.push(format!(
            "Watermark: {}",
            time_text(&sql_type, watermark.0, &session.settings.style())?
        ));
    }
    Ok(shown)
}

/// What a source or operator has done, as `tidemill.operators` has it.
fn node_text(node: &NodeFigures, style: &TextStyle) -> Result<String> {
    let NodeFigures { rows_in, rows_out, state_rows, state_bytes, epoch_ms, .. } = node;
    let mut text = format!(
        "rows in={rows_in} out={rows_out}, state rows={state_rows} bytes={state_bytes}, last epoch={epoch_ms:.3} ms"
    );
    if let Some(micros) = node.watermark {
        let time = time_text(&SqlType::Timestamp(6), micros, style)?;
        text.push_str(&format!(", watermark={time}"));
    }
    Ok(text)
}

fn materialized(engine: &Engine, name: &ObjectName) -> Result<Arc<Relation>> {
    let relation = show::find(engine, name)?;
    if relation.running().is_some() {
        return Ok(relation);
    }
    let (name, kind) = (&relation.name, relation.kind_name());
    let what = format!("\"{name}\" is not a materialized view but a {kind}");
    Err(Error::new(SqlState::WrongObjectType, what))
}

/// The stream with a watermark that a relation reads, directly or through views, and the type of
/// its time.
fn time_column(names: &Names, relation: &Arc<Relation>) -> Option<(Arc<Relation>, SqlType)> {
    if let Kind::Stream(StreamDef { watermark: Some(watermark), .. }) = &relation.kind {
        let column = relation.columns.get(watermark.column)?;
        return Some((Arc::clone(relation), column.sql_type.clone()));
    }
    let used = relation.depends_on.iter().filter_map(|id| names.by_id(*id));
    used.into_iter().find_map(|used| time_column(names, used))
}
