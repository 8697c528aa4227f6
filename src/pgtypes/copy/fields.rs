//! A record's bytes taken apart into fields.
//!
//! A field that needs no unescaping is handed on where it stands; any other is unescaped into a
//! buffer that all records share.

use memchr::{memchr, memchr2};

use crate::error::{Error, Result, SqlState};

/// A field as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopyField<'a> {
    /// Unescaped.
    pub(crate) value: &'a [u8],
    /// As it stood in the input (text), for the comparison with NULL.
    pub(crate) raw: &'a [u8],
    /// csv: there were quotes.
    pub(crate) quoted: bool,
}

/// Calls `each` with every field of a line of text format.
#[inline]
pub(crate) fn text(
    line: &[u8],
    delimiter: u8,
    scratch: &mut Vec<u8>,
    mut each: impl FnMut(usize, CopyField<'_>) -> Result<()>,
) -> Result<usize> {
    let escapes = memchr(b'\\', line).is_some();
    let (mut start, mut count) = (0, 0);
    loop {
        let end = if escapes {
            text_end(line, start, delimiter)
        } else {
            plain_end(line, start, delimiter)
        };
        let raw = &line[start..end];
        if escapes && memchr(b'\\', raw).is_some() {
            unescape(raw, scratch);
            each(count, CopyField { value: scratch, raw, quoted: false })?;
        } else {
            each(count, CopyField { value: raw, raw, quoted: false })?;
        }
        count += 1;
        if end == line.len() {
            return Ok(count);
        }
        start = end + 1;
    }
}

/// Narrow fields are the rule, so a loop is faster here than setting up a vectorised search.
#[inline]
fn plain_end(line: &[u8], start: usize, delimiter: u8) -> usize {
    let near = line.len().min(start + 16);
    match line[start..near].iter().position(|b| *b == delimiter) {
        Some(i) => start + i,
        None => memchr(delimiter, &line[near..]).map_or(line.len(), |i| near + i),
    }
}

fn text_end(line: &[u8], start: usize, delimiter: u8) -> usize {
    let mut at = start;
    while let Some(i) = memchr2(delimiter, b'\\', line.get(at..).unwrap_or_default()) {
        if line[at + i] == delimiter {
            return at + i;
        }
        at += i + 2;
    }
    line.len()
}

/// Backslash escapes of the text format.
fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = raw;
    while let Some(i) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..i]);
        let Some((escaped, tail)) = rest[i + 1..].split_first() else {
            out.push(b'\\');
            return;
        };
        rest = tail;
        match escaped {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'0'..=b'7' => {
                let more = rest.iter().take(2).take_while(|b| matches!(b, b'0'..=b'7')).count();
                let value = rest[..more]
                    .iter()
                    .fold(u32::from(escaped - b'0'), |v, b| v * 8 + u32::from(b - b'0'));
                out.push(value as u8);
                rest = &rest[more..];
            }
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                let more = rest.iter().take(2).take_while(|b| b.is_ascii_hexdigit()).count();
                let digit = |b: &u8| char::from(*b).to_digit(16).unwrap_or(0);
                out.push(rest[..more].iter().fold(0, |v, b| v * 16 + digit(b)) as u8);
                rest = &rest[more..];
            }
            other => out.push(*other),
        }
    }
    out.extend_from_slice(rest);
}

/// Calls `each` with every field of a csv record.
#[inline]
pub(crate) fn csv(
    line: &[u8],
    (delimiter, quote, escape): (u8, u8, u8),
    scratch: &mut Vec<u8>,
    mut each: impl FnMut(usize, CopyField<'_>) -> Result<()>,
) -> Result<usize> {
    let quotes = memchr(quote, line).is_some();
    let (mut start, mut count) = (0, 0);
    loop {
        let mut end = plain_end(line, start, delimiter);
        let raw = &line[start..end];
        if quotes && memchr(quote, raw).is_some() {
            end = unquote(line, start, (delimiter, quote, escape), scratch)?;
            each(count, CopyField { value: scratch, raw: &line[start..end], quoted: true })?;
        } else {
            each(count, CopyField { value: raw, raw, quoted: false })?;
        }
        count += 1;
        if end == line.len() {
            return Ok(count);
        }
        start = end + 1;
    }
}

/// Unquotes the field that begins at `start` and returns its end. Quotes may open and close
/// anywhere in it.
fn unquote(
    line: &[u8],
    start: usize,
    (delimiter, quote, escape): (u8, u8, u8),
    out: &mut Vec<u8>,
) -> Result<usize> {
    out.clear();
    let (mut i, mut in_quotes) = (start, false);
    while let Some(byte) = line.get(i) {
        let next = line.get(i + 1);
        if in_quotes && *byte == escape && next.is_some_and(|n| *n == escape || *n == quote) {
            out.extend(next);
            i += 1;
        } else if *byte == quote {
            in_quotes = !in_quotes;
        } else if *byte == delimiter && !in_quotes {
            return Ok(i);
        } else {
            out.push(*byte);
        }
        i += 1;
    }
    if in_quotes { Err(unterminated()) } else { Ok(line.len()) }
}

pub(crate) fn unterminated() -> Error {
    Error::new(SqlState::BadCopyFormat, "unterminated CSV quoted field")
}
