//! A snapshot: the answer of a query over everything as of one moment.
//!
//! First the views that the query reads, directly or through views, are brought up to every commit
//! acknowledged so far; then the versions of everything are taken together. Planning happens on
//! [threads of its own](crate::exec::planning), computing on the engine's; dropping the future ends
//! the one and dropping the stream the other.

use std::collections::HashSet;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::sqlparser::ast::{ObjectName, Query, TableFactor, Visit, Visitor};
use futures::StreamExt;
use futures::stream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::rows::{Batches, conform};
use crate::catalog::{Kind, Names, Relation, RelationId};
use crate::error::{Error, Result, panicked};
use crate::exec::Engine;
use crate::exec::snapshot::Scope;
use crate::exec::versions::Overlay;
use crate::exec::view::ViewHandle;
use crate::limits;
use crate::log::CommitNo;
use crate::plan::relations::{RelationLookup, weight_of};
use crate::postgres::budget::Allowance;
use crate::postgres::light::is_light;
use crate::postgres::syntax::naming::shown_schema;
use crate::sql::{self, NameKind, Statement, relation_name, visit};

/// What a statement of one session reads with.
#[derive(Clone)]
pub struct ReadContext {
    /// Everything that is there.
    pub engine: Arc<Engine>,
    /// What the transaction has written itself.
    pub overlay: Overlay,
    /// The system's schemas.
    pub system: Arc<dyn RelationLookup>,
    /// The statement as written.
    pub text: Arc<str>,
    /// The last commit of the session.
    pub own: CommitNo,
}

/// Runs work on the engine's threads; dropping the future ends it, a panic is an error of this
/// statement.
pub async fn on_cpu<T: Send + 'static>(
    engine: &Engine,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match AbortOnDropHandle::new(engine.cpu().spawn(work)).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(panicked("the statement", &*error.into_panic())),
        Err(_) => {
            Err(Error::new(crate::error::SqlState::ShuttingDown, "the server is shutting down"))
        }
    }
}

/// The relations that a piece of syntax names.
pub fn named<V: Visit>(syntax: &V) -> Vec<ObjectName> {
    struct Found(Vec<ObjectName>);
    impl Visitor for Found {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, args: None, .. } = factor {
                self.0.push(name.clone());
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            self.0.push(relation.clone());
            ControlFlow::Continue(())
        }
    }
    let mut found = Found(Vec::new());
    // The visitor never breaks off.
    let _ = visit(syntax, &mut found);
    found.0
}

/// The names of relations in a statement that writes.
pub fn named_in_change(statement: &Statement) -> Vec<ObjectName> {
    match statement {
        Statement::Insert(insert) => named(insert),
        Statement::Update(update) => named(update),
        Statement::Delete(delete) => named(delete),
        Statement::Query(query) => named(query.query.as_ref()),
        Statement::Changes(changes) => changes.statements().flat_map(named_in_change).collect(),
        _ => Vec::new(),
    }
}

/// The materialized views that these names stand for, also through views, and the queries that write
/// streams among them.
pub fn views_of(
    engine: &Engine,
    names: &Names,
    wanted: &[ObjectName],
) -> Result<Vec<Arc<ViewHandle>>> {
    let mut seen: HashSet<RelationId> = HashSet::new();
    let mut views = Vec::new();
    let mut open: Vec<Arc<Relation>> = Vec::new();
    for name in wanted {
        if let Ok(name) = relation_name(name)
            && let Some(relation) = name.find(names)
        {
            open.push(Arc::clone(relation));
        }
    }
    while let Some(relation) = open.pop() {
        if !seen.insert(relation.id) {
            continue;
        }
        match relation.kind {
            Kind::MaterializedView(_) => views.push(engine.view(relation.id)?),
            Kind::View { .. } => {
                open.extend(relation.depends_on.iter().filter_map(|id| names.by_id(*id)).cloned());
            }
            Kind::Stream(_) if relation.hands_on() => views.push(engine.view(relation.id)?),
            Kind::Stream(_) | Kind::Table(_) | Kind::Sink(_) => {}
        }
    }
    Ok(views)
}

