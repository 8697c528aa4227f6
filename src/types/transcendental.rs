//! Roots, powers, exponentials and logarithms of decimals.
//!
//! Postgres computes them to 16 significant digits at the least and to no fewer places than the
//! operands show; here they are computed in pairs of doubles, which hold about 31 digits, and rounded
//! where Postgres rounds. Where a power is exact and has room, it is exact here too.

use arrow::datatypes::i256;

use super::decimal::{Decimal, DecimalError, MAX_SCALE, multiplied};

/// Significant digits of a result, at the least.
const SIGNIFICANT: i32 = 16;

/// Why a function has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undefined {
    /// More digits than a decimal holds.
    Overflow,
    DivisionByZero,
    RootOfNegative,
    LogOfZero,
    LogOfNegative,
    ZeroToNegative,
    NegativeToFraction,
}

impl From<DecimalError> for Undefined {
    fn from(error: DecimalError) -> Undefined {
        match error {
            DecimalError::DivisionByZero => Undefined::DivisionByZero,
            DecimalError::Overflow => Undefined::Overflow,
        }
    }
}

/// The sum of two doubles of which the second is less than half a unit in the last place of the first.
#[derive(Debug, Clone, Copy)]
struct DoublePair {
    high: f64,
    low: f64,
}

const LN_2: DoublePair =
    DoublePair { high: std::f64::consts::LN_2, low: 2.319_046_813_846_299_6e-17 };
const ONE: DoublePair = DoublePair { high: 1.0, low: 0.0 };

impl DoublePair {
    fn of(value: f64) -> DoublePair {
        DoublePair { high: value, low: 0.0 }
    }

    /// Of any two doubles.
    fn sum(a: f64, b: f64) -> DoublePair {
        let high = a + b;
        let part = high - a;
        DoublePair { high, low: (a - (high - part)) + (b - part) }
    }

    /// Of two doubles the first of which is the larger.
    fn settled(a: f64, b: f64) -> DoublePair {
        let high = a + b;
        DoublePair { high, low: b - (high - a) }
    }

    fn product(a: f64, b: f64) -> DoublePair {
        let high = a * b;
        DoublePair { high, low: a.mul_add(b, -high) }
    }

    fn plus(self, other: DoublePair) -> DoublePair {
        let (high, low) =
            (DoublePair::sum(self.high, other.high), DoublePair::sum(self.low, other.low));
        let settled = DoublePair::settled(high.high, high.low + low.high);
        DoublePair::settled(settled.high, settled.low + low.low)
    }

    fn negated(self) -> DoublePair {
        DoublePair { high: -self.high, low: -self.low }
    }

    fn minus(self, other: DoublePair) -> DoublePair {
        self.plus(other.negated())
    }

    fn times(self, other: DoublePair) -> DoublePair {
        let product = DoublePair::product(self.high, other.high);
        DoublePair::settled(
            product.high,
            product.low + (self.high * other.low + self.low * other.high),
        )
    }

    fn over(self, other: DoublePair) -> DoublePair {
        let first = self.high / other.high;
        let rest = self.minus(other.times(DoublePair::of(first)));
        let second = rest.high / other.high;
        let rest = rest.minus(other.times(DoublePair::of(second)));
        DoublePair::settled(first, second).plus(DoublePair::of(rest.high / other.high))
    }

    /// By a power of two.
    fn scaled(self, by: f64) -> DoublePair {
        DoublePair { high: self.high * by, low: self.low * by }
    }

