//! CREATE FUNCTION, and DROP of functions and aggregates.
//!
//! A function is planned for the types of its arguments when it is made, so that what is wrong with
//! it is said then, and the functions that it calls are known. It keeps its number as long as it
//! lives and gets a new one when it is replaced, for it may call only older ones; so one that others
//! use cannot be replaced.

use std::sync::Arc;

use datafusion::execution::FunctionRegistry;
use datafusion::sql::sqlparser::ast::{GroupByExpr, Query, Select, SelectItem, SetExpr};

use super::drop::drop_objects;
use super::{Definer, Done, Opening, check_name, commit_changes, new_routine_name};
use crate::catalog::{
    Argument, BodyText, CatalogObject, FunctionDef, NameChange, Names, Routine, RoutineKind,
};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::exec::registry::Alone;
use crate::limits;
use crate::log::Transaction;
use crate::plan::relations::NoRelations;
use crate::postgres::routines::{Routines, body};
use crate::postgres::syntax::spellings;
use crate::session::{calls, pg_catalog};
use crate::sql::{
    self, Cascade, CreateFunction, NamedRoutine, RoutineArgument, RoutineType, Statement,
    ident_name, relation_name,
};
use crate::types::SqlType;

/// DROP FUNCTION and its like.
pub struct DropRoutines {
    pub kind: RoutineType,
    pub if_exists: bool,
    pub routines: Vec<NamedRoutine>,
    pub cascade: Cascade,
}

/// Makes a function.
pub async fn create(cx: &Definer, create: CreateFunction) -> Result<Done> {
    let engine = &cx.engine;
    let name = new_routine_name(&cx.engine, &create.name)?;
    refuse_built_in(engine, &name)?;
    let expr = match &create.body {
        BodyText::Text(text) => one_expression(text)?,
        BodyText::Return(text) => text.clone(),
    };
    let def =
        FunctionDef { expr, body: create.body, strict: create.strict, stability: create.stability };
    let names = engine.catalog.names();
    let mut routine = Routine {
        id: names.next_id(),
        name,
        arguments: arguments(&create.arguments)?,
        returns: create.returns,
        kind: RoutineKind::Function(def),
        depends_on: Vec::new(),
        created_ms: engine.now_ms(),
    };
    let replaced = replaced(&names, &routine, create.or_replace)?;
    routine.depends_on = planned(engine, &routine).await?;
    put(engine, routine, replaced).await?;
    Ok(Done::new("CREATE FUNCTION"))
}

/// Makes the function's name known, in the place of an older one.
pub(super) async fn put(
    engine: &Arc<Engine>,
    routine: Routine,
    replaced: Option<Arc<Routine>>,
) -> Result<()> {
    if replaced.as_ref().is_some_and(|old| routine.depends_on.contains(&old.id)) {
        let what = format!("function {} would call itself", routine.signature());
        return Err(Error::unsupported(what).hint("Functions cannot be recursive."));
    }
    let removed = replaced.map(|old| NameChange::RemoveRoutine(old.id));
    let put = NameChange::PutRoutine(Arc::new(routine));
    let changes = removed.into_iter().chain([put]).collect();
    commit_changes(engine, Transaction::at(engine.now_ms()), changes, Opening::AsItIs).await
}

/// Plans the function; gives those that it calls.
async fn planned(
    engine: &Arc<Engine>,
    routine: &Routine,
) -> Result<Vec<crate::catalog::RelationId>> {
    let (owner, routine) = (Arc::clone(engine), routine.clone());
    let checked = async move {
        let state = owner.planner.snapshot_state(Arc::new(NoRelations::default()));
        let routines = Routines::new(owner.catalog.names(), Arc::default(), body::plan);
        body::check(&routine, &state, &routines)
    };
    engine.planning.plan_once(checked).await
}

/// 42723 for a name of the system's: a call would not tell which of the two it means.
pub(super) fn refuse_built_in(engine: &Engine, name: &str) -> Result<()> {
    let state = engine.planner.snapshot_state(Arc::new(NoRelations::default()));
    let is_built_in = state.udf(name).is_ok()
        || state.udaf(name).is_ok()
        || state.udwf(name).is_ok()
        || state.table_functions().contains_key(name)
        || sql::is_window_function(name)
        || spellings::is_function(name)
        || calls::is_function(name)
        || pg_catalog::is_function(name);
    if is_built_in {
        let what = format!("function \"{name}\" is one of the system's");
        Err(Error::new(SqlState::DuplicateFunction, what).hint("Give it another name."))
    } else {
        Ok(())
    }
}

pub(super) fn arguments(given: &[RoutineArgument]) -> Result<Vec<Argument>> {
    if given.len() > limits::FUNCTION_ARGUMENTS {
        let most = limits::FUNCTION_ARGUMENTS;
        let what = format!("functions cannot have more than {most} arguments");
        return Err(Error::new(SqlState::ProgramLimit, what));
    }
    let mut arguments: Vec<Argument> = Vec::with_capacity(given.len());
    for argument in given {
        let name = argument.name.as_ref().map(ident_name);
        if let Some(name) = &name {
            check_name(name)?;
            if arguments.iter().any(|known| known.name.as_ref() == Some(name)) {
                let what = format!("parameter name \"{name}\" used more than once");
                return Err(Error::new(SqlState::InvalidFunctionDefinition, what));
            }
        }
        arguments.push(Argument { name, sql_type: argument.sql_type.clone() });
    }
    Ok(arguments)
}