impl ReadContext {
    /// Names as of now for a statement that reads `wanted`; waits until the views among them are up
    /// to date.
    pub async fn scope(&self, wanted: &[ObjectName]) -> Result<Scope> {
        let names = self.engine.catalog.names();
        let views = views_of(&self.engine, &names, wanted)?;
        if !views.is_empty() {
            self.engine.sync(&views, self.own).await?;
        }
        // The rows of a stream that its query writes are in its log.
        let views: Vec<_> = views.into_iter().filter(|view| !view.relation().hands_on()).collect();
        if wanted.iter().any(|name| {
            relation_name(name).is_ok_and(|name| name.schema.as_deref() == Some("tidemill"))
        }) {
            // What the figures say includes what this session has written. That a view has failed
            // is one of them.
            self.engine.sync_figures(self.own).await?;
        }
        let moment = self.engine.snapshot_of(&views).await;
        Ok(Scope::new(
            Arc::clone(&self.engine),
            moment,
            self.overlay.clone(),
            Some(Arc::clone(&self.system)),
        ))
    }

    /// Plans a query.
    pub async fn plan(&self, query: &Query) -> Result<Planned> {
        let scope = self.scope(&named(query)).await?;
        let (engine, mut query) = (Arc::clone(&self.engine), query.clone());
        let system = Arc::clone(&self.system);
        let token = CancellationToken::new();
        let wanted = token.clone().drop_guard();
        let planned = async move {
            let mut state = engine.planner.snapshot_state(Arc::new(scope.clone()));
            system.prepare(&mut state, &mut query)?;
            let plan = engine.planner.logical(&state, &query).await?;
            let schema = shown_schema(plan.schema().as_arrow());
            Ok(Planned { plan, state, schema, used: scope.used(), wanted })
        };
        self.engine.planning.plan(Allowance::new(token), planned).await
    }

    /// Plans a query and starts it.
    pub async fn run(&self, query: &Query) -> Result<(SchemaRef, Batches)> {
        let planned = self.plan(query).await?;
        let schema = Arc::clone(&planned.schema);
        Ok((schema, execute(&self.engine, planned.physical(&self.engine).await?)))
    }

    /// Runs a query to its end.
    pub async fn collect(&self, query: &Query) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let (schema, mut stream) = self.run(query).await?;
        let mut batches = Vec::new();
        let mut bytes = 0usize;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            bytes = bytes.saturating_add(batch.get_array_memory_size());
            if bytes > limits::WRITE_BYTES {
                return Err(Error::new(
                    crate::error::SqlState::ProgramLimit,
                    "the result is too large to be kept",
                )
                .hint("Use LIMIT, or an aggregate."));
            }
            batches.push(batch);
        }
        Ok((schema, batches))
    }
}

/// A query that has been planned.
pub struct Planned {
    /// Not optimized.
    pub plan: LogicalPlan,
    /// What it was planned with.
    pub state: SessionState,
    /// Its columns as the client sees them.
    pub schema: SchemaRef,
    /// The relations it names.
    pub used: Vec<RelationId>,
    /// Whatever is done for it ends when this is dropped.
    pub wanted: DropGuard,
}

/// A query that can be run.
pub struct Runnable {
    /// How it is done.
    pub physical: Arc<dyn ExecutionPlan>,
    state: SessionState,
    schema: SchemaRef,
    wanted: DropGuard,
    is_light: bool,
}

impl Planned {
    /// Whether it can be optimized.
    pub async fn optimized(&self, engine: &Engine) -> Result<()> {
        let (plan, state) = (self.plan.clone(), self.state.clone());
        let optimized = async move { state.optimize(&plan).map(drop).map_err(Error::from) };
        engine.planning.plan(Allowance::of(self.state.config_options()), optimized).await
    }

    /// Optimizes it and plans how it is done.
    pub async fn physical(self, engine: &Engine) -> Result<Runnable> {
        let allowance = Allowance::of(self.state.config_options());
        engine.planning.plan(allowance, self.runnable()).await
    }

    /// The same, where it is planned already.
    pub async fn runnable(self) -> Result<Runnable> {
        let Planned { plan, state, schema, wanted, .. } = self;
        Allowance::current().weigh(&plan).await?;
        let optimized = state.optimize(&plan)?;
        // It may be large, and is not needed any more.
        drop(plan);
        let is_light = is_light(&optimized, weight_of);
        let physical = state.query_planner().create_physical_plan(&optimized, &state).await?;
        Ok(Runnable { physical, state, schema, wanted, is_light })
    }
}

