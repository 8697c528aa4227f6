//! Waiting for views: a session reads its own writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::epochs::POLL;
use super::messages::{Command, Waiting};
use super::registry::Engine;
use super::view::handle::{Phase, ViewHandle};
use crate::catalog::{Kind, Relation, RelationId};
use crate::clock;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::log::CommitNo;

fn stalled(view: &str, why: &str) -> Error {
    Error::new(SqlState::DiskFull, format!("the query of \"{view}\" waits: {why}"))
        .detail("It does not hold yet what this session has written.")
        .hint("Make room on the disk, or DROP what is not needed: it then goes on by itself.")
}

impl Engine {
    /// Waits until these views hold everything that was committed before the call; of what other
    /// sessions have committed not longer than [`limits::OTHERS_WRITES_MS`]. `own`: the last commit
    /// of this session. A view that waits for room on the disk and does not hold that is an error
    /// (53100).
    pub async fn sync(&self, views: &[Arc<ViewHandle>], own: CommitNo) -> Result<()> {
        let mut views = self.with_bases(views);
        self.sync_derived(&mut views).await?;
        let target = self.journal.last();
        for view in &views {
            let mut phase = view.phase();
            let caught_up = phase.wait_for(|phase| *phase != Phase::CatchingUp).await;
            match caught_up.unwrap_or(Phase::Dropped) {
                Phase::Failed(failure) => return Err(failure.error(&view.relation().name)),
                Phase::Dropped => {
                    return Err({
                        let relation = view.relation();
                        self.catalog.names().missing(&relation.schema, &relation.name)
                    });
                }
                Phase::Paused
                | Phase::Stalled(_)
                | Phase::CatchingUp
                | Phase::Running
                | Phase::Trailing => {}
            }
        }
        let patience = Duration::from_millis(limits::OTHERS_WRITES_MS);
        match clock::timeout(self.clock(), patience, self.reach(target, &views)).await {
            Some(reached) => reached?,
            None => self.reach(own, &views).await?,
        }
        for view in views {
            match &*view.phase().borrow() {
                Phase::Failed(failure) => return Err(failure.error(&view.relation().name)),
                // Rather an error than fewer rows than this session has written.
                Phase::Stalled(why) if *view.reached().borrow() < own => {
                    return Err(stalled(&view.relation().name, why));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Streams that queries write stand between their own sources and the views over them: what those
    /// hold is written to them first. Such queries are taken off the list.
    async fn sync_derived(&self, views: &mut Vec<Arc<ViewHandle>>) -> Result<()> {
        // What is read was made before.
        views.sort_by_key(|view| view.relation().id);
        let hands_on = |view: &Arc<ViewHandle>| view.relation().hands_on();
        let last = views.iter().rposition(hands_on).map_or(0, |last| last + 1);
        for view in &views[..last] {
            // One that goes away catches up no more.
            let _ = view.phase().wait_for(|phase| *phase != Phase::CatchingUp).await;
            self.reach(self.journal.last(), std::slice::from_ref(view)).await?;
            if hands_on(view) {
                let phase = view.phase().borrow().clone();
                if let Phase::Stalled(why) = phase {
                    return Err(stalled(&view.relation().name, &why));
                }
                self.until_published(view).await?;
            }
        }
        views.retain(|view| !hands_on(view));
        Ok(())
    }

    /// Waits until what goes to sinks has gone out, all of it: their input has ended, or holds nothing
    /// that they have not read.
    ///
    /// # Errors
    /// Why one of them cannot go on.
    pub async fn finish_sinks(&self) -> Result<()> {
        let sinks: Vec<_> =
            self.views().into_iter().filter(|view| view.relation().hands_on()).collect();
        loop {
            let mut has_ended = true;
            for view in &sinks {
                let mut below = self.with_bases(std::slice::from_ref(view));
                has_ended &= below
                    .iter()
                    .all(|view| view.source_progress().iter().all(|(_, source)| source.ended));
                self.sync_derived(&mut below).await?;
                let relation = view.relation();
                if let Phase::Failed(failure) = &*view.phase().borrow() {
                    return Err(failure.error(&relation.name));
                }
                if let Some(error) = self.sink(relation.id)?.figures().error {
                    let what = format!("sink \"{}\": {error}", relation.name);
                    return Err(Error::new(SqlState::Io, what));
                }
            }
            if has_ended {
                return Ok(());
            }
            self.clock().sleep(POLL).await;
        }
    }

    /// For figures of all views: waits a little (at the most [`limits::FIGURES_MS`]) until those
    /// that are quick hold everything that was committed before the call, and one that trails what
    /// this session has written, whose last commit is `own`. One that is paused or has failed holds
    /// nobody up, and one that catches up only if it has just begun.
    pub async fn sync_figures(&self, own: CommitNo) -> Result<()> {
        let target = self.journal.last();
        let now = self.now_ms();
        let views = self.views();
        let quick = async {
            for view in &views {
                let mut phase = view.phase();
                let is_new = now.saturating_sub(view.since_ms()) < limits::FIGURES_MS as i64;
                if *phase.borrow() == Phase::CatchingUp && is_new {
                    // A view that goes away catches up no more.
                    let _ = phase.wait_for(|phase| *phase != Phase::CatchingUp).await;
                }
                let target = match *phase.borrow() {
                    Phase::Running => target,
                    Phase::Trailing => own,
                    _ => continue,
                };
                self.reach(target, std::slice::from_ref(view)).await?;
                if view.relation().hands_on() {
                    // What keeps it from going out is one of the figures.
                    let _ = self.until_published(view).await;
                }
            }
            Ok(())
        };
        clock::timeout(self.clock(), Duration::from_millis(limits::FIGURES_MS), quick)
            .await
            .unwrap_or(Ok(()))
    }

    /// Waits until those of the views that run have come to the target.
    async fn reach(&self, target: CommitNo, views: &[Arc<ViewHandle>]) -> Result<()> {
        for view in views {
            let (mut phase, mut reached) = (view.phase(), view.reached());
            loop {
                let is_running = match &*phase.borrow_and_update() {
                    Phase::Running => true,
                    Phase::Trailing => false,
                    _ => break,
                };
                if is_running && self.is_fed_by_connector(&view.relation()) {
                    self.reach_connector(target, view).await?;
                    if *phase.borrow() == Phase::Running {
                        break;
                    }
                } else if *reached.borrow_and_update() >= target {
                    break;
                } else {
                    tokio::select! {
                        biased;
                        _ = reached.changed() => {}
                        _ = phase.changed() => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until a view has read what its connector has.
    async fn reach_connector(&self, target: CommitNo, view: &ViewHandle) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let stopped = || Error::new(SqlState::ShuttingDown, "the server is shutting down");
        let waiting = Waiting { target, views: vec![view.relation().id], answer };
        self.commands.send(Command::Sync(waiting)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())
    }

    /// These views and all that they read: what is behind in a view that is read is behind in those
    /// on it.
    fn with_bases(&self, views: &[Arc<ViewHandle>]) -> Vec<Arc<ViewHandle>> {
        let names = self.catalog.names();
        let mut found: Vec<Arc<ViewHandle>> = views.to_vec();
        let mut next: Vec<RelationId> =
            views.iter().flat_map(|view| view.relation().depends_on.clone()).collect();
        while let Some(id) = next.pop() {
            let Some(used) = names.by_id(id) else { continue };
            if used.running().is_some()
                && let Ok(view) = self.view(id)
                && !found.iter().any(|known| Arc::ptr_eq(known, &view))
            {
                found.push(view);
            }
            next.extend(&used.depends_on);
        }
        found
    }

    fn is_fed_by_connector(&self, relation: &Relation) -> bool {
        let names = self.catalog.names();
        relation.depends_on.iter().filter_map(|id| names.by_id(*id)).any(|used| match &used.kind {
            Kind::Stream(stream) if stream.query.is_some() => false,
            Kind::Stream(stream) => stream.connector.is_some(),
            Kind::View { .. } | Kind::MaterializedView(_) => self.is_fed_by_connector(used),
            Kind::Table(_) | Kind::Sink(_) => false,
        })
    }
}