    fn whole_power(self, mut exponent: u32) -> DoublePair {
        let (mut result, mut square) = (ONE, self);
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = result.times(square);
            }
            exponent >>= 1;
            if exponent > 0 {
                square = square.times(square);
            }
        }
        result
    }

    fn from_decimal(number: Decimal) -> DoublePair {
        let mut rest = number.value;
        let mut whole = DoublePair::of(0.0);
        // In parts that a double holds exactly.
        let part = i256::from_i128(1 << 50);
        let mut weight = 1.0;
        while rest != i256::ZERO {
            let digits = rest.wrapping_rem(part).to_i128().unwrap_or(0);
            whole = whole.plus(DoublePair::product(digits as f64, weight));
            rest = rest.wrapping_div(part);
            weight *= (1u64 << 50) as f64;
        }
        whole.over(DoublePair::of(10.0).whole_power(number.scale.unsigned_abs().into()))
    }

    /// Rounded to so many places.
    fn to_decimal(self, scale: i32) -> Result<Decimal, Undefined> {
        let scale = scale.clamp(0, i32::from(MAX_SCALE));
        let wide = self.times(DoublePair::of(10.0).whole_power(scale.unsigned_abs()));
        let whole = wide.high.round();
        let rest = (wide.high - whole) + wide.low;
        let value = integer(whole)?.checked_add(integer(rest.round())?);
        Ok(Decimal::new(value.ok_or(Undefined::Overflow)?, scale as i8))
    }

    fn root(self) -> DoublePair {
        if self.high == 0.0 {
            return self;
        }
        let root = DoublePair::of(self.high.sqrt());
        root.plus(self.over(root)).scaled(0.5)
    }

    fn exp(self) -> DoublePair {
        // e^x = 2^k · (e^(r/256))^256, where r is less than half of ln 2.
        const HALVINGS: i32 = 8;
        let twos = (self.high / LN_2.high).round();
        let rest = self.minus(LN_2.times(DoublePair::of(twos))).scaled(0.5f64.powi(HALVINGS));
        let (mut sum, mut term) = (ONE, ONE);
        for n in 1..=12 {
            term = term.times(rest).over(DoublePair::of(f64::from(n)));
            sum = sum.plus(term);
        }
        for _ in 0..HALVINGS {
            sum = sum.times(sum);
        }
        sum.scaled(2f64.powi(twos.clamp(-1_100.0, 1_100.0) as i32))
    }

    /// By Newton's method from the logarithm of a double.
    fn ln(self) -> DoublePair {
        let near = DoublePair::of(self.high.ln());
        near.plus(self.times(near.negated().exp())).minus(ONE)
    }
}

/// A whole double.
fn integer(value: f64) -> Result<i256, Undefined> {
    // 2^252 has 76 digits.
    if value.is_nan() || value.abs() >= 2f64.powi(252) {
        return Err(Undefined::Overflow);
    }
    let (mut value, mut shift) = (value, 0u8);
    while value.abs() >= 2f64.powi(100) {
        value /= 2f64.powi(8);
        shift += 8;
    }
    Ok(i256::from_i128(value as i128) << shift)
}

/// `√x`.
pub(crate) fn root(x: Decimal) -> Result<Decimal, Undefined> {
    if x.value < i256::ZERO {
        return Err(Undefined::RootOfNegative);
    }
    let weight = (x.weight() + 1) * 2 - 1;
    DoublePair::from_decimal(x).root().to_decimal((SIGNIFICANT - weight).max(x.scale.into()))
}

/// `e^x`.
pub(crate) fn exp(x: Decimal) -> Result<Decimal, Undefined> {
    let x_pair = DoublePair::from_decimal(x);
    let weight = x_pair.high * std::f64::consts::LOG10_E;
    if weight >= 76.0 {
        return Err(Undefined::Overflow);
    }
    let places = SIGNIFICANT - weight.max(-200.0) as i32;
    x_pair.exp().to_decimal(places.max(x.scale.into()))
}

fn positive(x: Decimal) -> Result<DoublePair, Undefined> {
    match x.value {
        i256::ZERO => Err(Undefined::LogOfZero),
        value if value < i256::ZERO => Err(Undefined::LogOfNegative),
        _ => Ok(DoublePair::from_decimal(x)),
    }
}

/// The place of the first digit of a logarithm.
fn weight_of_ln(ln: f64) -> i32 {
    if ln == 0.0 { 0 } else { ln.abs().log10().trunc() as i32 }
}

/// `ln x`.
pub(crate) fn ln(x: Decimal) -> Result<Decimal, Undefined> {
    let ln = positive(x)?.ln();
    ln.to_decimal((SIGNIFICANT - weight_of_ln(ln.high)).max(x.scale.into()))
}

/// The logarithm of `x` to a base.
pub(crate) fn log(base: Decimal, x: Decimal) -> Result<Decimal, Undefined> {
    let (ln_base, ln_x) = (positive(base)?.ln(), positive(x)?.ln());
    if ln_base.high == 0.0 {
        return Err(Undefined::DivisionByZero);
    }
    let weight = weight_of_ln(ln_x.high) - weight_of_ln(ln_base.high);
    let places = (SIGNIFICANT - weight).max(base.scale.into()).max(x.scale.into());
    ln_x.over(ln_base).to_decimal(places)
}

