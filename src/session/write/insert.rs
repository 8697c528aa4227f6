//! INSERT: rows of VALUES or of a query, completed and added.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, ObjectName, Query, SelectItem, SetExpr, TableObject,
};

use super::super::transaction::{SessionTransaction, WriteContext, WriteResult};
use super::assign::{assign, check};
use super::conflict;
use super::query::{self, Extra};
use super::returning::{Written, returning};
use super::rows::RowMaker;
use super::target::{self, Inserted, Verb};
use super::values;
use crate::catalog::{Kind, Names, Relation};
use crate::error::{Error, Result};
use crate::exec::Engine;
use crate::sql::ident_name;
use crate::types::SqlType;

/// Reads the head of an INSERT, and refuses what other databases have in it.
pub(super) fn head(names: &Names, insert: &ast::Insert) -> Result<Inserted> {
    let TableObject::TableName(name) = &insert.table else {
        return Err(Error::unsupported("INSERT INTO a function or a query is not supported")
            .hint("Name a table or a stream."));
    };
    let foreign = insert.or.is_some()
        || insert.ignore
        || insert.replace_into
        || insert.partitioned.is_some()
        || !insert.assignments.is_empty()
        || insert.insert_alias.is_some()
        || insert.format_clause.is_some()
        || insert.settings.is_some()
        || insert.output.is_some()
        || insert.multi_table_insert_type.is_some();
    if foreign {
        return Err(Error::unsupported("this form of INSERT is not supported")
            .hint("Use INSERT INTO name (columns) VALUES … or SELECT …, with ON CONFLICT and RETURNING where needed."));
    }
    let relation = target::relation(names, name, Verb::Insert)?;
    let named = match insert.columns.as_slice() {
        [] => None,
        names => {
            let idents = names.iter().map(simple).collect::<Result<Vec<Ident>>>()?;
            Some(target::columns(&relation, &idents)?)
        }
    };
    let alias = insert
        .table_alias
        .as_ref()
        .map_or_else(|| relation.name.clone(), |alias| ident_name(&alias.alias));
    Ok(Inserted { relation, named, alias })
}

fn simple(name: &ObjectName) -> Result<Ident> {
    match name.0.as_slice() {
        [one] => one.as_ident().cloned(),
        _ => None,
    }
    .ok_or_else(|| {
        Error::unsupported(format!("INSERT into a part of a column ({name}) is not supported"))
            .hint("Give the whole value of the column.")
    })
}

/// INSERT.
pub(in crate::session) async fn insert(
    cx: &WriteContext,
    tx: &mut SessionTransaction,
    insert: &ast::Insert,
) -> Result<WriteResult> {
    let into = head(&cx.names, insert)?;
    let maker = RowMaker::new(cx, &into.relation)?;
    let action = conflict::action(&into, insert.on.as_ref())?;
    let rows = match insert.source.as_deref() {
        None => vec![maker.complete(vec![None; into.relation.columns.len()], 1)?],
        Some(query) => match plain_values(query) {
            Some(rows) => {
                let targets = into.targets(rows.first().map_or(0, |row| row.content.len()))?;
                let given = values::columns(cx, &maker, &into.relation, &targets, rows).await?;
                vec![maker.complete(given, rows.len())?]
            }
            None => of_query(cx, &into, &maker, query).await?,
        },
    };
    let rows = match action {
        conflict::Action::Refuse => {
            add(&cx.engine, tx, &into.relation, &rows).await?;
            rows
        }
        action => {
            let writer = tx.writer(&cx.engine, &into.relation).await?;
            conflict::insert(cx, writer, &into, &maker, action, maker.schema(), &rows).await?
        }
    };
    let count = rows.iter().map(|batch| batch.num_rows() as u64).sum();
    let returning = match &insert.returning {
        None => None,
        Some(items) => {
            let written = Written::new(&into.relation, &into.alias, rows);
            Some(returning(cx, written, items).await?)
        }
    };
    Ok(WriteResult { rows: count, returning })
}

/// Adds whole rows to the transaction.
pub(super) async fn add(
    engine: &Engine,
    tx: &mut SessionTransaction,
    relation: &Relation,
    rows: &[RecordBatch],
) -> Result<()> {
    let rows = rows.iter().filter(|batch| batch.num_rows() > 0);
    match &relation.kind {
        Kind::Table(_) => {
            let writer = tx.writer(engine, relation).await?;
            for batch in rows {
                writer.append(batch.clone())?;
            }
        }
        _ => {
            for batch in rows {
                tx.append(relation, batch.clone())?;
            }
        }
    }
    Ok(())
}

/// The rows of a VALUES that is nothing but VALUES.
pub(super) fn plain_values(query: &Query) -> Option<&[ast::Parens<Vec<Expr>>]> {
    match query.body.as_ref() {
        SetExpr::Values(values)
            if query.with.is_none()
                && query.order_by.is_none()
                && query.limit_clause.is_none()
                && query.fetch.is_none() =>
        {
            Some(&values.rows)
        }
        _ => None,
    }
}

async fn of_query(
    cx: &WriteContext,
    into: &Inserted,
    maker: &RowMaker,
    query: &Query,
) -> Result<Vec<RecordBatch>> {
    let (schema, batches) = query::run(cx, Extra::default(), query.clone()).await?;
    let targets = into.targets(schema.fields().len())?;
    let columns = &into.relation.columns;
    if let Some(at) = targets.iter().find(|at| columns[**at].generated.is_some()) {
        return Err(target::generated(&into.relation, *at, Verb::Insert));
    }
    let unknown = constants(query);
    let field = |at: usize| match unknown.get(at) {
        Some(true) => {
            SqlType::Unknown.to_field("", true).with_data_type(schema.field(at).data_type().clone())
        }
        _ => schema.field(at).clone(),
    };
    // Types are wrong with and without rows.
    for (at, target) in targets.iter().enumerate() {
        check(&field(at), schema.field(at).data_type(), &columns[*target])?;
    }
    let mut rows = Vec::with_capacity(batches.len());
    for batch in batches {
        let mut given: Vec<Option<ArrayRef>> = vec![None; columns.len()];
        for (at, target) in targets.iter().enumerate() {
            given[*target] =
                Some(assign(batch.column(at), &field(at), &columns[*target], &cx.style)?);
        }
        rows.push(maker.complete(given, batch.num_rows())?);
    }
    Ok(rows)
}

/// Which of a SELECT's items are constants in quotes: their type is that of the column they go to.
fn constants(query: &Query) -> Vec<bool> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Vec::new();
    };
    let is_constant = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            matches!(expr, Expr::Value(value) if value.value.clone().into_string().is_some())
        }
        _ => false,
    };
    let stars = select
        .projection
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    if stars { Vec::new() } else { select.projection.iter().map(is_constant).collect() }
}

/// Adds a query's rows to a relation that has its columns in this order (CREATE TABLE AS); returns
/// how many.
pub async fn append_batches(
    cx: &WriteContext,
    tx: &mut SessionTransaction,
    relation: &Arc<Relation>,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<u64> {
    let maker = RowMaker::new(cx, relation)?;
    let mut count = 0;
    for batch in batches {
        let columns = batch.columns().iter().zip(schema.fields()).zip(&relation.columns);
        let given = columns
            .map(|((values, field), column)| assign(values, field, column, &cx.style).map(Some));
        let rows = maker.complete(given.collect::<Result<_>>()?, batch.num_rows())?;
        count += rows.num_rows() as u64;
        add(&cx.engine, tx, relation, &[rows]).await?;
    }
    Ok(count)
}
