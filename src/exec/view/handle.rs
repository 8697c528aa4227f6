//! A view as the rest of the server sees it: rows for readers, changes for subscribers, figures for
//! `tidemill.queries`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use datafusion::execution::memory_pool::MemoryReservation;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::explain::ExplainedLine;
use super::super::failure::ViewFailure;
use super::super::late::LateRow;
use super::super::node_figures::NodeFigures;
use super::super::position::SourceProgress;
use super::super::runner::Counters;
use super::throughput::Throughput;
use crate::announced::{Announced, Listener};
use crate::catalog::{Relation, RelationId};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::log::CommitNo;
use crate::state::{Delta, RowStore, Snapshot};
use crate::time::Watermark;

/// Where a view is in its life.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// It reads the history that was there when it was created.
    CatchingUp,
    /// It takes part in the common epochs.
    Running,
    /// Its epochs take long: it goes on by itself, so that no other view waits for it.
    Trailing,
    /// PAUSEd.
    Paused,
    /// The disk is full: it goes on, with nothing lost, when there is room.
    Stalled(String),
    /// It runs no more.
    Failed(ViewFailure),
    /// It is gone.
    Dropped,
}

impl Phase {
    /// As `tidemill.queries` shows it.
    pub fn name(&self) -> &'static str {
        match self {
            Phase::CatchingUp => "catching up",
            // Of both: what is written is read, and shown when it has been.
            Phase::Running | Phase::Trailing => "running",
            Phase::Paused => "paused",
            Phase::Stalled(_) => "stalled",
            Phase::Failed(_) => "failed",
            Phase::Dropped => "dropped",
        }
    }
}

/// The view's rows at one epoch.
#[derive(Debug, Clone)]
pub struct ViewVersion {
    /// The last epoch that changed them.
    pub epoch: u64,
    /// Every commit up to this one has been read.
    pub commit: CommitNo,
    /// The rows.
    pub rows: Snapshot,
    /// The watermark that its rows have come to and that is not the end of time, microseconds since
    /// 1970; of a view on a view that one's.
    pub watermark: Option<i64>,
}

/// What `tidemill.queries` shows of a query.
#[derive(Debug, Clone, Default)]
pub struct QueryFigures {
    /// Counted so far.
    pub counters: Counters,
    /// The watermark, ticks of the time column.
    pub watermark: Option<Watermark>,
    /// Bytes of state, contents of the view included.
    pub state_bytes: usize,
    /// Rows of state: groups, slices' groups, buffered rows.
    pub state_rows: usize,
    /// How long the last epoch took, milliseconds.
    pub last_epoch_ms: f64,
    /// The last epoch that changed something.
    pub epoch: u64,
    /// The least watermark that closes something, microseconds since 1970.
    pub closes_next: Option<i64>,
    /// Each source, and then each operator.
    pub nodes: Arc<[NodeFigures]>,
    /// When the rows of the last epoch had been taken in, milliseconds since 1970.
    pub last_epoch_at_ms: Option<i64>,
}

/// What an epoch of a view has made visible: all of it at once, so that nobody sees the rows of one
/// epoch with the figures of another.
#[derive(Debug, Clone)]
pub struct Published {
    /// The rows.
    pub version: Arc<ViewVersion>,
    /// The figures.
    pub figures: QueryFigures,
    /// The newest late rows, oldest first.
    pub late: Arc<VecDeque<LateRow>>,
    /// The streams it reads and the offset it reads next of each (as committed); of a view the epoch
    /// whose changes it has taken; of a connector 0. None: not known yet.
    pub places: Option<Vec<(RelationId, u64)>>,
    /// The last commit to its stream of which everything has been read; 0: not known. It may have
    /// come further than [`ViewVersion::commit`], which is told when nothing is left to read.
    pub read_to: CommitNo,
    /// No row to come of its event time is older, ticks.
    pub complete_to: Watermark,
    /// Of a view over connectors: which streams, and how far it has come (as committed).
    pub connectors: Vec<(RelationId, SourceProgress)>,
}

impl Published {
    /// The same with other rows.
    pub(in crate::exec) fn with_version(&self, version: ViewVersion) -> Published {
        Published { version: Arc::new(version), ..self.clone() }
    }
}

