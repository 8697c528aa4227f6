//! Casts and parentheses that would vanish: `sum(v::int), sum(v::bigint)` are two aggregates, and so are
//! `sum(a - b - c), sum(a - (b - c))`.
//!
//! DataFusion leaves them out of the names it gives to expressions, and takes two aggregates, keys
//! or OVER expressions of one name for a mistake. Where two expressions of a query differ in
//! nothing else, they are given a mark ([`MARK_FUNCTION`]) that is part of the name; the optimizer
//! takes it away again, so that nothing is computed for it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, ObjectName, Query, Select, SelectItem, Value, Visitor,
    VisitorMut,
};

use crate::sql::{visit, visit_mut};

/// The function that marks a cast; its first argument is the value to cast, its second the name of
/// the type.
pub const MARK_FUNCTION: &str = "\u{1}cast";

/// Marks the casts that tell two expressions apart.
pub fn mark_casts(query: &mut Query) {
    let mut found = Candidates::default();
    // The visitors never break off.
    let _ = visit(query, &mut found);
    let marked: HashSet<String> = found
        .0
        .into_values()
        .filter(|forms| forms.len() > 1)
        .flat_map(HashMap::into_values)
        .flatten()
        .collect();
    if !marked.is_empty() {
        let _ = visit_mut(query, &mut Marker(marked));
    }
}

/// Expressions without their casts; each with the forms it has in the query, and the casts in each
/// form.
#[derive(Default)]
struct Candidates(HashMap<String, HashMap<String, Vec<String>>>);

impl Visitor for Candidates {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(_) = expr {
            self.add(expr);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let GroupByExpr::Expressions(keys, _) = &select.group_by else {
            self.add_list(select);
            return ControlFlow::Continue(());
        };
        keys.iter().for_each(|key| self.add(key));
        // A key may be the number of a column.
        if !keys.is_empty() {
            self.add_list(select);
        }
        ControlFlow::Continue(())
    }
}

impl Candidates {
    fn add_list(&mut self, select: &Select) {
        for item in &select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                self.add(expr);
            }
        }
    }

    fn add(&mut self, expr: &Expr) {
        let mut bare = expr.clone();
        let mut casts = Stripper::default();
        let _ = visit_mut(&mut bare, &mut casts);
        let forms = self.0.entry(bare.to_string().to_lowercase()).or_default();
        forms.insert(expr.to_string().to_lowercase(), casts.0);
    }
}

/// Takes casts away, and notes them.
#[derive(Default)]
struct Stripper(Vec<String>);

impl VisitorMut for Stripper {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        loop {
            let inner = match expr {
                Expr::Cast { expr: inner, data_type, .. } => {
                    self.0.push(key(inner, data_type));
                    inner
                }
                Expr::Nested(inner) => {
                    if let Expr::BinaryOp { .. } = **inner {
                        self.0.push(nested_key(inner));
                    }
                    inner
                }
                _ => return ControlFlow::Continue(()),
            };
            let inner = std::mem::replace(inner.as_mut(), Expr::value(Value::Null));
            *expr = inner;
        }
    }
}

/// What a cast is known by, however it is spelled.
fn key(inner: &Expr, data_type: &DataType) -> String {
    format!("{}::{}", inner.to_string().to_lowercase(), type_text(data_type))
}

/// What an operation in parentheses is known by.
fn nested_key(inner: &Expr) -> String {
    format!("({})", inner.to_string().to_lowercase())
}

fn type_text(data_type: &DataType) -> String {
    match crate::sql::sql_type(data_type) {
        Ok(known) => known.declaration(),
        Err(_) => data_type.to_string().to_lowercase(),
    }
}

struct Marker(HashSet<String>);

impl VisitorMut for Marker {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { expr: inner, data_type, .. } = expr
            && self.0.contains(&key(inner, data_type))
        {
            let text = Value::SingleQuotedString(type_text(data_type));
            let value = std::mem::replace(inner.as_mut(), Expr::value(Value::Null));
            **inner = call(vec![value, Expr::value(text)]);
        }
        if let Expr::Nested(inner) = expr
            && matches!(**inner, Expr::BinaryOp { .. })
            && self.0.contains(&nested_key(inner))
        {
            let value = std::mem::replace(inner.as_mut(), Expr::value(Value::Null));
            let text = Value::SingleQuotedString("()".to_owned());
            **inner = call(vec![value, Expr::value(text)]);
        }
        ControlFlow::Continue(())
    }
}

fn call(args: Vec<Expr>) -> Expr {
    let args =
        args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_quote('"', MARK_FUNCTION)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_query;

    fn marks(sql: &str) -> usize {
        let mut parsed = parse_query(sql).unwrap();
        mark_casts(&mut parsed.query);
        parsed.query.to_string().matches(MARK_FUNCTION).count()
    }

    #[test]
    fn casts_are_marked_only_where_nothing_else_tells_two_expressions_apart() {
        assert_eq!(marks("SELECT sum(v::int), sum(v::bigint) FROM t"), 2);
        assert_eq!(marks("SELECT sum(v), sum(CAST(v AS BIGINT)) FROM t"), 1);
        assert_eq!(marks("SELECT v::int, v::text FROM t GROUP BY v::integer, 2"), 3);
        assert_eq!(
            marks("SELECT k FROM t GROUP BY k HAVING min(v::int) > 0 AND min(v::text) > 'a'"),
            2
        );
        assert_eq!(marks("SELECT sum(v::int), sum(w::bigint), v::text, v::int FROM t"), 0);
        assert_eq!(marks("SELECT sum(v::int), sum(v::int) FROM t"), 0);
    }
}
