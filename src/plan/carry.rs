//! Carries the number of the input row through a stateless plan, so that a row's weight is found
//! again behind it.
//!
//! A fragment is an ordinary DataFusion plan and knows nothing of weights. Where rows are taken
//! back as well as added, its input gets one more column, the position of the row, and every
//! projection hands it on.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};

use super::placeholder::{INPUT, placeholder};
use super::stage::rebuilt;
use crate::error::Result;

/// The carried column: an Int64, the row's position in the fragment's input. It is the last column
/// of the output.
pub const ROW: &str = "__row";

/// The placeholder's schema with the carried column at its end.
pub fn input_with_row(input: &DFSchemaRef) -> Result<DFSchemaRef> {
    let mut fields: Vec<_> =
        input.iter().map(|(q, field)| (q.cloned(), Arc::clone(field))).collect();
    fields.push((None, Arc::new(Field::new(ROW, DataType::Int64, false))));
    Ok(Arc::new(DFSchema::new_with_metadata(fields, input.metadata().clone())?))
}

/// The plan over [`input_with_row`], yielding its columns and then the carried one.
pub fn with_row(plan: &LogicalPlan, input: &DFSchemaRef) -> Result<LogicalPlan> {
    let names: Vec<Expr> =
        plan.schema().iter().map(|pair| Expr::Column(Column::from(pair))).collect();
    let carried = rewrite(plan, &input_with_row(input)?)?;
    let mut exprs = names;
    exprs.push(row());
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(carried))?))
}

fn rewrite(plan: &LogicalPlan, input: &DFSchemaRef) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::TableScan(scan) if scan.table_name.table() == INPUT => Ok(placeholder(input)),
        LogicalPlan::Projection(projection) if reads_input(&projection.input) => {
            let mut exprs = projection.expr.clone();
            exprs.push(row());
            let below = rewrite(&projection.input, input)?;
            Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(below))?))
        }
        other => {
            let inputs = other
                .inputs()
                .into_iter()
                .map(|i| rewrite(i, input))
                .collect::<Result<Vec<_>>>()?;
            if inputs.is_empty() { Ok(other.clone()) } else { rebuilt(other, inputs) }
        }
    }
}

fn row() -> Expr {
    Expr::Column(Column::new_unqualified(ROW))
}

fn reads_input(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => scan.table_name.table() == INPUT,
        other => other.inputs().into_iter().any(reads_input),
    }
}
