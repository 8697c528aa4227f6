//! JSON lines: one object a line, its members matched to the columns by name.
//!
//! One pass over the line finds where each wanted value begins and ends and checks everything else
//! on the way. Values become columns by the rules for text, so `1.9` is no BIGINT and `1e400` no
//! number; arrays, rows and JSON are taken as JSON has them. Members that no column is named after
//! are passed over; a column without a member is NULL. Objects and arrays come to a column of text
//! as their JSON text. Of members with one name the last counts, as in JSONB.

use arrow::datatypes::Field;

use super::column::RecordField;
use super::{BatchBuilder, Decoder, More, end_of_line, floor_char};
use crate::limits;
use crate::pgtypes::values::{JsonFault, JsonScanner, named};
use crate::types::SqlType;

#[derive(Clone, Copy)]
enum ScannedField {
    Missing,
    Null,
    /// As it stands in the text.
    Text(usize, usize),
    /// A string with escapes: in the scratch of its column.
    Escaped,
    /// As it stands in the text, and to be read as JSON.
    Json(usize, usize),
}

/// Reads JSON lines into columns.
pub(crate) struct JsonDecoder {
    names: Vec<String>,
    /// The columns whose values JSON has a spelling for: arrays, rows, JSON.
    structured: Vec<bool>,
    values: Vec<ScannedField>,
    scratch: Vec<String>,
    key: String,
}

impl JsonDecoder {
    pub(crate) fn new<'f>(fields: impl Iterator<Item = &'f Field> + Clone) -> JsonDecoder {
        let names: Vec<String> = fields.clone().map(|field| field.name().clone()).collect();
        let structured = |field| {
            use SqlType::{Array, Json, Jsonb, Row};
            matches!(SqlType::from_field(field), Array(_) | Row(_) | Json | Jsonb)
        };
        JsonDecoder {
            structured: fields.map(structured).collect(),
            values: vec![ScannedField::Missing; names.len()],
            scratch: vec![String::new(); names.len()],
            names,
            key: String::new(),
        }
    }

    fn object(&mut self, text: &str) -> Result<(), JsonFault> {
        self.values.fill(ScannedField::Missing);
        let mut scan = JsonScanner::new(text);
        scan.blanks();
        let mut next_column = 0;
        let mut more = scan.enter(b'{')?;
        while more {
            let key = scan.name()?.read(text, &mut self.key)?;
            match named(&self.names, key, next_column) {
                Some(column) => {
                    self.values[column] = self.value(text, &mut scan, column)?;
                    next_column = column + 1;
                }
                None => scan.skip()?,
            }
            more = scan.another(b'{')?;
        }
        scan.end()
    }

    /// The value of a member that goes to a column.
    #[inline]
    fn value(
        &mut self,
        text: &str,
        scan: &mut JsonScanner<'_>,
        column: usize,
    ) -> Result<ScannedField, JsonFault> {
        let start = scan.at();
        match scan.peek() {
            Some(b'"') if !self.structured[column] => {
                let string = scan.string()?;
                if !string.escapes {
                    return Ok(ScannedField::Text(string.start, string.end));
                }
                string.read(text, &mut self.scratch[column])?;
                Ok(ScannedField::Escaped)
            }
            begins => {
                scan.skip()?;
                Ok(match begins {
                    Some(b'n') => ScannedField::Null,
                    _ if self.structured[column] => ScannedField::Json(start, scan.at()),
                    _ => ScannedField::Text(start, scan.at()),
                })
            }
        }
    }
}

impl JsonDecoder {
    /// One record, which may have several lines.
    pub(crate) fn record(&mut self, text: &str, rows: &mut BatchBuilder) {
        if let Err(fault) = self.object(text) {
            rows.reject(text.as_bytes(), format!("invalid JSON: {fault}"));
            return;
        }
        let (values, scratch) = (&self.values, &self.scratch);
        let outcome = rows.append(|column| match values[column] {
            ScannedField::Missing => RecordField::Missing,
            ScannedField::Null => RecordField::Null,
            ScannedField::Text(start, end) => RecordField::Text(&text[start..end]),
            ScannedField::Escaped => RecordField::Text(&scratch[column]),
            ScannedField::Json(start, end) => RecordField::Json(&text[start..end]),
        });
        rows.conclude(outcome, text.as_bytes());
    }
}

/// A text that is one array, or one object over several lines: its values, one after the other.
pub(crate) enum JsonText<'t> {
    Array { scan: JsonScanner<'t>, has_more: bool },
    Object(Option<&'t str>),
}

impl<'t> JsonText<'t> {
    /// None: the text is lines.
    pub(crate) fn of(text: &'t str) -> Result<Option<JsonText<'t>>, JsonFault> {
        let mut scan = JsonScanner::new(text);
        scan.blanks();
        match scan.peek() {
            Some(b'[') => {
                let has_more = scan.enter(b'[')?;
                Ok(Some(JsonText::Array { scan, has_more }))
            }
            Some(b'{') => {
                let whole = scan.value().and_then(|value| scan.end().map(|()| value));
                Ok(whole.ok().map(|value| JsonText::Object(Some(value))))
            }
            _ => Ok(None),
        }
    }

    /// The next value, if there is one.
    pub(crate) fn next_value(&mut self) -> Result<Option<&'t str>, JsonFault> {
        match self {
            JsonText::Object(value) => Ok(value.take()),
            JsonText::Array { scan, has_more: false } => scan.end().map(|()| None),
            JsonText::Array { scan, has_more } => {
                let value = scan.value()?;
                *has_more = scan.another(b'[')?;
                Ok(Some(value))
            }
        }
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, text: &str, more: More, max: usize, rows: &mut BatchBuilder) -> usize {
        let data = text.as_bytes();
        let mut at = 0;
        while at < data.len() && rows.len() < max {
            let next = match end_of_line(data, at) {
                Some(next) => next,
                None if more == More::Ended => data.len(),
                None if data.len() - at >= limits::RECORD_BYTES => {
                    let end = floor_char(text, at + limits::RECORD_BYTES);
                    rows.reject(&data[at..end], "the record is too long");
                    at = end;
                    continue;
                }
                None => break,
            };
            let line = text[at..next].trim_end_matches(['\n', '\r']);
            at = next;
            if line.bytes().all(|b| b.is_ascii_whitespace()) {
                continue;
            }
            self.record(line, rows);
        }
        at
    }
}
