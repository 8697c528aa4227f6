//! Reads `src/` and checks the house rules of DESIGN section 3: the text is the test's data.
//!
//! A room is a directory (or a file) directly under `src/`. It may name `crate::room` only for
//! rooms on lower floors; every other permission is a row of [`EXCEPTIONS`] with its reason.
//! Comments and the tests inside a file are not read.

mod crates;
mod imports;
mod leftovers;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use imports::Imports;
use source::{item_end, sources};

/// From the ground up. A room imports from lower floors.
const FLOORS: &[&[&str]] = &[
    &["limits", "clock", "memory"],
    &["error", "spawn", "announced"],
    &["time", "store"],
    &["types"],
    &["pgtypes"],
    &["state", "log"],
    &["operators", "connect", "catalog"],
    &["sql"],
    &["postgres"],
    &["plan"],
    &["exec"],
    &["session"],
    &["wire", "http"],
    &["cli", "server", "lib", "main"],
];

/// (room, may use, because)
const EXCEPTIONS: &[(&str, &str, &str)] =
    &[("cli", "server", "the subcommand starts it"), ("main", "cli", "main hands over")];

/// (words that name an outside thing, rooms that may, because)
const OUTSIDE: &[(&str, &[&str], &str)] = &[
    (r"\bpgwire::", &["wire"], "only wire knows the protocol's messages"),
    (
        r"\bsqlparser::",
        &["sql", "postgres", "plan", "session"],
        "sql parses; the others take its tree apart",
    ),
    (r"\bfjall::", &["store"], "the storage crate can be replaced behind the Store trait"),
    (
        r"\b(std|tokio)::fs\b",
        &["store", "connect", "cli", "server", "memory"],
        "what reads files is in one place each",
    ),
    (
        r"\bFile::(open|create)\b",
        &["store", "connect", "cli", "server"],
        "what reads files is in one place each",
    ),
    (r"\b(SystemTime|Instant|Utc|Local)::now\b", &["clock"], "a test can replace the clock"),
    (r"\baxum::", &["http"], "HTTP is one of two ways in"),
    (r"\bclap::", &["cli", "server", "main"], "flags are read in the attic"),
];

/// Rooms without I/O, async, clock or randomness.
const PURE: &[&str] = &["time", "types", "pgtypes", "state", "operators"];
const IMPURE: &str =
    r"\basync fn\b|\.await\b|\btokio::|\bstd::(net|thread)::|\brand::|\bSystemTime\b";

/// The most lines a file may have, and a function.
const LINES: usize = 800;
const FUNCTION_LINES: usize = 70;

/// Names of bounds: what has one of these words in its name and is a size, a count or a time is a
/// limit.
const BOUND: &str = r"^\s*(?:pub(?:\([^)]*\))? )?const ((?:[A-Z0-9_]+_)?(?:MAX|MOST|LIMIT|BYTES|ROWS|SECONDS|TIMEOUT|WAIT|PATIENCE|QUEUE|DEPTH|BACKLOG)(?:_[A-Z0-9_]+)?): (?:usize|u64|u32|i64|Duration)\b";

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn may_use(room: &str, other: &str) -> bool {
    let excepted = EXCEPTIONS.iter().any(|(from, to, _)| (*from, *to) == (room, other));
    room == other || excepted || floor(room) > floor(other)
}

static ROOM: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b(?:crate|tidemill)::([a-z_]+)").expect("a pattern"));

