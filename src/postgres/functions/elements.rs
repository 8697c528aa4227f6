//! Arrays that are put together from elements of others, and parts of arrays.
//!
//! Each function says which elements of which columns a row's array has ([`Picked`]); they are copied
//! at the end, all at once.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt64Array, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, interleave, take};
use arrow::datatypes::{DataType, Field, FieldRef};

use super::compared::ElementKeys;
use super::flat::{
    Flat, depth_of, dimensions, integer, range, size_of_one, trimmed as without_rest,
};
use super::polymorphic::{ArrayCall, ArrayFunction};
use super::text::{Budget, at};
use crate::error::{Error, Result, SqlState};

/// The functions.
pub(super) static ALL: [ArrayFunction; 11] = [
    ArrayFunction { name: "make_array", forms: &["M:M"], call: made },
    ArrayFunction { name: "array_append", forms: &["AE:A"], call: |call| joined(call, [0, 1]) },
    ArrayFunction { name: "array_prepend", forms: &["EA:A"], call: |call| joined(call, [0, 1]) },
    ArrayFunction { name: "array_cat", forms: &["AA:A"], call: |call| joined(call, [0, 1]) },
    ArrayFunction { name: "array_remove", forms: &["AE:A"], call: removed },
    ArrayFunction { name: "array_replace", forms: &["AEE:A"], call: replaced },
    ArrayFunction { name: "trim_array", forms: &["AI:A"], call: trimmed },
    ArrayFunction { name: "array_repeated", forms: &["MI:M"], call: repeated },
    ArrayFunction { name: "array_element", forms: &["AI*:E"], call: element },
    ArrayFunction { name: "array_slice", forms: &["AI*:A"], call: sliced },
    ArrayFunction { name: "array_elements", forms: &["A:L"], call: flat },
];

/// Elements by column and place, array after array.
#[derive(Default)]
pub(super) struct Picked {
    picks: Vec<(usize, usize)>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
    budget: Budget,
}

impl Picked {
    /// Ends the array of a row, with what has been picked since the last.
    fn end_row(&mut self, begin: usize, size: usize) -> Result<()> {
        let length = self.picks.len() - begin;
        self.budget.add(length.saturating_mul(size))?;
        self.lengths.push(length);
        self.valid.push(true);
        Ok(())
    }

    fn null_row(&mut self) {
        self.lengths.push(0);
        self.valid.push(false);
    }

    fn finish(self, sources: &[&dyn Array], out: &DataType) -> Result<ArrayRef> {
        let item = item_of(out)?;
        // What is computed beside a subquery may have got another type since this was planned.
        let is_same = sources.iter().all(|source| source.data_type() == item.data_type());
        if !is_same {
            let sources = sources.iter().map(|source| Ok(cast(*source, item.data_type())?));
            let sources = sources.collect::<Result<Vec<_>>>()?;
            let sources: Vec<&dyn Array> = sources.iter().map(AsRef::as_ref).collect();
            let values = interleave(&sources, &self.picks)?;
            return list(item, self.lengths, values, self.valid);
        }
        let values = interleave(sources, &self.picks)?;
        list(item, self.lengths, values, self.valid)
    }
}

fn list(
    item: FieldRef,
    lengths: Vec<usize>,
    values: ArrayRef,
    valid: Vec<bool>,
) -> Result<ArrayRef> {
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(item, offsets, values, Some(NullBuffer::from(valid)))?))
}

fn item_of(list: &DataType) -> Result<FieldRef> {
    match list {
        DataType::List(item) => Ok(Arc::clone(item)),
        other => Err(Error::internal(format!("{other} is no array"))),
    }
}

