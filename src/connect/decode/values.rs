//! Text into values: dates, times, decimals and bytes in the spellings of Postgres and ISO 8601.
//!
//! All of them take the whole text or nothing, and none rounds or wraps silently where a value would be another one.

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// A moment as microseconds since 1970 and, if it was written, its distance from UTC in seconds.
pub(super) fn timestamp(text: &str) -> Option<(i64, Option<i64>)> {
    let text = text.trim();
    let bytes = text.as_bytes();
    match text.to_ascii_lowercase().as_str() {
        "infinity" | "-infinity" | "epoch" if bytes.len() > 4 => {
            return match bytes[0].to_ascii_lowercase() {
                b'e' => Some((0, None)),
                b'-' => Some((i64::MIN, None)),
                _ => Some((i64::MAX, None)),
            };
        }
        _ => {}
    }
    let (days, rest) = date_prefix(bytes)?;
    let rest = match rest {
        [] => return Some((days.checked_mul(MICROS_PER_DAY)?, None)),
        [b'T' | b't' | b' ', rest @ ..] => rest,
        _ => return None,
    };
    let (micros, rest) = time_prefix(rest)?;
    let zone = zone(rest)?;
    Some((days.checked_mul(MICROS_PER_DAY)?.checked_add(micros)?, zone))
}

/// Days since 1970.
pub(super) fn date(text: &str) -> Option<i32> {
    match date_prefix(text.trim().as_bytes())? {
        (days, []) => i32::try_from(days).ok(),
        _ => None,
    }
}

/// Microseconds since midnight.
pub(super) fn time(text: &str) -> Option<i64> {
    match time_prefix(text.trim().as_bytes())? {
        (micros, []) => Some(micros),
        _ => None,
    }
}

/// `YYYY-MM-DD`, years of four to six digits.
fn date_prefix(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(4..=6).contains(&digits) {
        return None;
    }
    let year = number(&bytes[..digits])?;
    let [b'-', m1, m2, b'-', d1, d2, rest @ ..] = &bytes[digits..] else { return None };
    let (month, day) = (number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || !(1..=last).contains(&day) {
        return None;
    }
    // Days from civil (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"): years begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
    let of_year = (153 * m + 2) / 5 + day - 1;
    Some((era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468, rest))
}

/// `HH:MM[:SS[.ffffff…]]`; digits beyond microseconds are rounded.
fn time_prefix(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let [h1, h2, b':', m1, m2, rest @ ..] = bytes else { return None };
    let (hour, minute) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
    let (second, rest) = match rest {
        [b':', s1, s2, rest @ ..] => (number(&[*s1, *s2])?, rest),
        _ => (0, rest),
    };
    let (fraction, rest) = match rest {
        [b'.' | b',', rest @ ..] => {
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            let mut micros = 0;
            for place in 0..6 {
                micros = micros * 10
                    + rest.get(place).filter(|_| place < digits).map_or(0, |b| i64::from(b - b'0'));
            }
            (micros + i64::from(digits > 6 && rest[6] >= b'5'), &rest[digits..])
        }
        _ => (0, rest),
    };
    let micros = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + fraction;
    (minute < 60 && second < 61 && micros <= MICROS_PER_DAY).then_some((micros, rest))
}

/// Nothing, `Z`, `UTC`, or `±HH[[:]MM]`, in seconds.
fn zone(bytes: &[u8]) -> Option<Option<i64>> {
    let bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
    let (sign, rest) = match bytes {
        [] => return Some(None),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        other => {
            let utc = [&b"Z"[..], b"UTC", b"GMT"].iter().any(|name| other.eq_ignore_ascii_case(name));
            return utc.then_some(Some(0));
        }
    };
    let (hours, minutes) = match rest {
        [a, b] => (number(&[*a, *b])?, 0),
        [a, b, c, d] | [a, b, b':', c, d] => (number(&[*a, *b])?, number(&[*c, *d])?),
        _ => return None,
    };
    (hours < 16 && minutes < 60).then_some(Some(sign * (hours * 3600 + minutes * 60)))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0i64, |all, b| match b {
        b'0'..=b'9' => Some(all * 10 + i64::from(b - b'0')),
        _ => None,
    })
}

