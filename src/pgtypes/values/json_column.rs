//! A JSON value as a value of a column: arrays and rows from those of JSON, JSON as it stands,
//! anything else from its text.

use super::build::ColumnBuilder;
use super::json_scan::{JsonFault, JsonScanner};
use super::nested_in::{UNEVEN, matches_first};
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

impl ColumnBuilder {
    /// Appends what a JSON text says. A row takes the members of an object by their names, as
    /// [`named`] finds them; a member that is missing is NULL, one that no field is named after is
    /// passed over.
    pub(crate) fn append_json(&mut self, text: &str) -> Result<()> {
        let mut scanner = JsonScanner::new(text);
        scanner.blanks();
        append(&mut scanner, text, self)?;
        Ok(scanner.end()?)
    }
}

/// The column or field that a member of that name goes to; members tend to come in the order of the
/// columns.
#[inline]
pub(crate) fn named(names: &[String], key: &str, guess: usize) -> Option<usize> {
    if names.get(guess).is_some_and(|name| name == key) {
        return Some(guess);
    }
    // SQL folds names that are not quoted, JSON does not: userId may go to userid.
    let exact = names.iter().position(|name| name == key);
    exact.or_else(|| names.iter().position(|name| name.eq_ignore_ascii_case(key)))
}

/// Recurses with the depth of the type, not with that of the text.
fn append<'t>(
    scanner: &mut JsonScanner<'t>,
    text: &'t str,
    column: &mut ColumnBuilder,
) -> Result<()> {
    let begins = scanner.peek();
    match (begins, column.sql_type()) {
        (Some(b'n'), _) => {
            scanner.skip()?;
            column.append_null();
            Ok(())
        }
        (_, SqlType::Json | SqlType::Jsonb) => column.append_str(scanner.value()?),
        (Some(b'['), SqlType::Array(_)) => {
            column.append_list(|element| elements(scanner, text, element))
        }
        (Some(b'{'), SqlType::Row(fields)) => {
            let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
            let members = members(scanner, text, &names)?;
            column.append_row(|at, field| match members[at] {
                Some(member) => field.append_json(member),
                None => {
                    field.append_null();
                    Ok(())
                }
            })
        }
        (Some(b'"'), _) => {
            let string = scanner.string()?;
            column.append_str(string.read(text, &mut String::new())?)
        }
        _ => column.append_str(scanner.value()?),
    }
}

fn elements<'t>(
    scanner: &mut JsonScanner<'t>,
    text: &'t str,
    element: &mut ColumnBuilder,
) -> Result<i32> {
    let (mut count, mut first) = (0, None);
    let mut more = scanner.enter(b'[')?;
    while more {
        append(scanner, text, element)?;
        if matches!(element.sql_type(), SqlType::Array(_)) && !matches_first(element, &mut first) {
            return Err(Error::new(SqlState::BadText, "malformed JSON array").detail(UNEVEN));
        }
        count += 1;
        more = scanner.another(b'[')?;
    }
    Ok(count)
}

/// The text of the member for each of the names, the last one if there are several.
fn members<'t>(
    scanner: &mut JsonScanner<'t>,
    text: &'t str,
    names: &[String],
) -> Result<Vec<Option<&'t str>>, JsonFault> {
    let mut found = vec![None; names.len()];
    let mut scratch = String::new();
    let (mut guess, mut more) = (0, scanner.enter(b'{')?);
    while more {
        let name = scanner.name()?;
        let at = named(names, name.read(text, &mut scratch)?, guess);
        let value = scanner.value()?;
        if let Some(at) = at {
            found[at] = Some(value);
            guess = at + 1;
        }
        more = scanner.another(b'{')?;
    }
    Ok(found)
}
