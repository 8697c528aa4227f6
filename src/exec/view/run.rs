//! A view as the thread that runs it has it: feed, runner, rows and progress.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::execution::memory_pool::MemoryReservation;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::super::feed::shared::{SharedReads, Wish};
use super::super::feed::{Feeds, Fresh};
use super::super::folding::{Folded, Folder, Folding};
use super::super::late::{LateRow, put_late};
use super::super::map::Tables;
use super::super::position::FeedPosition;
use super::super::progress::Progress;
use super::super::runner::{Outlet, Runner, reserve};
use super::super::stored::EpochWriter;
use super::handle::{Published, QueryFigures, ViewHandle, ViewVersion};
use super::portion::PortionSize;
use super::retention::Retention;
use crate::announced::Listener;
use crate::catalog::{Relation, RelationId};
use crate::connect::Rejected;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::log::CommitNo;
use crate::memory::MemoryPart;
use crate::memory::rows::batch_bytes;
use crate::state::{Delta, RowStore};
use crate::store::{Store, WriteBatch};
use crate::time::Watermark;

/// A view as the thread that runs it has it.
pub struct ViewRun {
    /// The outside of it.
    pub handle: Arc<ViewHandle>,
    /// How far it has come, as last committed.
    pub progress: Progress,
    runner: Runner,
    feeds: Feeds,
    rows: RowStore,
    /// What the rows take of `--memory-limit`.
    memory: Arc<MemoryReservation>,
    retention: Option<Retention>,
    folder: Folder,
    portion_size: PortionSize,
    /// Its changes are handed on, and no rows are kept.
    hands_on: bool,
    /// It is to run no more; whatever it computes is thrown away.
    stop: CancellationToken,
}

/// How far an epoch reads.
enum Reach<'a> {
    /// To the cut, together with the other views, unless they have stopped to wait for it.
    Cut(&'a mut SharedReads, &'a AtomicBool),
    /// A portion, alone.
    Portion,
}

impl Reach<'_> {
    fn is_over(&self) -> bool {
        match self {
            Reach::Cut(_, is_left) => is_left.load(Ordering::Relaxed),
            Reach::Portion => true,
        }
    }
}

/// The change of the answer as it is gathered: it is committed as a whole, and what there is no
/// memory for is refused while it comes.
struct Gathered {
    deltas: Vec<Delta>,
    memory: MemoryReservation,
}

impl Gathered {
    fn of(runner: &Runner) -> Gathered {
        let memory = reserve(runner.session_state(), MemoryPart::Views.consumer());
        Gathered { deltas: Vec::new(), memory }
    }

    /// Whoever takes them counts them.
    fn into_deltas(self) -> Vec<Delta> {
        self.deltas
    }
}

impl Outlet for Gathered {
    fn put(&mut self, delta: Delta) -> BoxFuture<'_, Result<()>> {
        let grown = self.memory.try_grow(batch_bytes(&delta.batch));
        self.deltas.push(delta);
        std::future::ready(grown.map_err(Error::from)).boxed()
    }
}

/// What an epoch has taken in.
struct Taken {
    out: Gathered,
    rejected: Vec<(usize, Rejected)>,
    rows: usize,
    /// There was anything.
    anything: bool,
}

/// What an epoch has brought for one view, not yet committed.
pub struct ViewEpoch {
    /// The change of the answer.
    pub deltas: Vec<Delta>,
    /// Records of its sources that were no rows, each with the number of its source.
    pub rejected: Vec<(usize, Rejected)>,
    /// It has read everything up to the cut.
    pub drained: bool,
    /// Nothing was read at all.
    pub is_idle: bool,
    /// Up to which commit it was to read.
    pub cut: CommitNo,
    /// The rows it has read.
    pub rows: usize,
    /// What it has come to, see [`ViewVersion::watermark`].
    pub watermark: Option<i64>,
    late: Vec<LateRow>,
}

impl ViewEpoch {
    /// Whether there is anything to commit.
    pub fn is_change(&self) -> bool {
        !self.is_idle || !self.deltas.is_empty()
    }

    /// How large the change of the answer is.
    pub fn bytes(&self) -> usize {
        self.deltas.iter().map(|delta| batch_bytes(&delta.batch)).sum()
    }

    /// The epoch of a view for which there is nothing to be read up to this commit.
    pub fn idle(cut: CommitNo) -> ViewEpoch {
        ViewEpoch {
            deltas: Vec::new(),
            rejected: Vec::new(),
            drained: true,
            is_idle: true,
            cut,
            rows: 0,
            watermark: None,
            late: Vec::new(),
        }
    }
}

