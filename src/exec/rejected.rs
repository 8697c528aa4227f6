//! Rows that could not be counted, kept to be looked at: the newest rejected records of each stream, the newest late
//! rows of each view.
//!
//! They are part of the commit that passes them by, in a ring of keys a stream or view, so that they are neither lost in a crash nor grow
//! without bound: record n overwrites record n − [`limits::KEPT_ROWS`].

use std::collections::{BTreeMap, VecDeque};

use datafusion::arrow::array::RecordBatch;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::stored;
use super::view::LateRow;
use crate::catalog::{Relation, RelationId};
use crate::connect::{Rejected, Why};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::store::{Space, Store, WriteBatch};
use crate::time::Watermark;

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
pub struct Kept {
    rejected: Mutex<BTreeMap<RelationId, Stream>>,
}

#[derive(Default)]
struct Stream {
    /// Records with a smaller number have been seen: several queries read the same stream.
    next: u64,
    rows: VecDeque<RejectedRow>,
    count: u64,
    malformed: u64,
    /// Records with a smaller number are in the store.
    stored: u64,
}

impl Kept {
    /// Reads what was kept before.
    pub fn open(store: &dyn Store) -> Result<Kept> {
        let kept = Kept::default();
        let mut streams = kept.rejected.lock();
        for entry in store.scan(Space::Meta, b"rejected/", b"rejected0")? {
            let (key, value) = entry?;
            let row: RejectedRow = serde_json::from_slice(&value).map_err(|error| {
                Error::new(
                    SqlState::Corrupted,
                    format!("{} is damaged: {error}", String::from_utf8_lossy(&key)),
                )
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
        Ok(kept)
    }

    /// Keeps what a reading of a source has rejected and was not known yet; adds it to the commit that passes it by, if
    /// there is one (a temporary query commits nothing).
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
        let mut streams = self.rejected.lock();
        let stream = streams.entry(source.id).or_default();
        for record in rejected {
            if record.offset < stream.next {
                continue;
            }
            stream.next = record.offset + 1;
            stream.malformed += u64::from(record.why == Why::Malformed);
            let row = RejectedRow {
                stream: source.id,
                number: stream.count,
                offset: record.offset,
                raw: record.raw.clone(),
                error: record.error.clone(),
                at_ms,
                malformed: stream.malformed,
            };
            stream.count += 1;
            stream.rows.push_back(row);
        }
        if let Some(batch) = commit {
            let mut new = stream.rows.iter().filter(|row| row.number >= stream.stored);
            new.try_for_each(|row| put(row, batch))?;
            stream.stored = stream.count;
        }
        while stream.rows.len() > limits::KEPT_ROWS {
            stream.rows.pop_front();
        }
        Ok(())
    }

    /// All that is kept, by stream, oldest first.
    pub fn rejected(&self) -> Vec<RejectedRow> {
        self.rejected.lock().values().flat_map(|stream| stream.rows.iter().cloned()).collect()
    }

    /// How many records of a stream are no rows.
    pub fn malformed_count(&self, stream: RelationId) -> u64 {
        self.rejected.lock().get(&stream).map_or(0, |stream| stream.malformed)
    }

    /// How many records of a stream were rejected.
    pub fn rejected_count(&self, stream: RelationId) -> u64 {
        self.rejected.lock().get(&stream).map_or(0, |stream| stream.count)
    }

    /// Forgets a stream that is dropped.
    pub fn forget(&self, store: &dyn Store, stream: RelationId, batch: &mut WriteBatch) -> Result<()> {
        self.rejected.lock().remove(&stream);
        delete_prefix(store, &format!("rejected/{:016x}/", stream.0), batch)
    }
}

fn put(row: &RejectedRow, batch: &mut WriteBatch) -> Result<()> {
    let value = serde_json::to_vec(row).map_err(|error| Error::internal(error.to_string()))?;
    batch.put(Space::Meta, slot("rejected", row.stream, row.number), value);
    Ok(())
}

fn slot(what: &str, id: RelationId, number: u64) -> Vec<u8> {
    format!("{what}/{:016x}/{:08x}", id.0, number % limits::KEPT_ROWS as u64).into_bytes()
}

fn delete_prefix(store: &dyn Store, prefix: &str, batch: &mut WriteBatch) -> Result<()> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    for entry in store.scan(Space::Meta, prefix.as_bytes(), &end)? {
        batch.delete(Space::Meta, entry?.0);
    }
    Ok(())
}

/// A late row as stored.
#[derive(Serialize, Deserialize)]
struct StoredLate {
    number: u64,
    at_ms: i64,
    watermark: i64,
    row: Vec<u8>,
}

/// Adds a view's late rows to a commit; the last of them is the view's late row number `count` (from 1).
pub fn put_late(view: RelationId, rows: &[LateRow], count: u64, batch: &mut WriteBatch) -> Result<()> {
    let first = count.saturating_sub(rows.len() as u64);
    for (number, late) in (first..).zip(rows) {
        let stored = StoredLate {
            number,
            at_ms: late.at_ms,
            watermark: late.watermark.0,
            row: stored::encode(&late.row)?,
        };
        let value = serde_json::to_vec(&stored).map_err(|error| Error::internal(error.to_string()))?;
        batch.put(Space::Meta, slot("late", view, number), value);
    }
    Ok(())
}

/// The late rows of a view that are kept, oldest first.
pub fn read_late(store: &dyn Store, view: RelationId) -> Result<Vec<LateRow>> {
    let (from, to) = (format!("late/{:016x}/", view.0), format!("late/{:016x}0", view.0));
    let mut found: Vec<(u64, LateRow)> = Vec::new();
    for entry in store.scan(Space::Meta, from.as_bytes(), to.as_bytes())? {
        let stored: StoredLate = serde_json::from_slice(&entry?.1)
            .map_err(|error| Error::new(SqlState::Corrupted, format!("a late row is damaged: {error}")))?;
        let row: RecordBatch = stored::decode(&stored.row)?;
        found.push((
            stored.number,
            LateRow { at_ms: stored.at_ms, watermark: Watermark(stored.watermark), row },
        ));
    }
    found.sort_by_key(|(number, _)| *number);
    Ok(found.into_iter().map(|(_, late)| late).collect())
}

/// Removes the late rows of a view.
pub fn delete_late(store: &dyn Store, view: RelationId, batch: &mut WriteBatch) -> Result<()> {
    delete_prefix(store, &format!("late/{:016x}/", view.0), batch)
}
