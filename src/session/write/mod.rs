//! Writing rows: INSERT, UPDATE, DELETE, TRUNCATE and COPY … FROM, into streams and tables.
//!
//! ```text
//!  VALUES ─▶ literals ──┐
//!  SELECT ─▶ query ─────┼▶ assign (each column to its type) ▶ rows (defaults, generated, checks) ▶ Transaction
//!  COPY   ─▶ decoder ───┘                                                        │
//!                                     ON CONFLICT, UPDATE, DELETE: change ◀──────┘
//! ```
//! Literals never pass through the planner: they are read as the target column's type, as Postgres reads a constant whose
//! type is unknown. Everything else is a query that is planned and run, and whose columns are cast by the rules of
//! assignment. A statement's rows are complete and checked before the first of them is added to the
//! [`Transaction`], and nothing of a transaction is visible to others before its commit.

mod assign;
mod change;
mod conflict;
mod copy;
mod describe;
mod insert;
mod moment;
mod query;
mod rows;
mod target;
mod values;

#[cfg(test)]
pub(super) mod tests;

use async_trait::async_trait;
use datafusion::sql::sqlparser::ast::{self, ObjectName};

use super::transaction::{CopyRows, Described, Transaction, WriteContext, Writer, Written};
use crate::error::Result;
use crate::sql::{CopyFrom, Statement};
use crate::types::SqlType;

pub use insert::append_batches;

/// Writes rows for sessions; it has no state of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct RowWriter;

#[async_trait]
impl Writer for RowWriter {
    async fn insert(&self, cx: &WriteContext, tx: &mut Transaction, insert: &ast::Insert) -> Result<Written> {
        insert::insert(cx, tx, insert).await
    }

    async fn update(&self, cx: &WriteContext, tx: &mut Transaction, update: &ast::Update) -> Result<Written> {
        change::update(cx, tx, update).await
    }

    async fn delete(&self, cx: &WriteContext, tx: &mut Transaction, delete: &ast::Delete) -> Result<Written> {
        change::delete(cx, tx, delete).await
    }

    async fn truncate(&self, cx: &WriteContext, tx: &mut Transaction, names: &[ObjectName]) -> Result<()> {
        change::truncate(cx, tx, names).await
    }

    async fn copy_in(&self, cx: &WriteContext, copy: &CopyFrom) -> Result<Box<dyn CopyRows>> {
        copy::copy_in(cx, copy)
    }

    async fn describe(
        &self,
        cx: &WriteContext,
        statement: &Statement,
        hints: &[Option<SqlType>],
    ) -> Result<Described> {
        describe::describe(cx, statement, hints).await
    }
}
