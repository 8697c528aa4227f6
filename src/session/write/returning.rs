//! RETURNING: a query over the rows that a statement has written, and over the rows of FROM or USING
//! that stood beside them.
//!
//! What stood beside a row is asked by the statement's own query, which so gives behind its own
//! columns a number and all columns of each of these relations. RETURNING joins them by the number.

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{SchemaRef, UInt64Type};
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, SelectItem,
    SelectItemQualifiedWildcardKind, TableFactor, TableWithJoins, WildcardAdditionalOptions,
};

use super::super::transaction::WriteContext;
use super::numbered::{numbered, row_column};
use super::query::{self, Extra};
use crate::catalog::Relation;
use crate::error::{Error, Result};
use crate::sql::{alias_of, ident_name};

/// The relations of FROM or USING that RETURNING may name.
#[derive(Default)]
pub(super) struct RelationsBeside(Vec<String>);

impl RelationsBeside {
    /// Those of a statement; without RETURNING none is asked for.
    pub(super) fn of(
        from: &[TableWithJoins],
        items: Option<&Vec<SelectItem>>,
    ) -> Result<RelationsBeside> {
        let Some(items) = items else { return Ok(RelationsBeside::default()) };
        let mut found = FromNames { names: Vec::new(), merges: false };
        from.iter().for_each(|tables| found.of(tables));
        if found.merges && items.iter().any(|item| matches!(item, SelectItem::Wildcard(_))) {
            let what = "RETURNING * over a JOIN with USING or NATURAL is not supported";
            return Err(Error::unsupported(what).hint("Name the columns."));
        }
        Ok(RelationsBeside(found.names))
    }

    /// What the statement's query is to give behind its own columns.
    pub(super) fn items(&self, number: &Expr) -> Vec<SelectItem> {
        let of = |(at, name): (usize, &String)| {
            let name = ObjectName::from(vec![Ident::with_quote('"', name)]);
            let all = SelectItemQualifiedWildcardKind::ObjectName(name);
            [
                query::item(number.clone(), &number_of(at)),
                SelectItem::QualifiedWildcard(all, WildcardAdditionalOptions::default()),
            ]
        };
        self.0.iter().enumerate().flat_map(of).collect()
    }
}

/// The name of the number of the relation at that place.
fn number_of(at: usize) -> String {
    format!("{}{at}", row_column())
}

/// The names by which columns of a FROM are known.
struct FromNames {
    names: Vec<String>,
    /// Whether two columns become one.
    merges: bool,
}

impl FromNames {
    fn of(&mut self, tables: &TableWithJoins) {
        self.factor(&tables.relation);
        for join in &tables.joins {
            self.factor(&join.relation);
            self.merges |= matches!(
                &join.join_operator,
                JoinOperator::Join(constraint)
                    | JoinOperator::Inner(constraint)
                    | JoinOperator::Left(constraint)
                    | JoinOperator::LeftOuter(constraint)
                    | JoinOperator::Right(constraint)
                    | JoinOperator::RightOuter(constraint)
                    | JoinOperator::FullOuter(constraint)
                    if matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
            );
        }
    }

    fn factor(&mut self, factor: &TableFactor) {
        match (alias_of(factor), factor) {
            (Some(name), _) => self.names.push(ident_name(&name)),
            (None, TableFactor::NestedJoin { table_with_joins, .. }) => self.of(table_with_joins),
            (None, _) => {}
        }
    }
}

/// What RETURNING is asked of.
pub(super) struct Written<'a> {
    relation: &'a Relation,
    alias: &'a str,
    rows: Vec<RecordBatch>,
    /// Under which name, its columns, the last of which is the number.
    beside: Vec<(&'a str, RecordBatch)>,
}

impl<'a> Written<'a> {
    /// Rows of the relation, which a RETURNING knows by its alias.
    pub(super) fn new(relation: &'a Relation, alias: &'a str, rows: Vec<RecordBatch>) -> Self {
        Written { relation, alias, rows, beside: Vec::new() }
    }

    /// The rows that stood beside these, out of what the statement's query has found.
    pub(super) fn beside(
        mut self,
        beside: &'a RelationsBeside,
        found: &RecordBatch,
    ) -> Result<Self> {
        let schema = found.schema();
        let mut end = found.num_columns();
        for (at, name) in beside.0.iter().enumerate().rev() {
            let start = schema.index_of(&number_of(at))?;
            let columns: Vec<usize> = (start + 1..end).chain([start]).collect();
            self.beside.push((name, found.project(&columns)?));
            end = start;
        }
        self.beside.reverse();
        Ok(self)
    }

    /// The query of a RETURNING.
    pub(super) fn query(self, extra: &mut Extra, items: &[SelectItem]) -> Result<ast::Query> {
        if self.beside.is_empty() {
            let name = extra.add("written", self.relation.schema(), self.rows)?;
            return query::select(items.to_vec(), vec![query::named(name, self.alias)?], None);
        }
        let rows = concat_batches(&self.relation.schema(), &self.rows)?;
        let (_, first) = &self.beside[0];
        let numbers = first.column(first.num_columns() - 1).as_primitive::<UInt64Type>().clone();
        let written = numbered(&rows, numbers)?;
        let mut known = vec![(self.alias, written.schema())];
        let name = extra.add("written", written.schema(), vec![written])?;
        let mut from = vec![query::named(name, self.alias)?];
        let mut same = None;
        for (at, (alias, rows)) in self.beside.into_iter().enumerate() {
            known.push((alias, rows.schema()));
            let name = extra.add(&format!("beside{at}"), rows.schema(), vec![rows])?;
            from.push(query::named(name, alias)?);
            let equal = binary(
                query::column(self.alias, &row_column()),
                BinaryOperator::Eq,
                query::column(alias, &number_of(at)),
            );
            same = Some(match same {
                None => equal,
                Some(same) => binary(same, BinaryOperator::And, equal),
            });
        }
        let items = items.iter().flat_map(|item| expanded(item, &known)).collect();
        query::select(items, from, same)
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// `*` and `t.*` without the numbers.
fn expanded(item: &SelectItem, known: &[(&str, SchemaRef)]) -> Vec<SelectItem> {
    let columns = |(alias, schema): &(&str, SchemaRef)| -> Vec<SelectItem> {
        let shown = schema.fields().iter().take(schema.fields().len() - 1);
        shown.map(|field| SelectItem::UnnamedExpr(query::column(alias, field.name()))).collect()
    };
    let name = match item {
        SelectItem::Wildcard(_) => return known.iter().flat_map(columns).collect(),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => name,
        other => return vec![other.clone()],
    };
    let name = name.0.last().and_then(|part| part.as_ident()).map(ident_name);
    let found = known.iter().find(|(alias, _)| name.as_deref() == Some(*alias));
    found.map_or_else(|| vec![item.clone()], columns)
}

/// RETURNING.
pub(super) async fn returning(
    cx: &WriteContext,
    written: Written<'_>,
    items: &[SelectItem],
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let mut extra = Extra::default();
    let select = written.query(&mut extra, items)?;
    query::run(cx, extra, select).await
}
