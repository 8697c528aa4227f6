//! Where a double and a numeric meet, both are doubles; where a date, a timestamp and a moment do, all
//! are the last of these (Postgres manual, 10.5): in CASE, COALESCE, VALUES and UNION, and where they are
//! compared.
//!
//! DataFusion would make numerics of doubles, with fifteen digits behind the point and no room for
//! large ones, timestamps of moments, and nanoseconds of dates.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::binary::type_union_resolution;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Union, Values,
};

use super::decimals;
use super::projected::with_columns;

/// Functions whose arguments and result are of one type.
const OF_ONE_TYPE: [&str; 2] = ["coalesce", "nullif"];

/// The type that others among these are cast to: numerics, if there are doubles among them too, and
/// times of several types.
fn common<'t>(types: impl Iterator<Item = &'t DataType> + Clone) -> Option<DataType> {
    if let Some(moment) = common_moment(types.clone()) {
        return Some(moment);
    }
    if !types.clone().any(is_numeric) {
        return None;
    }
    let has = |wanted: &DataType| types.clone().any(|of| of == wanted);
    let float = [DataType::Float64, DataType::Float32].into_iter().find(has);
    float.or_else(|| decimals::common(types))
}

/// The type of values that come together, where DataFusion finds another.
fn united<'t>(types: impl Iterator<Item = &'t DataType> + Clone) -> Option<DataType> {
    common(types.clone()).or_else(|| counted(types))
}

/// The type of what counts rows beside integers: unsigned numbers, which no type of Postgres is.
fn counted<'t>(types: impl Iterator<Item = &'t DataType>) -> Option<DataType> {
    let mut typed = types.filter(|of| !of.is_null() && !of.is_string()).peekable();
    let first = *typed.peek()?;
    let (mut has_unsigned, mut is_mixed) = (false, false);
    for of in typed {
        if !of.is_integer() {
            return None;
        }
        has_unsigned |= *of == DataType::UInt64;
        is_mixed |= of != first;
    }
    (has_unsigned && is_mixed).then_some(DataType::Int64)
}

/// What dates, timestamps and moments have together, unless they are of one type or in nanoseconds.
pub(super) fn common_moment<'t>(types: impl Iterator<Item = &'t DataType>) -> Option<DataType> {
    let (mut found, mut differ): (Option<&DataType>, bool) = (None, false);
    for of in types.filter(|of| !of.is_null() && !of.is_string()) {
        let rank = |of: &DataType| match of {
            DataType::Date32 => Some(0),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => Some(1 + u8::from(zone.is_some())),
            _ => None,
        };
        let (new, known) = (rank(of)?, found.map(rank));
        differ |= known.is_some_and(|known| known != Some(new));
        if known.is_none_or(|known| known < Some(new)) {
            found = Some(of);
        }
    }
    found.filter(|_| differ).cloned()
}

/// Whether what is of this type is cast where others are of that one.
fn gives_way(of: &DataType, to: &DataType) -> bool {
    of != to && (is_numeric(of) || of.is_temporal() || to.is_numeric() && of.is_numeric())
}

/// Casts what gives way among expressions that are compared; says whether there was such.
pub fn unify_compared<'e>(exprs: impl Iterator<Item = &'e mut Expr>, schema: &DFSchema) -> bool {
    unify_to(exprs, schema, |types| common(types.iter()))
}

fn is_numeric(of: &DataType) -> bool {
    matches!(of, DataType::Decimal128(..) | DataType::Decimal256(..))
}

fn as_type(expr: Expr, wanted: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), wanted.clone()))
}

/// Whether NULLIF is to be a CASE. To the function the zeros of doubles are two, and what it gives is of the
/// wider type of both, where it is that of the value in Postgres. What would be asked twice stays.
pub fn keeps_its_type(value: &Expr, other: &Expr, schema: &DFSchema) -> bool {
    let (Ok(own), Ok(other)) = (value.get_type(schema), other.get_type(schema)) else {
        return false;
    };
    let is_of_one_kind =
        own.is_integer() && other.is_integer() || own.is_decimal() && other.is_decimal();
    let is_wider = is_of_one_kind && widest(&[own.clone(), other]).is_some_and(|of| of != own);
    let is_asked = |part: &Expr| Ok(matches!(part, Expr::ScalarSubquery(_)) || part.is_volatile());
    (own.is_floating() || is_wider) && !value.exists(is_asked).unwrap_or(true)
}

/// Casts what gives way among expressions of several types; says whether there were such. DataFusion would
/// cast integers later, when what stands above has already been told the type of the first.
pub fn unify<'e>(exprs: impl Iterator<Item = &'e mut Expr>, schema: &DFSchema) -> bool {
    unify_to(exprs, schema, |types| united(types.iter()).or_else(|| widest(types)))
}

