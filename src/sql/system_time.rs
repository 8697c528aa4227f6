//! `t FOR SYSTEM_TIME AS OF e`: the table as it was at a time, that of a row beside it for example.
//!
//! ```text
//! FROM orders o JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON r.currency = o.currency
//! ─▶ FROM orders o JOIN LATERAL (SELECT * EXCLUDE (__since, __until) FROM __versions.rates
//!      WHERE __since <= __system_time(o.ts) AND __until > __system_time(o.ts)) AS r ON …
//! ```
//! `__versions.rates` has each version of each row of the table with the times from which and up to
//! which it was there (`log/table/past`). `AS OF PROCTIME()` is the table as it is when the row comes,
//! which is what a join with a table means anyway: these words are left out (`text`).

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, ObjectName, SetExpr, TableAlias, TableFactor,
    TableVersion, TimezoneInfo, Value,
};

use super::names::relation_name;
use super::tree::{all_but, binary, column, function_call, quoted};
use super::windows::{select_all, table};
use crate::error::{Error, Result};
use crate::log::table::VERSION_COLUMNS;

/// What a schema with the versions of tables begins with.
const VERSIONS: &str = "__versions.";

/// The schema of the versions of a schema's tables.
pub fn versions_in(schema: &str) -> String {
    format!("{VERSIONS}{schema}")
}

/// The schema whose tables' versions are in that one; None: it is another.
pub fn versions_of(schema: &str) -> Option<&str> {
    schema.strip_prefix(VERSIONS)
}

/// The function that makes microseconds since 1970 of what a time is said by.
pub const SYSTEM_TIME: &str = "__system_time";

/// Puts the versions of a table in its place, if it is to be as of a time.
pub(super) fn rewrite(factor: &mut TableFactor) -> Result<()> {
    let TableFactor::Table { version, .. } = factor else { return Ok(()) };
    let Some(version) = version.take() else { return Ok(()) };
    let TableVersion::ForSystemTimeAsOf(time) = version else {
        return Err(Error::unsupported(
            "this way to ask for a version of a table is not supported",
        )
        .hint("Write FOR SYSTEM_TIME AS OF and a time behind the table's name."));
    };
    let TableFactor::Table { name, alias, args: None, .. } = factor else {
        return Err(Error::unsupported("a function has no versions")
            .hint("FOR SYSTEM_TIME AS OF belongs behind the name of a table."));
    };
    let name = relation_name(name)?;
    if name.is_of_system() {
        return Err(Error::unsupported("a system relation has no versions")
            .hint("FOR SYSTEM_TIME AS OF belongs behind the name of a table."));
    }
    let alias = alias.take().unwrap_or_else(|| TableAlias {
        explicit: true,
        name: quoted(&name.name),
        columns: Vec::new(),
        at: None,
    });
    let versions = ObjectName::from(vec![quoted(&versions_in(name.schema())), quoted(&name.name)]);
    let mut query = select_all(table(versions, None, None));
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![all_but(&VERSION_COLUMNS)];
        select.selection = Some(is_there_at(&time));
    }
    *factor = TableFactor::Derived {
        lateral: true,
        subquery: Box::new(query),
        alias: Some(alias),
        sample: None,
    };
    Ok(())
}

fn is_there_at(time: &Expr) -> Expr {
    let [since, until] = VERSION_COLUMNS.map(column);
    // A text constant is a time, and wrong if it is none.
    let time = match time {
        Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)) => Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(time.clone()),
            data_type: DataType::Timestamp(None, TimezoneInfo::Tz),
            array: false,
            format: None,
        },
        other => other.clone(),
    };
    let time = || function_call(SYSTEM_TIME, vec![time.clone()]);
    let has_begun = binary(since, BinaryOperator::LtEq, time());
    binary(has_begun, BinaryOperator::And, binary(until, BinaryOperator::Gt, time()))
}
