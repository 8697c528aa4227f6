//! The calls of a syntax tree, under names that can be planned.
//!
//! DataFusion looks a function up by its name and asks it for its type. So each name of the user's
//! functions that a statement calls becomes a `CalledRoutine`, which knows all functions of that
//! name, and answers with the type of the one that the arguments mean. It is never run: before a
//! plan is used, `expand` has put something else in its place. An aggregate becomes one of
//! DataFusion's.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DfResult;
use datafusion::execution::context::SessionState;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, TypeSignature, Volatility,
};
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, VisitMut, VisitorMut};
use parking_lot::Mutex;

use super::aggregate::aggregate;
use super::planned::{PlannedBody, parameters};
use super::resolve::{GivenArgument, resolve};
use crate::catalog::{Names, RelationId, Routine};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::sql::{RelationName, relation_name, visit_mut};

/// What plans a body: the function, the fields of its arguments, the calls that it may make.
pub type BodyPlanner = fn(&Routine, &[FieldRef], &SessionState, &Routines) -> Result<PlannedBody>;

/// The bodies that have been planned, by function and fields of the arguments.
type Bodies = HashMap<(RelationId, Vec<FieldRef>), Arc<PlannedBody>>;

/// The functions that a statement may call; an extension of the session's config.
#[derive(Clone)]
pub struct Routines {
    names: Arc<Names>,
    planner: BodyPlanner,
    bodies: Arc<Mutex<Bodies>>,
    /// What was called.
    used: Arc<Mutex<Vec<RelationId>>>,
    /// In the body of a function: only those that are older than it may be called.
    before: Option<RelationId>,
    /// How many bodies are around.
    depth: usize,
}

impl fmt::Debug for Routines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routines").field("depth", &self.depth).finish_non_exhaustive()
    }
}

impl Routines {
    /// The functions among `names`; those that are called are noted in `used`.
    pub fn new(
        names: Arc<Names>,
        used: Arc<Mutex<Vec<RelationId>>>,
        planner: BodyPlanner,
    ) -> Routines {
        Routines { names, planner, bodies: Arc::default(), used, before: None, depth: 0 }
    }

    /// The same; None if there are none.
    pub fn some(self) -> Option<Routines> {
        if self.names.has_routines() { Some(self) } else { None }
    }

    /// Those that the body of a function may call.
    ///
    /// # Errors
    /// 54001 if too many bodies are around it already.
    pub fn within(&self, routine: RelationId) -> Result<Routines> {
        if self.depth >= limits::FUNCTION_DEPTH {
            let what = "functions are nested too deep";
            return Err(Error::new(SqlState::TooComplex, what).hint(format!(
                "A function may call functions that call others, {} deep.",
                limits::FUNCTION_DEPTH
            )));
        }
        Ok(Routines {
            used: Arc::default(),
            before: Some(routine),
            depth: self.depth + 1,
            ..self.clone()
        })
    }

    /// The functions that have been called.
    pub fn used(&self) -> Vec<RelationId> {
        let mut used = self.used.lock().clone();
        used.sort_unstable();
        used.dedup();
        used
    }

    fn named(&self, name: &str) -> Vec<Arc<Routine>> {
        let all = self.names.routines_named(name).iter();
        all.filter(|routine| self.before.is_none_or(|id| routine.id < id)).cloned().collect()
    }

    /// The body of a function for arguments of these fields; `state` knows none of the user's.
    fn body(
        &self,
        routine: &Routine,
        fields: Vec<FieldRef>,
        state: &SessionState,
    ) -> Result<Arc<PlannedBody>> {
        let key = (routine.id, fields);
        if let Some(body) = self.bodies.lock().get(&key) {
            return Ok(Arc::clone(body));
        }
        let within = self.within(routine.id)?;
        let body = Arc::new((self.planner)(routine, &key.1, state, &within)?);
        self.bodies.lock().insert(key, Arc::clone(&body));
        Ok(body)
    }

    /// DataFusion's function for an aggregate.
    pub fn aggregate(&self, routine: &Arc<Routine>, state: &SessionState) -> Result<AggregateUDF> {
        let plan = |function: &Routine| self.body(function, parameters(function, &[]), state);
        aggregate(routine, &self.names, plan)
    }

    /// The state with the functions that a piece of syntax calls; None: it calls none. Their names
    /// lose their schema.
    ///
    /// A function of the user's comes before one of the system's: when it was made there was none of
    /// that name, and what a stored view means must not change with the version of the server.
    pub fn in_state(
        &self,
        syntax: &mut impl VisitMut,
        state: &SessionState,
    ) -> Result<Option<SessionState>> {
        let mut calls = Calls { routines: self, found: HashMap::new() };
        if let ControlFlow::Break(error) = visit_mut(syntax, &mut calls) {
            return Err(error);
        }
        if calls.found.is_empty() {
            return Ok(None);
        }
        let (found, base) = (calls.found, Arc::new(state.clone()));
        let mut own = state.clone();
        for (name, routines) in found {
            if let [routine] = routines.as_slice()
                && routine.is_aggregate()
            {
                self.used.lock().push(routine.id);
                own.register_udaf(Arc::new(self.aggregate(routine, &base)?))?;
                continue;
            }
            let called = CalledRoutine::new(name, routines, self.clone(), Arc::clone(&base));
            own.register_udf(Arc::new(ScalarUDF::from(called)))?;
        }
        Ok(Some(own))
    }
}

