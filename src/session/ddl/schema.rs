//! CREATE and DROP SCHEMA.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Ident;

use super::drop::drop_objects;
use super::{Done, Opening, check_name, commit_changes};
use crate::catalog::{CatalogObject, NameChange, SCHEMA, SYSTEM_SCHEMAS, Schema};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::exec::registry::Alone;
use crate::log::Transaction;
use crate::sql::Cascade;

/// Makes a schema.
///
/// # Errors
/// 42P06 if there is one of that name, 42939 for the names that Postgres keeps for itself.
pub async fn create(engine: &Arc<Engine>, name: &Ident, if_not_exists: bool) -> Result<Done> {
    let (tag, name) = ("CREATE SCHEMA", name.value.clone());
    check_name(&name)?;
    if name.starts_with("pg_") {
        let what = format!("unacceptable schema name \"{name}\"");
        return Err(Error::new(SqlState::ReservedName, what)
            .detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    let names = engine.catalog.names();
    if names.has_schema(&name) || SYSTEM_SCHEMAS.contains(&name.as_str()) {
        let what = format!("schema \"{name}\" already exists");
        if if_not_exists {
            let notice = Error::new(SqlState::DuplicateSchema, format!("{what}, skipping"));
            return Ok(Done::with(tag, notice));
        }
        return Err(Error::new(SqlState::DuplicateSchema, what));
    }
    let schema = Arc::new(Schema { id: names.next_id(), name, created_ms: engine.now_ms() });
    let change = vec![NameChange::PutSchema(schema)];
    commit_changes(engine, Transaction::at(engine.now_ms()), change, Opening::AsItIs).await?;
    Ok(Done::new(tag))
}

/// Takes schemas away, with CASCADE what is in them too.
///
/// # Errors
/// 3F000 where there is none, 42501 for those that stay, 2BP01 for one that is not empty.
pub async fn drop(
    engine: &Arc<Engine>,
    wanted: &[Ident],
    if_exists: bool,
    cascade: Cascade,
    alone: Alone,
) -> Result<Done> {
    let mut done = Done::new("DROP SCHEMA");
    let names = engine.catalog.names();
    let (mut schemas, mut objects): (Vec<Arc<Schema>>, Vec<CatalogObject>) = (vec![], vec![]);
    for name in wanted.iter().map(|name| name.value.as_str()) {
        if name == SCHEMA || SYSTEM_SCHEMAS.contains(&name) {
            let what = format!("schema {name} is needed by the server and stays");
            return Err(Error::new(SqlState::InsufficientPrivilege, what));
        }
        let Some(schema) = names.made_schema(name) else {
            if !if_exists {
                return Err(names.missing_schema(name));
            }
            let what = format!("schema \"{name}\" does not exist, skipping");
            done.notices.push(("NOTICE", Error::new(SqlState::Success, what)));
            continue;
        };
        let held: Vec<_> = names.in_schema(name).cloned().map(CatalogObject::Relation).collect();
        if cascade == Cascade::Restrict && !held.is_empty() {
            return Err(still_holds(name, &held));
        }
        for object in &held {
            let what = format!("drop cascades to {}", object.described());
            done.notices.push(("NOTICE", Error::new(SqlState::Success, what)));
        }
        schemas.push(Arc::clone(schema));
        objects.extend(held);
    }
    let schemas = schemas.into_iter().map(NameChange::RemoveSchema).collect();
    drop_objects(engine, objects, schemas, cascade, alone, &mut done).await?;
    Ok(done)
}

fn still_holds(name: &str, held: &[CatalogObject]) -> Error {
    let detail: Vec<String> = held
        .iter()
        .map(|object| format!("{} depends on schema {name}", object.described()))
        .collect();
    let what = format!("cannot drop schema {name} because other objects depend on it");
    Error::new(SqlState::DependantsExist, what)
        .detail(detail.join("\n"))
        .hint("Use DROP ... CASCADE to drop the dependent objects too.")
}
