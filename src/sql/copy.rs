//! COPY … FROM STDIN and COPY … TO STDOUT. Nothing else: SQL reads and writes no file of the
//! server.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::copy_options::{Direction, options};
use super::names::folded;
use super::query;
use super::reader::Reader;
use super::statement::{CopyFrom, CopySource, CopyTo, Statement};
use crate::error::{Error, Result, SqlState};

/// Reads COPY.
pub(super) fn copy(r: &mut Reader) -> Result<Statement> {
    r.expect("COPY")?;
    let binary =
        r.sees("BINARY") && matches!(r.peek_nth(1), Token::Word(_)) && !is_direction(r.peek_nth(1));
    if binary {
        r.next();
    }
    if *r.peek() == Token::LParen {
        let source = in_parentheses(r)?;
        r.expect("TO")?;
        return to(r, source, binary);
    }
    let name = r.name()?;
    let columns = r.optional_columns()?.into_iter().map(folded).collect();
    if r.eat("TO") {
        return to(r, CopySource::Relation { name, columns }, binary);
    }
    if !r.eat("FROM") {
        return Err(r.unexpected().hint("Expected FROM STDIN or TO STDOUT."));
    }
    target(r, &["STDIN", "STDOUT"], "FROM STDIN")?;
    let options = options(r, Direction::In, binary)?;
    if r.sees("WHERE") {
        return Err(Error::unsupported("COPY FROM with WHERE is not supported")
            .hint("Copy into a stream and select from it.")
            .at(r.position()));
    }
    Ok(Statement::CopyFrom(CopyFrom { name, columns, options }))
}

fn is_direction(token: &Token) -> bool {
    super::text::is_word(token, "FROM") || super::text::is_word(token, "TO")
}

fn in_parentheses(r: &mut Reader) -> Result<CopySource> {
    r.expect_token(&Token::LParen)?;
    let source = if r.sees("SUBSCRIBE") {
        CopySource::Subscribe(query::subscribe(r)?)
    } else if r.sees("INSERT") || r.sees("UPDATE") || r.sees("DELETE") {
        return Err(Error::unsupported("COPY of a statement that writes is not supported")
            .hint("Use RETURNING on the statement itself.")
            .at(r.position()));
    } else {
        CopySource::Query(query::continuous(r)?)
    };
    r.expect_token(&Token::RParen)?;
    Ok(source)
}

fn to(r: &mut Reader, source: CopySource, binary: bool) -> Result<Statement> {
    target(r, &["STDOUT", "STDIN"], "TO STDOUT")?;
    let options = options(r, Direction::Out, binary)?;
    Ok(Statement::CopyTo(CopyTo { source, options }))
}

/// STDIN and STDOUT mean the same, as in Postgres.
fn target(r: &mut Reader, words: &[&str], what: &str) -> Result<()> {
    if r.eat_one(words).is_some() {
        return Ok(());
    }
    let file = matches!(r.peek(), Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_));
    if file || r.sees("PROGRAM") {
        let message = if file {
            "COPY does not read or write files of the server"
        } else {
            "COPY does not run programs on the server"
        };
        return Err(Error::new(SqlState::InsufficientPrivilege, message)
            .hint(format!(
                "Use COPY {what}, or \\copy in psql, which reads and writes files of the client."
            ))
            .at(r.position()));
    }
    Err(r.unexpected().hint(format!("Expected {what}.")))
}
