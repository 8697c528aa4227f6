//! Queries whose rows come together, in UNION, INTERSECT and EXCEPT, have columns of the same types
//! (PostgreSQL manual, 10.5 "UNION, CASE, and Related Constructs"): a text constant has the type of what
//! stands across from it, and a number the wider one of both.
//!
//! DataFusion widens the sides of a UNION; of the others it compares the rows, and keeps the left one's
//! types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{JoinType, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Distinct, Expr, Join, LogicalPlan, Projection, Union, Window};
use datafusion::optimizer::analyzer::type_coercion::coerce_union_schema;

use super::binary::constant;
use super::projected::with_columns;
use super::{floats, texts};
use crate::error::{Error, SqlState};
use crate::postgres::set_operations::is_set_operation;
use crate::types::SqlType;

/// A UNION with constants and numerics as what they meet; None if there is nothing to do.
///
/// # Errors
/// 42804 for a text beside anything else, of which DataFusion would make text.
pub fn united(union: &Union) -> Result<Option<LogicalPlan>> {
    let named = with_names(&union.inputs)?;
    let sides = with_typed_constants(named.as_ref().unwrap_or(&union.inputs))?.or(named);
    check(sides.as_ref().unwrap_or(&union.inputs), "UNION")?;
    let sides = texts::of_sides(sides.as_ref().unwrap_or(&union.inputs))?.or(sides);
    let typed = sides.map(Union::try_new_with_loose_types).transpose()?;
    match floats::unified(typed.as_ref().unwrap_or(union))? {
        Some(unified) => Ok(Some(unified)),
        None => Ok(typed.map(LogicalPlan::Union)),
    }
}

