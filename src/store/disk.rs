//! The store on disk, over the LSM crate `fjall`: one keyspace per space, one fsync per commit.
//!
//! ```text
//! DIR/tidemill.format    "tidemill data directory", format number, "creating" or "ready"
//! DIR/tidemill.lock      locked as long as a server runs on DIR
//! DIR/store/             fjall's: journals (*.jnl), keyspaces/
//! ```
//!
//! What fjall does on failure, and what follows from it:
//! - Any error while writing or syncing its journal, a full disk included, *poisons* it: nothing can be
//!   written until it is opened again. A failed background flush does so too. So room is checked before a commit begins
//!   ([`limits::DISK_RESERVE_BYTES`]), which makes a full disk an ordinary error (53100) that passes when
//!   there is room; and an error from within the commit ends the process ([`super::fatal`]).
//! - It takes an unreadable place in a journal for the torn end of the last write and cuts the file there. Damage before that end is
//!   therefore looked for before it opens (`scanjournal.rs`).
//! - A last batch that a power failure left with its end on disk but not its middle has a wrong checksum, which fjall does not take
//!   for a torn one: opening is refused as damaged (a killed process cannot leave this, only the loss of the page cache can).
//! - Without its version file it would make a new database in an old directory; our own marker says that there was one.
//! - It makes writers wait while flushes are behind, without a bound; a disk that hangs makes commits hang.
//! - It checks sums of blocks when they are read; damage found then is XX001.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::{Change, Entries, Keys, Space, Store, WriteBatch, scanjournal};
use crate::error::{Error, Result, SqlState};
use crate::limits;

/// The format of everything below a data directory. Grows by one when an older server could not read it.
pub const FORMAT: u32 = 1;

const MARKER: &str = "tidemill.format";
const MARKER_TITLE: &str = "tidemill data directory";
const LOCK: &str = "tidemill.lock";
const STORE: &str = "store";

/// Block cache over all spaces, bytes.
const CACHE_BYTES: u64 = 32 << 20;
/// All journals together, bytes (the least that fjall allows is 64 MiB).
const JOURNALS_BYTES: u64 = 128 << 20;
/// What a space keeps in memory before it is flushed, bytes.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Values of the log that are larger than this are kept apart from their keys, so that compaction does not copy them.
const SEPARATE_BYTES: u32 = 1 << 10;

/// The largest value, bytes: fjall keeps lengths in 32 bits and does not check them.
const VALUE_BYTES: usize = 2 << 30;

/// A [`Store`] in a directory, which it holds a lock on.
pub struct DiskStore {
    dir: PathBuf,
    spaces: Vec<Keyspace>,
    database: Database,
    // Dropped last: the directory is free only when the database has stopped.
    _lock: File,
}

