//! CREATE: streams, tables and views. (Functions are in `routines` and `aggregates`.)

use datafusion::sql::sqlparser::ast::{ColumnOption, Expr, Ident, ObjectName};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::names::{folded, is_byte_order};
use super::options;
use super::query;
use super::reader::Reader;
use super::statement::{
    CheckDef, ColumnDef, CreateRelation, CreateStreamAs, Options, Statement, UniqueDef,
    WatermarkDef, WithData,
};
use super::{aggregates, indexes, normalize, routines, schemas, sinks, types};
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// Reads CREATE.
pub(super) fn create(r: &mut Reader) -> Result<Statement> {
    r.expect("CREATE")?;
    let or_replace = r.eat_all(&["OR", "REPLACE"]);
    let position = r.position();
    if r.eat_one(&["TEMPORARY", "TEMP", "GLOBAL", "LOCAL"]).is_some() {
        return Err(Error::unsupported("temporary relations are not supported")
            .hint("Leave out TEMPORARY and DROP the relation when it is no longer needed.")
            .at(position));
    }
    r.eat("UNLOGGED");
    if r.eat("FUNCTION") {
        return routines::function(r, or_replace);
    }
    if r.eat("AGGREGATE") {
        return aggregates::aggregate(r, or_replace);
    }
    if r.eat("VIEW") {
        return view(r, or_replace);
    }
    if or_replace
        && ["STREAM", "TABLE", "SOURCE", "MATERIALIZED", "SINK"].iter().any(|word| r.sees(word))
    {
        return Err(Error::unsupported("CREATE OR REPLACE is for views and functions only")
            .hint("DROP it first, or use IF NOT EXISTS.")
            .at(position));
    }
    if r.eat_all(&["MATERIALIZED", "VIEW"]) {
        return materialized_view(r);
    }
    if r.eat("TABLE") {
        return table(r);
    }
    if r.eat_one(&["STREAM", "SOURCE"]).is_some() {
        return stream(r);
    }
    if r.eat("SINK") {
        return sinks::create(r);
    }
    if r.sees("INDEX") {
        return indexes::create(r);
    }
    if r.eat("SCHEMA") {
        return schemas::create(r);
    }
    Err(not_built(r))
}

/// What Postgres, Flink or RisingWave can create and Tidemill cannot, or not yet.
fn not_built(r: &mut Reader) -> Error {
    let mut words = Vec::new();
    for n in 0..2 {
        words.extend(super::text::word_of(r.peek_nth(n)));
    }
    let first = words.first().map(String::as_str).unwrap_or_default();
    let (what, hint) = match first {
        "UNIQUE" => ("CREATE UNIQUE INDEX", "Declare UNIQUE (columns) in CREATE TABLE."),
        "PROCEDURE" => (
            "CREATE PROCEDURE",
            "Send the statements one after the other, or put them into a script for tidemill run.",
        ),
        "USER" | "ROLE" | "GROUP" => (
            "CREATE USER",
            "There are no roles yet: any user name may connect, and may do everything.",
        ),
        "DATABASE" => (
            "CREATE DATABASE",
            "There is one database, tidemill; start a second server with its own --data-dir.",
        ),
        "SEQUENCE" => ("CREATE SEQUENCE", "Use UUID with DEFAULT gen_random_uuid()."),
        "TYPE" | "DOMAIN" => {
            ("CREATE TYPE", "Use ROW(name type, …) or TEXT where the column is declared.")
        }
        "EXTENSION" => ("CREATE EXTENSION", "Extensions of Postgres cannot be loaded."),
        "TRIGGER" | "RULE" => ("CREATE TRIGGER", "Use a materialized view."),
        "CONNECTION" | "SECRET" | "CATALOG" => {
            ("CREATE CONNECTION", "Give the options in WITH of CREATE STREAM.")
        }
        "EXTERNAL" | "FOREIGN" => (
            "CREATE EXTERNAL TABLE",
            "Use CREATE STREAM or CREATE TABLE WITH (connector = 'file', …).",
        ),
        "RECURSIVE" => {
            ("CREATE RECURSIVE VIEW", "Use CREATE VIEW with WITH RECURSIVE in the query.")
        }
        _ => {
            return r.unexpected().hint(
                "Expected STREAM, SOURCE, TABLE, VIEW, MATERIALIZED VIEW, SINK, FUNCTION or AGGREGATE.",
            );
        }
    };
    Error::unsupported(format!("{what} is not supported")).hint(hint).at(r.position())
}

