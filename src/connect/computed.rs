//! Columns that a connector does not deliver but that are computed from those it does.
//!
//! ```text
//!  record ─▶ given columns ─▶ expressions ─▶ NOT NULL, event time ─▶ row
//!                                  └────────────┴─▶ rejected, with the record's bytes
//! ```
//! They are part of the record as if they had been read: a record whose expression fails (`1/0`, a
//! text that is no number), or whose computed event time cannot be one, is rejected by itself and
//! harms no neighbour. So every expression is evaluated on every record, whether or not a query
//! asks for its column: which records are good must not depend on who reads. The expressions must
//! be immutable, for a log read again gives the same rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_plan::PhysicalExpr;

use super::times::{Times, Verdict};
use super::{
    EventTimes, RAW_BYTES, Rejected, Source, SourceBatch, SourceOffset, SourceReader, Why,
    without_time,
};
use crate::error::{Error, Result, SqlState};

/// A column of a stream with a connector.
#[derive(Debug, Clone)]
pub struct ComputedColumn {
    /// Its place among all columns of the stream.
    pub column: usize,
    /// Its name, type, and whether it may be NULL.
    pub field: Field,
    /// Its value, of the type of `field`, from the given columns, which it finds by their names.
    pub expr: Arc<dyn PhysicalExpr>,
}

/// A source with computed columns.
pub(super) struct Computed {
    given: Arc<dyn Source>,
    schema: SchemaRef,
    rule: Arc<Rule>,
}

/// What is the same for all readers.
struct Rule {
    given: SchemaRef,
    /// Where each of the stream's columns comes from.
    columns: Vec<ColumnOrigin>,
    computed: Vec<ComputedColumn>,
    /// The event time, if it is computed.
    times: Option<EventTimes>,
    fails: bool,
}

#[derive(Clone, Copy)]
enum ColumnOrigin {
    /// That column of the connector.
    Given(usize),
    /// That computed column.
    Computed(usize),
}

impl Computed {
    /// `given` delivers the other columns, in their order; `times`: the event time if it is one of
    /// the computed columns; `fails`: a wrong record is an error.
    pub(super) fn new(
        given: Arc<dyn Source>,
        computed: Vec<ComputedColumn>,
        times: Option<EventTimes>,
        fails: bool,
    ) -> Computed {
        let inner = given.schema();
        let (mut columns, mut fields) = (Vec::new(), Vec::new());
        let mut next = 0;
        for at in 0..inner.fields().len() + computed.len() {
            match computed.iter().position(|column| column.column == at) {
                Some(place) => {
                    columns.push(ColumnOrigin::Computed(place));
                    fields.push(Arc::new(computed[place].field.clone()));
                }
                None => {
                    columns.push(ColumnOrigin::Given(next));
                    fields.push(Arc::clone(&inner.fields()[next]));
                    next += 1;
                }
            }
        }
        let schema = Arc::new(Schema::new(fields));
        Computed {
            given,
            schema,
            rule: Arc::new(Rule { given: inner, columns, computed, times, fails }),
        }
    }
}

