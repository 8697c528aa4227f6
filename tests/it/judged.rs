//! What is kept up to date against answers that are not our own, by scripts of `tests/drivers` with the
//! Python that `TIDEMILL_TEST_PYTHON` names: those of DuckDB over the same rows, and cases with the answers
//! of PostgreSQL 15.

use std::process::Command;

use crate::server;

/// Runs a script, which prints "all is well" behind what differs if nothing does.
fn all_is_well(script: &str, arguments: &[&str]) {
    let Ok(python) = std::env::var("TIDEMILL_TEST_PYTHON") else {
        eprintln!("{script} was NOT run: TIDEMILL_TEST_PYTHON names no Python (.ci/run makes one)");
        return;
    };
    let ports = [server::free_port().to_string(), server::free_port().to_string()];
    let output = Command::new(python)
        .arg(server::repository().join("tests/drivers").join(script))
        .arg(env!("CARGO_BIN_EXE_tidemill"))
        .args(arguments)
        .args(["--ports", &ports[0], &ports[1]])
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("all is well"), "{said}");
}

/// `TIDEMILL_GRAPH_VIEWS` and `TIDEMILL_GRAPH_SEED` ask for others.
#[test]
fn views_of_random_queries_are_what_duckdb_answers() {
    let views = std::env::var("TIDEMILL_GRAPH_VIEWS").unwrap_or_else(|_| "300".to_owned());
    let seed = std::env::var("TIDEMILL_GRAPH_SEED").unwrap_or_else(|_| "1".to_owned());
    all_is_well("graphs.py", &["--views", &views, "--seed", &seed]);
}

/// Of so many events of the auction site, or of as many as `TIDEMILL_NEXMARK_EVENTS` says, 1 in 50 is a
/// person, 3 are auctions, the others bids.
#[test]
fn every_query_of_nexmark_is_what_duckdb_answers() {
    let events = std::env::var("TIDEMILL_NEXMARK_EVENTS").unwrap_or_else(|_| "4000".to_owned());
    all_is_well("nexmark.py", &["--events", &events, "--points", "4"]);
}

/// Asked once, as a view made before the rows and one made after them, by SUBSCRIBE and on window close.
#[test]
fn every_case_is_answered_in_all_its_ways() {
    let folder = server::repository().join("tests/cases");
    let files = std::fs::read_dir(folder).expect("the cases are there");
    let mut files: Vec<String> =
        files.map(|file| file.expect("a case").path().display().to_string()).collect();
    files.sort();
    all_is_well("cases.py", &files.iter().map(String::as_str).collect::<Vec<_>>());
}
