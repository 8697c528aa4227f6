//! What we tell people to type works: the README's SQL, the quickstart and every recipe of the
//! cookbook.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::server::{self, Server, tidemill};

/// A page that has not come to its end by then never will.
const PAGE: Duration = Duration::from_secs(120);

/// Runs a script with psql, which must end by itself and without an error.
fn psql(server: &Server, what: &str, script: &std::path::Path) -> String {
    let mut command = server.psql_command();
    command.args(["-v", "ON_ERROR_STOP=1", "-f"]).arg(script);
    let out = script.with_extension("out");
    let errors = script.with_extension("err");
    let file = |path: &std::path::Path| Stdio::from(std::fs::File::create(path).expect("created"));
    let mut child =
        command.stdout(file(&out)).stderr(file(&errors)).spawn().expect("psql is installed");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("our child") {
            break status;
        }
        if begun.elapsed() > PAGE {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "{what} does not end by itself:\n{}",
                std::fs::read_to_string(&out).unwrap_or_default()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = std::fs::read_to_string(&errors).expect("UTF-8");
    assert!(status.success() && !said.contains("ERROR"), "{what}: {status}\n{said}");
    std::fs::read_to_string(&out).expect("UTF-8")
}

/// The ```sql blocks of a Markdown text, with the line each begins at.
fn sql_blocks(markdown: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in markdown.lines().enumerate() {
        match &mut open {
            None if line.trim_end() == "```sql" => open = Some((number + 2, String::new())),
            None => {}
            Some(_) if line.starts_with("```") => blocks.extend(open.take()),
            Some((_, text)) => text.extend([line, "\n"]),
        }
    }
    blocks
}

#[test]
fn the_readmes_sql_runs_as_it_stands() {
    let readme = std::fs::read_to_string(server::repository().join("README.md")).expect("a README");
    let blocks = sql_blocks(&readme);
    assert!(blocks.len() >= 3, "the README shows SQL");
    let (server, dir) = (Server::ephemeral(), server::directory());
    for (line, sql) in blocks {
        let script = dir.path().join(format!("readme-{line}.sql"));
        std::fs::write(&script, sql).expect("written");
        psql(&server, &format!("README.md:{line}"), &script);
    }
    for command in ["cargo run --release", "cargo test"] {
        assert!(readme.contains(command), "the README gives the command {command}");
    }
}

#[test]
fn the_quickstart_can_be_pasted_into_psql() {
    let (server, dir) = (Server::ephemeral(), server::directory());
    let text = std::fs::read_to_string(server::repository().join("sql/quickstart.sql"))
        .expect("sql/quickstart.sql");
    let script = dir.path().join("quickstart.sql");
    std::fs::write(&script, text).expect("written");
    let answer = psql(&server, "sql/quickstart.sql", &script);
    assert!(answer.lines().count() > 5, "the quickstart shows something:\n{answer}");
}

#[test]
fn every_recipe_of_the_cookbook_runs() {
    let cookbook = server::repository().join("sql/cookbook");
    let entries = std::fs::read_dir(&cookbook).expect("sql/cookbook");
    let mut recipes: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    recipes.retain(|path| path.extension().is_some_and(|e| e == "sql"));
    recipes.sort();
    assert!(
        recipes.len() >= 6,
        "count per minute, spend, enrich, word count, running totals, late rows"
    );
    for recipe in recipes {
        let name = recipe.display().to_string();
        let answer = tidemill(&server::repository(), &["run", &name, "--format", "csv"]);
        assert!(answer.code == 0, "{name}: {}", answer.stderr);
        assert!(answer.stdout.lines().count() > 1, "{name} shows nothing");
        let (server, dir) = (Server::ephemeral(), server::directory());
        let copy = dir.path().join("recipe.sql");
        std::fs::copy(&recipe, &copy).expect("copied");
        psql(&server, &name, &copy);
    }
}

#[test]
fn a_block_is_what_stands_between_the_fences() {
    let blocks = sql_blocks("a\n```sql\nSELECT 1;\n```\n```text\nno\n```\n");
    assert_eq!(blocks, [(3, "SELECT 1;\n".to_owned())]);
}
