//! Values of any type as text within text: `concat`, `format` and their like.
//! They are shown as a client is shown them.

use std::iter::Peekable;
use std::str::Chars;

use arrow::datatypes::DataType;
use datafusion::functions::string;
use datafusion::logical_expr::ColumnarValue;

use super::forms::{ArgumentsOf, Form, FormValue, SEPARATOR, constant, loose, ok, strict};
use super::strings::{quoted_name, quoted_text};
use crate::error::{Error, Result, SqlState};
use crate::limits;

pub(super) fn forms() -> Vec<Form> {
    vec![
        loose("concat(any...) text", |a| joined(a, 0, "")).agreed(string::concat, are_texts),
        loose("concat_ws(text, any...) text", |a| match a.some(0) {
            Some(separator) => joined(a, 1, separator),
            None => Ok(FormValue::Null),
        })
        .agreed(string::concat_ws, |args| {
            let separator = constant(&args[0]).and_then(|text| text.try_as_str().flatten());
            are_texts(args) && separator.is_some_and(|separator| separator.len() <= SEPARATOR)
        }),
        loose("format(text) text", |a| ok(a.some(0).map(|form| formatted(form, a)).transpose()?)),
        loose("format(text, any...) text", |a| {
            ok(a.some(0).map(|form| formatted(form, a)).transpose()?)
        }),
        // As a cast to text has it, not as a client is shown it.
        strict("quote_literal(bool) text", |a| ok(format!("'{}'", a.truth(0)))),
        strict("quote_literal(any) text", |a| ok(quoted_text(a.text(0)))),
        loose("quote_nullable(bool) text", |a| {
            if a.is_null(0) { ok("NULL") } else { ok(format!("'{}'", a.truth(0))) }
        }),
        loose("quote_nullable(any) text", |a| ok(a.some(0).map_or("NULL".to_owned(), quoted_text))),
    ]
}

fn are_texts(args: &[ColumnarValue]) -> bool {
    args.iter().all(|arg| arg.data_type() == DataType::Utf8)
}

fn too_long() -> Error {
    Error::new(SqlState::ProgramLimit, "requested length too large")
        .hint(format!("A value may have {} MiB at the most.", limits::VALUE_BYTES >> 20))
}

fn joined<'a>(a: ArgumentsOf<'a>, from: usize, separator: &str) -> Result<FormValue<'a>> {
    let values = || (from..a.count()).filter_map(|n| a.some(n));
    let length: usize = values().map(|value| value.len() + separator.len()).sum();
    if length > limits::VALUE_BYTES {
        return Err(too_long());
    }
    let mut out = String::with_capacity(length);
    for (n, value) in values().enumerate() {
        if n > 0 {
            out.push_str(separator);
        }
        out.push_str(value);
    }
    ok(out)
}

fn bad(what: impl Into<String>) -> Error {
    Error::new(SqlState::BadArgument, what)
}

/// One of the places in the text of `format` that a value is put into.
struct Specifier {
    /// Which argument; None: the next one.
    argument: Option<usize>,
    is_left: bool,
    width: SpecifierWidth,
    kind: char,
}

enum SpecifierWidth {
    Is(i64),
    /// An argument says it; None: the next one.
    Given(Option<usize>),
}

/// `%[n$][-][width]kind`, behind the `%`.
fn specifier(rest: &mut Peekable<Chars<'_>>) -> Result<Specifier> {
    let unterminated = || bad("unterminated format() type specifier");
    let position = |n: i64| match usize::try_from(n) {
        Ok(n @ 1..) => Ok(n),
        _ => Err(bad("format specifies argument 0, but arguments are numbered from 1")),
    };
    let (mut argument, mut is_left, mut width) = (None, false, SpecifierWidth::Is(0));
    let first = digits(rest)?;
    match first {
        Some(n) if rest.next_if_eq(&'$').is_some() => argument = Some(position(n)?),
        Some(n) => width = SpecifierWidth::Is(n),
        None => {}
    }
    if argument.is_some() || first.is_none() {
        while rest.next_if_eq(&'-').is_some() {
            is_left = true;
        }
        if rest.next_if_eq(&'*').is_some() {
            width = SpecifierWidth::Given(match digits(rest)? {
                Some(_) if rest.peek().is_none() => return Err(unterminated()),
                Some(_) if rest.next_if_eq(&'$').is_none() => {
                    return Err(bad("width argument position must be ended by \"$\""));
                }
                Some(n) => Some(position(n)?),
                None => None,
            });
        } else if let Some(n) = digits(rest)? {
            width = SpecifierWidth::Is(n);
        }
    }
    let kind = rest.next().ok_or_else(unterminated)?;
    Ok(Specifier { argument, is_left, width, kind })
}

fn digits(rest: &mut Peekable<Chars<'_>>) -> Result<Option<i64>> {
    let mut text = String::new();
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        text.push(digit);
    }
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse::<i32>();
    number
        .map(|n| Some(i64::from(n)))
        .map_err(|_| Error::new(SqlState::OutOfRange, "number is out of range"))
}

/// `format(text, …)`: `%s` a value, `%I` a name, `%L` a constant, `%%` the sign.
fn formatted(form: &str, a: ArgumentsOf<'_>) -> Result<String> {
    let (mut out, mut last, mut rest) = (String::new(), 0, form.chars().peekable());
    while let Some(c) = rest.next() {
        if c != '%' || rest.next_if_eq(&'%').is_some() {
            out.push(c);
            continue;
        }
        let specifier = specifier(&mut rest)?;
        if !matches!(specifier.kind, 's' | 'I' | 'L') {
            let what = format!("unrecognized format() type specifier \"{}\"", specifier.kind);
            return Err(bad(what).hint("For a single \"%\" use \"%%\"."));
        }
        let mut taken = |position: Option<usize>| {
            last = position.unwrap_or(last + 1);
            if last < a.count() { Ok(last) } else { Err(bad("too few arguments for format()")) }
        };
        let width = match specifier.width {
            SpecifierWidth::Is(width) => width,
            SpecifierWidth::Given(position) => {
                let text = a.some(taken(position)?).unwrap_or("0");
                text.parse::<i32>().map(i64::from).map_err(|_| {
                    let what = format!("invalid input syntax for type integer: \"{text}\"");
                    Error::new(SqlState::BadText, what)
                })?
            }
        };
        let value = match (specifier.kind, a.some(taken(specifier.argument)?)) {
            ('s', value) => value.unwrap_or_default().to_owned(),
            ('L', value) => value.map_or("NULL".to_owned(), quoted_text),
            (_, Some(name)) => quoted_name(name),
            (_, None) => {
                let what = "null values cannot be formatted as an SQL identifier";
                return Err(Error::new(SqlState::NullNotAllowed, what));
            }
        };
        let wanted = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
        let padding = wanted.saturating_sub(value.chars().count());
        if out.len().saturating_add(value.len()).saturating_add(padding) > limits::VALUE_BYTES {
            return Err(too_long());
        }
        let is_left = specifier.is_left || width < 0;
        let blanks = std::iter::repeat_n(' ', padding);
        if is_left {
            out.push_str(&value);
            out.extend(blanks);
        } else {
            out.extend(blanks);
            out.push_str(&value);
        }
    }
    Ok(out)
}
