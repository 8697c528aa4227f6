//! Waiting for views: a session reads its own writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::messages::{Command, Waiting};
use super::registry::Engine;
use super::view::handle::{Phase, ViewHandle};
use crate::catalog::{Kind, Relation, RelationId};
use crate::clock;
use crate::error::{Error, Result, SqlState};
use crate::log::CommitNo;

/// How long figures about all views wait for those that catch up: a view over little history is through by then.
const PATIENCE: Duration = Duration::from_millis(500);

impl Engine {
    /// Waits until these views hold everything that was committed before the call.
    pub async fn sync(&self, views: &[Arc<ViewHandle>]) -> Result<()> {
        let target = self.journal.last();
        let views = self.with_bases(views);
        for view in &views {
            let mut phase = view.phase();
            let caught_up = phase.wait_for(|phase| *phase != Phase::CatchingUp).await;
            match caught_up.map(|phase| phase.clone()).unwrap_or(Phase::Dropped) {
                Phase::Failed(failure) => return Err(failure.error(&view.relation().name)),
                Phase::Dropped => return Err(self.catalog.names().missing(&view.relation().name)),
                Phase::Paused | Phase::Stalled(_) | Phase::CatchingUp | Phase::Running => {}
            }
        }
        self.reach(target, &views).await?;
        for view in views {
            if let Phase::Failed(failure) = &*view.phase().borrow() {
                return Err(failure.error(&view.relation().name));
            }
        }
        Ok(())
    }

    /// Waits until every view that runs holds everything that was committed before the call. One that is paused or has
    /// failed holds nobody up, and one that catches up not for long: it is to be seen that it does.
    pub async fn sync_all(&self) -> Result<()> {
        let target = self.journal.last();
        let views = self.views();
        let caught_up = async {
            for view in &views {
                // A view that goes away catches up no more.
                let _ = view.phase().wait_for(|phase| *phase != Phase::CatchingUp).await;
            }
        };
        let _ = clock::timeout(self.clock(), PATIENCE, caught_up).await;
        self.reach(target, &views).await
    }

    /// Waits, once for all of them, until those of the views that run have come to the target.
    async fn reach(&self, target: CommitNo, views: &[Arc<ViewHandle>]) -> Result<()> {
        let waits = |view: &&Arc<ViewHandle>| {
            *view.phase().borrow() == Phase::Running
                && (view.version().commit < target || self.is_fed_by_connector(&view.relation()))
        };
        let views: Vec<RelationId> = views.iter().filter(waits).map(|view| view.relation().id).collect();
        if views.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let stopped = || Error::new(SqlState::ShuttingDown, "the server is shutting down");
        self.commands.send(Command::Sync(Waiting { target, views, answer })).map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())
    }

    /// These views and all that they read: what is behind in a view that is read is behind in those on it.
    fn with_bases(&self, views: &[Arc<ViewHandle>]) -> Vec<Arc<ViewHandle>> {
        let names = self.catalog.names();
        let mut found: Vec<Arc<ViewHandle>> = views.to_vec();
        let mut next: Vec<RelationId> =
            views.iter().flat_map(|view| view.relation().depends_on.clone()).collect();
        while let Some(id) = next.pop() {
            let Some(used) = names.by_id(id) else { continue };
            if let Kind::MaterializedView(_) = used.kind
                && let Ok(view) = self.view(id)
                && !found.iter().any(|known| known.relation().id == id)
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
            Kind::Stream(stream) => stream.connector.is_some(),
            Kind::View { .. } | Kind::MaterializedView(_) => self.is_fed_by_connector(used),
            Kind::Table(_) => false,
        })
    }
}
