//! Schema `information_schema`: the standard's view of the same things.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use super::super::transaction::SystemContext;
use super::names::INFORMATION_SCHEMA_TABLES;
use super::relations::{self, RelationEntry, TIDEMILL, columns};
use super::shape::{SystemValue, TableColumns, row};
use crate::catalog::DATABASE;
use crate::catalog::{Column, Kind};
use crate::error::Result;
use crate::types::{SqlType, WIDE_NUMERIC};

/// DataFusion keeps the name `information_schema` for tables of its own, so in a rewritten query
/// ours have these names.
const PREFIX: &str = "information_schema.";

/// The name by which a rewritten query finds one of these tables.
pub(crate) fn rename(name: &str) -> Option<String> {
    INFORMATION_SCHEMA_TABLES.contains(&name).then(|| format!("{PREFIX}{name}"))
}

/// The table that such a name stands for.
pub(crate) fn renamed(name: &str) -> Option<&str> {
    name.strip_prefix(PREFIX)
}

/// One of them.
pub(crate) fn table(cx: &SystemContext, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    match name {
        "tables" => tables(cx),
        "columns" => all_columns(cx),
        "views" => views(cx),
        "schemata" => schemata(cx),
        "table_constraints" => constraints(cx),
        "key_column_usage" => key_columns(cx),
        _ => match empty(name) {
            Some(columns) => TableColumns::new(columns)?.table(Vec::new()),
            None => return Ok(None),
        },
    }
    .map(Some)
}

fn empty(name: &str) -> Option<&'static str> {
    Some(match name {
        "parameters" => {
            "specific_catalog:name specific_schema:name specific_name:name ordinal_position:int4 parameter_mode:text parameter_name:name data_type:text"
        }
        "referential_constraints" => {
            "constraint_catalog:name constraint_schema:name constraint_name:name unique_constraint_catalog:name unique_constraint_schema:name unique_constraint_name:name match_option:text update_rule:text delete_rule:text"
        }
        "routines" => {
            "specific_catalog:name specific_schema:name specific_name:name routine_catalog:name routine_schema:name routine_name:name routine_type:text data_type:text routine_definition:text external_language:text"
        }
        "sequences" => {
            "sequence_catalog:name sequence_schema:name sequence_name:name data_type:text start_value:text minimum_value:text maximum_value:text increment:text cycle_option:text"
        }
        "table_privileges" => {
            "grantor:name grantee:name table_catalog:name table_schema:name table_name:name privilege_type:text is_grantable:text with_hierarchy:text"
        }
        "triggers" => {
            "trigger_catalog:name trigger_schema:name trigger_name:name event_manipulation:text event_object_catalog:name event_object_schema:name event_object_table:name action_statement:text action_orientation:text action_timing:text"
        }
        _ => return None,
    })
}

/// Users' relations and those of `tidemill`, with their schema's name; indexes left out.
fn shown(cx: &SystemContext) -> impl Iterator<Item = (String, RelationEntry)> {
    let users = relations::users(cx).into_iter().filter(|entry| entry.index_of.is_none());
    let systems = relations::systems().into_iter().filter(|entry| entry.namespace == TIDEMILL);
    users.chain(systems).map(|entry| (entry.schema.clone(), entry))
}

fn yes(value: bool) -> &'static str {
    if value { "YES" } else { "NO" }
}

fn tables(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "table_catalog:name table_schema:name table_name:name table_type:text self_referencing_column_name:name \
         reference_generation:text user_defined_type_catalog:name user_defined_type_schema:name \
         user_defined_type_name:name is_insertable_into:text is_typed:text commit_action:text",
    )?;
    // As in Postgres, materialized views are no tables of the standard.
    let rows = shown(cx).filter(|(_, entry)| entry.kind != "m").map(|(schema, entry)| {
        let is_table = entry.kind == "r";
        let kind = if is_table { "BASE TABLE" } else { "VIEW" };
        row![
            DATABASE,
            schema,
            entry.name.as_str(),
            kind,
            SystemValue::Null,
            SystemValue::Null,
            SystemValue::Null,
            SystemValue::Null,
            SystemValue::Null,
            yes(is_table),
            "NO",
        ]
    });
    shape.table(rows.collect())
}

fn all_columns(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "table_catalog:name table_schema:name table_name:name column_name:name ordinal_position:int4 \
         column_default:text is_nullable:text data_type:text character_maximum_length:int4 \
         character_octet_length:int4 numeric_precision:int4 numeric_precision_radix:int4 numeric_scale:int4 \
         datetime_precision:int4 interval_type:text character_set_name:name collation_name:name udt_catalog:name \
         udt_schema:name udt_name:name is_identity:text is_generated:text generation_expression:text is_updatable:text",
    )?;
    let mut rows = Vec::new();
    for (schema, entry) in shown(cx) {
        for (at, column) in columns(cx, &entry)?.iter().enumerate() {
            rows.push(column_row(&schema, &entry, at, column));
        }
    }
    shape.table(rows)
}

