//! NUMERIC between Arrow's scaled integers, decimal text, and Postgres's base-10000 digits.
//!
//! In all three the number is a row of decimal digits and a point, so everything goes through that
//! form: [`Digits`] on the way in, a slice and a scale on the way out. Postgres's binary format is
//! described in `numeric_send`: count of digits, weight of the first, sign, digits shown after the
//! point, then the digits as 16-bit words.

use arrow::datatypes::i256;
use bytes::{BufMut, BytesMut};

use crate::error::{Error, Result, SqlState};

/// Room for the digits of an i256 and for padding to whole base-10000 digits.
const ROOM: usize = 96;

/// Decimal digits of a magnitude, most significant first, without leading zeros.
pub(crate) struct Magnitude {
    buffer: [u8; ROOM],
    start: usize,
    negative: bool,
}

impl Magnitude {
    pub(crate) fn of_i128(value: i128) -> Self {
        let mut this = Magnitude { buffer: [b'0'; ROOM], start: ROOM, negative: value < 0 };
        let mut rest = value.unsigned_abs();
        while rest > u128::from(u64::MAX) {
            this.push_low((rest % 10) as u8);
            rest /= 10;
        }
        let mut low = rest as u64;
        while low > 0 {
            this.push_low((low % 10) as u8);
            low /= 10;
        }
        this
    }

    pub(crate) fn of_i256(value: i256) -> Self {
        let text = value.to_string();
        let mut this =
            Magnitude { buffer: [b'0'; ROOM], start: ROOM, negative: text.starts_with('-') };
        for digit in text.trim_start_matches('-').trim_start_matches('0').bytes().rev() {
            this.push_low(digit - b'0');
        }
        this
    }

    fn push_low(&mut self, digit: u8) {
        self.start -= 1;
        self.buffer[self.start] = b'0' + digit;
    }

    fn digits(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// The digits before and after the point at `scale`, without the zeros that `Shown::Free`
    /// drops; leading zeros after the point are in the third part.
    fn split(&self, scale: i8, shown: Shown) -> (&[u8], usize, &[u8]) {
        let digits = self.digits();
        let scale = usize::try_from(scale).unwrap_or(0);
        let whole = digits.len().saturating_sub(scale);
        let (whole, fraction) = digits.split_at(whole);
        let zeros = scale - fraction.len();
        match shown {
            Shown::Fixed => (whole, zeros, fraction),
            Shown::Free => {
                let end = fraction.iter().rposition(|d| *d != b'0').map_or(0, |last| last + 1);
                (whole, if end == 0 { 0 } else { zeros }, &fraction[..end])
            }
        }
    }
}

/// Whether a number shows as many decimals as its scale, or only those it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Fixed,
    Free,
}

/// Zeros that a negative scale appends before the point.
fn appended(scale: i8, digits: &[u8]) -> usize {
    if digits.is_empty() { 0 } else { usize::from(scale.min(0).unsigned_abs()) }
}

/// As text.
pub(crate) fn text(value: &Magnitude, scale: i8, shown: Shown, out: &mut BytesMut) {
    let (whole, zeros, fraction) = value.split(scale, shown);
    if value.negative {
        out.put_u8(b'-');
    }
    if whole.is_empty() {
        out.put_u8(b'0');
    }
    out.put_slice(whole);
    out.put_bytes(b'0', appended(scale, whole));
    if zeros + fraction.len() > 0 {
        out.put_u8(b'.');
        out.put_bytes(b'0', zeros);
        out.put_slice(fraction);
    }
}

/// As `numeric_send` writes it.
pub(crate) fn binary(value: &Magnitude, scale: i8, shown: Shown, out: &mut BytesMut) {
    let (whole, zeros, fraction) = value.split(scale, shown);
    let decimals = zeros + fraction.len();
    let whole_len = whole.len() + appended(scale, whole);
    let whole_words = whole_len.div_ceil(4);
    let words = whole_words + decimals.div_ceil(4);
    // The digit at a place of the word grid: the whole part stands right-aligned, the fraction
    // left-aligned.
    let digit = |place: usize| -> u16 {
        let byte = if place < whole_words * 4 {
            let skipped = whole_words * 4 - whole_len;
            place.checked_sub(skipped).and_then(|i| whole.get(i))
        } else {
            (place - whole_words * 4).checked_sub(zeros).and_then(|i| fraction.get(i))
        };
        byte.map_or(0, |b| u16::from(b - b'0'))
    };
    let word = |i: usize| (0..4).fold(0u16, |sum, k| sum * 10 + digit(4 * i + k));
    let first = (0..words).find(|i| word(*i) != 0).unwrap_or(words);
    let end = (first..words).rev().find(|i| word(*i) != 0).map_or(first, |i| i + 1);
    let weight = if first == end { 0 } else { whole_words as i16 - 1 - first as i16 };
    out.put_i16((end - first) as i16);
    out.put_i16(weight);
    out.put_u16(if value.negative { 0x4000 } else { 0 });
    out.put_u16(decimals as u16);
    (first..end).for_each(|i| out.put_u16(word(i)));
}

