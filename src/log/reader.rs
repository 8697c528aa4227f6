//! Reads a stream in portions up to a commit, from the tail in memory where it can, from the store
//! where it must.
//!
//! However the portions fall, the same rows come in the same order with the same writes and
//! watermarks: a block is cut where `upto`, `max_rows` or [`limits::READ_BYTES`] says, and the next
//! call goes on behind the cut. Blocks that are much smaller than a batch (one INSERT each) are
//! joined on the way out, so that what follows can work in columns.
//!
//! Meanwhile blocks in the store may be joined (`joining.rs`), so that a key that was seen is no
//! more, and its rows stand further ahead. The stream counts its joins before they reach the store:
//! what was read while the count did not move is whole.

use std::collections::VecDeque;
use std::sync::Arc;

use super::shared::{Shared, no_stream};
use super::{CommitNo, LogBlock, StreamId, StreamSpec, block};
use crate::error::Result;
use crate::limits;
use crate::memory::rows::{batch_bytes, fitting_rows};
use crate::store::Space;

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// At the oldest retained row.
    Earliest,
    /// Behind the last published write.
    Latest,
    /// At the row with this offset.
    Offset(u64),
    /// At the first write after this commit.
    After(CommitNo),
}

/// How many blocks are decoded ahead at the most.
const AHEAD_BLOCKS: usize = 256;

/// Reads one stream; goes on where it ended.
pub struct LogReader {
    shared: Arc<Shared>,
    stream: StreamId,
    spec: Arc<StreamSpec>,
    /// The columns that it gives; None: all.
    columns: Option<Vec<usize>>,
    /// The next row.
    offset: u64,
    /// Writes up to this commit have been read (except for rows of it from `offset` on).
    after: CommitNo,
    /// Blocks that come next, decoded; the first may be partly read.
    ahead: VecDeque<Arc<LogBlock>>,
    /// Where to go on in the store.
    resume: Option<Resume>,
    /// The last reading ended at its bounds, not at the end of what there is.
    has_more: bool,
    /// Rows before the next one are wanted: it has read some, or was put at a place.
    has_begun: bool,
    /// Rows that were not there any more when it came to them.
    forgotten: u64,
}

/// Every block before this key has been read; true as long as the stream has had so many joins.
struct Resume {
    key: Vec<u8>,
    joins: u64,
}

impl LogReader {
    pub(crate) fn open(
        shared: Arc<Shared>,
        stream: StreamId,
        from: Position,
        columns: Option<Vec<usize>>,
    ) -> Result<LogReader> {
        let (spec, state) = {
            let streams = shared.streams.read();
            let found = streams.get(&stream).ok_or_else(|| no_stream(stream))?;
            (Arc::clone(&found.spec), found.state)
        };
        let (offset, after) = match from {
            Position::Earliest => (state.first_offset, CommitNo(0)),
            Position::Latest => (state.next_offset, state.last_commit),
            Position::Offset(offset) if offset > state.next_offset => {
                (state.next_offset, state.last_commit)
            }
            Position::Offset(offset) => (offset.max(state.first_offset), CommitNo(0)),
            Position::After(commit) if commit >= state.last_commit => {
                (state.next_offset, state.last_commit)
            }
            Position::After(commit) => (state.first_offset, commit),
        };
        let mut reader = LogReader {
            shared,
            stream,
            spec,
            columns,
            offset,
            after,
            ahead: VecDeque::new(),
            resume: None,
            has_more: true,
            has_begun: from != Position::Earliest,
            forgotten: 0,
        };
        if let Position::After(commit) = from
            && commit < state.last_commit
        {
            reader.seek(commit, state.next_offset)?;
        }
        Ok(reader)
    }

    /// The offset of the next row.
    pub fn position(&self) -> u64 {
        self.offset
    }

    /// How many rows retention has taken away before it came to them.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The stream it reads.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// Where the stream ends now: the offset of its next row, and its last commit.
    pub fn end(&self) -> Result<(u64, CommitNo)> {
        let streams = self.shared.streams.read();
        let stream = streams.get(&self.stream).ok_or_else(|| no_stream(self.stream))?;
        Ok((stream.state.next_offset, stream.state.last_commit))
    }

