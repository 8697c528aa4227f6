//! DROP: what is to go and all that depends on it, or nothing.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::ObjectName;

use super::{Done, Opening, check_kind, commit_changes, stream_id, to_its_end};
use crate::catalog::{Kind, NameChange, Relation, RelationId};
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
    let ids: Vec<RelationId> = found.iter().map(|relation| relation.id).collect();
    let dependants = engine.catalog.names().all_dependants(&ids);
    if cascade == Cascade::Restrict && !dependants.is_empty() {
        return Err(still_used(engine, &found, &dependants));
    }
    for dependant in &dependants {
        let what = format!("drop cascades to {} {}", dependant.kind_name(), dependant.name);
        done.notices.push(("NOTICE", Error::new(SqlState::Success, what)));
    }
    remove(engine, dependants.into_iter().chain(found).collect(), alone).await?;
    Ok(done)
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
        if !name.is_public() {
            return Err(Error::new(
                SqlState::InsufficientPrivilege,
                format!("\"{}\" is part of the system and stays", name.name),
            ));
        }
        match names.find(&name.name) {
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
            None => return Err(names.missing(&name.name)),
        }
    }
    Ok(found)
}

fn still_used(engine: &Engine, found: &[Arc<Relation>], dependants: &[Arc<Relation>]) -> Error {
    let names = engine.catalog.names();
    let mut detail = Vec::new();
    for dependant in dependants {
        for used in dependant.depends_on.iter().filter_map(|id| names.by_id(*id)) {
            detail.push(format!(
                "{} {} depends on {} {}",
                dependant.kind_name(),
                dependant.name,
                used.kind_name(),
                used.name
            ));
        }
    }
    let first = found
        .first()
        .map_or_else(String::new, |first| format!("{} {}", first.kind_name(), first.name));
    Error::new(
        SqlState::DependantsExist,
        format!("cannot drop {first} because other objects depend on it"),
    )
    .detail(detail.join("\n"))
    .hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

/// Takes relations away, those that use others first, in one commit.
///
/// First it waits for the transactions that write to the tables, which may take long and be
/// cancelled. Then it goes to its end, whatever becomes of the client: views that were stopped for
/// a removal that did not take place would be there and not run.
async fn remove(engine: &Arc<Engine>, relations: Vec<Arc<Relation>>, alone: Alone) -> Result<()> {
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
        let removed = remove_now(&engine, &relations, writers, &mut stopped).await;
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
    writers: Vec<TableWriter>,
    stopped: &mut Vec<RelationId>,
) -> Result<()> {
    let mut transaction = Transaction::at(engine.now_ms());
    let mut changes = Vec::new();
    for writer in writers {
        writer.drop_table(Arc::clone(engine.store()), &mut transaction);
    }
    for relation in relations {
        match &relation.kind {
            Kind::MaterializedView(_) => {
                stopped.push(relation.id);
                engine.stop_view(relation.id).await?;
                engine.delete_view(relation.id, &mut transaction.puts)?;
            }
            Kind::Stream(stream) if stream.connector.is_none() => {
                transaction.drop_stream(stream_id(relation))
            }
            Kind::Table(_) | Kind::Stream(_) | Kind::View { .. } => {}
        }
        changes.push(NameChange::Remove(relation.id));
    }
    commit_changes(engine, transaction, changes, Opening::AsItIs).await?;
    relations.iter().for_each(|relation| engine.closed(relation.id));
    Ok(())
}
