//! The life of a materialized view: it starts, catches up over history, joins the loop, is paused,
//! stalls on a full disk, fails, goes.
//!
//! ```text
//!            ┌──────────── RESUME ────────────┐
//!            ▼                                │
//!  CREATE ▸ catching up ─▶ running ◀─▶ trailing ─▶ paused
//!            │   ▲            │           │
//!            │   └─ stalled ◀─┤ the disk is full
//!            └──▶ failed ◀────┴───────────┘
//! ```
//! A running view takes part in the common epochs (`epochs.rs`); one that catches up or trails goes
//! on by itself (`alone.rs`). Whoever holds [`ViewHandle::alone`] knows that nothing it has
//! computed by itself is on its way to the store.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::define::view_pipeline;
use super::failure::ViewFailure;
use super::folding::Folding;
use super::group::PANICKED;
use super::late::{delete_late, read_late};
use super::messages::{Command, TemporaryQuery};
use super::outbox::delete_record;
use super::position::Start;
use super::progress::Progress;
use super::registry::Engine;
use super::runner::Runner;
use super::stored::{delete_stored, load};
use super::tables::PresentTables;
use super::view::handle::{Phase, ViewHandle};
use super::view::run::ViewRun;
use crate::catalog::{Kind, Relation, RelationId};
use crate::error::{Error, Result, SqlState, contained};
use crate::log::Transaction;
use crate::state::RowStore;
use crate::store::WriteBatch;

/// How long after the disk was found full the views that it stopped try again.
const ROOM_ROUND: Duration = Duration::from_secs(1);

impl Engine {
    /// Before a relation is removed: stops what runs for it. Nothing of it is on its way to the
    /// store afterwards. Until its removal is committed it is as if it were paused: its readers and
    /// subscribers have it still if that fails.
    pub async fn stop_view(&self, id: RelationId) -> Result<()> {
        let handle = self.view(id)?;
        handle.enter(Phase::Paused);
        self.halt(id, &handle).await;
        self.stop_sink(id).await;
        Ok(())
    }

    /// Adds the removal of all that is stored of a view to a commit.
    pub fn delete_view(&self, id: RelationId, batch: &mut WriteBatch) -> Result<()> {
        delete_stored(self.store().as_ref(), id, batch)?;
        delete_record(id, batch);
        delete_late(self.store().as_ref(), id, batch)
    }

    /// The relation is there after all: its removal could not be committed.
    pub fn restart_view(self: &Arc<Self>, id: RelationId) -> Result<()> {
        let handle = self.view(id)?;
        handle.enter(Phase::CatchingUp);
        let relation = handle.relation();
        if relation.hands_on() {
            self.start_sink(&relation, &handle);
        }
        match relation.running() {
            Some(def) if def.paused => self.start_paused(handle),
            _ => self.start_view(handle),
        }
        Ok(())
    }

    /// PAUSE: the view keeps its rows and reads no more. What it is just computing is thrown away,
    /// however long it would take.
    pub async fn pause_view(&self, id: RelationId) -> Result<()> {
        let handle = self.view(id)?;
        self.halt(id, &handle).await;
        let phase = handle.phase().borrow().clone();
        if !matches!(phase, Phase::Failed(_) | Phase::Dropped) {
            handle.enter(Phase::Paused);
        }
        // Those on it have what they can have: whoever waits for them waited for this one.
        handle.tell_all();
        let _ = self.commands.send(Command::Look).await;
        Ok(())
    }

    /// RESUME: the view goes on where it was, and with it those on it that there was no room for
    /// either.
    pub fn resume_view(self: &Arc<Self>, id: RelationId) -> Result<()> {
        let mut resumed = vec![id];
        // In the order of their ids: what is read was made before.
        for view in self.views() {
            let relation = view.relation();
            let is_above = resumed.iter().any(|id| self.is_under(*id, &relation));
            let waits = matches!(&*view.phase().borrow(), Phase::Failed(why) if why.for_now);
            let is_paused = relation.running().is_some_and(|def| def.paused);
            if relation.id == id || (is_above && waits && !is_paused) {
                resumed.push(relation.id);
                view.enter(Phase::CatchingUp);
                self.start_view(view);
            }
        }
        Ok(())
    }

