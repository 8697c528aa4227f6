//! The engine: what is there (relations, logs, tables, views), and the versions of it at one moment.
//!
//! What happens to views stands beside it: `life` starts and ends them, `epochs` runs those that run, `sync` waits for them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use datafusion::arrow::datatypes::{Field, Schema};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::epochs::{Command, Loop};
use super::kept::Kept;
use super::snapshot::Moment;
use super::stored::Progress;
use super::view::{Phase, ViewHandle};
use crate::catalog::{Catalog, Column, Kind, Relation, RelationId, StreamDef};
use crate::clock::now_ms;
use crate::connect::{self, ComputedColumn, EventTimes, Source};
use crate::error::{Error, Result, SqlState};
use crate::log::Journal;
use crate::log::table::{TableHandle, TableId, TableSpec};
use crate::plan::relations::Nothing;
use crate::plan::{Planner, RowExpr};
use crate::sql;
use crate::store::{Space, Store};

/// How often streams with a retention are looked at.
const RETENTION_ROUND: Duration = Duration::from_secs(1);

/// The key of the last epoch's number.
pub(super) const EPOCH_KEY: &[u8] = b"epoch";

/// What the engine is told when it starts.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// File connectors reach only below this directory.
    pub files: PathBuf,
    /// Bytes that queries may use.
    pub memory: usize,
    /// How many partitions a snapshot is run in.
    pub threads: usize,
    /// Input is what is there: continuous queries over embedded streams end when they have read it (`tidemill run`).
    pub bounded: bool,
}

/// Everything that is there.
pub struct Engine {
    /// The names.
    pub catalog: Catalog,
    /// The commits.
    pub journal: Arc<Journal>,
    /// Plans queries.
    pub planner: Planner,
    /// As started.
    pub options: EngineOptions,
    /// Late and rejected rows that are kept to be looked at.
    pub kept: Kept,
    pub(super) tables: RwLock<HashMap<RelationId, Arc<TableHandle>>>,
    pub(super) sources: RwLock<HashMap<RelationId, Arc<dyn Source>>>,
    pub(super) views: RwLock<HashMap<RelationId, Arc<ViewHandle>>>,
    /// Read by who takes the versions of several views; written while an epoch is published.
    pub(super) publishing: RwLock<()>,
    pub(super) temporary: Mutex<HashMap<u64, Arc<super::continuous::TemporaryQuery>>>,
    pub(super) next_query: AtomicU64,
    pub(super) epoch: AtomicU64,
    pub(super) commands: mpsc::UnboundedSender<Command>,
    cpu: Handle,
    /// CREATE, DROP and ALTER one at a time.
    ddl: Arc<tokio::sync::Mutex<()>>,
}

/// Whoever holds it is the only one who defines, alters or drops.
pub type Alone = tokio::sync::OwnedMutexGuard<()>;

impl Engine {
    /// Opens what the store holds and starts the epoch loop. `cpu` runs the computing.
    pub async fn open(store: Arc<dyn Store>, options: EngineOptions, cpu: Handle) -> Result<Arc<Engine>> {
        let catalog = Catalog::open(store.as_ref())?;
        let journal = Journal::open(Arc::clone(&store))?;
        let kept = Kept::open(store.as_ref())?;
        let planner = Planner::new(options.threads, options.memory)?;
        let epoch = last_epoch(store.as_ref(), &catalog)?;
        let (commands, inbox) = mpsc::unbounded_channel();
        let engine = Arc::new(Engine {
            catalog,
            journal,
            planner,
            options,
            kept,
            tables: RwLock::default(),
            sources: RwLock::default(),
            views: RwLock::default(),
            publishing: RwLock::default(),
            temporary: Mutex::default(),
            next_query: AtomicU64::new(1),
            epoch: AtomicU64::new(epoch),
            commands,
            cpu: cpu.clone(),
            ddl: Arc::default(),
        });
        let names = engine.catalog.names();
        let mut relations: Vec<_> = names.all().collect();
        // What a view reads was made before it.
        relations.sort_by_key(|relation| relation.id);
        relations.into_iter().try_for_each(|relation| engine.open_relation(relation))?;
        let looped = Arc::clone(&engine);
        std::thread::Builder::new()
            .name("epochs".to_owned())
            .stack_size(crate::limits::PLANNING_STACK_BYTES)
            .spawn(move || cpu.block_on(Loop::new(looped, inbox).run()))
            .map_err(Error::from)?;
        engine.start_retention();
        Ok(engine)
    }

