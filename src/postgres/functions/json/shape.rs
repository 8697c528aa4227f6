//! One level of a JSON text: its members or elements, each as it is written.
//!
//! What a text holds is looked at level by level, and nothing below is read before it is asked for. Of
//! JSONB, whose texts have one form, a part is JSONB again, and so is what is put together here.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::error::Result;
use crate::pgtypes::values::JsonScanner;

/// A value by its outermost level.
#[derive(Debug)]
pub(super) enum JsonShape<'t> {
    Object(Vec<(Cow<'t, str>, &'t str)>),
    Array(Vec<&'t str>),
    /// As it is written.
    Scalar(&'t str),
}

impl<'t> JsonShape<'t> {
    /// # Errors
    /// 22P02 if it is no JSON.
    pub(super) fn of(text: &'t str) -> Result<JsonShape<'t>> {
        let mut scanner = JsonScanner::new(text);
        scanner.blanks();
        let shape = match scanner.peek() {
            Some(b'{') => {
                let mut members = Vec::new();
                let mut more = scanner.enter(b'{')?;
                while more {
                    let key = member_name(&mut scanner, text)?;
                    members.push((key, scanner.value()?));
                    more = scanner.another(b'{')?;
                }
                JsonShape::Object(members)
            }
            Some(b'[') => {
                let mut elements = Vec::new();
                let mut more = scanner.enter(b'[')?;
                while more {
                    elements.push(scanner.value()?);
                    more = scanner.another(b'[')?;
                }
                JsonShape::Array(elements)
            }
            _ => JsonShape::Scalar(scanner.value()?),
        };
        scanner.end()?;
        Ok(shape)
    }

    /// The member of that name, or the last of several.
    pub(super) fn member(&self, name: &str) -> Option<&'t str> {
        match self {
            JsonShape::Object(members) => {
                members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
            }
            _ => None,
        }
    }

    /// The element at a place, from the end if it is negative.
    pub(super) fn element(&self, at: i64) -> Option<&'t str> {
        let JsonShape::Array(elements) = self else { return None };
        elements.get(place(at, elements.len())?).copied()
    }
}

/// Where a place is that may be counted from the end.
pub(super) fn place(at: i64, length: usize) -> Option<usize> {
    let from_end = || i64::try_from(length).ok()?.checked_add(at);
    usize::try_from(if at < 0 { from_end()? } else { at }).ok()
}

fn member_name<'t>(scanner: &mut JsonScanner<'t>, text: &'t str) -> Result<Cow<'t, str>> {
    let name = scanner.name()?;
    if !name.escapes {
        return Ok(Cow::Borrowed(&text[name.start..name.end]));
    }
    let mut unescaped = String::new();
    name.read(text, &mut unescaped)?;
    Ok(Cow::Owned(unescaped))
}

/// The member of an object, without looking at those behind it where keys are there once: the way of
/// every `->`.
pub(super) fn member<'t>(text: &'t str, name: &str, is_jsonb: bool) -> Result<Option<&'t str>> {
    let mut scanner = JsonScanner::new(text);
    scanner.blanks();
    let mut found = None;
    if scanner.peek() != Some(b'{') {
        return Ok(None);
    }
    let mut scratch = String::new();
    let mut more = scanner.enter(b'{')?;
    while more {
        let key = scanner.name()?;
        let is_it = if key.escapes {
            scratch.clear();
            key.read(text, &mut scratch)?;
            scratch == name
        } else {
            text[key.start..key.end] == *name
        };
        let value = scanner.value()?;
        if is_it {
            if is_jsonb {
                return Ok(Some(value));
            }
            found = Some(value);
        }
        more = scanner.another(b'{')?;
    }
    Ok(found)
}

/// The element of an array at a place from its beginning, without looking at those behind it.
pub(super) fn element(text: &str, at: usize) -> Result<Option<&str>> {
    let mut scanner = JsonScanner::new(text);
    scanner.blanks();
    if scanner.peek() != Some(b'[') {
        return Ok(None);
    }
    let mut more = scanner.enter(b'[')?;
    for _ in 0..at {
        if !more {
            break;
        }
        scanner.value()?;
        more = scanner.another(b'[')?;
    }
    Ok(if more { Some(scanner.value()?) } else { None })
}

/// The text of a scalar, a string without its quotes; NULL for null. Arrays and objects as they are.
pub(super) fn as_text(value: &str) -> Result<Option<Cow<'_, str>>> {
    Ok(match value.as_bytes().first() {
        Some(b'"') => {
            let string = JsonScanner::new(value).string()?;
            if string.escapes {
                let mut unescaped = String::new();
                string.read(value, &mut unescaped)?;
                Some(Cow::Owned(unescaped))
            } else {
                Some(Cow::Borrowed(&value[string.start..string.end]))
            }
        }
        Some(b'n') => None,
        _ => Some(Cow::Borrowed(value)),
    })
}

/// What kind of value it is, as `jsonb_typeof` says.
pub(super) fn kind(value: &str) -> &'static str {
    match value.trim_start().as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

