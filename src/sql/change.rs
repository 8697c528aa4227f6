//! INSERT, UPDATE and DELETE.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::Parser;

use super::normalize;
use super::reader::Reader;
use super::statement::Statement;
use crate::error::{Error, Result};

/// Reads one of them, by its first word.
pub(super) fn change(r: &mut Reader, word: &str) -> Result<Statement> {
    let mut statement = r.with(|p: &mut Parser| {
        let token = p.next_token();
        match word {
            "INSERT" => p.parse_insert(token),
            "UPDATE" => p.parse_update(token),
            _ => p.parse_delete(token),
        }
    })?;
    if r.sees("EMIT") {
        return Err(Error::unsupported("a continuous INSERT is not supported")
            .hint(
                "Leave out EMIT to insert the query's present rows, or create a materialized view.",
            )
            .at(r.position()));
    }
    normalize::statement(&mut statement)?;
    match statement {
        ast::Statement::Insert(insert) if insert.overwrite => {
            Err(Error::unsupported("INSERT OVERWRITE is not supported")
                .hint("Use TRUNCATE and INSERT."))
        }
        ast::Statement::Insert(insert) => Ok(Statement::Insert(insert)),
        ast::Statement::Update(update) => Ok(Statement::Update(update)),
        ast::Statement::Delete(delete) => Ok(Statement::Delete(delete)),
        other => Err(Error::internal(format!("{word} was read as another statement: {other}"))),
    }
}
