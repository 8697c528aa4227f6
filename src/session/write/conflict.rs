//! ON CONFLICT: rows whose primary key is there already are left out, or change the row that is
//! there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, ConflictTarget, Expr, OnConflictAction, OnInsert,
};
use hashbrown::HashSet;

use super::super::transaction::WriteContext;
use super::change::{Assignments, matched};
use super::numbered::{numbered, row_column};
use super::query::{self, Extra};
use super::rows::RowMaker;
use super::target::{self, Inserted};
use crate::catalog::{Kind, Relation};
use crate::error::{Error, Result, SqlState};
use crate::log::TableWriter;
use crate::log::table::RowId;
use crate::types::normalised;

/// What to do with a row whose key is there.
#[allow(clippy::large_enum_variant)] // one a statement
pub(super) enum Action {
    /// 23505.
    Refuse,
    Nothing,
    Update(ast::DoUpdate),
}

fn key(relation: &Relation) -> &[usize] {
    match &relation.kind {
        Kind::Table(table) => &table.primary_key,
        Kind::Stream(_) | Kind::View { .. } | Kind::MaterializedView(_) | Kind::Sink(_) => &[],
    }
}

/// Reads the clause; its columns must be those of the primary key.
pub(super) fn action(into: &Inserted, on: Option<&OnInsert>) -> Result<Action> {
    let clause = match on {
        None => return Ok(Action::Refuse),
        Some(OnInsert::OnConflict(clause)) => clause,
        Some(_) => {
            return Err(Error::unsupported("ON DUPLICATE KEY UPDATE is not supported")
                .hint("Use ON CONFLICT (key) DO UPDATE SET …."));
        }
    };
    let relation = &into.relation;
    let key = key(relation);
    let mismatch = || {
        let what =
            "there is no unique or exclusion constraint matching the ON CONFLICT specification";
        Err(Error::new(SqlState::InvalidColumnReference, what)
            .hint("Name exactly the columns of the PRIMARY KEY."))
    };
    match &clause.conflict_target {
        Some(ConflictTarget::Columns(names)) => {
            let mut named = target::columns(relation, names)?;
            let mut wanted = key.to_vec();
            named.sort_unstable();
            wanted.sort_unstable();
            if named != wanted || wanted.is_empty() {
                return mismatch();
            }
        }
        Some(ConflictTarget::OnConstraint(name)) => {
            let constraint = format!("{}_pkey", relation.name);
            if key.is_empty() || name.to_string().trim_matches('"') != constraint {
                let what =
                    format!("constraint \"{name}\" for table \"{}\" does not exist", relation.name);
                return Err(Error::new(SqlState::UndefinedObject, what));
            }
        }
        None => {}
    }
    match &clause.action {
        // Without a key nothing can be in conflict.
        OnConflictAction::DoNothing if key.is_empty() => Ok(Action::Refuse),
        OnConflictAction::DoNothing => Ok(Action::Nothing),
        OnConflictAction::DoUpdate(update) => match (key.is_empty(), &clause.conflict_target) {
            (_, None) => Err(Error::new(
                SqlState::Syntax,
                "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            )
            .hint("For example, ON CONFLICT (column_name).")),
            (true, Some(_)) => mismatch(),
            (false, Some(_)) => Ok(Action::Update(update.clone())),
        },
    }
}

/// Inserts what is new, does with the rest as asked, and returns the rows that are now in the table
/// because of it, in the order of the statement.
pub(super) async fn insert(
    cx: &WriteContext,
    writer: &mut TableWriter,
    into: &Inserted,
    maker: &RowMaker,
    action: Action,
    schema: &SchemaRef,
    rows: &[RecordBatch],
) -> Result<Vec<RecordBatch>> {
    let rows = concat_batches(schema, rows)?;
    let columns: Vec<ArrayRef> =
        key(&into.relation).iter().map(|at| Arc::clone(rows.column(*at))).collect();
    let there = writer.find(&columns)?;
    let repeated = repeated(&columns)?;
    let update = match action {
        Action::Refuse => None,
        Action::Nothing => None,
        Action::Update(update) if repeated.contains(&true) => {
            let _ = update;
            let what = "ON CONFLICT DO UPDATE command cannot affect row a second time";
            return Err(Error::new(SqlState::CardinalityViolation, what).hint(
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
            ));
        }
        Action::Update(update) => Some(update),
    };
    let is_fresh = |row: &u32| there[*row as usize].is_none() && !repeated[*row as usize];
    let fresh: Vec<u32> = (0..rows.num_rows() as u32).filter(is_fresh).collect();
    let mut order: Vec<u64> = fresh.iter().map(|row| u64::from(*row)).collect();
    let mut written = vec![take_record_batch(&rows, &UInt32Array::from(fresh))?];
    if let Some(update) = update {
        let conflicts: Vec<(u64, RowId)> = there
            .iter()
            .enumerate()
            .filter_map(|(row, id)| id.map(|id| (row as u64, id)))
            .collect();
        let (numbers, changed) =
            changed(cx, writer, into, maker, &update, &rows, &conflicts).await?;
        let gone: Vec<RowId> = conflicts
            .iter()
            .filter(|(row, _)| numbers.binary_search(row).is_ok())
            .map(|(_, id)| *id)
            .collect();
        writer.delete(&gone)?;
        order.extend(numbers);
        written.push(changed);
    }
    let written = concat_batches(schema, &written)?;
    let mut places: Vec<u32> = (0..order.len() as u32).collect();
    places.sort_by_key(|at| order[*at as usize]);
    let written = take_record_batch(&written, &UInt32Array::from(places))?;
    if written.num_rows() > 0 {
        writer.append(written.clone())?;
    }
    Ok(vec![written])
}

/// Which rows have the key of a row before them.
fn repeated(columns: &[ArrayRef]) -> Result<Vec<bool>> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let columns: Vec<ArrayRef> = columns.iter().map(normalised).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
    let mut seen: HashSet<&[u8]> = HashSet::with_capacity(rows.num_rows());
    Ok((0..rows.num_rows()).map(|row| !seen.insert(rows.row(row).data())).collect())
}

