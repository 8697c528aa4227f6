//! What is stored of a durable query: its progress, its state, its answer; and how it is read back.
//!
//! Each epoch appends what it changed: a checkpoint of the touched groups, the delta of the answer, and the progress record (where the source
//! stands, the watermark, the counters), all in one commit. When the changes have outgrown the last base, the epoch writes a new base
//! and deletes what came before, so that recovery reads at most about twice the state.
//!
//! Keys: `id/seq/part`, big-endian, so that a scan gives them in order.

use datafusion::arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::codec::{decode, encode, end, key, prefix, progress_key, unweighted, weighted};
use super::failure::ViewFailure;
use super::position::FeedPosition;
use super::runner::{Checkpoint, Counters};
use crate::catalog::RelationId;
use crate::error::{Error, Result, SqlState};
use crate::state::Delta;
use crate::store::{Space, Store, WriteBatch};

/// The version of everything stored here.
const FORMAT: u32 = 1;

/// Bases are not rewritten for less than this, bytes.
const SMALLEST_BASE: u64 = 4 << 20;

/// How far a durable query has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    format: u32,
    /// Where the source stands; None: at its beginning.
    pub position: Option<FeedPosition>,
    /// Every commit up to this one has been read (embedded logs).
    pub commit: u64,
    /// The query's watermark, ticks.
    pub watermark: i64,
    /// What has been counted.
    pub counters: Counters,
    /// The last epoch that changed something.
    pub epoch: u64,
    /// Changes after this epoch are still there, one by one.
    pub base_epoch: u64,
    /// The last epoch that changed the answer.
    #[serde(default)]
    pub answer_epoch: u64,
    /// The last change of the answer that is part of the base, no longer a change of its own.
    #[serde(default)]
    base_answer: u64,
    /// Why it does not run any more.
    pub failed: Option<ViewFailure>,
    base_bytes: u64,
    change_bytes: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            format: FORMAT,
            position: None,
            commit: 0,
            watermark: i64::MIN,
            counters: Counters::default(),
            epoch: 0,
            base_epoch: 0,
            answer_epoch: 0,
            base_answer: 0,
            failed: None,
            base_bytes: 0,
            change_bytes: 0,
        }
    }
}

/// What a base is written from.
pub struct Base<'a> {
    /// All of the state, as of the epoch.
    pub state: &'a Checkpoint,
    /// The rows as of the epoch before.
    pub answer: &'a [RecordBatch],
    /// The epoch's change of them.
    pub change: &'a [Delta],
}

/// The parts of an epoch.
const OPERATOR: u8 = b'o';
const EMITTED: u8 = b'e';
const ANSWER: u8 = b'a';

impl Progress {
    /// Reads a query's progress; None: it has never run.
    pub fn read(store: &dyn Store, id: RelationId) -> Result<Option<Progress>> {
        let Some(bytes) = store.get(Space::Meta, &progress_key(id))? else {
            return Ok(None);
        };
        let progress: Progress = serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(SqlState::Corrupted, format!("the progress of query {} is damaged: {error}", id.0))
        })?;
        Ok(Some(progress))
    }

    /// Adds the progress record to a commit.
    pub fn write(&self, id: RelationId, batch: &mut WriteBatch) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_err(|error| Error::internal(error.to_string()))?;
        batch.put(Space::Meta, progress_key(id), bytes);
        Ok(())
    }

    /// Whether the next epoch should write a new base.
    pub fn wants_base(&self) -> bool {
        self.change_bytes > SMALLEST_BASE.max(2 * self.base_bytes)
    }

    /// Adds an epoch's changes to a commit.
    pub fn write_changes(
        &mut self,
        id: RelationId,
        epoch: u64,
        checkpoint: &Checkpoint,
        answer: &[Delta],
        batch: &mut WriteBatch,
    ) -> Result<()> {
        self.change_bytes += put_state(id, epoch, checkpoint, batch)?;
        for (i, delta) in answer.iter().enumerate() {
            let bytes = encode(&weighted(delta)?)?;
            self.change_bytes += bytes.len() as u64;
            batch.put(Space::Views, key(id, epoch, ANSWER, i as u32), bytes);
        }
        self.reached(epoch, answer);
        Ok(())
    }

    fn reached(&mut self, epoch: u64, answer: &[Delta]) {
        self.epoch = epoch;
        if !answer.is_empty() {
            self.answer_epoch = epoch;
        }
    }

    /// Replaces all changes so far by one base: the state as of `epoch`, the answer as of the epoch before and this epoch's change.
    pub fn write_base(
        &mut self,
        store: &dyn Store,
        id: RelationId,
        epoch: u64,
        base: Base<'_>,
        batch: &mut WriteBatch,
    ) -> Result<()> {
        let Base { state, answer, change } = base;
        delete_changes(store, id, batch)?;
        let before = epoch - 1;
        let mut bytes = put_state(id, epoch, state, batch)?;
        for (i, rows) in answer.iter().enumerate() {
            let stored = encode(&weighted(&Delta::insert(rows.clone()))?)?;
            bytes += stored.len() as u64;
            batch.put(Space::Views, key(id, before, ANSWER, i as u32), stored);
        }
        self.base_bytes = bytes;
        self.change_bytes = 0;
        for (i, delta) in change.iter().enumerate() {
            let stored = encode(&weighted(delta)?)?;
            self.change_bytes += stored.len() as u64;
            batch.put(Space::Views, key(id, epoch, ANSWER, i as u32), stored);
        }
        self.base_epoch = before;
        self.base_answer = self.answer_epoch;
        self.reached(epoch, change);
        Ok(())
    }
}

