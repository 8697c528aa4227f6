//! Looks through the storage crate's journals before it opens them, for damage that it would pass
//! over.
//!
//! The crate takes the first entry that it cannot read for the torn end of the last write and cuts
//! the file there. That is right at the end of the newest journal, where a crash leaves half a
//! batch that nobody was told of. But whole batches *behind* the unreadable place were acknowledged
//! once: then the file is damaged, and cutting it would lose them silently. The same holds for a
//! batch whose space says that another commit came before it (`ledger.rs`), which is not there.
//!
//! A batch is `1 count:u32 seqno:u64`, items, `3 checksum:u64 "FJL\x03"`; an item is `2 type:u8
//! compression:u8 space:u64 key_len:u16 len:u32 stored_len:u32` key value (all little-endian). The
//! unused end of a journal is zeros.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ledger::{CommitLink, NUMBER_KEY, decode_link};

/// The last bytes of every batch.
const TRAILER: [u8; 4] = *b"FJL\x03";

/// Whether the last batch of a journal may be there in part only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Torn {
    Possible,
    Never,
}

/// All journals of a store, oldest first.
#[derive(Debug, Default)]
pub(super) struct JournalScan {
    /// Each of them.
    pub(super) files: Vec<JournalFile>,
    /// For each space (by the number of its directory) the first and the last commit in them that
    /// touched it.
    pub(super) chains: BTreeMap<u64, (CommitLink, CommitLink)>,
    /// The storage crate's number of the first batch.
    pub(super) first_seqno: Option<u64>,
    /// The first journal, by its place in `files`, in which something acknowledged cannot be read.
    pub(super) broken: Option<usize>,
}

/// One journal.
#[derive(Debug)]
pub(super) struct JournalFile {
    /// Its number.
    pub(super) id: u64,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Where its last good batch ends.
    pub(super) end: usize,
    /// How long the file is.
    pub(super) length: usize,
}

/// Where the journals of a store are, by their numbers.
pub(super) fn list(dir: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut journals: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let number =
            path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        journals.extend(number.map(|number| (number, path)));
    }
    journals.sort();
    Ok(journals)
}

/// Reads all journals of `dir`. Stops at the first one that is damaged: what follows a hole is of
/// no use.
pub(super) fn scan(dir: &Path) -> std::io::Result<JournalScan> {
    let mut found = JournalScan::default();
    let journals = list(dir)?;
    let newest = journals.last().map(|(id, _)| *id);
    for (id, path) in journals {
        let bytes = std::fs::read(&path)?;
        // The newest was being written when the server ended; the others were closed with a sync.
        let torn = if newest == Some(id) { Torn::Possible } else { Torn::Never };
        let (end, is_sound) = found.take_in(&bytes, torn);
        found.files.push(JournalFile { id, path, end, length: bytes.len() });
        if !is_sound {
            found.broken = Some(found.files.len() - 1);
            break;
        }
    }
    Ok(found)
}

impl JournalScan {
    /// Reads one journal: where its good batches end, and whether that is its end.
    fn take_in(&mut self, bytes: &[u8], torn: Torn) -> (usize, bool) {
        let mut good = 0;
        while let Some(batch) = Batch::read(bytes, good) {
            if !self.follows(&batch) {
                return (good, false);
            }
            self.first_seqno.get_or_insert(batch.seqno);
            good = batch.end;
        }
        (good, is_sound(&bytes[good..], torn))
    }

    /// Whether every space's commit before this batch is the last one that was read; takes the
    /// batch in if so. 0 begins a chain: there was nothing before, or what was before is known to
    /// be incomplete (`--accept-loss`).
    fn follows(&mut self, batch: &Batch) -> bool {
        let is_next = |(space, link): &(u64, CommitLink)| {
            link.before == 0
                || self.chains.get(space).is_none_or(|(_, last)| last.number == link.before)
        };
        if !batch.links.iter().all(is_next) {
            return false;
        }
        for (space, link) in &batch.links {
            self.chains
                .entry(*space)
                .and_modify(|(_, last)| *last = *link)
                .or_insert((*link, *link));
        }
        true
    }
}

