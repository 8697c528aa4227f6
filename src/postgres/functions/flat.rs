//! Where the elements of arrays stand, of any number of dimensions.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type};

use super::text::at;

/// The lists without what stands before and behind their elements: a part of a batch has the elements of
/// all of it, and what goes over them would do so for each part.
pub(super) fn trimmed(list: &ListArray) -> ListArray {
    let (begin, end) =
        (list.value_offsets()[0] as usize, list.value_offsets()[list.len()] as usize);
    let (_, offsets, mut values, nulls) = list.clone().into_parts();
    let is_whole = begin == 0 && end == values.len();
    values = values.slice(begin, end - begin);
    if let Some(inner) = values.as_list_opt::<i32>() {
        values = Arc::new(trimmed(inner));
    }
    let offsets = if is_whole { offsets } else { OffsetBuffer::from_lengths(offsets.lengths()) };
    let item = match list.data_type() {
        DataType::List(item) => Arc::clone(item),
        other => Arc::new(Field::new_list_field(other.clone(), true)),
    };
    ListArray::new(item, offsets, values, nulls)
}

/// Bytes of one of the values, eight at the least.
pub(super) fn size_of_one(values: &dyn Array) -> usize {
    let bytes = values.to_data().get_slice_memory_size();
    (bytes.unwrap_or_else(|_| values.get_array_memory_size()) / values.len().max(1)).max(8)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_batch_has_its_own_elements_alone() {
        let row = |row: i32| (row % 3 != 0).then(|| vec![Some(row), None]);
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>((0..9).map(row));
        let around = ListArray::new(
            Arc::new(Field::new_list_field(lists.data_type().clone(), true)),
            OffsetBuffer::from_lengths([2, 4, 3]),
            Arc::new(lists),
            None,
        );
        let part = around.slice(1, 1);
        let own = trimmed(&part);
        assert_eq!(own, part);
        assert_eq!(own.values().len(), 4);
        assert_eq!(own.values().as_list::<i32>().values().len(), 6);
        assert_eq!(trimmed(&around), around);
        let none = trimmed(&around.slice(3, 0));
        assert!(none.is_empty() && none.values().is_empty());
    }
}