fn put_state(id: RelationId, epoch: u64, checkpoint: &Checkpoint, batch: &mut WriteBatch) -> Result<u64> {
    let mut bytes = 0;
    for (part, state) in [(OPERATOR, &checkpoint.operator), (EMITTED, &checkpoint.emitted)] {
        if let Some(state) = state {
            let stored = encode(state)?;
            bytes += stored.len() as u64;
            batch.put(Space::State, key(id, epoch, part, 0), stored);
        }
    }
    Ok(bytes)
}

/// The state of a query as stored, in order.
pub fn read_state(store: &dyn Store, id: RelationId) -> Result<Vec<Checkpoint>> {
    let mut checkpoints = Vec::new();
    for entry in store.scan(Space::State, &prefix(id), &end(id))? {
        let (key, value) = entry?;
        let state = Some(decode(&value)?);
        checkpoints.push(match key.get(16) {
            Some(&EMITTED) => Checkpoint { operator: None, emitted: state },
            _ => Checkpoint { operator: state, emitted: None },
        });
    }
    Ok(checkpoints)
}

/// The deltas of the answer stored for epoch `from` and later, with their epochs, in order; from 0: all of it.
pub fn read_answer(store: &dyn Store, id: RelationId, from: u64) -> Result<Vec<(u64, Delta)>> {
    let mut deltas = Vec::new();
    for entry in store.scan(Space::Views, &key(id, from, 0, 0), &end(id))? {
        let (key, value) = entry?;
        let epoch = key.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        let epoch = epoch.ok_or_else(|| Error::new(SqlState::Corrupted, "a view's key is damaged"))?;
        deltas.push((epoch, unweighted(&decode(&value)?)?));
    }
    Ok(deltas)
}

/// What is stored of a view: its progress, its state, and the changes of its answer with their epochs.
pub type Recovered = (Progress, Vec<Checkpoint>, Vec<(u64, Delta)>);

/// Reads a view's stored state and answer.
pub fn recovered(store: &dyn Store, id: RelationId) -> Result<Recovered> {
    let Some(progress) = Progress::read(store, id)? else {
        return Ok((Progress::default(), Vec::new(), Vec::new()));
    };
    Ok((progress, read_state(store, id)?, read_answer(store, id, 0)?))
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
        // The base's rows, stored under its epoch, are no change.
        let changes = read_answer(store, id, after.max(before.base_epoch) + 1)?;
        // A base that was written meanwhile has taken changes away, or was itself read as one.
        if Progress::read(store, id)?.unwrap_or_default().base_epoch == before.base_epoch {
            return Ok(Since::Changes(changes));
        }
    }
}

/// Whether the last change of a query's answer is stored, where it should be.
pub fn has_last_change(store: &dyn Store, id: RelationId, progress: &Progress) -> Result<bool> {
    if progress.answer_epoch <= progress.base_epoch {
        // It is part of the base.
        return Ok(true);
    }
    let (from, to) = (key(id, progress.answer_epoch, 0, 0), key(id, progress.answer_epoch + 1, 0, 0));
    Ok(store.keys(Space::Views, &from, &to)?.next().transpose()?.is_some())
}

/// Adds the removal of a query's progress, state and answer to a commit.
pub fn delete_stored(store: &dyn Store, id: RelationId, batch: &mut WriteBatch) -> Result<()> {
    delete_changes(store, id, batch)?;
    batch.delete(Space::Meta, progress_key(id));
    Ok(())
}

fn delete_changes(store: &dyn Store, id: RelationId, batch: &mut WriteBatch) -> Result<()> {
    for space in [Space::State, Space::Views] {
        for entry in store.scan(space, &prefix(id), &end(id))? {
            batch.delete(space, entry?.0);
        }
    }
    Ok(())
}
