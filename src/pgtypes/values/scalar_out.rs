//! Single values as Postgres text.
//!
//! Each function appends to a buffer and allocates nothing (but for large floats, rarely). The
//! formats are those of PostgreSQL 15 with its default settings (ISO dates, `postgres` intervals,
//! shortest floats): `float8out`, `timestamp_out`, `interval_out`, `byteaout`.

use bytes::{BufMut, BytesMut};

use super::ByteaOutput;
use crate::types::calendar::date_of;
use crate::types::zone::Zone;

/// Any integer.
pub(crate) fn integer<I: itoa::Integer>(value: I, out: &mut BytesMut) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A double: the shortest digits that read back the same; an exponent from 1e15 and below 1e-4.
pub(crate) fn float8(value: f64, out: &mut BytesMut) {
    if let Some(word) = special(value) {
        return out.put_slice(word);
    }
    let mut buffer = zmij::Buffer::new();
    let printed = buffer.format_finite(value);
    let between = |text: &str| is_halfway(text, value, [value.next_down(), value.next_up()]);
    if value.abs() >= 9_007_199_254_740_992.0 && between(printed) {
        let mut longer = (1..20).map(|n| format!("{value:.n$e}"));
        let nearer = longer.find(|text| text.parse() == Ok(value) && !between(text));
        return shortest(nearer.as_deref().unwrap_or(printed).as_bytes(), 15, out);
    }
    shortest(printed.as_bytes(), 15, out);
}

/// A real: as a double, but with an exponent from 1e6.
pub(crate) fn float4(value: f32, out: &mut BytesMut) {
    if let Some(word) = special(f64::from(value)) {
        return out.put_slice(word);
    }
    let mut buffer = zmij::Buffer::new();
    let printed = buffer.format_finite(value);
    let beside = [value.next_down(), value.next_up()].map(f64::from);
    let between = |text: &str| is_halfway(text, value.into(), beside);
    if value.abs() >= 16_777_216.0 && between(printed) {
        let mut longer = (1..20).map(|n| format!("{value:.n$e}"));
        let nearer = longer.find(|text| text.parse() == Ok(value) && !between(text));
        return shortest(nearer.as_deref().unwrap_or(printed).as_bytes(), 6, out);
    }
    shortest(printed.as_bytes(), 6, out);
}

/// Whether the decimal number stands exactly between a large float, which is a whole number, and
/// one beside it. Such a number reads back as the float, but only by the rule for ties; Postgres
/// writes one that is nearer.
#[cold]
fn is_halfway(printed: &str, value: f64, beside: [f64; 2]) -> bool {
    let mut digits = super::numeric::Digits::default();
    let whole = |v: f64| Some(v.abs() as u128).filter(|v| *v < 1 << 125);
    let Some(doubled) = super::numeric::read_text(printed.as_bytes(), &mut digits)
        .and_then(|()| digits.to_i128(38, 0))
        .and_then(|v| v.unsigned_abs().checked_mul(2))
    else {
        return false;
    };
    beside.iter().any(|other| Some(doubled) == whole(value).zip(whole(*other)).map(|(a, b)| a + b))
}

fn special(value: f64) -> Option<&'static [u8]> {
    match value {
        v if v.is_nan() => Some(b"NaN"),
        f64::INFINITY => Some(b"Infinity"),
        f64::NEG_INFINITY => Some(b"-Infinity"),
        _ => None,
    }
}

/// Rewrites a number from whatever notation it is in to Postgres's.
fn shortest(printed: &[u8], exponent_from: i32, out: &mut BytesMut) {
    let mut digits = [0u8; 32];
    let (mut count, mut point, mut exponent) = (0usize, None, 0i32);
    let mut bytes = printed.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'-' => out.put_u8(b'-'),
            b'.' => point = Some(count as i32),
            b'e' | b'E' => {
                exponent = std::str::from_utf8(bytes.as_slice())
                    .ok()
                    .and_then(|s| s.parse().ok())
                    .unwrap_or(0);
                break;
            }
            digit if count < digits.len() => {
                digits[count] = *digit;
                count += 1;
            }
            _ => {}
        }
    }
    let point = point.unwrap_or(count as i32) + exponent;
    let leading = digits[..count].iter().take_while(|d| **d == b'0').count();
    let trailing = digits[leading..count].iter().rev().take_while(|d| **d == b'0').count();
    let digits = &digits[leading..count - trailing];
    if digits.is_empty() {
        out.put_u8(b'0');
        return;
    }
    // The decimal exponent of the first digit.
    let first = point - leading as i32 - 1;
    if (-4..exponent_from).contains(&first) {
        plain(digits, first, out)
    } else {
        scientific(digits, first, out)
    }
}

