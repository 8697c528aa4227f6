//! The dimensions of arrays, arrays as text, and series.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, AsArray, Int32Builder, Int64Array, ListBuilder,
    PrimitiveBuilder, StringBuilder, TimestampMicrosecondBuilder as TimestampBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, DecimalType, FieldRef, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType,
};

use super::cast::written;
use super::flat::{Flat, dimensions, integer};
use super::polymorphic::{ArrayCall, ArrayFunction};
use super::scalar::strings;
use super::text::{Budget, at};
use crate::error::{Error, Result, SqlState};
use crate::time::DAY_MICROS;
use crate::types::decimal::power;

const DAY_NANOS: i128 = DAY_MICROS as i128 * 1_000;

/// The functions.
pub(super) static ALL: [ArrayFunction; 9] = [
    ArrayFunction {
        name: "array_ndims",
        forms: &["A:I"],
        call: |call| of_dimensions(call, |dims, _| dims.len()),
    },
    ArrayFunction { name: "array_length", forms: &["AI:I"], call: |call| of_dimensions(call, nth) },
    ArrayFunction { name: "array_upper", forms: &["AI:I"], call: |call| of_dimensions(call, nth) },
    ArrayFunction {
        name: "array_lower",
        forms: &["AI:I"],
        call: |call| of_dimensions(call, |dims, n| nth(dims, n).min(1)),
    },
    ArrayFunction { name: "cardinality", forms: &["A:I"], call: cardinality },
    ArrayFunction { name: "array_dims", forms: &["A:T"], call: array_dims },
    ArrayFunction { name: "array_to_string", forms: &["AT:T", "ATT:T"], call: to_text },
    ArrayFunction { name: "generate_subscripts", forms: &["AI:J", "AIB:J"], call: subscripts },
    ArrayFunction { name: "generate_series", forms: &["SS:S", "SSP:S"], call: series },
];

/// The length of the n-th dimension, or nothing.
fn nth(dimensions: &[usize], n: i64) -> usize {
    let at = usize::try_from(n - 1).ok();
    at.and_then(|at| dimensions.get(at)).copied().unwrap_or(0)
}

fn few() -> Error {
    Error::internal("a function of arrays without its arguments")
}

/// A number of the dimensions; none is NULL.
fn of_dimensions(call: &ArrayCall, of: fn(&[usize], i64) -> usize) -> Result<ArrayRef> {
    let (array, which) = call.columns.split_first().ok_or_else(few)?;
    let list = array.as_list::<i32>();
    let mut out = Int32Builder::new();
    for row in 0..call.rows {
        let n = match which.first() {
            Some(which) => integer(which, row),
            None => Some(0),
        };
        let found = n.and_then(|n| Some(of(&dimensions(list, row)?, n)));
        out.append_option(found.filter(|found| *found > 0).map(|found| found as i32));
    }
    Ok(Arc::new(out.finish()))
}

fn cardinality(call: &ArrayCall) -> Result<ArrayRef> {
    let flat = Flat::new(&call.columns[0]);
    let mut out = Int32Builder::new();
    for row in 0..call.rows {
        out.append_option(flat.range(row).map(|range| range.len() as i32));
    }
    Ok(Arc::new(out.finish()))
}

/// `[1:2][1:3]`.
fn array_dims(call: &ArrayCall) -> Result<ArrayRef> {
    let list = call.columns[0].as_list::<i32>();
    let mut out = StringBuilder::new();
    for row in 0..call.rows {
        let dimensions = dimensions(list, row).filter(|dimensions| !dimensions.is_empty());
        let shown = |dimensions: Vec<usize>| {
            dimensions.iter().map(|length| format!("[1:{length}]")).collect::<String>()
        };
        out.append_option(dimensions.map(shown));
    }
    Ok(Arc::new(out.finish()))
}

/// `array_to_string(array, delimiter [, null])`.
fn to_text(call: &ArrayCall) -> Result<ArrayRef> {
    let [array, delimiter, null @ ..] = &call.columns[..] else { return Err(few()) };
    let flat = Flat::new(array);
    let texts = strings(&written(&flat.values, &flat.item))?;
    let delimiters = strings(delimiter)?;
    let nulls = null.first().map(strings).transpose()?;
    let mut budget = Budget::default();
    let mut out = StringBuilder::new();
    for row in 0..call.rows {
        let between = at(&delimiters, row);
        let (Some(range), true) = (flat.range(row), delimiters.is_valid(between)) else {
            out.append_null();
            continue;
        };
        let between = delimiters.value(between);
        let null = nulls.as_ref().map(|nulls| (nulls, at(nulls, row)));
        let null =
            null.filter(|(nulls, row)| nulls.is_valid(*row)).map(|(nulls, row)| nulls.value(row));
        let shown = |at: usize| if texts.is_valid(at) { Some(texts.value(at)) } else { null };
        let parts: Vec<&str> = range.filter_map(shown).collect();
        budget.add(parts.iter().map(|part| part.len() + between.len()).sum())?;
        out.append_value(parts.join(between));
    }
    Ok(Arc::new(out.finish()))
}

