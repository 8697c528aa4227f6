//! Array and row literals taken apart (`array_in`, `record_in`, `array_recv`, `record_recv`).
//!
//! The pieces are handed to the builders of the elements, which read them as values of their own.

use super::build::ColumnBuilder;
use super::scalar_in::shown;
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

fn malformed(kind: &str, text: &[u8], why: &str) -> Error {
    Error::new(SqlState::BadText, format!("malformed {kind} literal: \"{}\"", shown(text)))
        .detail(why)
}

/// How many elements an array has in each dimension. Postgres allows six dimensions.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extents {
    all: [i32; 6],
    count: usize,
}

impl Extents {
    /// Dimensions beyond the sixth are not counted.
    pub(crate) fn push(&mut self, extent: i32) {
        if let Some(place) = self.all.get_mut(self.count) {
            *place = extent;
            self.count += 1;
        }
    }

    pub(crate) fn as_slice(&self) -> &[i32] {
        &self.all[..self.count]
    }
}

/// Takes apart `[l:u][l:u]=` before the braces. The lower bounds are read over: an array's first
/// subscript is 1 here.
fn bounds<'a>(body: &'a [u8], text: &[u8]) -> Result<(Extents, &'a [u8])> {
    let bad = |why: &str| malformed("array", text, why);
    let mut extents = Extents::default();
    let mut rest = body;
    while let Some(inner) = rest.strip_prefix(b"[") {
        let close = memchr::memchr(b']', inner)
            .ok_or_else(|| bad("Missing \"]\" after array dimensions."))?;
        let range = std::str::from_utf8(&inner[..close]).unwrap_or_default();
        let (lower, upper) = range.split_once(':').unwrap_or(("1", range));
        let number =
            |s: &str| s.trim().parse::<i32>().map_err(|_| bad("Missing array dimension value."));
        let (lower, upper) = (number(lower)?, number(upper)?);
        if upper < lower {
            let message = "upper bound cannot be less than lower bound";
            return Err(Error::new(SqlState::ArraySubscript, message));
        }
        extents.push(upper.checked_sub(lower).and_then(|n| n.checked_add(1)).unwrap_or(i32::MAX));
        rest = inner[close + 1..].trim_ascii_start();
    }
    let rest =
        rest.strip_prefix(b"=").ok_or_else(|| bad("Missing \"=\" after array dimensions."))?;
    Ok((extents, rest.trim_ascii()))
}

/// Reads `{…}` into the builder of the elements and returns how many there were. `scratch` is
/// reused from array to array.
pub(crate) fn array_text(
    text: &[u8],
    element: &mut ColumnBuilder,
    scratch: &mut Vec<u8>,
) -> Result<i32> {
    let body = text.trim_ascii();
    if body.first() != Some(&b'[') {
        return braced(body, text, element, scratch);
    }
    let (declared, body) = bounds(body, text)?;
    let count = braced(body, text, element, scratch)?;
    let inner = if count == 0 { Extents::default() } else { element.last_extents() };
    match declared.as_slice() {
        [outer, rest @ ..] if *outer == count && rest == inner.as_slice() => Ok(count),
        _ => {
            Err(malformed("array", text, "Specified array dimensions do not match array contents."))
        }
    }
}

fn braced(
    body: &[u8],
    text: &[u8],
    element: &mut ColumnBuilder,
    scratch: &mut Vec<u8>,
) -> Result<i32> {
    let bad = |why: &str| malformed("array", text, why);
    let Some(rest) = body.strip_prefix(b"{") else {
        return Err(bad("Array value must start with \"{\" or dimension information."));
    };
    let nested = matches!(element.sql_type(), SqlType::Array(_));
    let (mut count, mut first) = (0i32, None);
    let mut rest = rest.trim_ascii_start();
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
                if !matches_first(element, &mut first) {
                    return Err(bad(UNEVEN));
                }
                len
            }
            Some(b'{') if braces(body) == Some(body.len()) => {
                return Err(Error::unsupported("more dimensions than the array's type has")
                    .hint("Declare the type with as many [] as there are dimensions."));
            }
            Some(b'{') => return Err(bad("Unexpected \"{\" character.")),
            Some(_) if nested => return Err(bad("Unexpected array element.")),
            Some(b'"') => {
                let len = quoted(rest, scratch).ok_or_else(|| bad("Unexpected end of input."))?;
                element.append_text(scratch)?;
                len
            }
            Some(_) => {
                let len = bare(rest, scratch).ok_or_else(|| bad("Unexpected array element."))?;
                if rest[..len].trim_ascii().eq_ignore_ascii_case(b"null") {
                    element.append_null();
                } else {
                    element.append_text(scratch)?;
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

/// Sub-arrays of one array that differ in length, or have none.
pub(crate) const UNEVEN: &str =
    "Multidimensional arrays must have sub-arrays with matching dimensions.";

/// Whether the sub-array that was added last has the extents of the first one.
pub(crate) fn matches_first(element: &ColumnBuilder, first: &mut Option<Extents>) -> bool {
    let extents = element.last_extents();
    !extents.as_slice().is_empty() && *first.get_or_insert(extents) == extents
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
pub(crate) fn record_text(
    text: &[u8],
    fields: &mut [ColumnBuilder],
    scratch: &mut Vec<u8>,
) -> Result<()> {
    let bad = |why: &str| malformed("record", text, why);
    let body = text.trim_ascii();
    let Some(mut rest) = body.strip_prefix(b"(") else {
        return Err(bad("Missing left parenthesis."));
    };
    let last = fields.len().saturating_sub(1);
    for (i, field) in fields.iter_mut().enumerate() {
        if matches!(rest, [b',' | b')', ..]) {
            field.append_null();
        } else {
            let len = record_field(rest, scratch).ok_or_else(|| bad("Unexpected end of input."))?;
            field.append_text(scratch)?;
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
pub(crate) struct ByteReader<'a>(pub(crate) &'a [u8]);

impl<'a> ByteReader<'a> {
    pub(crate) fn i32(&mut self) -> Result<i32> {
        let (head, tail) = self.0.split_first_chunk::<4>().ok_or_else(truncated)?;
        self.0 = tail;
        Ok(i32::from_be_bytes(*head))
    }

    /// A value behind its length; None for NULL.
    pub(crate) fn sized(&mut self) -> Result<Option<&'a [u8]>> {
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

fn append(cursor: &mut ByteReader<'_>, into: &mut ColumnBuilder) -> Result<()> {
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
    let message = format!(
        "binary data has {what} type {got} instead of expected {} ({expected})",
        expected.oid()
    );
    Err(Error::new(SqlState::TypeMismatch, message))
}

/// The extents of an array's dimensions, and its elements still to be read.
pub(crate) fn array_header<'a>(
    value: &'a [u8],
    leaf: &SqlType,
) -> Result<(Extents, ByteReader<'a>)> {
    let mut cursor = ByteReader(value);
    let dimensions = cursor.i32()?;
    if !(0..=6).contains(&dimensions) {
        return Err(Error::new(
            SqlState::BadBinary,
            format!("invalid number of array dimensions: {dimensions}"),
        ));
    }
    let _has_null = cursor.i32()?;
    check_oid(cursor.i32()? as u32, leaf, "array element")?;
    let mut extents = Extents::default();
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
pub(crate) fn array_element(
    cursor: &mut ByteReader<'_>,
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
pub(crate) fn record_binary(value: &[u8], fields: &mut [ColumnBuilder]) -> Result<()> {
    let mut cursor = ByteReader(value);
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
