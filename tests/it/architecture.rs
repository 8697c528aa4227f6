//! Reads `src/` and checks the house rules of DESIGN section 3: the text is the test's data.
//!
//! A room is a directory (or a file) directly under `src/`. It may name `crate::room` only for rooms on lower floors; every
//! other permission is a row of [`EXCEPTIONS`] with its reason. Comments and the tests inside a file are not read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::server;

/// From the ground up. A room imports from lower floors.
const FLOORS: &[&[&str]] = &[
    &["error", "limits", "clock"],
    &["time", "types", "store"],
    &["state", "log"],
    &["operators", "connect"],
    &["plan", "catalog", "sql"],
    &["exec"],
    &["session"],
    &["wire", "http"],
    &["bench", "cli", "server", "lib", "main"],
];

/// (room, may use, because)
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("plan", "catalog", "the planner looks names up"),
    ("plan", "sql", "the planner reads the statement types"),
    ("limits", "error", "a limit that is passed says so"),
    ("cli", "server", "the subcommand starts it"),
    ("cli", "bench", "the subcommand starts it"),
    ("main", "cli", "main hands over"),
    ("types", "time", "a timestamp's text and its microseconds are one subject"),
];

/// (words that name an outside thing, rooms that may, because)
const OUTSIDE: &[(&str, &[&str], &str)] = &[
    (r"\bpgwire::", &["wire"], "only wire knows the protocol's messages"),
    (r"\b(tokio_)?rustls\b", &["wire"], "TLS is between the socket and the messages"),
    (r"\bsqlparser::", &["sql", "plan", "session"], "sql parses; plan and session take its tree apart"),
    (r"\bfjall::", &["store"], "the storage crate can be replaced behind the Store trait"),
    (r"\b(std|tokio)::fs\b", &["store", "connect", "cli", "server"], "what reads files is in one place each"),
    (
        r"\bFile::(open|create)\b",
        &["store", "connect", "cli", "server"],
        "what reads files is in one place each",
    ),
    (r"\b(SystemTime|Instant|Utc|Local)::now\b", &["clock"], "a test can replace the clock"),
    (r"\baxum::", &["http"], "HTTP is one of two ways in"),
    (r"\bclap::", &["cli", "server", "main"], "flags are read in the attic"),
    (r"\bnexmark::", &["connect", "bench"], "generated events are a source"),
];

/// Rooms without I/O, async, clock or randomness.
const PURE: &[&str] = &["time", "types", "state", "operators"];
const IMPURE: &str = r"\basync fn\b|\.await\b|\btokio::|\bstd::(net|thread)::|\brand::|\bSystemTime\b";

const LINES: usize = 800;

struct Source {
    room: String,
    path: PathBuf,
    text: String,
    /// Without comments and without the tests at its end, line by line.
    code: Vec<(usize, String)>,
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    find(&server::repository().join("src"), &mut files);
    assert!(!files.is_empty());
    files.into_iter().map(|path| Source::read(&path)).collect()
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut paths: Vec<_> =
        std::fs::read_dir(dir).expect("readable").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => find(&path, files),
            false if path.extension().is_some_and(|e| e == "rs") => files.push(path),
            false => {}
        }
    }
}

impl Source {
    fn read(path: &Path) -> Source {
        let text = std::fs::read_to_string(path).expect("UTF-8");
        let short = path.strip_prefix(server::repository().join("src")).expect("below src").to_owned();
        let first = short.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs").to_owned();
        let is_test_file = short.file_name().is_some_and(|name| name == "tests.rs");
        let code = text
            .lines()
            .enumerate()
            .take_while(|(_, line)| !is_test_file && line.trim() != "#[cfg(test)]")
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(number, line)| (number + 1, line.split(" // ").next().unwrap_or_default().to_owned()))
            .collect();
        Source { room, path: short, text, code }
    }

    fn at(&self, line: usize) -> String {
        format!("src/{}:{line}", self.path.display())
    }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn may_use(room: &str, other: &str) -> bool {
    let excepted = EXCEPTIONS.iter().any(|(from, to, _)| (*from, *to) == (room, other));
    room == other || excepted || floor(room) > floor(other)
}

/// The rooms that a line names: `crate::room…` and `crate::{room::…, other::…}`.
fn named(line: &str) -> BTreeSet<String> {
    let single = Regex::new(r"\b(?:crate|tidemill)::([a-z_]+)").expect("a pattern");
    let mut rooms: BTreeSet<String> = single.captures_iter(line).map(|c| c[1].to_owned()).collect();
    if let Some((_, group)) = line.split_once("crate::{") {
        let mut depth = 0;
        for part in group.split_inclusive(['{', '}', ',']) {
            let name: String =
                part.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if depth == 0 && !name.is_empty() {
                rooms.insert(name);
            }
            depth += part.matches('{').count() as i32 - part.matches('}').count() as i32;
        }
    }
    rooms
}

#[test]
fn rooms_import_only_from_lower_floors() {
    let mut wrong = Vec::new();
    for source in sources() {
        if floor(&source.room).is_none() {
            wrong.push(format!(
                "src/{}: the room is on no floor; give it a place in FLOORS",
                source.path.display()
            ));
        }
        for (number, line) in &source.code {
            for room in named(line) {
                // A name that is no room is a macro or an item of lib.rs.
                if floor(&room).is_some() && !may_use(&source.room, &room) {
                    wrong.push(format!("{}: {} may not use {room}", source.at(*number), source.room));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn outside_crates_are_named_only_in_their_rooms() {
    let mut wrong = Vec::new();
    for (pattern, rooms, because) in OUTSIDE {
        let pattern = Regex::new(pattern).expect("a pattern");
        for source in sources().iter().filter(|source| !rooms.contains(&source.room.as_str())) {
            let hits = source.code.iter().filter(|(_, line)| pattern.is_match(line));
            wrong.extend(hits.map(|(n, line)| format!("{}: {} ({because})", source.at(*n), line.trim())));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_lower_rooms_are_pure() {
    let impure = Regex::new(IMPURE).expect("a pattern");
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.room.as_str())) {
        let hits = source.code.iter().filter(|(_, line)| impure.is_match(line));
        wrong.extend(hits.map(|(n, line)| format!("{}: {}", source.at(*n), line.trim())));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_begins_by_saying_what_it_is_and_holds_one_idea() {
    let mut wrong = Vec::new();
    for source in sources() {
        let path = source.path.display();
        if !source.text.starts_with("//!") {
            wrong.push(format!("src/{path} does not begin with //!"));
        }
        let lines = source.text.lines().count();
        if lines > LINES {
            wrong.push(format!("src/{path} has {lines} lines; no file has more than {LINES}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_to_be_done_in_the_code() {
    let promise = Regex::new(r"\b(todo|unimplemented|dbg)!|#\[ignore|\bFIXME\b").expect("a pattern");
    let mut wrong = Vec::new();
    for source in sources() {
        let hits = source.text.lines().enumerate().filter(|(_, line)| promise.is_match(line));
        wrong.extend(hits.map(|(n, line)| format!("{}: {}", source.at(n + 1), line.trim())));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_group_of_imports_is_taken_apart() {
    let rooms: Vec<String> =
        named("use crate::{error::{Error, Result}, plan::x, time};").into_iter().collect();
    assert_eq!(rooms, ["error", "plan", "time"]);
    assert!(may_use("exec", "plan") && !may_use("plan", "exec") && !may_use("wire", "http"));
}
