//! Numbers written by patterns: `to_char(1234.5, '9G999D99')` (Postgres manual, 9.8).
//!
//! A pattern is walked piece by piece, and each piece writes or reads what is its own. What a piece
//! does depends on how far the number has come, not on the piece alone: signs stand before the first
//! digit that is written, blanks where the number has no digits yet.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::DataType;

use super::digit_pattern::{DigitKey, DigitPattern, DigitPiece, SignPlace};
use super::form_values::{ArgumentColumn, ArgumentsOf};
use super::forms::{Form, over};
use super::recent::Recent;
use super::text::Budget;
use crate::error::{Error, Result, SqlState};

pub(super) fn forms() -> Vec<Form> {
    vec![
        over("to_char(int, text) text", to_char),
        over("to_char(bigint, text) text", to_char),
        over("to_char(numeric, text) text", to_char),
        over("to_char(double, text) text", to_char),
        over("to_char(real, text) text", to_char),
    ]
}

/// A pattern is read once as long as it stays the same.
fn to_char(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let of = args[0].data_type();
    let is_one = args[1].len() == 1;
    let columns = [ArgumentColumn::new(&args[0], false)?, ArgumentColumn::new(&args[1], is_one)?];
    let mut patterns = Recent::default();
    let (mut out, mut budget) = (StringBuilder::new(), Budget::default());
    for at in 0..rows {
        let row = ArgumentsOf { columns: &columns, at };
        if row.is_null(0) || row.is_null(1) {
            out.append_null();
            continue;
        }
        let digits;
        let number = match of {
            DataType::Int32 => PatternNumber::Int(row.int(0)),
            DataType::Int64 => {
                digits = row.int(0).to_string();
                PatternNumber::Decimal(&digits)
            }
            DataType::Float32 => PatternNumber::Float(row.double(0), REAL_DIGITS),
            DataType::Float64 => PatternNumber::Float(row.double(0), DOUBLE_DIGITS),
            _ => PatternNumber::Decimal(row.text(0)),
        };
        let pattern = patterns.of(row.text(1), |text| DigitPattern::parse(text))?;
        let shown = shown(&number, pattern.clone())?;
        budget.add(shown.len())?;
        out.append_value(shown);
    }
    Ok(Arc::new(out.finish()))
}

/// Decimal digits that a float holds for certain.
const DOUBLE_DIGITS: usize = 15;
const REAL_DIGITS: usize = 6;

/// A number as its type has it.
enum PatternNumber<'a> {
    Int(i64),
    Decimal(&'a str),
    /// With so many digits.
    Float(f64, usize),
}

/// A decimal's text with so many digits behind the point, which is moved first; halves go away from
/// zero.
fn rounded(text: &str, behind: usize, shift: usize) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return text.to_owned();
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut all: Vec<u8> =
        std::iter::once(b'0').chain(whole.bytes()).chain(fraction.bytes()).collect();
    let end = 1 + whole.len() + shift + behind;
    all.resize(all.len().max(end + 1), b'0');
    if all[end] >= b'5' {
        let nines = all[..end].iter().rev().take_while(|digit| **digit == b'9').count();
        all[end - nines..end].fill(b'0');
        all[end - nines - 1] += 1;
    }
    all.truncate(end);
    let text: String = all.into_iter().map(char::from).collect();
    let (whole, fraction) = text.split_at(text.len() - behind);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if text.bytes().all(|digit| digit == b'0') { "" } else { sign };
    let point = if behind > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

/// `1.23e+04`; nothing if it is not finite.
fn scientific(number: &PatternNumber<'_>, behind: usize) -> Option<String> {
    let float = |number: f64| {
        let text = format!("{number:.behind$e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let exponent: i32 = exponent.parse().ok()?;
        let sign = if exponent < 0 { '-' } else { '+' };
        Some(format!("{mantissa}e{sign}{:02}", exponent.abs()))
    };
    match number {
        PatternNumber::Float(number, _) => number.is_finite().then(|| float(*number))?,
        PatternNumber::Int(number) => float(*number as f64),
        PatternNumber::Decimal(text) => {
            let (sign, digits) = text.strip_prefix('-').map_or(("", *text), |rest| ("-", rest));
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            let all = format!("{whole}{fraction}");
            let lead = all.find(|c| c != '0').unwrap_or(whole.len().saturating_sub(1));
            let exponent = whole.len() as i64 - 1 - lead as i64;
            let significand = format!("{sign}{}.{}", all.get(lead..=lead)?, &all[lead + 1..]);
            if !digits.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            let mark = if exponent < 0 { '-' } else { '+' };
            Some(format!("{}e{mark}{:02}", rounded(&significand, behind, 0), exponent.abs()))
        }
    }
}

fn roman(number: i64) -> String {
    const PARTS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..=3999).contains(&number) {
        return "#".repeat(15);
    }
    let (mut out, mut rest) = (String::new(), number);
    for (value, sign) in PARTS {
        out.push_str(&sign.repeat((rest / value) as usize));
        rest %= value;
    }
    out
}

