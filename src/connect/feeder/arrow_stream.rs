//! Arrow streams of whoever sends them.
//!
//! What a stream says of itself is believed by who decodes it: lengths become allocations, and one that
//! cannot be had ends the process. So each message is looked at before: its parts must lie within the
//! body, its buffers must be as they are used (a few bytes can be packed that are terabytes unpacked),
//! and its types such that a value takes no more room in the stream's columns than it took in the body;
//! where one value may stand for many (a dictionary, a view), so few rows are taken at a time that they
//! have room.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Schema};
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::{RecordBatch as Encoded, root_as_message};

use crate::error::{Error, Result, SqlState, contained_call};
use crate::limits;

/// The batches of a stream, in portions.
pub(super) struct ArrowStream {
    decoder: StreamDecoder,
    left: Buffer,
    /// What has been decoded and not taken.
    batch: Option<RecordBatch>,
    /// How many rows have been taken.
    taken: u64,
}

impl ArrowStream {
    pub(super) fn new(body: &[u8]) -> Result<ArrowStream> {
        check(body)?;
        let left = Buffer::from_slice_ref(body);
        Ok(ArrowStream { decoder: StreamDecoder::new(), left, batch: None, taken: 0 })
    }

    /// The next rows, and the number of the first of them.
    pub(super) fn next(&mut self) -> Result<Option<(RecordBatch, u64)>> {
        let batch = match self.batch.take() {
            Some(batch) => batch,
            None => match self.decode()? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        let rows = portion(&batch).min(batch.num_rows());
        if rows < batch.num_rows() {
            self.batch = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        let first = self.taken;
        self.taken += rows as u64;
        Ok(Some((batch.slice(0, rows), first)))
    }

    fn decode(&mut self) -> Result<Option<RecordBatch>> {
        let decode = || {
            let batch = self.decoder.decode(&mut self.left).map_err(|error| broken(&error))?;
            if batch.is_none() {
                self.decoder.finish().map_err(|error| broken(&error))?;
            }
            if let Some(schema) = self.decoder.schema() {
                check_types(&schema)?;
            }
            Ok(batch)
        };
        contained_call("an Arrow stream", decode).map_err(|error| match error.state() {
            SqlState::Internal => broken("its parts do not fit together"),
            _ => error,
        })
    }
}

fn broken(why: impl ToString) -> Error {
    Error::new(SqlState::BadBinary, "the body is no Arrow stream that can be read")
        .detail(why.to_string())
        .hint("Send the IPC stream format, as pyarrow.ipc.new_stream writes it.")
}

/// Whether what the messages say of themselves can be.
fn check(body: &[u8]) -> Result<()> {
    let ends = || broken("it ends within a message");
    let word = |at: usize| {
        let bytes = body.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    let (mut at, mut rows) = (0, 0);
    while let Some(begin) = word(at) {
        at += 4;
        let mut length = begin;
        if begin == u32::MAX {
            length = word(at).ok_or_else(ends)?;
            at += 4;
        }
        if length == 0 {
            break;
        }
        let head = body.get(at..at + length as usize).ok_or_else(ends)?;
        at += length as usize;
        let message = root_as_message(head).map_err(|error| broken(&error))?;
        let size = usize::try_from(message.bodyLength()).ok();
        let size = size.filter(|size| *size <= body.len() - at).ok_or_else(ends)?;
        at += size;
        let dictionary = message.header_as_dictionary_batch();
        let of_dictionary = dictionary.and_then(|dictionary| dictionary.data());
        if let Some(batch) = message.header_as_record_batch().or(of_dictionary) {
            rows += check_batch(&batch, size)?;
        }
        if rows > body.len() as u64 {
            return Err(broken("it has more rows than bytes"));
        }
    }
    Ok(())
}

/// How many rows a batch of so many bytes says it has.
fn check_batch(batch: &Encoded<'_>, size: usize) -> Result<u64> {
    if batch.compression().is_some() {
        return Err(Error::unsupported("an Arrow stream with packed buffers cannot be read").hint(
            "Write it without compression, and send all of it with Content-Encoding: gzip.",
        ));
    }
    let lies_within = |offset: i64, length: i64| {
        offset >= 0 && length >= 0 && offset.saturating_add(length) <= size as i64
    };
    let mut buffers = batch.buffers().into_iter().flatten();
    if !buffers.all(|buffer| lies_within(buffer.offset(), buffer.length())) {
        return Err(broken("a buffer lies beyond its message"));
    }
    u64::try_from(batch.length()).map_err(|_| broken("it has less than no rows"))
}

/// Whether values of these types take no more room than they took in the body, dictionaries and views
/// apart.
fn check_types(schema: &Schema) -> Result<()> {
    let dense = |field: &DataType| match field {
        DataType::Dictionary(_, values) => is_dense(values) && !values.is_nested(),
        DataType::Utf8View | DataType::BinaryView => true,
        other => is_dense(other),
    };
    match schema.fields().iter().find(|field| !dense(field.data_type())) {
        None => Ok(()),
        Some(field) => {
            let (name, data_type) = (field.name(), field.data_type());
            Err(Error::unsupported(format!("column \"{name}\" is of Arrow's type {data_type}"))
                .hint("Cast it to numbers, text, times, or lists and structs of these."))
        }
    }
}

fn is_dense(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(field) | DataType::LargeList(field) => is_dense(field.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_dense(field.data_type())),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => true,
        DataType::Boolean | DataType::Null | DataType::FixedSizeBinary(_) => true,
        other => other.is_primitive(),
    }
}

/// How many rows of a batch are taken at a time.
fn portion(batch: &RecordBatch) -> usize {
    let longest = batch.columns().iter().map(|column| longest(column.as_ref())).max();
    (limits::HTTP_BODY_BYTES / longest.unwrap_or(0).max(1)).clamp(1, limits::BATCH_ROWS)
}

/// The longest value of a column of which one value may stand for many rows, bytes; 0 of others.
fn longest(column: &dyn Array) -> usize {
    let of_views = |views: &[u128]| views.iter().map(|view| *view as u32 as usize).max();
    let greatest = match column.data_type() {
        DataType::Dictionary(..) => {
            column.as_any_dictionary_opt().and_then(|found| longest_text(found.values().as_ref()))
        }
        DataType::Utf8View => of_views(column.as_string_view().views()),
        DataType::BinaryView => of_views(column.as_binary_view().views()),
        _ => None,
    };
    greatest.unwrap_or(0)
}

/// The longest value of a column whose values have offsets.
fn longest_text(values: &dyn Array) -> Option<usize> {
    let greatest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max();
    match values.data_type() {
        DataType::Utf8 => greatest(&mut values.as_string::<i32>().offsets().lengths()),
        DataType::LargeUtf8 => greatest(&mut values.as_string::<i64>().offsets().lengths()),
        DataType::Binary => greatest(&mut values.as_binary::<i32>().offsets().lengths()),
        DataType::LargeBinary => greatest(&mut values.as_binary::<i64>().offsets().lengths()),
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
        _ => None,
    }
}
