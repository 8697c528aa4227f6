//! A view as the thread that runs it has it: feed, runner, rows and progress.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryReservation;

use super::super::feed::Feed;
use super::super::feed::shared::{SharedReads, Wish};
use super::super::folding::{Folded, Folder, Folding};
use super::super::late::{LateRow, put_late};
use super::super::map::Tables;
use super::super::position::FeedPosition;
use super::super::progress::Progress;
use super::super::runner::{Runner, reserve};
use super::super::stored::EpochWriter;
use super::handle::{Published, QueryFigures, ViewHandle, ViewVersion};
use super::retention::Retention;
use crate::catalog::Relation;
use crate::connect::Rejected;
use crate::error::Result;
use crate::limits;
use crate::log::CommitNo;
use crate::log::transaction::batch_bytes;
use crate::memory::MemoryPart;
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
    feed: Feed,
    rows: RowStore,
    /// What the rows take of `--memory-limit`.
    memory: Arc<MemoryReservation>,
    retention: Option<Retention>,
    folder: Folder,
}

/// How far an epoch reads.
enum Reach<'a> {
    /// To the cut, together with the other views.
    Cut(&'a mut SharedReads),
    /// A part of the history, alone.
    History,
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
    /// Puts a view together from its parts as they were stored.
    pub fn new(
        handle: Arc<ViewHandle>,
        runner: Runner,
        feed: Feed,
        progress: Progress,
        rows: RowStore,
        late: Vec<LateRow>,
    ) -> Result<ViewRun> {
        let relation = handle.relation();
        let retention = Retention::of(&relation)?;
        let memory = Arc::new(reserve(runner.session_state(), MemoryPart::Views.consumer()));
        // The rows of the run before, which readers still see, go when these are published below.
        handle.count(None);
        memory.try_resize(rows.bytes())?;
        handle.count(Some(Arc::clone(&memory)));
        handle.explain(runner.explain());
        let folder = Folder::default();
        let run = ViewRun { handle, progress, runner, feed, rows, memory, retention, folder };
        // Subscribers that are there already know these rows.
        let published = run.published(run.progress.epoch, Arc::new(late.into()), run.figures(0.0, None));
        run.handle.change(|_| published);
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

    /// Reads a part of the history and computes the change; a view that catches up has no readers yet.
    pub async fn history(&mut self, cut: CommitNo, now_ms: i64, tables: &dyn Tables) -> Result<ViewEpoch> {
        self.read(cut, now_ms, tables, Reach::History, &[]).await
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
            Reach::History => limits::HISTORY_ROWS,
        };
        let drained = loop {
            let shared = match &mut reach {
                Reach::Cut(shared) => Some(&mut **shared),
                Reach::History => None,
            };
            let read = self.feed.read(cut, now_ms, rows, shared)?;
            is_idle &= read.inputs.is_empty() && read.rejected.is_empty();
            rejected.extend(read.rejected);
            self.runner.accept(read.inputs, tables, &mut deltas).await?;
            if read.is_cut {
                continue;
            }
            if read.drained || !self.feed.is_log() || matches!(reach, Reach::History) {
                break read.drained;
            }
        };
        let fresh = self.feed.take_fresh(fresh)?;
        is_idle &= fresh.is_empty();
        self.runner.accept(fresh, tables, &mut deltas).await?;
        if !is_idle {
            self.runner.end(&mut deltas).await?;
        }
        let deltas = match &mut self.retention {
            None => deltas,
            Some(retention) => {
                let watermark = self.runner.finite_watermark();
                retention.apply(watermark, deltas, || self.rows.snapshot().batches())?
            }
        };
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

    /// Adds the epoch to a commit. Its rows are the new ones from here on; they are published when
    /// the commit is durable, and if it fails the view is put together anew.
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
        let answer_before = self.progress.answer_epoch;
        let mut writer = EpochWriter::new(id, epoch, batch);
        for (part, table) in self.runner.tables() {
            for rows in table.take_changed()? {
                writer.put_rows(part, &rows)?;
            }
        }
        for delta in change.deltas.iter().filter(|delta| !delta.is_empty()) {
            let applied = self.rows.apply(delta)?;
            self.progress.retracts |= !applied.removed.is_empty();
            self.progress.answer_epoch = epoch;
            writer.put_change(delta, &applied)?;
        }
        self.progress.epoch = epoch;
        self.progress.next_row = self.rows.next_number();
        let folded = Folded { tables: self.runner.tables(), rows: &self.rows, answer_before, folding };
        self.folder.fold(store, &mut self.progress, folded, &mut writer)?;
        put_late(id, &change.late, self.progress.counters.late_rows, batch)?;
        self.progress.write(id, batch)
    }

    /// Makes a committed epoch visible.
    pub fn publish(&mut self, epoch: u64, change: ViewEpoch, took_ms: f64, now_ms: i64) -> Result<()> {
        let mut late = Arc::clone(&self.handle.published().late);
        if !change.late.is_empty() {
            let kept = Arc::make_mut(&mut late);
            kept.extend(change.late);
            let surplus = kept.len().saturating_sub(limits::KEPT_ROWS);
            kept.drain(..surplus);
        }
        let published = self.published(epoch, late, self.figures(took_ms, Some(now_ms)));
        self.handle.publish(published, epoch, Arc::new(change.deltas));
        Ok(())
    }

    /// What is visible from now on. What is committed need not be read again.
    fn published(&self, epoch: u64, late: Arc<VecDeque<LateRow>>, figures: QueryFigures) -> Published {
        let source = self.source().id;
        let offset = match &self.progress.position {
            Some(FeedPosition::Log { offset: place } | FeedPosition::View { epoch: place }) => *place,
            Some(FeedPosition::Source { .. }) | None => 0,
        };
        let commit = CommitNo(self.progress.commit);
        Published {
            version: Arc::new(ViewVersion { epoch, commit, rows: self.rows.snapshot() }),
            figures,
            late,
            place: Some((source, offset)),
            source: self.feed.source_progress().map(|progress| (source, progress)),
        }
    }

    /// Tells readers that the cut has been reached, without a change; `epoch`: of an epoch that changed other views.
    pub fn reached(&mut self, cut: CommitNo, epoch: Option<u64>) {
        self.progress.commit = cut.0;
        let reached = |published: &Published| {
            let version = ViewVersion::clone(&published.version);
            published.with_version(ViewVersion { commit: cut, ..version })
        };
        match epoch {
            Some(epoch) => {
                let published = reached(&self.handle.published());
                self.handle.publish(published, epoch, Arc::new(Vec::new()));
            }
            None => self.handle.change(reached),
        }
    }

    fn figures(&self, took_ms: f64, at_ms: Option<i64>) -> QueryFigures {
        let (bytes, rows) = self.runner.state_size();
        QueryFigures {
            counters: self.runner.counters,
            watermark: Some(self.runner.watermark()).filter(|watermark| *watermark != Watermark::NONE),
            state_bytes: bytes + self.rows.bytes(),
            state_rows: rows,
            last_epoch_ms: took_ms,
            epoch: self.progress.epoch,
            last_epoch_at_ms: at_ms,
        }
    }
}