impl DiskStore {
    /// Opens the data directory, or creates it if there is none (or an empty one).
    pub fn open(dir: impl AsRef<Path>) -> Result<DiskStore> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(|e| io(&e, "create the data directory", dir))?;
        let found = look(dir)?;
        let lock = lock(dir)?;
        let path = dir.join(STORE);
        match found {
            Found::Ready => check(&path)?,
            Found::Nothing => {
                // A start that did not get as far as "ready" acknowledged nothing.
                if path.exists() {
                    fs::remove_dir_all(&path).map_err(|e| io(&e, "clear", &path))?;
                }
                mark(dir, "creating")?;
            }
        }
        let (database, spaces) = open_database(&path).map_err(|e| opening(e, &path))?;
        if found == Found::Nothing {
            mark(dir, "ready")?;
        }
        Ok(DiskStore { dir: dir.to_owned(), spaces, database, _lock: lock })
    }

    fn space(&self, space: Space) -> &Keyspace {
        &self.spaces[space as usize]
    }

    fn check_room(&self, wanted: usize) -> Result<()> {
        let room = rustix::fs::statvfs(&self.dir)
            .map_err(|e| io(&e.into(), "ask for the free space of", &self.dir))?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free >= limits::DISK_RESERVE_BYTES.saturating_add(wanted as u64) {
            return Ok(());
        }
        Err(Error::new(SqlState::DiskFull, format!("no space left for data in \"{}\"", self.dir.display()))
            .detail(format!(
                "{} MiB are free; {} MiB are kept in reserve.",
                free >> 20,
                limits::DISK_RESERVE_BYTES >> 20
            ))
            .hint("Make room on the disk; writing goes on when there is some."))
    }

    fn reading(&self, error: fjall::Error) -> Error {
        match error {
            fjall::Error::Io(e) | fjall::Error::Storage(fjall::LsmError::Io(e)) => io(&e, "read", &self.dir),
            other => damaged(&self.dir.join(STORE), &other.to_string()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Ready,
}

/// Whether the directory is ours to use, before anything is changed in it.
fn look(dir: &Path) -> Result<Found> {
    let marker = dir.join(MARKER);
    let text = match fs::read_to_string(&marker) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return look_unmarked(dir),
        Err(e) if e.kind() == ErrorKind::InvalidData => return Err(damaged(&marker, "it is not text")),
        Err(e) => return Err(io(&e, "read", &marker)),
    };
    let mut lines = text.lines();
    let title = lines.next();
    let format =
        lines.next().and_then(|line| line.strip_prefix("format ")).and_then(|n| n.parse::<u32>().ok());
    let (Some(MARKER_TITLE), Some(format)) = (title, format) else {
        return Err(damaged(&marker, "it does not name a format"));
    };
    if format > FORMAT {
        return Err(Error::new(
            SqlState::NotInState,
            format!(
                "the data directory \"{}\" has format {format}, this server knows formats up to {FORMAT}",
                dir.display()
            ),
        )
        .hint("Start the newer version of Tidemill that wrote it, or name another --data-dir."));
    }
    match lines.next() {
        Some("ready") => Ok(Found::Ready),
        Some("creating") => Ok(Found::Nothing),
        _ => Err(damaged(&marker, "it does not say whether the directory is ready")),
    }
}

fn look_unmarked(dir: &Path) -> Result<Found> {
    for entry in fs::read_dir(dir).map_err(|e| io(&e, "read", dir))? {
        let name = entry.map_err(|e| io(&e, "read", dir))?.file_name();
        if name == STORE {
            return Err(damaged(&dir.join(MARKER), "it is missing, but there is data beside it"));
        }
        if name != LOCK && name != "lost+found" {
            return Err(Error::new(
                SqlState::NotInState,
                format!("\"{}\" is not empty and is no data directory of Tidemill", dir.display()),
            )
            .hint("Name an empty or a new directory with --data-dir."));
        }
    }
    Ok(Found::Nothing)
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = open.map_err(|e| io(&e, "open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            SqlState::NotInState,
            format!("the data directory \"{}\" is in use by another server", dir.display()),
        )
        .hint("Stop the other server, or name another --data-dir.")),
        Err(TryLockError::Error(e)) => Err(io(&e, "lock", &path)),
    }
}

/// Writes the marker whole or not at all.
fn mark(dir: &Path, state: &str) -> Result<()> {
    let (path, fresh) = (dir.join(MARKER), dir.join("tidemill.format.new"));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&fresh)?;
        write!(file, "{MARKER_TITLE}\nformat {FORMAT}\n{state}\n")?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|e| io(&e, "write", &path))
}

/// What fjall would pass over: files that are gone, and holes in its journals.
fn check(path: &Path) -> Result<()> {
    for name in ["version", "keyspaces"] {
        let file = path.join(name);
        if !file.exists() {
            return Err(damaged(&file, "it is missing"));
        }
    }
    let mut journals = fs::read_dir(path).map_err(|e| io(&e, "read", path))?;
    if !journals.any(|entry| entry.is_ok_and(|e| e.path().extension().is_some_and(|x| x == "jnl"))) {
        return Err(damaged(&path.join("*.jnl"), "there is no journal"));
    }
    match scanjournal::find_damage(path).map_err(|e| io(&e, "read the journals of", path))? {
        Some((file, at)) => Err(damaged(&file, &format!("byte {at} cannot be read"))),
        None => Ok(()),
    }
}

