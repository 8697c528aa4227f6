//! What the forms of functions are given and give, row by row.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array,
    IntervalMonthDayNanoArray, ListBuilder, StringArray, StringBuilder,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};

use super::cast::{read, written};
use crate::error::Result;
use crate::types::SqlType;

/// A column of arguments, or one value that stands for all rows.
pub(super) struct ArgumentColumn {
    values: ArgumentValues,
    is_constant: bool,
}

enum ArgumentValues {
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
    pub(super) fn new(array: &ArrayRef, is_constant: bool) -> Result<ArgumentColumn> {
        use DataType as D;
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let to = |to| cast_with_options(array, &to, &options);
        let values = match array.data_type() {
            D::Utf8 => ArgumentValues::Text(array.as_string::<i32>().clone()),
            D::Null => ArgumentValues::Null,
            D::Binary => ArgumentValues::Bytes(array.as_binary::<i32>().clone()),
            D::Boolean => ArgumentValues::Bool(array.as_boolean().clone()),
            D::Float32 | D::Float64 => {
                ArgumentValues::Double(to(D::Float64)?.as_primitive::<Float64Type>().clone())
            }
            D::Interval(_) => {
                ArgumentValues::Interval(array.as_primitive::<IntervalMonthDayNanoType>().clone())
            }
            D::Date32 => ArgumentValues::Int(to(D::Int32).and_then(|days| {
                Ok(cast_with_options(&days, &D::Int64, &options)?
                    .as_primitive::<Int64Type>()
                    .clone())
            })?),
            D::Int32 | D::Int64 | D::Time64(_) | D::Timestamp(..) => {
                ArgumentValues::Int(to(D::Int64)?.as_primitive::<Int64Type>().clone())
            }
            _ => ArgumentValues::Text(
                written(array, &Field::new("", array.data_type().clone(), true))
                    .as_string::<i32>()
                    .clone(),
            ),
        };
        Ok(ArgumentColumn { values, is_constant })
    }

    fn array(&self) -> Option<&dyn Array> {
        Some(match &self.values {
            ArgumentValues::Text(array) => array,
            ArgumentValues::Bytes(array) => array,
            ArgumentValues::Bool(array) => array,
            ArgumentValues::Double(array) => array,
            ArgumentValues::Interval(array) => array,
            ArgumentValues::Int(array) => array,
            ArgumentValues::Null => return None,
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

    /// The values of an argument, and which of them is this row's.
    fn values(self, n: usize) -> Option<(&'a ArgumentValues, usize)> {
        let column = self.columns.get(n)?;
        Some((&column.values, if column.is_constant { 0 } else { self.at }))
    }

    pub(super) fn is_null(self, n: usize) -> bool {
        let Some(column) = self.columns.get(n) else { return true };
        let at = if column.is_constant { 0 } else { self.at };
        column.array().is_none_or(|array| array.is_null(at))
    }

    pub(super) fn text(self, n: usize) -> &'a str {
        match self.values(n) {
            Some((ArgumentValues::Text(texts), at)) => texts.value(at),
            _ => "",
        }
    }

    /// A text that may be NULL.
    pub(super) fn some(self, n: usize) -> Option<&'a str> {
        (!self.is_null(n)).then(|| self.text(n))
    }

    pub(super) fn bytes(self, n: usize) -> &'a [u8] {
        match self.values(n) {
            Some((ArgumentValues::Bytes(bytes), at)) => bytes.value(at),
            _ => &[],
        }
    }

    pub(super) fn int(self, n: usize) -> i64 {
        match self.values(n) {
            Some((ArgumentValues::Int(numbers), at)) => numbers.value(at),
            _ => 0,
        }
    }

    pub(super) fn double(self, n: usize) -> f64 {
        match self.values(n) {
            Some((ArgumentValues::Double(numbers), at)) => numbers.value(at),
            _ => 0.0,
        }
    }

    pub(super) fn truth(self, n: usize) -> bool {
        matches!(self.values(n), Some((ArgumentValues::Bool(truths), at)) if truths.value(at))
    }

    pub(super) fn interval(self, n: usize) -> IntervalMonthDayNano {
        match self.values(n) {
            Some((ArgumentValues::Interval(intervals), at)) => intervals.value(at),
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

/// The column of what comes of the rows.
pub(super) fn built<'a>(
    values: impl Iterator<Item = Result<FormValue<'a>>>,
    gives: &SqlType,
) -> Result<ArrayRef> {
    /// Those of one kind; nothing else comes but NULL.
    macro_rules! of {
        ($kind:ident as $column:ty) => {
            values
                .map(|value| {
                    Ok(match value? {
                        FormValue::$kind(value) => Some(value),
                        _ => None,
                    })
                })
                .collect::<Result<$column>>()?
        };
    }
    Ok(match gives {
        SqlType::Boolean => Arc::new(of!(Bool as BooleanArray)),
        SqlType::Int => Arc::new(of!(Int as Int64Array).unary::<_, Int32Type>(|n| n as i32)),
        SqlType::BigInt => Arc::new(of!(Int as Int64Array)),
        SqlType::Date => Arc::new(of!(Int as Int64Array).unary::<_, Date32Type>(|n| n as i32)),
        SqlType::Time => {
            Arc::new(of!(Int as Int64Array).reinterpret_cast::<Time64MicrosecondType>())
        }
        SqlType::Timestamp(_) | SqlType::TimestampTz(_) => Arc::new(
            of!(Int as Int64Array)
                .reinterpret_cast::<TimestampMicrosecondType>()
                .with_data_type(gives.data_type()),
        ),
        SqlType::Interval => Arc::new(of!(Interval as IntervalMonthDayNanoArray)),
        SqlType::Bytea => Arc::new(of!(Bytes as BinaryArray)),
        SqlType::Array(_) => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for value in values {
                match value? {
                    FormValue::Texts(texts) => {
                        lists.append_value(texts.iter().map(Option::as_deref))
                    }
                    _ => lists.append_null(),
                }
            }
            Arc::new(lists.finish())
        }
        // A numeric is given as its text.
        SqlType::Decimal(_) => {
            let texts: ArrayRef = Arc::new(of!(Text as StringArray));
            read(&texts, &gives.to_field("", true))?
        }
        _ => {
            let mut texts = StringBuilder::with_capacity(values.size_hint().0, 0);
            for value in values {
                texts.append_option(match value? {
                    FormValue::Text(text) => Some(text),
                    _ => None,
                });
            }
            Arc::new(texts.finish())
        }
    })
}
