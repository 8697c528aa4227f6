//! The two parts of WITH RECURSIVE, so that the types of their columns can be compared.
//!
//! The second part becomes `SELECT * FROM (part)`: DataFusion casts it to the types of the first, and
//! these casts are then none that the user has written. A fraction in the first part is a NUMERIC of
//! any digits, as what is computed of it is.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, Cte, DataType, ExactNumberInfo, Expr, Query, SelectItem, SetExpr, SetOperator,
    TableFactor, Value,
};

use super::names::ident_name;
use super::tree::query_of;
use super::visit::visit_relations;
use super::windows::select_all;

/// Writes the recursive queries that a query names in this way.
pub(super) fn rewrite(query: &mut Query) {
    let with = query.with.iter_mut().filter(|with| with.recursive);
    with.flat_map(|with| &mut with.cte_tables).for_each(parted);
}

fn parted(table: &mut Cte) {
    let name = ident_name(&table.alias.name);
    let SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } =
        table.query.body.as_mut()
    else {
        return;
    };
    let names_itself = visit_relations(right.as_ref(), |relation| {
        match relation.0.first().and_then(|part| part.as_ident()) {
            Some(ident) if ident_name(ident) == name => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    if names_itself.is_continue() {
        return;
    }
    fractions(left);
    let all = select_all(TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query_of(right.clone())),
        alias: None,
        sample: None,
    });
    *right = all.body;
}

fn fractions(first: &mut SetExpr) {
    let exprs: Vec<&mut Expr> = match first {
        SetExpr::Select(select) => select
            .projection
            .iter_mut()
            .filter_map(|item| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    Some(expr)
                }
                _ => None,
            })
            .collect(),
        SetExpr::Values(values) => {
            values.rows.iter_mut().flat_map(|row| row.content.iter_mut()).collect()
        }
        _ => Vec::new(),
    };
    for expr in exprs {
        if let Expr::Value(constant) = expr
            && let Value::Number(digits, _) = &constant.value
            && digits.contains(['.', 'e', 'E'])
        {
            let text = Expr::value(Value::SingleQuotedString(digits.clone()));
            // A constant of a type would have no more places than it is written with.
            *expr = cast(cast(text, DataType::Text), DataType::Numeric(ExactNumberInfo::None));
        }
    }
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    let expr = Box::new(expr);
    Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None }
}