/// A number as the pattern says.
fn shown(number: &PatternNumber<'_>, mut pattern: DigitPattern) -> Result<String> {
    if pattern.is_roman() {
        let whole = match number {
            PatternNumber::Int(number) => *number,
            PatternNumber::Decimal(text) => rounded(text, 0, 0).parse().unwrap_or(i64::MAX),
            PatternNumber::Float(number, _) => number.round_ties_even() as i64,
        };
        if i32::try_from(whole).is_err() {
            return Err(Error::new(SqlState::OutOfRange, "integer out of range"));
        }
        return Ok(Writer::new(&pattern, roman(whole), ' ', 0).written());
    }
    if pattern.has(DigitKey::Exponent) {
        return Ok(match scientific(number, pattern.behind) {
            Some(text) if text.starts_with('-') => text,
            Some(text) => format!(" {text}"),
            None => {
                format!(" {}.{}", "#".repeat(pattern.before), "#".repeat(pattern.behind + 4))
            }
        });
    }
    let text = match number {
        PatternNumber::Int(number) => rounded(&number.to_string(), pattern.behind, pattern.shift),
        PatternNumber::Decimal(text) => rounded(text, pattern.behind, pattern.shift),
        PatternNumber::Float(number, digits) => {
            let number = number * 10f64.powi(pattern.shift as i32);
            let whole = format!("{:.0}", number.abs()).len();
            pattern.behind = pattern.behind.min(digits.saturating_sub(whole));
            match number {
                number if number.is_nan() => "NaN".to_owned(),
                number if number.is_infinite() && number < 0.0 => "-Infinity".to_owned(),
                number if number.is_infinite() => "Infinity".to_owned(),
                number => format!("{number:.*}", pattern.behind),
            }
        }
    };
    pattern.before += pattern.shift;
    let (sign, digits) = text.strip_prefix('-').map_or(('+', text.as_str()), |rest| ('-', rest));
    let whole = digits.find('.').unwrap_or(digits.len());
    let digits = if whole > pattern.before {
        format!("{}.{}", "#".repeat(pattern.before), "#".repeat(pattern.behind))
    } else {
        digits.to_owned()
    };
    let spaces = pattern.before.saturating_sub(whole);
    Ok(Writer::new(&pattern, digits, sign, spaces).written())
}

/// Walks a pattern with a number that is to be written.
struct Writer<'p> {
    pattern: &'p DigitPattern,
    /// Without its sign.
    number: Vec<u8>,
    /// How far it has been written.
    at: usize,
    sign: char,
    sign_place: SignPlace,
    has_bracket: bool,
    is_signed: bool,
    /// Digits of the pattern that the number has none for.
    spaces: usize,
    /// Digits of the pattern, and how many have come by.
    count: usize,
    current: usize,
    /// The last digit that is written without a fill.
    last: Option<usize>,
    zero_start: usize,
    is_within: bool,
    out: String,
}

