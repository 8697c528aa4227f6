//! One integer-like key column.
//!
//! As long as the values lie close together (ids of a window usually do) they index an array of
//! ids: a row costs one load, and all ids in order of their values are one walk. When they spread
//! out, an open-addressing table with the values in it takes over, at one probe a row. The least
//! and greatest value of a batch decide, once for all its rows.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::DataType;

use super::wrong_type;
use crate::error::{Error, Result, SqlState};

const FREE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Entry {
    value: i64,
    id: u32,
}

/// An array of ids by value may have this many places for each value.
const SPREAD: usize = 4;

/// value → id
enum Lookup {
    /// `ids[value - low]`, [`FREE`] where there is none.
    Array { low: i64, ids: Vec<u32> },
    /// A table, from the first batch of spread values on.
    Table(Probes),
}

/// Values of one integer-like type ↔ ids.
pub struct Integers {
    data_type: DataType,
    lookup: Lookup,
    /// The value of each id.
    values: Vec<i64>,
    /// The id of NULL.
    null: Option<u32>,
    spare: Vec<u32>,
    widened: Vec<i64>,
}

/// A power of two of entries, at most half of them used; linear probing.
struct Probes {
    entries: Vec<Entry>,
    used: usize,
    shift: u32,
}

impl Integers {
    /// Whether a column of this type can be read as integers of at most 64 bits.
    pub fn fits(data_type: &DataType) -> bool {
        width(data_type).is_some()
    }

    pub fn new(data_type: DataType) -> Self {
        Integers {
            data_type,
            lookup: Lookup::Array { low: 0, ids: Vec::new() },
            values: Vec::new(),
            null: None,
            spare: Vec::new(),
            widened: Vec::new(),
        }
    }

    pub fn intern(&mut self, column: &ArrayRef, ids: &mut Vec<u32>) -> Result<()> {
        let data = self.checked(column)?;
        let mut scratch = std::mem::take(&mut self.widened);
        let values = widened(&data, &mut scratch);
        let nulls = data.nulls().filter(|n| n.null_count() > 0);
        self.prepare(values);
        let result = self.intern_values(values, nulls, ids);
        self.widened = scratch;
        result
    }

    /// Makes the array wide enough for these values (those behind NULLs count as well: they are
    /// only a guess), or gives it up.
    fn prepare(&mut self, values: &[i64]) {
        let Lookup::Array { low, ids } = &mut self.lookup else { return };
        let Some(&first) = values.first() else { return };
        let least = values.iter().fold(first, |a, &b| a.min(b));
        let greatest = values.iter().fold(first, |a, &b| a.max(b));
        let place =
            |value: i64| value.checked_sub(*low).is_some_and(|at| (at as u64) < ids.len() as u64);
        if place(least) && place(greatest) {
            return;
        }
        // What is still in use of the array, which may have moved on.
        let used =
            ids.iter().position(|&id| id != FREE).zip(ids.iter().rposition(|&id| id != FREE));
        let (from, to) = match used {
            Some((a, b)) => (least.min(*low + a as i64), greatest.max(*low + b as i64)),
            None => (least, greatest),
        };
        let width = (i128::from(to) - i128::from(from) + 1) as u128;
        let known = self.values.len() - self.spare.len();
        if width > (SPREAD * (known + values.len()) + 1024) as u128 {
            let mut table = Probes::new();
            for &id in ids.iter().filter(|&&id| id != FREE) {
                table.insert(self.values[id as usize], id);
            }
            self.lookup = Lookup::Table(table);
            return;
        }
        // Half as much again on the side to which it grew.
        let slack = (width / 2) as i64;
        let (start, end) = if used.is_some() && least < *low {
            (from.saturating_sub(slack), to)
        } else {
            (from, to.saturating_add(slack))
        };
        let mut wider = vec![FREE; (end.wrapping_sub(start)) as usize + 1];
        for &id in ids.iter().filter(|&&id| id != FREE) {
            wider[self.values[id as usize].wrapping_sub(start) as usize] = id;
        }
        (*low, *ids) = (start, wider);
    }

