//! A view by itself: it catches up over the history, or its epochs take so long that the others do
//! not wait for it.
//!
//! It takes its input in portions, each an epoch of its own with a commit of its own, visible at
//! once. It takes part in the common epochs when there is nothing left for it to read; one that was
//! left behind, only when none of its portions has taken long for [`limits::REJOIN_MS`].
//!
//! The waiting is a task; the computing has a thread for each portion, of which there are
//! [`limits::LONE_VIEWS`] at a time.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::select_all;
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::epochs::POLL;
use super::group::{EpochStart, GroupEpoch, PANICKED};
use super::messages::Command;
use super::registry::Engine;
use super::tables::PresentTables;
use super::view::handle::{Phase, ViewHandle};
use super::view::run::ViewRun;
use crate::announced::Listener;
use crate::catalog::RelationId;
use crate::clock::Stopwatch;
use crate::error::{Error, Result, SqlState, contained};
use crate::limits;
use crate::log::CommitNo;

/// When a view that goes on by itself takes part in the common epochs.
#[derive(Clone, Copy)]
enum Rejoin {
    /// As soon as there is nothing left to read.
    WhenDrained,
    /// When, besides, none of its portions has taken long since then, milliseconds since 1970.
    WhenQuickSince(i64),
}

/// A portion of a view that goes on by itself.
struct LonePortion {
    run: ViewRun,
    /// How far it has read, with its own commit if there is nothing else before that.
    read_to: CommitNo,
    drained: bool,
    /// There was more, but a statement wanted the view just there.
    is_limited: bool,
    took_ms: f64,
    now_ms: i64,
}

/// What tells a view that there may be more to read.
struct News {
    commits: Listener<CommitNo>,
    /// What it reads.
    of: Vec<RelationId>,
    /// How far the views among that have come, also if that has changed nothing.
    bases: Vec<Listener<CommitNo>>,
}

impl News {
    fn of(engine: &Engine, run: &ViewRun) -> News {
        let of: Vec<RelationId> = run.reads().collect();
        News { commits: engine.journal.watch(), bases: engine.reached_by(&of), of }
    }

    /// What is there now is about to be read.
    fn seen(&mut self, engine: &Engine, run: &ViewRun) {
        self.commits.mark_unchanged();
        if !run.reads().eq(self.of.iter().copied()) {
            // A view that it reads has parted from its query.
            self.of = run.reads().collect();
            self.bases = engine.reached_by(&self.of);
        }
        self.bases.iter_mut().for_each(Listener::mark_unchanged);
    }

    /// Commits up to this one are no news: the last of them may be the view's own.
    fn seen_to(&mut self, read_to: CommitNo) {
        if *self.commits.borrow_and_update() > read_to {
            self.commits.mark_changed();
        }
    }

    /// Waits; false: there will be none, or the view is to run no more.
    async fn more(&mut self, engine: &Engine, run: &mut ViewRun) -> bool {
        if !run.is_fed_by_log() {
            engine.clock().sleep(POLL).await;
            return !run.is_stopped();
        }
        let wakes = run.wakes_ms();
        let moved = self.bases.iter_mut().map(|base| base.changed().boxed());
        let moved: Vec<_> = moved.collect();
        let are_views = !moved.is_empty();
        let moved = async {
            let (moved, ..) = select_all(moved).await;
            moved.is_ok()
        };
        tokio::select! {
            biased;
            more = run.changed(&mut self.commits) => more,
            moved = moved, if are_views => moved,
            () = engine.until(wakes), if wakes.is_some() => true,
        }
    }
}

impl Engine {
    /// How far those of these that are views have come.
    fn reached_by(&self, sources: &[RelationId]) -> Vec<Listener<CommitNo>> {
        let views = self.views.read();
        sources.iter().filter_map(|source| views.get(source)).map(|view| view.reached()).collect()
    }

    /// Lets a view catch up; whoever has `alone` is the only one who runs it.
    pub(super) async fn catch_up(self: &Arc<Self>, run: ViewRun, alone: OwnedMutexGuard<()>) {
        self.go_alone(run, Rejoin::WhenDrained, Some(alone)).await;
    }

    /// What a group has computed after the others had gone on without it: it is committed as it is,
    /// then each of its views goes on by itself.
    pub(super) async fn left_behind(
        self: &Arc<Self>,
        done: GroupEpoch,
        start: &EpochStart,
        watch: Stopwatch,
    ) {
        for (view, error) in done.failed {
            self.ended(&view, &error).await;
        }
        let locks: Vec<_> =
            done.changes.iter().map(|(run, _)| Arc::clone(&run.handle.alone)).collect();
        let mut guards = Vec::new();
        for lock in locks {
            guards.push(lock.lock_owned().await);
        }
        let committed = self.commit_epoch(done.changes, start.now_ms).await;
        let published = self.publish_epoch(committed, None, start.now_ms, watch).await;
        drop(guards);
        // Views on these that run in the loop saw the commit, but only now the change. Fails only
        // when the server stops.
        let _ = self.commands.send(Command::Look).await;
        for (run, _) in published {
            let (engine, since) = (Arc::clone(self), self.now_ms());
            self.cpu().spawn(async move {
                engine.go_alone(run, Rejoin::WhenQuickSince(since), None).await
            });
        }
    }

