//! From text to the tokens of single statements, and from a token's place back to the text.
//!
//! sqlparser counts lines and columns; Postgres clients want a 1-based offset in characters, and
//! the catalog wants the statement as it was written. [`TextPosition`] walks the text once,
//! forward, to translate.

use datafusion::sql::sqlparser::tokenizer::{
    Location, Span, Token, TokenWithSpan, Tokenizer, TokenizerError,
};

use super::asof::in_one_form;
use super::dialect::TidemillDialect;
use super::grammar_gaps::filled;
use super::special_calls::plain_calls;
pub(super) use super::words::is_word;
use crate::error::{Error, Result, SqlState};
use crate::limits;

/// A place in the text: the same point in sqlparser's, Rust's and Postgres' way of counting.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextPosition {
    line: u64,
    column: u64,
    /// Offset in bytes.
    pub byte: usize,
    /// Offset in characters, from 0.
    pub chars: usize,
}

impl TextPosition {
    /// The beginning of a text.
    pub(super) const START: TextPosition = TextPosition { line: 1, column: 1, byte: 0, chars: 0 };

    /// The place of `to`, which is not before this one; the end of the text if it is beyond.
    pub(super) fn forward(mut self, sql: &str, to: Location) -> TextPosition {
        let rest = sql.get(self.byte..).unwrap_or_default();
        for c in rest.chars() {
            if (self.line, self.column) >= (to.line, to.column) {
                break;
            }
            self.byte += c.len_utf8();
            self.chars += 1;
            match c {
                '\n' => (self.line, self.column) = (self.line + 1, 1),
                _ => self.column += 1,
            }
        }
        self
    }
}

/// The tokens of one statement, without white space, and where they are.
pub(super) struct StatementTokens {
    /// Its tokens; not empty.
    pub tokens: Vec<TokenWithSpan>,
    /// Of the first token.
    pub start: TextPosition,
    /// Behind the last token.
    pub end: TextPosition,
    /// Was it ended by a semicolon?
    pub semicolon: bool,
}

/// Cuts the text into statements at its semicolons. Empty statements are left out.
pub(super) fn split(sql: &str) -> Result<Vec<StatementTokens>> {
    if sql.len() > limits::STATEMENT_BYTES {
        return Err(Error::new(SqlState::TooComplex, "statement is too long")
            .detail(format!(
                "It has {} bytes; the limit is {}.",
                sql.len(),
                limits::STATEMENT_BYTES
            ))
            .hint("Split it into several statements, or use COPY to load data."));
    }
    let dialect = TidemillDialect::for_tokens(0);
    let mut tokens = Vec::new();
    Tokenizer::new(&dialect, sql)
        .tokenize_with_location_into_buf(&mut tokens)
        .map_err(|e| tokenizer_error(sql, &e))?;
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut place = TextPosition::START;
    let mut end = |piece: &mut Vec<TokenWithSpan>, semicolon| {
        if let (Some(first), Some(last)) = (piece.first(), piece.last()) {
            let start = place.forward(sql, first.span.start);
            let end = start.forward(sql, last.span.end);
            place = end;
            pieces.push(StatementTokens { tokens: std::mem::take(piece), start, end, semicolon });
        }
    };
    for mut token in tokens {
        match &mut token.token {
            Token::Whitespace(_) | Token::EOF => continue,
            Token::SemiColon => {
                end(&mut piece, true);
                continue;
            }
            // A name in backquotes is one in double quotes from here on.
            Token::Word(word) if word.quote_style == Some('`') => word.quote_style = Some('"'),
            _ => {}
        }
        piece.push(token);
    }
    end(&mut piece, false);
    Ok(pieces)
}

/// A text without what makes no difference: spaces, comments, the case of words without quotes.
pub fn essence(sql: &str) -> Result<String> {
    let statements = split(sql)?;
    let tokens = statements.iter().flat_map(|statement| &statement.tokens);
    let words = tokens.map(|token| match &token.token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_lowercase(),
        other => other.to_string(),
    });
    Ok(words.collect::<Vec<_>>().join(" "))
}

