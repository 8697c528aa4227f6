//! CHECK and UNIQUE: what the rows of a table must satisfy, under names as Postgres gives them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident};

use super::columns::{ExpressionPlace, checked, key_columns};
use super::{Definer, check_name};
use crate::catalog::{Check, Column, RelationId, Unique};
use crate::error::{Error, Result, SqlState};
use crate::sql::{CheckDef, ColumnDef, UniqueDef, ident_name, visit_expressions};
use crate::types::SqlType;

/// The constraints of a table in the order in which they are looked at, that of their names; with them the
/// functions of the user's that they call.
///
/// # Errors
/// 42804 for a condition that is none, 42710 for a name that is given twice.
pub async fn checks(
    cx: &Definer,
    table: &str,
    columns: &[Column],
    defined: &[CheckDef],
) -> Result<(Vec<Check>, Vec<RelationId>)> {
    let plain = |column: &Column| ColumnDef {
        name: Ident::with_quote('"', &column.name),
        sql_type: Some(column.sql_type.clone()),
        not_null: false,
        default: None,
        generated: None,
    };
    let row: Vec<ColumnDef> = columns.iter().map(plain).collect();
    let mut used = Vec::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for name in defined.iter().filter_map(|check| check.name.as_ref()).map(ident_name) {
        check_name(&name)?;
        if !taken.insert(name.clone()) {
            let what = format!("constraint \"{name}\" for relation \"{table}\" already exists");
            return Err(Error::new(SqlState::DuplicateObject, what));
        }
    }
    let mut checks = Vec::with_capacity(defined.len());
    for check in defined {
        let place = ExpressionPlace::Check;
        let found = checked(cx, place, &check.condition, &row, None, &mut used)
            .await
            .map_err(|error| error.at(check.position))?;
        if found != SqlType::Boolean {
            let what = format!("argument of CHECK must be type boolean, not type {found}");
            return Err(Error::new(SqlState::TypeMismatch, what).at(check.position));
        }
        let name = match &check.name {
            Some(name) => ident_name(name),
            None => free_name(table, columns, &check.condition, &mut taken),
        };
        checks.push(Check { name, condition: check.condition.to_string() });
    }
    checks.sort_unstable();
    Ok((checks, used))
}

/// The keys of a table beside the primary one.
///
/// # Errors
/// 42703 for a column that is not there, 42P07 for a name that is given twice.
pub fn uniques(table: &str, columns: &[Column], defined: &[UniqueDef]) -> Result<Vec<Unique>> {
    let mut taken: BTreeSet<String> = BTreeSet::from([format!("{table}_pkey")]);
    for (name, unique) in defined.iter().filter_map(|unique| Some((unique.name.as_ref()?, unique)))
    {
        let name = ident_name(name);
        check_name(&name)?;
        if !taken.insert(name.clone()) {
            let what = format!("relation \"{name}\" already exists");
            return Err(Error::new(SqlState::DuplicateTable, what).at(unique.position));
        }
    }
    let mut uniques = Vec::with_capacity(defined.len());
    for unique in defined {
        let positions = key_columns(columns, &unique.columns, "unique constraint")
            .map_err(|error| error.at(unique.position))?;
        let name = match &unique.name {
            Some(name) => ident_name(name),
            None => {
                let names: Vec<String> = unique.columns.iter().map(ident_name).collect();
                numbered(&format!("{table}_{}_key", names.join("_")), &mut taken)
            }
        };
        uniques.push(Unique { name, columns: positions });
    }
    Ok(uniques)
}

/// `t_a_check` for a condition on one column, `t_check` for others; with a number if there is one already.
fn free_name(
    table: &str,
    columns: &[Column],
    condition: &Expr,
    taken: &mut BTreeSet<String>,
) -> String {
    let mut named = BTreeSet::new();
    // It never breaks off.
    let _: ControlFlow<()> = visit_expressions(condition, |part| {
        let last = match part {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        if let Some(name) = last.map(ident_name)
            && columns.iter().any(|column| column.name == name)
        {
            named.insert(name);
        }
        ControlFlow::Continue(())
    });
    let first = match (named.len(), named.first()) {
        (1, Some(column)) => format!("{table}_{column}_check"),
        _ => format!("{table}_check"),
    };
    numbered(&first, taken)
}

/// The name, with a number if there is one already.
fn numbered(first: &str, taken: &mut BTreeSet<String>) -> String {
    let mut name = first.to_owned();
    let mut number = 0;
    while !taken.insert(name.clone()) {
        number += 1;
        name = format!("{first}{number}");
    }
    name
}
