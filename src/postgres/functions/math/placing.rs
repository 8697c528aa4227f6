//! `round`, `trunc`, `ceil` and `floor` of numerics, to places before or behind the point.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, i256};
use datafusion::common::{Result, ScalarValue};

use super::super::numeric::failed;
use crate::types::decimal::{Decimal, DecimalError, power};
use crate::types::{SqlType, WIDE_NUMERIC, is_free_numeric};

/// Which of the neighbours is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placing {
    Ceil,
    Floor,
    Round,
    Trunc,
}

/// The number of places that a constant says; NULL has none, and the result is NULL.
pub(super) fn constant(places: &ScalarValue) -> Option<i64> {
    match places.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(places) => Some(places.unwrap_or(0)),
        _ => None,
    }
}

impl Placing {
    /// The type of the result. With places that are not known it is one that shows no more places than
    /// a value has.
    pub(super) fn type_of(self, of: &DataType, places: Option<i64>) -> DataType {
        let scale = |scale: i8| match places {
            Some(places) => places.clamp(0, scale.into()) as i8,
            None => scale,
        };
        match of {
            DataType::Decimal128(p, s) if places.is_some() => {
                // 9.9 becomes 10, and 95 becomes 100.
                DataType::Decimal128((p - (s - scale(*s)).unsigned_abs() + 1).min(38), scale(*s))
            }
            DataType::Decimal128(..) => SqlType::Decimal(None).data_type(),
            of if is_free_numeric(of) && places.is_none() => of.clone(),
            // It shows as many places as were asked for.
            DataType::Decimal256(_, s) if places.is_some() => {
                DataType::Decimal256(WIDE_NUMERIC - 1, scale(*s))
            }
            DataType::Decimal256(_, s) => DataType::Decimal256(WIDE_NUMERIC, *s),
            other => other.clone(),
        }
    }

    /// The number, and the places of the second column if there is one.
    pub(super) fn of(self, columns: &[ArrayRef], to: &DataType) -> Result<ArrayRef> {
        let places = match columns.get(1) {
            Some(places) => Some(cast(places, &DataType::Int64)?),
            None => None,
        };
        let places = places.as_ref().map(|places| places.as_primitive::<Int64Type>());
        let at = |row: usize| -> Option<i64> {
            match places {
                Some(places) => places.is_valid(row).then(|| places.value(row)),
                None => Some(0),
            }
        };
        let numbers = &columns[0];
        let one = |row: usize| -> Result<Option<Decimal>> {
            let (number, Some(places)) = (Decimal::at(numbers, row), at(row)) else {
                return Ok(None);
            };
            let Some(number) = number else { return Ok(None) };
            Ok(Some(self.placed(number, places).map_err(failed)?))
        };
        let rescaled = |row: usize, scale: i8| -> Result<Option<i256>> {
            let number = one(row)?.map(|number| number.rescaled(scale)).transpose();
            Ok(number.map_err(failed)?)
        };
        let rows = 0..numbers.len();
        match *to {
            DataType::Decimal128(precision, scale) => {
                let array = match numbers.as_primitive_opt::<Decimal128Type>() {
                    Some(numbers) => self.narrow(numbers, at, scale)?,
                    None => None,
                };
                if let Some(array) = array {
                    return Ok(Arc::new(array.with_precision_and_scale(precision, scale)?));
                }
                let narrow = |row| {
                    let wide = rescaled(row, scale)?;
                    let narrow = wide.map(|wide| wide.to_i128().ok_or(DecimalError::Overflow));
                    Ok(narrow.transpose().map_err(failed)?)
                };
                let values = rows.map(narrow).collect::<Result<Vec<_>>>()?;
                let array = Decimal128Array::from(values);
                Ok(Arc::new(array.with_precision_and_scale(precision, scale)?))
            }
            DataType::Decimal256(precision, scale) => {
                let values = rows.map(|row| rescaled(row, scale)).collect::<Result<Vec<_>>>()?;
                let array = Decimal256Array::from(values);
                Ok(Arc::new(array.with_precision_and_scale(precision, scale)?))
            }
            _ => Ok(cast(numbers, to)?),
        }
    }

    /// The common case, in 128 bits; `None` where these are too few.
    fn narrow(
        self,
        numbers: &Decimal128Array,
        places: impl Fn(usize) -> Option<i64>,
        to: i8,
    ) -> Result<Option<Decimal128Array>> {
        let from = numbers.scale();
        let mut values = Vec::with_capacity(numbers.len());
        for row in 0..numbers.len() {
            let (true, Some(places)) = (numbers.is_valid(row), places(row)) else {
                values.push(None);
                continue;
            };
            let value = numbers.value(row);
            let cut = (i64::from(from) - places).max(0);
            let unit = u32::try_from(cut).ok().and_then(|cut| 10i128.checked_pow(cut));
            let Some(unit) = unit else { return Ok(None) };
            let rest = value % unit;
            let step = if self.is_up(rest.signum(), rest.abs() >= unit - rest.abs()) {
                if value < 0 { -unit } else { unit }
            } else {
                0
            };
            let shrink = 10i128.pow((from - to).max(0).unsigned_abs().into());
            match (value - rest).checked_add(if unit == 1 { 0 } else { step }) {
                Some(placed) => values.push(Some(placed / shrink)),
                None => return Ok(None),
            }
        }
        Ok(Some(Decimal128Array::from(values)))
    }

    /// Whether a number with such a rest goes away from zero.
    fn is_up(self, sign_of_rest: i128, is_half: bool) -> bool {
        match self {
            Placing::Trunc => false,
            Placing::Ceil => sign_of_rest > 0,
            Placing::Floor => sign_of_rest < 0,
            Placing::Round => is_half,
        }
    }

    fn placed(self, number: Decimal, places: i64) -> Result<Decimal, DecimalError> {
        if places >= i64::from(number.scale) {
            return Ok(number);
        }
        let cut = u32::try_from(i64::from(number.scale) - places).ok().and_then(power);
        let scale = places.max(0) as i8;
        let Some(unit) = cut else { return Ok(Decimal::new(i256::ZERO, 0)) };
        let rest = number.value.wrapping_rem(unit);
        let base = number.value.wrapping_sub(rest);
        let size = if rest < i256::ZERO { rest.wrapping_neg() } else { rest };
        let sign = i128::from(rest > i256::ZERO) - i128::from(rest < i256::ZERO);
        let is_up = self.is_up(sign, size >= unit.wrapping_sub(size));
        let step = if number.value < i256::ZERO { unit.wrapping_neg() } else { unit };
        let value = if is_up { base.checked_add(step) } else { Some(base) };
        let value = value.ok_or(DecimalError::Overflow)?;
        let scaled = Decimal::new(value, number.scale).rescaled(scale)?;
        Ok(Decimal::new(scaled, scale))
    }
}
