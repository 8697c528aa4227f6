//! CREATE AGGREGATE.
//!
//! Of Postgres's options those are read that say what the aggregate computes. The moving form
//! (MSFUNC, MSTYPE, …) is the plain one here, to which MINVFUNC adds how a row is taken out; where
//! its other options are given they must say the same.

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::reader::Reader;
use super::routines::{arguments, general};
use super::statement::{CreateAggregate, Statement};
use super::types;
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// The options as they come.
#[derive(Default)]
struct AggregateOptions {
    functions: Vec<(String, ObjectName)>,
    types: Vec<(String, SqlType)>,
    texts: Vec<(String, String)>,
}

const FUNCTIONS: [&str; 6] =
    ["SFUNC", "COMBINEFUNC", "FINALFUNC", "MSFUNC", "MINVFUNC", "MFINALFUNC"];

/// CREATE [OR REPLACE] AGGREGATE, after that word.
pub(super) fn aggregate(r: &mut Reader, or_replace: bool) -> Result<Statement> {
    let name = r.name()?;
    let position = r.position();
    if *r.peek_nth(1) == Token::Mul {
        return Err(Error::unsupported("an aggregate without arguments is not supported")
            .hint("Give it an argument, for example a constant.")
            .at(position));
    }
    let arguments = arguments(r)?;
    if arguments.is_empty() {
        return Err(Error::unsupported("an aggregate without arguments is not supported")
            .hint("Give it an argument, for example a constant.")
            .at(position));
    }
    r.expect_token(&Token::LParen)?;
    let mut options = AggregateOptions::default();
    option(r, &mut options)?;
    while r.eat_token(&Token::Comma) {
        option(r, &mut options)?;
    }
    r.expect_token(&Token::RParen)?;
    let undefined = |what: &str| Error::new(SqlState::InvalidFunctionDefinition, what);
    let function = |name: &str| take_named(&options.functions, name);
    let transition =
        function("SFUNC").ok_or_else(|| undefined("aggregate sfunc must be specified"))?;
    let state = take_named(&options.types, "STYPE")
        .ok_or_else(|| undefined("aggregate stype must be specified"))?;
    let initial = take_named(&options.texts, "INITCOND");
    same(function("MSFUNC"), Some(&transition), "MSFUNC", "SFUNC")?;
    same(function("MFINALFUNC"), function("FINALFUNC").as_ref(), "MFINALFUNC", "FINALFUNC")?;
    same(take_named(&options.types, "MSTYPE"), Some(&state), "MSTYPE", "STYPE")?;
    same(take_named(&options.texts, "MINITCOND"), initial.as_ref(), "MINITCOND", "INITCOND")?;
    Ok(Statement::CreateAggregate(Box::new(CreateAggregate {
        name,
        or_replace,
        arguments,
        state,
        initial,
        transition,
        combine: function("COMBINEFUNC"),
        finish: function("FINALFUNC"),
        inverse: function("MINVFUNC"),
    })))
}

fn take_named<T: Clone>(all: &[(String, T)], name: &str) -> Option<T> {
    all.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

fn same<T: PartialEq>(moving: Option<T>, plain: Option<&T>, one: &str, other: &str) -> Result<()> {
    match moving {
        Some(moving) if Some(&moving) != plain => {
            Err(Error::unsupported(format!("{one} that is not {other} is not supported"))
                .hint("Leave it out: MINVFUNC goes with SFUNC and STYPE."))
        }
        _ => Ok(()),
    }
}

fn option(r: &mut Reader, options: &mut AggregateOptions) -> Result<()> {
    let position = r.position();
    let name = r.word()?;
    let is_known = |all: &AggregateOptions| {
        all.functions.iter().any(|(known, _)| *known == name)
            || all.types.iter().any(|(known, _)| *known == name)
            || all.texts.iter().any(|(known, _)| *known == name)
    };
    if is_known(options) {
        return Err(Error::new(SqlState::Syntax, "conflicting or redundant options").at(position));
    }
    let refused = |what: &str| {
        Err(Error::unsupported(format!("{what} in CREATE AGGREGATE is not supported"))
            .hint("There are SFUNC, STYPE, INITCOND, COMBINEFUNC, FINALFUNC and MINVFUNC.")
            .at(position))
    };
    match name.as_str() {
        "HYPOTHETICAL" | "FINALFUNC_EXTRA" | "MFINALFUNC_EXTRA" => return refused(&name),
        _ => {}
    }
    r.expect_token(&Token::Eq)?;
    match name.as_str() {
        function if FUNCTIONS.contains(&function) => {
            let value = r.name()?;
            options.functions.push((name, value));
        }
        "STYPE" | "MSTYPE" => {
            let value = general(types::read(r)?);
            options.types.push((name, value));
        }
        "INITCOND" | "MINITCOND" => {
            let value = text(r)?;
            options.texts.push((name, value));
        }
        // How much it takes and who may run it beside others, which is known here.
        "SSPACE" | "MSSPACE" => {
            r.uint()?;
        }
        "PARALLEL" | "FINALFUNC_MODIFY" | "MFINALFUNC_MODIFY" => {
            r.word()?;
        }
        _ => return refused(&name),
    }
    Ok(())
}

/// A constant as text.
fn text(r: &mut Reader) -> Result<String> {
    if let Some(text) = r.eat_string() {
        return Ok(text);
    }
    let sign = if r.eat_token(&Token::Minus) { "-" } else { "" };
    match r.peek().clone() {
        Token::Number(digits, _) => {
            r.next();
            Ok(format!("{sign}{digits}"))
        }
        Token::Word(word) if sign.is_empty() && word.quote_style.is_none() => {
            r.next();
            Ok(word.value)
        }
        _ => Err(r.unexpected().hint("Expected a constant.")),
    }
}
