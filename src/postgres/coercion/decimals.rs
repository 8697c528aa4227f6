//! Numerics for which DataFusion finds no type together.
//!
//! It adds up the digits that each has before and behind the point, and `sum(n)`, `round(n, 2)` and `floor(n)`
//! have 75 or 76: beside a number with more places there is no room for both. Then all have the places of the
//! one that has the most, and 76 digits; a value that has too many before the point is 22003.

use arrow::datatypes::{DECIMAL256_MAX_PRECISION, DataType};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, ExprSchemable};

/// Precision and scale of a number that is exact.
fn digits(of: &DataType) -> Option<(u8, i8)> {
    match of {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            Some((*precision, *scale))
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 => Some((10, 0)),
        DataType::Int64 | DataType::UInt64 => Some((20, 0)),
        _ => None,
    }
}

/// The type of all of these, if they are exact numbers and DataFusion has none for them.
pub(super) fn common<'t>(types: impl Iterator<Item = &'t DataType>) -> Option<DataType> {
    let (mut before, mut behind, mut is_wide) = (0, 0, false);
    for of in types.filter(|of| !of.is_null() && !of.is_string()) {
        let (precision, scale) = digits(of)?;
        before = before.max(i16::from(precision) - i16::from(scale));
        behind = behind.max(scale);
        is_wide |= matches!(of, DataType::Decimal256(..));
    }
    let is_full = before + i16::from(behind) > i16::from(DECIMAL256_MAX_PRECISION);
    (is_wide && is_full).then_some(DataType::Decimal256(DECIMAL256_MAX_PRECISION, behind))
}

/// Casts what is compared, added or subtracted to the type that [`common`] finds; says whether it does.
pub(super) fn widen([left, right]: [&mut Expr; 2], schema: &DFSchema) -> bool {
    // The left one may be a long chain.
    let Ok(of_right) = right.get_type(schema) else { return false };
    if digits(&of_right).is_none() {
        return false;
    }
    let Ok(of_left) = left.get_type(schema) else { return false };
    let Some(wanted) = common([&of_left, &of_right].into_iter()) else { return false };
    for (side, own) in [(left, of_left), (right, of_right)] {
        if own != wanted {
            *side = Expr::Cast(Cast::new(Box::new(std::mem::take(side)), wanted.clone()));
        }
    }
    true
}
