//! Floats as SQL compares them: one zero and one NaN.
//!
//! By their bits `0.0` and `-0.0` differ, and so do the many NaNs. Wherever values are compared as bytes (keys of groups, primary keys), they
//! go through [`normalised`] first.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};

/// Floats with one zero and one NaN; every other column as it is.
pub fn normalised(column: &ArrayRef) -> ArrayRef {
    fn with<T: ArrowPrimitiveType>(column: &ArrayRef, f: impl Fn(T::Native) -> T::Native) -> ArrayRef {
        let floats: PrimitiveArray<T> = column.as_primitive::<T>().unary(f);
        Arc::new(floats)
    }
    match column.data_type() {
        DataType::Float16 => with::<Float16Type>(column, |v| match v.to_f32() {
            v if v.is_nan() => half_nan(),
            0.0 => Default::default(),
            _ => v,
        }),
        DataType::Float32 => with::<Float32Type>(column, |v| match v {
            v if v.is_nan() => f32::NAN,
            0.0 => 0.0,
            v => v,
        }),
        DataType::Float64 => with::<Float64Type>(column, |v| match v {
            v if v.is_nan() => f64::NAN,
            0.0 => 0.0,
            v => v,
        }),
        _ => Arc::clone(column),
    }
}

fn half_nan() -> <Float16Type as ArrowPrimitiveType>::Native {
    <Float16Type as ArrowPrimitiveType>::Native::NAN
}
