//! `JOIN … USING (k)` and NATURAL JOIN: columns that become one.
//!
//! ```text
//! SELECT * FROM a FULL JOIN b USING (k) WHERE k > 1
//! ─▶ SELECT coalesce(a.k, b.k) AS k, a.x, b.y FROM a FULL JOIN b ON a.k = b.k WHERE coalesce(a.k, b.k) > 1
//! ```
//! The merged column is that of the left side, of a RIGHT JOIN that of the right one, of a FULL JOIN the
//! first of both that is not NULL; it stands before the others in `*`, and a name without a relation
//! means it (PostgreSQL manual, 7.2.1.1). DataFusion takes the left side's column for it and keeps the
//! order of the relations.
//!
//! Which columns the relations of a FROM have is asked of the planner, which is why this comes first. A
//! FROM of which it does not know them (a function of the columns beside it) is left as it is.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Cte, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableAlias, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
    WildcardAdditionalOptions, With,
};

use crate::error::{Error, Result, SqlState};
use crate::sql::{
    column_of, function_call, ident_name, select_all, visit_mut, visit_own_expressions,
};

/// What tells the columns of a query, if they can be told.
pub type ColumnsOf<'a> = dyn Fn(Query) -> Option<Vec<String>> + 'a;

/// Puts conditions in the place of USING and NATURAL, and columns in that of the merged ones.
pub fn merge_columns(query: &mut Query, columns_of: &ColumnsOf<'_>) -> Result<()> {
    if !has_merging(query) {
        return Ok(());
    }
    Merging { columns_of, around: Vec::new(), is_recursive: false, derived: 0 }.query(query)
}

fn has_merging(query: &mut Query) -> bool {
    struct Found;
    impl VisitorMut for Found {
        type Break = ();
        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            let merges = select.from.iter().any(merges);
            if merges { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    visit_mut(query, &mut Found).is_break()
}

fn merges(from: &TableWithJoins) -> bool {
    let nested = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => merges(table_with_joins),
        _ => false,
    };
    let is_merging = |operator: &JoinOperator| {
        matches!(parts(operator), Some((_, JoinConstraint::Using(_) | JoinConstraint::Natural)))
    };
    nested(&from.relation)
        || from.joins.iter().any(|join| nested(&join.relation) || is_merging(&join.join_operator))
}

/// What makes one column of two in a FULL JOIN.
const FIRST: &str = "coalesce";

/// Which side the merged columns are of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Merged {
    Left,
    Right,
    Both,
}

fn parts(operator: &JoinOperator) -> Option<(Merged, &JoinConstraint)> {
    match operator {
        JoinOperator::Join(on)
        | JoinOperator::Inner(on)
        | JoinOperator::Left(on)
        | JoinOperator::LeftOuter(on)
        | JoinOperator::CrossJoin(on) => Some((Merged::Left, on)),
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) => Some((Merged::Right, on)),
        JoinOperator::FullOuter(on) => Some((Merged::Both, on)),
        _ => None,
    }
}

fn constraint(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(on)
        | JoinOperator::Inner(on)
        | JoinOperator::Left(on)
        | JoinOperator::LeftOuter(on)
        | JoinOperator::Right(on)
        | JoinOperator::RightOuter(on)
        | JoinOperator::FullOuter(on) => Some(on),
        _ => None,
    }
}

/// A column of a FROM as a name without a relation means it.
#[derive(Clone)]
struct SeenColumn {
    name: String,
    expr: Expr,
    is_merged: bool,
}

struct Merging<'a> {
    columns_of: &'a ColumnsOf<'a>,
    /// The WITH queries that can be named, outermost first.
    around: Vec<Cte>,
    is_recursive: bool,
    /// Subqueries that have got a name.
    derived: usize,
}

/// Calls `see` with the queries directly below a node.
struct Below<'m, 'a> {
    merging: &'m mut Merging<'a>,
    depth: usize,
}

