//! Text: a line is a record, and all of it the value of one column.

use super::column::RecordField;
use super::{BatchBuilder, Decoder, More, end_of_line, floor_char};
use crate::limits;

/// Reads lines into one column; the others are missing.
pub(crate) struct LineDecoder {
    column: usize,
}

impl LineDecoder {
    pub(crate) fn new(column: usize) -> LineDecoder {
        LineDecoder { column }
    }
}

impl Decoder for LineDecoder {
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
            let line = &text[at..next];
            let line = line.strip_suffix('\n').unwrap_or(line);
            let line = line.strip_suffix('\r').unwrap_or(line);
            at = next;
            let outcome = rows.append(|column| {
                if column == self.column { RecordField::Text(line) } else { RecordField::Missing }
            });
            rows.conclude(outcome, line.as_bytes());
        }
        at
    }
}
