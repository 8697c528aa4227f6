//! The formats by their names in WITH, and how CSV is told to be written.

use super::CsvStyle;
use crate::connect::options::{ConnectorOptions, bad};
use crate::error::{Error, Result, SqlState};

/// The options that say how CSV is written.
pub(crate) const CSV_OPTIONS: [&str; 5] = ["header", "delimiter", "quote", "escape", "null"];

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordFormat {
    Csv,
    Json,
    Text,
    Arrow,
}

impl RecordFormat {
    const NAMES: [(&str, RecordFormat, &str); 4] = [
        ("csv", RecordFormat::Csv, "csv"),
        ("json", RecordFormat::Json, "json (one object a line)"),
        ("text", RecordFormat::Text, "text (a line is the value of the one column)"),
        ("arrow", RecordFormat::Arrow, "arrow (an IPC stream)"),
    ];

    /// The one of this name, if it is one of `known`, which are those of the connector.
    pub(crate) fn of(name: &str, connector: &str, known: &[RecordFormat]) -> Result<RecordFormat> {
        let mut all = Self::NAMES.iter().filter(|(_, format, _)| known.contains(format));
        match all.clone().find(|(known, ..)| name.eq_ignore_ascii_case(known)) {
            Some((_, format, _)) => Ok(*format),
            None => {
                let mut names = all.next().map_or(String::new(), |(.., name)| (*name).to_owned());
                all.for_each(|(.., name)| names.push_str(&format!(", {name}")));
                let what = format!("connector '{connector}' does not read format '{name}'");
                Err(Error::unsupported(what).hint(format!("Its formats are: {names}.")))
            }
        }
    }
}

/// Whether the first line names the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CsvHeader {
    First,
    None,
}

/// How the options say that CSV is written.
pub(in crate::connect) fn csv_style(
    options: &ConnectorOptions<'_>,
) -> Result<(CsvStyle, CsvHeader)> {
    let quote = options.character("quote", b'"')?;
    let style = CsvStyle {
        delimiter: options.character("delimiter", b',')?,
        quote,
        escape: options.character("escape", quote)?,
        null: options.get("null").unwrap_or("").to_owned(),
    };
    if style.delimiter == style.quote {
        return Err(bad("options \"delimiter\" and \"quote\" must differ".into()));
    }
    let has_header = options.boolean("header")?.unwrap_or(false);
    Ok((style, if has_header { CsvHeader::First } else { CsvHeader::None }))
}

/// For each column the field that a header names after it; `whose`: the header, in errors. A column
/// that is not `needed` may be in none.
pub(crate) fn match_header<'c>(
    columns: impl Iterator<Item = &'c str>,
    names: &[String],
    whose: &str,
    needed: impl Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>> {
    let field_of = columns.enumerate().map(|(at, column)| {
        let exact = names.iter().position(|name| name == column);
        let found =
            exact.or_else(|| names.iter().position(|name| name.eq_ignore_ascii_case(column)));
        if found.is_none() && needed(at) {
            let what = format!("column \"{column}\" is not in the header of {whose}");
            return Err(Error::new(SqlState::UndefinedColumn, what)
                .hint(format!("The header names: {}.", names.join(", "))));
        }
        Ok(found)
    });
    field_of.collect()
}
