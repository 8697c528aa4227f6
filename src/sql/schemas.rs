//! CREATE and DROP SCHEMA.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::names::folded;
use super::reader::Reader;
use super::statement::Statement;
use crate::error::{Error, Result};

/// SCHEMA \[IF NOT EXISTS\] name \[AUTHORIZATION role\], behind its first word.
pub(super) fn create(r: &mut Reader) -> Result<Statement> {
    let if_not_exists = r.eat_all(&["IF", "NOT", "EXISTS"]);
    let owned = r.eat("AUTHORIZATION");
    let name = folded(r.ident()?);
    if !owned && r.eat("AUTHORIZATION") {
        r.ident()?;
    }
    if matches!(r.peek(), Token::Word(_)) {
        return Err(Error::unsupported("what is made in a schema along with it is not supported")
            .hint("Make the relations by statements of their own, with the schema before the name.")
            .at(r.position()));
    }
    Ok(Statement::CreateSchema { name, if_not_exists })
}

/// SCHEMA \[IF EXISTS\] names \[CASCADE|RESTRICT\], behind its first word.
pub(super) fn drop(r: &mut Reader) -> Result<Statement> {
    let if_exists = r.eat_all(&["IF", "EXISTS"]);
    let names = r.comma_separated(Reader::ident)?.into_iter().map(folded).collect();
    Ok(Statement::DropSchemas { names, if_exists, cascade: r.cascade() })
}