    fn intern_values(
        &mut self,
        values: &[i64],
        nulls: Option<&NullBuffer>,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        if let (Lookup::Array { low, ids }, None) = (&mut self.lookup, nulls) {
            for &value in values {
                let at = value.wrapping_sub(*low) as usize;
                if ids[at] == FREE {
                    ids[at] = fresh(&mut self.values, &mut self.spare, value)?;
                }
                out.push(ids[at]);
            }
            return Ok(());
        }
        for (i, &value) in values.iter().enumerate() {
            let id = match (nulls.is_none_or(|n| n.is_valid(i)), self.null) {
                (true, _) => self.one(value)?,
                (false, Some(id)) => id,
                (false, None) => {
                    let id = fresh(&mut self.values, &mut self.spare, 0)?;
                    self.null = Some(id);
                    id
                }
            };
            out.push(id);
        }
        Ok(())
    }

    #[inline]
    fn one(&mut self, value: i64) -> Result<u32> {
        match &mut self.lookup {
            Lookup::Array { low, ids } => {
                let slot = &mut ids[value.wrapping_sub(*low) as usize];
                if *slot == FREE {
                    *slot = fresh(&mut self.values, &mut self.spare, value)?;
                }
                Ok(*slot)
            }
            Lookup::Table(table) => match table.find(value) {
                Some(id) => Ok(id),
                None => {
                    let id = fresh(&mut self.values, &mut self.spare, value)?;
                    table.insert(value, id);
                    Ok(id)
                }
            },
        }
    }

    fn get(&self, value: i64) -> Option<u32> {
        match &self.lookup {
            Lookup::Array { low, ids } => {
                let at = usize::try_from(value.checked_sub(*low)?).ok()?;
                ids.get(at).copied().filter(|&id| id != FREE)
            }
            Lookup::Table(table) => table.find(value),
        }
    }

    pub fn find(&self, column: &ArrayRef) -> Result<Vec<Option<u32>>> {
        let data = self.checked(column)?;
        let mut scratch = Vec::new();
        let values = widened(&data, &mut scratch);
        let found = values
            .iter()
            .enumerate()
            .map(|(i, &value)| if data.is_null(i) { self.null } else { self.get(value) });
        Ok(found.collect())
    }

    /// Forgets an id.
    pub fn forget(&mut self, id: u32) {
        self.spare.push(id);
        if self.null == Some(id) {
            self.null = None;
            return;
        }
        let value = self.values[id as usize];
        match &mut self.lookup {
            Lookup::Array { low, ids } => ids[value.wrapping_sub(*low) as usize] = FREE,
            Lookup::Table(table) => table.remove(value),
        }
    }

    pub fn keys(&self, ids: &[u32]) -> Result<ArrayRef> {
        let values = ids.iter().map(|&id| self.values[id as usize]);
        let buffer = match width(&self.data_type) {
            Some(1) => Buffer::from_vec(values.map(|v| v as i8).collect::<Vec<_>>()),
            Some(2) => Buffer::from_vec(values.map(|v| v as i16).collect::<Vec<_>>()),
            Some(4) => Buffer::from_vec(values.map(|v| v as i32).collect::<Vec<_>>()),
            _ => Buffer::from_vec(values.collect::<Vec<_>>()),
        };
        let nulls = self
            .null
            .filter(|null| ids.contains(null))
            .map(|null| ids.iter().map(|&id| id != null).collect::<NullBuffer>());
        let data = ArrayData::builder(self.data_type.clone())
            .len(ids.len())
            .add_buffer(buffer)
            .nulls(nulls)
            .build()?;
        Ok(make_array(data))
    }

