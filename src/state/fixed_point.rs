//! A fixed-point number as wide as the range of a double: it holds the sum of up to 2^63 of any
//! doubles.
//!
//! Sources: Kulisch, "Computer arithmetic and validity", 2008 (the accumulator); Neal, "Fast exact
//! summation using small and large superaccumulators", 2015.

/// Words of a [`FixedPoint`]: the bits of all doubles (2098), of a count (63), and a sign.
const WORDS: usize = 34;

/// A number in two's complement, in units of the smallest double, and how often NaN and the
/// infinities are in it.
#[derive(Clone, Debug, PartialEq)]
pub struct FixedPoint {
    words: [u64; WORDS],
    nan: i64,
    infinite: i64,
    minus_infinite: i64,
}

impl Default for FixedPoint {
    fn default() -> Self {
        FixedPoint { words: [0; WORDS], nan: 0, infinite: 0, minus_infinite: 0 }
    }
}

const FRACTION_BITS: usize = 52;
const FRACTION: u64 = (1 << FRACTION_BITS) - 1;
const EXPONENT: u64 = 0x7ff;

impl FixedPoint {
    /// Adds a value as many times; a negative number takes it out.
    pub fn add_times(&mut self, value: f64, times: i64) {
        if value.is_nan() {
            self.nan += times;
        } else if value == f64::INFINITY {
            self.infinite += times;
        } else if value == f64::NEG_INFINITY {
            self.minus_infinite += times;
        } else if value != 0.0 {
            let bits = value.to_bits();
            let (exponent, fraction) = ((bits >> FRACTION_BITS) & EXPONENT, bits & FRACTION);
            // Those of exponent 0 have no hidden bit and the same unit as those of exponent 1.
            let mantissa = if exponent == 0 { fraction } else { fraction | (1 << FRACTION_BITS) };
            let magnitude = u128::from(mantissa) * u128::from(times.unsigned_abs());
            let place = exponent.saturating_sub(1) as usize;
            self.add_at(place, magnitude, value.is_sign_negative() != (times < 0));
        }
    }

    /// Adds or takes `magnitude · 2^place`, a number of at most 117 bits.
    fn add_at(&mut self, place: usize, magnitude: u128, negative: bool) {
        let (first, shift) = (place / 64, place % 64);
        let low = magnitude << shift;
        let high = if shift == 0 { 0 } else { (magnitude >> (128 - shift)) as u64 };
        let parts = [low as u64, (low >> 64) as u64, high];
        let mut carry = false;
        for (i, word) in self.words[first..].iter_mut().enumerate() {
            let part = parts.get(i).copied().unwrap_or(0);
            if i >= parts.len() && !carry {
                break;
            }
            (*word, carry) = if negative {
                word.borrowing_sub(part, carry)
            } else {
                word.carrying_add(part, carry)
            };
        }
    }

    /// Adds another number.
    pub fn add(&mut self, other: &FixedPoint) {
        let mut carry = false;
        for (word, &more) in self.words.iter_mut().zip(&other.words) {
            (*word, carry) = word.carrying_add(more, carry);
        }
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.minus_infinite += other.minus_infinite;
    }

    /// Takes another number out.
    pub fn subtract(&mut self, other: &FixedPoint) {
        let mut borrow = false;
        for (word, &less) in self.words.iter_mut().zip(&other.words) {
            (*word, borrow) = word.borrowing_sub(less, borrow);
        }
        self.nan -= other.nan;
        self.infinite -= other.infinite;
        self.minus_infinite -= other.minus_infinite;
    }

    /// What NaN and the infinities make of the sum; 0 if there are none.
    pub fn special(&self) -> f64 {
        match (self.nan, self.infinite, self.minus_infinite) {
            (0, 0, 0) => 0.0,
            (0, _, 0) => f64::INFINITY,
            (0, 0, _) => f64::NEG_INFINITY,
            _ => f64::NAN,
        }
    }

