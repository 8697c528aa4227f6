//! JSON is kept as written; JSONB in Postgres's normal form: keys sorted by length and bytes, the
//! last of equal keys, one space after `:` and `,`, numbers without exponents.

use serde::de::IgnoredAny;

use super::json_scan::JsonScanner;
use super::numeric;
use crate::error::{Error, Result, SqlState};
use crate::limits::JSONB_DEPTH;

/// Checks that a text is one JSON value.
pub(crate) fn check(text: &str) -> Result<()> {
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|error| {
        Error::new(SqlState::BadText, "invalid input syntax for type json")
            .detail(error.to_string())
    })
}

/// Appends the normal form of a JSON text.
pub(crate) fn normalize(text: &str, out: &mut Vec<u8>) -> Result<()> {
    check(text)?;
    let mut scanner = JsonScanner::new(text);
    scanner.blanks();
    write(&read(&mut scanner, text, 0)?, out);
    Ok(())
}

enum JsonValue {
    /// A number or a word, as it is to be written.
    Bare(String),
    Text(String),
    Array(Vec<JsonValue>),
    Object(Vec<(String, JsonValue)>),
}

/// Reads what stands next, `depth` arrays and objects deep. It recurses, and so does [`write`].
fn read(scanner: &mut JsonScanner<'_>, text: &str, depth: usize) -> Result<JsonValue> {
    if depth > JSONB_DEPTH {
        let message = format!("json is nested more than {JSONB_DEPTH} deep");
        return Err(Error::new(SqlState::TooComplex, message));
    }
    Ok(match scanner.peek() {
        Some(b'{') => {
            let mut fields: Vec<(String, JsonValue)> = Vec::new();
            let mut more = scanner.enter(b'{')?;
            while more {
                let key = scanner.name()?.read(text, &mut String::new())?.to_owned();
                fields.push((key, read(scanner, text, depth + 1)?));
                more = scanner.another(b'{')?;
            }
            // The sort is stable, so of equal keys the last one written stands last and is the one
            // kept.
            fields.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            fields.reverse();
            fields.dedup_by(|(a, _), (b, _)| a == b);
            fields.reverse();
            JsonValue::Object(fields)
        }
        Some(b'[') => {
            let mut values = Vec::new();
            let mut more = scanner.enter(b'[')?;
            while more {
                values.push(read(scanner, text, depth + 1)?);
                more = scanner.another(b'[')?;
            }
            JsonValue::Array(values)
        }
        Some(b'"') => JsonValue::Text(scanner.string()?.read(text, &mut String::new())?.to_owned()),
        _ => {
            let word = scanner.value()?;
            if word.contains(['e', 'E']) && beyond_numeric(word) {
                return Err(Error::new(SqlState::OutOfRange, "value overflows numeric format"));
            }
            JsonValue::Bare(number(word).unwrap_or_else(|| word.to_owned()))
        }
    })
}

/// Whether a number has more digits before or behind its point than NUMERIC, which JSONB keeps
/// numbers in.
fn beyond_numeric(word: &str) -> bool {
    let mut digits = numeric::Digits::default();
    numeric::read_text(word.as_bytes(), &mut digits).is_some()
        && digits.digits.iter().any(|d| *d != 0)
        && (digits.point > 131_072 || digits.digits.len() as i64 - digits.point > 16_383)
}

/// A number without an exponent and without the sign of zero; None for the words and for exponents
/// out of reason.
fn number(word: &str) -> Option<String> {
    let mut digits = numeric::Digits::default();
    numeric::read_text(word.as_bytes(), &mut digits)?;
    let zero = digits.digits.iter().all(|d| *d == 0);
    if !word.contains(['e', 'E']) {
        return Some(if zero { word.trim_start_matches('-').to_owned() } else { word.to_owned() });
    }
    if digits.point.unsigned_abs() > 2_000 {
        return None;
    }
    let mut text = String::new();
    if digits.negative && !zero {
        text.push('-');
    }
    let digit = |i: i64| {
        usize::try_from(i)
            .ok()
            .and_then(|i| digits.digits.get(i))
            .map_or('0', |d| (b'0' + d) as char)
    };
    let whole: String = (0..digits.point.max(0)).map(digit).collect();
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if digits.point < digits.digits.len() as i64 {
        text.push('.');
        text.extend((digits.point..digits.digits.len() as i64).map(digit));
    }
    Some(text)
}

fn write(value: &JsonValue, out: &mut Vec<u8>) {
    match value {
        JsonValue::Bare(word) => out.extend_from_slice(word.as_bytes()),
        JsonValue::Text(text) => write_string(text, out),
        JsonValue::Array(values) => {
            out.push(b'[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write(value, out);
            }
            out.push(b']');
        }
        JsonValue::Object(fields) => {
            out.push(b'{');
            for (i, (key, value)) in fields.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write_string(key, out);
                out.extend_from_slice(b": ");
                write(value, out);
            }
            out.push(b'}');
        }
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jsonb_has_one_form_for_equal_values() {
        let check = |text: &str, expect: &str| {
            let mut out = Vec::new();
            normalize(text, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        };
        check(r#" {"bb":1,"a":[1,2.50,-0,1e2,1.5e-3],"a":{}} "#, r#"{"a": {}, "bb": 1}"#);
        check(
            r#"[1,2.50,-0,1e2,1.5e-3,true,null,"x\u00e9\n"]"#,
            r#"[1, 2.50, 0, 100, 0.0015, true, null, "xé\n"]"#,
        );
        check("{ }", "{}");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for bad in ["", "{", "abc", "{\"a\":}", "1 2", "'a'"] {
            assert_eq!(check(bad).unwrap_err().state(), SqlState::BadText);
        }
        assert!(
            normalize(&format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)), &mut Vec::new())
                .is_err()
        );
    }
}
