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
//! subquery sees the merged columns of the queries around it, a LATERAL one those of what stands before it
//! ([`scopes`](super::scopes)).

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Join,
    JoinConstraint, JoinOperator, ObjectName, OrderBy, OrderByKind, Query, Select, SelectItem,
    SetExpr, TableAlias, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
    WildcardAdditionalOptions, With,
};

use super::naming::column_name;
use super::scopes::{ColumnsOf, FromScope, Level, Needs, Part, Scopes, SeenColumn};
use super::spellings::case_when;
use crate::error::{Error, Result, SqlState};
use crate::sql::{
    ASOF, alias_of, function_call, ident_name, is_window_function, not_after, select_all,
    visit_expressions, visit_mut, visit_own_expressions,
};

/// Puts conditions in the place of USING and NATURAL, and columns in that of the merged ones.
pub fn merge_columns(query: &mut Query, columns_of: &ColumnsOf<'_>) -> Result<()> {
    if !has_merging(query) {
        return Ok(());
    }
    Merging { columns_of, scopes: Scopes::default(), derived: 0 }.query(query)
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

/// What a join is made on, of those that may have a condition.
pub(super) fn constraint(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
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

struct Merging<'a> {
    columns_of: &'a ColumnsOf<'a>,
    scopes: Scopes,
    /// Subqueries that have got a name.
    derived: usize,
}

/// Merges in the queries directly below a node.
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
        let outer = self.scopes.0.len();
        if let Some(with) = &mut query.with {
            self.with(with)?;
        }
        match query.body.as_mut() {
            SetExpr::Select(select) => self.select(select, &mut query.order_by)?,
            body => {
                self.set_expr(body)?;
                self.below(&mut query.order_by)?;
            }
        }
        self.scopes.0.truncate(outer);
        Ok(())
    }

    /// WITH queries, each of which those behind it can name.
    fn with(&mut self, with: &mut With) -> Result<()> {
        let mut known = With { cte_tables: Vec::new(), ..with.clone() };
        for cte in &mut with.cte_tables {
            self.scopes.0.push(Level::With(known.clone()));
            let mut first = cte.clone();
            if let SetExpr::SetOperation { left, .. } = cte.query.body.as_ref()
                && with.recursive
            {
                // It names itself, and has the columns of its first part.
                first.query.body = left.clone();
                self.query(&mut first.query)?;
                self.scopes.0.pop();
                known.cte_tables.push(first);
                self.scopes.0.push(Level::With(known.clone()));
                known.cte_tables.pop();
            }
            self.query(&mut cte.query)?;
            self.scopes.0.pop();
            known.cte_tables.push(cte.clone());
        }
        self.scopes.0.push(Level::With(known));
        Ok(())
    }

    fn set_expr(&mut self, body: &mut SetExpr) -> Result<()> {
        match body {
            SetExpr::Select(select) => self.select(select, &mut None),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                self.set_expr(left)?;
                self.set_expr(right)
            }
            other => self.reads(other),
        }
    }

    fn below(&mut self, node: &mut impl VisitMut) -> Result<()> {
        match visit_mut(node, &mut Below { merging: self, depth: 0 }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    /// What reads columns, in its subqueries and itself.
    fn reads(&mut self, node: &mut impl VisitMut) -> Result<()> {
        self.below(node)?;
        replace(node, &self.scopes.merged());
        Ok(())
    }

    /// A SELECT, and how it is ordered.
    fn select(&mut self, select: &mut Select, order: &mut Option<OrderBy>) -> Result<()> {
        let is_merging = select.from.iter().any(merges);
        let needs = if is_merging {
            Needs::Columns
        } else if names_one(select, &self.scopes.merged()) {
            Needs::Known
        } else {
            Needs::Nothing
        };
        self.scopes.0.push(Level::From(FromScope { needs, parts: Vec::new() }));
        for table in std::mem::take(&mut select.from) {
            let part = self.joined(table)?;
            self.scopes.add(part);
        }
        self.below(select)?;
        self.below(order)?;
        let merged = self.scopes.merged();
        let Some(Level::From(scope)) = self.scopes.0.pop() else { return Ok(()) };
        let (tables, columns): (_, Vec<_>) =
            scope.parts.into_iter().map(|part| (part.table, part.columns)).unzip();
        select.from = tables;
        rewrite_list(select, is_merging.then(|| columns.concat()), &merged);
        replace(&mut select.selection, &merged);
        replace(&mut select.having, &merged);
        replace(&mut select.group_by, &merged);
        replace(&mut select.distinct, &merged);
        replace(&mut select.named_window, &merged);
        if let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = order {
            // A name of the SELECT list comes first.
            for by in order.iter_mut().filter(|by| !is_output(&by.expr, select)) {
                replace(&mut by.expr, &merged);
            }
        }
        Ok(())
    }

    /// A FROM item with its conditions, and its columns.
    fn joined(&mut self, from: TableWithJoins) -> Result<Part> {
        let (relation, columns) = self.factor(from.relation)?;
        let mut part = Part { table: TableWithJoins { relation, joins: Vec::new() }, columns };
        for mut join in from.joins {
            self.scopes.add(part);
            let (relation, right) = self.factor(join.relation)?;
            join.relation = relation;
            part = self.join(join, right)?;
        }
        Ok(part)
    }

    /// What has been read last with a join behind it.
    fn join(&mut self, mut join: Join, right: Vec<SeenColumn>) -> Result<Part> {
        let mut part = self.scopes.take()?;
        let left = std::mem::take(&mut part.columns);
        let (side, mut names) = match parts(&join.join_operator) {
            Some((side, JoinConstraint::Using(names))) => {
                (side, names.iter().map(bare_name).collect::<Result<Vec<_>>>()?)
            }
            Some((side, JoinConstraint::Natural)) => (side, common(&left, &right)),
            _ => {
                part.columns = left.into_iter().chain(right).collect();
                part.table.joins.push(join);
                return self.with_condition(part);
            }
        };
        let is_asof = names.last().is_some_and(|name| name == ASOF);
        if is_asof {
            names.pop();
        }
        let (columns, mut condition) = merged(left, right, &names, side)?;
        if is_asof {
            condition = condition.map(not_after);
        }
        if let Some(on) = constraint(&mut join.join_operator) {
            // Without a common column it is all with all.
            let always = || Expr::value(Value::Boolean(true));
            *on = JoinConstraint::On(condition.unwrap_or_else(always));
        }
        part.columns = columns;
        part.table.joins.push(join);
        Ok(part)
    }

    /// A FROM item whose last join merges nothing: its condition sees the item, and not those before.
    fn with_condition(&mut self, part: Part) -> Result<Part> {
        let on = part.table.joins.last().and_then(|join| parts(&join.join_operator));
        let Some((_, JoinConstraint::On(on))) = on else { return Ok(part) };
        let mut on = on.clone();
        let before = self.scopes.replace(vec![part]);
        self.reads(&mut on)?;
        let mut part = self.scopes.take()?;
        self.scopes.replace(before);
        let join = part.table.joins.last_mut();
        if let Some(place) = join.and_then(|join| constraint(&mut join.join_operator)) {
            *place = JoinConstraint::On(on);
        }
        Ok(part)
    }

    /// A relation of a FROM, and its columns.
    fn factor(&mut self, factor: TableFactor) -> Result<(TableFactor, Vec<SeenColumn>)> {
        let mut factor = match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                let Part { table, columns } = self.joined(*table_with_joins)?;
                let table_with_joins = Box::new(table);
                return Ok((TableFactor::NestedJoin { table_with_joins, alias: None }, columns));
            }
            TableFactor::NestedJoin { table_with_joins, alias } if merges(&table_with_joins) => {
                let joined = TableFactor::NestedJoin { table_with_joins, alias: None };
                let subquery = Box::new(select_all(joined));
                TableFactor::Derived { lateral: false, subquery, alias, sample: None }
            }
            other => other,
        };
        // What is not LATERAL does not see what stands beside it.
        let is_alone = matches!(factor, TableFactor::Derived { lateral: false, .. });
        let beside = if is_alone { self.scopes.0.pop() } else { None };
        let inside = match &factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. }
                if is_window(name) =>
            {
                self.below(&mut factor)
            }
            _ => self.reads(&mut factor),
        };
        self.scopes.0.extend(beside);
        inside?;
        let name = self.name(&mut factor);
        let columns = self.scopes.columns(&factor, name.as_ref(), self.columns_of)?;
        Ok((factor, columns))
    }

    /// What a relation of a FROM is called, if that can be seen; a subquery without a name gets one.
    fn name(&mut self, factor: &mut TableFactor) -> Option<Ident> {
        if let TableFactor::Derived { alias: alias @ None, .. } = factor {
            self.derived += 1;
            let name = Ident::with_quote('"', format!("__derived{}", self.derived));
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        let last = |name: &ObjectName| Some(Ident::new(ident_name(name.0.last()?.as_ident()?)));
        match factor {
            TableFactor::UNNEST { alias: None, .. } => Some(Ident::new("unnest")),
            TableFactor::Table { name, args: Some(_), alias: None, .. }
            | TableFactor::Function { name, alias: None, .. }
                if !is_window(name) =>
            {
                last(name)
            }
            _ => alias_of(factor),
        }
    }
}

