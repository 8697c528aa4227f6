//! Array and row literals taken apart (`array_in`, `record_in`, `array_recv`, `record_recv`).
//!
//! The pieces are handed to the builders of the elements, which read them as values of their own.

use super::build::ColumnBuilder;
use super::scalar_in::shown;
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

fn malformed(kind: &str, text: &[u8], why: &str) -> Error {
    Error::new(SqlState::BadText, format!("malformed {kind} literal: \"{}\"", shown(text))).detail(why)
}

/// Reads `{…}` into the builder of the elements and returns how many there were.
pub(super) fn array_text(text: &[u8], element: &mut ColumnBuilder) -> Result<i32> {
    let bad = |why: &str| malformed("array", text, why);
    let mut body = text.trim_ascii();
    if body.first() == Some(&b'[') {
        let equals = memchr::memchr(b'=', body).ok_or_else(|| bad("Missing assignment operator."))?;
        body = body[equals + 1..].trim_ascii();
    }
    let Some(mut rest) = body.strip_prefix(b"{") else {
        return Err(bad("Array value must start with \"{\" or dimension information."));
    };
    let nested = matches!(element.sql_type(), SqlType::Array(_));
    let (mut count, mut scratch) = (0i32, Vec::new());
    rest = rest.trim_ascii_start();
    if rest == b"}" {
        return Ok(0);
    }
    loop {
        rest = rest.trim_ascii_start();
        let used = match rest.first() {
            None => return Err(bad("Unexpected end of input.")),
            Some(b'{') if nested => {
                let len = braces(rest).ok_or_else(|| bad("Unexpected end of input."))?;
                element.append_text(&rest[..len])?;
                len
            }
            Some(b'{') => return Err(bad("Unexpected \"{\" character.")),
            Some(b'"') => {
                let len = quoted(rest, &mut scratch).ok_or_else(|| bad("Unexpected end of input."))?;
                element.append_text(&scratch)?;
                len
            }
            Some(_) => {
                let len = bare(rest, &mut scratch).ok_or_else(|| bad("Unexpected array element."))?;
                if rest[..len].trim_ascii().eq_ignore_ascii_case(b"null") {
                    element.append_null();
                } else {
                    element.append_text(&scratch)?;
                }
                len
            }
        };
        count += 1;
        rest = rest[used..].trim_ascii_start();
        match rest {
            [b',', tail @ ..] => rest = tail,
            [b'}'] => return Ok(count),
            [b'}', ..] => return Err(bad("Junk after closing right brace.")),
            _ => return Err(bad("Unexpected array element.")),
        }
    }
}

/// The length of a `{…}` with balanced braces, quotes respected.
fn braces(text: &[u8]) -> Option<usize> {
    let (mut depth, mut in_quotes, mut i) = (0usize, false, 0);
    while i < text.len() {
        match text[i] {
            b'\\' => i += 1,
            b'"' => in_quotes = !in_quotes,
            b'{' if !in_quotes => depth += 1,
            b'}' if !in_quotes => {
                depth -= 1;
                if depth == 0 {
                    return Some(i + 1);
                }
            }
            _ => {}
        }
        i += 1;
    }
    None
}

/// A `"…"` with backslash escapes: what it says, and how long it was.
fn quoted(text: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    into.clear();
    let mut i = 1;
    loop {
        match *text.get(i)? {
            b'"' => return Some(i + 1),
            b'\\' => {
                into.push(*text.get(i + 1)?);
                i += 2;
            }
            byte => {
                into.push(byte);
                i += 1;
            }
        }
    }
}

/// A word up to the next comma or brace, without the space behind it.
fn bare(text: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    into.clear();
    let (mut i, mut solid) = (0, 0);
    while let Some(byte) = text.get(i) {
        match byte {
            b',' | b'}' => {
                into.truncate(solid);
                return (solid > 0).then_some(i);
            }
            b'"' | b'{' => return None,
            b'\\' => {
                into.push(*text.get(i + 1)?);
                solid = into.len();
                i += 2;
            }
            byte => {
                into.push(*byte);
                if !byte.is_ascii_whitespace() {
                    solid = into.len();
                }
                i += 1;
            }
        }
    }
    None
}

/// Reads `(…)` into the builders of the fields.
pub(super) fn record_text(text: &[u8], fields: &mut [ColumnBuilder]) -> Result<()> {
    let bad = |why: &str| malformed("record", text, why);
    let body = text.trim_ascii();
    let Some(mut rest) = body.strip_prefix(b"(") else {
        return Err(bad("Missing left parenthesis."));
    };
    let (mut scratch, last) = (Vec::new(), fields.len().saturating_sub(1));
    for (i, field) in fields.iter_mut().enumerate() {
        if matches!(rest, [b',' | b')', ..]) {
            field.append_null();
        } else {
            let len = record_field(rest, &mut scratch).ok_or_else(|| bad("Unexpected end of input."))?;
            field.append_text(&scratch)?;
            rest = &rest[len..];
        }
        match rest {
            [b',', tail @ ..] if i < last => rest = tail,
            [b',', ..] => return Err(bad("Too many columns.")),
            [b')'] if i == last => rest = b"",
            [b')'] => return Err(bad("Too few columns.")),
            [b')', ..] => return Err(bad("Junk after right parenthesis.")),
            _ => return Err(bad("Unexpected end of input.")),
        }
    }
    if rest.is_empty() || rest == b")" { Ok(()) } else { Err(bad("Too many columns.")) }
}

