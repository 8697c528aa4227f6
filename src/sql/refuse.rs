//! Statements that only get an answer: what drivers send between uses, and what Tidemill does not
//! do.

use super::reader::Reader;
use super::statement::Statement;
use crate::error::{Error, Result};

/// Reads a statement that no other family reads.
pub(super) fn other(r: &mut Reader, word: &str) -> Result<Statement> {
    let tag = match word {
        "DISCARD" => return discard(r),
        "LISTEN" => "LISTEN",
        "UNLISTEN" => "UNLISTEN",
        "VACUUM" => "VACUUM",
        "ANALYZE" | "ANALYSE" => "ANALYZE",
        "CHECKPOINT" => "CHECKPOINT",
        _ => return Err(unsupported(r, word)),
    };
    r.next();
    r.skip_rest();
    Ok(Statement::Discard(tag))
}

fn discard(r: &mut Reader) -> Result<Statement> {
    r.next();
    match r.eat_one(&["ALL", "PLANS", "SEQUENCES", "TEMPORARY", "TEMP"]) {
        Some("ALL") => Ok(Statement::Discard("DISCARD ALL")),
        Some("PLANS") => Ok(Statement::Discard("DISCARD PLANS")),
        Some("SEQUENCES") => Ok(Statement::Discard("DISCARD SEQUENCES")),
        Some(_) => Ok(Statement::Discard("DISCARD TEMP")),
        None => Err(r.unexpected().hint("Write DISCARD ALL.")),
    }
}

/// 0A000 for a statement of Postgres, Flink or RisingWave that there is not; a syntax error for
/// anything else.
fn unsupported(r: &mut Reader, word: &str) -> Error {
    let hint = match word {
        "NOTIFY" => "SUBSCRIBE to a stream or view to hear of changes.",
        "LOCK" => {
            "No locks are needed: every reader sees one epoch, and one INSERT or COPY is atomic."
        }
        "GRANT" | "REVOKE" | "REASSIGN" => {
            "There are no roles yet: any user name may connect, and may do everything."
        }
        "MERGE" => "Use INSERT … ON CONFLICT (key) DO UPDATE.",
        "REPLACE" => "Use INSERT … ON CONFLICT (key) DO UPDATE.",
        "CALL" | "DO" => "There are no procedures; send the statements one by one.",
        "CLUSTER" | "REINDEX" => "There are no indexes to maintain.",
        "IMPORT" | "LOAD" | "INSTALL" | "ATTACH" | "DETACH" => {
            "Use CREATE STREAM or CREATE TABLE WITH (connector = …)."
        }
        "SECURITY" => "There are no security labels.",
        "USE" => "There is one database, tidemill; give the schema with the name.",
        "FLUSH" | "WAIT" => {
            "Nothing is needed: a session's reads include its own acknowledged writes."
        }
        "KILL" | "CANCEL" => "Press Ctrl-C in the session, or DROP the view.",
        "REFRESH" => return refresh(r),
        "FROM" => return r.unexpected().hint("A query begins with SELECT."),
        _ => return r.unexpected(),
    };
    Error::unsupported(format!("{word} is not supported")).hint(hint)
}

fn refresh(r: &mut Reader) -> Error {
    r.next();
    if r.sees("MATERIALIZED") {
        Error::unsupported("REFRESH MATERIALIZED VIEW is not supported")
            .hint("Nothing is needed: a materialized view is always up to date.")
    } else {
        Error::unsupported("REFRESH TABLE is not supported yet")
            .hint("Drop the table and create it again, or use a stream with a file connector.")
    }
}
