//! Calls whose arguments have words between them, in the spelling that sqlparser reads:
//!
//! - `TRIM(LEADING FROM a, b)`, `TRIM(LEADING a, b)`: `ltrim(a, b)`; without FROM, TRAILING is
//!   `rtrim`, and BOTH or nothing `btrim`.
//! - `SUBSTRING(a SIMILAR b ESCAPE c)`: `SUBSTRING(a FROM b FOR c)`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::words::is_word;

/// An open parenthesis.
enum OpenCall {
    Other,
    Substring,
    /// Of a TRIM: where the name is, the function for its word, and the words that go, if they do.
    Trim {
        name: usize,
        function: &'static str,
        behind: usize,
        has_from: bool,
    },
}

/// The tokens with such calls rewritten.
pub(super) fn plain_calls(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut dropped = Vec::new();
    let mut open = Vec::new();
    for at in 0..tokens.len() {
        match (&tokens[at].token, open.last_mut()) {
            (Token::LParen, _) => open.push(opened(&tokens, at)),
            (Token::RParen, _) => {
                if let Some(OpenCall::Trim { name, function, behind, has_from: false }) = open.pop()
                    && behind > name + 2
                {
                    tokens[name].token = Token::make_word(function, None);
                    dropped.extend(name + 2..behind);
                }
            }
            (token, Some(OpenCall::Trim { name, function, behind, has_from }))
                if is_word(token, "from") && !*has_from =>
            {
                *has_from = true;
                let is_empty = tokens.get(at + 1).is_none_or(|next| next.token == Token::RParen);
                if at == *behind && !is_empty {
                    dropped.extend(*name + 2..=at);
                    let name = *name;
                    tokens[name].token = Token::make_word(function, None);
                }
            }
            (token, Some(OpenCall::Substring))
                if is_word(token, "similar")
                    && !tokens.get(at + 1).is_some_and(|next| is_word(&next.token, "to")) =>
            {
                tokens[at].token = Token::make_keyword("FROM");
            }
            (token, Some(OpenCall::Substring)) if is_word(token, "escape") => {
                tokens[at].token = Token::make_keyword("FOR");
            }
            _ => {}
        }
    }
    if dropped.is_empty() {
        return tokens;
    }
    dropped.sort_unstable();
    let stays = |at: &usize| dropped.binary_search(at).is_err();
    tokens.into_iter().enumerate().filter(|(at, _)| stays(at)).map(|(_, token)| token).collect()
}

/// What the parenthesis at `at` belongs to.
fn opened(tokens: &[TokenWithSpan], at: usize) -> OpenCall {
    let is = |at: usize, word| tokens.get(at).is_some_and(|token| is_word(&token.token, word));
    let Some(name) = at.checked_sub(1) else { return OpenCall::Other };
    if is(name, "substring") {
        return OpenCall::Substring;
    }
    if !is(name, "trim") {
        return OpenCall::Other;
    }
    let places = [("leading", "ltrim"), ("trailing", "rtrim"), ("both", "btrim")];
    let place = places.into_iter().find(|(word, _)| is(at + 1, word));
    let function = place.map_or("btrim", |(_, function)| function);
    OpenCall::Trim { name, function, behind: at + 1 + place.iter().count(), has_from: false }
}
