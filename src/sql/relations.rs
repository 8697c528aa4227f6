//! DROP, ALTER, TRUNCATE and DESCRIBE.

use super::names::folded;
use super::reader::Reader;
use super::statement::{PauseOrResume, RelationKind, Statement};
use crate::error::{Error, Result};

/// The kind of relation named next.
pub(super) fn kind(r: &mut Reader) -> Option<RelationKind> {
    if r.eat_all(&["MATERIALIZED", "VIEW"]) {
        return Some(RelationKind::MaterializedView);
    }
    match r.eat_one(&["STREAM", "SOURCE", "TABLE", "VIEW", "SINK"])? {
        "STREAM" | "SOURCE" => Some(RelationKind::Stream),
        "TABLE" => Some(RelationKind::Table),
        "VIEW" => Some(RelationKind::View),
        _ => Some(RelationKind::Sink),
    }
}

/// DROP kind [IF EXISTS] names [CASCADE|RESTRICT].
pub(super) fn drop(r: &mut Reader) -> Result<Statement> {
    r.expect("DROP")?;
    if let Some(word) = r.eat_one(&["FUNCTION", "AGGREGATE", "ROUTINE"]) {
        return super::routines::drop(r, word);
    }
    if r.sees("INDEX") {
        return super::indexes::drop(r);
    }
    if r.eat("SCHEMA") {
        return super::schemas::drop(r);
    }
    let Some(kind) = kind(r) else {
        return Err(unknown_kind(r, "DROP"));
    };
    let if_exists = r.eat_all(&["IF", "EXISTS"]);
    let names = r.names()?;
    let cascade = r.cascade();
    Ok(Statement::Drop { kind, if_exists, names, cascade })
}

/// DROP or ALTER of something that there is in Postgres but not here, or of nothing at all.
fn unknown_kind(r: &mut Reader, verb: &str) -> Error {
    const KNOWN: &[&str] = &[
        "INDEX",
        "SEQUENCE",
        "FUNCTION",
        "AGGREGATE",
        "PROCEDURE",
        "TYPE",
        "DOMAIN",
        "SCHEMA",
        "DATABASE",
        "ROLE",
        "USER",
        "GROUP",
        "EXTENSION",
        "TRIGGER",
        "POLICY",
        "OWNED",
        "SYSTEM",
        "FOREIGN",
        "SERVER",
        "COLLATION",
        "DEFAULT",
        "PUBLICATION",
        "SUBSCRIPTION",
        "CONNECTION",
        "SECRET",
        "RULE",
        "OPERATOR",
        "CAST",
        "STATISTICS",
        "TABLESPACE",
    ];
    match KNOWN.iter().find(|word| r.sees(word)) {
        Some(word) => Error::unsupported(format!("{verb} {word} is not supported"))
            .hint(format!("{verb} takes STREAM, TABLE, VIEW, MATERIALIZED VIEW or SINK.")),
        None => {
            r.unexpected().hint("Expected STREAM, SOURCE, TABLE, VIEW, MATERIALIZED VIEW or SINK.")
        }
    }
}

/// ALTER kind name RENAME TO …, PAUSE, RESUME.
pub(super) fn alter(r: &mut Reader) -> Result<Statement> {
    r.expect("ALTER")?;
    let Some(kind) = kind(r) else {
        return Err(unknown_kind(r, "ALTER"));
    };
    let if_exists = r.eat_all(&["IF", "EXISTS"]);
    let name = r.name()?;
    if r.sees_all(&["RENAME", "TO"]) && !if_exists {
        r.next();
        r.next();
        let to = folded(r.ident()?);
        return Ok(Statement::Rename { kind, name, to });
    }
    let may_run =
        matches!(kind, RelationKind::MaterializedView | RelationKind::Sink | RelationKind::Stream);
    if may_run
        && !if_exists
        && let Some(word) = r.eat_one(&["PAUSE", "RESUME"])
    {
        let run = if word == "PAUSE" { PauseOrResume::Pause } else { PauseOrResume::Resume };
        return Ok(Statement::SetRunning { kind, name, run });
    }
    if r.at_end() {
        return Err(r.unexpected());
    }
    let verb = r.word().unwrap_or_default();
    Err(Error::unsupported(format!("ALTER … {verb} is not supported"))
        .hint("There are ALTER … RENAME TO, and PAUSE and RESUME of what a query runs for; otherwise create it anew under another name."))
}

/// TRUNCATE [TABLE] [ONLY] names.
pub(super) fn truncate(r: &mut Reader) -> Result<Statement> {
    r.expect("TRUNCATE")?;
    r.eat("TABLE");
    r.eat("ONLY");
    let names = r.names()?;
    r.eat_all(&["CONTINUE", "IDENTITY"]);
    r.eat_all(&["RESTART", "IDENTITY"]);
    r.eat_one(&["CASCADE", "RESTRICT"]);
    Ok(Statement::Truncate(names))
}

/// DESCRIBE [kind] name.
pub(super) fn describe(r: &mut Reader) -> Result<Statement> {
    r.next();
    kind(r);
    r.name().map(Statement::Describe)
}