impl ViewRun {
    /// Puts a view together from its parts as they were stored.
    pub fn new(
        handle: Arc<ViewHandle>,
        runner: Runner,
        feeds: Feeds,
        progress: Progress,
        rows: RowStore,
        late: Vec<LateRow>,
        stop: CancellationToken,
    ) -> Result<ViewRun> {
        let relation = handle.relation();
        let mut runner = runner;
        runner.stopped_by(stop.clone());
        let retention = Retention::of(&relation, &rows)?;
        let memory = Arc::new(reserve(runner.session_state(), MemoryPart::Views.consumer()));
        // The rows of the run before, which readers still see, go when these are published below.
        handle.count(None);
        memory.try_resize(rows.bytes() + retention.as_ref().map_or(0, Retention::bytes))?;
        handle.count(Some(Arc::clone(&memory)));
        handle.explain(runner.explain());
        let folder = Folder::from_bytes(limits::FOLD_BYTES);
        let rules = runner.pipeline().sources.iter().filter_map(|source| source.lateness);
        let windows =
            rules.filter_map(|rule| rule.windows).map(|spec| spec.windows_per_row()).max();
        let portion_size = PortionSize::of(windows.unwrap_or(1));
        let hands_on = relation.hands_on();
        let run = ViewRun {
            handle,
            progress,
            runner,
            feeds,
            rows,
            memory,
            retention,
            folder,
            portion_size,
            hands_on,
            stop,
        };
        // Subscribers that are there already know these rows.
        let published =
            run.published(run.progress.epoch, Arc::new(late.into()), run.figures(0.0, None));
        run.handle.change(|_| published);
        Ok(run)
    }

    /// The same, which folds when there are so many bytes of changes.
    pub fn folding_from(self, bytes: u64) -> ViewRun {
        ViewRun { folder: Folder::from_bytes(bytes), ..self }
    }

    /// Whether new rows announce themselves by a commit.
    pub fn is_fed_by_log(&self) -> bool {
        self.feeds.are_logs()
    }

    /// Whether there is nothing for it to read, of what is published and of a log, and nothing comes
    /// or goes by this time.
    pub fn is_idle(&self, now_ms: i64) -> bool {
        let is_due = self.wakes_ms().is_some_and(|at| at <= now_ms);
        self.progress.has_begun() && self.feeds.are_idle() && !is_due
    }

    /// When something next comes or goes without any row, milliseconds since 1970.
    pub fn wakes_ms(&self) -> Option<i64> {
        self.runner.wakes_ms()
    }