/// A view as the rest of the server sees it.
pub struct ViewHandle {
    relation: RwLock<Arc<Relation>>,
    published: RwLock<Arc<Published>>,
    phase: Announced<Phase>,
    subscribers: Mutex<Vec<Subscriber>>,
    explained: Mutex<Vec<ExplainedLine>>,
    /// What its rows take of `--memory-limit`, also when nothing runs.
    memory: Mutex<Option<Arc<MemoryReservation>>>,
    /// Every commit up to this one has been read, and what came of it is published.
    reached: Announced<CommitNo>,
    /// The last epoch that it has published.
    answered: Announced<u64>,
    /// How fast it reads when it goes on by itself.
    pub(in crate::exec) throughput: Mutex<Throughput>,
    /// When its phase began, milliseconds since 1970.
    since_ms: AtomicI64,
    /// Held while what it has computed by itself is committed and published: whoever holds it knows
    /// that nothing is on its way.
    pub(in crate::exec) alone: Arc<tokio::sync::Mutex<()>>,
    /// Ends what runs for it now.
    stop: Mutex<CancellationToken>,
}

struct Subscriber {
    /// The view that was asked for: several may have one query.
    of: RelationId,
    /// As the subscriber has it.
    view: Weak<RwLock<Arc<ViewHandle>>>,
    updates: mpsc::UnboundedSender<Update>,
    behind: Arc<AtomicUsize>,
}

/// What a subscriber is told.
#[derive(Debug, Clone)]
pub enum Update {
    /// An epoch has been published; without deltas nothing of this view changed.
    Epoch(u64, Arc<Vec<Delta>>),
    /// The subscriber has fallen too far behind; the last epoch it was sent.
    Overrun(u64),
    /// The view is gone or has failed.
    Ended(Error),
}

/// A subscriber's end of a view.
pub struct Subscription {
    view: Arc<RwLock<Arc<ViewHandle>>>,
    updates: mpsc::UnboundedReceiver<Update>,
    behind: Arc<AtomicUsize>,
}

impl Subscription {
    /// What it is on; another one when the view that was asked for has parted from its query.
    pub fn view(&self) -> Arc<ViewHandle> {
        Arc::clone(&self.view.read())
    }

    /// The next update, if there is one.
    pub fn try_next(&mut self) -> Option<Update> {
        let update = self.updates.try_recv().ok()?;
        if let Update::Epoch(_, deltas) = &update {
            self.behind.fetch_sub(bytes(deltas), Ordering::Relaxed);
        }
        Some(update)
    }

    /// Whether no update waits.
    pub fn is_empty(&self) -> bool {
        self.updates.is_empty()
    }

    /// The next update; None: the server is going down.
    pub async fn next(&mut self) -> Option<Update> {
        let update = self.updates.recv().await?;
        if let Update::Epoch(_, deltas) = &update {
            self.behind.fetch_sub(bytes(deltas), Ordering::Relaxed);
        }
        Some(update)
    }
}

fn was_dropped(view: &str) -> Error {
    let what = format!("materialized view \"{view}\" was dropped");
    Error::new(SqlState::UndefinedTable, what)
}

fn bytes(deltas: &[Delta]) -> usize {
    64 + deltas.iter().map(|delta| delta.batch.get_array_memory_size()).sum::<usize>()
}

impl ViewHandle {
    /// A view that has no rows yet.
    pub fn new(relation: Arc<Relation>) -> Result<Arc<ViewHandle>> {
        let rows = RowStore::new(relation.schema(), &[])?.snapshot();
        let published = Published {
            version: Arc::new(ViewVersion { epoch: 0, commit: CommitNo(0), rows, watermark: None }),
            figures: QueryFigures::default(),
            late: Arc::default(),
            places: None,
            read_to: CommitNo(0),
            complete_to: Watermark::NONE,
            connectors: Vec::new(),
        };
        Ok(Arc::new(ViewHandle {
            relation: RwLock::new(relation),
            published: RwLock::new(Arc::new(published)),
            phase: Announced::new(Phase::CatchingUp),
            subscribers: Mutex::new(Vec::new()),
            explained: Mutex::new(Vec::new()),
            memory: Mutex::new(None),
            reached: Announced::new(CommitNo(0)),
            answered: Announced::new(0),
            throughput: Mutex::default(),
            since_ms: AtomicI64::new(i64::MIN),
            alone: Arc::default(),
            stop: Mutex::default(),
        }))
    }

    /// Its definition, under the id of its query: see [`Relation::as_query`].
    pub fn relation(&self) -> Arc<Relation> {
        self.relation.read().clone()
    }

