//! The loop that runs the common epochs of all running views.
//!
//! ```text
//!                    ┌▶ group of views: read, compute ─┐
//!  commits ─▶ cut ─▶ ┼▶ another, on another thread     ┼▶ one commit ▸ publish ▸ answer
//!                    └▶ one that takes long ── leaves, and goes on by itself (`alone.rs`)
//! ```
//! Groups ([`super::group`]) run beside each other. Those that are not ready after
//! [`EngineOptions::common_epoch`](super::EngineOptions) are waited for no longer: a view whose
//! epochs take long holds up no other view, and no reader of another. A view that fails leaves the
//! loop and tells why in `tidemill.queries`; everything else goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::feed::shared::SharedReads;
use super::group::{EpochStart, GroupEpoch, ViewGroup, groups};
use super::messages::{Command, Waiting};
use super::registry::Engine;
use super::tables::PresentTables;
use super::view::handle::{Phase, ViewHandle};
use super::view::run::ViewRun;
use crate::catalog::RelationId;
use crate::clock::{Stopwatch, before};
use crate::log::CommitNo;

/// How often connectors are asked for new rows.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// The thread that runs the epochs.
pub(super) struct Loop {
    engine: Arc<Engine>,
    inbox: mpsc::Receiver<Command>,
    runs: Vec<ViewRun>,
    waiting: Vec<Waiting>,
    /// The last epoch left something to read.
    is_behind: bool,
    /// Everything up to this commit has been read, if nothing was left.
    reached: CommitNo,
    /// What views of one connector read together.
    shared: SharedReads,
}

/// A group that computes, and who is in it.
struct Computing {
    views: Vec<Arc<ViewHandle>>,
    done: oneshot::Receiver<GroupEpoch>,
}

impl Loop {
    /// A loop without views.
    pub fn new(engine: Arc<Engine>, inbox: mpsc::Receiver<Command>) -> Loop {
        Loop {
            engine,
            inbox,
            runs: Vec::new(),
            waiting: Vec::new(),
            is_behind: false,
            reached: CommitNo(0),
            shared: SharedReads::default(),
        }
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self) {
        let mut commits = self.engine.journal.watch();
        loop {
            // A commit that came while the last epoch ran is not waited for, and the epoch's own is
            // none to be read.
            let is_new = *commits.borrow_and_update() != self.reached;
            if !self.is_behind && !is_new {
                let polls = self.runs.iter().any(|run| !run.is_fed_by_log());
                let waits = !self.waiting.is_empty();
                let wakes = self.runs.iter().filter_map(ViewRun::wakes_ms).min();
                tokio::select! {
                    biased;
                    command = self.inbox.recv() => match command {
                        Some(command) => if self.handle(command) { return },
                        None => return,
                    },
                    changed = commits.changed(), if !waits => if changed.is_err() { return },
                    () = self.engine.clock().sleep(POLL), if polls && !waits => {}
                    () = self.engine.until(wakes), if wakes.is_some() && !waits => {}
                    () = std::future::ready(()), if waits => {}
                }
            }
            while let Ok(command) = self.inbox.try_recv() {
                if self.handle(command) {
                    return;
                }
            }
            self.epoch().await;
            // In a simulation others have no other thread.
            tokio::task::yield_now().await;
        }
    }

