//! Patterns that are ready to match, and their matches.

use std::ops::Range;

use super::advanced::{Translated, translated};
use super::regex_options::{RegexOptions, invalid};
use crate::error::{Error, Result, SqlState};

/// A regular expression that is ready to match.
pub(super) enum Compiled {
    Plain(regex::Regex),
    Fancy(fancy_regex::Regex),
}

/// The operators that match a text with a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Matching {
    is_like: bool,
    ignores_case: bool,
    is_negated: bool,
}

impl Matching {
    /// By how it is written.
    pub(super) fn named(op: &str) -> Option<Matching> {
        let (is_like, ignores_case, is_negated) = match op {
            "~" => (false, false, false),
            "~*" => (false, true, false),
            "!~" => (false, false, true),
            "!~*" => (false, true, true),
            "~~" => (true, false, false),
            "~~*" => (true, true, false),
            "!~~" => (true, false, true),
            "!~~*" => (true, true, true),
            _ => return None,
        };
        Some(Matching { is_like, ignores_case, is_negated })
    }
}

impl Matching {
    pub(super) fn compiled(self, pattern: &str) -> Result<Compiled> {
        let options = RegexOptions::read(if self.ignores_case { "i" } else { "" })?;
        if self.is_like {
            Compiled::new(&like_as_regex(pattern)?, options)
        } else {
            Compiled::new(pattern, options)
        }
    }

    pub(super) fn holds(self, text: &str, pattern: &Compiled) -> Result<bool> {
        Ok(pattern.fits(text)? != self.is_negated)
    }
}

/// The regular expression that a pattern of LIKE means.
fn like_as_regex(pattern: &str) -> Result<String> {
    let (mut out, mut chars) = (String::from("^"), pattern.chars());
    while let Some(c) = chars.next() {
        let literal = match c {
            '%' => {
                out.push_str(".*");
                continue;
            }
            '_' => {
                out.push('.');
                continue;
            }
            '\\' => chars.next().ok_or_else(|| {
                let what = "LIKE pattern must not end with escape character";
                Error::new(SqlState::BadEscape, what)
            })?,
            c => c,
        };
        if !literal.is_alphanumeric() {
            out.push('\\');
        }
        out.push(literal);
    }
    out.push('$');
    Ok(out)
}

/// A match: where the whole is and where its groups, in bytes.
pub(super) type Groups = Vec<Option<Range<usize>>>;

impl Compiled {
    pub(super) fn new(pattern: &str, options: RegexOptions) -> Result<Compiled> {
        let Translated { text, is_fancy, wants_longest } = translated(pattern, options)?;
        let fancy =
            |is_longest| fancy_regex::RegexBuilder::new(&text).leftmost_longest(is_longest).build();
        // One with quantifiers that ask for the shortest has no longest match.
        if wants_longest && let Ok(longest) = fancy(true) {
            return Ok(Compiled::Fancy(longest));
        }
        if is_fancy {
            return fancy(false).map(Compiled::Fancy).map_err(|error| match error {
                fancy_regex::Error::CompileError(_) => {
                    Error::unsupported("this regular expression is not supported")
                        .detail(error.to_string())
                }
                _ => invalid(&error.to_string()),
            });
        }
        regex::Regex::new(&text).map(Compiled::Plain).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => invalid("regular expression is too complex"),
            error => invalid(error.to_string().rsplit("error: ").next().unwrap_or_default().trim()),
        })
    }

    /// Whether there is a match, wherever it ends: many times as fast as looking for its groups.
    pub(super) fn fits(&self, text: &str) -> Result<bool> {
        match self {
            Compiled::Plain(regex) => Ok(regex.is_match(text)),
            Compiled::Fancy(regex) => regex.is_match(text).map_err(|_| goes_back()),
        }
    }

    /// The first match that begins there or later.
    pub(super) fn find(&self, text: &str, begin: usize) -> Result<Option<Groups>> {
        Ok(match self {
            Compiled::Plain(regex) => regex
                .captures_at(text, begin)
                .map(|found| found.iter().map(|group| group.map(|group| group.range())).collect()),
            Compiled::Fancy(regex) => {
                let found = regex.captures_from_pos(text, begin).map_err(|_| goes_back())?;
                found.map(|found| {
                    found.iter().map(|group| group.map(|group| group.range())).collect()
                })
            }
        })
    }
}

fn goes_back() -> Error {
    Error::new(SqlState::ProgramLimit, "regular expression is too complex")
        .detail("It goes back too often on this text.")
}

/// The matches of a text from a place on, each behind the one before it.
pub(super) struct Matches<'m> {
    pub(super) regex: &'m Compiled,
    pub(super) text: &'m str,
    /// Where the next is looked for; `None`: nowhere.
    pub(super) begin: Option<usize>,
}

impl Matches<'_> {
    pub(super) fn next(&mut self) -> Result<Option<(Range<usize>, Groups)>> {
        let Some(begin) = self.begin.filter(|begin| *begin <= self.text.len()) else {
            return Ok(None);
        };
        let Some(groups) = self.regex.find(self.text, begin)? else { return Ok(None) };
        let Some(Some(whole)) = groups.first().cloned() else { return Ok(None) };
        // Behind an empty match one character on, or it would be found again.
        let step = if whole.is_empty() {
            self.text[whole.end..].chars().next().map_or(1, char::len_utf8)
        } else {
            0
        };
        self.begin = Some(whole.end + step);
        Ok(Some((whole, groups)))
    }
}
