//! Text, as Postgres takes it apart and puts it together (manual, 9.4).

use arrow::array::{ArrayRef, AsArray};
use datafusion::common::ScalarValue;
use datafusion::functions::{string, unicode};
use datafusion::logical_expr::ColumnarValue;

use super::bytes::{around, range};
use super::forms::{ArgumentsOf, Form, FormValue, constant, library, ok, strict};
use crate::error::{Error, Result, SqlState};

/// Words that are no names without quotes.
const QUOTED: &str = "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit \
    boolean both case cast char character check coalesce collate collation column concurrently \
    constraint create cross current_catalog current_date current_role current_schema \
    current_time current_timestamp current_user dec decimal default deferrable desc distinct do \
    else end except exists extract false fetch float for foreign freeze from full grant \
    greatest group grouping having ilike in initially inner inout int integer intersect \
    interval into is isnull join lateral leading least left like limit localtime localtimestamp \
    national natural nchar none normalize not notnull null nullif numeric offset on only or \
    order out outer overlaps overlay placing position precision primary real references \
    returning right row select session_user setof similar smallint some substring symmetric \
    table tablesample then time timestamp to trailing treat trim true union unique user using \
    values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement \
    xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";

pub(super) fn forms() -> Vec<Form> {
    let mut all = vec![
        library("octet_length(text) int", string::octet_length),
        library("bit_length(text) int", string::bit_length),
        strict("upper(text) text", |a| match a.text(0) {
            ascii if ascii.is_ascii() => ok(ascii.to_ascii_uppercase()),
            text => ok(mapped(text, upper)),
        })
        .agreed(string::upper, is_ascii),
        strict("lower(text) text", |a| match a.text(0) {
            ascii if ascii.is_ascii() => ok(ascii.to_ascii_lowercase()),
            text => ok(mapped(text, lower)),
        })
        .agreed(string::lower, is_ascii),
        strict("initcap(text) text", |a| ok(capitalized(a.text(0))))
            .agreed(unicode::initcap, is_ascii),
        strict("reverse(text) text", |a| ok(a.text(0).chars().rev().collect::<String>()))
            .agreed(unicode::reverse, |_| true),
        strict("chr(int) text", |a| ok(character(a.int(0))?)),
        strict("to_hex(int) text", |a| ok(format!("{:x}", a.int(0) as i32))),
        strict("to_hex(bigint) text", |a| ok(format!("{:x}", a.int(0)))),
        strict("quote_ident(text) text", |a| ok(quoted_name(a.text(0)))),
        strict("parse_ident(text) text[]", |a| ok(parts(a.text(0), true)?)),
        strict("parse_ident(text, bool) text[]", |a| ok(parts(a.text(0), a.truth(1))?)),
        strict("unistr(text) text", |a| ok(unescaped(a.text(0))?)),
    ];
    all.extend(of_parts());
    all
}

