//! What the forms of functions are given and give, row by row.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Float64Array, Int32Array,
    Int64Array, IntervalMonthDayNanoArray, ListBuilder, StringArray, StringBuilder,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};

use super::cast::{read, written};
use crate::error::Result;
use crate::types::SqlType;

/// A column of arguments.
pub(super) enum ArgumentColumn {
    Text(StringArray),
    Bytes(BinaryArray),
    Bool(BooleanArray),
    Double(Float64Array),
    Interval(IntervalMonthDayNanoArray),
    /// Days and microseconds too.
    Int(Int64Array),
    Null,
}

impl ArgumentColumn {
    pub(super) fn new(array: &ArrayRef) -> Result<ArgumentColumn> {
        use DataType as D;
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let to = |to| cast_with_options(array, &to, &options);
        Ok(match array.data_type() {
            D::Null => ArgumentColumn::Null,
            D::Binary => ArgumentColumn::Bytes(array.as_binary::<i32>().clone()),
            D::Boolean => ArgumentColumn::Bool(array.as_boolean().clone()),
            D::Float32 | D::Float64 => {
                ArgumentColumn::Double(to(D::Float64)?.as_primitive::<Float64Type>().clone())
            }
            D::Interval(_) => {
                ArgumentColumn::Interval(array.as_primitive::<IntervalMonthDayNanoType>().clone())
            }
            D::Date32 => ArgumentColumn::Int(to(D::Int32).and_then(|days| {
                Ok(cast_with_options(&days, &D::Int64, &options)?
                    .as_primitive::<Int64Type>()
                    .clone())
            })?),
            D::Int32 | D::Int64 | D::Time64(_) | D::Timestamp(..) => {
                ArgumentColumn::Int(to(D::Int64)?.as_primitive::<Int64Type>().clone())
            }
            _ => ArgumentColumn::Text(
                written(array, &Field::new("", array.data_type().clone(), true))
                    .as_string::<i32>()
                    .clone(),
            ),
        })
    }

    fn array(&self) -> Option<&dyn Array> {
        Some(match self {
            ArgumentColumn::Text(array) => array,
            ArgumentColumn::Bytes(array) => array,
            ArgumentColumn::Bool(array) => array,
            ArgumentColumn::Double(array) => array,
            ArgumentColumn::Interval(array) => array,
            ArgumentColumn::Int(array) => array,
            ArgumentColumn::Null => return None,
        })
    }
}

/// The arguments of one row; what is asked for in another type than the form's is nothing.
#[derive(Clone, Copy)]
pub(super) struct ArgumentsOf<'a> {
    pub(super) columns: &'a [ArgumentColumn],
    pub(super) at: usize,
}

impl<'a> ArgumentsOf<'a> {
    pub(super) fn count(self) -> usize {
        self.columns.len()
    }

    pub(super) fn is_null(self, n: usize) -> bool {
        self.columns
            .get(n)
            .and_then(ArgumentColumn::array)
            .is_none_or(|array| array.is_null(self.at))
    }

    pub(super) fn text(self, n: usize) -> &'a str {
        match self.columns.get(n) {
            Some(ArgumentColumn::Text(texts)) => texts.value(self.at),
            _ => "",
        }
    }

    /// A text that may be NULL.
    pub(super) fn some(self, n: usize) -> Option<&'a str> {
        (!self.is_null(n)).then(|| self.text(n))
    }

    pub(super) fn bytes(self, n: usize) -> &'a [u8] {
        match self.columns.get(n) {
            Some(ArgumentColumn::Bytes(bytes)) => bytes.value(self.at),
            _ => &[],
        }
    }

    pub(super) fn int(self, n: usize) -> i64 {
        match self.columns.get(n) {
            Some(ArgumentColumn::Int(numbers)) => numbers.value(self.at),
            _ => 0,
        }
    }

    pub(super) fn double(self, n: usize) -> f64 {
        match self.columns.get(n) {
            Some(ArgumentColumn::Double(numbers)) => numbers.value(self.at),
            _ => 0.0,
        }
    }

    pub(super) fn truth(self, n: usize) -> bool {
        matches!(self.columns.get(n), Some(ArgumentColumn::Bool(truths)) if truths.value(self.at))
    }

    pub(super) fn interval(self, n: usize) -> IntervalMonthDayNano {
        match self.columns.get(n) {
            Some(ArgumentColumn::Interval(intervals)) => intervals.value(self.at),
            _ => IntervalMonthDayNano::new(0, 0, 0),
        }
    }
}

