//! Records of text (CSV, JSON lines) into Arrow columns, one record at a time and each for itself.
//!
//! We find the borders of records and fields ourselves and append each field straight to its
//! column's builder, which reads it as COPY does. A reader over whole blocks (arrow-csv,
//! arrow-json) fails a block for one bad line, takes `1.9` for an integer, and lets one unclosed
//! quote swallow the rest of a file; and splitting the block again to find out costs more than
//! this. A field of a column that nobody asked for is still checked, only not kept: whether a
//! record is good must not depend on the query that reads it.

use arrow::array::{AsArray, BooleanArray, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::{Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::times::{Times, Verdict};
use super::{EventTimes, RAW_BYTES, Rejected, Why, without_time};
use crate::error::Result;
use crate::limits;

mod column;
mod csv;
mod format;
mod json;
mod lines;

use column::{DecodedColumn, RecordField};
pub(super) use csv::{CsvDecoder, CsvStyle};
pub(super) use format::{CSV_OPTIONS, CsvHeader, RecordFormat, csv_style, match_header};
pub(super) use json::{JsonDecoder, JsonText};
pub(super) use lines::LineDecoder;

/// Whether the bytes at hand are all there will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// More may follow: an incomplete last record is none yet.
    MayCome,
    /// The file ends here: so does its last record.
    Ended,
}

/// The records that are being put together to a batch.
pub(super) struct BatchBuilder {
    columns: Vec<DecodedColumn>,
    /// Which of the columns are delivered, in which order.
    wanted: Vec<usize>,
    rows: usize,
    /// Rows that are in the columns but must not be delivered.
    bad: Vec<usize>,
    rejected: Vec<Rejected>,
    /// Good records without an event time.
    untimed: Vec<Rejected>,
    times: Option<Times>,
    /// The number of the next record.
    record: u64,
    /// The bytes of the good records, where somebody may still reject one.
    raw: Option<RawRecords>,
}

/// Records one after the other, and where each ends.
#[derive(Debug, Default)]
pub(super) struct RawRecords {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RawRecords {
    /// The bytes of the record with this number, cut after [`RAW_BYTES`].
    pub(super) fn get(&self, record: usize) -> Option<&[u8]> {
        let begin = if record == 0 { 0 } else { *self.ends.get(record - 1)? };
        self.bytes.get(begin..*self.ends.get(record)?)
    }
}

/// What has become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordOutcome {
    Taken,
    /// Taken, but it has no event time.
    Untimed,
    /// Not taken: its bytes are wanted for [`BatchBuilder::attach_bytes`].
    Wrong,
}

impl BatchBuilder {
    pub(super) fn new(
        fields: &[Field],
        wanted: Vec<usize>,
        record: u64,
        times: Option<EventTimes>,
    ) -> BatchBuilder {
        let columns = fields
            .iter()
            .enumerate()
            .map(|(i, field)| DecodedColumn::new(field, wanted.contains(&i)));
        BatchBuilder {
            columns: columns.collect(),
            wanted,
            rows: 0,
            bad: Vec::new(),
            rejected: Vec::new(),
            untimed: Vec::new(),
            times: times.map(Times::new),
            record,
            raw: None,
        }
    }

    /// How many records there are, good and bad.
    pub(super) fn len(&self) -> usize {
        self.rows - self.bad.len() + self.rejected.len()
    }

    /// Before a batch: what the clock says, for `max_future`.
    pub(super) fn begin(&mut self, now_ms: i64) {
        if let Some(raw) = &mut self.raw {
            raw.bytes.clear();
            raw.ends.clear();
        }
        if let Some(times) = &mut self.times {
            times.set_now(now_ms);
        }
    }

    pub(super) fn record(&self) -> u64 {
        self.record
    }

    /// Goes back to the record of that number.
    pub(super) fn restart(&mut self, record: u64) {
        self.record = record;
    }

    /// One record: `field` gives what it says about each column.
    fn append<'t>(&mut self, mut field: impl FnMut(usize) -> RecordField<'t>) -> RecordOutcome {
        for i in 0..self.columns.len() {
            if let Err(error) = self.columns[i].append(field(i)) {
                for column in &mut self.columns[i..] {
                    column.fill();
                }
                return self.wrong(error);
            }
        }
        let verdict = match &self.times {
            None => Verdict::Good,
            Some(times) => {
                let column = &self.columns[times.column()];
                times.judge(column.name(), column.micros())
            }
        };
        if let Verdict::Wrong(error) = verdict {
            return self.wrong(error);
        }
        self.rows += 1;
        self.record += 1;
        match verdict {
            Verdict::Missing => RecordOutcome::Untimed,
            Verdict::Good | Verdict::Wrong(_) => RecordOutcome::Taken,
        }
    }

    /// The record at hand is in the columns, but not to be delivered.
    fn wrong(&mut self, error: String) -> RecordOutcome {
        self.bad.push(self.rows);
        self.rows += 1;
        self.pending_error(error);
        RecordOutcome::Wrong
    }

    /// From now on the bytes of good records are kept until the next batch begins.
    pub(super) fn keep_raw(&mut self) {
        self.raw.get_or_insert_default();
    }

    /// The bytes of a row of the batch that was finished last, cut after [`RAW_BYTES`].
    pub(super) fn raw(&self, row: usize) -> Option<&[u8]> {
        self.raw.as_ref()?.get(row)
    }

    /// The bytes of the rows of that batch, to be kept with it.
    pub(super) fn take_raw(&mut self) -> RawRecords {
        self.raw.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// These columns have a DEFAULT: it is told which rows say nothing of them.
    pub(super) fn with_defaults(&mut self, columns: impl Iterator<Item = usize>) {
        columns.for_each(|column| self.columns[column].with_default());
    }

    /// For each column with a DEFAULT which rows of the batch that is finished next say nothing of
    /// it.
    pub(super) fn missing(&mut self) -> Result<Vec<Option<BooleanArray>>> {
        let good = (!self.bad.is_empty()).then(|| self.good());
        let of = |column: &mut DecodedColumn| match (column.take_missing(), &good) {
            (Some(missing), Some(good)) => Ok(Some(filter(&missing, good)?.as_boolean().clone())),
            (missing, _) => Ok(missing),
        };
        self.columns.iter_mut().map(of).collect()
    }

    /// Which of the rows in the columns are to be delivered.
    fn good(&self) -> BooleanArray {
        let mut good = vec![true; self.rows];
        self.bad.iter().for_each(|row| good[*row] = false);
        good.into()
    }

    /// What is done with the bytes of the record that was appended last.
    fn conclude(&mut self, outcome: RecordOutcome, raw: &[u8]) {
        match outcome {
            RecordOutcome::Taken => {}
            RecordOutcome::Untimed => self.keep(raw),
            RecordOutcome::Wrong => return self.attach_bytes(raw),
        }
        if let Some(kept) = &mut self.raw {
            kept.bytes.extend_from_slice(&raw[..raw.len().min(RAW_BYTES)]);
            kept.ends.push(kept.bytes.len());
        }
    }

    /// The bytes of the record that was taken last, which has no event time.
    fn keep(&mut self, raw: &[u8]) {
        let column = self.times.as_ref().map_or("", |times| self.columns[times.column()].name());
        let error = without_time(column);
        let raw = raw[..raw.len().min(RAW_BYTES)].to_vec();
        self.untimed.push(Rejected { offset: self.record - 1, raw, error, why: Why::Untimed });
    }

    /// The record that has just failed: its error waits for [`attach_bytes`](Self::attach_bytes) to
    /// say which bytes go with it.
    fn pending_error(&mut self, error: String) {
        self.rejected.push(Rejected {
            offset: self.record,
            raw: Vec::new(),
            error,
            why: Why::Malformed,
        });
    }

    /// Gives the failed record its bytes.
    fn attach_bytes(&mut self, raw: &[u8]) {
        if let Some(last) = self.rejected.last_mut() {
            last.raw = raw[..raw.len().min(RAW_BYTES)].to_vec();
        }
        self.record += 1;
    }

    /// A record that is none.
    pub(super) fn reject(&mut self, raw: &[u8], error: impl Into<String>) {
        self.pending_error(error.into());
        self.attach_bytes(raw);
    }

    /// The good records as a batch, and those to be kept aside; what is left is empty.
    pub(super) fn finish(&mut self, schema: &SchemaRef) -> Result<(RecordBatch, Vec<Rejected>)> {
        let mut arrays: Vec<_> = self.wanted.iter().map(|i| self.columns[*i].finish()).collect();
        let good_rows = self.rows - self.bad.len();
        if !self.bad.is_empty() {
            // Before the batch is made: place holders in NOT NULL columns must be gone by then.
            let good = self.good();
            self.bad.clear();
            arrays =
                arrays.iter().map(|array| Ok(filter(array, &good)?)).collect::<Result<Vec<_>>>()?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(good_rows));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
        self.rows = 0;
        let mut aside = std::mem::take(&mut self.rejected);
        aside.append(&mut self.untimed);
        aside.sort_by_key(|record| record.offset);
        Ok((batch, aside))
    }
}

/// A format: finds records and appends them.
pub(super) trait Decoder: Send {
    /// Takes records from the front of `data` until there are `max` in `rows` or no complete one is
    /// left; returns how many bytes they took. Nothing taken: more bytes are needed.
    fn decode(&mut self, data: &str, more: More, max: usize, rows: &mut BatchBuilder) -> usize;
}

/// As [`Decoder::decode`], over bytes that may not be UTF-8: a line with a byte out of place is
/// rejected.
pub(super) fn decode(
    decoder: &mut dyn Decoder,
    data: &[u8],
    more: More,
    max: usize,
    rows: &mut BatchBuilder,
) -> usize {
    let error = match std::str::from_utf8(data) {
        Ok(text) => return decoder.decode(text, more, max, rows),
        Err(error) => error,
    };
    let good = &data[..error.valid_up_to()];
    let line = memchr::memrchr(b'\n', good).map_or(0, |at| at + 1);
    if line > 0 {
        // The lines before it end here, quotes or not.
        let text = std::str::from_utf8(&good[..line]).unwrap_or("");
        return decoder.decode(text, More::Ended, max, rows);
    }
    match end_of_line(data, 0) {
        Some(end) => {
            rows.reject(&data[..end], "invalid byte sequence for encoding \"UTF8\"");
            end
        }
        // The end of what has been read may have cut a character in two.
        None if more == More::MayCome && data.len() < limits::RECORD_BYTES => 0,
        None => {
            let end = data.len().min(limits::RECORD_BYTES);
            rows.reject(&data[..end], "invalid byte sequence for encoding \"UTF8\"");
            end
        }
    }
}

/// Just after the next newline.
fn end_of_line(data: &[u8], from: usize) -> Option<usize> {
    memchr::memchr(b'\n', &data[from..]).map(|at| from + at + 1)
}

/// The end of a character, at that place or before it.
fn floor_char(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The line without its end.
fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