fn plain(digits: &[u8], first: i32, out: &mut BytesMut) {
    if first < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', (-first - 1) as usize);
        out.put_slice(digits);
        return;
    }
    let whole = first as usize + 1;
    if digits.len() <= whole {
        out.put_slice(digits);
        out.put_bytes(b'0', whole - digits.len());
    } else {
        out.put_slice(&digits[..whole]);
        out.put_u8(b'.');
        out.put_slice(&digits[whole..]);
    }
}

fn scientific(digits: &[u8], first: i32, out: &mut BytesMut) {
    out.put_u8(digits[0]);
    if digits.len() > 1 {
        out.put_u8(b'.');
        out.put_slice(&digits[1..]);
    }
    out.put_slice(if first < 0 { b"e-" } else { b"e+" });
    let exponent = first.unsigned_abs();
    if exponent < 10 {
        out.put_u8(b'0');
    }
    integer(exponent, out);
}

/// Two digits.
fn two(value: u32, out: &mut BytesMut) {
    out.put_slice(&[b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]);
}

/// A year with at least four digits; the era comes after everything else.
fn year(year: i64, out: &mut BytesMut) {
    let year = if year > 0 { year } else { 1 - year };
    if year < 10_000 {
        two((year / 100) as u32, out);
        two((year % 100) as u32, out);
    } else {
        integer(year, out);
    }
}

fn era(year: i64, out: &mut BytesMut) {
    if year <= 0 {
        out.put_slice(b" BC");
    }
}

fn ymd(days: i64, out: &mut BytesMut) -> i64 {
    let (y, m, d) = date_of(days);
    year(y, out);
    out.put_u8(b'-');
    two(m, out);
    out.put_u8(b'-');
    two(d, out);
    y
}

/// A date, as days since 1970; the ends of the range are infinite.
pub(crate) fn date(days: i32, out: &mut BytesMut) {
    match days {
        i32::MAX => out.put_slice(b"infinity"),
        i32::MIN => out.put_slice(b"-infinity"),
        days => {
            let y = ymd(i64::from(days), out);
            era(y, out);
        }
    }
}

/// A fraction of a second with its point, without trailing zeros; `width` digits stand for a
/// second.
fn fraction(mut value: u64, width: usize, out: &mut BytesMut) {
    if value == 0 {
        return;
    }
    let mut digits = [b'0'; 9];
    for digit in digits[..width].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    let end = digits[..width].iter().rposition(|d| *d != b'0').map_or(0, |last| last + 1);
    out.put_u8(b'.');
    out.put_slice(&digits[..end]);
}

fn digits_of(per_second: i64) -> usize {
    per_second.ilog10() as usize
}

/// A time of day in ticks of `1 / per_second`.
pub(crate) fn time(ticks: i64, per_second: i64, out: &mut BytesMut) {
    let seconds = ticks.div_euclid(per_second);
    two((seconds / 3600) as u32, out);
    out.put_u8(b':');
    two((seconds / 60 % 60) as u32, out);
    out.put_u8(b':');
    two((seconds % 60) as u32, out);
    fraction(ticks.rem_euclid(per_second) as u64, digits_of(per_second), out);
}

/// A timestamp in ticks of `1 / per_second` since 1970; with a zone it is a moment, shown there
/// with its offset.
pub(crate) fn timestamp(ticks: i64, per_second: i64, zone: Option<&Zone>, out: &mut BytesMut) {
    match ticks {
        i64::MAX => return out.put_slice(b"infinity"),
        i64::MIN => return out.put_slice(b"-infinity"),
        _ => {}
    }
    let utc = ticks.div_euclid(per_second);
    let offset = zone.map(|zone| zone.offset_at(utc));
    let local = utc + i64::from(offset.unwrap_or(0));
    let y = ymd(local.div_euclid(86_400), out);
    out.put_u8(b' ');
    time(local.rem_euclid(86_400), 1, out);
    fraction(ticks.rem_euclid(per_second) as u64, digits_of(per_second), out);
    if let Some(offset) = offset {
        zone_offset(offset, out);
    }
    era(y, out);
}

fn zone_offset(offset: i32, out: &mut BytesMut) {
    out.put_u8(if offset < 0 { b'-' } else { b'+' });
    let offset = offset.unsigned_abs();
    two(offset / 3600, out);
    if !offset.is_multiple_of(3600) {
        out.put_u8(b':');
        two(offset / 60 % 60, out);
    }
    if !offset.is_multiple_of(60) {
        out.put_u8(b':');
        two(offset % 60, out);
    }
}

/// An interval in the `postgres` style: `1 year 2 mons -3 days +04:05:06.7`.
pub(crate) fn interval(months: i32, days: i32, nanos: i64, out: &mut BytesMut) {
    let mut style = IntervalStyle { empty: true, negative: false };
    style.part(months / 12, "year", out);
    style.part(months % 12, "mon", out);
    style.part(days, "day", out);
    if !style.empty && nanos == 0 {
        return;
    }
    if !style.empty {
        out.put_u8(b' ');
    }
    if nanos < 0 {
        out.put_u8(b'-');
    } else if style.negative {
        out.put_u8(b'+');
    }
    let nanos = nanos.unsigned_abs();
    let seconds = nanos / 1_000_000_000;
    let hours = seconds / 3600;
    if hours < 100 {
        two(hours as u32, out);
    } else {
        integer(hours, out);
    }
    out.put_u8(b':');
    two((seconds / 60 % 60) as u32, out);
    out.put_u8(b':');
    two((seconds % 60) as u32, out);
    fraction(nanos % 1_000_000_000, 9, out);
}

