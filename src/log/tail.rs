//! The blocks of a stream that were written last, decoded: where nearly all reading happens.
//!
//! It gives way from its old end ([`Tails`](super::tails::Tails)): whoever reads there reads from
//! the store. Where small blocks come one after the other they are joined every
//! [`limits::JOINED_BLOCKS`], as those in the store are: a row by itself costs many times its size.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::block;
use super::fold::{BlockSize, fold};
use super::{CommitNo, LogBlock, Write};
use crate::limits;

/// What a block takes beside its columns, about.
const BLOCK_OVERHEAD: usize = 256;

/// The newest blocks of one stream.
#[derive(Debug)]
pub(crate) struct Tail {
    blocks: VecDeque<(Arc<LogBlock>, usize)>,
    bytes: usize,
    /// The end of what is only in the store: every row before this offset, every write up to this
    /// commit.
    before: (u64, CommitNo),
    /// Blocks that came since some were last joined.
    loose: usize,
    /// When it was last read or written, by the clock of all tails.
    used: AtomicU64,
}

fn bytes(block: &LogBlock) -> usize {
    block.batch.get_array_memory_size() + block.writes.len() * size_of::<Write>() + BLOCK_OVERHEAD
}

impl Tail {
    /// An empty one: everything up to there is in the store.
    pub(crate) fn behind(offset: u64, commit: CommitNo) -> Tail {
        Tail {
            blocks: VecDeque::new(),
            bytes: 0,
            before: (offset, commit),
            loose: 0,
            used: AtomicU64::new(0),
        }
    }

    /// It has been used at this time.
    pub(super) fn touch(&self, time: u64) {
        self.used.store(time, Ordering::Relaxed);
    }

    /// When it was used last.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether everything from this place on is here: no row from `offset` on and no write after
    /// `after` is older.
    pub(crate) fn covers(&self, offset: u64, after: CommitNo) -> bool {
        offset >= self.before.0 && after >= self.before.1
    }

    /// The blocks from the first one on that has rows from `offset` on or writes after `after`,
    /// with their sizes.
    pub(crate) fn read(
        &self,
        offset: u64,
        after: CommitNo,
    ) -> impl Iterator<Item = (&Arc<LogBlock>, usize)> {
        let from = self.blocks.partition_point(|(block, _)| {
            block.end_offset() <= offset && block.last_commit() <= after
        });
        self.blocks.range(from..).map(|(block, bytes)| (block, *bytes))
    }

    /// Adds what was written.
    pub(super) fn push(&mut self, block: LogBlock) {
        self.add(block);
        self.loose += 1;
        if self.loose >= limits::JOINED_BLOCKS {
            self.loose = 0;
            self.join();
        }
    }

    fn add(&mut self, block: LogBlock) {
        let bytes = bytes(&block);
        self.bytes += bytes;
        self.blocks.push_back((Arc::new(block), bytes));
    }

    fn join(&mut self) {
        let sizes = self.blocks.iter().rev();
        let count = fold(
            sizes.map(|(block, bytes)| BlockSize { rows: block.batch.num_rows(), bytes: *bytes }),
        );
        if count < 2 {
            return;
        }
        let last = self.blocks.range(self.blocks.len() - count..);
        match block::joined(last.map(|(block, _)| &**block)) {
            Ok(joined) => {
                let parts = self.blocks.split_off(self.blocks.len() - count);
                self.bytes -= parts.iter().map(|(_, bytes)| bytes).sum::<usize>();
                self.add(joined);
            }
            // They can be read as they are.
            Err(error) => tracing::debug!("blocks in memory are not joined: {error}"),
        }
    }

    /// How many blocks it has.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets its oldest block go; false if there is none.
    pub(super) fn evict(&mut self) -> bool {
        let Some((block, bytes)) = self.blocks.pop_front() else { return false };
        self.bytes -= bytes;
        self.before = (block.end_offset(), block.last_commit());
        true
    }

    /// Lets go of blocks that end at or before this offset.
    pub(super) fn forget(&mut self, offset: u64) {
        while self
            .blocks
            .front()
            .is_some_and(|(block, _)| block.end_offset() <= offset && block.first_offset < offset)
        {
            self.evict();
        }
    }
}
