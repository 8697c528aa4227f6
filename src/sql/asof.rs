//! `a ASOF [LEFT] JOIN b ON …`: to each row of a that of b which was the last before it.
//!
//! sqlparser reads Snowflake's form alone, so the others are brought into that, with a sign of their own
//! for a condition; the tree then says a join like any, whose condition is the argument of [`ASOF`]:
//!
//! ```text
//!  a ASOF LEFT JOIN b ON a.k = b.k AND a.t >= b.t       a LEFT JOIN b ON "asof"(a.k = b.k AND a.t >= b.t)
//!  a ASOF JOIN b USING (k, t)                       ─▶  a JOIN b USING (k, t, "asof")
//!  a ASOF JOIN b MATCH_CONDITION (a.t >= b.t) ON …      a LEFT JOIN b ON "asof"(… AND a.t >= b.t)
//! ```
//! The last column of USING is the one that need not be equal; in Snowflake's form every row of a stays.
//! What the condition means is said by `postgres/coercion/asof.rs`.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, JoinConstraint, JoinOperator, ObjectName, Select, TableFactor,
    TableWithJoins,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tree::{binary, function_call, quoted};
use super::words::is_word;
use crate::error::{Error, Result, SqlState};

/// The function that the condition is an argument of; in USING behind the columns. No name that can be
/// written.
pub const ASOF: &str = "\u{1}asof";

/// Kinds of joins, and which sign says so to sqlparser.
const KINDS: [(&str, &str); 5] = [
    ("join", "\u{1}inner"),
    ("inner", "\u{1}inner"),
    ("left", "\u{1}left"),
    ("right", "\u{1}right"),
    ("full", "\u{1}full"),
];

/// Words behind which a name stands.
const BEFORE_NAMES: [&str; 8] =
    ["from", "join", "as", "using", "update", "into", "only", "lateral"];

/// The tokens with all ASOF joins in sqlparser's form.
pub(super) fn in_one_form(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    // Joins without their condition yet: how deep in parentheses, and their sign.
    let mut open: Vec<(usize, &str)> = Vec::new();
    let (mut depth, mut at) = (0usize, 0);
    while at < tokens.len() {
        let token = &tokens[at];
        let is = |word| is_word(&token.token, word);
        let sign = open.last().filter(|(of, _)| *of == depth).map(|(_, sign)| *sign);
        match (&token.token, sign) {
            (Token::LParen, _) => depth += 1,
            (Token::RParen, _) => {
                depth = depth.saturating_sub(1);
                while open.last().is_some_and(|(of, _)| *of > depth) {
                    open.pop();
                }
            }
            (_, Some(sign)) if is("on") || is("using") => {
                open.pop();
                let name = Token::make_word(sign, Some('"'));
                let words = [Token::make_keyword("MATCH_CONDITION"), Token::LParen, name];
                let words = words.into_iter().chain([Token::RParen]);
                out.extend(words.map(|word| TokenWithSpan::new(word, token.span)));
            }
            (_, Some(_)) if is("match_condition") || is("join") => drop(open.pop()),
            _ => {}
        }
        out.push(token.clone());
        at += 1;
        if let Some((join, sign)) = begins(&tokens, at - 1) {
            open.push((depth, sign));
            out.push(tokens[join].clone());
            at = join + 1;
        }
    }
    out
}

/// Where the JOIN of an ASOF at `at` is, and the sign of its kind.
fn begins(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, &'static str)> {
    let is = |at: usize, word| tokens.get(at).is_some_and(|next| is_word(&next.token, word));
    let before = at.checked_sub(1)?;
    let is_name = match &tokens[before].token {
        Token::Comma | Token::LParen | Token::Period => true,
        _ => BEFORE_NAMES.iter().any(|word| is(before, word)),
    };
    if !is(at, "asof") || is_name {
        return None;
    }
    let (word, sign) = KINDS.into_iter().find(|(word, _)| is(at + 1, word))?;
    let join = match word {
        "join" => at + 1,
        _ => at + 2 + usize::from(word != "inner" && is(at + 2, "outer")),
    };
    is(join, "join").then_some((join, sign))
}

/// Rewrites the ASOF joins in FROM.
///
/// # Errors
/// 42601 for one without a condition, 0A000 for RIGHT and FULL.
pub(super) fn rewrite(select: &mut Select) -> Result<()> {
    select.from.iter_mut().try_for_each(of_item)
}

/// The same in parentheses.
pub(super) fn of_factor(factor: &mut TableFactor) -> Result<()> {
    match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => of_item(table_with_joins),
        _ => Ok(()),
    }
}

fn of_item(item: &mut TableWithJoins) -> Result<()> {
    for join in &mut item.joins {
        let JoinOperator::AsOf { match_condition, constraint } = &join.join_operator else {
            continue;
        };
        join.join_operator = joined(match_condition, constraint)?;
    }
    Ok(())
}

fn joined(condition: &Expr, constraint: &JoinConstraint) -> Result<JoinOperator> {
    let sign = match condition {
        Expr::Identifier(name) if name.quote_style.is_some() => name.value.as_str(),
        _ => "",
    };
    let sign = KINDS.into_iter().map(|(_, known)| known).find(|known| *known == sign);
    let kind = match sign {
        Some("\u{1}inner") => JoinOperator::Inner,
        Some("\u{1}right" | "\u{1}full") => {
            return Err(Error::unsupported("ASOF RIGHT JOIN and ASOF FULL JOIN are not supported")
                .hint("Exchange the sides of an ASOF LEFT JOIN, and the sign of its inequality."));
        }
        _ => JoinOperator::LeftOuter,
    };
    let constraint = match (constraint, sign) {
        (JoinConstraint::On(on), Some(_)) => JoinConstraint::On(call(on.clone())),
        (JoinConstraint::On(on), None) => {
            let on = Expr::Nested(Box::new(on.clone()));
            JoinConstraint::On(call(binary(on, BinaryOperator::And, condition.clone())))
        }
        (JoinConstraint::None, None) => JoinConstraint::On(call(condition.clone())),
        (JoinConstraint::Using(names), Some(_)) => {
            let mark = ObjectName::from(vec![quoted(ASOF)]);
            JoinConstraint::Using(names.iter().cloned().chain([mark]).collect())
        }
        (JoinConstraint::Using(_), None) => {
            return Err(Error::unsupported("MATCH_CONDITION with USING is not supported")
                .hint("Write ON with the equations."));
        }
        (JoinConstraint::None | JoinConstraint::Natural, _) => {
            let what = "ASOF JOIN needs ON or USING";
            return Err(Error::new(SqlState::Syntax, what)
                .hint("Write a ASOF JOIN b ON a.key = b.key AND a.time >= b.time."));
        }
    };
    Ok(kind(constraint))
}

/// The equations of USING as the condition of an ASOF join: the last says that the right side's column is
/// not after the left side's.
pub fn not_after(mut equations: Expr) -> Expr {
    let last = match &mut equations {
        Expr::BinaryOp { op: BinaryOperator::And, right, .. } => right.as_mut(),
        only => only,
    };
    if let Expr::BinaryOp { op, .. } = last {
        *op = BinaryOperator::GtEq;
    }
    call(equations)
}

fn call(condition: Expr) -> Expr {
    function_call(ASOF, vec![condition])
}
