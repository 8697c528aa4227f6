//! Functions on text: those of Flink that are missing, and bounds for those that could make a
//! gigabyte out of nothing.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::compute::cast;
use arrow::compute::kernels::concat_elements::concat_elements_utf8;
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::functions::{string, unicode};
use datafusion::functions_nested::range;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, TypeSignature, Volatility};
use regex::Regex;

use super::super::room::take;
use super::recent::Recent;
use super::scalar::{Bounded, Scalar, integers, strings, text};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::time::DAY_MICROS;

pub(crate) fn all() -> Vec<ScalarUDF> {
    let text_text_int = Signature::exact(
        vec![DataType::Utf8, DataType::Utf8, DataType::Int64],
        Volatility::Immutable,
    );
    let extract = Signature::one_of(
        vec![
            TypeSignature::Exact(vec![DataType::Utf8, DataType::Utf8]),
            TypeSignature::Exact(vec![DataType::Utf8, DataType::Utf8, DataType::Int64]),
        ],
        Volatility::Immutable,
    );
    let function = |name, signature, call| {
        ScalarUDF::from(Scalar { name, aliases: vec![], signature, out: DataType::Utf8, call })
    };
    vec![
        function("split_index", text_text_int, split_index),
        function("regexp_extract", extract, regexp_extract),
        bounded(string::repeat(), repeated),
        bounded(unicode::lpad(), padded),
        bounded(unicode::rpad(), padded),
        bounded(string::replace(), replaced),
        bounded(range::range_udf(), ranged),
    ]
}

/// DataFusion's function, asked first how much it will make.
pub(super) fn bounded(
    inner: Arc<ScalarUDF>,
    check: fn(&[ColumnarValue], usize) -> Result<()>,
) -> ScalarUDF {
    ScalarUDF::from(Bounded { inner: inner.as_ref().clone(), check })
}

/// `split_index(text, delimiter, n)`: the part before the n-th delimiter, counted from 0; NULL when
/// there is none.
fn split_index(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (texts, delimiters, indexes) =
        (strings(&args[0])?, strings(&args[1])?, integers(&args[2])?);
    let mut out = StringBuilder::new();
    for row in 0..rows {
        let part = match (text(&texts, row), text(&delimiters, row), indexes.is_valid(row)) {
            (Some(whole), Some(""), true) if indexes.value(row) == 0 => Some(whole),
            (Some(_), Some(""), true) => None,
            (Some(whole), Some(delimiter), true) => usize::try_from(indexes.value(row))
                .ok()
                .and_then(|index| whole.split(delimiter).nth(index)),
            _ => None,
        };
        out.append_option(part);
    }
    Ok(Arc::new(out.finish()))
}

/// `regexp_extract(text, pattern [, group])`: what the group (0: everything) of the first match is,
/// or NULL.
fn regexp_extract(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (texts, patterns) = (strings(&args[0])?, strings(&args[1])?);
    let groups = args.get(2).map(integers).transpose()?;
    let mut compiled = Recent::default();
    let mut out = StringBuilder::new();
    for row in 0..rows {
        let group = match &groups {
            Some(groups) if groups.is_null(row) => None,
            Some(groups) => usize::try_from(groups.value(row)).ok(),
            None => Some(0),
        };
        let (Some(whole), Some(pattern), Some(group)) =
            (text(&texts, row), text(&patterns, row), group)
        else {
            out.append_null();
            continue;
        };
        let compiled = compiled.of(pattern, |pattern| {
            Regex::new(pattern).map_err(|error| {
                Error::new(SqlState::BadArgument, format!("invalid regular expression: {error}"))
            })
        })?;
        let found = compiled.captures(whole).and_then(|found| found.get(group));
        out.append_option(found.map(|found| found.as_str()));
    }
    Ok(Arc::new(out.finish()))
}

/// Adds up what a call will make, row by row.
#[derive(Default)]
pub(super) struct Budget {
    total: usize,
}

impl Budget {
    pub(super) fn add(&mut self, bytes: usize) -> Result<()> {
        self.total = self.total.saturating_add(bytes);
        let is_large = bytes > limits::VALUE_BYTES || self.total > limits::CALL_BYTES;
        // Where the operator can do with fewer rows, this error is not seen.
        if is_large || !take(bytes) {
            return Err(Error::new(SqlState::ProgramLimit, "requested length too large")
                .hint(format!("A value may have {} MiB at the most.", limits::VALUE_BYTES >> 20)));
        }
        Ok(())
    }
}

/// The arguments as columns; constants as columns of one row, which stand for all.
pub(super) fn columns(args: &[ColumnarValue]) -> Result<Vec<ArrayRef>> {
    let arrays = args.iter().map(|arg| match arg {
        ColumnarValue::Array(array) => Ok(array.clone()),
        ColumnarValue::Scalar(scalar) => Ok(scalar.to_array()?),
    });
    arrays.collect()
}

