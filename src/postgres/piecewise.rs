//! Expressions that make much of little, over as many rows at a time as fit.
//!
//! `repeat(name, 100000)` makes 800 MB of a batch of 8,192 names, and a regular expression for each
//! row takes as much while it is compiled. The functions that can do so say [how much they are
//! about to make](super::room). Where that is more than [`limits::PIECE_BYTES`] for all expressions
//! of an operator together, they fail, nothing is made, and the operator tries again with half of
//! the rows:
//!
//! ```text
//!   8,192 rows: too much ──▶ 4,096: too much ──▶ 2,048 rows ▸ batch
//!                                           └──▶ 2,048 rows ▸ batch …
//! ```
//! What one row makes may be [`limits::CALL_BYTES`]. Between two pieces it is asked whether the
//! statement is still wanted.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::budget::Allowance;
use super::functions::can_explode;
use super::room::within;
use crate::limits;

/// What is to be evaluated piece by piece.
#[derive(Debug, Clone)]
pub struct Explosive {
    /// Expressions that are regular expressions and no constants.
    patterns: Vec<Arc<dyn PhysicalExpr>>,
}

impl Explosive {
    /// `None` if no part of the expressions makes much of little.
    pub fn among<'e>(
        exprs: impl Iterator<Item = &'e Arc<dyn PhysicalExpr>>,
    ) -> Result<Option<Explosive>> {
        let mut is_explosive = false;
        let mut patterns = Vec::new();
        for expr in exprs {
            expr.apply(|part| {
                if let Some(call) = part.downcast_ref::<ScalarFunctionExpr>() {
                    is_explosive |= can_explode(call.fun());
                    if call.fun().name().starts_with("regexp_") {
                        patterns.extend(call.args().get(1).cloned());
                    }
                }
                if let Some(binary) = part.downcast_ref::<BinaryExpr>()
                    && is_match(*binary.op())
                {
                    patterns.push(Arc::clone(binary.right()));
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        patterns.retain(|pattern| !pattern.is::<Literal>());
        Ok((is_explosive || !patterns.is_empty()).then_some(Explosive { patterns }))
    }

    /// The pieces of a batch, each evaluated by `work`, in their order.
    pub fn pieces<T, F: Fn(&RecordBatch) -> Result<T>>(
        &self,
        batch: RecordBatch,
        allowance: Allowance,
        work: F,
    ) -> Pieces<F> {
        let mut open = match self.ranges(&batch) {
            Ok(ranges) => ranges,
            Err(error) => return Pieces::Failed(Some(error)),
        };
        open.reverse();
        Pieces::Open { open, batch, allowance, work }
    }

    /// Runs of rows with few patterns each.
    fn ranges(&self, batch: &RecordBatch) -> Result<Vec<Range<usize>>> {
        let rows = batch.num_rows();
        if self.patterns.is_empty() {
            return Ok(std::iter::once(0..rows).collect());
        }
        let evaluate = || -> Result<Vec<ArrayRef>> {
            let column = |pattern: &Arc<dyn PhysicalExpr>| {
                Ok(cast(&pattern.evaluate(batch)?.into_array(rows)?, &DataType::Utf8)?)
            };
            self.patterns.iter().map(column).collect()
        };
        // Patterns that are too large themselves are compiled one by one.
        let Some(columns) = within(limits::PIECE_BYTES, evaluate) else {
            return Ok((0..rows).map(|row| row..row + 1).collect());
        };
        let columns = columns?;
        let (mut ranges, mut begin, mut seen) = (Vec::new(), 0, HashSet::new());
        for row in 0..rows {
            for column in &columns {
                seen.insert(column.as_string::<i32>().value(row));
            }
            if seen.len() > limits::PIECE_PATTERNS && row > begin {
                ranges.push(begin..row);
                begin = row;
                seen.clear();
            }
        }
        ranges.push(begin..rows);
        Ok(ranges)
    }
}

/// Whether the right side is a pattern.
pub fn is_match(op: Operator) -> bool {
    matches!(
        op,
        Operator::RegexMatch
            | Operator::RegexIMatch
            | Operator::RegexNotMatch
            | Operator::RegexNotIMatch
            | Operator::LikeMatch
            | Operator::ILikeMatch
            | Operator::NotLikeMatch
            | Operator::NotILikeMatch
    )
}

/// The results of the pieces of a batch, each computed when it is asked for.
pub enum Pieces<F> {
    /// Some are left.
    Open {
        /// The last is the next.
        open: Vec<Range<usize>>,
        /// The whole.
        batch: RecordBatch,
        /// Who waits for them.
        allowance: Allowance,
        /// Computes one.
        work: F,
    },
    /// It could not be cut.
    Failed(Option<datafusion::common::DataFusionError>),
}

impl<T, F: Fn(&RecordBatch) -> Result<T>> Iterator for Pieces<F> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let (open, batch, allowance, work) = match self {
            Pieces::Open { open, batch, allowance, work } => (open, batch, allowance, work),
            Pieces::Failed(error) => return error.take().map(Err),
        };
        loop {
            let range = open.pop()?;
            if let Err(error) = allowance.check() {
                open.clear();
                return Some(Err(error));
            }
            let piece = batch.slice(range.start, range.len());
            if range.len() <= 1 {
                let mut failed = None;
                let done = within(limits::CALL_BYTES, || {
                    work(&piece).map_err(|error| failed = Some(error)).ok()
                });
                return match (done.flatten(), failed) {
                    (_, Some(error)) => Some(Err(error)),
                    (done, None) => done.map(Ok),
                };
            }
            match within(limits::PIECE_BYTES, || work(&piece)) {
                Some(done) => return Some(done),
                None => {
                    let middle = range.start + range.len() / 2;
                    open.push(middle..range.end);
                    open.push(range.start..middle);
                }
            }
        }
    }
}

/// A column evaluated piece by piece and put together again.
pub fn column(
    explosive: &Explosive,
    expr: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
    allowance: &Allowance,
) -> Result<ArrayRef> {
    let evaluate = |piece: &RecordBatch| expr.evaluate(piece)?.into_array(piece.num_rows());
    let pieces = explosive.pieces(batch.clone(), allowance.clone(), evaluate);
    let mut pieces = pieces.collect::<Result<Vec<ArrayRef>>>()?;
    match (pieces.len(), pieces.pop()) {
        (1, Some(only)) => Ok(only),
        (_, last) => {
            pieces.extend(last);
            Ok(concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
        }
    }
}

/// A projection that gives a batch for each piece.
pub struct PiecewiseProjection {
    exprs: Vec<ProjectionExpr>,
    explosive: Explosive,
    allowance: Allowance,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl PiecewiseProjection {
    /// The projection so; `None` if none of its expressions makes much of little.
    pub fn of(
        projection: &ProjectionExec,
        allowance: &Allowance,
    ) -> Result<Option<PiecewiseProjection>> {
        let exprs = projection.expr().to_vec();
        let Some(explosive) = Explosive::among(exprs.iter().map(|expr| &expr.expr))? else {
            return Ok(None);
        };
        let (input, properties) =
            (Arc::clone(projection.input()), Arc::clone(projection.properties()));
        Ok(Some(PiecewiseProjection {
            exprs,
            explosive,
            allowance: allowance.clone(),
            input,
            properties,
        }))
    }

    fn project(
        exprs: &[ProjectionExpr],
        schema: &SchemaRef,
        piece: &RecordBatch,
    ) -> Result<RecordBatch> {
        let rows = piece.num_rows();
        let columns = exprs.iter().map(|expr| expr.expr.evaluate(piece)?.into_array(rows));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    }
}

impl fmt::Debug for PiecewiseProjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PiecewiseProjection").field("exprs", &self.exprs).finish_non_exhaustive()
    }
}

impl DisplayAs for PiecewiseProjection {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exprs: Vec<String> =
            self.exprs.iter().map(|expr| format!("{} as {}", expr.expr, expr.alias)).collect();
        write!(f, "PiecewiseProjection: expr=[{}]", exprs.join(", "))
    }
}

