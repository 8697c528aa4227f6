//! `EXTRACT(field FROM x)` and `date_part(field, x)` with the types of Postgres (manual, 9.9.1):
//! numeric and double precision.
//!
//! DataFusion gives integers for both. Seconds would lose their fraction, and `extract(month FROM
//! ts) / 2` would be a whole number.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::datetime;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::error::{Error, SqlState};

pub(crate) fn all() -> Vec<ScalarUDF> {
    let part = |name, is_numeric| {
        ScalarUDF::from(DatePart {
            name,
            is_numeric,
            inner: datetime::date_part().as_ref().clone(),
        })
    };
    vec![part("extract", true), part("date_part", false)]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart {
    name: &'static str,
    is_numeric: bool,
    inner: ScalarUDF,
}

/// What is asked of DataFusion for a field, and what becomes of its answer.
struct DateField {
    field: &'static str,
    /// Digits behind the point: the answer counts units of 10^-digits.
    digits: i8,
    /// Years in the unit, if it is longer than a year.
    years: i64,
}

/// `None`: DataFusion's own field, a whole number.
fn way(field: &str) -> Option<DateField> {
    let long = |years| Some(DateField { field: "year", digits: 0, years });
    match field.to_ascii_lowercase().as_str() {
        "second" | "seconds" | "sec" | "secs" | "s" => {
            Some(DateField { field: "microsecond", digits: 6, years: 1 })
        }
        "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => {
            Some(DateField { field: "microsecond", digits: 3, years: 1 })
        }
        "decade" | "decades" => long(10),
        "century" | "centuries" => long(100),
        "millennium" | "millenniums" => long(1_000),
        _ => None,
    }
}

fn is_epoch(field: &str) -> bool {
    field.eq_ignore_ascii_case("epoch")
}

/// A decade counts from year 0, a century from year 1.
fn in_units(year: i64, years: i64) -> i64 {
    match years {
        1 => year,
        10 => year.div_euclid(10),
        _ if year > 0 => (year + years - 1) / years,
        _ => -((years - year) / years),
    }
}

impl DatePart {
    fn result(&self, field: &str, of: &DataType) -> DataType {
        if !self.is_numeric {
            return DataType::Float64;
        }
        let digits = match way(field) {
            Some(way) => way.digits,
            None if is_epoch(field) && !matches!(of, DataType::Date32 | DataType::Date64) => 6,
            None => 0,
        };
        DataType::Decimal128(20, digits)
    }

    fn values(&self, field: &str, values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
        let Some(way) = way(field) else {
            return Ok(cast(values, wanted)?);
        };
        let whole = cast(values, &DataType::Int64)?;
        let whole: Int64Array =
            whole.as_primitive::<Int64Type>().unary(|value| in_units(value, way.years));
        match wanted {
            DataType::Decimal128(precision, scale) => {
                // The number of units is the decimal's digits as they stand.
                let digits =
                    whole.unary::<_, datafusion::arrow::datatypes::Decimal128Type>(i128::from);
                Ok(Arc::new(digits.with_precision_and_scale(*precision, *scale)?))
            }
            _ => {
                let unit = 10f64.powi(i32::from(way.digits));
                let numbers: Float64Array = whole.unary(|value| value as f64 / unit);
                Ok(Arc::new(numbers))
            }
        }
    }
}

fn field_of(value: Option<&ScalarValue>) -> Result<String> {
    let text = value.and_then(ScalarValue::try_as_str).flatten();
    text.map(str::to_owned).ok_or_else(|| {
        let error = Error::new(SqlState::NotSupported, "the field of date_part must be a constant");
        error.hint("Write CASE with one date_part for each field.").into()
    })
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(Error::internal("the type of a part follows from the field's name").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = field_of(args.scalar_arguments.first().copied().flatten())?;
        let of = args.arg_fields.last().map_or(&DataType::Null, |field| field.data_type());
        Ok(Arc::new(Field::new(self.name, self.result(&field, of), true)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.return_field.data_type().clone();
        let field = match args.args.first() {
            Some(ColumnarValue::Scalar(value)) => field_of(Some(value))?,
            _ => field_of(None)?,
        };
        if let Some(way) = way(&field) {
            args.args[0] = ColumnarValue::Scalar(ScalarValue::from(way.field));
        }
        let inner = if is_epoch(&field) { DataType::Float64 } else { DataType::Int32 };
        args.return_field = Arc::new(Field::new(self.name, inner, true));
        Ok(match self.inner.invoke_with_args(args)? {
            ColumnarValue::Array(values) => {
                ColumnarValue::Array(self.values(&field, &values, &wanted)?)
            }
            ColumnarValue::Scalar(value) => {
                let values = self.values(&field, &value.to_array()?, &wanted)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)
            }
        })
    }
}
