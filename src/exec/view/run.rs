//! A materialized view while the server runs: what readers and subscribers see of it, and what the engine's thread owns of it.
//!
//! [`ViewHandle`] is the outside: the rows as of the last published epoch, the subscribers, the figures. [`ViewRun`] is the inside: feed,
//! runner, rows and progress; one thread has it at a time. Nothing is applied to the rows or told to a subscriber before the commit that holds it is durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use datafusion::arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
use datafusion::arrow::compute::{filter, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Int64Type, SchemaRef};
use datafusion::execution::memory_pool::MemoryReservation;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, watch};

use super::feed::{Feed, FeedPosition};
use super::kept;
use super::lateness::ticks;
use super::runner::{Runner, Tables, reserve};
use super::shared::{SharedReads, Wish};
use super::source_feed::Standing;
use super::stored::{self, Progress};
use crate::catalog::{Kind, Relation, RelationId};
use crate::connect::Rejected;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::log::CommitNo;
use crate::log::transaction::batch_bytes;
use crate::plan::window::ticks_per_second;
use crate::state::{Delta, RowStore, Snapshot};
use crate::store::{Store, WriteBatch};
use crate::time::Watermark;

/// Where a view is in its life.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// It reads the history that was there when it was created.
    CatchingUp,
    /// It takes part in the common epochs.
    Running,
    /// PAUSEd.
    Paused,
    /// The disk is full: it goes on, with nothing lost, when there is room.
    Stalled(String),
    /// It has failed: SQLSTATE and message.
    Failed(String, String),
    /// It is gone.
    Dropped,
}

