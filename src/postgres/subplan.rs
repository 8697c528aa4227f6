//! Subqueries over the columns of the query around them that are no join: run once for each set of
//! outer values.
//!
//! `(SELECT max(o.k + t.id) FROM o)` becomes a function of `t.id`, which puts its value into the
//! subquery's plan as a constant and runs that; Postgres calls it a SubPlan. It is slow where there
//! are many different values, and right where nothing else is (see
//! [`joinable`](super::coercion::joinable)). The relations are those of the query around, so all
//! runs see one epoch. A continuous query asks all of them again when its rows have changed, with
//! placeholders for the relations.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, ListArray, RecordBatch, StructArray, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::cmp;
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Subquery, TypeSignature, Volatility,
};
use datafusion::physical_plan::collect;
use parking_lot::Mutex;

use super::budget::Allowance;
use super::coercion::held::with_held_constants;
use super::functions::scalar_at;
use crate::error::{Error, SqlState};
use crate::spawn::wait;

/// Sets of values whose answers are kept; beyond that it begins anew.
const KEPT: usize = 65_536;

/// What the subquery stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubqueryKind {
    /// `(SELECT …)`: its one value, NULL without a row.
    Value,
    /// `EXISTS (SELECT …)`.
    Exists,
    /// `x = ANY (SELECT …)`, which is IN; x is the first argument.
    Any(Operator),
    /// `x <> ALL (SELECT …)`, which is NOT IN; x is the first argument.
    All(Operator),
    /// All its rows, as an array; NULL without one.
    Rows,
}

/// The subquery as a function of the columns it reads of the query around it, which has the columns
/// `around`.
pub fn applied(
    state: &SessionState,
    subquery: &Subquery,
    want: SubqueryKind,
    x: Option<Expr>,
    around: &DFSchema,
) -> Result<Expr> {
    let fields = subquery.subquery.schema().fields();
    if fields.len() != 1 && !matches!(want, SubqueryKind::Exists | SubqueryKind::Rows) {
        return Err(Error::new(SqlState::Syntax, "subquery must return only one column").into());
    }
    let mut outer: Vec<(Column, FieldRef)> = Vec::new();
    for reference in &subquery.outer_ref_columns {
        if let Expr::OuterReferenceColumn(field, column) = reference
            && !outer.iter().any(|(known, _)| known == column)
        {
            outer.push((column.clone(), Arc::clone(field)));
        }
    }
    let value = match want {
        SubqueryKind::Value => Arc::clone(&fields[0]),
        SubqueryKind::Rows => Arc::new(Field::new("", rows_type(subquery.subquery.schema()), true)),
        _ => Arc::new(Field::new("", DataType::Boolean, true)),
    };
    // A column of a query further out stays one: whoever applies the query between puts its value
    // here.
    let columns = outer.iter().map(|(column, field)| {
        if around.has_column(column) {
            Expr::Column(column.clone())
        } else {
            Expr::OuterReferenceColumn(Arc::clone(field), column.clone())
        }
    });
    let args = x.into_iter().chain(columns).collect();
    let plan = with_held_constants(subquery.subquery.as_ref().clone())?;
    let apply = Apply::new(state, Arc::new(plan), want, outer, value);
    Ok(ScalarUDF::from(apply).call(args))
}

/// What a column of a subquery is called in the array of its rows.
pub fn field_name(at: usize) -> String {
    format!("c{at}")
}

/// The type of the rows of a subquery as a value.
fn rows_type(schema: &DFSchema) -> DataType {
    let fields = schema.fields().iter().enumerate();
    let named = fields
        .map(|(at, field)| field.as_ref().clone().with_name(field_name(at)).with_nullable(true));
    let row = DataType::Struct(named.collect());
    DataType::List(Arc::new(Field::new_list_field(row, true)))
}

/// The plan of the subquery that an expression is, if it is one that is applied.
fn of(expr: &Expr) -> Option<&Apply> {
    match expr {
        Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<Apply>(),
        _ => None,
    }
}

