//! Constants that are large, a few rows at a time.
//!
//! A projection writes each of its constants into every row of a batch. With an array of a million
//! elements, which UNNEST is about to take apart, a batch of 8,192 rows would be 64 GB, and nothing
//! asks before it is made. So the rows come to such a projection in [`Portions`], as many at a time
//! as fit. So they do to operators that compute what may be large and cannot do it
//! [piecewise](super::piecewise): sorts and aggregates, and aggregates with many grouping sets.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{TryStreamExt, stream};

use super::budget::Allowance;
use super::piecewise::{Explosive, PiecewiseProjection};
use crate::limits;

/// The operator over portions of its input, if it computes what may be large.
pub fn carefully(
    node: &Arc<dyn ExecutionPlan>,
    allowance: &Allowance,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let children = node.children();
    let [input] = children[..] else { return Ok(None) };
    if (input.as_ref() as &dyn Any).is::<Portions>() {
        return Ok(None);
    }
    let mut exprs = Vec::new();
    node.apply_expressions(&mut |expr| {
        exprs.push(Arc::clone(expr));
        Ok(TreeNodeRecursion::Continue)
    })?;
    let rows = match Explosive::among(exprs.iter())? {
        Some(_) => limits::CAREFUL_ROWS,
        None => limits::BATCH_ROWS,
    };
    let rows = rows.min(rows_of_aggregate(node.as_ref()));
    if rows >= limits::BATCH_ROWS {
        return Ok(None);
    }
    let portions = Arc::new(Portions::new(Arc::clone(input), rows, allowance));
    Ok(Some(replace_children_if_necessary(Arc::clone(node), vec![portions])?))
}

/// How many rows an aggregate takes at a time, if it is one: it writes its constants into every row
/// as a projection does, and the keys once for each of its grouping sets.
fn rows_of_aggregate(node: &dyn ExecutionPlan) -> usize {
    let Some(aggregate) = (node as &dyn Any).downcast_ref::<AggregateExec>() else {
        return limits::BATCH_ROWS;
    };
    let arguments = aggregate.aggr_expr().iter().flat_map(|function| function.expressions());
    let constants: usize = arguments
        .filter_map(|argument| Some(argument.downcast_ref::<Literal>()?.value().size()))
        .sum();
    let sets = aggregate.group_expr().groups().len();
    (limits::PIECE_BYTES / constants.max(1)).min(limits::BATCH_CELLS / sets.max(1)).max(1)
}

/// The projection over portions of its input, if it has large constants or very many columns.
pub fn in_portions(
    projection: &ProjectionExec,
    allowance: &Allowance,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let constants = projection.expr().iter().filter_map(|part| part.expr.downcast_ref::<Literal>());
    let bytes: usize = constants.map(|constant| constant.value().size()).sum();
    // Many computed columns make much of one that is read.
    let computed = projection.expr().iter().filter(|part| !part.expr.is::<Column>()).count();
    let rows =
        (limits::PIECE_BYTES / bytes.max(1)).min(limits::BATCH_CELLS / computed.max(1)).max(1);
    if rows >= limits::BATCH_ROWS {
        return Ok(None);
    }
    let input = Arc::new(Portions::new(Arc::clone(projection.input()), rows, allowance));
    Ok(Some(Arc::new(ProjectionExec::try_new(projection.expr().to_vec(), input)?)))
}

/// The projection over the repartition instead of below it: what deals batches out puts small ones
/// together to large ones first.
pub fn dealt_before(repartition: &RepartitionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let any = repartition.input().as_ref() as &dyn Any;
    if let Some(piecewise) = any.downcast_ref::<PiecewiseProjection>()
        && let Partitioning::RoundRobinBatch(_) = repartition.partitioning()
    {
        let input = Arc::clone(piecewise.children()[0]);
        let dealt = RepartitionExec::try_new(input, repartition.partitioning().clone())?;
        return Ok(Some(replace_children_if_necessary(
            Arc::clone(repartition.input()),
            vec![Arc::new(dealt)],
        )?));
    }
    let Some(projection) = any.downcast_ref::<ProjectionExec>() else { return Ok(None) };
    let portions = (projection.input().as_ref() as &dyn Any).downcast_ref::<Portions>();
    let (Some(portions), Partitioning::RoundRobinBatch(_)) = (portions, repartition.partitioning())
    else {
        return Ok(None);
    };
    let dealt =
        RepartitionExec::try_new(Arc::clone(&portions.input), repartition.partitioning().clone())?;
    let input = Arc::new(Portions::new(Arc::new(dealt), portions.rows, &portions.allowance));
    Ok(Some(Arc::new(ProjectionExec::try_new(projection.expr().to_vec(), input)?)))
}

/// Batches of at most so many rows.
#[derive(Debug)]
pub struct Portions {
    input: Arc<dyn ExecutionPlan>,
    rows: usize,
    allowance: Allowance,
    properties: Arc<PlanProperties>,
}

impl Portions {
    fn new(input: Arc<dyn ExecutionPlan>, rows: usize, allowance: &Allowance) -> Portions {
        let properties = Arc::clone(input.properties());
        Portions { input, rows, allowance: allowance.clone(), properties }
    }
}

impl DisplayAs for Portions {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Portions: rows={}", self.rows)
    }
}

impl ExecutionPlan for Portions {
    fn name(&self) -> &str {
        "Portions"
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
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Portions::new(children.swap_remove(0), self.rows, &self.allowance)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (rows, allowance) = (self.rows, self.allowance.clone());
        let portions = self.input.execute(partition, context)?.map_ok(move |batch| {
            let (count, allowance) = (batch.num_rows(), allowance.clone());
            let portion = move |begin: usize| {
                allowance.check()?;
                Ok(batch.slice(begin, rows.min(count - begin)))
            };
            stream::iter((0..count).step_by(rows).map(portion))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), portions.try_flatten())))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{DataType, Field};
    use datafusion::common::ScalarValue;
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_expr::expressions::lit;
    use datafusion::physical_plan::collect;

    use super::*;

    #[tokio::test]
    async fn a_large_constant_stands_in_few_rows_at_a_time() {
        let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
        let rows = RecordBatch::try_from_iter([("id", rows)]).unwrap();
        let input =
            MemorySourceConfig::try_new_exec(&[vec![rows.clone()]], rows.schema(), None).unwrap();
        let item = Arc::new(Field::new("item", DataType::Int64, true));
        let constant = |length: usize| {
            let values: ArrayRef = Arc::new(Int64Array::from(vec![0; length]));
            let list = ListArray::try_new(
                Arc::clone(&item),
                OffsetBuffer::from_lengths([length]),
                values,
                None,
            );
            lit(ScalarValue::List(Arc::new(list.unwrap())))
        };
        let projection = |length| {
            ProjectionExec::try_new(
                vec![(constant(length), "all".to_owned())],
                Arc::clone(&input) as _,
            )
            .unwrap()
        };
        assert!(in_portions(&projection(10), &Allowance::default()).unwrap().is_none());
        let plan = in_portions(&projection(1_000_000), &Allowance::default()).unwrap().unwrap();
        // Dealt out afterwards they would be put together again.
        let dealt = RepartitionExec::try_new(plan, Partitioning::RoundRobinBatch(2)).unwrap();
        let plan = dealt_before(&dealt).unwrap().unwrap();
        let batches = collect(plan, Arc::new(TaskContext::default())).await.unwrap();
        assert!(batches.iter().all(|batch| batch.num_rows() <= 2));
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
    }
}
