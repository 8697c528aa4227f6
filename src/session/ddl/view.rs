//! CREATE VIEW and CREATE MATERIALIZED VIEW.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query};

use super::{
    Definer, Done, Opening, check_kind, check_unused, commit_changes, commit_new, is_taken,
    new_name, options,
};
use crate::catalog::{Kind, NameChange, Relation, RelationId, StateOptions, ViewDef};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::exec::define::{columns_of, emission};
use crate::exec::runner::Runner;
use crate::exec::tables::PresentTables;
use crate::log::Transaction;
use crate::plan::Pipeline;
use crate::session::read::continuous;
use crate::session::read::continuous::{ContinuousPlan, Reading};
use crate::sql::{ContinuousQuery, Options, RelationKind, ident_name};

/// CREATE VIEW.
pub struct CreateView {
    pub name: ObjectName,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub columns: Vec<Ident>,
    pub query: Box<Query>,
    pub text: String,
}

/// CREATE MATERIALIZED VIEW.
pub struct CreateMaterialized {
    pub name: ObjectName,
    pub if_not_exists: bool,
    pub columns: Vec<Ident>,
    pub options: Options,
    pub query: ContinuousQuery,
    pub text: String,
}

/// The options of a materialized view.
const OPTIONS: [&str; 5] =
    ["retention", "allowed_lateness", "scan_startup", "state_ttl", "table_changes"];

/// Ids in order, each once.
pub(super) fn once(mut used: Vec<RelationId>) -> Vec<RelationId> {
    used.sort_unstable();
    used.dedup();
    used
}

/// Makes a name for a query.
pub async fn create(cx: &Definer, create: CreateView) -> Result<Done> {
    let name = new_name(&cx.engine, &create.name)?;
    let old = name.find(&cx.engine.catalog.names()).cloned();
    let replaced = match &old {
        Some(old) if create.or_replace => {
            check_kind(old, RelationKind::View)?;
            check_unused(&cx.engine, old, "replace")?;
            Some(old.id)
        }
        _ => None,
    };
    if replaced.is_none()
        && let Some(notice) = is_taken(&cx.engine, &name, create.if_not_exists)?
    {
        return Ok(Done::with("CREATE VIEW", notice));
    }
    let planned = cx.reads.plan(&create.query).await?;
    if let Some(id) = replaced
        && planned.used.contains(&id)
    {
        return Err(Error::new(
            SqlState::InvalidTableDefinition,
            format!("view \"{}\" would contain itself", name.name),
        ));
    }
    let names: Vec<String> = create.columns.iter().map(ident_name).collect();
    let columns = columns_of(&planned.schema, &names)?;
    let used = once(planned.used.clone());
    // What cannot be computed is found now, not by the first reader.
    planned.physical(&cx.engine).await?;
    let relation = Relation {
        // A replaced view gets a new id: a relation can only use older ones.
        id: cx.engine.catalog.names().next_id(),
        schema: name.schema().to_owned(),
        name: name.name,
        columns,
        kind: Kind::View { query: create.text },
        depends_on: used,
        sql: cx.reads.text.to_string(),
        created_ms: cx.engine.now_ms(),
        comments: old
            .filter(|_| replaced.is_some())
            .map(|old| old.comments.clone())
            .unwrap_or_default(),
    };
    let removed = replaced.map(NameChange::Remove);
    let changes: Vec<_> =
        removed.into_iter().chain([NameChange::Put(Arc::new(relation))]).collect();
    commit_changes(&cx.engine, Transaction::at(cx.engine.now_ms()), changes, Opening::Open).await?;
    Ok(Done::new("CREATE VIEW"))
}

/// Refuses now what could not be started later: some forms of SQL are found to be missing only when
/// their execution is planned.
pub(super) async fn runnable(engine: &Arc<Engine>, ready: &ContinuousPlan) -> Result<()> {
    let (tables, pipeline) = (PresentTables::new(engine), Arc::new(ready.pipeline.clone()));
    let state = Arc::clone(&ready.state);
    let runner = async move { Runner::new(pipeline, state, &tables).await.map(drop) };
    engine.planning.plan_once(runner).await
}

