//! Looks through the storage crate's journals before it opens them, for damage that it would pass over.
//!
//! The crate takes the first entry that it cannot read for the torn end of the last write and cuts the file there. That
//! is right at the end of the newest journal, where a crash leaves half a batch that nobody was told of. But whole batches
//! *behind* the unreadable place were acknowledged once: then the file is damaged, and cutting it would lose them silently.
//!
//! A batch is `1 count:u32 seqno:u64`, items, `3 checksum:u64 "FJL\x03"`; an item is `2 type:u8 compression:u8
//! space:u64 key_len:u16 len:u32 stored_len:u32` key value (all little-endian). The unused end of a journal is zeros.

use std::path::{Path, PathBuf};

/// The last bytes of every batch.
const TRAILER: [u8; 4] = *b"FJL\x03";

/// What a journal holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Journal {
    /// Whole batches, then nothing or at most one torn batch.
    Sound,
    /// Something unreadable at this place, and whole batches behind it.
    Damaged(usize),
}

/// Whether the last batch of a journal may be there in part only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Torn {
    Possible,
    Never,
}

/// The first journal of `dir` that is damaged, and where.
pub(super) fn find_damage(dir: &Path) -> std::io::Result<Option<(PathBuf, usize)>> {
    let mut journals: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        journals.extend(number.map(|number| (number, path)));
    }
    journals.sort();
    // The newest was being written when the server ended; the others were closed with a sync.
    let mut torn = Torn::Possible;
    for (_, path) in journals.into_iter().rev() {
        let torn = std::mem::replace(&mut torn, Torn::Never);
        if let Journal::Damaged(at) = check(&std::fs::read(&path)?, torn) {
            return Ok(Some((path, at)));
        }
    }
    Ok(None)
}

fn check(bytes: &[u8], torn: Torn) -> Journal {
    let mut good = 0;
    while let Some(end) = batch_end(bytes, good) {
        good = end;
    }
    let rest = without_zeros(&bytes[good..]);
    // A batch that was cut off can have its trailer already on disk (pages are written in any order), so one is no proof.
    let allowed = match torn {
        Torn::Never => return if rest.is_empty() { Journal::Sound } else { Journal::Damaged(good) },
        Torn::Possible => 1,
    };
    match rest.windows(TRAILER.len()).filter(|window| *window == TRAILER).count() > allowed {
        true => Journal::Damaged(good),
        false => Journal::Sound,
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

/// Where the batch that begins at `at` ends, if it is whole.
fn batch_end(bytes: &[u8], at: usize) -> Option<usize> {
    let number = |at: usize, width: usize| -> Option<u64> {
        let mut word = [0; 8];
        word[..width].copy_from_slice(bytes.get(at..at.checked_add(width)?)?);
        Some(u64::from_le_bytes(word))
    };
    if *bytes.get(at)? != 1 {
        return None;
    }
    let items = number(at + 1, 4)?;
    let mut at = at + 13;
    for _ in 0..items {
        match *bytes.get(at)? {
            2 => {
                let (key, stored) = (number(at + 11, 2)?, number(at + 17, 4)?);
                at = at.checked_add(21 + usize::try_from(key + stored).ok()?)?;
            }
            4 => at += 9,
            _ => return None,
        }
    }
    let trailer = bytes.get(at..at.checked_add(13)?)?;
    (trailer[0] == 3 && trailer[9..] == TRAILER).then_some(at + 13)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(value: &[u8]) -> Vec<u8> {
        let mut out = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        out.extend((value.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
        out.push(b'k');
        out.extend(value);
        out.push(3);
        out.extend([0; 8]);
        out.extend(TRAILER);
        out
    }

    #[test]
    fn a_torn_end_is_sound_and_a_hole_before_whole_batches_is_not() {
        let mut journal = [batch(b"one"), batch(b"two"), batch(b"three"), batch(b"four")].concat();
        assert_eq!(check(&journal, Torn::Possible), Journal::Sound);
        assert_eq!(check(&journal[..journal.len() - 5], Torn::Possible), Journal::Sound);
        assert_eq!(check(&journal, Torn::Never), Journal::Sound);
        let third = [batch(b"one"), batch(b"two"), batch(b"three")].concat().len();
        assert_eq!(check(&journal[..journal.len() - 5], Torn::Never), Journal::Damaged(third));
        let second = batch(b"one").len();
        journal[second] = 0;
        assert_eq!(check(&journal, Torn::Possible), Journal::Damaged(second));
        assert_eq!(check(&[0; 100], Torn::Possible), Journal::Sound);
    }
}
