//! The division at the end of avg of exact numbers.

use datafusion::arrow::datatypes::i256;

/// `sum · 10^shift / count`, rounded half away from zero; 0 for a count of 0.
pub(super) fn quotient(sum: i128, count: i64, shift: i32) -> Option<i128> {
    if count == 0 {
        return Some(0);
    }
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    let divisor = i128::from(count).checked_mul(if shift < 0 { power } else { 1 })?;
    match sum.checked_mul(if shift > 0 { power } else { 1 }) {
        Some(dividend) => {
            let (whole, rest) = (dividend / divisor, dividend % divisor);
            let up = rest.unsigned_abs() >= divisor.unsigned_abs() - rest.unsigned_abs();
            let away = if (dividend < 0) == (divisor < 0) { 1 } else { -1 };
            Some(whole + if up { away } else { 0 })
        }
        None => {
            // Only sums beyond 10^38 / 10^shift come here.
            let dividend = i256::from_i128(sum).checked_mul(i256::from_i128(power))?;
            let divisor = i256::from_i128(divisor);
            let whole = dividend.checked_div(divisor)?;
            let rest = dividend.checked_rem(divisor)?.wrapping_abs();
            let up = rest >= divisor.wrapping_abs().checked_sub(rest)?;
            let away = if (sum < 0) == (count < 0) { i256::ONE } else { i256::MINUS_ONE };
            whole.checked_add(if up { away } else { i256::ZERO })?.to_i128()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_rounds_half_away_from_zero() {
        for (sum, count, shift, expect) in [
            (1, 2, 0, 1),
            (-1, 2, 0, -1),
            (1, 3, 0, 0),
            (2, 3, 2, 67),
            (-2, 3, 2, -67),
            (7, 7, 0, 1),
            (25, 2, -1, 1),
        ] {
            assert_eq!(quotient(sum, count, shift), Some(expect), "{sum} {count} {shift}");
        }
        let large = 10_i128.pow(37);
        assert_eq!(quotient(large, 1_000_000, 3), Some(large / 1000));
        assert_eq!(quotient(-large, 30, 2), Some(-(large * 10 / 3)));
    }
}
