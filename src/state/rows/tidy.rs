//! Keeping chunks few and full: small ones are joined, those that are mostly gone are written anew.
//!
//! A change tidies a bounded number of chunks. What it leaves is tidied by the changes after it, so
//! no change costs more for a store that has grown large.

use std::sync::Arc;

use super::RowStore;
use super::chunk::Chunk;
use crate::error::Result;
use crate::limits::{BATCH_ROWS, TIDIED_CHUNKS};

impl RowStore {
    /// Joins the last chunks while the last is at least half as large as the one before, so that
    /// many small changes do not leave many small chunks.
    pub(super) fn join_tail(&mut self) -> Result<()> {
        let mut first = self.chunks.len() - 1;
        let mut size = self.chunks[first].len();
        while first > 0 {
            let before = self.chunks[first - 1].len();
            if size * 2 < before || size + before > BATCH_ROWS {
                break;
            }
            first -= 1;
            size += before;
        }
        if first + 1 == self.chunks.len() {
            return Ok(());
        }
        let joined = Chunk::joined(&self.schema, &self.chunks[first..])?;
        let chunks = Arc::make_mut(&mut self.chunks);
        for old in chunks.drain(first..) {
            self.chunk_bytes -= old.bytes();
            self.sparse -= usize::from(old.is_sparse());
        }
        if joined.left() > 0 {
            self.chunk_bytes += joined.bytes();
            chunks.push(joined);
        }
        Ok(())
    }

    /// Writes chunks anew of which most is gone, each joined with the one before it where both are
    /// small.
    pub(super) fn tidy(&mut self) -> Result<()> {
        if self.sparse == 0 {
            return Ok(());
        }
        let mut left = TIDIED_CHUNKS;
        let mut tidied: Vec<Chunk> = Vec::with_capacity(self.chunks.len());
        for chunk in self.chunks.iter() {
            if left == 0 || !chunk.is_sparse() {
                tidied.push(chunk.clone());
                continue;
            }
            left -= 1;
            let small = |before: &mut Chunk| before.left() + chunk.left() <= BATCH_ROWS / 2;
            let mut parts: Vec<Chunk> = tidied.pop_if(small).into_iter().collect();
            parts.push(chunk.clone());
            let joined = Chunk::joined(&self.schema, &parts)?;
            if joined.left() > 0 {
                tidied.push(joined);
            }
        }
        self.sparse = tidied.iter().filter(|chunk| chunk.is_sparse()).count();
        self.chunk_bytes = tidied.iter().map(Chunk::bytes).sum();
        self.chunks = Arc::new(tidied);
        Ok(())
    }
}
