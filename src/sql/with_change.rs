//! `WITH … INSERT`, `WITH … UPDATE` and `WITH … DELETE`: each query in the statement is given the
//! WITH as its own, so that whoever runs the statement meets none but statements that write.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Query, SetExpr, TableAlias, TableFactor, VisitorMut, With,
};

use super::change;
use super::names::ident_name;
use super::query;
use super::reader::Reader;
use super::statement::{Changes, Statement};
use super::tree::query_of;
use super::visit::visit_mut;
use super::windows::select_all;
use crate::error::{Error, Result};

/// Reads a query that begins with WITH, or statements that write, in it or behind it.
pub(super) fn read(r: &mut Reader) -> Result<Statement> {
    let mut query = query::bare(r)?;
    let mut named = Vec::new();
    if let Some(with) = query.with.take() {
        let mut before = With { cte_tables: Vec::new(), ..with };
        for table in with.cte_tables {
            if writes(&table.query) {
                named.push((table.alias, change(r, *table.query, Some(before.clone()))?));
            } else {
                before.cte_tables.push(table);
            }
        }
        query.with = Some(before).filter(|with| !with.cte_tables.is_empty());
    }
    let last = if writes(&query) {
        let with = query.with.take();
        change(r, *query, with)?
    } else {
        Statement::Query(query::finished(r, query)?)
    };
    if named.is_empty() {
        return Ok(last);
    }
    Ok(Statement::Changes(Box::new(Changes { named, last })))
}

/// The statement that writes, with the queries that are named before it.
fn change(r: &mut Reader, query: Query, with: Option<With>) -> Result<Statement> {
    let (SetExpr::Insert(mut statement)
    | SetExpr::Update(mut statement)
    | SetExpr::Delete(mut statement)
    | SetExpr::Merge(mut statement)) = *query.body
    else {
        return Err(Error::internal("a query was read as a statement that writes"));
    };
    if let Some(with) = with.filter(|with| !with.cte_tables.is_empty()) {
        spread(&mut statement, with);
    }
    match change::checked(r, statement)? {
        Statement::InsertEmitting(_) => Err(change::with_before_sink()),
        statement => Ok(statement),
    }
}

/// Whether a query is a statement that writes.
fn writes(query: &Query) -> bool {
    use SetExpr::{Delete, Insert, Merge, Update};
    matches!(*query.body, Insert(_) | Update(_) | Delete(_) | Merge(_))
}

fn spread(statement: &mut ast::Statement, with: With) {
    let mut spread = WithSpread { with, depth: 0 };
    match statement {
        ast::Statement::Update(update) => {
            let target = update.table.clone();
            let _ = visit_mut(update, &mut spread);
            // What is changed is a table, whatever WITH names.
            update.table = target;
        }
        ast::Statement::Delete(delete) => {
            let target = delete.from.clone();
            let _ = visit_mut(delete, &mut spread);
            delete.from = target;
        }
        ast::Statement::Insert(insert) => {
            let _ = visit_mut(insert, &mut spread);
        }
        _ => {}
    }
}

/// A VALUES by itself: its constants have the types of the columns they go to, so only its
/// subqueries are given the WITH.
fn is_plain_values(query: &Query) -> bool {
    query.with.is_none() && matches!(*query.body, SetExpr::Values(_))
}

struct WithSpread {
    with: With,
    /// Within how many queries.
    depth: usize,
}

impl WithSpread {
    fn named(&self, name: &ast::ObjectName) -> Option<ast::Ident> {
        let [part] = name.0.as_slice() else { return None };
        let ident = part.as_ident()?;
        let of = |table: &ast::Cte| ident_name(&table.alias.name) == ident_name(ident);
        self.with.cte_tables.iter().any(of).then(|| ident.clone())
    }
}

impl VisitorMut for WithSpread {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if is_plain_values(query) {
            return ControlFlow::Continue(());
        }
        self.depth += 1;
        if self.depth == 1 {
            if query.with.is_some() {
                // Its own names hide these.
                *query = query_of(Box::new(SetExpr::Query(Box::new(query.clone()))));
            }
            query.with = Some(self.with.clone());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if !is_plain_values(query) {
            self.depth -= 1;
        }
        ControlFlow::Continue(())
    }

    /// `FROM x`, outside of all queries, is `FROM (WITH x AS … SELECT * FROM x) AS x`.
    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else {
            return ControlFlow::Continue(());
        };
        if self.depth == 0
            && let Some(name) = self.named(name)
        {
            let alias = alias.take().unwrap_or(TableAlias {
                explicit: true,
                name,
                columns: Vec::new(),
                at: None,
            });
            *factor = TableFactor::Derived {
                lateral: false,
                subquery: Box::new(select_all(factor.clone())),
                alias: Some(alias),
                sample: None,
            };
        }
        ControlFlow::Continue(())
    }
}
