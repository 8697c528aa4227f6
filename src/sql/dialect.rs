//! The dialect: PostgreSQL's lexis and precedences, with the few differences that streaming needs.
//!
//! It reports PostgreSQL's type id, so that everything sqlparser knows about Postgres applies. Three
//! things differ on purpose. Names may stand in backquotes, as Flink writes them: to PostgreSQL that
//! is a character of operators, of which none has it. A function argument's name is an identifier and not any expression:
//! with expressions sqlparser parses each argument twice, so that nested calls cost two to the
//! power of their depth. And every expression spends a step of a budget, since sqlparser also
//! backtracks elsewhere (a parenthesis in FROM is first tried as a subquery, then as a join); the
//! budget ends such a search with the error that backtracking does not swallow.

use std::any::TypeId;
use std::cell::Cell;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// Steps that a statement may take whatever its length; each token adds [`STEPS_PER_TOKEN`].
const STEPS: u64 = 100_000;
const STEPS_PER_TOKEN: u64 = 64;

/// PostgreSQL's dialect with EMIT as a clause and a bound on the work of parsing.
#[derive(Debug)]
pub(super) struct TidemillDialect {
    steps: Cell<u64>,
}

impl TidemillDialect {
    /// A dialect to parse one statement of so many tokens.
    pub(super) fn for_tokens(tokens: usize) -> Self {
        TidemillDialect { steps: Cell::new(STEPS + STEPS_PER_TOKEN * tokens as u64) }
    }
}

/// Methods answered as PostgreSQL's dialect answers them.
macro_rules! same_as_postgres {
    ($($name:ident)*) => { $(fn $name(&self) -> bool { POSTGRES.$name() })* };
}

impl Dialect for TidemillDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, _parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        match self.steps.get().checked_sub(1) {
            Some(left) => {
                self.steps.set(left);
                None
            }
            None => Some(Err(ParserError::RecursionLimitExceeded)),
        }
    }

    fn is_select_item_alias(&self, explicit: bool, kw: &Keyword, parser: &mut Parser) -> bool {
        explicit || !begins_emit(parser) && POSTGRES.is_select_item_alias(explicit, kw, parser)
    }

    fn is_table_factor_alias(&self, explicit: bool, kw: &Keyword, parser: &mut Parser) -> bool {
        explicit || !begins_emit(parser) && POSTGRES.is_table_factor_alias(explicit, kw, parser)
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }

    /// Backquotes are Flink's.
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`' || POSTGRES.is_delimited_identifier_start(ch)
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        ch != '`' && POSTGRES.is_custom_operator_part(ch)
    }

    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(kw)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        if is_word(&parser.peek_token_ref().token, &["ISNULL"]) {
            return Some(Ok(POSTGRES.prec_value(Precedence::Is)));
        }
        POSTGRES.get_next_precedence(parser)
    }

    /// `x ISNULL`, which sqlparser does not know, and `x IS DISTINCT FROM y AND z`, of which it takes `y AND z`
    /// for what `x` is compared with.
    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        use Keyword::{DISTINCT, FROM, IS, NOT};
        if is_word(&parser.peek_token_ref().token, &["ISNULL"]) {
            parser.next_token();
            return Some(Ok(Expr::IsNull(Box::new(expr.clone()))));
        }
        let compared = if parser.parse_keywords(&[IS, DISTINCT, FROM]) {
            Expr::IsDistinctFrom
        } else if parser.parse_keywords(&[IS, NOT, DISTINCT, FROM]) {
            Expr::IsNotDistinctFrom
        } else {
            return None;
        };
        let other = parser.parse_subexpr(self.prec_value(Precedence::Is));
        Some(other.map(|other| compared(Box::new(expr.clone()), Box::new(other))))
    }

    fn prec_value(&self, prec: Precedence) -> u8 {
        POSTGRES.prec_value(prec)
    }

    fn supports_named_fn_args_with_assignment_operator(&self) -> bool {
        true
    }

    fn supports_string_literal_concatenation_with_newline(&self) -> bool {
        false // white space is dropped before parsing
    }

    same_as_postgres! {
        supports_unicode_string_literal
        supports_filter_during_aggregation
        supports_group_by_expr
        allow_extract_custom
        allow_extract_single_quotes
        supports_factorial_operator
        supports_bitwise_shift_operators
        supports_empty_projections
        supports_nested_comments
        supports_string_escape_constant
        supports_numeric_literal_underscores
        supports_array_typedef_with_brackets
        supports_geometric_types
        supports_notnull_operator
        supports_interval_options
        supports_insert_table_alias
        supports_select_wildcard_with_alias
        supports_comma_separated_trim
    }
}

/// Is the word just taken the EMIT of a clause, and not somebody's alias? At the end of a statement
/// it is a clause that was not finished.
fn begins_emit(parser: &Parser) -> bool {
    is_word(&parser.get_current_token().token, &["EMIT"])
        && (is_word(&parser.peek_token_ref().token, &["ON", "CHANGES", "FINAL"])
            || matches!(parser.peek_token_ref().token, Token::EOF | Token::SemiColon))
}

fn is_word(token: &Token, words: &[&str]) -> bool {
    match token {
        Token::Word(w) => {
            w.quote_style.is_none() && words.iter().any(|word| w.value.eq_ignore_ascii_case(word))
        }
        _ => false,
    }
}
