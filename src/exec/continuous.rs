//! A continuous SELECT: a pipeline that runs beside the views for one client, at that client's
//! pace, and leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use datafusion::execution::context::SessionState;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::feed::Feeds;
use super::map::Tables;
use super::messages::TemporaryQuery;
use super::position::{FeedBatch, FeedPosition, Start};
use super::registry::Engine;
use super::runner::{Outlet, Runner};
use super::tables::{PresentTables, dropped};
use super::view::handle::QueryFigures;
use crate::catalog::{Emission, Relation};
use crate::clock::Stopwatch;
use crate::error::{Error, Result, SqlState, contained};
use crate::limits;
use crate::log::CommitNo;
use crate::plan::Pipeline;
use crate::state::Delta;
use crate::time::Watermark;

/// How often a connector is asked for new rows.
const POLL: Duration = Duration::from_millis(20);

/// How many rows are read at a time: small enough that the client sees results soon.
const PORTION_ROWS: usize = limits::BATCH_ROWS * 8;

/// How many rows of output are sent at a time, at least, before their epoch is over.
const PART_ROWS: usize = limits::BATCH_ROWS;

/// What a continuous SELECT gives: the change of its answer at each epoch of its own (numbered from
/// 1). A large change of an append-only answer comes in several parts of one epoch.
#[derive(Debug, Clone)]
pub struct Emitted {
    /// The epoch.
    pub epoch: u64,
    /// The change; empty when the epoch changed nothing (told only when asked for).
    pub deltas: Vec<Delta>,
}

/// How a continuous SELECT is run.
#[derive(Debug, Clone)]
pub struct ContinuousOptions {
    /// Its text, for `tidemill.queries`.
    pub sql: String,
    /// Begins with the rows that arrive from now on.
    pub from_latest: bool,
    /// Epochs without a change are told as well.
    pub progress: bool,
    /// What is there already is one epoch, and told even if it is empty: its delta is the net
    /// answer.
    pub history_at_once: bool,
}

/// Runs a pipeline; dropping the stream ends it.
pub fn run(
    engine: &Arc<Engine>,
    pipeline: Pipeline,
    state: Arc<SessionState>,
    options: ContinuousOptions,
) -> BoxStream<'static, Result<Emitted>> {
    let (sender, receiver) = mpsc::channel(limits::RESULT_BATCHES);
    let id = engine.next_query.fetch_add(1, Ordering::Relaxed);
    let sources = pipeline.sources.iter().map(|source| source.scan.relation.id).collect();
    let query = Arc::new(TemporaryQuery::new(id, sources, options.sql.clone()));
    engine.temporary.lock().insert(query.id, Arc::clone(&query));
    let registered = Registered { engine: Arc::clone(engine), query };
    // Now, and not when the task gets to run: what is written after this is the query's.
    let start = if options.from_latest { engine.latest() } else { Start::Earliest };
    let task = engine.cpu().spawn(async move {
        let work = Work { registered, pipeline: Arc::new(pipeline), state, options, start, sender };
        let sender = work.sender.clone();
        if let Err(error) = contained("the continuous query", work.run()).await {
            // The client may have gone.
            let _ = sender.send(Err(error)).await;
        }
    });
    let guard = AbortOnDrop(task);
    futures::stream::unfold((receiver, guard), |(mut receiver, guard)| async move {
        receiver.recv().await.map(|item| (item, (receiver, guard)))
    })
    .boxed()
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes the query off the list when it ends, however it ends.
struct Registered {
    engine: Arc<Engine>,
    query: Arc<TemporaryQuery>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.engine.temporary.lock().remove(&self.query.id);
    }
}

/// Sends a query's output to its client, which may be slow: then the query waits.
struct Sending {
    sender: mpsc::Sender<Result<Emitted>>,
    query: Arc<TemporaryQuery>,
    /// How much is kept for the query while its client takes nothing, bytes.
    most_unread: usize,
    /// The last epoch that is over.
    epoch: u64,
    deltas: Vec<Delta>,
    rows: usize,
    /// Whether parts may be sent before the epoch is over: not where later deltas of the epoch take
    /// rows back.
    in_parts: bool,
    /// Something of the running epoch has been sent.
    has_sent: bool,
}

impl Sending {
    fn new(work: &Work) -> Sending {
        Sending {
            sender: work.sender.clone(),
            query: Arc::clone(&work.registered.query),
            most_unread: work.registered.engine.options.unread_bytes,
            epoch: 0,
            deltas: Vec::new(),
            rows: 0,
            in_parts: work.pipeline.emission == Emission::OnClose,
            has_sent: false,
        }
    }