    /// Puts in a new version of its definition (a rename).
    pub fn redefine(&self, relation: Arc<Relation>) {
        *self.relation.write() = relation;
    }

    /// What its last epoch has made visible.
    pub fn published(&self) -> Arc<Published> {
        self.published.read().clone()
    }

    /// Its rows now.
    pub fn version(&self) -> Arc<ViewVersion> {
        Arc::clone(&self.published.read().version)
    }

    /// Every commit up to this one has been read, and subscribers have been sent what came of it.
    pub(in crate::exec) fn sent_to(&self) -> CommitNo {
        // Publishing holds this lock from the version to the last update: without it, the version
        // could be seen before its update is there.
        let _subscribers = self.subscribers.lock();
        self.version().commit
    }

    /// Where it is in its life, now and later.
    pub fn phase(&self) -> Listener<Phase> {
        self.phase.listen()
    }

    /// Sets where it is in its life; ends the subscriptions when that is over.
    pub fn enter(&self, phase: Phase) {
        let ended = match &phase {
            Phase::Failed(failure) => Some(failure.error(&self.relation().name)),
            Phase::Dropped => Some(was_dropped(&self.relation().name)),
            Phase::CatchingUp
            | Phase::Running
            | Phase::Trailing
            | Phase::Paused
            | Phase::Stalled(_) => None,
        };
        self.phase.replace(phase);
        if let Some(error) = ended {
            // Nobody reads its rows any more: their memory is for others.
            if let Ok(nothing) = RowStore::new(self.relation().schema(), &[]) {
                self.change(|published| {
                    let version = ViewVersion::clone(&published.version);
                    published.with_version(ViewVersion { rows: nothing.snapshot(), ..version })
                });
            }
            self.count(None);
            for subscriber in self.subscribers.lock().drain(..) {
                // A subscriber that has gone does not want to know.
                let _ = subscriber.updates.send(Update::Ended(error.clone()));
            }
        }
    }

    /// It takes part in the common epochs, or does no more and trails, unless it has gone elsewhere
    /// meanwhile.
    pub(in crate::exec) fn go_on(&self, to: Phase) {
        self.phase.change_if(|phase| {
            let runs = matches!(
                phase,
                Phase::CatchingUp | Phase::Running | Phase::Trailing | Phase::Stalled(_)
            );
            let is_change = runs && *phase != to;
            if is_change {
                *phase = to;
            }
            is_change
        });
    }

    /// Up to which commit it has read, now and later.
    pub fn reached(&self) -> Listener<CommitNo> {
        self.reached.listen()
    }

    /// The last epoch that it has published, now and later.
    pub(in crate::exec) fn answered(&self) -> Listener<u64> {
        self.answered.listen()
    }

    /// What ends a new run of it; the last one has ended.
    pub(in crate::exec) fn begin(&self, now_ms: i64) -> CancellationToken {
        self.since_ms.store(now_ms, Ordering::Relaxed);
        let stop = CancellationToken::new();
        *self.stop.lock() = stop.clone();
        stop
    }

    /// When it began to run, milliseconds since 1970.
    pub fn since_ms(&self) -> i64 {
        self.since_ms.load(Ordering::Relaxed)
    }

    /// Ends what runs for it now; what that has not committed is thrown away.
    pub(in crate::exec) fn stop(&self) {
        self.stop.lock().cancel();
    }

    /// The figures.
    pub fn figures(&self) -> QueryFigures {
        self.published.read().figures.clone()
    }

    /// The newest late rows.
    pub fn late_rows(&self) -> Vec<LateRow> {
        self.published().late.iter().cloned().collect()
    }

    /// See [`Published::places`].
    pub fn places(&self) -> Option<Vec<(RelationId, u64)>> {
        self.published.read().places.clone()
    }

    /// See [`Published::connectors`].
    pub fn source_progress(&self) -> Vec<(RelationId, SourceProgress)> {
        self.published.read().connectors.clone()
    }

    /// What waits for its subscribers, bytes; what several wait for is counted for each.
    pub fn queued_bytes(&self) -> usize {
        self.subscribers
            .lock()
            .iter()
            .map(|subscriber| subscriber.behind.load(Ordering::Relaxed))
            .sum()
    }

    /// Its running plan.
    pub fn explained(&self) -> Vec<ExplainedLine> {
        self.explained.lock().clone()
    }

