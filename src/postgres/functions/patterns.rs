//! The functions of regular expressions (Postgres manual, 9.7.3), over [`advanced`](super::advanced).
//!
//! Each is a row of [`all`]: its forms, its result, and what it makes of a text and its matches.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::logical_expr::{ScalarUDF, Signature, TypeSignature, Volatility};

use super::matching::{Compiled, Groups, Matches};
use super::recent::Recent;
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

/// What a row asks for: of its text, with the regular expression.
struct Asked<'t, 'r> {
    text: &'t str,
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

    /// What becomes of each row; one with a NULL among its arguments is NULL. `places`: of the flags and
    /// of the character to begin at among the arguments.
    fn rows<'c, T>(
        &'c self,
        rows: usize,
        places: (usize, usize),
        mut of: impl for<'r> FnMut(usize, Asked<'c, 'r>) -> Result<Option<T>>,
    ) -> Result<Vec<Option<T>>> {
        let flags = self.flags(places.0)?;
        let mut compiled = Recent::default();
        let row = |at: usize| {
            if self.args.iter().any(|arg| arg.is_null(at)) {
                return Ok(None);
            }
            let letters = flags.as_ref().map_or("", |flags| flags.value(at));
            let key = (self.patterns.value(at), letters);
            let (regex, options) = compiled.of(key, |(pattern, letters)| {
                let options = RegexOptions::read(letters)?;
                self.check_global(options)?;
                Ok::<_, Error>((Compiled::new(pattern, options)?, options))
            })?;
            let (text, options) = (self.texts.value(at), *options);
            let first = self.number(places.1, at, "start", 1..i64::from(i32::MAX))?;
            of(at, Asked { text, regex, options, begin: byte_of(text, first) })
        };
        (0..rows).map(row).collect()
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

impl Asked<'_, '_> {
    fn matches(&self) -> Matches<'_> {
        Matches { regex: self.regex, text: self.text, begin: self.begin }
    }

    /// A group of the n-th match, from 1.
    fn nth(&self, n: i64, group: i64) -> Result<Option<Range<usize>>> {
        let (mut matches, mut found) = (self.matches(), None);
        for _ in 0..n {
            match matches.next()? {
                Some((_, groups)) => found = Some(groups),
                None => return Ok(None),
            }
        }
        Ok(found.and_then(|groups| groups.get(group as usize).cloned().flatten()))
    }
}

const NO_START: usize = usize::MAX;

fn like(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let call = Call::new("regexp_like", args)?;
    let fits = call.rows(rows, (2, NO_START), |_, asked| asked.regex.fits(asked.text).map(Some))?;
    Ok(Arc::new(BooleanArray::from(fits)))
}

fn count(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let call = Call::new("regexp_count", args)?;
    let counts = call.rows(rows, (3, 2), |_, asked| {
        let (mut matches, mut count) = (asked.matches(), 0);
        while matches.next()?.is_some() {
            count += 1;
        }
        Ok(Some(count))
    })?;
    Ok(Arc::new(Int32Array::from(counts)))
}

fn instr(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let call = Call::new("regexp_instr", args)?;
    let places = call.rows(rows, (5, 2), |row, asked| {
        let n = call.number(3, row, "n", 1..i64::MAX)?;
        let is_behind = call.number(4, row, "endoption", 0..2)? == 1;
        let group = call.number(6, row, "subexpr", 0..i64::MAX)?;
        Ok(Some(asked.nth(n, group)?.map_or(0, |found| {
            let byte = if is_behind { found.end } else { found.start };
            asked.text[..byte].chars().count() as i32 + 1
        })))
    })?;
    Ok(Arc::new(Int32Array::from(places)))
}

fn substr(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let call = Call::new("regexp_substr", args)?;
    let found = call.rows(rows, (4, 2), |row, asked| {
        let n = call.number(3, row, "n", 1..i64::MAX)?;
        let group = call.number(5, row, "subexpr", 0..i64::MAX)?;
        Ok(asked.nth(n, group)?.map(|found| &asked.text[found]))
    })?;
    Ok(Arc::new(StringArray::from(found)))
}

