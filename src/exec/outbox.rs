//! What a sink has still to publish, as it is stored: the changes of its query, epoch by epoch, in the
//! commits of the epochs; and how far they have gone out.
//!
//! ```text
//!   published          taken
//!  ─────┴─────────────────┴──────────────▶ epochs
//!  gone   on its way out    waits
//! ```
//! What is on its way out is written down before it goes (`taken`): after a crash exactly that goes
//! out again, and not also what has come since, so that a sink can know it by its epochs. (The
//! transactional outbox; the record stands for the prepared transaction of a two-phase commit.)

use serde::{Deserialize, Serialize};

use super::codec::{HANDED_ON, end, key, unweighted};
use crate::catalog::RelationId;
use crate::error::{Error, Result, SqlState};
use crate::state::Delta;
use crate::store::codec::{decode_batch, decode_json, encode_json};
use crate::store::{Space, Store, WriteBatch};

/// The version of the record.
const HEAD: u8 = 1;

/// How far the changes of a sink have gone out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutboxRecord {
    /// Changes up to this epoch have gone out.
    pub published: u64,
    /// Those up to this one are on their way; as `published` when none are.
    pub taken: u64,
    /// How many rows have gone out.
    pub rows: u64,
}

impl OutboxRecord {
    /// Reads it; of a sink that has published nothing there is none.
    pub(super) fn read(store: &dyn Store, id: RelationId) -> Result<OutboxRecord> {
        match store.get(Space::Meta, &record_key(id))? {
            Some(bytes) => decode_json(HEAD, bytes)
                .map_err(|error| error.context(format!("the record of sink {} is damaged", id.0))),
            None => Ok(OutboxRecord::default()),
        }
    }

    /// Adds it to a commit.
    pub(super) fn write(&self, id: RelationId, batch: &mut WriteBatch) -> Result<()> {
        batch.put(Space::Meta, record_key(id), encode_json(HEAD, self)?);
        Ok(())
    }
}

fn record_key(id: RelationId) -> Vec<u8> {
    format!("sink/{:016x}", id.0).into_bytes()
}

/// Adds the removal of the record to a commit; the changes go with what is stored of the query.
pub(super) fn delete_record(id: RelationId, batch: &mut WriteBatch) {
    batch.delete(Space::Meta, record_key(id));
}

/// Changes that wait, of one epoch after another.
#[derive(Default)]
pub(super) struct Unpublished {
    /// With their epochs, in order.
    pub changes: Vec<(u64, Delta)>,
    /// As which they are stored.
    pub keys: Vec<Vec<u8>>,
    /// The bytes of what is stored.
    pub bytes: usize,
    /// More waits behind it.
    pub is_cut: bool,
}

/// The changes after an epoch: up to another one, or whole epochs as long as they are not more than so
/// many bytes, and at least one.
pub(super) fn read(
    store: &dyn Store,
    id: RelationId,
    after: u64,
    upto: Option<u64>,
    most_bytes: usize,
) -> Result<Unpublished> {
    let mut found = Unpublished::default();
    for entry in store.scan(Space::Views, &key(id, after + 1, 0, 0), &end(id))? {
        let (key, value) = entry?;
        let epoch = epoch_of(&key)?;
        let is_new = found.changes.last().is_some_and(|(last, _)| *last != epoch);
        let is_enough = match upto {
            Some(upto) => epoch > upto,
            None => is_new && found.bytes + value.len() > most_bytes,
        };
        if is_enough {
            found.is_cut = true;
            break;
        }
        let batch = decode_batch(&value).map_err(|error| error.context("a change is damaged"))?;
        found.bytes += value.len();
        found.changes.push((epoch, unweighted(&batch)?));
        found.keys.push(key);
    }
    Ok(found)
}

/// The bytes of all that waits.
pub(super) fn waiting_bytes(store: &dyn Store, id: RelationId) -> Result<usize> {
    let mut bytes = 0;
    for entry in store.scan(Space::Views, &key(id, 0, 0, 0), &end(id))? {
        bytes += entry?.1.len();
    }
    Ok(bytes)
}

fn epoch_of(key: &[u8]) -> Result<u64> {
    let damaged = || Error::new(SqlState::Corrupted, "a key of a sink is damaged");
    if key.get(16) != Some(&HANDED_ON) {
        return Err(damaged());
    }
    let epoch = key.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    epoch.ok_or_else(damaged)
}
