//! Reading one statement word by word: what our own statements are parsed with, around sqlparser's
//! parser for queries and expressions. Both stand on the same tokens, so either can go on where the
//! other stopped.

use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident, ObjectName};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::complexity::{self, too_complex};
use super::dialect::TidemillDialect;
use super::grammar_gaps::check_frames;
use super::normalize;
use super::statement::Cascade;
use super::text::{StatementTokens, TextPosition, is_word, simplify, split, word_of};
use crate::error::{Error, Result, SqlState};
use crate::limits;

/// Calls of sqlparser's own functions within each other, at the most: a subquery takes about five.
const RECURSION: usize = limits::STATEMENT_DEPTH * 6;

/// A statement being read.
pub(super) struct Reader<'a> {
    sql: &'a str,
    start: TextPosition,
    end: TextPosition,
    semicolon: bool,
    parser: Parser<'a>,
}

impl<'a> Reader<'a> {
    /// Begins to read a statement; refuses one over the limits.
    pub(super) fn new(
        sql: &'a str,
        piece: StatementTokens,
        dialect: &'a TidemillDialect,
    ) -> Result<Self> {
        complexity::check(&piece.tokens)?;
        check_frames(&piece.tokens)?;
        let tokens = simplify(piece.tokens);
        let parser =
            Parser::new(dialect).with_recursion_limit(RECURSION).with_tokens_with_locations(tokens);
        let reader =
            Reader { sql, start: piece.start, end: piece.end, semicolon: piece.semicolon, parser };
        reader.refuse_missing_relation()?;
        Ok(reader)
    }

    /// `FROM WHERE`: sqlparser would take WHERE for a relation's name.
    fn refuse_missing_relation(&self) -> Result<()> {
        const CLAUSES: &[&str] = &[
            "WHERE",
            "GROUP",
            "HAVING",
            "ORDER",
            "LIMIT",
            "OFFSET",
            "UNION",
            "EXCEPT",
            "INTERSECT",
            "ON",
            "FROM",
            "JOIN",
        ];
        for at in 1.. {
            let token = self.parser.token_at(at);
            if token.token == Token::EOF {
                return Ok(());
            }
            let before = &self.parser.token_at(at - 1).token;
            if (is_word(before, "FROM") || is_word(before, "JOIN"))
                && CLAUSES.iter().any(|clause| is_word(&token.token, clause))
            {
                return Err(self.error_at(token).hint("Expected a relation."));
            }
        }
        Ok(())
    }

    /// The next token.
    pub(super) fn peek(&self) -> &Token {
        &self.parser.peek_token_ref().token
    }

    /// The token n behind the next.
    pub(super) fn peek_nth(&self, n: usize) -> &Token {
        &self.parser.peek_nth_token_ref(n).token
    }

    /// Is the statement at its end?
    pub(super) fn at_end(&self) -> bool {
        matches!(self.peek(), Token::EOF)
    }

    /// Is the next token this unquoted word?
    pub(super) fn sees(&self, word: &str) -> bool {
        is_word(self.peek(), word)
    }

