//! Group windows: `SELECT TUMBLE_START(ts, size), … FROM s GROUP BY TUMBLE(ts, size)` becomes
//! `SELECT s.window_start AS tumble_start, … FROM tumble((SELECT * FROM s), ts, size) AS s GROUP BY
//! s.window_start, s.window_end`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, OrderBy,
    OrderByKind, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor,
};

use super::names::ident_name;
use super::tree::alias_of;
use super::visit::visit_own_expressions;
use super::windows::{build, select_all, window};
use crate::error::{Error, Result, SqlState};
use crate::time::WINDOW_COLUMNS;

/// Rewrites the group windows of a query's SELECTs (not of subqueries: they are queries of their
/// own).
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    if let SetExpr::Select(select) = &mut *query.body {
        return rewrite_select(select, query.order_by.as_mut());
    }
    let mut bodies = vec![&mut *query.body];
    while let Some(body) = bodies.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => bodies.extend([&mut **left, &mut **right]),
            SetExpr::Select(select) => rewrite_select(select, None)?,
            _ => {}
        }
    }
    Ok(())
}

/// A group window as written.
struct GroupWindow {
    name: &'static str,
    arguments: Vec<Expr>,
    /// The arguments as text, to compare with those of TUMBLE_START.
    text: Vec<String>,
    /// The alias of the windowed relation.
    alias: Option<Ident>,
    /// Is TUMBLE_ROWTIME used?
    rowtime: bool,
}

fn rewrite_select(select: &mut Select, order_by: Option<&mut OrderBy>) -> Result<()> {
    let GroupByExpr::Expressions(groups, _) = &select.group_by else { return Ok(()) };
    let mut found = groups.iter().enumerate().filter_map(|(n, e)| Some((n, group_window(e)?)));
    let Some((at, mut group)) = found.next() else { return Ok(()) };
    if found.next().is_some() {
        return Err(
            Error::unsupported("GROUP BY takes one group window").hint("Put one into a subquery.")
        );
    }
    let count = if group.name == "tumble" || group.name == "session" { 2 } else { 3 };
    if group.arguments.len() < count
        || group.arguments.len() > count + usize::from(group.name != "session")
    {
        return Err(Error::new(
            SqlState::UndefinedFunction,
            format!("wrong arguments for {}", group.name.to_uppercase()),
        )
        .hint("Write GROUP BY TUMBLE(ts, size), HOP(ts, slide, size) or SESSION(ts, gap)."));
    }
    if group.name == "session" {
        // Sessions are of the rows that are grouped together.
        let others = groups.iter().enumerate().filter(|(n, _)| *n != at);
        let keys = others.map(|(_, expr)| session_key(expr)).collect::<Result<Vec<_>>>()?;
        group.arguments.extend(keys);
    }
    group.alias = wrap_relation(select, &group)?;
    replace_functions(select, order_by, &mut group)?;
    if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
        let mut columns = vec![group.column(WINDOW_COLUMNS[0]), group.column(WINDOW_COLUMNS[1])];
        if group.rowtime {
            columns.push(group.column(WINDOW_COLUMNS[2]));
        }
        groups.splice(at..=at, columns);
    }
    Ok(())
}

/// A column beside SESSION in GROUP BY, by its bare name.
fn session_key(expr: &Expr) -> Result<Expr> {
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    name.cloned().map(Expr::Identifier).ok_or_else(|| {
        Error::unsupported("GROUP BY of SESSION beside something that is no column").hint(
            "Write FROM SESSION(relation PARTITION BY column, ts, gap), or compute the column in a subquery.",
        )
    })
}

impl GroupWindow {
    fn column(&self, name: &str) -> Expr {
        match &self.alias {
            Some(alias) => Expr::CompoundIdentifier(vec![alias.clone(), Ident::new(name)]),
            None => Expr::Identifier(Ident::new(name)),
        }
    }
}

/// A call with unnamed arguments: name and arguments.
fn plain_call(expr: &Expr) -> Option<(&Function, Vec<&Expr>)> {
    let Expr::Function(function) = expr else { return None };
    let arguments = match &function.args {
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()?,
        _ => return None,
    };
    Some((function, arguments))
}

fn group_window(expr: &Expr) -> Option<GroupWindow> {
    let (function, arguments) = plain_call(expr)?;
    let window = window(&function.name)?;
    Some(GroupWindow {
        name: window.name,
        text: arguments.iter().map(|argument| as_text(argument)).collect(),
        arguments: arguments.into_iter().cloned().collect(),
        alias: None,
        rowtime: false,
    })
}

/// For comparison; folding is near enough, since quoted names keep their quotes.
fn as_text(expr: &Expr) -> String {
    expr.to_string().to_lowercase()
}

