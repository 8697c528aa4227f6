//! Subqueries over the columns of the query around them, where DataFusion finds no join that says the same.
//!
//! Such a subquery becomes a function of the outer columns that it names: `(SELECT … WHERE x < t.oid)` is planned as
//! `apply_1(t.oid)`. The function runs the subquery with the values put in as constants, once for each set of values, as
//! Postgres does with what it calls a SubPlan. That is slow for many rows; the system's tables have few, and clients ask for
//! a subquery per row of them.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ListArray, RecordBatch, new_empty_array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{cast, concat};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use datafusion::physical_plan::collect;
use datafusion::sql::sqlparser::ast::{Expr, Query, Value, VisitMut, VisitorMut};
use parking_lot::Mutex;

use super::super::params::constant;
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::sql::parse_expr;
use crate::types::SqlType;

/// Sets of values whose answers are kept; beyond that it begins anew.
const KEPT: usize = 4_096;

/// What the subquery stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// `(SELECT …)`: its one value, NULL without a row.
    Scalar,
    /// `ARRAY(SELECT …)`: all its values, in its order.
    Array,
    /// `(SELECT array_agg(…) …)`: the same, and NULL without a row.
    Collected,
    /// `EXISTS (SELECT …)`.
    Exists,
}

/// A subquery that is to be run for each set of outer values.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The function's name.
    pub(crate) name: String,
    pub(crate) want: Want,
    /// With [holes](hole) where the outer columns were.
    pub(crate) query: Box<Query>,
}

/// What stands in the query for its `n`th outer column, from 0.
pub(crate) fn hole(n: usize) -> Expr {
    Expr::value(Value::Placeholder(format!("$outer{n}")))
}

fn hole_of(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.strip_prefix("$outer")?.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn filled(query: &Query, values: &[Expr]) -> Query {
    struct Fill<'a>(&'a [Expr]);
    impl VisitorMut for Fill<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Some(value) = hole_of(expr).and_then(|n| self.0.get(n)) {
                *expr = value.clone();
            }
            ControlFlow::Continue(())
        }
    }
    let mut query = query.clone();
    // The visitor never breaks off.
    let _ = query.visit(&mut Fill(values));
    query
}

/// The type that a value of a column is written as: those that only system tables have are spelled as what they hold.
fn written(sql_type: SqlType) -> SqlType {
    match sql_type {
        SqlType::Oid => SqlType::BigInt,
        SqlType::Name | SqlType::Char | SqlType::Unknown => SqlType::Text,
        SqlType::Array(element) => SqlType::Array(Box::new(written(*element))),
        other => other,
    }
}

/// The function that runs such a subquery; `state` knows the relations and all functions that it calls.
pub(crate) fn function(applied: Applied, state: SessionState, engine: Arc<Engine>) -> Arc<ScalarUDF> {
    let forms = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    let signature = Signature::one_of(forms, Volatility::Stable);
    Arc::new(ScalarUDF::from(Apply {
        applied,
        state,
        engine,
        signature,
        planned: Mutex::new(None),
        kept: Mutex::new(HashMap::new()),
    }))
}

struct Apply {
    applied: Applied,
    state: SessionState,
    engine: Arc<Engine>,
    signature: Signature,
    /// The types of its arguments, and its column.
    planned: Mutex<Option<(Vec<SqlType>, FieldRef)>>,
    kept: Mutex<HashMap<String, ScalarValue>>,
}

impl fmt::Debug for Apply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.applied.name)
    }
}

impl PartialEq for Apply {
    fn eq(&self, other: &Self) -> bool {
        self.applied.name == other.applied.name
    }
}

impl Eq for Apply {}

impl Hash for Apply {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.applied.name.hash(state);
    }
}

/// Waits on one of the engine's threads: planning and computing happen there, and functions cannot be async.
fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
}

impl Apply {
    /// The subquery's column, with arguments of these types.
    fn column(&self, types: &[SqlType]) -> Result<FieldRef> {
        if let Some((known, column)) = &*self.planned.lock()
            && known == types
        {
            return Ok(Arc::clone(column));
        }
        let null = |sql_type: &SqlType| parse_expr(&format!("CAST(NULL AS {})", sql_type.declaration()));
        let nulls = types.iter().map(null).collect::<Result<Vec<_>>>()?;
        let query = filled(&self.applied.query, &nulls);
        let plan = wait(self.engine.planner.logical(&self.state, &query))?;
        if self.applied.want == Want::Exists {
            let truth = Arc::new(Field::new(&self.applied.name, DataType::Boolean, false));
            *self.planned.lock() = Some((types.to_vec(), Arc::clone(&truth)));
            return Ok(truth);
        }
        let [column] = plan.schema().fields().as_ref() else {
            return Err(Error::new(SqlState::Syntax, "subquery must return only one column"));
        };
        let column = Arc::new(column.as_ref().clone().with_nullable(true));
        *self.planned.lock() = Some((types.to_vec(), Arc::clone(&column)));
        Ok(column)
    }

