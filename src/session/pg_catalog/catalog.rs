//! Schema `pg_catalog`: what psql and drivers read to know what there is.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::{MemTable, TableProvider};

use super::super::transaction::SystemContext;
use super::relations::{self, DATABASE, OWNER, PG_CLASS, columns};
use super::shape::{SystemValue, TableColumns, row};
use super::{fixed, listings, procedures};
use crate::catalog::Relation;
use crate::error::Result;

/// One of them.
pub(crate) fn table(cx: &SystemContext, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    match name {
        "pg_class" => classes(cx),
        "pg_attribute" => attributes(cx),
        "pg_attrdef" => defaults(cx),
        "pg_index" => indexes(cx),
        "pg_constraint" => constraints(cx),
        "pg_namespace" => namespaces(cx),
        "pg_database" => database(),
        "pg_roles" | "pg_authid" | "pg_user" | "pg_shadow" => roles(cx, name),
        "pg_proc" => procedures::table(cx),
        "pg_description" => descriptions(cx),
        "pg_settings" => listings::settings(cx),
        "pg_tables" | "pg_views" | "pg_matviews" | "pg_indexes" => listings::listings(cx, name),
        "pg_stat_activity" => listings::activity(cx),
        "pg_stat_user_tables" | "pg_statio_user_tables" => listings::statistics(cx),
        "pg_get_keywords" => listings::keywords(),
        "pg_tablespace" => {
            TableColumns::new("oid:oid spcname:name spcowner:oid spcacl:text[] spcoptions:text[]")?
                .table(vec![row![1663, "pg_default", OWNER]])
        }
        _ => match fixed::empty(name) {
            Some(columns) => TableColumns::new(columns)?.table(Vec::new()),
            None => return fixed::of_postgres(name),
        },
    }
    .map(Some)
}

fn classes(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "oid:oid relname:name relnamespace:oid reltype:oid reloftype:oid relowner:oid relam:oid relfilenode:oid \
         reltablespace:oid relpages:int4 reltuples:float4 relallvisible:int4 reltoastrelid:oid relhasindex:bool \
         relisshared:bool relpersistence:char relkind:char relnatts:int2 relchecks:int2 relhasrules:bool \
         relhastriggers:bool relhassubclass:bool relrowsecurity:bool relforcerowsecurity:bool relispopulated:bool \
         relreplident:char relispartition:bool relrewrite:oid relfrozenxid:oid relminmxid:oid relacl:text[] \
         reloptions:text[] relpartbound:text",
    )?;
    let mut rows = Vec::new();
    for entry in relations::users(cx).into_iter().chain(relations::systems()) {
        let count = match entry.index_of {
            Some(_) => entry.key.len(),
            None => columns(cx, &entry)?.len(),
        };
        let am = match entry.kind {
            "i" => 403,
            "v" => 0,
            _ => 2,
        };
        rows.push(row![
            entry.oid,
            entry.name.as_str(),
            entry.namespace,
            0,
            0,
            OWNER,
            am,
            entry.oid,
            0,
            0,
            -1.0,
            0,
            0,
            !entry.key.is_empty() && entry.index_of.is_none(),
            false,
            "p",
            entry.kind,
            count,
            relations::checks(&entry).len(),
            false,
            false,
            false,
            false,
            false,
            true,
            "d",
            false,
            0,
            0,
            0,
            SystemValue::Null,
            SystemValue::Null,
            SystemValue::Null,
        ]);
    }
    shape.table(rows)
}

/// What Postgres says of itself, and what COMMENT says of users' relations.
fn descriptions(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new("objoid:oid classoid:oid objsubid:int4 description:text")?;
    let names = cx.engine.catalog.names();
    let of_relation = |relation: &Arc<Relation>| {
        let oid = relations::oid(relation);
        let comment = |(at, text): (&usize, &String)| row![oid, PG_CLASS, *at, text.as_str()];
        relation.comments.iter().map(comment).collect::<Vec<_>>()
    };
    let own = shape.batch(names.all().flat_map(of_relation).collect())?;
    let schema = own.schema();
    let fixed = fixed::rows("pg_description")?
        .map(|rows| RecordBatch::try_new(Arc::clone(&schema), rows.columns().to_vec()))
        .transpose()?;
    let parts = fixed.into_iter().chain([own]).collect();
    Ok(Arc::new(MemTable::try_new(schema, vec![parts])?))
}

fn attributes(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "attrelid:oid attname:name atttypid:oid attstattarget:int4 attlen:int2 attnum:int2 attndims:int4 \
         attcacheoff:int4 atttypmod:int4 attbyval:bool attalign:char attstorage:char attcompression:char \
         attnotnull:bool atthasdef:bool atthasmissing:bool attidentity:char attgenerated:char attisdropped:bool \
         attislocal:bool attinhcount:int4 attcollation:oid attacl:text[] attoptions:text[] attfdwoptions:text[] \
         attmissingval:text[]",
    )?;
    let mut rows = Vec::new();
    for entry in relations::users(cx).into_iter().chain(relations::systems()) {
        let all = match entry.index_of {
            None => columns(cx, &entry)?,
            Some(of) => {
                let names = cx.engine.catalog.names();
                let relation = names.all().find(|relation| relations::oid(relation) == of);
                let columns = entry
                    .key
                    .iter()
                    .filter_map(|at| relation.and_then(|r| r.columns.get(*at)).cloned());
                columns.collect()
            }
        };
        for (at, column) in all.iter().enumerate() {
            let (length, oid) = (column.sql_type.typlen(), column.sql_type.oid());
            let is_text = matches!(oid, 25 | 1043 | 19 | 1009);
            let dimensions = i32::from(matches!(column.sql_type, crate::types::SqlType::Array(_)));
            let is_column = entry.index_of.is_none();
            rows.push(row![
                entry.oid,
                column.name.as_str(),
                oid,
                -1,
                length,
                at + 1,
                dimensions,
                -1,
                column.sql_type.modifier(),
                (1..=8).contains(&length),
                "i",
                if length < 0 { "x" } else { "p" },
                "",
                column.not_null,
                is_column && (column.default.is_some() || column.generated.is_some()),
                false,
                "",
                if is_column && column.generated.is_some() { "s" } else { "" },
                false,
                true,
                0,
                if is_text { 100 } else { 0 },
                SystemValue::Null,
                SystemValue::Null,
                SystemValue::Null,
                SystemValue::Null,
            ]);
        }
    }
    shape.table(rows)
}

