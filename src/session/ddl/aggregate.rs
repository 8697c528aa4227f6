//! CREATE AGGREGATE: which functions it is made of, and whether they fit together.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::ObjectName;

use super::function::{arguments, put, refuse_built_in, replaced};
use super::{Definer, Done, new_routine_name};
use crate::catalog::{AggregateDef, Names, Routine, RoutineKind};
use crate::error::{Error, Result, SqlState, missing_function};
use crate::exec::Engine;
use crate::plan::relations::NoRelations;
use crate::postgres::routines::{Routines, body};
use crate::sql::{CreateAggregate, relation_name};
use crate::types::SqlType;

/// Makes an aggregate.
pub async fn create(cx: &Definer, create: CreateAggregate) -> Result<Done> {
    let engine = &cx.engine;
    let name = new_routine_name(&cx.engine, &create.name)?;
    refuse_built_in(engine, &name)?;
    let names = engine.catalog.names();
    let arguments = arguments(&create.arguments)?;
    let state = create.state;
    let values = arguments.iter().map(|argument| argument.sql_type.clone());
    let step: Vec<SqlType> = std::iter::once(state.clone()).chain(values).collect();
    let two = [state.clone(), state.clone()];
    let transition = function(&names, &create.transition, &step)?;
    gives(&transition, &state, "transition")?;
    let combine = optional(&names, create.combine.as_ref(), &two)?;
    let inverse = optional(&names, create.inverse.as_ref(), &step)?;
    let finish = optional(&names, create.finish.as_ref(), std::slice::from_ref(&state))?;
    combine.as_ref().map_or(Ok(()), |function| gives(function, &state, "combine"))?;
    inverse.as_ref().map_or(Ok(()), |function| gives(function, &state, "inverse transition"))?;
    check_strict(&transition, inverse.as_deref(), create.initial.as_deref(), &step)?;
    let used = [Some(&transition), combine.as_ref(), inverse.as_ref(), finish.as_ref()];
    let mut depends_on: Vec<_> = used.into_iter().flatten().map(|routine| routine.id).collect();
    depends_on.sort_unstable();
    depends_on.dedup();
    let def = AggregateDef {
        initial: create.initial,
        transition: transition.id,
        combine: combine.as_ref().map(|routine| routine.id),
        finish: finish.as_ref().map(|routine| routine.id),
        inverse: inverse.as_ref().map(|routine| routine.id),
        state: state.clone(),
    };
    let routine = Routine {
        id: names.next_id(),
        name,
        arguments,
        returns: finish.map_or(state, |finish| finish.returns.clone()),
        kind: RoutineKind::Aggregate(def),
        depends_on,
        created_ms: engine.now_ms(),
    };
    let replaced = replaced(&names, &routine, create.or_replace)?;
    planned(engine, &routine).await?;
    put(engine, routine, replaced).await?;
    Ok(Done::new("CREATE AGGREGATE"))
}

/// The function of that name that takes just these types.
fn function(names: &Names, name: &ObjectName, types: &[SqlType]) -> Result<Arc<Routine>> {
    let name = relation_name(name)?;
    let named = if name.is_public() { names.routines_named(&name.name) } else { &[] };
    let found = named.iter().find(|routine| routine.takes(types) && !routine.is_aggregate());
    found.cloned().ok_or_else(|| {
        let types: Vec<String> = types.iter().map(ToString::to_string).collect();
        missing_function(&name.name, Some(&types.join(", "))).hint(
            "The functions of an aggregate are made with CREATE FUNCTION, for just these types.",
        )
    })
}

fn optional(
    names: &Names,
    name: Option<&ObjectName>,
    types: &[SqlType],
) -> Result<Option<Arc<Routine>>> {
    name.map(|name| function(names, name, types)).transpose()
}

fn gives(function: &Routine, state: &SqlType, what: &str) -> Result<()> {
    if function.returns == *state {
        return Ok(());
    }
    let what = format!("return type of {what} function {} is not {state}", function.name);
    Err(Error::new(SqlState::InvalidFunctionDefinition, what).hint("It must give a state again."))
}

/// A strict function is not called for the first row: that is the state, and must have its type.
fn check_strict(
    transition: &Routine,
    inverse: Option<&Routine>,
    initial: Option<&str>,
    step: &[SqlType],
) -> Result<()> {
    let is_strict =
        |routine: &Routine| matches!(&routine.kind, RoutineKind::Function(def) if def.strict);
    if is_strict(transition) && initial.is_none() && step.first() != step.get(1) {
        let what = "must not omit initial value when transition function is strict and transition type is not compatible with input type";
        return Err(Error::new(SqlState::InvalidFunctionDefinition, what)
            .hint("Give INITCOND, or leave out STRICT."));
    }
    if inverse.is_some_and(|inverse| is_strict(inverse) != is_strict(transition)) {
        let what = "strictness of aggregate's forward and inverse transition functions must match";
        return Err(Error::new(SqlState::InvalidFunctionDefinition, what)
            .hint("Make both of them STRICT, or neither."));
    }
    Ok(())
}

/// Puts the aggregate together, to see that it can be.
async fn planned(engine: &Arc<Engine>, routine: &Routine) -> Result<()> {
    let (owner, routine) = (Arc::clone(engine), Arc::new(routine.clone()));
    let made = async move {
        let state = owner.planner.snapshot_state(Arc::new(NoRelations::default()));
        let routines = Routines::new(owner.catalog.names(), Arc::default(), body::plan);
        routines.aggregate(&routine, &state).map(drop)
    };
    engine.planning.plan_once(made).await
}