    /// Whether the last reading ended because of its bounds: there may be more up to the same
    /// commit.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// The next rows: writes up to the commit `upto`, at most `max_rows` rows and
    /// [`limits::READ_BYTES`] (a row that is larger comes alone). Nothing: there is no more up to
    /// there. May block on the store.
    pub fn read(&mut self, upto: CommitNo, max_rows: usize) -> Result<Vec<LogBlock>> {
        let upto = upto.min(*self.shared.last.borrow());
        let mut parts = Vec::new();
        let (mut room, mut bytes) = (max_rows, limits::READ_BYTES);
        self.has_more = true;
        while room > 0 {
            let Some(block) = self.next_block()? else {
                self.has_more = false;
                break;
            };
            if std::mem::replace(&mut self.has_begun, true) {
                self.forgotten += block.first_offset.saturating_sub(self.offset);
            }
            self.offset = self.offset.max(block.first_offset);
            let start = usize::try_from(self.offset - block.first_offset).unwrap_or(usize::MAX);
            let Some(first) = self.first_unread(&block, start) else {
                // All of it has been read, so all of its commits have: without this the tail, which
                // finds its blocks by offset and commit, would give the same block for ever.
                self.after = self.after.max(block.last_commit());
                self.pass(&block);
                continue;
            };
            let left = block.batch.num_rows().saturating_sub(start).min(room);
            let fitting = match fitting_rows(&block.batch, start, left, bytes) {
                0 if left > 0 && room < max_rows => break,
                0 => left.min(1),
                rows => rows,
            };
            let Some(part) = part_of(&block, first, start, upto, fitting) else {
                self.has_more = false;
                break;
            };
            room -= part.batch.num_rows();
            bytes = bytes.saturating_sub(batch_bytes(&part.batch));
            self.take(&block, &part);
            parts.push(part);
        }
        join(parts)
    }

    /// A part of a block has been read.
    fn take(&mut self, block: &LogBlock, part: &LogBlock) {
        self.offset = part.end_offset();
        let is_whole = part.writes.last().is_some_and(|w| {
            let whole = block.writes.iter().rfind(|all| all.commit == w.commit);
            whole.is_some_and(|all| block.first_offset + all.end_row as u64 == self.offset)
        });
        if is_whole {
            self.after = part.last_commit();
        } else if part.writes.len() > 1 {
            self.after = part.writes[part.writes.len() - 2].commit;
        }
        if self.offset == block.end_offset() && self.after >= block.last_commit() {
            self.pass(block);
        }
    }

    fn pass(&mut self, block: &LogBlock) {
        self.ahead.pop_front();
        if let Some(resume) = &mut self.resume {
            resume.key = block::key(self.stream, block.first_offset, block.first_commit());
            resume.key.push(0);
        }
    }

    /// The first write of a block that has not been read whole; `start` is the block's row at our
    /// offset.
    fn first_unread(&self, block: &LogBlock, start: usize) -> Option<usize> {
        let mut begin = 0;
        block.writes.iter().position(|write| {
            let is_empty = write.end_row == begin;
            begin = write.end_row;
            let is_passed = write.end_row < start || write.end_row == start && !is_empty;
            // Of the commit `after` only rows behind our offset can be left.
            !(write.commit < self.after
                || is_passed
                || write.commit == self.after && write.end_row <= start)
        })
    }

    fn next_block(&mut self) -> Result<Option<Arc<LogBlock>>> {
        if self.ahead.is_empty() && !self.fill_from_tail()? {
            self.fill_from_store()?;
        }
        Ok(self.ahead.front().cloned())
    }

    /// Whether the tail has all that comes next (which may be nothing).
    fn fill_from_tail(&mut self) -> Result<bool> {
        {
            let streams = self.shared.streams.read();
            let tail = &streams.get(&self.stream).ok_or_else(|| no_stream(self.stream))?.tail;
            if !tail.covers(self.offset, self.after) {
                return Ok(false);
            }
            self.shared.tails.touch(tail);
            let mut bytes = 0;
            for (block, size) in tail.read(self.offset, self.after).take(AHEAD_BLOCKS) {
                self.ahead.push_back(Arc::clone(block));
                bytes += size;
                if bytes >= limits::READ_BLOCKS_BYTES {
                    break;
                }
            }
        }
        // Its blocks need not be those of the store.
        self.resume = None;
        if let Some(columns) = &self.columns {
            for block in &mut self.ahead {
                *block = Arc::new(LogBlock {
                    batch: block.batch.project(columns)?,
                    ..LogBlock::clone(block)
                });
            }
        }
        Ok(true)
    }

    fn joins(&self) -> Result<u64> {
        let streams = self.shared.streams.read();
        streams.get(&self.stream).map(|stream| stream.joins).ok_or_else(|| no_stream(self.stream))
    }

    fn fill_from_store(&mut self) -> Result<()> {
        loop {
            let joins = self.joins()?;
            let from = match self.resume.take() {
                Some(resume) if resume.joins == joins => resume.key,
                Some(_) | None => self.floor()?,
            };
            self.scan(&from)?;
            // While blocks are being joined some may have been passed over.
            if self.joins()? == joins {
                self.resume = Some(Resume { key: from, joins });
                return Ok(());
            }
            self.ahead.clear();
        }
    }

    /// The key of the block in which the next row or write is, or of one before it.
    fn floor(&self) -> Result<Vec<u8>> {
        let (begin, _) = block::all_keys(self.stream);
        let bound = block::key(self.stream, self.offset, CommitNo(self.after.0.saturating_add(1)));
        Ok(self.shared.store.floor(Space::Log, &begin, &bound)?.unwrap_or(begin))
    }

