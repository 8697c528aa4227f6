//! What a statement writes to: the relation, whether it may be written that way, and which of its
//! columns.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName};

use crate::catalog::{Kind, Names, Relation};
use crate::connect::takes_only;
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::sql::{ident_name, relation_name};

/// How rows are to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Insert,
    Copy,
    Update,
    Delete,
    Truncate,
}

impl Verb {
    fn refused(self, what: &str) -> String {
        match self {
            Verb::Insert => format!("cannot insert into {what}"),
            Verb::Copy => format!("cannot copy to {what}"),
            Verb::Update => format!("cannot update {what}"),
            Verb::Delete => format!("cannot delete from {what}"),
            Verb::Truncate => format!("cannot truncate {what}"),
        }
    }

    fn appends(self) -> bool {
        matches!(self, Verb::Insert | Verb::Copy)
    }
}

/// The relation of that name, if it can be written that way.
pub(super) fn relation(names: &Names, name: &ObjectName, verb: Verb) -> Result<Arc<Relation>> {
    let name = relation_name(name)?;
    if name.is_of_system() {
        let what = format!("permission denied for schema {}", name.schema());
        return Err(Error::new(SqlState::InsufficientPrivilege, what)
            .hint("What the system shows of itself is read-only."));
    }
    let relation = name.get(names)?;
    let what = format!("{} \"{}\"", relation.kind_name(), relation.name);
    let refused =
        |hint: &str| Err(Error::new(SqlState::WrongObjectType, verb.refused(&what)).hint(hint));
    match &relation.kind {
        Kind::View { .. } | Kind::MaterializedView(_) => {
            refused("A view's rows follow from its query; write to what it reads.")
        }
        Kind::Sink(_) => refused("What goes there follows from its query; write to what it reads."),
        Kind::Stream(stream) if stream.connector.is_some() && verb.appends() => {
            refused("Its rows come from its connector.")
        }
        Kind::Stream(stream) if stream.query.is_some() && verb.appends() => {
            refused("Its rows come from its query; write to what that reads.")
        }
        Kind::Stream(_) if !verb.appends() => {
            refused("A stream is append-only; DROP STREAM removes it with its rows.")
        }
        Kind::Stream(_) | Kind::Table(_) => Ok(Arc::clone(relation)),
    }
}

/// Whether an INSERT is into a stream whose connector only takes: its query then feeds that from now on.
pub(in crate::session) fn feeds_sink(engine: &Engine, insert: &ast::Insert) -> bool {
    let ast::TableObject::TableName(name) = &insert.table else { return false };
    let Ok(name) = relation_name(name) else { return false };
    let names = engine.catalog.names();
    name.find(&names).is_some_and(|relation| is_sink(relation))
}

/// Whether it is a stream whose connector only takes.
pub(in crate::session) fn is_sink(relation: &Relation) -> bool {
    let Kind::Stream(stream) = &relation.kind else { return false };
    stream.connector_name().is_some_and(takes_only)
}

/// The positions of the named columns, each at most once.
pub(in crate::session) fn columns(relation: &Relation, names: &[Ident]) -> Result<Vec<usize>> {
    let mut found: Vec<usize> = Vec::with_capacity(names.len());
    for ident in names {
        let at = column(relation, &ident_name(ident))?;
        if found.contains(&at) {
            let what = format!("column \"{}\" specified more than once", ident_name(ident));
            return Err(Error::new(SqlState::DuplicateColumn, what));
        }
        found.push(at);
    }
    Ok(found)
}

/// The position of a column that is written to.
pub(super) fn column(relation: &Relation, name: &str) -> Result<usize> {
    relation.column(name).ok_or_else(|| {
        let what = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
        let names: Vec<&str> = relation.columns.iter().map(|column| column.name.as_str()).collect();
        Error::new(SqlState::UndefinedColumn, what)
            .hint(format!("There are: {}.", names.join(", ")))
    })
}

/// 428C9 for a value that is given to a generated column.
pub(super) fn generated(relation: &Relation, column: usize, verb: Verb) -> Error {
    let name = &relation.columns[column].name;
    let what = match verb {
        Verb::Update => format!("column \"{name}\" can only be updated to DEFAULT"),
        Verb::Copy => format!("column \"{name}\" is a generated column"),
        Verb::Insert | Verb::Delete | Verb::Truncate => {
            format!("cannot insert a non-DEFAULT value into column \"{name}\"")
        }
    };
    Error::new(SqlState::GeneratedAlways, what)
        .detail(format!("Column \"{name}\" is a generated column."))
}

/// What an INSERT is about, as far as its text tells.
pub(super) struct Inserted {
    pub(super) relation: Arc<Relation>,
    /// The columns named, in order; None: none were.
    pub(super) named: Option<Vec<usize>>,
    /// The name by which RETURNING and DO UPDATE know the relation.
    pub(super) alias: String,
}

impl Inserted {
    /// The columns that `width` expressions are for. Without names they are those that are not
    /// generated, if the expressions are not more; otherwise all.
    pub(super) fn targets(&self, width: usize) -> Result<Vec<usize>> {
        let columns = &self.relation.columns;
        let targets = match &self.named {
            Some(named) => named.clone(),
            None => {
                let plain: Vec<usize> =
                    (0..columns.len()).filter(|at| columns[*at].generated.is_none()).collect();
                if width <= plain.len() { plain } else { (0..columns.len()).collect() }
            }
        };
        if width > targets.len() {
            return Err(Error::new(
                SqlState::Syntax,
                "INSERT has more expressions than target columns",
            ));
        }
        if self.named.is_some() && width < targets.len() {
            return Err(Error::new(
                SqlState::Syntax,
                "INSERT has more target columns than expressions",
            ));
        }
        Ok(targets.into_iter().take(width).collect())
    }
}