/// `ARRAY[…]`.
fn made(call: &ArrayCall) -> Result<ArrayRef> {
    let mut picked = Picked::default();
    let size: usize = call.columns.iter().map(|column| size_of_one(column)).max().unwrap_or(0);
    for row in 0..call.rows {
        let begin = picked.picks.len();
        let mut shape: Option<Vec<usize>> = None;
        for (column, values) in call.columns.iter().enumerate() {
            if let Some(inner) = values.as_list_opt::<i32>() {
                let dimensions = dimensions(inner, row).unwrap_or_default();
                if *shape.get_or_insert_with(|| dimensions.clone()) != dimensions {
                    let what = "multidimensional arrays must have array expressions with matching dimensions";
                    return Err(Error::new(SqlState::ArraySubscript, what));
                }
            }
            picked.picks.push((column, at(values, row)));
        }
        if shape.is_some_and(|shape| shape.is_empty()) {
            picked.picks.truncate(begin);
        }
        picked.end_row(begin, size)?;
    }
    picked.finish(&sources(&call.columns), call.out.data_type())
}

fn sources(columns: &[ArrayRef]) -> Vec<&dyn Array> {
    columns.iter().map(AsRef::as_ref).collect()
}

/// Arrays and elements behind each other.
fn joined(call: &ArrayCall, sides: [usize; 2]) -> Result<ArrayRef> {
    let depth = depth_of(call.out.data_type());
    let columns = sides.map(|side| &call.columns[side]);
    let whole = columns.map(|column| depth_of(column.data_type()) == depth);
    let is_element = columns.map(|column| depth_of(column.data_type()) == 0);
    if depth > 1 && is_element.contains(&true) {
        let what = "argument must be empty or one-dimensional array";
        return Err(Error::new(SqlState::DataException, what));
    }
    let mismatch = || {
        Error::new(SqlState::ArraySubscript, "cannot concatenate incompatible arrays")
            .detail("Arrays of these dimensions are not compatible for concatenation.")
    };
    if (0..2).any(|side| depth_of(columns[side].data_type()) + 1 < depth) {
        return Err(mismatch());
    }
    let values = [0, 1].map(|side| match (whole[side], columns[side].as_list_opt::<i32>()) {
        (true, Some(list)) => Arc::clone(list.values()),
        _ => Arc::clone(columns[side]),
    });
    let sizes = [size_of_one(&values[0]), size_of_one(&values[1])];
    let mut picked = Picked::default();
    for row in 0..call.rows {
        let begin = picked.picks.len();
        let (mut is_null, mut shape) = (true, Vec::new());
        for side in 0..2 {
            let list = columns[side].as_list_opt::<i32>();
            let mut dimensions = list.and_then(|list| dimensions(list, row)).unwrap_or_default();
            match (whole[side], list) {
                (true, Some(list)) => {
                    let Some(range) = range(list, row) else { continue };
                    picked.picks.extend(range.map(|at| (side, at)));
                    dimensions.drain(..dimensions.len().min(1));
                }
                // One that is NULL or has no elements adds none; of an element it is one.
                (false, Some(list)) if range(list, row).is_none_or(|range| range.is_empty()) => {
                    is_null &= range(list, row).is_none();
                    continue;
                }
                _ => picked.picks.push((side, at(columns[side], row))),
            }
            is_null = false;
            if !dimensions.is_empty() {
                shape.push(dimensions);
            }
        }
        if shape.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(mismatch());
        }
        if is_null { picked.null_row() } else { picked.end_row(begin, sizes[0].max(sizes[1]))? }
    }
    picked.finish(&[values[0].as_ref(), values[1].as_ref()], call.out.data_type())
}

fn removed(call: &ArrayCall) -> Result<ArrayRef> {
    let [array, element] = &call.columns[..] else { return Err(few()) };
    let list = array.as_list::<i32>();
    if depth_of(array.data_type()) > 1 {
        let what = "removing elements from multidimensional arrays is not supported";
        return Err(Error::new(SqlState::NotSupported, what));
    }
    let keys = ElementKeys::new(&[list.values(), element])?;
    let (mut picked, size) = (Picked::default(), size_of_one(list.values()));
    for row in 0..call.rows {
        let Some(range) = range(list, row) else {
            picked.null_row();
            continue;
        };
        let begin = picked.picks.len();
        let one = at(element, row);
        picked
            .picks
            .extend(range.filter(|at| !keys.are_equal((0, *at), (1, one))).map(|at| (0, at)));
        picked.end_row(begin, size)?;
    }
    picked.finish(&[list.values().as_ref()], call.out.data_type())
}