fn defaults(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let mut rows = Vec::new();
    for entry in relations::users(cx) {
        let Some(relation) = &entry.relation else { continue };
        for (at, column) in relation.columns.iter().enumerate() {
            if let Some(text) = column.default.as_ref().or(column.generated.as_ref()) {
                let oid = u64::from(entry.oid) * 2_000 + at as u64;
                rows.push(row![oid as u32, entry.oid, at + 1, text.as_str()]);
            }
        }
    }
    TableColumns::new("oid:oid adrelid:oid adnum:int2 adbin:text")?.table(rows)
}

fn positions(key: &[usize]) -> String {
    let positions: Vec<String> = key.iter().map(|at| (at + 1).to_string()).collect();
    format!("{{{}}}", positions.join(","))
}

fn indexes(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "indexrelid:oid indrelid:oid indnatts:int2 indnkeyatts:int2 indisunique:bool indnullsnotdistinct:bool \
         indisprimary:bool indisexclusion:bool indimmediate:bool indisclustered:bool indisvalid:bool \
         indcheckxmin:bool indisready:bool indislive:bool indisreplident:bool indkey:int2[] indcollation:oid[] \
         indclass:oid[] indoption:int2[] indexprs:text indpred:text",
    )?;
    let rows = relations::keys(cx).into_iter().map(|key| {
        let zeros = format!("{{{}}}", vec!["0"; key.columns.len()].join(","));
        row![
            key.index,
            key.of,
            key.columns.len(),
            key.columns.len(),
            true,
            false,
            key.is_primary,
            false,
            true,
            false,
            true,
            false,
            true,
            true,
            false,
            positions(&key.columns),
            zeros.clone(),
            zeros.clone(),
            zeros,
        ]
    });
    shape.table(rows.collect())
}

fn constraints(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "oid:oid conname:name connamespace:oid contype:char condeferrable:bool condeferred:bool convalidated:bool \
         conrelid:oid contypid:oid conindid:oid conparentid:oid confrelid:oid confupdtype:char confdeltype:char \
         confmatchtype:char conislocal:bool coninhcount:int4 connoinherit:bool conkey:int2[] confkey:int2[] \
         conpfeqop:oid[] conppeqop:oid[] conffeqop:oid[] confdelsetcols:int2[] conexclop:oid[] conbin:text",
    )?;
    let rows = relations::keys(cx).into_iter().map(|key| {
        row![
            key.constraint,
            key.name,
            key.namespace,
            if key.is_primary { "p" } else { "u" },
            false,
            false,
            true,
            key.of,
            0,
            key.index,
            0,
            0,
            " ",
            " ",
            " ",
            true,
            0,
            true,
            positions(&key.columns),
        ]
    });
    let mut rows: Vec<_> = rows.collect();
    for entry in relations::users(cx) {
        for (at, check) in relations::checks(&entry).iter().enumerate() {
            rows.push(row![
                relations::check_oid(entry.oid, at),
                check.name.as_str(),
                entry.namespace,
                "c",
                false,
                false,
                true,
                entry.oid,
                0,
                0,
                0,
                0,
                " ",
                " ",
                " ",
                true,
                0,
                false,
            ]);
        }
    }
    shape.table(rows)
}

fn namespaces(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let schemas = relations::schemas(&cx.engine.catalog.names());
    let rows = schemas.iter().map(|(oid, name)| row![*oid, name.as_str(), OWNER]);
    TableColumns::new("oid:oid nspname:name nspowner:oid nspacl:text[]")?.table(rows.collect())
}

fn database() -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "oid:oid datname:name datdba:oid encoding:int4 datlocprovider:char datistemplate:bool datallowconn:bool \
         datconnlimit:int4 datfrozenxid:oid datminmxid:oid dattablespace:oid datcollate:text datctype:text \
         daticulocale:text datcollversion:text datacl:text[]",
    )?;
    let name = crate::catalog::DATABASE;
    shape.table(vec![row![
        DATABASE, name, OWNER, 6, "c", false, true, -1, 0, 0, 1663, "C.UTF-8", "C.UTF-8"
    ]])
}

fn roles(cx: &SystemContext, name: &str) -> Result<Arc<dyn TableProvider>> {
    let user = cx.user.as_str();
    match name {
        "pg_user" | "pg_shadow" => TableColumns::new(
            "usename:name usesysid:oid usecreatedb:bool usesuper:bool userepl:bool usebypassrls:bool passwd:text \
             valuntil:timestamptz useconfig:text[]",
        )?
        .table(vec![row![user, OWNER, true, true, false, true, "********"]]),
        _ => TableColumns::new(
            "oid:oid rolname:name rolsuper:bool rolinherit:bool rolcreaterole:bool rolcreatedb:bool rolcanlogin:bool \
             rolreplication:bool rolconnlimit:int4 rolpassword:text rolvaliduntil:timestamptz rolbypassrls:bool \
             rolconfig:text[]",
        )?
        .table(vec![row![OWNER, user, true, true, true, true, true, false, -1, "********", SystemValue::Null, true]]),
    }
}