impl Phase {
    /// As `tidemill.queries` shows it.
    pub fn name(&self) -> &'static str {
        match self {
            Phase::CatchingUp => "catching up",
            Phase::Running => "running",
            Phase::Paused => "paused",
            Phase::Stalled(_) => "stalled",
            Phase::Failed(..) => "failed",
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
}

/// What `tidemill.queries` shows of a query.
#[derive(Debug, Clone, Default)]
pub struct QueryFigures {
    /// Counted so far.
    pub counters: super::runner::Counters,
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
    /// When the rows of the last epoch had been taken in, milliseconds since 1970.
    pub last_epoch_at_ms: Option<i64>,
}

/// A view as the rest of the server sees it.
pub struct ViewHandle {
    relation: RwLock<Arc<Relation>>,
    version: RwLock<Arc<ViewVersion>>,
    phase: watch::Sender<Phase>,
    subscribers: Mutex<Vec<Subscriber>>,
    figures: Mutex<QueryFigures>,
    late: Mutex<VecDeque<LateRow>>,
    explained: Mutex<Vec<String>>,
    place: Mutex<Option<(RelationId, u64)>>,
    /// Held while a portion of history is read, computed, committed and published: whoever holds it knows that none is on its way.
    pub(super) portion: tokio::sync::Mutex<()>,
    /// It is to stop catching up at the end of the portion.
    pub(super) pausing: AtomicBool,
    standing: Mutex<Option<(RelationId, Standing)>>,
}

/// A late row that is kept to be looked at.
#[derive(Debug, Clone)]
pub struct LateRow {
    /// When it was found late, milliseconds since 1970.
    pub at_ms: i64,
    /// The watermark then, ticks.
    pub watermark: Watermark,
    /// One row.
    pub row: RecordBatch,
}

struct Subscriber {
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
    updates: mpsc::UnboundedReceiver<Update>,
    behind: Arc<AtomicUsize>,
}

impl Subscription {
    /// The next update, if there is one.
    pub fn try_next(&mut self) -> Option<Update> {
        let update = self.updates.try_recv().ok()?;
        if let Update::Epoch(_, deltas) = &update {
            self.behind.fetch_sub(bytes(deltas), Ordering::Relaxed);
        }
        Some(update)
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

fn bytes(deltas: &[Delta]) -> usize {
    64 + deltas.iter().map(|delta| delta.batch.get_array_memory_size()).sum::<usize>()
}

impl ViewHandle {
    /// A view that has no rows yet.
    pub fn new(relation: Arc<Relation>) -> Result<Arc<ViewHandle>> {
        let rows = RowStore::new(relation.schema(), &[])?.snapshot();
        Ok(Arc::new(ViewHandle {
            version: RwLock::new(Arc::new(ViewVersion { epoch: 0, commit: CommitNo(0), rows })),
            relation: RwLock::new(relation),
            phase: watch::Sender::new(Phase::CatchingUp),
            subscribers: Mutex::new(Vec::new()),
            figures: Mutex::new(QueryFigures::default()),
            late: Mutex::new(VecDeque::new()),
            explained: Mutex::new(Vec::new()),
            place: Mutex::new(None),
            portion: tokio::sync::Mutex::new(()),
            pausing: AtomicBool::new(false),
            standing: Mutex::new(None),
        }))
    }

    /// Its definition.
    pub fn relation(&self) -> Arc<Relation> {
        self.relation.read().clone()
    }

    /// Puts in a new version of its definition (a rename).
    pub fn redefine(&self, relation: Arc<Relation>) {
        *self.relation.write() = relation;
    }

    /// Its rows now.
    pub fn version(&self) -> Arc<ViewVersion> {
        self.version.read().clone()
    }

    /// Where it is in its life, now and later.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Sets where it is in its life; ends the subscriptions when that is over.
    pub fn enter(&self, phase: Phase) {
        let ended = match &phase {
            Phase::Failed(state, message) => Some(failed_error(&self.relation().name, state, message)),
            Phase::Dropped => Some(Error::new(
                SqlState::UndefinedTable,
                format!("materialized view \"{}\" was dropped", self.relation().name),
            )),
            Phase::CatchingUp | Phase::Running | Phase::Paused | Phase::Stalled(_) => None,
        };
        self.phase.send_replace(phase);
        if let Some(error) = ended {
            // Nobody reads its rows any more: their memory is for others.
            if let Ok(nothing) = RowStore::new(self.relation().schema(), &[]) {
                let empty = ViewVersion { rows: nothing.snapshot(), ..ViewVersion::clone(&self.version()) };
                *self.version.write() = Arc::new(empty);
            }
            for subscriber in self.subscribers.lock().drain(..) {
                // A subscriber that has gone does not want to know.
                let _ = subscriber.updates.send(Update::Ended(error.clone()));
            }
        }
    }

    /// The figures.
    pub fn figures(&self) -> QueryFigures {
        self.figures.lock().clone()
    }

    /// The newest late rows.
    pub fn late_rows(&self) -> Vec<LateRow> {
        self.late.lock().iter().cloned().collect()
    }

    /// The stream it reads and the offset it reads next (as committed); of a view the epoch whose changes it has taken; of a
    /// connector 0. None: not known yet.
    pub fn place(&self) -> Option<(RelationId, u64)> {
        *self.place.lock()
    }

    /// Of a view over a connector: which stream, and how far it has come (as committed).
    pub fn standing(&self) -> Option<(RelationId, Standing)> {
        *self.standing.lock()
    }

    /// Its running plan.
    pub fn explained(&self) -> Vec<String> {
        self.explained.lock().clone()
    }

    /// The rows at one epoch, and every change after it, none lost and none twice.
    pub fn subscribe(&self) -> (Arc<ViewVersion>, Subscription) {
        let (updates, receiver) = mpsc::unbounded_channel();
        let behind = Arc::new(AtomicUsize::new(0));
        // Publishing takes this lock for the version and the updates together.
        let mut subscribers = self.subscribers.lock();
        // Of a quiet view nobody else notices who has gone.
        subscribers.retain(|subscriber| !subscriber.updates.is_closed());
        subscribers.push(Subscriber { updates, behind: Arc::clone(&behind) });
        (self.version(), Subscription { updates: receiver, behind })
    }

    fn publish(&self, version: ViewVersion, epoch: u64, deltas: Arc<Vec<Delta>>) {
        let mut subscribers = self.subscribers.lock();
        *self.version.write() = Arc::new(version);
        let size = bytes(&deltas);
        subscribers.retain(|subscriber| {
            let behind = subscriber.behind.fetch_add(size, Ordering::Relaxed) + size;
            let update = match behind > limits::SUBSCRIPTION_BYTES && behind > size {
                true => Update::Overrun(epoch.saturating_sub(1)),
                false => Update::Epoch(epoch, Arc::clone(&deltas)),
            };
            let is_over = matches!(update, Update::Overrun(_));
            subscriber.updates.send(update).is_ok() && !is_over
        });
    }
}

/// What a reader of a failed view gets.
pub fn failed_error(name: &str, state: &str, message: &str) -> Error {
    Error::new(SqlState::NotInState, format!("materialized view \"{name}\" has failed: {message}"))
        .detail(format!("SQLSTATE {state}"))
        .hint("Look at tidemill.queries; DROP the view and create it anew when the cause is gone.")
}

/// A view as the thread that runs it has it.
pub struct ViewRun {
    /// The outside of it.
    pub handle: Arc<ViewHandle>,
    /// How far it has come, as last committed.
    pub progress: Progress,
    runner: Runner,
    feed: Feed,
    rows: RowStore,
    /// What the rows take of `--memory-limit`.
    memory: MemoryReservation,
    retention: Option<Retention>,
}

/// How far an epoch reads.
enum Reach<'a> {
    /// To the cut, together with the other views.
    Cut(&'a mut SharedReads),
    /// One portion, alone.
    Portion,
}

/// WITH (retention = …): which column, how long in ticks, and behind which window_end there are no rows any more.
struct Retention {
    column: usize,
    ticks: i64,
    swept: i64,
}

/// Whether an epoch may write a new base, which takes the changes before it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folding {
    /// Everybody who reads them has.
    Allowed,
    /// A view on this one still has changes to take, perhaps after a long pause.
    Held,
}

/// What an epoch has brought for one view, not yet committed.
pub struct ViewEpoch {
    /// The change of the answer.
    pub deltas: Vec<Delta>,
    /// Records of the source that were no rows.
    pub rejected: Vec<Rejected>,
    /// It has read everything up to the cut.
    pub drained: bool,
    /// Anything was read at all.
    pub is_idle: bool,
    late: Vec<LateRow>,
}

impl ViewEpoch {
    /// Whether there is anything to commit.
    pub fn is_change(&self) -> bool {
        !self.is_idle || !self.deltas.is_empty()
    }
}

impl ViewRun {
    /// Puts a view together from its parts; `answer` is what was stored of its rows.
    pub fn new(
        handle: Arc<ViewHandle>,
        runner: Runner,
        feed: Feed,
        progress: Progress,
        answer: Vec<(u64, Delta)>,
        late: Vec<LateRow>,
    ) -> Result<ViewRun> {
        let relation = handle.relation();
        let mut rows = RowStore::new(relation.schema(), &[])?;
        for (_, delta) in answer {
            rows.apply(&with_schema(delta, &relation.schema())?)?;
        }
        let retention = retention(&relation)?;
        let memory = reserve(runner.session_state(), "the rows of a materialized view");
        memory.try_resize(rows.bytes())?;
        *handle.explained.lock() = runner.explain();
        let run = ViewRun { handle, progress, runner, feed, rows, memory, retention };
        run.show_place();
        *run.handle.late.lock() = late.into();
        // Subscribers that are there already know these rows.
        *run.handle.version.write() = Arc::new(run.version(run.progress.epoch));
        run.show_figures(0.0, None);
        Ok(run)
    }

