//! What PostgreSQL's grammar has and sqlparser's lacks, in tokens that it reads:
//!
//! - `(VALUES …)` where a value is wanted: `(SELECT * FROM (VALUES …) AS "*VALUES*")`.
//! - `x BETWEEN SYMMETRIC a AND b`: `x BETWEEN "symmetric"(a) AND b`, of which [`either_way`] makes what
//!   it means; ASYMMETRIC is what BETWEEN is anyway.
//! - `x IN ((SELECT …), …)`, whose first element is taken for a query: `x IN ((CASE WHEN true THEN (SELECT …)
//!   END), …)`.
//! - `(t).*`, all columns of a relation's row: `t.*`.
//! - `EXCLUDE NO OTHERS` in the frame of a window, which is how it is anyway.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::words::is_word;
use crate::error::{Error, Result};

/// No name that can be written.
const SYMMETRIC: &str = "\u{1}symmetric";

/// Words and signs behind which a parenthesis holds a value, beside operators.
const BEFORE_VALUES: [&str; 15] = [
    "select", "any", "some", "all", "and", "or", "not", "when", "then", "else", "case", "where",
    "having", "on", "by",
];

/// What has been opened and is not closed yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unclosed {
    Parenthesis,
    Values,
    /// A query as the first element of a list behind IN.
    Element,
    /// The first bound of BETWEEN SYMMETRIC.
    Bound,
    Case,
}

/// The tokens with all of that in sqlparser's words.
pub(super) fn filled(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let tokens = with_bare_rows(tokens);
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut open = Vec::new();
    let is = |at: usize, word| tokens.get(at).is_some_and(|next| is_word(&next.token, word));
    let mut at = 0;
    while at < tokens.len() {
        let TokenWithSpan { token, span } = tokens[at].clone();
        let mut push = |tokens: Vec<Token>| {
            out.extend(tokens.into_iter().map(|token| TokenWithSpan::new(token, span)));
        };
        let follows_between = at > 0 && is(at - 1, "between");
        match token {
            Token::LParen if is(at + 1, "values") && is_value(&tokens[..at]) => {
                open.push(Unclosed::Values);
                let words = ["SELECT", "FROM"].map(Token::make_keyword);
                let [select, from] = words;
                push(vec![Token::LParen, select, Token::Mul, from, Token::LParen]);
            }
            Token::LParen if is_first_element(&tokens, at) => {
                open.push(Unclosed::Element);
                let words = ["CASE", "WHEN", "TRUE", "THEN"].map(Token::make_keyword);
                push([vec![Token::LParen], words.to_vec(), vec![Token::LParen]].concat());
            }
            Token::LParen => {
                open.push(Unclosed::Parenthesis);
                push(vec![Token::LParen]);
            }
            Token::RParen => {
                let inner = |kind: &Unclosed| matches!(kind, Unclosed::Bound | Unclosed::Case);
                while open.last().is_some_and(inner) {
                    open.pop();
                }
                push(vec![Token::RParen]);
                match open.pop() {
                    Some(Unclosed::Values) => {
                        let name = Token::make_word("*VALUES*", Some('"'));
                        push(vec![Token::make_keyword("AS"), name, Token::RParen]);
                    }
                    Some(Unclosed::Element) => {
                        push(vec![Token::make_keyword("END"), Token::RParen])
                    }
                    _ => {}
                }
            }
            _ if follows_between && is(at, "asymmetric") => {}
            _ if follows_between && is(at, "symmetric") => {
                open.push(Unclosed::Bound);
                push(vec![Token::make_word(SYMMETRIC, Some('"')), Token::LParen]);
            }
            token if is(at, "and") && open.last() == Some(&Unclosed::Bound) => {
                open.pop();
                push(vec![Token::RParen, token]);
            }
            _ if ends_frame(&tokens, at) && is(at + 1, "no") && is(at + 2, "others") => at += 2,
            token => {
                if is(at, "case") && open.contains(&Unclosed::Bound) {
                    open.push(Unclosed::Case);
                } else if is(at, "end") && open.last() == Some(&Unclosed::Case) {
                    open.pop();
                }
                push(vec![token]);
            }
        }
        at += 1;
    }
    out
}

/// The tokens with `(t).*` as `t.*`.
fn with_bare_rows(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut is_dropped = vec![false; tokens.len()];
    for at in (0..tokens.len()).filter(|at| is_row_in_parentheses(&tokens, *at)) {
        (is_dropped[at], is_dropped[at + 2]) = (true, true);
    }
    let kept = tokens.into_iter().zip(is_dropped).filter(|(_, is_dropped)| !is_dropped);
    kept.map(|(token, _)| token).collect()
}

