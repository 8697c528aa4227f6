//! COMMENT ON.

use super::names::folded;
use super::reader::Reader;
use super::relations;
use super::statement::{CommentOn, Statement};
use crate::error::{Error, Result, SqlState};

/// COMMENT ON kind name, or ON COLUMN relation.column, IS 'text' or NULL.
pub(super) fn comment(r: &mut Reader) -> Result<Statement> {
    r.expect("COMMENT")?;
    r.expect("ON")?;
    let position = r.position();
    let (name, on) = if r.eat("COLUMN") {
        let mut name = r.name()?;
        let column = name.0.pop().and_then(|part| part.as_ident().cloned());
        match column {
            Some(column) if !name.0.is_empty() => (name, CommentOn::Column(folded(column))),
            _ => {
                return Err(Error::new(SqlState::Syntax, "column name must be qualified")
                    .hint("Write COMMENT ON COLUMN relation.column.")
                    .at(position));
            }
        }
    } else {
        match relations::kind(r) {
            Some(kind) => (r.name()?, CommentOn::Relation(kind)),
            None => return other(r),
        }
    };
    Ok(Statement::Comment { name, on, text: text(r)? })
}

/// The comment; none is written as NULL or ''.
fn text(r: &mut Reader) -> Result<Option<String>> {
    r.expect("IS")?;
    let text = if r.eat("NULL") { None } else { Some(r.string()?) };
    Ok(text.filter(|text| !text.is_empty()))
}

/// On what has no comments here.
fn other(r: &mut Reader) -> Result<Statement> {
    let word = r.word()?;
    r.skip_rest();
    let what = format!("COMMENT ON {}", word.to_uppercase());
    Ok(Statement::NotBuilt { what, hint: "Relations and their columns have comments.".into() })
}
