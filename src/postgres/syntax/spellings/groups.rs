//! HAVING without GROUP BY and without an aggregate: all rows are one group, also then.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Select,
};

use super::pieces::{binary, nested, number, plain_name};
use crate::postgres::functions::is_scalar;
use crate::sql::{function_call, visit_expressions};

/// DataFusion knows a query of one group by its aggregates: one that is always true is put beside the
/// condition.
pub(super) fn of_all_rows(select: &mut Select) {
    let GroupByExpr::Expressions(keys, modifiers) = &select.group_by else { return };
    if !keys.is_empty() || !modifiers.is_empty() || select.having.is_none() || aggregates(select) {
        return;
    }
    select.having = select.having.take().map(|condition| {
        let counted = binary(count(), BinaryOperator::GtEq, number("0"));
        binary(nested(condition), BinaryOperator::And, counted)
    });
}

/// Whether it calls what is no function of one row.
fn aggregates(select: &Select) -> bool {
    let see = |expr: &Expr| match expr {
        Expr::Function(Function { name, over: None, .. })
            if plain_name(name).is_none_or(|name| !is_scalar(&name)) =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    };
    let mut parts = select.having.iter();
    parts.any(|having| visit_expressions(having, see).is_break())
        || visit_expressions(&select.projection, see).is_break()
}

/// `count(*)`.
fn count() -> Expr {
    let mut call = function_call("count", vec![number("1")]);
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut call {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)];
    }
    call
}
