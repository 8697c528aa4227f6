//! UPDATE, DELETE and TRUNCATE of tables, and RETURNING.
//!
//! An UPDATE is a query over the writer's own state of the table with a column of row ids: which
//! rows, and what their columns become. The rows are then deleted and added in one step, so a
//! statement that moves keys around only has to be right at its end.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{concat_batches, take, take_record_batch};
use datafusion::arrow::datatypes::{SchemaRef, UInt64Type};
use datafusion::sql::sqlparser::ast::{
    self, AssignmentTarget, Expr, FromTable, ObjectName, SelectItem, TableFactor, TableWithJoins,
    UpdateTableFromKind,
};

use super::super::transaction::{SessionTransaction, WriteContext, WriteResult};
use super::assign::assign;
use super::numbered::{numbered, row_column};
use super::query::{self, Extra};
use super::rows::RowMaker;
use super::target::{self, Verb};
use super::values;
use crate::catalog::Relation;
use crate::error::{Error, Result, SqlState};
use crate::log::TableWriter;
use crate::log::table::RowId;
use crate::sql::ident_name;

/// SET: which columns become what.
pub(super) struct Assignments {
    relation: Arc<Relation>,
    /// One value for all rows.
    constants: Vec<(usize, ArrayRef)>,
    defaults: Vec<usize>,
    exprs: Vec<(usize, Expr)>,
}

impl Assignments {
    /// Reads a SET clause.
    pub(super) fn read(
        cx: &WriteContext,
        relation: &Arc<Relation>,
        clause: &[ast::Assignment],
    ) -> Result<Assignments> {
        let mut read = Assignments {
            relation: Arc::clone(relation),
            constants: Vec::new(),
            defaults: Vec::new(),
            exprs: Vec::new(),
        };
        for (at, value) in pairs(relation, clause)? {
            let is_default = values::is_default(&value);
            if relation.columns[at].generated.is_some() {
                if is_default {
                    continue;
                } else {
                    return Err(target::generated(relation, at, Verb::Update));
                }
            }
            if is_default {
                read.defaults.push(at)
            } else {
                match values::constant(&cx.style, &relation.columns[at], &value)? {
                    Some(constant) => read.constants.push((at, constant)),
                    None => read.exprs.push((at, value.into_owned())),
                }
            }
        }
        Ok(read)
    }

    /// The SELECT list: the row's number, then the expressions.
    pub(super) fn items(&self, number: Expr) -> Vec<SelectItem> {
        let mut items = vec![query::item(number, &row_column())];
        items.extend(
            self.exprs
                .iter()
                .enumerate()
                .map(|(at, (_, expr))| query::item(expr.clone(), &format!("c{at}"))),
        );
        items
    }

    /// The rows with the columns assigned.
    pub(super) fn apply(
        &self,
        cx: &WriteContext,
        maker: &RowMaker,
        base: &RecordBatch,
        found: &Matched,
    ) -> Result<RecordBatch> {
        let rows = base.num_rows();
        let mut columns = base.columns().to_vec();
        for (at, constant) in &self.constants {
            columns[*at] = take(constant.as_ref(), &UInt32Array::from(vec![0; rows]), None)?;
        }
        for at in &self.defaults {
            columns[*at] = maker.default(*at, rows)?;
        }
        for (place, (at, _)) in self.exprs.iter().enumerate() {
            let field = found.schema.field(place + 1);
            let values = found.rows.column(place + 1);
            columns[*at] = assign(values, field, &self.relation.columns[*at], &cx.style)?;
        }
        maker.complete(columns.into_iter().map(Some).collect(), rows)
    }
}

