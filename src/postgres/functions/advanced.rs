//! Postgres's regular expressions (manual, 9.7.3) in the language of the crates that match them.
//!
//! Escapes mean what they mean in Postgres (`\m`, `\y`, `\Z`, `\u0061`), what Postgres refuses is
//! refused, and options come in as Postgres spells them. The longest match is the right one there: the
//! crate `regex` takes the first alternative that fits. Where that can differ, and for look-around and
//! back-references, `fancy-regex` matches, with a bound on its steps.

use std::iter::Peekable;
use std::str::Chars;

use super::regex_options::{RegexOptions, class, invalid};
use crate::error::Result;

/// The most that a repetition may count.
const REPEATS: u32 = 255;

/// A regular expression in the language of the crates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Translated {
    pub(crate) text: String,
    /// It looks around or back.
    pub(crate) is_fancy: bool,
    /// Its first alternative that fits need not be the longest.
    pub(crate) wants_longest: bool,
}

/// # Errors
/// 2201B for what is no regular expression.
pub(crate) fn translated(pattern: &str, mut options: RegexOptions) -> Result<Translated> {
    let mut rest = pattern;
    if let Some(literal) = rest.strip_prefix("***=") {
        (rest, options.is_literal) = (literal, true);
    } else if let Some(advanced) = rest.strip_prefix("***:") {
        rest = advanced;
    } else if rest.starts_with("***") {
        return Err(invalid("quantifier operand invalid"));
    }
    if !options.is_literal
        && let Some((letters, after)) =
            rest.strip_prefix("(?").and_then(|rest| rest.split_once(')'))
        && !letters.is_empty()
        && letters.bytes().all(|letter| letter.is_ascii_lowercase())
    {
        for letter in letters.chars().filter(|letter| *letter != 'g') {
            options.set(letter).ok_or_else(|| invalid("invalid embedded option"))?;
        }
        rest = after;
    }
    let mut translation = Translation::new(rest, options);
    if options.is_literal {
        translation.out.push_str(&regex::escape(rest));
    } else {
        translation.alternatives(0)?;
    }
    let text =
        if options.ignores_case { format!("(?i:{})", translation.out) } else { translation.out };
    let (is_fancy, wants_longest) = (translation.is_fancy, translation.wants_longest);
    Ok(Translated { text, is_fancy, wants_longest })
}

struct Translation<'p> {
    rest: Peekable<Chars<'p>>,
    options: RegexOptions,
    out: String,
    /// Groups that have been opened, and of those closed the numbers.
    opened: usize,
    closed: Vec<usize>,
    is_fancy: bool,
    wants_longest: bool,
    /// The first quantifier asks for the shortest match, and so for the shortest of everything.
    is_short: Option<bool>,
}

