//! The journal: the one door through which everything becomes durable, and where logs are read
//! from.
//!
//! [`Journal::commit`] puts a transaction into a bounded queue; the commit thread (`commit.rs`)
//! takes what is queued, writes it with one sync, publishes in order, and answers.
//! [`Journal::reader`] reads a stream up to a commit number.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::commit::{Committer, Request};
use super::reader::{LogReader, Position};
use super::shared::{Shared, no_stream};
use super::stream::{self, Stream};
use super::tails::{TailStats, Tails};
use super::transaction::{StreamChange, Transaction};
use super::{CommitNo, StreamId, StreamSpec, StreamStats, UntimedRow, block, untimed};
use crate::announced::{Announced, Listener};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::memory::Accounts;
use crate::spawn::{Looping, Spawn};
use crate::store::codec::{corrupted, decode_number};
use crate::store::{Space, Store};

/// Commits transactions and reads logs. Dropping the last handle finishes what is queued and stops
/// the thread.
pub struct Journal {
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    /// Permits of [`PERMIT`] for what is queued.
    room: Arc<Semaphore>,
    committing: Mutex<Option<Looping>>,
    /// There is one thread for everything: who waits for a commit must make it.
    is_inline: bool,
}

const PERMIT: usize = 1 << 10;
const PERMITS: usize = limits::COMMIT_QUEUE_BYTES / PERMIT;

impl Journal {
    /// [`open_within`](Self::open_within) memory without a limit.
    pub fn open(store: Arc<dyn Store>) -> Result<Arc<Journal>> {
        Self::open_within(store, &Accounts::new(usize::MAX))
    }

    /// Opens the journal of a store: reads one small entry per stream, and starts the commit
    /// thread. What it keeps of streams in memory is reserved in `accounts`.
    pub fn open_within(store: Arc<dyn Store>, accounts: &Arc<Accounts>) -> Result<Arc<Journal>> {
        let start = |committing| {
            let thread = std::thread::Builder::new().name("commit".to_owned());
            thread.spawn(|| futures::executor::block_on(committing)).map(Looping::Thread)
        };
        Self::begin(store, accounts, start)
    }

    /// [`open_within`](Self::open_within), with the commits made where an engine's loops run.
    pub fn open_in(
        store: Arc<dyn Store>,
        accounts: &Arc<Accounts>,
        spawn: &Spawn,
    ) -> Result<Arc<Journal>> {
        match spawn {
            Spawn::Threads(_) => Self::open_within(store, accounts),
            Spawn::Inline(_) => {
                Self::begin(store, accounts, |commits| spawn.looping("commit", 0, commits))
            }
        }
    }