/// One field up to the next comma or parenthesis outside quotes.
fn record_field(text: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    into.clear();
    let (mut in_quotes, mut i) = (false, 0);
    loop {
        let byte = *text.get(i)?;
        match byte {
            b',' | b')' if !in_quotes => return Some(i),
            b'\\' => {
                into.push(*text.get(i + 1)?);
                i += 1;
            }
            b'"' if in_quotes && text.get(i + 1) == Some(&b'"') => {
                into.push(b'"');
                i += 1;
            }
            b'"' => in_quotes = !in_quotes,
            byte => into.push(byte),
        }
        i += 1;
    }
}

/// Reads numbers and sized values from binary data.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn i32(&mut self) -> Result<i32> {
        let (head, tail) = self.0.split_first_chunk::<4>().ok_or_else(truncated)?;
        self.0 = tail;
        Ok(i32::from_be_bytes(*head))
    }

    /// A value behind its length; None for NULL.
    pub(super) fn sized(&mut self) -> Result<Option<&'a [u8]>> {
        let length = self.i32()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| truncated())?;
        let (head, tail) = self.0.split_at_checked(length).ok_or_else(truncated)?;
        self.0 = tail;
        Ok(Some(head))
    }
}

fn truncated() -> Error {
    Error::new(SqlState::BadBinary, "insufficient data left in message")
}

fn append(cursor: &mut Cursor<'_>, into: &mut ColumnBuilder) -> Result<()> {
    match cursor.sized()? {
        Some(value) => into.append_binary(value),
        None => {
            into.append_null();
            Ok(())
        }
    }
}

/// Whether data of the one type may be read as the other: all strings look alike.
fn check_oid(got: u32, expected: &SqlType, what: &str) -> Result<()> {
    let text = |oid: u32| matches!(oid, 19 | 25 | 705 | 1042 | 1043);
    if got == expected.oid() || (text(got) && text(expected.oid())) {
        return Ok(());
    }
    let message =
        format!("binary data has {what} type {got} instead of expected {} ({expected})", expected.oid());
    Err(Error::new(SqlState::TypeMismatch, message))
}

/// The extents of an array's dimensions, and its elements still to be read.
pub(super) fn array_header<'a>(value: &'a [u8], leaf: &SqlType) -> Result<(Vec<i32>, Cursor<'a>)> {
    let mut cursor = Cursor(value);
    let dimensions = cursor.i32()?;
    if !(0..=6).contains(&dimensions) {
        return Err(Error::new(
            SqlState::BadBinary,
            format!("invalid number of array dimensions: {dimensions}"),
        ));
    }
    let _has_null = cursor.i32()?;
    check_oid(cursor.i32()? as u32, leaf, "array element")?;
    let mut extents = Vec::new();
    for _ in 0..dimensions {
        let extent = cursor.i32()?;
        let _lower_bound = cursor.i32()?;
        // Each element has a length word, so more than that cannot be there.
        if extent < 0 || extent as usize > value.len() / 4 {
            return Err(truncated());
        }
        extents.push(extent);
    }
    Ok((extents, cursor))
}

/// Reads one element of an array whose further dimensions are `extents`.
pub(super) fn array_element(
    cursor: &mut Cursor<'_>,
    extents: &[i32],
    into: &mut ColumnBuilder,
) -> Result<()> {
    match extents {
        [] => append(cursor, into),
        [extent, inner @ ..] => into.append_list(|element| {
            for _ in 0..*extent {
                array_element(cursor, inner, element)?;
            }
            Ok(*extent)
        }),
    }
}

/// Reads what `record_send` writes.
pub(super) fn record_binary(value: &[u8], fields: &mut [ColumnBuilder]) -> Result<()> {
    let mut cursor = Cursor(value);
    let count = cursor.i32()?;
    if usize::try_from(count) != Ok(fields.len()) {
        let message = format!("wrong number of columns: {count}, expected {}", fields.len());
        return Err(Error::new(SqlState::TypeMismatch, message));
    }
    for field in fields {
        check_oid(cursor.i32()? as u32, field.sql_type(), "record column")?;
        append(&mut cursor, field)?;
    }
    if cursor.0.is_empty() { Ok(()) } else { Err(truncated()) }
}