/// `base ^ exponent`.
pub(crate) fn power(base: Decimal, exponent: Decimal) -> Result<Decimal, Undefined> {
    let (whole, is_zero) = (exponent.trimmed(), base.value == i256::ZERO);
    if is_zero && exponent.value < i256::ZERO {
        return Err(Undefined::ZeroToNegative);
    }
    let shown = i32::from(base.scale).max(exponent.scale.into());
    if exponent.value == i256::ZERO || is_zero {
        let value = if exponent.value == i256::ZERO { i256::ONE } else { i256::ZERO };
        return Ok(Decimal::new(value, 0));
    }
    let by = if whole.scale == 0 { whole.value.to_i128() } else { None };
    let by = by.and_then(|by| i32::try_from(by).ok());
    if base.value < i256::ZERO && whole.scale > 0 {
        return Err(Undefined::NegativeToFraction);
    }
    let pair = DoublePair::from_decimal(base);
    let weight = pair.high.abs().log10() * DoublePair::from_decimal(exponent).high;
    if weight >= 76.0 {
        return Err(Undefined::Overflow);
    }
    // Of a whole power it is so many places.
    let places = if by.is_some() { SIGNIFICANT } else { SIGNIFICANT - weight.max(-200.0) as i32 };
    let places = places.max(shown).clamp(0, MAX_SCALE.into());
    if let Some(exact) = by.and_then(|by| exact_power(base, by)) {
        let scale = exact.scale.min(places as i8);
        return Ok(Decimal::new(exact.rescaled(scale)?, scale));
    }
    let result = match by {
        Some(by @ 0..) => pair.whole_power(by.unsigned_abs()),
        Some(by) => ONE.over(pair.whole_power(by.unsigned_abs())),
        None => DoublePair::from_decimal(exponent).times(pair.ln()).exp(),
    };
    result.to_decimal(places)
}

/// A whole power that has room.
fn exact_power(base: Decimal, exponent: i32) -> Option<Decimal> {
    // More digits than there is room for, unless the base is one or has no digit but a first one.
    let exponent = u32::try_from(exponent).ok().filter(|by| *by <= 512)?;
    let (mut result, base) = (Decimal::new(i256::ONE, 0), base.trimmed());
    for _ in 0..exponent {
        if result.scale + base.scale > MAX_SCALE {
            return None;
        }
        result = multiplied(result, base).ok()?;
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        let places = text.split_once('.').map_or(0, |(_, places)| places.len());
        Decimal::new(i256::from_string(&text.replace('.', "")).unwrap(), places as i8)
    }

    /// The answers are PostgreSQL 15's.
    #[test]
    fn results_have_postgres_digits() {
        let check = |found: Result<Decimal, Undefined>, expect: &str| {
            assert_eq!(found.unwrap().trimmed(), decimal(expect).trimmed());
        };
        check(root(decimal("2.0")), "1.414213562373095");
        check(root(decimal("1234567.891")), "1111.1111065055555");
        check(exp(decimal("1.0")), "2.7182818284590452");
        check(exp(decimal("-1.5")), "0.2231301601484298");
        check(ln(decimal("2.0")), "0.6931471805599453");
        check(log(decimal("2.0"), decimal("64.0")), "6.0000000000000000");
        check(power(decimal("2.0"), decimal("0.5")), "1.4142135623730950");
        check(power(decimal("1.5"), decimal("-3")), "0.2962962962962963");
        check(power(decimal("1.1"), decimal("100")), "13780.6123398222701841");
        check(power(decimal("10.0"), decimal("20")), "100000000000000000000");
    }

    #[test]
    fn what_has_no_value_says_why() {
        let zero = decimal("0.0");
        assert_eq!(ln(zero), Err(Undefined::LogOfZero));
        assert_eq!(ln(decimal("-1")), Err(Undefined::LogOfNegative));
        assert_eq!(root(decimal("-1")), Err(Undefined::RootOfNegative));
        assert_eq!(power(zero, decimal("-1")), Err(Undefined::ZeroToNegative));
        assert_eq!(power(decimal("-8"), decimal("0.5")), Err(Undefined::NegativeToFraction));
        assert_eq!(exp(decimal("1000")), Err(Undefined::Overflow));
        assert_eq!(log(decimal("1"), decimal("2")), Err(Undefined::DivisionByZero));
    }
}
