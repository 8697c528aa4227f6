//! Patterns of numbers: `9G999D99`, with what their pieces say together (Postgres manual, 9.8).

use std::sync::Arc;

use crate::error::{Error, Result, SqlState};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DigitKey {
    Comma,
    Point,
    Zero,
    Nine,
    Exponent,
    Fill,
    Currency,
    Minus,
    Plus,
    Bracket,
    Roman,
    RomanLower,
    BothSigns,
    Sign,
    Th,
    ThLower,
    Shift,
    Nothing,
}

/// What is written in capitals or in small letters.
const KEYS: [(&str, DigitKey); 20] = [
    (",", DigitKey::Comma),
    (".", DigitKey::Point),
    ("0", DigitKey::Zero),
    ("9", DigitKey::Nine),
    ("B", DigitKey::Nothing),
    ("C", DigitKey::Nothing),
    ("D", DigitKey::Point),
    ("EEEE", DigitKey::Exponent),
    ("FM", DigitKey::Fill),
    ("G", DigitKey::Comma),
    ("L", DigitKey::Currency),
    ("MI", DigitKey::Minus),
    ("PL", DigitKey::Plus),
    ("PR", DigitKey::Bracket),
    ("RN", DigitKey::Roman),
    ("SG", DigitKey::BothSigns),
    ("SP", DigitKey::Nothing),
    ("S", DigitKey::Sign),
    ("TH", DigitKey::Th),
    ("V", DigitKey::Shift),
];

pub(super) enum DigitPiece {
    Key(DigitKey),
    Literal(char),
}

/// Where the sign of `S` is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SignPlace {
    None,
    Before,
    Behind,
}

/// A pattern and what its pieces say together.
#[derive(Clone)]
pub(super) struct DigitPattern {
    pub(super) pieces: Arc<[DigitPiece]>,
    /// Digits before the point, behind it, and those that the number is shifted by.
    pub(super) before: usize,
    pub(super) behind: usize,
    pub(super) shift: usize,
    /// Where the first 0 stands, and behind which digit the last one does.
    pub(super) zero_start: usize,
    pub(super) zero_end: usize,
    pub(super) sign: SignPlace,
    /// Digits before the `S`.
    pub(super) before_sign: usize,
    /// Each once, however often it is there.
    has: Vec<DigitKey>,
}

fn syntax(what: &str) -> Error {
    Error::new(SqlState::Syntax, what)
}

impl DigitPattern {
    pub(super) fn has(&self, key: DigitKey) -> bool {
        self.has.contains(&key)
    }

    pub(super) fn has_any(&self, keys: &[DigitKey]) -> bool {
        keys.iter().any(|key| self.has(*key))
    }

    pub(super) fn is_free(&self) -> bool {
        self.has(DigitKey::Fill)
    }

    pub(super) fn parse(text: &str) -> Result<DigitPattern> {
        let mut pattern = DigitPattern {
            pieces: Arc::default(),
            before: 0,
            behind: 0,
            shift: 0,
            zero_start: 0,
            zero_end: 0,
            sign: SignPlace::None,
            before_sign: 0,
            has: Vec::new(),
        };
        let (mut rest, mut pieces) = (text, Vec::new());
        while let Some(first) = rest.chars().next() {
            let upper = KEYS.iter().find(|(name, _)| rest.starts_with(name));
            let lower =
                || KEYS.iter().find(|(name, _)| rest.starts_with(&name.to_ascii_lowercase()));
            if let Some((name, key)) = upper.or_else(lower) {
                let key = match key {
                    DigitKey::Roman if upper.is_none() => DigitKey::RomanLower,
                    DigitKey::Th if upper.is_none() => DigitKey::ThLower,
                    key => *key,
                };
                pattern.add(key)?;
                pieces.push(DigitPiece::Key(key));
                rest = &rest[name.len()..];
            } else if first == '"' {
                let (inner, behind) = quoted(&rest[1..]);
                pieces.extend(inner.chars().map(DigitPiece::Literal));
                rest = behind;
            } else {
                let literal = if rest.starts_with("\\\"") { '"' } else { first };
                pieces.push(DigitPiece::Literal(literal));
                rest = &rest[if literal == first { first.len_utf8() } else { 2 }..];
            }
        }
        pattern.pieces = pieces.into();
        Ok(pattern)
    }

    fn add(&mut self, key: DigitKey) -> Result<()> {
        use DigitKey as K;
        const SIGNS: [DigitKey; 4] = [K::Plus, K::Minus, K::BothSigns, K::Bracket];
        if self.has(K::Exponent) {
            return Err(syntax("\"EEEE\" must be the last pattern used"));
        }
        let together = |other: &str, one: &str| {
            Err(syntax(&format!("cannot use \"{one}\" and {other} together")))
        };
        match key {
            K::Nine | K::Zero if self.has(K::Bracket) => {
                let digit = if key == K::Nine { '9' } else { '0' };
                return Err(syntax(&format!("\"{digit}\" must be ahead of \"PR\"")));
            }
            K::Nine if self.has(K::Shift) => self.shift += 1,
            K::Nine | K::Zero => {
                let is_behind = self.has(K::Point);
                if key == K::Zero && !self.has(K::Zero) && !is_behind {
                    self.zero_start = self.before + 1;
                }
                *if is_behind { &mut self.behind } else { &mut self.before } += 1;
                if key == K::Zero {
                    self.zero_end = self.before + self.behind;
                    // Behind the point a 0 keeps digits, but begins nothing.
                    if is_behind {
                        return Ok(());
                    }
                }
            }
            K::Point if self.has(K::Point) => return Err(syntax("multiple decimal points")),
            K::Point | K::Shift if self.has_any(&[K::Point, K::Shift]) && !self.has(key) => {
                return Err(syntax("cannot use \"V\" and decimal point together"));
            }
            K::Sign if self.has(K::Sign) => return Err(syntax("cannot use \"S\" twice")),
            K::Sign if self.has_any(&SIGNS) => {
                return together("\"PL\"/\"MI\"/\"SG\"/\"PR\"", "S");
            }
            K::Sign if !self.has(K::Point) => {
                (self.sign, self.before_sign) = (SignPlace::Before, self.before);
            }
            K::Sign => self.sign = SignPlace::Behind,
            K::Minus if self.has(K::Sign) => return together("\"MI\"", "S"),
            K::Plus if self.has(K::Sign) => return together("\"PL\"", "S"),
            K::BothSigns if self.has(K::Sign) => return together("\"SG\"", "S"),
            K::Bracket if self.has_any(&[K::Sign, K::Plus, K::Minus, K::BothSigns]) => {
                return together("\"S\"/\"PL\"/\"MI\"/\"SG\"", "PR");
            }
            K::Exponent => {
                let others = [K::Fill, K::Sign, K::Roman, K::RomanLower, K::Shift];
                if self.has_any(&others) || self.has_any(&SIGNS) {
                    return Err(syntax("\"EEEE\" is incompatible with other formats").detail(
                        "\"EEEE\" may only be used together with digit and decimal point patterns.",
                    ));
                }
            }
            _ => {}
        }
        if !self.has(key) {
            self.has.push(key);
        }
        Ok(())
    }

    pub(super) fn is_roman(&self) -> bool {
        self.has_any(&[DigitKey::Roman, DigitKey::RomanLower])
    }
}

/// What stands in double quotes, and what behind them.
pub(super) fn quoted(rest: &str) -> (String, &str) {
    let (mut inner, mut chars) = (String::new(), rest.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => inner.push(chars.next().unwrap_or(c)),
            c => inner.push(c),
        }
    }
    (inner, chars.as_str())
}
