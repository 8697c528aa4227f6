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
use super::view::{Folding, Phase, ViewEpoch, ViewHandle, ViewRun, failed_error, recovered};
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

/// How long after the disk was found full the views that it stopped try again.
const ROOM_ROUND: Duration = Duration::from_secs(1);

/// How long figures about all views wait for those that catch up: a view over little history is through by then.
const PATIENCE: Duration = Duration::from_millis(500);

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
    ddl: Arc<tokio::sync::Mutex<()>>,
}

/// Whoever holds it is the only one who defines, alters or drops.
pub type Alone = tokio::sync::OwnedMutexGuard<()>;

/// What the epoch loop is asked to do.
enum Command {
    /// A view that has caught up.
    Join(Box<ViewRun>),
    /// Answers when those of these views that run have read this commit and what their connectors have.
    Sync(Waiting),
    /// A view that is not in the loop has published something.
    Look,
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

    /// Waits until these views hold everything that was committed before the call.
    pub async fn sync(&self, views: &[Arc<ViewHandle>]) -> Result<()> {
        let target = self.journal.last();
        let views = self.with_bases(views);
        for view in &views {
            let mut phase = view.phase();
            let settled = phase.wait_for(|phase| *phase != Phase::CatchingUp).await;
            match settled.map(|phase| phase.clone()).unwrap_or(Phase::Dropped) {
                Phase::Failed(state, message) => {
                    return Err(failed_error(&view.relation().name, &state, &message));
                }
                Phase::Dropped => return Err(self.catalog.names().missing(&view.relation().name)),
                Phase::Paused | Phase::Stalled(_) | Phase::CatchingUp | Phase::Running => {}
            }
        }
        self.reach(target, &views).await?;
        for view in views {
            if let Phase::Failed(state, message) = &*view.phase().borrow() {
                return Err(failed_error(&view.relation().name, state, message));
            }
        }
        Ok(())
    }

    /// Waits until every view that runs holds everything that was committed before the call. One that is paused or has
    /// failed holds nobody up, and one that catches up not for long: it is to be seen that it does.
    pub async fn sync_all(&self) -> Result<()> {
        let target = self.journal.last();
        let views = self.views();
        let settled = async {
            for view in &views {
                // A view that goes away has settled, too.
                let _ = view.phase().wait_for(|phase| *phase != Phase::CatchingUp).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, settled).await;
        self.reach(target, &views).await
    }

    /// Waits, once for all of them, until those of the views that run have come to the target.
    async fn reach(&self, target: CommitNo, views: &[Arc<ViewHandle>]) -> Result<()> {
        let waits = |view: &&Arc<ViewHandle>| {
            *view.phase().borrow() == Phase::Running
                && (view.version().commit < target || self.is_fed_by_connector(&view.relation()))
        };
        let views: Vec<RelationId> = views.iter().filter(waits).map(|view| view.relation().id).collect();
        if views.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let stopped = || Error::new(SqlState::ShuttingDown, "the server is shutting down");
        self.commands.send(Command::Sync(Waiting { target, views, answer })).map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())
    }

