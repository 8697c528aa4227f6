//! CSV: fields between delimiters, in quotes where they need it, over several lines where a quoted
//! field does.
//!
//! A quote counts only at the beginning of a field, and after the closing one must come a delimiter
//! or the line's end. A record that is wrong in whatever way takes only its first line with it, and
//! so does one whose quote is not closed within [`limits::QUOTED_RECORD_BYTES`]: what follows is
//! looked at again as new records. So one bad line cannot swallow its neighbours.

use super::column::RecordField;
use super::{BatchBuilder, Decoder, More, RecordOutcome, end_of_line, floor_char, trim_end};
use crate::limits;

/// How the file is written.
#[derive(Debug, Clone)]
pub(crate) struct CsvStyle {
    pub(crate) delimiter: u8,
    pub(crate) quote: u8,
    pub(crate) escape: u8,
    /// Unquoted text that stands for NULL.
    pub(crate) null: String,
}

/// A field's place in the text.
#[derive(Clone, Copy)]
struct FieldSpan {
    start: usize,
    end: usize,
    form: FieldForm,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldForm {
    Bare,
    Quoted,
    /// Quoted, with escapes inside.
    Escaped,
}

enum RecordEnd {
    /// The next record begins here.
    Record(usize),
    /// The data ends within the record.
    Incomplete,
    Malformed(&'static str),
}

/// Reads CSV records into columns.
pub(crate) struct CsvDecoder {
    style: CsvStyle,
    /// For each column the field it is in; None: in none.
    field_of: Vec<Option<usize>>,
    /// How many fields a record has.
    fields: usize,
    spans: Vec<FieldSpan>,
    scratch: Vec<String>,
}

impl CsvDecoder {
    /// Fields and columns are matched by position.
    pub(crate) fn new(style: CsvStyle, columns: usize) -> CsvDecoder {
        CsvDecoder {
            style,
            field_of: (0..columns).map(Some).collect(),
            fields: columns,
            spans: Vec::new(),
            scratch: vec![String::new(); columns],
        }
    }

    /// The names in a header line, and how long it is.
    pub(crate) fn header(&mut self, text: &str) -> Option<Vec<String>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match self.split(text.as_bytes(), 0, More::Ended) {
            RecordEnd::Record(_) => {
                let mut scratch = String::new();
                let names = self.spans.iter().map(|span| {
                    unescape(text, *span, self.style.escape, &mut scratch);
                    scratch.trim().to_owned()
                });
                Some(names.collect())
            }
            RecordEnd::Incomplete | RecordEnd::Malformed(_) => None,
        }
    }

    /// Fields and columns are matched by these: for each column its field, of so many.
    pub(crate) fn match_fields(&mut self, field_of: Vec<Option<usize>>, fields: usize) {
        self.field_of = field_of;
        self.fields = fields;
    }

    fn split(&mut self, data: &[u8], from: usize, more: More) -> RecordEnd {
        self.spans.clear();
        let (delimiter, quote) = (self.style.delimiter, self.style.quote);
        let mut at = from;
        loop {
            if data.get(at) == Some(&quote) {
                let (span, next) = match self.quoted(data, from, at, more) {
                    Ok(found) => found,
                    Err(split) => return split,
                };
                self.spans.push(span);
                match data.get(next) {
                    Some(b) if *b == delimiter => at = next + 1,
                    Some(b'\n') => return RecordEnd::Record(next + 1),
                    Some(b'\r') if data.get(next + 1) == Some(&b'\n') => {
                        return RecordEnd::Record(next + 2);
                    }
                    Some(b'\r') if next + 1 == data.len() && more == More::MayCome => {
                        return RecordEnd::Incomplete;
                    }
                    Some(b'\r') if next + 1 == data.len() => return RecordEnd::Record(next + 1),
                    Some(_) => {
                        return RecordEnd::Malformed(
                            "characters after the closing quote of a field",
                        );
                    }
                    None if more == More::Ended => return RecordEnd::Record(next),
                    None => return RecordEnd::Incomplete,
                }
                continue;
            }
            let end = match memchr::memchr2(delimiter, b'\n', &data[at..]) {
                Some(length) => at + length,
                None if more == More::Ended => data.len(),
                None => return RecordEnd::Incomplete,
            };
            if data.get(end) == Some(&delimiter) {
                self.spans.push(FieldSpan { start: at, end, form: FieldForm::Bare });
                at = end + 1;
                continue;
            }
            let cut = if end > at && data[end - 1] == b'\r' { end - 1 } else { end };
            self.spans.push(FieldSpan { start: at, end: cut, form: FieldForm::Bare });
            return RecordEnd::Record((end + 1).min(data.len()));
        }
    }

