//! Rows that are compared: field by field, with NULL for what is not known (Postgres manual, 9.24.5).
//!
//! | written | planned |
//! |---|---|
//! | `(a, b) = (c, d)`, `<>` | `a = c AND b = d`, `a <> c OR b <> d` |
//! | `(a, b) < (c, d)`, `<=`, `>`, `>=` | `a < c OR a = c AND b < d` |
//! | `(a, b) IN ((c, d), …)` | an OR of equalities |
//! | `(a, b) < (SELECT c, d …)` | the same with `(SELECT c …)` and `(SELECT d …)` |
//! | `(a, b) < (SELECT c, d … LIMIT 1)` | `(SELECT (a, b) < (c, d) FROM (SELECT c, d … LIMIT 1))`: asked twice it could be two rows |
//! | `(a, b) IS NULL`, `IS NOT NULL` | of all of its fields |
//! | `(a, b) IS DISTINCT FROM (c, d)` | of one of its fields |
//!
//! DataFusion compares structs as values, in which NULL equals NULL.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query,
    SetExpr, UnaryOperator,
};

use super::wrapped::over;
use crate::error::{Error, Result, SqlState};
use crate::sql::ident_name;

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

/// What a comparison of rows is; None: it is none.
///
/// # Errors
/// 42601 for rows of several lengths.
pub fn compared(expr: &Expr) -> Result<Option<Expr>> {
    let compared = match expr {
        Expr::BinaryOp { left, op, right } => match (fields(left), fields(right)) {
            (Some(left), Some(right)) => compare(left, op, right)?,
            (Some(row), None) => match subquery(right, row.len())? {
                Some(query) => of_subquery(row, op, query)?,
                None => None,
            },
            (None, _) => None,
        },
        Expr::InSubquery { expr, subquery, negated } if !matches!(**expr, Expr::Tuple(_)) => {
            return Ok(fields(expr).map(|row| Expr::InSubquery {
                expr: Box::new(Expr::Tuple(row)),
                subquery: subquery.clone(),
                negated: *negated,
            }));
        }
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
    };
    Ok(compared.map(|compared| Expr::Nested(Box::new(compared))))
}

/// A subquery for one row of so many columns; None: it is none.
fn subquery(expr: &Expr, width: usize) -> Result<Option<&Query>> {
    let query = match expr {
        Expr::Nested(inner) => return subquery(inner, width),
        Expr::Subquery(query) => query,
        _ => return Ok(None),
    };
    if let SetExpr::Select(select) = query.body.as_ref()
        && select.projection.len() != width
        && !select.projection.iter().any(|item| item.to_string().ends_with('*'))
    {
        let much = if select.projection.len() < width { "few" } else { "many" };
        let what = format!("subquery has too {much} columns");
        return Err(Error::new(SqlState::Syntax, what));
    }
    Ok(Some(query))
}

/// A row beside that of a subquery.
fn of_subquery(row: Vec<Expr>, op: &BinaryOperator, query: &Query) -> Result<Option<Expr>> {
    let names: Vec<String> = (0..row.len()).map(|at| format!("__field_{at}")).collect();
    let of = |what: &str| {
        let text = format!("SELECT {what} FROM (SELECT 1) AS __row({})", names.join(", "));
        Expr::Subquery(over(query, &text))
    };
    // Which row a LIMIT leaves may depend on how it is asked.
    if query.limit_clause.is_none() && query.fetch.is_none() {
        return compare(row, op, names.iter().map(|name| of(name)).collect());
    }
    let fields = names.iter().map(|name| Expr::Identifier(Ident::new(name))).collect();
    Ok(compare(row, op, fields)?.map(|compared| of(&compared.to_string())))
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
    let pairs: Vec<(Expr, Expr)> = pairs(left, right)?.collect();
    Ok(ordered(&pairs, op, &strict))
}

/// By the first half of the fields, and where that is equal by the second: a tree of few levels, however
/// many there are.
fn ordered(pairs: &[(Expr, Expr)], op: &BinaryOperator, strict: &BinaryOperator) -> Option<Expr> {
    if let [(l, r)] = pairs {
        return Some(binary(l.clone(), op.clone(), r.clone()));
    }
    let (first, second) = pairs.split_at(pairs.len() / 2);
    let equal = first.iter().map(|(l, r)| binary(l.clone(), BinaryOperator::Eq, r.clone()));
    let equal = joined(equal.collect(), &BinaryOperator::And)?;
    let behind = binary(equal, BinaryOperator::And, ordered(second, op, strict)?);
    Some(binary(ordered(first, strict, strict)?, BinaryOperator::Or, behind))
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

/// A balanced tree: a chain of thousands would be as deep as it is long.
fn joined(mut parts: Vec<Expr>, op: &BinaryOperator) -> Option<Expr> {
    if parts.len() < 2 {
        return parts.pop();
    }
    let second = parts.split_off(parts.len() / 2);
    Some(binary(joined(parts, op)?, op.clone(), joined(second, op)?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_expr;

    fn row(of: &str, fields: usize) -> String {
        let fields: Vec<String> = (0..fields).map(|field| format!("{of}{field}")).collect();
        format!("({})", fields.join(", "))
    }

    /// A chain as deep as a row is long takes its square of time to plan.
    #[test]
    fn what_rows_become_is_shallow_and_not_much_larger() {
        let nesting = |expr: &Expr| {
            let depth = |(deepest, now): (usize, usize), c: char| match c {
                '(' => (deepest.max(now + 1), now + 1),
                ')' => (deepest, now - 1),
                _ => (deepest, now),
            };
            expr.to_string().chars().fold((0, 0), depth).0
        };
        let less = parse_expr(&format!("{} < {}", row("a", 1024), row("b", 1024))).unwrap();
        let less = compared(&less).unwrap().unwrap();
        assert!(nesting(&less) < 40, "{}", nesting(&less));
        assert!(less.to_string().matches(" = ").count() <= 1024 * 10);

        let listed = format!("{} IN ({})", row("a", 2), vec![row("b", 2); 4096].join(", "));
        let listed = compared(&parse_expr(&listed).unwrap()).unwrap().unwrap();
        assert!(nesting(&listed) < 40, "{}", nesting(&listed));
    }
}