    /// Makes a relation of the catalog ready: its storage, its source, its view.
    fn open_relation(self: &Arc<Self>, relation: &Arc<Relation>) -> Result<()> {
        match &relation.kind {
            Kind::Table(_) => {
                let handle =
                    TableHandle::open(self.store().as_ref(), TableId(relation.id.0), table_spec(relation))?;
                self.tables.write().insert(relation.id, handle);
            }
            Kind::Stream(stream) => {
                if let Some(connector) = &stream.connector {
                    match self.open_source(relation, &connector.options) {
                        Ok(source) => {
                            self.sources.write().insert(relation.id, source);
                        }
                        // The outside world may have changed since; the stream says so when it is read.
                        Err(error) => tracing::warn!("stream {}: {error}", relation.name),
                    }
                }
            }
            Kind::View { .. } => {}
            Kind::MaterializedView(def) => {
                let handle = ViewHandle::new(Arc::clone(relation))?;
                self.views.write().insert(relation.id, Arc::clone(&handle));
                match def.paused {
                    true => self.start_paused(handle),
                    false => self.start_view(handle),
                }
            }
        }
        Ok(())
    }

    /// Opens the connector of a stream.
    pub fn open_source(&self, relation: &Relation, options: &[(String, String)]) -> Result<Arc<dyn Source>> {
        let given = relation.columns.iter().filter(|column| column.generated.is_none());
        let fields: Vec<_> = given.map(Column::field).collect();
        let computed = self.computed_columns(relation, &fields)?;
        let times = match &relation.kind {
            Kind::Stream(StreamDef { watermark: Some(time), max_future_ms, .. }) => {
                Some(EventTimes { column: time.column, max_future_ms: *max_future_ms })
            }
            Kind::Stream(_) | Kind::Table(_) | Kind::View { .. } | Kind::MaterializedView(_) => None,
        };
        connect::open(options, &fields, computed, &self.options.files, relation.created_ms, times)
    }

    /// The computed columns of a stream with a connector. Whoever reads it again must find the same rows.
    fn computed_columns(&self, relation: &Relation, given: &[Field]) -> Result<Vec<ComputedColumn>> {
        let schema = Schema::new(given.iter().map(|f| f.clone().with_nullable(true)).collect::<Vec<_>>());
        let state = self.planner.snapshot_state(Arc::new(Nothing));
        let mut computed = Vec::new();
        for (at, column) in relation.columns.iter().enumerate() {
            let Some(text) = &column.generated else { continue };
            let of = |text: &str| RowExpr::new(&state, sql::parse_expr(text)?, &schema);
            let cast = format!("CAST(({text}) AS {})", column.sql_type.declaration());
            // The type of an expression may have more digits than can be declared.
            let value = match of(&cast)? {
                value if *value.field.data_type() == column.sql_type.data_type() => value,
                _ => of(text)?,
            };
            if !value.is_immutable {
                return Err(Error::unsupported(format!(
                    "column \"{}\" would have another value each time the connector is read",
                    column.name
                ))
                .hint("Compute it in a query over the stream."));
            }
            let expr = value.of_type(&column.sql_type.data_type(), &schema)?;
            computed.push(ComputedColumn { column: at, field: column.field(), expr });
        }
        Ok(computed)
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.journal.store()
    }

    /// Where computing is done.
    pub fn cpu(&self) -> &Handle {
        &self.cpu
    }

    /// One CREATE, DROP or ALTER at a time holds this.
    pub async fn ddl(&self) -> Alone {
        Arc::clone(&self.ddl).lock_owned().await
    }

    /// A table's storage.
    pub fn table(&self, id: RelationId) -> Result<Arc<TableHandle>> {
        self.tables
            .read()
            .get(&id)
            .cloned()
            .ok_or_else(|| Error::internal(format!("table {} is not open", id.0)))
    }

    /// A stream's connector; None for an embedded log.
    pub fn source(&self, relation: &Relation) -> Result<Option<Arc<dyn Source>>> {
        let Kind::Stream(stream) = &relation.kind else {
            return Ok(None);
        };
        let Some(connector) = &stream.connector else {
            return Ok(None);
        };
        if let Some(source) = self.sources.read().get(&relation.id) {
            return Ok(Some(Arc::clone(source)));
        }
        let source = self.open_source(relation, &connector.options)?;
        self.sources.write().insert(relation.id, Arc::clone(&source));
        Ok(Some(source))
    }

