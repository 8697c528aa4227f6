//! The tails of all streams together: one budget, reserved under `--memory-limit`.
//!
//! When it is used up the tail that was used longest ago gives way, a block at a time from its old
//! end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::execution::memory_pool::MemoryReservation;
use parking_lot::Mutex;

use super::stream::Stream;
use super::tail::Tail;
use super::{LogBlock, StreamId};
use crate::limits;
use crate::memory::{Accounts, MemoryPart};

/// What all tails together hold.
pub(crate) struct Tails {
    most: usize,
    clock: AtomicU64,
    held: Mutex<HeldTails>,
}

struct HeldTails {
    bytes: usize,
    memory: MemoryReservation,
}

/// What they hold, to be shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TailStats {
    /// Bytes in memory.
    pub bytes: usize,
    /// How many blocks.
    pub blocks: usize,
    /// Of how many streams.
    pub streams: usize,
}

impl Tails {
    pub(crate) fn new(accounts: &Arc<Accounts>) -> Tails {
        Tails {
            most: limits::LOG_TAIL_BYTES.min(accounts.limit() / limits::LOG_TAIL_SHARE),
            clock: AtomicU64::new(0),
            held: Mutex::new(HeldTails {
                bytes: 0,
                memory: accounts.reserve(MemoryPart::LogTails),
            }),
        }
    }

    /// A tail is being used.
    pub(crate) fn touch(&self, tail: &Tail) {
        tail.touch(self.clock.fetch_add(1, Ordering::Relaxed) + 1);
    }

    /// New blocks of a stream, which has forgotten what is before its first offset.
    pub(crate) fn push(&self, stream: &mut Stream, blocks: Vec<LogBlock>) {
        let before = stream.tail.bytes();
        stream.tail.forget(stream.state.first_offset);
        if !blocks.is_empty() {
            self.touch(&stream.tail);
        }
        blocks.into_iter().for_each(|block| stream.tail.push(block));
        let mut held = self.held.lock();
        held.bytes = held.bytes - before + stream.tail.bytes();
    }

    /// A stream is gone.
    pub(crate) fn remove(&self, stream: &Stream) {
        self.held.lock().bytes -= stream.tail.bytes();
    }

    /// Lets the tails that were used longest ago go until the rest fits into the budget and under
    /// the memory limit.
    pub(crate) fn fit(&self, streams: &mut HashMap<StreamId, Stream>) {
        let mut held = self.held.lock();
        let fits = |held: &HeldTails| {
            held.bytes <= self.most && held.memory.try_resize(held.bytes).is_ok()
        };
        while !fits(&held) {
            let holding = streams.values_mut().filter(|stream| stream.tail.bytes() > 0);
            let oldest = holding.min_by_key(|stream| stream.tail.used());
            let Some(Stream { tail, .. }) = oldest else { break };
            while !fits(&held) {
                let before = tail.bytes();
                if !tail.evict() {
                    break;
                }
                held.bytes -= before - tail.bytes();
            }
        }
    }
}