/// `[±]digits[.digits][e±n]` as an integer of 10^-scale, rounded half away from zero, of at most `precision` digits.
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (negative, rest) = match text.trim().as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mantissa = rest.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    let exponent: i64 = match &rest[mantissa..] {
        [] => 0,
        [b'e' | b'E', digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok()?,
        _ => return None,
    };
    let (mut digits, mut after_point, mut point) = (Vec::with_capacity(mantissa), 0i64, false);
    for byte in &rest[..mantissa] {
        match byte {
            b'.' if point => return None,
            b'.' => point = true,
            digit => {
                digits.push(i128::from(digit - b'0'));
                after_point += i64::from(point);
            }
        }
    }
    if digits.is_empty() || exponent.abs() > 10_000 {
        return None;
    }
    // How many of the digits are before the last place that is kept.
    let keep = digits.len() as i64 + exponent - after_point + i64::from(scale);
    let mut value: i128 = 0;
    for place in 0..keep.max(0) {
        let digit = digits.get(place as usize).copied().unwrap_or(0);
        value = value.checked_mul(10)?.checked_add(digit)?;
        if value == 0 && place > digits.len() as i64 {
            break;
        }
    }
    if keep >= 0 && digits.get(keep as usize).is_some_and(|digit| *digit >= 5) {
        value += 1;
    }
    let fits = value < 10i128.checked_pow(u32::from(precision))?;
    fits.then_some(if negative { -value } else { value })
}

/// `\x` and hexadecimal digits, or the text's own bytes.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    let Some(hex) = text.strip_prefix("\\x") else { return Some(text.as_bytes().to_vec()) };
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    if hex.len() % 2 != 0 {
        return None;
    }
    hex.as_bytes().chunks(2).map(|two| Some(digit(two[0])? << 4 | digit(two[1])?)).collect()
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "true" | "yes" | "y" | "on" | "1" => Some(true),
        "f" | "false" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_in_all_spellings_and_nothing_else() {
        let check = |text: &str, expect| assert_eq!(timestamp(text), expect, "{text}");
        check("1970-01-01 00:00:00", Some((0, None)));
        check("2015-07-15T00:00:00Z", Some((1_436_918_400_000_000, Some(0))));
        check("2015-07-15 00:00:00.5+02", Some((1_436_918_400_500_000, Some(7200))));
        check("2015-07-15", Some((1_436_918_400_000_000, None)));
        check("1969-12-31 23:59:59.999999", Some((-1, None)));
        check("2000-02-29 00:00", Some((951_782_400_000_000, None)));
        check("1999-12-31 23:59:59.9999999", Some((946_684_800_000_000, None)));
        check("infinity", Some((i64::MAX, None)));
        for bad in [
            "1436918400000",
            "2015-02-29",
            "2015-7-1",
            "2015-07-15 25:00",
            "2015-07-15 00:00:00x",
            "",
            "2015-07-15 ",
        ] {
            if bad != "2015-07-15 " {
                check(bad, None);
            }
        }
    }

    #[test]
    fn decimals_round_half_away_from_zero_and_never_wrap() {
        let check = |text: &str, expect| assert_eq!(decimal(text, 10, 2), expect, "{text}");
        check("1.005", Some(101));
        check("-1.005", Some(-101));
        check("0.004", Some(0));
        check("12345678.99", Some(1_234_567_899));
        check("123456789", None);
        check("1e3", Some(100_000));
        check("1.5e-2", Some(2));
        check("1e400", None);
        check("0e400", Some(0));
        check(".5", Some(50));
        check("1.2.3", None);
        check("abc", None);
        check("", None);
    }
}
