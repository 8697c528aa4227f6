//! What a statement names and is not there: the hint at what was meant, and the types a function
//! was called with.
//!
//! DataFusion stops at a function that it does not know before it has looked at the arguments. So
//! the statement is planned once more with a function of that name, which only says what it was
//! called with.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::execution::context::SessionState;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};
use datafusion::sql::parser::Statement;

use crate::catalog::{DATABASE, SCHEMA};
use crate::error::{Error, SqlState, missing_function, nearest};
use crate::postgres::by_name::by_name;
use crate::types::SqlType;

/// The error with what can be found out about the name it complains of.
pub(crate) async fn explained(error: Error, state: &SessionState, statement: Statement) -> Error {
    match error.state() {
        SqlState::UndefinedTable => relation(error, state),
        SqlState::UndefinedFunction => function(error, state, statement).await,
        _ => error,
    }
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    text.strip_prefix(begin)?.strip_suffix(end)
}

fn relation(error: Error, state: &SessionState) -> Error {
    let Some(name) =
        between(error.message(), "relation \"", "\" does not exist").map(str::to_owned)
    else {
        return error;
    };
    let (schema, name) = name.split_once('.').unwrap_or((SCHEMA, &name));
    let catalog = state.catalog_list().catalog(DATABASE);
    let known =
        catalog.and_then(|catalog| catalog.schema(schema)).map(|schema| schema.table_names());
    let near = nearest(name, known.iter().flatten().map(String::as_str)).map(str::to_owned);
    match near {
        Some(near) if schema == SCHEMA => error.hint(format!("Perhaps you meant \"{near}\".")),
        Some(near) => error.hint(format!("Perhaps you meant \"{schema}.{near}\".")),
        None => error,
    }
}

async fn function(error: Error, state: &SessionState, statement: Statement) -> Error {
    let Some(name) = between(error.message(), "function ", " does not exist") else { return error };
    let (name, is_complete) = match name.split_once('(') {
        Some((name, _)) => (name.to_owned(), true),
        None => (name.to_owned(), false),
    };
    if state.window_functions().contains_key(&name) {
        let message = format!("window function {name} requires an OVER clause");
        return Error::new(SqlState::WrongObjectType, message);
    }
    // The types of its arguments are there already.
    if is_complete {
        return error;
    }
    let mut names: Vec<&String> = state.scalar_functions().keys().collect();
    names.extend(state.aggregate_functions().keys());
    names.extend(state.window_functions().keys());
    // Functions that nobody can write have names with a control character.
    let names = names.into_iter().map(String::as_str).filter(|name| !name.starts_with('\u{1}'));
    let near = nearest(&name, names).map(str::to_owned);
    let mut again = state.clone();
    if again.register_udf(Arc::new(ScalarUDF::from(Unknown::new(&name)))).is_err() {
        return error;
    }
    let error = match again.statement_to_plan(statement).await.map_err(Error::from) {
        Err(other) if other.state() == SqlState::UndefinedFunction => other,
        _ => error,
    };
    match near {
        Some(near) if near != name => error.hint(format!("Perhaps you meant \"{near}\".")),
        _ => error,
    }
}

/// The type of an argument, as Postgres names it in an error.
fn shown(field: &FieldRef, constant: Option<&ScalarValue>) -> String {
    match (SqlType::from_field(field), constant) {
        (_, Some(ScalarValue::Utf8(_) | ScalarValue::Null)) => "unknown".to_owned(),
        (SqlType::Decimal(_), _) => SqlType::Decimal(None).to_string(),
        (SqlType::Timestamp(_), _) => SqlType::Timestamp(6).to_string(),
        (SqlType::TimestampTz(_), _) => SqlType::TimestampTz(6).to_string(),
        (other, _) => other.without_length().to_string(),
    }
}

/// A function that does not exist.
#[derive(Debug)]
struct Unknown {
    name: String,
    signature: Signature,
}

impl Unknown {
    fn new(name: &str) -> Unknown {
        let forms = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        Unknown { name: name.to_owned(), signature: Signature::one_of(forms, Volatility::Volatile) }
    }
}

by_name!(Unknown);

impl ScalarUDFImpl for Unknown {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(missing_function(&self.name, None).into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let constants = args.scalar_arguments.iter();
        let types =
            args.arg_fields.iter().zip(constants).map(|(field, constant)| shown(field, *constant));
        Err(missing_function(&self.name, Some(&types.collect::<Vec<_>>().join(", "))).into())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(missing_function(&self.name, None).into())
    }
}
