//! From the columns that a statement gives to whole rows: defaults, generated columns, and what a
//! row must satisfy.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::compute::{cast, max, min};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use bytes::BytesMut;
use datafusion::sql::sqlparser::ast;

use super::super::transaction::WriteContext;
use super::assign::assign;
use super::moment::replace_clock;
use crate::catalog::{Kind, Relation, StreamDef};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::limits;
use crate::pgtypes::values::{Encoder, TextStyle};
use crate::plan::RowExpr;
use crate::plan::relations::NoRelations;
use crate::sql;
use crate::time::{YEAR_10000, ticks_per_second};
use crate::types::SqlType;

/// What a relation asks of its rows, compiled once: it holds for statements of any moment.
pub(super) struct RowRules {
    relation: Arc<Relation>,
    schema: SchemaRef,
    defaults: Vec<Option<StoredExpr>>,
    generated: Vec<(usize, StoredExpr)>,
    /// By the names of the constraints.
    checks: Vec<(String, StoredExpr)>,
    time: Option<TimeRule>,
    style: TextStyle,
}

/// An expression of the catalog.
struct StoredExpr {
    value: RowExpr,
    /// What it is evaluated over: the columns of the row, and the moment if it reads the clock.
    schema: SchemaRef,
    reads_clock: bool,
}

/// What the watermark column must satisfy, in its ticks.
struct TimeRule {
    column: usize,
    per_second: i64,
    max_future_ms: Option<i64>,
}

impl RowRules {
    /// For statements that write to this relation with these settings.
    pub(super) fn new(
        engine: &Engine,
        relation: &Arc<Relation>,
        style: &TextStyle,
    ) -> Result<RowRules> {
        let schema = relation.schema();
        let mut rules = RowRules {
            defaults: Vec::with_capacity(relation.columns.len()),
            generated: Vec::new(),
            checks: Vec::new(),
            time: time_rule(relation, &schema),
            style: style.clone(),
            relation: Arc::clone(relation),
            schema,
        };
        // All columns, each nullable: what generated columns are computed from is checked after
        // them.
        let loose =
            rules.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let loose: Vec<Field> = loose.collect();
        for (at, column) in relation.columns.iter().enumerate() {
            let default = column.default.as_deref().map(|text| compile(engine, text, &[]));
            rules.defaults.push(default.transpose()?);
            if let Some(text) = &column.generated {
                rules.generated.push((at, compile(engine, text, &loose)?));
            }
        }
        if let Kind::Table(table) = &relation.kind {
            for check in &table.checks {
                let condition = compile(engine, &check.condition, &loose)?;
                rules.checks.push((check.name.clone(), condition));
            }
        }
        Ok(rules)
    }

    /// What they are for.
    pub(super) fn relation(&self) -> &Arc<Relation> {
        &self.relation
    }

    /// Whether they are those of this relation, as it is now, for these settings.
    pub(super) fn are_of(&self, relation: &Arc<Relation>, style: &TextStyle) -> bool {
        Arc::ptr_eq(&self.relation, relation)
            && self.style.time_zone == style.time_zone
            && self.style.bytea_output == style.bytea_output
    }

    /// Whether rows that give all columns but these need anything computed.
    pub(super) fn compute(&self, mut defaults: impl Iterator<Item = usize>) -> bool {
        !self.generated.is_empty()
            || !self.checks.is_empty()
            || defaults.any(|column| self.defaults[column].is_some())
    }
}

/// Completes and checks rows of one relation for one statement.
pub(super) struct RowMaker {
    rules: Arc<RowRules>,
    /// The statement's moment.
    now_ms: i64,
}

impl RowMaker {
    /// For statements that write to this relation.
    pub(super) fn new(cx: &WriteContext, relation: &Arc<Relation>) -> Result<RowMaker> {
        Ok(RowMaker::of(Arc::new(RowRules::new(&cx.engine, relation, &cx.style)?), cx.now_ms))
    }

