//! What takes the place of a call.
//!
//! The body does, with the arguments in the places of the parameters, unless an argument would then
//! be computed more often than once, or not at all, and that makes a difference: it is not a column
//! or a constant. The test for NULL of a STRICT function counts as a place. (Postgres's rule, and its
//! reason.)

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF, when};

use super::called::CalledRoutine;
use super::planned::{PlannedBody, parameter_name, parameters};
use super::resolve::GivenArgument;
use crate::error::{Error, Result};
use crate::limits;
use crate::postgres::functions::fitted;

/// Whether a function stands for the user's of its name.
pub(crate) fn is_called(function: &ScalarUDF) -> bool {
    function.inner().is::<CalledRoutine>()
}

/// What is computed for a call, in an operator over these columns; the types of the arguments are
/// settled.
pub(crate) fn expanded(call: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    let ScalarFunction { func, args } = call;
    let Some(called) = func.inner().downcast_ref::<CalledRoutine>() else {
        return Err(Error::internal("a call of no function of the user's"));
    };
    let given = args.iter().map(|arg| GivenArgument::settled(arg, schema));
    let given = given.collect::<Result<Vec<_>>>()?;
    let routine = called.meant(&given)?;
    called.note(routine);
    let fields =
        args.iter().map(|arg| Ok(arg.to_field(schema)?.1)).collect::<DfResult<Vec<FieldRef>>>()?;
    let wanted = parameters(routine, &fields);
    let body = called.body(routine, wanted.clone())?;
    let args = args.into_iter().zip(&fields).zip(&wanted);
    let args: Vec<Expr> = args.map(|((arg, is), wanted)| converted(arg, is, wanted)).collect();
    if body.nodes <= limits::INLINED_NODES && is_same_in_place(&body, &args) {
        return in_place(&body, &args);
    }
    match &body.whole {
        Some(whole) => {
            let args = args.into_iter().chain(whole.extra.iter().cloned()).collect();
            Ok(whole.function.call(args))
        }
        None => Err(Error::unsupported(format!(
            "an argument of {} that is computed is not supported",
            routine.signature()
        ))
        .hint("Compute it in a subquery, and pass its column.")),
    }
}

/// The argument as a value of the parameter's type.
fn converted(arg: Expr, is: &FieldRef, wanted: &FieldRef) -> Expr {
    let is_typed = is.data_type() == wanted.data_type();
    match arg {
        Expr::Placeholder(mut placeholder) if placeholder.field.is_none() => {
            placeholder.field = Some(FieldRef::clone(wanted));
            Expr::Placeholder(placeholder)
        }
        arg if is_typed && (is.metadata() == wanted.metadata() || wanted.metadata().is_empty()) => {
            arg
        }
        arg => {
            let field = FieldRef::new(wanted.as_ref().clone().with_name(""));
            let cast = Cast::new_from_field(Box::new(arg), field);
            fitted(&cast).unwrap_or(Expr::Cast(cast))
        }
    }
}

/// Whether it does not matter how often the argument is computed.
fn is_free(arg: &Expr) -> bool {
    match arg {
        Expr::Column(_) | Expr::Literal(..) | Expr::Placeholder(_) => true,
        Expr::OuterReferenceColumn(..) => true,
        Expr::Cast(cast) => is_free(&cast.expr),
        Expr::Alias(alias) => is_free(&alias.expr),
        _ => false,
    }
}

fn is_same_in_place(body: &PlannedBody, args: &[Expr]) -> bool {
    let places = body.uses.iter().map(|uses| uses + usize::from(body.strict));
    args.iter().zip(places).all(|(arg, places)| places == 1 || is_free(arg))
}

/// The body with the arguments in the places of the parameters.
fn in_place(body: &PlannedBody, args: &[Expr]) -> Result<Expr> {
    let names: Vec<String> = (0..args.len()).map(parameter_name).collect();
    let argument = |column: &Column| {
        let at = names.iter().position(|name| *name == column.name);
        at.filter(|_| column.relation.is_none()).map(|at| args[at].clone())
    };
    // Bottom up: what is put in is not looked at again.
    let put = body.expr.clone().transform_up(|part| {
        Ok(match &part {
            Expr::Column(column) => match argument(column) {
                Some(arg) => Transformed::yes(arg),
                None => Transformed::no(part),
            },
            _ => Transformed::no(part),
        })
    })?;
    let is_null = |arg: &Expr| match arg {
        Expr::Literal(value, _) if !value.is_null() => None,
        arg => Some(arg.clone().is_null()),
    };
    let missing = args.iter().filter(|_| body.strict).filter_map(is_null);
    match missing.reduce(Expr::or) {
        None => Ok(put.data),
        Some(missing) => {
            let null = ScalarValue::try_from(body.field.data_type())?;
            Ok(when(missing, Expr::Literal(null, None)).otherwise(put.data)?)
        }
    }
}
