//! The functions of regular expressions (Postgres manual, 9.7.3), over [`advanced`](super::advanced).
//!
//! Each is a row of [`all`]: its forms, its result, and what it makes of a text and its matches.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Int32Builder, ListBuilder, StringArray, StringBuilder,
};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::logical_expr::{ScalarUDF, Signature, TypeSignature, Volatility};

use super::matching::{Compiled, Groups, Matches};
use super::regex_options::RegexOptions;
use super::scalar::{Scalar, strings};
use super::text::Budget;
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// Functions that can make much more than they read.
pub(super) const MAKE_MUCH: [&str; 3] =
    ["regexp_replace", "regexp_matches", "regexp_split_to_array"];

pub(super) fn all() -> Vec<ScalarUDF> {
    let texts = || SqlType::Array(Box::new(SqlType::Text));
    let function = |name, forms: &[&str], out: SqlType, call| {
        let of = |letter| if letter == 'i' { DataType::Int64 } else { DataType::Utf8 };
        let exact = |form: &&str| TypeSignature::Exact(form.chars().map(of).collect());
        let signature = Signature::one_of(forms.iter().map(exact).collect(), Volatility::Immutable);
        ScalarUDF::from(Scalar { name, aliases: vec![], signature, out: out.data_type(), call })
    };
    let flagged = &["tt", "ttt"];
    vec![
        function("regexp_like", flagged, SqlType::Boolean, like),
        function("regexp_count", &["tt", "tti", "ttit"], SqlType::Int, count),
        function(
            "regexp_instr",
            &["tt", "tti", "ttii", "ttiii", "ttiiit", "ttiiiti"],
            SqlType::Int,
            instr,
        ),
        function("regexp_substr", &["tt", "tti", "ttii", "ttiit", "ttiiti"], SqlType::Text, substr),
        function("regexp_substring", &["ti", "tt"], SqlType::Text, substring),
        function("regexp_match", flagged, texts(), first_match),
        function("regexp_matches", flagged, SqlType::Array(Box::new(texts())), matches),
        function("regexp_split_to_array", flagged, texts(), split),
        function(
            "regexp_replace",
            &["ttti", "tttii", "tttiit", "ttt", "tttt"],
            SqlType::Text,
            replace,
        ),
    ]
}

/// The arguments of a call by row, those behind the pattern as Postgres calls them.
struct Call<'a> {
    texts: StringArray,
    patterns: StringArray,
    args: &'a [ArrayRef],
    name: &'static str,
}

/// What a row asks for.
struct Asked<'r> {
    text: &'r str,
    regex: &'r Compiled,
    options: RegexOptions,
    /// Byte of the first character that is looked at.
    begin: Option<usize>,
}

impl<'a> Call<'a> {
    fn new(name: &'static str, args: &'a [ArrayRef]) -> Result<Call<'a>> {
        Ok(Call { texts: strings(&args[0])?, patterns: strings(&args[1])?, args, name })
    }

    fn flags(&self, at: usize) -> Result<Option<StringArray>> {
        self.args.get(at).map(strings).transpose()
    }

    /// A number of at least so much, by what the manual calls it.
    fn number(&self, at: usize, row: usize, what: &str, range: Range<i64>) -> Result<i64> {
        let column = self.args.get(at).and_then(|arg| arg.as_primitive_opt::<Int64Type>());
        let value = column.map_or(range.start, |column| column.value(row));
        if range.contains(&value) {
            return Ok(value);
        }
        Err(Error::new(
            SqlState::BadArgument,
            format!("invalid value for parameter \"{what}\": {value}"),
        ))
    }

    /// Goes over the rows; one with a NULL among its arguments is NULL.
    fn rows(
        &self,
        rows: usize,
        (flags, start): (usize, usize),
        mut row: impl FnMut(usize, Option<Asked<'_>>) -> Result<()>,
    ) -> Result<()> {
        let flags = self.flags(flags)?;
        let mut compiled: HashMap<(&str, &str), (Compiled, RegexOptions)> = HashMap::new();
        for at in 0..rows {
            if self.args.iter().any(|arg| arg.is_null(at)) {
                row(at, None)?;
                continue;
            }
            let (text, pattern) = (self.texts.value(at), self.patterns.value(at));
            let letters = flags.as_ref().map_or("", |flags| flags.value(at));
            let key = (pattern, letters);
            if !compiled.contains_key(&key) {
                // Patterns are one constant nearly always; a column of them must not fill the memory.
                if compiled.len() > 100 {
                    compiled.clear();
                }
                let options = RegexOptions::read(letters)?;
                self.check_global(options)?;
                compiled.insert(key, (Compiled::new(pattern, options)?, options));
            }
            let (regex, options) = &compiled[&key];
            let first = self.number(start, at, "start", 1..i64::from(i32::MAX))?;
            let begin = byte_of(text, first);
            row(at, Some(Asked { text, regex, options: *options, begin }))?;
        }
        Ok(())
    }

    fn check_global(&self, options: RegexOptions) -> Result<()> {
        if !options.is_global || ["regexp_replace", "regexp_matches"].contains(&self.name) {
            return Ok(());
        }
        let what = format!("{}() does not support the \"global\" option", self.name);
        let error = Error::new(SqlState::BadArgument, what);
        Err(match self.name {
            "regexp_match" => error.hint("Use the regexp_matches function instead."),
            _ => error,
        })
    }
}

