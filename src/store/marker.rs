//! The marker file of a data directory: whose it is, its format, and how far its making came.
//!
//! ```text
//! tidemill data directory
//! format 2
//! ready                     or "creating": a start that did not end, and acknowledged nothing
//! ledger                    there is a ledger (`ledger.rs`); of older servers there is none
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::lsm::{damaged, io};
use crate::error::{Error, Result, SqlState};

/// The format of everything below a data directory. Grows by one when an older server could not
/// read it: it then says that a newer one is needed, and does not take for damage what it cannot
/// read. An older directory has this format from the moment it is opened.
///
/// 1: values of queries and of the catalog as JSON, state as Arrow IPC. 2: a version and a checksum
/// before each value (`codec.rs`). 3: rows of tables have times (`log/table/past.rs`), views may have
/// one query. 4: NUMERIC without precision has 38 digits behind the point (`widened.rs`). 5: columns may
/// be of CHAR and of VARCHAR without a length.
pub const FORMAT: u32 = 5;

pub(super) const STORE: &str = "store";

pub(super) const MARKER: &str = "tidemill.format";
const TITLE: &str = "tidemill data directory";
const LOCK: &str = "tidemill.lock";

/// What the marker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkerState {
    /// Nothing, or a start that broke off before anything was acknowledged.
    Nothing,
    /// Data, and no ledger yet.
    Ready,
    /// Data, and a ledger that says how much.
    Kept,
}

/// Whether the directory is ours to use, before anything is changed in it.
pub(super) fn look(dir: &Path) -> Result<MarkerState> {
    let marker = dir.join(MARKER);
    let text = match fs::read_to_string(&marker) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return look_unmarked(dir),
        Err(e) if e.kind() == ErrorKind::InvalidData => {
            return Err(damaged(&marker, "it is not text"));
        }
        Err(e) => return Err(io(&e, "read", &marker)),
    };
    let mut lines = text.lines();
    let title = lines.next();
    let format = lines
        .next()
        .and_then(|line| line.strip_prefix("format "))
        .and_then(|n| n.parse::<u32>().ok());
    let (Some(TITLE), Some(format)) = (title, format) else {
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
    match (lines.next(), lines.next()) {
        (Some("ready"), Some("ledger")) => Ok(MarkerState::Kept),
        (Some("ready"), None) => Ok(MarkerState::Ready),
        (Some("creating"), _) => Ok(MarkerState::Nothing),
        _ => Err(damaged(&marker, "it does not say whether the directory is ready")),
    }
}

fn look_unmarked(dir: &Path) -> Result<MarkerState> {
    if dir.join(STORE).exists() {
        return Err(damaged(&dir.join(MARKER), "it is missing, but there is data beside it"));
    }
    for entry in fs::read_dir(dir).map_err(|e| io(&e, "read", dir))? {
        let name = entry.map_err(|e| io(&e, "read", dir))?.file_name();
        if name != LOCK && name != "lost+found" {
            return Err(Error::new(
                SqlState::NotInState,
                format!("\"{}\" is not empty and is no data directory of Tidemill", dir.display()),
            )
            .hint("Name an empty or a new directory with --data-dir."));
        }
    }
    Ok(MarkerState::Nothing)
}

/// Takes the lock that is held as long as a server runs on the directory.
pub(super) fn lock(dir: &Path) -> Result<File> {
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

/// Writes the marker, if it does not say that already.
pub(super) fn mark(dir: &Path, state: MarkerState) -> Result<()> {
    let state = match state {
        MarkerState::Nothing => "creating",
        MarkerState::Ready => "ready",
        MarkerState::Kept => "ready\nledger",
    };
    let text = format!("{TITLE}\nformat {FORMAT}\n{state}\n");
    if fs::read(dir.join(MARKER)).is_ok_and(|said| said == text.as_bytes()) {
        return Ok(());
    }
    replace(dir, MARKER, text.as_bytes())
}

/// Writes a file of the directory whole or not at all.
pub(super) fn replace(dir: &Path, name: &str, content: &[u8]) -> Result<()> {
    let (path, fresh) = (dir.join(name), dir.join(format!("{name}.new")));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|e| io(&e, "write", &path))
}

/// Nobody else on this machine may read what is in the directory.
pub(super) fn restrict(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let close = |path: &Path, mode: u32| -> std::io::Result<()> {
        if fs::metadata(path)?.permissions().mode() & 0o777 == mode {
            return Ok(());
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    close(dir, 0o700)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && entry.file_name() != "lost+found" {
            restrict(&entry.path())?;
        } else if kind.is_file() {
            close(&entry.path(), 0o600)?;
        }
    }
    Ok(())
}
