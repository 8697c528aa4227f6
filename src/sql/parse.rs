//! The way in: text to statements. What a statement begins with decides which family reads it.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::dialect::TidemillDialect;
use super::reader::{Reader, parse_one};
use super::statement::{ContinuousQuery, FeedSink, Statement};
use super::text::{StatementTokens, split};
use super::{
    change, comments, copy, create, cursor, query, refuse, relations, settings, transaction, types,
    with_change,
};
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// The most parameters a statement may have (the protocol counts them in 16 bits).
const PARAMETERS: usize = 65_535;

/// A statement with what its text tells beside.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The statement.
    pub statement: Statement,
    /// As it was written, without the semicolon.
    pub text: String,
    /// The highest n of its parameters $n.
    pub params: usize,
}

/// Reads all statements of a text. Nothing but blanks, comments and semicolons gives none.
/// Positions in errors count from the beginning of the text.
pub fn parse(sql: &str) -> Result<Vec<Parsed>> {
    split(sql)?.into_iter().map(|piece| parse_piece(sql, piece)).collect()
}

fn parse_piece(sql: &str, piece: StatementTokens) -> Result<Parsed> {
    let params = parameters(&piece.tokens)?;
    let dialect = TidemillDialect::for_tokens(piece.tokens.len());
    let mut r = Reader::new(sql, piece, &dialect)?;
    let statement = statement(&mut r)?;
    r.expect_end()?;
    let params = match statement {
        // The parameters are those of EXECUTE, or of the function.
        Statement::Prepare { .. } | Statement::CreateFunction(_) => 0,
        _ => params,
    };
    Ok(Parsed { statement, text: r.text(), params })
}

fn parameters(tokens: &[TokenWithSpan]) -> Result<usize> {
    let mut highest = 0;
    for token in tokens {
        let Token::Placeholder(name) = &token.token else { continue };
        let Some(digits) = name.strip_prefix('$') else { continue };
        match digits.parse() {
            Ok(n @ 1..=PARAMETERS) => highest = highest.max(n),
            _ => {
                let what = format!("there is no parameter {name}");
                return Err(Error::new(SqlState::UndefinedParameter, what)
                    .hint("Parameters are $1 to $65535."));
            }
        }
    }
    Ok(highest)
}

/// Reads an expression, for example a DEFAULT from the catalog.
pub fn parse_expr(sql: &str) -> Result<Expr> {
    parse_one(sql, |r| r.normal_expr())
}

/// Reads a query with its EMIT, for example a view's from the catalog.
pub fn parse_query(sql: &str) -> Result<ContinuousQuery> {
    parse_one(sql, query::continuous)
}

/// Reads an INSERT of a query as what feeds a sink.
pub fn feeding_insert(sql: &str) -> Result<FeedSink> {
    parse_one(sql, change::feeding)
}

/// Reads a type.
pub fn parse_type(sql: &str) -> Result<SqlType> {
    parse_one(sql, types::read)
}

/// Reads one statement.
pub(super) fn statement(r: &mut Reader) -> Result<Statement> {
    if *r.peek() == Token::LParen {
        return query::continuous(r).map(Statement::Query);
    }
    let Token::Word(word) = r.peek() else {
        return Err(r.unexpected());
    };
    if word.quote_style.is_some() {
        return Err(r.unexpected());
    }
    let word = word.value.to_ascii_uppercase();
    match word.as_str() {
        "WITH" => with_change::read(r),
        "SELECT" | "VALUES" | "TABLE" => query::continuous(r).map(Statement::Query),
        "INSERT" | "UPDATE" | "DELETE" => change::change(r, &word),
        "TRUNCATE" => relations::truncate(r),
        "COMMENT" => comments::comment(r),
        "COPY" => copy::copy(r),
        "CREATE" => create::create(r),
        "DROP" => relations::drop(r),
        "ALTER" => relations::alter(r),
        "DESCRIBE" | "DESC" => relations::describe(r),
        "EXPLAIN" => query::explain(r),
        "SUBSCRIBE" => query::subscribe(r).map(Statement::Subscribe),
        "DECLARE" => cursor::declare(r),
        "FETCH" => cursor::fetch(r),
        "MOVE" => cursor::move_(r),
        "CLOSE" => cursor::close(r),
        "PREPARE" => cursor::prepare(r),
        "EXECUTE" => cursor::execute(r),
        "DEALLOCATE" => cursor::deallocate(r),
        "SET" => settings::set(r),
        "SHOW" => settings::show(r),
        "RESET" => settings::reset(r),
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" => {
            transaction::transaction(r, &word)
        }
        _ => refuse::other(r, &word),
    }
}
