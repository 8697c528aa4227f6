//! A source of a running pipeline: its rows on their way through the fragment below, how far it has
//! come, and which of its rows are late.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int64Type, TimeUnit};
use datafusion::execution::context::SessionState;

use super::above::{numbered_plan, with_row_numbers};
use super::map::{Fragment, Tables};
use super::node_figures::NodeWork;
use super::position::time_unit;
use super::running_step::Takers;
use crate::catalog::Kind;
use crate::error::Result;
use crate::operators::lateness::{Input, finite_watermark};
use crate::plan::{FragmentPlan, SourcePlan};
use crate::state::{Arrangement, Delta};
use crate::time::{Watermark, micros_of_ticks, ticks_of_millis};

/// A source.
pub(super) struct RunningSource {
    /// As EXPLAIN says it.
    pub(super) name: Arc<str>,
    pub(super) plan: SourcePlan,
    pub(super) below: Fragment,
    /// `below` with the number of the row carried through; made when the first late row comes.
    numbered: Option<Fragment>,
    pub(super) to: Takers,
    pub(super) watermark: Watermark,
    /// The greatest that is not the end of time.
    finite_watermark: Watermark,
    /// Of the watermarks; None: it has none.
    pub(super) time_unit: Option<TimeUnit>,
    /// Of a static table what has been read of it: what has changed when the server starts again is
    /// found by that.
    pub(super) kept: Option<Arrangement>,
    pub(super) work: NodeWork,
    state: Arc<SessionState>,
}

impl RunningSource {
    /// At this watermark.
    pub(super) async fn at(
        plan: &SourcePlan,
        to: Takers,
        watermark: Watermark,
        state: &Arc<SessionState>,
        tables: &dyn Tables,
    ) -> Result<RunningSource> {
        let logical = tables.resolve(&plan.below.plan)?;
        let kept = match plan.scan.relation.kind {
            Kind::Table(_) => {
                let schema = plan.scan.relation.schema().project(&plan.scan.columns)?;
                let mut kept = Arrangement::new("rows read of a table", &schema, 0, 0)?;
                kept.taken_out_by_value()?;
                Some(kept)
            }
            Kind::Stream(_) | Kind::View { .. } | Kind::MaterializedView(_) | Kind::Sink(_) => None,
        };
        Ok(RunningSource {
            below: Fragment::new(&plan.below, logical, Arc::clone(state)).await?,
            numbered: None,
            to,
            watermark,
            finite_watermark: match watermark {
                Watermark::INFINITY => Watermark::NONE,
                finite => finite,
            },
            time_unit: time_unit(&plan.scan.relation),
            name: super::explain::source(plan).into(),
            plan: plan.clone(),
            kept,
            work: NodeWork::default(),
            state: Arc::clone(state),
        })
    }

    /// Takes rows through the fragment below.
    pub(super) async fn run(&mut self, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let taken = rows.iter().map(RecordBatch::num_rows).sum();
        let watch = NodeWork::watch(taken);
        let given = self.below.run(rows).await?;
        self.work.took(taken);
        self.work.gave(given.iter().map(RecordBatch::num_rows).sum());
        self.work.spent(watch);
        Ok(given)
    }

    /// Rows have been taken in.
    pub(super) fn has_taken(&mut self, input: &Input) -> Result<()> {
        if let Some(kept) = &mut self.kept {
            let (batch, weights) = (input.batch.clone(), input.weights.clone());
            kept.apply(&Delta { batch, weights })?;
        }
        self.finite_watermark = self.finite_watermark.max(finite_watermark(input));
        self.watermark = self.watermark.max(input.after);
        Ok(())
    }

    /// The greatest watermark it has come to that is not the end of time, microseconds since 1970.
    pub(super) fn watermark_micros(&self) -> Option<i64> {
        let is_known = self.finite_watermark != Watermark::NONE;
        let unit = self.time_unit.filter(|_| is_known);
        unit.map(|unit| micros_of_ticks(self.finite_watermark.0, unit))
    }

    /// Its watermark in the ticks of another source's.
    pub(super) fn watermark_in(&self, other: &RunningSource) -> Watermark {
        let (Some(unit), Some(into)) = (self.time_unit, other.time_unit) else {
            return self.watermark;
        };
        if unit == into || [Watermark::NONE, Watermark::INFINITY].contains(&self.watermark) {
            return self.watermark;
        }
        let micros = micros_of_ticks(self.watermark.0, unit);
        Watermark(ticks_of_millis(1, into).max(1).saturating_mul(micros / 1_000))
    }

    /// Other versions of the tables that the fragment joins.
    pub(super) async fn use_tables(&mut self, tables: &dyn Tables) -> Result<()> {
        if self.plan.below.has_tables {
            self.below.replace(tables.resolve(&self.plan.below.plan)?).await?;
            self.numbered = None;
        }
        Ok(())
    }

    /// Only rows that the query would have counted are late for it: those that its filters let
    /// through.
    pub(super) async fn late(
        &mut self,
        late: RecordBatch,
        tables: &dyn Tables,
    ) -> Result<Option<RecordBatch>> {
        if self.plan.below.is_identity {
            return Ok(Some(late));
        }
        let numbered = match &mut self.numbered {
            Some(numbered) => numbered,
            none => {
                let plan = FragmentPlan {
                    plan: tables.resolve(&self.plan.below.plan)?,
                    ..self.plan.below.clone()
                };
                let spec = numbered_plan(&plan)?;
                none.insert(Fragment::new(&spec, spec.plan.clone(), Arc::clone(&self.state)).await?)
            }
        };
        let input = Arc::clone(numbered.spec().input.inner());
        let mut passed = BTreeSet::new();
        for output in numbered.run(vec![with_row_numbers(&late, &input)?]).await? {
            let rows = output.column(output.num_columns() - 1).as_primitive::<Int64Type>();
            passed.extend(rows.values().iter().map(|row| *row as u64));
        }
        if passed.is_empty() {
            return Ok(None);
        }
        let rows: UInt64Array = passed.into_iter().collect();
        Ok(Some(take_record_batch(&late, &rows)?))
    }
}