    /// The subquery's rows.
    fn rows(&self, outer: &[Expr]) -> Result<Vec<RecordBatch>> {
        let query = filled(&self.applied.query, outer);
        wait(async {
            let plan = self.engine.planner.logical(&self.state, &query).await?;
            let physical = self.state.create_physical_plan(&plan).await?;
            Ok(collect(physical, self.state.task_ctx()).await?)
        })
    }

    fn answer(&self, outer: &[Expr], wanted: &DataType) -> Result<ScalarValue> {
        let rows = self.rows(outer)?;
        let item = match (self.applied.want, wanted) {
            // `SELECT FROM t` has rows and no columns.
            (Want::Exists, _) => {
                return Ok(ScalarValue::Boolean(Some(rows.iter().any(|batch| batch.num_rows() > 0))));
            }
            (Want::Array | Want::Collected, DataType::List(item)) => item.data_type(),
            (_, other) => other,
        };
        let values = rows.iter().map(|batch| cast(batch.column(0), item)).collect::<Result<Vec<_>, _>>()?;
        let arrays: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
        let all = if arrays.is_empty() { new_empty_array(item) } else { concat(&arrays)? };
        match (self.applied.want, wanted) {
            (Want::Collected, DataType::List(_)) if all.is_empty() => Ok(ScalarValue::try_from(wanted)?),
            (Want::Array | Want::Collected, DataType::List(field)) => {
                let offsets = OffsetBuffer::from_lengths([all.len()]);
                let list = ListArray::try_new(Arc::clone(field), offsets, all, None)?;
                Ok(ScalarValue::List(Arc::new(list)))
            }
            _ => match all.len() {
                0 => Ok(ScalarValue::try_from(wanted)?),
                1 => Ok(ScalarValue::try_from_array(&all, 0)?),
                _ => Err(Error::new(
                    SqlState::CardinalityViolation,
                    "more than one row returned by a subquery used as an expression",
                )),
            },
        }
    }
}

impl ScalarUDFImpl for Apply {
    fn name(&self) -> &str {
        &self.applied.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(Error::internal("the type of a subquery follows from its plan").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let types: Vec<SqlType> =
            args.arg_fields.iter().map(|field| written(SqlType::from_field(field))).collect();
        let column = self.column(&types)?;
        Ok(match self.applied.want {
            Want::Scalar | Want::Exists => column,
            Want::Array | Want::Collected => {
                let item = column.as_ref().clone().with_name(Field::LIST_FIELD_DEFAULT_NAME);
                Arc::new(Field::new_list(self.name(), Arc::new(item), true))
            }
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let columns = args
            .args
            .iter()
            .zip(&args.arg_fields)
            .map(|(arg, field)| {
                let sql_type = written(SqlType::from_field(field));
                let wanted = sql_type.to_field("", true);
                Ok((cast(&arg.to_array(rows)?, wanted.data_type())?, sql_type))
            })
            .collect::<DfResult<Vec<_>>>()?;
        let wanted = args.return_field.data_type();
        let mut answers = Vec::with_capacity(rows);
        for row in 0..rows {
            let outer = columns
                .iter()
                .map(|(column, sql_type)| constant(&column.slice(row, 1), sql_type))
                .collect::<Result<Vec<_>>>()?;
            let key = outer.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let known = self.kept.lock().get(&key).cloned();
            let answer = match known {
                Some(answer) => answer,
                None => {
                    let answer = self.answer(&outer, wanted)?;
                    let mut kept = self.kept.lock();
                    if kept.len() >= KEPT {
                        kept.clear();
                    }
                    kept.insert(key, answer.clone());
                    answer
                }
            };
            answers.push(answer);
        }
        match (is_scalar, answers.pop()) {
            (true, Some(answer)) => Ok(ColumnarValue::Scalar(answer)),
            (_, None) => Ok(ColumnarValue::Array(new_empty_array(wanted))),
            (false, Some(last)) => {
                answers.push(last);
                Ok(ColumnarValue::Array(ScalarValue::iter_to_array(answers)?))
            }
        }
    }
}
