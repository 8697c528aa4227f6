//! What is known of each stream: its spec and its state, on disk and in memory.
//!
//! The state (offsets, watermark, bytes) is written with every commit that touches the stream, so
//! opening the log reads one small entry per stream and no block. In memory a stream also has its
//! *tail* (`tail.rs`): the blocks written last, decoded, which is where nearly all reading happens.

use std::sync::Arc;

use bytes::Bytes;

use super::tail::Tail;
use super::{CommitNo, StreamId, StreamSpec};
use crate::error::Result;
use crate::store::codec::{ValueReader, ValueWriter, corrupted};
use crate::time::{EventTime, Watermark};

const VERSION: u8 = 1;

/// Key of the last commit number, in [`Space::Meta`](crate::store::Space::Meta).
pub(crate) const LAST_COMMIT: &[u8] = b"log/last";
/// Prefix of the specs' keys.
pub(crate) const SPECS: &[u8] = b"log/spec/";
/// The key after the specs.
pub(crate) const SPECS_END: &[u8] = b"log/spec0";

/// Key of a stream's spec.
pub(crate) fn spec_key(stream: StreamId) -> Vec<u8> {
    [SPECS, &stream.0.to_be_bytes()].concat()
}

/// Key of a stream's state.
pub(crate) fn state_key(stream: StreamId) -> Vec<u8> {
    [b"log/state/".as_slice(), &stream.0.to_be_bytes()].concat()
}

/// The stream whose spec has this key.
pub(crate) fn parse_spec_key(key: &[u8]) -> Result<StreamId> {
    let id = key.strip_prefix(SPECS).and_then(|id| id.try_into().ok());
    id.map(|id| StreamId(u64::from_be_bytes(id)))
        .ok_or_else(|| corrupted("the key of a stream is damaged"))
}

/// What the log knows of a stream now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamStats {
    /// Rows that are retained.
    pub rows: u64,
    /// Their size on disk (before the store compresses), bytes.
    pub bytes: u64,
    /// The offset of the oldest retained row.
    pub first_offset: u64,
    /// The offset the next row will get.
    pub next_offset: u64,
    /// How far event time has come.
    pub watermark: Watermark,
    /// The greatest event time seen.
    pub last_event_time: Option<EventTime>,
    /// When the last write was committed, ms since 1970 by the clock of whoever wrote.
    pub last_write_ms: Option<i64>,
    /// The last commit that wrote to it.
    pub last_commit: CommitNo,
    /// How many rows without an event time were written.
    pub untimed: u64,
}

impl StreamStats {
    pub(crate) const NEW: StreamStats = StreamStats {
        rows: 0,
        bytes: 0,
        first_offset: 0,
        next_offset: 0,
        watermark: Watermark::NONE,
        last_event_time: None,
        last_write_ms: None,
        last_commit: CommitNo(0),
        untimed: 0,
    };

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = ValueWriter::new(VERSION);
        out.varint(self.bytes);
        out.varint(self.first_offset);
        out.varint(self.next_offset);
        out.varint(self.last_commit.0);
        out.i64(self.watermark.0);
        optional(&mut out, self.last_event_time.map(|t| t.0));
        optional(&mut out, self.last_write_ms);
        out.varint(self.untimed);
        out.finish()
    }

    pub(crate) fn decode(value: Bytes) -> Result<StreamStats> {
        let mut value = ValueReader::open(value, VERSION)?;
        let (bytes, first_offset, next_offset) =
            (value.varint()?, value.varint()?, value.varint()?);
        let rows = next_offset
            .checked_sub(first_offset)
            .ok_or_else(|| corrupted("its offsets are wrong"))?;
        Ok(StreamStats {
            rows,
            bytes,
            first_offset,
            next_offset,
            last_commit: CommitNo(value.varint()?),
            watermark: Watermark(value.i64()?),
            last_event_time: read_optional(&mut value)?.map(EventTime),
            last_write_ms: read_optional(&mut value)?,
            // States written before these rows were counted end here.
            untimed: if value.is_at_end() { 0 } else { value.varint()? },
        })
    }
}

fn optional(out: &mut ValueWriter, n: Option<i64>) {
    out.varint(u64::from(n.is_some()));
    out.i64(n.unwrap_or(0));
}

fn read_optional(value: &mut ValueReader) -> Result<Option<i64>> {
    let is_some = value.varint()? != 0;
    let n = value.i64()?;
    Ok(is_some.then_some(n))
}

pub(crate) fn encode_spec(spec: &StreamSpec) -> Bytes {
    let mut out = ValueWriter::new(VERSION);
    optional(&mut out, spec.watermark.map(|(column, _)| column as i64));
    out.i64(spec.watermark.map_or(0, |(_, delay)| delay));
    optional(&mut out, spec.retention_ms);
    optional(&mut out, spec.retention_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)));
    out.schema(&spec.schema);
    out.finish()
}

pub(crate) fn decode_spec(value: Bytes) -> Result<StreamSpec> {
    let mut value = ValueReader::open(value, VERSION)?;
    let column = read_optional(&mut value)?;
    let delay = value.i64()?;
    let retention_ms = read_optional(&mut value)?;
    let retention_bytes = read_optional(&mut value)?;
    Ok(StreamSpec {
        watermark: column.and_then(|c| usize::try_from(c).ok()).map(|c| (c, delay)),
        retention_ms,
        retention_bytes: retention_bytes.and_then(|b| u64::try_from(b).ok()),
        schema: value.schema()?,
    })
}

/// A stream in memory.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) spec: Arc<StreamSpec>,
    pub(crate) state: StreamStats,
    pub(crate) tail: Tail,
    /// How often blocks of it have been joined in the store, counted before it is done.
    pub(crate) joins: u64,
    /// How many blocks were written since it was last looked whether to join some; None: not since
    /// the start.
    pub(crate) loose: Option<usize>,
    /// Blocks before this offset are not to be joined any more.
    pub(crate) joined_to: u64,
}

impl Stream {
    pub(crate) fn new(spec: StreamSpec, state: StreamStats) -> Stream {
        Stream {
            spec: Arc::new(spec),
            state,
            tail: Tail::behind(state.next_offset, state.last_commit),
            joins: 0,
            loose: None,
            joined_to: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn spec_and_state_come_back_as_they_were() {
        let field = Field::new("a", DataType::Utf8, false)
            .with_metadata([("pg".to_owned(), "json".to_owned())].into());
        let spec = StreamSpec {
            schema: Arc::new(Schema::new(vec![field])),
            watermark: Some((3, -5)),
            retention_ms: None,
            retention_bytes: Some(77),
        };
        let back = decode_spec(encode_spec(&spec)).unwrap();
        assert_eq!((back.schema, back.watermark), (spec.schema, spec.watermark));
        assert_eq!((back.retention_ms, back.retention_bytes), (None, Some(77)));
        let state = StreamStats {
            rows: 5,
            first_offset: 2,
            next_offset: 7,
            last_event_time: Some(EventTime(-1)),
            untimed: 3,
            ..StreamStats::NEW
        };
        assert_eq!(StreamStats::decode(state.encode()).unwrap(), state);
    }
}