/// Whether what follows the good batches is nothing, or at most one torn batch.
fn is_sound(rest: &[u8], torn: Torn) -> bool {
    let rest = without_zeros(rest);
    match torn {
        Torn::Never => rest.is_empty(),
        // A batch that was cut off can have its trailer already on disk (pages are written in any
        // order), so one is no proof.
        Torn::Possible => {
            rest.windows(TRAILER.len()).filter(|window| *window == TRAILER).count() <= 1
        }
    }
}

/// Without the zeros at the end.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut end = bytes.len();
    for page in bytes.rchunks(ZEROS.len()) {
        if page != &ZEROS[..page.len()] {
            return &bytes[..end];
        }
        end -= page.len();
    }
    &[]
}

/// A whole batch of a journal.
struct Batch {
    /// The storage crate's number.
    seqno: u64,
    /// The commit that it is, for each space that it touches; batches of older servers have none.
    links: Vec<(u64, CommitLink)>,
    /// Where it ends.
    end: usize,
}

impl Batch {
    /// The batch that begins at `at`, if it is whole.
    fn read(bytes: &[u8], at: usize) -> Option<Batch> {
        if *bytes.get(at)? != 1 {
            return None;
        }
        let items = number(bytes, at + 1, 4)?;
        let seqno = number(bytes, at + 5, 8)?;
        let mut links = Vec::new();
        let mut at = at + 13;
        for _ in 0..items {
            match *bytes.get(at)? {
                2 => {
                    let (space, key) = (number(bytes, at + 3, 8)?, number(bytes, at + 11, 2)?);
                    let value = at.checked_add(21 + usize::try_from(key).ok()?)?;
                    let end =
                        value.checked_add(usize::try_from(number(bytes, at + 17, 4)?).ok()?)?;
                    if bytes.get(at + 21..value)? == NUMBER_KEY {
                        links.push((space, decode_link(bytes.get(value..end)?)?));
                    }
                    at = end;
                }
                4 => at += 9,
                _ => return None,
            }
        }
        let trailer = bytes.get(at..at.checked_add(13)?)?;
        (trailer[0] == 3 && trailer[9..] == TRAILER).then_some(Batch { seqno, links, end: at + 13 })
    }
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..width].copy_from_slice(bytes.get(at..at.checked_add(width)?)?);
    Some(u64::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Space;
    use crate::store::ledger::encode_link;

    fn batch(key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut out = vec![1, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        out.extend((key.len() as u16).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
        out.extend(key);
        out.extend(value);
        out.push(3);
        out.extend([0; 8]);
        out.extend(TRAILER);
        out
    }

    fn check(bytes: &[u8], torn: Torn) -> (usize, bool) {
        JournalScan::default().take_in(bytes, torn)
    }

    #[test]
    fn a_torn_end_is_sound_and_a_hole_before_whole_batches_is_not() {
        let all: Vec<_> =
            [&b"one"[..], b"two", b"three", b"four"].map(|value| batch(b"k", value)).into();
        let mut journal = all.concat();
        let third = all[..3].concat().len();
        assert_eq!(check(&journal, Torn::Possible), (journal.len(), true));
        assert_eq!(check(&journal[..journal.len() - 5], Torn::Possible), (third, true));
        assert_eq!(check(&journal, Torn::Never), (journal.len(), true));
        assert_eq!(check(&journal[..journal.len() - 5], Torn::Never), (third, false));
        let second = all[0].len();
        journal[second] = 0;
        assert_eq!(check(&journal, Torn::Possible), (second, false));
        assert_eq!(check(&[0; 100], Torn::Possible), (0, true));
    }

    #[test]
    fn a_commit_that_is_missing_between_others_is_a_hole() {
        let commit = |number, before| {
            batch(
                NUMBER_KEY,
                &encode_link(Space::Log, CommitLink { number, before }, &Default::default()),
            )
        };
        let (first, second, third) = (commit(4, 2), commit(5, 4), commit(9, 5));
        let mut scan = JournalScan::default();
        let whole = [first.clone(), second.clone(), third.clone()].concat();
        assert_eq!(scan.take_in(&whole, Torn::Possible), (whole.len(), true));
        let (oldest, newest) = scan.chains[&7];
        assert_eq!((oldest.before, newest.number, scan.first_seqno), (2, 9, Some(5)));
        let hole = [first.clone(), third].concat();
        assert_eq!(check(&hole, Torn::Possible), (first.len(), false));
    }
}
