//! The store on disk, over the LSM crate `fjall`: one keyspace per space, one fsync per commit.
//!
//! ```text
//! DIR/tidemill.format    a line that says what it is, format, whether ready (marker.rs)
//! DIR/tidemill.ledger    how much was acknowledged (ledger.rs)
//! DIR/tidemill.lock      locked as long as a server runs on DIR
//! DIR/store/             fjall's: journals (*.jnl), keyspaces/
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::{Database, Keyspace, PersistMode};
use parking_lot::Mutex;

use super::ledger::{self, Account, CommitLink, Lasts, Ledger, NUMBER_KEY};
use super::lsm::{damaged, io, range};
use super::marker::{self, MarkerState, STORE, mark};
use super::opening::{self, DiskOptions, Opened};
use super::{Change, Entries, Keys, Space, Store, WriteBatch, check_values};
use crate::error::{Error, Result, SqlState};
use crate::limits;

/// A [`Store`] in a directory, which it holds a lock on.
pub struct DiskStore {
    dir: PathBuf,
    options: DiskOptions,
    spaces: Vec<Keyspace>,
    database: Database,
    lost: Vec<Space>,
    // Dropped after the database, whose threads still remove journals: then its last record is
    // final.
    books: Mutex<Books>,
    // Dropped last: the directory is free only when the database has stopped.
    _lock: File,
}

impl DiskStore {
    /// Opens the data directory, or creates it if there is none (or an empty one).
    pub fn open(dir: impl AsRef<Path>) -> Result<DiskStore> {
        DiskStore::open_with(dir, DiskOptions::default())
    }

    /// The same, and says how.
    pub fn open_with(dir: impl AsRef<Path>, options: DiskOptions) -> Result<DiskStore> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(|e| io(&e, "create the data directory", dir))?;
        let marked = opening::marked(dir, options.accept_loss)?;
        let lock = marker::lock(dir)?;
        if let Err(error) = marker::restrict(dir) {
            tracing::warn!(
                "\"{}\" can be read by other users of this machine: {error}",
                dir.display()
            );
        }
        let Opened { database, spaces, account, chain } = match marked {
            MarkerState::Nothing => opening::create(dir, &options)?,
            MarkerState::Ready | MarkerState::Kept => opening::reopen(dir, marked, &options)?,
        };
        let ledger = Ledger::open(dir, account)?;
        mark(dir, MarkerState::Kept)?;
        let mut books = Books { store: dir.join(STORE), ledger, chain };
        books.refresh();
        let (lost, books) = (account.lost_spaces(), Mutex::new(books));
        let store =
            DiskStore { dir: dir.to_owned(), options, spaces, database, lost, books, _lock: lock };
        if chain[Space::Meta as usize] == 0 && account.number > 0 {
            // After a loss a commit of nothing: from here on all agree again on how far they are.
            store.write(WriteBatch::default(), &Space::ALL)?;
        }
        Ok(store)
    }

    /// Writes a batch that may be written, and the number of the commit into these spaces.
    fn write(&self, batch: WriteBatch, touched: &[Space]) -> Result<()> {
        let mut books = self.books.lock();
        let mut account = books.ledger.account;
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncData));
        for (space, link) in books.number(touched, &mut account) {
            writes.insert(
                self.space(space),
                NUMBER_KEY,
                ledger::encode_link(space, link, &account.lasts),
            );
        }
        for change in &batch.changes {
            match change {
                Change::Put(space, key, value) => {
                    writes.insert(self.space(*space), key.as_slice(), value.as_ref());
                }
                Change::Delete(space, key) => writes.remove(self.space(*space), key.as_slice()),
            }
        }
        drop(batch);
        if let Err(error) = writes.commit() {
            super::fatal(
                &Error::new(SqlState::Io, format!("could not write to \"{}\"", self.dir.display()))
                    .detail(error.to_string()),
            )
        }
        books.committed(account);
        Ok(())
    }

    fn space(&self, space: Space) -> &Keyspace {
        &self.spaces[space as usize]
    }

    fn check_room(&self, batch: &WriteBatch) -> Result<()> {
        let reserve = if batch.frees_space() {
            limits::DISK_LAST_RESERVE_BYTES
        } else {
            limits::DISK_RESERVE_BYTES
        };
        let free = (self.options.free_space)(&self.dir)
            .map_err(|e| io(&e, "ask for the free space of", &self.dir))?;
        if free >= reserve.saturating_add(batch.bytes() as u64) {
            return Ok(());
        }
        Err(Error::new(SqlState::DiskFull, format!("no space left for data in \"{}\"", self.dir.display()))
            .detail(format!("{} MiB are free; {} MiB are kept in reserve.", free >> 20, reserve >> 20))
            .hint("Make room on the disk, or drop what is not needed; writing goes on when there is some."))
    }

    fn reading(&self, error: fjall::Error) -> Error {
        match error {
            fjall::Error::Io(e) | fjall::Error::Storage(fjall::LsmError::Io(e)) => {
                io(&e, "read", &self.dir)
            }
            other => damaged(&self.dir.join(STORE), &other.to_string()),
        }
    }
}