/// A number as read: digits (values 0–9) and how many of them stand before the point (may be
/// negative, or more than there are).
#[derive(Debug, Default)]
pub(crate) struct Digits {
    pub(crate) negative: bool,
    pub(crate) digits: Vec<u8>,
    pub(crate) point: i64,
}

/// Reads decimal text, None if it is not a number. `scratch` is reused from value to value.
pub(crate) fn read_text(text: &[u8], into: &mut Digits) -> Option<()> {
    into.digits.clear();
    let (negative, text) = match text.first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    into.negative = negative;
    let (mut point, mut seen) = (None, 0usize);
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        match byte {
            b'0'..=b'9' => {
                seen += 1;
                into.digits.push(byte - b'0');
            }
            b'.' if point.is_none() => point = Some(seen as i64),
            b'e' | b'E' => {
                let exponent: i64 = std::str::from_utf8(tail).ok()?.parse().ok()?;
                into.point = point
                    .unwrap_or(seen as i64)
                    .saturating_add(exponent.clamp(-1_000_000, 1_000_000));
                return (seen > 0).then_some(());
            }
            _ => return None,
        }
        rest = tail;
    }
    into.point = point.unwrap_or(seen as i64);
    (seen > 0).then_some(())
}

/// Reads what `numeric_send` writes.
pub(crate) fn read_binary(value: &[u8], into: &mut Digits) -> Result<()> {
    let bad = || Error::new(SqlState::BadBinary, "invalid binary representation of type numeric");
    let word = |i: usize| {
        value.get(2 * i..2 * i + 2).map(|b| u16::from_be_bytes([b[0], b[1]])).ok_or_else(bad)
    };
    let (count, weight, sign) = (usize::from(word(0)?), word(1)? as i16, word(2)?);
    if value.len() != 8 + 2 * count {
        return Err(bad());
    }
    into.negative = match sign {
        0 => false,
        0x4000 => true,
        0xC000 | 0xD000 | 0xF000 => return Err(not_finite()),
        _ => return Err(bad()),
    };
    into.digits.clear();
    for i in 0..count {
        let word = word(4 + i)?;
        if word > 9_999 {
            return Err(bad());
        }
        into.digits
            .extend([word / 1000, word / 100 % 10, word / 10 % 10, word % 10].map(|d| d as u8));
    }
    into.point = (i64::from(weight) + 1) * 4;
    Ok(())
}

/// NaN and the infinities of NUMERIC, which a scaled integer cannot hold.
pub(crate) fn not_finite() -> Error {
    Error::unsupported("NaN and Infinity are not supported for type numeric")
        .hint("Use DOUBLE PRECISION, or NULL.")
}

impl Digits {
    /// Whether so many digits behind the point are enough for it.
    pub(crate) fn has_places(&self, places: i8) -> bool {
        let shown = usize::try_from(self.point.saturating_add(places.into())).unwrap_or(0);
        self.digits.iter().skip(shown).all(|digit| *digit == 0)
    }

