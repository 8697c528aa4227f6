//! The events that are measured with: generated and held in memory, or in a file.
//!
//! Both are sources as any connector's, so that the feed in front of a pipeline is the one that is
//! used in earnest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use crate::connect::{self, Source, SourceBatch, SourceOffset, SourceReader};
use crate::error::{Error, Result, SqlState};
use crate::limits;

/// The streams of the auction site, and how many of each 50 events are theirs.
pub(super) const STREAMS: [(&str, u64); 3] = [("person", 1), ("auction", 3), ("bid", 46)];

/// What of `whole` is due to one of `streams`: as much as of the site's events; the last one gets
/// what is left.
pub(super) fn share(stream: &str, streams: &[&str], whole: u64) -> u64 {
    let of =
        |stream: &str| STREAMS.iter().find(|(name, _)| *name == stream).map_or(0, |(_, of)| *of);
    let all: u64 = streams.iter().map(|stream| of(stream)).sum();
    let part =
        |stream: &str| (u128::from(whole) * u128::from(of(stream)) / u128::from(all.max(1))) as u64;
    match streams.split_last() {
        Some((last, others)) if *last == stream => {
            whole - others.iter().map(|other| part(other)).sum::<u64>()
        }
        _ => part(stream),
    }
}

/// A stream of so many rows, as options of a source.
pub(super) fn nexmark_options(stream: &str, rows: u64) -> Vec<(String, String)> {
    let of = share(stream, &STREAMS.map(|(name, _)| name), 50);
    let events = rows.div_ceil(of).saturating_mul(50).to_string();
    options(&[("connector", "nexmark"), ("table", stream), ("events", &events)])
}

fn options(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Generates so many rows of a stream into memory, with these columns of theirs filled; the others
/// cost nothing and are not there.
pub(super) fn generate(
    stream: &str,
    rows: u64,
    schema: SchemaRef,
    columns: &[usize],
) -> Result<Memory> {
    let fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    let options = nexmark_options(stream, rows);
    let site = connect::open(&options, &fields, Vec::new(), Path::new("."), 0, None)?;
    let mut reader = site.reader(SourceOffset::default(), Some(columns))?;
    let mut batches = Vec::new();
    let mut left = rows;
    while left > 0 {
        let wanted = left.min(limits::BATCH_ROWS as u64) as usize;
        let read = reader.read(i64::MAX, wanted)?;
        left -= read.batch.num_rows() as u64;
        let is_over = read.ended || read.batch.num_rows() == 0;
        batches.push(read.batch);
        if is_over {
            break;
        }
    }
    Ok(Memory { schema, columns: columns.to_vec(), batches: batches.into() })
}

/// Events in memory.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    schema: SchemaRef,
    /// Which columns of the schema there are.
    columns: Vec<usize>,
    /// With these columns.
    pub batches: Arc<[RecordBatch]>,
}

impl Source for Memory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn reader(&self, _: SourceOffset, columns: Option<&[usize]>) -> Result<Box<dyn SourceReader>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let place = |column: &usize| self.columns.iter().position(|known| known == column);
        let picked = columns.unwrap_or(&all).iter().map(place).collect::<Option<Vec<_>>>();
        let picked =
            picked.ok_or_else(|| Error::internal("a column that was not generated is read"))?;
        Ok(Box::new(MemoryReader { batches: Arc::clone(&self.batches), picked, next: 0 }))
    }
}

struct MemoryReader {
    batches: Arc<[RecordBatch]>,
    picked: Vec<usize>,
    next: usize,
}

impl SourceReader for MemoryReader {
    fn read(&mut self, _: i64, _: usize) -> Result<SourceBatch> {
        let batch = match self.batches.get(self.next) {
            Some(batch) => batch.project(&self.picked)?,
            None => return Err(Error::internal("the events have all been read")),
        };
        self.next += 1;
        Ok(SourceBatch { batch, rejected: Vec::new(), ended: self.next >= self.batches.len() })
    }

    fn offset(&self) -> SourceOffset {
        SourceOffset::default()
    }
}

/// What is in a file, by its name's ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFormat {
    /// Comma-separated; `has_header` when its first line names the columns.
    Csv { has_header: bool },
    /// A JSON object a line.
    Json,
    /// Parquet.
    Parquet,
}