impl Source for Computed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn reader(
        &self,
        from: SourceOffset,
        columns: Option<&[usize]>,
    ) -> Result<Box<dyn SourceReader>> {
        let wanted =
            columns.map_or_else(|| (0..self.schema.fields().len()).collect(), <[usize]>::to_vec);
        let mut needed: Vec<usize> = wanted
            .iter()
            .filter_map(|column| match self.rule.columns[*column] {
                ColumnOrigin::Given(at) => Some(at),
                ColumnOrigin::Computed(_) => None,
            })
            .collect();
        for column in &self.rule.computed {
            needed.extend(
                collect_columns(&column.expr)
                    .iter()
                    .filter_map(|c| self.rule.given.index_of(c.name()).ok()),
            );
        }
        needed.sort_unstable();
        needed.dedup();
        let inner = self.rule.given.project(&needed)?;
        let expressions = self.rule.computed.iter();
        let expressions = expressions
            .map(|column| Ok(reassign_expr_columns(Arc::clone(&column.expr), &inner)?))
            .collect::<Result<Vec<_>>>()?;
        let mut given = self.given.reader(from, Some(&needed))?;
        given.keep_raw();
        let places = wanted
            .iter()
            .map(|column| match self.rule.columns[*column] {
                ColumnOrigin::Given(at) => {
                    ColumnOrigin::Given(needed.partition_point(|known| *known < at))
                }
                computed => computed,
            })
            .collect();
        Ok(Box::new(ComputedReader {
            given,
            source: Arc::clone(&self.given),
            rule: Arc::clone(&self.rule),
            schema: Arc::new(self.schema.project(&wanted)?),
            places,
            expressions,
            times: self.rule.times.map(Times::new),
        }))
    }

    fn place(&self, offset: &SourceOffset) -> Result<Vec<u8>> {
        self.given.place(offset)
    }

    fn records(&self, offset: &SourceOffset) -> u64 {
        self.given.records(offset)
    }
}

struct ComputedReader {
    given: Box<dyn SourceReader>,
    source: Arc<dyn Source>,
    rule: Arc<Rule>,
    schema: SchemaRef,
    /// Where each wanted column is: among the columns read, or among the computed.
    places: Vec<ColumnOrigin>,
    /// Of all computed columns, over the columns read.
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    times: Option<Times>,
}

/// A row that is kept aside: which, why, and in which words.
type Aside = (usize, Why, String);

impl SourceReader for ComputedReader {
    fn read(&mut self, now_ms: i64, max_rows: usize) -> Result<SourceBatch> {
        if let Some(times) = &mut self.times {
            times.set_now(now_ms);
        }
        let first = self.source.records(&self.given.offset());
        let SourceBatch { batch, mut rejected, ended } = self.given.read(now_ms, max_rows)?;
        let mut aside = Vec::new();
        let computed = self.compute(&batch, &mut aside)?;
        let whole = self.whole(&batch, &computed)?;
        self.check(&computed, batch.num_rows(), &mut aside);
        if aside.is_empty() {
            self.fail(&rejected)?;
            return Ok(SourceBatch { batch: self.strict(&whole)?, rejected, ended });
        }
        let numbers = numbers(first, batch.num_rows(), &rejected);
        let mut good = vec![true; batch.num_rows()];
        for (row, why, error) in aside {
            if why == Why::Malformed {
                good[row] = false;
                // It was thought to be a row without an event time only.
                rejected.retain(|known| known.offset != numbers[row]);
            }
            let raw = self.given.raw(row).unwrap_or_default();
            let raw = raw[..raw.len().min(RAW_BYTES)].to_vec();
            rejected.push(Rejected { offset: numbers[row], raw, error, why });
        }
        rejected.sort_by_key(|record| record.offset);
        self.fail(&rejected)?;
        let batch = self.strict(&filter_record_batch(&whole, &BooleanArray::from(good))?)?;
        Ok(SourceBatch { batch, rejected, ended })
    }

    fn offset(&self) -> SourceOffset {
        self.given.offset()
    }
}

impl ComputedReader {
    /// The computed columns. What fails is NULL, and aside.
    fn compute(&self, batch: &RecordBatch, aside: &mut Vec<Aside>) -> Result<Vec<ArrayRef>> {
        let rows = batch.num_rows();
        let one = |expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch| -> Result<ArrayRef> {
            Ok(expr.evaluate(batch)?.into_array(batch.num_rows())?)
        };
        let mut columns = Vec::with_capacity(self.expressions.len());
        for (expr, column) in self.expressions.iter().zip(&self.rule.computed) {
            if let Ok(values) = one(expr, batch) {
                columns.push(values);
                continue;
            }
            // Somewhere in it: which rows are wrong is found one by one.
            let mut values = Vec::with_capacity(rows);
            for row in 0..rows {
                values.push(match one(expr, &batch.slice(row, 1)) {
                    Ok(value) => value,
                    Err(error) => {
                        let what =
                            format!("column \"{}\": {}", column.field.name(), error.message());
                        aside.push((row, Why::Malformed, what));
                        arrow::array::new_null_array(column.field.data_type(), 1)
                    }
                });
            }
            let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
            columns.push(concat(&values)?);
        }
        Ok(columns)
    }

