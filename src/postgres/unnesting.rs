//! UNNEST, as many elements at a time as a batch has rows.
//!
//! DataFusion takes all arrays of a batch apart at once, and repeats the other columns of a row for
//! each of its elements. Arrays of a million elements beside a text of a kilobyte would make
//! gigabytes, and nothing asks before they are made. So the rows come to it in [`Chunks`]: few rows
//! at a time, and of a long array a part at a time, in a row of its own.
//!
//! ```text
//!   a, [1, 2, 3, 4, 5]  ──▶  a, [1, 2]   a, [3, 4]   a, [5]
//! ```

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{TryStreamExt, stream};

use crate::limits;

/// The UNNEST over chunks of its input; `None` if it has them, or takes apart what is no plain
/// array of values.
pub fn in_chunks(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(unnest) = (node.as_ref() as &dyn Any).downcast_ref::<UnnestExec>() else {
        return Ok(None);
    };
    let input = unnest.input();
    let schema = input.schema();
    let is_list = |at: usize| matches!(schema.field(at).data_type(), DataType::List(_));
    let lists = unnest.list_column_indices();
    let is_plain = lists.iter().all(|list| list.depth == 1 && is_list(list.index_in_input_schema));
    if lists.is_empty() || !is_plain || (input.as_ref() as &dyn Any).is::<Chunks>() {
        return Ok(None);
    }
    let lists = lists.iter().map(|list| list.index_in_input_schema).collect();
    let chunks = Arc::new(Chunks::new(Arc::clone(input), lists));
    Ok(Some(replace_children_if_necessary(Arc::clone(node), vec![chunks])?))
}

/// Batches whose arrays have together at most so many elements as a batch has rows.
#[derive(Debug)]
struct Chunks {
    input: Arc<dyn ExecutionPlan>,
    /// The columns that are taken apart, beside each other.
    lists: Arc<[usize]>,
    properties: Arc<PlanProperties>,
}

impl Chunks {
    fn new(input: Arc<dyn ExecutionPlan>, lists: Arc<[usize]>) -> Chunks {
        let properties = Arc::clone(input.properties());
        Chunks { input, lists, properties }
    }
}

/// Part of a batch: rows, and of one row alone the elements.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ArrayPart {
    Rows(Range<usize>),
    Elements(usize, Range<usize>),
}

/// How a batch is cut whose rows have arrays of these lengths.
fn cut(lengths: impl Iterator<Item = usize>, most: usize) -> Vec<ArrayPart> {
    let (mut chunks, mut begin, mut elements, mut end) = (Vec::new(), 0, 0, 0);
    for (row, length) in lengths.enumerate() {
        end = row + 1;
        if elements + length > most && row > begin {
            chunks.push(ArrayPart::Rows(begin..row));
            (begin, elements) = (row, 0);
        }
        elements += length;
        if elements > most {
            let parts = (0..length).step_by(most);
            chunks.extend(
                parts.map(|from| ArrayPart::Elements(row, from..(from + most).min(length))),
            );
            (begin, elements) = (row + 1, 0);
        }
    }
    if end > begin {
        chunks.push(ArrayPart::Rows(begin..end));
    }
    chunks
}

fn lengths<'b>(batch: &'b RecordBatch, lists: &'b [usize]) -> impl Iterator<Item = usize> + 'b {
    let length = |list: &ListArray, row: usize| {
        if list.is_valid(row) { usize::try_from(list.value_length(row)).unwrap_or(0) } else { 0 }
    };
    (0..batch.num_rows()).map(move |row| {
        lists.iter().map(|at| length(batch.column(*at).as_list::<i32>(), row)).max().unwrap_or(0)
    })
}

fn taken(batch: &RecordBatch, lists: &[usize], chunk: ArrayPart) -> Result<RecordBatch> {
    let (row, elements) = match chunk {
        ArrayPart::Rows(rows) => return Ok(batch.slice(rows.start, rows.len())),
        ArrayPart::Elements(row, elements) => (row, elements),
    };
    let one = batch.slice(row, 1);
    let columns = one.columns().iter().enumerate().map(|(at, column)| {
        if lists.contains(&at) { part(column, &elements) } else { Ok(Arc::clone(column)) }
    });
    Ok(RecordBatch::try_new(one.schema(), columns.collect::<Result<_>>()?)?)
}

/// These elements of the array in the only row. A shorter one beside it has none left, and gives
/// NULLs.
fn part(column: &ArrayRef, elements: &Range<usize>) -> Result<ArrayRef> {
    let (DataType::List(field), list) = (column.data_type(), column.as_list::<i32>()) else {
        return Ok(Arc::clone(column));
    };
    if list.is_null(0) {
        return Ok(Arc::clone(column));
    }
    let values = list.value(0);
    let begin = elements.start.min(values.len());
    let values = values.slice(begin, elements.end.min(values.len()) - begin);
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, None)?))
}

impl DisplayAs for Chunks {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunks: elements={}", limits::BATCH_ROWS)
    }
}

impl ExecutionPlan for Chunks {
    fn name(&self) -> &str {
        "Chunks"
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
        Ok(Arc::new(Chunks::new(children.swap_remove(0), Arc::clone(&self.lists))))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let lists = Arc::clone(&self.lists);
        let chunks = self.input.execute(partition, context)?.map_ok(move |batch| {
            let lists = Arc::clone(&lists);
            let chunks = cut(lengths(&batch, &lists), limits::BATCH_ROWS);
            stream::iter(chunks.into_iter().map(move |chunk| taken(&batch, &lists, chunk)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), chunks.try_flatten())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_together_until_their_arrays_are_too_long_and_long_arrays_in_parts() {
        use ArrayPart::{Elements, Rows};
        let check = |lengths: &[usize], expect: &[ArrayPart]| {
            assert_eq!(cut(lengths.iter().copied(), 10), expect, "{lengths:?}");
        };
        check(&[], &[]);
        check(&[0, 0, 0], &[Rows(0..3)]);
        check(&[5, 5, 1], &[Rows(0..2), Rows(2..3)]);
        check(&[1, 10, 1], &[Rows(0..1), Rows(1..2), Rows(2..3)]);
        check(
            &[1, 25, 1],
            &[Rows(0..1), Elements(1, 0..10), Elements(1, 10..20), Elements(1, 20..25), Rows(2..3)],
        );
    }
}
