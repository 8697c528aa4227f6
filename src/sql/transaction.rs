//! BEGIN, COMMIT, ROLLBACK, savepoints. READ ONLY is obeyed; the other modes (isolation level,
//! DEFERRABLE) are read and change nothing: every reader sees one epoch.

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
            Ok(Statement::Begin { read_only: modes(r)? })
        }
        "START" => {
            r.expect("TRANSACTION")?;
            Ok(Statement::Begin { read_only: modes(r)? })
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

/// `ISOLATION LEVEL …, READ WRITE, NOT DEFERRABLE`; commas are optional. Gives whether it is to be READ
/// ONLY, where that is said.
pub(super) fn modes(r: &mut Reader) -> Result<Option<bool>> {
    let (mut comma, mut read_only) = (false, None);
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
            match r.eat_one(&["ONLY", "WRITE"]) {
                Some(word) => read_only = Some(word == "ONLY"),
                None => return Err(r.unexpected()),
            }
        } else if r.eat("NOT") {
            r.expect("DEFERRABLE")?;
        } else if !r.eat("DEFERRABLE") {
            return if comma { Err(r.unexpected()) } else { Ok(read_only) };
        }
        comma = r.eat_token(&Token::Comma);
    }
}
