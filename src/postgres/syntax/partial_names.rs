//! Lists of column names that are shorter than the row: the other columns keep their names, in `t(x)` as
//! in `WITH t(x) AS …` (PostgreSQL manual, 7.2.1.2). DataFusion wants them all.
//!
//! What there is of columns is asked of the planner, which costs, and so comes after a query that could not
//! be planned for it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Ident, Query, TableAlias, TableAliasColumnDef, TableFactor, VisitorMut, With,
};

use super::scopes::{ColumnsOf, Level, within};
use crate::error::{Error, Result, SqlState};
use crate::sql::{ident_name, select_all, visit_mut};

/// Whether this is what DataFusion says of such a list.
pub fn is_short_list(error: &str) -> bool {
    error.contains("names given as column alias")
}

/// Gives the columns that lists leave out their own names; false: there are none.
///
/// # Errors
/// 42P10 for a list that is longer than the row.
pub fn complete_names(query: &mut Query, columns_of: &ColumnsOf<'_>) -> Result<bool> {
    let mut completing = Completing { columns_of, around: Vec::new(), is_changed: false };
    match visit_mut(query, &mut completing) {
        ControlFlow::Continue(()) => Ok(completing.is_changed),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Completing<'a> {
    columns_of: &'a ColumnsOf<'a>,
    /// Of each query around: its WITH.
    around: Vec<Option<With>>,
    is_changed: bool,
}

impl Completing<'_> {
    /// Completes the list of an alias of what this query gives, with the queries of WITH around it.
    fn complete(&mut self, alias: &mut TableAlias, query: Query) -> Result<()> {
        let levels: Vec<Level> = self.around.iter().flatten().cloned().map(Level::With).collect();
        // What cannot be planned alone stays as it is.
        let Ok(told) = (self.columns_of)(within(query, &levels, false)) else { return Ok(()) };
        let (named, there) = (alias.columns.len(), told.len());
        if named > there {
            let name = ident_name(&alias.name);
            let what = format!(
                "table \"{name}\" has {there} columns available but {named} columns specified"
            );
            return Err(Error::new(SqlState::InvalidColumnReference, what));
        }
        self.is_changed |= named < there;
        alias.columns.extend(told.into_iter().skip(named).map(|column| TableAliasColumnDef {
            name: Ident::with_quote('"', column.name),
            data_type: None,
        }));
        Ok(())
    }

    fn complete_with(&mut self, with: &mut With) -> Result<()> {
        for at in 0..with.cte_tables.len() {
            let before = With { cte_tables: with.cte_tables[..at].to_vec(), ..with.clone() };
            let table = &mut with.cte_tables[at];
            self.around.push(Some(before).filter(|with| !with.cte_tables.is_empty()));
            // What is in it comes first: asked for its columns it has no such list any more.
            let completed = match visit_mut(table.query.as_mut(), self) {
                ControlFlow::Break(error) => Err(error),
                ControlFlow::Continue(()) if table.alias.columns.is_empty() => Ok(()),
                ControlFlow::Continue(()) => {
                    self.complete(&mut table.alias, table.query.as_ref().clone())
                }
            };
            self.around.pop();
            completed?;
        }
        Ok(())
    }
}

impl VisitorMut for Completing<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        // Its queries do not know those behind them: they are not visited once more with all of them around.
        let mut with = query.with.take();
        if let Some(with) = &mut with
            && let Err(error) = self.complete_with(with)
        {
            return ControlFlow::Break(error);
        }
        self.around.push(with);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        query.with = self.around.pop().flatten();
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let mut bare = factor.clone();
        let (Some(alias), Some(bare_alias)) = (alias(factor), alias(&mut bare)) else {
            return ControlFlow::Continue(());
        };
        if alias.columns.is_empty() {
            return ControlFlow::Continue(());
        }
        bare_alias.columns.clear();
        match self.complete(alias, select_all(bare)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn alias(factor: &mut TableFactor) -> Option<&mut TableAlias> {
    match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => alias.as_mut(),
        _ => None,
    }
}
