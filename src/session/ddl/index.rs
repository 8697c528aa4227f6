//! CREATE INDEX makes nothing, and says so, if what it is over is there.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::session::inspect::show;
use crate::sql::ident_name;

/// What is said where one is dropped.
pub const THERE_ARE_NONE: &str = "there are no indexes";

/// What is said of an index that nobody makes, over a relation and columns that are there.
///
/// # Errors
/// 42P01 and 42703.
pub fn create(engine: &Engine, relation: &ObjectName, columns: &[Ident]) -> Result<&'static str> {
    let relation = show::find(engine, relation)?;
    for column in columns {
        let column = ident_name(column);
        if !relation.columns.iter().any(|known| known.name == column) {
            let what = format!("column \"{column}\" does not exist");
            return Err(Error::new(SqlState::UndefinedColumn, what));
        }
    }
    Ok("no index is made: a table is found by its PRIMARY KEY, a view by the keys of its query")
}
