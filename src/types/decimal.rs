//! Exact arithmetic on single decimals: an integer and how many of its digits stand behind the
//! point.
//!
//! A quotient has no end, so Postgres rounds it: to 16 significant digits at the least, in steps of
//! four, and to no fewer places than its operands show. [`quotient_scale`] finds that place from
//! the operands alone; so the same division gives the same digits here and there. (PostgreSQL
//! manual, section 8.1.2, and the behaviour of PostgreSQL 15.)

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, i256};

/// The places behind the point that a computed numeric keeps at the most.
pub(crate) const MAX_SCALE: i8 = 38;

/// Significant digits of a quotient, at the least.
const SIGNIFICANT: i32 = 16;

/// Postgres counts digits in groups of four.
const GROUP: i32 = 4;

/// A decimal: `value · 10^-scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) value: i256,
    pub(crate) scale: i8,
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalError {
    DivisionByZero,
    /// More digits than a decimal holds.
    Overflow,
}

/// 10^n, for n up to 76.
pub(crate) fn power(n: u32) -> Option<i256> {
    match n {
        0..=38 => Some(i256::from_i128(10i128.pow(n))),
        39..=76 => i256::from_i128(10i128.pow(38)).checked_mul(i256::from_i128(10i128.pow(n - 38))),
        _ => None,
    }
}

impl Decimal {
    pub(crate) fn new(value: i256, scale: i8) -> Decimal {
        Decimal { value, scale }
    }

    /// The double that is nearest.
    pub(crate) fn to_double(self) -> f64 {
        // What a double holds exactly, and a power of ten that it does: their quotient is rounded once.
        const WHOLE: i128 = 1 << 53;
        const PLACES: i8 = 22;
        let number = self.trimmed();
        match number.value.to_i128() {
            Some(whole) if whole.abs() <= WHOLE && number.scale <= PLACES => {
                whole as f64 / 10f64.powi(number.scale.into())
            }
            // Any number of digits is read.
            _ => format!("{}e-{}", number.value, number.scale).parse().unwrap_or(f64::NAN),
        }
    }

    /// What stands in a row of a column of numerics or integers; None: NULL.
    pub(crate) fn at(column: &ArrayRef, row: usize) -> Option<Decimal> {
        if column.is_null(row) {
            return None;
        }
        match column.data_type() {
            DataType::Decimal128(_, scale) => {
                let value = column.as_primitive::<Decimal128Type>().value(row);
                Some(Decimal::new(i256::from_i128(value), *scale))
            }
            DataType::Decimal256(_, scale) => {
                Some(Decimal::new(column.as_primitive::<Decimal256Type>().value(row), *scale))
            }
            _ => {
                let value = cast(&column.slice(row, 1), &DataType::Decimal128(38, 0)).ok()?;
                Decimal::at(&value, 0)
            }
        }
    }

    fn magnitude(self) -> i256 {
        if self.value < i256::ZERO { self.value.wrapping_neg() } else { self.value }
    }

    /// The same number without zeros at the end of its places.
    pub(crate) fn trimmed(mut self) -> Decimal {
        for step in [16u32, 8, 4, 2, 1] {
            let ten = i256::from_i128(10i128.pow(step));
            // Up to 38 places: the first step may be taken twice.
            while self.scale >= step as i8 && self.value.wrapping_rem(ten) == i256::ZERO {
                self = Decimal::new(self.value.wrapping_div(ten), self.scale - step as i8);
            }
        }
        self
    }

    /// The number with that many places, rounded half away from zero.
    pub(crate) fn rescaled(self, scale: i8) -> Result<i256, DecimalError> {
        let by = i32::from(scale) - i32::from(self.scale);
        if by >= 0 {
            let factor = power(by.unsigned_abs()).ok_or(DecimalError::Overflow)?;
            return self.value.checked_mul(factor).ok_or(DecimalError::Overflow);
        }
        let Some(divisor) = power(by.unsigned_abs()) else {
            return Ok(i256::ZERO);
        };
        let quotient = self.value.wrapping_div(divisor);
        let rest = Decimal::new(self.value.wrapping_rem(divisor), 0).magnitude();
        let up = rest >= divisor.wrapping_sub(rest);
        Ok(match (up, self.value < i256::ZERO) {
            (false, _) => quotient,
            (true, false) => quotient.wrapping_add(i256::ONE),
            (true, true) => quotient.wrapping_sub(i256::ONE),
        })
    }

    /// Where Postgres's first group of four digits stands.
    pub(crate) fn weight(self) -> i32 {
        self.first_group().0
    }