/// What a function gives for one row.
pub(super) enum FormValue<'a> {
    Null,
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Bool(bool),
    /// Days and microseconds too.
    Int(i64),
    Interval(IntervalMonthDayNano),
    Texts(Vec<Option<String>>),
}

macro_rules! value_from {
    ($($from:ty, $value:ident => $to:expr;)*) => {$(
        impl<'a> From<$from> for FormValue<'a> {
            fn from($value: $from) -> FormValue<'a> {
                $to
            }
        }
    )*};
}

value_from! {
    &'a str, text => FormValue::Text(text.into());
    String, text => FormValue::Text(text.into());
    &'a [u8], bytes => FormValue::Bytes(bytes.into());
    Vec<u8>, bytes => FormValue::Bytes(bytes.into());
    bool, truth => FormValue::Bool(truth);
    i64, number => FormValue::Int(number);
    usize, number => FormValue::Int(i64::try_from(number).unwrap_or(i64::MAX));
    IntervalMonthDayNano, interval => FormValue::Interval(interval);
    Vec<Option<String>>, texts => FormValue::Texts(texts);
}

impl<'a, T: Into<FormValue<'a>>> From<Option<T>> for FormValue<'a> {
    fn from(value: Option<T>) -> FormValue<'a> {
        value.map_or(FormValue::Null, Into::into)
    }
}

/// A value that is there.
pub(super) fn ok<'a>(value: impl Into<FormValue<'a>>) -> Result<FormValue<'a>> {
    Ok(value.into())
}

/// The column of what came of the rows.
pub(super) fn built(values: &[FormValue<'_>], gives: &SqlType) -> Result<ArrayRef> {
    let ints = || {
        values.iter().map(|value| match value {
            FormValue::Int(number) => Some(*number),
            _ => None,
        })
    };
    Ok(match gives {
        SqlType::Boolean => Arc::new(
            values
                .iter()
                .map(|value| match value {
                    FormValue::Bool(truth) => Some(*truth),
                    _ => None,
                })
                .collect::<BooleanArray>(),
        ),
        SqlType::Int => Arc::new(ints().map(|n| n.map(|n| n as i32)).collect::<Int32Array>()),
        SqlType::BigInt => Arc::new(ints().collect::<Int64Array>()),
        SqlType::Date => Arc::new(ints().map(|n| n.map(|n| n as i32)).collect::<Date32Array>()),
        SqlType::Time => {
            Arc::new(ints().collect::<Int64Array>().reinterpret_cast::<Time64MicrosecondType>())
        }
        SqlType::Timestamp(_) | SqlType::TimestampTz(_) => Arc::new(
            ints()
                .collect::<Int64Array>()
                .reinterpret_cast::<TimestampMicrosecondType>()
                .with_data_type(gives.data_type()),
        ),
        SqlType::Interval => Arc::new(
            values
                .iter()
                .map(|value| match value {
                    FormValue::Interval(interval) => Some(*interval),
                    _ => None,
                })
                .collect::<IntervalMonthDayNanoArray>(),
        ),
        SqlType::Bytea => Arc::new(
            values
                .iter()
                .map(|value| match value {
                    FormValue::Bytes(bytes) => Some(bytes.as_ref()),
                    _ => None,
                })
                .collect::<BinaryArray>(),
        ),
        SqlType::Array(_) => lists(values),
        other => {
            let texts = values.iter().map(|value| match value {
                FormValue::Text(text) => Some(text.as_ref()),
                _ => None,
            });
            let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
            match other {
                // A numeric is given as its text.
                SqlType::Decimal(_) => read(&texts, &other.to_field("", true))?,
                _ => texts,
            }
        }
    })
}

fn lists(values: &[FormValue<'_>]) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for value in values {
        match value {
            FormValue::Texts(texts) => {
                lists.append_value(texts.iter().map(Option::as_deref));
            }
            _ => lists.append_null(),
        }
    }
    Arc::new(lists.finish())
}
