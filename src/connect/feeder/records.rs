//! Text as it comes in, record by record, into columns.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::super::computed::numbers;
use super::super::decode::{
    BatchBuilder, CsvDecoder, CsvHeader, Decoder, JsonDecoder, LineDecoder, More, RecordFormat,
    decode, match_header,
};
use super::super::{Rejected, Why};
use super::{FedRows, Feeder, MediaType};
use crate::error::{Error, Result, SqlState};
use crate::limits;

/// The records of one body, or of one connection.
pub struct FedRecords {
    rows: BatchBuilder,
    schema: SchemaRef,
    pub(super) format: FedDecoder,
    /// The number of the first record of the rows that are being put together.
    first: u64,
}

/// What finds the records.
pub(super) enum FedDecoder {
    Json(JsonDecoder),
    Lines(LineDecoder),
    /// With a header that has not come yet, or without.
    Csv(CsvDecoder, CsvHeader),
}

impl Feeder {
    /// Takes records of text of this type; `now_ms`: what the clock says, for `max_future`.
    pub fn records(&self, media_type: MediaType, now_ms: i64) -> Result<FedRecords> {
        let fields: Vec<Field> = self.columns.iter().map(|column| column.field.clone()).collect();
        let mut rows = BatchBuilder::new(&fields, (0..fields.len()).collect(), 0, self.times);
        let defaults = self.columns.iter().enumerate().filter(|(_, column)| column.has_default);
        rows.with_defaults(defaults.map(|(at, _)| at));
        rows.keep_raw();
        rows.begin(now_ms);
        let (style, header) = &self.csv;
        let format = match media_type.format {
            RecordFormat::Json => FedDecoder::Json(JsonDecoder::new(fields.iter())),
            RecordFormat::Text => FedDecoder::Lines(LineDecoder::new(self.text_column()?)),
            RecordFormat::Csv => {
                let decoder = CsvDecoder::new(style.clone(), fields.len());
                FedDecoder::Csv(decoder, media_type.header.unwrap_or(*header))
            }
            RecordFormat::Arrow => return Err(Error::internal("records of a binary format")),
        };
        // A NULL that stands for a DEFAULT may be in any column that has one.
        let loose = self.columns.iter().map(|column| {
            let may_be_null = column.has_default || column.field.is_nullable();
            column.field.clone().with_nullable(may_be_null)
        });
        let schema = Arc::new(Schema::new(loose.collect::<Vec<_>>()));
        Ok(FedRecords { rows, schema, format, first: 0 })
    }
}

impl FedRecords {
    /// Before a part of what comes bit by bit: what the clock says, for `max_future`.
    pub fn begin(&mut self, now_ms: i64) {
        self.rows.begin(now_ms);
    }

    /// Takes complete records at the front of what has come, at most [`limits::BATCH_ROWS`], and says
    /// how many bytes they have.
    pub fn take_complete(&mut self, data: &[u8]) -> Result<usize> {
        self.take(data, More::MayCome)
    }

    /// The same; the last record is complete if no more may come.
    pub(super) fn take(&mut self, data: &[u8], more: More) -> Result<usize> {
        let mut at = 0;
        while at < data.len() && self.rows.len() < limits::BATCH_ROWS {
            let taken = self.take_some(&data[at..], more)?;
            at += taken;
            if taken == 0 {
                break;
            }
        }
        Ok(at)
    }

    fn take_some(&mut self, data: &[u8], more: More) -> Result<usize> {
        let decoder: &mut dyn Decoder = match &mut self.format {
            FedDecoder::Json(decoder) => decoder,
            FedDecoder::Lines(decoder) => decoder,
            FedDecoder::Csv(_, CsvHeader::First) => return self.take_header(data, more),
            FedDecoder::Csv(decoder, CsvHeader::None) => decoder,
        };
        Ok(decode(decoder, data, more, limits::BATCH_ROWS, &mut self.rows))
    }

    fn take_header(&mut self, data: &[u8], more: More) -> Result<usize> {
        let end = match memchr::memchr(b'\n', data) {
            Some(at) => at + 1,
            None if more == More::Ended => data.len(),
            None => return Ok(0),
        };
        let FedDecoder::Csv(decoder, header) = &mut self.format else { return Ok(0) };
        let broken = || {
            Error::new(SqlState::BadCopyFormat, "the first line is no header that can be read")
                .hint("Leave header away, or set it to false, if the first line is a record.")
        };
        let text = std::str::from_utf8(&data[..end]).map_err(|_| broken())?;
        let names = decoder.header(text).ok_or_else(broken)?;
        let fields = self.schema.fields();
        let columns = fields.iter().map(|field| field.name().as_str());
        // What it does not name is the DEFAULT, or NULL if it may be.
        let needed = |at: usize| !fields[at].is_nullable();
        let field_of = match_header(columns, &names, "the body", needed)?;
        if field_of.iter().all(Option::is_none) {
            return Err(Error::new(SqlState::UndefinedColumn, "the header names no column")
                .hint(format!("The header names: {}.", names.join(", "))));
        }
        decoder.match_fields(field_of, names.len());
        *header = CsvHeader::None;
        Ok(end)
    }

    /// One record of JSON.
    pub(super) fn record(&mut self, text: &str) {
        if let FedDecoder::Json(decoder) = &mut self.format {
            decoder.record(text, &mut self.rows);
        }
    }

    /// A record that is none.
    pub fn reject(&mut self, raw: &[u8], error: &str) {
        self.rows.reject(raw, error);
    }

    /// What has been taken since the last time.
    pub fn finish(&mut self) -> Result<FedRows> {
        let missing = self.rows.missing()?;
        let (batch, rejected) = self.rows.finish(&self.schema)?;
        // Rows without an event time are the log's to keep.
        let is_malformed = |record: &Rejected| record.why == Why::Malformed;
        let rejected: Vec<Rejected> = rejected.into_iter().filter(is_malformed).collect();
        let numbers = numbers(self.first, batch.num_rows(), &rejected);
        self.first = self.rows.record();
        Ok(FedRows { batch, missing, rejected, numbers, raw: self.rows.take_raw() })
    }
}