    /// Where Postgres's first group of four digits stands, and what is in it.
    fn first_group(self) -> (i32, i256) {
        let magnitude = self.magnitude();
        let Some(log) = magnitude.checked_ilog10() else {
            return (0, i256::ZERO);
        };
        let place = log as i32 - i32::from(self.scale);
        let group = place.div_euclid(GROUP);
        let wanted = place - GROUP * group;
        let excess = log as i32 - wanted;
        let ten = power(excess.unsigned_abs()).unwrap_or(i256::ONE);
        let digits =
            if excess >= 0 { magnitude.wrapping_div(ten) } else { magnitude.wrapping_mul(ten) };
        (group, digits)
    }
}

/// The places of `left ÷ right`, where the operands show those many.
fn quotient_scale(left: Decimal, right: Decimal) -> i8 {
    let ((left_group, left_first), (right_group, right_first)) =
        (left.first_group(), right.first_group());
    let mut group = left_group - right_group;
    if left_first <= right_first {
        group -= 1;
    }
    let scale = (SIGNIFICANT - group * GROUP).clamp(0, i32::from(MAX_SCALE)) as i8;
    scale.max(left.scale).max(right.scale)
}

/// `left ÷ right`, rounded where Postgres rounds it. The operands' scales are the places they show.
pub(crate) fn divided(left: Decimal, right: Decimal) -> Result<Decimal, DecimalError> {
    if right.value == i256::ZERO {
        return Err(DecimalError::DivisionByZero);
    }
    let scale = quotient_scale(left, right);
    // The scale is not less than the left side's: digits are appended, never cut off.
    let places = i32::from(scale) + i32::from(right.scale) - i32::from(left.scale);
    let negative = (left.value < i256::ZERO) != (right.value < i256::ZERO);
    let magnitude = long_division(left.magnitude(), right.magnitude(), places.unsigned_abs())?;
    Ok(Decimal::new(if negative { magnitude.wrapping_neg() } else { magnitude }, scale))
}

/// `left · 10^places ÷ right`, rounded half up; all are positive.
fn long_division(left: i256, right: i256, places: u32) -> Result<i256, DecimalError> {
    if let Some(quotient) = short_division(left, right, places) {
        return Ok(quotient);
    }
    let (mut quotient, mut rest) = (left.wrapping_div(right), left.wrapping_rem(right));
    // As many digits at a time as there is room for behind a rest, which is less than the divisor.
    let room = 75u32.saturating_sub(right.checked_ilog10().unwrap_or(0));
    let mut missing = places;
    while missing > 0 {
        let step = room.min(missing).max(1);
        let ten = power(step).ok_or(DecimalError::Overflow)?;
        let (digits, next) = match room {
            0 => one_digit(rest, right),
            _ => {
                let wide = rest.wrapping_mul(ten);
                (wide.wrapping_div(right), wide.wrapping_rem(right))
            }
        };
        quotient = quotient
            .checked_mul(ten)
            .and_then(|q| q.checked_add(digits))
            .ok_or(DecimalError::Overflow)?;
        (rest, missing) = (next, missing - step);
    }
    let up = rest >= right.wrapping_sub(rest);
    Ok(if up { quotient.wrapping_add(i256::ONE) } else { quotient })
}

/// The common case, in 128 bits.
fn short_division(left: i256, right: i256, places: u32) -> Option<i256> {
    let (left, right) = (left.to_i128()?, right.to_i128()?);
    let wide = left.checked_mul(10i128.checked_pow(places)?)?;
    let (quotient, rest) = (wide / right, wide % right);
    Some(i256::from_i128(quotient + i128::from(rest >= right - rest)))
}

/// The next digit of a division by a number so large that ten times the rest has no room: by
/// additions that stay below the divisor.
fn one_digit(rest: i256, right: i256) -> (i256, i256) {
    let (mut digit, mut sum) = (0i128, i256::ZERO);
    for _ in 0..10 {
        let until = right.wrapping_sub(rest);
        if sum >= until {
            digit += 1;
            sum = sum.wrapping_sub(until);
        } else {
            sum = sum.wrapping_add(rest);
        }
    }
    (i256::from_i128(digit), sum)
}

/// `left · right`, with as many places as both together, but for [`MAX_SCALE`].
pub(crate) fn multiplied(left: Decimal, right: Decimal) -> Result<Decimal, DecimalError> {
    let product = |left: Decimal, right: Decimal| {
        let value = left.value.checked_mul(right.value)?;
        Some(Decimal::new(value, left.scale + right.scale))
    };
    // Scales are at most 38 each; what a fixed scale has appended may be what leaves no room.
    product(left, right)
        .or_else(|| product(left.trimmed(), right.trimmed()))
        .ok_or(DecimalError::Overflow)
}

