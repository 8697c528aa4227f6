//! The columns of WITH RECURSIVE are of the types of its first part (PostgreSQL manual, 7.8.2): what the
//! other part gives is cast to them where the first part's is the type that both have together, and
//! refused where it is not.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, RecursiveQuery};

use super::projected::with_columns;
use crate::error::{Error, SqlState};
use crate::postgres::functions::cast_to;
use crate::types::SqlType;

/// The query with a second part that fits the first; `None`: it does.
///
/// # Errors
/// 42804 for a column of another type.
pub fn fitted(query: &RecursiveQuery) -> Result<Option<LogicalPlan>> {
    let own = written(&query.recursive_term)?;
    let (first, second) = (query.static_term.schema().fields(), own.schema().fields());
    let mut casts: Vec<(bool, Option<SqlType>)> = Vec::with_capacity(first.len());
    for (at, (first, second)) in first.iter().zip(second).enumerate() {
        let wanted = match SqlType::from_field(first) {
            SqlType::Unknown if first.data_type().is_string() => SqlType::Text,
            known => known,
        };
        let given = SqlType::from_field(second);
        if !takes(&wanted, &given) {
            return Err(other_type(&query.name, at, &wanted, &given));
        }
        let differs =
            first.data_type() != second.data_type() || first.metadata() != second.metadata();
        let says_more = *first.metadata() != *wanted.to_cast_field().metadata();
        casts.push((differs && says_more, differs.then_some(wanted)));
    }
    if casts.iter().all(|(_, second)| second.is_none()) {
        return Ok(None);
    }
    let typed = |plan: &Arc<LogicalPlan>, is_first: bool| {
        let cast = |at: usize, column| {
            let (first, wanted) = casts.get(at)?;
            let wanted = wanted.as_ref().filter(|_| *first || !is_first)?;
            Some(cast_to(column, wanted))
        };
        with_columns(plan, cast).map(Arc::new)
    };
    let first = typed(&query.static_term, true)?;
    let second = typed(&own, false)?;
    let query = RecursiveQuery::try_new(query.name.clone(), first, second, query.is_distinct)?;
    Ok(Some(LogicalPlan::RecursiveQuery(query)))
}

/// The second part before DataFusion has cast its columns to the types of the first: the parser has put
/// a SELECT * around it, so what is cast there nobody has written.
fn written(plan: &Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    let LogicalPlan::Projection(all) = plan.as_ref() else { return Ok(Arc::clone(plan)) };
    let mut columns = Vec::with_capacity(all.expr.len());
    for expr in &all.expr {
        let Expr::Cast(cast) = expr.clone().unalias() else {
            columns.push(expr.clone());
            continue;
        };
        if !matches!(*cast.expr, Expr::Column(_)) {
            return Ok(Arc::clone(plan));
        }
        columns.push(*cast.expr);
    }
    Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, Arc::clone(&all.input))?)))
}

/// Whether a column of the first type and one of the second are of the first together.
fn takes(wanted: &SqlType, given: &SqlType) -> bool {
    use SqlType::{
        BigInt, Bpchar, Date, Decimal, Double, Int, Name, Real, SmallInt, Text, Timestamp,
        TimestampTz, Unknown, Varchar,
    };
    match (wanted, given) {
        (Text | Varchar(None), Text | Varchar(_) | Bpchar(_) | Name) => true,
        (Timestamp(_), Timestamp(_) | Date)
        | (TimestampTz(_), TimestampTz(_) | Timestamp(_) | Date) => true,
        (Decimal(None), Decimal(_)) => true,
        (Decimal(_) | Double | Real, SmallInt | Int | BigInt) | (Double, Real | Decimal(_)) => true,
        (Real, Decimal(_)) | (Int, SmallInt) | (BigInt, SmallInt | Int) => true,
        (_, Unknown) => true,
        (SqlType::Array(wanted), SqlType::Array(given)) => takes(wanted, given),
        (SqlType::Row(_), SqlType::Row(_)) => true,
        _ => wanted == given,
    }
}

fn other_type(
    name: &str,
    at: usize,
    wanted: &SqlType,
    given: &SqlType,
) -> datafusion::error::DataFusionError {
    let message = format!(
        "recursive query \"{name}\" column {} has type {wanted} in non-recursive term but type {given} overall",
        at + 1
    );
    Error::new(SqlState::TypeMismatch, message)
        .hint("Cast the output of the non-recursive term to the correct type.")
        .into()
}
