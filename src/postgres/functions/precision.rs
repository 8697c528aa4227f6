//! Casts to `TIMESTAMP(p)`, `VARCHAR(n)` and `CHAR(n)` keep so many digits and characters (Postgres
//! manual, 8.3 and 8.5).
//!
//! Arrow's types know of neither, so DataFusion's cast leaves the value as it is; [`fitted`] puts a
//! function around it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::{string, unicode};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};

use crate::error::Error;
use crate::time::ticks_per_second;
use crate::types::SqlType;

/// Seconds from 1970 to 2000, where Postgres begins to count: halves are rounded away from there.
const BEGIN_2000: i64 = 946_684_800;

/// The cast with its result cut to what its type holds; `None` if it holds everything.
pub fn fitted(cast: &Cast) -> Option<Expr> {
    let limit = match SqlType::from_field(&cast.field) {
        SqlType::Timestamp(digits @ 0..6) | SqlType::TimestampTz(digits @ 0..6) => {
            Limit::Digits(digits)
        }
        SqlType::Varchar(Some(length)) => Limit::Length(length),
        SqlType::Bpchar(Some(length)) => Limit::Blanks(length),
        _ => return None,
    };
    Some(ScalarUDF::from(Fit::new(limit)).call(vec![Expr::Cast(cast.clone())]))
}

/// A CHAR(n) as it is shown.
pub fn with_blanks(expr: Expr, length: u32) -> Expr {
    unicode::rpad().call(vec![expr, lit(i64::from(length))])
}

/// A text without the blanks at its end.
pub fn without_blanks(expr: Expr) -> Expr {
    string::rtrim().call(vec![expr, lit(" ")])
}

/// What is cast from one type to another, with the blanks of a CHAR where they go along, and without
/// where not.
pub fn with_blanks_of(expr: Expr, from: &SqlType, to: &SqlType) -> Expr {
    match (from, to) {
        (SqlType::Bpchar(Some(length)), SqlType::Bpchar(None) | SqlType::Bytea) => {
            with_blanks(expr, *length)
        }
        (SqlType::Bpchar(None), SqlType::Bpchar(None)) => expr,
        (SqlType::Bpchar(None), _) => without_blanks(expr),
        _ => expr,
    }
}

/// The expression without what [`fitted`] put around it twice: a view's plan comes by once more in
/// each query that reads it.
pub fn once(expr: Expr) -> Expr {
    let is_fit =
        |expr: &Expr| matches!(expr, Expr::ScalarFunction(call) if call.func.inner().is::<Fit>());
    match expr {
        Expr::ScalarFunction(mut call)
            if call.func.inner().is::<Fit>() && call.args.first().is_some_and(is_fit) =>
        {
            call.args.swap_remove(0)
        }
        other => other,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Limit {
    /// Behind the point of the seconds.
    Digits(u8),
    /// Characters.
    Length(u32),
    /// Characters, without the blanks at the end.
    Blanks(u32),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Fit {
    limit: Limit,
    name: String,
    signature: Signature,
}

impl Fit {
    fn new(limit: Limit) -> Fit {
        let name = match limit {
            Limit::Digits(digits) => format!("round_to_{digits}_digits"),
            Limit::Length(length) => format!("cut_to_{length}"),
            Limit::Blanks(length) => format!("cut_to_char_{length}"),
        };
        Fit { limit, name, signature: Signature::any(1, Volatility::Immutable) }
    }
}

/// Rounded to multiples of `unit`, halves away from `begin`.
fn rounded(value: i64, unit: i64, begin: i64) -> i64 {
    let since = value.saturating_sub(begin);
    let size = since.unsigned_abs().saturating_add(unit.unsigned_abs() / 2) / unit.unsigned_abs()
        * unit.unsigned_abs();
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    begin.saturating_add(if since < 0 { -size } else { size })
}

fn moments(values: &ArrayRef, digits: u8) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, _) = values.data_type() else {
        return Err(Error::internal("a moment that is none").into());
    };
    let per_second = ticks_per_second(*unit);
    let unit = per_second / 10i64.pow(u32::from(digits));
    if unit <= 1 {
        return Ok(Arc::clone(values));
    }
    // The ends of time are no numbers.
    let round = |ticks: i64| match ticks {
        i64::MIN | i64::MAX => ticks,
        ticks => rounded(ticks, unit, BEGIN_2000 * per_second),
    };
    let ticks = cast(values, &DataType::Int64)?;
    let rounded: ArrayRef =
        Arc::new(ticks.as_primitive::<Int64Type>().unary::<_, Int64Type>(round));
    Ok(cast(&rounded, values.data_type())?)
}

fn texts(values: &ArrayRef, length: usize, of: fn(&str) -> &str) -> Result<ArrayRef> {
    let texts = cast(values, &DataType::Utf8)?;
    let cut = |text| match str::char_indices(text).nth(length) {
        Some((end, _)) => of(&text[..end]),
        None => of(text),
    };
    let texts: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(cut)).collect();
    Ok(cast(&texts, values.data_type())?)
}

impl ScalarUDFImpl for Fit {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::clone(&args.arg_fields[0]))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let fit = |values: &ArrayRef| match self.limit {
            Limit::Digits(digits) => moments(values, digits),
            Limit::Length(length) => texts(values, length as usize, |text| text),
            Limit::Blanks(length) => {
                texts(values, length as usize, |text| text.trim_end_matches(' '))
            }
        };
        Ok(match &args.args[0] {
            ColumnarValue::Array(values) => ColumnarValue::Array(fit(values)?),
            ColumnarValue::Scalar(value) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&fit(&value.to_array()?)?, 0)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn halves_are_rounded_away_from_the_year_2000() {
        assert_eq!((rounded(1_500, 1_000, 0), rounded(-1_500, 1_000, 0)), (2_000, -2_000));
        assert_eq!((rounded(1_499, 1_000, 0), rounded(-1_499, 1_000, 0)), (1_000, -1_000));
        assert_eq!(rounded(500, 1_000, 10_000), 0);
    }
}