/// `generate_subscripts(array, dimension [, reverse])`.
fn subscripts(call: &ArrayCall) -> Result<ArrayRef> {
    let [array, which, reverse @ ..] = &call.columns[..] else { return Err(few()) };
    let list = array.as_list::<i32>();
    let reverse = reverse.first().map(|reverse| reverse.as_boolean());
    let mut out = ListBuilder::new(Int32Builder::new());
    for row in 0..call.rows {
        let length = integer(which, row).and_then(|n| Some(nth(&dimensions(list, row)?, n)));
        let backwards = match reverse {
            None => Some(false),
            Some(reverse) => {
                let row = at(reverse, row);
                reverse.is_valid(row).then(|| reverse.value(row))
            }
        };
        let (Some(length), Some(backwards)) = (length, backwards) else {
            out.append_null();
            continue;
        };
        for nth in 1..=length as i32 {
            out.values().append_value(if backwards { length as i32 + 1 - nth } else { nth });
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

/// `generate_series(first, last [, step])` as an array.
fn series(call: &ArrayCall) -> Result<ArrayRef> {
    let DataType::List(item) = call.out.data_type() else { return Err(few()) };
    match item.data_type() {
        DataType::Timestamp(..) => moments(call, item.data_type()),
        DataType::Decimal128(_, scale) => {
            decimals::<Decimal128Type>(call, item, 10_i128.pow(scale.unsigned_abs().into()))
        }
        DataType::Decimal256(_, scale) => {
            let unit = power(scale.unsigned_abs().into()).ok_or_else(few)?;
            decimals::<Decimal256Type>(call, item, unit)
        }
        _ => {
            let columns = call.columns.iter().map(|column| Ok(cast(column, &DataType::Int64)?));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let value = |at: usize, row: usize| {
                let Some(column) = columns.get(at) else { return Some(1) };
                let column: &Int64Array = column.as_primitive::<Int64Type>();
                let row = super::text::at(column, row);
                column.is_valid(row).then(|| i128::from(column.value(row)))
            };
            let mut out = ListBuilder::new(Int64Array::builder(0));
            numbers(call.rows, value, |value| match value {
                // It is between two of them.
                Some(Some(value)) => out.values().append_value(value as i64),
                Some(None) => out.append(true),
                None => out.append_null(),
            })?;
            Ok(cast(&out.finish(), call.out.data_type())?)
        }
    }
}

fn no_step() -> Error {
    Error::new(SqlState::BadArgument, "step size cannot equal zero")
}

fn decimals<T: DecimalType>(
    call: &ArrayCall,
    item: &FieldRef,
    unit: T::Native,
) -> Result<ArrayRef> {
    let value = |at: usize, row: usize| {
        let Some(column) = call.columns.get(at) else { return Some(unit) };
        let column = column.as_primitive::<T>();
        let row = super::text::at(column, row);
        column.is_valid(row).then(|| column.value(row))
    };
    let values = PrimitiveBuilder::<T>::new().with_data_type(item.data_type().clone());
    let mut out = ListBuilder::new(values).with_field(Arc::clone(item));
    numbers(call.rows, value, |value| match value {
        Some(Some(value)) => out.values().append_value(value),
        Some(None) => out.append(true),
        None => out.append_null(),
    })?;
    Ok(Arc::new(out.finish()))
}

/// The numbers of each row one by one, `Some(None)` behind the last; `None`: an argument is NULL.
fn numbers<N: ArrowNativeTypeOp>(
    rows: usize,
    value: impl Fn(usize, usize) -> Option<N>,
    mut out: impl FnMut(Option<Option<N>>),
) -> Result<()> {
    let mut budget = Budget::default();
    for row in 0..rows {
        let (Some(first), Some(last), Some(step)) = (value(0, row), value(1, row), value(2, row))
        else {
            out(None);
            continue;
        };
        if step.is_zero() {
            return Err(no_step());
        }
        let is_up = step.is_gt(N::ZERO);
        let is_within = |next: N| if is_up { next.is_le(last) } else { next.is_ge(last) };
        if is_within(first) {
            let steps = last.sub_checked(first).and_then(|whole| whole.div_checked(step));
            let steps = steps.ok().and_then(|steps| steps.to_usize()).unwrap_or(usize::MAX);
            budget.add(steps.saturating_add(1).saturating_mul(8))?;
        }
        let mut next = first;
        while is_within(next) {
            out(Some(Some(next)));
            match next.add_checked(step) {
                Ok(after) => next = after,
                Err(_) => break,
            }
        }
        out(Some(None));
    }
    Ok(())
}

/// A series of timestamps, each from the one before it.
fn moments(call: &ArrayCall, item: &DataType) -> Result<ArrayRef> {
    let [first, last, step] = &call.columns[..] else { return Err(few()) };
    let bounds = [first, last].map(|bound| bound.as_primitive::<TimestampMicrosecondType>());
    let steps = step.as_primitive::<IntervalMonthDayNanoType>();
    let utc: Tz = "+00:00".parse()?;
    let mut budget = Budget::default();
    let mut out = ListBuilder::new(TimestampBuilder::new().with_data_type(item.clone()));
    for row in 0..call.rows {
        let places = [at(bounds[0], row), at(bounds[1], row)];
        let place = at(steps, row);
        if bounds[0].is_null(places[0]) || bounds[1].is_null(places[1]) || steps.is_null(place) {
            out.append_null();
            continue;
        }
        let (mut next, last) = (bounds[0].value(places[0]), bounds[1].value(places[1]));
        let step: IntervalMonthDayNano = steps.value(place);
        let days = i128::from(step.months) * 30 + i128::from(step.days);
        let direction = (days * DAY_NANOS + i128::from(step.nanoseconds)).cmp(&0);
        if direction.is_eq() {
            return Err(no_step());
        }
        let mut counted = 0_usize;
        while if direction.is_gt() { next <= last } else { next >= last } {
            counted += 1;
            // Asked for in pieces, that together must not be more than a value may have.
            if counted.is_multiple_of(1024) {
                budget.add(8 * 1024)?;
                if counted * 8 > crate::limits::VALUE_BYTES {
                    budget.add(counted * 8)?;
                }
            }
            out.values().append_value(next);
            match TimestampMicrosecondType::add_month_day_nano(next, step, utc) {
                Some(after) if after != next => next = after,
                _ => return Err(Error::new(SqlState::DatetimeOverflow, "timestamp out of range")),
            }
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}
