//! What is known of a planned body.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::logical_expr::{Expr, ScalarUDF};

use crate::catalog::{RelationId, Routine};
use crate::types::SqlType;

/// The expression of a function for arguments of certain types.
#[derive(Debug)]
pub struct PlannedBody {
    /// Over columns of the names that [`parameter_name`] gives, its types coerced.
    pub expr: Expr,
    /// The type of the result.
    pub field: FieldRef,
    /// How often each argument stands in it.
    pub uses: Vec<usize>,
    /// How many operators and calls it has, with those of the functions that it calls.
    pub nodes: usize,
    /// It gives NULL where an argument is NULL.
    pub strict: bool,
    /// The functions that it calls.
    pub depends_on: Vec<RelationId>,
    /// The body as one function; None: it calls something that is not a function of its arguments.
    pub whole: Option<WholeBody>,
}

/// A body as one function.
#[derive(Debug)]
pub struct WholeBody {
    /// It always gives the same for the same arguments.
    pub function: Arc<ScalarUDF>,
    /// What it takes after the arguments: what in the body is computed without them and may differ
    /// from one time to the next, such as `now()`.
    pub extra: Vec<Expr>,
}

/// The column that an argument is in the body.
pub fn parameter_name(at: usize) -> String {
    format!("${}", at + 1)
}

/// The columns that a body is planned over, for arguments of these fields. Where a type has no one
/// form in memory (NUMERIC, timestamps of several precisions), it has the argument's: nothing of the
/// value is lost.
pub fn parameters(routine: &Routine, arguments: &[FieldRef]) -> Vec<FieldRef> {
    let parameter = |(at, wanted): (usize, &SqlType)| {
        let given = arguments.get(at).map_or(&DataType::Null, |field| field.data_type());
        let name = parameter_name(at);
        let field = match (wanted, given) {
            (SqlType::Decimal(_), DataType::Decimal128(..) | DataType::Decimal256(..))
            | (SqlType::Timestamp(_), DataType::Timestamp(_, None)) => {
                Field::new(name, given.clone(), true)
            }
            (SqlType::TimestampTz(_), DataType::Timestamp(unit, Some(_))) => {
                Field::new(name, DataType::Timestamp(*unit, Some("UTC".into())), true)
            }
            _ => wanted.to_field(&name, true),
        };
        Arc::new(field)
    };
    routine.arguments.iter().map(|a| &a.sql_type).enumerate().map(parameter).collect()
}