/// How long a text is, where something is in it, and parts of it.
fn of_parts() -> Vec<Form> {
    let mut all = vec![
        library("strpos(text, text) int", unicode::strpos),
        library("position(text, text) int", unicode::strpos),
        strict("left(text, int) text", |a| ok(&a.text(0)[..split(a.text(0), a.int(1))]))
            .agreed(unicode::left, |_| true),
        strict("right(text, int) text", |a| match a.int(1) {
            0 => ok(""),
            count => ok(&a.text(0)[split(a.text(0), -count)..]),
        })
        .agreed(unicode::right, |_| true),
        strict("split_part(text, text, int) text", |a| {
            ok(split_part(a.text(0), a.text(1), a.int(2))?)
        })
        .agreed(string::split_part, |args| {
            let has_delimiter = matches!(&args[1], ColumnarValue::Scalar(delimiter) if delimiter
                .try_as_str().flatten().is_some_and(|delimiter| !delimiter.is_empty()));
            has_delimiter && number(&args[2]).is_some_and(|n| n > 0)
        }),
    ];
    for spec in ["length(text) int", "char_length(text) int", "character_length(text) int"] {
        all.push(library(spec, unicode::character_length));
    }
    for spec in ["substr(text, int) text", "substring(text, int) text"] {
        all.push(
            strict(spec, |a| ok(substr(a.text(0), a.int(1), None)?))
                .agreed(unicode::substr, |args| number(&args[1]).is_some()),
        );
    }
    for spec in ["substr(text, int, int) text", "substring(text, int, int) text"] {
        all.push(
            strict(spec, |a| ok(substr(a.text(0), a.int(1), Some(a.int(2)))?)).agreed(
                unicode::substr,
                |args| {
                    number(&args[1]).is_some() && number(&args[2]).is_some_and(|length| length >= 0)
                },
            ),
        );
    }
    for spec in ["overlay(text, text, int) text", "overlay(text, text, int, int) text"] {
        all.push(strict(spec, overlaid));
    }
    for spec in ["ltrim(text) text", "ltrim(text, text) text"] {
        all.push(library(spec, string::ltrim));
    }
    for spec in ["rtrim(text) text", "rtrim(text, text) text"] {
        all.push(library(spec, string::rtrim));
    }
    for spec in ["btrim(text) text", "btrim(text, text) text"] {
        all.push(library(spec, string::btrim));
    }
    all
}

/// Whether a column has nothing but ASCII: only there are letters in pairs for everyone.
fn is_ascii(args: &[ColumnarValue]) -> bool {
    let texts =
        |array: &ArrayRef| array.as_string_opt::<i32>().is_some_and(|texts| texts.is_ascii());
    matches!(&args[0], ColumnarValue::Array(array) if texts(array))
}

/// The number that an argument is in all rows.
fn number(arg: &ColumnarValue) -> Option<i32> {
    match constant(arg)? {
        ScalarValue::Int32(number) => *number,
        _ => None,
    }
}

/// Letter for letter, as in the locale C.UTF-8: where a letter would become several, it stays.
fn mapped(text: &str, map: impl FnMut(char) -> char) -> String {
    text.chars().map(map).collect()
}

fn upper(c: char) -> char {
    let mut all = c.to_uppercase();
    match (all.next(), all.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// The one letter that would become several is the I with a dot, and loses it.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

fn capitalized(text: &str) -> String {
    let mut is_within = false;
    mapped(text, |c| {
        let mapped = if is_within { lower(c) } else { upper(c) };
        is_within = c.is_alphanumeric();
        mapped
    })
}

/// Where the character begins that so many are before.
fn byte_of(text: &str, characters: usize) -> usize {
    if text.is_ascii() {
        return characters.min(text.len());
    }
    text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
}

/// Behind so many characters, or before so many from the end.
fn split(text: &str, count: i64) -> usize {
    match usize::try_from(count) {
        Ok(count) => byte_of(text, count),
        Err(_) => {
            let left = text.chars().count() as i64 + count;
            byte_of(text, usize::try_from(left).unwrap_or(0))
        }
    }
}

fn substr(text: &str, start: i64, length: Option<i64>) -> Result<&str> {
    // No text has more characters than bytes.
    let (begin, end) = range(text.len(), start, length)?;
    let rest = &text[byte_of(text, begin)..];
    Ok(&rest[..byte_of(rest, end - begin)])
}

fn overlaid(a: ArgumentsOf<'_>) -> Result<FormValue<'_>> {
    let (text, new) = (a.text(0), a.text(1));
    let length = if a.count() > 3 { a.int(3) } else { new.chars().count() as i64 };
    let (before, behind) = around(text.len(), a.int(2), length)?;
    ok([&text[..byte_of(text, before)], new, &text[byte_of(text, behind)..]].concat())
}

/// The n-th part, from the end if n is negative; nothing if there is none.
fn split_part<'a>(text: &'a str, delimiter: &str, n: i64) -> Result<&'a str> {
    let nth = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX).wrapping_sub(1);
    let part = match (n, delimiter) {
        (0, _) => {
            return Err(Error::new(SqlState::BadArgument, "field position must not be zero"));
        }
        // Without a delimiter there is one part.
        (_, "") => Some(text).filter(|_| nth == 0),
        (1.., _) => text.split(delimiter).nth(nth),
        _ => text.rsplit(delimiter).nth(nth),
    };
    Ok(part.unwrap_or_default())
}