    /// Are the next tokens these unquoted words?
    pub(super) fn sees_all(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| is_word(self.peek_nth(n), word))
    }

    /// Takes the word if it is next.
    pub(super) fn eat(&mut self, word: &str) -> bool {
        let there = self.sees(word);
        if there {
            self.parser.advance_token();
        }
        there
    }

    /// Takes the words if all of them are next.
    pub(super) fn eat_all(&mut self, words: &[&str]) -> bool {
        let there = self.sees_all(words);
        if there {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        there
    }

    /// Takes the first of these words that is next.
    pub(super) fn eat_one<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        words.iter().find(|word| self.eat(word)).copied()
    }

    /// Takes the word or fails.
    pub(super) fn expect(&mut self, word: &str) -> Result<()> {
        if self.eat(word) {
            Ok(())
        } else {
            Err(self.unexpected().hint(format!("Expected {word}.")))
        }
    }

    /// Takes the token if it is next.
    pub(super) fn eat_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    /// Takes the token or fails.
    pub(super) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.eat_token(token) {
            Ok(())
        } else {
            Err(self.unexpected().hint(format!("Expected \"{token}\".")))
        }
    }

    /// Takes the next token, whatever it is.
    pub(super) fn next(&mut self) -> Token {
        self.parser.next_token().token
    }

    /// Takes a word in capitals, or fails.
    pub(super) fn word(&mut self) -> Result<String> {
        match word_of(self.peek()) {
            Some(word) => {
                self.parser.advance_token();
                Ok(word)
            }
            None => Err(self.unexpected()),
        }
    }

    /// A name of one part.
    pub(super) fn ident(&mut self) -> Result<Ident> {
        match self.peek() {
            Token::Word(_) => self.with(Parser::parse_identifier),
            _ => Err(self.unexpected().hint("Expected a name.")),
        }
    }

    /// A name with or without its schema.
    pub(super) fn name(&mut self) -> Result<ObjectName> {
        match self.peek() {
            Token::Word(_) => self.with(|p| p.parse_object_name(false)),
            _ => Err(self.unexpected().hint("Expected a name.")),
        }
    }

    /// Names between commas.
    pub(super) fn names(&mut self) -> Result<Vec<ObjectName>> {
        self.comma_separated(Self::name)
    }

    /// `(a, b)`, or nothing.
    pub(super) fn optional_columns(&mut self) -> Result<Vec<Ident>> {
        if !self.eat_token(&Token::LParen) {
            return Ok(Vec::new());
        }
        let columns = self.comma_separated(Self::ident)?;
        self.expect_token(&Token::RParen)?;
        Ok(columns)
    }

    /// Things between commas, at least one.
    pub(super) fn comma_separated<T>(
        &mut self,
        one: impl Fn(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut all = vec![one(self)?];
        while self.eat_token(&Token::Comma) {
            all.push(one(self)?);
        }
        Ok(all)
    }

    /// CASCADE, RESTRICT or neither.
    pub(super) fn cascade(&mut self) -> Cascade {
        match self.eat_one(&["CASCADE", "RESTRICT"]) {
            Some("CASCADE") => Cascade::Cascade,
            _ => Cascade::Restrict,
        }
    }

    /// An expression.
    pub(super) fn expr(&mut self) -> Result<Expr> {
        self.with(Parser::parse_expr)
    }

    /// An expression in normal form.
    pub(super) fn normal_expr(&mut self) -> Result<Expr> {
        let mut expr = self.expr()?;
        normalize::expr(&mut expr)?;
        Ok(expr)
    }

    /// A type as sqlparser reads it.
    pub(super) fn data_type(&mut self) -> Result<DataType> {
        self.with(Parser::parse_data_type)
    }

    /// A number without sign or fraction.
    pub(super) fn uint(&mut self) -> Result<u64> {
        match self.peek() {
            Token::Number(digits, _) => match digits.parse() {
                Ok(number) => {
                    self.parser.advance_token();
                    Ok(number)
                }
                Err(_) => Err(self.unexpected()),
            },
            _ => Err(self.unexpected().hint("Expected a number.")),
        }
    }

    /// The text of a string literal.
    pub(super) fn string(&mut self) -> Result<String> {
        match self.eat_string() {
            Some(text) => Ok(text),
            None => Err(self.unexpected().hint("Expected a string in single quotes.")),
        }
    }

    /// The text of a string literal, if one is next.
    pub(super) fn eat_string(&mut self) -> Option<String> {
        let text = match self.peek() {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
            Token::DollarQuotedString(text) => text.value.clone(),
            _ => return None,
        };
        self.parser.advance_token();
        Some(text)
    }

    /// Lets sqlparser read something; its errors become ours.
    pub(super) fn with<T>(
        &mut self,
        read: impl FnOnce(&mut Parser<'a>) -> Result<T, ParserError>,
    ) -> Result<T> {
        match read(&mut self.parser) {
            Ok(value) => Ok(value),
            Err(error) => Err(self.parser_error(&error)),
        }
    }

    /// Tries to read something; back to where it began if that fails. For a few tokens only.
    pub(super) fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Option<T> {
        let before = self.parser.index();
        match read(self) {
            Ok(value) => Some(value),
            Err(_) => {
                while self.parser.index() > before {
                    self.parser.prev_token();
                }
                None
            }
        }
    }

    /// Skips to the end: for statements that are answered whatever they say.
    pub(super) fn skip_rest(&mut self) {
        while !self.at_end() {
            self.parser.advance_token();
        }
    }

    /// Where the next token begins, in characters from 1.
    pub(super) fn position(&self) -> usize {
        self.place(self.parser.peek_token_ref()).chars + 1
    }

    /// Where the next token begins, in bytes.
    pub(super) fn byte(&self) -> usize {
        self.place(self.parser.peek_token_ref()).byte
    }

    /// The text from a byte to the end of the last token read.
    pub(super) fn text_since(&self, from: usize) -> String {
        let last = match self.parser.index() {
            0 => self.start,
            _ => self.start.forward(self.sql, self.parser.get_current_token().span.end),
        };
        let to = if self.at_end() { self.end.byte } else { last.byte };
        self.sql.get(from..to).unwrap_or_default().trim_end().to_owned()
    }

    /// The whole statement.
    pub(super) fn text(&self) -> String {
        self.sql.get(self.start.byte..self.end.byte).unwrap_or_default().to_owned()
    }

    /// The syntax error at the next token.
    pub(super) fn unexpected(&self) -> Error {
        self.error_at(self.parser.peek_token_ref())
    }

    /// Fails unless the statement is at its end.
    pub(super) fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    fn place(&self, token: &TokenWithSpan) -> TextPosition {
        match token.token {
            Token::EOF => self.end,
            _ => self.start.forward(self.sql, token.span.start),
        }
    }

    fn error_at(&self, token: &TokenWithSpan) -> Error {
        match token.token {
            Token::EOF => self.end_of_input(),
            _ => {
                let place = self.place(token);
                let end = place.forward(self.sql, token.span.end);
                self.near(place, end)
            }
        }
    }

    fn end_of_input(&self) -> Error {
        let message = if self.semicolon {
            "syntax error at or near \";\""
        } else {
            "syntax error at end of input"
        };
        Error::new(SqlState::Syntax, message).at(self.end.chars + 1)
    }

    fn near(&self, place: TextPosition, end: TextPosition) -> Error {
        let text: String =
            self.sql.get(place.byte..end.byte).unwrap_or_default().chars().take(100).collect();
        Error::new(SqlState::Syntax, format!("syntax error at or near \"{text}\""))
            .at(place.chars + 1)
    }

    /// Translates sqlparser's "Expected: X, found: Y at Line: 1, Column: 8".
    fn parser_error(&self, error: &ParserError) -> Error {
        let text = match error {
            ParserError::RecursionLimitExceeded => return too_complex(),
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
        };
        let (what, location) = match text.rfind(" at Line: ") {
            Some(at) => (&text[..at], location(&text[at..])),
            None => (text.as_str(), None),
        };
        let expected =
            what.strip_prefix("Expected: ").and_then(|rest| rest.rsplit_once(", found: "));
        let error = match location {
            Some(location) if location.line > 0 => {
                let place = self.start.forward(self.sql, location);
                match self.token_at(location) {
                    Some(token) => self.near(place, place.forward(self.sql, token.span.end)),
                    None => self.end_of_input(),
                }
            }
            _ if matches!(expected, Some((_, "EOF"))) => self.end_of_input(),
            _ => self.unexpected(),
        };
        match expected {
            Some((expected, _)) => error.hint(format!("Expected {expected}.")),
            None => error.detail(what.to_owned()),
        }
    }

    fn token_at(&self, location: Location) -> Option<TokenWithSpan> {
        // The parser stands near the place: look back from it first, then ahead.
        let here = self.parser.index();
        (0..=here)
            .rev()
            .map(|at| self.parser.token_at(at))
            .chain((0..64).map(|n| self.parser.peek_nth_token_ref(n)))
            .find(|token| token.span.start == location && token.token != Token::EOF)
            .cloned()
    }
}

/// Reads one thing that is not a whole statement.
pub(super) fn parse_one<T>(sql: &str, read: impl FnOnce(&mut Reader) -> Result<T>) -> Result<T> {
    let mut pieces = split(sql)?.into_iter();
    let (Some(piece), None) = (pieces.next(), pieces.next()) else {
        return Err(Error::new(SqlState::Syntax, "syntax error at end of input").at(1));
    };
    let dialect = TidemillDialect::for_tokens(piece.tokens.len());
    let mut r = Reader::new(sql, piece, &dialect)?;
    let value = read(&mut r)?;
    r.expect_end()?;
    Ok(value)
}

fn location(text: &str) -> Option<Location> {
    let (line, column) = text.strip_prefix(" at Line: ")?.split_once(", Column: ")?;
    Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?))
}
