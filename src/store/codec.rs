//! The form of everything that is stored: a version, a checksum, then what was put.
//!
//! ```text
//!  version:u8  numerics:u8  0 0  crc32:u32  │ varints, bytes, Arrow schemas and batches (IPC messages), JSON
//! ```
//! `numerics` is 1 since NUMERIC without precision has 38 digits on either side of the point; before, in data
//! directories up to format 3, it was 0, and such columns had 28 and 10 (`widened.rs`).
//!
//! Written by [`ValueWriter`], read by [`ValueReader`], which never panics: whatever is cut short
//! or does not add up is an error (XX001) that says where, and its caller adds which block, table
//! or query it was.
//!
//! In data directories of format 1, JSON and single numbers had no head, and state was an Arrow IPC
//! stream. These are told by their first byte or their length, and still read.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::Buffer;
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{StreamReader, read_record_batch};
use arrow::ipc::root_as_message;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::widened;
use crate::error::{Error, Result, SqlState};
use crate::memory::rows::batch_bytes;

/// Where the columns of a batch begin within a value: a cache line, as Arrow likes it.
const ALIGN: usize = 64;

/// The widest alignment that an Arrow column asks for.
const NEEDED_ALIGN: usize = 16;

/// XX001.
pub fn corrupted(what: impl Into<String>) -> Error {
    Error::new(SqlState::Corrupted, what)
}

/// The version of what has none of its own: numbers, batches with their schema.
const PLAIN: u8 = 1;

/// A value under construction.
pub struct ValueWriter(Vec<u8>);

/// Version (1), three zeros, crc32 (4).
const HEAD: usize = 8;

/// The second byte of a value that has been written since NUMERIC has 38 digits behind the point.
const WIDE_NUMERICS: u8 = 1;

/// The checksum of what follows the head. Of values of before it does not cover the second byte.
fn checksum(all: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    if all[1] != 0 {
        sum.update(&all[1..2]);
    }
    sum.update(&all[HEAD..]);
    sum.finalize()
}

impl ValueWriter {
    /// A value of this version.
    pub fn new(version: u8) -> ValueWriter {
        ValueWriter(vec![version, WIDE_NUMERICS, 0, 0, 0, 0, 0, 0])
    }

    /// A number, the smaller the shorter.
    pub fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    /// Eight bytes.
    pub fn i64(&mut self, n: i64) {
        self.0.extend(n.to_le_bytes());
    }

    /// Bytes and how many there are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    /// A schema.
    pub fn schema(&mut self, schema: &Schema) {
        let mut tracker = DictionaryTracker::new(true);
        let data = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
            schema,
            &mut tracker,
            &IpcWriteOptions::default(),
        );
        self.bytes(&data.ipc_message);
    }

    /// A batch without its schema.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut tracker = DictionaryTracker::new(true);
        let options = IpcWriteOptions::default();
        let (dictionaries, data) = IpcDataGenerator::default().encode(
            batch,
            &mut tracker,
            &options,
            &mut Default::default(),
        )?;
        if !dictionaries.is_empty() {
            return Err(Error::internal("a dictionary column has come to be stored"));
        }
        self.0.reserve(data.ipc_message.len() + data.arrow_data.len() + ALIGN + 20);
        self.bytes(&data.ipc_message);
        self.varint(data.arrow_data.len() as u64);
        self.0.resize(self.0.len().next_multiple_of(ALIGN), 0);
        self.0.extend(&data.arrow_data);
        Ok(())
    }

    /// The value, with its checksum.
    pub fn finish(mut self) -> Bytes {
        let sum = checksum(&self.0);
        self.0[4..HEAD].copy_from_slice(&sum.to_le_bytes());
        self.0.into()
    }
}

/// A value being read.
pub struct ValueReader {
    all: Bytes,
    at: usize,
    has_narrow_numerics: bool,
}

