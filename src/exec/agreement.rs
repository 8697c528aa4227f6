//! A statement that reads several views sees all of them as of one commit, also when one of them
//! trails.
//!
//! Running views are at one commit anyway, that of their last common epoch, and one that trails has
//! not come so far. So the statement names a commit that none of them is beyond, and each view ends
//! an epoch of its own accord when it has come just there. Its version is kept for the statement,
//! and it goes on: nobody waits for anybody but the statement.
//!
//! A view that trails behind another view is read as it is. To keep it in step, the other would
//! have to wait for it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::messages::Agreement;
use super::registry::Engine;
use super::versions::ReadSnapshot;
use super::view::handle::{Phase, ViewHandle};
use crate::catalog::{Kind, RelationId};
use crate::clock::timeout;
use crate::log::CommitNo;

/// How often it is looked whether all of them still run.
const ROUND: Duration = Duration::from_millis(20);

impl Agreement {
    fn waits_for(&self, view: RelationId) -> bool {
        matches!(self.versions.lock().get(&view), Some(None))
    }
}

/// Takes the agreement off the list, however the statement ends.
struct Asking<'e> {
    engine: &'e Engine,
    agreement: Arc<Agreement>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.engine.agreements.lock().retain(|other| !Arc::ptr_eq(other, &self.agreement));
    }
}

impl Engine {
    /// How far these views read next: to the last commit, or to one that a statement wants them at.
    pub(super) fn next_cut(&self, views: impl Iterator<Item = RelationId> + Clone) -> CommitNo {
        let agreements = self.agreements.lock();
        let last = self.journal.last();
        let wanted =
            |agreement: &&Arc<Agreement>| views.clone().any(|view| agreement.waits_for(view));
        let cuts = agreements.iter().filter(wanted).map(|agreement| agreement.cut);
        cuts.min().unwrap_or(last)
    }

    /// A view has published what it has computed up to this commit.
    pub(super) fn came_to(&self, view: &ViewHandle, commit: CommitNo) {
        for agreement in self.agreements.lock().iter().filter(|agreement| agreement.cut == commit) {
            if let Some(version @ None) = agreement.versions.lock().get_mut(&view.relation().id) {
                *version = Some(view.version());
                agreement.came.notify_one();
            }
        }
    }

    /// The versions of everything as they are now, of these views as of one commit. Call
    /// [`Engine::sync`] first.
    pub async fn snapshot_of(&self, views: &[Arc<ViewHandle>]) -> ReadSnapshot {
        if views.len() < 2 || !views.iter().any(|view| *view.phase().borrow() == Phase::Trailing) {
            return self.snapshot_behind(views);
        }
        let asking = self.ask(views);
        loop {
            // One that runs no more is read as it is, and so is one that follows a view that
            // trails, and has passed by.
            let has_passed = |view: &ViewHandle| view.version().commit > asking.agreement.cut;
            for view in views.iter().filter(|view| !self.is_in_step(view) || has_passed(view)) {
                if let Some(version @ None) =
                    asking.agreement.versions.lock().get_mut(&view.relation().id)
                {
                    *version = Some(view.version());
                }
            }
            if asking.agreement.versions.lock().values().all(Option::is_some) {
                break;
            }
            timeout(self.clock(), ROUND, asking.agreement.came.notified()).await;
        }
        let mut snapshot = self.snapshot_behind(views);
        snapshot.commit = asking.agreement.cut;
        let versions = asking.agreement.versions.lock();
        snapshot
            .views
            .extend(versions.iter().filter_map(|(id, version)| Some((*id, version.clone()?))));
        snapshot
    }

    fn ask<'e>(&'e self, views: &[Arc<ViewHandle>]) -> Asking<'e> {
        let mut agreements = self.agreements.lock();
        let cut = self.journal.last();
        let there = |view: &Arc<ViewHandle>| {
            let version = view.version();
            (view.relation().id, (version.commit == cut).then_some(version))
        };
        let versions = Mutex::new(views.iter().map(there).collect());
        let agreement = Arc::new(Agreement { cut, versions, came: Notify::new() });
        agreements.push(Arc::clone(&agreement));
        drop(agreements);
        Asking { engine: self, agreement }
    }

    /// Whether a view comes to every commit: it takes part in the common epochs, or trails behind a
    /// stream.
    fn is_in_step(&self, view: &ViewHandle) -> bool {
        let is_lone = match &*view.phase().borrow() {
            Phase::Running => return true,
            Phase::Trailing => true,
            _ => false,
        };
        let Some(places) = view.places().filter(|_| is_lone) else { return false };
        let names = self.catalog.names();
        let is_stream = |(id, _): &(RelationId, u64)| {
            let source = names.by_id(*id);
            source.is_some_and(|source| !matches!(source.kind, Kind::MaterializedView(_)))
        };
        places.iter().all(is_stream)
    }
}
