//! Rows that are compared: field by field, with NULL for what is not known (Postgres manual, 9.24.5).
//!
//! | written | planned |
//! |---|---|
//! | `(a, b) = (c, d)`, `<>` | `a = c AND b = d`, `a <> c OR b <> d` |
//! | `(a, b) < (c, d)`, `<=`, `>`, `>=` | `a < c OR a = c AND b < d` |
//! | `(a, b) IN ((c, d), …)` | an OR of equalities |
//! | `(a, b) IS NULL`, `IS NOT NULL` | of all of its fields |
//! | `(a, b) IS DISTINCT FROM (c, d)` | of one of its fields |
//!
//! DataFusion compares structs as values, in which NULL equals NULL.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator,
    VisitMut, VisitorMut,
};

use crate::error::{Error, Result, SqlState};
use crate::sql::{ident_name, visit_mut};

/// Rewrites the comparisons of rows in a query or an expression.
///
/// # Errors
/// 42601 for rows of several lengths, 0A000 for operators that are not for rows.
pub fn compare_rows(part: &mut impl VisitMut) -> Result<()> {
    match visit_mut(part, &mut RowComparisons) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct RowComparisons;

impl VisitorMut for RowComparisons {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match compared(expr) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(new)) => {
                *expr = Expr::Nested(Box::new(new));
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// The fields of `(a, b)` and `ROW(a, b)`.
fn fields(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Tuple(fields) => Some(fields.clone()),
        Expr::Nested(inner) => fields(inner),
        Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) => {
            let [part] = &name.0[..] else { return None };
            let is_row = part.as_ident().is_some_and(|name| ident_name(name) == "row");
            let field = |argument: &FunctionArg| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(field)) => Some(field.clone()),
                _ => None,
            };
            is_row.then(|| list.args.iter().map(field).collect::<Option<Vec<_>>>())?
        }
        _ => None,
    }
}

fn compared(expr: &Expr) -> Result<Option<Expr>> {
    Ok(match expr {
        Expr::BinaryOp { left, op, right } => match (fields(left), fields(right)) {
            (Some(left), Some(right)) => compare(left, op, right)?,
            _ => None,
        },
        Expr::InList { expr, list, negated } => {
            let Some(row) = fields(expr) else { return Ok(None) };
            let Some(items) = list.iter().map(fields).collect::<Option<Vec<_>>>() else {
                return Ok(None);
            };
            let equal = |item| equal(row.clone(), item);
            let equal = items.into_iter().map(equal).collect::<Result<Vec<_>>>()?;
            let any = joined(equal, &BinaryOperator::Or);
            if *negated { any.map(not) } else { any }
        }
        Expr::IsNull(row) => fields(row).and_then(|fields| {
            let nulls = fields.into_iter().map(|field| Expr::IsNull(nested(field)));
            joined(nulls.collect(), &BinaryOperator::And)
        }),
        Expr::IsNotNull(row) => fields(row).and_then(|fields| {
            let values = fields.into_iter().map(|field| Expr::IsNotNull(nested(field)));
            joined(values.collect(), &BinaryOperator::And)
        }),
        Expr::IsDistinctFrom(left, right) => distinct(left, right)?,
        Expr::IsNotDistinctFrom(left, right) => distinct(left, right)?.map(not),
        _ => None,
    })
}

fn compare(left: Vec<Expr>, op: &BinaryOperator, right: Vec<Expr>) -> Result<Option<Expr>> {
    use BinaryOperator::{Gt, GtEq, Lt, LtEq};
    let strict = match op {
        BinaryOperator::Eq => return equal(left, right).map(Some),
        BinaryOperator::NotEq => {
            let differ = pairs(left, right)?.map(|(l, r)| binary(l, BinaryOperator::NotEq, r));
            return Ok(joined(differ.collect(), &BinaryOperator::Or));
        }
        Lt | LtEq => Lt,
        Gt | GtEq => Gt,
        _ => return Ok(None),
    };
    // From the last field to the first: what is behind a field counts where that is equal.
    let mut pairs: Vec<(Expr, Expr)> = pairs(left, right)?.collect();
    let Some((last_left, last_right)) = pairs.pop() else { return Ok(None) };
    let mut behind = binary(last_left, op.clone(), last_right);
    for (l, r) in pairs.into_iter().rev() {
        let equal = binary(l.clone(), BinaryOperator::Eq, r.clone());
        let rest = binary(equal, BinaryOperator::And, behind);
        behind = binary(binary(l, strict.clone(), r), BinaryOperator::Or, rest);
    }
    Ok(Some(behind))
}

fn equal(left: Vec<Expr>, right: Vec<Expr>) -> Result<Expr> {
    let equal = pairs(left, right)?.map(|(l, r)| binary(l, BinaryOperator::Eq, r)).collect();
    joined(equal, &BinaryOperator::And).ok_or_else(unequal)
}

fn distinct(left: &Expr, right: &Expr) -> Result<Option<Expr>> {
    let (Some(left), Some(right)) = (fields(left), fields(right)) else { return Ok(None) };
    let distinct = pairs(left, right)?.map(|(l, r)| Expr::IsDistinctFrom(nested(l), nested(r)));
    Ok(joined(distinct.collect(), &BinaryOperator::Or))
}

fn pairs(left: Vec<Expr>, right: Vec<Expr>) -> Result<impl Iterator<Item = (Expr, Expr)>> {
    if left.len() != right.len() {
        return Err(unequal());
    }
    Ok(left.into_iter().zip(right))
}

fn unequal() -> Error {
    Error::new(SqlState::Syntax, "unequal number of entries in row expressions")
}

fn joined(parts: Vec<Expr>, op: &BinaryOperator) -> Option<Expr> {
    parts.into_iter().reduce(|all, next| binary(all, op.clone(), next))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: nested(left), op, right: nested(right) }
}

fn nested(expr: Expr) -> Box<Expr> {
    Box::new(match expr {
        plain @ (Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Value(_)
        | Expr::Nested(_)) => plain,
        other => Expr::Nested(Box::new(other)),
    })
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(expr))) }
}
