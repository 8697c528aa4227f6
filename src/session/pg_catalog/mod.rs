//! What the server shows of itself as tables: `tidemill`, `pg_catalog` and `information_schema`.
//!
//! Every table is made when a statement names it, from the catalog and the engine's figures of that
//! moment. What never changes (types, languages, access methods) is kept as PostgreSQL 15 has it
//! (`fixed`). psql and drivers ask in SQL that DataFusion does not know in every detail; `rewrite`
//! says the same in other words, and `functions` has the functions they call.

mod catalog;
mod expand;
mod expanding;
mod fixed;
mod functions;
mod information;
mod listings;
mod names;
mod procedures;
mod relations;
mod rewrite;
pub(crate) mod shape;
mod types;
mod variables;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::execution::context::SessionState;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::sql::sqlparser::ast::Query;

use super::inspect::tidemill;
use super::transaction::SystemContext;
use crate::error::Result;
use crate::plan::relations::RelationLookup;
use crate::types::Zone;

/// The schemas that are the system's own.
pub const SCHEMAS: [&str; 3] = ["tidemill", "pg_catalog", "information_schema"];

/// The system's schemas for one statement of a session.
pub fn lookup(cx: SystemContext) -> Arc<dyn RelationLookup> {
    Arc::new(System { cx })
}

/// Brings a query about the system into a form that can be planned, and adds the functions that it
/// may call to the state it is planned with. A query about anything else is left alone. `true` if
/// it was about the system.
pub fn prepare(cx: &SystemContext, state: &mut SessionState, query: &mut Query) -> Result<bool> {
    if !rewrite::concerns(query) {
        return Ok(false);
    }
    rewrite::rewrite(query, cx)?;
    register(cx, state)?;
    Ok(true)
}

/// Whether a function of `pg_catalog` has that name.
pub fn is_function(name: &str) -> bool {
    functions::is_known(name) || name.starts_with("pg_") || name.starts_with("current_")
}

/// Whether a relation of `pg_catalog` has that name, which needs no schema before it.
pub fn is_relation(name: &str) -> bool {
    information::renamed(name).is_some() || names::PG_CATALOG_TABLES.contains(&name)
}

/// Adds the functions of `pg_catalog`.
pub fn register(cx: &SystemContext, state: &mut SessionState) -> Result<()> {
    for function in functions::all(cx)
        .into_iter()
        .chain(variables::all(&cx.settings))
        .chain([expand::function()])
    {
        state.register_udf(function)?;
    }
    Ok(())
}

struct System {
    cx: SystemContext,
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").field("user", &self.cx.user).finish_non_exhaustive()
    }
}

#[async_trait]
impl RelationLookup for System {
    async fn find(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match schema {
            "tidemill" => tidemill::table(&self.cx, name),
            // Postgres looks there for every name without a schema.
            "pg_catalog" | "public" => match information::renamed(name) {
                Some(name) => information::table(&self.cx, name),
                None => catalog::table(&self.cx, name),
            },
            "information_schema" => information::table(&self.cx, name),
            _ => Ok(None),
        }
    }

    fn zone(&self) -> Option<String> {
        let zone = Zone::of_setting(&self.cx.settings.get("TimeZone").ok()?).ok()?;
        (zone != Zone::Utc).then(|| zone.name())
    }

    fn names(&self, schema: &str) -> Vec<String> {
        let names = match schema {
            "tidemill" => tidemill::NAMES,
            "pg_catalog" => names::PG_CATALOG_TABLES,
            "information_schema" => names::INFORMATION_SCHEMA_TABLES,
            _ => &[],
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn prepare(&self, state: &mut SessionState, query: &mut Query) -> Result<()> {
        prepare(&self.cx, state, query).map(drop)
    }

    fn schemas(&self) -> Vec<String> {
        SCHEMAS.iter().map(|schema| (*schema).to_owned()).collect()
    }
}
