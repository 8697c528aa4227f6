//! Subqueries in queries about the system: which columns in them are of the query around them, and how DataFusion can be told.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SelectItem, SetExpr,
    TableFactor, VisitMut, VisitorMut, visit_expressions,
};

use super::apply::hole;
use super::rewrite::last;
use crate::sql::{function_call as call, ident_name};

/// The names by which a query's own FROM clauses call their relations, and whether one of them is a function.
#[derive(Default)]
pub(crate) struct Own {
    names: Vec<String>,
    /// Its tables, without their aliases.
    tables: Vec<String>,
    /// Columns that it names in its FROM clause.
    columns: Vec<String>,
    /// It reads from something whose columns only planning can tell.
    has_unknown: bool,
    has_function: bool,
}

impl ast::Visitor for Own {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let alias = match factor {
            TableFactor::Table { alias: Some(alias), args: Some(_), .. } if !alias.columns.is_empty() => {
                self.has_function = true;
                self.columns.extend(alias.columns.iter().map(|column| ident_name(&column.name)));
                self.names.push(ident_name(&alias.name));
                return ControlFlow::Continue(());
            }
            TableFactor::Table { name, alias, args, .. } => {
                self.has_function |= args.is_some();
                self.has_unknown |= args.is_some();
                self.names.push(last(name));
                self.tables.push(last(name));
                alias
            }
            TableFactor::UNNEST { alias: Some(alias), .. } if !alias.columns.is_empty() => {
                self.has_function = true;
                self.columns.extend(alias.columns.iter().map(|column| ident_name(&column.name)));
                self.names.push(ident_name(&alias.name));
                return ControlFlow::Continue(());
            }
            TableFactor::Function { alias, .. } | TableFactor::UNNEST { alias, .. } => {
                self.has_function = true;
                self.has_unknown = true;
                alias
            }
            TableFactor::Derived { alias, .. } => {
                self.has_unknown = true;
                alias
            }
            _ => {
                self.has_unknown = true;
                &None
            }
        };
        self.names.extend(alias.iter().map(|alias| ident_name(&alias.name)));
        ControlFlow::Continue(())
    }
}

pub(crate) fn own(query: &Query) -> Own {
    let mut own = Own::default();
    let _ = ast::Visit::visit(query, &mut own);
    own
}

/// Whether a subquery names columns of the query around it.
pub(crate) fn is_correlated(query: &Query, own: &Own) -> bool {
    let found = visit_expressions(query, |expr| match expr {
        Expr::CompoundIdentifier(parts) => {
            let relation = parts.len().checked_sub(2).map(|at| ident_name(&parts[at]));
            match relation.is_some_and(|name| !own.names.contains(&name)) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Takes the outer columns out of a subquery and gives them; `columns` tells those of a table of the system.
pub(crate) fn take_outer(query: &mut Query, columns: impl Fn(&str) -> Option<Vec<String>>) -> Vec<Expr> {
    let own = own(query);
    let known = match own.has_unknown || query.with.is_some() {
        true => None,
        false => own.tables.iter().map(|table| columns(table)).collect::<Option<Vec<_>>>(),
    };
    let mut known: Option<HashSet<String>> = known.map(|all| all.into_iter().flatten().collect());
    if let (Some(known), SetExpr::Select(select)) = (&mut known, query.body.as_ref()) {
        known.extend(own.columns.iter().cloned());
        known.extend(select.projection.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(ident_name(alias)),
            _ => None,
        }));
    }
    let mut outer = Outer { own, known, columns: Vec::new() };
    let _: ControlFlow<()> = query.visit(&mut outer);
    outer.columns
}

struct Outer {
    own: Own,
    /// The columns that stand for themselves, if that can be told.
    known: Option<HashSet<String>>,
    columns: Vec<Expr>,
}

impl Outer {
    fn is_outer(&self, expr: &Expr) -> bool {
        match expr {
            Expr::CompoundIdentifier(parts) => {
                parts.len().checked_sub(2).is_some_and(|at| !self.own.names.contains(&ident_name(&parts[at])))
            }
            Expr::Identifier(name) => {
                self.known.as_ref().is_some_and(|known| !known.contains(&ident_name(name)))
            }
            _ => false,
        }
    }
}

impl VisitorMut for Outer {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.is_outer(expr) {
            let n = self.columns.iter().position(|known| known == expr).unwrap_or(self.columns.len());
            let column = std::mem::replace(expr, hole(n));
            if n == self.columns.len() {
                self.columns.push(column);
            }
        }
        ControlFlow::Continue(())
    }
}

fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

/// The conditions that AND joins.
fn conjuncts(expr: Expr) -> Vec<Expr> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let mut all = conjuncts(*left);
            all.extend(conjuncts(*right));
            all
        }
        Expr::Nested(inner) if matches!(*inner, Expr::BinaryOp { op: BinaryOperator::And, .. }) => {
            conjuncts(*inner)
        }
        other => vec![other],
    }
}

