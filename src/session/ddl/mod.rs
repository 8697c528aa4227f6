//! CREATE, ALTER and DROP: definitions, one at a time.
//!
//! A definition is checked whole before anything is written; then the catalog's entry and the
//! storage it needs come in one commit, which also puts the name in force. A crash leaves a
//! relation there whole or not at all.

mod aggregate;
mod checks;
mod columns;
mod comment;
mod derived;
mod drop;
mod function;
pub mod index;
mod options;
mod schema;
mod sink;
mod stream;
mod table;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use super::inspect::show;
use super::read::continuous::Reading;
use super::read::query::ReadContext;
use crate::catalog::{Kind, NameChange, Relation, RelationId};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::exec::sharing::Parting;
use crate::exec::view::Phase;
use crate::limits;
use crate::log::{StreamId, Transaction};
use crate::sql::{
    PauseOrResume, RelationKind, RelationName, RoutineType, Statement, ident_name, relation_name,
};

/// Who defines.
pub struct Definer {
    /// Everything that is there.
    pub engine: Arc<Engine>,
    /// For the queries of views and CREATE TABLE AS.
    pub reads: ReadContext,
    /// The session's settings for continuous queries.
    pub reading: Reading,
}

/// What a definition says.
pub struct Done {
    /// The command tag.
    pub tag: String,
    /// Severity and text.
    pub notices: Vec<(&'static str, Error)>,
    /// A view that begins with what comes from now on: it is to be at its place first.
    from_now: Option<RelationId>,
}

impl Done {
    fn new(tag: impl Into<String>) -> Done {
        Done { tag: tag.into(), notices: Vec::new(), from_now: None }
    }

    fn with(tag: impl Into<String>, notice: Error) -> Done {
        Done { tag: tag.into(), notices: vec![("NOTICE", notice)], from_now: None }
    }
}

/// The command tag of a definition.
pub fn tag(statement: &Statement) -> &'static str {
    match statement {
        Statement::CreateStream(_) => "CREATE STREAM",
        Statement::CreateTable(_) => "CREATE TABLE",
        Statement::CreateTableAs { .. } => "CREATE TABLE AS",
        Statement::CreateView { .. } => "CREATE VIEW",
        Statement::CreateMaterializedView { .. } => "CREATE MATERIALIZED VIEW",
        Statement::CreateSink(_) => "CREATE SINK",
        Statement::CreateStreamAs(_) => "CREATE STREAM",
        Statement::FeedSink(_) => "INSERT",
        Statement::CreateFunction(_) => "CREATE FUNCTION",
        Statement::CreateAggregate(_) => "CREATE AGGREGATE",
        Statement::DropRoutines { kind, .. } => match kind {
            RoutineType::Function => "DROP FUNCTION",
            RoutineType::Aggregate => "DROP AGGREGATE",
            RoutineType::Routine => "DROP ROUTINE",
        },
        Statement::Drop { kind, .. } => match kind {
            RelationKind::Stream => "DROP STREAM",
            RelationKind::Table => "DROP TABLE",
            RelationKind::View => "DROP VIEW",
            RelationKind::MaterializedView => "DROP MATERIALIZED VIEW",
            RelationKind::Sink => "DROP SINK",
        },
        Statement::CreateSchema { .. } => "CREATE SCHEMA",
        Statement::DropSchemas { .. } => "DROP SCHEMA",
        Statement::Rename { kind, .. } | Statement::SetRunning { kind, .. } => match kind {
            RelationKind::Stream => "ALTER STREAM",
            RelationKind::Table => "ALTER TABLE",
            RelationKind::View => "ALTER VIEW",
            RelationKind::MaterializedView => "ALTER MATERIALIZED VIEW",
            RelationKind::Sink => "ALTER SINK",
        },
        Statement::Comment { .. } => "COMMENT",
        _ => "this statement",
    }
}

/// Does what a definition says.
pub async fn define(cx: Definer, statement: Statement) -> Result<Done> {
    let engine = Arc::clone(&cx.engine);
    let done = define_alone(cx, statement).await?;
    if let Some(id) = done.from_now
        && let Ok(view) = engine.view(id)
    {
        // What is written after the answer is the view's, also if its task gets to run later. An
        // error is the view's own.
        let _ = view.phase().wait_for(|phase| *phase != Phase::CatchingUp).await;
    }
    Ok(done)
}

