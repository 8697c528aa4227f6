//! UPDATE, DELETE and TRUNCATE of tables.
//!
//! An UPDATE is a query over the writer's own state of the table with a column of row ids: which
//! rows, and what their columns become. The rows are then deleted and added in one step, so a
//! statement that moves keys around only has to be right at its end.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take, take_record_batch};
use arrow::datatypes::{Fields, SchemaRef, UInt64Type};
use datafusion::sql::sqlparser::ast::{
    self, AssignmentTarget, Expr, FromTable, ObjectName, SelectItem, TableFactor, TableWithJoins,
    UpdateTableFromKind,
};

use super::super::transaction::{SessionTransaction, WriteContext, WriteResult};
use super::assign::assign;
use super::numbered::{numbered, row_column};
use super::query::{self, Extra};
use super::returning::{RelationsBeside, Written, returning};
use super::rows::RowMaker;
use super::target::{self, Verb};
use super::values;
use crate::catalog::Relation;
use crate::error::{Error, Result, SqlState};
use crate::log::TableWriter;
use crate::log::table::RowId;
use crate::sql::{function_call, ident_name};
use crate::types::SqlType;

/// SET: which columns become what.
pub(super) struct Assignments {
    relation: Arc<Relation>,
    /// One value for all rows.
    constants: Vec<(usize, ArrayRef)>,
    defaults: Vec<usize>,
    /// What one or several columns become, which then is a row.
    exprs: Vec<(Vec<usize>, Expr)>,
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
        for (columns, value) in assigned(relation, clause)? {
            let is_default = values::is_default(&value);
            let is_generated = |at: &&usize| relation.columns[**at].generated.is_some();
            if let Some(at) = columns.iter().find(is_generated) {
                if is_default {
                    continue;
                } else {
                    return Err(target::generated(relation, *at, Verb::Update));
                }
            }
            match columns[..] {
                [at] if is_default => read.defaults.push(at),
                [at] => match values::constant(&cx.style, &relation.columns[at], &value)? {
                    Some(constant) => read.constants.push((at, constant)),
                    None => read.exprs.push((columns, value.into_owned())),
                },
                _ => read.exprs.push((columns, value.into_owned())),
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
        for (place, (targets, _)) in self.exprs.iter().enumerate() {
            let field = Arc::clone(&found.schema.fields()[place + 1]);
            let values = found.rows.column(place + 1);
            let (fields, values) = match values.as_struct_opt() {
                Some(row) if targets.len() > 1 => row.flatten(),
                _ => (Fields::from(vec![field]), vec![Arc::clone(values)]),
            };
            for (at, (field, values)) in targets.iter().zip(fields.iter().zip(&values)) {
                columns[*at] = assign(values, field, &self.relation.columns[*at], &cx.style)?;
            }
        }
        maker.complete(columns.into_iter().map(Some).collect(), rows)
    }
}

/// `a = 1, (b, c) = (2, 3), (d, e) = (SELECT …)`: columns, and what they become; each at most once.
pub(super) fn assigned<'a>(
    relation: &Relation,
    clause: &'a [ast::Assignment],
) -> Result<Vec<(Vec<usize>, Cow<'a, Expr>)>> {
    let mut all: Vec<(Vec<usize>, Cow<'a, Expr>)> = Vec::with_capacity(clause.len());
    let mut add = |names: &[ObjectName], value: Cow<'a, Expr>| -> Result<()> {
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let ident = name.0.last().and_then(|part| part.as_ident());
            let at = target::column(relation, &ident.map(ident_name).unwrap_or_default())?;
            if all.iter().flat_map(|(known, _)| known).chain(&columns).any(|known| *known == at) {
                let column = &relation.columns[at].name;
                let what = format!("multiple assignments to same column \"{column}\"");
                return Err(Error::new(SqlState::Syntax, what));
            }
            columns.push(at);
        }
        let is_json =
            |at: &usize| matches!(relation.columns[*at].sql_type, SqlType::Json | SqlType::Jsonb);
        if let [_, _, ..] = columns[..]
            && let Some(at) = columns.iter().copied().find(is_json)
        {
            // A row keeps of its values no more than Arrow's type says.
            let name = &relation.columns[at].name;
            let what =
                format!("column \"{name}\" cannot be set together with others by a subquery");
            return Err(Error::unsupported(what).hint("Assign it a subquery of its own."));
        }
        all.push((columns, value));
        Ok(())
    };
    for assignment in clause {
        match (&assignment.target, &assignment.value) {
            (AssignmentTarget::ColumnName(name), value) => {
                add(std::slice::from_ref(name), Cow::Borrowed(value))?;
            }
            (AssignmentTarget::Tuple(names), Expr::Tuple(values))
                if names.len() == values.len() =>
            {
                for (name, value) in names.iter().zip(values) {
                    add(std::slice::from_ref(name), Cow::Borrowed(value))?;
                }
            }
            (AssignmentTarget::Tuple(names), Expr::Nested(value)) if names.len() == 1 => {
                add(names, Cow::Borrowed(value))?;
            }
            (AssignmentTarget::Tuple(names), Expr::Subquery(query)) => {
                add(names, Cow::Owned(row_of(query, names.len())?))?;
            }
            (AssignmentTarget::Tuple(_), Expr::Tuple(_)) => return Err(unequal()),
            (AssignmentTarget::Tuple(_), _) => {
                let what = "a row or a subquery is what several columns are set to";
                return Err(Error::unsupported(what).hint("Write (a, b) = (1, 2)."));
            }
        }
    }
    Ok(all)
}