/// What Postgres would say about text that does not even fall into tokens.
fn tokenizer_error(sql: &str, error: &TokenizerError) -> Error {
    let place = TextPosition::START.forward(sql, error.location);
    let lower = error.message.to_ascii_lowercase();
    let rest = sql.get(place.byte..).unwrap_or_default();
    let is_escaped = rest.starts_with("E'") || rest.starts_with("e'");
    if is_escaped && ["\\x00", "\\0", "\\u0000"].iter().any(|zero| rest.contains(zero)) {
        return Error::new(
            SqlState::BadCharacter,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        )
        .at(place.chars + 1);
    }
    let near: String = sql.get(place.byte..).unwrap_or_default().chars().take(40).collect();
    let what = if lower.contains("comment") {
        "unterminated /* comment"
    } else if lower.contains("dollar") || lower.contains("unterminated string '$") {
        "unterminated dollar-quoted string"
    } else if lower.contains("expected close delimiter") {
        "unterminated quoted identifier"
    } else if lower.contains("unterminated") {
        "unterminated quoted string"
    } else {
        "syntax error"
    };
    let message = if near.is_empty() {
        format!("{what} at end of input")
    } else {
        format!("{what} at or near \"{near}\"")
    };
    Error::new(SqlState::Syntax, message).at(place.chars + 1)
}

fn is_any_word(token: Option<&TokenWithSpan>) -> bool {
    matches!(token.map(|t| &t.token), Some(Token::Word(_)))
}

fn word_at(tokens: &[TokenWithSpan], at: usize, word: &str) -> bool {
    tokens.get(at).is_some_and(|t| is_word(&t.token, word))
}

fn token_at(tokens: &[TokenWithSpan], at: usize, token: &Token) -> bool {
    tokens.get(at).is_some_and(|t| t.token == *token)
}

/// Spellings that sqlparser does not read and that mean the same without their words:
///
/// - `FOR SYSTEM_TIME AS OF PROCTIME()` (or `NOW()`): a join with a table sees the newest version
///   anyway. (Of another time: [`system_time`](super::system_time).)
/// - `TABLE s` as an argument of a window function: `s`.
/// - `TABLE t` as a query: `SELECT * FROM t`.
/// - `WITH LOCAL TIME ZONE`: `WITH TIME ZONE`.
/// - TRIM and SUBSTRING with other words between their arguments: see [`plain_calls`].
/// - ASOF joins as Snowflake writes them: see [`in_one_form`].
/// - What its grammar lacks: see [`filled`].
/// - `SESSION(s PARTITION BY a, b, ts, gap)`: `SESSION(s, ts, gap, a, b)`.
pub(super) fn simplify(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if let Some(behind) = present_time(&tokens, at) {
            at = behind;
            continue;
        }
        let drop_table = word_at(&tokens, at, "table")
            && is_any_word(tokens.get(at + 1))
            && matches!(
                out.last().map(|t: &TokenWithSpan| &t.token),
                Some(Token::LParen | Token::RArrow)
            )
            && is_argument(&out);
        let drop_local = word_at(&tokens, at, "local")
            && word_at(&tokens, at + 1, "time")
            && word_at(&tokens, at + 2, "zone")
            && matches!(out.last().map(|t: &TokenWithSpan| &t.token), Some(t) if is_word(t, "with"));
        if !drop_table && word_at(&tokens, at, "table") && begins_query(&tokens, at, &out) {
            let span = tokens[at].span;
            let words = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
            out.extend(words.into_iter().map(|token| TokenWithSpan::new(token, span)));
        } else if let Token::CustomBinaryOperator(operator) = &tokens[at].token
            && operator.bytes().all(|b| b == b'>')
        {
            // The end of three types or more: ARRAY<ARRAY<ARRAY<int>>>.
            let one = TokenWithSpan::new(Token::Gt, tokens[at].span);
            out.extend(operator.bytes().map(|_| one.clone()));
        } else if !drop_table && !drop_local {
            out.push(tokens[at].clone());
        }
        at += 1;
    }
    mark_own_options(session_keys(plain_calls(filled(in_one_form(out)))))
}

/// Puts a semicolon before the `WITH (SNAPSHOT …)` and `AS OF EPOCH n` of SUBSCRIBE, and before WITH
/// of CREATE SINK: sqlparser would take the first for a table's hints and the second for an alias.
fn mark_own_options(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let begins = |word| word_at(&tokens, 0, word);
    let copy = begins("copy");
    let sink = begins("create") && word_at(&tokens, 1, "sink");
    if !(begins("subscribe") || begins("declare") || copy || sink) {
        return tokens;
    }
    let mut out = Vec::with_capacity(tokens.len() + 2);
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is = |n: usize, word| word_at(&tokens, at + n, word);
        // Behind COPY's own parenthesis come COPY's own options; those of a sink are in none.
        let ours = if sink { depth == 0 } else { !copy || depth > 0 };
        let options = ours && is(0, "with") && token_at(&tokens, at + 1, &Token::LParen);
        if options || is(0, "as") && is(1, "of") && is(2, "epoch") {
            out.push(TokenWithSpan::new(Token::SemiColon, token.span));
        }
        out.push(token.clone());
    }
    out
}