fn character(code: i64) -> Result<String> {
    let limit = |what: String| Err(Error::new(SqlState::ProgramLimit, what));
    match u32::try_from(code) {
        Err(_) => Err(Error::new(SqlState::BadArgument, "character number must be positive")),
        Ok(0) => limit("null character not permitted".to_owned()),
        Ok(code @ 0x11_0000..) => {
            limit(format!("requested character too large for encoding: {code}"))
        }
        Ok(code) => match char::from_u32(code) {
            Some(c) => Ok(c.to_string()),
            None => limit(format!("requested character not valid for encoding: {code}")),
        },
    }
}

/// A name, in quotes if it needs them.
pub(super) fn quoted_name(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !QUOTED.split(' ').any(|word| word == name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A text as a constant.
pub(super) fn quoted_text(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// The parts of a name; those without quotes in lower case. What comes behind them is refused if
/// that is `strict`.
fn parts(text: &str, strict: bool) -> Result<Vec<Option<String>>> {
    let bad = || {
        Error::new(SqlState::BadArgument, format!("string is not a valid identifier: \"{text}\""))
    };
    let (mut parts, mut rest) = (Vec::new(), text.trim());
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                // Two quotes stand for one.
                let hidden = quoted.replace("\"\"", "\u{1}\u{1}");
                let end = hidden.find('"').filter(|end| *end > 0).ok_or_else(bad)?;
                (quoted[..end].replace("\"\"", "\""), &quoted[end + 1..])
            }
            None if rest.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                let is_other = |c: char| !(c.is_alphanumeric() || c == '_' || c == '$');
                let end = rest.find(is_other).unwrap_or(rest.len());
                (rest[..end].to_lowercase(), &rest[end..])
            }
            None => return Err(bad()),
        };
        parts.push(Some(part));
        let after = after.trim_start();
        match after.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() || !strict => return Ok(parts),
            None => return Err(bad()),
        }
    }
}

/// `unistr`: the characters for their numbers, `\0061`, `\+000061`, `\u0061` and `\U00000061`.
fn unescaped(text: &str) -> Result<String> {
    let pair = || Error::new(SqlState::Syntax, "invalid Unicode surrogate pair");
    let (mut out, mut rest, mut high) = (String::with_capacity(text.len()), text, None);
    while let Some(first) = rest.chars().next() {
        let (code, length) = match rest.strip_prefix('\\') {
            Some(escaped) if !escaped.starts_with('\\') => {
                let (skipped, digits) = match escaped.bytes().next() {
                    Some(b'+') => (1, 6),
                    Some(b'u') => (1, 4),
                    Some(b'U') => (1, 8),
                    _ => (0, 4),
                };
                let digits = escaped
                    .get(skipped..skipped + digits)
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let bad = || {
                    Error::new(SqlState::Syntax, "invalid Unicode escape")
                        .hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
                };
                (code.ok_or_else(bad)?, 1 + skipped + digits.map_or(0, str::len))
            }
            Some(_) => (u32::from('\\'), 2),
            None => (u32::from(first), first.len_utf8()),
        };
        rest = &rest[length..];
        let code = match (high.take(), code) {
            (None, 0xd800..0xdc00) => {
                high = Some(code);
                continue;
            }
            (Some(high), 0xdc00..0xe000) => 0x1_0000 + ((high & 0x3ff) << 10) + (code & 0x3ff),
            (Some(_), _) | (None, 0xdc00..0xe000) => return Err(pair()),
            (None, code) => code,
        };
        let c = char::from_u32(code).filter(|c| *c != '\0').ok_or_else(|| {
            Error::new(SqlState::BadArgument, format!("invalid Unicode code point: {code:04X}"))
        })?;
        out.push(c);
    }
    if high.is_some() { Err(pair()) } else { Ok(out) }
}
