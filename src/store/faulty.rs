//! A store that fails on purpose, for simulation: a call that is counted fails once, or is the last
//! before a crash.
//!
//! After a crash every call fails, as if the process were gone; [`FaultyStore::inner`] is what is
//! on the disk then, to be opened again. A commit that crashes can have become durable before or
//! not: both happen in the world, and the caller, who gets an error either way, must be right in
//! both.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Change, Entries, Keys, Space, Store, WriteBatch};
use crate::error::{Error, Result, SqlState};

/// What shall go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full at the commit with this number (from 1), which leaves nothing; later ones
    /// work.
    FailCommit(u64),
    /// The read (get, scan, keys, floor) with this number (from 1) fails; later ones work.
    FailRead(u64),
    /// The read with this number fails when its first entry has been given; later ones work.
    FailScan(u64),
    /// The next read of keys that begin so fails likewise; later ones work.
    FailScanOf([u8; 8]),
    /// Commits with a value of more bytes than this are refused, each time.
    RefuseValue(usize),
    /// The process dies in the commit with this number, before anything of it is on disk.
    CrashBefore(u64),
    /// The process dies in the commit with this number, when all of it is on disk.
    CrashAfter(u64),
    /// The process dies in the read with this number.
    CrashRead(u64),
}

/// Passes calls on to another store, until a [`Fault`] strikes.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    slow: Duration,
    state: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    /// Those that are to come.
    armed: Vec<Fault>,
    /// Those that have struck since somebody asked.
    struck: Vec<Fault>,
    commits: u64,
    reads: u64,
    /// How many keys the largest commit has written or deleted.
    most_changes: usize,
    crashed: bool,
    /// Keys that begin so could not be read.
    unread: Option<[u8; 8]>,
    /// Such keys have been written since.
    written_since: bool,
}

impl Faults {
    fn strikes(&mut self, fault: Fault) -> bool {
        let found = self.armed.iter().position(|armed| *armed == fault);
        self.struck.extend(found.map(|at| self.armed.remove(at)));
        found.is_some()
    }
}

impl FaultyStore {
    /// A store over `inner` in which `faults` will strike.
    pub fn new(inner: Arc<dyn Store>, faults: impl Into<Vec<Fault>>) -> Self {
        let state = Mutex::new(Faults { armed: faults.into(), ..Faults::default() });
        FaultyStore { inner, slow: Duration::ZERO, state }
    }

    /// Every commit takes this long, as on a real disk.
    #[must_use]
    pub fn slow(mut self, time: Duration) -> Self {
        self.slow = time;
        self
    }

    /// What is on the disk; after a crash this is what is opened again.
    pub fn inner(&self) -> Arc<dyn Store> {
        Arc::clone(&self.inner)
    }

    /// Another fault that shall strike.
    pub fn arm(&self, fault: Fault) {
        self.state.lock().armed.push(fault);
    }

    /// No fault shall strike that has not yet.
    pub fn disarm(&self) {
        self.state.lock().armed.clear();
    }

    /// The faults that have struck since this was asked last.
    pub fn struck(&self) -> Vec<Fault> {
        std::mem::take(&mut self.state.lock().struck)
    }

    /// How many commits there were, the failed ones included.
    pub fn commits(&self) -> u64 {
        self.state.lock().commits
    }

    /// How many reads there were, the failed ones included.
    pub fn reads(&self) -> u64 {
        self.state.lock().reads
    }

    /// How many keys the largest commit has written or deleted, the failed ones included.
    pub fn most_changes(&self) -> usize {
        self.state.lock().most_changes
    }

    /// Whether the crash has happened.
    pub fn crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// Counts a read; how it goes wrong when it has begun well.
    fn read(&self) -> Result<Option<Error>> {
        let mut state = self.state.lock();
        if state.crashed {
            return Err(crash());
        }
        state.reads += 1;
        let number = state.reads;
        if state.strikes(Fault::CrashRead(number)) {
            state.crashed = true;
            return Err(crash());
        }
        if state.strikes(Fault::FailRead(number)) {
            return Err(unread());
        }
        Ok(state.strikes(Fault::FailScan(number)).then(unread))
    }

    /// Counts a read of keys from here on.
    fn read_from(&self, from: &[u8]) -> Result<Option<Error>> {
        let error = self.read()?;
        let Some(&begins) = from.first_chunk() else { return Ok(error) };
        let mut state = self.state.lock();
        let strikes = state.strikes(Fault::FailScanOf(begins));
        if strikes {
            state.unread = Some(begins);
        }
        Ok(error.or(strikes.then(unread)))
    }

    /// Whether keys of which [`Fault::FailScanOf`] has failed a read have been written after that.
    pub fn written_since_unread(&self) -> bool {
        self.state.lock().written_since
    }
}

