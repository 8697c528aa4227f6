//! Brings a pipeline its source's rows: from an embedded log, or from a connector that can be read again.
//!
//! A feed stands at a position that can be stored and come back to. For an embedded log its portions end where commits end, so that
//! a write is never taken half, and with it go the watermarks that the log has stamped. Connectors are read by [`SourceFeed`].

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::lateness::{Input, Writes};
use super::shared::{SharedReads, Wish};
use super::source_feed::{SourceFeed, Standing};
use super::stored::{Since, changes_since};
use super::view::{Subscription, Update, ViewHandle};
use crate::catalog::{Kind, Relation};
use crate::connect::{Rejected, Source};
use crate::error::{Error, Result, SqlState};
use crate::log::{CommitNo, Journal, LogBlock, LogReader, Position, StreamId};
use crate::plan::SourceScan;
use crate::state::Delta;
use crate::store::Store;
use crate::time::Watermark;

/// A place in a source that a feed can go on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedPosition {
    /// The next row of an embedded log.
    Log {
        /// Its offset.
        offset: u64,
    },
    /// A materialized view: its changes up to this epoch have been taken.
    View {
        /// The epoch.
        epoch: u64,
    },
    /// Where a connector's reader stood, and the watermark it had brought.
    Source {
        /// Opaque.
        offset: Vec<u8>,
        /// In ticks.
        watermark: i64,
        /// A bounded input had been read to its end.
        ended: bool,
        /// The greatest event time, ticks.
        #[serde(default)]
        last_event: Option<i64>,
    },
}

/// Where a query begins that has not read anything yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest row that is retained.
    Earliest,
    /// Behind what was there: `scan_startup = 'latest'`.
    Latest {
        /// Of an embedded log: behind this commit.
        after: CommitNo,
        /// Of a connector: behind what has arrived by then.
        now_ms: i64,
    },
}

/// One portion.
#[derive(Default)]
pub struct Portion {
    /// The rows.
    pub inputs: Vec<Input>,
    /// Records of a connector that are kept aside.
    pub rejected: Vec<Rejected>,
    /// There was nothing more (up to the cut).
    pub drained: bool,
    /// There will never be more.
    pub ended: bool,
}

/// Reads a source for one pipeline.
pub struct Feed {
    kind: FeedKind,
    columns: Vec<usize>,
}

enum FeedKind {
    Log(LogReader),
    Source(Box<SourceFeed>),
    View(Box<ViewFeed>),
}

/// Follows a materialized view. What is published comes by subscription; what the view has computed in the very epoch that
/// is being made comes from the epoch loop, so that a view on a view costs no extra round.
struct ViewFeed {
    view: Arc<ViewHandle>,
    store: Arc<dyn Store>,
    subscription: Subscription,
    /// To be taken first: what was there when the feed was opened.
    first: Vec<Delta>,
    /// Updates that were waited for and not read yet.
    queued: VecDeque<Update>,
    /// Changes up to this epoch of that view have been taken. Never the number of an epoch that did not change it: numbers of
    /// epochs that are made at the same time need not come in order.
    epoch: u64,
    /// Changes were taken whose epoch has no number yet.
    took_fresh: bool,
}