    /// Decodes what comes next from this key on, passing over blocks that have been read.
    fn scan(&mut self, from: &[u8]) -> Result<()> {
        let (_, end) = block::all_keys(self.stream);
        let (mut rows, mut bytes) = (0, 0);
        for entry in self.shared.store.scan(Space::Log, from, &end)? {
            let (key, value) = entry?;
            let size = value.len();
            let block = block::decode(
                self.stream,
                &key,
                value,
                &self.spec.schema,
                self.columns.as_deref(),
            )?;
            let start = usize::try_from(self.offset.saturating_sub(block.first_offset))
                .unwrap_or(usize::MAX);
            if self.first_unread(&block, start).is_none() {
                self.after = self.after.max(block.last_commit());
                continue;
            }
            rows += block.batch.num_rows();
            bytes += size;
            self.ahead.push_back(Arc::new(block));
            if rows >= limits::BATCH_ROWS
                || bytes >= limits::READ_BLOCKS_BYTES
                || self.ahead.len() >= AHEAD_BLOCKS
            {
                break;
            }
        }
        Ok(())
    }

    /// Goes to the first write after `commit`: finds the last block that begins at or before it,
    /// and passes its writes up to there.
    fn seek(&mut self, commit: CommitNo, next_offset: u64) -> Result<()> {
        let begin = block::all_keys(self.stream).0;
        let floor = |offset: u64| -> Result<Option<(u64, CommitNo)>> {
            let bound = block::key(self.stream, offset, CommitNo(u64::MAX));
            let key = self.shared.store.floor(Space::Log, &begin, &bound)?;
            key.map(|key| block::parse_key(&key)).transpose()
        };
        // The greatest offset at which a block begins whose first commit is not later.
        let (mut low, mut high) = (self.offset, next_offset);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match floor(middle)? {
                Some((_, first)) if first <= commit => low = middle,
                Some((first_offset, _)) => high = first_offset.min(middle - 1).max(low),
                None => low = middle,
            }
        }
        self.offset = floor(low)?.map_or(low, |(first, _)| first.min(low));
        self.after = CommitNo(0);
        // Blocks without rows share their offset with the one after; go through all from here.
        while let Some(block) = self.next_block()? {
            let passed = block.writes.iter().take_while(|write| write.commit <= commit).count();
            if let Some(last) = passed.checked_sub(1) {
                self.offset =
                    self.offset.max(block.first_offset + block.writes[last].end_row as u64);
            }
            if passed < block.writes.len() {
                break;
            }
            self.after = block.last_commit();
            self.pass(&block);
        }
        self.after = commit;
        Ok(())
    }
}

/// The part of a block from the write `first` and the row `start` on, up to a commit and a number
/// of rows.
fn part_of(
    block: &LogBlock,
    first: usize,
    start: usize,
    upto: CommitNo,
    max_rows: usize,
) -> Option<LogBlock> {
    let most = start.saturating_add(max_rows);
    let (mut end_write, mut end_row) = (first, start);
    for write in &block.writes[first..] {
        if write.commit > upto || end_row == most && write.end_row > most {
            break;
        }
        end_write += 1;
        end_row = write.end_row.min(most);
        if write.end_row > most {
            break;
        }
    }
    (end_write > first).then(|| block.part(first..end_write, start..end_row))
}

/// Joins neighbours that are small, up to the rows and bytes of a batch.
fn join(parts: Vec<LogBlock>) -> Result<Vec<LogBlock>> {
    let mut out = Vec::with_capacity(parts.len().min(16));
    let mut group: Vec<LogBlock> = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    for part in parts {
        let (more_rows, more_bytes) = (part.batch.num_rows(), batch_bytes(&part.batch));
        let is_small = more_rows < limits::BATCH_ROWS / 2 && more_bytes < limits::BLOCK_BYTES / 2;
        let follows =
            group.last().is_none_or(|last: &LogBlock| last.end_offset() == part.first_offset);
        let fits =
            rows + more_rows <= limits::BATCH_ROWS && bytes + more_bytes <= limits::BLOCK_BYTES;
        if !(is_small && follows && fits) {
            end_group(&mut group, &mut out)?;
            (rows, bytes) = (0, 0);
        }
        if is_small {
            (rows, bytes) = (rows + more_rows, bytes + more_bytes);
            group.push(part);
        } else {
            out.push(part);
        }
    }
    end_group(&mut group, &mut out)?;
    Ok(out)
}

fn end_group(group: &mut Vec<LogBlock>, out: &mut Vec<LogBlock>) -> Result<()> {
    match group.len() {
        0 => {}
        1 => out.append(group),
        _ => out.push(block::joined(std::mem::take(group).iter())?),
    }
    Ok(())
}