fn open_database(path: &Path) -> fjall::Result<(Database, Vec<Keyspace>)> {
    let database = Database::builder(path)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNALS_BYTES)
        .journal_compression(CompressionType::None)
        .manual_journal_persist(true)
        .worker_threads(2)
        .open()?;
    let spaces = Space::ALL.iter().map(|space| {
        database.keyspace(space.name(), || {
            let options = KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            match space {
                Space::Log => options.with_kv_separation(Some(
                    KvSeparationOptions::default().separation_threshold(SEPARATE_BYTES),
                )),
                Space::Meta | Space::Tables | Space::State | Space::Views => options,
            }
        })
    });
    let spaces = spaces.collect::<fjall::Result<Vec<_>>>()?;
    Ok((database, spaces))
}

fn opening(error: fjall::Error, path: &Path) -> Error {
    match error {
        fjall::Error::Io(e) | fjall::Error::Storage(fjall::LsmError::Io(e)) => match e.kind() {
            ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData => {
                damaged(path, &e.to_string())
            }
            _ => io(&e, "open", path),
        },
        fjall::Error::Locked => Error::new(
            SqlState::NotInState,
            format!("the data directory \"{}\" is in use by another server", path.display()),
        )
        .hint("Stop the other server, or name another --data-dir."),
        other => damaged(path, &other.to_string()),
    }
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::new(SqlState::Corrupted, format!("the file \"{}\" is damaged: {why}", path.display()))
        .hint("Nothing was changed. Restore the data directory from a copy, or name another --data-dir.")
}

fn io(error: &std::io::Error, doing: &str, path: &Path) -> Error {
    let state = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SqlState::DiskFull,
        _ => SqlState::Io,
    };
    let made = Error::new(state, format!("could not {doing} \"{}\": {error}", path.display()));
    match error.kind() {
        ErrorKind::PermissionDenied => made.hint("Give the server's user the right to read and write there."),
        _ => made,
    }
}

impl Store for DiskStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.space(space).get(key).map_err(|e| self.reading(e))?;
        Ok(value.map(Bytes::from_owner))
    }

    fn scan(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Entries<'_>> {
        Ok(Box::new(range(self.space(space), from, to).into_iter().flatten().map(|guard| {
            let (key, value) = guard.into_inner().map_err(|e| self.reading(e))?;
            Ok((key.to_vec(), Bytes::from_owner(value)))
        })))
    }

    fn keys(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Keys<'_>> {
        Ok(Box::new(
            range(self.space(space), from, to)
                .into_iter()
                .flatten()
                .map(|guard| guard.key().map(|key| key.to_vec()).map_err(|e| self.reading(e))),
        ))
    }

    fn floor(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>> {
        let last = range(self.space(space), from, to).and_then(|mut range| range.next_back());
        last.map(|guard| guard.key().map(|key| key.to_vec()).map_err(|e| self.reading(e))).transpose()
    }

    fn commit(&self, batch: WriteBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        if batch.changes.iter().any(|change| change.bytes() > VALUE_BYTES) {
            return Err(Error::new(SqlState::ProgramLimit, "a value is too large to be stored")
                .hint("Write it in several smaller statements."));
        }
        self.check_room(batch.bytes())?;
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncData));
        for change in &batch.changes {
            match change {
                Change::Put(space, key, value) => {
                    writes.insert(self.space(*space), key.as_slice(), value.as_ref());
                }
                Change::Delete(space, key) => writes.remove(self.space(*space), key.as_slice()),
            }
        }
        drop(batch);
        writes.commit().or_else(|error| {
            super::fatal(
                &Error::new(SqlState::Io, format!("could not write to \"{}\"", self.dir.display()))
                    .detail(error.to_string()),
            )
        })
    }

    fn bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or(0)
    }
}