/// Whether a plan applies a subquery.
pub fn has_applied(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= applies(node)?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether a node, without what is below it, applies a subquery.
pub fn applies(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    visit(node, &mut |_| {
        found = true;
        Ok(())
    })?;
    Ok(found)
}

/// Goes through the subqueries that a node, without what is below it, applies.
pub fn visit(node: &LogicalPlan, look: &mut dyn FnMut(&LogicalPlan) -> Result<()>) -> Result<()> {
    node.apply_expressions(|expr| {
        expr.apply(|part| {
            if let Some(apply) = of(part) {
                look(&apply.subquery)?;
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(())
}

/// The node with other subqueries in place of those that it applies.
pub fn map(
    node: LogicalPlan,
    change: &mut dyn FnMut(LogicalPlan) -> Result<LogicalPlan>,
) -> Result<Transformed<LogicalPlan>> {
    node.map_expressions(|expr| {
        expr.transform(|part| {
            let (Some(apply), Expr::ScalarFunction(call)) = (of(&part), &part) else {
                return Ok(Transformed::no(part));
            };
            let subquery = change(apply.subquery.as_ref().clone())?;
            let other = Apply {
                // By its name an operator above asks for the column.
                name: apply.name.clone(),
                state: apply.state.clone(),
                subquery: Arc::new(subquery),
                want: apply.want,
                outer: apply.outer.clone(),
                value: Arc::clone(&apply.value),
                signature: apply.signature.clone(),
                last: Mutex::default(),
                kept: Mutex::default(),
            };
            Ok(Transformed::yes(ScalarUDF::from(other).call(call.args.clone())))
        })
    })
}

/// What subqueries of a plan have answered is not true any more: their rows are others now.
pub fn forget_answers(plan: &LogicalPlan) -> Result<()> {
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Some(apply) = of(part) {
                    *apply.last.lock() = None;
                    apply.kept.lock().clear();
                    forget_answers(&apply.subquery)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

struct Apply {
    name: String,
    state: SessionState,
    subquery: Arc<LogicalPlan>,
    want: SubqueryKind,
    outer: Vec<(Column, FieldRef)>,
    value: FieldRef,
    signature: Signature,
    /// The column of the last run for ANY and ALL, and what it was run for.
    last: Mutex<Option<(Vec<ScalarValue>, ArrayRef)>>,
    /// By the arguments as bytes.
    kept: Mutex<HashMap<Vec<u8>, ScalarValue>>,
}

impl fmt::Debug for Apply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Apply {
    fn eq(&self, other: &Self) -> bool {
        self.want == other.want && self.subquery == other.subquery
    }
}

impl Eq for Apply {}

impl Hash for Apply {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Apply {
    fn new(
        state: &SessionState,
        subquery: Arc<LogicalPlan>,
        want: SubqueryKind,
        outer: Vec<(Column, FieldRef)>,
        value: FieldRef,
    ) -> Apply {
        let mut hasher = DefaultHasher::new();
        (&subquery, want).hash(&mut hasher);
        let mut state = state.clone();
        // A run is small, and a thread of its own for each part of it would cost more than it.
        state.config_mut().options_mut().execution.target_partitions = 1;
        let forms = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        Apply {
            // Two subqueries over the same columns are two functions.
            name: format!("subquery_{:08x}", hasher.finish() as u32),
            state,
            subquery,
            want,
            outer,
            value,
            // Volatile, so that it is not run while the query is planned.
            signature: Signature::one_of(forms, Volatility::Volatile),
            last: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// The subquery's plan with these values in place of the outer columns. Subqueries that are left in it
    /// as such read only the query that they stand in.
    fn filled(&self, values: &[ScalarValue]) -> Result<LogicalPlan> {
        let at = |column: &Column| self.outer.iter().position(|(known, _)| known == column);
        let value = |part| {
            Ok(match part {
                Expr::OuterReferenceColumn(field, column) => match at(&column) {
                    Some(at) => {
                        let metadata = FieldMetadata::from(field.as_ref());
                        Transformed::yes(Expr::Literal(values[at].clone(), Some(metadata)))
                    }
                    None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
                },
                other => Transformed::no(other),
            })
        };
        let filled = self.subquery.as_ref().clone().transform_down(|node| {
            // A lateral one.
            if matches!(node, LogicalPlan::Subquery(_)) {
                return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
            }
            // An operator above asks for a column by the name that the expression has now.
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let filled = expr.transform_down(value)?;
                Ok(if filled.transformed {
                    filled.update_data(|expr| name.restore(expr))
                } else {
                    filled
                })
            })
        })?;
        Ok(filled.data)
    }

    fn rows(&self, values: &[ScalarValue]) -> Result<Vec<RecordBatch>> {
        Allowance::check_in(self.state.config_options())?;
        let plan = self.filled(values)?;
        // What DataFusion has as async functions is computed before the expression they stand in,
        // in a CASE for the rows of all its branches too, and not at all in joins, ORDER BY and
        // GROUP BY.
        wait(async {
            let physical = self.state.create_physical_plan(&plan).await?;
            collect(physical, self.state.task_ctx()).await
        })?
    }

    /// Its only column, as values of this type.
    fn column(&self, values: &[ScalarValue], wanted: &DataType) -> Result<ArrayRef> {
        let rows = self.rows(values)?;
        let columns = rows
            .iter()
            .map(|batch| Ok(cast(batch.column(0), wanted)?))
            .collect::<Result<Vec<_>>>()?;
        let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
        Ok(if columns.is_empty() { new_empty_array(wanted) } else { concat(&columns)? })
    }

    fn answer(&self, values: &[ScalarValue], wanted: &DataType) -> Result<ScalarValue> {
        match self.want {
            SubqueryKind::Value => {
                let column = self.column(values, wanted)?;
                match column.len() {
                    0 => ScalarValue::try_from(wanted),
                    1 => scalar_at(&column, 0),
                    _ => {
                        let message =
                            "more than one row returned by a subquery used as an expression";
                        Err(Error::new(SqlState::CardinalityViolation, message).into())
                    }
                }
            }
            SubqueryKind::Rows => self.all(values, wanted),
            SubqueryKind::Exists => {
                let has_row = self.rows(values)?.iter().any(|batch| batch.num_rows() > 0);
                Ok(ScalarValue::Boolean(Some(has_row)))
            }
            SubqueryKind::Any(op) => {
                let found = self.compared(values, op)?;
                Ok(ScalarValue::Boolean(match () {
                    () if found.true_count() > 0 => Some(true),
                    () if found.null_count() > 0 => None,
                    () => Some(false),
                }))
            }
            SubqueryKind::All(op) => {
                let found = self.compared(values, op)?;
                Ok(ScalarValue::Boolean(match () {
                    () if found.false_count() > 0 => Some(false),
                    () if found.null_count() > 0 => None,
                    () => Some(true),
                }))
            }
        }
    }

    /// Its rows as a list of this type.
    fn all(&self, values: &[ScalarValue], wanted: &DataType) -> Result<ScalarValue> {
        let rows = self.rows(values)?;
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        let (DataType::List(item), true) = (wanted, count > 0) else {
            return ScalarValue::try_from(wanted);
        };
        let DataType::Struct(fields) = item.data_type() else {
            return ScalarValue::try_from(wanted);
        };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(fields.len());
        for (at, field) in fields.iter().enumerate() {
            let parts = rows.iter().map(|batch| cast(batch.column(at), field.data_type()));
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            columns.push(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?);
        }
        let rows = StructArray::try_new_with_length(fields.clone(), columns, None, count)?;
        let offsets = OffsetBuffer::from_lengths([count]);
        let list = ListArray::try_new(Arc::clone(item), offsets, Arc::new(rows), None)?;
        Ok(ScalarValue::List(Arc::new(list)))
    }

    /// The first value compared with each of the subquery's.
    fn compared(&self, values: &[ScalarValue], op: Operator) -> Result<BooleanArray> {
        let (x, outer) = values
            .split_first()
            .ok_or_else(|| Error::internal("a comparison without a left side"))?;
        let own = self.subquery.schema().field(0).data_type();
        let common = comparison_coercion(&x.data_type(), own).ok_or_else(|| {
            Error::new(
                SqlState::TypeMismatch,
                format!("cannot compare {} with {own}", x.data_type()),
            )
        })?;
        let last = self.last.lock().clone();
        let column = match last {
            Some((known, column)) if known == outer && *column.data_type() == common => column,
            _ => {
                let column = self.column(outer, &common)?;
                *self.last.lock() = Some((outer.to_vec(), Arc::clone(&column)));
                column
            }
        };
        let x = x.cast_to(&common)?.to_scalar()?;
        Ok(match op {
            Operator::Eq => cmp::eq(&x, &column),
            Operator::NotEq => cmp::neq(&x, &column),
            Operator::Lt => cmp::lt(&x, &column),
            Operator::LtEq => cmp::lt_eq(&x, &column),
            Operator::Gt => cmp::gt(&x, &column),
            Operator::GtEq => cmp::gt_eq(&x, &column),
            other => {
                return Err(
                    Error::unsupported(format!("{other} ANY and ALL are not supported")).into()
                );
            }
        }?)
    }
}

/// Each row as bytes.
fn keys(columns: &[ArrayRef], rows: usize) -> Result<Vec<Vec<u8>>> {
    if columns.is_empty() {
        return Ok(vec![Vec::new(); rows]);
    }
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let keys = RowConverter::new(fields)?.convert_columns(columns)?;
    Ok(keys.iter().map(|key| key.as_ref().to_vec()).collect())
}

/// Whether a function is a subquery.
pub fn is_subplan(function: &ScalarUDF) -> bool {
    function.inner().is::<Apply>()
}

impl ScalarUDFImpl for Apply {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(self.value.as_ref().clone().with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.return_field.data_type();
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { args.number_rows.min(1) } else { args.number_rows };
        let columns = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let keys = keys(&columns, rows)?;
        let mut answers = Vec::with_capacity(rows);
        for (row, key) in keys.into_iter().enumerate() {
            let known = self.kept.lock().get(&key).cloned();
            answers.push(match known {
                Some(answer) => answer,
                None => {
                    let values =
                        columns.iter().map(|column| ScalarValue::try_from_array(column, row));
                    let answer = self.answer(&values.collect::<Result<Vec<_>>>()?, wanted)?;
                    let mut kept = self.kept.lock();
                    if kept.len() >= KEPT {
                        kept.clear();
                    }
                    kept.insert(key, answer.clone());
                    answer
                }
            });
        }
        let array = if answers.is_empty() {
            new_empty_array(wanted)
        } else {
            ScalarValue::iter_to_array(answers)?
        };
        Ok(if is_scalar && rows == 1 {
            ColumnarValue::Scalar(scalar_at(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}