/// Whether `(t).*` begins there, as an item of a list.
fn is_row_in_parentheses(tokens: &[TokenWithSpan], at: usize) -> bool {
    if tokens[at].token != Token::LParen {
        return false;
    }
    let before = at.checked_sub(1).map(|before| &tokens[before].token);
    let is_item = before.is_some_and(|token| {
        *token == Token::Comma
            || ["select", "distinct", "all", "returning"].iter().any(|word| is_word(token, word))
    });
    let mut next = tokens.iter().skip(at + 1).map(|next| &next.token);
    is_item
        && matches!(next.next(), Some(Token::Word(_)))
        && next.take(3).eq(&[Token::RParen, Token::Period, Token::Mul])
}

/// Whether a parenthesis behind these tokens holds a value, and not a relation or a query of its own.
fn is_value(before: &[TokenWithSpan]) -> bool {
    let is = |back: usize, words: &[&str]| {
        let token = before.len().checked_sub(back).map(|at| &before[at].token);
        token.is_some_and(|token| words.iter().any(|word| is_word(token, word)))
    };
    match before.last().map(|last| &last.token) {
        None | Some(Token::RParen | Token::SemiColon) => false,
        Some(Token::Word(_)) => {
            is(1, &BEFORE_VALUES) && !(is(1, &["all"]) && is(2, &["union", "except", "intersect"]))
        }
        Some(_) => true,
    }
}

/// Whether the parenthesis at `at` holds a query that is the first of several elements behind IN.
fn is_first_element(tokens: &[TokenWithSpan], at: usize) -> bool {
    let is = |at: Option<usize>, word| {
        at.and_then(|at| tokens.get(at)).is_some_and(|next| is_word(&next.token, word))
    };
    let inner = tokens.iter().skip(at).position(|next| next.token != Token::LParen);
    let begins = inner.map(|inner| at + inner);
    let is_behind_in = at >= 1
        && matches!(tokens[at - 1].token, Token::LParen)
        && is(at.checked_sub(2), "in")
        && (is(begins, "select") || is(begins, "with"));
    if !is_behind_in {
        return false;
    }
    let mut depth = 0_usize;
    for (place, next) in tokens.iter().enumerate().skip(at) {
        match next.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return tokens.get(place + 1).is_some_and(|next| next.token == Token::Comma);
        }
    }
    false
}

/// Whether the word at `at` is EXCLUDE behind the bounds of a frame.
fn ends_frame(tokens: &[TokenWithSpan], at: usize) -> bool {
    let bounds = ["row", "preceding", "following"];
    let before = at.checked_sub(1).map(|before| &tokens[before].token);
    is_word(&tokens[at].token, "exclude")
        && before.is_some_and(|token| bounds.iter().any(|word| is_word(token, word)))
}

/// Refuses frames that leave rows out.
///
/// # Errors
/// 0A000 for EXCLUDE CURRENT ROW, EXCLUDE GROUP and EXCLUDE TIES.
pub(super) fn check_frames(tokens: &[TokenWithSpan]) -> Result<()> {
    let is = |at: usize, word| tokens.get(at).is_some_and(|next| is_word(&next.token, word));
    for at in (0..tokens.len()).filter(|at| ends_frame(tokens, *at)) {
        let what = match () {
            () if is(at + 1, "current") && is(at + 2, "row") => "EXCLUDE CURRENT ROW",
            () if is(at + 1, "group") => "EXCLUDE GROUP",
            () if is(at + 1, "ties") => "EXCLUDE TIES",
            () => continue,
        };
        return Err(Error::unsupported(format!("{what} in a window frame is not supported"))
            .hint("Compute it over the whole frame and take the row's own part away, or join the relation with itself."));
    }
    Ok(())
}

/// `x BETWEEN SYMMETRIC a AND b` is `x BETWEEN a AND b OR x BETWEEN b AND a`.
pub(super) fn either_way(expr: &mut Expr) {
    let Expr::Between { expr: x, negated, low, high } = expr else { return };
    let Expr::Function(call) = low.as_mut() else { return };
    let is_it = call.name.0.last().and_then(|part| part.as_ident());
    if is_it.is_none_or(|name| name.value != SYMMETRIC) {
        return;
    }
    let FunctionArguments::List(list) = &mut call.args else { return };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(bound))) = list.args.pop() else { return };
    let bound = Box::new(Expr::Nested(Box::new(bound)));
    let high = Box::new(Expr::Nested(std::mem::replace(high, Box::new(Expr::value(Value::Null)))));
    let negated = *negated;
    let between = |low: &Expr, high: &Expr| {
        let (expr, low, high) = (x.clone(), Box::new(low.clone()), Box::new(high.clone()));
        Box::new(Expr::Between { expr, negated, low, high })
    };
    let op = if negated { BinaryOperator::And } else { BinaryOperator::Or };
    let (left, right) = (between(&bound, &high), between(&high, &bound));
    *expr = Expr::Nested(Box::new(Expr::BinaryOp { left, op, right }));
}
