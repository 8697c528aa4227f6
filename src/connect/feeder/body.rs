//! One body of a post: unpacked, then taken apart a portion at a time, so that what becomes of it can
//! be counted as it grows.

use std::io::Read;

use arrow::array::RecordBatch;

use super::super::decode::{JsonText, More, RecordFormat};
use super::arrow_stream::ArrowStream;
use super::records::{FedDecoder, FedRecords};
use super::{FedRows, Feeder, MediaType};
use crate::error::{Error, Result, SqlState};
use crate::limits;

/// What a portion of a body says.
#[derive(Debug)]
pub enum FedPart {
    /// Records of text.
    Rows(FedRows),
    /// Rows of an Arrow stream, in columns of whatever types, and the number of the first.
    Arrow(RecordBatch, u64),
}

/// A body that is taken apart.
pub struct FedBody<'b>(BodyForm<'b>);

enum BodyForm<'b> {
    Records(FedRecords, &'b [u8]),
    Values(FedRecords, JsonText<'b>),
    Arrow(ArrowStream),
}

impl Feeder {
    /// Begins to take a body apart.
    pub fn body<'b>(
        &self,
        body: &'b [u8],
        media_type: MediaType,
        now_ms: i64,
    ) -> Result<FedBody<'b>> {
        if media_type.format == RecordFormat::Arrow {
            return Ok(FedBody(BodyForm::Arrow(ArrowStream::new(body)?)));
        }
        let records = self.records(media_type, now_ms)?;
        let values = match (&records.format, std::str::from_utf8(body)) {
            (FedDecoder::Json(_), Ok(text)) => JsonText::of(text)?,
            _ => None,
        };
        Ok(FedBody(match values {
            Some(values) => BodyForm::Values(records, values),
            None => BodyForm::Records(records, body),
        }))
    }
}

impl FedBody<'_> {
    /// The next portion; an error refuses all of the body.
    pub fn next_part(&mut self) -> Result<Option<FedPart>> {
        match &mut self.0 {
            BodyForm::Arrow(stream) => {
                Ok(stream.next()?.map(|(batch, first)| FedPart::Arrow(batch, first)))
            }
            BodyForm::Records(_, []) => Ok(None),
            BodyForm::Records(records, data) => {
                let taken = records.take(data, More::Ended)?;
                let rest = *data;
                *data = if taken == 0 { &[] } else { &rest[taken..] };
                records.finish().map(FedPart::Rows).map(Some)
            }
            BodyForm::Values(records, values) => {
                let mut has_more = false;
                for _ in 0..limits::BATCH_ROWS {
                    let Some(value) = values.next_value()? else { break };
                    records.record(value);
                    has_more = true;
                }
                if has_more { records.finish().map(FedPart::Rows).map(Some) } else { Ok(None) }
            }
        }
    }
}

/// Unpacks a body that was packed with gzip; one that would be too large is refused (54000).
pub fn unpacked(body: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    let most = limits::HTTP_BODY_BYTES as u64;
    let mut reader = flate2::read::MultiGzDecoder::new(body).take(most + 1);
    reader.read_to_end(&mut plain).map_err(|error| {
        Error::new(SqlState::BadBinary, "the body is not what gzip makes").detail(error.to_string())
    })?;
    if plain.len() as u64 > most { Err(too_large()) } else { Ok(plain) }
}

/// 54000: a body is larger than [`limits::HTTP_BODY_BYTES`].
pub fn too_large() -> Error {
    let what = format!("a body has at most {} bytes", limits::HTTP_BODY_BYTES);
    Error::new(SqlState::ProgramLimit, what).hint("Send it in several posts.")
}
