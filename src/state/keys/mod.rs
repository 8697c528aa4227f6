//! Group keys as dense numbers.
//!
//! An [`Interner`] gives every distinct combination of key columns a small number, an *id*, by
//! which states are then indexed: keys are hashed once per row and never again. NULL is a key like
//! any other, and floats group as in GROUP BY (all NaN together, both zeros together). Ids are
//! handed out densely and used again after [`release`](Interner::release) of the last holder.
//!
//! Three ways lead to an id: one integer-like column through a table of its own ([`integers`]), one
//! text column by its bytes, anything else by its arrow-row bytes (both [`strings`]).

mod integers;
mod strings;

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::{Error, Result};
use crate::types::{looks_differ, normalised, with_equal_floats};
use integers::Integers;
use strings::Strings;

/// Key columns → dense ids, and back.
pub struct Interner {
    types: Vec<DataType>,
    table: Ids,
    /// How many holders an id has; only kept for ids that were ever retained.
    holders: Vec<u32>,
}

enum Ids {
    /// No key columns: all rows are one group, id 0.
    Global {
        used: bool,
    },
    Integers(Integers),
    Text(Strings),
    Rows {
        converter: RowConverter,
        bytes: Strings,
        /// The first of the equal keys of an id as it was, where equal ones can look different.
        first: Option<Vec<Box<[u8]>>>,
    },
}

/// Each key once, and how many there are. Without columns all rows are of one key.
pub fn distinct_keys(columns: &[ArrayRef], rows: usize) -> Result<(Vec<ArrayRef>, usize)> {
    if columns.is_empty() {
        return Ok((Vec::new(), 1));
    }
    let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
    let mut keys = Interner::new(&types)?;
    keys.intern(columns, rows, &mut Vec::new())?;
    let all: Vec<u32> = (0..keys.bound() as u32).collect();
    Ok((keys.keys(&all)?, all.len()))
}

/// The bytes of keys that are new to the table, as they are. `encoded` are the bytes by which they
/// are compared.
fn intern_first(
    bytes: &mut Strings,
    first: &mut Vec<Box<[u8]>>,
    encoded: &Rows,
    shown: &Rows,
    ids: &mut Vec<u32>,
) -> Result<()> {
    for (row, shown) in encoded.iter().zip(shown.iter()) {
        let known = bytes.len();
        let id = bytes.intern(Some(row.data()))?;
        if bytes.len() > known {
            first.resize(first.len().max(id as usize + 1), Box::default());
            first[id as usize] = shown.data().into();
        }
        ids.push(id);
    }
    Ok(())
}

impl Interner {
    /// An empty interner for key columns of these types.
    pub fn new(types: &[DataType]) -> Result<Self> {
        let table = match types {
            [] => Ids::Global { used: false },
            [one] if Integers::fits(one) => Ids::Integers(Integers::new(one.clone())),
            [DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View] => {
                Ids::Text(Strings::default())
            }
            _ => {
                let fields = types.iter().map(|t| SortField::new(t.clone())).collect();
                let first = types.iter().any(looks_differ).then(Vec::new);
                Ids::Rows {
                    converter: RowConverter::new(fields)?,
                    bytes: Strings::default(),
                    first,
                }
            }
        };
        Ok(Interner { types: types.to_vec(), table, holders: Vec::new() })
    }

    /// An empty interner of the same shape.
    pub fn empty(&self) -> Result<Self> {
        Interner::new(&self.types)
    }

    /// The id of every row's key, new keys getting new ids. `columns` has `rows` rows.
    pub fn intern(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        ids.clear();
        ids.reserve(rows);
        match &mut self.table {
            Ids::Global { used } => {
                *used |= rows > 0;
                ids.resize(rows, 0);
                Ok(())
            }
            Ids::Integers(table) => table.intern(&columns[0], ids),
            Ids::Text(table) => {
                let column = &columns[0];
                match column.data_type() {
                    DataType::Utf8 => intern_text(table, column.as_string::<i32>().iter(), ids),
                    DataType::LargeUtf8 => {
                        intern_text(table, column.as_string::<i64>().iter(), ids)
                    }
                    DataType::Utf8View => intern_text(table, column.as_string_view().iter(), ids),
                    other => Err(wrong_type(other)),
                }
            }
            Ids::Rows { converter, bytes, first } => {
                let normal: Vec<ArrayRef> = columns.iter().map(normalised).collect();
                let encoded = converter.convert_columns(&normal)?;
                if let Some(first) = first {
                    let shown: Vec<ArrayRef> = columns.iter().map(with_equal_floats).collect();
                    return intern_first(
                        bytes,
                        first,
                        &encoded,
                        &converter.convert_columns(&shown)?,
                        ids,
                    );
                }
                for row in encoded.iter() {
                    ids.push(bytes.intern(Some(row.data()))?);
                }
                Ok(())
            }
        }
    }

