//! Functions about the server that do not depend on the session, and those that must not be.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{ScalarUDF, Signature, Volatility};

use super::scalar::Scalar;
use crate::error::{Error, Result};

pub(super) fn all() -> Vec<ScalarUDF> {
    let function = |name, aliases: &[&str], call| {
        let aliases = aliases.iter().map(|alias| alias.to_string()).collect();
        let signature = Signature::nullary(Volatility::Stable);
        ScalarUDF::from(Scalar { name, aliases, signature, out: DataType::Utf8, call })
    };
    let sleep = Signature::exact(vec![DataType::Float64], Volatility::Volatile);
    vec![
        function("version", &["pg_catalog.version"], version),
        function("current_database", &["current_catalog", "pg_catalog.current_database"], |_, rows| {
            constant("tidemill", rows)
        }),
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

fn constant(value: &str, rows: usize) -> Result<ArrayRef> {
    Ok(Arc::new(StringArray::from(vec![value; rows])))
}

/// Begins as in Postgres, since drivers look for a version of it.
fn version(_: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    constant(concat!("PostgreSQL 15.0 (Tidemill ", env!("CARGO_PKG_VERSION"), ")"), rows)
}
