//! Queries with EMIT, SUBSCRIBE and EXPLAIN.

use datafusion::sql::sqlparser::ast::{Expr, LimitClause, Offset, OffsetRows, Query};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::normalize;
use super::reader::Reader;
use super::statement::{ContinuousQuery, Emit, Explain, Statement, Subscribe, SubscribeTo};
use crate::error::{Error, Result, SqlState};

/// `query [EMIT …] [LIMIT n] [OFFSET n]`.
pub(super) fn continuous(r: &mut Reader) -> Result<ContinuousQuery> {
    let query = bare(r)?;
    finished(r, query)
}

/// What comes behind a query.
pub(super) fn finished(r: &mut Reader, mut query: Box<Query>) -> Result<ContinuousQuery> {
    let emit = emit(r)?;
    if emit.is_some() {
        limit_behind_emit(r, &mut query)?;
    }
    normalize::query(&mut query)?;
    Ok(ContinuousQuery { query, emit })
}

/// A query that may not have EMIT: it is read once.
pub(super) fn snapshot(r: &mut Reader, of: &str) -> Result<Box<Query>> {
    let mut query = bare(r)?;
    if sees_emit(r) {
        return Err(Error::unsupported(format!("{of} does not take EMIT"))
            .hint("Put EMIT on a materialized view, on SUBSCRIBE or on a SELECT of its own.")
            .at(r.position()));
    }
    normalize::query(&mut query)?;
    Ok(query)
}

/// A query as it is written.
pub(super) fn bare(r: &mut Reader) -> Result<Box<Query>> {
    r.with(Parser::parse_query)
}

fn sees_emit(r: &Reader) -> bool {
    r.sees("EMIT")
}

/// EMIT …, if it is next.
pub(super) fn emit(r: &mut Reader) -> Result<Option<Emit>> {
    if !r.eat("EMIT") {
        return Ok(None);
    }
    if r.eat("CHANGES") {
        return Ok(Some(Emit::Changes));
    }
    if r.eat("FINAL") || r.eat_all(&["ON", "WINDOW", "CLOSE"]) {
        return Ok(Some(Emit::OnWindowClose));
    }
    Err(r.unexpected().hint("Write EMIT ON WINDOW CLOSE or EMIT CHANGES."))
}

fn limit_behind_emit(r: &mut Reader, query: &mut Query) -> Result<()> {
    let position = r.position();
    let (mut limit, mut offset) = (None, None);
    loop {
        if limit.is_none() && r.eat("LIMIT") {
            limit = Some(if r.eat("ALL") { None } else { Some(r.expr()?) });
        } else if offset.is_none() && r.eat("OFFSET") {
            offset = Some(Offset { value: r.expr()?, rows: OffsetRows::None });
            r.eat_one(&["ROWS", "ROW"]);
        } else {
            break;
        }
    }
    if limit.is_none() && offset.is_none() {
        return Ok(());
    }
    if query.limit_clause.is_some() || query.fetch.is_some() {
        let message = "multiple LIMIT clauses not allowed";
        return Err(Error::new(SqlState::Syntax, message)
            .hint("Write LIMIT before or after EMIT.")
            .at(position));
    }
    let limit: Option<Expr> = limit.flatten();
    query.limit_clause = Some(LimitClause::LimitOffset { limit, offset, limit_by: Vec::new() });
    Ok(())
}

/// Does a query begin here?
pub(super) fn begins(r: &Reader) -> bool {
    ["SELECT", "VALUES", "WITH", "TABLE"].iter().any(|word| r.sees(word))
}

/// SUBSCRIBE [TO] {view | (query) | query} [WITH (SNAPSHOT, PROGRESS)] [AS OF EPOCH n].
pub(super) fn subscribe(r: &mut Reader) -> Result<Subscribe> {
    r.expect("SUBSCRIBE")?;
    r.eat("TO");
    let what = if begins(r) {
        SubscribeTo::Query(continuous(r)?)
    } else if *r.peek() == Token::LParen {
        SubscribeTo::Query(parenthesised(r)?)
    } else {
        SubscribeTo::Relation(r.name()?)
    };
    let mut subscribe = Subscribe { what, snapshot: true, progress: false, as_of: None };
    // `text::mark_own_options` has put a semicolon before the options, so that the query does
    // not swallow them.
    while r.eat_token(&Token::SemiColon) {
        if r.eat("WITH") {
            subscribe_options(r, &mut subscribe)?;
        } else {
            for word in ["AS", "OF", "EPOCH"] {
                r.expect(word)?;
            }
            subscribe.as_of = Some(r.uint()?);
        }
    }
    Ok(subscribe)
}

