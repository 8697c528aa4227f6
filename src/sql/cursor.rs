//! Cursors (DECLARE, FETCH, MOVE, CLOSE) and prepared statements (PREPARE, EXECUTE, DEALLOCATE).

use std::time::Duration;

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::interval::interval_text;
use super::names::folded;
use super::reader::Reader;
use super::statement::{CursorSource, FetchCount, Statement};
use super::{change, query, types, with_change};
use crate::error::{Error, Result, SqlState};

/// DECLARE name [BINARY] [INSENSITIVE|ASENSITIVE] [[NO] SCROLL] CURSOR [WITH|WITHOUT HOLD] FOR ….
pub(super) fn declare(r: &mut Reader) -> Result<Statement> {
    r.expect("DECLARE")?;
    let name = folded(r.ident()?);
    let mut binary = false;
    loop {
        if r.eat("BINARY") {
            binary = true;
        } else if r.eat_all(&["NO", "SCROLL"])
            || r.eat_one(&["INSENSITIVE", "ASENSITIVE"]).is_some()
        {
        } else if r.sees("SCROLL") {
            return Err(backward().at(r.position()));
        } else {
            break;
        }
    }
    if r.eat("SUBSCRIPTION") {
        return Err(Error::unsupported("subscription cursors are not supported")
            .hint("Write DECLARE name CURSOR FOR SUBSCRIBE …."));
    }
    r.expect("CURSOR")?;
    let hold = if r.eat("WITH") {
        r.expect("HOLD")?;
        true
    } else {
        if r.eat("WITHOUT") {
            r.expect("HOLD")?;
        }
        false
    };
    r.expect("FOR")?;
    let source = if r.sees("SUBSCRIBE") {
        CursorSource::Subscribe(query::subscribe(r)?)
    } else {
        CursorSource::Query(query::continuous(r)?)
    };
    Ok(Statement::Declare { name, binary, hold, source })
}

fn backward() -> Error {
    Error::unsupported("cursors can only scan forward")
        .hint("Use FETCH NEXT, FETCH n, FETCH FORWARD n or FETCH ALL.")
}

/// FETCH [count] [FROM|IN] name [WITH (timeout = …)].
pub(super) fn fetch(r: &mut Reader) -> Result<Statement> {
    r.expect("FETCH")?;
    let (name, count) = count_and_cursor(r)?;
    let timeout = if r.eat("WITH") { Some(timeout(r)?) } else { None };
    Ok(Statement::Fetch { name, count, timeout })
}

/// MOVE [count] [FROM|IN] name.
pub(super) fn move_(r: &mut Reader) -> Result<Statement> {
    r.expect("MOVE")?;
    let (name, count) = count_and_cursor(r)?;
    Ok(Statement::Move { name, count })
}

fn count_and_cursor(r: &mut Reader) -> Result<(Ident, FetchCount)> {
    // A cursor may be named like one of the words: FETCH next.
    let count = match r.peek_nth(1) {
        Token::EOF | Token::SemiColon => FetchCount::Rows(1),
        _ => count(r)?,
    };
    r.eat_one(&["FROM", "IN"]);
    Ok((folded(r.ident()?), count))
}

fn count(r: &mut Reader) -> Result<FetchCount> {
    if r.eat("NEXT") {
        return Ok(FetchCount::Rows(1));
    }
    if r.eat("ALL") {
        return Ok(FetchCount::All);
    }
    let forward = r.eat("FORWARD");
    if forward && r.eat("ALL") {
        return Ok(FetchCount::All);
    }
    if *r.peek() == Token::Minus
        || ["PRIOR", "FIRST", "LAST", "ABSOLUTE", "RELATIVE", "BACKWARD"]
            .iter()
            .any(|word| r.sees(word))
            && !forward
    {
        return Err(backward().at(r.position()));
    }
    r.eat_token(&Token::Plus);
    match r.peek() {
        Token::Number(..) => r.uint().map(FetchCount::Rows),
        _ => Ok(FetchCount::Rows(1)),
    }
}

/// `(timeout = '1 s')`, after WITH.
fn timeout(r: &mut Reader) -> Result<Duration> {
    r.expect_token(&Token::LParen)?;
    r.expect("TIMEOUT")?;
    r.eat_token(&Token::Eq);
    r.eat("INTERVAL");
    let position = r.position();
    let text = match r.eat_string() {
        Some(text) => text,
        None => r.uint()?.to_string(),
    };
    let text =
        match r.eat_one(&["SECOND", "SECONDS", "MINUTE", "MINUTES", "MILLISECOND", "MILLISECONDS"])
        {
            Some(unit) => format!("{text} {unit}"),
            None => text,
        };
    r.expect_token(&Token::RParen)?;
    let parts = interval_text(&text).map_err(|e| e.at(position))?;
    let micros = parts.as_micros().and_then(|micros| u64::try_from(micros).ok());
    micros.map(Duration::from_micros).ok_or_else(|| {
        Error::new(SqlState::BadArgument, "timeout must not be negative or in months").at(position)
    })
}

/// CLOSE name | ALL.
pub(super) fn close(r: &mut Reader) -> Result<Statement> {
    r.expect("CLOSE")?;
    if r.eat("ALL") {
        return Ok(Statement::Close(None));
    }
    Ok(Statement::Close(Some(folded(r.ident()?))))
}

/// PREPARE name [(types)] AS statement.
pub(super) fn prepare(r: &mut Reader) -> Result<Statement> {
    r.expect("PREPARE")?;
    if r.sees("TRANSACTION") {
        return Err(Error::unsupported("two-phase commit is not supported").hint("Use COMMIT."));
    }
    let name = folded(r.ident()?);
    let mut types = Vec::new();
    if r.eat_token(&Token::LParen) {
        types = r.comma_separated(types::read)?;
        r.expect_token(&Token::RParen)?;
    }
    r.expect("AS")?;
    let word = super::text::word_of(r.peek()).unwrap_or_default();
    let statement = match word.as_str() {
        "INSERT" | "UPDATE" | "DELETE" => change::change(r, &word)?,
        "SUBSCRIBE" => query::subscribe(r).map(Statement::Subscribe)?,
        "WITH" => with_change::read(r)?,
        _ if query::begins(r) || *r.peek() == Token::LParen => {
            query::continuous(r).map(Statement::Query)?
        }
        _ => {
            return Err(r
                .unexpected()
                .hint("PREPARE takes SELECT, VALUES, INSERT, UPDATE or DELETE."));
        }
    };
    Ok(Statement::Prepare { name, types, statement: Box::new(statement) })
}

/// EXECUTE name [(values)].
pub(super) fn execute(r: &mut Reader) -> Result<Statement> {
    r.expect("EXECUTE")?;
    let name = folded(r.ident()?);
    let mut values = Vec::new();
    if r.eat_token(&Token::LParen) {
        values = r.comma_separated(Reader::normal_expr)?;
        r.expect_token(&Token::RParen)?;
    }
    Ok(Statement::Execute { name, values })
}

/// DEALLOCATE [PREPARE] name | ALL.
pub(super) fn deallocate(r: &mut Reader) -> Result<Statement> {
    r.expect("DEALLOCATE")?;
    if r.sees("PREPARE") && !matches!(r.peek_nth(1), Token::EOF) {
        r.next();
    }
    if r.eat("ALL") {
        return Ok(Statement::Deallocate(None));
    }
    Ok(Statement::Deallocate(Some(folded(r.ident()?))))
}
