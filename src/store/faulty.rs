//! A store that fails on purpose, for simulation: the n-th commit or read fails, or is the last before a crash.
//!
//! After a crash every call fails, as if the process were gone; [`FaultyStore::inner`] is what is on the disk then,
//! to be opened again. A commit that crashes can have become durable before or not: both happen in the world, and
//! the caller, who gets an error either way, must be right in both.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Entries, Keys, Space, Store, WriteBatch};
use crate::error::{Error, Result, SqlState};

/// What shall go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The commit with this number (from 1) fails and leaves nothing; later ones work.
    FailCommit(u64),
    /// The read (get or scan) with this number (from 1) fails; later ones work.
    FailRead(u64),
    /// Commits with a value of more bytes than this are refused.
    RefuseValue(usize),
    /// The process dies in the commit with this number, before anything of it is on disk.
    CrashBefore(u64),
    /// The process dies in the commit with this number, when all of it is on disk.
    CrashAfter(u64),
}

/// Passes calls on to another store, until a [`Fault`] strikes.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Vec<Fault>,
    slow: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    commits: u64,
    reads: u64,
    crashed: bool,
}

impl FaultyStore {
    /// A store over `inner` in which `faults` will strike.
    pub fn new(inner: Arc<dyn Store>, faults: impl Into<Vec<Fault>>) -> Self {
        FaultyStore { inner, faults: faults.into(), slow: Duration::ZERO, seen: Mutex::default() }
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

    /// How many commits there were, the failed ones included.
    pub fn commits(&self) -> u64 {
        self.seen.lock().commits
    }

    /// Whether the crash has happened.
    pub fn crashed(&self) -> bool {
        self.seen.lock().crashed
    }

    fn read(&self) -> Result<()> {
        let mut seen = self.seen.lock();
        if seen.crashed {
            return Err(crash());
        }
        seen.reads += 1;
        match self.faults.contains(&Fault::FailRead(seen.reads)) {
            true => Err(Error::new(SqlState::Io, "the read failed")),
            false => Ok(()),
        }
    }
}

fn crash() -> Error {
    Error::new(SqlState::Io, "the store has crashed")
}

impl Store for FaultyStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        self.read()?;
        self.inner.get(space, key)
    }

    fn scan(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Entries<'_>> {
        self.read()?;
        self.inner.scan(space, from, to)
    }

    fn keys(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Keys<'_>> {
        self.read()?;
        self.inner.keys(space, from, to)
    }

    fn floor(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read()?;
        self.inner.floor(space, from, to)
    }

    fn commit(&self, batch: WriteBatch) -> Result<()> {
        let mut seen = self.seen.lock();
        if seen.crashed {
            return Err(crash());
        }
        seen.commits += 1;
        let number = seen.commits;
        if !self.slow.is_zero() {
            std::thread::sleep(self.slow);
        }
        if self.faults.contains(&Fault::FailCommit(number)) {
            return Err(Error::new(SqlState::DiskFull, "the commit failed"));
        }
        let largest = batch.changes.iter().map(super::Change::bytes).max().unwrap_or(0);
        if self.faults.iter().any(|fault| matches!(fault, Fault::RefuseValue(most) if largest > *most)) {
            return Err(Error::new(SqlState::ProgramLimit, "a value is too large to be stored"));
        }
        if self.faults.contains(&Fault::CrashBefore(number)) {
            seen.crashed = true;
            return Err(crash());
        }
        self.inner.commit(batch)?;
        if self.faults.contains(&Fault::CrashAfter(number)) {
            seen.crashed = true;
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
