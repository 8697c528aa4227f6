//! A bound for `regexp_replace`, which can put a long text in place of each character.

use datafusion::arrow::array::{Array, StringArray};
use datafusion::functions::regex::regexp_replace;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF};
use regex::Regex;

use super::scalar::strings;
use super::text::{Budget, at, bounded, columns};
use crate::error::Result;

/// Up to how many bytes a row is counted for what it could be at the most; beyond, the matches are
/// counted.
const ROUGHLY: usize = 64 << 10;

pub(super) fn all() -> Vec<ScalarUDF> {
    vec![bounded(regexp_replace(), replaced)]
}

fn value_at(column: &StringArray, row: usize) -> Option<&str> {
    let row = at(column, row);
    column.is_valid(row).then(|| column.value(row))
}

/// `regexp_replace(text, pattern, replacement [, flags])`.
fn replaced(args: &[ColumnarValue], rows: usize) -> Result<()> {
    let columns = columns(args)?.iter().map(strings).collect::<Result<Vec<StringArray>>>()?;
    let [texts, patterns, replacements, flags @ ..] = &columns[..] else { return Ok(()) };
    let mut last: Option<(&str, Option<Regex>)> = None;
    let mut budget = Budget::default();
    for row in 0..rows {
        let value = |column| value_at(column, row);
        let (Some(text), Some(pattern), Some(with)) =
            (value(texts), value(patterns), value(replacements))
        else {
            continue;
        };
        let is_for_all = flags.first().and_then(value).is_some_and(|flags| flags.contains('g'));
        // Each reference to a group repeats at the most what has matched.
        let fixed = text.len().saturating_mul(1 + with.matches('\\').count());
        let mut matches = if is_for_all { text.len() + 1 } else { 1 };
        if matches.saturating_mul(with.len()) > ROUGHLY && is_for_all {
            if last.as_ref().is_none_or(|(known, _)| *known != pattern) {
                last = Some((pattern, Regex::new(pattern).ok()));
            }
            // What is no pattern is refused by the function itself.
            matches = match &last {
                Some((_, Some(regex))) => regex.find_iter(text).count(),
                _ => 0,
            };
        }
        budget.add(fixed.saturating_add(matches.saturating_mul(with.len())))?;
    }
    Ok(())
}