/// Where the n-th character begins; `None` behind the end.
fn byte_of(text: &str, nth: i64) -> Option<usize> {
    let nth = usize::try_from(nth - 1).ok()?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(nth)
}

impl<'r> Asked<'r> {
    fn matches(&self) -> Matches<'r> {
        Matches { regex: self.regex, text: self.text, begin: self.begin }
    }

    /// The n-th match, from 1.
    fn nth(&self, n: i64) -> Result<Option<Groups>> {
        let (mut matches, mut found) = (self.matches(), None);
        for _ in 0..n {
            match matches.next()? {
                Some((_, groups)) => found = Some(groups),
                None => return Ok(None),
            }
        }
        Ok(found)
    }
}

const NO_START: usize = usize::MAX;

fn like(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let mut out = BooleanBuilder::new();
    Call::new("regexp_like", args)?.rows(rows, (2, NO_START), |_, asked| {
        let found = asked.map(|asked| asked.regex.find(asked.text, 0)).transpose()?;
        out.append_option(found.map(|found| found.is_some()));
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

fn count(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let mut out = Int32Builder::new();
    Call::new("regexp_count", args)?.rows(rows, (3, 2), |_, asked| {
        let Some(asked) = asked else {
            out.append_null();
            return Ok(());
        };
        let (mut matches, mut count) = (asked.matches(), 0);
        while matches.next()?.is_some() {
            count += 1;
        }
        out.append_value(count);
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

fn instr(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let mut out = Int32Builder::new();
    let call = Call::new("regexp_instr", args)?;
    call.rows(rows, (5, 2), |row, asked| {
        let Some(asked) = asked else {
            out.append_null();
            return Ok(());
        };
        let n = call.number(3, row, "n", 1..i64::MAX)?;
        let is_behind = call.number(4, row, "endoption", 0..2)? == 1;
        let group = call.number(6, row, "subexpr", 0..i64::MAX)?;
        let found = asked.nth(n)?.and_then(|groups| groups.get(group as usize).cloned().flatten());
        let place = found.map_or(0, |found| {
            let byte = if is_behind { found.end } else { found.start };
            asked.text[..byte].chars().count() as i32 + 1
        });
        out.append_value(place);
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

fn substr(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let mut out = StringBuilder::new();
    let call = Call::new("regexp_substr", args)?;
    call.rows(rows, (4, 2), |row, asked| {
        let Some(asked) = asked else {
            out.append_null();
            return Ok(());
        };
        let n = call.number(3, row, "n", 1..i64::MAX)?;
        let group = call.number(5, row, "subexpr", 0..i64::MAX)?;
        let found = asked.nth(n)?.and_then(|groups| groups.get(group as usize).cloned().flatten());
        out.append_option(found.map(|found| &asked.text[found]));
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

/// `substring(text FROM pattern)`: the first group if there is one, else all of the match; and from a
/// place on.
fn substring(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let mut out = StringBuilder::new();
    if let Some(places) = args[1].as_primitive_opt::<Int64Type>() {
        let texts = strings(&args[0])?;
        for row in 0..rows {
            let is_null = texts.is_null(row) || places.is_null(row);
            let rest = || {
                let begin = byte_of(texts.value(row), places.value(row).max(1));
                begin.map_or("", |begin| &texts.value(row)[begin..])
            };
            out.append_option((!is_null).then(rest));
        }
        return Ok(Arc::new(out.finish()));
    }
    Call::new("regexp_substring", args)?.rows(rows, (2, NO_START), |_, asked| {
        let found =
            asked.map(|asked| Ok::<_, Error>((asked.text, asked.regex.find(asked.text, 0)?)));
        let found = found.transpose()?.and_then(|(text, groups)| {
            let groups = groups?;
            Some(&text[groups.get(1).or(groups.first())?.clone()?])
        });
        out.append_option(found);
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

/// The groups of a match, or all of it where there are none.
fn append_groups(out: &mut ListBuilder<StringBuilder>, text: &str, groups: &Groups) {
    let shown = if groups.len() > 1 { &groups[1..] } else { groups };
    for group in shown {
        out.values().append_option(group.clone().map(|group| &text[group]));
    }
    out.append(true);
}

fn texts() -> ListBuilder<StringBuilder> {
    ListBuilder::new(StringBuilder::new())
}

fn first_match(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let mut out = texts();
    Call::new("regexp_match", args)?.rows(rows, (2, NO_START), |_, asked| {
        match asked.map(|asked| Ok::<_, Error>((asked.text, asked.regex.find(asked.text, 0)?))) {
            Some(found) => match found? {
                (text, Some(groups)) => append_groups(&mut out, text, &groups),
                _ => out.append_null(),
            },
            None => out.append_null(),
        }
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

fn matches(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let mut out = ListBuilder::new(texts());
    let mut budget = Budget::default();
    Call::new("regexp_matches", args)?.rows(rows, (2, NO_START), |_, asked| {
        let Some(asked) = asked else {
            out.append_null();
            return Ok(());
        };
        let mut matches = asked.matches();
        while let Some((whole, groups)) = matches.next()? {
            budget.add(groups.len() * (whole.len() + 4))?;
            append_groups(out.values(), asked.text, &groups);
            if !asked.options.is_global {
                break;
            }
        }
        out.append(true);
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

fn split(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let mut out = texts();
    let mut budget = Budget::default();
    Call::new("regexp_split_to_array", args)?.rows(rows, (2, NO_START), |_, asked| {
        let Some(Asked { text, regex, .. }) = asked else {
            out.append_null();
            return Ok(());
        };
        let (mut matches, mut end) = (Matches { regex, text, begin: Some(0) }, 0);
        while let Some((found, _)) = matches.next()? {
            // An empty match at the end, or just behind the one before, parts nothing.
            if found.start < text.len() && found.end > end {
                budget.add(found.start - end + 4)?;
                out.values().append_value(&text[end..found.start]);
                end = found.end;
            }
        }
        out.values().append_value(&text[end..]);
        out.append(true);
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

/// `regexp_replace(text, pattern, replacement [, flags])` and `(…, start [, n [, flags]])`.
fn replace(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let mut out = StringBuilder::new();
    let call = Call::new("regexp_replace", args)?;
    let replacements = strings(&args[2])?;
    let is_flags = args.get(3).is_some_and(|arg| *arg.data_type() == DataType::Utf8);
    let (flags, start) = if is_flags { (3, NO_START) } else { (5, 3) };
    let mut budget = Budget::default();
    call.rows(rows, (flags, start), |row, asked| {
        let Some(asked) = asked else {
            out.append_null();
            return Ok(());
        };
        let wanted = match (is_flags, args.len()) {
            (true, _) | (false, 3) if asked.options.is_global => 0,
            (false, 5..) => call.number(4, row, "n", 0..i64::MAX)?,
            _ => 1,
        };
        let replaced = replaced(&asked, replacements.value(row), wanted, &mut budget)?;
        out.append_value(replaced);
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

/// The text with its `wanted`-th match replaced, or with all of them (0).
fn replaced(asked: &Asked<'_>, with: &str, wanted: i64, budget: &mut Budget) -> Result<String> {
    let (mut out, mut end, mut number) = (String::new(), 0, 0);
    let mut matches = asked.matches();
    while let Some((whole, groups)) = matches.next()? {
        number += 1;
        if wanted > 0 && number != wanted {
            continue;
        }
        let before = out.len();
        out.push_str(&asked.text[end..whole.start]);
        append_replacement(&mut out, with, asked.text, &groups);
        budget.add(out.len() - before)?;
        end = whole.end;
        if wanted > 0 {
            break;
        }
    }
    budget.add(asked.text.len() - end)?;
    out.push_str(&asked.text[end..]);
    Ok(out)
}

/// `\1` to `\9` and `\&` are what has matched, and two backslashes are one.
fn append_replacement(out: &mut String, with: &str, text: &str, groups: &Groups) {
    let mut chars = with.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let group = match chars.next() {
            Some('&') => 0,
            Some(digit @ '1'..='9') => digit.to_digit(10).unwrap_or(0) as usize,
            Some('\\') | None => {
                out.push('\\');
                continue;
            }
            Some(other) => {
                out.extend(['\\', other]);
                continue;
            }
        };
        if let Some(Some(range)) = groups.get(group) {
            out.push_str(&text[range.clone()]);
        }
    }
}