impl VisitorMut for Below<'_, '_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.depth += 1;
        if self.depth > 1 {
            return ControlFlow::Continue(());
        }
        match self.merging.query(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

impl Merging<'_> {
    fn query(&mut self, query: &mut Query) -> Result<()> {
        let outer = self.around.len();
        if let Some(with) = &mut query.with {
            self.is_recursive |= with.recursive;
            for cte in &mut with.cte_tables {
                self.query(&mut cte.query)?;
                self.around.push(cte.clone());
            }
        }
        let merged = self.set_expr(&mut query.body)?;
        if let Some(order) = &mut query.order_by {
            self.below(order)?;
            if let (OrderByKind::Expressions(order), SetExpr::Select(select)) =
                (&mut order.kind, query.body.as_ref())
            {
                for by in order {
                    // A name of the SELECT list comes first.
                    if !is_output(&by.expr, select) {
                        replace(&mut by.expr, &merged);
                    }
                }
            }
        }
        self.around.truncate(outer);
        Ok(())
    }

    /// Gives the merged columns of a SELECT.
    fn set_expr(&mut self, body: &mut SetExpr) -> Result<Vec<SeenColumn>> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query).map(|()| Vec::new()),
            SetExpr::SetOperation { left, right, .. } => {
                self.set_expr(left)?;
                self.set_expr(right)?;
                Ok(Vec::new())
            }
            other => self.below(other).map(|()| Vec::new()),
        }
    }

    fn below(&mut self, node: &mut impl VisitMut) -> Result<()> {
        match visit_mut(node, &mut Below { merging: self, depth: 0 }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn select(&mut self, select: &mut Select) -> Result<Vec<SeenColumn>> {
        self.below(select)?;
        if !select.from.iter().any(merges) {
            return Ok(Vec::new());
        }
        let mut seen = Vec::new();
        for from in &mut select.from {
            // What cannot be told stays as it is written, all of it.
            let mut changed = from.clone();
            let Some(columns) = self.joined(&mut changed)? else { return Ok(Vec::new()) };
            *from = changed;
            seen.extend(columns);
        }
        let merged: Vec<SeenColumn> =
            seen.iter().filter(|column| column.is_merged).cloned().collect();
        let one: Vec<SeenColumn> =
            merged.into_iter().filter(|column| named(&seen, &column.name).len() == 1).collect();
        rewrite_list(select, &seen, &one);
        for expr in select.selection.iter_mut().chain(&mut select.having) {
            replace(expr, &one);
        }
        replace(&mut select.group_by, &one);
        replace(&mut select.distinct, &one);
        replace(&mut select.named_window, &one);
        Ok(one)
    }

    /// The columns of a FROM item; None: they cannot be told.
    fn joined(&mut self, from: &mut TableWithJoins) -> Result<Option<Vec<SeenColumn>>> {
        let Some(mut seen) = self.factor(&mut from.relation)? else { return Ok(None) };
        for join in &mut from.joins {
            let Some(right) = self.factor(&mut join.relation)? else { return Ok(None) };
            let Some((side, on)) = parts(&join.join_operator) else { return Ok(None) };
            let names = match on {
                JoinConstraint::Using(names) => {
                    let last = |name: &ObjectName| {
                        name.0.last().and_then(|part| part.as_ident()).map(ident_name)
                    };
                    names.iter().filter_map(last).collect()
                }
                JoinConstraint::Natural => common(&seen, &right),
                JoinConstraint::On(_) | JoinConstraint::None => Vec::new(),
            };
            let is_merging = matches!(on, JoinConstraint::Using(_) | JoinConstraint::Natural);
            if !is_merging {
                let merged: Vec<_> =
                    seen.iter().filter(|column| column.is_merged).cloned().collect();
                if let Some(JoinConstraint::On(condition)) = constraint(&mut join.join_operator) {
                    replace(condition, &merged);
                }
                seen.extend(right);
                continue;
            }
            let (columns, condition) = merged(seen, right, &names, side)?;
            seen = columns;
            if let Some(on) = constraint(&mut join.join_operator) {
                // Without a common column it is all with all.
                let always = || Expr::value(Value::Boolean(true));
                *on = JoinConstraint::On(condition.unwrap_or_else(always));
            }
        }
        Ok(Some(seen))
    }

    fn factor(&mut self, factor: &mut TableFactor) -> Result<Option<Vec<SeenColumn>>> {
        if let TableFactor::NestedJoin { table_with_joins, alias: None } = factor {
            return self.joined(table_with_joins);
        }
        let Some(relation) = self.name(factor) else { return Ok(None) };
        let mut query = select_all(factor.clone());
        if !self.around.is_empty() {
            query.with = Some(With {
                with_token: AttachedToken::empty(),
                recursive: self.is_recursive,
                cte_tables: self.around.clone(),
            });
        }
        let Some(names) = (self.columns_of)(query) else { return Ok(None) };
        let column =
            |name: String| SeenColumn { expr: column_of(&relation, &name), name, is_merged: false };
        Ok(Some(names.into_iter().map(column).collect()))
    }

    /// What a relation of a FROM is called; a subquery without a name gets one.
    fn name(&mut self, factor: &mut TableFactor) -> Option<Ident> {
        match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), lateral: false, .. }
            | TableFactor::UNNEST { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), lateral: false, .. } => {
                Some(alias.name.clone())
            }
            TableFactor::Table { name, alias: None, args: None, .. } => {
                name.0.last().and_then(|part| part.as_ident()).cloned()
            }
            TableFactor::Derived { alias: alias @ None, lateral: false, .. } => {
                self.derived += 1;
                let name = Ident::with_quote('"', format!("__derived{}", self.derived));
                *alias = Some(TableAlias {
                    explicit: true,
                    name: name.clone(),
                    columns: Vec::new(),
                    at: None,
                });
                Some(name)
            }
            _ => None,
        }
    }
}