/// An INTERSECT or EXCEPT, which is a join, with both sides of the types that their UNION would have;
/// None if it is none, or has them.
///
/// # Errors
/// 42804 for a text beside anything else.
pub fn met(join: &Join) -> Result<Option<LogicalPlan>> {
    let (left, right) = (rows_of(&join.left), rows_of(&join.right));
    let width = left.schema().fields().len();
    if !is_set_operation(join) || right.schema().fields().len() != width {
        return Ok(None);
    }
    let written = vec![Arc::clone(left), Arc::clone(right)];
    let typed = with_typed_constants(&written)?;
    let is_typed = typed.is_some();
    let sides = typed.unwrap_or(written);
    let what = if join.join_type == JoinType::LeftSemi { "INTERSECT" } else { "EXCEPT" };
    check(&sides, what)?;
    let texts = texts::of_sides(&sides)?;
    let is_typed = is_typed || texts.is_some();
    let sides = texts.unwrap_or(sides);
    let union = Union::try_new_with_loose_types(sides.clone())?;
    let wanted = match floats::unified(&union)? {
        Some(LogicalPlan::Union(unified)) => coerce_union_schema(&unified.inputs)?,
        _ => coerce_union_schema(&sides)?,
    };
    let is_of = |side: &Arc<LogicalPlan>| {
        let pairs = side.schema().fields().iter().zip(wanted.fields());
        pairs.into_iter().all(|(own, wanted)| own.data_type() == wanted.data_type())
    };
    if !is_typed && sides.iter().all(is_of) {
        return Ok(None);
    }
    let mut cast = sides.iter().map(|side| {
        let fields = wanted.fields().iter();
        let types: Vec<_> = fields.map(|field| Some(field.data_type().clone())).collect();
        with_types(side, &types)
    });
    let (Some(left), Some(right)) = (cast.next(), cast.next()) else { return Ok(None) };
    Ok(Some(LogicalPlan::Join(Join::try_new(
        Arc::new(of_rows(&join.left, left?)?),
        Arc::new(of_rows(&join.right, right?)?),
        join.on.clone(),
        join.filter.clone(),
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?)))
}

/// The rows that DISTINCT or a numbering stands above.
fn rows_of(side: &Arc<LogicalPlan>) -> &Arc<LogicalPlan> {
    match side.as_ref() {
        LogicalPlan::Distinct(Distinct::All(rows)) => rows,
        LogicalPlan::Window(window) => &window.input,
        _ => side,
    }
}

/// The side over other rows.
fn of_rows(side: &Arc<LogicalPlan>, rows: Arc<LogicalPlan>) -> Result<LogicalPlan> {
    Ok(match side.as_ref() {
        LogicalPlan::Distinct(Distinct::All(_)) => LogicalPlan::Distinct(Distinct::All(rows)),
        LogicalPlan::Window(window) => {
            LogicalPlan::Window(Window::try_new(window.window_expr.clone(), rows)?)
        }
        _ => Arc::unwrap_or_clone(rows),
    })
}

/// VALUES under the names of the first side; `None` if there are none. DataFusion does so with what is
/// selected, and asks the last side that has rows for the columns of the first.
fn with_names(sides: &[Arc<LogicalPlan>]) -> Result<Option<Vec<Arc<LogicalPlan>>>> {
    let Some((first, rest)) = sides.split_first() else { return Ok(None) };
    let wanted = first.schema().fields();
    let is_unnamed = |side: &Arc<LogicalPlan>| {
        let own = side.schema().fields();
        matches!(side.as_ref(), LogicalPlan::Values(_))
            && own.len() == wanted.len()
            && own.iter().zip(wanted).any(|(own, wanted)| own.name() != wanted.name())
    };
    if !rest.iter().any(is_unnamed) {
        return Ok(None);
    }
    let named = rest.iter().map(|side| {
        if !is_unnamed(side) {
            return Ok(Arc::clone(side));
        }
        let columns = side.schema().columns().into_iter().zip(wanted);
        let columns = columns.map(|(column, wanted)| Expr::Column(column).alias(wanted.name()));
        let named = Projection::try_new(columns.collect(), Arc::clone(side))?;
        Ok(Arc::new(LogicalPlan::Projection(named)))
    });
    std::iter::once(Ok(Arc::clone(first))).chain(named).collect::<Result<_>>().map(Some)
}

/// The text constants that a side is in a column, given the type of the column on the other sides.
fn with_typed_constants(sides: &[Arc<LogicalPlan>]) -> Result<Option<Vec<Arc<LogicalPlan>>>> {
    let width = sides.iter().map(|side| side.schema().fields().len()).min().unwrap_or(0);
    let mut typed: Option<Vec<Arc<LogicalPlan>>> = None;
    for at in 0..width {
        let others = sides.iter().filter(|side| constant(side, at).is_none());
        let mut types = others.map(|side| side.schema().field(at).data_type());
        let Some(wanted) = types.find(|of| !of.is_null()).filter(|of| !of.is_string()) else {
            continue;
        };
        for (number, side) in sides.iter().enumerate() {
            if constant(side, at).is_none() {
                continue;
            }
            let all = typed.get_or_insert_with(|| sides.to_vec());
            let mut types = vec![None; side.schema().fields().len()];
            types[at] = Some(wanted.clone());
            all[number] = with_types(&all[number], &types)?;
        }
    }
    Ok(typed)
}

/// The side with its columns as these types, where they are others.
fn with_types(side: &Arc<LogicalPlan>, wanted: &[Option<DataType>]) -> Result<Arc<LogicalPlan>> {
    let is_other = |(field, wanted): (&Arc<Field>, &Option<DataType>)| {
        wanted.as_ref().is_some_and(|wanted| wanted != field.data_type())
    };
    if !side.schema().fields().iter().zip(wanted).any(is_other) {
        return Ok(Arc::clone(side));
    }
    let cast = |at: usize, column| {
        let wanted = wanted.get(at)?.as_ref()?;
        if wanted == side.schema().field(at).data_type() {
            return None;
        }
        let value = constant(side, at).unwrap_or(column);
        Some(Expr::Cast(Cast::new(Box::new(value), wanted.clone())))
    };
    with_columns(side, cast).map(Arc::new)
}

/// To Postgres text and anything else are not of one type.
fn check(sides: &[Arc<LogicalPlan>], what: &str) -> Result<()> {
    let Some((first, rest)) = sides.split_first() else { return Ok(()) };
    for side in rest {
        for (left, right) in first.schema().fields().iter().zip(side.schema().fields()) {
            let (left, right) = (left.data_type(), right.data_type());
            if left.is_string() != right.is_string() && !left.is_null() && !right.is_null() {
                let (left, right) = (name_of(left), name_of(right));
                let message = format!("{what} types {left} and {right} cannot be matched");
                let error = Error::new(SqlState::TypeMismatch, message)
                    .hint("Cast one of the two columns.");
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// How Postgres calls a type.
pub fn name_of(data_type: &DataType) -> SqlType {
    SqlType::from_field(&Field::new("", data_type.clone(), true))
}
