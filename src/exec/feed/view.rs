//! Follows a materialized view. What is published comes by subscription; what the view has computed
//! in the very epoch that is being made comes from the epoch loop, so that a view on a view costs
//! no extra round.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::position::{FeedBatch, FeedPosition};
use super::super::stored::{Since, changes_since};
use super::super::view::handle::{Subscription, Update, ViewHandle};
use crate::catalog::RelationId;
use crate::error::{Error, Result, SqlState};
use crate::operators::lateness::{Input, Writes};
use crate::plan::SourceScan;
use crate::state::Delta;
use crate::store::Store;
use crate::time::Watermark;

/// A place in a view's changes.
pub(super) struct ViewFeed {
    /// As which view it was asked for.
    of: RelationId,
    store: Arc<dyn Store>,
    subscription: Subscription,
    /// To be taken first: what was there when the feed was opened.
    first: Vec<Delta>,
    /// Updates that were waited for and not read yet.
    queued: VecDeque<Update>,
    /// Changes up to this epoch of that view have been taken. Never the number of an epoch that did
    /// not change it: numbers of epochs that are made at the same time need not come in order.
    epoch: u64,
    /// Changes were taken whose epoch has no number yet.
    took_fresh: bool,
    /// What the view has come to with what was taken: see
    /// [`ViewVersion::watermark`](super::super::view::handle::ViewVersion::watermark).
    watermark: Option<i64>,
}

/// What the view that is read has computed in the epoch that is being made.
#[derive(Clone, Copy, Default)]
pub struct Fresh<'a> {
    /// Its changes.
    pub deltas: &'a [Delta],
    /// Its watermark after them, see
    /// [`ViewVersion::watermark`](super::super::view::handle::ViewVersion::watermark).
    pub watermark: Option<i64>,
}

impl ViewFeed {
    /// Opens a view at a position; None: with its present rows.
    pub(super) fn open(
        scan: &SourceScan,
        store: &Arc<dyn Store>,
        view: &Arc<ViewHandle>,
        from: Option<&FeedPosition>,
        from_latest: bool,
    ) -> Result<ViewFeed> {
        let of = scan.relation.id;
        let (version, subscription) = view.subscribe(of);
        let mut first = Vec::new();
        match from {
            Some(FeedPosition::View { epoch }) => {
                first = changes_up_to(store.as_ref(), view, *epoch, version.epoch)?;
            }
            Some(
                FeedPosition::Log { .. } | FeedPosition::Source { .. } | FeedPosition::Table { .. },
            ) => {
                return Err(Error::internal("a view at a stream's position"));
            }
            None if from_latest && scan.retracts() => {
                let name = &scan.relation.name;
                return Err(Error::unsupported(format!(
                    "scan_startup = latest over \"{name}\", whose rows change, is not supported"
                ))
                .hint("Start from the earliest row."));
            }
            None if from_latest => {}
            None => first.extend(version.rows.batches()?.into_iter().map(Delta::insert)),
        }
        Ok(ViewFeed {
            of,
            store: Arc::clone(store),
            subscription,
            first,
            queued: VecDeque::new(),
            epoch: version.epoch,
            took_fresh: false,
            watermark: version.watermark,
        })
    }

    /// Takes what the view has computed in the epoch that is being made.
    pub(super) fn take_fresh(&mut self, fresh: Fresh<'_>, columns: &[usize]) -> Result<Vec<Input>> {
        self.took_fresh |= !fresh.deltas.is_empty();
        self.watermark = self.watermark.max(fresh.watermark);
        fresh.deltas.iter().map(|delta| input(delta, columns)).collect()
    }

    /// The epoch in which [`Self::take_fresh`] brought something has been given its number.
    pub(super) fn reached_epoch(&mut self, epoch: u64) {
        if std::mem::take(&mut self.took_fresh) {
            self.epoch = epoch;
        }
    }

    /// Waits until a change is published; false: there will be none, the server is going down.
    pub(super) async fn changed(&mut self) -> bool {
        match self.subscription.next().await {
            Some(update) => {
                self.queued.push_back(update);
                true
            }
            None => false,
        }
    }

    /// All that has been published and not been taken.
    pub(super) fn read(&mut self, columns: &[usize]) -> Result<FeedBatch> {
        self.watermark = self.watermark.max(self.subscription.view().version().watermark);
        let mut inputs = Vec::new();
        for delta in self.first.drain(..) {
            inputs.push(input(&delta, columns)?);
        }
        while let Some(update) = self.queued.pop_front().or_else(|| self.subscription.try_next()) {
            match update {
                Update::Epoch(epoch, deltas) if epoch > self.epoch => {
                    self.epoch = epoch;
                    for delta in deltas.iter() {
                        inputs.push(input(delta, columns)?);
                    }
                }
                Update::Epoch(..) => {}
                Update::Overrun(_) => {
                    // What did not fit into the queue is in the store.
                    let view = self.subscription.view();
                    let (version, subscription) = view.subscribe(self.of);
                    for delta in
                        changes_up_to(self.store.as_ref(), &view, self.epoch, version.epoch)?
                    {
                        inputs.push(input(&delta, columns)?);
                    }
                    (self.subscription, self.epoch) = (subscription, self.epoch.max(version.epoch));
                }
                Update::Ended(error) => return Err(error),
            }
        }
        Ok(FeedBatch { inputs, drained: true, ..FeedBatch::default() })
    }

    /// Whether nothing has been published that is to be taken.
    pub(super) fn is_idle(&self) -> bool {
        self.first.is_empty() && self.queued.is_empty() && self.subscription.is_empty()
    }

    /// What the view has come to with what was taken.
    pub(super) fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// The query whose answer the view is.
    pub(super) fn query(&self) -> RelationId {
        self.subscription.view().relation().id
    }

    /// Where it stands.
    pub(super) fn position(&self) -> FeedPosition {
        FeedPosition::View { epoch: self.epoch }
    }
}

/// What the store has of a view's changes after one epoch, up to another.
fn changes_up_to(
    store: &dyn Store,
    view: &ViewHandle,
    after: u64,
    upto: u64,
) -> Result<Vec<Delta>> {
    match changes_since(store, view.relation().id, after)? {
        Since::Changes(changes) => {
            Ok(changes.into_iter().filter(|(at, _)| *at <= upto).map(|(_, delta)| delta).collect())
        }
        Since::Gone { oldest } => Err(Error::new(
            SqlState::LimitExceeded,
            "the query fell too far behind the view it reads",
        )
        .detail(format!("It has read up to epoch {after}; changes are kept from {oldest} on."))),
    }
}

fn input(delta: &Delta, columns: &[usize]) -> Result<Input> {
    Ok(Input {
        batch: delta.batch.project(columns)?,
        writes: Writes::Runs(Vec::new()),
        after: Watermark::NONE,
        weights: delta.weights.clone(),
    })
}