/// A query in parentheses, with its EMIT inside or behind.
fn parenthesised(r: &mut Reader) -> Result<ContinuousQuery> {
    r.expect_token(&Token::LParen)?;
    let mut query = continuous(r)?;
    r.expect_token(&Token::RParen)?;
    if query.emit.is_none() {
        query.emit = emit(r)?;
    }
    Ok(query)
}

fn subscribe_options(r: &mut Reader, subscribe: &mut Subscribe) -> Result<()> {
    r.expect_token(&Token::LParen)?;
    loop {
        let position = r.position();
        let name = r.word()?;
        let value = option_bool(r)?;
        match name.as_str() {
            "SNAPSHOT" => subscribe.snapshot = value,
            "PROGRESS" => subscribe.progress = value,
            _ => {
                let what = format!("SUBSCRIBE option \"{}\" not recognized", name.to_lowercase());
                return Err(Error::new(SqlState::Syntax, what)
                    .hint("Options are SNAPSHOT and PROGRESS.")
                    .at(position));
            }
        }
        if !r.eat_token(&Token::Comma) {
            break;
        }
    }
    r.expect_token(&Token::RParen)
}

/// `[=] true`, or nothing, which means true.
pub(super) fn option_bool(r: &mut Reader) -> Result<bool> {
    let equals = r.eat_token(&Token::Eq);
    let position = r.position();
    let text = match r.peek() {
        Token::Word(w) => w.value.to_ascii_lowercase(),
        Token::SingleQuotedString(text) | Token::Number(text, _) => text.to_ascii_lowercase(),
        _ if equals => return Err(r.unexpected()),
        _ => return Ok(true),
    };
    let value = match text.as_str() {
        "true" | "on" | "1" | "yes" => true,
        "false" | "off" | "0" | "no" => false,
        _ => {
            return Err(Error::new(SqlState::Syntax, "a Boolean value is needed here").at(position));
        }
    };
    r.next();
    Ok(value)
}

/// The options that Postgres' EXPLAIN takes and that change nothing here.
const IGNORED: &[&str] = &[
    "COSTS",
    "SETTINGS",
    "BUFFERS",
    "WAL",
    "TIMING",
    "SUMMARY",
    "GENERIC_PLAN",
    "MEMORY",
    "SERIALIZE",
];

/// EXPLAIN.
pub(super) fn explain(r: &mut Reader) -> Result<Statement> {
    r.expect("EXPLAIN")?;
    if r.eat_all(&["MATERIALIZED", "VIEW"]) {
        return Ok(Statement::Explain(Explain::View { analyze: false, name: r.name()? }));
    }
    if r.eat_all(&["WATERMARK", "FOR"]) {
        return Ok(Statement::Explain(Explain::Watermark(r.name()?)));
    }
    let (mut analyze, mut verbose) = (false, false);
    if *r.peek() == Token::LParen && explain_option(r.peek_nth(1)) {
        r.next();
        loop {
            let position = r.position();
            match r.word()?.as_str() {
                "ANALYZE" => analyze = option_bool(r)?,
                "VERBOSE" => verbose = option_bool(r)?,
                "FORMAT" => {
                    if r.word()? != "TEXT" {
                        return Err(Error::unsupported("EXPLAIN has one format, text").at(position));
                    }
                }
                _ => {
                    option_bool(r)?;
                }
            }
            if !r.eat_token(&Token::Comma) {
                break;
            }
            if !explain_option(r.peek()) {
                return Err(r.unexpected().hint("Options are ANALYZE, VERBOSE and FORMAT TEXT."));
            }
        }
        r.expect_token(&Token::RParen)?;
    } else {
        analyze = r.eat("ANALYZE");
        verbose = r.eat("VERBOSE");
    }
    if r.eat_all(&["MATERIALIZED", "VIEW"]) {
        return Ok(Statement::Explain(Explain::View { analyze, name: r.name()? }));
    }
    if !begins(r) && *r.peek() != Token::LParen {
        return match r.peek() {
            Token::Word(w) if !w.value.is_empty() && w.quote_style.is_none() => {
                Err(Error::unsupported(format!("EXPLAIN {} is not supported", w.value.to_uppercase()))
                    .hint("Explain the query itself: EXPLAIN SELECT …, or EXPLAIN MATERIALIZED VIEW name.")
                    .at(r.position()))
            }
            _ => Err(r.unexpected()),
        };
    }
    let query = continuous(r)?;
    Ok(Statement::Explain(Explain::Query { analyze, verbose, query }))
}

fn explain_option(token: &Token) -> bool {
    match super::text::word_of(token) {
        Some(word) => {
            ["ANALYZE", "VERBOSE", "FORMAT"].contains(&word.as_str())
                || IGNORED.contains(&word.as_str())
        }
        None => false,
    }
}
