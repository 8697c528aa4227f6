//! Where a double and a numeric meet, both are doubles (Postgres manual, 10.5): in CASE, COALESCE,
//! ARRAY, VALUES and UNION.
//!
//! DataFusion would make numerics of both, with fifteen digits behind the point and no room for
//! large doubles.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection, Union, Values,
};

/// Functions whose arguments and result are of one type.
const OF_ONE_TYPE: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

/// The type that numerics among these are cast to, if there are doubles among them too.
fn common<'t>(types: impl Iterator<Item = &'t DataType> + Clone) -> Option<DataType> {
    if !types.clone().any(is_numeric) {
        return None;
    }
    let has = |wanted: &DataType| types.clone().any(|of| of == wanted);
    [DataType::Float64, DataType::Float32].into_iter().find(has)
}

fn is_numeric(of: &DataType) -> bool {
    matches!(of, DataType::Decimal128(..) | DataType::Decimal256(..))
}

fn as_type(expr: Expr, wanted: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), wanted.clone()))
}

/// Casts the numerics among expressions of which one is a double; says whether there were such.
pub fn unify<'e>(exprs: impl Iterator<Item = &'e mut Expr>, schema: &DFSchema) -> bool {
    let exprs: Vec<&mut Expr> = exprs.collect();
    let types: Vec<DataType> =
        exprs.iter().map(|expr| expr.get_type(schema).unwrap_or(DataType::Null)).collect();
    let Some(wanted) = common(types.iter()) else { return false };
    for (expr, of) in exprs.into_iter().zip(&types) {
        if is_numeric(of) {
            *expr = as_type(std::mem::take(expr), &wanted);
        }
    }
    true
}

/// Whether a function's arguments are all of one type.
pub fn is_of_one_type(function: &str) -> bool {
    OF_ONE_TYPE.contains(&function)
}

/// The inputs of a UNION with their numerics as doubles; `None` if there is nothing to do.
pub fn unified(union: &Union) -> Result<Option<LogicalPlan>> {
    let inputs = union.inputs.iter().map(uncast).collect::<Result<Vec<_>>>()?;
    let Some(width) = inputs.first().map(|input| input.schema().fields().len()) else {
        return Ok(None);
    };
    if inputs.iter().any(|input| input.schema().fields().len() != width) {
        return Ok(None);
    }
    let wanted: Vec<Option<DataType>> = (0..width)
        .map(|at| common(inputs.iter().map(|input| input.schema().field(at).data_type())))
        .collect();
    let is_uncast = inputs.iter().zip(&union.inputs).any(|(one, other)| !Arc::ptr_eq(one, other));
    if wanted.iter().all(Option::is_none) && !is_uncast {
        return Ok(None);
    }
    let inputs = inputs.into_iter().map(|input| {
        let columns = input.schema().columns().into_iter().zip(&wanted).enumerate().map(
            |(at, (column, wanted))| match wanted {
                Some(wanted) if is_numeric(input.schema().field(at).data_type()) => {
                    as_type(Expr::Column(column.clone()), wanted).alias(column.name)
                }
                _ => Expr::Column(column),
            },
        );
        let columns = columns.collect();
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, input)?)))
    });
    Ok(Some(LogicalPlan::Union(Union::try_new_with_loose_types(
        inputs.collect::<Result<Vec<_>>>()?,
    )?)))
}

/// Without the casts of doubles to numerics: those of a UNION of three have been put in when it was
/// planned.
fn uncast(input: &Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = input.as_ref() else { return Ok(Arc::clone(input)) };
    let schema = projection.input.schema();
    let mut is_changed = false;
    let exprs = projection.expr.iter().enumerate().map(|(at, expr)| match expr.clone().unalias() {
        Expr::Cast(cast)
            if is_numeric(cast.field.data_type())
                && matches!(
                    cast.expr.get_type(schema),
                    Ok(DataType::Float64 | DataType::Float32)
                ) =>
        {
            is_changed = true;
            cast.expr.alias(projection.schema.field(at).name())
        }
        _ => expr.clone(),
    });
    let exprs = exprs.collect();
    Ok(if is_changed {
        Arc::new(LogicalPlan::Projection(Projection::try_new(
            exprs,
            Arc::clone(&projection.input),
        )?))
    } else {
        Arc::clone(input)
    })
}

/// VALUES with numerics as doubles; `None` if there is nothing to do.
pub fn of_values(values: &Values) -> Result<Option<LogicalPlan>> {
    let nothing = DFSchema::empty();
    let mut rows = values.values.clone();
    let mut is_changed = false;
    for at in 0..values.schema.fields().len() {
        if !is_numeric(values.schema.field(at).data_type()) {
            continue;
        }
        // They have been cast to what DataFusion has found already.
        let inner = |expr: &Expr| match expr {
            Expr::Cast(cast) if is_numeric(cast.field.data_type()) => cast.expr.as_ref().clone(),
            other => other.clone(),
        };
        let types = rows
            .iter()
            .map(|row| inner(&row[at]).get_type(&nothing))
            .collect::<Result<Vec<_>>>()?;
        let Some(wanted) = common(types.iter().chain([values.schema.field(at).data_type()])) else {
            continue;
        };
        is_changed = true;
        for row in &mut rows {
            row[at] = as_type(inner(&row[at]), &wanted);
        }
    }
    if is_changed { Ok(Some(LogicalPlanBuilder::values(rows)?.build()?)) } else { Ok(None) }
}