    /// Reads a stream from something that a test has made.
    #[cfg(test)]
    pub(super) fn replace_source(&self, id: RelationId, source: Arc<dyn Source>) {
        self.sources.write().insert(id, source);
    }

    /// A materialized view.
    pub fn view(&self, id: RelationId) -> Result<Arc<ViewHandle>> {
        self.views
            .read()
            .get(&id)
            .cloned()
            .ok_or_else(|| Error::internal(format!("view {} is not open", id.0)))
    }

    /// All materialized views, oldest first.
    pub fn views(&self) -> Vec<Arc<ViewHandle>> {
        let mut views: Vec<_> = self.views.read().values().cloned().collect();
        views.sort_by_key(|view| view.relation().id);
        views
    }

    /// The number of the last epoch.
    pub fn last_epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// After a relation has been committed and published: makes it ready.
    pub fn opened(self: &Arc<Self>, relation: &Arc<Relation>) -> Result<()> {
        self.open_relation(relation)
    }

    /// After a relation is gone.
    pub fn closed(&self, id: RelationId) {
        self.tables.write().remove(&id);
        self.sources.write().remove(&id);
        self.views.write().remove(&id);
    }

    /// Finishes the running epoch, stops the loop and the commits.
    pub async fn stop(&self) {
        let (answer, answered) = oneshot::channel();
        if self.commands.send(Command::Stop(answer)).is_ok() {
            let _ = answered.await;
        }
        let journal = Arc::clone(&self.journal);
        // It joins the commit thread.
        let _ = tokio::task::spawn_blocking(move || journal.stop()).await;
    }

    fn start_retention(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        self.cpu.spawn(async move {
            loop {
                tokio::time::sleep(RETENTION_ROUND).await;
                let Some(engine) = engine.upgrade() else { return };
                let round =
                    tokio::task::spawn_blocking(move || super::retention::forget_old_rows(&engine)).await;
                match round {
                    Ok(Ok(())) => {}
                    // The journal has stopped, or says so itself at the next write.
                    Ok(Err(error)) => tracing::debug!("retention: {error}"),
                    Err(_) => return,
                }
            }
        });
    }

    /// The versions of everything at this moment.
    pub fn moment(self: &Arc<Self>) -> Moment {
        self.moment_of(&[])
    }

    /// The versions of everything at this moment; streams are read as far as these views have come, so that a statement over a
    /// stream and a view of it sees the same rows in both. Call [`Engine::sync`] first.
    pub fn moment_of(self: &Arc<Self>, views: &[Arc<ViewHandle>]) -> Moment {
        let _publishing = self.publishing.read();
        let reached = views
            .iter()
            .filter(|view| *view.phase().borrow() == Phase::Running)
            .map(|view| view.version().commit)
            .min();
        self.journal.at_rest(|commit| Moment {
            commit: reached.unwrap_or(commit),
            tables: self.tables.read().iter().map(|(id, table)| (*id, table.version())).collect(),
            views: self.views.read().iter().map(|(id, view)| (*id, view.version())).collect(),
            now_ms: now_ms(),
        })
    }
}

/// The greatest number of an epoch that is stored. Views that catch up commit beside the loop, so the numbers need not have been
/// committed in order: the newest record of the number alone could be one that others are beyond.
fn last_epoch(store: &dyn Store, catalog: &Catalog) -> Result<u64> {
    let mut last = match store.get(Space::Meta, EPOCH_KEY)? {
        Some(bytes) => u64::from_be_bytes(
            bytes
                .as_ref()
                .try_into()
                .map_err(|_| Error::new(SqlState::Corrupted, "the number of the last epoch is damaged"))?,
        ),
        None => 0,
    };
    for relation in catalog.names().all() {
        if let Kind::MaterializedView(_) = relation.kind {
            last = last.max(Progress::read(store, relation.id)?.map_or(0, |progress| progress.epoch));
        }
    }
    Ok(last)
}

/// What a table's storage is told.
pub fn table_spec(relation: &Relation) -> TableSpec {
    let primary_key = match &relation.kind {
        Kind::Table(table) => table.primary_key.clone(),
        _ => Vec::new(),
    };
    TableSpec { name: relation.name.clone(), schema: relation.schema(), primary_key }
}
