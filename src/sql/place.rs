//! Where in a statement's text a name stands that an error complains of.
//!
//! The planner's errors know names, not places. A name is looked for among the tokens, so that
//! neither strings nor comments are taken for it, and by what stands around it: a function before a
//! parenthesis, a relation where relations stand.

use datafusion::sql::sqlparser::keywords::{
    ALL_KEYWORDS, ALL_KEYWORDS_INDEX, RESERVED_FOR_COLUMN_ALIAS,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::text::{TextPosition, split};

/// What kind of thing a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A column, perhaps with its relation before it.
    Column,
    /// A relation, perhaps with its schema before it.
    Relation,
    /// A relation before the name of a column.
    Qualifier,
    /// A function.
    Function,
}

/// Words that a relation's name follows.
const BEFORE_RELATIONS: [&str; 8] =
    ["FROM", "JOIN", "INTO", "UPDATE", "TABLE", "ONLY", "USING", "COPY"];

/// Words that no column follows as an expression: what stands there is another kind of name.
const BEFORE_OTHERS: [&str; 2] = ["AS", "INTO"];

/// The offset of the first place where a name stands as that kind of thing: 1-based, in characters.
pub fn place_of(sql: &str, name: &str, named: NameKind) -> Option<usize> {
    let wanted: Vec<&str> = name.split('.').collect();
    let pieces = split(sql).ok()?;
    let mut fallback = None;
    for piece in &pieces {
        let tokens = &piece.tokens;
        for at in 0..tokens.len() {
            if !stands_at(tokens, at, &wanted) {
                continue;
            }
            let before = at.checked_sub(1).map(|before| &tokens[before].token);
            let behind = tokens.get(at + wanted.len() * 2 - 1).map(|token| &token.token);
            let is_member = matches!(before, Some(Token::Period));
            let fits = match named {
                NameKind::Column => {
                    let other = BEFORE_OTHERS
                        .iter()
                        .chain(&BEFORE_RELATIONS)
                        .any(|word| is_word(before, word));
                    !other && !matches!(behind, Some(Token::LParen | Token::Period))
                }
                NameKind::Function => matches!(behind, Some(Token::LParen)),
                NameKind::Qualifier => matches!(behind, Some(Token::Period)) && !is_member,
                NameKind::Relation => BEFORE_RELATIONS.iter().any(|word| is_word(before, word)),
            };
            let start = if is_member { at.saturating_sub(2) } else { at };
            let place = || TextPosition::START.forward(sql, tokens[start].span.start).chars + 1;
            if fits {
                return Some(place());
            }
            // In a list of relations, or behind a word that this page does not know.
            if named == NameKind::Relation
                && !is_member
                && fallback.is_none()
                && !matches!(behind, Some(Token::Period))
            {
                fallback = Some(place());
            }
        }
    }
    fallback
}

/// The words that SQL has, and whether each is reserved.
pub fn keywords() -> impl Iterator<Item = (&'static str, bool)> {
    let words = ALL_KEYWORDS.iter().zip(ALL_KEYWORDS_INDEX);
    words.map(|(word, keyword)| (*word, RESERVED_FOR_COLUMN_ALIAS.contains(keyword)))
}

fn is_word(token: Option<&Token>, wanted: &str) -> bool {
    matches!(token, Some(Token::Word(word)) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

/// Whether the parts of a name stand there with points between them.
fn stands_at(tokens: &[TokenWithSpan], at: usize, wanted: &[&str]) -> bool {
    wanted.iter().enumerate().all(|(n, part)| {
        let is_joined = n == 0
            || matches!(
                tokens.get(at + 2 * n - 1),
                Some(TokenWithSpan { token: Token::Period, .. })
            );
        let token = tokens.get(at + 2 * n).map(|token| &token.token);
        is_joined
            && match token {
                Some(Token::Word(word)) if word.quote_style.is_some() => word.value == *part,
                Some(Token::Word(word)) => word.value.to_lowercase() == *part,
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_where_it_stands_as_what_it_is() {
        let check = |sql: &str, name: &str, named: NameKind, expect: Option<&str>| {
            let found = place_of(sql, name, named);
            let rest = found.map(|at| sql.chars().skip(at - 1).collect::<String>());
            assert_eq!(rest.as_deref(), expect, "{sql}");
        };
        check(
            "SELECT v, 'x' AS x /* x */ FROM t WHERE x > 1",
            "x",
            NameKind::Column,
            Some("x > 1"),
        );
        check("SELECT 'ä', s.x FROM s", "s.x", NameKind::Column, Some("s.x FROM s"));
        check("SELECT s.x FROM s", "x", NameKind::Column, Some("s.x FROM s"));
        check("SELECT t FROM a JOIN t ON true", "t", NameKind::Relation, Some("t ON true"));
        check("SELECT 1 FROM a, t", "t", NameKind::Relation, Some("t"));
        check("SELECT 1 FROM \"T\" WHERE t.b = 1", "t", NameKind::Qualifier, Some("t.b = 1"));
        check("SELECT f, f (1)", "f", NameKind::Function, Some("f (1)"));
        check("SELECT X FROM t", "x", NameKind::Column, Some("X FROM t"));
        check("SELECT 'x'", "x", NameKind::Column, None);
    }
}
