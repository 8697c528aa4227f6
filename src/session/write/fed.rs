//! Rows that come over a connector: each is completed as an INSERT would, and for itself. What is
//! wrong with one harms none of its neighbours.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::Field;

use super::assign::assign;
use super::rows::{RowMaker, RowRules};
use crate::catalog::Relation;
use crate::connect::feeder::{FedPart, FedRows};
use crate::connect::{RAW_BYTES, Rejected, Why};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::limits;
use crate::memory::rows::batch_bytes;
use crate::pgtypes::values::{TextStyle, row_as_json};
use crate::types::SqlType;

/// What a stream asks of the rows that come to it.
pub(in crate::session) struct FedRules {
    rules: Arc<RowRules>,
    style: TextStyle,
}

/// Whole rows, and the records that none could be made of.
#[derive(Clone, Default)]
pub(in crate::session) struct FedWrite {
    pub(in crate::session) rows: Vec<RecordBatch>,
    /// The newest [`limits::KEPT_ROWS`], numbered as they came.
    pub(in crate::session) rejected: VecDeque<Rejected>,
    /// The numbers of the first, and what is wrong with them.
    pub(in crate::session) errors: Vec<(u64, String)>,
    /// How many there were.
    pub(in crate::session) rejected_count: u64,
}

impl FedWrite {
    /// How many rows there are.
    pub(in crate::session) fn row_count(&self) -> u64 {
        self.rows.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    fn add_rows(&mut self, batches: Vec<RecordBatch>) {
        self.rows.extend(batches.into_iter().filter(|batch| batch.num_rows() > 0));
    }

    fn reject(&mut self, mut rejected: Vec<Rejected>) {
        rejected.sort_by_key(|record| record.offset);
        for record in rejected {
            if self.errors.len() < limits::POST_ERRORS {
                self.errors.push((record.offset, record.error.clone()));
            }
            self.rejected_count += 1;
            self.rejected.push_back(record);
            if self.rejected.len() > limits::KEPT_ROWS {
                self.rejected.pop_front();
            }
        }
    }
}

/// Whole rows, and what became none.
type Completed = (Vec<RecordBatch>, Vec<Rejected>);

/// The rows from one number on, so many of them.
type MakeRows<'a> = dyn Fn(usize, usize) -> Result<RecordBatch> + 'a;

impl FedRules {
    /// Of this stream.
    pub(in crate::session) fn new(engine: &Engine, relation: &Arc<Relation>) -> Result<FedRules> {
        let style = TextStyle::default();
        Ok(FedRules { rules: Arc::new(RowRules::new(engine, relation, &style)?), style })
    }

    /// Adds the rows of a part of what is taken at this time to a write; says how many bytes they
    /// are.
    pub(in crate::session) fn complete(
        &self,
        part: FedPart,
        now_ms: i64,
        write: &mut FedWrite,
    ) -> Result<usize> {
        let maker = RowMaker::of(Arc::clone(&self.rules), now_ms);
        let (batches, rejected) = match part {
            FedPart::Rows(rows) => self.of_records(&maker, rows)?,
            FedPart::Arrow(batch, first) => self.of_batch(&maker, &batch, first)?,
        };
        // Halves of halves are one again.
        let batches = match batches.as_slice() {
            [] | [_] => batches,
            many => vec![concat_batches(maker.schema(), many)?],
        };
        let bytes = batches.iter().map(batch_bytes).sum();
        write.add_rows(batches);
        write.reject(rejected);
        Ok(bytes)
    }

    fn of_records(&self, maker: &RowMaker, fed: FedRows) -> Result<Completed> {
        let rows = fed.batch.num_rows();
        let mut records = fed.batch.columns().iter().zip(&fed.missing);
        let mut given: Vec<Option<ArrayRef>> = Vec::new();
        for (at, column) in self.rules.relation().columns.iter().enumerate() {
            let record = if column.generated.is_none() { records.next() } else { None };
            given.push(match record {
                Some((values, missing)) => with_default(maker, at, values, missing.as_ref())?,
                None => None,
            });
        }
        let make = |from: usize, rows: usize| {
            let slices = given.iter().map(|values| values.as_ref().map(|v| v.slice(from, rows)));
            maker.complete(slices.collect(), rows)
        };
        let (batches, wrong) = piecewise(&make, rows)?;
        let wrong = wrong.into_iter().map(|(row, error)| {
            let (offset, raw) = (fed.numbers[row], fed.raw(row));
            Rejected { offset, raw, error: error.message().to_owned(), why: Why::Malformed }
        });
        let wrong: Vec<Rejected> = wrong.collect();
        Ok((batches, fed.rejected.into_iter().chain(wrong).collect()))
    }

