//! From the columns that a statement gives to whole rows: defaults, generated columns, and what a row must satisfy.

use std::sync::Arc;

use bytes::BytesMut;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::compute::{cast, max, min};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::super::transaction::WriteContext;
use super::assign::assign;
use super::moment::freeze;
use super::query::{self, Extra};
use crate::catalog::{Kind, Relation, StreamDef};
use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::{Encoder, TextStyle};
use crate::plan::RowExpr;
use crate::sql;
use crate::time::{YEAR_10000, ticks_of_millis, ticks_per_second};

/// Completes and checks rows of one relation for one statement.
pub(super) struct RowMaker {
    relation: Arc<Relation>,
    schema: SchemaRef,
    /// All columns, each nullable: what expressions are evaluated over.
    loose: SchemaRef,
    defaults: Vec<Option<RowExpr>>,
    generated: Vec<(usize, RowExpr)>,
    time: Option<TimeRule>,
    style: TextStyle,
}

/// What the watermark column must satisfy, in its ticks.
struct TimeRule {
    column: usize,
    per_second: i64,
    most: Option<i64>,
}

impl RowMaker {
    /// For statements that write to this relation.
    pub(super) fn new(cx: &WriteContext, relation: &Arc<Relation>) -> Result<RowMaker> {
        let schema = relation.schema();
        let loose: Vec<Field> =
            schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let loose = Arc::new(Schema::new(loose));
        let mut maker = RowMaker {
            defaults: Vec::with_capacity(relation.columns.len()),
            generated: Vec::new(),
            time: time_rule(cx, relation, &schema),
            style: cx.style.clone(),
            relation: Arc::clone(relation),
            schema,
            loose,
        };
        let nothing = Arc::new(Schema::empty());
        for (at, column) in relation.columns.iter().enumerate() {
            let default = match &column.default {
                Some(text) => Some(compile(cx, text, &nothing)?),
                None => None,
            };
            maker.defaults.push(default);
            if let Some(text) = &column.generated {
                maker.generated.push((at, compile(cx, text, &maker.loose)?));
            }
        }
        Ok(maker)
    }

    /// The relation's columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The default of a column for so many rows, in the column's type; NULLs where it has none.
    pub(super) fn default(&self, column: usize, rows: usize) -> Result<ArrayRef> {
        let wanted = &self.relation.columns[column];
        match &self.defaults[column] {
            None => Ok(new_null_array(self.schema.field(column).data_type(), rows)),
            Some(default) => {
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
                let values = default.expr.evaluate(&nothing)?.into_array(rows)?;
                assign(&values, &default.field, wanted, &self.style)
            }
        }
    }

