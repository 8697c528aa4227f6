//! Late rows, kept to be looked at: the newest of each view.
//!
//! They are part of the commit that passes them by, in a ring of keys a view, so that they are neither lost in a crash nor
//! grow without bound.

use datafusion::arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::codec::{decode, delete_ring, encode, ring_key, ring_keys};
use crate::catalog::RelationId;
use crate::error::{Error, Result, SqlState};
use crate::store::{Space, Store, WriteBatch};
use crate::time::Watermark;

const RING: &str = "late";

/// A late row that is kept to be looked at.
#[derive(Debug, Clone)]
pub struct LateRow {
    /// When it was found late, milliseconds since 1970.
    pub at_ms: i64,
    /// The watermark then, ticks.
    pub watermark: Watermark,
    /// One row.
    pub row: RecordBatch,
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
        let stored =
            StoredLate { number, at_ms: late.at_ms, watermark: late.watermark.0, row: encode(&late.row)? };
        let value = serde_json::to_vec(&stored).map_err(|error| Error::internal(error.to_string()))?;
        batch.put(Space::Meta, ring_key(RING, view, number), value);
    }
    Ok(())
}

/// The late rows of a view that are kept, oldest first.
pub fn read_late(store: &dyn Store, view: RelationId) -> Result<Vec<LateRow>> {
    let (from, to) = ring_keys(RING, view);
    let mut found: Vec<(u64, LateRow)> = Vec::new();
    for entry in store.scan(Space::Meta, &from, &to)? {
        let stored: StoredLate = serde_json::from_slice(&entry?.1)
            .map_err(|error| Error::new(SqlState::Corrupted, format!("a late row is damaged: {error}")))?;
        let row: RecordBatch = decode(&stored.row)?;
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
    delete_ring(store, RING, view, batch)
}
