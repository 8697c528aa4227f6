//! Statements that write, alone and together in one WITH.
//!
//! Together they run one after the other, and what each returns is a relation for those behind it. None
//! sees what another one does to a table: they read what there was before the whole statement.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::sql::sqlparser::ast::{
    FromTable, ObjectName, TableAlias, TableFactor, TableObject,
};

use super::super::transaction::{SessionTransaction, WriteContext, WriteResult};
use super::change::{delete, update};
use super::insert::insert;
use super::query::{self, Extra};
use crate::error::{Error, Result, SqlState};
use crate::sql::{Changes, Statement, ident_name};

/// INSERT, UPDATE, DELETE, or several of them.
pub(in crate::session) async fn change(
    cx: &WriteContext,
    tx: &mut SessionTransaction,
    statement: &Statement,
) -> Result<WriteResult> {
    match statement {
        Statement::Insert(change) => insert(cx, tx, change).await,
        Statement::Update(change) => update(cx, tx, change).await,
        Statement::Delete(change) => delete(cx, tx, change).await,
        Statement::Changes(changes) => Box::pin(together(cx, tx, changes)).await,
        _ => Err(Error::internal("a statement that does not write")),
    }
}

async fn together(
    cx: &WriteContext,
    tx: &mut SessionTransaction,
    changes: &Changes,
) -> Result<WriteResult> {
    check(changes)?;
    let mut cx = cx.clone();
    for (alias, statement) in &changes.named {
        let written = change(&cx, tx, statement).await?;
        if let Some((schema, rows)) = written.returning {
            give(&mut cx, alias, &schema, &rows)?;
        }
    }
    match &changes.last {
        Statement::Query(last) if last.emit.is_some() => {
            Err(Error::unsupported("EMIT is not supported behind statements that write")
                .hint("Leave out EMIT."))
        }
        Statement::Query(last) => {
            let found = query::run(&cx, Extra::default(), last.query.as_ref().clone()).await?;
            Ok(WriteResult { rows: 0, returning: Some(found) })
        }
        last => change(&cx, tx, last).await,
    }
}

/// Lets the statements behind it see what one returns.
pub(super) fn give(
    cx: &mut WriteContext,
    alias: &TableAlias,
    schema: &SchemaRef,
    rows: &[RecordBatch],
) -> Result<()> {
    let name = ident_name(&alias.name);
    let (schema, rows) = query::as_planned(schema, rows)?;
    let (count, given) = (schema.fields().len(), alias.columns.len());
    if given > count {
        let what = format!(
            "WITH query \"{name}\" has {count} columns available but {given} columns specified"
        );
        return Err(Error::new(SqlState::InvalidColumnReference, what));
    }
    let named = |(at, field): (usize, &Arc<Field>)| match alias.columns.get(at) {
        Some(column) => field.as_ref().clone().with_name(ident_name(&column.name)),
        None => field.as_ref().clone(),
    };
    let fields: Vec<Field> = schema.fields().iter().enumerate().map(named).collect();
    let schema = Arc::new(Schema::new(fields));
    let rows =
        rows.iter().map(|rows| RecordBatch::try_new(Arc::clone(&schema), rows.columns().to_vec()));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    cx.given.insert(name, Arc::new(MemTable::try_new(schema, vec![rows])?));
    Ok(())
}

/// 0A000 for one that looks for rows in a table which another one before it has changed: it would meet
/// what that one has written. An INSERT looks for none.
fn check(changes: &Changes) -> Result<()> {
    let mut changed: Vec<String> = Vec::new();
    for statement in changes.statements() {
        let Some(name) = target(statement).map(ToString::to_string) else { continue };
        let only_adds = matches!(statement, Statement::Insert(insert) if insert.on.is_none());
        if changed.contains(&name) && !only_adds {
            let what = "a statement that changes a table after another one in the same WITH is not supported";
            return Err(Error::unsupported(what).hint(
                "Send them one by one, between BEGIN and COMMIT if they are to be seen together.",
            ));
        }
        changed.push(name);
    }
    Ok(())
}

fn target(statement: &Statement) -> Option<&ObjectName> {
    let factor = match statement {
        Statement::Insert(insert) => match &insert.table {
            TableObject::TableName(name) => return Some(name),
            _ => return None,
        },
        Statement::Update(update) => &update.table.relation,
        Statement::Delete(delete) => {
            let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
            &from.first()?.relation
        }
        _ => return None,
    };
    match factor {
        TableFactor::Table { name, .. } => Some(name),
        _ => None,
    }
}