fn if_not_exists(r: &mut Reader) -> bool {
    r.eat_all(&["IF", "NOT", "EXISTS"])
}

fn view(r: &mut Reader, or_replace: bool) -> Result<Statement> {
    let if_not_exists = if_not_exists(r);
    let name = r.name()?;
    let columns = r.optional_columns()?.into_iter().map(folded).collect();
    let options = options::optional(r)?;
    if let Some((option, _)) = options.0.first() {
        return Err(Error::unsupported(format!("option \"{option}\" of a view is not supported"))
            .hint("Options are for materialized views."));
    }
    r.expect("AS")?;
    let from = r.byte();
    let query = query::snapshot(r, "CREATE VIEW")?;
    Ok(Statement::CreateView {
        name,
        or_replace,
        if_not_exists,
        columns,
        query,
        text: r.text_since(from),
    })
}

fn materialized_view(r: &mut Reader) -> Result<Statement> {
    let if_not_exists = if_not_exists(r);
    let name = r.name()?;
    let columns = r.optional_columns()?.into_iter().map(folded).collect();
    let options = options::optional(r)?;
    r.expect("AS")?;
    let from = r.byte();
    let query = query::continuous(r)?;
    let text = r.text_since(from);
    if with_data(r)? == WithData::No {
        return Err(Error::unsupported("WITH NO DATA is not supported for a materialized view")
            .hint(
                "SET scan_startup = 'latest' makes it begin with the rows that come from now on.",
            ));
    }
    Ok(Statement::CreateMaterializedView { name, if_not_exists, columns, options, query, text })
}

fn with_data(r: &mut Reader) -> Result<WithData> {
    if !r.eat("WITH") {
        return Ok(WithData::Yes);
    }
    let with_data = if r.eat("NO") { WithData::No } else { WithData::Yes };
    r.expect("DATA").map(|()| with_data)
}

fn table(r: &mut Reader) -> Result<Statement> {
    let if_not_exists = if_not_exists(r);
    let name = r.name()?;
    if let Some(columns) = r.attempt(|r| {
        let columns = r.optional_columns()?;
        let options = options::optional(r)?;
        r.expect("AS")?;
        Ok((columns, options))
    }) {
        let (columns, options) = columns;
        if let Some((option, _)) = options.0.first() {
            return Err(Error::unsupported(format!(
                "option \"{option}\" of CREATE TABLE AS is not supported"
            )));
        }
        let columns = columns.into_iter().map(folded).collect();
        let query = query::snapshot(r, "CREATE TABLE AS")?;
        let with_data = with_data(r)?;
        return Ok(Statement::CreateTableAs { name, if_not_exists, columns, query, with_data });
    }
    let relation = relation(r, name, if_not_exists, LastComma::Allowed)?;
    let connector = relation.options.0.iter().any(|(name, _)| name == "connector");
    // What only ever gains rows is a stream; keys that are to be checked make it a table.
    let gains = relation.append_only && relation.primary_key.is_empty();
    Ok(if connector || gains || relation.watermark.is_some() {
        Statement::CreateStream(relation)
    } else {
        Statement::CreateTable(relation)
    })
}

fn stream(r: &mut Reader) -> Result<Statement> {
    let if_not_exists = if_not_exists(r);
    let name = r.name()?;
    let derived = r.attempt(|r| {
        let columns = r.optional_columns()?;
        let options = options::optional(r)?;
        r.expect("AS")?;
        Ok((columns.into_iter().map(folded).collect(), options))
    });
    if let Some((columns, options)) = derived {
        let from = r.byte();
        let query = query::continuous(r)?;
        let text = r.text_since(from);
        let create = CreateStreamAs { name, if_not_exists, columns, options, query, text };
        return Ok(Statement::CreateStreamAs(Box::new(create)));
    }
    relation(r, name, if_not_exists, LastComma::Refused).map(Statement::CreateStream)
}

/// A comma behind the last column: RisingWave takes one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastComma {
    Allowed,
    Refused,
}