impl ValueReader {
    /// Checks version and checksum.
    pub fn open(all: Bytes, version: u8) -> Result<ValueReader> {
        let head: [u8; HEAD] = all
            .get(..HEAD)
            .and_then(|h| h.try_into().ok())
            .ok_or_else(|| corrupted("it is cut short"))?;
        if head[1] > WIDE_NUMERICS || head[2..4] != [0; 2] {
            return Err(corrupted("its head is damaged"));
        }
        if head[0] != version {
            return Err(corrupted(format!("it has format {}, not {version}", head[0])));
        }
        let sum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if checksum(&all) == sum {
            Ok(ValueReader { all, at: HEAD, has_narrow_numerics: head[1] == 0 })
        } else {
            Err(corrupted("its checksum is wrong"))
        }
    }

    fn take(&mut self, len: u64) -> Result<std::ops::Range<usize>> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        let end = end
            .filter(|end| *end <= self.all.len())
            .ok_or_else(|| corrupted("it ends too early"))?;
        let taken = self.at..end;
        self.at = end;
        Ok(taken)
    }

    /// What [`ValueWriter::varint`] was given.
    pub fn varint(&mut self) -> Result<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let at = self.take(1)?.start;
            let byte = self.all[at];
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(corrupted("a number has no end"))
    }

    /// What [`ValueWriter::i64`] was given.
    pub fn i64(&mut self) -> Result<i64> {
        let mut word = [0; 8];
        let range = self.take(8)?;
        word.copy_from_slice(&self.all[range]);
        Ok(i64::from_le_bytes(word))
    }

    /// What [`ValueWriter::bytes`] was given; shares the value's memory.
    pub fn bytes(&mut self) -> Result<Bytes> {
        let len = self.varint()?;
        let range = self.take(len)?;
        Ok(self.all.slice(range))
    }

    /// What [`ValueWriter::schema`] was given.
    pub fn schema(&mut self) -> Result<SchemaRef> {
        let message = self.bytes()?;
        let message = root_as_message(&message).map_err(|e| corrupted(e.to_string()))?;
        let schema =
            message.header_as_schema().ok_or_else(|| corrupted("there is no schema in it"))?;
        let schema = fb_to_schema(schema);
        Ok(Arc::new(if self.has_narrow_numerics { widened::now(&schema) } else { schema }))
    }

    /// A batch of that schema; its columns share the value's memory where alignment permits. With
    /// `columns` only these are decoded.
    pub fn batch(&mut self, schema: &SchemaRef, columns: Option<&[usize]>) -> Result<RecordBatch> {
        let message = self.bytes()?;
        let len = self.varint()?;
        let pad = (self.at.next_multiple_of(ALIGN) - self.at) as u64;
        self.take(pad)?;
        let range = self.take(len)?;
        let body = self.all.slice(range);
        let body = match body.as_ptr().align_offset(NEEDED_ALIGN) {
            0 => Buffer::from(body),
            _ => Buffer::from(body.as_ref()),
        };
        let message = root_as_message(&message).map_err(|e| corrupted(e.to_string()))?;
        let rows =
            message.header_as_record_batch().ok_or_else(|| corrupted("there is no batch in it"))?;
        let none = HashMap::new();
        let before = if self.has_narrow_numerics { widened::before(schema) } else { None };
        let stored = before.as_ref().unwrap_or(schema);
        let batch =
            read_record_batch(&body, rows, Arc::clone(stored), &none, columns, &message.version())
                .map_err(|e| corrupted(e.to_string()))?;
        let batch = if before.is_some() { widened::batch(&batch, schema, columns)? } else { batch };
        // A narrow column must not keep the wide ones beside it in memory.
        let is_narrow = columns.is_some() && batch_bytes(&batch) < body.len() / 2;
        if is_narrow { copied(batch) } else { Ok(batch) }
    }

    /// Whether all has been read.
    pub fn is_at_end(&self) -> bool {
        self.at == self.all.len()
    }
}

/// A number by itself.
pub fn encode_number(n: u64) -> Bytes {
    let mut value = ValueWriter::new(PLAIN);
    value.varint(n);
    value.finish()
}

/// The number that [`encode_number`] was given; `before` reads the eight bytes that it was without
/// a head.
pub fn decode_number(value: Bytes, before: fn([u8; 8]) -> u64) -> Result<u64> {
    match value[..].try_into() {
        Ok(bytes) => Ok(before(bytes)),
        Err(_) => ValueReader::open(value, PLAIN)?.varint(),
    }
}

