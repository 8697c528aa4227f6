//! Follows an embedded log: whole commits, with the watermarks that the log has stamped.

use crate::error::{Error, Result};
use crate::log::{CommitNo, Journal, LogBlock, LogReader, Position, StreamId};
use crate::operators::lateness::{Input, Writes};
use crate::plan::SourceScan;
use crate::time::Watermark;

use super::super::position::{FeedBatch, FeedPosition, Start};

/// A place in a stream's log.
pub(super) struct LogFeed(LogReader);

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
            (Some(FeedPosition::Source { .. } | FeedPosition::View { .. }), _) => {
                return Err(Error::internal("a log at another source's position"));
            }
            (None, Start::Earliest) => Position::Earliest,
            (None, Start::Latest { after, .. }) => Position::After(after),
        };
        journal.reader(StreamId(scan.relation.id.0), position).map(LogFeed)
    }

    /// What there is up to the commit, about `max_rows` at the most (to the end of a commit).
    pub(super) fn read(&mut self, upto: CommitNo, max_rows: usize, columns: &[usize]) -> Result<FeedBatch> {
        let mut blocks = self.0.read(upto, max_rows)?;
        let rows: usize = blocks.iter().map(|block| block.batch.num_rows()).sum();
        if let Some(last) = blocks.last().and_then(|block| block.writes.last()) {
            // The rest of the commit in which the reading ended.
            let commit = last.commit;
            blocks.extend(self.0.read(commit, usize::MAX)?);
        }
        let inputs = blocks.iter().map(|block| input(block, columns)).collect::<Result<Vec<_>>>()?;
        let ended = inputs.last().is_some_and(|input| input.after == Watermark::INFINITY);
        Ok(FeedBatch { inputs, rejected: Vec::new(), drained: rows < max_rows, ended })
    }

    /// Where it stands.
    pub(super) fn position(&self) -> FeedPosition {
        FeedPosition::Log { offset: self.0.position() }
    }
}

fn input(block: &LogBlock, columns: &[usize]) -> Result<Input> {
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