    /// The running epoch is over; `always`: it is told even if it has changed nothing.
    async fn end_epoch(&mut self, always: bool) -> Result<()> {
        if !self.deltas.is_empty() || (always && !self.has_sent) {
            self.send().await?;
        }
        self.epoch += 1;
        self.has_sent = false;
        Ok(())
    }

    async fn send(&mut self) -> Result<()> {
        let emitted = Emitted { epoch: self.epoch + 1, deltas: std::mem::take(&mut self.deltas) };
        (self.rows, self.has_sent) = (0, true);
        self.room().await?.send(Ok(emitted));
        Ok(())
    }

    /// Waits until the client has taken enough for there to be room for more. A client is slow as
    /// it likes; but one that takes nothing at all would fill the disk with what is kept for it.
    async fn room(&self) -> Result<mpsc::Permit<'_, Result<Emitted>>> {
        // Nobody is there to see this error: it ends the query.
        let gone = || Error::new(SqlState::Cancelled, "the client of the query has gone");
        match self.sender.try_reserve() {
            Ok(permit) => return Ok(permit),
            Err(TrySendError::Closed(())) => return Err(gone()),
            Err(TrySendError::Full(())) => {}
        }
        let unread = &self.query.unread;
        unread.replace(Some(0));
        let mut kept = unread.listen();
        let is_too_much = |kept: &Option<usize>| kept.is_some_and(|kept| kept > self.most_unread);
        let permit = tokio::select! {
            biased;
            permit = self.sender.reserve() => permit.map_err(|_| gone()),
            Ok(_) = kept.wait_for(is_too_much) => Err(takes_nothing(self.most_unread)),
        };
        unread.replace(None);
        permit
    }
}

impl Outlet for Sending {
    fn put(&mut self, delta: Delta) -> BoxFuture<'_, Result<()>> {
        self.rows += delta.rows();
        self.deltas.push(delta);
        if self.in_parts && self.rows >= PART_ROWS {
            self.send().boxed()
        } else {
            std::future::ready(Ok(())).boxed()
        }
    }
}

/// The client was slower than the stream's retention, which does not wait for it.
fn fell_behind(stream: &Relation, rows: u64) -> Error {
    Error::new(
        SqlState::LimitExceeded,
        format!("{rows} rows of \"{}\" were forgotten before the query had read them", stream.name),
    )
    .hint("Read faster, or give the stream a longer retention; a materialized view loses no rows.")
}

/// The client has taken nothing while the views that the query reads went on.
fn takes_nothing(most: usize) -> Error {
    Error::new(
        SqlState::LimitExceeded,
        "the client has taken nothing for too long of what the query has given",
    )
    .detail(format!(
        "Meanwhile the views it reads have changed by more than {} MiB, which were kept for it.",
        most >> 20
    ))
    .hint("Read faster, or run the query again when its answer is wanted.")
}

/// What has been read of all sources at once.
struct SourcesRead {
    is_idle: bool,
    drained: bool,
    is_cut: bool,
    ended: bool,
}

impl SourcesRead {
    fn nothing(is_idle: bool) -> SourcesRead {
        SourcesRead { is_idle, drained: true, is_cut: false, ended: true }
    }

    fn and(&mut self, batch: &FeedBatch) {
        self.is_idle &= batch.inputs.is_empty();
        self.drained &= batch.drained;
        self.is_cut |= batch.is_cut;
        self.ended &= batch.ended;
    }
}

struct Work {
    registered: Registered,
    pipeline: Arc<Pipeline>,
    state: Arc<SessionState>,
    options: ContinuousOptions,
    start: Start,
    sender: mpsc::Sender<Result<Emitted>>,
}

