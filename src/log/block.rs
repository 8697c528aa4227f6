//! Blocks of a log on disk: key, writes, rows.
//!
//! Key: stream, first offset, first commit, each 8 bytes big-endian, so that the order of keys is
//! the order of the log; the commit tells apart blocks without rows, which share their offset with
//! the block after them.
//!
//! Value: version, checksum, when it was written, its writes (commit and rows as differences,
//! watermarks), and the rows as an Arrow IPC batch without schema (that is with the stream). A
//! write's watermark before is always the watermark after of the write before it, also where a
//! large write is cut into several blocks: its rows count as one write, so all parts but the last
//! leave the watermark where it was.

use std::ops::Range;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use super::{CommitNo, LogBlock, StreamId, Write};
use crate::error::{Error, Result};
use crate::store::codec::{ValueReader, ValueWriter, corrupted};
use crate::time::Watermark;

const VERSION: u8 = 1;

/// The key of a block.
pub(crate) fn key(stream: StreamId, first_offset: u64, first_commit: CommitNo) -> Vec<u8> {
    let mut key = Vec::with_capacity(24);
    key.extend(stream.0.to_be_bytes());
    key.extend(first_offset.to_be_bytes());
    key.extend(first_commit.0.to_be_bytes());
    key
}

/// First and (exclusively) last key of a stream's blocks.
pub(crate) fn all_keys(stream: StreamId) -> (Vec<u8>, Vec<u8>) {
    (key(stream, 0, CommitNo(0)), key(stream, u64::MAX, CommitNo(u64::MAX)))
}

/// First offset and first commit from a key.
pub(crate) fn parse_key(key: &[u8]) -> Result<(u64, CommitNo)> {
    let word = |at: usize| -> Option<u64> {
        Some(u64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?))
    };
    match (key.len(), word(8), word(16)) {
        (24, Some(offset), Some(commit)) => Ok((offset, CommitNo(commit))),
        _ => Err(corrupted("a key in the log has the wrong length")),
    }
}

/// The value of a block.
pub(crate) fn encode(block: &LogBlock, time_ms: i64) -> Result<Bytes> {
    let mut out = ValueWriter::new(VERSION);
    out.i64(time_ms);
    out.varint(block.writes.len() as u64);
    out.i64(block.writes[0].watermark_before.0);
    let (mut commit, mut row) = (0, 0);
    for write in block.writes.iter() {
        out.varint(write.commit.0 - commit);
        out.varint((write.end_row - row) as u64);
        out.i64(write.watermark_after.0);
        (commit, row) = (write.commit.0, write.end_row);
    }
    out.batch(&block.batch)?;
    Ok(out.finish())
}

/// When the block was written, from its value.
pub(crate) fn time_ms(value: Bytes) -> Result<i64> {
    ValueReader::open(value, VERSION)?.i64()
}

/// A block from its key and value, all columns of `schema` or these. An error names stream and
/// offset.
pub(crate) fn decode(
    stream: StreamId,
    key: &[u8],
    value: Bytes,
    schema: &SchemaRef,
    columns: Option<&[usize]>,
) -> Result<LogBlock> {
    let (first_offset, first_commit) = parse_key(key)?;
    decode_value(first_offset, first_commit, value, schema, columns).map_err(|e| {
        e.context(format_args!(
            "the log of stream {} is damaged at offset {first_offset}",
            stream.0
        ))
    })
}

fn decode_value(
    first_offset: u64,
    first_commit: CommitNo,
    value: Bytes,
    schema: &SchemaRef,
    columns: Option<&[usize]>,
) -> Result<LogBlock> {
    let mut value = ValueReader::open(value, VERSION)?;
    value.i64()?;
    let count = value.varint()?;
    let mut before = Watermark(value.i64()?);
    let (mut commit, mut row) = (0u64, 0usize);
    let mut writes = Vec::new();
    for _ in 0..count {
        commit = commit.wrapping_add(value.varint()?);
        row = row.saturating_add(usize::try_from(value.varint()?).unwrap_or(usize::MAX));
        let after = Watermark(value.i64()?);
        writes.push(Write {
            commit: CommitNo(commit),
            end_row: row,
            watermark_before: before,
            watermark_after: after,
        });
        before = after;
    }
    let batch = value.batch(schema, columns)?;
    let whole = writes.first().is_some_and(|w| w.commit == first_commit)
        && batch.num_rows() == row
        && value.is_at_end();
    if whole {
        Ok(LogBlock { first_offset, batch, writes: writes.into() })
    } else {
        Err(corrupted("its writes do not fit its rows"))
    }
}

