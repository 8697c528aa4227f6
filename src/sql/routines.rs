//! CREATE FUNCTION, and DROP of functions and aggregates.
//!
//! The clauses come in any order, as in Postgres. The body stays text: whoever makes the function
//! reads it. What Postgres has and a function of one expression has no use for (COST, PARALLEL) is
//! read over, what would change its meaning is refused.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::names::folded;
use super::reader::Reader;
use super::statement::{
    BodyText, CreateFunction, NamedRoutine, RoutineArgument, RoutineType, Stability, Statement,
};
use super::types;
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// The types of a function have no length or precision (Postgres manual, CREATE FUNCTION).
pub(super) fn general(sql_type: SqlType) -> SqlType {
    match sql_type {
        SqlType::Decimal(_) => SqlType::Decimal(None),
        SqlType::Varchar(_) | SqlType::Bpchar(_) => SqlType::Text,
        SqlType::Timestamp(_) => SqlType::Timestamp(6),
        SqlType::TimestampTz(_) => SqlType::TimestampTz(6),
        SqlType::Array(element) => SqlType::Array(Box::new(general(*element))),
        other => other,
    }
}

fn not_supported(r: &Reader, what: &str, hint: &str) -> Error {
    Error::unsupported(format!("{what} is not supported")).hint(hint).at(r.position())
}

/// The clauses of CREATE FUNCTION as they come; each at most once.
#[derive(Default)]
struct Clauses {
    returns: Option<SqlType>,
    language: Option<String>,
    body: Option<BodyText>,
    strict: Option<bool>,
    stability: Option<Stability>,
}

/// CREATE [OR REPLACE] FUNCTION, after that word.
pub(super) fn function(r: &mut Reader, or_replace: bool) -> Result<Statement> {
    let name = r.name()?;
    let arguments = arguments(r)?;
    let mut clauses = Clauses::default();
    while !r.at_end() {
        clause(r, &mut clauses)?;
    }
    let language = clauses.language.unwrap_or_else(|| "sql".to_owned());
    if !language.eq_ignore_ascii_case("sql") {
        return Err(not_supported(r, &format!("LANGUAGE {language}"), "Use LANGUAGE SQL."));
    }
    let undefined = |what: &str| Error::new(SqlState::InvalidFunctionDefinition, what);
    let returns = clauses.returns.ok_or_else(|| {
        undefined("function result type must be specified").hint("Write RETURNS type.")
    })?;
    let body = clauses.body.ok_or_else(|| {
        undefined("no function body specified").hint("Write AS $$ SELECT … $$, or RETURN ….")
    })?;
    Ok(Statement::CreateFunction(Box::new(CreateFunction {
        name,
        or_replace,
        arguments,
        returns,
        body,
        strict: clauses.strict.unwrap_or(false),
        stability: clauses.stability.unwrap_or(Stability::Volatile),
    })))
}

fn set<T>(r: &Reader, clause: &mut Option<T>, value: T) -> Result<()> {
    match clause.replace(value) {
        None => Ok(()),
        Some(_) => {
            Err(Error::new(SqlState::Syntax, "conflicting or redundant options").at(r.position()))
        }
    }
}

fn clause(r: &mut Reader, clauses: &mut Clauses) -> Result<()> {
    if r.eat_all(&["RETURNS", "NULL", "ON", "NULL", "INPUT"]) || r.eat("STRICT") {
        return set(r, &mut clauses.strict, true);
    }
    if r.eat_all(&["CALLED", "ON", "NULL", "INPUT"]) {
        return set(r, &mut clauses.strict, false);
    }
    if r.eat("RETURNS") {
        let returns = returned(r)?;
        return set(r, &mut clauses.returns, returns);
    }
    if r.eat("LANGUAGE") {
        let language = match r.eat_string() {
            Some(language) => language,
            None => super::names::ident_name(&r.ident()?),
        };
        return set(r, &mut clauses.language, language);
    }
    if let Some(word) = r.eat_one(&["IMMUTABLE", "STABLE", "VOLATILE"]) {
        let stability = match word {
            "IMMUTABLE" => Stability::Immutable,
            "STABLE" => Stability::Stable,
            _ => Stability::Volatile,
        };
        return set(r, &mut clauses.stability, stability);
    }
    if r.eat("AS") {
        let text = r.string()?;
        if r.eat_token(&Token::Comma) {
            return Err(not_supported(r, "a function in an object file", "Use LANGUAGE SQL."));
        }
        return set(r, &mut clauses.body, BodyText::Text(text));
    }
    if r.eat("RETURN") {
        let from = r.byte();
        r.normal_expr()?;
        let text = r.text_since(from);
        return set(r, &mut clauses.body, BodyText::Return(text));
    }
    if r.sees_all(&["BEGIN", "ATOMIC"]) {
        return Err(not_supported(r, "BEGIN ATOMIC", "Write RETURN and the expression."));
    }
    without_effect(r)
}

