//! How much a statement may ask of those who recurse over it, counted on its tokens before anything
//! recurses.
//!
//! What counts is depth. Parentheses, brackets and CASE nest ([`limits::STATEMENT_DEPTH`]).
//! Operators chain to the left, so a chain of n operators is a tree n deep, and DataFusion plans it
//! in n² time ([`limits::EXPRESSION_CHAIN`]). AND and OR chains are balanced after parsing and may
//! be longer ([`limits::STATEMENT_TERMS`]). Commas end a chain: literals in IN lists and VALUES are
//! not counted.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, Result, SqlState};
use crate::limits;

/// Operators of the expression being read, in one pair of parentheses.
#[derive(Default, Clone, Copy)]
struct Chain {
    /// Operators since the last AND, OR, comma or clause.
    operators: usize,
    /// The most that `operators` has been.
    longest: usize,
    /// ANDs and ORs since the last comma or clause.
    terms: usize,
    /// The most that `terms` has been.
    most_terms: usize,
    /// BETWEENs whose AND is still to come.
    between: usize,
    /// CASEs without END.
    cases: usize,
    /// Did the parenthesis that opened this double the work of parsing?
    doubles: bool,
}

/// How often the work of parsing may double. A parenthesis in FROM is first read as a subquery and
/// then as a join, so that `FROM ((SELECT … FROM ((SELECT …` with a mistake inside is read again
/// and again.
const DOUBLINGS: usize = 10;

/// Counts over one statement.
#[derive(Default)]
struct Count {
    chains: Vec<Chain>,
    current: Chain,
    /// Opening angle brackets of array and struct types.
    angles: usize,
    cases: usize,
    /// Joins and set operations, over the whole statement.
    relations: usize,
    /// Parentheses in a row, if they stand where a relation may.
    run: usize,
    /// Open parentheses that double the work of parsing.
    doublings: usize,
    /// The sum of squares of chains: what planning costs.
    work: usize,
}

/// 54001 if the statement is too deep or too long for whoever comes next.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut count = Count::default();
    let mut previous = &Token::EOF;
    for token in tokens {
        count.token(&token.token, previous)?;
        previous = &token.token;
    }
    count.end_chain()
}

/// The error for everything that is over a limit.
pub(super) fn too_complex() -> Error {
    Error::new(SqlState::TooComplex, "statement is too complex").hint(
        "Split the statement, use IN (…) or a join with a VALUES list in place of many conditions, or a WITH query in \
         place of deep nesting.",
    )
}

