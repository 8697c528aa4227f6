//! COPY … FROM: bytes to batches.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::binary::{Step, Tuples};
use super::fields::{self, CopyField};
use super::lines::{Found, Lines, MoreInput};
use super::{CopyFormat, CopyHeader, CopyOptions};
use crate::error::{Error, Result, SqlState};
use crate::limits::{self, BATCH_ROWS, WRITE_BYTES};
use crate::pgtypes::values::ColumnBuilder;
use crate::types::{SqlType, Zone};

/// Decodes the data of a COPY … FROM, pushed in pieces that may end anywhere.
///
/// After an error the decoder is of no further use: the whole COPY has failed.
#[derive(Debug)]
pub struct CopyDecoder {
    options: CopyOptions,
    columns: Vec<CopyColumn>,
    schema: SchemaRef,
    zone: Zone,
    builders: Vec<ColumnBuilder>,
    filled: usize,
    /// Bytes not decoded yet: the beginning of a record.
    buffer: Vec<u8>,
    lines: Lines,
    tuples: Tuples,
    scratch: Vec<u8>,
    ready: VecDeque<RecordBatch>,
    rows: u64,
    line: u64,
    header_pending: bool,
    /// `\.` or the binary trailer has come.
    ended: bool,
}

#[derive(Debug)]
struct CopyColumn {
    name: String,
    sql_type: SqlType,
    not_null: bool,
    /// csv: matches NULL when unquoted, when quoted.
    null_plain: bool,
    null_quoted: bool,
}

impl CopyDecoder {
    /// For these columns (name, type, NOT NULL), in the order of the data.
    pub fn new(columns: Vec<(String, SqlType, bool)>, options: CopyOptions) -> Self {
        let fields: Vec<_> =
            columns.iter().map(|(name, t, not_null)| t.to_field(name, !not_null)).collect();
        let columns: Vec<CopyColumn> = columns
            .into_iter()
            .map(|(name, sql_type, not_null)| CopyColumn {
                null_plain: !options.force_not_null.as_ref().is_some_and(|f| f.contains(&name)),
                null_quoted: options.force_null.as_ref().is_some_and(|f| f.contains(&name)),
                name,
                sql_type,
                not_null,
            })
            .collect();
        let csv = (options.format == CopyFormat::Csv).then_some((options.quote, options.escape));
        let mut decoder = CopyDecoder {
            header_pending: options.header != CopyHeader::Off
                && options.format != CopyFormat::Binary,
            lines: Lines::new(csv),
            tuples: Tuples::default(),
            options,
            columns,
            schema: Arc::new(Schema::new(fields)),
            zone: Zone::Utc,
            builders: Vec::new(),
            filled: 0,
            buffer: Vec::new(),
            scratch: Vec::new(),
            ready: VecDeque::new(),
            rows: 0,
            line: 0,
            ended: false,
        };
        decoder.builders = decoder.fresh();
        decoder
    }

    /// The zone of a TIMESTAMPTZ that is written without one; UTC unless told.
    #[must_use]
    pub fn in_zone(mut self, zone: Zone) -> Self {
        self.zone = zone;
        self.builders = self.fresh();
        self
    }

    fn fresh(&self) -> Vec<ColumnBuilder> {
        let new = |c: &CopyColumn| ColumnBuilder::new(&c.sql_type, BATCH_ROWS).in_zone(self.zone);
        self.columns.iter().map(new).collect()
    }

    /// The schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// How many rows have been decoded.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes the next bytes and decodes the records that are complete.
    pub fn push(&mut self, data: &[u8]) -> Result<()> {
        if self.ended {
            // Postgres, too, reads over what follows `\.`; behind the binary trailer nothing may
            // come.
            return match self.options.format {
                CopyFormat::Binary if !data.is_empty() => Err(after_end()),
                _ => Ok(()),
            };
        }
        self.buffer.extend_from_slice(data);
        self.decode(MoreInput::Open)?;
        if self.buffer.len() > WRITE_BYTES {
            let message = format!("a row is longer than {WRITE_BYTES} bytes");
            return Err(Error::new(SqlState::ProgramLimit, message));
        }
        Ok(())
    }

    /// The next full batch, if there is one.
    pub fn take(&mut self) -> Option<RecordBatch> {
        self.ready.pop_front()
    }