impl<'p> Writer<'p> {
    fn new(pattern: &'p DigitPattern, number: String, sign: char, spaces: usize) -> Writer<'p> {
        use DigitKey as K;
        let number = number.into_bytes();
        let is_roman = pattern.is_roman();
        let mut has_bracket = pattern.has(K::Bracket) && !is_roman;
        let mut sign_place = if is_roman { SignPlace::None } else { pattern.sign };
        let is_signed = if pattern.has_any(&[K::Plus, K::Minus, K::BothSigns]) {
            pattern.has_any(&[K::Minus, K::BothSigns])
        } else {
            has_bracket &= sign == '-' || !pattern.is_free();
            if sign_place == SignPlace::Before && pattern.before == pattern.before_sign {
                sign_place = SignPlace::Behind;
            }
            sign == '+'
                && pattern.is_free()
                && sign_place == SignPlace::None
                && !pattern.has(K::Sign)
        };
        let point = number.iter().position(|byte| *byte == b'.');
        let mut last = point.filter(|_| pattern.is_free() && pattern.has(K::Point)).map(|point| {
            let relevant = number[point..].iter().rposition(|digit| *digit != b'0');
            point + relevant.unwrap_or(0)
        });
        if let Some(relevant) = &mut last
            && pattern.zero_end > spaces
        {
            *relevant = (*relevant).max((number.len() - 1).min(pattern.zero_end - spaces));
        }
        let digits = pattern.before + pattern.behind;
        Writer {
            pattern,
            number,
            at: 0,
            sign,
            sign_place,
            has_bracket,
            is_signed,
            spaces,
            count: (digits + usize::from(!is_signed && spaces == 0)).wrapping_sub(1),
            current: 0,
            last,
            zero_start: pattern.zero_start.saturating_sub(1),
            is_within: false,
            out: String::new(),
        }
    }

    fn written(mut self) -> String {
        let is_free = self.pattern.is_free();
        for piece in self.pattern.pieces.iter() {
            let key = match piece {
                DigitPiece::Literal(c) => {
                    self.out.push(*c);
                    continue;
                }
                DigitPiece::Key(key) => *key,
            };
            let signed = |is_there: bool, sign: char| {
                if is_there { Some(sign) } else { (!is_free).then_some(' ') }
            };
            let one = match key {
                DigitKey::Nine | DigitKey::Zero | DigitKey::Point => {
                    self.digit(key);
                    None
                }
                DigitKey::Comma => signed(self.is_within, ','),
                DigitKey::Currency => Some(' '),
                DigitKey::Minus => signed(self.sign == '-', '-'),
                DigitKey::Plus => signed(self.sign == '+', '+'),
                DigitKey::BothSigns => Some(self.sign),
                DigitKey::Roman | DigitKey::RomanLower => {
                    let mut text = String::from_utf8_lossy(&self.number).into_owned();
                    if key == DigitKey::RomanLower {
                        text.make_ascii_lowercase();
                    }
                    // A String takes everything.
                    let _ = write!(self.out, "{text:>0$}", if is_free { 0 } else { 15 });
                    None
                }
                DigitKey::Th | DigitKey::ThLower => {
                    self.ordinal(key == DigitKey::Th);
                    None
                }
                _ => None,
            };
            self.out.extend(one);
        }
        self.out
    }

    fn ordinal(&mut self, is_upper: bool) {
        let is_plain = self.number.first() != Some(&b'#')
            && self.sign != '-'
            && !self.pattern.has(DigitKey::Point)
            && !self.pattern.is_roman();
        if is_plain {
            let ending = ordinal_ending(&String::from_utf8_lossy(&self.number));
            self.out.push_str(&if is_upper { ending.to_uppercase() } else { ending.to_owned() });
        }
    }

    /// Whether this is the zero before the point that a pattern of nines leaves blank.
    fn is_blank_zero(&self) -> bool {
        let has_zero = self.pattern.has(DigitKey::Zero);
        !has_zero && self.at == 0 && self.number.first() == Some(&b'0') && self.pattern.behind > 0
    }

    fn ends_at_point(&self) -> bool {
        self.last.is_some_and(|last| self.number.get(last) == Some(&b'.'))
    }

    fn digit(&mut self, key: DigitKey) {
        if self.pattern.is_roman() {
            return;
        }
        self.is_within = false;
        let is_free = self.pattern.is_free();
        let has_zero = self.pattern.has(DigitKey::Zero);
        let begins = self.current >= self.spaces || has_zero && self.zero_start == self.current;
        if !self.is_signed && begins && (!self.is_blank_zero() || self.ends_at_point()) {
            self.signed();
        }
        if self.current < self.spaces && (!has_zero || self.zero_start > self.current) {
            self.out.extend((!is_free).then_some(' '));
        } else if self.current < self.spaces {
            self.out.push('0');
            self.is_within = true;
        } else {
            self.number_digit(key, is_free);
        }
        let has_point = self.pattern.has(DigitKey::Point);
        let mut end =
            self.count.wrapping_add(usize::from(self.spaces > 0) + usize::from(has_point));
        if self.last == Some(self.at) {
            end = self.current;
        }
        if self.current.wrapping_add(1) == end {
            if self.is_signed && self.has_bracket {
                self.out.push(if self.sign == '+' { ' ' } else { '>' });
            } else if self.sign_place == SignPlace::Behind {
                self.out.push(self.sign);
            }
        }
        self.current += 1;
    }

    fn signed(&mut self) {
        if self.pattern.has(DigitKey::Sign) {
            if self.sign_place == SignPlace::Before {
                self.out.push(self.sign);
                self.is_signed = true;
            }
            return;
        }
        let sign = match (self.has_bracket, self.sign) {
            (true, '+') => Some(' '),
            (true, _) => Some('<'),
            (false, '+') => (!self.pattern.is_free()).then_some(' '),
            (false, sign) => Some(sign),
        };
        self.out.extend(sign);
        self.is_signed = true;
    }

    fn number_digit(&mut self, key: DigitKey, is_free: bool) {
        let Some(digit) = self.number.get(self.at).copied() else { return };
        if digit == b'.' {
            if !self.ends_at_point() || is_free {
                self.out.push('.');
            }
        } else if self.last.is_some_and(|last| self.at > last) && key != DigitKey::Zero {
            // A zero at the end that is not asked for.
        } else if self.is_blank_zero() {
            if !is_free {
                self.out.push(' ');
            } else if self.ends_at_point() {
                self.out.push('0');
            }
        } else {
            self.out.push(char::from(digit));
            self.is_within = true;
        }
        self.at += 1;
    }
}

/// What stands behind the number of an ordinal.
pub(super) fn ordinal_ending(digits: &str) -> &'static str {
    let mut last = digits.bytes().rev();
    match (last.next(), last.next()) {
        (_, Some(b'1')) => "th",
        (Some(b'1'), _) => "st",
        (Some(b'2'), _) => "nd",
        (Some(b'3'), _) => "rd",
        _ => "th",
    }
}
