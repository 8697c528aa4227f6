//! What an operator is given: its keys and the arguments of its aggregates, each expression once, as
//! plain columns.

use std::sync::Arc;

use datafusion::common::{Column, DFSchemaRef};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;

use crate::error::{Error, Result};
use crate::operators::AggregateCall;

/// The columns that the operator needs, each expression once.
#[derive(Default)]
pub(super) struct Inputs {
    exprs: Vec<Expr>,
}

impl Inputs {
    /// Where it is among them.
    pub(super) fn add(&mut self, expr: Expr) -> usize {
        let expr = expr.unalias();
        match self.exprs.iter().position(|known| *known == expr) {
            Some(at) => at,
            None => {
                self.exprs.push(expr);
                self.exprs.len() - 1
            }
        }
    }

    /// The projection that yields them, named by position.
    pub(super) fn project(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let exprs = self
            .exprs
            .iter()
            .enumerate()
            .map(|(i, expr)| expr.clone().alias(input_name(i)))
            .collect();
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
    }
}

fn input_name(at: usize) -> String {
    format!("__{at}")
}

fn input_column(at: usize) -> Expr {
    Expr::Column(Column::new_unqualified(input_name(at)))
}

/// An aggregate call whose arguments have become columns.
pub(super) struct PlannedCall {
    name: String,
    function: AggregateFunction,
    args: Vec<usize>,
    filter: Option<usize>,
    distinct: bool,
}

impl PlannedCall {
    /// The calls of an aggregate.
    pub(super) fn all(aggregate: &Aggregate, inputs: &mut Inputs) -> Result<Vec<PlannedCall>> {
        aggregate.aggr_expr.iter().map(|e| PlannedCall::new(e, inputs)).collect()
    }

    fn new(expr: &Expr, inputs: &mut Inputs) -> Result<PlannedCall> {
        let name = expr.schema_name().to_string();
        let Expr::AggregateFunction(function) = expr.clone().unalias() else {
            return Err(Error::internal(format!("{expr} is no aggregate")));
        };
        let params = function.params;
        let counts_rows = function.func.name() == "count"
            && !params.distinct
            && params
                .args
                .iter()
                .all(|arg| matches!(arg, Expr::Literal(value, _) if !value.is_null()));
        let mut args = Vec::new();
        let mut new_args = Vec::new();
        for arg in params.args {
            let is_literal = matches!(arg, Expr::Literal(..));
            if !counts_rows {
                let at = inputs.add(arg.clone());
                args.push(at);
                // A literal stays one: some aggregates read it when they are made (the delimiter of
                // string_agg).
                new_args.push(if is_literal { arg } else { input_column(at) });
            } else {
                new_args.push(arg);
            }
        }
        let mut order_by = Vec::new();
        for mut sort in params.order_by {
            let at = inputs.add(sort.expr);
            args.push(at);
            sort.expr = input_column(at);
            order_by.push(sort);
        }
        let filter = params.filter.map(|filter| inputs.add(*filter));
        let function = AggregateFunction {
            func: function.func,
            params: AggregateFunctionParams {
                args: new_args,
                distinct: params.distinct,
                filter: None,
                order_by,
                null_treatment: params.null_treatment,
            },
        };
        Ok(PlannedCall { name, function, args, filter, distinct: params.distinct })
    }

    /// For the operator, over these columns.
    pub(super) fn build(self, schema: &DFSchemaRef) -> Result<AggregateCall> {
        let expr = Expr::AggregateFunction(self.function).alias(&self.name);
        let props = ExecutionProps::new();
        let context = PhysicalPlanningContext::default();
        let builder =
            LoweredAggregateBuilder::new(&expr, schema, schema.as_arrow(), &props, &context);
        let expr = builder.with_name(self.name).build()?.aggregate;
        let (args, filter, distinct) = (self.args, self.filter, self.distinct);
        Ok(AggregateCall { expr, args, filter, distinct, retracts: false })
    }
}
