//! Follows an embedded log: whole commits, with the watermarks that the log has stamped.

use crate::error::{Error, Result};
use crate::log::{CommitNo, Journal, LogBlock, LogReader, Position, StreamId};
use crate::operators::lateness::{Input, Writes};
use crate::plan::SourceScan;
use crate::time::Watermark;

use super::super::position::{FeedBatch, FeedPosition, Start};

/// A place in a stream's log.
pub(super) struct LogFeed {
    reader: LogReader,
    /// The commit in which the last reading ended, if there is more of it: it is read to its end
    /// next.
    open: Option<CommitNo>,
    /// The end of the stream when all of it had been read.
    seen: Option<(u64, CommitNo)>,
    /// The last commit of which everything has been read.
    read_to: CommitNo,
}

impl LogFeed {
    /// Opens a log at a position; None: where `start` says.
    pub(super) fn open(
        scan: &SourceScan,
        journal: &Journal,
        from: Option<&FeedPosition>,
        start: Start,
    ) -> Result<LogFeed> {
        let position = match (from, start) {
            (Some(FeedPosition::Log { offset }), _) => Position::Offset(*offset),
            (
                Some(
                    FeedPosition::Source { .. }
                    | FeedPosition::View { .. }
                    | FeedPosition::Table { .. },
                ),
                _,
            ) => {
                return Err(Error::internal("a log at another source's position"));
            }
            (None, Start::Earliest) => Position::Earliest,
            (None, Start::Latest { after, .. }) => Position::After(after),
        };
        let stream = StreamId(scan.relation.id.0);
        let reader = journal.reader_of(stream, position, scan.columns.clone())?;
        Ok(LogFeed { reader, open: None, seen: None, read_to: CommitNo(0) })
    }

    /// What there is up to the commit, about `max_rows` at the most: to the end of a commit, but
    /// that in parts, since a commit may be larger than what is to be in memory at one time.
    pub(super) fn read(&mut self, upto: CommitNo, max_rows: usize) -> Result<FeedBatch> {
        let end = self.reader.end()?;
        let mut blocks = self.reader.read(self.open.unwrap_or(upto), max_rows)?;
        let drained = self.open.is_none() && !self.reader.has_more();
        if self.open.is_none()
            && !drained
            && let Some(last) = blocks.last().and_then(|block| block.writes.last())
        {
            // The rest of the commit in which the reading ended.
            let commit = last.commit;
            blocks.extend(self.reader.read(commit, max_rows)?);
            self.open = Some(commit);
        }
        if !self.reader.has_more() {
            self.open = None;
        }
        if drained && end.1 <= upto {
            self.seen = Some(end);
        }
        if let (None, Some(last)) = (self.open, blocks.last().and_then(|block| block.writes.last()))
        {
            self.read_to = last.commit;
        }
        let inputs: Vec<Input> = blocks.into_iter().map(input).collect();
        let ended = inputs.last().is_some_and(|input| input.after == Watermark::INFINITY);
        Ok(FeedBatch { inputs, rejected: Vec::new(), drained, is_cut: self.open.is_some(), ended })
    }

    /// Whether there is nothing to be read.
    pub(super) fn is_idle(&self) -> bool {
        self.seen.is_some() && self.reader.end().ok() == self.seen
    }

    /// The last commit to the stream of which everything has been read since the feed was opened.
    pub(super) fn read_to(&self) -> CommitNo {
        self.read_to
    }

    /// How many rows were forgotten before they were read.
    pub(super) fn forgotten(&self) -> u64 {
        self.reader.forgotten()
    }

    /// Where it stands.
    pub(super) fn position(&self) -> FeedPosition {
        FeedPosition::Log { offset: self.reader.position() }
    }
}

fn input(block: LogBlock) -> Input {
    let after = block.writes.last().map_or(Watermark::NONE, |write| write.watermark_after);
    let writes = block.writes.iter().map(|write| (write.end_row, write.watermark_before)).collect();
    Input { batch: block.batch, writes: Writes::Runs(writes), after, weights: None }
}