    pub fn sort(&self, ids: &mut [u32]) {
        if let (Lookup::Array { ids: all, .. }, true) = (&self.lookup, ids.len() == self.len()) {
            let sorted = self.null.into_iter().chain(all.iter().copied().filter(|&id| id != FREE));
            ids.iter_mut().zip(sorted).for_each(|(id, sorted)| *id = sorted);
            return;
        }
        let mut rest = ids;
        if let Some(at) = self.null.and_then(|null| rest.iter().position(|&id| id == null)) {
            rest.swap(0, at);
            rest = &mut rest[1..];
        }
        let mut keyed: Vec<(i64, u32)> =
            rest.iter().map(|&id| (self.values[id as usize], id)).collect();
        keyed.sort_unstable_by_key(|k| k.0);
        rest.iter_mut().zip(keyed).for_each(|(id, key)| *id = key.1);
    }

    pub fn compare(&self, a: u32, b: u32) -> Ordering {
        let key = |id: u32| (self.null != Some(id), self.values[id as usize]);
        key(a).cmp(&key(b))
    }

    pub fn bound(&self) -> usize {
        self.values.len()
    }

    pub fn len(&self) -> usize {
        self.values.len() - self.spare.len()
    }

    pub fn size(&self) -> usize {
        let lookup = match &self.lookup {
            Lookup::Array { ids, .. } => ids.capacity() * 4,
            Lookup::Table(table) => table.entries.capacity() * size_of::<Entry>(),
        };
        lookup + self.values.capacity() * 8 + self.spare.capacity() * 4
    }

    fn checked(&self, column: &ArrayRef) -> Result<ArrayData> {
        if column.data_type() == &self.data_type {
            Ok(column.to_data())
        } else {
            Err(wrong_type(column.data_type()))
        }
    }
}

#[cold]
fn fresh(values: &mut Vec<i64>, spare: &mut Vec<u32>, value: i64) -> Result<u32> {
    if let Some(id) = spare.pop() {
        values[id as usize] = value;
        return Ok(id);
    }
    let id = u32::try_from(values.len()).ok().filter(|&id| id < FREE).ok_or_else(too_many)?;
    values.push(value);
    Ok(id)
}

impl Probes {
    fn new() -> Self {
        Probes { entries: vec![Entry { value: 0, id: FREE }; 64], used: 0, shift: 64 - 6 }
    }

    #[inline]
    fn find(&self, value: i64) -> Option<u32> {
        let mask = self.entries.len() - 1;
        let mut at = hash(value, self.shift);
        loop {
            let entry = self.entries[at & mask];
            if entry.id == FREE {
                return None;
            }
            if entry.value == value {
                return Some(entry.id);
            }
            at += 1;
        }
    }

    fn insert(&mut self, value: i64, id: u32) {
        if (self.used + 1) * 2 > self.entries.len() {
            let size = self.entries.len() * 2;
            let old =
                std::mem::replace(&mut self.entries, vec![Entry { value: 0, id: FREE }; size]);
            self.shift -= 1;
            old.into_iter().filter(|e| e.id != FREE).for_each(|e| self.put(e));
        }
        self.used += 1;
        self.put(Entry { value, id });
    }

    fn put(&mut self, entry: Entry) {
        let mask = self.entries.len() - 1;
        let mut at = hash(entry.value, self.shift) & mask;
        while self.entries[at].id != FREE {
            at = (at + 1) & mask;
        }
        self.entries[at] = entry;
    }

    /// Entries after the hole move up, so that no probe stops too early.
    fn remove(&mut self, value: i64) {
        let mask = self.entries.len() - 1;
        let mut hole = hash(value, self.shift) & mask;
        while self.entries[hole].id != FREE && self.entries[hole].value != value {
            hole = (hole + 1) & mask;
        }
        if self.entries[hole].id == FREE {
            return;
        }
        let mut at = hole;
        self.used -= 1;
        loop {
            at = (at + 1) & mask;
            let entry = self.entries[at];
            if entry.id == FREE {
                self.entries[hole].id = FREE;
                return;
            }
            let home = hash(entry.value, self.shift) & mask;
            // The entry may move to the hole unless its home lies cyclically in (hole, at].
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.entries[hole] = entry;
                hole = at;
            }
        }
    }
}

pub(super) fn too_many() -> Error {
    Error::new(SqlState::ProgramLimit, "more than 4,294,967,294 groups")
}