/// Makes a view whose answer is kept.
pub async fn create_materialized(cx: &Definer, create: CreateMaterialized) -> Result<Done> {
    let tag = "CREATE MATERIALIZED VIEW";
    let name = new_name(&cx.engine, &create.name)?;
    if let Some(notice) = is_taken(&cx.engine, &name, create.if_not_exists)? {
        return Ok(Done::with(tag, notice));
    }
    options::only(&create.options, "materialized view", &OPTIONS)?;
    let reading = running_options(cx, &create.options)?;
    let ready =
        continuous::plan(&cx.engine, &create.query, &reading, continuous::AtLimit::Keeps).await?;
    runnable(&cx.engine, &ready).await?;
    let names: Vec<String> = create.columns.iter().map(ident_name).collect();
    let retention_ms = options::time(&create.options, "retention")?;
    let mut relation = Relation {
        id: cx.engine.catalog.names().next_id(),
        schema: name.schema().to_owned(),
        name: name.name,
        columns: columns_of(&ready.schema, &names)?,
        kind: Kind::MaterializedView(ViewDef {
            query: without_emit(&create.text),
            emission: emission(create.query.emit, ready.pipeline.emission),
            lateness_ms: reading.lateness_ms,
            retention_ms,
            from_latest: reading.from_latest,
            paused: false,
            append_only: ready.pipeline.is_append_only() && retention_ms.is_none(),
            state: reading.state,
            answers: None,
        }),
        depends_on: once(ready.used.clone()),
        sql: cx.reads.text.to_string(),
        created_ms: cx.engine.now_ms(),
        comments: BTreeMap::new(),
    };
    let running = cx.engine.running_query(&relation, &ready.pipeline);
    if let Kind::MaterializedView(def) = &mut relation.kind {
        def.answers = running;
    }
    let from_now = reading.from_latest.then_some(relation.id);
    commit_new(&cx.engine, relation, |_, _| Ok(())).await?;
    Ok(Done { tag: tag.to_owned(), notices: notices(&ready.pipeline), from_now })
}

/// What is to be said of a query that is to run from now on.
pub(super) fn notices(pipeline: &Pipeline) -> Vec<(&'static str, Error)> {
    let notice = |notice: &String| ("NOTICE", Error::new(SqlState::Success, notice.clone()));
    pipeline.notices.iter().map(notice).collect()
}

/// What WITH says of how a query runs; the session's settings where it says nothing.
pub(super) fn running_options(cx: &Definer, given: &Options) -> Result<Reading> {
    let lateness_ms = options::time(given, "allowed_lateness")?;
    Ok(Reading {
        lateness_ms: lateness_ms.unwrap_or(cx.reading.lateness_ms),
        from_latest: options::from_latest(given)?.unwrap_or(cx.reading.from_latest),
        state: StateOptions {
            revises: revises(given)?,
            ttl_ms: options::time(given, "state_ttl")?,
        },
        ..cx.reading.clone()
    })
}

/// `table_changes`: whether a change of a table changes what has been answered.
fn revises(options: &Options) -> Result<bool> {
    let name = "table_changes";
    let Some(value) = options::get(options, name) else { return Ok(false) };
    match value.to_ascii_lowercase().as_str() {
        "revise" => Ok(true),
        "lookup" => Ok(false),
        _ => Err(options::wrong(name, value, "'revise' or 'lookup'")),
    }
}

/// The text before the last EMIT; a LIMIT behind it has been refused.
pub(super) fn without_emit(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let tail = |at: usize| lower[at + 4..].split_whitespace().collect::<Vec<_>>();
    let at = lower.rfind("emit").filter(|at| {
        matches!(tail(*at).as_slice(), ["changes"] | ["final"] | ["on", "window", "close"])
            && lower[..*at].ends_with(|c: char| c.is_whitespace() || c == ')')
    });
    at.map_or(text, |at| &text[..at]).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emit_is_taken_off_the_end_only() {
        assert_eq!(without_emit("SELECT a FROM s EMIT  ON WINDOW\nCLOSE"), "SELECT a FROM s");
        assert_eq!(without_emit("SELECT 'emit changes' FROM s"), "SELECT 'emit changes' FROM s");
        assert_eq!(without_emit("SELECT a FROM s emit changes"), "SELECT a FROM s");
    }
}