fn column_row(schema: &str, entry: &RelationEntry, at: usize, column: &Column) -> Vec<SystemValue> {
    let (precision, radix, scale) = match &column.sql_type {
        SqlType::SmallInt => (Some(16), Some(2), Some(0)),
        SqlType::Int => (Some(32), Some(2), Some(0)),
        SqlType::BigInt => (Some(64), Some(2), Some(0)),
        SqlType::Real => (Some(24), Some(2), None),
        SqlType::Double => (Some(53), Some(2), None),
        SqlType::Decimal(Some((p, s))) if *p != WIDE_NUMERIC => {
            (Some(i32::from(*p)), Some(10), Some(i32::from(*s)))
        }
        _ => (None, None, None),
    };
    let (name, length) = match &column.sql_type {
        SqlType::Array(_) => ("ARRAY".to_owned(), None),
        SqlType::Varchar(n) => (SqlType::Varchar(None).to_string(), *n),
        SqlType::Bpchar(n) => (SqlType::Bpchar(None).to_string(), *n),
        SqlType::Decimal(_) => ("numeric".to_owned(), None),
        SqlType::Timestamp(_) => (SqlType::Timestamp(6).to_string(), None),
        SqlType::TimestampTz(_) => (SqlType::TimestampTz(6).to_string(), None),
        other => (other.to_string(), None),
    };
    let digits = match &column.sql_type {
        SqlType::Timestamp(p) | SqlType::TimestampTz(p) => Some(i32::from(*p)),
        SqlType::Date => Some(0),
        SqlType::Time | SqlType::Interval => Some(6),
        _ => None,
    };
    row![
        DATABASE,
        schema,
        entry.name.as_str(),
        column.name.as_str(),
        at + 1,
        column.default.clone(),
        yes(!column.not_null),
        name,
        length,
        SystemValue::Null,
        precision,
        radix,
        scale,
        digits,
        SystemValue::Null,
        SystemValue::Null,
        SystemValue::Null,
        DATABASE,
        "pg_catalog",
        super::types::type_name(column.sql_type.oid().into()),
        "NO",
        if column.generated.is_some() { "ALWAYS" } else { "NEVER" },
        column.generated.clone(),
        yes(entry.kind == "r" && column.generated.is_none()),
    ]
}

fn views(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "table_catalog:name table_schema:name table_name:name view_definition:text check_option:text \
         is_updatable:text is_insertable_into:text",
    )?;
    let rows = shown(cx).filter(|(_, entry)| entry.kind == "v").map(|(schema, entry)| {
        let query = match entry.relation.as_ref().map(|relation| &relation.kind) {
            Some(Kind::View { query }) => Some(query.clone()),
            _ => None,
        };
        row![DATABASE, schema, entry.name.as_str(), query, "NONE", "NO", "NO"]
    });
    shape.table(rows.collect())
}

fn schemata(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "catalog_name:name schema_name:name schema_owner:name default_character_set_catalog:name \
         default_character_set_schema:name default_character_set_name:name sql_path:text",
    )?;
    let schemas = relations::schemas(&cx.engine.catalog.names());
    let rows = schemas.iter().map(|(_, name)| row![DATABASE, name.as_str(), cx.user.as_str()]);
    shape.table(rows.collect())
}

fn constraints(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "constraint_catalog:name constraint_schema:name constraint_name:name table_catalog:name table_schema:name \
         table_name:name constraint_type:text is_deferrable:text initially_deferred:text enforced:text",
    )?;
    let rows = relations::keys(cx).into_iter().map(|key| {
        row![
            DATABASE,
            key.relation.schema.as_str(),
            key.name,
            DATABASE,
            key.relation.schema.as_str(),
            key.relation.name.as_str(),
            if key.is_primary { "PRIMARY KEY" } else { "UNIQUE" },
            "NO",
            "NO",
            "YES"
        ]
    });
    let mut rows: Vec<_> = rows.collect();
    for entry in relations::users(cx) {
        for check in relations::checks(&entry) {
            let (schema, table) = (entry.schema.as_str(), entry.name.as_str());
            let name = check.name.as_str();
            rows.push(row![
                DATABASE, schema, name, DATABASE, schema, table, "CHECK", "NO", "NO", "YES"
            ]);
        }
    }
    shape.table(rows)
}

fn key_columns(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "constraint_catalog:name constraint_schema:name constraint_name:name table_catalog:name table_schema:name \
         table_name:name column_name:name ordinal_position:int4 position_in_unique_constraint:int4",
    )?;
    let mut rows = Vec::new();
    for key in relations::keys(cx) {
        for (at, column) in key.column_names().enumerate() {
            rows.push(row![
                DATABASE,
                key.relation.schema.as_str(),
                key.name.as_str(),
                DATABASE,
                key.relation.schema.as_str(),
                key.relation.name.as_str(),
                column,
                at + 1
            ]);
        }
    }
    shape.table(rows)
}
