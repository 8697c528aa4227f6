//! Brings a pipeline its source's rows: from an embedded log, or from a connector that can be read again.
//!
//! A feed stands at a position that can be stored and come back to. For an embedded log its portions end where commits end, so that
//! a write is never taken half, and with it go the watermarks that the log has stamped. For a connector each record is a write
//! of its own, and the watermark is computed here, from the records alone.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::arrow::array::Int64Array;
use datafusion::arrow::compute::max;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::lateness::{Input, Writes, ticks};
use super::stored::{Since, changes_since};
use super::view::{Subscription, Update, ViewHandle};
use crate::catalog::{Kind, Relation};
use crate::connect::{Rejected, Source, SourceOffset, SourceReader};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::log::{CommitNo, Journal, LogBlock, LogReader, Position, StreamId};
use crate::plan::SourceScan;
use crate::state::Delta;
use crate::store::Store;
use crate::time::{EventTime, Watermark};

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
    },
}

/// One portion.
#[derive(Default)]
pub struct Portion {
    /// The rows.
    pub inputs: Vec<Input>,
    /// Records of a connector that were no rows.
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

struct SourceFeed {
    reader: Box<dyn SourceReader>,
    /// The time column's place in the reader's batches, and the delay.
    time: Option<(usize, i64)>,
    /// How many of the reader's columns the pipeline wants; the time column may follow them.
    wanted: usize,
    watermark: Watermark,
    ended: bool,
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

    /// The epoch in which [`Self::take_fresh`] was called has been given its number.
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

    /// Opens a stream at a position; None: at the beginning.
    pub fn open(
        scan: &SourceScan,
        journal: &Journal,
        source: Option<&Arc<dyn Source>>,
        from: Option<&FeedPosition>,
        from_latest: bool,
    ) -> Result<Feed> {
        let columns = scan.columns.clone();
        let kind = match source {
            None => {
                let position = match from {
                    Some(FeedPosition::Log { offset }) => Position::Offset(*offset),
                    Some(FeedPosition::Source { .. } | FeedPosition::View { .. }) => {
                        return Err(Error::internal("a log at another source's position"));
                    }
                    None if from_latest => Position::Latest,
                    None => Position::Earliest,
                };
                FeedKind::Log(journal.reader(StreamId(scan.relation.id.0), position)?)
            }
            Some(source) => FeedKind::Source(Box::new(SourceFeed::open(scan, source, from)?)),
        };
        Ok(Feed { kind, columns })
    }

    /// What there is up to the cut, about `max_rows` at the most (to the end of a commit).
    pub fn read(&mut self, upto: CommitNo, now_ms: i64, max_rows: usize) -> Result<Portion> {
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
            FeedKind::Source(source) => source.read(now_ms, max_rows),
            FeedKind::View(view) => view.read(&self.columns),
        }
    }

    /// Where it stands.
    pub fn position(&self) -> FeedPosition {
        match &self.kind {
            FeedKind::Log(reader) => FeedPosition::Log { offset: reader.position() },
            FeedKind::Source(source) => FeedPosition::Source {
                offset: source.reader.offset().as_bytes().to_vec(),
                watermark: source.watermark.0,
                ended: source.ended,
            },
            FeedKind::View(view) => FeedPosition::View { epoch: view.epoch },
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

impl SourceFeed {
    fn open(scan: &SourceScan, source: &Arc<dyn Source>, from: Option<&FeedPosition>) -> Result<SourceFeed> {
        let (offset, watermark, ended) = match from {
            None => (SourceOffset::default(), Watermark::NONE, false),
            Some(FeedPosition::Source { offset, watermark, ended }) => {
                (SourceOffset::from_bytes(offset.clone()), Watermark(*watermark), *ended)
            }
            Some(FeedPosition::Log { .. } | FeedPosition::View { .. }) => {
                return Err(Error::internal("a connector at another source's position"));
            }
        };
        let mut columns = scan.columns.clone();
        let wanted = columns.len();
        let time = match watermark_of(&scan.relation) {
            None => None,
            Some((column, delay)) => {
                let at = columns.iter().position(|known| *known == column).unwrap_or_else(|| {
                    columns.push(column);
                    columns.len() - 1
                });
                Some((at, delay))
            }
        };
        Ok(SourceFeed { reader: source.reader(offset, Some(&columns))?, time, wanted, watermark, ended })
    }

    fn read(&mut self, now_ms: i64, max_rows: usize) -> Result<Portion> {
        let mut portion = Portion { ended: self.ended, drained: true, ..Portion::default() };
        if self.ended {
            return Ok(portion);
        }
        let mut left = max_rows;
        loop {
            let read = self.reader.read(now_ms, left.min(limits::BATCH_ROWS * 8))?;
            let rows = read.batch.num_rows();
            let taken = rows + read.rejected.len();
            portion.rejected.extend(read.rejected);
            self.ended = read.ended;
            if rows > 0 || self.ended {
                portion.inputs.push(self.input(&read.batch)?);
            }
            left = left.saturating_sub(taken);
            portion.drained = taken == 0 || self.ended;
            portion.ended = self.ended;
            if portion.drained || left == 0 {
                return Ok(portion);
            }
        }
    }

    fn input(&mut self, batch: &datafusion::arrow::array::RecordBatch) -> Result<Input> {
        let before = self.watermark;
        let (times, delay) = match self.time {
            None => (Int64Array::new_null(batch.num_rows()), 0),
            Some((column, delay)) => {
                let times = ticks(batch, column)?;
                if let Some(greatest) = max(&times) {
                    self.watermark = self.watermark.after(EventTime(greatest), delay);
                }
                (times, delay)
            }
        };
        if self.ended {
            // All of a bounded input has been seen: its last windows close.
            self.watermark = Watermark::INFINITY;
        }
        debug_assert_eq!(times.len(), batch.num_rows());
        Ok(Input {
            batch: batch.project(&(0..self.wanted).collect::<Vec<_>>())?,
            writes: Writes::Each { before, delay, times },
            after: self.watermark,
            weights: None,
        })
    }
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