/// The column list and what comes after it.
fn relation(
    r: &mut Reader,
    name: ObjectName,
    if_not_exists: bool,
    last_comma: LastComma,
) -> Result<CreateRelation> {
    let mut relation = CreateRelation {
        name,
        if_not_exists,
        columns: Vec::new(),
        watermark: None,
        primary_key: Vec::new(),
        uniques: Vec::new(),
        checks: Vec::new(),
        append_only: false,
        options: Options::default(),
        text: r.text(),
    };
    if r.eat_token(&Token::LParen) {
        let mut more = *r.peek() != Token::RParen;
        while more {
            element(r, &mut relation)?;
            more = r.eat_token(&Token::Comma);
            more &= last_comma == LastComma::Refused || *r.peek() != Token::RParen;
        }
        r.expect_token(&Token::RParen)?;
    } else if !r.sees("WITH") {
        return Err(r.unexpected().hint("Expected the columns in parentheses."));
    }
    if r.eat("COMMENT") {
        r.string()?;
    }
    relation.append_only = r.eat_all(&["APPEND", "ONLY"]);
    refuse_clauses(r)?;
    relation.options = options::optional(r)?;
    relation.append_only |= r.eat_all(&["APPEND", "ONLY"]);
    refuse_clauses(r)?;
    for key in &relation.primary_key {
        for column in &mut relation.columns {
            column.not_null |= column.name.value == key.value;
        }
    }
    Ok(relation)
}

fn refuse_clauses(r: &mut Reader) -> Result<()> {
    let position = r.position();
    let (what, hint) = match r.eat_one(&[
        "PARTITIONED",
        "PARTITION",
        "DISTRIBUTED",
        "FORMAT",
        "ROW",
        "ENCODE",
        "INCLUDE",
        "INHERITS",
        "ON",
        "TABLESPACE",
        "USING",
        "LIKE",
    ]) {
        None => return Ok(()),
        Some(word @ ("PARTITIONED" | "PARTITION" | "DISTRIBUTED")) => {
            (word, "Leave it out: rows are dealt to the threads as they come.")
        }
        Some(word @ ("FORMAT" | "ROW" | "ENCODE")) => {
            (word, "Give the format as an option: WITH (connector = …, format = 'json').")
        }
        Some(word) => (word, "Leave it out."),
    };
    Err(Error::unsupported(format!("{what} in CREATE is not supported")).hint(hint).at(position))
}

fn element(r: &mut Reader, relation: &mut CreateRelation) -> Result<()> {
    if r.sees_all(&["WATERMARK", "FOR"]) {
        return watermark(r, relation);
    }
    let position = r.position();
    let name = constraint_name(r)?;
    if sees_check(r) {
        return check(r, relation, name);
    }
    if sees_unique(r) {
        return unique(r, relation, name, None);
    }
    if r.eat_all(&["PRIMARY", "KEY"]) {
        r.expect_token(&Token::LParen)?;
        let key = r.comma_separated(|r| r.ident().map(folded))?;
        r.expect_token(&Token::RParen)?;
        r.eat_all(&["NOT", "ENFORCED"]);
        return primary_key(relation, key, position);
    }
    refuse_constraint(r)?;
    if r.sees("LIKE") && matches!(r.peek_nth(1), Token::Word(_)) {
        return Err(Error::unsupported("LIKE in CREATE is not supported")
            .hint("Write the columns out; SHOW CREATE prints them.")
            .at(position));
    }
    let column = column(r, relation)?;
    relation.columns.push(column);
    Ok(())
}

fn primary_key(relation: &mut CreateRelation, key: Vec<Ident>, position: usize) -> Result<()> {
    if !relation.primary_key.is_empty() {
        let message =
            format!("multiple primary keys for table \"{}\" are not allowed", relation.name);
        return Err(Error::new(SqlState::Syntax, message).at(position));
    }
    relation.primary_key = key;
    Ok(())
}

fn watermark(r: &mut Reader, relation: &mut CreateRelation) -> Result<()> {
    let position = r.position();
    r.expect("WATERMARK")?;
    r.expect("FOR")?;
    let column = folded(r.ident()?);
    let expr = if r.eat("AS") { Some(r.normal_expr()?) } else { None };
    if relation.watermark.is_some() {
        return Err(Error::new(SqlState::Syntax, "a stream can have only one watermark")
            .hint("Leave out the second WATERMARK FOR.")
            .at(position));
    }
    relation.watermark = Some(WatermarkDef { column, expr, position });
    Ok(())
}