fn named<'c>(columns: &'c [SeenColumn], name: &str) -> Vec<&'c SeenColumn> {
    columns.iter().filter(|column| column.name == name).collect()
}

fn common(left: &[SeenColumn], right: &[SeenColumn]) -> Vec<String> {
    let is_common = |column: &&SeenColumn| !named(right, &column.name).is_empty();
    left.iter().filter(is_common).map(|column| column.name.clone()).collect()
}

/// The columns of a join that merges these, and its condition.
fn merged(
    left: Vec<SeenColumn>,
    right: Vec<SeenColumn>,
    names: &[String],
    side: Merged,
) -> Result<(Vec<SeenColumn>, Option<Expr>)> {
    let one = |columns: &[SeenColumn], name: &str, of: &str| match named(columns, name)[..] {
        [only] => Ok(only.expr.clone()),
        [] => Err(Error::new(
            SqlState::UndefinedColumn,
            format!("column \"{name}\" specified in USING clause does not exist in {of} table"),
        )),
        _ => Err(Error::new(
            SqlState::AmbiguousColumn,
            format!("common column name \"{name}\" appears more than once in {of} table"),
        )),
    };
    let (mut columns, mut condition) = (Vec::new(), None);
    for name in names {
        let (l, r) = (one(&left, name, "left")?, one(&right, name, "right")?);
        let equal = Expr::BinaryOp {
            left: Box::new(l.clone()),
            op: BinaryOperator::Eq,
            right: Box::new(r.clone()),
        };
        condition = Some(match condition {
            None => equal,
            Some(before) => Expr::BinaryOp {
                left: Box::new(before),
                op: BinaryOperator::And,
                right: Box::new(equal),
            },
        });
        let expr = match side {
            Merged::Left => l,
            Merged::Right => r,
            Merged::Both => first_of(l, r),
        };
        columns.push(SeenColumn { name: name.clone(), expr, is_merged: true });
    }
    let is_other = |column: &SeenColumn| !names.contains(&column.name);
    columns.extend(left.into_iter().filter(&is_other));
    columns.extend(right.into_iter().filter(is_other));
    Ok((columns, condition))
}

/// The first of two that is not NULL; of a chain of joins all in one call.
fn first_of(left: Expr, right: Expr) -> Expr {
    if let Expr::Function(mut call) = left.clone()
        && call.name.to_string() == FIRST
        && let FunctionArguments::List(list) = &mut call.args
    {
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(right)));
        return Expr::Function(call);
    }
    function_call(FIRST, vec![left, right])
}

/// `*` as it is with merged columns, and these by their names.
fn rewrite_list(select: &mut Select, seen: &[SeenColumn], merged: &[SeenColumn]) {
    let mut list = Vec::new();
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::Wildcard(options) if options == WildcardAdditionalOptions::default() => {
                let column = |column: &SeenColumn| SelectItem::ExprWithAlias {
                    expr: column.expr.clone(),
                    alias: Ident::with_quote('"', column.name.clone()),
                };
                list.extend(seen.iter().map(column));
            }
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                let mut expr = Expr::Identifier(name.clone());
                replace(&mut expr, merged);
                let is_same = matches!(expr, Expr::Identifier(_));
                let alias = Ident::with_quote('"', ident_name(&name));
                list.push(if is_same {
                    SelectItem::UnnamedExpr(expr)
                } else {
                    SelectItem::ExprWithAlias { expr, alias }
                });
            }
            mut other => {
                replace(&mut other, merged);
                list.push(other);
            }
        }
    }
    select.projection = list;
}

/// Whether an ORDER BY names a column of the SELECT list.
fn is_output(expr: &Expr, select: &Select) -> bool {
    let Expr::Identifier(name) = expr else { return false };
    let name = ident_name(name);
    select.projection.iter().any(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => ident_name(alias) == name,
        SelectItem::UnnamedExpr(Expr::Identifier(column)) => ident_name(column) == name,
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            parts.last().is_some_and(|column| ident_name(column) == name)
        }
        _ => false,
    })
}

/// Puts the merged columns in the place of their names, but not in subqueries, which may have such
/// columns themselves.
fn replace(node: &mut impl VisitMut, merged: &[SeenColumn]) {
    // It never breaks off.
    let _ = visit_own_expressions(node, |expr| {
        if let Expr::Identifier(name) = expr {
            let name = ident_name(name);
            if let Some(column) = merged.iter().find(|column| column.name == name) {
                *expr = column.expr.clone();
            }
        }
        ControlFlow::<()>::Continue(())
    });
}