/// What is known of the commits.
#[derive(Debug)]
struct Books {
    store: PathBuf,
    ledger: Ledger,
    /// The commit that the next one of each space names as the one before; 0 after a loss.
    chain: Lasts,
}

impl Books {
    /// Looks which journals there are.
    fn refresh(&mut self) {
        let journal = |number: u64| self.store.join(format!("{number}.jnl"));
        let account = &mut self.ledger.account;
        while journal(account.newest + 1).exists() {
            account.newest += 1;
        }
        while account.oldest < account.newest && !journal(account.oldest).exists() {
            account.oldest += 1;
        }
    }
}

impl Books {
    /// Numbers a commit, and says what each space that it touches is told.
    fn number(&mut self, touched: &[Space], account: &mut Account) -> Vec<(Space, CommitLink)> {
        account.number += 1;
        let number = account.number;
        touched.iter().for_each(|space| account.lasts[*space as usize] = number);
        let link = |space: &Space| {
            let before = std::mem::replace(&mut self.chain[*space as usize], number);
            (*space, CommitLink { number, before })
        };
        touched.iter().map(link).collect()
    }

    /// Writes down a commit that is durable, before anyone is told.
    fn committed(&mut self, account: Account) {
        self.ledger.account = account;
        self.refresh();
        if let Err(error) = self.ledger.write(self.ledger.account) {
            // The record before it is true as well, if not as far.
            tracing::warn!(
                "the ledger of \"{}\" could not be written: {error}",
                self.store.display()
            );
        }
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        self.refresh();
        if let Err(error) = self.ledger.end(self.ledger.account) {
            tracing::warn!(
                "the ledger of \"{}\" could not be closed: {error}",
                self.store.display()
            );
        }
    }
}

impl Store for DiskStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.space(space).get(key).map_err(|e| self.reading(e))?;
        Ok(value.map(Bytes::from_owner))
    }

    fn scan(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Entries<'_>> {
        let entries = range(self.space(space), from, to).into_iter().flatten().map(|guard| {
            let (key, value) = guard.into_inner().map_err(|e| self.reading(e))?;
            Ok((key.to_vec(), Bytes::from_owner(value)))
        });
        Ok(Box::new(
            entries.filter(|entry| !entry.as_ref().is_ok_and(|(key, _)| key == NUMBER_KEY)),
        ))
    }

    fn keys(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Keys<'_>> {
        let keys = range(self.space(space), from, to).into_iter().flatten();
        let keys =
            keys.map(|guard| guard.key().map(|key| key.to_vec()).map_err(|e| self.reading(e)));
        Ok(Box::new(keys.filter(|key| !key.as_ref().is_ok_and(|key| key == NUMBER_KEY))))
    }

    fn floor(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>> {
        let keys = range(self.space(space), from, to).into_iter().flatten().rev();
        let mut keys =
            keys.map(|guard| guard.key().map(|key| key.to_vec()).map_err(|e| self.reading(e)));
        keys.find(|key| !key.as_ref().is_ok_and(|key| key == NUMBER_KEY)).transpose()
    }

    fn commit(&self, batch: WriteBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        check_values(&batch.changes, self.largest_value())?;
        self.check_room(&batch)?;
        let touches = |space: &Space| {
            *space == Space::Meta || batch.changes.iter().any(|c| c.space() == *space)
        };
        let touched: Vec<Space> = Space::ALL.into_iter().filter(touches).collect();
        self.write(batch, &touched)
    }

    fn bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or(0)
    }

    fn memory(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("block cache", self.database.cache_size()),
            ("write buffers", self.database.write_buffer_size()),
        ]
    }

    fn accepts_loss(&self) -> bool {
        self.options.accept_loss
    }

    fn lost(&self) -> &[Space] {
        &self.lost
    }

    fn loss_is_settled(&self) {
        let mut books = self.books.lock();
        let account = Account { lost: 0, ..books.ledger.account };
        books.committed(account);
    }
}

#[cfg(test)]
mod tests;
