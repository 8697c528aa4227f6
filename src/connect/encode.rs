//! Rows as bytes, for sinks: lines of JSON, CSV as COPY writes it, Parquet.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::errors::ParquetError;

use crate::error::{Error, Result, SqlState};
use crate::pgtypes::copy::{CopyEncoder, CopyHeader, CopyOptions};
use crate::pgtypes::values::{TextStyle, row_as_json};

/// How rows are written.
pub(super) enum RowFormat {
    /// An object a row, a row a line.
    Json,
    /// As COPY … (FORMAT csv).
    Csv(CopyEncoder),
    /// A file of its own for each call.
    Parquet(SchemaRef),
}

impl RowFormat {
    /// Lines of JSON.
    pub(super) fn json() -> RowFormat {
        RowFormat::Json
    }

    /// CSV, with a line of names before the rows.
    pub(super) fn csv(schema: &SchemaRef, header: bool) -> RowFormat {
        let header = if header { CopyHeader::On } else { CopyHeader::Off };
        let options = CopyOptions { header, ..CopyOptions::csv() };
        RowFormat::Csv(CopyEncoder::new(schema, options, TextStyle::default()))
    }

    /// Parquet.
    ///
    /// # Errors
    /// 0A000 if a column has a type that Parquet has not.
    pub(super) fn parquet(schema: &SchemaRef) -> Result<RowFormat> {
        let none = RecordBatch::new_empty(SchemaRef::clone(schema));
        parquet(schema, &[none]).map_err(|error| {
            Error::unsupported(format!("these columns cannot be written as Parquet: {error}"))
                .hint("Cast the column to another type, for example to text.")
        })?;
        Ok(RowFormat::Parquet(SchemaRef::clone(schema)))
    }

    /// What the names of files end with.
    pub(super) fn extension(&self) -> &'static str {
        match self {
            RowFormat::Json => "json",
            RowFormat::Csv(_) => "csv",
            RowFormat::Parquet(_) => "parquet",
        }
    }

    /// The rows, whole.
    pub(super) fn encode(&self, batches: &[RecordBatch]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        match self {
            RowFormat::Json => {
                for batch in batches {
                    for row in 0..batch.num_rows() {
                        out.extend_from_slice(row_as_json(batch, row).as_bytes());
                        out.push(b'\n');
                    }
                }
            }
            RowFormat::Csv(encoder) => {
                out.extend_from_slice(&encoder.start());
                for batch in batches {
                    out.extend_from_slice(&encoder.batch(batch)?);
                }
            }
            RowFormat::Parquet(schema) => return parquet(schema, batches).map_err(foreign),
        }
        Ok(out)
    }
}

fn parquet(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>, ParquetError> {
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, SchemaRef::clone(schema), None)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(out)
}

fn foreign(error: ParquetError) -> Error {
    Error::new(SqlState::Internal, format!("the rows could not be written as Parquet: {error}"))
}