    /// Rounded to the nearest double, ties to even.
    pub fn value(&self) -> f64 {
        let special = self.special();
        if special != 0.0 {
            return special;
        }
        let negative = self.words[WORDS - 1] >> 63 == 1;
        let mut words = self.words;
        if negative {
            let mut carry = true;
            for word in &mut words {
                (*word, carry) = (!*word).overflowing_add(u64::from(carry));
            }
        }
        let value = rounded(&words);
        if negative { -value } else { value }
    }

    /// Lowest word that is written, 0 to 33, or 64 more where the counts of NaN and the infinities
    /// come before the words; then the words, but for those above them that only repeat the sign.
    pub fn write(&self, out: &mut Vec<u8>) {
        let fill = if self.words[WORDS - 1] >> 63 == 1 { u64::MAX } else { 0 };
        let first = self.words.iter().position(|&word| word != 0).unwrap_or(0);
        let last = self.words.iter().rposition(|&word| word != fill).unwrap_or(0).max(first);
        // One more, if the highest bit does not say what is above.
        let end = if self.words[last] >> 63 == fill >> 63 { last } else { last + 1 };
        let has_counts = self.special() != 0.0;
        out.push(first as u8 | if has_counts { COUNTS } else { 0 });
        if has_counts {
            let counts = [self.nan, self.infinite, self.minus_infinite];
            counts.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
        }
        self.words[first..=end].iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }

    /// Reads what [`write`](Self::write) wrote; `None` if that is something else.
    pub fn read(bytes: &[u8]) -> Option<FixedPoint> {
        let (&head, bytes) = bytes.split_first()?;
        let (mut words, rest) = bytes.as_chunks::<8>();
        let mut fixed = FixedPoint::default();
        if head & COUNTS != 0 {
            let (counts, others) = words.split_first_chunk::<3>()?;
            let [nan, infinite, minus_infinite] = counts.map(i64::from_le_bytes);
            fixed = FixedPoint { nan, infinite, minus_infinite, ..fixed };
            words = others;
        }
        let first = usize::from(head & !COUNTS);
        let places = fixed.words.get_mut(first..)?;
        if !rest.is_empty() || words.is_empty() || words.len() > places.len() {
            return None;
        }
        let mut top = 0;
        for (to, word) in places.iter_mut().zip(words) {
            top = u64::from_le_bytes(*word);
            *to = top;
        }
        if top >> 63 == 1 {
            places[words.len()..].fill(u64::MAX);
        }
        Some(fixed)
    }
}

/// Bit of the first byte of a written [`FixedPoint`].
const COUNTS: u8 = 64;

/// A magnitude as the nearest double.
fn rounded(words: &[u64; WORDS]) -> f64 {
    let Some(top) = words.iter().rposition(|&word| word != 0) else { return 0.0 };
    let highest = top * 64 + 63 - words[top].leading_zeros() as usize;
    if highest <= FRACTION_BITS {
        // In units of the smallest double these are the bits themselves.
        return f64::from_bits(words[0]);
    }
    let lowest = highest - FRACTION_BITS;
    let (word, shift) = (lowest / 64, lowest % 64);
    let above = words.get(word + 1).copied().unwrap_or(0);
    let mantissa =
        if shift == 0 { words[word] } else { words[word] >> shift | above << (64 - shift) };
    let mantissa = mantissa & (FRACTION | 1 << FRACTION_BITS);
    if lowest as u64 >= EXPONENT - 1 {
        return f64::INFINITY;
    }
    // The hidden bit counts one up in the exponent, as does a mantissa that is rounded up to the
    // next power.
    let bits = ((lowest as u64) << FRACTION_BITS) + mantissa;
    let (half_word, half_bit) = ((lowest - 1) / 64, (lowest - 1) % 64);
    let half = words[half_word] >> half_bit & 1 == 1;
    let below = words[half_word] & ((1 << half_bit) - 1) != 0;
    let more = below || words[..half_word].iter().any(|&word| word != 0);
    f64::from_bits(bits + u64::from(half && (more || mantissa & 1 == 1)))
}
