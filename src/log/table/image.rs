//! How a large table is written anew: in parts, in the background, beside its writer.
//!
//! ```text
//! before   base  change … change C                        one commit after the other writes the
//! during   base  change … change C  C.0 C.1 C.2  change    parts of the version of commit C,
//! after                             C.0 C.1 C.2  change    the last one takes away what was before
//! ```
//! The parts are the chunks of that version as they are, with the marks on deleted rows, so that
//! the changes after it find every row where they left it. A part has the key of its commit and a
//! number; one that has the record of that commit, or any other, before it belongs to an image that
//! was never finished, and is passed over and taken away with the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::chunk::TableVersion;
use super::record::{TableRecord, stamped};
use super::{TableHandle, TableWork, key, parse_commit};
use crate::error::Result;
use crate::limits;
use crate::log::transaction::Transaction;
use crate::log::{CommitNo, Journal};
use crate::store::{Space, WriteBatch};

/// The parts of a version that are in the store, or on their way there.
#[derive(Debug, Default)]
pub(super) struct Image {
    /// The table is no more.
    has_ended: AtomicBool,
    parts: Mutex<Vec<Vec<u8>>>,
    /// All parts are written; what is before them can go.
    written: Mutex<Option<WrittenImage>>,
}

#[derive(Debug, Clone, Copy)]
struct WrittenImage {
    commit: CommitNo,
    bytes: usize,
    /// What the table had of changes then.
    change_bytes: usize,
}

impl Image {
    /// The table is dropped: its parts go too, and none is added. Runs in the commit thread, as
    /// what adds them does.
    pub(super) fn end(&self, batch: &mut WriteBatch) {
        self.has_ended.store(true, Ordering::Release);
        self.parts.lock().drain(..).for_each(|key| batch.delete(Space::Tables, key));
    }
}

/// The key of a part of the version of a commit.
fn part_key(table: &TableHandle, commit: CommitNo, part: u32) -> Vec<u8> {
    [&key(table.id, commit)[..], &part.to_be_bytes()].concat()
}

/// Whether a key is that of a part.
pub(super) fn is_part(key: &[u8]) -> bool {
    key.len() == 20
}

impl TableHandle {
    /// Writes the table anew if it is large and its changes have become larger than it. Returns
    /// whether it has done so; what is not finished because a transaction holds the table is
    /// finished by a later call. Blocks on the store.
    pub fn write_image(&self, journal: &Journal) -> Result<bool> {
        let written = *self.image.written.lock();
        let written = match written {
            Some(written) => written,
            None => {
                let Ok(work) = Arc::clone(&self.work).try_lock_owned() else { return Ok(false) };
                let (base_bytes, change_bytes) = (work.base_bytes, work.change_bytes);
                let wants = change_bytes > base_bytes + limits::TABLE_CHANGE_BYTES
                    && base_bytes + change_bytes >= self.whole_bytes();
                if !wants {
                    return Ok(false);
                }
                let version = self.version();
                drop(work);
                let bytes = self.write_parts(journal, &version)?;
                let written = WrittenImage { commit: version.commit, bytes, change_bytes };
                *self.image.written.lock() = Some(written);
                written
            }
        };
        match Arc::clone(&self.work).try_lock_owned() {
            Ok(mut work) => self.finish_image(journal, &mut work, written).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    pub(super) fn write_parts(&self, journal: &Journal, version: &TableVersion) -> Result<usize> {
        let (mut record, mut size, mut part, mut bytes) = (TableRecord::default(), 0, 0, 0);
        for (at, chunk) in version.chunks.iter().enumerate() {
            size += chunk.bytes();
            record.added.push((chunk.batch.clone(), Arc::clone(&chunk.since)));
            record.deleted.extend(chunk.deleted_ids(at));
            let is_last = at + 1 == version.chunks.len();
            if is_last {
                record.past.extend(version.past.iter().cloned());
            }
            if size >= self.whole_bytes() / limits::TABLE_PARTS || is_last {
                let value = std::mem::take(&mut record).encode()?;
                let value = stamped(&value, self.last_commit.load(Ordering::Acquire));
                bytes += value.len();
                self.put_part(journal, part_key(self, version.commit, part), value)?;
                (size, part) = (0, part + 1);
            }
        }
        Ok(bytes)
    }

    fn put_part(&self, journal: &Journal, key: Vec<u8>, value: bytes::Bytes) -> Result<()> {
        let image = Arc::clone(&self.image);
        let mut transaction = Transaction::default();
        transaction.with_commit(move |_, batch| {
            if !image.has_ended.load(Ordering::Acquire) {
                image.parts.lock().push(key.clone());
                batch.put(Space::Tables, key, value);
            }
            Ok(())
        });
        journal.commit_blocking(transaction).map(|_| ())
    }

    /// All parts are there: what is before them goes. If the table was written whole meanwhile the
    /// parts go instead.
    fn finish_image(
        &self,
        journal: &Journal,
        work: &mut TableWork,
        written: WrittenImage,
    ) -> Result<()> {
        let parts = std::mem::take(&mut *self.image.parts.lock());
        *self.image.written.lock() = None;
        let is_valid = work.records.contains(&key(self.id, written.commit));
        let (mut old, mut kept) = (Vec::new(), Vec::new());
        for record in work.records.iter().filter(|record| !parts.contains(record)) {
            if parse_commit(record)? <= written.commit {
                old.push(record.clone());
            } else {
                kept.push(record.clone());
            }
        }
        let gone = if is_valid { old } else { parts.clone() };
        let mut transaction = Transaction::default();
        gone.into_iter().for_each(|key| transaction.puts.delete(Space::Tables, key));
        journal.commit_blocking(transaction)?;
        if is_valid {
            work.records = parts.into_iter().chain(kept).collect();
            work.base_bytes = written.bytes;
            work.change_bytes -= written.change_bytes.min(work.change_bytes);
        }
        Ok(())
    }
}