    /// By rules that are there.
    pub(super) fn of(rules: Arc<RowRules>, now_ms: i64) -> RowMaker {
        RowMaker { rules, now_ms }
    }

    /// The relation's columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.rules.schema
    }

    /// The default of a column for so many rows, in the column's type; NULLs where it has none.
    pub(super) fn default(&self, column: usize, rows: usize) -> Result<ArrayRef> {
        match &self.rules.defaults[column] {
            None => Ok(new_null_array(self.schema().field(column).data_type(), rows)),
            Some(default) => self.compute(default, column, Vec::new(), rows),
        }
    }

    /// The values of a column from those of others.
    fn compute(
        &self,
        computed: &StoredExpr,
        column: usize,
        of: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<ArrayRef> {
        let values = self.evaluated(computed, of, rows)?;
        let (field, wanted) = (&computed.value.field, &self.rules.relation.columns[column]);
        assign(&values, field, wanted, &self.rules.style)
    }

    fn evaluated(
        &self,
        computed: &StoredExpr,
        mut of: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<ArrayRef> {
        if computed.reads_clock {
            let now =
                TimestampMicrosecondArray::from_value(self.now_ms.saturating_mul(1_000), rows);
            of.push(Arc::new(now.with_data_type(clock_column().data_type().clone())));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let row = RecordBatch::try_new_with_options(Arc::clone(&computed.schema), of, &options)?;
        Ok(computed.value.expr.evaluate(&row)?.into_array(rows)?)
    }

    /// Whole rows. `given` has a column of the right type for each column that the statement gives.
    pub(super) fn complete(
        &self,
        given: Vec<Option<ArrayRef>>,
        rows: usize,
    ) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(given.len());
        for (at, column) in given.into_iter().enumerate() {
            columns.push(match column {
                Some(column) => column,
                None => self.default(at, rows)?,
            });
        }
        // A time that is infinite is refused before anything is computed from it.
        if let Some(rule) = self.rules.time.as_ref().filter(|rule| !self.is_generated(rule.column))
        {
            rule.check(&columns[rule.column], &self.rules.relation, self.now_ms)?;
        }
        self.checked(self.generate(columns, rows)?)
    }

    fn is_generated(&self, column: usize) -> bool {
        self.rules.generated.iter().any(|(at, _)| *at == column)
    }

    /// Computes the generated columns, in order.
    fn generate(&self, mut columns: Vec<ArrayRef>, rows: usize) -> Result<Vec<ArrayRef>> {
        for (at, computed) in &self.rules.generated {
            columns[*at] = self.compute(computed, *at, columns.clone(), rows)?;
        }
        Ok(columns)
    }

    /// CHECK.
    fn check(&self, columns: &[ArrayRef]) -> Result<()> {
        let rows = columns.first().map_or(0, |column| column.len());
        for (name, condition) in &self.rules.checks {
            let holds = self.evaluated(condition, columns.to_vec(), rows)?;
            let Some(holds) = holds.as_boolean_opt() else { continue };
            if let Some(row) = (0..rows).find(|row| !holds.is_null(*row) && !holds.value(*row)) {
                let what = format!(
                    "new row for relation \"{}\" violates check constraint \"{name}\"",
                    self.rules.relation.name
                );
                return Err(Error::new(SqlState::Check, what).detail(self.failing(columns, row)));
            }
        }
        Ok(())
    }

    /// NOT NULL, CHECK, and what the time column must satisfy.
    fn checked(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        for (field, column) in self.schema().fields().iter().zip(&columns) {
            if !field.is_nullable() && column.null_count() > 0 {
                let row = (0..column.len()).find(|row| column.is_null(*row)).unwrap_or(0);
                let what = format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    field.name(),
                    self.rules.relation.name
                );
                return Err(Error::new(SqlState::NotNull, what).detail(self.failing(&columns, row)));
            }
        }
        if let Some(rule) = self.rules.time.as_ref().filter(|rule| self.is_generated(rule.column)) {
            rule.check(&columns[rule.column], &self.rules.relation, self.now_ms)?;
        }
        self.check(&columns)?;
        Ok(RecordBatch::try_new(Arc::clone(self.schema()), columns)?)
    }

    /// `Failing row contains (1, null, …).`
    fn failing(&self, columns: &[ArrayRef], row: usize) -> String {
        let values = self.schema().fields().iter().zip(columns).map(|(field, column)| {
            let encoder = Encoder::new(field);
            if encoder.is_null(column.as_ref(), row) {
                "null".to_owned()
            } else {
                let mut text = BytesMut::new();
                encoder.text(column.as_ref(), row, &self.rules.style, &mut text);
                let text = String::from_utf8_lossy(&text).into_owned();
                match text.char_indices().nth(64) {
                    Some((end, _)) => format!("{}...", &text[..end]),
                    None => text,
                }
            }
        });
        format!("Failing row contains ({}).", values.collect::<Vec<_>>().join(", "))
    }
}

