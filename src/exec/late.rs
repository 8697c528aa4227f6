//! Late rows, kept to be looked at: the newest of each view.
//!
//! They are part of the commit that passes them by, in a ring of keys a view, so that they are
//! neither lost in a crash nor grow without bound.

use arrow::array::RecordBatch;
use bytes::Bytes;
use serde::Deserialize;

use super::codec::{delete_ring, ring_key, ring_keys};
use crate::catalog::RelationId;
use crate::error::Result;
use crate::store::codec::{ValueReader, ValueWriter, decode_batch, decode_json};
use crate::store::{Space, Store, WriteBatch};
use crate::time::Watermark;

const RING: &str = "late";

const VERSION: u8 = 1;

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

/// A late row as it was stored when it was JSON.
#[derive(Deserialize)]
struct JsonLate {
    number: u64,
    at_ms: i64,
    watermark: i64,
    row: Vec<u8>,
}

/// Adds a view's late rows to a commit; the last of them is the view's late row number `count`
/// (from 1).
pub fn put_late(
    view: RelationId,
    rows: &[LateRow],
    count: u64,
    batch: &mut WriteBatch,
) -> Result<()> {
    let first = count.saturating_sub(rows.len() as u64);
    for (number, late) in (first..).zip(rows) {
        batch.put(Space::Meta, ring_key(RING, view, number), encode(number, late)?);
    }
    Ok(())
}

/// The late rows of a view that are kept, oldest first.
pub fn read_late(store: &dyn Store, view: RelationId) -> Result<Vec<LateRow>> {
    let (from, to) = ring_keys(RING, view);
    let mut found: Vec<(u64, LateRow)> = Vec::new();
    for entry in store.scan(Space::Meta, &from, &to)? {
        found.push(decode(entry?.1).map_err(|error| error.context("a late row is damaged"))?);
    }
    found.sort_by_key(|(number, _)| *number);
    Ok(found.into_iter().map(|(_, late)| late).collect())
}

fn encode(number: u64, late: &LateRow) -> Result<Bytes> {
    let mut value = ValueWriter::new(VERSION);
    value.varint(number);
    value.i64(late.at_ms);
    value.i64(late.watermark.0);
    value.schema(&late.row.schema());
    value.batch(&late.row)?;
    Ok(value.finish())
}

fn decode(value: Bytes) -> Result<(u64, LateRow)> {
    if value.starts_with(b"{") {
        let JsonLate { number, at_ms, watermark, row } = decode_json(VERSION, value)?;
        return Ok((
            number,
            LateRow { at_ms, watermark: Watermark(watermark), row: decode_batch(&row)? },
        ));
    }
    let mut value = ValueReader::open(value, VERSION)?;
    let (number, at_ms, watermark) = (value.varint()?, value.i64()?, Watermark(value.i64()?));
    let schema = value.schema()?;
    Ok((number, LateRow { at_ms, watermark, row: value.batch(&schema, None)? }))
}

/// Removes the late rows of a view.
pub fn delete_late(store: &dyn Store, view: RelationId, batch: &mut WriteBatch) -> Result<()> {
    delete_ring(store, RING, view, batch)
}