fn few() -> Error {
    Error::internal("a function of arrays without its arguments")
}

fn replaced(call: &ArrayCall) -> Result<ArrayRef> {
    let [array, from, to] = &call.columns[..] else { return Err(few()) };
    let flat = Flat::new(array);
    let keys = ElementKeys::new(&[&flat.values, from])?;
    let mut picks: Vec<(usize, usize)> = Vec::new();
    let mut ends = Vec::with_capacity(call.rows);
    let mut budget = Budget::default();
    let size = size_of_one(&flat.values).max(size_of_one(to));
    for row in 0..call.rows {
        let range = flat.range(row).unwrap_or(0..0);
        budget.add(range.len().saturating_mul(size))?;
        let (old, new) = (at(from, row), at(to, row));
        picks.extend(
            range.map(|at| if keys.are_equal((0, at), (1, old)) { (1, new) } else { (0, at) }),
        );
        ends.push(at(array, row) as u64);
    }
    let values = interleave(&[flat.values.as_ref(), to.as_ref()], &picks)?;
    // The same dimensions around the new elements.
    with_values(&take(array, &UInt64Array::from(ends), None)?, values)
}

/// The lists with other innermost elements, which follow each other.
fn with_values(array: &ArrayRef, values: ArrayRef) -> Result<ArrayRef> {
    let Some(list) = array.as_list_opt::<i32>() else { return Ok(values) };
    let (item, offsets, inner, nulls) = without_rest(list).into_parts();
    Ok(Arc::new(ListArray::try_new(item, offsets, with_values(&inner, values)?, nulls)?))
}

/// All elements in one dimension.
fn flat(call: &ArrayCall) -> Result<ArrayRef> {
    let flat = Flat::new(&call.columns[0]);
    let (mut picked, size) = (Picked::default(), size_of_one(&flat.values));
    for row in 0..call.rows {
        match flat.range(row) {
            Some(range) => {
                let begin = picked.picks.len();
                picked.picks.extend(range.map(|at| (0, at)));
                picked.end_row(begin, size)?;
            }
            None => picked.null_row(),
        }
    }
    picked.finish(&[flat.values.as_ref()], call.out.data_type())
}

fn trimmed(call: &ArrayCall) -> Result<ArrayRef> {
    let [array, count] = &call.columns[..] else { return Err(few()) };
    let list = array.as_list::<i32>();
    let (mut picked, size) = (Picked::default(), size_of_one(list.values()));
    for row in 0..call.rows {
        let (Some(range), Some(count)) = (range(list, row), integer(count, row)) else {
            picked.null_row();
            continue;
        };
        let Some(left) =
            usize::try_from(count).ok().and_then(|count| range.len().checked_sub(count))
        else {
            let what = format!("number of elements to trim must be between 0 and {}", range.len());
            return Err(Error::new(SqlState::ArraySubscript, what));
        };
        let begin = picked.picks.len();
        picked.picks.extend(range.take(left).map(|at| (0, at)));
        picked.end_row(begin, size)?;
    }
    picked.finish(&[list.values().as_ref()], call.out.data_type())
}

/// A value so many times: `array_fill` of one dimension.
fn repeated(call: &ArrayCall) -> Result<ArrayRef> {
    let [value, count] = &call.columns[..] else { return Err(few()) };
    let (mut picked, size) = (Picked::default(), size_of_one(value));
    for row in 0..call.rows {
        let Some(count) = integer(count, row) else {
            return Err(Error::new(SqlState::NullNotAllowed, "dimension values cannot be null"));
        };
        let one = at(value, row);
        let is_empty = value.as_list_opt::<i32>().is_some_and(|list| list.value_length(one) == 0);
        let count = if is_empty { 0 } else { usize::try_from(count).unwrap_or(0) };
        picked.budget.add(count.saturating_mul(size))?;
        let begin = picked.picks.len();
        picked.picks.extend(std::iter::repeat_n((0, one), count));
        picked.end_row(begin, 0)?;
    }
    picked.finish(&[value.as_ref()], call.out.data_type())
}

