//! An aggregate of the user's, put together from its functions.
//!
//! Its functions are planned once for the types that they declare: a state has one type, whatever the
//! arguments of a call are. How states are computed and kept is [`crate::state::aggregates::user`].

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use super::planned::PlannedBody;
use super::resolve::{GivenArgument, resolve};
use super::sql_function::body_of;
use crate::catalog::{AggregateDef, Names, RelationId, Routine, RoutineKind};
use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::parse_text_in;
use crate::state::aggregates::fold::{RowFunction, UserFold};
use crate::state::aggregates::user::UserAggregate;
use crate::types::Zone;

/// A function that is run whole.
#[derive(Debug)]
struct WholeFunction {
    function: Arc<ScalarUDF>,
    strict: bool,
    /// What holds its results: a state has one type, where a NUMERIC otherwise has the digits that
    /// are computed.
    result: DataType,
}

impl RowFunction for WholeFunction {
    fn is_strict(&self) -> bool {
        self.strict
    }

    fn call(&self, columns: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let body = body_of(&self.function)
            .ok_or_else(|| Error::internal("a function of an aggregate has no body"))?;
        let values = body.evaluate(columns, rows)?;
        if *values.data_type() == self.result {
            return Ok(values);
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&values, &self.result, &options)
            .map_err(|_| Error::new(SqlState::OutOfRange, "numeric field overflow"))
    }
}

/// DataFusion's function for an aggregate; `plan` plans the body of a function for the types that it
/// declares.
///
/// # Errors
/// Those of its functions' bodies, 42P13 if one of them is no function of its arguments, 22P02 and
/// its like for INITCOND.
pub fn aggregate(
    routine: &Arc<Routine>,
    names: &Names,
    plan: impl Fn(&Routine) -> Result<Arc<PlannedBody>>,
) -> Result<AggregateUDF> {
    let RoutineKind::Aggregate(def) = &routine.kind else {
        return Err(Error::internal(format!("{} is no aggregate", routine.name)));
    };
    let function = |id: RelationId| -> Result<Arc<dyn RowFunction>> {
        let found = names
            .routine(id)
            .ok_or_else(|| Error::internal(format!("a function of {} is lost", routine.name)))?;
        whole(found, &plan)
    };
    let optional = |id: Option<RelationId>| id.map(function).transpose();
    let fold = UserFold {
        name: routine.name.clone(),
        transition: function(def.transition)?,
        combine: optional(def.combine)?,
        inverse: optional(def.inverse)?,
        finish: optional(def.finish)?,
        initial: initial(def)?,
        reduces: reduces(routine, def),
    };
    let arguments = routine.arguments.iter().map(|a| a.sql_type.data_type()).collect();
    let result = Arc::new(routine.returns.to_field("", true));
    let called = Arc::clone(routine);
    let types = move |given: &[DataType]| converted(&called, given);
    let aggregate = UserAggregate::new(routine.id.0, fold, arguments, result, Arc::new(types));
    Ok(AggregateUDF::from(aggregate))
}

/// The function as one that is run over columns.
fn whole(
    routine: &Arc<Routine>,
    plan: impl Fn(&Routine) -> Result<Arc<PlannedBody>>,
) -> Result<Arc<dyn RowFunction>> {
    let body = plan(routine)?;
    match &body.whole {
        Some(whole) if whole.extra.is_empty() => Ok(Arc::new(WholeFunction {
            function: Arc::clone(&whole.function),
            strict: body.strict,
            result: routine.returns.data_type(),
        })),
        _ => {
            let what = format!(
                "function {} of an aggregate is not a function of its arguments alone",
                routine.signature()
            );
            Err(Error::new(SqlState::InvalidFunctionDefinition, what).hint(
                "Give what it reads beside them, such as now(), to the aggregate as an argument.",
            ))
        }
    }
}

/// What a group begins with.
fn initial(def: &AggregateDef) -> Result<ScalarValue> {
    Ok(match &def.initial {
        None => ScalarValue::try_from(&def.state.data_type())?,
        Some(text) => {
            ScalarValue::try_from_array(&parse_text_in(&def.state, text, &Zone::Utc)?, 0)?
        }
    })
}

/// Whether its states are values like the rows', which one function adds and combines: then the
/// inverse takes states out as it does rows.
fn reduces(routine: &Routine, def: &AggregateDef) -> bool {
    let is_alike = matches!(routine.arguments.as_slice(), [one] if one.sql_type == def.state);
    is_alike && def.combine == Some(def.transition)
}

/// The types that a call's arguments are converted to.
fn converted(routine: &Arc<Routine>, given: &[DataType]) -> Result<Vec<DataType>> {
    let argument = |data_type: &DataType| match data_type {
        DataType::Null => GivenArgument::unknown(),
        known => GivenArgument::of(&Field::new("", known.clone(), true)),
    };
    let given: Vec<_> = given.iter().map(argument).collect();
    let routine = resolve(&routine.name, std::slice::from_ref(routine), &given)?;
    Ok(routine.arguments.iter().map(|a| a.sql_type.data_type()).collect())
}
