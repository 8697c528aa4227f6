//! What views have computed is made durable, then visible: all of an epoch in one commit.
//!
//! A view that cannot be stored fails, or waits for room on the disk; the others of the epoch go
//! on. What reads a view that has not come through has computed with rows that are no more: it goes
//! on from what is stored.

use std::collections::HashSet;
use std::sync::Arc;

use super::group::PANICKED;
use super::registry::Engine;
use super::view::handle::Phase;
use super::view::run::{ViewEpoch, ViewRun};
use crate::catalog::RelationId;
use crate::clock::Stopwatch;
use crate::error::{Error, Result, SqlState, contained_call};
use crate::log::{CommitNo, Transaction};
use crate::store::WriteBatch;

/// A view, and what an epoch has brought for it.
pub(super) type ComputedEpoch = (ViewRun, ViewEpoch);

/// A view whose part of an epoch is ready to be stored.
type StagedView = (ViewRun, ViewEpoch, WriteBatch);

/// What has become of an epoch.
pub(super) struct Committed {
    /// The views that have come through, in the order of their ids.
    pub done: Vec<ComputedEpoch>,
    /// The number of the epoch, if it changed anything.
    pub epoch: Option<u64>,
    /// Its commit, if all of it went into one.
    pub commit: Option<CommitNo>,
}

impl Engine {
    /// Makes an epoch durable.
    pub(super) async fn commit_epoch(
        self: &Arc<Self>,
        changes: Vec<ComputedEpoch>,
        now: i64,
    ) -> Committed {
        if !changes.iter().any(|(_, change)| change.is_change()) {
            return Committed { done: changes, epoch: None, commit: None };
        }
        let epoch = self.next_epoch();
        let (mut staged, mut done, mut lost) = (Vec::new(), Vec::new(), HashSet::new());
        for (run, change) in changes {
            let id = run.handle.relation().id;
            if run.is_stopped() {
                if !change.deltas.is_empty() {
                    lost.insert(id);
                }
            } else if run.reads().any(|source| lost.contains(&source)) {
                lost.insert(id);
                self.begin_anew(run);
            } else if change.is_change() {
                match self.stage(run, change, epoch, now).await {
                    Some(part) => staged.push(part),
                    None => _ = lost.insert(id),
                }
            } else {
                done.push((run, change));
            }
        }
        let (committed, commit) = self.write_staged(staged, now).await;
        done.extend(committed);
        // What is read is published before what reads it.
        done.sort_by_key(|(run, _)| run.handle.relation().id);
        Committed { done, epoch: Some(epoch), commit }
    }

    async fn stage(
        self: &Arc<Self>,
        mut run: ViewRun,
        change: ViewEpoch,
        epoch: u64,
        now: i64,
    ) -> Option<StagedView> {
        let sink = self.sink(run.handle.relation().id).ok();
        if let Some(full) = sink.as_ref().filter(|sink| sink.is_full()) {
            self.stand_still(run.handle, Arc::clone(full));
            return None;
        }
        let mut puts = WriteBatch::default();
        let work = || {
            for (at, source) in run.sources().enumerate() {
                let own = change.rejected.iter().filter(|(of, _)| *of == at);
                let own: Vec<_> = own.map(|(_, rejected)| rejected.clone()).collect();
                self.rejected.reject(source, &own, now, Some(&mut puts))?;
            }
            let readers = self.temporary.lock();
            if !readers.is_empty() {
                let (id, bytes) = (run.handle.relation().id, change.bytes());
                readers.values().for_each(|query| query.keep(id, bytes));
            }
            drop(readers);
            let folding = self.folding(&run);
            run.stage(self.store().as_ref(), epoch, &change, folding, &mut puts)
        };
        match contained_call(PANICKED, work) {
            Ok(handed_on) => {
                if let Some(sink) = sink {
                    sink.add(usize::try_from(handed_on).unwrap_or(usize::MAX));
                }
                Some((run, change, puts))
            }
            Err(error) => {
                let handle = run.handle;
                self.fail(&handle, &error).await;
                None
            }
        }
    }

