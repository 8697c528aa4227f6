//! One integer-like key column: an open-addressing table with the values in it, so that a row costs one probe.

use std::cmp::Ordering;

use datafusion::arrow::array::{Array, ArrayData, ArrayRef, make_array};
use datafusion::arrow::buffer::{Buffer, NullBuffer};
use datafusion::arrow::datatypes::DataType;

use super::wrong_type;
use crate::error::{Error, Result, SqlState};

const FREE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Entry {
    value: i64,
    id: u32,
}

/// Values of one integer-like type ↔ ids.
pub struct Integers {
    data_type: DataType,
    /// A power of two of entries, at most half of them used; linear probing.
    entries: Vec<Entry>,
    used: usize,
    shift: u32,
    /// The value of each id.
    values: Vec<i64>,
    /// The id of NULL.
    null: Option<u32>,
    spare: Vec<u32>,
    widened: Vec<i64>,
}

impl Integers {
    /// Whether a column of this type can be read as integers of at most 64 bits.
    pub fn fits(data_type: &DataType) -> bool {
        width(data_type).is_some()
    }

    pub fn new(data_type: DataType) -> Self {
        let entries = vec![Entry { value: 0, id: FREE }; 64];
        Integers {
            data_type,
            entries,
            used: 0,
            shift: 64 - 6,
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
        let result = match data.nulls().filter(|n| n.null_count() > 0) {
            None => self.intern_all(values, ids),
            Some(nulls) => self.intern_some(values, nulls, ids),
        };
        self.widened = scratch;
        result
    }

    fn intern_all(&mut self, values: &[i64], ids: &mut Vec<u32>) -> Result<()> {
        for &value in values {
            let id = self.one(value)?;
            ids.push(id);
        }
        Ok(())
    }

    fn intern_some(&mut self, values: &[i64], nulls: &NullBuffer, ids: &mut Vec<u32>) -> Result<()> {
        for (i, &value) in values.iter().enumerate() {
            let id = match (nulls.is_valid(i), self.null) {
                (true, _) => self.one(value)?,
                (false, Some(id)) => id,
                (false, None) => {
                    let id = self.fresh(0)?;
                    self.null = Some(id);
                    id
                }
            };
            ids.push(id);
        }
        Ok(())
    }

    #[inline]
    fn one(&mut self, value: i64) -> Result<u32> {
        let mask = self.entries.len() - 1;
        let mut at = hash(value, self.shift);
        loop {
            let entry = self.entries[at & mask];
            if entry.id == FREE {
                return self.add(value);
            }
            if entry.value == value {
                return Ok(entry.id);
            }
            at += 1;
        }
    }

    #[cold]
    fn add(&mut self, value: i64) -> Result<u32> {
        let id = self.fresh(value)?;
        if (self.used + 1) * 2 > self.entries.len() {
            self.grow();
        }
        self.used += 1;
        self.put(Entry { value, id });
        Ok(id)
    }

    fn fresh(&mut self, value: i64) -> Result<u32> {
        if let Some(id) = self.spare.pop() {
            self.values[id as usize] = value;
            return Ok(id);
        }
        let id = u32::try_from(self.values.len()).ok().filter(|&id| id < FREE).ok_or_else(too_many)?;
        self.values.push(value);
        Ok(id)
    }

    fn put(&mut self, entry: Entry) {
        let mask = self.entries.len() - 1;
        let mut at = hash(entry.value, self.shift) & mask;
        while self.entries[at].id != FREE {
            at = (at + 1) & mask;
        }
        self.entries[at] = entry;
    }

    fn grow(&mut self) {
        let size = self.entries.len() * 2;
        let old = std::mem::replace(&mut self.entries, vec![Entry { value: 0, id: FREE }; size]);
        self.shift -= 1;
        old.into_iter().filter(|e| e.id != FREE).for_each(|e| self.put(e));
    }

    fn position(&self, value: i64) -> Option<usize> {
        let mask = self.entries.len() - 1;
        let mut at = hash(value, self.shift) & mask;
        loop {
            match self.entries[at] {
                entry if entry.id == FREE => return None,
                entry if entry.value == value => return Some(at),
                _ => at = (at + 1) & mask,
            }
        }
    }

    pub fn find(&self, column: &ArrayRef) -> Result<Vec<Option<u32>>> {
        let data = self.checked(column)?;
        let mut scratch = Vec::new();
        let values = widened(&data, &mut scratch);
        let found = values.iter().enumerate().map(|(i, &value)| match data.is_null(i) {
            true => self.null,
            false => self.position(value).map(|at| self.entries[at].id),
        });
        Ok(found.collect())
    }

    /// Forgets an id. Entries after the hole move up, so that no probe stops too early.
    pub fn forget(&mut self, id: u32) {
        self.spare.push(id);
        if self.null == Some(id) {
            self.null = None;
            return;
        }
        let Some(mut hole) = self.position(self.values[id as usize]) else { return };
        let mask = self.entries.len() - 1;
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
        let mut keyed: Vec<(bool, i64, u32)> =
            ids.iter().map(|&id| (self.null != Some(id), self.values[id as usize], id)).collect();
        match self.null {
            // Comparing one word is much faster than three.
            None => keyed.sort_unstable_by_key(|k| k.1),
            Some(_) => keyed.sort_unstable(),
        }
        ids.iter_mut().zip(keyed).for_each(|(id, key)| *id = key.2);
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
        self.entries.capacity() * size_of::<Entry>() + self.values.capacity() * 8 + self.spare.capacity() * 4
    }

    fn checked(&self, column: &ArrayRef) -> Result<ArrayData> {
        match column.data_type() == &self.data_type {
            true => Ok(column.to_data()),
            false => Err(wrong_type(column.data_type())),
        }
    }
}

pub(super) fn too_many() -> Error {
    Error::new(SqlState::ProgramLimit, "more than 4,294,967,294 groups")
}

/// The high bits of a multiplication, after the halves were mixed: consecutive numbers spread evenly.
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
    fn copy<'a, T: datafusion::arrow::datatypes::ArrowNativeType>(
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
        DataType::Int32 | DataType::Date32 | DataType::Time32(_) => copy::<i32>(data, scratch, i64::from),
        _ => &data.buffer::<i64>(0)[..data.len()],
    }
}
