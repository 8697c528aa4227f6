//! What the letters and names in regular expressions stand for (Postgres manual, 9.7.3).

use crate::error::{Error, Result, SqlState};

/// What the options of a regular expression say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RegexOptions {
    /// `g`: all matches, not the first.
    pub(crate) is_global: bool,
    pub(super) ignores_case: bool,
    pub(super) is_literal: bool,
    pub(super) is_expanded: bool,
    /// A point and `[^…]` do not match a line's end.
    pub(super) dots_end_at_lines: bool,
    /// `^` and `$` are at every line.
    pub(super) anchors_at_lines: bool,
}

impl RegexOptions {
    /// # Errors
    /// 22023 for a letter that is none of them, 0A000 for the basic language.
    pub(crate) fn read(flags: &str) -> Result<RegexOptions> {
        let mut options = RegexOptions::default();
        for flag in flags.chars() {
            options.set(flag).ok_or_else(|| match flag {
                'b' => Error::unsupported("basic regular expressions are not supported")
                    .hint("Leave the option \"b\" out."),
                flag => {
                    let what = format!("invalid regular expression option: \"{flag}\"");
                    Error::new(SqlState::BadArgument, what)
                }
            })?;
        }
        Ok(options)
    }

    /// `None` for a letter that is none.
    pub(super) fn set(&mut self, flag: char) -> Option<()> {
        match flag {
            'g' => self.is_global = true,
            'i' => self.ignores_case = true,
            'c' => self.ignores_case = false,
            'q' => self.is_literal = true,
            'x' => self.is_expanded = true,
            't' => self.is_expanded = false,
            'e' => {}
            'n' | 'm' => (self.dots_end_at_lines, self.anchors_at_lines) = (true, true),
            's' => (self.dots_end_at_lines, self.anchors_at_lines) = (false, false),
            'p' => (self.dots_end_at_lines, self.anchors_at_lines) = (true, false),
            'w' => (self.dots_end_at_lines, self.anchors_at_lines) = (false, true),
            _ => return None,
        }
        Some(())
    }
}

/// 2201B.
pub(crate) fn invalid(why: &str) -> Error {
    Error::new(SqlState::BadRegex, format!("invalid regular expression: {why}"))
}

/// A class by its name, as it is written in brackets.
pub(super) fn class(name: &str) -> Result<&'static str> {
    Ok(match name {
        "alnum" => "\\p{Alphabetic}\\p{N}",
        "alpha" => "\\p{Alphabetic}",
        "blank" => " \\t",
        "cntrl" => "\\p{Cc}",
        "digit" => "0-9",
        "graph" => "[^\\s\\p{C}]",
        "lower" => "\\p{Lowercase}",
        "print" => "[^\\p{C}]",
        "punct" => "[:punct:]",
        "space" => "\\s",
        "upper" => "\\p{Uppercase}",
        "word" => "\\w",
        "xdigit" => "[:xdigit:]",
        _ => return Err(invalid("invalid character class")),
    })
}
