//! Looks over a store before it is opened, for whatever the storage crate would pass over or would
//! not name.
//!
//! The crate makes a keyspace without `current` anew, and with it a whole database when it is the
//! keyspace of their names; of files that its manifests list and that are not there or cut off it
//! only says that it cannot recover. So the files are looked at here, one by one, and the journals
//! are held against the ledger.
//!
//! A manifest `keyspaces/N/vM` (M stands in `current`) and every table and blob file is an archive:
//! sections, then `TOC!` with their places, then `SFA! 1 0 checksum:u128 toc:u64 length:u64`.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Space;
use super::ledger::{Account, CommitLink};
use super::scanjournal::{self, JournalScan};

/// What is wrong with a store, and what there is in its journals.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) damage: Vec<Damage>,
    pub(super) journals: JournalScan,
    /// A journal that was there is gone: rightly, if all of it is in the tables (`DiskStore` asks
    /// the crate).
    pub(super) doubtful: Option<PathBuf>,
}

/// A file that is not as it should be.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) path: PathBuf,
    pub(super) why: String,
    /// What can be done to go on without what is lost.
    pub(super) remedy: Remedy,
}

/// How to go on knowingly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The crate passes over it.
    Nothing,
    /// The crate's version file is written again.
    Version,
    /// The journals end with the good batches of this one (by its place in the scan).
    Cut(usize),
    /// The keyspace in this directory gets its newest manifest back, or is begun anew if it has
    /// none.
    Manifest(PathBuf),
    /// The keyspace in this directory is begun anew.
    Anew(PathBuf),
}

impl Damage {
    fn new(path: PathBuf, why: impl Into<String>, remedy: Remedy) -> Damage {
        Damage { path, why: why.into(), remedy }
    }
}

/// The storage crate's version file.
pub(super) const VERSION: &str = "version";
/// The directory of the keyspaces.
pub(super) const KEYSPACES: &str = "keyspaces";
/// Which manifest of a keyspace holds.
pub(super) const CURRENT: &str = "current";

/// Looks over the store at `path`. Changes nothing.
pub(super) fn survey(path: &Path, account: Option<&Account>) -> io::Result<Survey> {
    let mut found = Survey::default();
    let version = path.join(VERSION);
    match file_length(&version)? {
        None => found.damage.push(Damage::new(version, "it is missing", Remedy::Version)),
        Some(length) if length < 4 => {
            found.damage.push(Damage::new(
                version,
                format!("it ends at byte {length}"),
                Remedy::Version,
            ));
        }
        Some(_) => {}
    }
    found.keyspaces(&path.join(KEYSPACES), account)?;
    found.journals = scanjournal::scan(path)?;
    found.check_journals(path, account);
    Ok(found)
}

impl Survey {
    fn keyspaces(&mut self, path: &Path, account: Option<&Account>) -> io::Result<()> {
        // Number 0 is the crate's own, with the names of the others.
        let mut numbers = vec![0];
        match account {
            Some(account) => numbers.extend(account.keyspaces),
            None if path.exists() => {
                numbers.extend(numbered(path, "")?.into_iter().filter(|n| *n != 0))
            }
            None => {}
        }
        for number in numbers {
            let dir = path.join(number.to_string());
            if let Some((file, why, is_manifest)) = look_at_keyspace(&dir)? {
                let what = match account.and_then(|account| space_of(account, number)) {
                    Some(space) => {
                        format!("{why}; what the keyspace \"{}\" holds is lost", space.name())
                    }
                    None => why,
                };
                let remedy = if is_manifest { Remedy::Manifest(dir) } else { Remedy::Anew(dir) };
                self.damage.push(Damage::new(file, what, remedy));
            }
        }
        Ok(())
    }

    /// Holds the journals against the ledger, or at least against themselves.
    fn check_journals(&mut self, path: &Path, account: Option<&Account>) {
        let journal = |number: u64| path.join(format!("{number}.jnl"));
        let Some(first) = self.journals.files.first() else {
            let missing =
                account.map_or_else(|| path.join("*.jnl"), |account| journal(account.newest));
            return self.damage.push(Damage::new(missing, "there is no journal", Remedy::Nothing));
        };
        let oldest = first.id;
        let last = self.journals.files.len() - 1;
        let lost = |good: u64| match account {
            Some(account) if account.acknowledged() > good => {
                let last = account.acknowledged();
                format!("; the commits {} to {last}, which were acknowledged, are lost", good + 1)
            }
            Some(_) | None => String::new(),
        };
        // Every commit touches Meta.
        let meta = account.map_or(1, |account| account.keyspaces[Space::Meta as usize]);
        let good =
            self.journals.chains.get(&meta).map(|(_, last): &(CommitLink, CommitLink)| last.number);
        if let Some(broken) = self.journals.broken {
            let file = &self.journals.files[broken];
            let why =
                format!("byte {} cannot be read{}", file.end, good.map_or_else(String::new, lost));
            self.damage.push(Damage::new(file.path.clone(), why, Remedy::Cut(broken)));
            return;
        }
        let gap = self.journals.files.windows(2).position(|pair| pair[0].id + 1 != pair[1].id);
        if let Some(gap) = gap {
            let missing = journal(self.journals.files[gap].id + 1);
            self.damage.push(Damage::new(missing, "it is missing", Remedy::Cut(gap)));
            return;
        }
        let Some(account) = account else { return };
        let file = &self.journals.files[last];
        if file.id < account.newest {
            let why = format!("it is missing{}", good.map_or_else(String::new, lost));
            self.damage.push(Damage::new(journal(file.id + 1), why, Remedy::Cut(last)));
        } else if let Some(good) = good.filter(|good| *good < account.acknowledged()) {
            let why = if file.end == file.length {
                format!("it ends at byte {}{}", file.end, lost(good))
            } else {
                format!("byte {} cannot be read{}", file.end, lost(good))
            };
            self.damage.push(Damage::new(file.path.clone(), why, Remedy::Cut(last)));
        }
        if oldest > account.oldest {
            self.doubtful = Some(journal(oldest - 1));
        }
    }
}