    /// The ids of keys, `None` for those that are not there; nothing is added.
    pub fn find(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Option<u32>>> {
        match &self.table {
            Ids::Global { used } => Ok(vec![used.then_some(0); rows]),
            Ids::Integers(table) => table.find(&columns[0]),
            Ids::Text(table) => {
                let column = cast(&columns[0], &DataType::Utf8View)?;
                Ok(column
                    .as_string_view()
                    .iter()
                    .map(|s| table.find(s.map(str::as_bytes)))
                    .collect())
            }
            Ids::Rows { converter, bytes, .. } => {
                let columns: Vec<ArrayRef> = columns.iter().map(normalised).collect();
                let encoded = converter.convert_columns(&columns)?;
                Ok(encoded.iter().map(|row| bytes.find(Some(row.data()))).collect())
            }
        }
    }

    /// The key columns of these ids.
    pub fn keys(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        match &self.table {
            Ids::Global { .. } => Ok(Vec::new()),
            Ids::Integers(table) => Ok(vec![table.keys(ids)?]),
            Ids::Text(table) => Ok(vec![table.text(ids, &self.types[0])?]),
            Ids::Rows { converter, bytes, first } => {
                let parser = converter.parser();
                let rows = ids.iter().map(|&id| {
                    let shown = first.as_ref().map(|first| first[id as usize].as_ref());
                    parser.parse(shown.or_else(|| bytes.bytes(id)).unwrap_or_default())
                });
                let columns = converter.convert_rows(rows)?;
                let typed = columns.into_iter().zip(&self.types).map(|(column, wanted)| {
                    if column.data_type() == wanted {
                        Ok(column)
                    } else {
                        Ok(cast(&column, wanted)?)
                    }
                });
                typed.collect()
            }
        }
    }

    /// How ids are below: every id is less than this.
    pub fn bound(&self) -> usize {
        match &self.table {
            Ids::Global { .. } => 1,
            Ids::Integers(table) => table.bound(),
            Ids::Text(table) | Ids::Rows { bytes: table, .. } => table.bound(),
        }
    }

    /// How many keys are there.
    pub fn len(&self) -> usize {
        match &self.table {
            Ids::Global { used } => usize::from(*used),
            Ids::Integers(table) => table.len(),
            Ids::Text(table) | Ids::Rows { bytes: table, .. } => table.len(),
        }
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sorts ids by their keys: ascending, NULL first. The order depends on the keys only.
    pub fn sort(&self, ids: &mut [u32]) {
        match &self.table {
            Ids::Global { .. } => {}
            Ids::Integers(table) => table.sort(ids),
            Ids::Text(table) | Ids::Rows { bytes: table, .. } => table.sort(ids),
        }
    }

    /// How two keys are ordered by [`sort`](Self::sort).
    pub fn compare(&self, a: u32, b: u32) -> Ordering {
        match &self.table {
            Ids::Global { .. } => Ordering::Equal,
            Ids::Integers(table) => table.compare(a, b),
            Ids::Text(table) | Ids::Rows { bytes: table, .. } => {
                table.bytes(a).cmp(&table.bytes(b))
            }
        }
    }

    /// Adds a holder to each id.
    pub fn retain(&mut self, ids: &[u32]) {
        if self.holders.len() < self.bound() {
            self.holders.resize(self.bound(), 0);
        }
        for &id in ids {
            self.holders[id as usize] += 1;
        }
    }

    /// Takes a holder away from each id; an id without holders is forgotten and will be used for
    /// another key.
    pub fn release(&mut self, ids: &[u32]) {
        for &id in ids {
            let holders = &mut self.holders[id as usize];
            assert!(*holders > 0, "a key is released by one who holds it");
            *holders -= 1;
            if *holders == 0 {
                self.forget(id);
            }
        }
    }

    /// Forgets a key that nobody retained.
    pub fn forget(&mut self, id: u32) {
        match &mut self.table {
            Ids::Global { used } => *used = false,
            Ids::Integers(table) => table.forget(id),
            Ids::Text(table) | Ids::Rows { bytes: table, .. } => table.forget(id),
        }
    }

    /// Bytes of memory held.
    pub fn size(&self) -> usize {
        self.holders.capacity() * 4
            + match &self.table {
                Ids::Global { .. } => 0,
                Ids::Integers(table) => table.size(),
                Ids::Text(table) => table.size(),
                // Twice where the keys are kept as they were as well.
                Ids::Rows { bytes, first, .. } => {
                    let first =
                        first.as_ref().map(|first| first.capacity() * size_of::<Box<[u8]>>());
                    bytes.size() * if first.is_some() { 2 } else { 1 } + first.unwrap_or(0)
                }
            }
    }
}

fn intern_text<'a>(
    table: &mut Strings,
    values: impl Iterator<Item = Option<&'a str>>,
    ids: &mut Vec<u32>,
) -> Result<()> {
    for value in values {
        ids.push(table.intern(value.map(str::as_bytes))?);
    }
    Ok(())
}

pub(super) fn wrong_type(found: &DataType) -> Error {
    Error::internal(format!("a key column of another type than planned: {found}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{
        Float64Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, StringArray,
    };
    use arrow::datatypes::IntervalMonthDayNano;

    fn ids(interner: &mut Interner, columns: &[ArrayRef]) -> Vec<u32> {
        let mut ids = Vec::new();
        interner.intern(columns, columns[0].len(), &mut ids).unwrap();
        ids
    }

    #[test]
    fn equal_keys_share_an_id_and_come_back_as_they_were() {
        let ints: ArrayRef =
            Arc::new(Int64Array::from(vec![Some(7), None, Some(-1), Some(7), None]));
        let text: ArrayRef =
            Arc::new(StringArray::from(vec![Some("b"), None, Some(""), Some("b"), None]));
        let floats: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(0.0), None, Some(f64::NAN), Some(-0.0), None]));
        for columns in [vec![ints.clone()], vec![text.clone()], vec![floats], vec![ints, text]] {
            let types: Vec<_> = columns.iter().map(|c| c.data_type().clone()).collect();
            let mut interner = Interner::new(&types).unwrap();
            let got = ids(&mut interner, &columns);
            assert_eq!(got, [0, 1, 2, 0, 1], "{types:?}");
            for (key, column) in interner.keys(&[0, 1, 2]).unwrap().iter().zip(&columns) {
                assert_eq!(key.to_data(), normalised(&column.slice(0, 3)).to_data(), "{types:?}");
            }
            let found = interner.find(&columns, 5).unwrap();
            assert_eq!(found, [Some(0), Some(1), Some(2), Some(0), Some(1)]);
            let mut sorted = vec![0, 1, 2];
            interner.sort(&mut sorted);
            assert_eq!(sorted[0], 1, "NULL comes first");
        }
    }

    #[test]
    fn equal_intervals_are_one_key_that_looks_like_the_first() {
        let interval = IntervalMonthDayNano::new;
        let hours = |hours: i64| interval(0, 0, hours * 3_600_000_000_000);
        let column = |values: Vec<IntervalMonthDayNano>| -> ArrayRef {
            Arc::new(IntervalMonthDayNanoArray::from(values))
        };
        let all = [hours(24), interval(1, 0, 0), interval(0, 1, 0), interval(0, 30, 0), hours(23)];
        let mut interner = Interner::new(&[column(vec![]).data_type().clone()]).unwrap();
        assert_eq!(ids(&mut interner, &[column(all.to_vec())]), [0, 1, 0, 1, 2]);
        let shown = column(vec![hours(24), interval(1, 0, 0), hours(23)]);
        assert_eq!(interner.keys(&[0, 1, 2]).unwrap(), [shown]);
        let mut sorted = vec![0, 1, 2];
        interner.sort(&mut sorted);
        assert_eq!(sorted, [2, 0, 1]);
        interner.forget(0);
        assert_eq!(ids(&mut interner, &[column(vec![interval(0, 1, 0)])]), [0]);
        assert_eq!(interner.keys(&[0]).unwrap(), [column(vec![interval(0, 1, 0)])]);
    }

    #[test]
    fn a_forgotten_key_leaves_its_id_to_another() {
        for wide in [true, false] {
            let column = |from: i32, to: i32| -> ArrayRef {
                if wide {
                    Arc::new(StringArray::from_iter_values((from..to).map(|v| format!("key {v}"))))
                } else {
                    Arc::new(Int32Array::from_iter_values(
                        (from..to).map(|v| v.wrapping_mul(77_777)),
                    ))
                }
            };
            let mut interner = Interner::new(&[column(0, 1).data_type().clone()]).unwrap();
            for round in 0..50 {
                let keys = [column(round * 100, round * 100 + 200)];
                let got = ids(&mut interner, &keys);
                interner.retain(&got);
                assert_eq!(interner.keys(&got).unwrap()[0].to_data(), keys[0].to_data());
                let old = ids(&mut interner, &[column(round * 100, round * 100 + 100)]);
                interner.release(&old);
                if round > 0 {
                    interner.release(&old);
                }
            }
            assert!(interner.bound() <= 400, "{}", interner.bound());
            assert_eq!(interner.len(), 100);
        }
    }
}
