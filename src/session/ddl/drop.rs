//! DROP: what is to go and all that depends on it, or nothing.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::feed::forget_keys;
use super::{Done, Opening, check_kind, commit_changes, stream_id, to_its_end};
use crate::catalog::{CatalogObject, Kind, NameChange, Relation, RelationId};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::exec::registry::Alone;
use crate::log::{TableWriter, Transaction};
use crate::session::transaction::LOCK_WAIT;
use crate::sql::{Cascade, RelationKind, relation_name};

/// Drops relations.
pub async fn drop(
    engine: &Arc<Engine>,
    tag: &str,
    kind: RelationKind,
    if_exists: bool,
    wanted: &[ObjectName],
    cascade: Cascade,
    alone: Alone,
) -> Result<Done> {
    let mut done = Done::new(tag);
    let found = find(engine, kind, if_exists, wanted, &mut done)?;
    if found.is_empty() {
        return Ok(done);
    }
    let found = found.into_iter().map(CatalogObject::Relation).collect();
    drop_objects(engine, found, Vec::new(), cascade, alone, &mut done).await?;
    Ok(done)
}

/// Drops these with all that depends on them, or says what does; `with_them`: what else goes.
pub(super) async fn drop_objects(
    engine: &Arc<Engine>,
    found: Vec<CatalogObject>,
    with_them: Vec<NameChange>,
    cascade: Cascade,
    alone: Alone,
    done: &mut Done,
) -> Result<()> {
    let ids: Vec<RelationId> = found.iter().map(CatalogObject::id).collect();
    let dependants = engine.catalog.names().all_dependants(&ids);
    if cascade == Cascade::Restrict && !dependants.is_empty() {
        return Err(still_used(engine, &found, &dependants)
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    if let Some(stored) = dependants.iter().find(|object| is_stored(object)) {
        let what = stored.described();
        return Err(still_used(engine, &found, &dependants).hint(format!(
            "A column of {what} is computed with it: drop that by its name first."
        )));
    }
    for dependant in &dependants {
        let what = format!("drop cascades to {}", dependant.described());
        done.notices.push(("NOTICE", Error::new(SqlState::Success, what)));
    }
    remove(engine, dependants.into_iter().chain(found).collect(), with_them, alone).await
}

/// Whether it holds rows of its own, which are not to go because a function does.
fn is_stored(object: &CatalogObject) -> bool {
    match object {
        CatalogObject::Relation(relation) => match relation.kind {
            Kind::Stream(_) | Kind::Table(_) => !relation.hands_on(),
            Kind::View { .. } | Kind::MaterializedView(_) | Kind::Sink(_) => false,
        },
        CatalogObject::Routine(_) => false,
    }
}

fn find(
    engine: &Engine,
    kind: RelationKind,
    if_exists: bool,
    wanted: &[ObjectName],
    done: &mut Done,
) -> Result<Vec<Arc<Relation>>> {
    let names = engine.catalog.names();
    let mut found: Vec<Arc<Relation>> = Vec::new();
    for name in wanted {
        let name = relation_name(name)?;
        if name.is_of_system() {
            return Err(Error::new(
                SqlState::InsufficientPrivilege,
                format!("\"{}\" is part of the system and stays", name.name),
            ));
        }
        match name.find(&names) {
            Some(relation) => {
                check_kind(relation, kind)?;
                if !found.iter().any(|known| known.id == relation.id) {
                    found.push(Arc::clone(relation));
                }
            }
            None if if_exists => {
                let what = format!("relation \"{}\" does not exist, skipping", name.name);
                done.notices.push(("NOTICE", Error::new(SqlState::Success, what)));
            }
            None => return Err(names.missing(name.schema(), &name.name)),
        }
    }
    Ok(found)
}

fn still_used(engine: &Engine, found: &[CatalogObject], dependants: &[CatalogObject]) -> Error {
    let names = engine.catalog.names();
    let goes = |id: &RelationId| found.iter().chain(dependants).any(|object| object.id() == *id);
    let mut detail = Vec::new();
    for dependant in dependants {
        let used = dependant.depends_on().iter().filter(|id| goes(id));
        for used in used.filter_map(|id| names.object(*id)) {
            detail.push(format!("{} depends on {}", dependant.described(), used.described()));
        }
    }
    let first = found.first().map_or_else(String::new, CatalogObject::described);
    Error::new(
        SqlState::DependantsExist,
        format!("cannot drop {first} because other objects depend on it"),
    )
    .detail(detail.join("\n"))
}

/// Takes relations and functions away, those that use others first, in one commit.
///
/// First it waits for the transactions that write to the tables, which may take long and be
/// cancelled. Then it goes to its end, whatever becomes of the client: views that were stopped for
/// a removal that did not take place would be there and not run.
async fn remove(
    engine: &Arc<Engine>,
    objects: Vec<CatalogObject>,
    mut changes: Vec<NameChange>,
    alone: Alone,
) -> Result<()> {
    let mut relations = Vec::new();
    for object in objects {
        match object {
            CatalogObject::Relation(relation) => relations.push(relation),
            CatalogObject::Routine(routine) => changes.push(NameChange::RemoveRoutine(routine.id)),
        }
    }
    let mut writers = Vec::new();
    for relation in &relations {
        if let Kind::Table(_) = relation.kind {
            writers.push(engine.table(relation.id)?.lock(engine.clock(), LOCK_WAIT).await?);
        }
    }
    let engine = Arc::clone(engine);
    to_its_end(async move {
        let _alone = alone;
        let mut stopped = Vec::new();
        let removed = remove_now(&engine, &relations, changes, writers, &mut stopped).await;
        if removed.is_err() {
            // Not those that still run: they would run twice.
            for view in stopped {
                engine.restart_view(view)?;
            }
        }
        removed
    })
    .await
}

/// Says in `stopped` which views it has stopped, also when it fails.
async fn remove_now(
    engine: &Arc<Engine>,
    relations: &[Arc<Relation>],
    mut changes: Vec<NameChange>,
    writers: Vec<TableWriter>,
    stopped: &mut Vec<RelationId>,
) -> Result<()> {
    let mut transaction = Transaction::at(engine.now_ms());
    for writer in writers {
        writer.drop_table(Arc::clone(engine.store()), &mut transaction);
    }
    for relation in relations {
        if relation.running().is_some() {
            let query = relation.query_id();
            if query != relation.id {
                // What a copy that did not come to its end has left.
                engine.delete_view(relation.id, &mut transaction.puts)?;
            }
            let stays = |view: &Arc<Relation>| !relations.iter().any(|gone| gone.id == view.id);
            let is_needed = engine.catalog.names().answers_of(query).any(stays);
            if !is_needed && !stopped.contains(&query) {
                stopped.push(query);
                engine.stop_view(query).await?;
                engine.delete_view(query, &mut transaction.puts)?;
            }
        }
        if matches!(&relation.kind, Kind::Stream(stream) if stream.connector.is_none()) {
            transaction.drop_stream(stream_id(relation));
        }
        if matches!(relation.kind, Kind::Stream(_)) {
            let (store, puts) = (engine.store().as_ref(), &mut transaction.puts);
            engine.rejected.forget(store, relation.id, puts)?;
            forget_keys(store, relation.id, puts)?;
        }
        changes.push(NameChange::Remove(relation.id));
    }
    commit_changes(engine, transaction, changes, Opening::AsItIs).await?;
    relations.iter().for_each(|relation| engine.closed(relation));
    Ok(())
}