    /// The wanted columns, NOT NULL not yet looked at.
    fn whole(&self, batch: &RecordBatch, computed: &[ArrayRef]) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = self
            .places
            .iter()
            .map(|place| match place {
                ColumnOrigin::Given(at) => Arc::clone(batch.column(*at)),
                ColumnOrigin::Computed(at) => Arc::clone(&computed[*at]),
            })
            .collect();
        let fields =
            self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    /// With the fields as declared, now that nothing is NULL that must not be.
    fn strict(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let (schema, columns) = (Arc::clone(&self.schema), batch.columns().to_vec());
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    /// NOT NULL, and the event time; a row is kept aside once.
    fn check(&self, computed: &[ArrayRef], rows: usize, aside: &mut Vec<Aside>) {
        let mut known: HashSet<usize> = HashSet::new();
        // A row may be wrong in several columns; the first is said.
        aside.retain(|(row, ..)| known.insert(*row));
        for (column, values) in self.rule.computed.iter().zip(computed) {
            if column.field.is_nullable() || values.null_count() == 0 {
                continue;
            }
            for row in (0..rows).filter(|row| values.is_null(*row)) {
                if known.insert(row) {
                    let what = format!(
                        "column \"{}\": null value in a NOT NULL column",
                        column.field.name()
                    );
                    aside.push((row, Why::Malformed, what));
                }
            }
        }
        let Some(times) = &self.times else { return };
        let Some(ColumnOrigin::Computed(at)) = self.rule.columns.get(times.column()) else {
            return;
        };
        let name = self.rule.computed[*at].field.name();
        for (row, micros) in micros(&computed[*at]).enumerate() {
            let (why, what) = match times.judge(name, micros) {
                Verdict::Good => continue,
                Verdict::Missing => (Why::Untimed, without_time(name)),
                Verdict::Wrong(what) => (Why::Malformed, what),
            };
            if known.insert(row) {
                aside.push((row, why, what));
            }
        }
    }

    fn fail(&self, rejected: &[Rejected]) -> Result<()> {
        let wrong = rejected.iter().find(|record| record.why == Why::Malformed);
        match wrong.filter(|_| self.rule.fails) {
            None => Ok(()),
            Some(first) => Err(Error::new(
                SqlState::BadText,
                format!("record {}: {}", first.offset, first.error),
            )
            .detail(String::from_utf8_lossy(&first.raw).chars().take(200).collect::<String>())
            .hint("With on_error = 'reject' such records are kept aside and the others read.")),
        }
    }
}

/// The numbers of the rows among all records: those that were rejected before have theirs.
pub(super) fn numbers(first: u64, rows: usize, rejected: &[Rejected]) -> Vec<u64> {
    let malformed = rejected.iter().filter(|record| record.why == Why::Malformed);
    let taken: HashSet<u64> = malformed.map(|record| record.offset).collect();
    (first..).filter(|number| !taken.contains(number)).take(rows).collect()
}

/// A time column in microseconds; infinities stay.
fn micros(times: &ArrayRef) -> impl Iterator<Item = Option<i64>> {
    let (up, down) = match times.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => (1_000_000, 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => (1_000, 1),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => (1, 1_000),
        _ => (1, 1),
    };
    let ticks = arrow::compute::cast(times, &DataType::Int64).ok();
    let rows = times.len();
    (0..rows).map(move |row| {
        let ticks = ticks.as_ref()?.as_primitive_opt::<Int64Type>()?;
        let tick = ticks.is_valid(row).then(|| ticks.value(row))?;
        Some(match tick {
            i64::MIN | i64::MAX => tick,
            _ => tick.saturating_mul(up).div_euclid(down),
        })
    })
}
