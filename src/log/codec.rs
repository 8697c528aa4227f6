//! Small things that go to disk: varints, and Arrow schemas and batches as IPC messages.
//!
//! Written by [`Out`], read by [`In`], which never panics: whatever is cut short or does not add up is an error
//! that says where, and its caller adds which block or table it was.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::root_as_message;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use bytes::Bytes;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{Schema, SchemaRef};

use super::transaction::batch_bytes;
use crate::error::{Error, Result, SqlState};

/// Where the columns of a batch begin within a value: a cache line, as Arrow likes it.
const ALIGN: usize = 64;

/// The widest alignment that an Arrow column asks for.
const NEEDED_ALIGN: usize = 16;

/// XX001.
pub(crate) fn corrupted(what: impl Into<String>) -> Error {
    Error::new(SqlState::Corrupted, what)
}

/// A value under construction: version byte, room for its checksum, then what is put.
pub(crate) struct Out(Vec<u8>);

/// Version (1), three zeros, crc32 (4).
const HEAD: usize = 8;

impl Out {
    pub(crate) fn new(version: u8) -> Out {
        Out(vec![version, 0, 0, 0, 0, 0, 0, 0])
    }

    pub(crate) fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    pub(crate) fn i64(&mut self, n: i64) {
        self.0.extend(n.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    pub(crate) fn schema(&mut self, schema: &Schema) {
        let mut tracker = DictionaryTracker::new(true);
        let data = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
            schema,
            &mut tracker,
            &IpcWriteOptions::default(),
        );
        self.bytes(&data.ipc_message);
    }

    /// A batch without its schema.
    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut tracker = DictionaryTracker::new(true);
        let options = IpcWriteOptions::default();
        let (dictionaries, data) =
            IpcDataGenerator::default().encode(batch, &mut tracker, &options, &mut Default::default())?;
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
    pub(crate) fn finish(mut self) -> Bytes {
        let sum = crc32fast::hash(&self.0[HEAD..]);
        self.0[4..HEAD].copy_from_slice(&sum.to_le_bytes());
        self.0.into()
    }
}

/// A value being read.
pub(crate) struct In {
    all: Bytes,
    at: usize,
}

impl In {
    /// Checks version and checksum.
    pub(crate) fn open(all: Bytes, version: u8) -> Result<In> {
        let head: [u8; HEAD] =
            all.get(..HEAD).and_then(|h| h.try_into().ok()).ok_or_else(|| corrupted("it is cut short"))?;
        if head[0] != version {
            return Err(corrupted(format!("it has format {}, not {version}", head[0])));
        }
        let sum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if crc32fast::hash(&all[HEAD..]) == sum {
            Ok(In { all, at: HEAD })
        } else {
            Err(corrupted("its checksum is wrong"))
        }
    }

    fn take(&mut self, len: u64) -> Result<std::ops::Range<usize>> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        let end = end.filter(|end| *end <= self.all.len()).ok_or_else(|| corrupted("it ends too early"))?;
        let taken = self.at..end;
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn varint(&mut self) -> Result<u64> {
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

    pub(crate) fn i64(&mut self) -> Result<i64> {
        let mut word = [0; 8];
        let range = self.take(8)?;
        word.copy_from_slice(&self.all[range]);
        Ok(i64::from_le_bytes(word))
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        let len = self.varint()?;
        let range = self.take(len)?;
        Ok(self.all.slice(range))
    }

    pub(crate) fn schema(&mut self) -> Result<SchemaRef> {
        let message = self.bytes()?;
        let message = root_as_message(&message).map_err(|e| corrupted(e.to_string()))?;
        let schema = message.header_as_schema().ok_or_else(|| corrupted("there is no schema in it"))?;
        Ok(Arc::new(fb_to_schema(schema)))
    }

    /// A batch of that schema; its columns share the value's memory where alignment permits. With `columns` only these are
    /// decoded.
    pub(crate) fn batch(&mut self, schema: &SchemaRef, columns: Option<&[usize]>) -> Result<RecordBatch> {
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
        let rows = message.header_as_record_batch().ok_or_else(|| corrupted("there is no batch in it"))?;
        let none = HashMap::new();
        let batch = read_record_batch(&body, rows, Arc::clone(schema), &none, columns, &message.version())
            .map_err(|e| corrupted(e.to_string()))?;
        // A narrow column must not keep the wide ones beside it in memory.
        let is_narrow = columns.is_some() && batch_bytes(&batch) < body.len() / 2;
        if is_narrow { copied(batch) } else { Ok(batch) }
    }

    /// Whether all has been read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.all.len()
    }
}

/// The same rows in memory of their own.
fn copied(batch: RecordBatch) -> Result<RecordBatch> {
    let all = UInt32Array::from_iter_values(0..batch.num_rows() as u32);
    let columns = batch.columns().iter().map(|column| take(column, &all, None)).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
}