/// A record as JSON; the version is less than 100.
pub fn encode_json(version: u8, record: &impl Serialize) -> Result<Bytes> {
    let json = serde_json::to_vec(record).map_err(|error| Error::internal(error.to_string()))?;
    let mut value = ValueWriter::new(version);
    value.bytes(&json);
    Ok(value.finish())
}

/// The record that [`encode_json`] was given, also if it was stored without a head.
pub fn decode_json<T: DeserializeOwned>(version: u8, value: Bytes) -> Result<T> {
    let json = match value.first() {
        Some(b'{') => value,
        _ => ValueReader::open(value, version)?.bytes()?,
    };
    serde_json::from_slice(&json).map_err(|error| corrupted(error.to_string()))
}

/// A batch and its schema.
pub fn encode_batch(batch: &RecordBatch) -> Result<Bytes> {
    let mut value = ValueWriter::new(PLAIN);
    value.schema(&batch.schema());
    value.batch(batch)?;
    Ok(value.finish())
}

/// The batch that [`encode_batch`] was given, in memory of its own, also if it was stored as an
/// Arrow IPC stream.
pub fn decode_batch(value: &[u8]) -> Result<RecordBatch> {
    if value.starts_with(&CONTINUATION) {
        let mut stream = StreamReader::try_new(Cursor::new(value), None)?;
        return Ok(stream.next().ok_or_else(|| corrupted("there is no batch in it"))??);
    }
    let mut value = ValueReader::open(Bytes::copy_from_slice(value), PLAIN)?;
    let schema = value.schema()?;
    value.batch(&schema, None)
}

/// What every message of an Arrow IPC stream begins with.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The same rows in memory of their own.
fn copied(batch: RecordBatch) -> Result<RecordBatch> {
    let all = UInt32Array::from_iter_values(0..batch.num_rows() as u32);
    let columns =
        batch.columns().iter().map(|column| take(column, &all, None)).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::ipc::writer::StreamWriter;

    use super::*;

    fn batch() -> RecordBatch {
        let columns: [(&str, ArrayRef); 2] = [
            ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
            ("s", Arc::new(StringArray::from(vec!["a", "", "cde"]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn what_was_put_comes_back_and_a_flipped_byte_is_found() {
        let values = [
            encode_number(1 << 40),
            encode_json(3, &vec![1, 2]).unwrap(),
            encode_batch(&batch()).unwrap(),
        ];
        assert_eq!(decode_number(values[0].clone(), u64::from_be_bytes).unwrap(), 1 << 40);
        assert_eq!(decode_json::<Vec<i32>>(3, values[1].clone()).unwrap(), [1, 2]);
        assert_eq!(decode_batch(&values[2]).unwrap(), batch());
        assert!(decode_json::<Vec<i32>>(4, values[1].clone()).is_err(), "of another version");
        for (kind, value) in values.iter().enumerate() {
            for at in 0..value.len() {
                let mut bytes = value.to_vec();
                bytes[at] ^= 0x10;
                let read = match kind {
                    0 => decode_number(bytes.into(), u64::from_be_bytes).map(|_| ()),
                    1 => decode_json::<Vec<i32>>(3, bytes.into()).map(|_| ()),
                    _ => decode_batch(&bytes).map(|_| ()),
                };
                assert_eq!(read.unwrap_err().state(), SqlState::Corrupted, "byte {at} of {kind}");
            }
        }
    }

    #[test]
    fn what_was_stored_without_a_head_is_read() {
        let number = Bytes::copy_from_slice(&7u64.to_le_bytes());
        assert_eq!(decode_number(number, u64::from_le_bytes).unwrap(), 7);
        let json = Bytes::from_static(br#"{"a": 5}"#);
        assert_eq!(decode_json::<HashMap<String, i32>>(1, json).unwrap()["a"], 5);
        let mut stream = StreamWriter::try_new(Vec::new(), &batch().schema()).unwrap();
        stream.write(&batch()).unwrap();
        assert_eq!(decode_batch(&stream.into_inner().unwrap()).unwrap(), batch());
    }
}