/// Blocks that follow each other as one: the same rows and writes in the same order. `blocks` is
/// not empty.
pub(crate) fn joined<'a>(blocks: impl Iterator<Item = &'a LogBlock> + Clone) -> Result<LogBlock> {
    let Some(first) = blocks.clone().next() else {
        return Err(Error::internal("no blocks were to be joined"));
    };
    let batch = concat_batches(&first.batch.schema(), blocks.clone().map(|block| &block.batch))?;
    let mut writes = Vec::new();
    let mut before = 0;
    for block in blocks {
        writes.extend(
            block.writes.iter().map(|write| Write { end_row: before + write.end_row, ..*write }),
        );
        before += block.batch.num_rows();
    }
    Ok(LogBlock { first_offset: first.first_offset, batch, writes: writes.into() })
}

impl LogBlock {
    /// The offset after the last row.
    pub fn end_offset(&self) -> u64 {
        self.first_offset + self.batch.num_rows() as u64
    }

    /// The commit of its first write.
    pub(crate) fn first_commit(&self) -> CommitNo {
        self.writes[0].commit
    }

    /// The commit of its last write.
    pub(crate) fn last_commit(&self) -> CommitNo {
        self.writes[self.writes.len() - 1].commit
    }

    /// Which rows belong to each write.
    pub fn rows_of_writes(&self) -> impl Iterator<Item = (Write, Range<usize>)> + '_ {
        let starts = std::iter::once(0).chain(self.writes.iter().map(|w| w.end_row));
        self.writes.iter().zip(starts).map(|(write, start)| (*write, start..write.end_row))
    }

    /// The part from row `rows.start` to `rows.end` of the writes with these indexes. A write that
    /// is cut leaves the watermark where it was in all parts but the last.
    pub(crate) fn part(&self, writes: Range<usize>, rows: Range<usize>) -> LogBlock {
        let cut = self.writes[writes.clone()].iter().map(|write| {
            let is_cut = write.end_row > rows.end;
            Write {
                end_row: write.end_row.min(rows.end) - rows.start,
                watermark_after: if is_cut {
                    write.watermark_before
                } else {
                    write.watermark_after
                },
                ..*write
            }
        });
        LogBlock {
            first_offset: self.first_offset + rows.start as u64,
            writes: cut.collect(),
            batch: self.batch.slice(rows.start, rows.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::error::SqlState;

    fn block() -> LogBlock {
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("t", DataType::Utf8, false),
        ]));
        let n = Int64Array::from(vec![Some(1), None, Some(3), Some(4)]);
        let t = StringArray::from(vec!["a", "", "ccc", "d"]);
        let batch =
            RecordBatch::try_new(schema, vec![Arc::new(n), Arc::new(t)]).unwrap().slice(1, 3);
        let write = |commit, end_row, before, after| Write {
            commit: CommitNo(commit),
            end_row,
            watermark_before: Watermark(before),
            watermark_after: Watermark(after),
        };
        let writes = [write(7, 2, i64::MIN, 5), write(9, 2, 5, 6), write(10, 3, 6, i64::MAX)];
        LogBlock { first_offset: 40, batch, writes: writes.into() }
    }

    #[test]
    fn a_block_comes_back_as_it_was_written() {
        let block = block();
        let value = encode(&block, 123).unwrap();
        let stream = StreamId(3);
        let back = decode(
            stream,
            &key(stream, 40, CommitNo(7)),
            value.clone(),
            &block.batch.schema(),
            None,
        )
        .unwrap();
        assert_eq!(
            (back.first_offset, &back.batch, &back.writes),
            (40, &block.batch, &block.writes)
        );
        assert_eq!(time_ms(value).unwrap(), 123);
    }

    #[test]
    fn any_flipped_byte_is_found_and_named() {
        let block = block();
        let value = encode(&block, 123).unwrap();
        let stream = StreamId(3);
        for at in [0, 5, 9, 20, value.len() - 1] {
            let mut bad = value.to_vec();
            bad[at] ^= 1;
            let error = decode(
                stream,
                &key(stream, 40, CommitNo(7)),
                bad.into(),
                &block.batch.schema(),
                None,
            )
            .unwrap_err();
            assert_eq!(error.state(), SqlState::Corrupted);
            assert!(
                error.message().contains("stream 3") && error.message().contains("offset 40"),
                "{error}"
            );
        }
        let cut = value.slice(..4);
        assert!(
            decode(stream, &key(stream, 40, CommitNo(7)), cut, &block.batch.schema(), None)
                .is_err()
        );
    }

    #[test]
    fn a_write_that_is_cut_moves_the_watermark_only_with_its_last_part() {
        let part = block().part(0..1, 0..1);
        assert_eq!(part.writes[0].watermark_after, Watermark::NONE);
        let rest = block().part(0..3, 1..3);
        assert_eq!(rest.first_offset, 41);
        assert_eq!(rest.writes.iter().map(|w| w.end_row).collect::<Vec<_>>(), [1, 1, 2]);
        assert_eq!(rest.writes[0].watermark_after, Watermark(5));
    }
}