    /// The data is complete: decodes what is left. Call until it gives None.
    pub fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if !self.ended {
            self.decode(MoreInput::Ended)?;
            self.ended = true;
        }
        if self.filled > 0 {
            self.close_batch()?;
        }
        Ok(self.ready.pop_front())
    }

    fn decode(&mut self, input: MoreInput) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = match self.options.format {
            CopyFormat::Binary => self.decode_binary(&buffer, input),
            CopyFormat::Text | CopyFormat::Csv => self.decode_lines(&buffer, input),
        };
        let used = result?;
        self.buffer = buffer;
        if used == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..used);
        }
        Ok(())
    }

    fn decode_lines(&mut self, buffer: &[u8], input: MoreInput) -> Result<usize> {
        let mut start = 0;
        while start < buffer.len() && !self.ended {
            let found = self
                .lines
                .next(buffer, start, input)
                .map_err(|e| self.at_line(e, self.line + 1, None))?;
            let (end, next, inner) = match (found, input) {
                (Found::Record(record), _) => (record.end, record.next, record.inner_lines),
                (Found::Incomplete, MoreInput::Open) => return Ok(start),
                (Found::Incomplete, MoreInput::Ended) if self.lines.in_quotes() => {
                    return Err(self.at_line(
                        fields::unterminated(),
                        self.line + 1,
                        Some(&buffer[start..]),
                    ));
                }
                (Found::Incomplete, MoreInput::Ended) => (buffer.len(), buffer.len(), 0),
            };
            self.line += 1 + inner;
            self.record(&buffer[start..end])?;
            start = next;
        }
        Ok(if self.ended { buffer.len() } else { start })
    }

    fn record(&mut self, mut line: &[u8]) -> Result<()> {
        if let Some(at) = self.end_marker(line) {
            if at + 2 < line.len() {
                let error = Error::new(SqlState::BadCopyFormat, "end-of-copy marker corrupt");
                return Err(self.at_line(error, self.line, None));
            }
            self.ended = true;
            if at == 0 {
                return Ok(());
            }
            line = &line[..at];
        }
        if self.header_pending {
            self.header_pending = false;
            return if self.options.header == CopyHeader::Match {
                self.match_header(line)
            } else {
                Ok(())
            };
        }
        self.row(line)?;
        self.count_row()
    }

    /// Where `\.` stands: in text anywhere behind an even number of backslashes, in csv as the
    /// whole line.
    #[inline]
    fn end_marker(&self, line: &[u8]) -> Option<usize> {
        if self.options.format == CopyFormat::Csv {
            return (line == b"\\.").then_some(0);
        }
        let mut at = memchr::memchr(b'\\', line)?;
        while line.get(at + 1)? != &b'.' {
            at += 2 + memchr::memchr(b'\\', &line[at + 2..])?;
        }
        Some(at)
    }

    fn row(&mut self, line: &[u8]) -> Result<()> {
        let mut missing = None;
        let mut scratch = std::mem::take(&mut self.scratch);
        let (columns, builders, options, number) =
            (&self.columns, &mut self.builders, &self.options, self.line);
        let null = options.null.as_bytes();
        let each = |i: usize, field: CopyField<'_>| -> Result<()> {
            let (Some(column), Some(builder)) = (columns.get(i), builders.get_mut(i)) else {
                return Err(in_line(extra_data(), number, Some(line)));
            };
            let is_null = match options.format {
                CopyFormat::Csv if field.quoted => column.null_quoted && field.value == null,
                CopyFormat::Csv => column.null_plain && field.value == null,
                CopyFormat::Text | CopyFormat::Binary => field.raw == null,
            };
            if !is_null {
                return builder
                    .append_text(field.value)
                    .map_err(|e| in_column(e, number, &column.name, Some(field.value)));
            }
            // A line that is too short is told first, below.
            if column.not_null && missing.is_none() {
                missing = Some(i);
            }
            builder.append_null();
            Ok(())
        };
        let count = split(options, line, &mut scratch, each);
        self.scratch = scratch;
        let count = count.map_err(|error| self.or_extra_data(error, line))?;
        let error = match (self.columns.get(count), missing) {
            (None, None) => return Ok(()),
            (None, Some(null)) => null_value(&self.columns[null].name),
            (Some(absent), _) => {
                let message = format!("missing data for column \"{}\"", absent.name);
                Error::new(SqlState::BadCopyFormat, message)
            }
        };
        Err(self.at_line(error, self.line, Some(line)))
    }

    /// A line with too many fields is told as that, whatever is wrong with one of its values: as
    /// often as not the value only stands in the wrong column.
    #[cold]
    fn or_extra_data(&self, error: Error, line: &[u8]) -> Error {
        match split(&self.options, line, &mut Vec::new(), |_, _| Ok(())) {
            Ok(count) if count > self.columns.len() => in_line(extra_data(), self.line, Some(line)),
            _ => error,
        }
    }

    /// HEADER MATCH: the names must be the columns' names, in order.
    fn match_header(&mut self, line: &[u8]) -> Result<()> {
        let mut names: Vec<Option<String>> = Vec::new();
        let options = &self.options;
        let each = |_: usize, field: CopyField<'_>| -> Result<()> {
            let null = !field.quoted && field.raw == options.null.as_bytes();
            names.push((!null).then(|| String::from_utf8_lossy(field.value).into_owned()));
            Ok(())
        };
        let mut scratch = Vec::new();
        split(options, line, &mut scratch, each)?;
        let bad = |message: String| {
            Err(in_line(Error::new(SqlState::BadCopyFormat, message), 1, Some(line)))
        };
        if names.len() != self.columns.len() {
            let (got, expected) = (names.len(), self.columns.len());
            return bad(format!(
                "wrong number of fields in header line: got {got}, expected {expected}"
            ));
        }
        for (i, (name, column)) in names.iter().zip(&self.columns).enumerate() {
            let (field, expected) = (i + 1, &column.name);
            match name {
                Some(name) if name == expected => {}
                Some(name) => {
                    return bad(format!(
                        "column name mismatch in header line field {field}: got \"{name}\", expected \"{expected}\""
                    ));
                }
                None => {
                    return bad(format!(
                        "column name mismatch in header line field {field}: got null value (\"{}\"), expected \"{expected}\"",
                        self.options.null
                    ));
                }
            }
        }
        Ok(())
    }

    fn decode_binary(&mut self, buffer: &[u8], input: MoreInput) -> Result<usize> {
        let mut at = 0;
        loop {
            match self
                .tuples
                .next(&buffer[at..], self.columns.len(), input)
                .map_err(|e| in_line(e, self.line + 1, None))?
            {
                Step::Incomplete => return Ok(at),
                Step::Header(used) => at += used,
                Step::End(used) => {
                    self.ended = true;
                    return if at + used == buffer.len() {
                        Ok(buffer.len())
                    } else {
                        Err(after_end())
                    };
                }
                Step::Tuple(used) => {
                    self.line += 1;
                    self.tuple(&buffer[at..at + used])?;
                    at += used;
                    self.count_row()?;
                }
            }
        }
    }

    fn tuple(&mut self, tuple: &[u8]) -> Result<()> {
        let mut rest = &tuple[2..];
        for (column, builder) in self.columns.iter().zip(&mut self.builders) {
            let (value, tail) = super::binary::field(rest).ok_or_else(|| {
                in_column(super::binary::unexpected_end(), self.line, &column.name, None)
            })?;
            rest = tail;
            match value {
                Some(value) => builder
                    .append_binary(value)
                    .map_err(|e| in_column(e, self.line, &column.name, None))?,
                None if column.not_null => {
                    return Err(in_line(null_value(&column.name), self.line, None));
                }
                None => builder.append_null(),
            }
        }
        Ok(())
    }

    #[inline]
    fn count_row(&mut self) -> Result<()> {
        self.rows += 1;
        self.filled += 1;
        let wide = self.filled.is_multiple_of(64)
            && self.builders.iter().map(ColumnBuilder::bytes).sum::<usize>()
                > limits::COPY_BATCH_BYTES;
        if self.filled >= BATCH_ROWS || wide { self.close_batch() } else { Ok(()) }
    }

    fn close_batch(&mut self) -> Result<()> {
        let fresh = self.fresh();
        let full = std::mem::replace(&mut self.builders, fresh);
        let columns: Vec<ArrayRef> = full.into_iter().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.filled));
        self.ready.push_back(RecordBatch::try_new_with_options(self.schema(), columns, &options)?);
        self.filled = 0;
        Ok(())
    }

    fn at_line(&self, error: Error, line: u64, text: Option<&[u8]>) -> Error {
        in_line(error, line, text)
    }
}

