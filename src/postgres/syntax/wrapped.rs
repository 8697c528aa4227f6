//! Queries put into other queries.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, VisitorMut,
};

use crate::sql::{parse_query, visit_expressions, visit_mut};

/// The query `text` with its innermost `(SELECT 1)` replaced.
pub(super) fn over(query: &Query, text: &str) -> Box<Query> {
    struct Fill<'q>(&'q Query);
    impl VisitorMut for Fill<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            let is_hole =
                matches!(query.body.as_ref(), SetExpr::Select(select) if select.from.is_empty());
            if is_hole {
                *query = self.0.clone();
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }
    }
    let mut outer = match parse_query(text) {
        Ok(parsed) => parsed.query,
        Err(_) => return Box::new(query.clone()),
    };
    let _ = visit_mut(&mut outer, &mut Fill(query));
    outer
}

/// Whether each row of the tables that pass the condition is a row of the SELECT.
pub(super) fn is_plain(select: &Select) -> bool {
    let has_call = select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            visit_expressions(expr, |expr| match expr {
                // It may be an aggregate, or UNNEST.
                Expr::Function(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })
            .is_break()
        }
        _ => false,
    });
    let is_grouped =
        !matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    !has_call && !is_grouped && select.having.is_none() && select.qualify.is_none()
}

/// An expression under a name.
pub(super) fn named(expr: Expr, alias: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) }
}
