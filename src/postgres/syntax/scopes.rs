//! Which columns a name without a relation may mean: those of the FROM it stands in, then those of the
//! queries around it.
//!
//! What a relation is called and which columns it has is asked of the planner ([`ColumnsOf`]): first of
//! the relation alone, and if it reads what stands beside or around it, with all of that.

use std::collections::HashSet;

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableAlias, TableFactor, TableWithJoins, WildcardAdditionalOptions, With,
};

use crate::error::{Error, Result};
use crate::sql::{column_of, select_all};

/// What tells the columns of a query, or why they cannot be told.
pub type ColumnsOf<'a> = dyn Fn(Query) -> Result<Vec<ToldColumn>> + 'a;

/// A column of a query.
#[derive(Debug, Clone)]
pub struct ToldColumn {
    /// The relation that it is of, where it is one's.
    pub relation: Option<String>,
    /// What it is called.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
}

/// A column of a FROM as a name without a relation means it.
#[derive(Debug, Clone)]
pub(super) struct SeenColumn {
    pub name: String,
    pub expr: Expr,
    /// None: that of a column that is of two types.
    pub data_type: Option<DataType>,
    pub is_merged: bool,
}

/// Relations that are joined, and the columns they have together.
#[derive(Debug)]
pub(super) struct Part {
    pub table: TableWithJoins,
    pub columns: Vec<SeenColumn>,
}

/// A FROM, as far as it has been read.
#[derive(Debug)]
pub(super) struct FromScope {
    pub needs: Needs,
    pub parts: Vec<Part>,
}

/// What for the columns of a FROM are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// No name in it can mean a merged column.
    Nothing,
    /// Some merge.
    Columns,
    /// A name of a merged column of a query around may be that of one of these.
    Known,
    /// The same, but they cannot be told.
    Unknown,
}

/// What stands around a query.
#[derive(Debug)]
pub(super) enum Level {
    With(With),
    From(FromScope),
}

/// What stands around the query in hand, outermost first.
#[derive(Debug, Default)]
pub(super) struct Scopes(pub Vec<Level>);

impl Scopes {
    fn from(&mut self) -> Option<&mut FromScope> {
        match self.0.last_mut() {
            Some(Level::From(scope)) => Some(scope),
            _ => None,
        }
    }

    /// Behind what has been read of the FROM in hand.
    pub fn add(&mut self, part: Part) {
        if let Some(scope) = self.from() {
            scope.parts.push(part);
        }
    }

    /// Takes what has been read last of the FROM in hand.
    pub fn take(&mut self) -> Result<Part> {
        let last = self.from().and_then(|scope| scope.parts.pop());
        last.ok_or_else(|| Error::internal("a FROM item is not where it was put"))
    }

    /// Puts these in the place of what has been read of the FROM in hand.
    pub fn replace(&mut self, parts: Vec<Part>) -> Vec<Part> {
        self.from().map(|scope| std::mem::replace(&mut scope.parts, parts)).unwrap_or_default()
    }

    /// The merged columns that a name without a relation can mean: no other column of its FROM, and none
    /// of one between, is called so.
    pub fn merged(&self) -> Vec<SeenColumn> {
        let (mut merged, mut hidden) = (Vec::new(), HashSet::new());
        for level in self.0.iter().rev() {
            let Level::From(scope) = level else { continue };
            if scope.needs == Needs::Unknown {
                break;
            }
            let seen: Vec<&SeenColumn> =
                scope.parts.iter().flat_map(|part| &part.columns).collect();
            let is_alone = |name: &str| seen.iter().filter(|other| other.name == name).count() == 1;
            let of_scope = seen.iter().filter(|column| {
                column.is_merged && !hidden.contains(&column.name) && is_alone(&column.name)
            });
            merged.extend(of_scope.map(|column| (*column).clone()));
            hidden.extend(seen.iter().map(|column| column.name.clone()));
        }
        merged
    }

    /// The columns of a relation of the FROM in hand, which is called `name` if it is not known by that
    /// of what it is made of.
    pub fn columns(
        &mut self,
        factor: &TableFactor,
        name: Option<&Ident>,
        columns_of: &ColumnsOf<'_>,
    ) -> Result<Vec<SeenColumn>> {
        let needs = self.from().map_or(Needs::Nothing, |scope| scope.needs);
        if matches!(needs, Needs::Nothing | Needs::Unknown) {
            return Ok(Vec::new());
        }
        let alone = select_all(factor.clone());
        let told = columns_of(within(alone, &self.0, false)).or_else(|error| {
            match (self.0.split_last(), name) {
                (Some((Level::From(scope), around)), Some(name)) => {
                    columns_of(within(beside(scope, factor.clone(), name), around, true))
                }
                _ => Err(error),
            }
        });
        if let (Err(_), Needs::Known, Some(scope)) = (&told, needs, self.from()) {
            scope.needs = Needs::Unknown;
            return Ok(Vec::new());
        }
        let column = |told: ToldColumn| {
            let own = told.relation.map(|name| Ident::with_quote('"', name));
            let expr = match name.or(own.as_ref()) {
                Some(relation) => column_of(relation, &told.name),
                None => Expr::Identifier(Ident::with_quote('"', told.name.clone())),
            };
            let data_type = Some(told.data_type);
            SeenColumn { expr, name: told.name, data_type, is_merged: false }
        };
        Ok(told?.into_iter().map(column).collect())
    }
}

/// A query as it stands within all of these, or only with what they name.
pub(super) fn within(mut query: Query, levels: &[Level], with_relations: bool) -> Query {
    let derived = |query: Query| {
        let (name, columns) = (Ident::new(ASKED), Vec::new());
        let alias = Some(TableAlias { explicit: true, name, columns, at: None });
        TableFactor::Derived { lateral: true, subquery: Box::new(query), alias, sample: None }
    };
    for level in levels.iter().rev() {
        query = match level {
            Level::With(with) => {
                if query.with.is_some() {
                    query = select_all(derived(query));
                }
                Query { with: Some(with.clone()), ..query }
            }
            Level::From(scope) if with_relations => {
                beside(scope, derived(query), &Ident::new(ASKED))
            }
            Level::From(_) => query,
        };
    }
    query
}

const ASKED: &str = "__asked";

/// The columns of a relation, called `name`, that stands behind what has been read of a FROM.
fn beside(scope: &FromScope, factor: TableFactor, name: &Ident) -> Query {
    let mut query = select_all(factor);
    if let SetExpr::Select(select) = query.body.as_mut() {
        let name = ObjectName::from(vec![name.clone()]);
        select.projection = vec![SelectItem::QualifiedWildcard(
            SelectItemQualifiedWildcardKind::ObjectName(name),
            WildcardAdditionalOptions::default(),
        )];
        select.from.splice(0..0, scope.parts.iter().map(|part| part.table.clone()));
    }
    query
}
