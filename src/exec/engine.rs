//! The engine: what is there (relations, logs, tables, views), and the thread that runs the epochs of all views.
//!
//! ```text
//!  commits ─▶ epoch loop: cut ▸ each view reads and computes ▸ one commit ▸ publish ▸ answer those who wait
//! ```
//! A view that is new, or that has history to read after a start, catches up on a task of its own and then joins the loop. A view that
//! fails leaves the loop and tells why in `tidemill.queries`; everything else goes on.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::feed::{Feed, FeedPosition, Start};
use super::kept::Kept;
use super::runner::Runner;
use super::shared::SharedReads;
use super::snapshot::Moment;
use super::stored::Progress;
use super::view::{Phase, ViewEpoch, ViewHandle, ViewRun, failed_error, recovered};
use crate::catalog::{Catalog, Kind, Relation, RelationId, StreamDef};
use crate::clock::{Stopwatch, now_ms};
use crate::connect::{self, EventTimes, Source};
use crate::error::{Error, Result, SqlState};
use crate::log::table::{TableHandle, TableId, TableSpec};
use crate::log::{CommitNo, Journal, Transaction};
use crate::plan::{Planner, SourceScan};
use crate::store::{Space, Store};

/// How often connectors are asked for new rows.
const POLL: Duration = Duration::from_millis(20);

/// How often streams with a retention are looked at.
const RETENTION_ROUND: Duration = Duration::from_secs(1);

/// The key of the last epoch's number.
const EPOCH_KEY: &[u8] = b"epoch";

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
    tables: RwLock<HashMap<RelationId, Arc<TableHandle>>>,
    sources: RwLock<HashMap<RelationId, Arc<dyn Source>>>,
    views: RwLock<HashMap<RelationId, Arc<ViewHandle>>>,
    /// Read by who takes the versions of several views; written while an epoch is published.
    pub(super) publishing: RwLock<()>,
    pub(super) temporary: Mutex<HashMap<u64, Arc<super::continuous::TemporaryQuery>>>,
    pub(super) next_query: AtomicU64,
    epoch: AtomicU64,
    commands: mpsc::UnboundedSender<Command>,
    cpu: Handle,
    /// CREATE, DROP and ALTER one at a time.
    ddl: tokio::sync::Mutex<()>,
}

/// What the epoch loop is asked to do.
enum Command {
    /// A view that has caught up.
    Join(Box<ViewRun>),
    /// Answers when every running view has read this commit, and connectors have been asked once more.
    Sync(CommitNo, oneshot::Sender<()>),
    /// Takes a view out; answers when it is out.
    Leave(RelationId, oneshot::Sender<()>),
    /// Finishes the running epoch and ends.
    Stop(oneshot::Sender<()>),
}

