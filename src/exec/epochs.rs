//! The loop that runs the epochs of all running views, one after the other, on a thread of its own.
//!
//! ```text
//!  commits ─▶ cut ▸ each view reads and computes ▸ one commit ▸ publish ▸ answer those who wait
//! ```
//! Views run in the order of their dependence, so that a view on a view takes what the other has computed in the same epoch. A view that
//! fails leaves the loop and tells why in `tidemill.queries`; everything else goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::feed::shared::SharedReads;
use super::lifecycle::PANICKED;
use super::messages::{Command, Waiting};
use super::registry::Engine;
use super::tables::PresentTables;
use super::view::handle::Phase;
use super::view::run::{ViewEpoch, ViewRun};
use crate::catalog::RelationId;
use crate::clock::Stopwatch;
use crate::error::{Error, Result, SqlState, contained, contained_call};
use crate::log::{CommitNo, Transaction};
use crate::store::WriteBatch;

/// How often connectors are asked for new rows.
const POLL: Duration = Duration::from_millis(20);

/// The thread that runs the epochs.
pub(super) struct Loop {
    engine: Arc<Engine>,
    inbox: mpsc::UnboundedReceiver<Command>,
    runs: Vec<ViewRun>,
    waiting: Vec<Waiting>,
    /// The last epoch left something to read.
    is_behind: bool,
    /// Everything up to this commit has been read, if nothing was left.
    reached: CommitNo,
    /// What views of one connector read together.
    shared: SharedReads,
}

impl Loop {
    /// A loop without views.
    pub fn new(engine: Arc<Engine>, inbox: mpsc::UnboundedReceiver<Command>) -> Loop {
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
            // A commit that came while the last epoch ran is not waited for, and the epoch's own is none to be read.
            let is_new = *commits.borrow_and_update() != self.reached;
            if !self.is_behind && !is_new {
                let polls = self.runs.iter().any(|run| !run.is_fed_by_log());
                let waits = !self.waiting.is_empty();
                tokio::select! {
                    biased;
                    command = self.inbox.recv() => match command {
                        Some(command) => if self.handle(command) { return },
                        None => return,
                    },
                    changed = commits.changed(), if !waits => if changed.is_err() { return },
                    () = self.engine.clock().sleep(POLL), if polls && !waits => {}
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
        let now = self.engine.now_ms();
        let tables = PresentTables::new(&self.engine);
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
            match contained(PANICKED, run.epoch(cut, now, &tables, fresh, &mut self.shared)).await {
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
        let (mut epoch, mut reached) = (None, cut);
        if changes.iter().any(|(_, change)| change.is_change()) {
            let number = self.engine.next_epoch();
            let own;
            (changes, own) = self.commit(changes, cut, now, number).await;
            epoch = Some(number);
            // The commit right behind the cut holds nothing but this epoch: there is nothing in it to be read.
            reached = own.filter(|own| own.0 == cut.0 + 1).unwrap_or(cut);
        }
        self.publish(changes, reached, now, epoch, watch).await;
        self.reached = reached;
        // Whoever waits for a view that is far behind does not hold up those who wait for others.
        let is_there = |waiting: &Waiting| {
            waiting.target <= reached && !waiting.views.iter().any(|id| behind.contains(id))
        };
        for waiting in self.waiting.extract_if(.., |waiting| is_there(waiting)) {
            // Whoever asked may have gone.
            let _ = waiting.answer.send(());
        }
    }

    /// Makes the epoch durable; a view that cannot be staged fails, the others go on. Gives the number of the commit, if
    /// there is one.
    async fn commit(
        &mut self,
        changes: Vec<(ViewRun, ViewEpoch)>,
        cut: CommitNo,
        now: i64,
        epoch: u64,
    ) -> (Vec<(ViewRun, ViewEpoch)>, Option<CommitNo>) {
        let (mut staged, mut done) = (Vec::new(), Vec::new());
        for (mut run, change) in changes {
            if !change.is_change() {
                done.push((run, change));
                continue;
            }
            let mut puts = WriteBatch::default();
            let work = || {
                self.engine.rejected.reject(&run.source(), &change.rejected, now, Some(&mut puts))?;
                let folding = self.engine.folding(&run);
                run.stage(self.engine.store().as_ref(), epoch, cut, &change, folding, &mut puts)
            };
            match contained_call(PANICKED, work) {
                Ok(()) => staged.push((run, change, puts)),
                Err(error) => self.engine.fail(&run.handle, &error).await,
            }
        }
        let all = staged.iter().flat_map(|(_, _, puts)| puts.changes.iter().cloned()).collect();
        let mut committed = None;
        match self.write(WriteBatch { changes: all }, now).await {
            Ok(number) => {
                committed = Some(number);
                done.extend(staged.into_iter().map(|(run, change, _)| (run, change)));
            }
            Err(error) if staged.len() < 2 || error.state() == SqlState::DiskFull => {
                for (run, ..) in staged {
                    self.give_up(run, &error).await;
                }
            }
            // One of them has put what the store does not take; the others have nothing to do with it.
            Err(_) => done.extend(self.commit_apart(staged, now).await),
        }
        // What is read runs before what reads it.
        done.sort_by_key(|(run, _)| run.handle.relation().id);
        (done, committed)
    }

    /// Makes each view's part of an epoch durable by itself. What reads a view that fails computed with rows that are no more: it
    /// goes on from what is stored.
    async fn commit_apart(
        &mut self,
        staged: Vec<(ViewRun, ViewEpoch, WriteBatch)>,
        now: i64,
    ) -> Vec<(ViewRun, ViewEpoch)> {
        let (mut done, mut given_up) = (Vec::new(), Vec::new());
        for (run, change, puts) in staged {
            let (id, source) = (run.handle.relation().id, run.source().id);
            if given_up.contains(&source) {
                given_up.push(id);
                let error = Error::new(SqlState::NotInState, "the view that it reads could not be stored");
                self.engine.stall(run.handle, &error);
                continue;
            }
            match self.write(puts, now).await {
                Ok(_) => done.push((run, change)),
                Err(error) => {
                    given_up.push(id);
                    self.give_up(run, &error).await;
                }
            }
        }
        done
    }

    /// All of `&mut self`: connectors' readers are not for several threads, so with a shared loop this could be no task.
    async fn write(&mut self, puts: WriteBatch, now: i64) -> Result<CommitNo> {
        let mut transaction = Transaction { puts, ..Transaction::at(now) };
        self.engine.put_epoch(&mut transaction);
        self.engine.journal.commit(transaction).await
    }

    /// A view's state in memory is ahead of the store: it goes on from what is stored, or not at all.
    async fn give_up(&mut self, run: ViewRun, error: &Error) {
        if error.state() == SqlState::DiskFull {
            self.engine.stall(run.handle, error);
        } else {
            self.engine.fail(&run.handle, error).await;
        }
    }

    async fn publish(
        &mut self,
        changes: Vec<(ViewRun, ViewEpoch)>,
        reached: CommitNo,
        now: i64,
        epoch: Option<u64>,
        watch: Stopwatch,
    ) {
        let mut failed = Vec::new();
        {
            let _guard = self.engine.publishing_epoch.write();
            for (mut run, change) in changes {
                let work = || match epoch {
                    Some(epoch) if change.is_change() => {
                        run.publish(epoch, change, watch.ms(), now)?;
                        run.reached(reached, None);
                        Ok(())
                    }
                    Some(_) | None => {
                        run.reached(reached, epoch);
                        Ok(())
                    }
                };
                match contained_call(PANICKED, work) {
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