/// `a = 1, (b, c) = (2, 3)` as pairs; each column at most once.
pub(super) fn pairs<'a>(
    relation: &Relation,
    clause: &'a [ast::Assignment],
) -> Result<Vec<(usize, Cow<'a, Expr>)>> {
    let mut pairs: Vec<(usize, Cow<'a, Expr>)> = Vec::with_capacity(clause.len());
    let mut add = |name: &ObjectName, value: Cow<'a, Expr>| -> Result<()> {
        let ident = name.0.last().and_then(|part| part.as_ident());
        let at = target::column(relation, &ident.map(ident_name).unwrap_or_default())?;
        if pairs.iter().any(|(known, _)| *known == at) {
            let what =
                format!("multiple assignments to same column \"{}\"", relation.columns[at].name);
            return Err(Error::new(SqlState::Syntax, what));
        }
        pairs.push((at, value));
        Ok(())
    };
    for assignment in clause {
        match (&assignment.target, &assignment.value) {
            (AssignmentTarget::ColumnName(name), value) => add(name, Cow::Borrowed(value))?,
            (AssignmentTarget::Tuple(names), Expr::Tuple(values))
                if names.len() == values.len() =>
            {
                let mut pairs = names.iter().zip(values);
                pairs.try_for_each(|(name, value)| add(name, Cow::Borrowed(value)))?;
            }
            (AssignmentTarget::Tuple(names), Expr::Nested(value)) if names.len() == 1 => {
                add(&names[0], Cow::Borrowed(value))?
            }
            (AssignmentTarget::Tuple(names), Expr::Subquery(query)) => {
                let columns = columns_of(query, names.len())?;
                let mut pairs = names.iter().zip(columns);
                pairs.try_for_each(|(name, value)| add(name, Cow::Owned(value)))?;
            }
            (AssignmentTarget::Tuple(_), Expr::Tuple(_)) => return Err(unequal()),
            (AssignmentTarget::Tuple(_), _) => {
                let what = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
                return Err(Error::unsupported(what).hint("Write (a, b) = (1, 2)."));
            }
        }
    }
    Ok(pairs)
}

fn unequal() -> Error {
    Error::new(SqlState::Syntax, "number of columns does not match number of values")
}

/// `(SELECT a, b …)` as a subquery for each of the columns: what gives one row gives the same each time.
///
/// # Errors
/// 42601 for another number of columns, 0A000 for what does not list them.
fn columns_of(query: &ast::Query, count: usize) -> Result<Vec<Expr>> {
    let unsupported = || {
        Error::unsupported(
            "SET (columns) = (subquery) is supported for a SELECT that lists its columns",
        )
        .hint("Assign each column its own subquery, or use UPDATE … FROM.")
    };
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return Err(unsupported()) };
    let is_ordered = query.order_by.is_some();
    let is_listed = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(_) => true,
        SelectItem::ExprWithAlias { .. } => !is_ordered,
        _ => false,
    };
    if select.distinct.is_some() || !select.projection.iter().all(is_listed) {
        return Err(unsupported());
    }
    if select.projection.len() != count {
        return Err(unequal());
    }
    let column = |item: &SelectItem| {
        let mut one = query.clone();
        if let ast::SetExpr::Select(select) = one.body.as_mut() {
            select.projection = vec![item.clone()];
        }
        Expr::Subquery(Box::new(one))
    };
    Ok(select.projection.iter().map(column).collect())
}

/// The rows that a statement's query has found: their numbers, ascending and each once, and its
/// columns.
pub(super) struct Matched {
    pub(super) numbers: Vec<u64>,
    schema: SchemaRef,
    rows: RecordBatch,
}

