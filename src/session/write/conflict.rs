//! ON CONFLICT: rows of which a key is there already are left out, or change the row that is
//! there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};
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
use crate::catalog::RelationKey;
use crate::error::{Error, Result, SqlState};
use crate::log::TableWriter;
use crate::log::table::RowId;
use crate::types::normalised;

/// What to do with a row of which a key is there.
#[allow(clippy::large_enum_variant)] // one a statement
pub(super) enum Action {
    /// 23505.
    Refuse,
    /// Leave it out: of the key with that number, or of any.
    Nothing(Option<usize>),
    /// Change the row that has it, of the key with that number.
    Update(usize, ast::DoUpdate),
}

/// Reads the clause; its columns must be those of a key.
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
    let keys = relation.keys();
    let key = match &clause.conflict_target {
        Some(ConflictTarget::Columns(names)) => {
            let mut named = target::columns(relation, names)?;
            named.sort_unstable();
            let is_it = |key: &RelationKey| {
                let mut columns = key.columns.clone();
                columns.sort_unstable();
                columns == named
            };
            let found = keys.iter().position(is_it).ok_or_else(|| {
                let what = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
                Error::new(SqlState::InvalidColumnReference, what)
                    .hint("Name exactly the columns of the PRIMARY KEY, or of one that is UNIQUE.")
            });
            Some(found?)
        }
        Some(ConflictTarget::OnConstraint(name)) => {
            let wanted = name.to_string();
            let wanted = wanted.trim_matches('"');
            let found = keys.iter().position(|key| key.constraint == wanted).ok_or_else(|| {
                let what =
                    format!("constraint \"{name}\" for table \"{}\" does not exist", relation.name);
                Error::new(SqlState::UndefinedObject, what)
            });
            Some(found?)
        }
        None => None,
    };
    match (&clause.action, key) {
        // Without a key nothing can be in conflict.
        (OnConflictAction::DoNothing, _) if keys.is_empty() => Ok(Action::Refuse),
        (OnConflictAction::DoNothing, key) => Ok(Action::Nothing(key)),
        (OnConflictAction::DoUpdate(_), None) => Err(Error::new(
            SqlState::Syntax,
            "ON CONFLICT DO UPDATE requires inference specification or constraint name",
        )
        .hint("For example, ON CONFLICT (column_name).")),
        (OnConflictAction::DoUpdate(update), Some(key)) => Ok(Action::Update(key, update.clone())),
    }
}

/// The values of a key in the rows that are proposed, and which rows of the table have them.
struct ProposedKey {
    columns: Vec<ArrayRef>,
    there: Vec<Option<RowId>>,
    values: Rows,
}

impl ProposedKey {
    fn new(
        writer: &TableWriter,
        number: usize,
        key: &RelationKey,
        rows: &RecordBatch,
    ) -> Result<ProposedKey> {
        let columns: Vec<ArrayRef> =
            key.columns.iter().map(|at| Arc::clone(rows.column(*at))).collect();
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        let normal: Vec<ArrayRef> = columns.iter().map(normalised).collect();
        let values = converter.convert_columns(&normal)?;
        Ok(ProposedKey { there: writer.find(number, &columns)?, columns, values })
    }

    /// Its value in that row; none of them is NULL.
    fn value(&self, row: usize) -> Option<&[u8]> {
        let is_one = self.columns.iter().all(|column| column.is_valid(row));
        is_one.then(|| self.values.row(row).data())
    }
}

/// The rows that are new by all of these keys, each also to those before it; `update`: of the others none
/// may come twice.
fn fresh(keys: &[ProposedKey], rows: usize, update: bool) -> Result<Vec<u32>> {
    let mut seen: Vec<HashSet<&[u8]>> = vec![HashSet::new(); keys.len()];
    let mut fresh = Vec::with_capacity(rows);
    for row in 0..rows {
        let values: Vec<Option<&[u8]>> = keys.iter().map(|key| key.value(row)).collect();
        let is_there = keys.iter().any(|key| key.there[row].is_some());
        let is_again =
            values.iter().zip(&seen).any(|(value, seen)| value.is_some_and(|v| seen.contains(v)));
        if update && is_again {
            let what = "ON CONFLICT DO UPDATE command cannot affect row a second time";
            return Err(Error::new(SqlState::CardinalityViolation, what).hint(
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
            ));
        }
        let is_fresh = !is_there && !is_again;
        if is_fresh {
            fresh.push(row as u32);
        }
        if is_fresh || update {
            for (value, seen) in values.iter().zip(&mut seen) {
                seen.extend(*value);
            }
        }
    }
    Ok(fresh)
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
    let (key, update) = match action {
        Action::Refuse => (None, None),
        Action::Nothing(key) => (key, None),
        Action::Update(key, update) => (Some(key), Some(update)),
    };
    let all = into.relation.keys();
    let watched = all.iter().enumerate().filter(|(at, _)| key.is_none_or(|key| key == *at));
    let keys = watched.map(|(at, key)| ProposedKey::new(writer, at, key, &rows));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let fresh = fresh(&keys, rows.num_rows(), update.is_some())?;
    let mut order: Vec<u64> = fresh.iter().map(|row| u64::from(*row)).collect();
    let mut written = vec![take_record_batch(&rows, &UInt32Array::from(fresh))?];
    if let Some(update) = update {
        let there = keys.iter().flat_map(|key| key.there.iter().enumerate());
        let conflicts: Vec<(u64, RowId)> =
            there.filter_map(|(row, id)| id.map(|id| (row as u64, id))).collect();
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