    /// These views and all that they read: what is behind in a view that is read is behind in those on it.
    fn with_bases(&self, views: &[Arc<ViewHandle>]) -> Vec<Arc<ViewHandle>> {
        let names = self.catalog.names();
        let mut found: Vec<Arc<ViewHandle>> = views.to_vec();
        let mut next: Vec<RelationId> =
            views.iter().flat_map(|view| view.relation().depends_on.clone()).collect();
        while let Some(id) = next.pop() {
            let Some(used) = names.by_id(id) else { continue };
            if let Kind::MaterializedView(_) = used.kind
                && let Ok(view) = self.view(id)
                && !found.iter().any(|known| known.relation().id == id)
            {
                found.push(view);
            }
            next.extend(&used.depends_on);
        }
        found
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

    /// Before a relation is removed: stops what runs for it. Nothing of it is on its way to the store afterwards.
    pub async fn stop_view(&self, id: RelationId) -> Result<()> {
        let handle = self.view(id)?;
        handle.enter(Phase::Dropped);
        self.leave(id).await;
        drop(handle.portion.lock().await);
        Ok(())
    }

    /// The relation is there after all: its removal could not be committed.
    pub fn restart_view(self: &Arc<Self>, id: RelationId) -> Result<()> {
        let handle = self.view(id)?;
        handle.enter(Phase::CatchingUp);
        match &handle.relation().kind {
            Kind::MaterializedView(def) if def.paused => self.start_paused(handle),
            _ => self.start_view(handle),
        }
        Ok(())
    }

    /// After a relation is gone.
    pub fn closed(&self, id: RelationId) {
        self.tables.write().remove(&id);
        self.sources.write().remove(&id);
        self.views.write().remove(&id);
    }

    /// PAUSE: the view keeps its rows and reads no more. One that catches up stops where it has come to.
    pub async fn pause_view(&self, id: RelationId) -> Result<()> {
        let handle = self.view(id)?;
        let mut phase = handle.phase();
        handle.pausing.store(true, Ordering::Release);
        let settled = phase.wait_for(|phase| *phase != Phase::CatchingUp).await.map(|phase| phase.clone());
        self.leave(id).await;
        handle.pausing.store(false, Ordering::Release);
        if !matches!(settled, Ok(Phase::Failed(..) | Phase::Dropped)) {
            handle.enter(Phase::Paused);
        }
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
                Err(error) if error.state() == SqlState::DiskFull => engine.stall(handle, &error),
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
            let recovered = AssertUnwindSafe(engine.recover_or_wait(&handle)).catch_unwind().await;
            match recovered.unwrap_or_else(|panic| Err(panicked(&panic))) {
                Ok(Some(_)) => handle.enter(Phase::Paused),
                Ok(None) => {}
                Err(error) => engine.fail(&handle, &error).await,
            }
        });
    }

    /// The disk is full: what was computed is thrown away, the view's rows stay readable, and when there is room it goes on from what is stored.
    fn stall(self: &Arc<Self>, handle: Arc<ViewHandle>, error: &Error) {
        tracing::warn!("materialized view {} waits: {error}", handle.relation().name);
        handle.enter(Phase::Stalled(error.message().to_owned()));
        let engine = Arc::clone(self);
        self.cpu.spawn(async move {
            tokio::time::sleep(ROOM_ROUND).await;
            if let Phase::Stalled(_) = &*handle.phase().borrow() {
                engine.start_view(Arc::clone(&handle));
            }
        });
    }

    async fn recover(self: &Arc<Self>, handle: &Arc<ViewHandle>) -> Result<ViewRun> {
        let relation = handle.relation();
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
        Feed::of_view(scan, self.store(), &view, from, start != Start::Earliest)
    }

    /// Reads the history that is there; None if the view was dropped or paused meanwhile, or there is no memory for it.
    async fn catch_up(self: &Arc<Self>, handle: &Arc<ViewHandle>) -> Result<Option<ViewRun>> {
        let Some(mut run) = self.recover_or_wait(handle).await? else { return Ok(None) };
        let tables = super::tables::PresentTables(Arc::clone(self));
        loop {
            let _portion = handle.portion.lock().await;
            if *handle.phase().borrow() == Phase::Dropped {
                return Ok(None);
            }
            if handle.pausing.load(Ordering::Acquire) {
                handle.enter(Phase::Paused);
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
            if !change.is_idle || !change.deltas.is_empty() {
                let epoch = self.next_epoch();
                let mut transaction = Transaction::at(now);
                let folding = self.folding(&run);
                run.stage(self.store().as_ref(), epoch, cut, &change, folding, &mut transaction.puts)?;
                self.put_epoch(&mut transaction);
                self.kept.reject(&run.source(), &change.rejected, now, Some(&mut transaction.puts))?;
                self.journal.commit(transaction).await?;
                run.publish(epoch, change, watch.ms(), now)?;
                // Views on this one that run in the loop saw the commit, but only now the change. Fails only when the server stops.
                let _ = self.commands.send(Command::Look);
            }
            if drained {
                return Ok(Some(run));
            }
            drop(_portion);
            tokio::task::yield_now().await;
        }
    }

    /// Whether every view on this one has taken all changes of it so far. Not merely those that run: a paused one comes back.
    fn folding(&self, run: &ViewRun) -> Folding {
        let id = run.handle.relation().id;
        let behind = |view: &Arc<ViewHandle>| {
            view.relation().depends_on.contains(&id)
                && !matches!(*view.phase().borrow(), Phase::Failed(..) | Phase::Dropped)
                && view.place().is_none_or(|(source, epoch)| source == id && epoch < run.answer_epoch())
        };
        match self.views.read().values().any(behind) {
            true => Folding::Held,
            false => Folding::Allowed,
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

fn panicked(panic: &Box<dyn std::any::Any + Send>) -> Error {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    Error::internal(format!("internal error: {what}"))
}

/// Someone who waits for views.
struct Waiting {
    target: CommitNo,
    views: Vec<RelationId>,
    answer: oneshot::Sender<()>,
}

/// The thread that runs the epochs.
struct Loop {
    engine: Arc<Engine>,
    inbox: mpsc::UnboundedReceiver<Command>,
    runs: Vec<ViewRun>,
    waiting: Vec<Waiting>,
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
            Command::Sync(waiting) => self.waiting.push(waiting),
            Command::Look => {}
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
        let behind: Vec<RelationId> = changes
            .iter()
            .filter(|(_, change)| !change.drained)
            .map(|(run, _)| run.handle.relation().id)
            .collect();
        self.is_behind = !behind.is_empty();
        let mut epoch = None;
        if changes.iter().any(|(_, change)| change.is_change()) {
            let number = self.engine.next_epoch();
            changes = self.commit(changes, cut, now, number).await;
            epoch = Some(number);
        }
        self.publish(changes, cut, now, epoch, watch).await;
        // Whoever waits for a view that is far behind does not hold up those who wait for others.
        let is_there =
            |waiting: &Waiting| waiting.target <= cut && !waiting.views.iter().any(|id| behind.contains(id));
        for waiting in self.waiting.extract_if(.., |waiting| is_there(waiting)) {
            // Whoever asked may have gone.
            let _ = waiting.answer.send(());
        }
    }

    /// Makes the epoch durable; a view that cannot be staged fails, the others go on.
    async fn commit(
        &mut self,
        changes: Vec<(ViewRun, ViewEpoch)>,
        cut: CommitNo,
        now: i64,
        epoch: u64,
    ) -> Vec<(ViewRun, ViewEpoch)> {
        let mut transaction = Transaction::at(now);
        let (mut staged, mut unchanged) = (Vec::new(), Vec::new());
        for (mut run, change) in changes {
            if !change.is_change() {
                unchanged.push((run, change));
                continue;
            }
            let puts = &mut transaction.puts;
            let work = || {
                self.engine.kept.reject(&run.source(), &change.rejected, now, Some(puts))?;
                let folding = self.engine.folding(&run);
                run.stage(self.engine.store().as_ref(), epoch, cut, &change, folding, puts)
            };
            let caught = std::panic::catch_unwind(AssertUnwindSafe(work));
            match caught.unwrap_or_else(|panic| Err(panicked(&panic))) {
                Ok(()) => staged.push((run, change)),
                Err(error) => self.engine.fail(&run.handle, &error).await,
            }
        }
        self.engine.put_epoch(&mut transaction);
        match self.engine.journal.commit(transaction).await {
            Ok(_) => unchanged.extend(staged),
            Err(error) => {
                // Their state in memory is ahead of the store now: they go on from what is stored, or not at all.
                for (run, _) in staged {
                    match error.state() == SqlState::DiskFull {
                        true => self.engine.stall(run.handle, &error),
                        false => self.engine.fail(&run.handle, &error).await,
                    }
                }
            }
        }
        // What is read runs before what reads it.
        unchanged.sort_by_key(|(run, _)| run.handle.relation().id);
        unchanged
    }

    async fn publish(
        &mut self,
        changes: Vec<(ViewRun, ViewEpoch)>,
        cut: CommitNo,
        now: i64,
        epoch: Option<u64>,
        watch: Stopwatch,
    ) {
        let mut failed = Vec::new();
        {
            let _publishing = self.engine.publishing.write();
            for (mut run, change) in changes {
                let work = || match epoch {
                    Some(epoch) if change.is_change() => run.publish(epoch, change, watch.ms(), now),
                    Some(_) | None => {
                        run.reached(cut, epoch);
                        Ok(())
                    }
                };
                let caught = std::panic::catch_unwind(AssertUnwindSafe(work));
                match caught.unwrap_or_else(|panic| Err(panicked(&panic))) {
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
