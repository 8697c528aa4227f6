//! Single values as Postgres reads them from text: numbers, booleans, bytes, UUIDs, strings.

use std::borrow::Cow;

use crate::error::{Error, Result, SqlState};

/// `invalid input syntax for type …`.
pub(crate) fn bad_text(type_name: &str, text: &[u8]) -> Error {
    let text = String::from_utf8_lossy(text);
    Error::new(SqlState::BadText, format!("invalid input syntax for type {type_name}: \"{text}\""))
}

/// Without the white space around it that Postgres allows for most types.
#[inline]
pub(crate) fn trimmed(text: &[u8]) -> &[u8] {
    match text {
        [first, .., last] if !first.is_ascii_whitespace() && !last.is_ascii_whitespace() => text,
        _ => text.trim_ascii(),
    }
}

/// An integer between two bounds.
#[inline]
pub(crate) fn integer(text: &[u8], min: i64, max: i64, type_name: &str) -> Result<i64> {
    let digits = match text {
        [b'-', digits @ ..] => digits,
        digits => digits,
    };
    if !(1..=18).contains(&digits.len()) {
        return integer_slow(text, min, max, type_name);
    }
    let mut value = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return integer_slow(text, min, max, type_name);
        }
        value = value * 10 + i64::from(digit);
    }
    if digits.len() < text.len() {
        value = -value;
    }
    if value < min || value > max { Err(integer_range(text, type_name)) } else { Ok(value) }
}

fn integer_range(text: &[u8], type_name: &str) -> Error {
    let text = String::from_utf8_lossy(text);
    Error::new(
        SqlState::OutOfRange,
        format!("value \"{text}\" is out of range for type {type_name}"),
    )
}

#[cold]
fn integer_slow(text: &[u8], min: i64, max: i64, type_name: &str) -> Result<i64> {
    let body = text.trim_ascii();
    let (negative, digits) = match body {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad_text(type_name, text));
    }
    let mut value = 0i128;
    for digit in digits {
        value = (value * 10 + i128::from(digit - b'0')).min(i128::from(u64::MAX));
    }
    let value = if negative { -value } else { value };
    match i64::try_from(value) {
        Ok(value) if value >= min && value <= max => Ok(value),
        _ => Err(integer_range(text, type_name)),
    }
}

fn float_range(text: &[u8], type_name: &str) -> Error {
    let text = String::from_utf8_lossy(text);
    Error::new(SqlState::OutOfRange, format!("\"{text}\" is out of range for type {type_name}"))
}

/// Whether a float that came out as zero was written as something else.
fn underflows(text: &str) -> bool {
    text.bytes().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| matches!(b, b'1'..=b'9'))
}

/// A double.
#[inline]
pub(crate) fn float8(text: &[u8]) -> Result<f64> {
    const NAME: &str = "double precision";
    let body = std::str::from_utf8(trimmed(text)).map_err(|_| bad_text(NAME, text))?;
    let value: f64 = body.parse().map_err(|_| bad_text(NAME, text))?;
    let digits = || body.bytes().any(|b| b.is_ascii_digit());
    if (value.is_infinite() && digits()) || (value == 0.0 && underflows(body)) {
        return Err(float_range(text, NAME));
    }
    Ok(plain_double(value))
}

/// NaN in one form.
pub(crate) fn plain_double(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

/// As [`plain_double`].
pub(crate) fn plain_real(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value }
}

/// A real.
pub(crate) fn float4(text: &[u8]) -> Result<f32> {
    const NAME: &str = "real";
    let body = std::str::from_utf8(trimmed(text)).map_err(|_| bad_text(NAME, text))?;
    let value: f32 = body.parse().map_err(|_| bad_text(NAME, text))?;
    let digits = || body.bytes().any(|b| b.is_ascii_digit());
    if (value.is_infinite() && digits()) || (value == 0.0 && underflows(body)) {
        return Err(float_range(text, NAME));
    }
    Ok(plain_real(value))
}