    async fn write_staged(
        self: &Arc<Self>,
        staged: Vec<StagedView>,
        now: i64,
    ) -> (Vec<ComputedEpoch>, Option<CommitNo>) {
        if staged.is_empty() {
            return (Vec::new(), None);
        }
        let all = staged.iter().flat_map(|(_, _, puts)| puts.changes.iter().cloned()).collect();
        match self.write_epoch(WriteBatch { changes: all }, now).await {
            Ok(number) => {
                (staged.into_iter().map(|(run, change, _)| (run, change)).collect(), Some(number))
            }
            Err(error) if staged.len() < 2 || error.state() == SqlState::DiskFull => {
                for (run, ..) in staged {
                    self.give_up(run, &error).await;
                }
                (Vec::new(), None)
            }
            // One of them has put what the store does not take; the others have nothing to do with
            // it.
            Err(_) => (self.commit_apart(staged, now).await, None),
        }
    }

    /// Makes each view's part of an epoch durable by itself.
    async fn commit_apart(
        self: &Arc<Self>,
        staged: Vec<StagedView>,
        now: i64,
    ) -> Vec<ComputedEpoch> {
        let (mut done, mut lost) = (Vec::new(), HashSet::new());
        for (run, change, puts) in staged {
            let id: RelationId = run.handle.relation().id;
            if run.reads().any(|source| lost.contains(&source)) {
                lost.insert(id);
                self.begin_anew(run);
                continue;
            }
            match self.write_epoch(puts, now).await {
                Ok(_) => done.push((run, change)),
                Err(error) => {
                    lost.insert(id);
                    self.give_up(run, &error).await;
                }
            }
        }
        done
    }

    async fn write_epoch(self: &Arc<Self>, puts: WriteBatch, now: i64) -> Result<CommitNo> {
        let mut transaction = Transaction { puts, ..Transaction::at(now) };
        self.put_epoch(&mut transaction);
        self.journal.commit(transaction).await
    }

    /// What it reads has not come through: it goes on from what is stored.
    pub(super) fn begin_anew(self: &Arc<Self>, run: ViewRun) {
        tracing::warn!("materialized view {} begins anew", run.handle.relation().name);
        run.handle.go_on(Phase::CatchingUp);
        self.start_view(run.handle);
    }

    /// A view's state in memory is ahead of the store: it goes on from what is stored, or not at
    /// all.
    async fn give_up(self: &Arc<Self>, run: ViewRun, error: &Error) {
        let handle = run.handle;
        if error.state() == SqlState::DiskFull {
            self.stall(handle, error);
        } else {
            self.fail(&handle, error).await;
        }
    }

    /// Makes a committed epoch visible, all of it at once. `behind`: the commit right behind the
    /// cut if it holds nothing but this epoch, so that there is nothing in it to be read. Gives the
    /// views back.
    pub(super) async fn publish_epoch(
        &self,
        committed: Committed,
        behind: Option<CommitNo>,
        now: i64,
        watch: Stopwatch,
    ) -> Vec<ComputedEpoch> {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        {
            let _guard = self.publishing_epoch.write();
            for (mut run, mut change) in committed.done {
                match contained_call(PANICKED, || {
                    publish(&mut run, &mut change, committed.epoch, watch, now)
                }) {
                    Ok(()) => {
                        if run.has_reached(&change) {
                            self.came_to(&run.handle, change.cut);
                            let is_quiet =
                                behind.is_some_and(|behind| behind.0 == change.cut.0 + 1);
                            change.cut = behind.filter(|_| is_quiet).unwrap_or(change.cut);
                            run.reached(change.cut);
                            self.came_to(&run.handle, change.cut);
                        }
                        if change.drained {
                            run.handle.tell_reached(change.cut);
                        }
                        done.push((run, change));
                    }
                    Err(error) => failed.push((run, error)),
                }
            }
            self.closing.notify_one();
        }
        for (run, error) in failed {
            let handle = run.handle;
            self.fail(&handle, &error).await;
        }
        done
    }
}

/// Makes one view's part visible; its subscribers are told of every epoch, also of one that changed
/// other views.
fn publish(
    run: &mut ViewRun,
    change: &mut ViewEpoch,
    epoch: Option<u64>,
    watch: Stopwatch,
    now: i64,
) -> Result<()> {
    match epoch {
        Some(epoch) if change.is_change() => run.publish(epoch, change, watch.ms(), now),
        Some(epoch) => {
            run.progressed(epoch);
            Ok(())
        }
        None => Ok(()),
    }
}