struct IntervalStyle {
    empty: bool,
    negative: bool,
}

impl IntervalStyle {
    /// A sign stands before a positive part only where the part before was negative.
    fn part(&mut self, value: i32, unit: &str, out: &mut BytesMut) {
        if value == 0 {
            return;
        }
        if !self.empty {
            out.put_u8(b' ');
        }
        if self.negative && value > 0 {
            out.put_u8(b'+');
        }
        integer(value, out);
        out.put_u8(b' ');
        out.put_slice(unit.as_bytes());
        if value != 1 {
            out.put_u8(b's');
        }
        self.negative = value < 0;
        self.empty = false;
    }
}

/// Bytes, as `\x…` or with octal escapes.
pub(crate) fn bytea(value: &[u8], style: ByteaOutput, out: &mut BytesMut) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match style {
        ByteaOutput::Hex => {
            out.reserve(2 + 2 * value.len());
            out.put_slice(b"\\x");
            for byte in value {
                out.put_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        ByteaOutput::Escape => {
            for byte in value {
                match byte {
                    b'\\' => out.put_slice(b"\\\\"),
                    0x20..=0x7e => out.put_u8(*byte),
                    _ => out.put_slice(&[
                        b'\\',
                        b'0' + (byte >> 6),
                        b'0' + (byte >> 3 & 7),
                        b'0' + (byte & 7),
                    ]),
                }
            }
        }
    }
}

/// A UUID with its dashes.
pub(crate) fn uuid(value: &[u8], out: &mut BytesMut) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (i, byte) in value.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.put_u8(b'-');
        }
        out.put_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// Microseconds of a tick count, None where it overflows; infinite stays infinite.
pub(crate) fn micros(ticks: i64, per_second: i64) -> Option<i64> {
    match ticks {
        i64::MAX | i64::MIN => Some(ticks),
        _ if per_second > 1_000_000 => Some(ticks.div_euclid(per_second / 1_000_000)),
        _ => ticks.checked_mul(1_000_000 / per_second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn doubles_are_written_as_float8out_writes_them() {
        let cases: &[(f64, &str)] = &[
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (1e14, "100000000000000"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1e20, "1e+20"),
            (1.25e-5, "1.25e-05"),
            (0.0001, "0.0001"),
            (1e100, "1e+100"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (1234.5678, "1234.5678"),
        ];
        for (value, expect) in cases {
            assert_eq!(text(|out| float8(*value, out)), *expect);
        }
        assert_eq!(text(|out| float4(1_234_567.0, out)), "1.234567e+06");
        assert_eq!(text(|out| float4(123_456.0, out)), "123456");
        assert_eq!(text(|out| float4(0.1, out)), "0.1");
    }

    #[test]
    fn intervals_are_written_in_the_postgres_style() {
        let check = |m, d, n, expect: &str| assert_eq!(text(|out| interval(m, d, n, out)), expect);
        check(0, 0, 0, "00:00:00");
        check(14, -3, 0, "1 year 2 mons -3 days");
        check(0, 1, 7_384_500_000_000, "1 day 02:03:04.5");
        check(0, -1, 7_384_500_000_000, "-1 days +02:03:04.5");
        check(-1, 1, -1_000_000_000, "-1 mons +1 day -00:00:01");
        check(0, 0, 360_000_000_000_000, "100:00:00");
        check(1, 0, 0, "1 mon");
    }

    #[test]
    fn timestamps_are_written_with_trimmed_fractions_eras_and_offsets() {
        let berlin = Zone::of_setting("Europe/Berlin").unwrap();
        let check = |micros, zone: Option<&Zone>, expect: &str| {
            assert_eq!(text(|out| timestamp(micros, 1_000_000, zone, out)), expect);
        };
        check(0, None, "1970-01-01 00:00:00");
        check(-1, None, "1969-12-31 23:59:59.999999");
        check(1_500_000, None, "1970-01-01 00:00:01.5");
        check(0, Some(&Zone::Utc), "1970-01-01 00:00:00+00");
        check(0, Some(&Zone::Fixed(19_800)), "1970-01-01 05:30:00+05:30");
        check(1_720_000_000_000_000, Some(&berlin), "2024-07-03 11:46:40+02");
        check(-62_135_596_800_000_001, None, "0001-12-31 23:59:59.999999 BC");
        check(253_402_300_800_000_000, None, "10000-01-01 00:00:00");
        check(i64::MAX, None, "infinity");
    }
}
