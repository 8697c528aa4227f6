//! A JSON text passed over once: where its strings and values begin and end, all of it checked on
//! the way.
//!
//! Nothing is copied but strings with escapes, and only where somebody wants them. Depth is the
//! client's to choose, so nothing recurses over it.

use std::fmt;

use crate::error::{Error, SqlState};
use crate::limits::JSON_DEPTH;

/// What keeps a text from being JSON that a column can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JsonFault {
    Syntax(String),
    /// Postgres cannot hold a zero character in text, and neither can its protocol.
    ZeroCharacter,
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonFault::Syntax(what) => f.write_str(what),
            JsonFault::ZeroCharacter => f.write_str("\\u0000 cannot be converted to text"),
        }
    }
}

impl From<&str> for JsonFault {
    fn from(what: &str) -> JsonFault {
        JsonFault::Syntax(what.to_owned())
    }
}

impl From<JsonFault> for Error {
    fn from(fault: JsonFault) -> Error {
        match fault {
            JsonFault::Syntax(what) => {
                Error::new(SqlState::BadText, "invalid input syntax for type json").detail(what)
            }
            JsonFault::ZeroCharacter => {
                Error::new(SqlState::Untranslatable, "unsupported Unicode escape sequence")
                    .detail(format!("{fault}."))
            }
        }
    }
}

/// The inside of a string: where it begins and ends in the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonString {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// There are escapes in it.
    pub(crate) escapes: bool,
}

impl JsonString {
    /// What it says: as it stands in the text, or unescaped into `scratch`.
    #[inline]
    pub(crate) fn read<'t>(
        self,
        text: &'t str,
        scratch: &'t mut String,
    ) -> Result<&'t str, JsonFault> {
        let inner = &text[self.start..self.end];
        if !self.escapes {
            return Ok(inner);
        }
        unescape(inner, scratch)?;
        Ok(scratch)
    }
}

/// Goes over a text from its begin.
pub(crate) struct JsonScanner<'t> {
    text: &'t str,
    data: &'t [u8],
    at: usize,
}

impl<'t> JsonScanner<'t> {
    pub(crate) fn new(text: &'t str) -> JsonScanner<'t> {
        JsonScanner { text, data: text.as_bytes(), at: 0 }
    }

    /// Where it is.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    #[inline]
    pub(crate) fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), JsonFault> {
        if self.next() == Some(byte) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// About the byte that has just been taken.
    fn unexpected(&self) -> JsonFault {
        match self.text.get(self.at.saturating_sub(1)..).and_then(|rest| rest.chars().next()) {
            Some(found) => {
                JsonFault::Syntax(format!("unexpected \"{found}\" at character {}", self.at))
            }
            None => "unexpected end".into(),
        }
    }

    /// Into `{` or `[`: whether there is anything in it. The first member or element is next.
    pub(crate) fn enter(&mut self, open: u8) -> Result<bool, JsonFault> {
        self.expect(open)?;
        self.blanks();
        let empty = self.peek() == Some(open + 2);
        self.at += usize::from(empty);
        Ok(!empty)
    }

    /// Behind a member or element: whether another one follows. Otherwise what was opened by `open`
    /// is closed.
    #[inline]
    pub(crate) fn another(&mut self, open: u8) -> Result<bool, JsonFault> {
        self.blanks();
        match self.next() {
            Some(b',') => {
                self.blanks();
                Ok(true)
            }
            Some(close) if close == open + 2 => Ok(false),
            _ => Err(self.unexpected()),
        }
    }

    /// A member's name and the colon behind it.
    #[inline]
    pub(crate) fn name(&mut self) -> Result<JsonString, JsonFault> {
        let name = self.string()?;
        self.blanks();
        self.expect(b':')?;
        self.blanks();
        Ok(name)
    }

    /// Nothing but blanks may follow.
    pub(crate) fn end(&mut self) -> Result<(), JsonFault> {
        self.blanks();
        if self.at == self.data.len() {
            Ok(())
        } else {
            Err("characters after the JSON value".into())
        }
    }

    #[inline]
    pub(crate) fn string(&mut self) -> Result<JsonString, JsonFault> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escapes = false;
        loop {
            match self.next() {
                Some(b'"') => return Ok(JsonString { start, end: self.at - 1, escapes }),
                Some(b'\\') => {
                    escapes = true;
                    self.at += 1;
                }
                Some(control) if control < 0x20 => return Err(self.unexpected()),
                Some(_) => {}
                None => return Err("a string is not closed".into()),
            }
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), JsonFault> {
        if self.data[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            self.at += 1;
            Err(self.unexpected())
        }
    }

    /// Passes over one value of any kind and returns its text.
    pub(crate) fn value(&mut self) -> Result<&'t str, JsonFault> {
        let start = self.at;
        self.skip()?;
        Ok(&self.text[start..self.at])
    }

