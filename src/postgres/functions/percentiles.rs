//! `percentile_disc` and `percentile_cont` of a share that is not written as a number, or of several
//! (PostgreSQL manual, 9.21, table 9.62). The aggregate is an array in the order of WITHIN GROUP; here are
//! the values at their places in it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, ListArray, UInt32Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::scalar::over_columns;
use crate::error::{Error, SqlState};

/// What the functions are called; nobody writes it.
pub(crate) const PERCENTILE_DISC: &str = "__percentile_disc";
pub(crate) const PERCENTILE_CONT: &str = "__percentile_cont";

pub(super) fn percentiles() -> [ScalarUDF; 2] {
    [false, true].map(|is_continuous| {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::from(PercentileOfSorted { is_continuous, signature })
    })
}

/// Of an array in order, and one share or an array of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PercentileOfSorted {
    /// Between two values there are others.
    is_continuous: bool,
    signature: Signature,
}

fn is_list(of: &DataType) -> bool {
    matches!(of, DataType::List(_))
}

fn list_of(element: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(element, true))
}

impl ScalarUDFImpl for PercentileOfSorted {
    fn name(&self) -> &str {
        if self.is_continuous { PERCENTILE_CONT } else { PERCENTILE_DISC }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [values @ DataType::List(_), share] = types else {
            return Err(Error::internal("a percentile of what is no array").into());
        };
        let share = match share {
            DataType::List(_) => DataType::List(list_of(DataType::Float64)),
            _ => DataType::Float64,
        };
        Ok(vec![values.clone(), share])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let element = match &types[0] {
            DataType::List(element) if !self.is_continuous => element.data_type().clone(),
            _ => DataType::Float64,
        };
        Ok(if is_list(&types[1]) { DataType::List(list_of(element)) } else { element })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, args.number_rows, |columns, _| {
            let (values, shares) = (columns[0].as_list::<i32>(), &columns[1]);
            let Some(lists) = shares.as_list_opt::<i32>() else {
                let rows = (0..values.len()).collect::<Vec<_>>();
                return self.at(values, &rows, shares.as_primitive());
            };
            let mut rows = Vec::with_capacity(lists.values().len());
            for row in 0..lists.len() {
                rows.extend(std::iter::repeat_n(row, lists.value_length(row) as usize));
            }
            let first = lists.value_offsets()[0] as usize;
            let flat = lists.values().slice(first, rows.len());
            let found = self.at(values, &rows, flat.as_primitive())?;
            // Of no values there is not even an array.
            let is_there = |row| values.is_valid(row) && values.value_length(row) > 0;
            let nulls = (0..lists.len()).map(|row| is_there(row) && lists.is_valid(row));
            let nulls = NullBuffer::from(nulls.collect::<Vec<_>>());
            let lengths = (0..lists.len()).map(|row| lists.value_length(row) as usize);
            let offsets = OffsetBuffer::from_lengths(lengths);
            let field = list_of(found.data_type().clone());
            Ok(Arc::new(ListArray::try_new(field, offsets, found, Some(nulls))?))
        })
    }
}

impl PercentileOfSorted {
    /// The value at each share, among the values of the row that stands beside it.
    fn at(&self, values: &ListArray, rows: &[usize], shares: &Float64Array) -> Result<ArrayRef> {
        if values.values().is_empty() && !self.is_continuous {
            return Ok(new_null_array(values.values().data_type(), rows.len()));
        }
        let mut places: Vec<Option<(u32, f64)>> = Vec::with_capacity(rows.len());
        for (&row, share) in rows.iter().zip(shares) {
            let count = if values.is_null(row) { 0 } else { values.value_length(row) };
            places.push(match share {
                Some(share) => {
                    if !(0.0..=1.0).contains(&share) {
                        let what = format!("percentile value {share} is not between 0 and 1");
                        return Err(Error::new(SqlState::OutOfRange, what).into());
                    }
                    let begin = values.value_offsets()[row] as u32;
                    self.place(share, count).map(|(place, rest)| (begin + place, rest))
                }
                None => None,
            });
        }
        if !self.is_continuous {
            let places = places.into_iter().map(|place| place.map(|(place, _)| place));
            return Ok(take(values.values(), &UInt32Array::from_iter(places), None)?);
        }
        let values = values.values().as_primitive::<Float64Type>();
        let value = |(place, rest): (u32, f64)| {
            let low = values.value(place as usize);
            if rest == 0.0 { low } else { low + (values.value(place as usize + 1) - low) * rest }
        };
        Ok(Arc::new(Float64Array::from_iter(places.into_iter().map(|place| place.map(value)))))
    }

    /// The place among so many values, and how far it is to the next one.
    fn place(&self, share: f64, count: i32) -> Option<(u32, f64)> {
        if count == 0 {
            return None;
        }
        if self.is_continuous {
            let place = share * f64::from(count - 1);
            return Some((place.floor() as u32, place.fract()));
        }
        let number = (share * f64::from(count)).ceil().max(1.0);
        Some((number as u32 - 1, 0.0))
    }
}
