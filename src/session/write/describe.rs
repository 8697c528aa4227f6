//! What a writing statement will want and give, before it runs: types of parameters, columns of
//! RETURNING.
//!
//! A parameter that is a column's new value has the column's type. The others are found by planning
//! the same queries as the statement will run, over no rows.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::{self, Expr, Query, SelectItem, SetExpr, Value, VisitorMut};

use super::super::params;
use super::super::transaction::{Described, WriteContext};
use super::change;
use super::insert;
use super::numbered::row_column;
use super::query::{self, Extra};
use super::returning::{RelationsBeside, Written};
use super::target::Verb;
use super::together::give;
use crate::catalog::Relation;
use crate::error::{Error, Result};
use crate::postgres::syntax::naming::shown_schema;
use crate::sql::{self, Statement, visit_mut};
use crate::types::SqlType;

/// Describes an INSERT, UPDATE or DELETE.
pub(in crate::session) async fn describe(
    cx: &WriteContext,
    statement: &Statement,
    hints: &[Option<SqlType>],
) -> Result<Described> {
    let mut known = Known { cx: cx.clone(), params: hints.to_vec() };
    let returning = known.statement(statement).await?.map(|schema| shown_schema(&schema));
    Ok(Described { params: known.params, returning })
}

struct Known {
    cx: WriteContext,
    params: Vec<Option<SqlType>>,
}

/// The number of `$n`, from 0.
pub(super) fn parameter(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => {
                name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
            }
            _ => None,
        },
        Expr::Nested(inner) => parameter(inner),
        _ => None,
    }
}

impl Known {
    /// The columns of what a statement returns.
    async fn statement(&mut self, statement: &Statement) -> Result<Option<SchemaRef>> {
        match statement {
            Statement::Insert(insert) => self.insert(insert).await,
            Statement::Update(update) => self.update(update).await,
            Statement::Delete(delete) => self.delete(delete).await,
            Statement::Query(query) => {
                self.plan(Extra::default(), query.query.as_ref().clone()).await.map(Some)
            }
            Statement::Changes(changes) => {
                for (alias, statement) in &changes.named {
                    if let Some(schema) = Box::pin(self.statement(statement)).await? {
                        give(&mut self.cx, alias, &schema, &[])?;
                    }
                }
                Box::pin(self.statement(&changes.last)).await
            }
            _ => Err(Error::internal(
                "a statement that does not write is described as one that does",
            )),
        }
    }

    fn learn(&mut self, at: usize, sql_type: &SqlType) {
        if self.params.len() <= at {
            self.params.resize(at + 1, None);
        }
        self.params[at].get_or_insert_with(|| sql_type.clone());
    }

    /// An expression that becomes a column's value.
    fn value(&mut self, expr: &Expr, sql_type: &SqlType) -> bool {
        match parameter(expr) {
            Some(at) => {
                self.learn(at, sql_type);
                true
            }
            None => false,
        }
    }

    /// Plans a query, with NULLs of the known types in place of parameters, and learns the types of
    /// the others.
    async fn plan(&mut self, extra: Extra, mut query: Query) -> Result<SchemaRef> {
        let mut fill = Fill { params: &self.params };
        let _: ControlFlow<()> = visit_mut(&mut query, &mut fill);
        let (_, plan) = query::plan(&self.cx, extra, query).await?;
        for (name, field) in plan.get_parameter_fields()? {
            let at = name
                .strip_prefix('$')
                .and_then(|n| n.parse::<usize>().ok())
                .and_then(|n| n.checked_sub(1));
            if let (Some(at), Some(field)) = (at, field) {
                self.learn(at, &params::type_of(&field));
            }
        }
        Ok(Arc::clone(plan.schema().inner()))
    }

    async fn returning(
        &mut self,
        written: Written<'_>,
        items: Option<&Vec<SelectItem>>,
    ) -> Result<Option<SchemaRef>> {
        let Some(items) = items else {
            return Ok(None);
        };
        let mut extra = Extra::default();
        let select = written.query(&mut extra, items)?;
        self.plan(extra, select).await.map(Some)
    }