/// Clauses that change nothing here.
fn without_effect(r: &mut Reader) -> Result<()> {
    if r.eat("LEAKPROOF") || r.eat_all(&["NOT", "LEAKPROOF"]) {
        return Ok(());
    }
    if r.eat("PARALLEL") {
        return r.word().map(|_| ());
    }
    if r.eat("COST") {
        return r.uint().map(|_| ());
    }
    r.eat("EXTERNAL");
    if r.eat("SECURITY") {
        return match r.eat_one(&["INVOKER", "DEFINER"]) {
            Some(_) => Ok(()),
            None => Err(r.unexpected().hint("Expected INVOKER or DEFINER.")),
        };
    }
    for word in ["ROWS", "SUPPORT", "SET", "WINDOW", "TRANSFORM"] {
        if r.sees(word) {
            let what = format!("{word} in CREATE FUNCTION");
            return Err(not_supported(r, &what, "Leave it out."));
        }
    }
    Err(r.unexpected().hint("Expected RETURNS, LANGUAGE, IMMUTABLE, STRICT, AS or RETURN."))
}

/// The type after RETURNS.
fn returned(r: &mut Reader) -> Result<SqlType> {
    const ONE_VALUE: &str = "A function gives one value; make a view of what gives rows.";
    for word in ["SETOF", "TABLE", "VOID", "TRIGGER"] {
        if r.sees(word) {
            return Err(not_supported(r, &format!("RETURNS {word}"), ONE_VALUE));
        }
    }
    types::read(r).map(general)
}

/// `([name] type, …)`.
pub(super) fn arguments(r: &mut Reader) -> Result<Vec<RoutineArgument>> {
    r.expect_token(&Token::LParen)?;
    if r.eat_token(&Token::RParen) {
        return Ok(Vec::new());
    }
    let arguments = r.comma_separated(argument)?;
    r.expect_token(&Token::RParen)?;
    Ok(arguments)
}

fn argument(r: &mut Reader) -> Result<RoutineArgument> {
    r.eat("IN");
    for word in ["OUT", "INOUT", "VARIADIC"] {
        if r.sees(word) && !ends(r.peek_nth(1)) {
            let hint = "Arguments are IN; what is computed is the result.";
            return Err(not_supported(r, &format!("{word} before an argument"), hint));
        }
    }
    let alone = |r: &mut Reader| {
        let sql_type = types::read(r)?;
        if ends(r.peek()) || starts_default(r) { Ok(sql_type) } else { Err(r.unexpected()) }
    };
    let argument = match r.attempt(alone) {
        Some(sql_type) => RoutineArgument { name: None, sql_type: general(sql_type) },
        // One word that is no type: the error is the type's.
        None if ends(r.peek_nth(1)) => {
            return types::read(r).and_then(|_| Err(r.unexpected()));
        }
        None => {
            let name = folded(r.ident()?);
            r.eat("IN");
            RoutineArgument { name: Some(name), sql_type: general(types::read(r)?) }
        }
    };
    if starts_default(r) {
        let hint = "Make a second function of that name with fewer arguments.";
        return Err(not_supported(r, "DEFAULT of an argument", hint));
    }
    Ok(argument)
}

fn ends(token: &Token) -> bool {
    matches!(token, Token::Comma | Token::RParen)
}

fn starts_default(r: &Reader) -> bool {
    r.sees("DEFAULT") || *r.peek() == Token::Eq
}

/// DROP FUNCTION|AGGREGATE|ROUTINE, after that word.
pub(super) fn drop(r: &mut Reader, word: &str) -> Result<Statement> {
    let kind = match word {
        "FUNCTION" => RoutineType::Function,
        "AGGREGATE" => RoutineType::Aggregate,
        _ => RoutineType::Routine,
    };
    let if_exists = r.eat_all(&["IF", "EXISTS"]);
    let routines = r.comma_separated(|r| {
        let name = r.name()?;
        let types = if *r.peek() == Token::LParen { Some(arguments(r)?) } else { None };
        let types = types.map(|types| types.into_iter().map(|a| a.sql_type).collect());
        Ok(NamedRoutine { name, types })
    })?;
    Ok(Statement::DropRoutines { kind, if_exists, routines, cascade: r.cascade() })
}
