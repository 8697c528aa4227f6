//! Records of connectors that could not be read, kept to be looked at: the newest of each stream.
//!
//! They are part of the commit that passes them by, in a ring of keys a stream, so that they are
//! neither lost in a crash nor grow without bound.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::codec::{delete_ring, ring_key};
use crate::catalog::{Relation, RelationId};
use crate::connect::{Rejected, Why};
use crate::error::Result;
use crate::limits;
use crate::store::codec::{decode_json, encode_json};
use crate::store::{Space, Store, WriteBatch};

/// The ring of keys.
const RING: &str = "rejected";

const VERSION: u8 = 1;

/// A rejected record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RejectedRow {
    /// Its stream.
    pub stream: RelationId,
    /// How many of the stream were rejected before it.
    pub number: u64,
    /// Its number among the source's records.
    pub offset: u64,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// What is wrong with it.
    pub error: String,
    /// When it was found, milliseconds since 1970.
    pub at_ms: i64,
    /// How many of the stream were no rows at all, up to this one.
    #[serde(default)]
    pub malformed: u64,
}

/// The rejected records of all streams.
#[derive(Default)]
pub struct RejectedRows {
    streams: Mutex<BTreeMap<RelationId, StreamRejects>>,
}

#[derive(Default)]
struct StreamRejects {
    /// Records with a smaller number have been seen: several queries read the same stream.
    next: u64,
    rows: VecDeque<RejectedRow>,
    count: u64,
    malformed: u64,
    /// Records with a smaller number are in the store.
    stored: u64,
}

impl StreamRejects {
    fn push(&mut self, stream: RelationId, offset: u64, record: &Rejected, at_ms: i64) {
        self.next = offset + 1;
        self.malformed += u64::from(record.why == Why::Malformed);
        self.rows.push_back(RejectedRow {
            stream,
            number: self.count,
            offset,
            raw: record.raw.clone(),
            error: record.error.clone(),
            at_ms,
            malformed: self.malformed,
        });
        self.count += 1;
    }

    /// Adds those that are not in the store to a commit.
    fn put_new(&mut self, batch: &mut WriteBatch) -> Result<()> {
        let mut new = self.rows.iter().filter(|row| row.number >= self.stored);
        new.try_for_each(|row| put(row, batch))?;
        self.stored = self.count;
        Ok(())
    }

    fn trim(&mut self) {
        while self.rows.len() > limits::KEPT_ROWS {
            self.rows.pop_front();
        }
    }
}

impl RejectedRows {
    /// Reads what was kept before.
    pub fn open(store: &dyn Store) -> Result<RejectedRows> {
        let rejected = RejectedRows::default();
        let mut streams = rejected.streams.lock();
        for entry in store.scan(Space::Meta, b"rejected/", b"rejected0")? {
            let (key, value) = entry?;
            let row: RejectedRow = decode_json(VERSION, value).map_err(|error| {
                error.context(format!("{} is damaged", String::from_utf8_lossy(&key)))
            })?;
            let stream = streams.entry(row.stream).or_default();
            stream.next = stream.next.max(row.offset + 1);
            stream.count = stream.count.max(row.number + 1);
            stream.malformed = stream.malformed.max(row.malformed);
            stream.stored = stream.count;
            stream.rows.push_back(row);
        }
        for stream in streams.values_mut() {
            stream.rows.make_contiguous().sort_by_key(|row| row.number);
        }
        drop(streams);
        Ok(rejected)
    }

    /// Keeps what a reading of a source has rejected and was not known yet; adds it to the commit
    /// that passes it by, if there is one (a temporary query commits nothing).
    pub fn reject(
        &self,
        source: &Relation,
        rejected: &[Rejected],
        at_ms: i64,
        commit: Option<&mut WriteBatch>,
    ) -> Result<()> {
        if rejected.is_empty() {
            return Ok(());
        }
        let mut streams = self.streams.lock();
        let stream = streams.entry(source.id).or_default();
        for record in rejected {
            if record.offset >= stream.next {
                stream.push(source.id, record.offset, record, at_ms);
            }
        }
        if let Some(batch) = commit {
            stream.put_new(batch)?;
        }
        stream.trim();
        Ok(())
    }

    /// Keeps records that came by themselves, each for the first time, and adds them to their
    /// commit. They are numbered as they come, those before them that are only counted included.
    pub fn reject_new(
        &self,
        stream: RelationId,
        counted: u64,
        rejected: &[Rejected],
        at_ms: i64,
        commit: &mut WriteBatch,
    ) -> Result<()> {
        if rejected.is_empty() {
            return Ok(());
        }
        let mut streams = self.streams.lock();
        let kept = streams.entry(stream).or_default();
        kept.next += counted;
        kept.count += counted;
        kept.malformed += counted;
        for record in rejected {
            kept.push(stream, kept.next, record, at_ms);
        }
        kept.trim();
        kept.put_new(commit)
    }

    /// All that is kept, by stream, oldest first.
    pub fn rows(&self) -> Vec<RejectedRow> {
        self.streams.lock().values().flat_map(|stream| stream.rows.iter().cloned()).collect()
    }

    /// How many records of a stream are no rows.
    pub fn malformed_count(&self, stream: RelationId) -> u64 {
        self.streams.lock().get(&stream).map_or(0, |stream| stream.malformed)
    }

    /// How many records of a stream were rejected.
    pub fn rejected_count(&self, stream: RelationId) -> u64 {
        self.streams.lock().get(&stream).map_or(0, |stream| stream.count)
    }

    /// Forgets a stream that is dropped.
    pub fn forget(
        &self,
        store: &dyn Store,
        stream: RelationId,
        batch: &mut WriteBatch,
    ) -> Result<()> {
        self.streams.lock().remove(&stream);
        delete_ring(store, RING, stream, batch)
    }
}

fn put(row: &RejectedRow, batch: &mut WriteBatch) -> Result<()> {
    batch.put(Space::Meta, ring_key(RING, row.stream, row.number), encode_json(VERSION, row)?);
    Ok(())
}
