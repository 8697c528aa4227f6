//! What the commit thread and the readers share: the store, the streams in memory, the last commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{Mutex, RwLock};

use super::stream::Stream;
use super::tails::Tails;
use super::{CommitNo, StreamId};
use crate::announced::Announced;
use crate::error::{Error, SqlState};
use crate::store::Store;

/// What is there of all logs.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) streams: RwLock<HashMap<StreamId, Stream>>,
    pub(crate) last: Announced<CommitNo>,
    /// Held for writing while a commit is published, so that
    /// [`Journal::at_rest`](super::Journal::at_rest) sees all of it or nothing. Whoever takes it
    /// together with the engine's lock of epochs takes that one first.
    pub(crate) publishing_commit: RwLock<()>,
    /// How many batches have been written.
    pub(crate) groups: AtomicU64,
    /// What is kept of the streams in memory.
    pub(crate) tails: Tails,
    /// Held by whoever looks for blocks to take away, until they are.
    pub(crate) upkeep: Mutex<()>,
}

/// What is said of a stream that has been dropped.
pub(crate) fn no_stream(stream: StreamId) -> Error {
    Error::new(SqlState::UndefinedTable, format!("stream {} does not exist any more", stream.0))
}
