//! What is stored of queries: its keys, and the columns that changes and pieces of an answer have
//! beside their rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int64Array, ListArray, ListBuilder, RecordBatch, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema};

use crate::catalog::RelationId;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::state::{Applied, Delta, NumberedRows, StateTable, part_ranges};
use crate::store::{Space, Store, WriteBatch};

/// The parts of an epoch: rows of the first operator's state.
pub(super) const OPERATOR: u8 = b'o';
/// Rows that its fragment has emitted.
const EMITTED: u8 = b'e';
/// What has been read of the first source, if that is kept, and so on.
const SOURCES: u8 = 0x01;
/// The state of the second operator, and so on.
const OPERATORS: u8 = 0x80;
/// Of operators with several tables of state the second of each.
const SECOND_TABLES: u8 = 0xA0;
/// What their fragments have emitted; an operator of several tables keeps by itself what it has.
const EMITTERS: u8 = 0xC0;
/// The third of each.
const THIRD_TABLES: u8 = 0xE0;
/// How many tables an operator may have: its ports, and what it has answered.
const OPERATOR_TABLES: usize = limits::OPERATOR_PORTS + 1;
/// A piece of the answer.
pub(super) const ROWS: u8 = b'r';
/// A change of the answer.
pub(super) const ANSWER: u8 = b'a';
/// A change that is handed on and not kept: see [`outbox`](super::outbox).
pub(super) const HANDED_ON: u8 = b'h';

/// As which parts the tables of the operator at this place are stored, and last what its fragment
/// has emitted. An operator that is the only one of its query has kept its old names.
pub(super) fn step_parts(step: usize, tables: usize) -> ([u8; OPERATOR_TABLES], u8) {
    let of = |first: u8| first + step as u8;
    let [first, emitted] = match (step, tables) {
        (0, ..=1) => [OPERATOR, EMITTED],
        _ => [of(OPERATORS), of(EMITTERS)],
    };
    ([first, of(SECOND_TABLES), of(THIRD_TABLES), emitted], emitted)
}

/// As which part what has been read of a source is stored; there are at most
/// [`limits::QUERY_SOURCES`].
pub(super) fn source_part(source: usize) -> u8 {
    SOURCES + source as u8
}

/// A query's state tables, each with the part that it is stored as.
pub(super) type StateTables<'a> = Vec<(u8, &'a mut dyn StateTable)>;

/// The weight's column in a stored delta.
const WEIGHT: &str = "__weight";

/// The column of a stored change with the numbers of the rows it has added or removed: a list a
/// row.
pub(super) const NUMBERS: &str = "__numbers";

/// The column of a piece of an answer with the numbers of its rows.
const NUMBER: &str = "__number";

/// The key of a query's progress record.
pub(super) fn progress_key(id: RelationId) -> Vec<u8> {
    format!("query/{:016x}", id.0).into_bytes()
}

/// What the keys of a query's state and answer begin with.
pub(super) fn prefix(id: RelationId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

/// The key behind those of a query's state and answer.
pub(super) fn end(id: RelationId) -> Vec<u8> {
    (id.0 + 1).to_be_bytes().to_vec()
}

/// The key of a part of what an epoch has stored; in order of query, epoch, part, number.
pub(super) fn key(id: RelationId, epoch: u64, part: u8, number: u32) -> Vec<u8> {
    let mut key = prefix(id);
    key.extend_from_slice(&epoch.to_be_bytes());
    key.push(part);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The key of row `number` in a ring: it overwrites row `number` − [`limits::KEPT_ROWS`].
pub(super) fn ring_key(ring: &str, id: RelationId, number: u64) -> Vec<u8> {
    format!("{ring}/{:016x}/{:08x}", id.0, number % limits::KEPT_ROWS as u64).into_bytes()
}

/// The keys of a ring: from, and up to but not with.
pub(super) fn ring_keys(ring: &str, id: RelationId) -> (Vec<u8>, Vec<u8>) {
    (format!("{ring}/{:016x}/", id.0).into_bytes(), format!("{ring}/{:016x}0", id.0).into_bytes())
}

/// Adds the removal of a ring to a commit.
pub(super) fn delete_ring(
    store: &dyn Store,
    ring: &str,
    id: RelationId,
    batch: &mut WriteBatch,
) -> Result<()> {
    let (from, to) = ring_keys(ring, id);
    for entry in store.scan(Space::Meta, &from, &to)? {
        batch.delete(Space::Meta, entry?.0);
    }
    Ok(())
}

/// The delta as one batch, weights last.
pub(super) fn weighted(delta: &Delta) -> Result<RecordBatch> {
    let mut fields: Vec<_> = delta.batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
    let mut columns: Vec<ArrayRef> = delta.batch.columns().to_vec();
    columns.push(match &delta.weights {
        Some(weights) => Arc::new(weights.clone()),
        None => Arc::new(Int64Array::from_value(1, delta.batch.num_rows())),
    });
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// A change in parts that are not too large for a value of the store, each with the numbers of the
/// rows it concerned.
pub(super) fn change_parts(delta: &Delta, applied: &Applied) -> Vec<(Delta, ListArray)> {
    let (mut added, mut removed) =
        (applied.added.iter().peekable(), applied.removed.iter().peekable());
    let mut next = applied.first;
    let mut lists = Vec::with_capacity(delta.rows());
    for row in 0..delta.rows() as u32 {
        let mut numbers = Vec::with_capacity(1);
        while added.next_if(|at| **at == row).is_some() {
            numbers.push(next);
            next += 1;
        }
        while let Some((_, number)) = removed.next_if(|at| at.0 == row) {
            numbers.push(*number);
        }
        lists.push(numbers);
    }
    let mut parts = Vec::new();
    for (from, rows) in part_ranges(&delta.batch, |_| true) {
        let mut numbers = ListBuilder::new(UInt64Builder::new());
        for list in &lists[from..from + rows] {
            numbers.values().append_slice(list);
            numbers.append(true);
        }
        let weights = delta.weights.as_ref().map(|weights| weights.slice(from, rows));
        parts.push((Delta { batch: delta.batch.slice(from, rows), weights }, numbers.finish()));
    }
    parts
}

/// A stored change with the numbers of its rows, which stand before the weights.
pub(super) fn numbered(weighted: &RecordBatch, numbers: ListArray) -> Result<RecordBatch> {
    let mut fields: Vec<_> = weighted.schema().fields().iter().cloned().collect();
    let mut columns = weighted.columns().to_vec();
    let before = columns.len() - 1;
    fields.insert(before, Arc::new(Field::new(NUMBERS, numbers.data_type().clone(), true)));
    columns.insert(before, Arc::new(numbers));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// A piece of an answer as it is stored.
pub(super) fn piece(rows: &NumberedRows) -> Result<RecordBatch> {
    let mut fields: Vec<_> = rows.batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(NUMBER, DataType::UInt64, false)));
    let mut columns = rows.batch.columns().to_vec();
    columns.push(Arc::new(rows.numbers.clone()));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The delta that [`weighted`] was given.
pub(super) fn unweighted(batch: &RecordBatch) -> Result<Delta> {
    let mut last = batch.num_columns().saturating_sub(1);
    if batch.column_by_name(NUMBERS).is_some() {
        last -= 1;
    }
    let weights = batch
        .columns()
        .last()
        .and_then(|column| column.as_any().downcast_ref::<Int64Array>())
        .cloned()
        .ok_or_else(|| Error::new(SqlState::Corrupted, "a stored change has no weights"))?;
    Ok(Delta { batch: batch.project(&(0..last).collect::<Vec<_>>())?, weights: Some(weights) })
}
