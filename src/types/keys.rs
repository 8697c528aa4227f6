//! Values as SQL compares them: one zero, one NaN, and one form of intervals that are equal.
//!
//! By their bits `0.0` and `-0.0` differ, and so do the many NaNs, and 1 day and 24 hours. Wherever
//! values are compared as bytes (keys of groups, primary keys), they go through [`normalised`]
//! first.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Float16Type, Float32Type, Float64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit,
};

/// Values that are equal with equal bytes: floats with one zero and one NaN, intervals by how long
/// they are. Every other column as it is.
pub fn normalised(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let intervals = column.as_primitive::<IntervalMonthDayNanoType>();
            Arc::new(intervals.unary::<_, IntervalMonthDayNanoType>(normal_interval))
        }
        _ => with_equal_floats(column),
    }
}

/// Whether two values of the type can be equal and look different.
pub fn looks_differ(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_))
}

/// The one of all intervals as long as this one whose parts are as large as can be and have one
/// sign: a month is 30 days and a day 24 hours long (Postgres manual, 9.9).
fn normal_interval(interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
    const DAY: i128 = 86_400_000_000_000;
    const MONTH: i128 = 30 * DAY;
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    let length = days * DAY + i128::from(interval.nanoseconds);
    // At the ends of the range there may be no room in the larger parts: then more is left in the
    // smaller ones.
    let months = (length / MONTH).clamp(i32::MIN.into(), i32::MAX.into());
    let rest = length - months * MONTH;
    let days = (rest / DAY).clamp(i32::MIN.into(), i32::MAX.into());
    IntervalMonthDayNano::new(months as i32, days as i32, (rest - days * DAY) as i64)
}

/// Floats with one zero and one NaN; every other column as it is.
pub fn with_equal_floats(column: &ArrayRef) -> ArrayRef {
    fn with<T: ArrowPrimitiveType>(
        column: &ArrayRef,
        f: impl Fn(T::Native) -> T::Native,
    ) -> ArrayRef {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_one_length_have_one_form() {
        const HOUR: i64 = 3_600_000_000_000;
        let check = |parts: (i32, i32, i64), expect: (i32, i32, i64)| {
            let normal = normal_interval(IntervalMonthDayNano::new(parts.0, parts.1, parts.2));
            assert_eq!((normal.months, normal.days, normal.nanoseconds), expect, "{parts:?}");
        };
        check((0, 1, 0), (0, 1, 0));
        check((0, 0, 24 * HOUR), (0, 1, 0));
        check((0, 30, 0), (1, 0, 0));
        check((0, 29, 24 * HOUR), (1, 0, 0));
        check((1, -1, 0), (0, 29, 0));
        check((0, 1, -25 * HOUR), (0, 0, -HOUR));
        check((-1, 0, HOUR), (0, -29, -23 * HOUR));
        check((i32::MAX, 29, 23 * HOUR), (i32::MAX, 29, 23 * HOUR));
        check((i32::MAX, 31, 0), (i32::MAX, 31, 0));
    }
}