    async fn insert(&mut self, insert: &ast::Insert) -> Result<Option<SchemaRef>> {
        let into = insert::head(&self.cx.names, insert)?;
        let columns = &into.relation.columns;
        match insert.source.as_deref() {
            None => {}
            Some(query) => match insert::plain_values(query) {
                Some(rows) => {
                    let targets = into.targets(rows.first().map_or(0, |row| row.content.len()))?;
                    let mut rest = Vec::new();
                    for row in rows {
                        for (expr, target) in row.content.iter().zip(&targets) {
                            if !self.value(expr, &columns[*target].sql_type) && has_parameter(expr)
                            {
                                rest.push(query::item(expr.clone(), &format!("c{}", rest.len())));
                            }
                        }
                    }
                    if !rest.is_empty() {
                        self.plan(Extra::default(), query::select(rest, Vec::new(), None)?).await?;
                    }
                }
                None => {
                    if let SetExpr::Select(select) = query.body.as_ref()
                        && let Ok(targets) = into.targets(select.projection.len())
                    {
                        for (item, target) in select.projection.iter().zip(&targets) {
                            if let SelectItem::UnnamedExpr(expr)
                            | SelectItem::ExprWithAlias { expr, .. } = item
                            {
                                self.value(expr, &columns[*target].sql_type);
                            }
                        }
                    }
                    let schema = self.plan(Extra::default(), query.clone()).await?;
                    into.targets(schema.fields().len())?;
                }
            },
        }
        if let Some(ast::OnInsert::OnConflict(clause)) = &insert.on
            && let ast::OnConflictAction::DoUpdate(update) = &clause.action
        {
            let mut extra = Extra::default();
            let present = change::source(&mut extra, None, &into.relation, &into.alias)?;
            let proposed = extra.add("excluded", into.relation.schema(), Vec::new())?;
            let from = vec![present, query::named(proposed, "excluded")?];
            let list = self.set(&into.relation, &update.assignments)?;
            self.plan(extra, query::select(list, from, update.selection.clone())?).await?;
        }
        let written = Written::new(&into.relation, &into.alias, Vec::new());
        self.returning(written, insert.returning.as_ref()).await
    }

    /// What a SET computes.
    fn set(
        &mut self,
        relation: &Relation,
        assignments: &[ast::Assignment],
    ) -> Result<Vec<SelectItem>> {
        let mut items = vec![query::item(sql::parse_expr("1")?, "one")];
        for (columns, expr) in change::assigned(relation, assignments)? {
            let is_value =
                matches!(columns[..], [at] if self.value(&expr, &relation.columns[at].sql_type));
            if !is_value && !super::values::is_default(&expr) {
                items.push(query::item(expr.into_owned(), &format!("c{}", items.len())));
            }
        }
        Ok(items)
    }

    async fn update(&mut self, update: &ast::Update) -> Result<Option<SchemaRef>> {
        let (relation, alias) = change::table(&self.cx, &update.table, Verb::Update)?;
        let items = self.set(&relation, &update.assignments)?;
        let from = change::update_from(update)?;
        let (selection, returning) = (update.selection.clone(), update.returning.as_ref());
        self.changed(&relation, &alias, items, from, selection, returning).await
    }

    async fn delete(&mut self, delete: &ast::Delete) -> Result<Option<SchemaRef>> {
        let (table, using) = change::delete_from(delete)?;
        let (relation, alias) = change::table(&self.cx, table, Verb::Delete)?;
        let (selection, returning) = (delete.selection.clone(), delete.returning.as_ref());
        self.changed(&relation, &alias, Vec::new(), using, selection, returning).await
    }

    /// The query of an UPDATE or DELETE, and its RETURNING.
    async fn changed(
        &mut self,
        relation: &Relation,
        alias: &str,
        mut items: Vec<SelectItem>,
        from: Vec<ast::TableWithJoins>,
        selection: Option<Expr>,
        returning: Option<&Vec<SelectItem>>,
    ) -> Result<Option<SchemaRef>> {
        let beside = RelationsBeside::of(&from, returning)?;
        let mut extra = Extra::default();
        let mut sources = vec![change::source(&mut extra, None, relation, alias)?];
        sources.extend(from);
        let number = query::column(alias, &row_column());
        items.push(query::item(number.clone(), "row"));
        items.extend(beside.items(&number));
        let found = self.plan(extra, query::select(items, sources, selection)?).await?;
        let written = Written::new(relation, alias, Vec::new());
        self.returning(written.beside(&beside, &RecordBatch::new_empty(found))?, returning).await
    }
}

/// Whether there is a `$n` in it.
pub(super) fn has_parameter(expr: &Expr) -> bool {
    let found = sql::visit_expressions(expr, |part| match parameter(part) {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Puts typed NULLs in place of parameters whose types are known.
struct Fill<'a> {
    params: &'a [Option<SqlType>],
}

impl VisitorMut for Fill<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if !matches!(expr, Expr::Nested(_))
            && let Some(at) = parameter(expr)
            && let Some(Some(sql_type)) = self.params.get(at)
            && let Ok(null) = sql::parse_expr(&format!("CAST(NULL AS {})", sql_type.in_cast()))
        {
            *expr = null;
        }
        ControlFlow::Continue(())
    }
}