/// The functions that are extensions of a state, with those that a piece of syntax calls.
pub fn with_called(
    syntax: &mut impl VisitMut,
    state: &SessionState,
) -> Result<Option<SessionState>> {
    match state.config().get_extension::<Routines>() {
        Some(routines) => routines.in_state(syntax, state),
        None => Ok(None),
    }
}

struct Calls<'a> {
    routines: &'a Routines,
    found: HashMap<String, Vec<Arc<Routine>>>,
}

impl Calls<'_> {
    /// The functions that a name in a query stands for.
    fn named(&self, name: &ObjectName) -> Option<(String, Vec<Arc<Routine>>)> {
        let name = relation_name(name).ok().filter(RelationName::is_public)?.name;
        let routines = self.routines.named(&name);
        (!routines.is_empty()).then_some((name, routines))
    }
}

/// Refuses what can be said of an aggregate only, and arguments by name.
fn check_form(call: &ast::Function, name: &str, is_aggregate: bool) -> Result<()> {
    let ast::FunctionArguments::List(list) = &call.args else { return Ok(()) };
    if list.args.iter().any(|arg| !matches!(arg, ast::FunctionArg::Unnamed(_))) {
        let what = format!("an argument of {name} by its name is not supported");
        return Err(Error::unsupported(what).hint("Give the arguments in their order."));
    }
    let is_distinct = list.duplicate_treatment.is_some();
    if is_aggregate {
        let is_plain = !is_distinct && list.clauses.is_empty() && call.within_group.is_empty();
        let what = format!("DISTINCT and ORDER BY in {name} are not supported");
        let refused = || Error::unsupported(what).hint("Select the rows in a subquery.");
        return if is_plain { Ok(()) } else { Err(refused()) };
    }
    let clause = match (is_distinct, &call.filter, &call.over) {
        (true, _, _) => "DISTINCT",
        (_, Some(_), _) => "FILTER",
        (_, _, Some(_)) => "OVER",
        _ => return Ok(()),
    };
    let what = format!("{clause} specified, but {name} is not an aggregate function");
    Err(Error::new(SqlState::WrongObjectType, what))
}

impl VisitorMut for Calls<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<Error> {
        if let ast::Expr::Function(call) = expr
            && let Some((name, routines)) = self.named(&call.name)
        {
            let is_aggregate = routines.iter().any(|routine| routine.is_aggregate());
            if let Err(error) = check_form(call, &name, is_aggregate) {
                return ControlFlow::Break(error);
            }
            call.name = ObjectName::from(vec![Ident::with_quote('"', &name)]);
            self.found.insert(name, routines);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut ast::TableFactor) -> ControlFlow<Error> {
        if let ast::TableFactor::Function { name, .. }
        | ast::TableFactor::Table { name, args: Some(_), .. } = factor
            && let Some((name, _)) = self.named(name)
        {
            let what = format!("function {name} in FROM is not supported");
            let hint = format!("Write FROM (SELECT {name}(…)) AS {name}.");
            return ControlFlow::Break(Error::unsupported(what).hint(hint));
        }
        ControlFlow::Continue(())
    }
}

/// All functions of one name.
pub(super) struct CalledRoutine {
    name: String,
    named: Vec<Arc<Routine>>,
    routines: Routines,
    /// What bodies are planned with.
    state: Arc<SessionState>,
    signature: Signature,
}

impl CalledRoutine {
    fn new(
        name: String,
        named: Vec<Arc<Routine>>,
        routines: Routines,
        state: Arc<SessionState>,
    ) -> CalledRoutine {
        let forms = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        // It is not computed, and so not folded either.
        let signature = Signature::one_of(forms, Volatility::Volatile);
        CalledRoutine { name, named, routines, state, signature }
    }

    /// The function that a call with these arguments means.
    pub(super) fn meant(&self, given: &[GivenArgument]) -> Result<&Arc<Routine>> {
        resolve(&self.name, &self.named, given)
    }

    /// Its body for arguments of these fields.
    pub(super) fn body(
        &self,
        routine: &Routine,
        fields: Vec<FieldRef>,
    ) -> Result<Arc<PlannedBody>> {
        self.routines.body(routine, fields, &self.state)
    }

    /// A call of it is part of the statement.
    pub(super) fn note(&self, routine: &Routine) {
        self.routines.used.lock().push(routine.id);
    }
}

impl fmt::Debug for CalledRoutine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for CalledRoutine {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.named == other.named
    }
}

impl Eq for CalledRoutine {}

impl Hash for CalledRoutine {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for CalledRoutine {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(Error::internal(format!("the type of {} depends on its arguments", self.name)).into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let fields = args.arg_fields.iter().zip(args.scalar_arguments);
        let all: Vec<_> =
            fields.map(|(field, constant)| GivenArgument::planned(field, *constant)).collect();
        let routine = self.meant(&all)?;
        let fields = parameters(routine, args.arg_fields);
        Ok(Arc::clone(&self.body(routine, fields)?.field))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(Error::internal(format!("{} was not put in place", self.name)).into())
    }
}
