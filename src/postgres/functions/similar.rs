//! Patterns of SIMILAR TO and LIKE in the words of others: as regular expressions, and with a
//! backslash where another sign was chosen (Postgres manual, 9.7).

use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use regex::Regex;

use super::forms::{Form, ok, over, strict};
use super::recent::Recent;
use super::scalar::{strings, text};
use crate::error::{Error, Result, SqlState};

/// What makes a regular expression of a pattern of SIMILAR TO.
pub(crate) const SIMILAR_TO_ESCAPE: &str = "similar_to_escape";
/// What puts backslashes into a pattern of LIKE.
pub(crate) const LIKE_ESCAPE: &str = "like_escape";

pub(super) fn forms() -> Vec<Form> {
    vec![
        strict("similar_to_escape(text) text", |a| ok(similar_to(a.text(0), Some('\\'))?)),
        strict("similar_to_escape(text, text) text", |a| {
            ok(similar_to(a.text(0), one_sign(a.text(1))?)?)
        }),
        strict("like_escape(text, text) text", |a| {
            ok(with_backslashes(a.text(0), one_sign(a.text(1))?))
        }),
        over("substring(text, text) text", |args, rows| {
            found(args, rows, |pattern, _| Ok(pattern.to_owned()))
        }),
        over("substring(text, text, text) text", |args, rows| {
            found(args, rows, |pattern, sign| similar_to(pattern, one_sign(sign)?))
        }),
    ]
}

/// The part of each text that its pattern finds: of the first group, if there is one.
fn found(
    args: &[ArrayRef],
    rows: usize,
    regex: fn(&str, &str) -> Result<String>,
) -> Result<ArrayRef> {
    let (texts, patterns) = (strings(&args[0])?, strings(&args[1])?);
    let signs = args.get(2).map(strings).transpose()?;
    let mut compiled = Recent::default();
    let mut out = StringBuilder::new();
    for row in 0..rows {
        let sign = signs.as_ref().map_or(Some(""), |signs| text(signs, row));
        let (Some(whole), Some(pattern), Some(sign)) =
            (text(&texts, row), text(&patterns, row), sign)
        else {
            out.append_null();
            continue;
        };
        let compiled = compiled.of((pattern, sign), |(pattern, sign)| {
            Regex::new(&regex(pattern, sign)?).map_err(|error| {
                Error::new(SqlState::BadRegex, format!("invalid regular expression: {error}"))
            })
        })?;
        let found = compiled.captures(whole);
        let part =
            found.and_then(|found| if found.len() > 1 { found.get(1) } else { found.get(0) });
        out.append_option(part.map(|part| part.as_str()));
    }
    Ok(Arc::new(out.finish()))
}

/// The sign that an ESCAPE names, or none.
///
/// # Errors
/// 22025 if there are several.
pub(crate) fn one_sign(text: &str) -> Result<Option<char>> {
    let mut signs = text.chars();
    match (signs.next(), signs.next()) {
        (sign, None) => Ok(sign),
        _ => Err(Error::new(SqlState::BadEscape, "invalid escape string")
            .hint("Escape string must be empty or one character.")),
    }
}

/// A pattern of LIKE whose signs stand for themselves behind `sign`, with a backslash in its place.
pub(crate) fn with_backslashes(pattern: &str, sign: Option<char>) -> String {
    let mut out = String::with_capacity(pattern.len() + 4);
    let mut chars = pattern.chars();
    while let Some(one) = chars.next() {
        match one {
            one if Some(one) == sign => {
                // One at the end is refused where a text gets that far.
                out.push('\\');
                out.extend(chars.next());
            }
            '\\' => out.push_str("\\\\"),
            one => out.push(one),
        }
    }
    out
}

/// The regular expression that a pattern of SIMILAR TO means: all of the text must match. Between
/// two `escape"` stands the part that `substring` gives.
///
/// # Errors
/// 2200C for more than two of them.
pub(crate) fn similar_to(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut parts = vec![String::new()];
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let regex = match parts.last_mut() {
            Some(part) => part,
            None => break,
        };
        match c {
            c if Some(c) == escape => match chars.next() {
                Some('"') => parts.push(String::new()),
                Some(behind) => regex.push_str(&escaped(behind)),
                // At the end it stands for itself.
                None => regex.push_str(&regex_syntax_escape(c)),
            },
            '[' => bracket(&mut chars, regex, escape),
            '%' => regex.push_str("(?s:.*)"),
            '_' => regex.push_str("(?s:.)"),
            '(' => regex.push_str("(?:"),
            '|' | '*' | '+' | '?' | '{' | '}' | ')' => regex.push(c),
            other => regex.push_str(&regex_syntax_escape(other)),
        }
    }
    match parts.as_slice() {
        [all] => Ok(format!("^(?:{all})$")),
        // The first part takes as little as it can.
        [before, part] => Ok(format!("^(?U:{before})({part})$")),
        [before, part, behind] => Ok(format!("^(?U:{before})({part})(?:{behind})$")),
        _ => Err(Error::new(
            SqlState::BadEscapeUse,
            "SQL regular expression may not contain more than two escape-double-quote separators",
        )),
    }
}

/// What a character behind the escape means: classes and borders of words, or itself.
fn escaped(c: char) -> String {
    match c {
        'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'A' => format!("\\{c}"),
        'm' => "\\b{start}".to_owned(),
        'M' => "\\b{end}".to_owned(),
        'y' => "\\b".to_owned(),
        'Y' => "\\B".to_owned(),
        'Z' => "\\z".to_owned(),
        c => regex_syntax_escape(c),
    }
}

/// Characters in brackets, behind the opening one.
fn bracket(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    regex: &mut String,
    escape: Option<char>,
) {
    regex.push('[');
    regex.extend(chars.next_if_eq(&'^'));
    if chars.next_if_eq(&']').is_some() {
        // As the first one it stands for itself.
        regex.push_str("\\]");
    }
    while let Some(c) = chars.next() {
        match c {
            ']' => {
                regex.push(c);
                return;
            }
            '[' if chars.peek() == Some(&':') => {
                regex.push(c);
                regex.extend(std::iter::from_fn(|| chars.next_if(|c| *c != ']')));
                regex.extend(chars.next());
            }
            c if Some(c) == escape => {
                regex.extend(chars.next().map(escaped).iter().flat_map(|literal| literal.chars()));
            }
            '\\' | '[' | '&' | '~' => regex.extend(['\\', c]),
            c => regex.push(c),
        }
    }
}

fn regex_syntax_escape(c: char) -> String {
    regex::escape(c.encode_utf8(&mut [0; 4]))
}