impl Engine {
    /// Opens what the store holds and starts the epoch loop. `cpu` runs the computing.
    pub async fn open(store: Arc<dyn Store>, options: EngineOptions, cpu: Handle) -> Result<Arc<Engine>> {
        let catalog = Catalog::open(store.as_ref())?;
        let journal = Journal::open(Arc::clone(&store))?;
        let kept = Kept::open(store.as_ref())?;
        let planner = Planner::new(options.threads, options.memory)?;
        let epoch =
            match store.get(Space::Meta, EPOCH_KEY)? {
                Some(bytes) => u64::from_be_bytes(bytes.as_ref().try_into().map_err(|_| {
                    Error::new(SqlState::Corrupted, "the number of the last epoch is damaged")
                })?),
                None => 0,
            };
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
            ddl: tokio::sync::Mutex::new(()),
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
        let fields: Vec<_> = relation.columns.iter().map(crate::catalog::Column::field).collect();
        let times = match &relation.kind {
            Kind::Stream(StreamDef { watermark: Some(time), max_future_ms, .. }) => {
                Some(EventTimes { column: time.column, max_future_ms: *max_future_ms })
            }
            Kind::Stream(_) | Kind::Table(_) | Kind::View { .. } | Kind::MaterializedView(_) => None,
        };
        connect::open(options, &fields, &self.options.files, relation.created_ms, times)
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
    pub async fn ddl(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.ddl.lock().await
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

    /// Waits until these views hold everything that was committed before the call.
    pub async fn sync(&self, views: &[Arc<ViewHandle>]) -> Result<()> {
        let target = self.journal.last();
        let mut waits = false;
        for view in views {
            let mut phase = view.phase();
            let settled = phase.wait_for(|phase| *phase != Phase::CatchingUp).await;
            match settled.map(|phase| phase.clone()).unwrap_or(Phase::Dropped) {
                Phase::Failed(state, message) => {
                    return Err(failed_error(&view.relation().name, &state, &message));
                }
                Phase::Dropped => return Err(self.catalog.names().missing(&view.relation().name)),
                Phase::Paused => {}
                Phase::CatchingUp | Phase::Running => {
                    waits |= view.version().commit < target || self.is_fed_by_connector(&view.relation());
                }
            }
        }
        if !waits {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let stopped = || Error::new(SqlState::ShuttingDown, "the server is shutting down");
        self.commands.send(Command::Sync(target, answer)).map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?;
        for view in views {
            if let Phase::Failed(state, message) = &*view.phase().borrow() {
                return Err(failed_error(&view.relation().name, state, message));
            }
        }
        Ok(())
    }

    fn is_fed_by_connector(&self, relation: &Relation) -> bool {
        let names = self.catalog.names();
        relation.depends_on.iter().filter_map(|id| names.by_id(*id)).any(|used| match &used.kind {
            Kind::Stream(stream) => stream.connector.is_some(),
            Kind::View { .. } | Kind::MaterializedView(_) => self.is_fed_by_connector(used),
            Kind::Table(_) => false,
        })
    }

    /// After a relation has been committed and published: makes it ready.
    pub fn opened(self: &Arc<Self>, relation: &Arc<Relation>) -> Result<()> {
        self.open_relation(relation)
    }

    /// Before a relation is removed: stops what runs for it.
    pub async fn stop_view(&self, id: RelationId) -> Result<()> {
        let handle = self.view(id)?;
        handle.enter(Phase::Dropped);
        self.leave(id).await;
        Ok(())
    }

    /// After a relation is gone.
    pub fn closed(&self, id: RelationId) {
        self.tables.write().remove(&id);
        self.sources.write().remove(&id);
        self.views.write().remove(&id);
    }

    /// PAUSE: the view keeps its rows and reads no more.
    pub async fn pause_view(&self, id: RelationId) -> Result<()> {
        let handle = self.view(id)?;
        let mut phase = handle.phase();
        // A view that catches up is let through first: it is then at a definite place.
        let _ = phase.wait_for(|phase| *phase != Phase::CatchingUp).await;
        self.leave(id).await;
        handle.enter(Phase::Paused);
        Ok(())
    }

    /// RESUME: the view goes on where it was.
    pub fn resume_view(self: &Arc<Self>, id: RelationId) -> Result<()> {
        let handle = self.view(id)?;
        handle.enter(Phase::CatchingUp);
        self.start_view(handle);
        Ok(())
    }

    async fn leave(&self, id: RelationId) {
        let (answer, answered) = oneshot::channel();
        if self.commands.send(Command::Leave(id, answer)).is_ok() {
            // No answer means that the loop has ended, and every view with it.
            let _ = answered.await;
        }
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

    /// Lets a view read what there is, then join the loop.
    fn start_view(self: &Arc<Self>, handle: Arc<ViewHandle>) {
        let engine = Arc::clone(self);
        self.cpu.spawn(async move {
            let caught = AssertUnwindSafe(engine.catch_up(&handle)).catch_unwind().await;
            match caught.unwrap_or_else(|panic| Err(panicked(&panic))) {
                Ok(Some(run)) => {
                    // Fails only when the server stops.
                    let _ = engine.commands.send(Command::Join(Box::new(run)));
                }
                Ok(None) => {}
                Err(error) => engine.fail(&handle, &error).await,
            }
        });
    }

    /// Puts a view together as it was. What is stored of it is whole even if there is no memory for it now: then it has failed
    /// until the next start, which may have more, and nothing is written down.
    async fn recover_or_wait(self: &Arc<Self>, handle: &Arc<ViewHandle>) -> Result<Option<ViewRun>> {
        match self.recover(handle).await {
            Err(error) if error.state() == SqlState::OutOfMemory => {
                tracing::error!("materialized view {}: {error}", handle.relation().name);
                handle.enter(Phase::Failed(error.state().code().to_owned(), error.message().to_owned()));
                Ok(None)
            }
            recovered => recovered.map(Some),
        }
    }

    /// Shows a paused view's rows as they were.
    fn start_paused(self: &Arc<Self>, handle: Arc<ViewHandle>) {
        let engine = Arc::clone(self);
        self.cpu.spawn(async move {
            match engine.recover_or_wait(&handle).await {
                Ok(Some(_)) => handle.enter(Phase::Paused),
                Ok(None) => {}
                Err(error) => engine.fail(&handle, &error).await,
            }
        });
    }

    async fn recover(self: &Arc<Self>, handle: &Arc<ViewHandle>) -> Result<ViewRun> {
        let relation = handle.relation();
        self.forget_if_cut_off(&relation).await?;
        let (progress, checkpoints, answer) = recovered(self.store().as_ref(), &relation)?;
        if let Some((state, message)) = &progress.failed {
            // It stays failed until it is dropped: running it again would fail again, at every start.
            return Err(Error::new(SqlState::NotInState, message.clone()).detail(state.clone()));
        }
        let (pipeline, state) = super::define::view_pipeline(self, &relation).await?;
        let tables = super::tables::PresentTables(Arc::clone(self));
        let Kind::MaterializedView(def) = &relation.kind else {
            return Err(Error::internal(format!("{} is no materialized view", relation.name)));
        };
        let from = progress.position.as_ref();
        let start = match def.from_latest {
            true => self.latest(),
            false => Start::Earliest,
        };
        let feed = self.feed(&pipeline.source, from, start).await?;
        let watermark = crate::time::Watermark(progress.watermark);
        let runner =
            Runner::restore(Arc::new(pipeline), state, &tables, watermark, progress.counters, checkpoints)
                .await?;
        let late = super::kept::read_late(self.store().as_ref(), relation.id)?;
        ViewRun::new(Arc::clone(handle), runner, feed, progress, answer, late)
    }

    /// Where a query begins that wants only what comes from now on.
    pub(super) fn latest(&self) -> Start {
        Start::Latest { after: self.journal.last(), now_ms: now_ms() }
    }

    /// Opens the source of a query.
    pub(super) async fn feed(
        &self,
        scan: &SourceScan,
        from: Option<&FeedPosition>,
        start: Start,
    ) -> Result<Feed> {
        if !matches!(scan.relation.kind, Kind::MaterializedView(_)) {
            let source = self.source(&scan.relation)?;
            return Feed::open(scan, &self.journal, source.as_ref(), from, start);
        }
        let view = self.view(scan.relation.id)?;
        let mut phase = view.phase();
        let settled = phase.wait_for(|phase| *phase != Phase::CatchingUp).await;
        if let Ok(Phase::Failed(state, message)) = settled.as_deref() {
            return Err(failed_error(&scan.relation.name, state, message));
        }
        Feed::of_view(scan, self.store().as_ref(), &view, from, start != Start::Earliest)
    }

    /// A view on a view goes on from the changes that the other one has stored. If those have been merged into a base since (it was
    /// paused for long), it begins anew.
    async fn forget_if_cut_off(&self, relation: &Relation) -> Result<()> {
        let store = self.store().as_ref();
        let Some(progress) = Progress::read(store, relation.id)? else {
            return Ok(());
        };
        let Some(FeedPosition::View { epoch }) = progress.position else {
            return Ok(());
        };
        let names = self.catalog.names();
        for id in &relation.depends_on {
            let is_view = names.by_id(*id).is_some_and(|used| matches!(used.kind, Kind::MaterializedView(_)));
            let Some(read) = Progress::read(store, *id)?.filter(|_| is_view) else { continue };
            if epoch < read.base_epoch {
                let mut transaction = Transaction::at(now_ms());
                super::stored::delete_all(store, relation.id, &mut transaction.puts)?;
                self.journal.commit(transaction).await?;
            }
        }
        Ok(())
    }

    /// Reads the history that is there; None if the view was dropped meanwhile, or there is no memory for it.
    async fn catch_up(self: &Arc<Self>, handle: &Arc<ViewHandle>) -> Result<Option<ViewRun>> {
        let Some(mut run) = self.recover_or_wait(handle).await? else { return Ok(None) };
        let tables = super::tables::PresentTables(Arc::clone(self));
        loop {
            if *handle.phase().borrow() == Phase::Dropped {
                return Ok(None);
            }
            let watch = Stopwatch::start();
            let source = run.source();
            // Of a view there is to read what that view has published, which may be behind the last commit.
            let cut = match source.kind {
                Kind::MaterializedView(_) => self.view(source.id)?.version().commit,
                Kind::Stream(_) | Kind::Table(_) | Kind::View { .. } => self.journal.last(),
            };
            let now = now_ms();
            let change = run.portion(cut, now, &tables).await?;
            let drained = change.drained;
            if !change.is_idle {
                let epoch = self.next_epoch();
                let mut transaction = Transaction::at(now);
                run.stage(self.store().as_ref(), epoch, cut, &change, &mut transaction.puts)?;
                self.put_epoch(&mut transaction);
                self.kept.reject(&run.source(), &change.rejected, now, Some(&mut transaction.puts))?;
                self.journal.commit(transaction).await?;
                run.publish(epoch, change, watch.ms(), now)?;
            }
            if drained {
                return Ok(Some(run));
            }
            tokio::task::yield_now().await;
        }
    }

    fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The greatest number given so far, as of the commit: views that catch up commit between the epochs of the others, and not in
    /// the order of the numbers.
    fn put_epoch(self: &Arc<Self>, transaction: &mut Transaction) {
        let engine = Arc::clone(self);
        transaction.with_commit(move |_, batch| {
            batch.put(Space::Meta, EPOCH_KEY, engine.last_epoch().to_be_bytes().to_vec());
            Ok(())
        });
    }

    /// Takes a view out for good, and remembers why.
    async fn fail(&self, handle: &Arc<ViewHandle>, error: &Error) {
        let relation = handle.relation();
        if self.catalog.names().by_id(relation.id).is_none() {
            return;
        }
        tracing::error!("materialized view {}: {error}", relation.name);
        let state = match error.detail_text() {
            Some(state) if error.state() == SqlState::NotInState && state.len() == 5 => state.to_owned(),
            _ => error.state().code().to_owned(),
        };
        let failure = (state, error.message().to_owned());
        let stored = Progress::read(self.store().as_ref(), relation.id).and_then(|progress| {
            let mut progress = progress.unwrap_or_default();
            progress.failed = Some(failure.clone());
            let mut transaction = Transaction::at(now_ms());
            progress.write(relation.id, &mut transaction.puts)?;
            Ok(transaction)
        });
        match stored {
            Ok(transaction) => {
                if let Err(error) = self.journal.commit(transaction).await {
                    tracing::error!("the failure of {} could not be stored: {error}", relation.name);
                }
            }
            Err(error) => tracing::error!("the failure of {} could not be stored: {error}", relation.name),
        }
        handle.enter(Phase::Failed(failure.0, failure.1));
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

/// What a table's storage is told.
pub fn table_spec(relation: &Relation) -> TableSpec {
    let primary_key = match &relation.kind {
        Kind::Table(table) => table.primary_key.clone(),
        _ => Vec::new(),
    };
    TableSpec { name: relation.name.clone(), schema: relation.schema(), primary_key }
}

fn panicked(panic: &Box<dyn std::any::Any + Send>) -> Error {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    Error::internal(format!("internal error: {what}"))
}

/// The thread that runs the epochs.
struct Loop {
    engine: Arc<Engine>,
    inbox: mpsc::UnboundedReceiver<Command>,
    runs: Vec<ViewRun>,
    waiting: Vec<(CommitNo, oneshot::Sender<()>)>,
    /// The last epoch left something to read.
    is_behind: bool,
    /// What views of one connector read together.
    shared: SharedReads,
}

impl Loop {
    fn new(engine: Arc<Engine>, inbox: mpsc::UnboundedReceiver<Command>) -> Loop {
        Loop {
            engine,
            inbox,
            runs: Vec::new(),
            waiting: Vec::new(),
            is_behind: false,
            shared: SharedReads::default(),
        }
    }

    async fn run(mut self) {
        let mut commits = self.engine.journal.watch();
        loop {
            if !self.is_behind {
                let polls = self.runs.iter().any(|run| !run.is_fed_by_log());
                let waits = !self.waiting.is_empty();
                tokio::select! {
                    biased;
                    command = self.inbox.recv() => match command {
                        Some(command) => if self.obey(command) { return },
                        None => return,
                    },
                    changed = commits.changed(), if !waits => if changed.is_err() { return },
                    () = tokio::time::sleep(POLL), if polls && !waits => {}
                    () = std::future::ready(()), if waits => {}
                }
            }
            while let Ok(command) = self.inbox.try_recv() {
                if self.obey(command) {
                    return;
                }
            }
            commits.borrow_and_update();
            self.epoch().await;
        }
    }

    /// Does what is asked; true when it is to end.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Join(run) => {
                let dropped = *run.handle.phase().borrow() == Phase::Dropped;
                if !dropped {
                    run.handle.enter(Phase::Running);
                    self.runs.push(*run);
                    // A view can only use older relations: in order of their ids, what is used runs first.
                    self.runs.sort_by_key(|run| run.handle.relation().id);
                    self.is_behind = true;
                }
            }
            Command::Sync(target, answer) => self.waiting.push((target, answer)),
            Command::Leave(id, answer) => {
                self.runs.retain(|run| run.handle.relation().id != id);
                // Whoever asked may have gone.
                let _ = answer.send(());
            }
            Command::Stop(answer) => {
                let _ = answer.send(());
                return true;
            }
        }
        false
    }

    /// One epoch of all running views.
    async fn epoch(&mut self) {
        let watch = Stopwatch::start();
        let cut = self.engine.journal.last();
        let now = now_ms();
        let tables = super::tables::PresentTables(Arc::clone(&self.engine));
        let mut changes: Vec<(ViewRun, ViewEpoch)> = Vec::new();
        if let Err(error) = self.shared.begin(self.runs.iter().filter_map(ViewRun::wish)) {
            // Then each reads by itself, and the one whose place is damaged says so.
            tracing::error!("connectors are not read together: {error}");
        }
        for mut run in std::mem::take(&mut self.runs) {
            // A view that is read was made before, so it stands before in the order of ids and has computed its epoch.
            let source = run.source().id;
            let fresh = changes.iter().find(|(other, _)| other.handle.relation().id == source);
            let fresh = fresh.map_or(&[][..], |(_, change)| &change.deltas);
            let caught =
                AssertUnwindSafe(run.epoch(cut, now, &tables, fresh, &mut self.shared)).catch_unwind().await;
            match caught.unwrap_or_else(|panic| Err(panicked(&panic))) {
                Ok(change) => changes.push((run, change)),
                Err(error) => self.engine.fail(&run.handle, &error).await,
            }
        }
        self.shared.end();
        self.is_behind = changes.iter().any(|(_, change)| !change.drained);
        let mut epoch = self.engine.last_epoch();
        if changes.iter().any(|(_, change)| !change.is_idle || !change.deltas.is_empty()) {
            epoch = self.engine.next_epoch();
            changes = self.commit(changes, epoch, cut, now).await;
        }
        self.publish(changes, epoch, cut, now, watch).await;
        if !self.is_behind {
            for (_, answer) in self.waiting.extract_if(.., |(target, _)| *target <= cut) {
                let _ = answer.send(());
            }
        }
    }

    /// Makes the epoch durable; a view that cannot be staged fails, the others go on.
    async fn commit(
        &mut self,
        changes: Vec<(ViewRun, ViewEpoch)>,
        epoch: u64,
        cut: CommitNo,
        now: i64,
    ) -> Vec<(ViewRun, ViewEpoch)> {
        let mut transaction = Transaction::at(now);
        let mut staged = Vec::new();
        for (mut run, change) in changes {
            if change.is_idle && change.deltas.is_empty() {
                staged.push((run, change));
                continue;
            }
            let puts = &mut transaction.puts;
            let kept = self.engine.kept.reject(&run.source(), &change.rejected, now, Some(puts));
            match kept.and_then(|()| run.stage(self.engine.store().as_ref(), epoch, cut, &change, puts)) {
                Ok(()) => staged.push((run, change)),
                Err(error) => self.engine.fail(&run.handle, &error).await,
            }
        }
        self.engine.put_epoch(&mut transaction);
        match self.engine.journal.commit(transaction).await {
            Ok(_) => staged,
            Err(error) => {
                // The state in memory is ahead of the store now; only a restart brings them together again.
                for (run, _) in staged {
                    run.handle
                        .enter(Phase::Failed(error.state().code().to_owned(), error.message().to_owned()));
                }
                Vec::new()
            }
        }
    }

    async fn publish(
        &mut self,
        changes: Vec<(ViewRun, ViewEpoch)>,
        epoch: u64,
        cut: CommitNo,
        now: i64,
        watch: Stopwatch,
    ) {
        let mut failed = Vec::new();
        {
            let _publishing = self.engine.publishing.write();
            for (mut run, change) in changes {
                if change.is_idle && change.deltas.is_empty() {
                    run.reached(cut);
                    self.runs.push(run);
                    continue;
                }
                match run.publish(epoch, change, watch.ms(), now) {
                    Ok(()) => self.runs.push(run),
                    Err(error) => failed.push((run, error)),
                }
            }
        }
        for (run, error) in failed {
            self.engine.fail(&run.handle, &error).await;
        }
    }
}
