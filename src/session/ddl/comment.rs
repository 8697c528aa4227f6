//! COMMENT ON a relation or a column: kept with the relation, shown by `pg_description`.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::inspect::show;
use super::{Done, check_kind, redefine};
use crate::catalog::Relation;
use crate::error::{Error, Result, SqlState, nearest};
use crate::exec::Engine;
use crate::limits;
use crate::sql::{CommentOn, ident_name};

/// Keeps a comment, or forgets it.
pub async fn comment(
    engine: &Arc<Engine>,
    tag: &str,
    name: &ObjectName,
    on: &CommentOn,
    text: Option<String>,
) -> Result<Done> {
    let relation = show::find(engine, name)?;
    let place = match on {
        CommentOn::Relation(kind) => {
            check_kind(&relation, *kind)?;
            0
        }
        CommentOn::Column(column) => place(&relation, &ident_name(column))?,
    };
    if text.as_ref().is_some_and(|text| text.len() > limits::COMMENT_BYTES) {
        return Err(Error::new(SqlState::ProgramLimit, "the comment is too long")
            .hint(format!("A comment has at most {} bytes.", limits::COMMENT_BYTES)));
    }
    let mut relation = Relation::clone(&relation);
    match text {
        Some(text) => relation.comments.insert(place, text),
        None => relation.comments.remove(&place),
    };
    redefine(engine, relation).await?;
    Ok(Done::new(tag))
}

/// The number of a column.
fn place(relation: &Relation, column: &str) -> Result<usize> {
    relation.column(column).map(|at| at + 1).ok_or_else(|| {
        let what = format!("column \"{column}\" of relation \"{}\" does not exist", relation.name);
        let error = Error::new(SqlState::UndefinedColumn, what);
        match nearest(column, relation.columns.iter().map(|column| column.name.as_str())) {
            Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
            None => error,
        }
    })
}