    /// Whole rows. `given` has a column of the right type for each column that the statement gives.
    pub(super) fn complete(&self, given: Vec<Option<ArrayRef>>, rows: usize) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(given.len());
        for (at, column) in given.into_iter().enumerate() {
            columns.push(match column {
                Some(column) => column,
                None => self.default(at, rows)?,
            });
        }
        // A time that is infinite is refused before anything is computed from it.
        if let Some(rule) = self.time.as_ref().filter(|rule| !self.is_generated(rule.column)) {
            rule.check(&columns[rule.column], &self.relation)?;
        }
        self.checked(self.generate(columns, rows)?)
    }

    fn is_generated(&self, column: usize) -> bool {
        self.generated.iter().any(|(at, _)| *at == column)
    }

    /// Computes the generated columns, in order.
    fn generate(&self, mut columns: Vec<ArrayRef>, rows: usize) -> Result<Vec<ArrayRef>> {
        for (at, computed) in &self.generated {
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let batch =
                RecordBatch::try_new_with_options(Arc::clone(&self.loose), columns.clone(), &options)?;
            let values = computed.expr.evaluate(&batch)?.into_array(rows)?;
            columns[*at] = assign(&values, &computed.field, &self.relation.columns[*at], &self.style)?;
        }
        Ok(columns)
    }

    /// NOT NULL, and what the time column must satisfy.
    fn checked(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        for (field, column) in self.schema.fields().iter().zip(&columns) {
            if !field.is_nullable() && column.null_count() > 0 {
                let row = (0..column.len()).find(|row| column.is_null(*row)).unwrap_or(0);
                let what = format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    field.name(),
                    self.relation.name
                );
                return Err(Error::new(SqlState::NotNull, what).detail(self.failing(&columns, row)));
            }
        }
        if let Some(rule) = self.time.as_ref().filter(|rule| self.is_generated(rule.column)) {
            rule.check(&columns[rule.column], &self.relation)?;
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// `Failing row contains (1, null, …).`
    fn failing(&self, columns: &[ArrayRef], row: usize) -> String {
        let values = self.schema.fields().iter().zip(columns).map(|(field, column)| {
            let encoder = Encoder::new(field);
            match encoder.is_null(column.as_ref(), row) {
                true => "null".to_owned(),
                false => {
                    let mut text = BytesMut::new();
                    encoder.text(column.as_ref(), row, &self.style, &mut text);
                    let text = String::from_utf8_lossy(&text).into_owned();
                    match text.char_indices().nth(64) {
                        Some((end, _)) => format!("{}...", &text[..end]),
                        None => text,
                    }
                }
            }
        });
        format!("Failing row contains ({}).", values.collect::<Vec<_>>().join(", "))
    }
}

/// An expression of the catalog over the columns of `schema`.
fn compile(cx: &WriteContext, text: &str, schema: &SchemaRef) -> Result<RowExpr> {
    let mut parsed = sql::parse_expr(text)?;
    freeze(&mut parsed, cx)?;
    RowExpr::new(&query::state(cx, Extra::default()), parsed, schema)
}

fn time_rule(cx: &WriteContext, relation: &Relation, schema: &SchemaRef) -> Option<TimeRule> {
    let Kind::Stream(StreamDef { watermark: Some(watermark), max_future_ms, .. }) = &relation.kind else {
        return None;
    };
    let DataType::Timestamp(unit, _) = schema.field(watermark.column).data_type() else {
        return None;
    };
    let most = max_future_ms.map(|ms| ticks_of_millis(cx.now_ms.saturating_add(ms), *unit));
    Some(TimeRule { column: watermark.column, per_second: ticks_per_second(*unit), most })
}

impl TimeRule {
    fn check(&self, times: &ArrayRef, relation: &Relation) -> Result<()> {
        let ticks = cast(times, &DataType::Int64)?;
        let ticks = ticks.as_primitive::<Int64Type>();
        let (Some(least), Some(greatest)) = (min(ticks), max(ticks)) else {
            return Ok(());
        };
        let column = &relation.columns[self.column].name;
        let refused = |what: String| Err(Error::new(SqlState::DatetimeOverflow, what));
        let infinite = match (least == i64::MIN, greatest == i64::MAX) {
            (true, _) => Some("-infinity"),
            (_, true) => Some("infinity"),
            _ => None,
        };
        if let Some(infinite) = infinite {
            let what = format!(
                "INSERT of '{infinite}' into the time column \"{column}\" of stream \"{}\"",
                relation.name
            );
            let hint =
                format!("To close all windows, use advance_watermark('{}', 'infinity').", relation.name);
            return Err(Error::new(SqlState::DatetimeOverflow, what).hint(hint));
        }
        if greatest >= YEAR_10000.saturating_mul(self.per_second) {
            return refused(format!(
                "a time beyond the year 9999 in the time column \"{column}\" of stream \"{}\"",
                relation.name
            ));
        }
        match self.most {
            Some(most) if greatest > most => refused(format!(
                "a time in column \"{column}\" is further ahead of the clock than max_future of stream \"{}\" allows",
                relation.name
            )),
            _ => Ok(()),
        }
    }
}