impl ExecutionPlan for PiecewiseProjection {
    fn name(&self) -> &str {
        "PiecewiseProjection"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut recursion = TreeNodeRecursion::Continue;
        for expr in &self.exprs {
            recursion = recursion.visit_sibling(|| f(&expr.expr))?;
        }
        Ok(recursion)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projection = ProjectionExec::try_new(self.exprs.clone(), children.swap_remove(0))?;
        Ok(match PiecewiseProjection::of(&projection, &self.allowance)? {
            Some(piecewise) => Arc::new(piecewise),
            None => Arc::new(projection),
        })
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (exprs, schema) = (self.exprs.clone(), self.schema());
        let (explosive, allowance) = (self.explosive.clone(), self.allowance.clone());
        let exprs: Arc<[ProjectionExpr]> = exprs.into();
        let of = Arc::clone(&schema);
        let pieces = self.input.execute(partition, context)?.map_ok(move |batch| {
            let (exprs, of) = (Arc::clone(&exprs), Arc::clone(&of));
            let project = move |piece: &RecordBatch| Self::project(&exprs, &of, piece);
            let pieces = stream::iter(explosive.pieces(batch, allowance.clone(), project));
            // Each piece is some work: others get their turn in between.
            pieces.then(|piece| async {
                tokio::task::yield_now().await;
                piece
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, pieces.try_flatten())))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use datafusion::common::DataFusionError;

    use super::super::room::take;
    use super::*;

    fn batch(values: &[i64]) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("mib", column)]).unwrap()
    }

    /// Each row makes so many MiB.
    fn sizes(values: &[i64]) -> Result<Vec<usize>> {
        let work = |piece: &RecordBatch| {
            let mib = piece.column(0).as_primitive::<arrow::datatypes::Int64Type>();
            if !mib.values().iter().all(|mib| take(*mib as usize * (1 << 20))) {
                return Err(DataFusionError::Execution("too much".to_owned()));
            }
            Ok(piece.num_rows())
        };
        Explosive { patterns: Vec::new() }
            .pieces(batch(values), Allowance::default(), work)
            .collect()
    }

    #[test]
    fn rows_that_make_too_much_together_are_taken_fewer_at_a_time() {
        let check = |values: &[i64], expect: &[usize]| {
            assert_eq!(sizes(values).unwrap(), expect, "{values:?}")
        };
        check(&[], &[0]);
        check(&[1; 8], &[8]);
        check(&[10; 4], &[1, 1, 1, 1]);
        check(&[5; 8], &[2, 2, 2, 2]);
        check(&[0, 0, 0, 0, 0, 0, 0, 100], &[4, 2, 1, 1]);
    }

    #[test]
    fn what_one_row_makes_has_a_bound() {
        assert_eq!(sizes(&[1, 300, 1]).unwrap_err().strip_backtrace(), "Execution error: too much");
    }

    #[test]
    fn work_that_nobody_waits_for_ends_between_two_pieces() {
        let allowance = Allowance::default();
        let explosive = Explosive { patterns: Vec::new() };
        let work = |piece: &RecordBatch| {
            if !take(piece.num_rows() * (5 << 20)) {
                return Err(DataFusionError::Execution("too much".to_owned()));
            }
            Ok(piece.num_rows())
        };
        let mut pieces = explosive.pieces(batch(&[0; 8]), allowance.clone(), work);
        assert_eq!(pieces.next().unwrap().unwrap(), 2);
        allowance.token.cancel();
        assert!(pieces.next().unwrap().is_err());
        assert!(pieces.next().is_none());
    }
}
