//! `WITH (name = value, …)` of streams, tables and views.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::reader::Reader;
use super::statement::Options;
use crate::error::{Error, Result, SqlState};

/// Reads `WITH (…)` if it is next.
pub(super) fn optional(r: &mut Reader) -> Result<Options> {
    if !(r.sees("WITH") && *r.peek_nth(1) == Token::LParen) {
        return Ok(Options::default());
    }
    r.next();
    list(r)
}

/// Reads `(name = value, …)`.
pub(super) fn list(r: &mut Reader) -> Result<Options> {
    r.expect_token(&Token::LParen)?;
    let mut options: Vec<(String, String)> = Vec::new();
    while *r.peek() != Token::RParen {
        let position = r.position();
        let name = name(r)?;
        r.expect_token(&Token::Eq)?;
        let value = value(r)?;
        if options.iter().any(|(other, _)| *other == name) {
            let message = format!("option \"{name}\" is given more than once");
            return Err(Error::new(SqlState::Syntax, message).at(position));
        }
        options.push((name, value));
        if !r.eat_token(&Token::Comma) {
            break;
        }
    }
    r.expect_token(&Token::RParen)?;
    Ok(Options(options))
}

/// `'scan.startup.mode'`, `scan.startup.mode`, `"connector"`.
fn name(r: &mut Reader) -> Result<String> {
    if let Some(name) = r.eat_string() {
        return Ok(name.to_lowercase());
    }
    let mut name = String::new();
    loop {
        name.push_str(&r.ident()?.value.to_lowercase());
        match r.peek() {
            Token::Period => name.push('.'),
            Token::Minus => name.push('-'),
            _ => return Ok(name),
        }
        r.next();
    }
}

fn value(r: &mut Reader) -> Result<String> {
    r.eat("INTERVAL");
    if let Some(text) = r.eat_string() {
        let unit = [
            "SECOND",
            "MINUTE",
            "HOUR",
            "DAY",
            "SECONDS",
            "MINUTES",
            "HOURS",
            "DAYS",
            "WEEK",
            "MILLISECOND",
        ];
        return Ok(match r.eat_one(&unit) {
            Some(unit) => format!("{text} {}", unit.to_lowercase()),
            None => text,
        });
    }
    let negative = r.eat_token(&Token::Minus);
    let text = match r.peek() {
        Token::Number(digits, _) if negative => format!("-{digits}"),
        Token::Number(digits, _) => digits.clone(),
        Token::Word(word) if !negative => word.value.clone(),
        _ => {
            return Err(r
                .unexpected()
                .hint("Expected a value: a string in single quotes, a number, true or false."));
        }
    };
    r.next();
    Ok(text)
}