/// A text as a string of JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An array as JSONB writes it.
pub(super) fn array<'t>(elements: impl IntoIterator<Item = &'t str>) -> String {
    format!("[{}]", elements.into_iter().collect::<Vec<_>>().join(", "))
}

/// An object as JSONB writes it, of members in their order.
pub(super) fn object<'t>(members: impl IntoIterator<Item = (&'t str, &'t str)>) -> String {
    let member = |(key, value): (&str, &str)| format!("{}: {value}", quoted(key));
    format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(", "))
}

/// The order in which JSONB keeps its keys.
pub(super) fn key_order(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

/// Whether `whole` has all that `part` has (Postgres manual, 8.14.3).
pub(super) fn contains(whole: &str, part: &str, is_outermost: bool) -> Result<bool> {
    Ok(match (JsonShape::of(whole)?, JsonShape::of(part)?) {
        (whole @ JsonShape::Object(_), JsonShape::Object(members)) => {
            for (key, wanted) in &members {
                match whole.member(key) {
                    Some(value) if holds(value, wanted)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (JsonShape::Array(elements), JsonShape::Array(wanted)) => has_all(&elements, &wanted)?,
        // At the outermost level an array contains a scalar.
        (JsonShape::Array(elements), JsonShape::Scalar(wanted)) if is_outermost => {
            has_all(&elements, &[wanted])?
        }
        (JsonShape::Scalar(one), JsonShape::Scalar(other)) => is_same_scalar(one, other),
        _ => false,
    })
}

/// Whether a value is the wanted scalar, or contains what is wanted of it.
fn holds(value: &str, wanted: &str) -> Result<bool> {
    match (kind(value), kind(wanted)) {
        (one @ ("object" | "array"), other) => Ok(one == other && contains(value, wanted, false)?),
        (_, "object" | "array") => Ok(false),
        _ => Ok(is_same_scalar(value, wanted)),
    }
}

fn has_all(elements: &[&str], wanted: &[&str]) -> Result<bool> {
    for wanted in wanted {
        let mut found = false;
        for element in elements {
            found = found || holds(element, wanted)?;
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_same_scalar(one: &str, other: &str) -> bool {
    let number = |text: &str| matches!(text.as_bytes().first(), Some(b'-' | b'0'..=b'9'));
    one == other || number(one) && number(other) && without_zeros(one) == without_zeros(other)
}

/// A number without the zeros behind its point.
fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// A text that is in the order of JSONB values (Postgres manual, 8.14.4), and equal where these are:
/// bytes of such an order, in hexadecimal digits.
pub(super) fn order_key(value: &str) -> Result<String> {
    let mut key = Vec::with_capacity(value.len() + 8);
    if !matches!(kind(value), "object" | "array") {
        // Outermost a scalar is an array of one.
        key.push(ARRAY);
        key.extend(1u32.to_be_bytes());
        key.push(0);
    }
    put_key(value, true, &mut key)?;
    let digits = key.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(digits
        .map(|digit| char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }))
        .collect())
}

const ARRAY: u8 = 5;

fn put_key(value: &str, is_outermost: bool, out: &mut Vec<u8>) -> Result<()> {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    match JsonShape::of(value)? {
        JsonShape::Object(members) => {
            out.push(6);
            out.extend(count(members.len()));
            for (key, value) in &members {
                out.extend(key.as_bytes());
                out.push(0);
                put_key(value, false, out)?;
            }
        }
        JsonShape::Array(elements) => {
            out.push(ARRAY);
            out.extend(count(elements.len()));
            if is_outermost {
                out.push(1);
            }
            for element in &elements {
                put_key(element, false, out)?;
            }
        }
        JsonShape::Scalar(text) => match kind(text) {
            "null" => out.push(1),
            "string" => {
                out.push(2);
                out.extend(as_text(text)?.unwrap_or_default().as_bytes());
                out.push(0);
            }
            "number" => {
                out.push(3);
                put_number(text, out);
            }
            _ => out.extend([4, u8::from(text == "true")]),
        },
    }
    Ok(())
}

/// A sign, where the first digit stands, and the digits; of a negative number the reverse.
fn put_number(text: &str, out: &mut Vec<u8>) {
    let (sign, size) = text.strip_prefix('-').map_or((2u8, text), |size| (0, size));
    let (whole, places) = without_zeros(size).split_once('.').unwrap_or((without_zeros(size), ""));
    let digits = format!("{whole}{places}");
    let leading = digits.len() - digits.trim_start_matches('0').len();
    let digits = digits.trim_matches('0');
    if digits.is_empty() {
        out.push(1);
        return;
    }
    out.push(sign);
    let point = i64::try_from(whole.len()).unwrap_or(0) - i64::try_from(leading).unwrap_or(0);
    let place = (point + (1 << 32)).to_be_bytes();
    let bytes = place.into_iter().chain(digits.bytes()).chain([0]);
    out.extend(bytes.map(|byte| if sign == 0 { !byte } else { byte }));
}
