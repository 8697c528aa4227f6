//! Goes on without what is lost, when that has been accepted (`--accept-loss`).
//!
//! Nothing is thrown away: what is cut off or replaced stays beside the rest, with `.lost` in its
//! name. Journals end before the first hole, so that no commit is there without those before it. A
//! keyspace whose files are gone is begun anew in its place; the names of the keyspaces are always
//! the same, so of them nothing is lost. Without `Meta`, which says what all else is, there is
//! nothing to go on with: then the whole store is begun anew.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::Space;
use super::ledger::Account;
use super::lsm::{self, io as failed};
use super::marker::STORE;
use super::survey::{self, CURRENT, Damage, KEYSPACES, Remedy, Survey, VERSION};
use crate::error::{Error, Result};
use crate::limits;

/// What a repair has left.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Repaired {
    /// A store in which these spaces lack something.
    Without(Vec<Space>),
    /// Nothing of use; the store is out of the way.
    Nothing,
}

/// Applies the remedies of a survey.
pub(super) fn repair(dir: &Path, found: &Survey, account: &Account) -> Result<Repaired> {
    let store = dir.join(STORE);
    let broken = |error: Error| error.context("the data directory could not be repaired");
    let mut lacking = Vec::new();
    for damage in &found.damage {
        warn(damage);
        let space = match anew(&store, damage, found).map_err(broken)? {
            Some(number) => space_of(account, number),
            None => None,
        };
        if space == Some(Space::Meta) {
            set_aside(&store).map_err(|e| broken(failed(&e, "set aside", &store)))?;
            return Ok(Repaired::Nothing);
        }
        lacking.extend(space);
    }
    if found.damage.iter().any(|damage| damage.remedy == Remedy::Nothing) {
        // Early commits are gone, and later ones are there: no space can be relied on.
        lacking = Space::ALL.to_vec();
    }
    Ok(Repaired::Without(lacking))
}

/// Says what is given up.
pub(super) fn warn(damage: &Damage) {
    tracing::warn!(
        "--accept-loss: the file \"{}\" is damaged: {}",
        damage.path.display(),
        damage.why
    );
}

/// Applies one remedy. The number of the keyspace that is empty now, if one is.
fn anew(store: &Path, damage: &Damage, found: &Survey) -> Result<Option<u64>> {
    let done = |result: io::Result<()>| result.map_err(|e| failed(&e, "repair", &damage.path));
    match &damage.remedy {
        Remedy::Nothing => Ok(None),
        Remedy::Version => done(fs::write(store.join(VERSION), b"FJL\x03")).map(|()| None),
        Remedy::Cut(at) => done(cut(found, *at)).map(|()| None),
        Remedy::Manifest(keyspace) => match restore_manifest(keyspace) {
            Ok(true) => Ok(None),
            Ok(false) => begin_anew(store, keyspace),
            Err(e) => Err(failed(&e, "repair", &damage.path)),
        },
        Remedy::Anew(keyspace) => begin_anew(store, keyspace),
    }
}

fn space_of(account: &Account, number: u64) -> Option<Space> {
    Space::ALL.into_iter().find(|space| account.keyspaces[*space as usize] == number)
}

/// Ends the journals with the last good batch of this one.
fn cut(found: &Survey, at: usize) -> io::Result<()> {
    let Some(file) = found.journals.files.get(at) else { return Ok(()) };
    if file.end < file.length {
        fs::copy(&file.path, with_suffix(&file.path))?;
        let journal = OpenOptions::new().write(true).open(&file.path)?;
        journal.set_len(file.end as u64)?;
        journal.sync_all()?;
    }
    let Some(dir) = file.path.parent() else { return Ok(()) };
    for (id, path) in super::scanjournal::list(dir)? {
        if id > file.id {
            fs::rename(&path, with_suffix(&path))?;
        }
    }
    Ok(())
}

/// Points a keyspace to its newest manifest; false if none is whole.
fn restore_manifest(keyspace: &Path) -> io::Result<bool> {
    if !keyspace.exists() {
        return Ok(false);
    }
    for number in survey::numbered(keyspace, "v")?.into_iter().rev() {
        // The number, a checksum that the crate does not look at, and the kind of the checksum.
        let content = [&number.to_le_bytes()[..], &[0; 17]].concat();
        fs::write(keyspace.join(CURRENT), content)?;
        if survey::look_at_keyspace(keyspace)?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Puts an empty keyspace in the place of this one: that of a new store, in which all have the same
/// numbers.
fn begin_anew(store: &Path, keyspace: &Path) -> Result<Option<u64>> {
    let fresh = store.with_extension("fresh");
    let name = keyspace.file_name().unwrap_or_default();
    let exchange = || -> io::Result<()> {
        if keyspace.exists() {
            fs::rename(keyspace, free_name(&store.join("keyspace"), name)?)?;
        }
        fs::create_dir_all(store.join(KEYSPACES))?;
        fs::rename(fresh.join(KEYSPACES).join(name), keyspace)?;
        fs::remove_dir_all(&fresh)
    };
    if fresh.exists() {
        // Of a repair that broke off.
        fs::remove_dir_all(&fresh).map_err(|e| failed(&e, "clear", &fresh))?;
    }
    drop(
        lsm::open(&fresh, lsm::WORKERS, limits::STORE_FILES)
            .map_err(|e| lsm::opening(e, &fresh))?,
    );
    exchange().map_err(|e| failed(&e, "begin anew", keyspace))?;
    Ok(name.to_str().and_then(|name| name.parse().ok()))
}

fn set_aside(store: &Path) -> io::Result<()> {
    fs::rename(store, free_name(store, "".as_ref())?)
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lost");
    PathBuf::from(name)
}

/// `path-name.lost`, or with a number when that is taken.
fn free_name(path: &Path, name: &std::ffi::OsStr) -> io::Result<PathBuf> {
    for attempt in 0..u32::MAX {
        let mut free = path.as_os_str().to_owned();
        if !name.is_empty() {
            free.push("-");
            free.push(name);
        }
        if attempt > 0 {
            free.push(format!("-{attempt}"));
        }
        let free = with_suffix(Path::new(&free));
        if !free.exists() {
            return Ok(free);
        }
    }
    Err(io::Error::other("no free name"))
}
