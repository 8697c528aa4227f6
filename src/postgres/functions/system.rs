//! Functions about the server that do not depend on the session, and those that must not be.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::scalar::Scalar;
use crate::error::{Error, Result};
use crate::types::SqlType;

pub(crate) fn all() -> Vec<ScalarUDF> {
    let function = |name, aliases: &[&str], call| {
        let aliases = aliases.iter().map(|alias| alias.to_string()).collect();
        let signature = Signature::nullary(Volatility::Stable);
        ScalarUDF::from(Scalar { name, aliases, signature, out: DataType::Utf8, call })
    };
    let sleep = Signature::exact(vec![DataType::Float64], Volatility::Volatile);
    vec![
        function("version", &["pg_catalog.version"], version),
        function(
            "current_database",
            &["current_catalog", "pg_catalog.current_database"],
            |_, rows| constant("tidemill", rows),
        ),
        ScalarUDF::from(TypeOf { signature: Signature::any(1, Volatility::Immutable) }),
        ScalarUDF::from(Scalar {
            name: "pg_sleep",
            aliases: vec!["pg_catalog.pg_sleep".into()],
            signature: sleep,
            out: DataType::Utf8,
            call: |_, _| {
                Err(Error::unsupported("pg_sleep() is not supported")
                    .hint("Wait in the client; a FETCH from a continuous cursor has a timeout."))
            },
        }),
    ]
}

/// `pg_typeof(x)`: the SQL name of a value's type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TypeOf {
    signature: Signature,
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> datafusion::error::Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(
        &self,
        args: ScalarFunctionArgs,
    ) -> datafusion::error::Result<ColumnarValue> {
        // Without what is in parentheses, which is of the column and not of the type: `timestamp(3)
        // without time zone`.
        let name = args.arg_fields.first().map(|field| {
            let name = SqlType::from_field(field).to_string();
            match name
                .split_once('(')
                .and_then(|(begin, rest)| Some((begin, rest.split_once(')')?.1)))
            {
                Some((begin, end)) => format!("{begin}{end}"),
                None => name,
            }
        });
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(name)))
    }
}

fn constant(value: &str, rows: usize) -> Result<ArrayRef> {
    Ok(Arc::new(StringArray::from(vec![value; rows])))
}

/// Begins as in Postgres, since drivers look for a version of it.
fn version(_: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    constant(concat!("PostgreSQL 15.0 (Tidemill ", env!("CARGO_PKG_VERSION"), ")"), rows)
}