impl<'p> Translation<'p> {
    fn new(rest: &'p str, options: RegexOptions) -> Translation<'p> {
        Translation {
            rest: rest.chars().peekable(),
            options,
            out: String::with_capacity(rest.len() + 8),
            opened: 0,
            closed: Vec::new(),
            is_fancy: false,
            wants_longest: false,
            is_short: None,
        }
    }

    /// Branches up to the parenthesis that closes them, or to the end.
    fn alternatives(&mut self, depth: usize) -> Result<()> {
        let mut firsts = Vec::new();
        loop {
            firsts.push(self.rest.peek().copied().filter(|first| first.is_alphanumeric()));
            self.branch(depth)?;
            match self.rest.peek() {
                Some('|') => self.out.extend(self.rest.next()),
                _ => break,
            }
        }
        let may_both_fit = |at: usize| firsts[at].is_none() || firsts[..at].contains(&firsts[at]);
        self.wants_longest |=
            firsts.len() > 1 && (self.options.ignores_case || (0..firsts.len()).any(may_both_fit));
        Ok(())
    }

    fn branch(&mut self, depth: usize) -> Result<()> {
        loop {
            match self.rest.peek() {
                None | Some('|') => return Ok(()),
                Some(')') if depth > 0 => return Ok(()),
                Some(')') => return Err(invalid("parentheses () not balanced")),
                Some('*' | '+' | '?') => return Err(invalid("quantifier operand invalid")),
                Some(c) if self.options.is_expanded && (c.is_whitespace() || *c == '#') => {
                    let is_comment = *c == '#';
                    self.rest.next();
                    while is_comment && self.rest.next_if(|c| *c != '\n').is_some() {}
                    continue;
                }
                Some(_) => {}
            }
            if self.atom(depth)? {
                self.quantifier()?;
            }
        }
    }

    /// Something that can be repeated; false: a condition or a comment.
    fn atom(&mut self, depth: usize) -> Result<bool> {
        match self.rest.next() {
            Some('(') => return self.group(depth),
            Some('[') => return self.bracket(),
            Some('\\') => return self.escape(),
            Some('.') if self.options.dots_end_at_lines => self.out.push_str("[^\\n]"),
            Some('.') => self.out.push_str("(?s:.)"),
            Some(anchor @ ('^' | '$')) => {
                if self.options.anchors_at_lines {
                    self.out.extend(["(?m:", anchor.encode_utf8(&mut [0; 4]), ")"])
                } else {
                    self.out.push_str(if anchor == '^' { "\\A" } else { "\\z" })
                }
                if matches!(self.rest.peek(), Some('*' | '+' | '?')) {
                    return Err(invalid("quantifier operand invalid"));
                }
                return Ok(false);
            }
            Some(c) => self.literal(c),
            None => {}
        }
        Ok(true)
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    fn group(&mut self, depth: usize) -> Result<bool> {
        let mut is_atom = true;
        if self.rest.next_if_eq(&'?').is_some() {
            match (self.rest.next(), self.rest.peek()) {
                (Some(':'), _) => self.out.push_str("(?:"),
                (Some('#'), _) => {
                    while self.rest.next_if(|c| *c != ')').is_some() {}
                    self.rest.next();
                    return Ok(false);
                }
                (Some(ahead @ ('=' | '!')), _) => {
                    self.out.extend(['(', '?', ahead]);
                    is_atom = false;
                }
                (Some('<'), Some(behind @ ('=' | '!'))) => {
                    self.out.extend(['(', '?', '<', *behind]);
                    self.rest.next();
                    is_atom = false;
                }
                _ => return Err(invalid("quantifier operand invalid")),
            }
            self.is_fancy |= !is_atom;
            self.inside(depth)?;
        } else {
            self.opened += 1;
            let number = self.opened;
            self.out.push('(');
            self.inside(depth)?;
            self.closed.push(number);
        }
        Ok(is_atom)
    }

    fn inside(&mut self, depth: usize) -> Result<()> {
        if depth > 200 {
            return Err(invalid("regular expression is too complex"));
        }
        self.alternatives(depth + 1)?;
        match self.rest.next() {
            Some(')') => self.out.push(')'),
            _ => return Err(invalid("parentheses () not balanced")),
        }
        Ok(())
    }

    fn quantifier(&mut self) -> Result<()> {
        let begin = self.out.len();
        match self.rest.peek() {
            Some('*' | '+' | '?') => self.out.extend(self.rest.next()),
            Some('{') => {
                let mut ahead = self.rest.clone();
                ahead.next();
                if !ahead.peek().is_some_and(char::is_ascii_digit) {
                    return Ok(());
                }
                self.rest = ahead;
                self.repetition()?;
            }
            _ => return Ok(()),
        }
        let is_lazy = self.rest.next_if_eq(&'?').is_some();
        let is_short = *self.is_short.get_or_insert(is_lazy);
        if is_lazy || is_short {
            self.out.push('?');
        }
        let is_again = match self.rest.peek() {
            Some('*' | '+' | '?') => true,
            Some('{') => self.rest.clone().nth(1).is_some_and(|c| c.is_ascii_digit()),
            _ => false,
        };
        if is_again && self.out.len() > begin {
            return Err(invalid("quantifier operand invalid"));
        }
        Ok(())
    }

    /// `m}`, `m,}` or `m,n}`.
    fn repetition(&mut self) -> Result<()> {
        let least = self.count()?.unwrap_or(0);
        let most = match self.rest.next_if_eq(&',') {
            Some(_) => self.count()?,
            None => Some(least),
        };
        if self.rest.next() != Some('}') {
            return Err(invalid("braces {} not balanced"));
        }
        if most.is_some_and(|most| most < least) {
            return Err(invalid("invalid repetition count(s)"));
        }
        let most = most.map(|most| most.to_string()).unwrap_or_default();
        self.out.push_str(&format!("{{{least},{most}}}"));
        Ok(())
    }

    fn count(&mut self) -> Result<Option<u32>> {
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        if digits.is_empty() {
            return Ok(None);
        }
        match digits.parse() {
            Ok(count) if count <= REPEATS => Ok(Some(count)),
            _ => Err(invalid("invalid repetition count(s)")),
        }
    }

    fn escape(&mut self) -> Result<bool> {
        let Some(c) = self.rest.next() else {
            return Err(invalid("invalid escape \\ sequence"));
        };
        let condition = match c {
            'm' => "\\b{start}",
            'M' => "\\b{end}",
            'y' => "\\b",
            'Y' => "\\B",
            'A' => "\\A",
            'Z' => "\\z",
            _ => "",
        };
        if !condition.is_empty() {
            self.out.push_str(condition);
            return Ok(false);
        }
        match c {
            'w' | 's' | 'W' | 'S' => self.out.extend(['\\', c]),
            'd' => self.out.push_str("[0-9]"),
            'D' => self.out.push_str("[^0-9]"),
            '1'..='9' => {
                let mut ahead = self.rest.clone();
                let mut digits = String::from(c);
                while let Some(digit) = ahead.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                let mut number = digits.parse().unwrap_or(usize::MAX);
                // Several digits that are no group's are those of a character, one is a group's.
                if digits.len() > 1 && number > self.closed.len() {
                    let mut octal = String::from(c);
                    while octal.len() < 3
                        && let Some(digit) = self.rest.next_if(|digit| digit.is_digit(8))
                    {
                        octal.push(digit);
                    }
                    let code = u32::from_str_radix(&octal, 8).ok().filter(|_| octal.len() > 1);
                    if let Some(character) = code.and_then(char::from_u32) {
                        self.literal(character);
                        return Ok(true);
                    }
                    number = c.to_digit(10).unwrap_or(0) as usize;
                } else {
                    self.rest = ahead;
                }
                if !self.closed.contains(&number) {
                    return Err(invalid("invalid backreference number"));
                }
                self.is_fancy = true;
                self.out.push_str(&format!("(?:\\{number})"));
            }
            _ => {
                let c = self.character(c)?;
                self.literal(c);
            }
        }
        Ok(true)
    }

    /// The character that `\c` stands for.
    fn character(&mut self, c: char) -> Result<char> {
        let code = match c {
            'a' => 7,
            'b' => 8,
            'B' => u32::from('\\'),
            'e' => 27,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            'c' => self.rest.next().map_or(0, |letter| u32::from(letter) & 31),
            'x' => self.number(16, 1, 8)?,
            'u' => self.number(16, 4, 4)?,
            'U' => self.number(16, 8, 8)?,
            '0' => self.number(8, 0, 2)?,
            c if c.is_alphanumeric() => return Err(invalid("invalid escape \\ sequence")),
            c => return Ok(c),
        };
        char::from_u32(code).ok_or_else(|| invalid("invalid escape \\ sequence"))
    }

    fn number(&mut self, radix: u32, least: usize, most: usize) -> Result<u32> {
        let (mut value, mut digits) = (0_u32, 0);
        while digits < most
            && let Some(digit) = self.rest.peek().and_then(|digit| digit.to_digit(radix))
        {
            self.rest.next();
            (value, digits) = (value.wrapping_mul(radix) + digit, digits + 1);
        }
        if digits < least { Err(invalid("invalid escape \\ sequence")) } else { Ok(value) }
    }

    fn bracket(&mut self) -> Result<bool> {
        for (written, condition) in [("[:<:]]", "\\b{start}"), ("[:>:]]", "\\b{end}")] {
            if self.rest.clone().take(6).eq(written.chars()) {
                self.rest.nth(5);
                self.out.push_str(condition);
                return Ok(false);
            }
        }
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
            if self.options.dots_end_at_lines {
                self.out.push_str("\\n");
            }
        }
        let mut is_first = true;
        loop {
            let Some(c) = self.rest.next() else {
                return Err(invalid("brackets [] not balanced"));
            };
            if c == ']' && !is_first {
                break;
            }
            is_first = false;
            let Some(from) = self.element(c)? else { continue };
            let mut ahead = self.rest.clone();
            let is_range =
                ahead.next() == Some('-') && ahead.next().is_some_and(|after| after != ']');
            if is_range {
                self.rest.next();
                let end = self.rest.next().unwrap_or(from);
                let to = self.element(end)?.ok_or_else(|| invalid("invalid character range"))?;
                if to < from {
                    return Err(invalid("invalid character range"));
                }
                self.out.push_str(&format!("{}-{}", in_bracket(from), in_bracket(to)));
            } else {
                self.out.push_str(&in_bracket(from));
            }
        }
        self.out.push(']');
        Ok(true)
    }

    /// A character in brackets; `None`: a class, which has been written.
    fn element(&mut self, c: char) -> Result<Option<char>> {
        match (c, self.rest.peek()) {
            ('\\', _) => {
                let escaped = self.rest.next();
                let class = match escaped {
                    Some('d') => "0-9",
                    Some('w') => "\\w",
                    Some('s') => "\\s",
                    Some('D') => "\\D",
                    Some('W') => "\\W",
                    Some('S') => "\\S",
                    Some(escaped) => return self.character(escaped).map(Some),
                    None => return Err(invalid("invalid escape \\ sequence")),
                };
                self.out.push_str(class);
                Ok(None)
            }
            ('[', Some(kind @ (':' | '.' | '='))) => {
                let kind = *kind;
                self.rest.next();
                let mut name = String::new();
                while let Some(c) = self.rest.next_if(|c| *c != kind) {
                    name.push(c);
                }
                let is_closed = self.rest.next() == Some(kind) && self.rest.next() == Some(']');
                let mut letters = name.chars();
                match (is_closed, kind, letters.next(), letters.next()) {
                    (false, ..) => Err(invalid("brackets [] not balanced")),
                    (true, ':', ..) => {
                        self.out.push_str(class(&name)?);
                        Ok(None)
                    }
                    (true, _, Some(one), None) => Ok(Some(one)),
                    (true, ..) => Err(invalid("invalid collating element")),
                }
            }
            (c, _) => Ok(Some(c)),
        }
    }
}

fn in_bracket(c: char) -> String {
    if c.is_alphanumeric() || c.is_whitespace() {
        c.to_string()
    } else {
        format!("\\x{{{:x}}}", u32::from(c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SqlState;

    #[test]
    fn escapes_and_options_mean_what_they_mean_in_postgres() {
        let check = |pattern: &str, flags: &str, expect: &str| {
            let options = RegexOptions::read(flags).unwrap();
            assert_eq!(translated(pattern, options).unwrap().text, expect, "{pattern}");
        };
        check(r"\mfoo\M", "", r"\b{start}foo\b{end}");
        check(r"^a.b$", "", r"\Aa(?s:.)b\z");
        check(r"^a.b$", "n", r"(?m:^)a[^\n]b(?m:$)");
        check("a b # c", "x", "ab");
        check("a.b", "q", r"a\.b");
        check("(?i)a", "", "(?i:a)");
        check("[]a&&b-]", "", r"[\x{5d}a\x{26}\x{26}b\x{2d}]");
        check("a{2}{b", "", r"a{2,2}\{b");
        check("Y*?([0-9]{1,3})", "", "Y*?([0-9]{1,3}?)");
        check(r"\u0061\x62", "", "ab");
    }

    #[test]
    fn what_is_no_regular_expression_is_refused() {
        for pattern in ["(", "a)", "*a", "a**", "[a", "[b-a]", "a{2,1}", "a{1", r"\q", r"a\", r"\1"]
        {
            let error = translated(pattern, RegexOptions::default()).unwrap_err();
            assert_eq!(error.state(), SqlState::BadRegex, "{pattern}");
        }
        assert_eq!(RegexOptions::read("z").unwrap_err().state(), SqlState::BadArgument);
    }

    #[test]
    fn the_longest_match_is_looked_for_where_the_first_may_be_another() {
        let of = |pattern: &str| translated(pattern, RegexOptions::default()).unwrap();
        assert!(of("(fo|foo)").wants_longest && of(r"\w|foo").wants_longest);
        assert!(!of("foo|bar").wants_longest && !of("a+b").wants_longest);
        assert!(of(r"(a)\1").is_fancy && of("a(?=b)").is_fancy && !of("(?:a)").is_fancy);
    }
}