/// `a[i][j]`: NULL beyond the ends, and where there are fewer or more subscripts than dimensions.
fn element(call: &ArrayCall) -> Result<ArrayRef> {
    let (array, subscripts) = call.columns.split_first().ok_or_else(few)?;
    let flat = Flat::new(array);
    let place = |row: usize| {
        let mut index = row;
        if subscripts.len() != flat.lists.len() {
            return None;
        }
        for (list, subscript) in flat.lists.iter().zip(subscripts) {
            let range = range(list, index)?;
            let nth = usize::try_from(integer(subscript, row)?).ok()?.checked_sub(1)?;
            index = range.clone().nth(nth)?;
        }
        Some(index as u64)
    };
    if call.rows == 0 || flat.values.is_empty() {
        return Ok(new_null_array(call.out.data_type(), call.rows));
    }
    let places: UInt64Array = (0..call.rows).map(place).collect();
    Ok(take(&flat.values, &places, None)?)
}

/// `a[l:u][l:u]`: what of each dimension is between the bounds.
fn sliced(call: &ArrayCall) -> Result<ArrayRef> {
    let (array, bounds) = call.columns.split_first().ok_or_else(few)?;
    let places: UInt64Array = (0..call.rows).map(|row| at(array, row) as u64).map(Some).collect();
    let (mut places, mut keep) = (places, Vec::with_capacity(call.rows));
    let mut shapes = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let sides = bounds.iter().map(|bound| integer(bound, row)).collect::<Option<Vec<_>>>();
        let dimensions = array.as_list_opt::<i32>().and_then(|list| dimensions(list, row));
        let (Some(sides), Some(dimensions)) = (sides, dimensions) else {
            keep.push(false);
            shapes.push(Vec::new());
            continue;
        };
        keep.push(true);
        let side = |at: usize, length: usize| match sides.get(2 * at..2 * at + 2) {
            Some(&[from, to]) => {
                (from.max(1) - 1).min(length as i64) as usize..to.clamp(0, length as i64) as usize
            }
            _ => 0..length,
        };
        let ranges: Vec<Range<usize>> =
            dimensions.iter().enumerate().map(|(at, length)| side(at, *length)).collect();
        let is_empty = ranges.iter().any(Range::is_empty) || sides.len() > 2 * dimensions.len();
        shapes.push(if is_empty { Vec::new() } else { ranges });
    }
    places = places.iter().zip(&keep).map(|(at, keep)| at.filter(|_| *keep)).collect();
    let whole = take(array, &places, None)?;
    cut(&whole, &shapes, 0)
}

/// Lists with so much of each, and of the lists in them.
fn cut(array: &ArrayRef, shapes: &[Vec<Range<usize>>], level: usize) -> Result<ArrayRef> {
    let Some(list) = array.as_list_opt::<i32>() else { return Ok(Arc::clone(array)) };
    let (mut places, mut lengths, mut inner) = (Vec::new(), Vec::new(), Vec::new());
    for (row, shape) in shapes.iter().enumerate() {
        let part = shape.get(level).cloned().unwrap_or(0..0);
        let begin = range(list, row).map_or(0, |range| range.start);
        let part = if list.is_valid(row) { part } else { 0..0 };
        lengths.push(part.len());
        for place in part {
            places.push((begin + place) as u64);
            inner.push(shape.clone());
        }
    }
    let values = take(list.values(), &UInt64Array::from(places), None)?;
    let values =
        if depth_of(values.data_type()) > 0 { cut(&values, &inner, level + 1)? } else { values };
    let item: Arc<Field> = item_of(list.data_type())?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(item, offsets, values, list.nulls().cloned())?))
}
