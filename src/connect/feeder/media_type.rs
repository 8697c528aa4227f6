//! What a Content-Type says of a body.

use super::{Feeder, RecordFormat};
use crate::connect::decode::CsvHeader;
use crate::error::{Error, Result};

/// How the records of one body are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaType {
    pub(super) format: RecordFormat,
    /// Of CSV: whether the first line names the fields, if that is said.
    pub(super) header: Option<CsvHeader>,
}

impl Feeder {
    /// What nothing else is said of: in the stream's format.
    pub fn usual_type(&self) -> MediaType {
        MediaType { format: self.format, header: None }
    }

    /// How a body of this Content-Type is written; 0A000 if it is none that can be read. What says
    /// nothing (as curl, of itself, says `application/x-www-form-urlencoded`) is in the stream's
    /// format.
    pub fn media_type(&self, content_type: Option<&str>) -> Result<MediaType> {
        let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let format = match name.as_str() {
            "" | "application/x-www-form-urlencoded" | "application/octet-stream" => self.format,
            "application/json"
            | "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "text/json" => RecordFormat::Json,
            "text/csv" | "application/csv" => RecordFormat::Csv,
            "text/plain" => RecordFormat::Text,
            "application/vnd.apache.arrow.stream" => RecordFormat::Arrow,
            other => {
                return Err(Error::unsupported(format!("a body of type '{other}' cannot be read"))
                    .hint("There are application/json, application/x-ndjson, text/csv, text/plain and application/vnd.apache.arrow.stream."));
            }
        };
        if format == RecordFormat::Text {
            self.text_column().map_err(|error| {
                Error::unsupported(error.message().to_owned())
                    .hint("Say what the body is with Content-Type: application/json or text/csv.")
            })?;
        }
        let header = parts.find_map(|part| {
            match part.to_ascii_lowercase().replace([' ', '"'], "").as_str() {
                "header=present" => Some(CsvHeader::First),
                "header=absent" => Some(CsvHeader::None),
                _ => None,
            }
        });
        Ok(MediaType { format, header })
    }
}
