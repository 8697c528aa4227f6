//! Random graphs of operators against an independent engine: `tests/drivers/graphs.py`, with the Python
//! that `TIDEMILL_TEST_PYTHON` names. `TIDEMILL_GRAPH_VIEWS` and `TIDEMILL_GRAPH_SEED` ask for others than
//! 300 views of seed 1.

use std::process::Command;

use crate::server;

#[test]
fn views_of_random_queries_are_what_duckdb_answers() {
    let Ok(python) = std::env::var("TIDEMILL_TEST_PYTHON") else {
        eprintln!("DuckDB was NOT asked: TIDEMILL_TEST_PYTHON names no Python (.ci/run makes one)");
        return;
    };
    let views = std::env::var("TIDEMILL_GRAPH_VIEWS").unwrap_or_else(|_| "300".to_owned());
    let seed = std::env::var("TIDEMILL_GRAPH_SEED").unwrap_or_else(|_| "1".to_owned());
    let ports = [server::free_port().to_string(), server::free_port().to_string()];
    let output = Command::new(python)
        .arg(server::repository().join("tests/drivers/graphs.py"))
        .arg(env!("CARGO_BIN_EXE_tidemill"))
        .args(["--views", &views, "--seed", &seed, "--ports", &ports[0], &ports[1]])
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("all is well"), "{said}");
}