impl Feed {
    /// Opens a view at a position; None: with its present rows.
    pub fn of_view(
        scan: &SourceScan,
        store: &Arc<dyn Store>,
        view: &Arc<ViewHandle>,
        from: Option<&FeedPosition>,
        from_latest: bool,
    ) -> Result<Feed> {
        let (version, subscription) = view.subscribe();
        let mut first = Vec::new();
        match from {
            Some(FeedPosition::View { epoch }) => {
                first = changes_up_to(store.as_ref(), view, *epoch, version.epoch)?;
            }
            Some(_) => return Err(Error::internal("a view at a stream's position")),
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
        let feed = ViewFeed {
            view: Arc::clone(view),
            store: Arc::clone(store),
            subscription,
            first,
            queued: VecDeque::new(),
            epoch: version.epoch,
            took_fresh: false,
        };
        Ok(Feed { kind: FeedKind::View(Box::new(feed)), columns: scan.columns.clone() })
    }

    /// Gives a view's feed what its view has computed in the epoch that is being made.
    pub fn take_fresh(&mut self, deltas: &[Delta]) -> Result<Vec<Input>> {
        match &mut self.kind {
            FeedKind::View(view) => {
                view.took_fresh |= !deltas.is_empty();
                deltas.iter().map(|delta| view_input(delta, &self.columns)).collect()
            }
            FeedKind::Log(_) | FeedKind::Source(_) => Ok(Vec::new()),
        }
    }

    /// The epoch in which [`Self::take_fresh`] brought something has been given its number.
    pub fn reached_epoch(&mut self, epoch: u64) {
        if let FeedKind::View(view) = &mut self.kind
            && std::mem::take(&mut view.took_fresh)
        {
            view.epoch = epoch;
        }
    }

    /// Waits until there may be more to read: a commit, or of a view a change that has been published, which is later. False:
    /// there will be no more, the server is going down.
    pub async fn changed(&mut self, commits: &mut watch::Receiver<CommitNo>) -> bool {
        match &mut self.kind {
            FeedKind::View(view) => match view.subscription.next().await {
                Some(update) => {
                    view.queued.push_back(update);
                    true
                }
                None => false,
            },
            FeedKind::Log(_) | FeedKind::Source(_) => commits.changed().await.is_ok(),
        }
    }

    /// Opens a stream at a position; None: where `start` says.
    pub fn open(
        scan: &SourceScan,
        journal: &Journal,
        source: Option<&Arc<dyn Source>>,
        from: Option<&FeedPosition>,
        start: Start,
    ) -> Result<Feed> {
        let columns = scan.columns.clone();
        let kind = match source {
            None => {
                let position = match from {
                    Some(FeedPosition::Log { offset }) => Position::Offset(*offset),
                    Some(FeedPosition::Source { .. } | FeedPosition::View { .. }) => {
                        return Err(Error::internal("a log at another source's position"));
                    }
                    None => match start {
                        Start::Earliest => Position::Earliest,
                        Start::Latest { after, .. } => Position::After(after),
                    },
                };
                FeedKind::Log(journal.reader(StreamId(scan.relation.id.0), position)?)
            }
            Some(source) => {
                let mut feed = SourceFeed::open(scan, source, from)?;
                if let (None, Start::Latest { now_ms, .. }) = (from, start) {
                    feed.skip_to_latest(now_ms)?;
                }
                FeedKind::Source(Box::new(feed))
            }
        };
        Ok(Feed { kind, columns })
    }

    /// What there is up to the cut, about `max_rows` at the most (to the end of a commit); of a connector together with
    /// the others of an epoch.
    pub fn read(
        &mut self,
        upto: CommitNo,
        now_ms: i64,
        max_rows: usize,
        shared: Option<&mut SharedReads>,
    ) -> Result<Portion> {
        match &mut self.kind {
            FeedKind::Log(reader) => {
                let mut blocks = reader.read(upto, max_rows)?;
                let rows: usize = blocks.iter().map(|block| block.batch.num_rows()).sum();
                if let Some(last) = blocks.last().and_then(|block| block.writes.last()) {
                    // The rest of the commit in which the portion ended.
                    let commit = last.commit;
                    blocks.extend(reader.read(commit, usize::MAX)?);
                }
                let inputs =
                    blocks.iter().map(|block| log_input(block, &self.columns)).collect::<Result<Vec<_>>>()?;
                let ended = inputs.last().is_some_and(|input| input.after == Watermark::INFINITY);
                Ok(Portion { inputs, rejected: Vec::new(), drained: rows < max_rows, ended })
            }
            FeedKind::Source(source) => source.read(now_ms, max_rows, shared),
            FeedKind::View(view) => view.read(&self.columns),
        }
    }

    /// Where it stands.
    pub fn position(&self) -> FeedPosition {
        match &self.kind {
            FeedKind::Log(reader) => FeedPosition::Log { offset: reader.position() },
            FeedKind::Source(source) => source.position(),
            FeedKind::View(view) => FeedPosition::View { epoch: view.epoch },
        }
    }

    /// What it would read next, if that is of a connector.
    pub fn wish(&self) -> Option<Wish> {
        match &self.kind {
            FeedKind::Source(source) => source.wish(),
            FeedKind::Log(_) | FeedKind::View(_) => None,
        }
    }

    /// How far it has come in a connector.
    pub fn standing(&self) -> Option<Standing> {
        match &self.kind {
            FeedKind::Source(source) => Some(source.standing()),
            FeedKind::Log(_) | FeedKind::View(_) => None,
        }
    }

    /// Whether new rows announce themselves by a commit; a connector has to be asked. (A view announces itself by the
    /// commit of its epoch.)
    pub fn is_log(&self) -> bool {
        matches!(self.kind, FeedKind::Log(_) | FeedKind::View(_))
    }
}

fn log_input(block: &LogBlock, columns: &[usize]) -> Result<Input> {
    let after = block.writes.last().map_or(Watermark::NONE, |write| write.watermark_after);
    Ok(Input {
        batch: block.batch.project(columns)?,
        writes: Writes::Runs(
            block.writes.iter().map(|write| (write.end_row, write.watermark_before)).collect(),
        ),
        after,
        weights: None,
    })
}

impl ViewFeed {
    fn read(&mut self, columns: &[usize]) -> Result<Portion> {
        let mut inputs = Vec::new();
        for delta in self.first.drain(..) {
            inputs.push(view_input(&delta, columns)?);
        }
        while let Some(update) = self.queued.pop_front().or_else(|| self.subscription.try_next()) {
            match update {
                Update::Epoch(epoch, deltas) if epoch > self.epoch => {
                    self.epoch = epoch;
                    for delta in deltas.iter() {
                        inputs.push(view_input(delta, columns)?);
                    }
                }
                Update::Epoch(..) => {}
                Update::Overrun(_) => {
                    // What did not fit into the queue is in the store.
                    let (version, subscription) = self.view.subscribe();
                    for delta in changes_up_to(self.store.as_ref(), &self.view, self.epoch, version.epoch)? {
                        inputs.push(view_input(&delta, columns)?);
                    }
                    (self.subscription, self.epoch) = (subscription, self.epoch.max(version.epoch));
                }
                Update::Ended(error) => return Err(error),
            }
        }
        Ok(Portion { inputs, drained: true, ..Portion::default() })
    }
}

/// What the store has of a view's changes after one epoch, up to another.
fn changes_up_to(store: &dyn Store, view: &ViewHandle, after: u64, upto: u64) -> Result<Vec<Delta>> {
    match changes_since(store, view.relation().id, after)? {
        Since::Changes(changes) => {
            Ok(changes.into_iter().filter(|(at, _)| *at <= upto).map(|(_, delta)| delta).collect())
        }
        Since::Gone { oldest } => {
            Err(Error::new(SqlState::LimitExceeded, "the query fell too far behind the view it reads")
                .detail(format!("It has read up to epoch {after}; changes are kept from {oldest} on.")))
        }
    }
}

fn view_input(delta: &Delta, columns: &[usize]) -> Result<Input> {
    Ok(Input {
        batch: delta.batch.project(columns)?,
        writes: Writes::Runs(Vec::new()),
        after: Watermark::NONE,
        weights: delta.weights.clone(),
    })
}

/// The time column and delay of a stream.
pub fn watermark_of(relation: &Relation) -> Option<(usize, i64)> {
    match &relation.kind {
        Kind::Stream(stream) => {
            stream.watermark.as_ref().map(|watermark| (watermark.column, watermark.delay))
        }
        _ => None,
    }
}