fn unequal() -> Error {
    Error::new(SqlState::Syntax, "number of columns does not match number of values")
}

/// `(SELECT a, b …)` as a subquery of one value, a row: asked once, so that both are of the same row.
///
/// # Errors
/// 42601 for another number of columns, 0A000 for what does not list them.
fn row_of(query: &ast::Query, count: usize) -> Result<Expr> {
    let unsupported = || {
        let what = "SET (columns) = (subquery) is supported for a SELECT that lists its columns";
        Error::unsupported(what)
            .hint("Name no columns and use no numbers in its ORDER BY, or use UPDATE … FROM.")
    };
    let mut query = query.clone();
    let by_number = |order: &ast::OrderBy| match &order.kind {
        ast::OrderByKind::Expressions(exprs) => {
            exprs.iter().any(|order| matches!(order.expr, Expr::Value(_)))
        }
        ast::OrderByKind::All(_) => true,
    };
    let (is_ordered, by_number) =
        (query.order_by.is_some(), query.order_by.as_ref().is_some_and(by_number));
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return Err(unsupported()) };
    let value = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(value) => Some(value.clone()),
        SelectItem::ExprWithAlias { expr, .. } if !is_ordered => Some(expr.clone()),
        _ => None,
    };
    let values = select.projection.iter().map(value).collect::<Option<Vec<_>>>();
    let values =
        values.filter(|_| !by_number && select.distinct.is_none()).ok_or_else(unsupported)?;
    if values.len() != count {
        return Err(unequal());
    }
    if count > 1 {
        select.projection = vec![SelectItem::UnnamedExpr(function_call("row", values))];
    }
    Ok(Expr::Subquery(Box::new(query)))
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
    let (schema, batches) = query::as_planned(schema, batches)?;
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
    let beside = RelationsBeside::of(&from, update.returning.as_ref())?;
    let maker = RowMaker::new(cx, &relation)?;
    let assignments = Assignments::read(cx, &relation, &update.assignments)?;
    // The lock comes first: what is read is what is changed.
    let writer = tx.writer(&cx.engine, &relation).await?;
    let mut extra = Extra::default();
    let mut sources = vec![source(&mut extra, Some(writer), &relation, &alias)?];
    sources.extend(from);
    let number = query::column(&alias, &row_column());
    let mut items = assignments.items(number.clone());
    items.extend(beside.items(&number));
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
        Some(items) => {
            let written = Written::new(&relation, &alias, vec![changed]);
            Some(returning(cx, written.beside(&beside, &found.rows)?, items).await?)
        }
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
    let beside = RelationsBeside::of(&using, delete.returning.as_ref())?;
    let writer = tx.writer(&cx.engine, &relation).await?;
    if delete.selection.is_none() && using.is_empty() && delete.returning.is_none() {
        return Ok(WriteResult { rows: writer.truncate() as u64, returning: None });
    }
    let mut extra = Extra::default();
    let mut sources = vec![source(&mut extra, Some(writer), &relation, &alias)?];
    sources.extend(using);
    let number = query::column(&alias, &row_column());
    let mut items = vec![query::item(number.clone(), &row_column())];
    items.extend(beside.items(&number));
    let select = query::select(items, sources, delete.selection.clone())?;
    let (schema, batches) = query::run(cx, extra, select).await?;
    let found = matched(&schema, &batches)?;
    let ids: Vec<RowId> = found.numbers.iter().map(|id| RowId(*id)).collect();
    let gone = writer.scan().fetch(&ids)?;
    let rows = writer.delete(&ids)? as u64;
    let returning = match &delete.returning {
        None => None,
        Some(items) => {
            let written = Written::new(&relation, &alias, vec![gone]);
            Some(returning(cx, written.beside(&beside, &found.rows)?, items).await?)
        }
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
