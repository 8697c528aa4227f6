//! The queries that are measured: as Tidemill runs them, and as one batch for DataFusion.

use crate::error::{Error, Result, SqlState};
use crate::limits;

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// Its name on the command line.
    pub name: String,
    /// In Tidemill's SQL, with EMIT.
    pub sql: String,
    /// The same question in DataFusion's own SQL.
    pub batch: String,
    /// It gives a row again when that changes: the batch has only the last version.
    pub revises: bool,
}

macro_rules! query {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../sql/nexmark/", $name, ".sql")), None)
    };
    ($name:literal, batch) => {
        (
            $name,
            include_str!(concat!("../../../sql/nexmark/", $name, ".sql")),
            Some(include_str!(concat!("../../../sql/nexmark/batch/", $name, ".sql"))),
        )
    };
}

/// Their names, texts, and how the batch asks, where that is not the same but for EMIT.
const ALL: [(&str, &str, Option<&str>); 17] = [
    query!("q0"),
    query!("q1"),
    query!("q2"),
    query!("q3"),
    query!("q4"),
    query!("q5", batch),
    query!("q7", batch),
    query!("q8", batch),
    query!("q9"),
    query!("q13"),
    query!("q18"),
    query!("q19"),
    query!("q20"),
    query!("qk", batch),
    query!("qhop", batch),
    query!("upd"),
    query!("wc", batch),
];

/// Those that give a row again when it changes.
const REVISING: [&str; 5] = ["q4", "q9", "q18", "q19", "upd"];

/// The names that are measured when none is given.
pub(super) fn names() -> Vec<String> {
    ALL.iter().map(|(name, ..)| (*name).to_owned()).collect()
}

/// A query by its name. `qhop10` is `qhop` over windows of 10 seconds: each bid is then in 10 of
/// them.
pub(super) fn find(name: &str) -> Result<Query> {
    if let Some((known, sql, batch)) = ALL.iter().find(|(known, ..)| *known == name) {
        let sql = without_semicolon(sql);
        let batch = batch.map_or_else(|| without_emit(&sql), without_semicolon);
        return Ok(Query {
            name: (*known).to_owned(),
            sql,
            batch,
            revises: REVISING.contains(known),
        });
    }
    let windows = name.strip_prefix("qhop").and_then(|windows| windows.parse().ok());
    match windows.filter(|windows| (1..=limits::BENCH_WINDOWS).contains(windows)) {
        Some(windows) => hop(name, windows),
        None => Err(Error::new(
            SqlState::BadArgument,
            format!("there is no query \"{name}\" to measure"),
        )
        .hint(format!(
            "There are: {}; and qhopN, which is qhop with N windows for each row instead of 60.",
            names().join(", ")
        ))),
    }
}

fn hop(name: &str, windows: u32) -> Result<Query> {
    let known = find("qhop")?;
    Ok(Query {
        name: name.to_owned(),
        sql: known.sql.replace("'60 seconds'", &format!("'{windows} seconds'")),
        batch: known
            .batch
            .replace("(0, 59)", &format!("(0, {})", windows - 1))
            .replace("start + 60", &format!("start + {windows}")),
        revises: false,
    })
}

fn without_semicolon(sql: &str) -> String {
    sql.trim_end().trim_end_matches(';').to_owned()
}

/// The query alone: what its comment says is no column.
fn without_emit(sql: &str) -> String {
    let query = sql.rsplit_once("\nEMIT ").map_or(sql, |(query, _)| query);
    query.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_can_be_read() {
        for name in names() {
            let query = find(&name).unwrap();
            assert!(crate::sql::parse_query(&query.sql).unwrap().emit.is_some(), "{name}");
            assert!(!query.batch.contains("EMIT"), "{name}");
        }
    }

    #[test]
    fn a_hop_can_have_any_number_of_windows() {
        let query = find("qhop600").unwrap();
        assert!(query.sql.contains("'600 seconds'") && !query.sql.contains("'60 seconds'"));
        assert!(query.batch.contains("(0, 599)") && query.batch.contains("start + 600)"));
        for name in ["qhop0", "qhopx", "qhop99999", "q999"] {
            assert!(find(name).unwrap_err().message().contains(name));
        }
    }
}
