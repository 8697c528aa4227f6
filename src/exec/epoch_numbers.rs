//! The numbers of epochs, as they are stored.

use std::sync::Arc;

use super::progress::Progress;
use super::registry::Engine;
use crate::catalog::Catalog;
use crate::error::Result;
use crate::log::Transaction;
use crate::store::codec::{decode_number, encode_number};
use crate::store::{Space, Store};

/// The key of the last epoch's number.
const EPOCH_KEY: &[u8] = b"epoch";

/// The greatest number of an epoch that is stored. Views that catch up commit beside the loop, so
/// the numbers need not have been committed in order: the newest record of the number alone could
/// be one that others are beyond.
pub(super) fn last_stored(store: &dyn Store, catalog: &Catalog) -> Result<u64> {
    let mut last = match store.get(Space::Meta, EPOCH_KEY)? {
        Some(value) => decode_number(value, u64::from_be_bytes)
            .map_err(|error| error.context("the number of the last epoch is damaged"))?,
        None => 0,
    };
    for relation in catalog.names().all() {
        if relation.running().is_some() {
            last = last.max(
                Progress::read(store, relation.query_id())?.map_or(0, |progress| progress.epoch),
            );
        }
    }
    Ok(last)
}

impl Engine {
    /// Adds the greatest number given so far to a commit, as of the commit: views that catch up
    /// commit between the epochs of the others, and not in the order of the numbers.
    pub(super) fn put_epoch(self: &Arc<Self>, transaction: &mut Transaction) {
        let engine = Arc::clone(self);
        transaction.with_commit(move |_, batch| {
            batch.put(Space::Meta, EPOCH_KEY, encode_number(engine.last_epoch()));
            Ok(())
        });
    }
}
