//! COPY's options, in the new syntax `(FORMAT csv, HEADER)` and the old `CSV HEADER`, checked and
//! with their defaults as the manual of Postgres gives them.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::names::ident_name;
use super::query::option_bool;
use super::reader::Reader;
use super::statement::{CopyFormat, CopyHeader, CopyOptions, ForceColumns};
use crate::error::{Error, Result, SqlState};

/// Which way the data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

/// What was written; None: nothing.
#[derive(Default)]
struct Given {
    format: Option<CopyFormat>,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<CopyHeader>,
    quote: Option<String>,
    escape: Option<String>,
    encoding: Option<String>,
    freeze: Option<bool>,
    force_quote: Option<ForceColumns>,
    force_not_null: Option<ForceColumns>,
    force_null: Option<ForceColumns>,
}

/// Reads the options that follow the target.
pub(super) fn options(r: &mut Reader, direction: Direction, binary: bool) -> Result<CopyOptions> {
    let mut given = Given { format: binary.then_some(CopyFormat::Binary), ..Given::default() };
    let with = r.eat("WITH");
    if r.eat_token(&Token::LParen) {
        loop {
            new_option(r, &mut given)?;
            if !r.eat_token(&Token::Comma) {
                break;
            }
        }
        r.expect_token(&Token::RParen)?;
    } else {
        let before = r.position();
        while old_option(r, &mut given)? {}
        if with && r.position() == before {
            return Err(r.unexpected());
        }
    }
    checked(given, direction)
}

fn once<T>(slot: &mut Option<T>, value: T, position: usize) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => {
            Err(Error::new(SqlState::Syntax, "conflicting or redundant options").at(position))
        }
    }
}

fn new_option(r: &mut Reader, given: &mut Given) -> Result<()> {
    let position = r.position();
    let name = r.word()?;
    match name.as_str() {
        "FORMAT" => {
            let written = text(r)?;
            let format = match written.to_ascii_lowercase().as_str() {
                "text" => CopyFormat::Text,
                "csv" => CopyFormat::Csv,
                "binary" => CopyFormat::Binary,
                _ => {
                    let message = format!("COPY format \"{written}\" not recognized");
                    return Err(Error::new(SqlState::BadArgument, message)
                        .hint("Formats are text, csv and binary.")
                        .at(position));
                }
            };
            once(&mut given.format, format, position)
        }
        "DELIMITER" => once(&mut given.delimiter, text(r)?, position),
        "NULL" => once(&mut given.null, text(r)?, position),
        "QUOTE" => once(&mut given.quote, text(r)?, position),
        "ESCAPE" => once(&mut given.escape, text(r)?, position),
        "ENCODING" => once(&mut given.encoding, text(r)?, position),
        "FREEZE" => once(&mut given.freeze, option_bool(r)?, position),
        "HEADER" => {
            let header = if r.sees("MATCH") {
                r.next();
                CopyHeader::Match
            } else if option_bool(r)? {
                CopyHeader::On
            } else {
                CopyHeader::Off
            };
            once(&mut given.header, header, position)
        }
        "FORCE_QUOTE" => once(&mut given.force_quote, columns(r)?, position),
        "FORCE_NOT_NULL" => once(&mut given.force_not_null, columns(r)?, position),
        "FORCE_NULL" => once(&mut given.force_null, columns(r)?, position),
        _ => Err(Error::new(
            SqlState::Syntax,
            format!("option \"{}\" not recognized", name.to_lowercase()),
        )
        .at(position)),
    }
}

/// The value of an option: a string, or a word as in FORMAT csv.
fn text(r: &mut Reader) -> Result<String> {
    match r.eat_string() {
        Some(text) => Ok(text),
        None => r.ident().map(|ident| ident_name(&ident)),
    }
}

/// `(a, b)` or `*`.
fn columns(r: &mut Reader) -> Result<ForceColumns> {
    if r.eat_token(&Token::Mul) {
        return Ok(ForceColumns::All);
    }
    r.expect_token(&Token::LParen)?;
    let columns = r.comma_separated(|r| r.ident().map(|ident| ident_name(&ident)))?;
    r.expect_token(&Token::RParen)?;
    Ok(ForceColumns::Some(columns))
}

