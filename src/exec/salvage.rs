//! Before anything runs: what is stored of each relation is held against what is known of it.
//!
//! The store sees to it that nothing acknowledged is missing ([`Store::lost`] says what is when
//! that has been accepted). A directory that lost something under an older server shows it here.
//! When the loss is accepted, a view whose rows are not all there has failed for good, and what
//! belongs to nothing any more is deleted: the id of a relation that was made after the last commit
//! that is left will be given again.

use std::collections::HashSet;
use std::sync::Arc;

use super::codec;
use super::failure::ViewFailure;
use super::progress::Progress;
use super::stored;
use super::tables::table_spec;
use crate::catalog::{Catalog, Kind, Relation, RelationId};
use crate::clock::{Clock, WallClock};
use crate::error::{Error, Result, SqlState};
use crate::log::table::{TableHandle, TableId};
use crate::log::{Journal, StreamId, Transaction, parse_block_key};
use crate::memory::Accounts;
use crate::store::{Space, Store, WriteBatch};

/// Refuses what has been damaged, or deals with its loss if that is accepted.
pub(super) async fn check(
    store: &dyn Store,
    catalog: &Catalog,
    journal: &Journal,
    now_ms: i64,
) -> Result<()> {
    let lost = store.lost();
    let mut transaction = Transaction::at(now_ms);
    for relation in catalog.names().all() {
        match &relation.kind {
            Kind::MaterializedView(_) | Kind::Sink(_) => {
                check_view(store, journal, relation, &mut transaction.puts)?
            }
            Kind::Table(_) if lost.contains(&Space::Tables) => {
                trim_table(store, journal, relation, &mut transaction.puts)?;
            }
            Kind::Stream(stream) if stream.query.is_some() => {
                check_view(store, journal, relation, &mut transaction.puts)?;
            }
            Kind::Table(_) | Kind::Stream(_) | Kind::View { .. } => {}
        }
    }
    if lost.is_empty() {
        // A view that lacks something has failed; nothing else is dealt with here.
        if !transaction.puts.is_empty() {
            journal.commit(transaction).await?;
        }
        return Ok(());
    }
    delete_unknown(store, catalog, journal, &mut transaction.puts)?;
    journal.commit(transaction).await?;
    store.loss_is_settled();
    Ok(())
}

/// Whether a view has all its rows, and has read nothing that is not there.
fn check_view(
    store: &dyn Store,
    journal: &Journal,
    relation: &Relation,
    puts: &mut WriteBatch,
) -> Result<()> {
    let Some(mut progress) = Progress::read(store, relation.query_id())? else { return Ok(()) };
    if progress.failed.is_some() {
        return Ok(());
    }
    let lost = store.lost();
    let last = journal.last().0;
    let why = if progress.commit > last {
        format!("it has read up to commit {}, and the last one is {last}", progress.commit)
    } else if !relation.hands_on()
        && !stored::has_last_change(store, relation.query_id(), &progress)?
    {
        format!("its rows of epoch {} are not there", progress.answer_epoch)
    } else if lost.contains(&Space::State) || lost.contains(&Space::Views) {
        "part of its rows or of its state may have been lost".to_owned()
    } else {
        return Ok(());
    };
    let error = Error::new(
        SqlState::Corrupted,
        format!("{} \"{}\" is damaged: {why}", relation.kind_name(), relation.name),
    );
    if !store.accepts_loss() && lost.is_empty() {
        return Err(error.hint(
            "Restore the data directory from a copy, or start with --accept-loss; then drop the view and create it again.",
        ));
    }
    tracing::warn!("--accept-loss: {error}");
    progress.failed = Some(ViewFailure::of(&error));
    progress.write(relation.query_id(), puts)
}

/// Takes away what was written to a table after the last commit that is left; all of it, if the
/// rest makes no sense.
fn trim_table(
    store: &dyn Store,
    journal: &Journal,
    relation: &Relation,
    puts: &mut WriteBatch,
) -> Result<()> {
    let (from, to) = (codec::prefix(relation.id), codec::end(relation.id));
    let is_readable = TableHandle::open(
        store,
        TableId(relation.id.0),
        table_spec(relation),
        &Accounts::new(usize::MAX),
        &(Arc::new(WallClock) as Arc<dyn Clock>),
    )
    .is_ok();
    if !is_readable {
        tracing::warn!(
            "--accept-loss: table \"{}\" cannot be read and is empty now",
            relation.name
        );
    }
    for key in store.keys(Space::Tables, &from, &to)? {
        let key = key?;
        if !is_readable || word(&key, 1).is_none_or(|commit| commit > journal.last().0) {
            puts.delete(Space::Tables, key);
        }
    }
    Ok(())
}

/// Deletes what belongs to no relation, and blocks of a log that are beyond its end.
fn delete_unknown(
    store: &dyn Store,
    catalog: &Catalog,
    journal: &Journal,
    puts: &mut WriteBatch,
) -> Result<()> {
    let names = catalog.names();
    let known: HashSet<RelationId> =
        names.all().flat_map(|relation| [relation.id, relation.query_id()]).collect();
    for space in [Space::Log, Space::Tables, Space::State, Space::Views] {
        for key in store.keys(space, &[], &[])? {
            let key = key?;
            let Some(id) = word(&key, 0).map(RelationId) else { continue };
            let is_beyond = || -> Result<bool> {
                let stats = journal.stats(StreamId(id.0))?;
                Ok(parse_block_key(&key)?.1 > stats.last_commit)
            };
            if !known.contains(&id) || (space == Space::Log && is_beyond()?) {
                puts.delete(space, key);
            }
        }
    }
    Ok(())
}

fn word(key: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(at * 8..at * 8 + 8)?.try_into().ok()?))
}