async fn define_alone(cx: Definer, statement: Statement) -> Result<Done> {
    let engine = Arc::clone(&cx.engine);
    let alone = engine.ddl().await;
    let tag = tag(&statement);
    match statement {
        Statement::CreateStream(create) => stream::create(&cx, create).await,
        Statement::CreateTable(create) => table::create(&cx, create).await,
        Statement::CreateTableAs { name, if_not_exists, columns, query, with_data } => {
            table::create_as(
                &cx,
                table::CreateAs { name, if_not_exists, columns, query, with_data },
            )
            .await
        }
        Statement::CreateView { name, or_replace, if_not_exists, columns, query, text } => {
            let create = view::CreateView { name, or_replace, if_not_exists, columns, query, text };
            view::create(&cx, create).await
        }
        Statement::CreateMaterializedView {
            name,
            if_not_exists,
            columns,
            options,
            query,
            text,
        } => {
            let create =
                view::CreateMaterialized { name, if_not_exists, columns, options, query, text };
            view::create_materialized(&cx, create).await
        }
        Statement::Drop { kind, if_exists, names, cascade } => {
            drop::drop(&cx.engine, tag, kind, if_exists, &names, cascade, alone).await
        }
        Statement::CreateSchema { name, if_not_exists } => {
            schema::create(&cx.engine, &name, if_not_exists).await
        }
        Statement::DropSchemas { names, if_exists, cascade } => {
            schema::drop(&cx.engine, &names, if_exists, cascade, alone).await
        }
        Statement::CreateSink(create) => sink::create(&cx, *create).await,
        Statement::CreateStreamAs(create) => derived::create(&cx, *create).await,
        Statement::FeedSink(feed) => sink::feed(&cx, *feed).await,
        Statement::CreateFunction(create) => function::create(&cx, *create).await,
        Statement::CreateAggregate(create) => aggregate::create(&cx, *create).await,
        Statement::DropRoutines { kind, if_exists, routines, cascade } => {
            let wanted = function::DropRoutines { kind, if_exists, routines, cascade };
            function::drop(&cx.engine, tag, wanted, alone).await
        }
        Statement::Comment { name, on, text } => {
            comment::comment(&cx.engine, tag, &name, &on, text).await
        }
        Statement::Rename { kind, name, to } => rename(&cx.engine, tag, kind, &name, &to).await,
        Statement::SetRunning { kind, name, run } => {
            let engine = Arc::clone(&cx.engine);
            to_its_end(async move {
                let _alone = alone;
                set_running(&engine, tag, kind, &name, run).await
            })
            .await
        }
        _ => Err(Error::internal("a statement that defines nothing")),
    }
}

/// Does work that must not be left half done, even if the client that asked for it goes or cancels.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::internal(format!("a definition ended early: {error}"))),
    }
}

/// The name of a relation that is to be made, in a schema that there is.
fn new_name(engine: &Engine, name: &ObjectName) -> Result<RelationName> {
    let name = relation_name(name)?;
    if name.is_of_system() {
        let what = format!("permission denied for schema {}", name.schema());
        return Err(Error::new(SqlState::InsufficientPrivilege, what)
            .hint("What is made is in the schema public, or in one that CREATE SCHEMA makes."));
    }
    let names = engine.catalog.names();
    if !names.has_schema(name.schema()) {
        return Err(names.missing_schema(name.schema()));
    }
    check_name(&name.name)?;
    Ok(name)
}

/// The name of a function that is to be made: they are all in one schema.
fn new_routine_name(engine: &Engine, name: &ObjectName) -> Result<String> {
    let name = new_name(engine, name)?;
    if !name.is_public() {
        let what = format!("a function in the schema \"{}\" is not supported", name.schema());
        return Err(Error::unsupported(what).hint("Functions are in the schema public."));
    }
    Ok(name.name)
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::new(SqlState::Syntax, "zero-length delimited identifier"));
    }
    if name.len() > limits::NAME_BYTES {
        return Err(Error::new(SqlState::ProgramLimit, format!("the name \"{name}\" is too long"))
            .hint(format!("A name has at most {} bytes.", limits::NAME_BYTES)));
    }
    if name.contains(char::is_control) {
        Err(Error::new(SqlState::Syntax, "a name must not have control characters"))
    } else {
        Ok(())
    }
}

/// Whether the name is free; with IF NOT EXISTS a name in use is not an error but a notice.
fn is_taken(engine: &Engine, name: &RelationName, if_not_exists: bool) -> Result<Option<Error>> {
    if name.find(&engine.catalog.names()).is_none() {
        return Ok(None);
    }
    let what = format!("relation \"{}\" already exists", name.name);
    if if_not_exists {
        Ok(Some(Error::new(SqlState::DuplicateTable, format!("{what}, skipping"))))
    } else {
        Err(Error::new(SqlState::DuplicateTable, what))
    }
}