    /// Does what is asked; true when it is to end.
    fn handle(&mut self, command: Command) -> bool {
        match command {
            Command::Join(run) => {
                if !run.is_stopped() {
                    self.runs.push(*run);
                    // A view can only use older relations: in order of their ids, what is used runs
                    // first.
                    self.runs.sort_by_key(|run| run.handle.relation().id);
                    self.is_behind = true;
                    self.engine.closing.notify_one();
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
        let start = EpochStart {
            cut: self.engine.next_cut(self.runs.iter().map(|run| run.handle.relation().id)),
            now_ms: self.engine.now_ms(),
            tables: Arc::new(PresentTables::new(&self.engine)),
            is_left: Arc::new(AtomicBool::new(false)),
        };
        self.engine.commit_times.lock().note(start.cut, start.now_ms);
        self.runs.retain(|run| !run.is_stopped());
        let (mut ended, mut computing) = (Vec::new(), Vec::new());
        for mut group in groups(std::mem::take(&mut self.runs), &mut self.shared) {
            match group.idle(&self.engine, &start) {
                Some(done) => ended.push(done),
                None => computing.push(self.begin(group, &start, watch)),
            }
        }
        ended.extend(Self::ready(&self.engine, computing, &start).await);
        let mut changes = Vec::new();
        for done in ended {
            changes.extend(done.changes);
            if let Some(shared) = done.shared {
                self.shared = shared;
            }
            for (view, error) in done.failed {
                self.engine.ended(&view, &error).await;
            }
        }
        changes.sort_by_key(|(run, _)| run.handle.relation().id);
        let behind: Vec<RelationId> = changes
            .iter()
            .filter(|(_, change)| !change.drained)
            .map(|(run, _)| run.handle.relation().id)
            .collect();
        let committed = self.engine.commit_epoch(changes, start.now_ms).await;
        // The commit right behind the cut holds nothing but this epoch: there is nothing in it to
        // be read.
        let own = committed.commit.filter(|own| own.0 == start.cut.0 + 1);
        let published = self.engine.publish_epoch(committed, own, start.now_ms, watch).await;
        self.runs = published.into_iter().map(|(run, _)| run).collect();
        for run in &self.runs {
            // Now it is where the others are.
            run.handle.go_on(Phase::Running);
        }
        self.is_behind = !behind.is_empty();
        self.reached = own.unwrap_or(start.cut);
        self.answer(&behind);
    }

    /// Starts to compute. Whoever is not ready in time finds that nobody takes the result, and goes
    /// on by itself.
    fn begin(&self, group: ViewGroup, start: &EpochStart, watch: Stopwatch) -> Computing {
        let views = group.runs.iter().map(|run| Arc::clone(&run.handle)).collect();
        let (ready, done) = oneshot::channel();
        let (engine, start) = (Arc::clone(&self.engine), start.clone());
        self.engine.spawn.computing(async move {
            let done = group.epoch(&engine, &start).await;
            if let Err(done) = ready.send(done) {
                engine.left_behind(done, &start, watch).await;
            }
        });
        Computing { views, done }
    }

    /// What is ready in time; the others are left behind.
    async fn ready(
        engine: &Engine,
        mut computing: Vec<Computing>,
        start: &EpochStart,
    ) -> Vec<GroupEpoch> {
        let mut ready = Vec::new();
        let all = async {
            while let Some(group) = computing.last_mut() {
                // A group whose thread has gone has ended with the server.
                ready.extend((&mut group.done).await.ok());
                computing.pop();
            }
        };
        if before(engine.clock().sleep(engine.options.common_epoch), all).await.is_some() {
            return ready;
        }
        start.is_left.store(true, Ordering::Relaxed);
        for mut group in computing {
            group.done.close();
            match group.done.try_recv() {
                Ok(done) => ready.push(done),
                Err(_) => {
                    group.views.iter().for_each(|view| view.go_on(Phase::Trailing));
                }
            }
        }
        ready
    }

    /// Whoever waits for a view that is far behind does not hold up those who wait for others.
    fn answer(&mut self, behind: &[RelationId]) {
        let (reached, runs) = (self.reached, &self.runs);
        let runs_here = |id: &RelationId| runs.iter().any(|run| run.handle.relation().id == *id);
        let is_there = |waiting: &Waiting| {
            let is_behind = |id: &RelationId| behind.contains(id) && runs_here(id);
            waiting.target <= reached && !waiting.views.iter().any(is_behind)
        };
        for waiting in self.waiting.extract_if(.., |waiting| is_there(waiting)) {
            // Whoever asked may have gone.
            let _ = waiting.answer.send(());
        }
    }
}