/// Whether a condition names columns of the outer query, and of the inner one.
fn sides(condition: &Expr, own: &Own) -> (bool, bool) {
    let (mut outer, mut inner) = (false, false);
    let _ = visit_expressions(condition, |expr| {
        match expr {
            Expr::CompoundIdentifier(parts) => {
                let relation = parts.len().checked_sub(2).map(|at| ident_name(&parts[at]));
                match relation.is_some_and(|name| own.names.contains(&name)) {
                    true => inner = true,
                    false => outer = true,
                }
            }
            Expr::Identifier(_) => inner = true,
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    (outer, inner)
}

/// Puts an aggregate around the one column of a SELECT.
fn aggregated(query: &Query, function: &str) -> Option<Query> {
    let mut query = query.clone();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let expr = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] => expr.clone(),
        _ => return None,
    };
    let has_groups = match &select.group_by {
        ast::GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
        ast::GroupByExpr::All(_) => true,
    };
    if has_groups || select.distinct.is_some() || is_aggregate(&expr) {
        return None;
    }
    select.projection = vec![SelectItem::UnnamedExpr(call(function, vec![expr]))];
    query.order_by = None;
    query.limit_clause = None;
    Some(query)
}

fn is_aggregate(expr: &Expr) -> bool {
    const NAMES: [&str; 9] =
        ["count", "sum", "min", "max", "avg", "array_agg", "string_agg", "bool_or", "bool_and"];
    matches!(expr, Expr::Function(call) if NAMES.contains(&last(&call.name).as_str()))
}

/// A subquery over outer columns, as one that DataFusion makes a join of. Conditions on outer columns alone go outside;
/// where one is neither that nor an equation there is no such join.
pub(crate) fn joined(query: &Query, own: &Own) -> Option<Expr> {
    if query.with.is_some() || query.limit_clause.is_some() || own.has_function {
        return None;
    }
    let mut query = query.clone();
    let mut outside = Vec::new();
    if let SetExpr::Select(select) = query.body.as_mut() {
        let mut inside = Vec::new();
        for condition in select.selection.take().map(conjuncts).unwrap_or_default() {
            let (outer, inner) = sides(&condition, own);
            let is_equation = matches!(&condition, Expr::BinaryOp { op: BinaryOperator::Eq, .. });
            match (outer, inner) {
                (true, false) => outside.push(condition),
                (true, true) if !is_equation => return None,
                _ => inside.push(condition),
            }
        }
        select.selection = inside.into_iter().reduce(and);
    }
    let subquery = Expr::Subquery(Box::new(aggregated(&query, "max")?));
    match outside.into_iter().reduce(and) {
        None => Some(subquery),
        Some(condition) => Some(Expr::Case {
            case_token: ast::helpers::attached_token::AttachedToken::empty(),
            end_token: ast::helpers::attached_token::AttachedToken::empty(),
            operand: None,
            conditions: vec![ast::CaseWhen { condition, result: subquery }],
            else_result: None,
        }),
    }
}

/// `(SELECT array_agg(x ORDER BY y) FROM …)` as the query of its elements in their order.
pub(crate) fn elements(query: &Query) -> Option<Query> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [
        SelectItem::UnnamedExpr(Expr::Function(call))
        | SelectItem::ExprWithAlias { expr: Expr::Function(call), .. },
    ] = select.projection.as_slice()
    else {
        return None;
    };
    let has_groups = !matches!(&select.group_by, ast::GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    let FunctionArguments::List(list) = &call.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(element))] = list.args.as_slice() else { return None };
    let is_plain = call.filter.is_none() && call.over.is_none() && list.duplicate_treatment.is_none();
    if last(&call.name) != "array_agg" || has_groups || select.having.is_some() || !is_plain {
        return None;
    }
    let order = match list.clauses.as_slice() {
        [] => None,
        [ast::FunctionArgumentClause::OrderBy(order)] => {
            Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(order.clone()), interpolate: None })
        }
        _ => return None,
    };
    let mut elements = query.clone();
    if let SetExpr::Select(inner) = elements.body.as_mut() {
        inner.projection = vec![SelectItem::UnnamedExpr(element.clone())];
    }
    elements.order_by = order;
    Some(elements)
}