/// Tells the format of a file.
pub(super) fn file_format(path: &Path) -> Result<FileFormat> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("csv") => Ok(FileFormat::Csv { has_header: first_line(path)?.contains("auction") }),
        Some("json" | "jsonl" | "ndjson") => Ok(FileFormat::Json),
        Some("parquet") => Ok(FileFormat::Parquet),
        _ => Err(Error::new(
            SqlState::BadArgument,
            format!("{}: not a .csv, .json or .parquet file", path.display()),
        )
        .hint("The file must hold bids: auction, bidder, price, channel, url, date_time, extra.")),
    }
}

fn first_line(path: &Path) -> Result<String> {
    use std::io::{BufRead, Read};
    let mut line = Vec::new();
    let file = File::open(path).map_err(|error| named(error.into(), path))?;
    std::io::BufReader::new(file.take(64 << 10)).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).to_ascii_lowercase())
}

fn named(error: Error, path: &Path) -> Error {
    error.context(path.display())
}

/// Opens a file of bids as the source of a query of these streams.
///
/// # Errors
///
/// 0A000 if the query reads other streams too.
pub(super) fn open_bids(
    path: &Path,
    streams: &[&str],
    schema: SchemaRef,
) -> Result<Arc<dyn Source>> {
    only_bids(streams)?;
    open_file(path, schema)
}

/// 0A000 for a query that reads other streams than bids, which a file does not have.
pub(super) fn only_bids(streams: &[&str]) -> Result<()> {
    match streams.iter().find(|stream| **stream != "bid") {
        None => Ok(()),
        Some(other) => Err(Error::unsupported(format!(
            "--input is a file of bids, and the query reads {other}s too (0A000)"
        ))
        .hint("Leave --input away: rows are generated then.")),
    }
}

/// Opens a file of bids as a source.
fn open_file(path: &Path, schema: SchemaRef) -> Result<Arc<dyn Source>> {
    let path = std::fs::canonicalize(path).map_err(|error| named(error.into(), path))?;
    let format = file_format(&path)?;
    let (Some(root), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Err(Error::new(
            SqlState::BadArgument,
            format!("{}: not the name of a file", path.display()),
        ));
    };
    let kind = match format {
        FileFormat::Parquet => return Ok(Arc::new(Parquet { path, schema })),
        FileFormat::Csv { .. } => "csv",
        FileFormat::Json => "json",
    };
    let mut given =
        options(&[("connector", "file"), ("path", name), ("format", kind), ("mode", "once")]);
    if let FileFormat::Csv { has_header: true } = format {
        given.extend(options(&[("header", "true")]));
    }
    let fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    connect::open(&given, &fields, Vec::new(), root, 0, None)
}

/// A Parquet file of bids.
#[derive(Debug)]
struct Parquet {
    path: PathBuf,
    schema: SchemaRef,
}

impl Source for Parquet {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn reader(&self, _: SourceOffset, columns: Option<&[usize]>) -> Result<Box<dyn SourceReader>> {
        let file = File::open(&self.path).map_err(|error| named(error.into(), &self.path))?;
        let refused =
            |error| named(Error::new(SqlState::BadCopyFormat, format!("{error}")), &self.path);
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(refused)?;
        let schema = match columns {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let builder = builder.with_projection(mask).with_batch_size(limits::BATCH_ROWS);
        let reader = builder.build().map_err(refused)?;
        Ok(Box::new(ParquetReader { reader, schema, left: rows }))
    }
}

struct ParquetReader {
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    left: usize,
}

impl SourceReader for ParquetReader {
    fn read(&mut self, _: i64, _: usize) -> Result<SourceBatch> {
        let Some(batch) = self.reader.next().transpose()? else {
            let batch = RecordBatch::new_empty(Arc::clone(&self.schema));
            return Ok(SourceBatch { batch, rejected: Vec::new(), ended: true });
        };
        self.left = self.left.saturating_sub(batch.num_rows());
        // The file has its own order of columns, and its own unit of time.
        let columns = self.schema.fields().iter().map(|field| {
            let column = batch.column_by_name(field.name()).ok_or_else(|| {
                Error::new(
                    SqlState::UndefinedColumn,
                    format!("the file has no column \"{}\"", field.name()),
                )
            })?;
            Ok(cast(column, field.data_type())?)
        });
        let batch =
            RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<Vec<_>>>()?)?;
        Ok(SourceBatch { batch, rejected: Vec::new(), ended: self.left == 0 })
    }

    fn offset(&self) -> SourceOffset {
        SourceOffset::default()
    }
}
