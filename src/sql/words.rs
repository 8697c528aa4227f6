//! Words among tokens.

use datafusion::sql::sqlparser::tokenizer::Token;

/// Is this token the unquoted word?
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}