    /// Ends what runs for a view. Nothing of it is on its way to the store afterwards.
    pub(super) async fn halt(&self, id: RelationId, handle: &ViewHandle) {
        handle.stop();
        let (answer, answered) = oneshot::channel();
        if self.commands.send(Command::Leave(id, answer)).await.is_ok() {
            // No answer means that the loop has ended, and every view with it.
            let _ = answered.await;
        }
        drop(handle.alone.lock().await);
    }

    /// Lets a view read what there is, then join the loop.
    pub(super) fn start_view(self: &Arc<Self>, handle: Arc<ViewHandle>) {
        let engine = Arc::clone(self);
        let stop = handle.begin(self.now_ms());
        self.cpu().spawn(async move {
            let alone = Arc::clone(&handle.alone).lock_owned().await;
            if *handle.phase().borrow() == Phase::Dropped {
                return;
            }
            // Also of one that is paused by now: its rows are there to be read.
            let recovered =
                contained(PANICKED, engine.recover_unless_failed(&handle, stop.clone())).await;
            match recovered {
                Ok(Some(run)) => engine.catch_up(run, alone).await,
                Ok(None) => {}
                Err(_) if stop.is_cancelled() => {}
                Err(error) => engine.ended(&handle, &error).await,
            }
        });
    }

    /// Puts a view together as it was. One that has failed stays failed until it is dropped:
    /// running it again would fail again, at every start. What is stored of a view is whole even if
    /// there is no memory for it now, or for what it reads: then it has failed until the next
    /// start, which may have more, and nothing is written down.
    async fn recover_unless_failed(
        self: &Arc<Self>,
        handle: &Arc<ViewHandle>,
        stop: CancellationToken,
    ) -> Result<Option<ViewRun>> {
        let relation = handle.relation();
        let progress = Progress::read(self.store().as_ref(), relation.id)?;
        if let Some(failure) = progress.and_then(|progress| progress.failed) {
            tracing::error!("materialized view {}: {}", relation.name, failure.message);
            handle.enter(Phase::Failed(failure));
            return Ok(None);
        }
        match self.recover(handle, stop).await {
            Err(error) if error.state() == SqlState::OutOfMemory => {
                tracing::error!("materialized view {}: {error}", relation.name);
                handle.enter(Phase::Failed(ViewFailure::for_now(&error)));
                Ok(None)
            }
            recovered => recovered.map(Some),
        }
    }

    /// Shows a paused view's rows as they were.
    pub(super) fn start_paused(self: &Arc<Self>, handle: Arc<ViewHandle>) {
        let engine = Arc::clone(self);
        let stop = handle.begin(self.now_ms());
        self.cpu().spawn(async move {
            let _alone = Arc::clone(&handle.alone).lock_owned().await;
            match contained(PANICKED, engine.recover_unless_failed(&handle, stop)).await {
                Ok(Some(_)) => handle.enter(Phase::Paused),
                Ok(None) => {}
                Err(error) => engine.fail(&handle, &error).await,
            }
        });
    }

    /// The disk is full: what was computed is thrown away, the view's rows stay readable, and when
    /// there is room it goes on from what is stored.
    pub(super) fn stall(self: &Arc<Self>, handle: Arc<ViewHandle>, error: &Error) {
        tracing::warn!("materialized view {} waits: {error}", handle.relation().name);
        handle.enter(Phase::Stalled(error.message().to_owned()));
        let engine = Arc::clone(self);
        self.cpu().spawn(async move {
            engine.clock().sleep(ROOM_ROUND).await;
            if let Phase::Stalled(_) = &*handle.phase().borrow() {
                engine.start_view(Arc::clone(&handle));
            }
        });
    }