/// The type of numbers of several types.
fn widest(types: &[DataType]) -> Option<DataType> {
    let typed = types.iter().filter(|of| !of.is_null() && !of.is_string());
    let numbers: Vec<DataType> = typed.cloned().collect();
    let is_mixed = numbers.iter().any(|of| *of != numbers[0]);
    let are_numbers = numbers.iter().all(|of| of.is_numeric() && *of != DataType::UInt64);
    if is_mixed && are_numbers { type_union_resolution(&numbers) } else { None }
}

fn unify_to<'e>(
    exprs: impl Iterator<Item = &'e mut Expr>,
    schema: &DFSchema,
    wanted: fn(&[DataType]) -> Option<DataType>,
) -> bool {
    let exprs: Vec<&mut Expr> = exprs.collect();
    let types: Vec<DataType> =
        exprs.iter().map(|expr| expr.get_type(schema).unwrap_or(DataType::Null)).collect();
    let Some(wanted) = wanted(&types) else { return false };
    for (expr, of) in exprs.into_iter().zip(&types) {
        if gives_way(of, &wanted) {
            *expr = as_type(std::mem::take(expr), &wanted);
        }
    }
    true
}

/// Whether a function's arguments are all of one type.
pub fn is_of_one_type(function: &str) -> bool {
    OF_ONE_TYPE.contains(&function)
}

/// The inputs of a UNION in the types that they have together; `None` if there is nothing to do.
pub fn unified(union: &Union) -> Result<Option<LogicalPlan>> {
    let inputs = &union.inputs;
    let Some(width) = inputs.first().map(|input| input.schema().fields().len()) else {
        return Ok(None);
    };
    if inputs.iter().any(|input| input.schema().fields().len() != width) {
        return Ok(None);
    }
    let wanted: Vec<Option<DataType>> = (0..width)
        .map(|at| united(inputs.iter().map(|input| input.schema().field(at).data_type())))
        .collect();
    if wanted.iter().all(Option::is_none) {
        return Ok(None);
    }
    let inputs = inputs.iter().map(|input| {
        let cast = |at: usize, column| {
            let wanted = wanted[at].as_ref()?;
            let own = input.schema().field(at).data_type();
            gives_way(own, wanted).then(|| as_type(column, wanted))
        };
        Ok(Arc::new(with_columns(input, cast)?))
    });
    Ok(Some(LogicalPlan::Union(Union::try_new_with_loose_types(
        inputs.collect::<Result<Vec<_>>>()?,
    )?)))
}

/// VALUES in the types that they have together; `None` if there is nothing to do.
pub fn of_values(values: &Values) -> Result<Option<LogicalPlan>> {
    let nothing = DFSchema::empty();
    let mut rows = values.values.clone();
    let mut is_changed = false;
    for at in 0..values.schema.fields().len() {
        let found = values.schema.field(at).data_type();
        if !is_numeric(found) && !found.is_temporal() {
            continue;
        }
        // They have been cast to what DataFusion has found already.
        let inner = |expr: &Expr| match expr {
            Expr::Cast(cast) if cast.field.data_type() == found => cast.expr.as_ref().clone(),
            other => other.clone(),
        };
        let types = rows
            .iter()
            .map(|row| inner(&row[at]).get_type(&nothing))
            .collect::<Result<Vec<_>>>()?;
        let numeric = Some(found).filter(|found| is_numeric(found));
        let Some(wanted) = common(types.iter().chain(numeric)) else { continue };
        is_changed = true;
        for row in &mut rows {
            row[at] = as_type(inner(&row[at]), &wanted);
        }
    }
    if is_changed { values_of(rows).map(Some) } else { Ok(None) }
}

/// The plan of these rows. All cells of a column say the same of their type, beyond Arrow's: DataFusion
/// refuses rows that differ in it, and what a cast becomes may say less.
pub fn values_of(mut rows: Vec<Vec<Expr>>) -> Result<LogicalPlan> {
    let nothing = DFSchema::empty();
    for at in 0..rows.first().map_or(0, Vec::len) {
        let fields = rows.iter().filter_map(|row| Some(row.get(at)?.to_field(&nothing)));
        let fields = fields.map(|field| Ok(field?.1)).collect::<Result<Vec<_>>>()?;
        let Some(said) = fields.iter().map(|field| field.metadata()).find(|said| !said.is_empty())
        else {
            continue;
        };
        for (row, own) in rows.iter_mut().zip(&fields) {
            if own.metadata() != said {
                let field = own.as_ref().clone().with_metadata(said.clone());
                let value = Box::new(std::mem::take(&mut row[at]));
                row[at] = Expr::Cast(Cast::new_from_field(value, Arc::new(field)));
            }
        }
    }
    LogicalPlanBuilder::values(rows)?.build()
}
