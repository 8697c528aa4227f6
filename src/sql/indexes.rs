//! CREATE and DROP INDEX, which migrations of other systems have. They are read whole, so that what is
//! wrong in them is told, and make nothing: a table is found by its PRIMARY KEY, a view by the keys of its
//! query.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::options;
use super::reader::Reader;
use super::statement::Statement;
use crate::error::Result;

/// Words that come behind what an index is over.
const BEHIND_PART: [&str; 4] = ["ASC", "DESC", "NULLS", "COLLATE"];

/// INDEX \[CONCURRENTLY\] \[\[IF NOT EXISTS\] name\] ON relation \[USING method\] (parts) ….
pub(super) fn create(r: &mut Reader) -> Result<Statement> {
    r.expect("INDEX")?;
    r.eat("CONCURRENTLY");
    r.eat_all(&["IF", "NOT", "EXISTS"]);
    if !r.sees("ON") {
        r.ident()?;
    }
    r.expect("ON")?;
    r.eat("ONLY");
    let relation = r.name()?;
    if r.eat("USING") {
        r.ident()?;
    }
    r.expect_token(&Token::LParen)?;
    let mut parts = vec![part(r)?];
    while r.eat_token(&Token::Comma) {
        parts.push(part(r)?);
    }
    r.expect_token(&Token::RParen)?;
    if r.eat("INCLUDE") {
        parts.extend(r.optional_columns()?.into_iter().map(Expr::Identifier));
    }
    if r.eat_all(&["DISTRIBUTED", "BY"]) {
        parts.extend(r.optional_columns()?.into_iter().map(Expr::Identifier));
    }
    options::optional(r)?;
    if r.eat("WHERE") {
        r.expr()?;
    }
    let columns = parts.into_iter().filter_map(|part| match part {
        Expr::Identifier(column) => Some(column),
        _ => None,
    });
    Ok(Statement::CreateIndex { relation, columns: columns.collect() })
}

fn part(r: &mut Reader) -> Result<Expr> {
    let part = r.expr()?;
    if matches!(r.peek(), Token::Word(_)) && !BEHIND_PART.iter().any(|word| r.sees(word)) {
        // How it is compared.
        r.ident()?;
    }
    if r.eat("COLLATE") {
        r.ident()?;
    }
    r.eat_one(&["ASC", "DESC"]);
    if r.eat("NULLS") && r.eat_one(&["FIRST", "LAST"]).is_none() {
        return Err(r.unexpected());
    }
    Ok(part)
}

/// INDEX \[CONCURRENTLY\] \[IF EXISTS\] names \[CASCADE\].
pub(super) fn drop(r: &mut Reader) -> Result<Statement> {
    r.expect("INDEX")?;
    r.eat("CONCURRENTLY");
    r.eat_all(&["IF", "EXISTS"]);
    r.names()?;
    r.cascade();
    Ok(Statement::DropIndex)
}