    /// Puts a view together from what is stored of it.
    pub(super) async fn recover(
        self: &Arc<Self>,
        handle: &Arc<ViewHandle>,
        stop: CancellationToken,
    ) -> Result<ViewRun> {
        let relation = handle.relation();
        let progress = Progress::read(self.store().as_ref(), relation.id)?.unwrap_or_default();
        let (pipeline, state) = view_pipeline(self, &relation).await?;
        let tables = PresentTables::new(self);
        let Some(def) = relation.running() else {
            return Err(Error::internal(format!("nothing runs for {}", relation.name)));
        };
        self.recount_sink(relation.id)?;
        let retracts = !pipeline.is_append_only();
        let start = if def.from_latest { self.latest() } else { Start::Earliest };
        let mut feeds = self.feeds(&pipeline, |at| progress.position_of(at), start).await?;
        let marks = (progress.watermarks(), progress.frontiers());
        let counters = progress.counters;
        let mut runner = Runner::at(Arc::new(pipeline), state, &tables, &marks, counters).await?;
        runner.not_before(progress.now_ms);
        let mut rows = RowStore::new(relation.schema(), &[])?;
        if retracts && progress.epoch == 0 {
            // Else the first epoch that takes a row back makes an index of all there is.
            rows.index_whole()?;
        }
        let mut state = |part: u8, rows: &RecordBatch| runner.restore_rows(part, rows);
        load(self.store().as_ref(), relation.id, &progress, &mut state, &mut rows)?;
        if progress.epoch > 0 {
            runner.restored()?;
        }
        for (at, feed) in feeds.0.iter_mut().enumerate() {
            feed.had(runner.read_of_table(at)?);
        }
        let late = read_late(self.store().as_ref(), relation.id)?;
        let run = ViewRun::new(Arc::clone(handle), runner, feeds, progress, rows, late, stop)?;
        Ok(run.folding_from(self.options.fold_bytes))
    }

    /// Whether every view and every continuous SELECT on this one has taken all changes of it so
    /// far. Not merely those that run: a paused one comes back.
    pub(super) fn folding(&self, run: &ViewRun) -> Folding {
        let id = run.handle.relation().id;
        if run.handle.relation().hands_on() {
            // They go when they have been published.
            return Folding::Held;
        }
        let reads_no_more = |phase: &Phase| match phase {
            Phase::Failed(failure) => !failure.for_now,
            Phase::Dropped => true,
            Phase::CatchingUp
            | Phase::Running
            | Phase::Trailing
            | Phase::Paused
            | Phase::Stalled(_) => false,
        };
        let is_behind_in = |places: &[(RelationId, u64)]| {
            places.iter().any(|(source, epoch)| *source == id && *epoch < run.answer_epoch())
        };
        let behind = |view: &Arc<ViewHandle>| {
            if reads_no_more(&view.phase().borrow()) {
                return false;
            }
            match view.places() {
                Some(places) => is_behind_in(&places),
                // It does not know yet where it stands.
                None => self.is_under(id, &view.relation()),
            }
        };
        // A client that reads slowly is only slowed; that it reads is seen to where it is waited for.
        let reads = |query: &Arc<TemporaryQuery>| is_behind_in(&query.places.lock());
        let is_behind =
            self.views.read().values().any(behind) || self.temporary.lock().values().any(reads);
        if is_behind { Folding::Held } else { Folding::Allowed }
    }

    /// Whether a relation reads the answer of this query, by name or through plain views.
    fn is_under(&self, id: RelationId, relation: &Relation) -> bool {
        let names = self.catalog.names();
        let through = |used: &RelationId| match names.by_id(*used) {
            Some(used) => matches!(used.kind, Kind::View { .. }) && self.is_under(id, used),
            None => false,
        };
        relation.depends_on.iter().any(|used| names.query_of(*used) == id || through(used))
    }

    /// Takes a view out for good, and remembers why.
    pub(super) async fn fail(&self, handle: &Arc<ViewHandle>, error: &Error) {
        let relation = handle.relation();
        if self.catalog.names().answers_of(relation.id).next().is_none() {
            return;
        }
        tracing::error!("materialized view {}: {error}", relation.name);
        let failure = ViewFailure::of(error);
        let stored = Progress::read(self.store().as_ref(), relation.id).and_then(|progress| {
            let mut progress = progress.unwrap_or_default();
            progress.failed = Some(failure.clone());
            let mut transaction = Transaction::at(self.now_ms());
            progress.write(relation.id, &mut transaction.puts)?;
            Ok(transaction)
        });
        match stored {
            Ok(transaction) => {
                if let Err(error) = self.journal.commit(transaction).await {
                    tracing::error!(
                        "the failure of {} could not be stored: {error}",
                        relation.name
                    );
                }
            }
            Err(error) => {
                tracing::error!("the failure of {} could not be stored: {error}", relation.name)
            }
        }
        handle.enter(Phase::Failed(failure));
    }
}