    /// What tells it to run no more.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Whether it is to run no more.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until there may be more to read; false: there will be none, or it is to run no more.
    pub async fn changed(&mut self, commits: &mut Listener<CommitNo>) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            more = self.feeds.changed(commits) => more,
        }
    }

    /// What it would read next of connectors.
    pub fn wishes(&self) -> impl Iterator<Item = Wish> + '_ {
        self.feeds.wishes()
    }

    /// What it reads, each as [`Feed::source`](super::super::feed::Feed::source) says.
    pub fn reads(&self) -> impl Iterator<Item = RelationId> + '_ {
        self.feeds.sources()
    }

    /// The relations that it reads.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.runner.pipeline().sources.iter().map(|source| &source.scan.relation)
    }

    /// Reads up to the cut (of a connector at most one epoch's rows) and computes the change: a
    /// transaction falls into one epoch. `fresh`: what the views that it reads have computed in this
    /// epoch, by its sources. `shared`: what views of one connector read together. When `is_left` is
    /// set the others go on without it, and it ends with the commit that it is in.
    pub async fn epoch(
        &mut self,
        cut: CommitNo,
        now_ms: i64,
        tables: &dyn Tables,
        fresh: &[Fresh<'_>],
        shared: &mut SharedReads,
        is_left: &AtomicBool,
    ) -> Result<ViewEpoch> {
        self.read(cut, now_ms, tables, Reach::Cut(shared, is_left), fresh).await
    }

    /// Reads a portion (to the end of a commit) and computes the change.
    pub async fn portion(
        &mut self,
        cut: CommitNo,
        now_ms: i64,
        tables: &dyn Tables,
    ) -> Result<ViewEpoch> {
        self.read(cut, now_ms, tables, Reach::Portion, &[]).await
    }

    async fn read(
        &mut self,
        cut: CommitNo,
        now_ms: i64,
        tables: &dyn Tables,
        mut reach: Reach<'_>,
        fresh: &[Fresh<'_>],
    ) -> Result<ViewEpoch> {
        let mut taken = Taken {
            out: Gathered::of(&self.runner),
            rejected: Vec::new(),
            rows: 0,
            anything: false,
        };
        let mut drained = true;
        taken.anything |= self.runner.tick(tables, &mut taken.out).await?;
        for source in 0..self.feeds.0.len() {
            let read = self.read_source(source, cut, now_ms, tables, &mut reach, &mut taken);
            drained &= read.await?;
        }
        for (source, fresh) in fresh.iter().enumerate() {
            let fresh = self.feeds.0[source].take_fresh(*fresh)?;
            taken.anything |= !fresh.is_empty();
            self.runner.accept(source, fresh, tables, &mut taken.out).await?;
        }
        let Taken { rejected, mut out, rows, anything } = taken;
        // The first epoch is one even without rows: an aggregate without keys has a row from the
        // start.
        let is_idle = self.progress.has_begun() && !anything;
        if !is_idle {
            self.runner.end(&mut out).await?;
        }
        let watermark_micros = self.watermark_micros();
        let deltas = out.into_deltas();
        let deltas = match &self.retention {
            None => deltas,
            Some(retention) => retention.apply(watermark_micros, deltas, &self.rows)?,
        };
        // Before it is committed: then it can still be refused.
        let change: usize = deltas.iter().map(|delta| batch_bytes(&delta.batch)).sum();
        let ends = self.retention.as_ref().map_or(0, Retention::bytes);
        self.memory.try_resize(self.rows.bytes() + ends + change)?;
        let watermark = self.runner.watermark();
        let late = self.runner.drain_late().into_iter().flat_map(|batch| {
            (0..batch.num_rows()).map(move |row| LateRow {
                at_ms: now_ms,
                watermark,
                row: batch.slice(row, 1),
            })
        });
        let late = late.collect();
        let watermark = watermark_micros;
        Ok(ViewEpoch { deltas, rejected, drained, is_idle, cut, rows, watermark, late })
    }

    /// Reads a source as far as `reach` says; whether that was all.
    async fn read_source(
        &mut self,
        source: usize,
        cut: CommitNo,
        now_ms: i64,
        tables: &dyn Tables,
        reach: &mut Reach<'_>,
        taken: &mut Taken,
    ) -> Result<bool> {
        let most = match reach {
            Reach::Cut(..) => limits::EPOCH_ROWS,
            Reach::Portion => limits::HISTORY_ROWS,
        };
        loop {
            let shared = match &mut *reach {
                Reach::Cut(shared, _) => Some(&mut **shared),
                Reach::Portion => None,
            };
            let begin_ms = tables.now_ms();
            let feed = &mut self.feeds.0[source];
            let read = feed.read(cut, now_ms, self.portion_size.rows(most), shared, tables)?;
            taken.anything |= !read.inputs.is_empty() || !read.rejected.is_empty();
            taken.rejected.extend(read.rejected.into_iter().map(|rejected| (source, rejected)));
            let portion: usize = read.inputs.iter().map(|input| input.batch.num_rows()).sum();
            self.runner.accept(source, read.inputs, tables, &mut taken.out).await?;
            self.portion_size.took(portion, tables.now_ms() - begin_ms);
            taken.rows += portion;
            if self.stop.is_cancelled() {
                return Err(Error::new(SqlState::Cancelled, "the view is to run no more"));
            }
            if read.is_cut {
                continue;
            }
            if read.drained || !self.feeds.0[source].is_log() || reach.is_over() {
                return Ok(read.drained);
            }
        }
    }

    /// What its rows have come to, see [`ViewVersion::watermark`]: what the source that is behind
    /// the others has.
    fn watermark_micros(&self) -> Option<i64> {
        let timed = (0..).zip(&self.feeds.0).map(|(source, feed)| {
            let own = self.runner.watermark_micros(source);
            (own.max(feed.watermark()), self.runner.has_event_time(source) || feed.is_view())
        });
        let known = timed.filter(|(_, is_timed)| *is_timed).map(|(mark, _)| mark);
        known.min().flatten()
    }

    /// The last epoch that changed the answer.
    pub fn answer_epoch(&self) -> u64 {
        self.progress.answer_epoch
    }

    /// Adds the epoch to a commit. Its rows are the new ones from here on; they are published when
    /// the commit is durable, and if it fails the view is put together anew. How many bytes of
    /// changes are handed on.
    pub fn stage(
        &mut self,
        store: &dyn Store,
        epoch: u64,
        change: &ViewEpoch,
        folding: Folding,
        batch: &mut WriteBatch,
    ) -> Result<u64> {
        let id = self.handle.relation().id;
        self.feeds.reached_epoch(epoch);
        let positions = self.feeds.positions().into_iter();
        let frontiers = self.runner.frontiers();
        self.progress.stand_at(positions.zip(self.runner.watermarks()), &frontiers);
        if self.has_reached(change) {
            self.progress.commit = change.cut.0;
        }
        self.progress.counters = self.runner.counters;
        self.progress.now_ms = self.runner.now_ms();
        let answer_before = self.progress.answer_epoch;
        let mut writer = EpochWriter::new(id, epoch, batch);
        for (part, table) in self.runner.tables() {
            for rows in table.take_changed()? {
                writer.put_rows(part, &rows)?;
            }
        }
        for delta in change.deltas.iter().filter(|delta| !delta.is_empty()) {
            self.progress.answer_epoch = epoch;
            if self.hands_on {
                continue;
            }
            let applied = self.rows.apply(delta)?;
            if let Some(retention) = &mut self.retention {
                retention.applied(delta, &applied)?;
            }
            self.progress.retracts |= !applied.removed.is_empty();
            writer.put_change(delta, &applied)?;
        }
        self.progress.epoch = epoch;
        self.progress.next_row = self.rows.next_number();
        let folded =
            Folded { tables: self.runner.tables(), rows: &self.rows, answer_before, folding };
        self.folder.fold(store, &mut self.progress, folded, &mut writer)?;
        let mut handed_on = 0;
        if self.hands_on {
            for delta in change.deltas.iter().filter(|delta| !delta.is_empty()) {
                handed_on += writer.put_handed_on(delta)?;
            }
        }
        put_late(id, &change.late, self.progress.counters.late_rows, batch)?;
        self.progress.write(id, batch)?;
        Ok(handed_on)
    }

    /// Makes a committed epoch visible.
    pub fn publish(
        &mut self,
        epoch: u64,
        change: &mut ViewEpoch,
        took_ms: f64,
        now_ms: i64,
    ) -> Result<()> {
        let mut late = Arc::clone(&self.handle.published().late);
        if !change.late.is_empty() {
            let kept = Arc::make_mut(&mut late);
            kept.append(&mut change.late.split_off(0).into());
            let surplus = kept.len().saturating_sub(limits::KEPT_ROWS);
            kept.drain(..surplus);
        }
        let published = self.published(epoch, late, self.figures(took_ms, Some(now_ms)));
        self.handle.publish(published, epoch, Arc::new(std::mem::take(&mut change.deltas)));
        Ok(())
    }

    /// What is visible from now on. What is committed need not be read again.
    fn published(
        &self,
        epoch: u64,
        late: Arc<VecDeque<LateRow>>,
        figures: QueryFigures,
    ) -> Published {
        let place = |(at, source): (usize, RelationId)| match self.progress.position_of(at) {
            Some(FeedPosition::Log { offset: place } | FeedPosition::View { epoch: place }) => {
                (source, *place)
            }
            Some(FeedPosition::Source { .. } | FeedPosition::Table { .. }) | None => (source, 0),
        };
        let places = self.reads().enumerate().map(place).collect();
        let commit = CommitNo(self.progress.commit);
        let (rows, watermark) = (self.rows.snapshot(), self.watermark_micros());
        let version = ViewVersion { epoch, commit, rows, watermark };
        Published {
            version: Arc::new(version),
            figures,
            late,
            places: Some(places),
            read_to: self.feeds.read_to(),
            complete_to: self.runner.complete_to(),
            connectors: self.feeds.source_progress(),
        }
    }

    /// Whether everything up to its cut has been read. Of a connector a commit says nothing.
    pub fn has_reached(&self, change: &ViewEpoch) -> bool {
        change.drained || !self.feeds.are_logs()
    }

    /// Tells readers that the cut has been reached.
    pub fn reached(&mut self, cut: CommitNo) {
        self.progress.commit = cut.0;
        self.handle.change(|published| {
            let version = ViewVersion::clone(&published.version);
            published.with_version(ViewVersion { commit: cut, ..version })
        });
    }

    /// Tells subscribers of an epoch that changed only other views.
    pub fn progressed(&self, epoch: u64) {
        let published = Published::clone(&self.handle.published());
        self.handle.publish(published, epoch, Arc::new(Vec::new()));
    }

    fn figures(&self, took_ms: f64, at_ms: Option<i64>) -> QueryFigures {
        let (bytes, rows) = self.runner.state_size();
        QueryFigures {
            counters: self.runner.counters,
            watermark: Some(self.runner.watermark())
                .filter(|watermark| *watermark != Watermark::NONE),
            closes_next: self.runner.closes_next(),
            state_bytes: bytes + self.rows.bytes(),
            state_rows: rows,
            last_epoch_ms: took_ms,
            epoch: self.progress.epoch,
            nodes: self.runner.nodes().into(),
            last_epoch_at_ms: at_ms,
        }
    }
}