/// A boolean: any beginning of `true`, `false`, `yes`, `no`; `on`, `off`, `1`, `0`.
pub(crate) fn boolean(text: &[u8]) -> Result<bool> {
    match text {
        b"t" | b"1" => return Ok(true),
        b"f" | b"0" => return Ok(false),
        _ => {}
    }
    let word = text.trim_ascii();
    let begins = |full: &str| {
        !word.is_empty()
            && full.as_bytes().get(..word.len()).is_some_and(|f| f.eq_ignore_ascii_case(word))
    };
    if begins("true") || begins("yes") || (word.len() == 2 && begins("on")) || word == b"1" {
        Ok(true)
    } else if begins("false") || begins("no") || (word.len() >= 2 && begins("off")) || word == b"0"
    {
        Ok(false)
    } else {
        Err(bad_text("boolean", text))
    }
}

/// Refuses a NUL byte, which no text of Postgres can hold.
#[inline]
pub(crate) fn without_nul(text: &[u8]) -> Result<()> {
    if memchr::memchr(0, text).is_some() {
        return Err(Error::new(
            SqlState::BadCharacter,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    Ok(())
}

/// A string: valid UTF-8 without a NUL byte.
#[inline]
pub(crate) fn string(text: &[u8]) -> Result<&str> {
    without_nul(text)?;
    std::str::from_utf8(text).map_err(|error| {
        let at = error.valid_up_to();
        // As many as the first byte says that there are.
        let length = match text[at] {
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf8 => 4,
            _ => 1,
        };
        let bad = &text[at..text.len().min(at + length)];
        let hex: Vec<String> = bad.iter().map(|b| format!("0x{b:02x}")).collect();
        Error::new(
            SqlState::BadCharacter,
            format!("invalid byte sequence for encoding \"UTF8\": {}", hex.join(" ")),
        )
    })
}

/// Cuts spaces beyond the length of a VARCHAR(n) or CHAR(n); anything else there is an error.
pub(crate) fn varchar<'t>(text: &'t str, length: u32, type_name: &str) -> Result<&'t str> {
    let length = length as usize;
    if text.len() <= length {
        return Ok(text);
    }
    match text.char_indices().nth(length) {
        None => Ok(text),
        Some((at, _)) if text[at..].bytes().all(|b| b == b' ') => Ok(&text[..at]),
        Some(_) => {
            let message = format!("value too long for type {type_name}({length})");
            Err(Error::new(SqlState::StringTooLong, message))
        }
    }
}

fn nibble(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|d| d as u8)
}