/// The function in whose place the new one comes, if there is one and it may.
pub(super) fn replaced(
    names: &Names,
    new: &Routine,
    or_replace: bool,
) -> Result<Option<Arc<Routine>>> {
    let others = names.routines_named(&new.name);
    let is_lone = |routine: &Arc<Routine>| routine.is_aggregate() || new.is_aggregate();
    if let Some(other) = others.iter().find(|routine| is_lone(routine))
        && !(or_replace && other.is_aggregate() == new.is_aggregate())
    {
        let what = format!("function {} already exists", other.signature());
        return Err(Error::new(SqlState::DuplicateFunction, what)
            .hint("No other function can have the name of an aggregate: DROP it first."));
    }
    let types: Vec<SqlType> = new.arguments.iter().map(|a| a.sql_type.clone()).collect();
    let mut named = names.routines_named(&new.name).iter();
    let Some(old) = named.find(|routine| routine.takes(&types)) else { return Ok(None) };
    if !or_replace {
        let what = format!("function \"{}\" already exists with same argument types", new.name);
        return Err(Error::new(SqlState::DuplicateFunction, what)
            .hint("Use CREATE OR REPLACE FUNCTION, or DROP it first."));
    }
    let old = Arc::clone(old);
    if old.returns != new.returns {
        let what = "cannot change return type of existing function";
        return Err(Error::new(SqlState::InvalidFunctionDefinition, what)
            .hint(format!("Use DROP FUNCTION {} first.", old.signature())));
    }
    let users = names.all_dependants(&[old.id]);
    if users.is_empty() {
        return Ok(Some(old));
    }
    let this = CatalogObject::Routine(Arc::clone(&old)).described();
    let detail: Vec<String> =
        users.iter().map(|user| format!("{} depends on {this}", user.described())).collect();
    let what = format!("cannot replace {this} because other objects depend on it");
    Err(Error::new(SqlState::DependantsExist, what).detail(detail.join("\n")).hint(
        "Make one of another name, or drop those that depend on it: their answers would change.",
    ))
}

/// The expression of `SELECT expr`.
fn one_expression(text: &str) -> Result<String> {
    let refused = || {
        Error::unsupported(
            "a function that is more than one SELECT of one expression is not supported",
        )
        .hint("Write AS $$ SELECT expression $$, without FROM, or RETURN expression.")
    };
    // A place in the body is none in the statement.
    let parsed = sql::parse(text).map_err(|error| {
        let placeless = Error::new(error.state(), error.message());
        error.hint_text().map_or(placeless.clone(), |hint| placeless.hint(hint))
    })?;
    let [parsed] = parsed.as_slice() else { return Err(refused()) };
    let Statement::Query(query) = &parsed.statement else { return Err(refused()) };
    match only_item(&query.query) {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. })
            if query.emit.is_none() =>
        {
            Ok(expr.to_string())
        }
        _ => Err(refused()),
    }
}

/// What a query selects that has no clause but one item of SELECT.
fn only_item(query: &Query) -> Option<&SelectItem> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let has_none = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none();
    match select.projection.as_slice() {
        [item] if has_none && is_bare(select) => Some(item),
        _ => None,
    }
}

fn is_bare(select: &Select) -> bool {
    select.distinct.is_none()
        && select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty())
}

/// Drops functions and aggregates.
pub async fn drop(
    engine: &Arc<Engine>,
    tag: &str,
    wanted: DropRoutines,
    alone: Alone,
) -> Result<Done> {
    let (mut done, mut found) = (Done::new(tag), Vec::new());
    let names = engine.catalog.names();
    for named in &wanted.routines {
        match find(&names, named, wanted.kind) {
            Ok(routine) => found.push(CatalogObject::Routine(routine)),
            Err(error) if wanted.if_exists && error.state() == SqlState::UndefinedFunction => {
                let what = format!("{}, skipping", error.message());
                done.notices.push(("NOTICE", Error::new(SqlState::Success, what)));
            }
            Err(error) => return Err(error),
        }
    }
    found.dedup_by_key(|object| object.id());
    if !found.is_empty() {
        drop_objects(engine, found, Vec::new(), wanted.cascade, alone, &mut done).await?;
    }
    Ok(done)
}

/// The function that a statement names.
pub fn find(names: &Names, wanted: &NamedRoutine, kind: RoutineType) -> Result<Arc<Routine>> {
    let name = relation_name(&wanted.name)?;
    let named = if name.is_public() { names.routines_named(&name.name) } else { &[] };
    let what = match kind {
        RoutineType::Function => "function",
        RoutineType::Aggregate => "aggregate",
        RoutineType::Routine => "routine",
    };
    let routine = match &wanted.types {
        Some(types) => named.iter().find(|routine| routine.takes(types)).ok_or_else(|| {
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            let what = format!("{what} {}({}) does not exist", name.name, types.join(", "));
            Error::new(SqlState::UndefinedFunction, what)
        }),
        None => match named {
            [] => {
                let what = format!("could not find a {what} named \"{}\"", name.name);
                Err(Error::new(SqlState::UndefinedFunction, what))
            }
            [routine] => Ok(routine),
            _ => {
                let what = format!("{what} name \"{}\" is not unique", name.name);
                Err(Error::new(SqlState::AmbiguousFunction, what)
                    .hint("Specify the argument list to select the function unambiguously."))
            }
        },
    }?;
    let (is, hint) = match (routine.is_aggregate(), kind) {
        (_, RoutineType::Routine)
        | (false, RoutineType::Function)
        | (true, RoutineType::Aggregate) => return Ok(Arc::clone(routine)),
        (false, RoutineType::Aggregate) => {
            (format!("function {} is not an aggregate", routine.signature()), "DROP FUNCTION")
        }
        (true, RoutineType::Function) => {
            (format!("{} is an aggregate function", routine.signature()), "DROP AGGREGATE")
        }
    };
    Err(Error::new(SqlState::WrongObjectType, is).hint(format!("Write {hint}.")))
}