/// Runs a plan on the engine's threads, a few batches ahead of its reader; one that computes little
/// where it was planned, apart from those that compute much.
pub fn execute(engine: &Engine, runnable: Runnable) -> Batches {
    let Runnable { physical, state, schema, wanted, is_light } = runnable;
    let (sender, receiver) = mpsc::channel(limits::RESULT_BATCHES);
    let threads = if is_light { engine.planning.threads() } else { engine.cpu() };
    let task = threads.spawn(async move {
        let sender_of_panic = sender.clone();
        let work = std::panic::AssertUnwindSafe(drive(physical, state, schema, sender));
        if let Err(panic) = futures::FutureExt::catch_unwind(work).await {
            // Whoever reads may have gone.
            let _ = sender_of_panic.send(Err(panicked("the statement", &*panic))).await;
        }
    });
    received(receiver, (AbortOnDropHandle::new(task), wanted))
}

/// What comes out of a channel, as long as the task that fills it is wanted.
pub fn received<T: Send + 'static>(
    receiver: mpsc::Receiver<Result<RecordBatch>>,
    task: T,
) -> Batches {
    stream::unfold((receiver, task), |(mut receiver, task)| async move {
        receiver.recv().await.map(|item| (item, (receiver, task)))
    })
    .boxed()
}

async fn drive(
    physical: Arc<dyn ExecutionPlan>,
    state: SessionState,
    schema: SchemaRef,
    sender: mpsc::Sender<Result<RecordBatch>>,
) {
    let mut stream = match execute_stream(physical, state.task_ctx()) {
        Ok(stream) => stream,
        Err(error) => {
            let _ = sender.send(Err(error.into())).await;
            return;
        }
    };
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(Error::from).and_then(|batch| conform(&batch, &schema));
        let is_over = batch.is_err();
        if matches!(&batch, Ok(batch) if batch.num_rows() == 0) {
            continue;
        }
        // A reader that has gone ends the query.
        if sender.send(batch).await.is_err() || is_over {
            return;
        }
    }
}

/// The error with the place in the text where the name it complains of stands.
pub fn placed(error: Error, text: &str) -> Error {
    use crate::error::SqlState::{
        AmbiguousColumn, UndefinedColumn, UndefinedFunction, UndefinedTable,
    };
    let state = error.state();
    if error.position().is_some()
        || !matches!(state, UndefinedColumn | UndefinedTable | UndefinedFunction | AmbiguousColumn)
    {
        return error;
    }
    let place =
        complained(error.message()).and_then(|(name, named)| sql::place_of(text, name, named));
    match place {
        Some(position) => error.at(position),
        None => error,
    }
}

/// The name that a message is about.
fn complained(message: &str) -> Option<(&str, NameKind)> {
    let quoted = |begin: &str| message.strip_prefix(begin)?.split('"').next();
    if let Some(name) = quoted("relation \"") {
        return Some((name, NameKind::Relation));
    }
    if let Some(name) = quoted("column \"").or_else(|| quoted("column reference \"")) {
        return Some((name, NameKind::Column));
    }
    if let Some(name) = quoted("missing FROM-clause entry for table \"") {
        return Some((name, NameKind::Qualifier));
    }
    let until = |begin: &str, end: char| message.strip_prefix(begin)?.split(end).next();
    let column = until("column ", ' ').map(|name| (name, NameKind::Column));
    column.or_else(|| Some((until("function ", '(')?.split(' ').next()?, NameKind::Function)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_an_error_complains_of_is_pointed_at() {
        let check = |message: &str, text: &str, place: Option<usize>| {
            let error = placed(Error::new(crate::error::SqlState::UndefinedColumn, message), text);
            assert_eq!(error.position(), place, "{message}");
        };
        check("column \"vv\" does not exist", "SELECT vv FROM s", Some(8));
        check("column s.x does not exist", "SELECT 'ä', s.x FROM s", Some(13));
        check("function f(integer) does not exist", "SELECT f(1)", Some(8));
        check("function f does not exist", "SELECT f(1)", Some(8));
        check("relation \"t\" does not exist", "SELECT t FROM t", Some(15));
        check("missing FROM-clause entry for table \"t\"", "SELECT t.a FROM s", Some(8));
        check("something else", "SELECT else", None);
    }
}
