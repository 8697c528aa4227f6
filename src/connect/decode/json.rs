//! JSON lines: one object a line, its members matched to the columns by name.
//!
//! One pass over the line finds where each wanted value begins and ends and checks everything else on the way. Values
//! become columns by the rules for text, so `1.9` is no BIGINT and `1e400` no number; members that no column is named
//! after are passed over; a column without a member is NULL. Objects and arrays come as their JSON text.
//! Of members with one name the last counts, as in JSONB.

use super::{Decoder, More, RECORD_BYTES, Rows, end_of_line};

/// How deep objects and arrays may be nested.
const DEPTH: usize = 128;

#[derive(Clone, Copy)]
enum Value {
    Missing,
    Null,
    /// As it stands in the text.
    Text(usize, usize),
    /// A string with escapes: in the scratch of its column.
    Escaped,
}

/// Reads JSON lines into columns.
pub(crate) struct JsonDecoder {
    names: Vec<String>,
    values: Vec<Value>,
    scratch: Vec<String>,
    key: String,
}

impl JsonDecoder {
    pub(crate) fn new(names: Vec<String>) -> JsonDecoder {
        let columns = names.len();
        JsonDecoder {
            names,
            values: vec![Value::Missing; columns],
            scratch: vec![String::new(); columns],
            key: String::new(),
        }
    }

    /// The column that a member of that name goes to; records tend to name them in the order of the columns.
    fn column(names: &[String], key: &str, guess: usize) -> Option<usize> {
        if names.get(guess).is_some_and(|name| name == key) {
            return Some(guess);
        }
        // SQL folds names that are not quoted, JSON does not: userId may go to userid.
        let exact = names.iter().position(|name| name == key);
        exact.or_else(|| names.iter().position(|name| name.eq_ignore_ascii_case(key)))
    }

    fn object(&mut self, text: &str) -> Result<(), String> {
        self.values.fill(Value::Missing);
        let mut scan = Scanner { text, data: text.as_bytes(), at: 0 };
        scan.blanks();
        scan.expect(b'{')?;
        let mut next_column = 0;
        let mut first = true;
        loop {
            scan.blanks();
            if scan.peek() == Some(b'}') && first {
                scan.at += 1;
                break;
            }
            let name = scan.string()?;
            scan.blanks();
            scan.expect(b':')?;
            scan.blanks();
            let key = match name {
                Found::Plain(start, end) => &text[start..end],
                Found::WithEscapes(start, end) => {
                    unescape(&text[start..end], &mut self.key)?;
                    &self.key
                }
            };
            match Self::column(&self.names, key, next_column) {
                Some(column) => {
                    self.values[column] = scan.value_text(&mut self.scratch[column])?;
                    next_column = column + 1;
                }
                None => scan.skip()?,
            }
            first = false;
            scan.blanks();
            match scan.next() {
                Some(b',') => {}
                Some(b'}') => break,
                _ => return Err(scan.unexpected()),
            }
        }
        scan.blanks();
        if scan.at == scan.data.len() { Ok(()) } else { Err("characters after the JSON object".into()) }
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, text: &str, more: More, max: usize, rows: &mut Rows) -> usize {
        let data = text.as_bytes();
        let mut at = 0;
        while at < data.len() && rows.len() < max {
            let next = match end_of_line(data, at) {
                Some(next) => next,
                None if more == More::Ended => data.len(),
                None if data.len() - at >= RECORD_BYTES => {
                    let end =
                        (at + RECORD_BYTES - 3..=at + RECORD_BYTES).rev().find(|i| text.is_char_boundary(*i));
                    let end = end.unwrap_or(data.len());
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
            if let Err(error) = self.object(line) {
                rows.reject(line.as_bytes(), error);
                continue;
            }
            let (values, scratch) = (&self.values, &self.scratch);
            let outcome = rows.append(|column| match values[column] {
                Value::Missing | Value::Null => None,
                Value::Text(start, end) => line.get(start..end),
                Value::Escaped => Some(&scratch[column]),
            });
            rows.conclude(outcome, line.as_bytes());
        }
        at
    }
}

/// A string's inside.
enum Found {
    Plain(usize, usize),
    WithEscapes(usize, usize),
}

struct Scanner<'t> {
    text: &'t str,
    data: &'t [u8],
    at: usize,
}

impl Scanner<'_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    #[inline]
    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.next() == Some(byte) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// About the byte that has just been taken.
    fn unexpected(&self) -> String {
        match self.text.get(self.at.saturating_sub(1)..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("invalid JSON: unexpected \"{found}\" at character {}", self.at),
            None => "invalid JSON: unexpected end".into(),
        }
    }