/// The column that stands for the moment of the statement; no column of a user's can have its name.
fn clock_column() -> Field {
    let name = format!("{:-<width$}", "now", width = limits::NAME_BYTES + 1);
    SqlType::TimestampTz(6).to_field(&name, false)
}

/// An expression of the catalog over these columns and the moment.
fn compile(engine: &Engine, text: &str, columns: &[Field]) -> Result<StoredExpr> {
    let clock = clock_column();
    let mut parsed = sql::parse_expr(text)?;
    let now = ast::Expr::Identifier(ast::Ident::with_quote('"', clock.name()));
    let reads_clock = replace_clock(&mut parsed, now);
    let mut fields = columns.to_vec();
    if reads_clock {
        fields.push(clock);
    }
    let schema = Arc::new(Schema::new(fields));
    let functions = NoRelations::with_routines_of(engine.catalog.names());
    let state = engine.planner.snapshot_state(Arc::new(functions));
    // A constant in quotes is of the type of its column.
    let is_untyped = sql::text_constant(&parsed).is_some();
    let mut value = RowExpr::new(&state, parsed, &schema)?;
    if is_untyped {
        value.field = SqlType::Unknown.to_field(value.field.name(), true);
    }
    Ok(StoredExpr { value, schema, reads_clock })
}

fn time_rule(relation: &Relation, schema: &SchemaRef) -> Option<TimeRule> {
    let Kind::Stream(StreamDef { watermark: Some(watermark), max_future_ms, .. }) = &relation.kind
    else {
        return None;
    };
    let DataType::Timestamp(unit, _) = schema.field(watermark.column).data_type() else {
        return None;
    };
    Some(TimeRule {
        column: watermark.column,
        per_second: ticks_per_second(*unit),
        max_future_ms: *max_future_ms,
    })
}

impl TimeRule {
    /// The greatest time that may be written now.
    fn most(&self, now_ms: i64) -> Option<i64> {
        self.max_future_ms.map(|ms| {
            let ticks = i128::from(now_ms.saturating_add(ms)) * i128::from(self.per_second) / 1_000;
            i64::try_from(ticks).unwrap_or(i64::MAX)
        })
    }

    fn check(&self, times: &ArrayRef, relation: &Relation, now_ms: i64) -> Result<()> {
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
            let hint = format!(
                "To close all windows, use advance_watermark('{}', 'infinity').",
                relation.name
            );
            return Err(Error::new(SqlState::DatetimeOverflow, what).hint(hint));
        }
        if greatest >= YEAR_10000.saturating_mul(self.per_second) {
            return refused(format!(
                "a time beyond the year 9999 in the time column \"{column}\" of stream \"{}\"",
                relation.name
            ));
        }
        match self.most(now_ms) {
            Some(most) if greatest > most => refused(format!(
                "a time in column \"{column}\" is further ahead of the clock than max_future of stream \"{}\" allows",
                relation.name
            )),
            _ => Ok(()),
        }
    }
}