/// CONSTRAINT name.
fn constraint_name(r: &mut Reader) -> Result<Option<Ident>> {
    if r.eat("CONSTRAINT") { r.ident().map(|name| Some(folded(name))) } else { Ok(None) }
}

fn sees_check(r: &Reader) -> bool {
    r.sees("CHECK") && *r.peek_nth(1) == Token::LParen
}

/// CHECK (condition) [NO INHERIT].
fn check(r: &mut Reader, relation: &mut CreateRelation, name: Option<Ident>) -> Result<()> {
    let position = r.position();
    r.expect("CHECK")?;
    let condition = in_parentheses(r)?;
    r.eat_all(&["NO", "INHERIT"]);
    relation.checks.push(CheckDef { name, condition, position });
    Ok(())
}

fn sees_unique(r: &Reader) -> bool {
    let is_next = |at, word| super::text::is_word(r.peek_nth(at), word);
    r.sees("UNIQUE") && (*r.peek_nth(1) == Token::LParen || is_next(1, "NULLS"))
}

/// UNIQUE [NULLS DISTINCT] (columns), or behind a column.
fn unique(
    r: &mut Reader,
    relation: &mut CreateRelation,
    name: Option<Ident>,
    column: Option<&Ident>,
) -> Result<()> {
    let position = r.position();
    r.expect("UNIQUE")?;
    if r.eat_all(&["NULLS", "NOT", "DISTINCT"]) {
        return Err(Error::unsupported("UNIQUE NULLS NOT DISTINCT is not supported")
            .hint("Declare the columns NOT NULL.")
            .at(position));
    }
    r.eat_all(&["NULLS", "DISTINCT"]);
    let columns = match column {
        Some(column) => vec![column.clone()],
        None => {
            r.expect_token(&Token::LParen)?;
            let columns = r.comma_separated(|r| r.ident().map(folded))?;
            r.expect_token(&Token::RParen)?;
            columns
        }
    };
    relation.uniques.push(UniqueDef { name, columns, position });
    Ok(())
}

/// FOREIGN KEY, REFERENCES, EXCLUDE: promises that nobody here would keep.
fn refuse_constraint(r: &Reader) -> Result<()> {
    let found = ["FOREIGN", "REFERENCES", "EXCLUDE"].iter().find(|word| r.sees(word));
    let starts = match found {
        Some(&"REFERENCES") => matches!(r.peek_nth(1), Token::Word(_)),
        Some(&"FOREIGN") => super::text::is_word(r.peek_nth(1), "KEY"),
        Some(_) => matches!(r.peek_nth(1), Token::LParen | Token::Word(_)),
        None => false,
    };
    match (found, starts) {
        (Some(word), true) => {
            let what = if *word == "FOREIGN" { "FOREIGN KEY" } else { word };
            Err(Error::unsupported(format!("{what} constraints are not supported"))
                .hint("Leave it out: references between tables are not checked.")
                .at(r.position()))
        }
        _ => Ok(()),
    }
}

fn column(r: &mut Reader, relation: &mut CreateRelation) -> Result<ColumnDef> {
    let name = folded(r.ident()?);
    let mut column =
        ColumnDef { name, sql_type: None, not_null: false, default: None, generated: None };
    if r.eat("AS") {
        column.generated = Some(r.normal_expr()?);
        if r.eat("COMMENT") {
            r.string()?;
        }
        return Ok(column);
    }
    column.sql_type = Some(types::read(r)?);
    loop {
        let position = r.position();
        let constraint = constraint_name(r)?;
        if sees_check(r) {
            check(r, relation, constraint)?;
        } else if r.sees("UNIQUE") {
            unique(r, relation, constraint, Some(&column.name))?;
        } else if r.eat_all(&["NOT", "NULL"]) {
            column.not_null = true;
        } else if r.eat_all(&["PRIMARY", "KEY"]) {
            r.eat_all(&["NOT", "ENFORCED"]);
            column.not_null = true;
            primary_key(relation, vec![column.name.clone()], position)?;
        } else if r.eat("NULL") {
        } else if r.sees("DEFAULT") {
            once(&column, position)?;
            column.default = Some(default(r)?);
        } else if r.sees("GENERATED") || r.sees("AS") {
            once(&column, position)?;
            column.generated = Some(generated(r)?);
        } else if r.eat("COMMENT") {
            r.string()?;
        } else if r.eat("METADATA") {
            return Err(Error::unsupported("METADATA columns are not supported")
                .hint("Declare it as an ordinary column.")
                .at(position));
        } else if r.eat("COLLATE") {
            let collation = r.name()?;
            collated(column.sql_type.as_ref(), &collation).map_err(|error| error.at(position))?;
        } else {
            refuse_constraint(r)?;
            return Ok(column);
        }
    }
}

