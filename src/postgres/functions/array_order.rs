//! What is in the order of arrays: a text, by which ORDER BY goes instead of the arrays themselves.
//!
//! Arrays are ordered by their elements, of which NULL is the greatest, then by how many there are (Postgres
//! manual, 9.19). DataFusion asks for the order of rows in several ways (sorted runs, the greatest of those
//! that LIMIT keeps), and not all of them put a NULL within an array where ORDER BY has it.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, StringBuilder};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::logical_expr::{Expr, ScalarUDF, Signature, Volatility};

use super::flat::{Flat, dimensions};
use super::scalar::Scalar;
use super::text::Budget;
use crate::error::Result;
use crate::types::normalised;

static FUNCTION: LazyLock<ScalarUDF> = LazyLock::new(|| {
    ScalarUDF::from(Scalar {
        name: "array_order",
        aliases: Vec::new(),
        signature: Signature::any(1, Volatility::Immutable),
        out: DataType::Utf8,
        call: keys,
    })
});

/// What is in the order of the arrays that an expression gives.
pub(crate) fn array_order(of: Expr) -> Expr {
    FUNCTION.call(vec![of])
}

/// A character for each byte of a key: windows have frames over texts, and none over bytes; UTF-8 keeps the
/// order of its characters.
fn keys(columns: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let arrays = &columns[0];
    let flat = Flat::new(arrays);
    let values = normalised(&flat.values);
    let options = SortOptions { descending: false, nulls_first: false };
    let field = SortField::new_with_options(values.data_type().clone(), options);
    let elements = RowConverter::new(vec![field])?.convert_columns(&[values])?;
    let (mut keys, mut budget, mut key) = (StringBuilder::new(), Budget::default(), String::new());
    for row in 0..rows {
        let Some(range) = flat.range(row) else {
            keys.append_null();
            continue;
        };
        key.clear();
        for at in range {
            key.extend(elements.row(at).as_ref().iter().map(|byte| char::from(*byte)));
        }
        // No element begins with it.
        key.push('\0');
        for length in dimensions(arrays.as_list::<i32>(), row).unwrap_or_default() {
            key.extend((length as u32).to_be_bytes().map(char::from));
        }
        budget.add(key.len())?;
        keys.append_value(&key);
    }
    Ok(Arc::new(keys.finish()))
}

#[cfg(test)]
mod tests {
    use arrow::array::ListArray;
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn keys_are_in_the_order_of_arrays() {
        let in_order = [
            vec![],
            vec![Some(-1)],
            vec![Some(-1), Some(5)],
            vec![Some(0)],
            vec![Some(256), Some(-3)],
            vec![Some(256), None],
            vec![None],
            vec![None, Some(0)],
        ];
        let arrays = in_order.iter().cloned().map(Some).chain([None]);
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(arrays));
        let keys = keys(&[lists], in_order.len() + 1).unwrap();
        let keys: Vec<_> = keys.as_string::<i32>().iter().collect();
        assert!(keys[..in_order.len()].is_sorted() && keys[0].is_some());
        assert_eq!(keys[in_order.len()], None);
    }
}