fn range(keyspace: &Keyspace, from: &[u8], to: &[u8]) -> Option<fjall::Iter> {
    let upper = match to.is_empty() {
        true => Bound::Unbounded,
        false if from >= to => return None,
        false => Bound::Excluded(to),
    };
    Some(keyspace.range::<&[u8], _>((Bound::Included(from), upper)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(dir: &Path) -> Error {
        match DiskStore::open(dir) {
            Ok(_) => panic!("{} was opened", dir.display()),
            Err(error) => error,
        }
    }

    fn put(store: &DiskStore, key: &str, value: &[u8]) {
        let mut batch = WriteBatch::default();
        batch.put(Space::Log, key, value.to_vec());
        batch.put(Space::Meta, "last", key.as_bytes().to_vec());
        store.commit(batch).unwrap();
    }

    #[test]
    fn what_is_committed_is_there_after_reopening_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("data");
        let store = DiskStore::open(&path).unwrap();
        put(&store, "b", &[7; 5000]);
        put(&store, "a", b"small");
        assert_eq!(refused(&path).state(), SqlState::NotInState, "a second server");
        drop(store);
        let store = DiskStore::open(&path).unwrap();
        let all: Vec<_> = store.scan(Space::Log, b"", b"").unwrap().map(Result::unwrap).collect();
        assert_eq!(all[0], (b"a".to_vec(), Bytes::from_static(b"small")));
        assert_eq!(all[1], (b"b".to_vec(), Bytes::from(vec![7; 5000])));
        assert_eq!(store.get(Space::Meta, b"last").unwrap().unwrap(), "a");
        assert_eq!(store.floor(Space::Log, b"", b"b").unwrap().unwrap(), b"a");
        assert!(store.bytes() > 0);
    }

    #[test]
    fn a_directory_that_is_not_ours_or_newer_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "mine").unwrap();
        assert!(refused(dir.path()).message().contains("no data directory"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

        let dir = tempfile::tempdir().unwrap();
        drop(DiskStore::open(dir.path()).unwrap());
        fs::write(dir.path().join(MARKER), "tidemill data directory\nformat 77\nready\n").unwrap();
        let error = refused(dir.path());
        assert!(error.message().contains("format 77") && error.message().contains("up to 1"), "{error}");
    }

    #[test]
    fn a_damaged_directory_is_refused_by_name_and_never_started_fresh() {
        type Strike = fn(&Path);
        let damage: [(&str, Strike); 4] = [
            (MARKER, |dir| fs::write(dir.join(MARKER), "x").unwrap()),
            (MARKER, |dir| fs::remove_file(dir.join(MARKER)).unwrap()),
            ("version", |dir| fs::remove_file(dir.join("store/version")).unwrap()),
            ("0.jnl", |dir| {
                let path = dir.join("store/0.jnl");
                let mut bytes = fs::read(&path).unwrap();
                bytes[0] = 9;
                fs::write(&path, bytes).unwrap();
            }),
        ];
        for (file, strike) in damage {
            let dir = tempfile::tempdir().unwrap();
            let store = DiskStore::open(dir.path()).unwrap();
            (0..5).for_each(|n| put(&store, &n.to_string(), b"value"));
            drop(store);
            strike(dir.path());
            let error = refused(dir.path());
            assert_eq!(error.state(), SqlState::Corrupted, "{file}: {error}");
            assert!(error.message().contains(file), "{file}: {error}");
            assert_eq!(refused(dir.path()).message(), error.message(), "a second try");
        }
    }

    /// What is on the disk while the server runs, as if it were killed now.
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            let target = to.join(entry.file_name().unwrap());
            match entry.is_dir() {
                true => copy(&entry, &target),
                false => drop(fs::copy(&entry, &target).unwrap()),
            }
        }
    }

    #[test]
    fn a_killed_server_has_every_commit_and_a_torn_last_one_is_not_there_in_part() {
        let dir = tempfile::tempdir().unwrap();
        let running = DiskStore::open(dir.path().join("running")).unwrap();
        (10..30).for_each(|n| put(&running, &n.to_string(), b"some value"));
        let count = |dir: &Path| DiskStore::open(dir).unwrap().keys(Space::Log, b"", b"").unwrap().count();

        let killed = dir.path().join("killed");
        copy(&dir.path().join("running"), &killed);
        assert_eq!(count(&killed), 20);

        let torn = dir.path().join("torn");
        copy(&dir.path().join("running"), &torn);
        let journal = torn.join("store/0.jnl");
        let bytes = fs::read(&journal).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        fs::write(&journal, &bytes[..end - 20]).unwrap();
        assert_eq!(count(&torn), 19);
        assert_eq!(count(&torn), 19, "and once more");
    }
}