/// `substring(text FROM pattern)`: the first group if there is one, else all of the match; and from a
/// place on.
fn substring(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    if let Some(places) = args[1].as_primitive_opt::<Int64Type>() {
        let texts = strings(&args[0])?;
        let rest = (0..rows).map(|row| {
            let is_null = texts.is_null(row) || places.is_null(row);
            let begin = || byte_of(texts.value(row), places.value(row).max(1));
            (!is_null).then(|| begin().map_or("", |begin| &texts.value(row)[begin..]))
        });
        return Ok(Arc::new(rest.collect::<StringArray>()));
    }
    let call = Call::new("regexp_substring", args)?;
    let found = call.rows(rows, (2, NO_START), |_, asked| {
        let groups = asked.regex.find(asked.text, 0)?;
        Ok(groups.and_then(|groups| Some(&asked.text[groups.get(1).or(groups.first())?.clone()?])))
    })?;
    Ok(Arc::new(StringArray::from(found)))
}

/// The groups of a match, or all of it where there are none.
fn texts_of<'t>(text: &'t str, groups: &Groups) -> Vec<Option<&'t str>> {
    let shown = if groups.len() > 1 { &groups[1..] } else { groups };
    shown.iter().map(|group| group.clone().map(|group| &text[group])).collect()
}

fn arrays(rows: Vec<Option<Vec<Option<&str>>>>) -> ArrayRef {
    let mut out = ListBuilder::new(StringBuilder::new());
    rows.into_iter().for_each(|row| out.append_option(row));
    Arc::new(out.finish())
}

fn first_match(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let call = Call::new("regexp_match", args)?;
    let found = call.rows(rows, (2, NO_START), |_, asked| {
        let groups = asked.regex.find(asked.text, 0)?;
        Ok(groups.map(|groups| texts_of(asked.text, &groups)))
    })?;
    Ok(arrays(found))
}

fn matches(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let call = Call::new("regexp_matches", args)?;
    let mut budget = Budget::default();
    let found = call.rows(rows, (2, NO_START), |_, asked| {
        let (mut matches, mut all) = (asked.matches(), Vec::new());
        while let Some((whole, groups)) = matches.next()? {
            budget.add(groups.len() * (whole.len() + 4))?;
            all.push(texts_of(asked.text, &groups));
            if !asked.options.is_global {
                break;
            }
        }
        Ok(Some(all))
    })?;
    let mut out = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    for row in found {
        let is_valid = row.is_some();
        row.into_iter().flatten().for_each(|groups| out.values().append_value(groups));
        out.append(is_valid);
    }
    Ok(Arc::new(out.finish()))
}

fn split(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let call = Call::new("regexp_split_to_array", args)?;
    let mut budget = Budget::default();
    let parts = call.rows(rows, (2, NO_START), |_, asked| {
        let (text, mut matches, mut end) = (asked.text, asked.matches(), 0);
        let mut parts = Vec::new();
        while let Some((found, _)) = matches.next()? {
            // An empty match at the end, or just behind the one before, parts nothing.
            if found.start < text.len() && found.end > end {
                budget.add(found.start - end + 4)?;
                parts.push(Some(&text[end..found.start]));
                end = found.end;
            }
        }
        parts.push(Some(&text[end..]));
        Ok(Some(parts))
    })?;
    Ok(arrays(parts))
}

/// `regexp_replace(text, pattern, replacement [, flags])` and `(…, start [, n [, flags]])`.
fn replace(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let call = Call::new("regexp_replace", args)?;
    let replacements = strings(&args[2])?;
    let is_flags = args.get(3).is_some_and(|arg| *arg.data_type() == DataType::Utf8);
    let places = if is_flags { (3, NO_START) } else { (5, 3) };
    let mut budget = Budget::default();
    let texts = call.rows(rows, places, |row, asked| {
        let wanted = match (is_flags, args.len()) {
            (true, _) | (false, 3) if asked.options.is_global => 0,
            (false, 5..) => call.number(4, row, "n", 0..i64::MAX)?,
            _ => 1,
        };
        replaced(&asked, replacements.value(row), wanted, &mut budget).map(Some)
    })?;
    Ok(Arc::new(StringArray::from(texts)))
}

/// The text with its `wanted`-th match replaced, or with all of them (0).
fn replaced(asked: &Asked<'_, '_>, with: &str, wanted: i64, budget: &mut Budget) -> Result<String> {
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
