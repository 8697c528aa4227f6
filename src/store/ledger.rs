//! The ledger: how much was acknowledged, kept apart from the storage crate's own files so that it
//! can be held against them.
//!
//! Each commit has a number, written into every space it touches together with the number of the
//! commit before that touched the same space. So each space says itself how far it is there, and
//! its numbers in the journals form a chain in which a missing link shows. The ledger says how far
//! they must be: its record is written after each commit's sync and before its acknowledgement. It
//! is not synced itself, and need not be: when the process is killed the page cache has it, and
//! after a loss of power it may be older than the truth, never newer.
//!
//! ```text
//! tidemill.ledger   0    "tidemill ledger 1\n"
//!                   512  record, when its turn is even     a torn record leaves the one before
//!                   1024 record, when its turn is odd
//! ```

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::lsm::{damaged, io};
use super::{Space, marker};
use crate::error::Result;

pub(super) const LEDGER: &str = "tidemill.ledger";
const TITLE: &[u8] = b"tidemill ledger 1\n";
const RECORD: usize = 512;
const SPACES: usize = Space::ALL.len();

/// The key of a space's number. No key of a reader's range is equal to it: those of `Meta` are
/// words, all others begin with an id.
pub(super) const NUMBER_KEY: &[u8] = b"\0commit";

/// The last commit of each space.
pub(super) type Lasts = [u64; SPACES];

/// What the ledger says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Grows with each record.
    pub(super) turn: u64,
    /// The last commit that was acknowledged.
    pub(super) number: u64,
    /// The last one that touched each space.
    pub(super) lasts: Lasts,
    /// The number of each space's directory.
    pub(super) keyspaces: [u64; SPACES],
    /// The oldest journal that was there.
    pub(super) oldest: u64,
    /// The newest one.
    pub(super) newest: u64,
    /// It was written at a clean stop, after everything else.
    pub(super) ended: bool,
    /// The spaces whose loss was accepted and has not been dealt with yet, a bit each.
    pub(super) lost: u64,
}

const WORDS: usize = HEAD + 2 * SPACES;
const HEAD: usize = 6;

impl Account {
    /// The last commit that must be there: every commit touches `Meta`.
    pub(super) fn acknowledged(&self) -> u64 {
        self.lasts[Space::Meta as usize]
    }

    /// The spaces in [`lost`](Self::lost).
    pub(super) fn lost_spaces(&self) -> Vec<Space> {
        Space::ALL.into_iter().filter(|space| self.lost & bit(*space) != 0).collect()
    }

    fn encode(&self) -> Vec<u8> {
        let ended = u64::from(self.ended);
        let head: [u64; HEAD] =
            [self.turn, self.number, self.oldest, self.newest, ended, self.lost];
        let words = head.iter().chain(&self.lasts).chain(&self.keyspaces);
        let mut bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Account> {
        let (words, sum) = bytes.get(..WORDS * 8 + 4)?.split_at(WORDS * 8);
        if crc32fast::hash(words).to_le_bytes() != *sum {
            return None;
        }
        let word =
            |at: usize| Some(u64::from_le_bytes(words.get(at * 8..at * 8 + 8)?.try_into().ok()?));
        let mut account = Account {
            turn: word(0)?,
            number: word(1)?,
            oldest: word(2)?,
            newest: word(3)?,
            ended: word(4)? != 0,
            lost: word(5)?,
            ..Account::default()
        };
        for at in 0..SPACES {
            account.lasts[at] = word(HEAD + at)?;
            account.keyspaces[at] = word(HEAD + SPACES + at)?;
        }
        Some(account)
    }
}

/// The bits of spaces in [`Account::lost`].
pub(super) fn bits(spaces: &[Space]) -> u64 {
    spaces.iter().fold(0, |bits, space| bits | bit(*space))
}

fn bit(space: Space) -> u64 {
    1 << space as usize
}

/// The open ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    /// As written last.
    pub(super) account: Account,
}

impl Ledger {
    /// Goes on with the ledger that there is, or begins one. Only a new one takes room on the disk.
    pub(super) fn open(dir: &Path, account: Account) -> Result<Ledger> {
        let path = dir.join(LEDGER);
        let Ok(last) = read(dir) else { return Ledger::create(dir, account) };
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let mut ledger = Ledger { file: file.map_err(|e| io(&e, "open", &path))?, account: last };
        // Synced: a record of a clean stop must not come back when there have been commits since.
        let begun =
            ledger.write(Account { ended: false, ..account }).and_then(|()| ledger.file.sync_all());
        begun.map_err(|e| io(&e, "write", &path))?;
        Ok(ledger)
    }