/// Commits a new relation and puts it in force; `storage` adds what it needs.
async fn commit_new(
    engine: &Arc<Engine>,
    relation: Relation,
    storage: impl FnOnce(&Relation, &mut Transaction) -> Result<()>,
) -> Result<()> {
    let mut transaction = Transaction::at(engine.now_ms());
    storage(&relation, &mut transaction)?;
    commit_changes(engine, transaction, vec![NameChange::Put(Arc::new(relation))], Opening::Open)
        .await
}

/// Whether relations that a change brings are to be made ready.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    Open,
    AsItIs,
}

/// Commits changes of names with what belongs to them, and puts them in force.
async fn commit_changes(
    engine: &Arc<Engine>,
    mut transaction: Transaction,
    changes: Vec<NameChange>,
    opening: Opening,
) -> Result<()> {
    engine.catalog.write(&changes, &mut transaction.puts)?;
    let owner = Arc::clone(engine);
    // In the commit thread: who reads a name finds what it stands for, and no crash can come
    // between.
    transaction.on_commit(move |_| {
        let opened: Vec<_> = match opening {
            Opening::Open => changes.iter().filter_map(put).cloned().collect(),
            Opening::AsItIs => Vec::new(),
        };
        let (views, others): (Vec<_>, Vec<_>) =
            opened.into_iter().partition(|relation| relation.running().is_some());
        let open = |relation: &Arc<Relation>| {
            if let Err(error) = owner.opened(relation) {
                tracing::error!("{} could not be opened: {error}", relation.name);
            }
        };
        others.iter().for_each(open);
        owner.catalog.publish(changes);
        // A view starts to run at once, and must find its own name.
        views.iter().for_each(open);
    });
    engine.journal.commit(transaction).await?;
    Ok(())
}

fn put(change: &NameChange) -> Option<&Arc<Relation>> {
    match change {
        NameChange::Put(relation) => Some(relation),
        NameChange::Remove(_)
        | NameChange::PutRoutine(_)
        | NameChange::RemoveRoutine(_)
        | NameChange::PutSchema(_)
        | NameChange::RemoveSchema(_) => None,
    }
}

/// Whether a statement that names this kind may be about this relation.
fn check_kind(relation: &Relation, kind: RelationKind) -> Result<()> {
    let is_right = match (&relation.kind, kind) {
        (Kind::Stream(_), RelationKind::Stream)
        | (Kind::Table(_), RelationKind::Table)
        | (Kind::View { .. }, RelationKind::View)
        | (Kind::MaterializedView(_), RelationKind::MaterializedView)
        | (Kind::Sink(_), RelationKind::Sink) => true,
        // CREATE TABLE with WATERMARK or a connector makes a stream.
        (Kind::Stream(_), RelationKind::Table) => relation
            .sql
            .trim_start()
            .get(..12)
            .is_some_and(|begin| begin.eq_ignore_ascii_case("CREATE TABLE")),
        _ => false,
    };
    if is_right {
        return Ok(());
    }
    let wanted = match kind {
        RelationKind::Stream => "stream",
        RelationKind::Table => "table",
        RelationKind::View => "view",
        RelationKind::MaterializedView => "materialized view",
        RelationKind::Sink => "sink",
    };
    let is = relation.kind_name();
    Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a {wanted}", relation.name))
        .hint(format!("It is a {is}: write {} instead.", is.to_uppercase())))
}

/// Refuses to change a relation that others name in their text.
fn check_unused(engine: &Engine, relation: &Relation, what: &str) -> Result<()> {
    let users = engine.catalog.names().all_dependants(&[relation.id]);
    if users.is_empty() {
        return Ok(());
    }
    let kind = relation.kind_name();
    let detail: Vec<String> = users
        .iter()
        .map(|user| format!("{} depends on {kind} {}", user.described(), relation.name))
        .collect();
    let message =
        format!("cannot {what} {kind} {} because other objects depend on it", relation.name);
    Err(Error::new(SqlState::DependantsExist, message)
        .detail(detail.join("\n"))
        .hint("Drop those that depend on it first."))
}

async fn rename(
    engine: &Arc<Engine>,
    tag: &str,
    kind: RelationKind,
    name: &ObjectName,
    to: &Ident,
) -> Result<Done> {
    let relation = show::find(engine, name)?;
    check_kind(&relation, kind)?;
    let to = ident_name(to);
    check_name(&to)?;
    let taken = RelationName { schema: Some(relation.schema.clone()), name: to.clone() };
    is_taken(engine, &taken, false)?;
    check_unused(engine, &relation, "rename")?;
    redefine(engine, Relation { name: to, ..Relation::clone(&relation) }).await?;
    Ok(Done::new(tag))
}

