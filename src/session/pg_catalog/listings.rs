//! The views of `pg_catalog`: relations as lists of their kinds, settings, sessions, statistics.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use super::super::transaction::SystemContext;
use super::relations::{self, DATABASE, OWNER, RelationEntry};
use super::shape::{SystemValue, TableColumns, row};
use crate::catalog::Kind;
use crate::error::Result;

pub(crate) fn settings(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "name:text setting:text unit:text category:text short_desc:text extra_desc:text context:text vartype:text \
         source:text min_val:text max_val:text enumvals:text[] boot_val:text reset_val:text sourcefile:text \
         sourceline:int4 pending_restart:bool",
    )?;
    let all = cx.settings.all();
    let rows = all.iter().map(|(name, value, what)| {
        let default = cx.settings.default_of(name);
        let source = if default.as_ref() == Some(value) { "default" } else { "session" };
        row![
            name.as_str(),
            value.as_str(),
            SystemValue::Null,
            "Session",
            what.as_str(),
            SystemValue::Null,
            "user",
            "string",
            source,
            SystemValue::Null,
            SystemValue::Null,
            SystemValue::Null,
            default.clone(),
            default,
            SystemValue::Null,
            SystemValue::Null,
            false,
        ]
    });
    shape.table(rows.collect())
}

/// A function to clients, and a table here: what it is called with does not matter.
pub(crate) fn keywords() -> Result<Arc<dyn TableProvider>> {
    let words = crate::sql::keywords();
    let rows = words.map(|(word, is_reserved)| {
        if is_reserved {
            row![word.to_ascii_lowercase(), "R", false, "reserved", "requires AS"]
        } else {
            row![word.to_ascii_lowercase(), "U", true, "unreserved", "can be bare label"]
        }
    });
    TableColumns::new("word:text catcode:char barelabel:bool catdesc:text baredesc:text")?
        .table(rows.collect())
}

/// pg_tables, pg_views, pg_matviews, pg_indexes.
pub(crate) fn listings(cx: &SystemContext, name: &str) -> Result<Arc<dyn TableProvider>> {
    let user = cx.user.as_str();
    let entries = relations::users(cx);
    let wanted = |kind: &'static str| entries.iter().filter(move |entry| entry.kind == kind);
    let query = |entry: &RelationEntry| match entry.relation.as_ref().map(|relation| &relation.kind)
    {
        Some(Kind::View { query }) => Some(query.clone()),
        Some(Kind::MaterializedView(view)) => Some(view.query.clone()),
        _ => None,
    };
    match name {
        "pg_views" => TableColumns::new("schemaname:name viewname:name viewowner:name definition:text")?
            .table(wanted("v").map(|e| row![e.schema.as_str(), e.name.as_str(), user, query(e)]).collect()),
        "pg_matviews" => TableColumns::new(
            "schemaname:name matviewname:name matviewowner:name tablespace:name hasindexes:bool ispopulated:bool \
             definition:text",
        )?
        .table(wanted("m").map(|e| row![e.schema.as_str(), e.name.as_str(), user, SystemValue::Null, false, true, query(e)]).collect()),
        "pg_indexes" => {
            let rows = relations::keys(cx).into_iter().map(|key| {
                let definition = super::functions::index_definition(&key);
                row![key.relation.schema.as_str(), key.relation.name.as_str(), key.name, SystemValue::Null, definition]
            });
            TableColumns::new("schemaname:name tablename:name indexname:name tablespace:name indexdef:text")?
                .table(rows.collect())
        }
        _ => TableColumns::new(
            "schemaname:name tablename:name tableowner:name tablespace:name hasindexes:bool hasrules:bool \
             hastriggers:bool rowsecurity:bool",
        )?
        .table(
            wanted("r")
                .map(|e| row![e.schema.as_str(), e.name.as_str(), user, SystemValue::Null, !e.key.is_empty(), false, false, false])
                .collect(),
        ),
    }
}

pub(crate) fn activity(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "datid:oid datname:name pid:int4 leader_pid:int4 usesysid:oid usename:name application_name:text \
         client_addr:text client_hostname:text client_port:int4 backend_start:timestamptz xact_start:timestamptz \
         query_start:timestamptz state_change:timestamptz wait_event_type:text wait_event:text state:text \
         backend_xid:int8 backend_xmin:int8 query_id:int8 query:text backend_type:text",
    )?;
    let application = cx.settings.get("application_name").ok();
    let mut own = row![
        DATABASE,
        crate::catalog::DATABASE,
        cx.pid,
        SystemValue::Null,
        OWNER,
        cx.user.as_str(),
        application
    ];
    own.resize(16, SystemValue::Null);
    own.extend(row!["active"]);
    own.resize(21, SystemValue::Null);
    own.extend(row!["client backend"]);
    shape.table(vec![own])
}

pub(crate) fn statistics(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "relid:oid schemaname:name relname:name seq_scan:int8 seq_tup_read:int8 idx_scan:int8 idx_tup_fetch:int8 \
         n_tup_ins:int8 n_tup_upd:int8 n_tup_del:int8 n_live_tup:int8 n_dead_tup:int8 last_vacuum:timestamptz \
         last_autovacuum:timestamptz last_analyze:timestamptz last_autoanalyze:timestamptz",
    )?;
    let rows = relations::users(cx).into_iter().filter(|entry| entry.kind == "r").map(|entry| {
        let live = super::functions::rows_of(cx, &entry);
        let mut cells = row![entry.oid, entry.schema.as_str(), entry.name.as_str()];
        cells.resize(10, SystemValue::Null);
        cells.extend(row![live]);
        cells
    });
    shape.table(rows.collect())
}
