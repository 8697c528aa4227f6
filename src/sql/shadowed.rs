//! A name of WITH that hides one of a WITH around it.
//!
//! DataFusion's planner knows a name of WITH once in a query with all that is in it. One that hides another
//! is given a name of its own, and goes by the one that was written where it stands in FROM.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, TableAlias, TableFactor};

use super::names::ident_name;
use super::tree::quoted;

/// The names of WITH where a traversal is.
#[derive(Default)]
pub(super) struct CommonNames {
    /// Of the queries around, the innermost last.
    scopes: Vec<CommonScope>,
    /// How many have been given another name.
    renamed: usize,
}

struct CommonScope {
    /// As they were written, and as they are called now.
    names: Vec<(String, String)>,
    /// How many of them are known at the place: a query of WITH knows those before it.
    known: usize,
    is_recursive: bool,
    /// The queries of WITH, by where they are in memory: they stay there during a traversal.
    queries: Vec<*const Query>,
}

impl CommonNames {
    /// A query is entered.
    pub(super) fn enter(&mut self, query: &mut Query) {
        let place: *const Query = query;
        if let Some(around) = self.scopes.last_mut()
            && let Some(at) = around.queries.iter().position(|known| *known == place)
        {
            around.known = if around.is_recursive { around.names.len() } else { at };
        }
        let mut scope =
            CommonScope { names: vec![], known: 0, is_recursive: false, queries: vec![] };
        if let Some(with) = &mut query.with {
            scope.is_recursive = with.recursive;
            for table in &mut with.cte_tables {
                let written = ident_name(&table.alias.name);
                let mut name = written.clone();
                if self.find(&written).is_some() {
                    self.renamed += 1;
                    name = format!("{written} {}", self.renamed);
                    table.alias.name = quoted(&name);
                }
                scope.names.push((written, name));
                scope.queries.push(&*table.query);
            }
        }
        scope.known = scope.names.len();
        self.scopes.push(scope);
    }

    /// A query is left.
    pub(super) fn leave(&mut self) {
        self.scopes.pop();
        if let Some(around) = self.scopes.last_mut() {
            around.known = around.names.len();
        }
    }

    /// Calls what stands in FROM by the name that it has now.
    pub(super) fn rename(&self, factor: &mut TableFactor) {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { return };
        let [part] = &name.0[..] else { return };
        let Some(written) = part.as_ident().cloned() else { return };
        let folded = ident_name(&written);
        let Some(now) = self.find(&folded).filter(|now| *now != folded) else { return };
        alias.get_or_insert_with(|| called(written));
        *name = ObjectName::from(vec![quoted(now)]);
    }

    fn find(&self, written: &str) -> Option<&str> {
        self.scopes.iter().rev().find_map(|scope| {
            let known = scope.names[..scope.known].iter().rev();
            known.filter(|(name, _)| name == written).map(|(_, now)| now.as_str()).next()
        })
    }
}

fn called(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}
