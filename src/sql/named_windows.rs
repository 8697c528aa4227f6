//! `OVER w` and `OVER (w …)` with what WINDOW says of `w` (Postgres manual, SELECT, WINDOW clause).
//!
//! DataFusion's planner knows the first form only, and takes a window of a subquery's for one of
//! the query around it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, NamedWindowDefinition, NamedWindowExpr, Query, Select, SetExpr, VisitMut, WindowSpec,
    WindowType,
};

use super::names::ident_name;
use super::visit::visit_own_expressions;
use crate::error::{Error, Result, SqlState};

/// Puts the windows that a query's SELECT names in their places; ORDER BY knows them, too.
pub(super) fn of_query(query: &mut Query) -> Result<()> {
    let SetExpr::Select(own) = query.body.as_mut() else { return Ok(()) };
    let windows = of_select(own)?;
    match &mut query.order_by {
        Some(order) if !windows.is_empty() => placed(order, &windows),
        _ => Ok(()),
    }
}

/// Puts the windows that a SELECT names in their places, and gives them.
pub(super) fn of_select(select: &mut Select) -> Result<NamedWindows> {
    let mut windows = NamedWindows::new();
    for NamedWindowDefinition(name, window) in std::mem::take(&mut select.named_window) {
        let name = ident_name(&name);
        if windows.iter().any(|(known, _)| *known == name) {
            return Err(wrong(format!("window \"{name}\" is already defined")));
        }
        let window = match window {
            NamedWindowExpr::NamedWindow(other) => found(&ident_name(&other), &windows)?.clone(),
            NamedWindowExpr::WindowSpec(spec) => completed(spec, &windows)?,
        };
        windows.push((name, window));
    }
    if !windows.is_empty() {
        placed(select, &windows)?;
    }
    Ok(windows)
}

/// Refuses a window that is named in no WINDOW around it.
pub(super) fn check(expr: &Expr) -> Result<()> {
    let Expr::Function(call) = expr else { return Ok(()) };
    let named = match &call.over {
        Some(WindowType::NamedWindow(name)) => Some(name),
        Some(WindowType::WindowSpec(spec)) => spec.window_name.as_ref(),
        None => None,
    };
    named.map_or(Ok(()), |name| found(&ident_name(name), &NamedWindows::new()).map(drop))
}

/// Names with the windows that they stand for.
type NamedWindows = Vec<(String, WindowSpec)>;

fn placed(tree: &mut impl VisitMut, windows: &NamedWindows) -> Result<()> {
    let place = |window: &mut WindowType| -> Result<()> {
        let whole = match window {
            WindowType::NamedWindow(name) => found(&ident_name(name), windows)?.clone(),
            WindowType::WindowSpec(spec) => completed(spec.clone(), windows)?,
        };
        *window = WindowType::WindowSpec(whole);
        Ok(())
    };
    let flow = visit_own_expressions(tree, |expr| match expr {
        Expr::Function(call) => match call.over.as_mut().map_or(Ok(()), place) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        },
        _ => ControlFlow::Continue(()),
    });
    match flow {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn found<'a>(name: &str, windows: &'a NamedWindows) -> Result<&'a WindowSpec> {
    let found = windows.iter().find(|(known, _)| known == name);
    found.map(|(_, window)| window).ok_or_else(|| {
        Error::new(SqlState::UndefinedObject, format!("window \"{name}\" does not exist"))
    })
}

/// A window with what it takes over from the one that it names.
fn completed(mut spec: WindowSpec, windows: &NamedWindows) -> Result<WindowSpec> {
    let Some(name) = spec.window_name.take() else { return Ok(spec) };
    let name = ident_name(&name);
    let base = found(&name, windows)?;
    if !spec.partition_by.is_empty() {
        return Err(wrong(format!("cannot override PARTITION BY clause of window \"{name}\"")));
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return Err(wrong(format!("cannot override ORDER BY clause of window \"{name}\"")));
    }
    if base.window_frame.is_some() {
        let what = format!("cannot copy window \"{name}\" because it has a frame clause");
        return Err(wrong(what));
    }
    spec.partition_by.clone_from(&base.partition_by);
    if spec.order_by.is_empty() {
        spec.order_by.clone_from(&base.order_by);
    }
    Ok(spec)
}

fn wrong(what: String) -> Error {
    Error::new(SqlState::Windowing, what)
}