fn space_of(account: &Account, keyspace: u64) -> Option<Space> {
    Space::ALL.into_iter().find(|space| account.keyspaces[*space as usize] == keyspace)
}

fn file_length(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The names in a directory that are `prefix` and a number.
pub(super) fn numbered(dir: &Path, prefix: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        numbers
            .extend(name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The first file of a keyspace that is not as it should be, why, and whether it belongs to the
/// manifest.
pub(super) fn look_at_keyspace(dir: &Path) -> io::Result<Option<(PathBuf, String, bool)>> {
    let current = dir.join(CURRENT);
    let number = match std::fs::read(&current) {
        Ok(content) => match content.get(..8).and_then(|word| word.try_into().ok()) {
            Some(word) => u64::from_le_bytes(word),
            None => return Ok(Some((current, format!("it ends at byte {}", content.len()), true))),
        },
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Ok(Some((current, "it is missing".to_owned(), true)));
        }
        Err(e) => return Err(e),
    };
    let manifest = dir.join(format!("v{number}"));
    if let Some(why) = look_at_archive(&manifest)? {
        return Ok(Some((manifest, why, true)));
    }
    let content = std::fs::read(&manifest)?;
    let Some(files) = listed(&content) else {
        return Ok(Some((manifest, "it does not list its files".to_owned(), true)));
    };
    for file in files {
        let path = dir.join(file);
        if let Some(why) = look_at_archive(&path)? {
            return Ok(Some((path, why, false)));
        }
    }
    Ok(None)
}

const TRAILER: u64 = 38;

/// Why a file is no whole archive.
fn look_at_archive(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Some("it is missing".to_owned())),
        Err(e) => return Err(e),
    };
    let length = file.metadata()?.len();
    let mut magic = [0; 4];
    if length >= TRAILER {
        file.seek(SeekFrom::Start(length - TRAILER))?;
        file.read_exact(&mut magic)?;
    }
    Ok((magic != *b"SFA!").then(|| format!("its end is not there (it has {length} bytes)")))
}

/// The table and blob files that a manifest lists, below its directory.
fn listed(manifest: &[u8]) -> Option<Vec<String>> {
    let mut files = Vec::new();
    let mut tables = section(manifest, b"tables")?;
    for _ in 0..take(&mut tables, 1)? {
        for _ in 0..take(&mut tables, 1)? {
            for _ in 0..take(&mut tables, 4)? {
                files.push(format!("tables/{}", take(&mut tables, 8)?));
                tables = tables.get(1 + 16 + 8..)?;
            }
        }
    }
    let mut blobs = section(manifest, b"blob_files")?;
    for _ in 0..take(&mut blobs, 4)? {
        files.push(format!("blobs/{}", take(&mut blobs, 8)?));
        blobs = blobs.get(1 + 16..)?;
    }
    Some(files)
}

/// The bytes of a section of an archive.
fn section<'a>(archive: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let trailer = archive.len().checked_sub(TRAILER as usize)?;
    let place = take(&mut archive.get(trailer + 22..)?, 8)?;
    let mut contents = archive.get(usize::try_from(place).ok()?..)?.strip_prefix(b"TOC!")?;
    for _ in 0..take(&mut contents, 4)? {
        let start = usize::try_from(take(&mut contents, 8)?).ok()?;
        let length = usize::try_from(take(&mut contents, 8)?).ok()?;
        let name_length = usize::try_from(take(&mut contents, 2)?).ok()?;
        let name = contents.get(..name_length)?;
        contents = contents.get(name_length..)?;
        if name == wanted {
            return archive.get(start..start.checked_add(length)?);
        }
    }
    None
}

/// Takes a little-endian number of this many bytes from the front.
fn take(bytes: &mut &[u8], width: usize) -> Option<u64> {
    let (head, rest) = bytes.split_at_checked(width)?;
    let mut word = [0; 8];
    word.get_mut(..width)?.copy_from_slice(head);
    *bytes = rest;
    Some(u64::from_le_bytes(word))
}