pub(super) fn at(array: &dyn Array, row: usize) -> usize {
    if array.len() == 1 { 0 } else { row }
}

/// Runs `size` for each row: text's bytes and the number beside it.
fn sized(args: &[ColumnarValue], rows: usize, size: fn(usize, usize) -> usize) -> Result<()> {
    let arrays = columns(args)?;
    if arrays.len() < 2 {
        return Ok(());
    }
    let (texts, counts) = (strings(&arrays[0])?, integers(&arrays[1])?);
    let mut budget = Budget::default();
    for row in 0..rows {
        let (t, c) = (at(&texts, row), at(&counts, row));
        if texts.is_valid(t) && counts.is_valid(c) {
            let count = usize::try_from(counts.value(c)).unwrap_or(0);
            budget.add(size(texts.value(t).len(), count))?;
        }
    }
    Ok(())
}

fn repeated(args: &[ColumnarValue], rows: usize) -> Result<()> {
    sized(args, rows, usize::saturating_mul)
}

/// `range(first, last, step)` as an array; eight bytes an element.
fn ranged(args: &[ColumnarValue], rows: usize) -> Result<()> {
    let arrays = columns(args)?;
    let mut bounds = Vec::new();
    for array in arrays.iter().take(2) {
        let of_time = DataType::Timestamp(TimeUnit::Microsecond, None);
        bounds.push(match array.data_type() {
            DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64 => {
                integers(&cast(array, &of_time)?)?
            }
            other if other.is_numeric() || other.is_null() => integers(array)?,
            // DataFusion says what is wrong with it.
            _ => return Ok(()),
        });
    }
    let steps = arrays.get(2).map(steps).transpose()?;
    let mut budget = Budget::default();
    for row in 0..rows {
        let bound = |n: usize| -> Option<i128> {
            let array = bounds.get(n)?;
            array.is_valid(at(array, row)).then(|| array.value(at(array, row)).into())
        };
        let (first, last) = match (bound(0), bound(1)) {
            (Some(last), None) if bounds.len() == 1 => (0, last),
            (Some(first), Some(last)) => (first, last),
            _ => continue,
        };
        let step = steps.as_ref().map_or(1, |steps| steps[if steps.len() == 1 { 0 } else { row }]);
        let count = (last - first).abs() / i128::from(step.unsigned_abs().max(1));
        budget.add(usize::try_from(count.saturating_mul(8)).unwrap_or(usize::MAX))?;
    }
    Ok(())
}

/// The steps of a series: numbers, or intervals in microseconds.
fn steps(array: &ArrayRef) -> Result<Vec<i64>> {
    if !matches!(array.data_type(), DataType::Interval(_)) {
        return Ok(integers(array)?.iter().map(|step| step.unwrap_or(1)).collect());
    }
    let array = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let micros = |step: Option<IntervalMonthDayNano>| {
        step.map_or(1, |step| {
            let days = i64::from(step.months) * 30 + i64::from(step.days);
            (days * DAY_MICROS).saturating_add(step.nanoseconds / 1_000)
        })
    };
    Ok(array.as_primitive::<IntervalMonthDayNanoType>().iter().map(micros).collect())
}

/// A padded text has so many characters, of at most four bytes.
fn padded(args: &[ColumnarValue], rows: usize) -> Result<()> {
    sized(args, rows, |_, characters| characters)
}

/// `||` of two columns of text, NULL where one of them is.
pub(crate) fn concatenated(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let (left, right) = (strings(left)?, strings(right)?);
    let mut budget = Budget::default();
    for row in 0..left.len() {
        budget.add((left.value_length(row) + right.value_length(row)) as usize)?;
    }
    Ok(Arc::new(concat_elements_utf8(&left, &right)?))
}

/// Each place may become the replacement: at the most one more than the text has characters.
fn replaced(args: &[ColumnarValue], rows: usize) -> Result<()> {
    let arrays = columns(args)?;
    let texts = arrays.iter().map(strings).collect::<Result<Vec<_>>>()?;
    let [whole, from, to] = &texts[..] else { return Ok(()) };
    let mut budget = Budget::default();
    for row in 0..rows {
        let (w, f, t) = (at(whole, row), at(from, row), at(to, row));
        if whole.is_valid(w) && from.is_valid(f) && to.is_valid(t) {
            let (w, f, t) = (whole.value(w), from.value(f), to.value(t).len());
            let rough = (w.len() + 1).saturating_mul(t.max(1));
            let bytes = if rough > limits::VALUE_BYTES || f.is_empty() {
                w.len().saturating_add(w.matches(f).count().saturating_mul(t))
            } else {
                w.len().max(rough.min(w.len() + w.len() / f.len() * t))
            };
            budget.add(bytes)?;
        }
    }
    Ok(())
}