/// Bytes, written as `\x…` or with octal escapes.
pub(crate) fn bytea(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    if let Some(hex) = text.strip_prefix(b"\\x") {
        return bytea_hex(hex, out);
    }
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                out.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => {
                return Err(Error::new(SqlState::BadText, "invalid input syntax for type bytea"));
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    Ok(())
}

fn bytea_hex(hex: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut high = None;
    for (at, byte) in hex.iter().enumerate() {
        if byte.is_ascii_whitespace() && high.is_none() {
            continue;
        }
        let value = nibble(*byte).ok_or_else(|| {
            let rest = String::from_utf8_lossy(&hex[at..hex.len().min(at + 4)]);
            let shown = rest.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
            Error::new(SqlState::BadArgument, format!("invalid hexadecimal digit: \"{shown}\""))
        })?;
        match high.take() {
            None => high = Some(value),
            Some(high) => out.push(high << 4 | value),
        }
    }
    match high {
        None => Ok(()),
        Some(_) => {
            Err(Error::new(SqlState::BadArgument, "invalid hexadecimal data: odd number of digits"))
        }
    }
}

/// A UUID: 32 digits, a dash allowed after each fourth, braces allowed around.
pub(crate) fn uuid(text: &[u8]) -> Result<[u8; 16]> {
    let read = || {
        let body = match text {
            [b'{', inner @ .., b'}'] => inner,
            body => body,
        };
        let (mut value, mut digits) = ([0u8; 16], 0usize);
        let mut after_dash = true;
        for byte in body {
            if *byte == b'-' && !after_dash && digits.is_multiple_of(4) {
                after_dash = true;
                continue;
            }
            let digit = nibble(*byte)?;
            *value.get_mut(digits / 2)? |=
                if digits.is_multiple_of(2) { digit << 4 } else { digit };
            digits += 1;
            after_dash = false;
        }
        (digits == 32 && !after_dash).then_some(value)
    };
    read().ok_or_else(|| bad_text("uuid", text))
}

/// A text as it is quoted in an error.
pub(crate) fn shown(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_with_spaces_and_signs_and_checked() {
        let int =
            |text: &str| integer(text.as_bytes(), i32::MIN.into(), i32::MAX.into(), "integer");
        assert_eq!(int(" +42 ").unwrap(), 42);
        assert_eq!(int("-2147483648").unwrap(), -2_147_483_648);
        let error = int("99999999999").unwrap_err();
        assert_eq!(error.message(), "value \"99999999999\" is out of range for type integer");
        assert_eq!(error.state(), SqlState::OutOfRange);
        for bad in ["abc", "", "-", "0x10", "1.5", "1 2", "--1"] {
            let error = int(bad).unwrap_err();
            assert_eq!(
                error.message(),
                format!("invalid input syntax for type integer: \"{bad}\"")
            );
        }
        let big = |text: &str| integer(text.as_bytes(), i64::MIN, i64::MAX, "bigint");
        assert_eq!(big("-9223372036854775808").unwrap(), i64::MIN);
        assert_eq!(big("9223372036854775808").unwrap_err().state(), SqlState::OutOfRange);
        assert_eq!(big(&"9".repeat(60)).unwrap_err().state(), SqlState::OutOfRange);
    }

    #[test]
    fn floats_know_infinity_and_refuse_what_does_not_fit() {
        assert_eq!(float8(b" 1e10 ").unwrap(), 1e10);
        assert_eq!(float8(b"-Infinity").unwrap(), f64::NEG_INFINITY);
        assert!(float8(b"nan").unwrap().is_nan());
        assert_eq!(
            float8(b"1e400").unwrap_err().message(),
            "\"1e400\" is out of range for type double precision"
        );
        assert_eq!(float8(b"1e-400").unwrap_err().state(), SqlState::OutOfRange);
        assert_eq!(float8(b"0e-400").unwrap(), 0.0);
        assert_eq!(float4(b"1e39").unwrap_err().state(), SqlState::OutOfRange);
        assert_eq!(float8(b"1x").unwrap_err().state(), SqlState::BadText);
    }

    #[test]
    fn booleans_bytes_and_uuids_have_many_spellings() {
        for yes in ["t", "TRUE", "yes", "y", "on", "1", " tr "] {
            assert!(boolean(yes.as_bytes()).unwrap());
        }
        for no in ["f", "false", "no", "off", "of", "0"] {
            assert!(!boolean(no.as_bytes()).unwrap());
        }
        assert!(boolean(b"o").is_err() && boolean(b"2").is_err());
        let mut out = Vec::new();
        bytea(b"\\x68 69", &mut out).unwrap();
        bytea(b"a\\\\\\001", &mut out).unwrap();
        assert_eq!(out, b"hia\\\x01");
        assert!(bytea(b"\\x6", &mut out).is_err());
        let expect = uuid(b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11").unwrap();
        assert_eq!(uuid(b"{A0EEBC999C0B4EF8BB6D6BB9BD380A11}").unwrap(), expect);
        assert!(uuid(b"a0eebc99").is_err() && uuid(b"a0-eebc999c0b4ef8bb6d6bb9bd380a11").is_err());
    }

    #[test]
    fn strings_are_utf8_without_nul_and_no_longer_than_declared() {
        assert_eq!(
            string(b"a\xff").unwrap_err().message(),
            "invalid byte sequence for encoding \"UTF8\": 0xff"
        );
        assert_eq!(string(b"a\0").unwrap_err().state(), SqlState::BadCharacter);
        assert_eq!(varchar("äb   ", 2, "character").unwrap(), "äb");
        assert_eq!(
            varchar("abc", 2, "character varying").unwrap_err().message(),
            "value too long for type character varying(2)"
        );
    }
}