/// The rooms that a line names: `crate::room…` and `crate::{room::…, other::…}`.
fn named(line: &str) -> BTreeSet<String> {
    let mut rooms: BTreeSet<String> = ROOM.captures_iter(line).map(|c| c[1].to_owned()).collect();
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
                    wrong.push(format!(
                        "{}: {} may not use {room}",
                        source.at(*number),
                        source.room
                    ));
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
            wrong.extend(
                hits.map(|(n, line)| format!("{}: {} ({because})", source.at(*n), line.trim())),
            );
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn arrow_is_named_in_one_way() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().enumerate();
        let hits = lines.filter(|(_, line)| line.contains("datafusion::arrow"));
        wrong.extend(hits.map(|(n, line)| format!("{}: {}", source.at(n + 1), line.trim())));
    }
    assert!(wrong.is_empty(), "say arrow::…\n{}", wrong.join("\n"));
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
    let promise =
        Regex::new(r"\b(todo|unimplemented|dbg)!|#\[ignore|\bFIXME\b").expect("a pattern");
    let mut wrong = Vec::new();
    for source in sources() {
        let hits = source.text.lines().enumerate().filter(|(_, line)| promise.is_match(line));
        wrong.extend(hits.map(|(n, line)| format!("{}: {}", source.at(n + 1), line.trim())));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_exception_is_needed() {
    let sources = sources();
    let mut unused = Vec::new();
    for (room, other, because) in EXCEPTIONS {
        let needed = sources
            .iter()
            .filter(|source| source.room == *room)
            .any(|source| source.code.iter().any(|(_, line)| named(line).contains(*other)));
        if !needed || floor(room) > floor(other) {
            unused.push(format!("{room} may use {other} ({because}), and does not or may anyway"));
        }
    }
    assert!(unused.is_empty() && EXCEPTIONS.len() < 5, "\n{}", unused.join("\n"));
}

#[test]
fn no_files_go_in_circles() {
    let sources = sources();
    let show = |file: usize| sources[file].path.display().to_string();
    let circles: BTreeSet<Vec<String>> = Imports::of(&sources)
        .circles()
        .into_iter()
        .map(|circle| circle.into_iter().map(show).collect())
        .collect();
    let allowed: BTreeSet<Vec<String>> = leftovers::CIRCLES
        .iter()
        .map(|circle| circle.iter().map(|file| (*file).to_owned()).collect())
        .collect();
    assert_eq!(circles, allowed, "(found, allowed)");
}

#[test]
fn functions_are_short() {
    let begins = Regex::new(r"^\s*(?:pub(?:\([^)]*\))? )?(?:(?:const|async|unsafe) )*fn (\w+)")
        .expect("a pattern");
    let mut found = BTreeSet::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in &source.code {
            let Some(name) = begins.captures(line) else { continue };
            if item_end(&lines, number - 1) + 2 - number > FUNCTION_LINES {
                found.insert((source.path.display().to_string(), name[1].to_owned()));
            }
        }
    }
    assert!(found.is_empty(), "functions of more than {FUNCTION_LINES} lines: {found:#?}");
}

#[test]
fn everything_that_waits_has_a_bound_and_bounds_stand_in_limits() {
    let unbounded =
        Regex::new(r"\bunbounded(_channel)?\b|\bUnbounded(Sender|Receiver)\b|\bmpsc::channel\(\)")
            .expect("a pattern");
    let bound = Regex::new(BOUND).expect("a pattern");
    let (mut queues, mut bounds) = (BTreeSet::new(), BTreeSet::new());
    for source in sources().iter().filter(|source| source.room != "limits") {
        let path = source.path.display().to_string();
        for (_, line) in &source.code {
            if unbounded.is_match(line) {
                queues.insert(path.clone());
            }
            if let Some(found) = bound.captures(line).filter(|_| !line.contains("limits::")) {
                bounds.insert((path.clone(), found[1].to_owned()));
            }
        }
    }
    assert!(bounds.is_empty(), "bounds outside limits.rs: {bounds:#?}");
    let allowed: BTreeSet<String> =
        leftovers::QUEUES.iter().map(|file| (*file).to_owned()).collect();
    assert_eq!(queues, allowed, "queues without a bound (found, allowed)");
}

#[test]
fn every_bound_is_a_row_of_the_settings() {
    let name = Regex::new(r"^pub const ([A-Z0-9_]+):").expect("a pattern");
    let shown = sources()
        .into_iter()
        .find(|source| source.path.ends_with("session/inspect/bounds.rs"))
        .expect("the table of bounds");
    let is_shown = |bound: &str| {
        shown.code.iter().any(|(_, line)| line.trim_start().split(' ').next() == Some(bound))
    };
    let missing: Vec<String> = sources()
        .iter()
        .filter(|source| source.room == "limits")
        .flat_map(|source| &source.code)
        .filter_map(|(_, line)| Some(name.captures(line)?[1].to_owned()))
        .filter(|bound| !is_shown(bound))
        .collect();
    assert_eq!(missing, Vec::<String>::new(), "bounds that tidemill.settings does not show");
}

#[test]
fn a_type_name_is_defined_once() {
    let defines =
        Regex::new(r"^(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|type|union) ([A-Z]\w*)")
            .expect("a pattern");
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        for (number, line) in &source.code {
            if let Some(found) = defines.captures(line) {
                places.entry(found[1].to_owned()).or_default().push(source.at(*number));
            }
        }
    }
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}

#[test]
fn a_group_of_imports_is_taken_apart() {
    let rooms: Vec<String> =
        named("use crate::{error::{Error, Result}, plan::x, time};").into_iter().collect();
    assert_eq!(rooms, ["error", "plan", "time"]);
    assert!(may_use("exec", "plan") && !may_use("plan", "exec") && !may_use("wire", "http"));
}
