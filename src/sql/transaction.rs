//! BEGIN, COMMIT, ROLLBACK, savepoints. Modes (isolation level, READ ONLY, DEFERRABLE) are read and
//! change nothing: every reader sees one epoch.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::names::folded;
use super::reader::Reader;
use super::statement::Statement;
use crate::error::{Error, Result};

/// Reads the statement that begins with `word`.
pub(super) fn transaction(r: &mut Reader, word: &str) -> Result<Statement> {
    r.next();
    match word {
        "BEGIN" => {
            r.eat_one(&["WORK", "TRANSACTION"]);
            modes(r)?;
            Ok(Statement::Begin)
        }
        "START" => {
            r.expect("TRANSACTION")?;
            modes(r)?;
            Ok(Statement::Begin)
        }
        "COMMIT" | "END" => {
            refuse_two_phase(r)?;
            r.eat_one(&["WORK", "TRANSACTION"]);
            no_chain(r)?;
            Ok(Statement::Commit)
        }
        "SAVEPOINT" => Ok(Statement::Savepoint(folded(r.ident()?))),
        "RELEASE" => {
            r.eat("SAVEPOINT");
            Ok(Statement::Release(folded(r.ident()?)))
        }
        _ => {
            refuse_two_phase(r)?;
            r.eat_one(&["WORK", "TRANSACTION"]);
            if word == "ROLLBACK" && r.eat("TO") {
                r.eat("SAVEPOINT");
                return Ok(Statement::RollbackTo(folded(r.ident()?)));
            }
            no_chain(r)?;
            Ok(Statement::Rollback)
        }
    }
}

fn refuse_two_phase(r: &Reader) -> Result<()> {
    if r.sees("PREPARED") {
        Err(Error::unsupported("two-phase commit is not supported").hint("Use COMMIT or ROLLBACK."))
    } else {
        Ok(())
    }
}

fn no_chain(r: &mut Reader) -> Result<()> {
    if !r.eat("AND") {
        return Ok(());
    }
    if r.eat("NO") {
        return r.expect("CHAIN");
    }
    r.expect("CHAIN")?;
    Err(Error::unsupported("AND CHAIN is not supported").hint("Send COMMIT and then BEGIN."))
}

/// `ISOLATION LEVEL …, READ WRITE, NOT DEFERRABLE`; commas are optional.
pub(super) fn modes(r: &mut Reader) -> Result<()> {
    let mut comma = false;
    loop {
        if r.eat_all(&["ISOLATION", "LEVEL"]) {
            let known = r.eat("SERIALIZABLE")
                || r.eat_all(&["REPEATABLE", "READ"])
                || r.eat_all(&["READ", "COMMITTED"])
                || r.eat_all(&["READ", "UNCOMMITTED"]);
            if !known {
                return Err(r.unexpected());
            }
        } else if r.eat("READ") {
            if r.eat_one(&["ONLY", "WRITE"]).is_none() {
                return Err(r.unexpected());
            }
        } else if r.eat("NOT") {
            r.expect("DEFERRABLE")?;
        } else if !r.eat("DEFERRABLE") {
            return if comma { Err(r.unexpected()) } else { Ok(()) };
        }
        comma = r.eat_token(&Token::Comma);
    }
}
