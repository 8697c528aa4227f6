//! COPY … TO: batches to bytes.

use arrow::array::Array;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use bytes::{BufMut, Bytes, BytesMut};

use super::{CopyFormat, CopyHeader, CopyOptions, binary};
use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::{Encoder, TextStyle};

/// Encodes batches as the data of a COPY … TO: `start`, then any number of `batch`es, then `end`.
#[derive(Debug)]
pub struct CopyEncoder {
    options: CopyOptions,
    style: TextStyle,
    columns: Vec<EncodedColumn>,
}

#[derive(Debug)]
struct EncodedColumn {
    name: String,
    encoder: Encoder,
    force_quote: bool,
}

impl CopyEncoder {
    /// For batches of this schema.
    pub fn new(schema: &Schema, options: CopyOptions, style: TextStyle) -> Self {
        let columns = schema
            .fields()
            .iter()
            .map(|field| EncodedColumn {
                name: field.name().clone(),
                encoder: Encoder::new(field),
                force_quote: options.force_quote.as_ref().is_some_and(|f| f.contains(field.name())),
            })
            .collect();
        CopyEncoder { options, style, columns }
    }

    /// What comes before the rows: the line of names, the binary header, or nothing.
    pub fn start(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self.options.format {
            CopyFormat::Binary => {
                out.put_slice(binary::SIGNATURE);
                out.put_i32(0);
                out.put_i32(0);
            }
            CopyFormat::Text | CopyFormat::Csv if self.options.header == CopyHeader::Off => {}
            CopyFormat::Text | CopyFormat::Csv => {
                for (i, column) in self.columns.iter().enumerate() {
                    if i > 0 {
                        out.put_u8(self.options.delimiter);
                    }
                    let start = out.len();
                    out.put_slice(column.name.as_bytes());
                    self.protect(start, false, &mut out);
                }
                out.put_u8(b'\n');
            }
        }
        out.freeze()
    }

    /// The rows of a batch.
    pub fn batch(&self, batch: &RecordBatch) -> Result<Bytes> {
        if batch.num_columns() != self.columns.len() {
            return Err(Error::internal("a batch of another schema in COPY TO"));
        }
        let mut out = BytesMut::with_capacity(batch.num_rows() * self.columns.len() * 12);
        for row in 0..batch.num_rows() {
            match self.options.format {
                CopyFormat::Binary => self.binary_row(batch, row, &mut out)?,
                CopyFormat::Text | CopyFormat::Csv => self.text_row(batch, row, &mut out),
            }
        }
        Ok(out.freeze())
    }

    /// What comes after the rows: the binary trailer, or nothing.
    pub fn end(&self) -> Bytes {
        match self.options.format {
            CopyFormat::Binary => Bytes::from_static(&[0xff, 0xff]),
            CopyFormat::Text | CopyFormat::Csv => Bytes::new(),
        }
    }

    fn binary_row(&self, batch: &RecordBatch, row: usize, out: &mut BytesMut) -> Result<()> {
        let count = i16::try_from(self.columns.len()).map_err(|_| {
            Error::new(SqlState::ProgramLimit, "more columns than binary COPY can hold")
        })?;
        out.put_i16(count);
        for (column, array) in self.columns.iter().zip(batch.columns()) {
            if column.encoder.is_null(array, row) {
                out.put_i32(-1);
            } else {
                column.encoder.sized(array, row, out)?;
            }
        }
        Ok(())
    }

    fn text_row(&self, batch: &RecordBatch, row: usize, out: &mut BytesMut) {
        for (i, (column, array)) in self.columns.iter().zip(batch.columns()).enumerate() {
            if i > 0 {
                out.put_u8(self.options.delimiter);
            }
            let array: &dyn Array = array.as_ref();
            if column.encoder.is_null(array, row) {
                out.put_slice(self.options.null.as_bytes());
                continue;
            }
            let start = out.len();
            column.encoder.text(array, row, &self.style, out);
            self.protect(start, column.force_quote, out);
        }
        out.put_u8(b'\n');
    }

    /// Escapes or quotes what stands behind `start`, if it must be.
    fn protect(&self, start: usize, force_quote: bool, out: &mut BytesMut) {
        let options = &self.options;
        if options.format == CopyFormat::Csv {
            let value = &out[start..];
            let special = |b: &u8| {
                *b == options.delimiter || *b == options.quote || matches!(b, b'\n' | b'\r')
            };
            let quote = force_quote
                || value == options.null.as_bytes()
                || value.iter().any(special)
                || (self.columns.len() == 1 && value == b"\\.");
            if quote {
                let plain = out.split_off(start);
                out.put_u8(options.quote);
                for byte in plain {
                    if byte == options.quote || byte == options.escape {
                        out.put_u8(options.escape);
                    }
                    out.put_u8(byte);
                }
                out.put_u8(options.quote);
            }
            return;
        }
        let special = |b: &u8| *b == options.delimiter || matches!(b, 8..=13 | b'\\');
        if out[start..].iter().any(special) {
            let plain = out.split_off(start);
            for byte in plain {
                match byte {
                    8 => out.put_slice(b"\\b"),
                    9 => out.put_slice(b"\\t"),
                    10 => out.put_slice(b"\\n"),
                    11 => out.put_slice(b"\\v"),
                    12 => out.put_slice(b"\\f"),
                    13 => out.put_slice(b"\\r"),
                    b if b == b'\\' || b == options.delimiter => out.put_slice(&[b'\\', b]),
                    b => out.put_u8(b),
                }
            }
        }
    }
}
