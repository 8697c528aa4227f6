//! Bytes: their bits, parts of them, and bytes as text (Postgres manual, 9.5).

use std::fmt::Write;

use datafusion::functions::crypto;

use super::forms::{ArgumentsOf, Form, FormValue, library, ok, strict};
use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::ColumnBuilder;
use crate::types::SqlType;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters in a line of base64.
const LINE: usize = 76;

pub(super) fn forms() -> Vec<Form> {
    let mut all = vec![
        strict("get_bit(bytea, bigint) int", |a| {
            let (byte, bit) = place(a, 8)?;
            ok(i64::from(a.bytes(0)[byte] >> bit & 1))
        }),
        strict("set_bit(bytea, bigint, int) bytea", |a| {
            let (byte, bit) = place(a, 8)?;
            if !matches!(a.int(2), 0 | 1) {
                return Err(Error::new(SqlState::BadArgument, "new bit must be 0 or 1"));
            }
            let mut bytes = a.bytes(0).to_vec();
            bytes[byte] = bytes[byte] & !(1 << bit) | (a.int(2) as u8) << bit;
            ok(bytes)
        }),
        strict("get_byte(bytea, int) int", |a| ok(i64::from(a.bytes(0)[place(a, 1)?.0]))),
        strict("set_byte(bytea, int, int) bytea", |a| {
            let (byte, _) = place(a, 1)?;
            let mut bytes = a.bytes(0).to_vec();
            bytes[byte] = a.int(2) as u8;
            ok(bytes)
        }),
        strict("bit_count(bytea) bigint", |a| {
            ok(a.bytes(0).iter().map(|byte| i64::from(byte.count_ones())).sum::<i64>())
        }),
        strict("length(bytea) int", |a| ok(a.bytes(0).len())),
        strict("length(bytea, text) int", |a| {
            ok(text_of(a.bytes(0), a.text(1), "source")?.chars().count())
        }),
        strict("octet_length(bytea) int", |a| ok(a.bytes(0).len())),
        strict("bit_length(bytea) int", |a| ok(a.bytes(0).len() * 8)),
        strict("strpos(bytea, bytea) int", position),
        strict("position(bytea, bytea) int", position),
        strict("convert_from(bytea, text) text", |a| ok(text_of(a.bytes(0), a.text(1), "source")?)),
        strict("convert_to(text, text) bytea", |a| {
            ok(bytes_of(a.text(0), a.text(1), "destination")?)
        }),
        strict("convert(bytea, text, text) bytea", |a| {
            ok(bytes_of(&text_of(a.bytes(0), a.text(1), "source")?, a.text(2), "destination")?)
        }),
        strict("encode(bytea, text) text", |a| ok(encoded(a.bytes(0), a.text(1))?)),
        strict("decode(text, text) bytea", |a| ok(decoded(a.text(0), a.text(1))?)),
        strict("int4send(int) bytea", |a| ok((a.int(0) as i32).to_be_bytes().to_vec())),
        strict("int8send(bigint) bytea", |a| ok(a.int(0).to_be_bytes().to_vec())),
        strict("textsend(text) bytea", |a| ok(a.text(0).as_bytes().to_vec())),
        library("md5(text) text", crypto::md5),
        library("md5(bytea) text", crypto::md5),
        library("sha224(bytea) bytea", crypto::sha224),
        library("sha256(bytea) bytea", crypto::sha256),
        library("sha384(bytea) bytea", crypto::sha384),
        library("sha512(bytea) bytea", crypto::sha512),
    ];
    all.extend(parts());
    all
}

fn parts() -> Vec<Form> {
    let mut all = Vec::new();
    for name in ["substr(bytea, int) bytea", "substring(bytea, int) bytea"] {
        all.push(strict(name, |a| ok(part(a.bytes(0), a.int(1), None)?)));
    }
    for name in ["substr(bytea, int, int) bytea", "substring(bytea, int, int) bytea"] {
        all.push(strict(name, |a| ok(part(a.bytes(0), a.int(1), Some(a.int(2)))?)));
    }
    for name in ["overlay(bytea, bytea, int) bytea", "overlay(bytea, bytea, int, int) bytea"] {
        all.push(strict(name, |a| {
            let length = if a.count() > 3 { a.int(3) } else { a.bytes(1).len() as i64 };
            let (before, behind) = around(a.bytes(0).len(), a.int(2), length)?;
            ok([&a.bytes(0)[..before], a.bytes(1), &a.bytes(0)[behind..]].concat())
        }));
    }
    all.extend([
        strict("ltrim(bytea, bytea) bytea", |a| ok(&a.bytes(0)[ends(a.bytes(0), a.bytes(1)).0..])),
        strict("rtrim(bytea, bytea) bytea", |a| ok(&a.bytes(0)[..ends(a.bytes(0), a.bytes(1)).1])),
        strict("btrim(bytea, bytea) bytea", |a| {
            let (begin, end) = ends(a.bytes(0), a.bytes(1));
            ok(&a.bytes(0)[begin.min(end)..end])
        }),
    ]);
    all
}

