//! Rows without an event time, kept where they can be looked at.
//!
//! A row whose time column is NULL is in no window. The stream takes it (a query without windows
//! reads it like any other), but it must not vanish from the windows silently. So the commit that
//! appends it also puts a copy into a ring of keys of the stream: number n overwrites number n −
//! [`limits::KEPT_ROWS`]. It is there once, whoever reads the stream, and retention does not take
//! it away.

use arrow::array::Array;
use bytes::Bytes;

use super::{LogBlock, StreamId, StreamSpec};
use crate::error::Result;
use crate::limits;
use crate::pgtypes::values::row_as_json;
use crate::store::codec::{ValueReader, ValueWriter};
use crate::store::{Space, Store, WriteBatch};

const VERSION: u8 = 1;

/// A row of a stream that has no event time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UntimedRow {
    /// Its offset.
    pub offset: u64,
    /// When it was written, milliseconds since 1970.
    pub at_ms: i64,
    /// The row as a JSON object, cut after [`limits::KEPT_ROW_BYTES`].
    pub raw: Vec<u8>,
}

/// Adds the rows without an event time in new blocks to their commit; `before` have been kept of
/// the stream so far. Returns how many it are then.
pub(crate) fn put(
    stream: StreamId,
    spec: &StreamSpec,
    blocks: &[LogBlock],
    before: u64,
    at_ms: i64,
    batch: &mut WriteBatch,
) -> u64 {
    let Some((column, _)) = spec.watermark else { return before };
    let nulls = |block: &LogBlock| block.batch.column(column).null_count() as u64;
    let after = before + blocks.iter().map(nulls).sum::<u64>();
    let first_kept = after.saturating_sub(limits::KEPT_ROWS as u64);
    let mut number = before;
    for block in blocks.iter().filter(|block| nulls(block) > 0) {
        let times = block.batch.column(column);
        for row in (0..times.len()).filter(|row| times.is_null(*row)) {
            // Those that this very commit would overwrite are not written.
            if number >= first_kept {
                let mut raw = row_as_json(&block.batch, row).into_bytes();
                raw.truncate(limits::KEPT_ROW_BYTES);
                let kept = UntimedRow { offset: block.first_offset + row as u64, at_ms, raw };
                batch.put(Space::Meta, key(stream, number), encode(number, &kept));
            }
            number += 1;
        }
    }
    after
}

/// What is kept of a stream, oldest first.
pub(crate) fn read(store: &dyn Store, stream: StreamId) -> Result<Vec<UntimedRow>> {
    let (from, to) = range(stream);
    let mut rows = Vec::new();
    for entry in store.scan(Space::Meta, &from, &to)? {
        rows.push(decode(entry?.1).map_err(|e| e.context("a row without event time is damaged"))?);
    }
    rows.sort_by_key(|(number, _)| *number);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// Forgets a stream that is dropped.
pub(crate) fn delete(store: &dyn Store, stream: StreamId, batch: &mut WriteBatch) -> Result<()> {
    let (from, to) = range(stream);
    for key in store.keys(Space::Meta, &from, &to)? {
        batch.delete(Space::Meta, key?);
    }
    Ok(())
}

fn encode(number: u64, row: &UntimedRow) -> Bytes {
    let mut out = ValueWriter::new(VERSION);
    out.varint(number);
    out.varint(row.offset);
    out.i64(row.at_ms);
    out.bytes(&row.raw);
    out.finish()
}

fn decode(value: Bytes) -> Result<(u64, UntimedRow)> {
    let mut value = ValueReader::open(value, VERSION)?;
    let number = value.varint()?;
    let (offset, at_ms) = (value.varint()?, value.i64()?);
    Ok((number, UntimedRow { offset, at_ms, raw: value.bytes()?.to_vec() }))
}

fn key(stream: StreamId, number: u64) -> Vec<u8> {
    let slot = number % limits::KEPT_ROWS as u64;
    [b"log/untimed/".as_slice(), &stream.0.to_be_bytes(), &slot.to_be_bytes()].concat()
}

fn range(stream: StreamId) -> (Vec<u8>, Vec<u8>) {
    let of = |id: u64| [b"log/untimed/".as_slice(), &id.to_be_bytes()].concat();
    (of(stream.0), of(stream.0 + 1))
}
