//! With psql, where it is installed.

use std::process::{Command, Stdio};

use super::*;

async fn psql(server: &Server, arguments: &[&str]) -> Option<(String, String)> {
    let url = format!("host=127.0.0.1 port={} user=me dbname=any", server.port);
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-d", &url]).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(&output.stdout), text(&output.stderr)))
}

#[tokio::test]
async fn psql_shows_rows_errors_notices_and_copies() {
    let server = Server::start(10).await;
    let check = async |sql: &str, out: &str, err: &str| {
        // Where psql is not installed there is nothing to check.
        if let Some((stdout, stderr)) = psql(&server, &["-c", sql]).await {
            assert_eq!((stdout.as_str(), stderr.as_str()), (out, err), "{sql}");
        }
    };
    check("numbers 3", "0\n1\n2\n", "").await;
    check("begin; numbers 1; commit", "BEGIN\n0\nCOMMIT\n", "").await;
    check("wrong", "", "ERROR:  syntax error at or near \"wrong\"\nLINE 1: wrong\n        ^\n")
        .await;
    check("notice look", "NOTICE\n", "NOTICE:  look\n").await;
    check("copy_out", "1\tone\n2\ttwo\n", "").await;
    // No warning about versions when psql greets.
    if let Some((stdout, stderr)) =
        psql(&server, &["-c", "\\echo :SERVER_VERSION_NAME", "-c", "\\encoding"]).await
    {
        let version = format!("15.0 (Tidemill {})\nUTF8\n", env!("CARGO_PKG_VERSION"));
        assert_eq!((stdout.as_str(), stderr.as_str()), (version.as_str(), ""));
    }
}

#[tokio::test]
async fn control_c_in_psql_ends_the_query() {
    let server = Server::start(10).await;
    let url = format!("host=127.0.0.1 port={} user=me dbname=any", server.port);
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-d", &url, "-c", "idle"]);
    let Ok(child) = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        return;
    };
    server.world.until_running(1).await;
    let interrupt = ["-INT", &child.id().to_string()].map(str::to_owned);
    assert!(Command::new("kill").args(interrupt).status().unwrap().success());
    server.world.until_running(0).await;
    let output =
        tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("ERROR:  canceling statement due to user request"), "{said}");
}
