//! Numbers read by patterns: `to_number('1,234.5', '9G999D9')` (Postgres manual, 9.8).

use super::digit_pattern::{DigitKey, DigitPattern, DigitPiece, SignPlace};
use super::forms::{Form, ok, strict};
use crate::error::{Error, Result, SqlState};

pub(super) fn forms() -> Vec<Form> {
    vec![strict("to_number(text, text) numeric", |a| ok(read(a.text(0), a.text(1))?))]
}

/// The number that a text in this pattern says, as text; NULL by an empty pattern.
fn read(text: &str, pattern: &str) -> Result<Option<String>> {
    if pattern.is_empty() {
        return Ok(None);
    }
    let pattern = DigitPattern::parse(pattern)?;
    for (key, name) in [(DigitKey::Exponent, "EEEE"), (DigitKey::Roman, "RN")] {
        if pattern.has(key) || key == DigitKey::Roman && pattern.is_roman() {
            return Err(Error::unsupported(format!("\"{name}\" not supported for input")));
        }
    }
    let mut reader = NumberReader {
        pattern: &pattern,
        rest: text,
        sign: ' ',
        digits: String::new(),
        before: 0,
        behind: None,
    };
    reader.walk();
    let NumberReader { sign, digits, .. } = reader;
    let digits = digits.trim_end_matches('.');
    if digits.is_empty() {
        let what = format!("invalid input syntax for type numeric: \"{sign}\"");
        return Err(Error::new(SqlState::BadText, what));
    }
    let sign = if sign == '-' { "-" } else { "" };
    if pattern.shift == 0 {
        return Ok(Some(format!("{sign}{digits}")));
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let padded = format!("{whole:0>width$}", width = pattern.shift + 1);
    let (whole, shifted) = padded.split_at(padded.len() - pattern.shift);
    Ok(Some(format!("{sign}{whole}.{shifted}{fraction}")))
}

/// Walks a pattern with a text that is to be read.
struct NumberReader<'p> {
    pattern: &'p DigitPattern,
    rest: &'p str,
    sign: char,
    digits: String,
    /// Digits that have been read, before the point and, if it has been, behind it.
    before: usize,
    behind: Option<usize>,
}

impl NumberReader<'_> {
    fn next_is(&self, wanted: char) -> bool {
        self.rest.starts_with(wanted)
    }

    fn skip(&mut self) {
        let mut chars = self.rest.chars();
        chars.next();
        self.rest = chars.as_str();
    }

    /// Takes away so many characters that no number has.
    fn skip_other(&mut self, count: usize) {
        for _ in 0..count {
            if self.rest.starts_with(|c: char| c.is_ascii_digit() || ".,+-".contains(c)) {
                return;
            }
            self.skip();
        }
    }

    fn walk(&mut self) {
        for piece in self.pattern.pieces.iter() {
            if self.rest.is_empty() {
                return;
            }
            let key = match piece {
                DigitPiece::Literal(_) => {
                    self.skip();
                    continue;
                }
                DigitPiece::Key(key) => *key,
            };
            match key {
                DigitKey::Nine | DigitKey::Zero | DigitKey::Point => {
                    self.digit(key);
                    // Whatever stands there is of this piece.
                    self.skip();
                }
                DigitKey::Comma if self.next_is(',') && !self.pattern.is_free() => self.skip(),
                DigitKey::Currency => self.skip_other(1),
                DigitKey::Th | DigitKey::ThLower if !self.pattern.has(DigitKey::Point) => {
                    self.skip_other(2);
                }
                DigitKey::Minus | DigitKey::Plus | DigitKey::BothSigns => {
                    let sign = self.rest.chars().next().filter(|sign| match key {
                        DigitKey::Minus => *sign == '-',
                        DigitKey::Plus => *sign == '+',
                        _ => matches!(sign, '-' | '+'),
                    });
                    match sign {
                        Some(sign) => {
                            self.sign = sign;
                            self.skip();
                        }
                        None => self.skip_other(1),
                    }
                }
                _ => {}
            }
        }
    }

    fn read_count(&self) -> usize {
        self.before + self.behind.unwrap_or(0)
    }

    fn digit(&mut self, key: DigitKey) {
        let has_sign = self.pattern.has(DigitKey::Sign);
        if self.next_is(' ') {
            self.skip();
        }
        if self.sign == ' ' && key != DigitKey::Point && self.read_count() == 0 {
            let found = match self.rest.chars().next() {
                Some(sign @ ('-' | '+')) => {
                    (!has_sign || self.pattern.sign == SignPlace::Before).then_some(sign)
                }
                Some('<') => self.pattern.has(DigitKey::Bracket).then_some('-'),
                _ => None,
            };
            if let Some(sign) = found {
                self.sign = sign;
                self.skip();
            }
        }
        let mut is_read = false;
        match self.rest.chars().next() {
            Some(digit @ '0'..='9') => {
                if self.behind == Some(self.pattern.behind) {
                    return;
                }
                self.digits.push(digit);
                *self.behind.as_mut().unwrap_or(&mut self.before) += 1;
                is_read = true;
            }
            Some('.') if self.pattern.has(DigitKey::Point) && self.behind.is_none() => {
                self.digits.push('.');
                self.behind = Some(0);
                is_read = true;
            }
            None => return,
            _ => {}
        }
        if self.sign != ' ' || self.read_count() == 0 {
            return;
        }
        if has_sign && is_read {
            // The sign stands behind the last digit; whoever called skips it.
            if let Some(sign @ ('-' | '+')) = self.rest.chars().nth(1) {
                self.sign = sign;
                self.skip();
            }
        } else if !is_read
            && !has_sign
            && self.pattern.has_any(&[DigitKey::Plus, DigitKey::Minus, DigitKey::BothSigns])
            && let Some(sign @ ('-' | '+')) = self.rest.chars().next()
        {
            self.sign = sign;
        }
    }
}