    /// Passes over one value of any kind, checking it.
    pub(crate) fn skip(&mut self) -> Result<(), JsonFault> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    if self.enter(bracket)? {
                        if open.len() == JSON_DEPTH {
                            return Err(JsonFault::Syntax(format!(
                                "nested more than {JSON_DEPTH} deep"
                            )));
                        }
                        open.push(bracket);
                        self.member_name(bracket)?;
                        continue;
                    }
                }
                Some(b'"') => self.checked_string()?,
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                _ => self.number()?,
            }
            // After a value: close what ends here, or go on with the next one.
            loop {
                let Some(bracket) = open.last().copied() else { return Ok(()) };
                if self.another(bracket)? {
                    self.member_name(bracket)?;
                    break;
                }
                open.pop();
            }
        }
    }

    fn checked_string(&mut self) -> Result<(), JsonFault> {
        let string = self.string()?;
        string.read(self.text, &mut String::new()).map(|_| ())
    }

    /// In an object a name and a colon come before the value.
    fn member_name(&mut self, open: u8) -> Result<(), JsonFault> {
        if open == b'{' {
            self.checked_string()?;
            self.blanks();
            self.expect(b':')?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
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

    fn number(&mut self) -> Result<(), JsonFault> {
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

fn unescape(inner: &str, out: &mut String) -> Result<(), JsonFault> {
    out.clear();
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied();
        rest = rest.get(at + 2..).ok_or("an escape is cut off")?;
        match escape {
            Some(b @ (b'"' | b'\\' | b'/')) => out.push(b as char),
            Some(b'b') => out.push('\u{8}'),
            Some(b'f') => out.push('\u{c}'),
            Some(b'n') => out.push('\n'),
            Some(b'r') => out.push('\r'),
            Some(b't') => out.push('\t'),
            Some(b'u') => {
                let (code, behind) = code_point(rest)?;
                rest = behind;
                match char::from_u32(code) {
                    Some('\0') => return Err(JsonFault::ZeroCharacter),
                    Some(one) => out.push(one),
                    None => return Err("\\u escape that is no character".into()),
                }
            }
            _ => return Err("unknown escape".into()),
        }
    }
    out.push_str(rest);
    Ok(())
}

/// The number behind `\u`, a surrogate pair taken together, and what follows it.
fn code_point(text: &str) -> Result<(u32, &str), JsonFault> {
    let (first, rest) = hex(text)?;
    if !(0xD800..=0xDBFF).contains(&first) {
        return Ok((first, rest));
    }
    let low = rest.strip_prefix("\\u").ok_or("half a surrogate pair")?;
    match hex(low)? {
        (second @ 0xDC00..=0xDFFF, rest) => {
            Ok((0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00), rest))
        }
        _ => Err("half a surrogate pair".into()),
    }
}

fn hex(text: &str) -> Result<(u32, &str), JsonFault> {
    let digits = text.get(..4).filter(|four| four.bytes().all(|b| b.is_ascii_hexdigit()));
    let number = digits.and_then(|four| u32::from_str_radix(four, 16).ok());
    Ok((number.ok_or("\\u needs four hexadecimal digits")?, &text[4..]))
}