/// Sorts what a query has found by row number; of several rows for one number the first counts.
pub(super) fn matched(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Matched> {
    let schema = match batches.first() {
        Some(batch) if batch.num_columns() == schema.fields().len() => {
            // What the plan says of types and what the batches have may differ in nullability.
            let fields: Vec<_> = schema
                .fields()
                .iter()
                .zip(batch.schema().fields())
                .map(|(planned, real)| {
                    Arc::new(
                        planned
                            .as_ref()
                            .clone()
                            .with_data_type(real.data_type().clone())
                            .with_nullable(true),
                    )
                })
                .collect();
            Arc::new(datafusion::arrow::datatypes::Schema::new(fields))
        }
        _ => Arc::clone(schema),
    };
    let batches: Vec<RecordBatch> = batches
        .iter()
        .map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()))
        .collect::<Result<_, _>>()?;
    let rows = concat_batches(&schema, &batches)?;
    let numbers = rows.column(0).as_primitive::<UInt64Type>().clone();
    let mut places: Vec<u32> = (0..rows.num_rows() as u32).collect();
    places.sort_by_key(|at| numbers.value(*at as usize));
    places.dedup_by_key(|at| numbers.value(*at as usize));
    let rows = take_record_batch(&rows, &UInt32Array::from(places))?;
    let numbers = rows.column(0).as_primitive::<UInt64Type>().values().to_vec();
    Ok(Matched { numbers, schema, rows })
}

/// The table that a FROM names, under which alias.
pub(super) fn table(
    cx: &WriteContext,
    table: &TableWithJoins,
    verb: Verb,
) -> Result<(Arc<Relation>, String)> {
    let TableFactor::Table { name, alias, args: None, .. } = &table.relation else {
        return Err(Error::unsupported("only a table can be changed").hint("Name a table."));
    };
    if !table.joins.is_empty() {
        return Err(Error::unsupported(
            "a JOIN in the target of UPDATE or DELETE is not supported",
        )
        .hint("Put the other tables into FROM (UPDATE) or USING (DELETE)."));
    }
    let relation = target::relation(&cx.names, name, verb)?;
    let alias =
        alias.as_ref().map_or_else(|| relation.name.clone(), |alias| ident_name(&alias.name));
    Ok((relation, alias))
}

/// The writer's rows as something to query, under a name of their own.
pub(super) fn source(
    extra: &mut Extra,
    writer: Option<&TableWriter>,
    relation: &Relation,
    alias: &str,
) -> Result<TableWithJoins> {
    let mut batches = Vec::new();
    if let Some(writer) = writer {
        for (rows, ids) in writer.scan().batches_with_ids()? {
            batches.push(numbered(&rows, ids)?);
        }
    }
    let empty = numbered(&RecordBatch::new_empty(relation.schema()), Vec::<u64>::new().into())?;
    query::named(extra.add("target", empty.schema(), batches)?, alias)
}

/// Refuses what other databases have in UPDATE.
pub(super) fn update_from(update: &ast::Update) -> Result<Vec<TableWithJoins>> {
    if update.or.is_some()
        || !update.order_by.is_empty()
        || update.limit.is_some()
        || update.output.is_some()
    {
        return Err(Error::unsupported("ORDER BY and LIMIT in UPDATE are not supported")
            .hint("Choose the rows in WHERE."));
    }
    match &update.from {
        None => Ok(Vec::new()),
        Some(UpdateTableFromKind::AfterSet(from)) => Ok(from.clone()),
        Some(UpdateTableFromKind::BeforeSet(_)) => {
            Err(Error::new(SqlState::Syntax, "FROM stands behind SET")
                .hint("Write UPDATE t SET … FROM … WHERE …."))
        }
    }
}

/// UPDATE.
pub(in crate::session) async fn update(
    cx: &WriteContext,
    tx: &mut SessionTransaction,
    update: &ast::Update,
) -> Result<WriteResult> {
    let (relation, alias) = table(cx, &update.table, Verb::Update)?;
    let from = update_from(update)?;
    let maker = RowMaker::new(cx, &relation)?;
    let assignments = Assignments::read(cx, &relation, &update.assignments)?;
    // The lock comes first: what is read is what is changed.
    let writer = tx.writer(&cx.engine, &relation).await?;
    let mut extra = Extra::default();
    let mut sources = vec![source(&mut extra, Some(writer), &relation, &alias)?];
    sources.extend(from);
    let items = assignments.items(query::column(&alias, &row_column()));
    let select = query::select(items, sources, update.selection.clone())?;
    let (schema, batches) = query::run(cx, extra, select).await?;
    let found = matched(&schema, &batches)?;
    let ids: Vec<RowId> = found.numbers.iter().map(|id| RowId(*id)).collect();
    let base = writer.scan().fetch(&ids)?;
    let changed = assignments.apply(cx, &maker, &base, &found)?;
    if !ids.is_empty() {
        writer.delete(&ids)?;
        writer.append(changed.clone())?;
    }
    let rows = ids.len() as u64;
    let returning = match &update.returning {
        None => None,
        Some(items) => Some(returning(cx, &relation, &alias, items, vec![changed]).await?),
    };
    Ok(WriteResult { rows, returning })
}