/// The byte and the bit in it that the second argument counts to, `parts` in each byte.
fn place(a: ArgumentsOf<'_>, parts: i64) -> Result<(usize, u32)> {
    let (index, count) = (a.int(1), a.bytes(0).len() as i64 * parts);
    if (0..count).contains(&index) {
        return Ok(((index / parts) as usize, (index % parts) as u32));
    }
    let what = format!("index {index} out of valid range, 0..{}", count - 1);
    Err(Error::new(SqlState::ArraySubscript, what))
}

fn position(a: ArgumentsOf<'_>) -> Result<FormValue<'_>> {
    let (whole, sought) = (a.bytes(0), a.bytes(1));
    ok(memchr::memmem::find(whole, sought).map_or(0, |at| at as i64 + 1))
}

/// Where what is left begins and ends when these bytes are taken from both ends.
fn ends(bytes: &[u8], cut: &[u8]) -> (usize, usize) {
    let is_left = |byte: &u8| !cut.contains(byte);
    let begin = bytes.iter().position(is_left).unwrap_or(bytes.len());
    (begin, bytes.iter().rposition(is_left).map_or(0, |last| last + 1))
}

fn bad_substring() -> Error {
    Error::new(SqlState::BadSubstring, "negative substring length not allowed")
}

/// From where to where `length` units from the one that `start` counts to stand among `units`.
pub(super) fn range(units: usize, start: i64, length: Option<i64>) -> Result<(usize, usize)> {
    let end = match length {
        Some(length) if length < 0 => return Err(bad_substring()),
        Some(length) => start.saturating_add(length),
        None => i64::MAX,
    };
    let within = |place: i64| usize::try_from(place.saturating_sub(1)).unwrap_or(0).min(units);
    Ok((within(start), within(end.max(start))))
}

fn part(bytes: &[u8], start: i64, length: Option<i64>) -> Result<&[u8]> {
    let (begin, end) = range(bytes.len(), start, length)?;
    Ok(&bytes[begin..end])
}

/// How many of `units` stay before what is laid over them, and from which one on they stay behind it.
pub(super) fn around(units: usize, start: i64, length: i64) -> Result<(usize, usize)> {
    if start <= 0 {
        return Err(bad_substring());
    }
    let within = |place: i64| usize::try_from(place.saturating_sub(1)).unwrap_or(0).min(units);
    Ok((within(start), within(start.saturating_add(length))))
}

/// Encodings that are known; ASCII is a part of the first.
#[derive(PartialEq, Eq)]
enum Encoding {
    Utf8,
    Latin1,
}

fn encoding(name: &str, what: &str) -> Result<Encoding> {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match plain.as_str() {
        "utf8" | "unicode" | "sqlascii" => Ok(Encoding::Utf8),
        "latin1" | "iso88591" => Ok(Encoding::Latin1),
        _ => Err(Error::new(
            SqlState::BadArgument,
            format!("invalid {what} encoding name \"{name}\""),
        )
        .hint("Encodings are UTF8 and LATIN1.")),
    }
}

fn text_of(bytes: &[u8], name: &str, what: &str) -> Result<String> {
    match encoding(name, what)? {
        Encoding::Latin1 => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Encoding::Utf8 => {
            // Reads and refuses as texts are that come over the wire.
            ColumnBuilder::new(&SqlType::Text, 1).append_text(bytes)?;
            Ok(String::from_utf8_lossy(bytes).into_owned())
        }
    }
}

fn bytes_of(text: &str, name: &str, what: &str) -> Result<Vec<u8>> {
    if encoding(name, what)? == Encoding::Utf8 {
        return Ok(text.as_bytes().to_vec());
    }
    let byte = |c: char| {
        u8::try_from(u32::from(c)).map_err(|_| {
            let bytes: Vec<String> = c.to_string().bytes().map(|b| format!("0x{b:02x}")).collect();
            let what = format!(
                "character with byte sequence {} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
                bytes.join(" ")
            );
            Error::new(SqlState::Untranslatable, what)
        })
    };
    text.chars().map(byte).collect()
}

fn unknown_encoding(name: &str) -> Error {
    Error::new(SqlState::BadArgument, format!("unrecognized encoding: \"{name}\""))
        .hint("Encodings of bytes as text are hex, base64 and escape.")
}

fn encoded(bytes: &[u8], name: &str) -> Result<String> {
    let mut out = String::with_capacity(bytes.len() * 2);
    // A String takes everything that is written.
    match name.to_ascii_lowercase().as_str() {
        "hex" => bytes.iter().for_each(|byte| {
            let _ = write!(out, "{byte:02x}");
        }),
        "escape" => bytes.iter().for_each(|byte| {
            let _ = match byte {
                b'\\' => write!(out, "\\\\"),
                0 | 128.. => write!(out, "\\{byte:03o}"),
                _ => write!(out, "{}", char::from(*byte)),
            };
        }),
        "base64" => {
            for (at, three) in bytes.chunks(3).enumerate() {
                if at > 0 && at % (LINE / 4) == 0 {
                    out.push('\n');
                }
                let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
                    << (8 * (3 - three.len()));
                for sign in 0..4 {
                    let six = (bits >> (18 - 6 * sign) & 63) as usize;
                    out.push(if sign > three.len() { '=' } else { char::from(BASE64[six]) });
                }
            }
        }
        _ => return Err(unknown_encoding(name)),
    }
    Ok(out)
}

fn decoded(text: &str, name: &str) -> Result<Vec<u8>> {
    match name.to_ascii_lowercase().as_str() {
        "hex" => from_hex(text),
        "escape" => from_escape(text.as_bytes()),
        "base64" => from_base64(text),
        _ => Err(unknown_encoding(name)),
    }
}

fn is_blank(c: &char) -> bool {
    matches!(c, ' ' | '\n' | '\t' | '\r')
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let (mut out, mut high) = (Vec::with_capacity(text.len() / 2), None);
    for c in text.chars() {
        if high.is_none() && is_blank(&c) {
            continue;
        }
        let digit = c.to_digit(16).ok_or_else(|| {
            Error::new(SqlState::BadArgument, format!("invalid hexadecimal digit: \"{c}\""))
        })?;
        match high.take() {
            Some(high) => out.push((high << 4 | digit) as u8),
            None => high = Some(digit),
        }
    }
    match high {
        None => Ok(out),
        Some(_) => {
            Err(Error::new(SqlState::BadArgument, "invalid hexadecimal data: odd number of digits"))
        }
    }
}

fn from_escape(text: &[u8]) -> Result<Vec<u8>> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    loop {
        rest = match rest {
            [] => return Ok(out),
            [b'\\', b'\\', behind @ ..] => {
                out.push(b'\\');
                behind
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                behind
            }
            [b'\\', ..] => {
                return Err(Error::new(SqlState::BadText, "invalid input syntax for type bytea"));
            }
            [byte, behind @ ..] => {
                out.push(*byte);
                behind
            }
        };
    }
}

fn from_base64(text: &str) -> Result<Vec<u8>> {
    let bad = |what: String| Err(Error::new(SqlState::BadArgument, what));
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count, mut kept) = (0u32, 0, 3);
    for c in text.chars().filter(|c| !is_blank(c)) {
        let six = match BASE64.iter().position(|sign| char::from(*sign) == c) {
            Some(six) => six as u32,
            None if c == '=' && kept < 3 => 0,
            None if c == '=' && count >= 2 => {
                kept = count - 1;
                0
            }
            None if c == '=' => {
                return bad("unexpected \"=\" while decoding base64 sequence".to_owned());
            }
            None => {
                return bad(format!("invalid symbol \"{c}\" found while decoding base64 sequence"));
            }
        };
        (bits, count) = (bits << 6 | six, count + 1);
        if count == 4 {
            out.extend_from_slice(&bits.to_be_bytes()[1..=kept]);
            (bits, count) = (0, 0);
        }
    }
    if count == 0 { Ok(out) } else { bad("invalid base64 end sequence".to_owned()) }
}