/// The rows of the table that DO UPDATE changes, as they will be, and the numbers of the proposed
/// rows that change them.
async fn changed(
    cx: &WriteContext,
    writer: &TableWriter,
    into: &Inserted,
    maker: &RowMaker,
    update: &ast::DoUpdate,
    rows: &RecordBatch,
    conflicts: &[(u64, RowId)],
) -> Result<(Vec<u64>, RecordBatch)> {
    let assignments = Assignments::read(cx, &into.relation, &update.assignments)?;
    let ids: Vec<RowId> = conflicts.iter().map(|(_, id)| *id).collect();
    let numbers = UInt64Array::from_iter_values(conflicts.iter().map(|(row, _)| *row));
    let places = UInt32Array::from_iter_values(conflicts.iter().map(|(row, _)| *row as u32));
    let existing = writer.scan().fetch(&ids)?;
    let proposed = numbered(&take_record_batch(rows, &places)?, numbers.clone())?;
    let present = numbered(&existing, numbers)?;
    let mut extra = Extra::default();
    let present_name = extra.add("present", present.schema(), vec![present])?;
    let proposed_name = extra.add("excluded", proposed.schema(), vec![proposed])?;
    let number = query::column(&into.alias, &row_column());
    let same = Expr::BinaryOp {
        left: Box::new(number.clone()),
        op: BinaryOperator::Eq,
        right: Box::new(query::column("excluded", &row_column())),
    };
    let condition = match &update.selection {
        None => same,
        Some(selection) => Expr::BinaryOp {
            left: Box::new(same),
            op: BinaryOperator::And,
            right: Box::new(Expr::Nested(Box::new(selection.clone()))),
        },
    };
    let from =
        vec![query::named(present_name, &into.alias)?, query::named(proposed_name, "excluded")?];
    let select = query::select(assignments.items(number), from, Some(condition))?;
    let (schema, batches) = query::run(cx, extra, select).await?;
    let found = matched(&schema, &batches)?;
    let at: Vec<u32> = found
        .numbers
        .iter()
        .filter_map(|number| conflicts.binary_search_by_key(number, |(row, _)| *row).ok())
        .map(|at| at as u32)
        .collect();
    let base = take_record_batch(&existing, &UInt32Array::from(at))?;
    let changed = assignments.apply(cx, maker, &base, &found)?;
    Ok((found.numbers, changed))
}