    /// Whether new rows announce themselves by a commit.
    pub fn is_fed_by_log(&self) -> bool {
        self.feed.is_log()
    }

    /// What it would read next of a connector.
    pub fn wish(&self) -> Option<Wish> {
        self.feed.wish()
    }

    /// The source's relation.
    pub fn source(&self) -> Arc<Relation> {
        Arc::clone(&self.runner.pipeline().source.relation)
    }

    /// Reads up to the cut (of a connector at most one epoch's rows) and computes the change: a transaction falls into one epoch.
    /// `fresh`: what the views before it have computed in this epoch. `shared`: what views of one connector read together.
    pub async fn epoch(
        &mut self,
        cut: CommitNo,
        now_ms: i64,
        tables: &dyn Tables,
        fresh: &[Delta],
        shared: &mut SharedReads,
    ) -> Result<ViewEpoch> {
        self.read(cut, now_ms, tables, Reach::Cut(shared), fresh).await
    }

    /// Reads one portion and computes the change; a view that catches up has no readers yet.
    pub async fn portion(&mut self, cut: CommitNo, now_ms: i64, tables: &dyn Tables) -> Result<ViewEpoch> {
        self.read(cut, now_ms, tables, Reach::Portion, &[]).await
    }

    async fn read(
        &mut self,
        cut: CommitNo,
        now_ms: i64,
        tables: &dyn Tables,
        mut reach: Reach<'_>,
        fresh: &[Delta],
    ) -> Result<ViewEpoch> {
        let (mut rejected, mut deltas) = (Vec::new(), Vec::new());
        // The first epoch is one even without rows: an aggregate without keys has a row from the start.
        let mut is_idle = self.progress.position.is_some();
        let rows = match reach {
            Reach::Cut(_) => limits::EPOCH_ROWS,
            Reach::Portion => limits::HISTORY_ROWS,
        };
        let drained = loop {
            let shared = match &mut reach {
                Reach::Cut(shared) => Some(&mut **shared),
                Reach::Portion => None,
            };
            let portion = self.feed.read(cut, now_ms, rows, shared)?;
            is_idle &= portion.inputs.is_empty() && portion.rejected.is_empty();
            rejected.extend(portion.rejected);
            self.runner.accept(portion.inputs, tables, &mut deltas).await?;
            if portion.drained || !self.feed.is_log() || matches!(reach, Reach::Portion) {
                break portion.drained;
            }
        };
        let fresh = self.feed.take_fresh(fresh)?;
        is_idle &= fresh.is_empty();
        self.runner.accept(fresh, tables, &mut deltas).await?;
        if !is_idle {
            self.runner.end(&mut deltas).await?;
        }
        let deltas = self.within_retention(deltas)?;
        // Before it is committed: then it can still be refused.
        let change: usize = deltas.iter().map(|delta| batch_bytes(&delta.batch)).sum();
        self.memory.try_resize(self.rows.bytes() + change)?;
        let watermark = self.runner.watermark();
        let late = self.runner.drain_late().into_iter().flat_map(|batch| {
            (0..batch.num_rows()).map(move |row| LateRow {
                at_ms: now_ms,
                watermark,
                row: batch.slice(row, 1),
            })
        });
        Ok(ViewEpoch { deltas, rejected, drained, is_idle, late: late.collect() })
    }

