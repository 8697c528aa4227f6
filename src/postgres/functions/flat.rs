//! Where the elements of arrays stand, of any number of dimensions.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int32Type};

use super::text::at;

/// Where the elements of a row's array stand; `None`: it is NULL.
pub(super) fn range(list: &ListArray, row: usize) -> Option<Range<usize>> {
    let row = at(list, row);
    let offsets = list.value_offsets();
    list.is_valid(row).then(|| offsets[row] as usize..offsets[row + 1] as usize)
}

/// Dimensions of the type.
pub(super) fn depth_of(data_type: &DataType) -> usize {
    match data_type {
        DataType::List(item) => 1 + depth_of(item.data_type()),
        _ => 0,
    }
}

/// How many elements an array has in each dimension; none if it is empty.
pub(super) fn dimensions(list: &ListArray, row: usize) -> Option<Vec<usize>> {
    let mut places = range(list, row)?;
    let (mut dimensions, mut values) = (Vec::new(), Arc::clone(list.values()));
    while !places.is_empty() {
        dimensions.push(places.len());
        let Some(inner) = values.as_list_opt::<i32>() else { return Some(dimensions) };
        let first = places.clone().find_map(|at| range(inner, at)).unwrap_or(0..0);
        (places, values) = (first, Arc::clone(inner.values()));
    }
    Some(Vec::new())
}

/// The innermost elements of arrays of any number of dimensions.
pub(super) struct Flat {
    pub(super) lists: Vec<ListArray>,
    pub(super) values: ArrayRef,
    pub(super) item: FieldRef,
}

impl Flat {
    pub(super) fn new(array: &ArrayRef) -> Flat {
        let (mut lists, mut values) = (Vec::new(), Arc::clone(array));
        let mut item = Arc::new(Field::new("", array.data_type().clone(), true));
        while let Some(list) = values.as_list_opt::<i32>().cloned() {
            if let DataType::List(of) = list.data_type() {
                item = Arc::clone(of);
            }
            values = Arc::clone(list.values());
            lists.push(list);
        }
        Flat { lists, values, item }
    }

    pub(super) fn range(&self, row: usize) -> Option<Range<usize>> {
        let (first, inner) = self.lists.split_first()?;
        let mut found = range(first, row)?;
        for list in inner {
            let offsets = list.value_offsets();
            found = offsets[found.start] as usize..offsets[found.end] as usize;
        }
        Some(found)
    }
}

/// The number in a row of a column of INTs.
pub(super) fn integer(column: &ArrayRef, row: usize) -> Option<i64> {
    let column: &Int32Array = column.as_primitive::<Int32Type>();
    let row = at(column, row);
    column.is_valid(row).then(|| i64::from(column.value(row)))
}