/// One option of the syntax before Postgres 9.0; false if there is none.
fn old_option(r: &mut Reader, given: &mut Given) -> Result<bool> {
    let position = r.position();
    if r.eat("BINARY") {
        once(&mut given.format, CopyFormat::Binary, position)?;
    } else if r.eat("CSV") {
        once(&mut given.format, CopyFormat::Csv, position)?;
    } else if r.eat("HEADER") {
        once(&mut given.header, CopyHeader::On, position)?;
    } else if r.eat("FREEZE") {
        once(&mut given.freeze, true, position)?;
    } else if let Some(name) =
        r.eat_one(&["DELIMITERS", "DELIMITER", "NULL", "QUOTE", "ESCAPE", "ENCODING"])
    {
        r.eat("AS");
        let value = r.string()?;
        let slot = match name {
            "NULL" => &mut given.null,
            "QUOTE" => &mut given.quote,
            "ESCAPE" => &mut given.escape,
            "ENCODING" => &mut given.encoding,
            _ => &mut given.delimiter,
        };
        once(slot, value, position)?;
    } else if r.eat("FORCE") {
        if r.eat_all(&["NOT", "NULL"]) {
            once(&mut given.force_not_null, old_columns(r)?, position)?;
        } else if r.eat("NULL") {
            once(&mut given.force_null, old_columns(r)?, position)?;
        } else {
            r.expect("QUOTE")?;
            once(&mut given.force_quote, old_columns(r)?, position)?;
        }
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn old_columns(r: &mut Reader) -> Result<ForceColumns> {
    if r.eat_token(&Token::Mul) {
        return Ok(ForceColumns::All);
    }
    r.comma_separated(|r| r.ident().map(|ident| ident_name(&ident))).map(ForceColumns::Some)
}

fn refuse(what: impl Into<String>) -> Error {
    Error::unsupported(what)
}

fn bad(what: impl Into<String>) -> Error {
    Error::new(SqlState::BadArgument, what)
}

/// Fills in the defaults and checks what does not go together, in Postgres' words.
fn checked(given: Given, direction: Direction) -> Result<CopyOptions> {
    let format = given.format.unwrap_or(CopyFormat::Text);
    let csv = format == CopyFormat::Csv;
    if format == CopyFormat::Binary {
        refuse_in_binary(&given)?;
    }
    if let Some(encoding) = &given.encoding
        && !["utf8", "utf-8", "unicode"].contains(&encoding.to_ascii_lowercase().as_str())
    {
        return Err(refuse(format!("encoding \"{encoding}\" is not supported"))
            .hint("The encoding is UTF8."));
    }
    let delimiter = match &given.delimiter {
        Some(written) => one_byte(written, "delimiter")?,
        None if csv => b',',
        None => b'\t',
    };
    if matches!(delimiter, b'\n' | b'\r') {
        return Err(bad("COPY delimiter cannot be newline or carriage return"));
    }
    if format == CopyFormat::Text && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&delimiter)
    {
        return Err(bad(format!("COPY delimiter cannot be \"{}\"", delimiter as char)));
    }
    let null = given.null.clone().unwrap_or_else(|| if csv { String::new() } else { "\\N".into() });
    if null.contains(['\n', '\r']) {
        return Err(bad("COPY null representation cannot use newline or carriage return"));
    }
    let (quote, escape) = quotes(&given, csv, delimiter)?;
    if null.as_bytes().contains(&delimiter) && format != CopyFormat::Binary {
        return Err(bad("COPY delimiter character must not appear in the NULL specification"));
    }
    if csv && null.as_bytes().contains(&quote) {
        return Err(bad("CSV quote character must not appear in the NULL specification"));
    }
    if direction == Direction::Out && given.header == Some(CopyHeader::Match) {
        return Err(refuse("cannot use \"match\" with HEADER in COPY TO"));
    }
    forces(&given, csv, direction)?;
    Ok(CopyOptions {
        format,
        delimiter,
        null,
        header: given.header.unwrap_or(CopyHeader::Off),
        quote,
        escape,
        force_quote: given.force_quote,
        force_not_null: given.force_not_null,
        force_null: given.force_null,
    })
}

fn refuse_in_binary(given: &Given) -> Result<()> {
    let named = [
        (given.delimiter.is_some(), "DELIMITER", SqlState::Syntax),
        (given.null.is_some(), "NULL", SqlState::Syntax),
        (given.header.is_some_and(|h| h != CopyHeader::Off), "HEADER", SqlState::NotSupported),
    ];
    match named.iter().find(|(given, ..)| *given) {
        Some((_, name, state)) => {
            Err(Error::new(*state, format!("cannot specify {name} in BINARY mode")))
        }
        None => Ok(()),
    }
}

fn one_byte(written: &str, what: &str) -> Result<u8> {
    match written.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(refuse(format!("COPY {what} must be a single one-byte character"))),
    }
}

fn quotes(given: &Given, csv: bool, delimiter: u8) -> Result<(u8, u8)> {
    for (name, value) in [("QUOTE", &given.quote), ("ESCAPE", &given.escape)] {
        if value.is_some() && !csv {
            return Err(refuse(format!("COPY {name} requires CSV mode")).hint("Add FORMAT csv."));
        }
    }
    let quote = given.quote.as_deref().map_or(Ok(b'"'), |written| one_byte(written, "quote"))?;
    let escape =
        given.escape.as_deref().map_or(Ok(quote), |written| one_byte(written, "escape"))?;
    if csv && quote == delimiter {
        return Err(bad("COPY delimiter and quote must be different"));
    }
    Ok((quote, escape))
}

fn forces(given: &Given, csv: bool, direction: Direction) -> Result<()> {
    for (name, value, only) in [
        ("FORCE_QUOTE", &given.force_quote, Direction::Out),
        ("FORCE_NOT_NULL", &given.force_not_null, Direction::In),
        ("FORCE_NULL", &given.force_null, Direction::In),
    ] {
        if value.is_none() {
            continue;
        }
        if !csv {
            return Err(refuse(format!("COPY {name} requires CSV mode")).hint("Add FORMAT csv."));
        }
        if direction != only {
            let to = if only == Direction::In { "TO" } else { "FROM" };
            return Err(refuse(format!("COPY {name} cannot be used with COPY {to}")));
        }
    }
    Ok(())
}