/// The high bits of a multiplication, after the halves were mixed: consecutive numbers spread
/// evenly.
#[inline]
fn hash(value: i64, shift: u32) -> usize {
    let mixed = (value as u64) ^ ((value as u64) >> 32);
    (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift) as usize
}

fn width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(_, _) => data_type.primitive_width(),
        _ => None,
    }
}

/// The column's values as i64: in place if they are that wide.
fn widened<'a>(data: &'a ArrayData, scratch: &'a mut Vec<i64>) -> &'a [i64] {
    fn copy<'a, T: arrow::datatypes::ArrowNativeType>(
        data: &ArrayData,
        scratch: &'a mut Vec<i64>,
        wide: impl Fn(T) -> i64,
    ) -> &'a [i64] {
        scratch.clear();
        scratch.extend(data.buffer::<T>(0)[..data.len()].iter().map(|&v| wide(v)));
        scratch
    }
    match data.data_type() {
        DataType::Int8 => copy::<i8>(data, scratch, i64::from),
        DataType::Int16 => copy::<i16>(data, scratch, i64::from),
        DataType::UInt8 => copy::<u8>(data, scratch, i64::from),
        DataType::UInt16 => copy::<u16>(data, scratch, i64::from),
        DataType::UInt32 => copy::<u32>(data, scratch, i64::from),
        DataType::Int32 | DataType::Date32 | DataType::Time32(_) => {
            copy::<i32>(data, scratch, i64::from)
        }
        _ => &data.buffer::<i64>(0)[..data.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixture::Dice;
    use arrow::array::Int64Array;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[test]
    fn values_close_together_or_far_apart_keep_their_ids() {
        for scale in [1, 3, 1 << 40] {
            let mut table = Integers::new(DataType::Int64);
            let (mut known, mut dice) = (BTreeMap::new(), Dice(7));
            for round in 0..400_i64 {
                // The range moves up, then down.
                let base = (200 - (round - 200).abs()) * 40 - 3_000;
                let values: Vec<Option<i64>> = (0..30)
                    .map(|_| (dice.roll(16) != 0).then(|| (base + dice.roll(500) as i64) * scale))
                    .collect();
                let mut ids = Vec::new();
                table
                    .intern(&(Arc::new(Int64Array::from(values.clone())) as ArrayRef), &mut ids)
                    .unwrap();
                for (value, id) in values.iter().zip(&ids) {
                    assert_eq!(*known.entry(*value).or_insert(*id), *id, "{scale} {value:?}");
                }
                let old: Vec<Option<i64>> = known
                    .keys()
                    .filter(|v| v.is_none_or(|v| (v / scale - base).abs() > 700))
                    .copied()
                    .collect();
                old.iter().for_each(|value| table.forget(known.remove(value).unwrap()));
                assert_eq!(table.len(), known.len());
                let mut sorted: Vec<u32> = known.values().copied().rev().collect();
                table.sort(&mut sorted);
                assert_eq!(sorted, known.values().copied().collect::<Vec<_>>());
                let some: Vec<u32> = known.values().copied().skip(1).collect();
                let mut sorted: Vec<u32> = some.iter().copied().rev().collect();
                table.sort(&mut sorted);
                assert_eq!(sorted, some);
            }
            assert!(table.size() < 200_000, "{}", table.size());
        }
    }

    #[test]
    fn the_ends_of_the_range_are_values_like_others() {
        let mut table = Integers::new(DataType::Int64);
        for values in [vec![i64::MAX, i64::MAX - 1], vec![i64::MIN], vec![0, i64::MIN, i64::MAX]] {
            let mut ids = Vec::new();
            let column: ArrayRef = Arc::new(Int64Array::from(values));
            table.intern(&column, &mut ids).unwrap();
            let found = table.find(&column).unwrap();
            assert_eq!(found, ids.iter().map(|&id| Some(id)).collect::<Vec<_>>());
        }
        assert_eq!(table.len(), 4);
    }
}
