//! Casts as Postgres does them, where arrow's kernels do something else.
//!
//! - From text, and to text: a value is read and written as it is over the wire
//!   ([`pg`](crate::pgtypes::values)); so `ts::text` has a space in it and `'{1,2}'::int[]` is an
//!   array, and bad text is 22P02 or 22007 in the words of Postgres. Numbers that show as many
//!   places as they have show no more as text either.
//! - To an integer, a number is rounded: a numeric half away from zero, a float half to even. Arrow
//!   cuts it off.
//! - To a numeric, a double has 15 significant digits and a real 6; a numeric becomes the double that is
//!   nearest.
//! - To a real, a double that it cannot hold is 22003.
//! - Dates and timestamps without end stay so.
//!
//! The rewrite comes after types have been coerced, so that it also finds the casts that the
//! coercion has put in.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    ListArray, PrimitiveArray, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::{cast, try_unary};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Field, FieldRef,
    Float32Type, Float64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, i256,
};
use arrow::error::ArrowError;
use bytes::BytesMut;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use super::flat::trimmed;
use super::math::in_range;
use super::scalar::over_columns;
use crate::error::{Error, SqlState};
use crate::pgtypes::values::{ColumnBuilder, Encoder, TextStyle};
use crate::time::DAY_MICROS;
use crate::types::calendar::{is_finite, midnight};
use crate::types::decimal::Decimal;
use crate::types::{SqlType, Zone};

/// The function for a cast, where arrow's kernel will not do.
pub(crate) fn replaced(cast: Cast, schema: &DFSchema) -> Result<Expr, Cast> {
    let Ok(from) = cast.expr.get_type(schema) else {
        return Err(cast);
    };
    let way = match (&from, cast.field.data_type()) {
        (from, to) if from.is_string() && is_read(&cast.field, to) => CastFunction::FromText,
        (from, DataType::Utf8) if is_written(from) => CastFunction::ToText,
        (from, DataType::Int16 | DataType::Int32 | DataType::Int64) if is_fractional(from) => {
            CastFunction::Round
        }
        (from, DataType::Decimal128(..) | DataType::Decimal256(..)) if from.is_floating() => {
            CastFunction::Digits
        }
        (DataType::Float64, DataType::Float32) => CastFunction::Narrow,
        (from, DataType::Float64) if is_long(from) => CastFunction::Double,
        (DataType::List(_), to @ DataType::List(_)) if from != *to => CastFunction::Elements,
        (from, to) if is_of_times(from, to) => CastFunction::Time,
        _ => return Err(cast),
    };
    let signature = Signature::any(1, Volatility::Immutable);
    let function = PostgresCast { way, to: cast.field, signature };
    let function = Arc::new(ScalarUDF::from(function));
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![*cast.expr])))
}

/// What is cast, and to which type, by whatever does it.
pub(crate) fn cast_of(expr: &Expr) -> Option<(&Expr, &DataType)> {
    match expr {
        Expr::Cast(cast) => Some((&cast.expr, cast.field.data_type())),
        Expr::ScalarFunction(call) => {
            let function = call.func.inner().downcast_ref::<PostgresCast>()?;
            Some((call.args.first()?, function.to.data_type()))
        }
        _ => None,
    }
}

/// Types whose values are read from text here.
fn is_read(field: &Field, to: &DataType) -> bool {
    let sql_type = SqlType::from_field(field);
    match sql_type {
        SqlType::Json | SqlType::Jsonb => true,
        // The fields of lists may say more of their type.
        _ => !to.is_string() && *to != DataType::Null && sql_type.data_type().equals_datatype(to),
    }
}

/// Types whose values arrow writes otherwise.
fn is_written(from: &DataType) -> bool {
    use DataType as D;
    matches!(
        from,
        D::Float16
            | D::Float32
            | D::Float64
            | D::Decimal128(..)
            | D::Decimal256(..)
            | D::Interval(_)
            | D::Duration(_)
            | D::Date32
            | D::Date64
            | D::Timestamp(..)
            | D::Time64(_)
            | D::Binary
            | D::FixedSizeBinary(16)
            | D::List(_)
            | D::Struct(_)
    )
}