/// The rest of `left ÷ right` with the sign of `left`.
pub(crate) fn remainder(left: Decimal, right: Decimal) -> Result<Decimal, DecimalError> {
    if right.value == i256::ZERO {
        return Err(DecimalError::DivisionByZero);
    }
    let (left, right) = (left.trimmed(), right.trimmed());
    let scale = left.scale.max(right.scale);
    let (left, right) = (left.rescaled(scale)?, right.rescaled(scale)?);
    Ok(Decimal::new(left.wrapping_rem(right), scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        let digits = text.replace('.', "");
        let scale = text.split_once('.').map_or(0, |(_, places)| places.len());
        Decimal::new(i256::from_string(&digits).unwrap(), scale as i8)
    }

    fn text(number: Decimal) -> String {
        let digits = number.magnitude().to_string();
        let scale = number.scale as usize;
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, places) = digits.split_at(digits.len() - scale);
        let sign = if number.value < i256::ZERO { "-" } else { "" };
        if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{places}") }
    }

    #[test]
    fn doubles_are_the_nearest() {
        for text in
            ["0.1", "0.30000000000000000000000000000000000001", "123456789.987654321", "-2.5"]
        {
            let wide = decimal(text).rescaled(38).unwrap();
            let expect: f64 = text.parse().unwrap();
            assert_eq!(Decimal::new(wide, 38).to_double(), expect, "{text}");
            assert_eq!(decimal(text).to_double(), expect, "{text}");
        }
        let large = "9007199254740993".repeat(4);
        assert_eq!(decimal(&large).to_double(), large.parse::<f64>().unwrap());
    }

    /// The answers are PostgreSQL 15's.
    #[test]
    fn quotients_have_postgres_digits() {
        let check = |left, right, expect: &str| {
            assert_eq!(
                text(divided(decimal(left), decimal(right)).unwrap()),
                expect,
                "{left} / {right}"
            );
        };
        check("1", "3.0", "0.33333333333333333333");
        check("10", "3.0", "3.3333333333333333");
        check("100000", "3.0", "33333.333333333333");
        check("20000", "3", "6666.6666666666666667");
        check("-2", "3.0", "-0.66666666666666666667");
        check("1", "1.0", "1.00000000000000000000");
        check("2", "1.0", "2.0000000000000000");
        check("0", "3.0", "0.00000000000000000000");
        check("1", "3000000", "0.000000333333333333333333");
        check("1", "30000000000.00", "0.0000000000333333333333333333");
        check("12345678901234567890", "7.0", "1763668414462081127.1");
        check("1.00000", "8", "0.12500000000000000000");
        check(
            "99999999999999999999999999999999999999",
            "3.0",
            "33333333333333333333333333333333333333.0",
        );
        check("123456789.123456789", "0.000000001", "123456789123456789.000000000");
        check(
            "1",
            "1234567890123456789012345678901234567890123456789012345678901234567890123456",
            "0.00000000000000000000000000000000000000",
        );
        assert_eq!(divided(decimal("1"), decimal("0.00")), Err(DecimalError::DivisionByZero));
    }

    #[test]
    fn a_divisor_without_room_behind_it_is_divided_digit_by_digit() {
        let large = "5".repeat(76);
        let quotient = divided(decimal(&"1".repeat(76)), decimal(&large)).unwrap();
        assert_eq!(text(quotient), "0.20000000000000000000");
        let rest = i256::from_i128(7);
        assert_eq!(one_digit(rest, i256::from_i128(9)), (i256::from_i128(7), i256::from_i128(7)));
    }

    #[test]
    fn products_and_rests_are_exact() {
        let check = |result: Result<Decimal, DecimalError>, expect: &str| {
            assert_eq!(text(result.unwrap()), expect)
        };
        check(multiplied(decimal("-1.50"), decimal("2.25")), "-3.3750");
        let large = Decimal::new(decimal("2.5").rescaled(38).unwrap(), 38);
        check(multiplied(large, large).map(Decimal::trimmed), "6.25");
        check(remainder(decimal("7.5"), decimal("-2.00")), "1.5");
        check(remainder(decimal("-7"), decimal("0.3")), "-0.1");
        assert_eq!(remainder(decimal("1"), decimal("0")), Err(DecimalError::DivisionByZero));
        let huge = decimal(&"9".repeat(60));
        assert_eq!(multiplied(huge, huge), Err(DecimalError::Overflow));
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        let check = |number, scale, expect: i128| {
            assert_eq!(decimal(number).rescaled(scale), Ok(i256::from_i128(expect)), "{number}");
        };
        check("1.25", 1, 13);
        check("-1.25", 1, -13);
        check("1.24", 1, 12);
        check("1.2", 3, 1200);
    }
}
