//! What comes out of each row, as a column.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, ListArray, StringBuilder, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef};

use super::super::text::Budget;
use crate::error::{Error, Result};
use crate::types::SqlType;

/// What comes out of one row.
#[derive(Debug)]
pub(super) enum JsonOut<'r> {
    Text(Cow<'r, str>),
    Integer(i32),
    Boolean(bool),
    Texts(Vec<Option<Cow<'r, str>>>),
    Members(Vec<(Cow<'r, str>, Option<Cow<'r, str>>)>),
}

impl<'r> JsonOut<'r> {
    /// A part of an argument.
    pub(super) fn part(text: &'r str) -> JsonOut<'r> {
        JsonOut::Text(Cow::Borrowed(text))
    }

    fn size(&self) -> usize {
        let length = |text: &Option<Cow<'r, str>>| text.as_ref().map_or(0, |text| text.len());
        match self {
            JsonOut::Text(text) => text.len(),
            JsonOut::Texts(texts) => texts.iter().map(length).sum(),
            JsonOut::Members(members) => {
                members.iter().map(|(key, value)| key.len() + length(value)).sum()
            }
            JsonOut::Integer(_) | JsonOut::Boolean(_) => 8,
        }
    }
}

/// The column of what comes out of all rows.
pub(super) fn collected<'r>(
    rows: impl Iterator<Item = Result<Option<JsonOut<'r>>>>,
    of: &SqlType,
) -> Result<ArrayRef> {
    let mut budget = Budget::default();
    let counted = |row: Result<Option<JsonOut<'r>>>| {
        let row = row?;
        budget.add(row.as_ref().map_or(0, JsonOut::size))?;
        Ok(row)
    };
    let rows = rows.map(counted);
    if of.data_type() == DataType::Utf8 {
        let mut texts = StringBuilder::with_capacity(rows.size_hint().0, 0);
        for row in rows {
            texts.append_option(match row? {
                Some(JsonOut::Text(text)) => Some(text),
                _ => None,
            });
        }
        return Ok(Arc::new(texts.finish()));
    }
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let rows = rows.iter().map(Option::as_ref);
    macro_rules! of_each {
        ($variant:ident as $value:ident => $out:expr; $array:ty) => {
            Arc::new(
                rows.map(|row| match row {
                    Some(JsonOut::$variant($value)) => Some($out),
                    _ => None,
                })
                .collect::<$array>(),
            )
        };
    }
    Ok(match of.data_type() {
        DataType::Int32 => of_each!(Integer as number => *number; Int32Array),
        DataType::Boolean => of_each!(Boolean as boolean => *boolean; BooleanArray),
        DataType::List(item) => lists(rows, &item)?,
        other => return Err(Error::internal(format!("a function of JSON that gives {other}"))),
    })
}

fn lists<'o, 'r: 'o>(
    rows: impl Iterator<Item = Option<&'o JsonOut<'r>>>,
    item: &FieldRef,
) -> Result<ArrayRef> {
    let (mut texts, mut values) = (StringBuilder::new(), StringBuilder::new());
    let (mut lengths, mut is_valid) = (Vec::new(), Vec::new());
    for row in rows {
        is_valid.push(row.is_some());
        lengths.push(match row {
            Some(JsonOut::Texts(elements)) => {
                texts.extend(elements.iter().map(Option::as_deref));
                elements.len()
            }
            Some(JsonOut::Members(members)) => {
                texts.extend(members.iter().map(|(key, _)| Some(key.as_ref())));
                values.extend(members.iter().map(|(_, value)| value.as_deref()));
                members.len()
            }
            _ => 0,
        });
    }
    let elements: ArrayRef = match item.data_type() {
        DataType::Struct(fields) => {
            let halves: Vec<ArrayRef> = vec![Arc::new(texts.finish()), Arc::new(values.finish())];
            Arc::new(StructArray::try_new(fields.clone(), halves, None)?)
        }
        _ => Arc::new(texts.finish()),
    };
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = NullBuffer::from(is_valid);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, elements, Some(nulls))?))
}