fn is_fractional(from: &DataType) -> bool {
    from.is_floating() || matches!(from, DataType::Decimal128(..) | DataType::Decimal256(..))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum CastFunction {
    FromText,
    ToText,
    Round,
    Digits,
    Narrow,
    Double,
    /// Of arrays: as their elements are cast.
    Elements,
    Time,
}

/// A cast as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PostgresCast {
    way: CastFunction,
    to: FieldRef,
    signature: Signature,
}

impl ScalarUDFImpl for PostgresCast {
    fn name(&self) -> &str {
        match self.way {
            CastFunction::FromText => "cast_from_text",
            CastFunction::ToText => "cast_to_text",
            CastFunction::Round => "cast_to_integer",
            CastFunction::Digits => "cast_to_numeric",
            CastFunction::Narrow => "cast_to_real",
            CastFunction::Double => "cast_to_double",
            CastFunction::Elements => "cast_elements",
            CastFunction::Time => "cast_time",
        }
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        let value = args.first().map(Expr::to_string).unwrap_or_default();
        Ok(format!("CAST({value} AS {})", SqlType::from_field(&self.to)))
    }

    /// As of the cast it stands for: mostly the name of what is cast.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let name = args.first().map(|value| value.schema_name().to_string()).unwrap_or_default();
        Ok(match self.way {
            // Such a cast may be the key of a join whose side has the value itself as well.
            CastFunction::Digits
            | CastFunction::Narrow
            | CastFunction::Double
            | CastFunction::Time => {
                format!("CAST({name} AS {})", SqlType::from_field(&self.to))
            }
            _ => name,
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(self.to.as_ref().clone().with_name(self.name()).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (Some(value), Some(field)) = (args.args.first(), args.arg_fields.first()) else {
            return Err(Error::internal("a cast of nothing").into());
        };
        over_columns(std::slice::from_ref(value), args.number_rows, |columns, _| match self.way {
            CastFunction::FromText => read(&columns[0], &self.to),
            CastFunction::ToText => Ok(written(&columns[0], field)),
            CastFunction::Round => rounded(&columns[0], self.to.data_type()),
            CastFunction::Digits => read(&(Arc::new(digits(&columns[0])?) as ArrayRef), &self.to),
            CastFunction::Narrow => narrowed(&columns[0]),
            CastFunction::Double => Ok(doubles(&columns[0])),
            CastFunction::Elements => converted(&columns[0], field, &self.to),
            CastFunction::Time => Ok(time_cast(&columns[0], self.to.data_type())?),
        })
    }
}

pub(super) fn read(array: &ArrayRef, to: &Field) -> Result<ArrayRef> {
    read_in(array, to, Zone::Utc)
}

/// Values as they are read in a session with that zone.
pub(super) fn read_in(array: &ArrayRef, to: &Field, zone: Zone) -> Result<ArrayRef> {
    let texts = cast(array, &DataType::Utf8)?;
    let texts: &StringArray = texts.as_string();
    let mut builder = ColumnBuilder::new(&SqlType::from_field(to), texts.len()).in_zone(zone);
    for text in texts {
        match text {
            Some(text) => builder.append_text(text.as_bytes())?,
            None => builder.append_null(),
        }
    }
    // The fields of lists and rows may have other metadata.
    let built = builder.finish();
    Ok(if built.data_type() == to.data_type() { built } else { cast(&built, to.data_type())? })
}

pub(super) fn written(array: &ArrayRef, field: &Field) -> ArrayRef {
    written_in(array, field, &TextStyle::default())
}

/// Values as they are shown in that style.
pub(super) fn written_in(array: &ArrayRef, field: &Field, style: &TextStyle) -> ArrayRef {
    let encoder = Encoder::new(field);
    let mut texts = StringBuilder::with_capacity(array.len(), array.len() * 16);
    let mut bytes = BytesMut::new();
    for row in 0..array.len() {
        if encoder.is_null(array.as_ref(), row) {
            texts.append_null();
            continue;
        }
        bytes.clear();
        encoder.text(array.as_ref(), row, style, &mut bytes);
        texts.append_value(String::from_utf8_lossy(&bytes));
    }
    Arc::new(texts.finish())
}

/// The digits of doubles and reals that are sure.
fn digits(floats: &ArrayRef) -> Result<StringArray> {
    let places = if *floats.data_type() == DataType::Float64 { 14 } else { 5 };
    let floats = cast(floats, &DataType::Float64)?;
    // What numerics say to infinity.
    let text = |value: f64| {
        if value.is_finite() { format!("{value:.places$e}") } else { "NaN".to_owned() }
    };
    Ok(floats.as_primitive::<Float64Type>().iter().map(|value| value.map(text)).collect())
}

/// Whether numerics of the type have more digits than arrow's kernel divides without a loss.
fn is_long(of: &DataType) -> bool {
    match of {
        DataType::Decimal128(precision, scale) => *precision > 15 || *scale > 22,
        other => matches!(other, DataType::Decimal256(..)),
    }
}

fn doubles(numerics: &ArrayRef) -> ArrayRef {
    let double = |row| Decimal::at(numerics, row).map(Decimal::to_double);
    Arc::new((0..numerics.len()).map(double).collect::<Float64Array>())
}

fn narrowed(doubles: &ArrayRef) -> Result<ArrayRef> {
    let narrow = |value: f64| {
        let real = value as f32;
        in_range(real.into(), value.is_infinite(), value == 0.0)?;
        Ok(real)
    };
    let reals: Float32Array =
        try_unary::<_, _, Float32Type>(doubles.as_primitive::<Float64Type>(), narrow)?;
    Ok(Arc::new(reals))
}

/// Values of one type as those of another; of arrays, their elements.
fn converted(array: &ArrayRef, from: &Field, to: &Field) -> Result<ArrayRef> {
    Ok(match (from.data_type(), to.data_type()) {
        (DataType::List(item), DataType::List(wanted)) => {
            let (_, offsets, values, nulls) = trimmed(array.as_list::<i32>()).into_parts();
            let values = converted(&values, item, wanted)?;
            Arc::new(ListArray::try_new(Arc::clone(wanted), offsets, values, nulls)?)
        }
        (from, data_type) if from.is_string() && is_read(to, data_type) => read(array, to)?,
        (DataType::Utf8, DataType::Utf8) => with_its_blanks(array, from, to),
        (of, DataType::Utf8) if is_written(of) => written(array, from),
        (of, data_type @ (DataType::Int16 | DataType::Int32 | DataType::Int64))
            if is_fractional(of) =>
        {
            rounded(array, data_type)?
        }
        (_, data_type) => time_cast(array, data_type)?,
    })
}

/// Texts with the blanks of a CHAR that go along to the other type, and without the others.
fn with_its_blanks(texts: &ArrayRef, from: &Field, to: &Field) -> ArrayRef {
    let own = texts.as_string::<i32>().iter();
    match (SqlType::from_field(from), SqlType::from_field(to)) {
        (SqlType::Bpchar(Some(length)), SqlType::Bpchar(None)) => {
            let length = length as usize;
            let padded = own.map(|text| text.map(|text| format!("{text:length$}")));
            Arc::new(padded.collect::<StringArray>())
        }
        (SqlType::Bpchar(None), SqlType::Text | SqlType::Varchar(_)) => {
            let trimmed = own.map(|text| text.map(|text| text.trim_end_matches(' ')));
            Arc::new(trimmed.collect::<StringArray>())
        }
        _ => Arc::clone(texts),
    }
}

/// Whether arrow's cast would not know infinity.
fn is_of_times(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Time64, Timestamp};
    use TimeUnit::Microsecond;
    match (from, to) {
        (Timestamp(Microsecond, from), Timestamp(Microsecond, to)) => {
            from.is_some() != to.is_some()
        }
        (Date32, Timestamp(Microsecond, _))
        | (Timestamp(Microsecond, _), Date32 | Time64(Microsecond)) => true,
        _ => false,
    }
}

fn too_late() -> ArrowError {
    Error::new(SqlState::DatetimeOverflow, "date out of range for timestamp").into()
}

/// A cast between dates and timestamps; any other as arrow does it.
pub(super) fn time_cast(array: &ArrayRef, to: &DataType) -> crate::error::Result<ArrayRef> {
    if !is_of_times(array.data_type(), to) {
        return Ok(cast(array, to)?);
    }
    if let Some(days) = array.as_primitive_opt::<Date32Type>() {
        let midnights: TimestampMicrosecondArray =
            try_unary(days, |days| midnight(days).ok_or_else(too_late))?;
        return Ok(Arc::new(midnights.with_data_type(to.clone())));
    }
    let times = array.as_primitive::<TimestampMicrosecondType>();
    Ok(match to {
        DataType::Date32 => Arc::new(times.unary::<_, Date32Type>(|micros| match micros {
            i64::MIN => i32::MIN,
            i64::MAX => i32::MAX,
            micros => micros.div_euclid(DAY_MICROS) as i32,
        })),
        DataType::Time64(_) => Arc::new(times.unary_opt::<_, Time64MicrosecondType>(|micros| {
            is_finite(micros).then(|| micros.rem_euclid(DAY_MICROS))
        })),
        _ => Arc::new(times.clone().with_data_type(to.clone())),
    })
}

fn rounded(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let whole: Vec<Option<i64>> = match array.data_type() {
        DataType::Decimal128(_, scale) => {
            let values = array.as_primitive::<Decimal128Type>();
            whole(values, to, |value| whole_decimal(i256::from_i128(value), *scale))?
        }
        DataType::Decimal256(_, scale) => {
            whole(array.as_primitive::<Decimal256Type>(), to, |value| whole_decimal(value, *scale))?
        }
        _ => {
            let floats = cast(array, &DataType::Float64)?;
            whole(floats.as_primitive::<Float64Type>(), to, whole_float)?
        }
    };
    // Each value has been checked against the type.
    Ok(match to {
        DataType::Int16 => {
            Arc::new(whole.iter().map(|v| v.map(|v| v as i16)).collect::<Int16Array>())
        }
        DataType::Int32 => {
            Arc::new(whole.iter().map(|v| v.map(|v| v as i32)).collect::<Int32Array>())
        }
        _ => Arc::new(Int64Array::from(whole)),
    })
}

fn whole<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    to: &DataType,
    round: impl Fn(T::Native) -> Option<i64>,
) -> Result<Vec<Option<i64>>, Error> {
    let (name, least, greatest) = match to {
        DataType::Int16 => ("smallint", i64::from(i16::MIN), i64::from(i16::MAX)),
        DataType::Int32 => ("integer", i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => ("bigint", i64::MIN, i64::MAX),
    };
    let in_range = |value: T::Native| match round(value) {
        Some(value) if (least..=greatest).contains(&value) => Ok(value),
        _ => Err(Error::new(SqlState::OutOfRange, format!("{name} out of range"))),
    };
    values.iter().map(|value| value.map(in_range).transpose()).collect()
}

fn whole_decimal(value: i256, scale: i8) -> Option<i64> {
    let whole = Decimal::new(value, scale).rescaled(0).ok()?;
    whole.to_i128().and_then(|whole| i64::try_from(whole).ok())
}

fn whole_float(value: f64) -> Option<i64> {
    // 2^63 is the first float that is too large; its negative is the smallest that fits.
    const END: f64 = 9_223_372_036_854_775_808.0;
    let whole = value.round_ties_even();
    (-END..END).contains(&whole).then_some(whole as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_integers_by_rounding() {
        let decimal = |value, scale| whole_decimal(i256::from_i128(value), scale);
        assert_eq!([decimal(25, 1), decimal(-25, 1), decimal(24, 1)], [Some(3), Some(-3), Some(2)]);
        let floats = [2.5, 3.5, -2.5, -0.4].map(whole_float);
        assert_eq!(floats, [Some(2), Some(4), Some(-2), Some(0)]);
        assert_eq!([9.3e18, f64::NAN, f64::INFINITY].map(whole_float), [None; 3]);
        assert_eq!(whole_float(-9_223_372_036_854_775_808.0), Some(i64::MIN));
    }
}
