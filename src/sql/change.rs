//! INSERT, UPDATE and DELETE.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::Parser;

use super::names::folded;
use super::normalize;
use super::query;
use super::reader::Reader;
use super::statement::{FeedSink, Statement};
use crate::error::{Error, Result};

/// INSERT INTO name \[(columns)\] query \[EMIT …\], as what feeds a sink.
pub(super) fn feeding(r: &mut Reader) -> Result<FeedSink> {
    if r.sees("WITH") {
        return Err(with_before_sink());
    }
    r.expect("INSERT")?;
    r.expect("INTO")?;
    let name = r.name()?;
    // A query in parentheses is no list of columns.
    let columns = r.attempt(Reader::optional_columns).unwrap_or_default();
    let columns = columns.into_iter().map(folded).collect();
    let from = r.byte();
    let query = query::continuous(r)?;
    let text = r.text_since(from);
    Ok(FeedSink { name, columns, query, text })
}

/// What is said of WITH before an INSERT that goes on.
pub(super) fn with_before_sink() -> Error {
    Error::unsupported("WITH before an INSERT that goes on is not supported")
        .hint("Write it behind: INSERT INTO name WITH … SELECT ….")
}

/// Reads one of them, by its first word.
pub(super) fn change(r: &mut Reader, word: &str) -> Result<Statement> {
    let statement = r.with(|p: &mut Parser| {
        let token = p.next_token();
        match word {
            "INSERT" => p.parse_insert(token),
            "UPDATE" => p.parse_update(token),
            _ => p.parse_delete(token),
        }
    })?;
    checked(r, statement)
}

/// A statement that has been read, in its normal form.
pub(super) fn checked(r: &mut Reader, mut statement: ast::Statement) -> Result<Statement> {
    let emit = match &statement {
        ast::Statement::Insert(_) => query::emit(r)?,
        _ => None,
    };
    normalize::statement(&mut statement)?;
    match statement {
        ast::Statement::Insert(insert) if insert.overwrite => {
            Err(Error::unsupported("INSERT OVERWRITE is not supported")
                .hint("Use TRUNCATE and INSERT."))
        }
        ast::Statement::Insert(insert) if emit.is_some() => Ok(Statement::InsertEmitting(insert)),
        ast::Statement::Insert(insert) => Ok(Statement::Insert(insert)),
        ast::Statement::Update(update) => Ok(Statement::Update(update)),
        ast::Statement::Delete(delete) => Ok(Statement::Delete(delete)),
        ast::Statement::Merge(_) => Err(Error::unsupported("MERGE is not supported")
            .hint("Use INSERT … ON CONFLICT (key) DO UPDATE.")),
        other => Err(Error::internal(format!("another statement was read: {other}"))),
    }
}