/// The name of a column in USING, which is of both sides.
fn bare_name(name: &ObjectName) -> Result<String> {
    match &name.0[..] {
        [name] => Ok(name.as_ident().map(ident_name).unwrap_or_default()),
        _ => Err(Error::new(SqlState::Syntax, "syntax error at or near \".\"")
            .hint("Write the name of the column alone.")),
    }
}

/// Whether it is TUMBLE or the like, whose arguments are of the relation that it takes.
fn is_window(function: &ObjectName) -> bool {
    let name = function.0.last().and_then(|part| part.as_ident());
    name.is_some_and(|name| is_window_function(&ident_name(name)))
}

/// Whether one of these columns is named, however deep.
fn names_one(select: &Select, columns: &[SeenColumn]) -> bool {
    let is_one = |expr: &Expr| {
        let Expr::Identifier(name) = expr else { return false };
        !named(columns, &ident_name(name)).is_empty()
    };
    let see =
        |expr: &Expr| if is_one(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    !columns.is_empty() && visit_expressions(select, see).is_break()
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
        [only] => Ok(only.clone()),
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
            left: Box::new(l.expr.clone()),
            op: BinaryOperator::Eq,
            right: Box::new(r.expr.clone()),
        };
        condition = Some(match condition {
            None => equal,
            Some(before) => Expr::BinaryOp {
                left: Box::new(before),
                op: BinaryOperator::And,
                right: Box::new(equal),
            },
        });
        // One side's column, of the type that both have in common.
        let of_both = |one, other| case_when(Expr::value(Value::Boolean(true)), one, other);
        let data_type = l.data_type.filter(|of| r.data_type.as_ref() == Some(of));
        let expr = match (side, data_type.is_some()) {
            (Merged::Both, _) => first_of(l.expr, r.expr),
            (Merged::Left, true) => l.expr,
            (Merged::Right, true) => r.expr,
            (Merged::Left, false) => of_both(l.expr, r.expr),
            (Merged::Right, false) => of_both(r.expr, l.expr),
        };
        columns.push(SeenColumn { name: name.clone(), expr, data_type, is_merged: true });
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

/// `*` as all columns, if they are given, and merged ones by their names.
fn rewrite_list(select: &mut Select, all: Option<Vec<SeenColumn>>, merged: &[SeenColumn]) {
    let mut list = Vec::new();
    for item in std::mem::take(&mut select.projection) {
        match (item, &all) {
            (SelectItem::Wildcard(options), Some(all))
                if options == WildcardAdditionalOptions::default() =>
            {
                let column = |column: &SeenColumn| SelectItem::ExprWithAlias {
                    expr: column.expr.clone(),
                    alias: Ident::with_quote('"', column.name.clone()),
                };
                list.extend(all.iter().map(column));
            }
            (SelectItem::UnnamedExpr(mut expr), _) => {
                let before = expr.clone();
                replace(&mut expr, merged);
                list.push(if expr == before {
                    SelectItem::UnnamedExpr(expr)
                } else {
                    let alias = Ident::with_quote('"', column_name(&before));
                    SelectItem::ExprWithAlias { expr, alias }
                });
            }
            (mut other, _) => {
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
