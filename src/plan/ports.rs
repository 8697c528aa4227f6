//! Operators of more inputs than they have ports.
//!
//! What an operator keeps of each port is stored under a name of its own, of which there are few. So
//! the last port takes the rows of all further inputs:
//! ```text
//!  a ─▶ port 0                          __port  columns of c  columns of d  keys
//!  b ─▶ port 1                          2       c's           NULL          …
//!  c, d ─▶ union ─▶ port 2              3       NULL          d's           …
//! ```
//! and each leaf of the plan for one of these is a filter and a projection over that port.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, DFSchemaRef, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Expr, Filter, LogicalPlan, Operator, Projection, TableScan, binary_expr, lit,
};

use super::origin::column_at;
use super::pipeline::{Frontier, PerKeyPlan, Stateful};
use super::placeholder::{input_name, placeholder_of, port_of};
use super::stage::{Edge, Open};
use crate::error::Result;
use crate::limits::OPERATOR_PORTS;
use crate::postgres::subplan;

/// The port that takes the rows of all inputs from this on.
const LAST: usize = OPERATOR_PORTS - 1;

/// The column with the number of the input that a row is of.
const PORT: &str = "__port";

/// The inputs of an operator that fit its ports, and its plan over these.
pub(super) fn fitted(parts: Vec<Open>, plan: &mut PerKeyPlan) -> Result<Vec<Open>> {
    let mut parts = parts;
    if parts.len() <= OPERATOR_PORTS {
        return Ok(parts);
    }
    let further = parts.split_off(LAST);
    let schemas: Vec<DFSchemaRef> =
        further.iter().map(|part| Arc::clone(part.plan.schema())).collect();
    let united = United { first_keys: plan.ports.split_off(LAST), schemas, keys: plan.key };
    let (own, leaf) = united.leaf()?;
    let retracts = further.iter().any(|part| part.edge.retracts);
    let mut given = Vec::with_capacity(further.len());
    for (at, mut part) in further.into_iter().enumerate() {
        part.plan = united.given(at, part.plan)?;
        given.push(part);
    }
    let operator = (Stateful::Union { schema: Arc::clone(&own) }, Frontier::Input);
    parts.push(Open::over(given, operator, &own, Edge::of(retracts))?);
    plan.ports.push(own.fields().len() - plan.key);
    plan.plan = united.put_in(plan.plan.clone(), &leaf)?;
    Ok(parts)
}

/// Inputs that share a port.
struct United {
    schemas: Vec<DFSchemaRef>,
    /// The first column of the key of each.
    first_keys: Vec<usize>,
    /// How many columns the key has.
    keys: usize,
}

impl United {
    /// What a column of an input is called; keys have one name in all.
    fn name(&self, input: usize, column: usize) -> String {
        match column.checked_sub(self.first_keys[input]) {
            Some(key) => format!("__key_{key}"),
            None => format!("__{input}_{column}"),
        }
    }

    /// The columns of the port's rows: of which input they are, those of each input, the keys.
    fn fields(&self) -> Vec<Field> {
        let mut fields = vec![Field::new(PORT, DataType::Int64, false)];
        let of = |input: usize, column: usize| {
            let field = self.schemas[input].field(column).as_ref().clone();
            field.with_name(self.name(input, column)).with_nullable(true)
        };
        for (input, first_key) in self.first_keys.iter().enumerate() {
            fields.extend((0..*first_key).map(|column| of(input, column)));
        }
        fields.extend((0..self.keys).map(|key| of(0, self.first_keys[0] + key)));
        fields
    }

    /// The columns as what gives them has them, and the leaf for the port.
    fn leaf(&self) -> Result<(DFSchemaRef, LogicalPlan)> {
        let schema = Schema::new(self.fields());
        let own = DFSchema::try_from(schema.clone())?;
        let named = DFSchema::try_from_qualified_schema(input_name(LAST), &schema)?;
        Ok((Arc::new(own), placeholder_of(&Arc::new(named), LAST)))
    }

    /// An input's rows as the port takes them.
    fn given(&self, input: usize, plan: LogicalPlan) -> Result<LogicalPlan> {
        let number = i64::try_from(LAST + input).unwrap_or(i64::MAX);
        let mut exprs = vec![lit(number).alias(PORT)];
        for (at, first_key) in self.first_keys.iter().enumerate() {
            for column in 0..*first_key {
                let value = if at == input {
                    column_at(&plan, column)
                } else {
                    let nothing = self.schemas[at].field(column).data_type();
                    Expr::Literal(ScalarValue::try_from(nothing)?, None)
                };
                exprs.push(value.alias(self.name(at, column)));
            }
        }
        for key in 0..self.keys {
            let column = self.first_keys[input] + key;
            exprs.push(column_at(&plan, column).alias(self.name(input, column)));
        }
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
    }

    /// The plan with these inputs' leaves over the port's.
    fn put_in(&self, plan: LogicalPlan, leaf: &LogicalPlan) -> DfResult<LogicalPlan> {
        let mut is_changed = false;
        let put = plan.transform_up_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = &node
                && let Some(input) = port_of(scan).and_then(|port| port.checked_sub(LAST))
            {
                is_changed = true;
                return Ok(Transformed::yes(self.read(input, scan, leaf)?));
            }
            let put = subplan::map(node, &mut |inner| self.put_in(inner, leaf))?;
            // What is never NULL in an input may be in the port's columns.
            if is_changed { put.map_data(LogicalPlan::recompute_schema) } else { Ok(put) }
        })?;
        Ok(put.data)
    }

    /// An input's rows among the port's, under their names.
    fn read(&self, input: usize, scan: &TableScan, leaf: &LogicalPlan) -> DfResult<LogicalPlan> {
        let column = |name: &str| Expr::Column(Column::new(Some(input_name(LAST)), name));
        let number = i64::try_from(LAST + input).unwrap_or(i64::MAX);
        let is_own = binary_expr(column(PORT), Operator::Eq, lit(number));
        let own = Filter::try_new(is_own, Arc::new(leaf.clone()))?;
        let names = scan.projected_schema.iter().enumerate().map(|(at, (qualifier, field))| {
            column(&self.name(input, at)).alias_qualified(qualifier.cloned(), field.name())
        });
        let own = Arc::new(LogicalPlan::Filter(own));
        Ok(LogicalPlan::Projection(Projection::try_new(names.collect(), own)?))
    }
}