    /// The number times 10^scale, rounded half away from zero; None if it has more than `precision`
    /// digits then.
    fn scaled(&self, precision: u8, scale: i8) -> Option<Scaled<'_>> {
        let leading = self.digits.iter().take_while(|d| **d == 0).count();
        let digits = &self.digits[leading..];
        if digits.is_empty() {
            return Some(Scaled { digits, zeros: 0, round_up: 0 });
        }
        let wanted = self.point - leading as i64 + i64::from(scale);
        if wanted > i64::from(precision) {
            return None;
        }
        if wanted < 0 {
            return Some(Scaled { digits: &[], zeros: 0, round_up: 0 });
        }
        let wanted = wanted as usize;
        let kept = &digits[..wanted.min(digits.len())];
        let round_up = u8::from(digits.get(wanted).is_some_and(|d| *d >= 5));
        Some(Scaled { digits: kept, zeros: wanted - kept.len(), round_up })
    }

    /// As the integer behind a Decimal128(precision, scale).
    pub(crate) fn to_i128(&self, precision: u8, scale: i8) -> Option<i128> {
        let scaled = self.scaled(precision, scale)?;
        let mut value = 0i128;
        for digit in scaled.digits {
            value = value.checked_mul(10)?.checked_add(i128::from(*digit))?;
        }
        for _ in 0..scaled.zeros {
            value = value.checked_mul(10)?;
        }
        value = value.checked_add(i128::from(scaled.round_up))?;
        let limit = 10i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
        (value < limit).then_some(if self.negative { -value } else { value })
    }

    /// As the integer behind a Decimal256(precision, scale).
    pub(crate) fn to_i256(&self, precision: u8, scale: i8) -> Option<i256> {
        let scaled = self.scaled(precision, scale)?;
        let ten = i256::from_i128(10);
        let mut value = i256::ZERO;
        for digit in scaled.digits {
            value = value.checked_mul(ten)?.checked_add(i256::from_i128(i128::from(*digit)))?;
        }
        for _ in 0..scaled.zeros {
            value = value.checked_mul(ten)?;
        }
        value = value.checked_add(i256::from_i128(i128::from(scaled.round_up)))?;
        let limit = ten.checked_pow(u32::from(precision)).unwrap_or(i256::MAX);
        if value >= limit {
            return None;
        }
        Some(if self.negative { value.wrapping_neg() } else { value })
    }
}

/// Digits, then zeros, then one more in the last place.
struct Scaled<'a> {
    digits: &'a [u8],
    zeros: usize,
    round_up: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text_in: &str, precision: u8, scale: i8, shown: Shown) -> (String, Vec<u8>) {
        let mut digits = Digits::default();
        read_text(text_in.as_bytes(), &mut digits).unwrap();
        let value = digits.to_i128(precision, scale).unwrap();
        let (mut t, mut b) = (BytesMut::new(), BytesMut::new());
        text(&Magnitude::of_i128(value), scale, shown, &mut t);
        binary(&Magnitude::of_i128(value), scale, shown, &mut b);
        read_binary(&b, &mut digits).unwrap();
        assert_eq!(digits.to_i128(precision, scale), Some(value), "{text_in}");
        assert_eq!(digits.to_i256(precision, scale), Some(i256::from_i128(value)), "{text_in}");
        (String::from_utf8(t.to_vec()).unwrap(), b.to_vec())
    }

    #[test]
    fn numbers_round_half_away_from_zero_and_keep_their_scale() {
        let check = |input, scale, expect: &str| {
            assert_eq!(round_trip(input, 38, scale, Shown::Fixed).0, expect);
        };
        check("1.005", 2, "1.01");
        check("-1.005", 2, "-1.01");
        check("0.004", 2, "0.00");
        check("9.995", 2, "10.00");
        check("1e3", 2, "1000.00");
        check("12345e-4", 3, "1.235");
        check("1250", -2, "1300");
        check("-.5", 1, "-0.5");
        check("00000000000000000000000000000000000000000000001", 0, "1");
        assert_eq!(round_trip("1.500", 38, 10, Shown::Free).0, "1.5");
        assert_eq!(round_trip("100", 38, 10, Shown::Free).0, "100");
    }

    #[test]
    fn the_binary_form_is_that_of_numeric_send() {
        // SELECT numeric_send('12345.678'), '-0.0001', '0.00', '10000'
        let check = |input, scale, expect: &[u8]| {
            assert_eq!(round_trip(input, 38, scale, Shown::Fixed).1, expect);
        };
        check("12345.678", 3, &[0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 9, 41, 26, 124]);
        check("-0.0001", 4, &[0, 1, 255, 255, 64, 0, 0, 4, 0, 1]);
        check("0.00", 2, &[0, 0, 0, 0, 0, 0, 0, 2]);
        check("10000", 0, &[0, 1, 0, 1, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn what_is_no_number_or_too_large_is_refused() {
        let mut digits = Digits::default();
        for bad in ["", ".", "-", "1e", "1.2.3", "abc", "1 2"] {
            assert!(read_text(bad.as_bytes(), &mut digits).is_none(), "{bad}");
        }
        read_text(b"99.995", &mut digits).unwrap();
        assert_eq!(digits.to_i128(4, 2), None);
        read_text(b"1e400", &mut digits).unwrap();
        assert_eq!(digits.to_i128(38, 0), None);
    }
}
