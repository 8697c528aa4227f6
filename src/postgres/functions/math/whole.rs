//! Sizes, divisors, factorials, places and buckets (Postgres manual, 9.3, table 9.5).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Int32Array, Int64Array, PrimitiveArray,
    make_comparator,
};
use arrow::compute::{SortOptions, cast, try_unary};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, i256,
};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::super::numeric::{computed, failed};
use super::super::scalar::over_columns;
use super::{exact, is_number, no_value, undefined};
use crate::error::{Error, Result, SqlState};
use crate::types::decimal::{Decimal, DecimalError};
use crate::types::transcendental::Undefined;
use crate::types::{SqlType, WIDE_NUMERIC, is_free_numeric};

pub(super) fn all() -> Vec<ScalarUDF> {
    use Whole::{Abs, Buckets, Factorial, Gcd, Lcm, MinScale, Scale, TrimScale};
    [Abs, Gcd, Lcm, Factorial, Scale, MinScale, TrimScale, Buckets].map(function).into()
}

fn function(whole: Whole) -> ScalarUDF {
    ScalarUDF::from(ExactFunction {
        whole,
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whole {
    Abs,
    Gcd,
    Lcm,
    Factorial,
    Scale,
    MinScale,
    TrimScale,
    Buckets,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactFunction {
    whole: Whole,
    signature: Signature,
}

impl ScalarUDFImpl for ExactFunction {
    fn name(&self) -> &str {
        match self.whole {
            Whole::Abs => "abs",
            Whole::Gcd => "gcd",
            Whole::Lcm => "lcm",
            Whole::Factorial => "factorial",
            Whole::Scale => "scale",
            Whole::MinScale => "min_scale",
            Whole::TrimScale => "trim_scale",
            Whole::Buckets => "width_bucket",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        let wrong = || Err(undefined(self.name(), types));
        let has_double = types.iter().any(DataType::is_floating);
        match (self.whole, types) {
            (Whole::Buckets, [of, DataType::List(item)]) => {
                // The two meet as in a comparison.
                let of = if of.is_string() && !item.data_type().is_string() || of.is_null() {
                    item.data_type().clone()
                } else if of.is_floating() || item.data_type().is_floating() {
                    DataType::Float64
                } else if of.is_integer() && item.data_type().is_integer() {
                    DataType::Int64
                } else if is_number(of) && !of.is_string() {
                    DataType::Decimal256(WIDE_NUMERIC, crate::types::decimal::MAX_SCALE)
                } else {
                    item.data_type().clone()
                };
                let list = Field::new_list_field(of.clone(), true);
                Ok(vec![of, DataType::List(Arc::new(list))])
            }
            (Whole::Buckets, [bounds @ .., count]) if types.len() == 4 => {
                if !types.iter().all(is_number) || count.is_floating() || count.is_decimal() {
                    return wrong();
                }
                let of = |of: &DataType| if has_double { DataType::Float64 } else { exact(of) };
                Ok(bounds.iter().map(of).chain([DataType::Int32]).collect())
            }
            (Whole::Abs, [of]) if of.is_numeric() => Ok(vec![of.clone()]),
            (Whole::Abs, [of]) if is_number(of) => Ok(vec![DataType::Float64]),
            (Whole::Factorial, [of]) if of.is_integer() || of.is_string() || of.is_null() => {
                Ok(vec![DataType::Int64])
            }
            (Whole::Scale | Whole::MinScale | Whole::TrimScale, [of])
                if is_number(of) && !has_double =>
            {
                Ok(vec![exact(of)])
            }
            (Whole::Gcd | Whole::Lcm, [left, right])
                if is_number(left) && is_number(right) && !has_double =>
            {
                if left.is_decimal() || right.is_decimal() {
                    return Ok(vec![exact(left), exact(right)]);
                }
                let is_wide = |of: &DataType| {
                    matches!(of, DataType::Int64 | DataType::UInt32 | DataType::UInt64)
                };
                let is_wide = is_wide(left) || is_wide(right);
                Ok(vec![if is_wide { DataType::Int64 } else { DataType::Int32 }; 2])
            }
            _ => wrong(),
        }
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let widest = |types: &[DataType]| {
            types.iter().find(|of| of.is_decimal()).map_or(types[0].clone(), |_| {
                DataType::Decimal256(WIDE_NUMERIC, crate::types::decimal::MAX_SCALE)
            })
        };
        Ok(match (self.whole, types) {
            (Whole::Abs, [of]) => of.clone(),
            (Whole::Gcd | Whole::Lcm, types) => widest(types),
            (Whole::Factorial, _) => DataType::Decimal256(WIDE_NUMERIC, 0),
            (Whole::TrimScale, [DataType::Decimal128(_, s) | DataType::Decimal256(_, s)]) => {
                DataType::Decimal256(WIDE_NUMERIC, *s)
            }
            (Whole::TrimScale, _) => DataType::Decimal256(WIDE_NUMERIC, 0),
            _ => DataType::Int32,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let types: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_exact = args.return_field.data_type().is_decimal();
        match self.whole {
            Whole::Abs => {
                over_columns(&args.args, args.number_rows, |columns, _| absolute(&columns[0]))
            }
            Whole::Gcd if is_exact => {
                computed(&args, |of| of_both(of[0].shown(), of[1].shown(), gcd))
            }
            Whole::Lcm if is_exact => {
                computed(&args, |of| of_both(of[0].shown(), of[1].shown(), lcm))
            }
            Whole::TrimScale => computed(&args, |of| Ok(of[0].number.trimmed())),
            Whole::Factorial => computed(&args, |of| factorial(of[0].number)),
            whole => over_columns(&args.args, args.number_rows, |columns, _| match whole {
                Whole::Scale => {
                    places(
                        &columns[0],
                        |number, is_free| {
                            if is_free { number.trimmed() } else { number }
                        },
                    )
                }
                Whole::MinScale => places(&columns[0], |number, _| number.trimmed()),
                Whole::Buckets => buckets(columns),
                Whole::Gcd => of_integers(columns, args.return_field.data_type(), gcd),
                _ => of_integers(columns, args.return_field.data_type(), lcm),
            }),
        }
    }
}

/// The sizes of numbers.
fn absolute(numbers: &ArrayRef) -> DfResult<ArrayRef> {
    fn of<T: ArrowPrimitiveType>(
        numbers: &ArrayRef,
        size: impl Fn(T::Native) -> Option<T::Native>,
    ) -> DfResult<ArrayRef> {
        let name = SqlType::from_field(&Field::new("", numbers.data_type().clone(), true));
        let out_of_range =
            || Error::new(SqlState::OutOfRange, format!("{name} out of range")).into();
        let numbers = numbers.as_primitive::<T>();
        let sizes: PrimitiveArray<T> =
            try_unary::<_, _, T>(numbers, |number| size(number).ok_or_else(out_of_range))?;
        Ok(Arc::new(sizes.with_data_type(numbers.data_type().clone())))
    }
    match numbers.data_type() {
        DataType::Int16 => of::<Int16Type>(numbers, i16::checked_abs),
        DataType::Int32 => of::<Int32Type>(numbers, i32::checked_abs),
        DataType::Int64 => of::<Int64Type>(numbers, i64::checked_abs),
        DataType::Float32 => of::<Float32Type>(numbers, |number| Some(number.abs())),
        DataType::Float64 => of::<Float64Type>(numbers, |number| Some(number.abs())),
        DataType::Decimal128(..) => of::<Decimal128Type>(numbers, i128::checked_abs),
        DataType::Decimal256(..) => of::<Decimal256Type>(numbers, i256::checked_abs),
        _ => Ok(Arc::clone(numbers)),
    }
}

/// The whole quotient, rounded towards zero.
pub(super) fn quotient(left: Decimal, right: Decimal) -> Result<Decimal, Undefined> {
    if right.value == i256::ZERO {
        return Err(Undefined::DivisionByZero);
    }
    let scale = left.scale.max(right.scale);
    let (left, right) = (left.rescaled(scale)?, right.rescaled(scale)?);
    Ok(Decimal::new(left.wrapping_div(right), 0))
}

fn gcd(mut a: i256, mut b: i256) -> Option<i256> {
    while b != i256::ZERO {
        (a, b) = (b, a.checked_rem(b)?);
    }
    if a < i256::ZERO { a.checked_neg() } else { Some(a) }
}

fn lcm(a: i256, b: i256) -> Option<i256> {
    if a == i256::ZERO || b == i256::ZERO {
        return Some(i256::ZERO);
    }
    let product = a.checked_div(gcd(a, b)?)?.checked_mul(b)?;
    if product < i256::ZERO { product.checked_neg() } else { Some(product) }
}

fn of_both(a: Decimal, b: Decimal, of: fn(i256, i256) -> Option<i256>) -> Result<Decimal> {
    let scale = a.scale.max(b.scale);
    let of = || of(a.rescaled(scale)?, b.rescaled(scale)?).ok_or(DecimalError::Overflow);
    Ok(Decimal::new(of().map_err(failed)?, scale))
}

fn of_integers(
    columns: &[ArrayRef],
    to: &DataType,
    of: fn(i256, i256) -> Option<i256>,
) -> DfResult<ArrayRef> {
    let [a, b] = [&columns[0], &columns[1]].map(|column| cast(column, &DataType::Int64));
    let (a, b) = (a?, b?);
    let (a, b) = (a.as_primitive::<Int64Type>(), b.as_primitive::<Int64Type>());
    let (name, greatest) = match to {
        DataType::Int32 => ("integer", i128::from(i32::MAX)),
        _ => ("bigint", i128::from(i64::MAX)),
    };
    let wide = |value: i64| i256::from_i128(value.into());
    let one = |(a, b): (Option<i64>, Option<i64>)| {
        let (Some(a), Some(b)) = (a, b) else { return Ok(None) };
        match of(wide(a), wide(b)).and_then(i256::to_i128) {
            Some(value) if value <= greatest => Ok(Some(value as i64)),
            _ => Err(Error::new(SqlState::OutOfRange, format!("{name} out of range"))),
        }
    };
    let values: Int64Array = a.iter().zip(b).map(one).collect::<Result<_>>()?;
    Ok(cast(&values, to)?)
}

fn factorial(of: Decimal) -> Result<Decimal> {
    if of.value < i256::ZERO {
        let message = "factorial of a negative number is undefined";
        return Err(Error::new(SqlState::OutOfRange, message));
    }
    let last = of.value.to_i128().unwrap_or(i128::MAX);
    let mut product = i256::ONE;
    for factor in 2..=last {
        let next = product.checked_mul(i256::from_i128(factor));
        product = next.ok_or_else(|| no_value(Undefined::Overflow))?;
    }
    Ok(Decimal::new(product, 0))
}

fn places(numbers: &ArrayRef, of: fn(Decimal, bool) -> Decimal) -> DfResult<ArrayRef> {
    let is_free = is_free_numeric(numbers.data_type());
    let place = |row| Decimal::at(numbers, row).map(|number| of(number, is_free).scale.into());
    Ok(Arc::new((0..numbers.len()).map(place).collect::<Int32Array>()))
}

fn bad_bucket(message: &str) -> Error {
    Error::new(SqlState::BadBucketArgument, message)
}

fn buckets(columns: &[ArrayRef]) -> DfResult<ArrayRef> {
    let rows = 0..columns[0].len();
    if columns.len() == 2 {
        let bucket = |row| bucket_of_array(&columns[0], &columns[1], row);
        return Ok(Arc::new(rows.map(bucket).collect::<DfResult<Int32Array>>()?));
    }
    let bucket = |row: usize| -> DfResult<Option<i32>> {
        if columns.iter().any(|column| column.is_null(row)) {
            return Ok(None);
        }
        let count = columns[3].as_primitive::<Int32Type>().value(row);
        if count <= 0 {
            return Err(bad_bucket("count must be greater than zero").into());
        }
        let bucket = if columns[0].data_type().is_floating() {
            let [x, low, high] =
                [0, 1, 2].map(|at: usize| columns[at].as_primitive::<Float64Type>().value(row));
            bucket_of_double(x, low, high, count.into())?
        } else {
            let [x, low, high] = [0, 1, 2].map(|at: usize| Decimal::at(&columns[at], row));
            let (Some(x), Some(low), Some(high)) = (x, low, high) else { return Ok(None) };
            bucket_of_numeric(x, low, high, count.into())?
        };
        let out_of_range = |_| Error::new(SqlState::OutOfRange, "integer out of range");
        Ok(Some(i32::try_from(bucket).map_err(out_of_range)?))
    };
    Ok(Arc::new(rows.map(bucket).collect::<DfResult<Int32Array>>()?))
}

fn bucket_of_double(x: f64, low: f64, high: f64, count: i64) -> Result<i64> {
    if x.is_nan() || low.is_nan() || high.is_nan() {
        return Err(bad_bucket("operand, lower bound, and upper bound cannot be NaN"));
    }
    if low.is_infinite() || high.is_infinite() {
        return Err(bad_bucket("lower and upper bounds must be finite"));
    }
    if low == high {
        return Err(bad_bucket("lower bound cannot equal upper bound"));
    }
    // From high to low it is the same in a mirror.
    let (x, low, high) = if low < high { (x, low, high) } else { (-x, -low, -high) };
    Ok(if x < low {
        0
    } else if x >= high {
        count + 1
    } else {
        let share = if (high - low).is_finite() {
            (x - low) / (high - low)
        } else {
            (x / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)
        };
        ((count as f64 * share) as i64).min(count - 1) + 1
    })
}

fn bucket_of_numeric(x: Decimal, low: Decimal, high: Decimal, count: i64) -> Result<i64> {
    let scale = x.scale.max(low.scale).max(high.scale);
    let same = |number: Decimal| number.rescaled(scale).map_err(failed);
    let (x, low, high) = (same(x)?, same(low)?, same(high)?);
    if low == high {
        return Err(bad_bucket("lower bound cannot equal upper bound"));
    }
    let mirrored = |value: i256| if low < high { value } else { value.wrapping_neg() };
    let (x, low, high) = (mirrored(x), mirrored(low), mirrored(high));
    Ok(if x < low {
        0
    } else if x >= high {
        count + 1
    } else {
        let part = x.wrapping_sub(low).checked_mul(i256::from_i128(count.into()));
        let part = part.ok_or_else(|| failed(DecimalError::Overflow))?;
        let whole = part.wrapping_div(high.wrapping_sub(low)).to_i128().unwrap_or(0);
        i64::try_from(whole).unwrap_or(count) + 1
    })
}

/// How many of the thresholds, which are in order, are not behind the value.
fn bucket_of_array(values: &ArrayRef, lists: &ArrayRef, row: usize) -> DfResult<Option<i32>> {
    let lists = lists.as_list::<i32>();
    if values.is_null(row) || lists.is_null(row) {
        return Ok(None);
    }
    let thresholds = lists.value(row);
    if thresholds.null_count() > 0 {
        let message = "thresholds array must not contain NULLs";
        return Err(Error::new(SqlState::NullNotAllowed, message).into());
    }
    let compare = make_comparator(values.as_ref(), thresholds.as_ref(), SortOptions::default())?;
    let (mut low, mut high) = (0, thresholds.len());
    while low < high {
        let middle = low.midpoint(high);
        if compare(row, middle).is_lt() { high = middle } else { low = middle + 1 }
    }
    Ok(i32::try_from(low).ok())
}