/// Text compares by its bytes, and may say so.
fn collated(sql_type: Option<&SqlType>, collation: &ObjectName) -> Result<()> {
    if let Some(other) = sql_type.filter(|of| !of.data_type().is_string()) {
        let message = format!("collations are not supported by type {other}");
        return Err(Error::new(SqlState::TypeMismatch, message));
    }
    if is_byte_order(collation) {
        return Ok(());
    }
    let message = format!("collation {collation} for encoding \"UTF8\" does not exist");
    Err(Error::new(SqlState::UndefinedObject, message)
        .hint("Text compares by its bytes: leave COLLATE out, or write COLLATE \"C\"."))
}

fn once(column: &ColumnDef, position: usize) -> Result<()> {
    if column.default.is_some() || column.generated.is_some() {
        let message = format!(
            "column \"{}\" has more than one DEFAULT or GENERATED clause",
            column.name.value
        );
        Err(Error::new(SqlState::Syntax, message).at(position))
    } else {
        Ok(())
    }
}

/// DEFAULT expr. sqlparser reads it, because here NOT NULL ends an expression.
fn default(r: &mut Reader) -> Result<Expr> {
    match r.with(Parser::parse_optional_column_option)? {
        Some(ColumnOption::Default(mut expr)) => {
            normalize::expr(&mut expr)?;
            Ok(expr)
        }
        _ => Err(r.unexpected()),
    }
}

/// Words that come after an expression of a column in parentheses.
const AFTER_GENERATED: [&str; 11] = [
    "STORED",
    "VIRTUAL",
    "PERSISTED",
    "NOT",
    "NULL",
    "PRIMARY",
    "DEFAULT",
    "UNIQUE",
    "CHECK",
    "COMMENT",
    "CONSTRAINT",
];

/// GENERATED ALWAYS AS (expr) [STORED], AS (expr) [STORED], and RisingWave's AS expr.
fn generated(r: &mut Reader) -> Result<Expr> {
    let position = r.position();
    if r.eat("GENERATED") {
        let by_default = r.eat_all(&["BY", "DEFAULT"]);
        if !by_default {
            r.expect("ALWAYS")?;
        }
        r.expect("AS")?;
        if by_default || r.sees("IDENTITY") {
            return Err(Error::unsupported(
                "identity columns are not supported: there are no sequences",
            )
            .hint("Use UUID with DEFAULT gen_random_uuid().")
            .at(position));
        }
    } else {
        r.expect("AS")?;
        if let Some(expr) = r.attempt(whole_in_parentheses) {
            r.eat_one(&["STORED", "VIRTUAL", "PERSISTED"]);
            return Ok(expr);
        }
        return r.normal_expr();
    }
    let expr = in_parentheses(r)?;
    r.eat_one(&["STORED", "VIRTUAL", "PERSISTED"]);
    Ok(expr)
}

fn in_parentheses(r: &mut Reader) -> Result<Expr> {
    r.expect_token(&Token::LParen)?;
    let expr = r.normal_expr()?;
    r.expect_token(&Token::RParen)?;
    Ok(expr)
}

/// An expression in parentheses that is not the beginning of a longer one, as `(a).b` is.
fn whole_in_parentheses(r: &mut Reader) -> Result<Expr> {
    let expr = in_parentheses(r)?;
    let ends = matches!(r.peek(), Token::Comma | Token::RParen)
        || AFTER_GENERATED.iter().any(|word| r.sees(word));
    if ends { Ok(expr) } else { Err(r.unexpected()) }
}
