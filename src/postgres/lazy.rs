//! AND and OR that ask their right side of those rows alone whose left side leaves it open: `b = 0 OR a / b
//! > 1` fails for no row.
//!
//! DataFusion asks both sides of all rows of a batch, unless the left side decides (nearly) all of them; and it
//! makes AND and OR of a CASE of booleans, which is what people write to be safe.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{and_kleene, filter_record_batch, or_kleene};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr,
    Literal, NotExpr,
};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::PhysicalExpr;

/// The expression with each AND and OR so whose right side may fail.
pub(super) fn lazily(
    expr: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    expr.transform_up(|part| {
        let Some(binary) = part.downcast_ref::<BinaryExpr>() else {
            return Ok(Transformed::no(part));
        };
        let is_and = *binary.op() == Operator::And;
        if !is_and && *binary.op() != Operator::Or || is_sure(binary.right(), schema) {
            return Ok(Transformed::no(part));
        }
        let (left, right) = (Arc::clone(binary.left()), BooleanPart::new(binary.right())?);
        Ok(Transformed::yes(Arc::new(LazyLogic { left, is_and, right }) as _))
    })
}

/// Whether an expression has a value for any row: comparisons, logic, and conversions that only widen.
/// What is called may fail.
pub(super) fn is_sure(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    let of_parts = || expr.children().iter().all(|part| is_sure(part, schema));
    let expr = expr.as_ref();
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return is_test(*binary.op()) && of_parts();
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        let from = cast.expr().data_type(schema);
        return from.is_ok_and(|from| only_widens(&from, cast.cast_type())) && of_parts();
    }
    let has_no_parts = expr.is::<Column>() || expr.is::<Literal>();
    let is_known = expr.is::<NotExpr>()
        || expr.is::<IsNullExpr>()
        || expr.is::<IsNotNullExpr>()
        || expr.is::<InListExpr>()
        || expr.is::<LikeExpr>()
        || expr.is::<CaseExpr>();
    has_no_parts || is_known && of_parts()
}

fn is_test(op: Operator) -> bool {
    use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
    matches!(op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn only_widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Float32, Float64, Int8, Int16, Int32, Int64};
    from == to
        || matches!(
            (from, to),
            (Int8, Int16 | Int32 | Int64 | Float32 | Float64)
                | (Int16, Int32 | Int64 | Float32 | Float64)
                | (Int32, Int64 | Float64)
                | (Int64 | Float32, Float64)
        )
}

/// A part of a condition, which is asked of some rows of a batch.
#[derive(Debug)]
pub(super) struct BooleanPart {
    pub(super) whole: Arc<dyn PhysicalExpr>,
    /// The columns it reads, and itself over these alone: others need not be filtered for it.
    columns: Vec<usize>,
    narrow: Arc<dyn PhysicalExpr>,
}

impl BooleanPart {
    pub(super) fn new(whole: &Arc<dyn PhysicalExpr>) -> Result<BooleanPart> {
        let mut columns: Vec<usize> =
            collect_columns(whole).iter().map(|column| column.index()).collect();
        columns.sort_unstable();
        columns.dedup();
        let narrow = Arc::clone(whole).transform_up(|part| {
            let Some(column) = part.downcast_ref::<Column>() else {
                return Ok(Transformed::no(part));
            };
            let at = columns.partition_point(|known| *known < column.index());
            Ok(Transformed::yes(Arc::new(Column::new(column.name(), at)) as _))
        });
        Ok(BooleanPart { narrow: narrow.data()?, whole: Arc::clone(whole), columns })
    }

    /// What it is for these rows; false, which nobody is to look at, for the others.
    pub(super) fn of(&self, batch: &RecordBatch, rows: &BooleanBuffer) -> Result<BooleanArray> {
        let all = batch.num_rows();
        if rows.count_set_bits() == all || self.columns.is_empty() {
            return booleans(&self.whole, batch);
        }
        let part = batch.project(&self.columns)?;
        let part = filter_record_batch(&part, &BooleanArray::from(rows.clone()))?;
        let found = booleans(&self.narrow, &part)?;
        let scattered = |values: &BooleanBuffer, rest: bool| {
            let mut scattered = BooleanBufferBuilder::new(all);
            scattered.append_n(all, rest);
            for (at, row) in rows.set_indices().enumerate() {
                scattered.set_bit(row, values.value(at));
            }
            scattered.finish()
        };
        let nulls = found.nulls().map(|nulls| NullBuffer::new(scattered(nulls.inner(), true)));
        Ok(BooleanArray::new(scattered(found.values(), false), nulls))
    }
}

pub(super) fn booleans(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray> {
    Ok(expr.evaluate(batch)?.into_array(batch.num_rows())?.as_boolean().clone())
}

/// AND, or else OR.
#[derive(Debug)]
struct LazyLogic {
    left: Arc<dyn PhysicalExpr>,
    is_and: bool,
    right: BooleanPart,
}

impl PartialEq for LazyLogic {
    fn eq(&self, other: &Self) -> bool {
        self.is_and == other.is_and && self.children() == other.children()
    }
}

impl Eq for LazyLogic {}

impl Hash for LazyLogic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.is_and.hash(state);
        self.children().hash(state);
    }
}

impl fmt::Display for LazyLogic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = if self.is_and { Operator::And } else { Operator::Or };
        let plain = BinaryExpr::new(Arc::clone(&self.left), op, Arc::clone(&self.right.whole));
        plain.fmt(f)
    }
}

impl PhysicalExpr for LazyLogic {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        Ok(self.left.nullable(schema)? || self.right.whole.nullable(schema)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let left = booleans(&self.left, batch)?;
        // A NULL decides nothing.
        let undecided = if self.is_and { left.values().clone() } else { !left.values() };
        let undecided = match left.nulls() {
            Some(nulls) => &undecided | &!nulls.inner(),
            None => undecided,
        };
        if undecided.count_set_bits() == 0 {
            return Ok(ColumnarValue::Array(Arc::new(left)));
        }
        let right = self.right.of(batch, &undecided)?;
        let both = if self.is_and { and_kleene(&left, &right) } else { or_kleene(&left, &right) };
        Ok(ColumnarValue::Array(Arc::new(both?)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right.whole]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let [left, right] = &children[..] else { return Ok(self) };
        let (left, right) = (Arc::clone(left), BooleanPart::new(right)?);
        Ok(Arc::new(LazyLogic { left, is_and: self.is_and, right }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