/// Calls `each` with every field of a line and returns how many there were.
#[inline]
fn split(
    options: &CopyOptions,
    line: &[u8],
    scratch: &mut Vec<u8>,
    each: impl FnMut(usize, CopyField<'_>) -> Result<()>,
) -> Result<usize> {
    match options.format {
        CopyFormat::Csv => {
            fields::csv(line, (options.delimiter, options.quote, options.escape), scratch, each)
        }
        CopyFormat::Text | CopyFormat::Binary => {
            fields::text(line, options.delimiter, scratch, each)
        }
    }
}

fn extra_data() -> Error {
    Error::new(SqlState::BadCopyFormat, "extra data after last expected column")
}

fn after_end() -> Error {
    Error::new(SqlState::BadCopyFormat, "received copy data after EOF marker")
}

fn null_value(column: &str) -> Error {
    Error::new(
        SqlState::NotNull,
        format!("null value in column \"{column}\" violates not-null constraint"),
    )
}

/// The beginning of a text, for an error.
fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    if text.len() <= limits::QUOTE_BYTES {
        return text.into_owned();
    }
    let end = (0..=limits::QUOTE_BYTES).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    format!("{}...", &text[..end])
}

/// Says where: Postgres tells it as the error's context, which is behind the detail here.
fn with_place(error: Error, place: String) -> Error {
    let detail = match error.detail_text() {
        Some(detail) => format!("{detail} {place}"),
        None => place,
    };
    error.detail(detail)
}

fn in_line(error: Error, line: u64, text: Option<&[u8]>) -> Error {
    let place = match text {
        Some(text) => format!("line {line}: \"{}\"", excerpt(text)),
        None => format!("line {line}"),
    };
    with_place(error, place)
}

fn in_column(error: Error, line: u64, column: &str, text: Option<&[u8]>) -> Error {
    let place = match text {
        Some(text) => format!("line {line}, column {column}: \"{}\"", excerpt(text)),
        None => format!("line {line}, column {column}"),
    };
    with_place(error, place)
}