/// The one table of a DELETE, and what stands in USING.
pub(super) fn delete_from(delete: &ast::Delete) -> Result<(&TableWithJoins, Vec<TableWithJoins>)> {
    if !delete.order_by.is_empty()
        || delete.limit.is_some()
        || delete.output.is_some()
        || !delete.tables.is_empty()
    {
        return Err(Error::unsupported("ORDER BY and LIMIT in DELETE are not supported")
            .hint("Choose the rows in WHERE."));
    }
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    match from.as_slice() {
        [one] => Ok((one, delete.using.clone().unwrap_or_default())),
        _ => Err(Error::new(SqlState::Syntax, "DELETE is from one table")
            .hint("Put the others into USING.")),
    }
}

/// DELETE.
pub(in crate::session) async fn delete(
    cx: &WriteContext,
    tx: &mut SessionTransaction,
    delete: &ast::Delete,
) -> Result<WriteResult> {
    let (from, using) = delete_from(delete)?;
    let (relation, alias) = table(cx, from, Verb::Delete)?;
    let writer = tx.writer(&cx.engine, &relation).await?;
    if delete.selection.is_none() && using.is_empty() && delete.returning.is_none() {
        return Ok(WriteResult { rows: writer.truncate() as u64, returning: None });
    }
    let mut extra = Extra::default();
    let mut sources = vec![source(&mut extra, Some(writer), &relation, &alias)?];
    sources.extend(using);
    let items = vec![query::item(query::column(&alias, &row_column()), &row_column())];
    let select = query::select(items, sources, delete.selection.clone())?;
    let (schema, batches) = query::run(cx, extra, select).await?;
    let found = matched(&schema, &batches)?;
    let ids: Vec<RowId> = found.numbers.iter().map(|id| RowId(*id)).collect();
    let gone = writer.scan().fetch(&ids)?;
    let rows = writer.delete(&ids)? as u64;
    let returning = match &delete.returning {
        None => None,
        Some(items) => Some(returning(cx, &relation, &alias, items, vec![gone]).await?),
    };
    Ok(WriteResult { rows, returning })
}

/// TRUNCATE: all of them, or (if one cannot be) none.
pub(in crate::session) async fn truncate(
    cx: &WriteContext,
    tx: &mut SessionTransaction,
    names: &[ObjectName],
) -> Result<()> {
    let relations = names.iter().map(|name| target::relation(&cx.names, name, Verb::Truncate));
    for relation in relations.collect::<Result<Vec<_>>>()? {
        tx.writer(&cx.engine, &relation).await?.truncate();
    }
    Ok(())
}

/// The query of a RETURNING over the rows that were written.
pub(super) fn returning_query(
    extra: &mut Extra,
    relation: &Relation,
    alias: &str,
    items: &[SelectItem],
    rows: Vec<RecordBatch>,
) -> Result<ast::Query> {
    let name = extra.add("written", relation.schema(), rows)?;
    query::select(items.to_vec(), vec![query::named(name, alias)?], None)
}

/// RETURNING.
pub(super) async fn returning(
    cx: &WriteContext,
    relation: &Relation,
    alias: &str,
    items: &[SelectItem],
    rows: Vec<RecordBatch>,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let mut extra = Extra::default();
    let select = returning_query(&mut extra, relation, alias, items, rows)?;
    query::run(cx, extra, select).await
}