/// Puts the window around the relation that has the time column; returns its alias.
fn wrap_relation(select: &mut Select, group: &GroupWindow) -> Result<Option<Ident>> {
    let qualifier = match group.arguments.first() {
        Some(Expr::Identifier(_)) => None,
        Some(Expr::CompoundIdentifier(parts)) if parts.len() >= 2 => {
            parts.get(parts.len() - 2).cloned()
        }
        _ => {
            return Err(Error::new(
                SqlState::Syntax,
                format!("{} needs a time column", group.name.to_uppercase()),
            )
            .hint("The first argument is a column's name, as in GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)."));
        }
    };
    let mut factors: Vec<&mut TableFactor> = Vec::new();
    for table in &mut select.from {
        factors.push(&mut table.relation);
        factors.extend(table.joins.iter_mut().map(|join| &mut join.relation));
    }
    let alone = factors.len() == 1;
    let wanted = qualifier.as_ref().map(ident_name);
    let found = factors.into_iter().find(|factor| match &wanted {
        Some(wanted) => alias_of(factor).map(|ident| ident_name(&ident)).as_ref() == Some(wanted),
        None => alone,
    });
    let Some(factor) = found else {
        return Err(Error::unsupported("which relation of the join GROUP BY's window belongs to is not clear")
            .hint("Put the relation's alias before the time column, or write FROM TUMBLE(relation, ts, size) JOIN …."));
    };
    let alias = alias_of(factor);
    let inner = std::mem::replace(factor, build(group.name, Vec::new(), None));
    let subquery = match inner {
        TableFactor::Derived { lateral: false, subquery, alias: inner_alias, sample: None }
            if inner_alias.as_ref().is_none_or(|alias| alias.columns.is_empty()) =>
        {
            subquery
        }
        other => Box::new(select_all(other)),
    };
    let time = match group.arguments.first() {
        Some(Expr::CompoundIdentifier(parts)) => parts.last().cloned().map(Expr::Identifier),
        other => other.cloned(),
    };
    let mut arguments = vec![Expr::Subquery(subquery)];
    arguments.extend(time);
    arguments.extend(group.arguments.iter().skip(1).cloned());
    let outer = alias.clone().map(|name| TableAlias {
        explicit: true,
        name,
        columns: Vec::new(),
        at: None,
    });
    *factor = build(group.name, arguments, outer);
    Ok(alias)
}

/// TUMBLE_START(…) and the like become columns, in the SELECT list, HAVING and ORDER BY.
fn replace_functions(
    select: &mut Select,
    order_by: Option<&mut OrderBy>,
    group: &mut GroupWindow,
) -> Result<()> {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && let Some((function, _)) = plain_call(expr)
            && let Some(name) = edge(function)
        {
            // The column keeps the name that Postgres gives a call's result: the function's.
            let alias = Ident::new(name);
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
    // Those of subqueries are of other windows.
    let mut replace = |expr: &mut Expr| group.replace(expr);
    let mut flow = visit_own_expressions(&mut select.projection, &mut replace);
    if flow.is_continue() {
        flow = visit_own_expressions(&mut select.having, &mut replace);
    }
    if flow.is_continue() {
        flow = visit_own_expressions(&mut select.qualify, &mut replace);
    }
    if flow.is_continue()
        && let Some(OrderBy { kind: OrderByKind::Expressions(exprs), .. }) = order_by
    {
        flow = visit_own_expressions(exprs, &mut replace);
    }
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The function's name if it is TUMBLE_START or of that kind.
fn edge(function: &Function) -> Option<String> {
    let [part] = function.name.0.as_slice() else { return None };
    let name = ident_name(part.as_ident()?);
    let (window, edge) = name.split_once('_')?;
    (["tumble", "hop", "session"].contains(&window) && ["start", "end", "rowtime"].contains(&edge))
        .then_some(name)
}

impl GroupWindow {
    /// A function of the window becomes its column.
    fn replace(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Some((function, arguments)) = plain_call(expr) else {
            return ControlFlow::Continue(());
        };
        let Some(name) = edge(function) else { return ControlFlow::Continue(()) };
        let (window, edge) = name.split_once('_').unwrap_or((&name, ""));
        let same: Vec<String> = arguments.iter().map(|argument| as_text(argument)).collect();
        if window != self.name || !same.is_empty() && same != self.text {
            let (upper, of) = (name.to_uppercase(), self.name.to_uppercase());
            let written = self.text.join(", ");
            return ControlFlow::Break(
                Error::new(SqlState::Grouping, format!("{upper} does not match GROUP BY {of}"))
                    .hint(format!(
                        "Give it the arguments of GROUP BY: {of}_{}({written}).",
                        edge.to_uppercase()
                    )),
            );
        }
        *expr = match edge {
            "start" => self.column(WINDOW_COLUMNS[0]),
            "end" => self.column(WINDOW_COLUMNS[1]),
            _ => {
                self.rowtime = true;
                self.column(WINDOW_COLUMNS[2])
            }
        };
        ControlFlow::Continue(())
    }
}