    /// The last epoch that changed the answer.
    pub fn answer_epoch(&self) -> u64 {
        self.progress.answer_epoch
    }

    /// Adds the epoch to a commit.
    pub fn stage(
        &mut self,
        store: &dyn Store,
        epoch: u64,
        cut: CommitNo,
        change: &ViewEpoch,
        folding: Folding,
        batch: &mut WriteBatch,
    ) -> Result<()> {
        let id = self.handle.relation().id;
        self.feed.reached_epoch(epoch);
        self.progress.position = Some(self.feed.position());
        self.progress.commit = cut.0;
        self.progress.watermark = self.runner.watermark().0;
        self.progress.counters = self.runner.counters;
        if folding == Folding::Allowed && self.progress.wants_base() {
            // The rows are as of the epoch before; this epoch's change is stored behind the base.
            self.runner.dirty()?;
            let answer = self.rows.snapshot().batches()?;
            let whole = self.runner.whole()?;
            let base = stored::Base { state: &whole, answer: &answer, change: &change.deltas };
            self.progress.write_base(store, id, epoch, base, batch)?;
        } else {
            let checkpoint = self.runner.dirty()?;
            self.progress.write_changes(id, epoch, &checkpoint, &change.deltas, batch)?;
        }
        kept::put_late(id, &change.late, self.progress.counters.late_rows, batch)?;
        self.progress.write(id, batch)
    }

    /// Makes a committed epoch visible.
    pub fn publish(&mut self, epoch: u64, change: ViewEpoch, took_ms: f64, now_ms: i64) -> Result<()> {
        for delta in &change.deltas {
            self.rows.apply(delta)?;
        }
        let version = self.version(epoch);
        self.handle.publish(version, epoch, Arc::new(change.deltas));
        let mut kept = self.handle.late.lock();
        kept.extend(change.late);
        while kept.len() > limits::KEPT_ROWS {
            kept.pop_front();
        }
        drop(kept);
        self.show_figures(took_ms, Some(now_ms));
        self.show_place();
        Ok(())
    }

    /// What is committed need not be read again.
    fn show_place(&self) {
        let offset = match &self.progress.position {
            Some(FeedPosition::Log { offset: place } | FeedPosition::View { epoch: place }) => *place,
            Some(FeedPosition::Source { .. }) | None => 0,
        };
        *self.handle.place.lock() = Some((self.source().id, offset));
        *self.handle.standing.lock() = self.feed.standing().map(|standing| (self.source().id, standing));
    }

    /// Tells readers that the cut has been reached, without a change; `epoch`: of an epoch that changed other views.
    pub fn reached(&mut self, cut: CommitNo, epoch: Option<u64>) {
        self.progress.commit = cut.0;
        let version = ViewVersion { commit: cut, ..ViewVersion::clone(&self.handle.version()) };
        match epoch {
            Some(epoch) => self.handle.publish(version, epoch, Arc::new(Vec::new())),
            None => *self.handle.version.write() = Arc::new(version),
        }
    }

    fn version(&self, epoch: u64) -> ViewVersion {
        ViewVersion { epoch, commit: CommitNo(self.progress.commit), rows: self.rows.snapshot() }
    }

