//! Joins small blocks of logs in the store, in the background.
//!
//! A row that is inserted by itself is a block by itself, which takes many times the room of its
//! values and as often the work of reading it. So when a stream has gathered
//! [`limits::JOINED_BLOCKS`] of them they become one, and this one is joined with the next of its
//! size, as in a binary counter: a row is copied a few times and blocks come to the size of a
//! batch.
//!
//! ```text
//! keys   (0,c1) (1,c2) (2,c3) … (63,c64)          one commit of the store: the value of (0,c1) is
//!           └──────┴──────┴───────┘                replaced by that of all, the other keys go
//!                 (0,c1)
//! ```
//! Offsets, commits and the watermarks of every write stay as they are: the joined block has the
//! same writes. It becomes durable by the commit thread like any change, whole or not at all. One
//! thing at a time takes blocks away (`Shared::upkeep`): joining, or retention, which both look
//! first and commit then. Dropping a stream takes all keys that are there when it commits.

use std::sync::Arc;

use super::fold::{BlockSize, fold};
use super::shared::Shared;
use super::transaction::{JoinedBlock, StreamChange, Transaction};
use super::{CommitNo, Journal, LogBlock, StreamId, StreamSpec, block};
use crate::error::{Result, SqlState};
use crate::limits;
use crate::store::Space;

/// A retention is kept to by whole blocks: a joined one may be at most this part of it, in time and
/// in bytes.
const RETENTION_SHARE: u64 = 16;

/// How many blocks of a stream one round looks at.
const ROUND_BLOCKS: usize = 65_536;

/// Blocks of the store that follow each other, before their values are read.
#[derive(Debug, Clone, Copy)]
struct BlockRun {
    /// Which of the keys that were looked at is the first.
    first: usize,
    blocks: usize,
    size: BlockSize,
}

/// Which runs to join. `rows`: of each block; `row_bytes`: of a row, about.
fn runs(rows: &[usize], row_bytes: usize) -> Vec<BlockRun> {
    let mut runs: Vec<BlockRun> = Vec::new();
    let mut loose = 0;
    for (at, rows) in rows.iter().enumerate() {
        let size = BlockSize { rows: *rows, bytes: rows.saturating_mul(row_bytes) };
        runs.push(BlockRun { first: at, blocks: 1, size });
        loose += 1;
        if loose >= limits::JOINED_BLOCKS {
            loose = 0;
            let count = fold(runs.iter().rev().map(|run| run.size));
            if count >= 2 {
                let parts = runs.split_off(runs.len() - count);
                let blocks = parts.iter().map(|run| run.blocks).sum();
                let rows = parts.iter().map(|run| run.size.rows).sum();
                let bytes = parts.iter().map(|run| run.size.bytes).sum();
                runs.push(BlockRun {
                    first: parts[0].first,
                    blocks,
                    size: BlockSize { rows, bytes },
                });
            }
        }
    }
    runs.retain(|run| run.blocks > 1);
    runs
}

/// Blocks of a stream, and which of them to join.
struct JoinPlan {
    spec: Arc<StreamSpec>,
    keys: Vec<Vec<u8>>,
    /// Behind the last of them.
    end: Vec<u8>,
    runs: Vec<BlockRun>,
    /// Blocks before this offset are done with.
    done_to: u64,
    /// There are more blocks behind them.
    has_more: bool,
}

impl Journal {
    /// Joins small blocks of streams that have gathered enough of them; returns how many fewer
    /// there are then. Blocks on the store; to be called now and then, beside everything else.
    pub fn join_blocks(&self) -> Result<usize> {
        let _alone = self.shared().upkeep.lock();
        let mut saved = 0;
        for stream in self.streams() {
            match self.join_stream(stream) {
                // It has been dropped meanwhile.
                Err(error) if error.state() == SqlState::UndefinedTable => {}
                joined => saved += joined?,
            }
        }
        Ok(saved)
    }

    fn join_stream(&self, stream: StreamId) -> Result<usize> {
        let shared = self.shared();
        let Some(plan) = plan(shared, stream)? else { return Ok(0) };
        let (mut saved, mut transaction) = (0, Transaction::default());
        for run in &plan.runs {
            let keys = &plan.keys[run.first..run.first + run.blocks];
            let to = plan.keys.get(run.first + run.blocks).unwrap_or(&plan.end);
            for joined in join_run(shared, stream, &plan.spec, &keys[0], to)? {
                saved += joined.keys.len() - 1;
                transaction.changes.push(StreamChange::Join(stream, joined));
            }
            if transaction.bytes() > limits::JOINED_COMMIT_BYTES {
                self.commit_blocking(std::mem::take(&mut transaction))?;
            }
        }
        self.commit_blocking(transaction)?;
        if let Some(found) = shared.streams.write().get_mut(&stream) {
            found.joined_to = plan.done_to;
            if plan.has_more {
                found.loose = None;
            }
        }
        Ok(saved)
    }
}

