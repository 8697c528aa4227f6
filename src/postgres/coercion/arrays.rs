//! Operators between arrays, whose types are known here: `||`, `@>`, `<` and casts.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, UnnestOptions};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Unnest, lit,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::postgres::functions::{
    ArgumentType, cast_to, depth, meet, missing_operator, nested, of_arrays_named,
};
use crate::types::SqlType;

/// `a || b`, `a @> b` and `a <@ b` where one is an array.
pub fn planned(
    op: &BinaryOperator,
    left: &Expr,
    right: &Expr,
    schema: &DFSchema,
) -> Result<Option<Expr>> {
    let (Ok(l), Ok(r)) = (ArgumentType::of(left, schema), ArgumentType::of(right, schema)) else {
        return Ok(None);
    };
    if !l.is_array() && !r.is_array() {
        return Ok(None);
    }
    let is_array = |one: &ArgumentType| one.is_array() || one.is_untyped();
    let (name, arguments) = match op {
        BinaryOperator::StringConcat => {
            let name = match (is_array(&l), is_array(&r)) {
                (true, true) => "array_cat",
                (true, false) => "array_append",
                _ => "array_prepend",
            };
            (name, vec![left.clone(), right.clone()])
        }
        BinaryOperator::AtArrow => ("array_has_all", vec![left.clone(), right.clone()]),
        BinaryOperator::ArrowAt => ("array_has_all", vec![right.clone(), left.clone()]),
        _ => return Ok(None),
    };
    if !meet(name, &[l.clone(), r.clone()]) && !meet(name, &[r.clone(), l.clone()]) {
        return Err(missing_operator(&l.shown(), &op.to_string(), &r.shown()).into());
    }
    Ok(of_arrays_named(name).map(|function| function.call(arguments)))
}

/// A comparison of two arrays, where arrow's is another or their types differ.
pub fn compared(binary: &BinaryExpr, schema: &DFSchema) -> Result<Option<Expr>> {
    let (Ok(l), Ok(r)) =
        (ArgumentType::of(&binary.left, schema), ArgumentType::of(&binary.right, schema))
    else {
        return Ok(None);
    };
    let is_array = |one: &ArgumentType| one.is_array() || one.is_untyped();
    if !is_array(&l) || !is_array(&r) || !l.is_array() && !r.is_array() {
        return Ok(None);
    }
    let is_ordered =
        matches!(binary.op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
    let is_same = l.is_array() && l.sql_type() == r.sql_type();
    if is_same && !is_ordered {
        return Ok(None);
    }
    let op = if binary.op == Operator::NotEq { "<>".to_owned() } else { binary.op.to_string() };
    if !meet("array_cat", &[l.clone(), r.clone()]) {
        return Err(missing_operator(&l.shown(), &op, &r.shown()).into());
    }
    let arguments = vec![lit(op), (*binary.left).clone(), (*binary.right).clone()];
    if matches!(binary.op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) {
        return Ok(None);
    }
    Ok(of_arrays_named("compare_arrays").map(|function| function.call(arguments)))
}

/// The cast of an array to elements of another type, with the dimensions that it has.
pub fn with_dimensions(cast: &Cast, schema: &DFSchema) -> Option<Expr> {
    let given = ArgumentType::of(&cast.expr, schema).ok()?;
    let wanted = SqlType::from_field(&cast.field);
    let (have, want) = (depth(given.sql_type()), depth(&wanted));
    if !given.is_array() || want == 0 || have == want {
        return None;
    }
    Some(cast_to(cast.expr.as_ref().clone(), &nested(wanted.innermost(), have)))
}

/// UNNEST of arrays of several dimensions gives all their elements; those of `regexp_matches` are arrays.
pub fn in_one_dimension(unnest: &Unnest) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Projection(below) = unnest.input.as_ref() else { return Ok(None) };
    let is_deep = |at: usize| match below.schema.field(at).data_type() {
        DataType::List(item) => matches!(item.data_type(), DataType::List(_)),
        _ => false,
    };
    let is_set = |expr: &Expr| match expr.clone().unalias() {
        Expr::ScalarFunction(call) => call.func.name() == "regexp_matches",
        _ => false,
    };
    let Some(function) = of_arrays_named("array_elements").map(Arc::new) else { return Ok(None) };
    let mut exprs = below.expr.clone();
    let mut is_changed = false;
    for (at, list) in &unnest.list_type_columns {
        if list.depth == 1 && is_deep(*at) && !is_set(&exprs[*at]) {
            let (qualifier, field) = below.schema.qualified_field(*at);
            let deep = exprs[*at].clone().unalias();
            let call = ScalarFunction::new_udf(Arc::clone(&function), vec![deep]);
            exprs[*at] =
                Expr::ScalarFunction(call).alias_qualified(qualifier.cloned(), field.name());
            is_changed = true;
        }
    }
    if !is_changed {
        return Ok(None);
    }
    let input = Projection::try_new(exprs, Arc::clone(&below.input))?;
    let options: UnnestOptions = unnest.options.clone();
    LogicalPlanBuilder::from(LogicalPlan::Projection(input))
        .unnest_columns_with_options(unnest.exec_columns.clone(), options)?
        .build()
        .map(Some)
}