/// Puts in force what is said otherwise of a relation, which goes on as it is.
async fn redefine(engine: &Arc<Engine>, relation: Relation) -> Result<()> {
    let relation = Arc::new(relation);
    let change = NameChange::Put(Arc::clone(&relation));
    commit_changes(engine, Transaction::at(engine.now_ms()), vec![change], Opening::AsItIs).await?;
    match relation.kind {
        _ if relation.running().is_some() => engine.redefined(&relation),
        _ => Ok(()),
    }
}

async fn set_running(
    engine: &Arc<Engine>,
    tag: &str,
    kind: RelationKind,
    name: &ObjectName,
    run: PauseOrResume,
) -> Result<Done> {
    let relation = show::find(engine, name)?;
    check_kind(&relation, kind)?;
    let Some(def) = relation.running() else {
        let what = format!("no query runs for {} \"{}\"", relation.kind_name(), relation.name);
        return Err(Error::new(SqlState::WrongObjectType, what)
            .hint("PAUSE is for materialized views, sinks and streams that a query writes."));
    };
    let (handle, query) = (engine.view(relation.id)?, relation.query_id());
    let paused = run == PauseOrResume::Pause;
    let lacks_room = match &*handle.phase().borrow() {
        Phase::Failed(failure) if failure.for_now && !paused => true,
        Phase::Failed(failure) => return Err(failure.error(&relation.name)),
        _ => false,
    };
    if def.paused == paused {
        if lacks_room {
            engine.resume_view(query)?;
        }
        return Ok(Done::new(tag));
    }
    let mut changed = Relation::clone(&relation);
    if let Some(def) = changed.running_mut() {
        def.paused = paused;
    }
    let changed = Arc::new(changed);
    let mut done = Done::new(tag);
    if paused {
        done.notices.extend(kept_while_paused(engine, &relation));
        if let Some(parting) = engine.parting(&relation) {
            pause_apart(engine, &parting, &changed).await?;
            return Ok(done);
        }
    }
    let change = NameChange::Put(Arc::clone(&changed));
    commit_changes(engine, Transaction::at(engine.now_ms()), vec![change], Opening::AsItIs).await?;
    // Only now: what could not be stored (the disk is full) has changed nothing, and the view runs
    // on.
    handle.redefine(Arc::new(changed.as_query()));
    match run {
        PauseOrResume::Pause => engine.pause_view(query).await?,
        PauseOrResume::Resume => engine.resume_view(query)?,
    }
    Ok(done)
}

/// Pauses one of several views with one query; the others go on.
async fn pause_apart(engine: &Arc<Engine>, parting: &Parting, paused: &Relation) -> Result<()> {
    let mut transaction = Transaction::at(engine.now_ms());
    let done = match engine.part(parting, &mut transaction).await {
        Ok(()) => {
            let changes = parting.changes(paused);
            commit_changes(engine, transaction, changes, Opening::AsItIs).await
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => engine.parted(parting, paused).await,
        Err(error) => {
            engine.unparted(parting)?;
            Err(error)
        }
    }
}

/// Says what is not given up as long as a view that is paused has not read it: it grows.
fn kept_while_paused(engine: &Engine, view: &Relation) -> Option<(&'static str, Error)> {
    let names = engine.catalog.names();
    let (mut used, mut kept) = (view.depends_on.clone(), BTreeSet::new());
    while let Some(id) = used.pop() {
        let Some(relation) = names.by_id(id) else { continue };
        match &relation.kind {
            Kind::View { .. } => used.extend(&relation.depends_on),
            Kind::MaterializedView(_) => {
                kept.insert(format!("changes of \"{}\"", relation.name));
            }
            Kind::Stream(def) if def.retention_ms.is_some() || def.retention_bytes.is_some() => {
                kept.insert(format!("rows of \"{}\"", relation.name));
            }
            Kind::Stream(_) | Kind::Table(_) | Kind::Sink(_) => {}
        }
    }
    if kept.is_empty() {
        return None;
    }
    let kept = kept.into_iter().collect::<Vec<_>>().join(" and ");
    let what = format!("{kept} are kept until \"{}\" has read them", view.name);
    let notice = Error::new(SqlState::Success, what)
        .hint("RESUME the view, or DROP it, before they fill the disk.");
    Some(("NOTICE", notice))
}

/// The stream's number in the log.
fn stream_id(relation: &Relation) -> StreamId {
    StreamId(relation.id.0)
}