    fn of_batch(&self, maker: &RowMaker, batch: &RecordBatch, first: u64) -> Result<Completed> {
        let make = |from: usize, rows: usize| self.assigned(maker, &batch.slice(from, rows));
        let (batches, wrong) = piecewise(&make, batch.num_rows())?;
        let wrong = wrong.into_iter().map(|(row, error)| {
            let mut raw = row_as_json(batch, row).into_bytes();
            raw.truncate(RAW_BYTES);
            let error = error.message().to_owned();
            Rejected { offset: first + row as u64, raw, error, why: Why::Malformed }
        });
        Ok((batches, wrong.collect()))
    }

    /// Columns of whatever types, as those of the stream by their names.
    fn assigned(&self, maker: &RowMaker, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = batch.schema();
        let mut given = Vec::new();
        for column in &self.rules.relation().columns {
            let named = schema.index_of(&column.name).ok();
            let at = named.filter(|_| column.generated.is_none());
            given.push(match at {
                Some(at) => {
                    let (field, values) = usual(schema.field(at), batch.column(at))?;
                    Some(assign(&values, &field, column, &self.style)?)
                }
                None => None,
            });
        }
        maker.complete(given, batch.num_rows())
    }
}

/// The values of a column, its DEFAULT where a record says nothing of it.
fn with_default(
    maker: &RowMaker,
    column: usize,
    values: &ArrayRef,
    missing: Option<&BooleanArray>,
) -> Result<Option<ArrayRef>> {
    let Some(missing) = missing.filter(|missing| missing.true_count() > 0) else {
        return Ok(Some(Arc::clone(values)));
    };
    if missing.true_count() == missing.len() {
        return Ok(None);
    }
    let default = maker.default(column, values.len())?;
    Ok(Some(zip(missing, &default, values)?))
}

/// As the engine holds values of its type, which may be held otherwise elsewhere.
fn usual(field: &Field, values: &ArrayRef) -> Result<(Field, ArrayRef)> {
    let sql_type = SqlType::from_field(field);
    let wanted = sql_type.data_type();
    if *values.data_type() == wanted || sql_type == SqlType::Unknown {
        return Ok((field.clone(), Arc::clone(values)));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let values = cast_with_options(values, &wanted, &options).map_err(|error| {
        let what = format!("column \"{}\" cannot be read as {sql_type}", field.name());
        Error::new(SqlState::OutOfRange, what).detail(error.to_string())
    })?;
    Ok((sql_type.to_field(field.name(), true), values))
}

/// Rows by their numbers, and what is wrong with them.
type WrongRows = Vec<(usize, Error)>;

/// All rows but those that are wrong, each of which is found by halving.
fn piecewise(make: &MakeRows<'_>, rows: usize) -> Result<(Vec<RecordBatch>, WrongRows)> {
    let (mut good, mut wrong) = (Vec::new(), Vec::new());
    let mut left = if rows > 0 { vec![(0, rows)] } else { Vec::new() };
    while let Some((from, rows)) = left.pop() {
        match make(from, rows) {
            Ok(batch) => good.push(batch),
            Err(error) if !is_of_a_row(&error) => return Err(error),
            Err(error) if rows == 1 => wrong.push((from, error)),
            Err(_) => {
                let half = rows / 2;
                left.push((from + half, rows - half));
                left.push((from, half));
            }
        }
    }
    Ok((good, wrong))
}

/// Whether other rows may be without this error: a value is wrong, or breaks a constraint.
fn is_of_a_row(error: &Error) -> bool {
    matches!(&error.state().code()[..2], "21" | "22" | "23")
}
