//! The storage crate: how it is set up, and what its errors mean.
//!
//! What fjall does on failure, and what follows from it:
//! - Any error while writing or syncing its journal, a full disk included, *poisons* it: nothing
//!   can be written until it is opened again. A failed background flush does so too. So room is
//!   checked before a commit begins ([`limits::DISK_RESERVE_BYTES`]), which makes a full disk an
//!   ordinary error (53100) that passes when there is room; and an error from within the commit
//!   ends the process ([`super::fatal`]).
//! - It takes an unreadable place in a journal for the torn end of the last write and cuts the file
//!   there, makes keyspaces anew whose files are gone, and without its version file a new database.
//!   Damage is therefore looked for before it opens (`survey.rs`, `scanjournal.rs`), and afterwards
//!   each space must be as far as the ledger says.
//! - A last batch that a power failure left with its end on disk but not its middle has a wrong
//!   checksum, which fjall does not take for a torn one: opening is refused as damaged (a killed
//!   process cannot leave this, only the loss of the page cache can).
//! - It makes writers wait while flushes are behind, without a bound; a disk that hangs makes
//!   commits hang.
//! - It checks sums of blocks when they are read; damage found then is XX001.

use std::io::ErrorKind;
use std::ops::Bound;
use std::path::Path;

use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};

use super::Space;
use crate::error::{Error, SqlState};
use crate::limits;

/// Threads of the storage crate that flush and compact.
pub(super) const WORKERS: usize = 2;
/// It wants to keep at least this many files open.
const FEWEST_FILES: usize = 10;

/// Opens the database at `path`, or makes a new one, with a keyspace for each space.
pub(super) fn open(
    path: &Path,
    workers: usize,
    files: usize,
) -> fjall::Result<(Database, Vec<Keyspace>)> {
    let database = Database::builder(path)
        .cache_size(limits::STORE_CACHE_BYTES)
        .max_cached_files(Some(files.max(FEWEST_FILES)))
        .max_journaling_size(limits::STORE_JOURNALS_BYTES)
        .journal_compression(CompressionType::None)
        .manual_journal_persist(true)
        // None: to look without changing anything.
        .worker_threads_unchecked(workers)
        .open()?;
    let spaces = Space::ALL.iter().map(|space| {
        database.keyspace(space.name(), || {
            let options =
                KeyspaceCreateOptions::default().max_memtable_size(limits::STORE_MEMTABLE_BYTES);
            match space {
                Space::Log | Space::State | Space::Views => options.with_kv_separation(Some(
                    KvSeparationOptions::default()
                        .separation_threshold(limits::STORE_SEPARATE_BYTES),
                )),
                Space::Meta | Space::Tables => options,
            }
        })
    });
    let spaces = spaces.collect::<fjall::Result<Vec<_>>>()?;
    Ok((database, spaces))
}

pub(super) fn opening(error: fjall::Error, path: &Path) -> Error {
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

pub(super) fn damaged(path: &Path, why: &str) -> Error {
    Error::new(SqlState::Corrupted, format!("the file \"{}\" is damaged: {why}", path.display()))
        .hint("Nothing was changed. Restore the data directory from a copy, or start with --accept-loss to go on without what is lost.")
}

pub(super) fn io(error: &std::io::Error, doing: &str, path: &Path) -> Error {
    let state = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SqlState::DiskFull,
        _ => SqlState::Io,
    };
    let made = Error::new(state, format!("could not {doing} \"{}\": {error}", path.display()));
    match error.kind() {
        ErrorKind::PermissionDenied => {
            made.hint("Give the server's user the right to read and write there.")
        }
        _ => made,
    }
}

pub(super) fn range(keyspace: &Keyspace, from: &[u8], to: &[u8]) -> Option<fjall::Iter> {
    if !to.is_empty() && from >= to {
        return None;
    }
    let upper = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) };
    Some(keyspace.range::<&[u8], _>((Bound::Included(from), upper)))
}