/// Looks at a stream's newest blocks (after a start at all); None: there is nothing to be done.
fn plan(shared: &Shared, stream: StreamId) -> Result<Option<JoinPlan>> {
    let (spec, state, from) = {
        let mut streams = shared.streams.write();
        let Some(found) = streams.get_mut(&stream) else { return Ok(None) };
        if found.loose.is_some_and(|loose| loose < limits::JOINED_BLOCKS) {
            return Ok(None);
        }
        found.loose = Some(0);
        (Arc::clone(&found.spec), found.state, found.joined_to.max(found.state.first_offset))
    };
    let (begin, _) = block::all_keys(stream);
    // What comes while we look is not looked at: these are the blocks that are published.
    let end = block::key(stream, state.next_offset, CommitNo(0));
    let bound = block::key(stream, from, CommitNo(u64::MAX));
    let first = shared.store.floor(Space::Log, &begin, &bound)?.unwrap_or(begin);
    let keys = shared.store.keys(Space::Log, &first, &end)?;
    let mut keys: Vec<Vec<u8>> = keys.take(ROUND_BLOCKS + 1).collect::<Result<_>>()?;
    let has_more = keys.len() > ROUND_BLOCKS;
    let end = if has_more { keys.pop().unwrap_or(end) } else { end };
    let mut offsets =
        keys.iter().map(|key| Ok(block::parse_key(key)?.0)).collect::<Result<Vec<_>>>()?;
    offsets.push(block::parse_key(&end)?.0);
    let rows: Vec<usize> = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).collect();
    let row_bytes = usize::try_from(state.bytes / state.rows.max(1)).unwrap_or(usize::MAX);
    // What is further back than a full block will not be joined with what comes.
    let reach = (limits::BLOCK_BYTES / row_bytes.max(1)).clamp(1, limits::BATCH_ROWS) as u64;
    let done_to = offsets.last().copied().unwrap_or(from).saturating_sub(reach);
    let runs = runs(&rows, row_bytes);
    Ok(Some(JoinPlan { spec, keys, end, runs, done_to: done_to.max(from), has_more }))
}

/// Reads the blocks from one key up to another and joins them; where they are larger than was
/// thought, to several.
fn join_run(
    shared: &Shared,
    stream: StreamId,
    spec: &StreamSpec,
    from: &[u8],
    to: &[u8],
) -> Result<Vec<JoinedBlock>> {
    let mut joined = Vec::new();
    let mut group = Joining::default();
    for entry in shared.store.scan(Space::Log, from, to)? {
        let (key, value) = entry?;
        let (time_ms, size) = (block::time_ms(value.clone())?, value.len() as u64);
        let block = block::decode(stream, &key, value, &spec.schema, None)?;
        if !group.takes(&block, time_ms, size, spec) {
            joined.extend(std::mem::take(&mut group).finish()?);
        }
        group.push(key, block, time_ms, size);
    }
    joined.extend(group.finish()?);
    Ok(joined)
}

/// Blocks that are to be one.
#[derive(Default)]
struct Joining {
    keys: Vec<Vec<u8>>,
    blocks: Vec<LogBlock>,
    times: Option<(i64, i64)>,
    rows: usize,
    bytes: u64,
}

impl Joining {
    fn takes(&self, block: &LogBlock, time_ms: i64, bytes: u64, spec: &StreamSpec) -> bool {
        let Some(last) = self.blocks.last() else { return true };
        let (least, greatest) = self.times.unwrap_or((time_ms, time_ms));
        let span = greatest.max(time_ms).saturating_sub(least.min(time_ms));
        let is_long = spec.retention_ms.is_some_and(|ms| span > ms / RETENTION_SHARE as i64);
        let most = spec.retention_bytes.map_or(u64::MAX, |bytes| bytes / RETENTION_SHARE);
        let follows = last.end_offset() == block.first_offset
            && last.writes.last().is_some_and(|write| {
                write.watermark_after == block.writes[0].watermark_before
                    && write.commit <= block.first_commit()
            });
        follows
            && !is_long
            && self.rows + block.batch.num_rows() <= limits::BATCH_ROWS
            && self.bytes + bytes <= most.min(limits::BLOCK_BYTES as u64)
    }

    fn push(&mut self, key: Vec<u8>, block: LogBlock, time_ms: i64, bytes: u64) {
        let (least, greatest) = self.times.unwrap_or((time_ms, time_ms));
        self.times = Some((least.min(time_ms), greatest.max(time_ms)));
        self.rows += block.batch.num_rows();
        self.bytes += bytes;
        self.keys.push(key);
        self.blocks.push(block);
    }

    /// None: one block is no group.
    fn finish(self) -> Result<Option<JoinedBlock>> {
        if self.blocks.len() < 2 {
            return Ok(None);
        }
        let whole = block::joined(self.blocks.iter())?;
        // Retention goes by the newest: rows are kept longer, never shorter.
        let newest = self.times.map_or(i64::MIN, |(_, newest)| newest);
        let value = block::encode(&whole, newest)?;
        Ok(Some(JoinedBlock {
            first_offset: whole.first_offset,
            keys: self.keys,
            old_bytes: self.bytes,
            value,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(rows: &[usize], row_bytes: usize) -> Vec<(usize, usize)> {
        runs(rows, row_bytes).iter().map(|run| (run.first, run.blocks)).collect()
    }

    #[test]
    fn small_blocks_are_joined_when_there_are_enough_and_large_ones_left_alone() {
        assert_eq!(joined(&[1; 63], 10), [], "not yet worth it");
        assert_eq!(joined(&[1; 64], 10), [(0, 64)]);
        assert_eq!(
            joined(&[1; 12_000], 10).iter().map(|(_, blocks)| blocks).sum::<usize>(),
            12_000 - 32
        );
        let large = [vec![5000; 40], vec![1; 64]].concat();
        assert_eq!(joined(&large, 10), [(40, 24)]);
        assert_eq!(joined(&[1; 640], 10 << 20), [], "rows that are a block each");
    }
}