impl Work {
    async fn run(self) -> Result<()> {
        let engine = &self.registered.engine;
        let mut tables = PresentTables::new(engine);
        let mut feeds = engine.feeds(&self.pipeline, |_| None, self.start).await?;
        self.stands_at(&feeds);
        let mut runner =
            Runner::new(Arc::clone(&self.pipeline), Arc::clone(&self.state), &tables).await?;
        // What has changed while it was put together is seen by the first rows.
        tables = PresentTables::new(engine);
        let (mut commits, mut others) = (engine.journal.watch(), engine.journal.watch());
        let mut outlet = Sending::new(&self);
        let mut begin = None;
        let mut in_history = self.options.history_at_once;
        loop {
            let watch = Stopwatch::start();
            others.mark_unchanged();
            // The history is what was there at the start: those who write faster than it is read do
            // not make it longer.
            let (cut, now) = match (in_history, begin) {
                (true, Some(begin)) => begin,
                (true, None) | (false, _) => (*commits.borrow_and_update(), engine.now_ms()),
            };
            begin = Some((cut, now));
            self.check_relations()?;
            let mut read = SourcesRead::nothing(outlet.epoch > 0);
            read.is_idle &= !runner.tick(&tables, &mut outlet).await?;
            for (source, batch) in self.read(&mut feeds, cut, now, &tables)?.into_iter().enumerate()
            {
                read.and(&batch);
                runner.accept(source, batch.inputs, &tables, &mut outlet).await?;
            }
            if read.is_cut || in_history && !read.drained {
                tokio::task::yield_now().await;
                continue;
            }
            let is_idle = read.is_idle;
            if !is_idle || in_history {
                runner.end(&mut outlet).await?;
                tables = PresentTables::new(engine);
                self.show(&runner, outlet.epoch + 1, watch.ms(), now);
                outlet.end_epoch(self.options.progress || in_history).await?;
                in_history = false;
            }
            if self.is_over(&runner, read.ended, read.drained, feeds.are_logs()) {
                return Ok(());
            }
            if read.drained {
                let wakes = runner.wakes_ms();
                if !feeds.are_logs() {
                    engine.clock().sleep(POLL).await;
                } else {
                    tokio::select! {
                        biased;
                        more = feeds.changed(&mut commits) => if !more { return Ok(()) },
                        // A table may have been dropped. A view tells of its own changes only.
                        Ok(()) = others.changed(), if !self.pipeline.tables.is_empty() => {}
                        () = engine.until(wakes), if wakes.is_some() => {}
                    }
                }
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    fn check_relations(&self) -> Result<()> {
        let names = self.registered.engine.catalog.names();
        let sources = self.pipeline.sources.iter().map(|source| &source.scan.relation);
        let mut read = sources.chain(&self.pipeline.tables);
        match read.find(|relation| names.by_id(relation.id).is_none()) {
            Some(gone) => Err(dropped(gone)),
            None => Ok(()),
        }
    }

    /// A portion of each source.
    fn read(
        &self,
        feeds: &mut Feeds,
        cut: CommitNo,
        now: i64,
        tables: &dyn Tables,
    ) -> Result<Vec<FeedBatch>> {
        let mut all = Vec::with_capacity(feeds.0.len());
        for (feed, source) in feeds.0.iter_mut().zip(&self.pipeline.sources) {
            let (batch, relation) =
                (feed.read(cut, now, PORTION_ROWS, None, tables)?, &source.scan.relation);
            if feed.forgotten() > 0 {
                return Err(fell_behind(relation, feed.forgotten()));
            }
            // Not made durable: a query that comes after reads these records again.
            self.registered.engine.rejected.reject(relation, &batch.rejected, now, None)?;
            all.push(batch);
        }
        self.stands_at(feeds);
        Ok(all)
    }

    /// What it has read of views is not kept for it any longer.
    fn stands_at(&self, feeds: &Feeds) {
        let place = |(source, position)| match position {
            FeedPosition::View { epoch } => Some((source, epoch)),
            FeedPosition::Log { .. } | FeedPosition::Source { .. } | FeedPosition::Table { .. } => {
                None
            }
        };
        let places = feeds.sources().zip(feeds.positions()).filter_map(place).collect();
        *self.registered.query.places.lock() = places;
    }

    /// A bounded connector ends; an embedded stream ends a windowed query when its watermark is
    /// infinite, and any query when nothing else can write to it.
    fn is_over(&self, runner: &Runner, ended: bool, drained: bool, is_log: bool) -> bool {
        if !is_log {
            return ended && drained;
        }
        let closed = self.pipeline.closes() && runner.watermark() == Watermark::INFINITY;
        drained && (closed || self.registered.engine.options.bounded)
    }

    fn show(&self, runner: &Runner, epoch: u64, took_ms: f64, now: i64) {
        let (state_bytes, state_rows) = runner.state_size();
        *self.registered.query.figures.lock() = QueryFigures {
            counters: runner.counters,
            watermark: Some(runner.watermark()).filter(|watermark| *watermark != Watermark::NONE),
            state_bytes,
            state_rows,
            last_epoch_ms: took_ms,
            epoch,
            closes_next: runner.closes_next(),
            nodes: runner.nodes().into(),
            last_epoch_at_ms: Some(now),
        };
        self.registered.engine.closing.notify_one();
    }
}