fn crash() -> Error {
    Error::new(SqlState::Io, "the store has crashed")
}

fn unread() -> Error {
    Error::new(SqlState::Io, "the read failed")
}

/// The first item, and then the error if there is one.
fn cut_short<'a, T: 'a>(
    items: Box<dyn Iterator<Item = Result<T>> + 'a>,
    error: Option<Error>,
) -> Box<dyn Iterator<Item = Result<T>> + 'a> {
    match error {
        Some(error) => Box::new(items.take(1).chain([Err(error)])),
        None => items,
    }
}

impl Store for FaultyStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        match self.read()? {
            Some(error) => Err(error),
            None => self.inner.get(space, key),
        }
    }

    fn scan(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Entries<'_>> {
        let error = self.read_from(from)?;
        Ok(cut_short(self.inner.scan(space, from, to)?, error))
    }

    fn keys(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Keys<'_>> {
        let error = self.read_from(from)?;
        Ok(cut_short(self.inner.keys(space, from, to)?, error))
    }

    fn floor(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.read_from(from)? {
            Some(error) => Err(error),
            None => self.inner.floor(space, from, to),
        }
    }

    fn largest_value(&self) -> usize {
        let refused = self.state.lock().armed.iter().find_map(|fault| match fault {
            Fault::RefuseValue(most) => Some(*most),
            _ => None,
        });
        refused.unwrap_or_else(|| self.inner.largest_value())
    }

    fn commit(&self, batch: WriteBatch) -> Result<()> {
        let mut state = self.state.lock();
        if state.crashed {
            return Err(crash());
        }
        state.commits += 1;
        state.most_changes = state.most_changes.max(batch.changes.len());
        let number = state.commits;
        let is_unread = |change: &Change| {
            let (Change::Put(space, key, _) | Change::Delete(space, key)) = change;
            let is_of_query = matches!(space, Space::State | Space::Views);
            is_of_query && state.unread.is_some_and(|begins| key.starts_with(&begins))
        };
        let writes_unread = batch.changes.iter().any(is_unread);
        state.written_since |= writes_unread;
        if !self.slow.is_zero() {
            std::thread::sleep(self.slow);
        }
        if state.strikes(Fault::FailCommit(number)) {
            return Err(Error::new(SqlState::DiskFull, "the commit failed"));
        }
        if state.strikes(Fault::CrashBefore(number)) {
            state.crashed = true;
            return Err(crash());
        }
        self.inner.commit(batch)?;
        if state.strikes(Fault::CrashAfter(number)) {
            state.crashed = true;
            return Err(crash());
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn accepts_loss(&self) -> bool {
        self.inner.accepts_loss()
    }

    fn lost(&self) -> &[Space] {
        self.inner.lost()
    }

    fn loss_is_settled(&self) {
        self.inner.loss_is_settled();
    }

    fn memory(&self) -> Vec<(&'static str, u64)> {
        self.inner.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn put(store: &FaultyStore, key: u8) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put(Space::Meta, [key], Bytes::from_static(b"x"));
        store.commit(batch)
    }

    #[test]
    fn each_fault_strikes_once_and_says_so() {
        let store = FaultyStore::new(Arc::new(MemoryStore::new()), [Fault::FailCommit(2)]);
        assert!(put(&store, 1).is_ok() && put(&store, 2).is_err() && put(&store, 2).is_ok());
        assert_eq!(store.struck(), [Fault::FailCommit(2)]);
        store.arm(Fault::FailRead(store.reads() + 1));
        store.arm(Fault::FailScan(store.reads() + 2));
        assert!(store.get(Space::Meta, &[1]).is_err());
        let scanned: Vec<bool> =
            store.scan(Space::Meta, &[], &[]).unwrap().map(|entry| entry.is_ok()).collect();
        assert_eq!(scanned, [true, false]);
        assert_eq!(store.scan(Space::Meta, &[], &[]).unwrap().count(), 2);
    }

    #[test]
    fn after_a_crash_the_process_is_gone_and_the_disk_is_as_it_was_left() {
        for (fault, left) in
            [(Fault::CrashBefore(2), 1), (Fault::CrashAfter(2), 2), (Fault::CrashRead(1), 2)]
        {
            let store = FaultyStore::new(Arc::new(MemoryStore::new()), [fault]);
            let done = put(&store, 1).is_ok()
                && put(&store, 2).is_ok()
                && store.get(Space::Meta, &[1]).is_ok();
            assert!(
                !done
                    && store.crashed()
                    && put(&store, 3).is_err()
                    && store.keys(Space::Meta, &[], &[]).is_err()
            );
            assert_eq!(
                store.inner().keys(Space::Meta, &[], &[]).unwrap().count(),
                left,
                "{fault:?}"
            );
        }
    }
}