    fn string(&mut self) -> Result<Found, String> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escapes = false;
        loop {
            match self.next() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escapes = true;
                    self.at += 1;
                }
                Some(control) if control < 0x20 => return Err(self.unexpected()),
                Some(_) => {}
                None => return Err("invalid JSON: a string is not closed".into()),
            }
        }
        let end = self.at - 1;
        Ok(if escapes { Found::WithEscapes(start, end) } else { Found::Plain(start, end) })
    }

    /// A value that goes to a column.
    fn value_text(&mut self, scratch: &mut String) -> Result<Value, String> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => match self.string()? {
                Found::Plain(start, end) => Ok(Value::Text(start, end)),
                Found::WithEscapes(start, end) => {
                    unescape(&self.text[start..end], scratch)?;
                    Ok(Value::Escaped)
                }
            },
            Some(b'n') => self.literal("null").map(|()| Value::Null),
            _ => {
                self.skip()?;
                Ok(Value::Text(start, self.at))
            }
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), String> {
        if self.data[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            self.at += 1;
            Err(self.unexpected())
        }
    }

    /// Passes over one value of any kind, checking it. Without recursion: depth is the client's to choose.
    fn skip(&mut self) -> Result<(), String> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some(b @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.blanks();
                    let close = b + 2;
                    if self.peek() == Some(close) {
                        self.at += 1;
                    } else if open.len() == DEPTH {
                        return Err(format!("invalid JSON: nested more than {DEPTH} deep"));
                    } else {
                        open.push(close);
                        self.member_name(close)?;
                        continue;
                    }
                }
                Some(b'"') => match self.string()? {
                    Found::WithEscapes(start, end) => unescape(&self.text[start..end], &mut String::new())?,
                    Found::Plain(..) => {}
                },
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                _ => self.number()?,
            }
            // After a value: close what ends here, or go on with the next one.
            loop {
                let Some(close) = open.last().copied() else { return Ok(()) };
                self.blanks();
                match self.next() {
                    Some(b',') => {
                        self.member_name(close)?;
                        break;
                    }
                    Some(b) if b == close => {
                        open.pop();
                    }
                    _ => return Err(self.unexpected()),
                }
            }
        }
    }

    /// In an object a name and a colon come before the value.
    fn member_name(&mut self, close: u8) -> Result<(), String> {
        if close == b'}' {
            self.blanks();
            if let Found::WithEscapes(start, end) = self.string()? {
                unescape(&self.text[start..end], &mut String::new())?;
            }
            self.blanks();
            self.expect(b':')?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), String> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            self.at += 1;
            return Err(self.unexpected());
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }
}

fn unescape(inner: &str, out: &mut String) -> Result<(), String> {
    out.clear();
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied();
        rest = rest.get(at + 2..).ok_or("invalid JSON: an escape is cut off")?;
        match escape {
            Some(b @ (b'"' | b'\\' | b'/')) => out.push(b as char),
            Some(b'b') => out.push('\u{8}'),
            Some(b'f') => out.push('\u{c}'),
            Some(b'n') => out.push('\n'),
            Some(b'r') => out.push('\r'),
            Some(b't') => out.push('\t'),
            Some(b'u') => {
                let first = hex(rest)?;
                rest = &rest[4..];
                let code = match first {
                    0xD800..=0xDBFF => {
                        let low = rest.strip_prefix("\\u").ok_or("invalid JSON: half a surrogate pair")?;
                        let second = hex(low)?;
                        rest = &low[4..];
                        match second {
                            0xDC00..=0xDFFF => 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00),
                            _ => return Err("invalid JSON: half a surrogate pair".into()),
                        }
                    }
                    code => code,
                };
                // Postgres cannot hold a zero character in text, and neither can its protocol.
                let one = char::from_u32(code).filter(|c| *c != '\0');
                out.push(one.ok_or("invalid JSON: \\u escape that is no character")?);
            }
            _ => return Err("invalid JSON: unknown escape".into()),
        }
    }
    out.push_str(rest);
    Ok(())
}

fn hex(text: &str) -> Result<u32, String> {
    let digits = text.get(..4).filter(|four| four.bytes().all(|b| b.is_ascii_hexdigit()));
    let digits = digits.ok_or("invalid JSON: \\u needs four hexadecimal digits")?;
    u32::from_str_radix(digits, 16).map_err(|error| error.to_string())
}