    /// A view cannot go on: it waits for room on the disk, or has failed.
    pub(super) async fn ended(self: &Arc<Self>, view: &Arc<ViewHandle>, error: &Error) {
        if error.state() == SqlState::DiskFull {
            self.stall(Arc::clone(view), error);
        } else {
            self.fail(view, error).await;
        }
    }

    /// Portion after portion, until it takes part in the common epochs, or ends.
    async fn go_alone(
        self: &Arc<Self>,
        mut run: ViewRun,
        mut rejoin: Rejoin,
        mut alone: Option<OwnedMutexGuard<()>>,
    ) {
        let handle = Arc::clone(&run.handle);
        let mut news = News::of(self, &run);
        // What is written meanwhile is no history: then it trails, and who writes faster than it
        // reads is held back.
        let mut history = matches!(rejoin, Rejoin::WhenDrained).then(|| self.journal.last());
        loop {
            let guard = match alone.take() {
                Some(guard) => guard,
                None => Arc::clone(&handle.alone).lock_owned().await,
            };
            if run.is_stopped() {
                return;
            }
            news.seen(self, &run);
            let stop = run.stop();
            let portion = match self.on_lane(run, history).await {
                Ok(Some(portion)) => portion,
                // It has been given up, and that has been said.
                Ok(None) => return,
                Err(_) if stop.is_cancelled() => return,
                Err(error) => return self.ended(&handle, &error).await,
            };
            drop(guard);
            run = portion.run;
            let is_quick =
                portion.took_ms < self.options.common_epoch.as_secs_f64() * 1_000.0 / 2.0;
            let rejoins = match &mut rejoin {
                Rejoin::WhenDrained => true,
                Rejoin::WhenQuickSince(since) if is_quick => {
                    portion.now_ms - *since >= limits::REJOIN_MS
                }
                Rejoin::WhenQuickSince(since) => {
                    *since = portion.now_ms;
                    false
                }
            };
            if !portion.drained || portion.is_limited {
                tokio::task::yield_now().await;
            } else if history.take().is_some() && portion.read_to < self.journal.last() {
                handle.go_on(Phase::Trailing);
            } else if rejoins {
                // Fails only when the server stops.
                let _ = self.commands.send(Command::Join(Box::new(run))).await;
                return;
            } else {
                news.seen_to(portion.read_to);
                if !news.more(self, &mut run).await {
                    return;
                }
            }
        }
    }

    /// A portion, computed on a thread of its own.
    async fn on_lane(
        self: &Arc<Self>,
        run: ViewRun,
        history: Option<CommitNo>,
    ) -> Result<Option<LonePortion>> {
        let stopped = || Error::internal("the server is going down");
        let lane = Arc::clone(&self.lanes).acquire_owned().await.map_err(|_| stopped())?;
        let (answer, answered) = oneshot::channel();
        let engine = Arc::clone(self);
        self.spawn.computing(async move {
            let done = contained(PANICKED, engine.portion(run, history)).await;
            drop(lane);
            // Whoever asked waits for it, or ends with the server.
            let _ = answer.send(done);
        });
        answered.await.map_err(|_| stopped())?
    }

    /// Reads, computes, commits and publishes; nothing behind the end of the history, as long as it
    /// is in it.
    async fn portion(
        self: &Arc<Self>,
        mut run: ViewRun,
        history: Option<CommitNo>,
    ) -> Result<Option<LonePortion>> {
        let watch = Stopwatch::start();
        let there = self.journal.last();
        let last = self.next_cut(std::iter::once(run.handle.relation().id));
        let end = history.map_or(last, |end| end.min(last));
        let cut = run.reads().map(|source| self.cut_behind(source, end)).min().unwrap_or(end);
        let now_ms = self.now_ms();
        let change = run.portion(cut, now_ms, &PresentTables::new(self)).await?;
        let (drained, is_change, rows) = (change.drained, change.is_change(), change.rows);
        let committed = self.commit_epoch(vec![(run, change)], now_ms).await;
        let own = committed.commit;
        let published = self.publish_epoch(committed, own, now_ms, watch).await;
        if drained || is_change {
            // As above: those on this one have come as far as it has.
            let _ = self.commands.send(Command::Look).await;
        }
        let published = published.into_iter().next();
        if let Some((run, _)) = &published {
            run.handle.throughput.lock().took(rows, self.now_ms(), drained);
        }
        Ok(published.map(|(run, change)| LonePortion {
            run,
            read_to: change.cut,
            drained,
            is_limited: last < there,
            took_ms: watch.ms(),
            now_ms,
        }))
    }
}
