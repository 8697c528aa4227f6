//! SET, SHOW and RESET.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::names::ident_name;
use super::reader::Reader;
use super::statement::{Listing, SetScope, Statement};
use super::transaction;
use crate::error::{Error, Result};

/// SET [SESSION|LOCAL] name {TO|=} value, and its special forms.
pub(super) fn set(r: &mut Reader) -> Result<Statement> {
    r.expect("SET")?;
    if r.eat("TRANSACTION") {
        if r.eat("SNAPSHOT") {
            return Err(Error::unsupported("SET TRANSACTION SNAPSHOT is not supported"));
        }
        let read_only = transaction::modes(r)?;
        return Ok(Statement::SetTransaction { scope: SetScope::Local, read_only });
    }
    if r.eat("CONSTRAINTS") {
        r.skip_rest();
        return Ok(Statement::Discard("SET CONSTRAINTS"));
    }
    let mut scope = SetScope::Session;
    if (r.sees("SESSION") || r.sees("LOCAL")) && !matches!(r.peek_nth(1), Token::Eq | Token::Period)
    {
        scope = if r.eat("LOCAL") { SetScope::Local } else { SetScope::Session };
        if scope == SetScope::Session {
            r.expect("SESSION")?;
        }
        if r.eat("CHARACTERISTICS") {
            r.expect("AS")?;
            r.expect("TRANSACTION")?;
            let read_only = transaction::modes(r)?;
            return Ok(Statement::SetTransaction { scope, read_only });
        }
    }
    let set = |name: &str, value| Statement::SetVariable { scope, name: name.to_owned(), value };
    if r.eat_all(&["TIME", "ZONE"]) {
        if r.eat("LOCAL") {
            return Ok(set("timezone", None));
        }
        let interval = r.eat("INTERVAL");
        let value = value(r)?;
        if interval {
            r.eat_all(&["HOUR", "TO", "MINUTE"]);
        }
        return Ok(set("timezone", value.map(unquoted)));
    }
    for (word, name) in [("NAMES", "client_encoding"), ("SCHEMA", "search_path"), ("ROLE", "role")]
    {
        if r.sees(word)
            && !matches!(r.peek_nth(1), Token::Eq | Token::Period)
            && !is_to(r.peek_nth(1))
        {
            r.next();
            return Ok(set(name, if r.at_end() { None } else { value(r)? }));
        }
    }
    if r.eat("AUTHORIZATION") {
        return Ok(set("session_authorization", value(r)?));
    }
    let name = variable(r)?;
    if !r.eat_token(&Token::Eq) && !r.eat("TO") {
        return Err(r.unexpected().hint("Write SET name = value."));
    }
    let value = value(r)?;
    // Of a list of names each has its own quotes.
    Ok(set(&name, if name == "search_path" { value } else { value.map(unquoted) }))
}

/// A value that was written as a name in quotes.
fn unquoted(value: String) -> String {
    match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(name) if !name.is_empty() && !name.contains('"') => name.to_owned(),
        _ => value,
    }
}

fn is_to(token: &Token) -> bool {
    super::text::is_word(token, "TO")
}

/// A variable's name, in lower case; it may have dots.
fn variable(r: &mut Reader) -> Result<String> {
    let mut name = ident_name(&r.ident()?);
    while r.eat_token(&Token::Period) {
        name.push('.');
        name.push_str(&ident_name(&r.ident()?));
    }
    Ok(name.to_lowercase())
}

/// DEFAULT (None), or values between commas as text.
fn value(r: &mut Reader) -> Result<Option<String>> {
    if r.eat("DEFAULT") {
        return Ok(None);
    }
    let values = r.comma_separated(|r| {
        if let Some(text) = r.eat_string() {
            return Ok(text);
        }
        let sign = match r.peek() {
            Token::Minus => "-",
            Token::Plus => "+",
            _ => "",
        };
        if !sign.is_empty() {
            r.next();
        }
        let text = match r.peek() {
            Token::Number(digits, _) => format!("{sign}{digits}"),
            Token::Word(w) if sign.is_empty() => match w.quote_style {
                Some(_) => format!("\"{}\"", w.value.replace('"', "\"\"")),
                None => w.value.to_lowercase(),
            },
            _ => return Err(r.unexpected()),
        };
        r.next();
        Ok(text)
    })?;
    Ok(Some(values.join(", ")))
}

/// RESET name | ALL.
pub(super) fn reset(r: &mut Reader) -> Result<Statement> {
    r.expect("RESET")?;
    if r.eat("ALL") {
        return Ok(Statement::Reset(None));
    }
    special(r)
        .map_or_else(|| variable(r), |name| Ok(name.to_owned()))
        .map(|name| Statement::Reset(Some(name)))
}

/// The variables that SHOW and RESET name in several words.
fn special(r: &mut Reader) -> Option<&'static str> {
    if r.eat_all(&["TIME", "ZONE"]) {
        Some("timezone")
    } else if r.eat_all(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
        Some("transaction_isolation")
    } else if r.eat_all(&["SESSION", "AUTHORIZATION"]) {
        Some("session_authorization")
    } else {
        None
    }
}

/// SHOW STREAMS and the like, SHOW CREATE, SHOW name, SHOW ALL.
pub(super) fn show(r: &mut Reader) -> Result<Statement> {
    r.expect("SHOW")?;
    for (words, listing) in [
        (&["STREAMS"][..], Listing::Streams),
        (&["SOURCES"], Listing::Streams),
        (&["TABLES"], Listing::Tables),
        (&["VIEWS"], Listing::Views),
        (&["MATERIALIZED", "VIEWS"], Listing::MaterializedViews),
        (&["SINKS"], Listing::Sinks),
        (&["QUERIES"], Listing::Queries),
        (&["FUNCTIONS"], Listing::Functions),
    ] {
        if r.eat_all(words) {
            return Ok(Statement::ShowRelations(listing));
        }
    }
    if r.eat("CREATE") {
        if !r.eat_all(&["MATERIALIZED", "VIEW"])
            && r.eat_one(&["STREAM", "SOURCE", "TABLE", "VIEW", "SINK"]).is_none()
        {
            return Err(r
                .unexpected()
                .hint("Write SHOW CREATE STREAM|TABLE|VIEW|MATERIALIZED VIEW name."));
        }
        return Ok(Statement::ShowCreate(r.name()?));
    }
    if r.eat("ALL") {
        return Ok(Statement::ShowVariable(None));
    }
    let name = match special(r) {
        Some(name) => name.to_owned(),
        None => variable(r)?,
    };
    Ok(Statement::ShowVariable(Some(name)))
}
