//! What the relations of a FROM are called: each in its own way, and as it is called there
//! (PostgreSQL manual, 7.2.1).
//!
//! DataFusion tells two relations of one name apart by their columns, and finds one by its schema also
//! where it has another name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    TableFactor, TableWithJoins, Visitor,
};

use crate::catalog::{SCHEMA, SYSTEM_SCHEMAS};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::sql::{alias_of, ident_name, visit};

/// Looks at the names in a query.
///
/// # Errors
/// 42712 for two relations of one name, 42P09 for a name that two have, 42P01 for the schema before a
/// name that is none of a schema.
pub fn check_relation_names(query: &Query) -> Result<()> {
    match visit(query, &mut RelationNames::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The traversal, with what stands around.
#[derive(Default)]
struct RelationNames {
    /// Of each query: what its WITH names.
    common: Vec<Vec<String>>,
    /// Of each SELECT: its relations.
    relations: Vec<Vec<NamedRelation>>,
}

/// A relation of a FROM.
struct NamedRelation {
    /// What it is called there.
    name: String,
    /// Schema and name of the relation of the catalog that it is; None: it is none of a schema.
    own: Option<(String, String)>,
    has_alias: bool,
}

impl NamedRelation {
    /// Whether both may stand in one FROM.
    fn is_other(&self, other: &NamedRelation) -> bool {
        let is_plain = !self.has_alias && !other.has_alias;
        self.name != other.name
            || is_plain && self.own.is_some() && other.own.is_some() && self.own != other.own
    }
}

impl RelationNames {
    fn add(&self, from: &[TableWithJoins], all: &mut Vec<NamedRelation>) {
        for table in from {
            let joined = table.joins.iter().map(|join| &join.relation);
            for factor in std::iter::once(&table.relation).chain(joined) {
                match factor {
                    TableFactor::NestedJoin { table_with_joins, alias: None } => {
                        self.add(std::slice::from_ref(table_with_joins), all);
                    }
                    _ if self.own(factor).is_some_and(is_rows) => {}
                    _ => all.extend(alias_of(factor).map(|name| NamedRelation {
                        name: ident_name(&name),
                        own: self.own(factor),
                        has_alias: matches!(factor, TableFactor::Table { alias: Some(_), .. }),
                    })),
                }
            }
        }
    }

    fn own(&self, factor: &TableFactor) -> Option<(String, String)> {
        let TableFactor::Table { name, args: None, .. } = factor else { return None };
        match &parts(name)?[..] {
            [name] => {
                let is_common = self.common.iter().flatten().any(|common| common == name);
                (!is_common).then(|| (SCHEMA.to_owned(), name.clone()))
            }
            [.., schema, name] => Some((schema.clone(), name.clone())),
            [] => None,
        }
    }

    /// Looks at the relation before the column of a name.
    fn check(&self, name: &[String]) -> Result<()> {
        let around = || self.relations.iter().rev();
        let called = |name: &str| {
            around().find_map(|level| {
                let found: Vec<_> = level.iter().filter(|relation| relation.name == name).collect();
                (!found.is_empty()).then_some(found)
            })
        };
        match name {
            [relation, _] => match called(relation) {
                Some(found) if found.len() > 1 => Err(Error::new(
                    SqlState::AmbiguousAlias,
                    format!("table reference \"{relation}\" is ambiguous"),
                )
                .hint("Put the schema before it, or give each of them an alias.")),
                _ => Ok(()),
            },
            // Of a column of type ROW the field, and what the system calls by its schema.
            [first, ..] if SYSTEM_SCHEMAS.contains(&first.as_str()) || called(first).is_some() => {
                Ok(())
            }
            [schema, relation, _] => {
                let is_it = |of: &&NamedRelation| {
                    of.own.as_ref().is_some_and(|(s, r)| s == schema && r == relation)
                };
                let same = || around().flatten().find(is_it);
                match same() {
                    Some(of) if of.has_alias && of.name != *relation => {
                        Err(invalid(relation, &of.name))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

fn invalid(relation: &str, alias: &str) -> Error {
    let what = format!("invalid reference to FROM-clause entry for table \"{relation}\"");
    Error::new(SqlState::UndefinedTable, what)
        .hint(format!("Perhaps you meant to reference the table alias \"{alias}\"."))
}

/// Whether it is no relation but the rows that UPDATE and DELETE change, which are called as one there.
fn is_rows((_, name): (String, String)) -> bool {
    name.len() > limits::NAME_BYTES
}

fn parts(name: &ObjectName) -> Option<Vec<String>> {
    name.0.iter().map(|part| part.as_ident().map(ident_name)).collect()
}

impl Visitor for RelationNames {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.common.push(tables.map(|table| ident_name(&table.alias.name)).collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Error> {
        self.common.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        let mut all: Vec<NamedRelation> = Vec::new();
        self.add(&select.from, &mut all);
        for (at, relation) in all.iter().enumerate() {
            if !all[..at].iter().all(|before| before.is_other(relation)) {
                let what = format!("table name \"{}\" specified more than once", relation.name);
                return ControlFlow::Break(
                    Error::new(SqlState::DuplicateAlias, what).hint("Give each of them an alias."),
                );
            }
        }
        self.relations.push(all);
        for item in &select.projection {
            if let SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(name),
                _,
            ) = item
                && let Some(mut name) = parts(name)
            {
                name.push("*".to_owned());
                flow(self.check(&name))?;
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &Select) -> ControlFlow<Error> {
        self.relations.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        match expr {
            Expr::CompoundIdentifier(parts) if !self.relations.is_empty() => {
                let name: Vec<String> = parts.iter().map(|part: &Ident| ident_name(part)).collect();
                flow(self.check(&name))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

fn flow(checked: Result<()>) -> ControlFlow<Error> {
    match checked {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}