    fn create(dir: &Path, account: Account) -> Result<Ledger> {
        let mut content = vec![0; 3 * RECORD];
        content[..TITLE.len()].copy_from_slice(TITLE);
        let account = Account { turn: 0, ended: false, ..account };
        let record = account.encode();
        content[RECORD..RECORD + record.len()].copy_from_slice(&record);
        marker::replace(dir, LEDGER, &content)?;
        let path = dir.join(LEDGER);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        Ok(Ledger { file: file.map_err(|e| io(&e, "open", &path))?, account })
    }

    /// Says how far the store is now. An error leaves the record before.
    pub(super) fn write(&mut self, account: Account) -> std::io::Result<()> {
        let account = Account { turn: self.account.turn + 1, ..account };
        let place = RECORD as u64 * (1 + account.turn % 2);
        self.account = account;
        self.file.write_all_at(&account.encode(), place)
    }

    /// The last record, written when nothing can follow.
    pub(super) fn end(&mut self, account: Account) -> std::io::Result<()> {
        self.write(Account { ended: true, ..account })?;
        self.file.sync_all()
    }
}

/// What the ledger of a directory says.
pub(super) fn read(dir: &Path) -> Result<Account> {
    let path = dir.join(LEDGER);
    let content = match std::fs::read(&path) {
        Ok(content) => content,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(&path, "it is missing"));
        }
        Err(e) => return Err(io(&e, "read", &path)),
    };
    let records = [1, 2].map(|at| content.get(at * RECORD..).and_then(Account::decode));
    let newest = records.into_iter().flatten().max_by_key(|account| account.turn);
    match newest {
        Some(account) if content.starts_with(TITLE) => Ok(account),
        Some(_) => Err(damaged(&path, "byte 0 cannot be read")),
        None => Err(damaged(&path, &format!("byte {RECORD} cannot be read"))),
    }
}

/// The number of a commit as it stands in a space.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CommitLink {
    /// The commit.
    pub(super) number: u64,
    /// The commit before that touched this space.
    pub(super) before: u64,
}

/// The value under [`NUMBER_KEY`] of a space. That of `Meta`, which every commit touches, says of
/// all spaces how far they are.
pub(super) fn encode_link(space: Space, link: CommitLink, lasts: &Lasts) -> Vec<u8> {
    let mut value = [link.number.to_le_bytes(), link.before.to_le_bytes()].concat();
    if space == Space::Meta {
        value.extend(lasts.iter().flat_map(|last| last.to_le_bytes()));
    }
    value
}

/// The link in such a value.
pub(super) fn decode_link(value: &[u8]) -> Option<CommitLink> {
    Some(CommitLink { number: word(value, 0)?, before: word(value, 1)? })
}

/// What `Meta`'s value says of all spaces.
pub(super) fn decode_lasts(value: &[u8]) -> Option<Lasts> {
    let mut lasts = Lasts::default();
    for (at, last) in lasts.iter_mut().enumerate() {
        *last = word(value, 2 + at)?;
    }
    Some(lasts)
}

fn word(value: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(value.get(at * 8..at * 8 + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_record_leaves_the_one_before_and_two_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let account =
            Account { number: 7, lasts: [7, 6, 0, 5, 5], oldest: 2, ..Account::default() };
        let mut ledger = Ledger::open(dir.path(), account).unwrap();
        assert_eq!(read(dir.path()).unwrap(), account);
        ledger.write(Account { number: 8, ..account }).unwrap();
        assert_eq!(read(dir.path()).unwrap().number, 8);
        ledger.file.write_all_at(&[9; 20], 1024).unwrap();
        assert_eq!(read(dir.path()).unwrap().number, 7);
        ledger.file.write_all_at(&[9; 20], 512).unwrap();
        assert!(read(dir.path()).unwrap_err().message().contains("byte 512 cannot be read"));
    }

    #[test]
    fn a_link_comes_back_and_that_of_meta_says_of_all_spaces() {
        let (link, lasts) = (CommitLink { number: 9, before: 4 }, [9, 8, 7, 6, 5]);
        let value = encode_link(Space::Meta, link, &lasts);
        assert_eq!((decode_link(&value), decode_lasts(&value)), (Some(link), Some(lasts)));
        let value = encode_link(Space::Log, link, &lasts);
        assert_eq!((decode_link(&value), decode_lasts(&value)), (Some(link), None));
    }
}