    fn begin(
        store: Arc<dyn Store>,
        accounts: &Arc<Accounts>,
        start: impl FnOnce(BoxFuture<'static, ()>) -> std::io::Result<Looping>,
    ) -> Result<Arc<Journal>> {
        let last = match store.get(Space::Meta, stream::LAST_COMMIT)? {
            None => CommitNo(0),
            Some(value) => CommitNo(
                decode_number(value, u64::from_le_bytes)
                    .map_err(|error| error.context("the number of the last commit is damaged"))?,
            ),
        };
        let streams = read_streams(&*store)?;
        let shared = Arc::new(Shared {
            store,
            streams: RwLock::new(streams),
            last: Announced::new(last),
            publishing_commit: RwLock::new(()),
            groups: AtomicU64::new(0),
            tails: Tails::new(accounts),
            upkeep: Mutex::new(()),
        });
        let (queue, requests) = mpsc::channel(limits::COMMIT_QUEUE);
        let committing = start(Committer::new(Arc::clone(&shared)).run(requests).boxed())?;
        Ok(Arc::new(Journal {
            shared,
            queue: Mutex::new(Some(queue)),
            room: Arc::new(Semaphore::new(PERMITS)),
            is_inline: matches!(committing, Looping::Task),
            committing: Mutex::new(Some(committing)),
        }))
    }

    /// Commits a transaction and returns its number when it is durable and published. If the future
    /// is dropped the transaction is done whole or not at all. An empty one has nothing to make
    /// durable and gets the last number. It needs no particular async runtime.
    pub async fn commit(&self, transaction: Transaction) -> Result<CommitNo> {
        if transaction.is_empty() {
            return Ok(self.last());
        }
        let wanted = (transaction.bytes() / PERMIT + 1).min(PERMITS);
        let room = Arc::clone(&self.room)
            .acquire_many_owned(wanted as u32)
            .await
            .map_err(|_| stopped())?;
        let queue = self.queue.lock().clone().ok_or_else(stopped)?;
        let (reply, answer) = oneshot::channel();
        queue
            .send(Request { transaction, reply, _room: Some(room) })
            .await
            .map_err(|_| stopped())?;
        drop(queue);
        answer.await.map_err(|_| stopped())?
    }

    /// [`commit`](Self::commit) for threads that may block.
    pub fn commit_blocking(&self, transaction: Transaction) -> Result<CommitNo> {
        if !self.is_inline || transaction.is_empty() {
            return futures::executor::block_on(self.commit(transaction));
        }
        let (reply, mut answer) = oneshot::channel();
        let request = Request { transaction, reply, _room: None };
        Committer::new(Arc::clone(&self.shared)).commit(vec![request]);
        answer.try_recv().map_err(|_| stopped())?
    }

    /// The last commit that is durable and published.
    pub fn last(&self) -> CommitNo {
        *self.shared.last.borrow()
    }

    /// Tells when there is a new commit.
    pub fn watch(&self) -> Listener<CommitNo> {
        self.shared.last.listen()
    }

    /// Runs `f` while no commit is being published: what it reads of published versions belongs to
    /// that commit number. Keep it short; commits wait.
    pub fn at_rest<T>(&self, f: impl FnOnce(CommitNo) -> T) -> T {
        let _rest = self.shared.publishing_commit.read();
        f(self.last())
    }

    /// The store below, for reading.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Makes a stream in a transaction of its own. See [`Transaction::create_stream`].
    pub async fn create_stream(&self, stream: StreamId, spec: StreamSpec) -> Result<CommitNo> {
        let mut transaction = Transaction::default();
        transaction.create_stream(stream, spec);
        self.commit(transaction).await
    }

    /// Removes a stream in a transaction of its own. See [`Transaction::drop_stream`].
    pub async fn drop_stream(&self, stream: StreamId) -> Result<CommitNo> {
        let mut transaction = Transaction::default();
        transaction.drop_stream(stream);
        self.commit(transaction).await
    }

    /// The streams there are, in order of their numbers.
    pub fn streams(&self) -> Vec<StreamId> {
        let mut all: Vec<_> = self.shared.streams.read().keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// What a stream was created with.
    pub fn spec(&self, stream: StreamId) -> Result<Arc<StreamSpec>> {
        let streams = self.shared.streams.read();
        streams.get(&stream).map(|s| Arc::clone(&s.spec)).ok_or_else(|| no_stream(stream))
    }

    /// How much there is in a stream, and how far its time has come.
    pub fn stats(&self, stream: StreamId) -> Result<StreamStats> {
        self.shared.streams.read().get(&stream).map(|s| s.state).ok_or_else(|| no_stream(stream))
    }

    /// The rows of a stream that have no event time, the newest [`limits::KEPT_ROWS`], oldest
    /// first.
    pub fn untimed(&self, stream: StreamId) -> Result<Vec<UntimedRow>> {
        untimed::read(&*self.shared.store, stream)
    }

    /// Reads a stream from a position on. Reading blocks on the store when the rows are not in
    /// memory.
    pub fn reader(&self, stream: StreamId, from: Position) -> Result<LogReader> {
        LogReader::open(Arc::clone(&self.shared), stream, from, None)
    }

    /// [`reader`](Self::reader) of some columns, in this order.
    pub fn reader_of(
        &self,
        stream: StreamId,
        from: Position,
        columns: Vec<usize>,
    ) -> Result<LogReader> {
        LogReader::open(Arc::clone(&self.shared), stream, from, Some(columns))
    }

    /// What is kept of all streams in memory.
    pub fn tails(&self) -> TailStats {
        let streams = self.shared.streams.read();
        let held = streams.values().map(|stream| &stream.tail).filter(|tail| tail.len() > 0);
        held.fold(TailStats::default(), |all, tail| TailStats {
            bytes: all.bytes + tail.bytes(),
            blocks: all.blocks + tail.len(),
            streams: all.streams + 1,
        })
    }

    /// How many blocks the tail of each stream has.
    #[cfg(test)]
    pub(super) fn tail_blocks(&self) -> Vec<usize> {
        let streams = self.streams();
        let all = self.shared.streams.read();
        streams.iter().map(|stream| all[stream].tail.len()).collect()
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// How many batches have been written, each with one sync; less than the commits when commits
    /// were grouped.
    pub fn groups(&self) -> u64 {
        self.shared.groups.load(Ordering::Relaxed)
    }

    /// Forgets the oldest blocks that the stream's retention allows to forget at the time `now_ms`,
    /// none with rows from offset `keep_from` on (what views and recovery still need). Returns the
    /// first offset that is left. Blocks.
    pub fn retain(&self, stream: StreamId, keep_from: u64, now_ms: i64) -> Result<u64> {
        let _alone = self.shared.upkeep.lock();
        let (spec, state) = {
            let streams = self.shared.streams.read();
            let found = streams.get(&stream).ok_or_else(|| no_stream(stream))?;
            (Arc::clone(&found.spec), found.state)
        };
        if spec.retention_ms.is_none() && spec.retention_bytes.is_none() {
            return Ok(state.first_offset);
        }
        let (keys, bytes, first_offset) =
            self.forgettable(stream, &spec, state, keep_from, now_ms)?;
        if keys.is_empty() {
            return Ok(state.first_offset);
        }
        let mut transaction = Transaction::default();
        transaction.changes.push(StreamChange::Forget { stream, first_offset, keys, bytes });
        self.commit_blocking(transaction)?;
        Ok(first_offset)
    }

    fn forgettable(
        &self,
        stream: StreamId,
        spec: &StreamSpec,
        state: StreamStats,
        keep_from: u64,
        now_ms: i64,
    ) -> Result<(Vec<Vec<u8>>, u64, u64)> {
        let (from, to) = block::all_keys(stream);
        let mut entries = self.shared.store.scan(Space::Log, &from, &to)?.peekable();
        let (mut keys, mut bytes, mut first_offset) = (Vec::new(), 0u64, state.first_offset);
        while let Some(entry) = entries.next() {
            let (key, value) = entry?;
            let size = value.len() as u64;
            let end = match entries.peek() {
                Some(Ok((next, _))) => block::parse_key(next)?.0,
                Some(Err(error)) => return Err(error.clone()),
                None => state.next_offset,
            };
            let is_old = match spec.retention_ms {
                Some(ms) => block::time_ms(value)? < now_ms.saturating_sub(ms),
                None => false,
            };
            let is_over =
                spec.retention_bytes.is_some_and(|most| state.bytes.saturating_sub(bytes) > most);
            if end > keep_from || !(is_old || is_over) || keys.len() >= limits::COMMIT_QUEUE {
                break;
            }
            keys.push(key);
            bytes += size;
            first_offset = end;
        }
        Ok((keys, bytes, first_offset))
    }

    /// Commits what is queued, stops, and refuses everything after.
    pub fn stop(&self) {
        self.room.close();
        drop(self.queue.lock().take());
        if let Some(Looping::Thread(thread)) = self.committing.lock().take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the commit thread has panicked");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

fn read_streams(store: &dyn Store) -> Result<HashMap<StreamId, Stream>> {
    let mut streams = HashMap::new();
    for entry in store.scan(Space::Meta, stream::SPECS, stream::SPECS_END)? {
        let (key, value) = entry?;
        let id = stream::parse_spec_key(&key)?;
        let named = |e: Error| e.context(format_args!("the entry of stream {} is damaged", id.0));
        let spec = stream::decode_spec(value).map_err(named)?;
        let state = store.get(Space::Meta, &stream::state_key(id))?;
        let state = state.ok_or_else(|| named(corrupted("its state is missing")))?;
        let state = StreamStats::decode(state).map_err(named)?;
        check_end(store, id, &state)?;
        streams.insert(id, Stream::new(spec, state));
    }
    Ok(streams)
}

/// Refuses a log that ends elsewhere than its stream's state says. The store sees to that; a
/// directory from before its ledger, or one whose loss was accepted, may have lost the rows and
/// kept the state.
fn check_end(store: &dyn Store, id: StreamId, state: &StreamStats) -> Result<()> {
    let (from, to) = block::all_keys(id);
    let last =
        store.floor(Space::Log, &from, &to)?.map(|key| block::parse_key(&key)).transpose()?;
    let is_there = match last {
        Some((offset, _)) => offset <= state.next_offset,
        None => state.rows == 0,
    };
    if is_there || store.accepts_loss() {
        return Ok(());
    }
    let found =
        last.map_or_else(|| "none are there".to_owned(), |(o, _)| format!("one begins at row {o}"));
    Err(corrupted(format!(
        "the log of stream {} is damaged: it should have rows {} to {}, and of its blocks {found}",
        id.0, state.first_offset, state.next_offset
    ))
    .hint("Restore the data directory from a copy, or start with --accept-loss to go on without these rows."))
}

fn stopped() -> Error {
    Error::new(SqlState::ShuttingDown, "the server is shutting down")
}
