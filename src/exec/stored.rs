//! What is stored of a durable query: its progress, its state, its answer; and how it is read back.
//!
//! Each epoch appends what it changed: the rows of its state tables, the delta of the answer with
//! the numbers of the rows it concerned, and the progress record, all in one commit.
//! `folding` adds pieces of state and answer as they are, in turn, and deletes
//! what they have made superfluous.
//!
//! Keys: `id/epoch/part/number`, big-endian, so that a scan gives what was written in the order in
//! which it was. That is all that restoring asks for: later rows override earlier ones. The answer
//! is restored by the numbers of its rows, in any order.

use arrow::array::{AsArray, ListArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::UInt64Type;

use super::codec::{
    ANSWER, HANDED_ON, NUMBERS, ROWS, change_parts, end, key, numbered, prefix, progress_key,
    unweighted, weighted,
};
use super::progress::Progress;
use crate::catalog::RelationId;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::state::{Applied, Delta, NumberedRows, RowStore, in_parts};
use crate::store::codec::{decode_batch, encode_batch};
use crate::store::{Space, Store, WriteBatch};

/// What an epoch of a query adds to a commit.
pub(super) struct EpochWriter<'a> {
    pub(super) id: RelationId,
    epoch: u64,
    batch: &'a mut WriteBatch,
    number: u32,
    /// Bytes of values so far.
    pub(super) bytes: u64,
}

impl EpochWriter<'_> {
    /// A writer that has written nothing.
    pub(super) fn new(id: RelationId, epoch: u64, batch: &mut WriteBatch) -> EpochWriter<'_> {
        EpochWriter { id, epoch, batch, number: 0, bytes: 0 }
    }

    /// Adds rows of a state table or a piece of the answer.
    pub(super) fn put_rows(&mut self, part: u8, rows: &RecordBatch) -> Result<()> {
        self.put(Space::State, part, rows)
    }

    /// Adds a change of the answer and where it has been applied.
    pub(super) fn put_change(&mut self, delta: &Delta, applied: &Applied) -> Result<()> {
        for (part, numbers) in change_parts(delta, applied) {
            self.put(Space::Views, ANSWER, &numbered(&weighted(&part)?, numbers)?)?;
        }
        Ok(())
    }

    fn put(&mut self, space: Space, part: u8, rows: &RecordBatch) -> Result<()> {
        let bytes = encode_batch(rows)?;
        self.bytes += bytes.len() as u64;
        self.batch.put(space, key(self.id, self.epoch, part, self.number), bytes);
        self.number += 1;
        Ok(())
    }

    /// Adds a change that is handed on; its bytes, which are none of state or answer.
    pub(super) fn put_handed_on(&mut self, delta: &Delta) -> Result<u64> {
        let (before, rows) = (self.bytes, weighted(delta)?);
        for part in in_parts(&rows) {
            self.put(Space::Views, HANDED_ON, &part)?;
        }
        let bytes = self.bytes - before;
        self.bytes = before;
        Ok(bytes)
    }

    /// Adds the removal of keys.
    pub(super) fn delete(&mut self, space: Space, keys: Vec<Vec<u8>>) {
        keys.into_iter().for_each(|key| self.batch.delete(space, key));
    }
}

/// Reads what is stored: calls `state` with the rows of state tables and the part they are stored
/// as, in the order in which they were written, and puts the rows of the answer together.
pub(super) fn load(
    store: &dyn Store,
    id: RelationId,
    progress: &Progress,
    state: &mut dyn FnMut(u8, &RecordBatch) -> Result<()>,
    rows: &mut RowStore,
) -> Result<()> {
    let mut found = FoundRows::default();
    let from = key(id, progress.folded, 0, 0);
    for entry in store.scan(Space::State, &from, &end(id))? {
        let (key, value) = entry?;
        let stored = decode_batch(&value).map_err(damaged)?;
        match key.get(16) {
            Some(&ROWS) => found.parts.push(piece(&stored)?),
            Some(&part) => state(part, &stored)?,
            None => {
                return Err(Error::new(SqlState::Corrupted, "a key of a query's state is damaged"));
            }
        }
    }
    for entry in store.scan(Space::Views, &from, &end(id))? {
        let (key, value) = entry?;
        if key.get(16) == Some(&HANDED_ON) {
            continue;
        }
        let stored = decode_batch(&value).map_err(damaged)?;
        let delta = unweighted(&stored)?;
        match stored.column_by_name(NUMBERS) {
            Some(numbers) => found.take(&delta, numbers.as_list::<i32>())?,
            // As it was written before rows had numbers: by value, and before everything that has.
            None => {
                let batch = RecordBatch::try_new(rows.schema(), delta.batch.columns().to_vec())?;
                rows.apply(&Delta { batch, ..delta })?;
            }
        }
    }
    if !found.parts.is_empty() || progress.next_row > rows.next_number() {
        rows.restore(found.parts, found.removed, progress.next_row)?;
    }
    if progress.retracts { rows.index_whole() } else { Ok(()) }
}