    /// The field whose opening quote is at `open`, and where its closing quote has been passed.
    fn quoted(
        &self,
        data: &[u8],
        from: usize,
        open: usize,
        more: More,
    ) -> Result<(FieldSpan, usize), RecordEnd> {
        let (quote, escape) = (self.style.quote, self.style.escape);
        let limit = data.len().min(from + limits::QUOTED_RECORD_BYTES);
        let (mut at, mut form) = (open + 1, FieldForm::Quoted);
        while at < limit {
            let Some(length) = memchr::memchr2(quote, escape, &data[at..limit]) else { break };
            at += length;
            let follows = data.get(at + 1).copied();
            if follows.is_none() && more == More::MayCome {
                return Err(RecordEnd::Incomplete);
            }
            let escapes = data[at] == escape && follows.is_some_and(|b| b == quote || b == escape);
            if escapes {
                form = FieldForm::Escaped;
                at += 2;
            } else if data[at] == quote {
                return Ok((FieldSpan { start: open + 1, end: at, form }, at + 1));
            } else {
                at += 1;
            }
        }
        if limit < from + limits::QUOTED_RECORD_BYTES && more == More::MayCome {
            Err(RecordEnd::Incomplete)
        } else {
            Err(RecordEnd::Malformed("a quoted field is not closed"))
        }
    }

    /// Appends the record that has been split; the error of a wrong one is left to be settled with
    /// its bytes.
    fn append(&mut self, text: &str, rows: &mut BatchBuilder) -> RecordOutcome {
        if self.spans.len() != self.fields {
            let (found, expected) = (self.spans.len(), self.fields);
            let what = if found > expected {
                "extra data after last expected column"
            } else {
                "missing data"
            };
            rows.pending_error(format!("{what}: {found} fields instead of {expected}"));
            return RecordOutcome::Wrong;
        }
        let escape = self.style.escape;
        for (column, scratch) in self.scratch.iter_mut().enumerate() {
            let Some(field) = self.field_of[column] else { continue };
            let span = self.spans[field];
            if span.form == FieldForm::Escaped {
                unescape(text, span, escape, scratch);
            }
        }
        let (spans, scratch, field_of, null) =
            (&self.spans, &self.scratch, &self.field_of, &self.style.null);
        rows.append(|column| {
            let Some(field) = field_of[column] else { return RecordField::Missing };
            let span = spans[field];
            match (span.form, &text[span.start..span.end]) {
                (FieldForm::Escaped, _) => RecordField::Text(&scratch[column]),
                (FieldForm::Bare, value) if value == null => RecordField::Null,
                (FieldForm::Quoted | FieldForm::Bare, value) => RecordField::Text(value),
            }
        })
    }
}

fn unescape(text: &str, span: FieldSpan, escape: u8, scratch: &mut String) {
    let inner = text.get(span.start..span.end).unwrap_or("");
    scratch.clear();
    let mut chars = inner.chars();
    while let Some(one) = chars.next() {
        if span.form == FieldForm::Escaped && one == escape as char {
            scratch.extend(chars.next())
        } else {
            scratch.push(one)
        }
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, text: &str, more: More, max: usize, rows: &mut BatchBuilder) -> usize {
        let data = text.as_bytes();
        let mut at = 0;
        while at < data.len() && rows.len() < max {
            // A blank line says nothing, except that the one column of a narrow table is empty.
            if self.fields > 1 && matches!(data[at], b'\n' | b'\r') {
                let blank = if data[at] == b'\n' { 1 } else { 2 };
                if data[at] == b'\n' || data.get(at + 1) == Some(&b'\n') {
                    at += blank;
                    continue;
                }
            }
            let next = match self.split(data, at, more) {
                RecordEnd::Record(next) => {
                    let outcome = self.append(text, rows);
                    if outcome != RecordOutcome::Wrong {
                        rows.conclude(outcome, trim_end(&data[at..next]));
                        at = next;
                        continue;
                    }
                    end_of_line(&data[..next], at).unwrap_or(next)
                }
                RecordEnd::Incomplete if data.len() - at >= limits::RECORD_BYTES => {
                    let end = floor_char(text, at + limits::RECORD_BYTES);
                    rows.pending_error("the record is too long".into());
                    end
                }
                RecordEnd::Incomplete => break,
                RecordEnd::Malformed(what) => {
                    rows.pending_error(what.into());
                    end_of_line(data, at).unwrap_or(data.len())
                }
            };
            rows.attach_bytes(trim_end(&data[at..next]));
            at = next;
        }
        at
    }
}
