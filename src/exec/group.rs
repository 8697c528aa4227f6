//! Views that need each other's results or read one connector: they run one after the other, and
//! beside all other groups.
//!
//! ```text
//!  stream ─▶ a ─▶ b        one group: b takes what a computes in the same epoch
//!        └─▶ c             another
//!  connector ─▶ d, e       another: what the connector has is read and decoded once for both
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::feed::Fresh;
use super::feed::shared::SharedReads;
use super::registry::Engine;
use super::tables::PresentTables;
use super::view::handle::{Phase, ViewHandle};
use super::view::run::{ViewEpoch, ViewRun};
use crate::catalog::RelationId;
use crate::error::{Error, contained};
use crate::log::CommitNo;

/// What a panic is said to have happened in.
pub(super) const PANICKED: &str = "the materialized view";

/// What all views of an epoch have in common.
#[derive(Clone)]
pub(super) struct EpochStart {
    /// How far they read.
    pub cut: CommitNo,
    /// The time, milliseconds since 1970.
    pub now_ms: i64,
    /// The static tables.
    pub tables: Arc<PresentTables>,
    /// Nobody waits for those any more that are not ready.
    pub is_left: Arc<AtomicBool>,
}

/// Some views, in the order of their ids: what is read was made before, so it stands before what
/// reads it.
#[derive(Default)]
pub(super) struct ViewGroup {
    pub runs: Vec<ViewRun>,
    /// What is read together of connectors, if these read any.
    pub shared: Option<SharedReads>,
}

/// What an epoch has brought for the views of a group, nothing of it committed.
#[derive(Default)]
pub(super) struct GroupEpoch {
    /// Of each view, in the order of their ids.
    pub changes: Vec<(ViewRun, ViewEpoch)>,
    /// Views that could not go on, and why.
    pub failed: Vec<(Arc<ViewHandle>, Error)>,
    /// As it was given.
    pub shared: Option<SharedReads>,
}

/// Which views need each other; `runs` are in the order of their ids.
pub(super) fn groups(runs: Vec<ViewRun>, shared: &mut SharedReads) -> Vec<ViewGroup> {
    let mut groups: Vec<ViewGroup> = Vec::new();
    for run in runs {
        let reads_connectors = !run.is_fed_by_log();
        let is_with = |group: &mut ViewGroup| {
            let reads = |other: &ViewRun| {
                let id = other.handle.relation().id;
                run.reads().any(|source| source == id)
            };
            reads_connectors && group.shared.is_some() || group.runs.iter().any(reads)
        };
        // All that it reads belongs together from now on.
        let with: Vec<ViewGroup> = groups.extract_if(.., |group| is_with(group)).collect();
        let mut own = ViewGroup::default();
        for group in with {
            own.runs.extend(group.runs);
            own.shared = own.shared.or(group.shared);
        }
        if reads_connectors && own.shared.is_none() {
            own.shared = Some(SharedReads::default());
        }
        own.runs.push(run);
        groups.push(own);
    }
    for group in &mut groups {
        group.runs.sort_by_key(|run| run.handle.relation().id);
        if let Some(own) = &mut group.shared {
            std::mem::swap(own, shared);
        }
    }
    groups
}

impl ViewGroup {
    /// Their epoch, if there is nothing to be read by any of them.
    pub fn idle(&mut self, engine: &Engine, start: &EpochStart) -> Option<GroupEpoch> {
        // How far they come is asked first: what a view outside of the group publishes after that
        // is read next time, and who waits for it must not be told that it has been.
        let mut done = GroupEpoch::default();
        for run in self.runs.drain(..) {
            let cut = done.cut_of(engine, &run, start.cut);
            done.changes.push((run, ViewEpoch::idle(cut)));
        }
        if done.changes.iter().all(|(run, _)| run.is_idle(start.now_ms)) {
            done.shared = self.shared.take();
            return Some(done);
        }
        self.runs.extend(done.changes.into_iter().map(|(run, _)| run));
        None
    }

    /// Reads and computes.
    pub async fn epoch(self, engine: &Engine, start: &EpochStart) -> GroupEpoch {
        let mut done = GroupEpoch::default();
        let reads_connectors = self.shared.is_some();
        let mut shared = self.shared.unwrap_or_default();
        if let Err(error) = shared.begin(self.runs.iter().flat_map(ViewRun::wishes)) {
            // Then each reads by itself, and the one whose place is damaged says so.
            tracing::error!("connectors are not read together: {error}");
        }
        for mut run in self.runs {
            let cut = done.cut_of(engine, &run, start.cut);
            let fresh: Vec<Fresh<'_>> = run.reads().map(|source| done.fresh_of(source)).collect();
            let are_bases_drained =
                run.reads().all(|source| done.base(source).is_none_or(|base| base.drained));
            let (now, is_left) = (start.now_ms, &start.is_left);
            let epoch = run.epoch(cut, now, start.tables.as_ref(), &fresh, &mut shared, is_left);
            match contained(PANICKED, epoch).await {
                Ok(mut change) => {
                    change.drained &= are_bases_drained;
                    done.changes.push((run, change));
                }
                Err(_) if run.is_stopped() => {}
                Err(error) => done.failed.push((run.handle, error)),
            }
        }
        shared.end();
        done.shared = reads_connectors.then_some(shared);
        done
    }
}

impl GroupEpoch {
    /// What the epoch has brought for a view that is read, if that is in the group.
    fn base(&self, source: RelationId) -> Option<&ViewEpoch> {
        let mut all = self.changes.iter();
        all.find(|(base, _)| base.handle.relation().id == source).map(|(_, change)| change)
    }

    fn fresh_of(&self, source: RelationId) -> Fresh<'_> {
        match self.base(source) {
            Some(change) => Fresh { deltas: &change.deltas, watermark: change.watermark },
            None => Fresh::default(),
        }
    }

    /// How far a view of the group is to read; it comes after what it reads.
    fn cut_of(&self, engine: &Engine, run: &ViewRun, cut: CommitNo) -> CommitNo {
        let of = |source: RelationId| match self.base(source) {
            Some(base) => base.cut,
            None => engine.cut_behind(source, cut),
        };
        run.reads().map(of).min().unwrap_or(cut)
    }
}

impl Engine {
    /// How far a view has read when it has taken everything that its source has, which has
    /// everything up to this commit unless it is a view that has not come there yet. To be asked
    /// before the source is read.
    pub(super) fn cut_behind(&self, source: RelationId, cut: CommitNo) -> CommitNo {
        let Some(view) = self.views.read().get(&source).cloned() else { return cut };
        let phase = view.phase().borrow().clone();
        match phase {
            Phase::CatchingUp | Phase::Running | Phase::Trailing => view.sent_to().min(cut),
            // What does not run does not come there, and nobody waits for it.
            Phase::Paused | Phase::Stalled(_) | Phase::Failed(_) | Phase::Dropped => cut,
        }
    }
}