impl Count {
    fn token(&mut self, token: &Token, previous: &Token) -> Result<()> {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                // A subscript hangs on what is before it: x[1][2] is a chain.
                if matches!(token, Token::LBracket) {
                    self.operator()?;
                }
                self.chains.push(std::mem::take(&mut self.current));
                self.current.doubles = self.doubles(previous);
                self.doublings += usize::from(self.current.doubles);
                if self.doublings > DOUBLINGS {
                    return Err(too_complex());
                }
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                self.end_chain()?;
                let inner = self.current;
                self.cases = self.cases.saturating_sub(inner.cases);
                self.doublings -= usize::from(inner.doubles && self.doublings > 0);
                self.current = self.chains.pop().unwrap_or_default();
                self.current.operators += inner.longest;
                self.current.terms += inner.most_terms;
            }
            Token::Comma | Token::SemiColon => self.end_chain()?,
            Token::Word(word) if word.quote_style.is_none() => self.word(word.keyword)?,
            Token::Lt if is_type_with_parameters(previous) => self.angles += 1,
            Token::Gt if self.angles > 0 => self.angles -= 1,
            Token::ShiftRight if self.angles > 0 => self.angles = self.angles.saturating_sub(2),
            Token::Word(_) | Token::Period | Token::Whitespace(_) | Token::EOF => {}
            other if is_literal(other) => {}
            _ => self.operator()?,
        }
        let depth = self.chains.len() + self.angles + self.cases;
        if depth > limits::STATEMENT_DEPTH || self.current.terms > limits::STATEMENT_TERMS {
            Err(too_complex())
        } else {
            Ok(())
        }
    }

    fn doubles(&mut self, previous: &Token) -> bool {
        self.run = match previous {
            Token::LParen if self.run > 0 => self.run + 1,
            Token::Comma => 1,
            Token::Word(w)
                if matches!(w.keyword, Keyword::FROM | Keyword::JOIN | Keyword::USING) =>
            {
                1
            }
            _ => 0,
        };
        self.run >= 2 && self.run.is_power_of_two()
    }

    /// One more that is joined or united.
    fn relation(&mut self) -> Result<()> {
        self.relations += 1;
        if self.relations > limits::EXPRESSION_CHAIN {
            Err(too_complex())
        } else {
            self.end_chain()
        }
    }

    fn word(&mut self, keyword: Keyword) -> Result<()> {
        match keyword {
            Keyword::BETWEEN => {
                self.current.between += 1;
                self.operator()
            }
            Keyword::AND if self.current.between > 0 => {
                self.current.between -= 1;
                Ok(())
            }
            Keyword::AND | Keyword::OR => {
                self.end_operators()?;
                self.current.terms += 1;
                Ok(())
            }
            Keyword::CASE => {
                self.cases += 1;
                self.current.cases += 1;
                Ok(())
            }
            Keyword::END => {
                self.cases = self.cases.saturating_sub(1);
                self.current.cases = self.current.cases.saturating_sub(1);
                Ok(())
            }
            Keyword::JOIN
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::MINUS => self.relation(),
            Keyword::SELECT
            | Keyword::FROM
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::ON
            | Keyword::VALUES => self.end_chain(),
            // Within a CASE the branches are side by side.
            Keyword::WHEN | Keyword::THEN | Keyword::ELSE if self.current.cases > 0 => {
                self.end_operators()
            }
            Keyword::IS
            | Keyword::NOTNULL
            | Keyword::NOT
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::SIMILAR
            | Keyword::IN
            | Keyword::COLLATE
            | Keyword::AT
            | Keyword::OPERATOR
            | Keyword::OVERLAPS
            | Keyword::XOR
            | Keyword::DIV
            | Keyword::MOD
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::PRIOR
            | Keyword::EXPLAIN
            | Keyword::INTERVAL => self.operator(),
            // Any other word is a name or a part of a clause.
            _ => Ok(()),
        }
    }

    fn operator(&mut self) -> Result<()> {
        self.current.operators += 1;
        if self.current.operators > limits::EXPRESSION_CHAIN { Err(too_complex()) } else { Ok(()) }
    }

    /// AND, OR: the operators up to here are a subtree.
    fn end_operators(&mut self) -> Result<()> {
        let operators = std::mem::take(&mut self.current.operators);
        self.current.longest = self.current.longest.max(operators);
        if operators > 8 {
            self.work += operators * operators;
        }
        if operators > limits::EXPRESSION_CHAIN || self.work > limits::EXPRESSION_WORK {
            Err(too_complex())
        } else {
            Ok(())
        }
    }

    /// A comma or a new clause: the expression up to here is done.
    fn end_chain(&mut self) -> Result<()> {
        self.end_operators()?;
        self.current.between = 0;
        let terms = std::mem::take(&mut self.current.terms);
        self.current.most_terms = self.current.most_terms.max(terms);
        if terms > limits::STATEMENT_TERMS { Err(too_complex()) } else { Ok(()) }
    }
}

/// ARRAY<, STRUCT<, ROW<, MAP<: the angle bracket opens a type.
fn is_type_with_parameters(token: &Token) -> bool {
    match token {
        Token::Word(w) => ["array", "struct", "row", "map", "multiset"]
            .iter()
            .any(|t| w.value.eq_ignore_ascii_case(t)),
        _ => false,
    }
}

fn is_literal(token: &Token) -> bool {
    matches!(
        token,
        Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_)
    )
}
