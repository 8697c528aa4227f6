//! CREATE TABLE and CREATE TABLE AS.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query};

use super::checks::{checks, uniques};
use super::columns::{columns, primary_key};
use super::{Definer, Done, Opening, commit_changes, commit_new, is_taken, new_name, options};
use crate::catalog::{Kind, NameChange, Relation, TableDef};
use crate::error::Result;
use crate::exec::define::columns_of;
use crate::exec::tables::table_spec;
use crate::log::Transaction;
use crate::log::table::{TableHandle, TableId};
use crate::session::read::rows::conform;
use crate::sql::{CreateRelation, WithData, ident_name};

/// CREATE TABLE … AS.
pub struct CreateAs {
    pub name: ObjectName,
    pub if_not_exists: bool,
    pub columns: Vec<Ident>,
    pub query: Box<Query>,
    pub with_data: WithData,
}

/// Makes a table.
pub async fn create(cx: &Definer, create: CreateRelation) -> Result<Done> {
    let name = new_name(&cx.engine, &create.name)?;
    if let Some(notice) = is_taken(&cx.engine, &name, create.if_not_exists)? {
        return Ok(Done::with("CREATE TABLE", notice));
    }
    options::only(&create.options, "table", &["history"])?;
    let history_ms = options::time(&create.options, "history")?;
    let (mut columns, mut depends_on) = columns(cx, &create.columns).await?;
    let primary_key = primary_key(&mut columns, &create.primary_key)?;
    let uniques = uniques(&name.name, &columns, &create.uniques)?;
    let (checks, used) = checks(cx, &name.name, &columns, &create.checks).await?;
    depends_on.extend(used);
    let relation = Relation {
        id: cx.engine.catalog.names().next_id(),
        schema: name.schema().to_owned(),
        name: name.name,
        columns,
        kind: Kind::Table(TableDef { primary_key, history_ms, uniques, checks }),
        depends_on,
        sql: create.text,
        created_ms: cx.engine.now_ms(),
        comments: BTreeMap::new(),
    };
    commit_new(&cx.engine, relation, |_, _| Ok(())).await?;
    Ok(Done::new("CREATE TABLE"))
}

/// Makes a table of a query's rows; both become durable together.
pub async fn create_as(cx: &Definer, create: CreateAs) -> Result<Done> {
    let name = new_name(&cx.engine, &create.name)?;
    if let Some(notice) = is_taken(&cx.engine, &name, create.if_not_exists)? {
        return Ok(Done::with("CREATE TABLE AS", notice));
    }
    let (schema, batches) = match create.with_data {
        WithData::Yes => cx.reads.collect(&create.query).await?,
        WithData::No => (cx.reads.plan(&create.query).await?.schema, Vec::new()),
    };
    let names: Vec<String> = create.columns.iter().map(ident_name).collect();
    let relation = Arc::new(Relation {
        id: cx.engine.catalog.names().next_id(),
        schema: name.schema().to_owned(),
        name: name.name,
        columns: columns_of(&schema, &names)?,
        kind: Kind::Table(TableDef {
            primary_key: Vec::new(),
            history_ms: None,
            uniques: Vec::new(),
            checks: Vec::new(),
        }),
        depends_on: Vec::new(),
        sql: cx.reads.text.to_string(),
        created_ms: cx.engine.now_ms(),
        comments: BTreeMap::new(),
    });
    let store = cx.engine.store().as_ref();
    let handle = TableHandle::open(
        store,
        TableId(relation.id.0),
        table_spec(&relation),
        cx.engine.planner.accounts(),
        cx.engine.clock_handle(),
    )?;
    let mut writer = handle.lock(cx.engine.clock(), super::super::transaction::LOCK_WAIT).await?;
    let stored = relation.schema();
    let mut rows = 0;
    for batch in &batches {
        rows += batch.num_rows();
        writer.append(conform(batch, &stored)?)?;
    }
    let mut transaction = Transaction::at(cx.engine.now_ms());
    writer.into_transaction(&mut transaction)?;
    let change = NameChange::Put(relation);
    commit_changes(&cx.engine, transaction, vec![change], Opening::Open).await?;
    Ok(Done::new(match create.with_data {
        WithData::Yes => format!("SELECT {rows}"),
        WithData::No => "CREATE TABLE AS".to_owned(),
    }))
}