/// Is the TABLE at `at` the query `TABLE name`, to judge by what is around it?
fn begins_query(tokens: &[TokenWithSpan], at: usize, before: &[TokenWithSpan]) -> bool {
    const BEFORE: &[&str] = &[
        "UNION",
        "ALL",
        "DISTINCT",
        "EXCEPT",
        "INTERSECT",
        "AS",
        "FOR",
        "SUBSCRIBE",
        "EXPLAIN",
        "ANALYZE",
        "VERBOSE",
    ];
    let starts = match before.last().map(|t| &t.token) {
        None | Some(Token::LParen) => true,
        Some(Token::RParen) => word_at(tokens, 0, "explain") || word_at(tokens, 0, "insert"),
        Some(token) => BEFORE.iter().any(|word| is_word(token, word)),
    };
    starts && is_any_word(tokens.get(at + 1))
}

/// Does an open parenthesis that belongs to a window function, or an argument's name, come just
/// before?
fn is_argument(before: &[TokenWithSpan]) -> bool {
    let n = before.len();
    match before.last().map(|t| &t.token) {
        Some(Token::RArrow) => true,
        Some(Token::LParen) => n >= 2 && is_window_function(&before[n - 2].token),
        _ => false,
    }
}

fn is_window_function(token: &Token) -> bool {
    ["tumble", "hop", "cumulate", "session"].iter().any(|name| is_word(token, name))
}

/// If `FOR SYSTEM_TIME AS OF PROCTIME()` begins here: the index behind it.
fn present_time(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let is = |n: usize, word| word_at(tokens, at + n, word);
    let is_version = is(0, "for") && is(1, "system_time") && is(2, "as") && is(3, "of");
    let is_present = (is(4, "proctime") || is(4, "now"))
        && token_at(tokens, at + 5, &Token::LParen)
        && token_at(tokens, at + 6, &Token::RParen);
    // Of an expression it would only be the beginning.
    let is_all = match tokens.get(at + 7).map(|behind| &behind.token) {
        Some(token @ Token::Word(_)) => !is_word(token, "at"),
        Some(Token::Comma | Token::RParen | Token::SemiColon) | None => true,
        Some(_) => false,
    };
    (is_version && is_present && is_all).then_some(at + 7)
}

/// Moves the keys of `SESSION(s PARTITION BY …, ts, gap)` behind the other arguments.
fn session_keys(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut at = 0;
    while at + 1 < tokens.len() {
        if word_at(&tokens, at, "session")
            && token_at(&tokens, at + 1, &Token::LParen)
            && let Some((partition, commas, close)) = session_call(&tokens, at + 2)
        {
            move_keys(&mut tokens, partition, &commas, close);
        }
        at += 1;
    }
    tokens
}

/// The PARTITION, the commas after it and the closing parenthesis of a call whose arguments begin
/// at `from`.
fn session_call(tokens: &[TokenWithSpan], from: usize) -> Option<(usize, Vec<usize>, usize)> {
    let (mut depth, mut partition, mut commas) = (0usize, None, Vec::new());
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return partition.map(|p| (p, commas, at)),
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 && partition.is_some() => commas.push(at),
            // The keys come right behind the relation; a comma before them means an OVER or a list
            // of something else.
            Token::Comma if depth == 0 => return None,
            t if depth == 0 && is_word(t, "partition") && word_at(tokens, at + 1, "by") => {
                partition = Some(at)
            }
            _ => {}
        }
    }
    None
}

fn move_keys(tokens: &mut Vec<TokenWithSpan>, partition: usize, commas: &[usize], close: usize) {
    // The last two arguments are the time column and the gap; with names, the first name ends the
    // keys.
    let named = commas.iter().position(|&comma| token_at(tokens, comma + 2, &Token::RArrow));
    let split = match named {
        Some(first) => commas.get(first),
        None => commas.len().checked_sub(2).and_then(|n| commas.get(n)),
    };
    let Some(&split) = split else { return };
    let mut keys: Vec<TokenWithSpan> = tokens[partition + 2..split].to_vec();
    // PARTITION BY (a, b)
    if keys.len() >= 2
        && keys[0].token == Token::LParen
        && keys[keys.len() - 1].token == Token::RParen
    {
        keys.remove(0);
        keys.pop();
    }
    let comma = TokenWithSpan::new(Token::Comma, keys.first().map_or(Span::empty(), |k| k.span));
    let mut moved = tokens[split..close].to_vec();
    moved.push(comma);
    moved.append(&mut keys);
    tokens.splice(partition..close, moved);
}

/// Does the token carry a keyword or a word, and which, in capitals?
pub(super) fn word_of(token: &Token) -> Option<String> {
    match token {
        Token::Word(w) if w.quote_style.is_none() => Some(w.value.to_ascii_uppercase()),
        _ => None,
    }
}