fn damaged(error: Error) -> Error {
    error.context("stored state is damaged")
}

/// Rows of an answer as they are found.
#[derive(Default)]
struct FoundRows {
    parts: Vec<NumberedRows>,
    removed: Vec<u64>,
}

impl FoundRows {
    /// Takes in a change and the numbers of the rows that each of its rows has added or removed.
    fn take(&mut self, delta: &Delta, numbers: &ListArray) -> Result<()> {
        let (mut added, mut of) = (Vec::<u64>::new(), Vec::<u32>::new());
        for row in 0..delta.rows() {
            let own = numbers.value(row);
            let own = own.as_primitive::<UInt64Type>().values();
            if delta.weight(row) < 0 {
                self.removed.extend_from_slice(own);
            } else {
                of.extend(std::iter::repeat_n(row as u32, own.len()));
                added.extend_from_slice(own);
            }
        }
        let batch = take_record_batch(&delta.batch, &UInt32Array::from(of))?;
        self.parts.push(NumberedRows { numbers: UInt64Array::from(added), batch });
        Ok(())
    }
}

/// A piece of the answer: its rows, and their numbers in the last column.
fn piece(stored: &RecordBatch) -> Result<NumberedRows> {
    let last = stored.num_columns() - 1;
    let numbers = stored.column(last).as_primitive_opt::<UInt64Type>();
    let numbers = numbers
        .ok_or_else(|| Error::new(SqlState::Corrupted, "a piece of a view has no numbers"))?;
    Ok(NumberedRows {
        numbers: numbers.clone(),
        batch: stored.project(&(0..last).collect::<Vec<_>>())?,
    })
}

/// The deltas of the answer stored for epoch `from` and later, with their epochs, in order.
fn read_changes(store: &dyn Store, id: RelationId, from: u64) -> Result<Vec<(u64, Delta)>> {
    let mut deltas = Vec::new();
    for entry in store.scan(Space::Views, &key(id, from, 0, 0), &end(id))? {
        let (key, value) = entry?;
        let epoch = key.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        let epoch =
            epoch.ok_or_else(|| Error::new(SqlState::Corrupted, "a view's key is damaged"))?;
        deltas.push((epoch, unweighted(&decode_batch(&value).map_err(damaged)?)?));
    }
    Ok(deltas)
}

/// The changes of an answer after an epoch.
pub enum Since {
    /// With their epochs, in order.
    Changes(Vec<(u64, Delta)>),
    /// They are no longer there one by one.
    Gone {
        /// The oldest epoch after which they are.
        oldest: u64,
    },
}

/// The changes of a query's answer after the epoch `after`, as far as they are stored.
pub fn changes_since(store: &dyn Store, id: RelationId, after: u64) -> Result<Since> {
    loop {
        let before = Progress::read(store, id)?.unwrap_or_default();
        if after < before.base_answer {
            return Ok(Since::Gone { oldest: before.base_answer });
        }
        // What is stored up to the base's epoch is no change: a base of old, or on its way out.
        let changes = read_changes(store, id, after.max(before.base_epoch) + 1)?;
        // Folding may have taken changes away meanwhile.
        if Progress::read(store, id)?.unwrap_or_default().base_epoch == before.base_epoch {
            return Ok(Since::Changes(changes));
        }
    }
}

/// Whether the last change of a query's answer is stored, where it should be.
pub(super) fn has_last_change(
    store: &dyn Store,
    id: RelationId,
    progress: &Progress,
) -> Result<bool> {
    if progress.answer_epoch <= progress.base_epoch {
        // It has been folded.
        return Ok(true);
    }
    let (from, to) =
        (key(id, progress.answer_epoch, 0, 0), key(id, progress.answer_epoch + 1, 0, 0));
    Ok(store.keys(Space::Views, &from, &to)?.next().transpose()?.is_some())
}

/// Adds a part of what is stored of a query, from a key on, as that of another one; where the next
/// part begins, if there is one.
pub(super) fn copy_part(
    store: &dyn Store,
    space: Space,
    at: Vec<u8>,
    (from, to): (RelationId, RelationId),
    batch: &mut WriteBatch,
) -> Result<Option<Vec<u8>>> {
    let mut bytes = 0;
    for entry in store.scan(space, &at, &end(from))? {
        let (key, value) = entry?;
        if bytes >= limits::COPIED_BYTES {
            return Ok(Some(key));
        }
        bytes += value.len();
        let of_copy = prefix(to).into_iter().chain(key.iter().skip(8).copied());
        batch.put(space, of_copy.collect::<Vec<_>>(), value);
    }
    Ok(None)
}

/// Adds the removal of a query's progress, state and answer to a commit.
pub fn delete_stored(store: &dyn Store, id: RelationId, batch: &mut WriteBatch) -> Result<()> {
    for space in [Space::State, Space::Views] {
        for key in store.keys(space, &prefix(id), &end(id))? {
            batch.delete(space, key?);
        }
    }
    batch.delete(Space::Meta, progress_key(id));
    Ok(())
}
