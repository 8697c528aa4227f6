//! What ORDER BY goes by, where the values themselves are in another order: JSONB and arrays.

use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, ExprSchemable, expr::Sort};

use crate::postgres::functions::{array_order, json_order};
use crate::types::SqlType;

/// The key of an expression; None: it is in its own order.
pub(super) fn order_key(expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let Ok((_, field)) = expr.to_field(schema) else { return Ok(None) };
    Ok(match SqlType::from_field(&field) {
        SqlType::Jsonb => Some(json_order(expr.clone())?),
        SqlType::Array(_) => Some(array_order(expr.clone())),
        _ => None,
    })
}

/// ORDER BY in an aggregate or a window; whether it has changed.
pub(super) fn by_keys(order: &mut [Sort], schema: &DFSchema) -> Result<bool> {
    let mut is_changed = false;
    for sort in order {
        if let Some(key) = order_key(&sort.expr, schema)? {
            (sort.expr, is_changed) = (key, true);
        }
    }
    Ok(is_changed)
}