    fn show_figures(&self, took_ms: f64, at_ms: Option<i64>) {
        let (bytes, rows) = self.runner.state_size();
        *self.handle.figures.lock() = QueryFigures {
            counters: self.runner.counters,
            watermark: Some(self.runner.watermark()).filter(|watermark| *watermark != Watermark::NONE),
            state_bytes: bytes + self.rows.bytes(),
            state_rows: rows,
            last_epoch_ms: took_ms,
            epoch: self.progress.epoch,
            last_epoch_at_ms: at_ms,
        };
    }

    /// WITH (retention = …): the epoch's change of the rows whose window_end is not older than the watermark by the retention.
    ///
    /// What is kept depends on the log alone: rows behind the horizon go, as they are stored, and what the epoch has to say of
    /// them (a late row may still change their window) is left out. The end of time, where a finished data set's last windows close, moves no horizon.
    fn within_retention(&mut self, deltas: Vec<Delta>) -> Result<Vec<Delta>> {
        let Some(retention) = &mut self.retention else {
            return Ok(deltas);
        };
        let Watermark(at) = self.runner.finite_watermark();
        if at == i64::MIN {
            return Ok(deltas);
        }
        let horizon = at.saturating_sub(retention.ticks);
        let mut kept = Vec::with_capacity(deltas.len());
        for delta in deltas {
            let delta = retention.filtered(delta, |end| end >= horizon)?;
            if !delta.is_empty() {
                kept.push(delta);
            }
        }
        if horizon <= retention.swept {
            return Ok(kept);
        }
        retention.swept = horizon;
        for batch in self.rows.snapshot().batches()? {
            let weights = Int64Array::from_value(-1, batch.num_rows());
            let old = retention.filtered(Delta { batch, weights: Some(weights) }, |end| end < horizon)?;
            if !old.is_empty() {
                kept.push(old);
            }
        }
        Ok(kept)
    }
}

impl Retention {
    /// The rows of a delta whose window ends as wanted; a row without an end stays.
    fn filtered(&self, delta: Delta, wanted: impl Fn(i64) -> bool) -> Result<Delta> {
        let ends = ticks(&delta.batch, self.column)?;
        let chosen: BooleanArray = ends.iter().map(|end| Some(end.is_some_and(&wanted))).collect();
        if chosen.true_count() == chosen.len() {
            return Ok(delta);
        }
        let batch = filter_record_batch(&delta.batch, &chosen)?;
        let weights = match &delta.weights {
            Some(weights) => Some(filter(weights, &chosen)?.as_primitive::<Int64Type>().clone()),
            None => None,
        };
        Ok(Delta { batch, weights })
    }
}

fn retention(relation: &Relation) -> Result<Option<Retention>> {
    let Kind::MaterializedView(def) = &relation.kind else {
        return Err(Error::internal(format!("{} is no materialized view", relation.name)));
    };
    let Some(ms) = def.retention_ms else {
        return Ok(None);
    };
    let column = relation.column("window_end").ok_or_else(|| {
        Error::new(SqlState::BadArgument, "retention needs a column window_end in the view")
            .hint("Add window_end to the SELECT list.")
    })?;
    match relation.schema().field(column).data_type() {
        DataType::Timestamp(unit, _) => {
            let ticks = i128::from(ms) * i128::from(ticks_per_second(*unit)) / 1_000;
            Ok(Some(Retention { column, ticks: i64::try_from(ticks).unwrap_or(i64::MAX), swept: i64::MIN }))
        }
        other => Err(Error::new(
            SqlState::BadArgument,
            format!("retention needs a timestamp window_end, not {other}"),
        )),
    }
}

fn with_schema(delta: Delta, schema: &SchemaRef) -> Result<Delta> {
    let batch = RecordBatch::try_new(Arc::clone(schema), delta.batch.columns().to_vec())?;
    Ok(Delta { batch, weights: delta.weights })
}

/// What is stored of a view: its progress, its state, and the changes of its answer with their epochs.
pub type Recovered = (Progress, Vec<super::runner::Checkpoint>, Vec<(u64, Delta)>);

/// Reads a view's stored state and answer.
pub fn recovered(store: &dyn Store, relation: &Relation) -> Result<Recovered> {
    let Some(progress) = Progress::read(store, relation.id)? else {
        return Ok((Progress::default(), Vec::new(), Vec::new()));
    };
    Ok((progress, stored::read_state(store, relation.id)?, stored::read_answer(store, relation.id, 0)?))
}