    /// The rows at one epoch, and every change after it, none lost and none twice. `of`: as which of
    /// the views that are the answer of its query.
    pub fn subscribe(self: &Arc<Self>, of: RelationId) -> (Arc<ViewVersion>, Subscription) {
        let (updates, receiver) = mpsc::unbounded_channel();
        let behind = Arc::new(AtomicUsize::new(0));
        // Publishing takes this lock for the version and the updates together.
        let mut subscribers = self.subscribers.lock();
        // Of a quiet view nobody else notices who has gone.
        subscribers.retain(|subscriber| !subscriber.updates.is_closed());
        let view = Arc::new(RwLock::new(Arc::clone(self)));
        let (cell, counted) = (Arc::downgrade(&view), Arc::clone(&behind));
        subscribers.push(Subscriber { of, view: cell, updates, behind: counted });
        (self.version(), Subscription { view, updates: receiver, behind })
    }

    /// Ends the subscriptions to one of the views that are the answer of its query: it is gone.
    pub(in crate::exec) fn leave(&self, gone: &Relation) {
        let error = was_dropped(&gone.name);
        for subscriber in self.subscribers.lock().extract_if(.., |one| one.of == gone.id) {
            // A subscriber that has gone does not want to know.
            let _ = subscriber.updates.send(Update::Ended(error.clone()));
        }
    }

    /// Some of the views that are the answer of its query are that of another one from here on, which
    /// has the same rows. Nothing runs for either.
    pub(in crate::exec) fn hand_over(&self, views: &[RelationId], to: &Arc<ViewHandle>) {
        let mut subscribers = self.subscribers.lock();
        *to.published.write() = self.published();
        // Of what runs next for this one the rows are counted anew.
        to.count(self.memory.lock().clone());
        let theirs: Vec<_> =
            subscribers.extract_if(.., |subscriber| views.contains(&subscriber.of)).collect();
        for cell in theirs.iter().filter_map(|subscriber| subscriber.view.upgrade()) {
            *cell.write() = Arc::clone(to);
        }
        to.subscribers.lock().extend(theirs);
    }

    /// Where its rows are counted from now on.
    pub(in crate::exec) fn count(&self, memory: Option<Arc<MemoryReservation>>) {
        *self.memory.lock() = memory;
    }

    /// Puts in its running plan.
    pub(in crate::exec) fn explain(&self, plan: Vec<ExplainedLine>) {
        *self.explained.lock() = plan;
    }

    /// Makes something else of what is visible, without telling subscribers.
    pub(in crate::exec) fn change(&self, change: impl FnOnce(&Published) -> Published) {
        let mut published = self.published.write();
        *published = Arc::new(change(&published));
    }

    /// Tells who waits that everything up to here has been read and is visible.
    pub(in crate::exec) fn tell_reached(&self, commit: CommitNo) {
        self.reached.change_if(|reached| std::mem::replace(reached, commit) != commit);
    }

    /// Tells those that wait for it to look again, though it has come no further.
    pub(in crate::exec) fn tell_all(&self) {
        self.reached.change_if(|_| true);
    }

    /// Makes an epoch visible and tells the subscribers of its change.
    pub(in crate::exec) fn publish(
        &self,
        published: Published,
        epoch: u64,
        deltas: Arc<Vec<Delta>>,
    ) {
        self.publish_with(published, epoch, deltas, || ());
    }

    /// The same; `between`: what happens when the epoch can be seen and nobody has been told of it.
    pub(in crate::exec) fn publish_with(
        &self,
        published: Published,
        epoch: u64,
        deltas: Arc<Vec<Delta>>,
        between: impl FnOnce(),
    ) {
        let mut subscribers = self.subscribers.lock();
        *self.published.write() = Arc::new(published);
        between();
        let size = bytes(&deltas);
        subscribers.retain(|subscriber| {
            let behind = subscriber.behind.fetch_add(size, Ordering::Relaxed) + size;
            let update = if behind > limits::SUBSCRIPTION_BYTES && behind > size {
                Update::Overrun(epoch.saturating_sub(1))
            } else {
                Update::Epoch(epoch, Arc::clone(&deltas))
            };
            let is_over = matches!(update, Update::Overrun(_));
            subscriber.updates.send(update).is_ok() && !is_over
        });
        self.answered.replace(epoch);
    }
}
