//! The columns of CREATE STREAM and CREATE TABLE: names, types, and expressions that are checked
//! before they are needed.

use std::ops::ControlFlow;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Expr, Ident, VisitorMut};

use super::super::params::function_name;
use super::{Definer, check_name};
use crate::catalog::{Column, RelationId};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::pgtypes::values::parse_text;
use crate::plan::reads_clock;
use crate::session::write::replace_clock;
use crate::sql::{self, ColumnDef, ident_name, text_constant, visit_mut};
use crate::types::SqlType;

/// Checks columns and finds the types of those that are computed; gives with them the functions of
/// the user's that their expressions call.
pub async fn columns(
    cx: &Definer,
    defined: &[ColumnDef],
) -> Result<(Vec<Column>, Vec<RelationId>)> {
    if defined.len() > limits::COLUMNS {
        return Err(Error::new(
            SqlState::ProgramLimit,
            format!("a relation has at most {} columns", limits::COLUMNS),
        ));
    }
    let mut columns: Vec<Column> = Vec::with_capacity(defined.len());
    let mut used = Vec::new();
    for column in defined {
        let name = ident_name(&column.name);
        check_name(&name)?;
        if columns.iter().any(|known| known.name == name) {
            let what = format!("column \"{name}\" specified more than once");
            return Err(Error::new(SqlState::DuplicateColumn, what));
        }
        let computed = match &column.generated {
            Some(expr) => {
                let wanted = column.sql_type.as_ref();
                Some(
                    checked(cx, ExpressionPlace::Column(&name), expr, defined, wanted, &mut used)
                        .await?,
                )
            }
            None => None,
        };
        if let Some(default) = &column.default {
            let (place, wanted) = (ExpressionPlace::Column(&name), column.sql_type.as_ref());
            let sql_type = checked(cx, place, default, &[], wanted, &mut used).await?;
            if let Some(text) = text_constant(default) {
                // Whether it is too long is seen when it is used.
                parse_text(&sql_type.without_length(), text)?;
            }
        }
        let sql_type = column.sql_type.clone().or(computed).ok_or_else(|| {
            Error::new(SqlState::InvalidTableDefinition, format!("column \"{name}\" has no type"))
        })?;
        columns.push(Column {
            name,
            sql_type,
            not_null: column.not_null,
            default: column.default.as_ref().map(ToString::to_string),
            generated: column.generated.as_ref().map(ToString::to_string),
        });
    }
    used.sort_unstable();
    used.dedup();
    Ok((columns, used))
}

/// Where an expression of one row stands.
#[derive(Clone, Copy)]
pub enum ExpressionPlace<'a> {
    /// The value of a column.
    Column(&'a str),
    /// CHECK.
    Check,
}

impl std::fmt::Display for ExpressionPlace<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExpressionPlace::Column(name) => write!(f, "the expression of column \"{name}\""),
            ExpressionPlace::Check => f.write_str("check constraints"),
        }
    }
}

/// Plans an expression over the stored columns among `defined`; gives its type.
pub async fn checked(
    cx: &Definer,
    place: ExpressionPlace<'_>,
    expr: &Expr,
    defined: &[ColumnDef],
    sql_type: Option<&SqlType>,
    used: &mut Vec<RelationId>,
) -> Result<SqlType> {
    let stored: Vec<String> = defined
        .iter()
        .filter(|column| column.generated.is_none())
        .filter_map(|column| {
            let sql_type = column.sql_type.as_ref()?.in_cast();
            let name = ident_name(&column.name).replace('"', "\"\"");
            Some(format!("CAST(NULL AS {sql_type}) AS \"{name}\""))
        })
        .collect();
    let mut expr = expr.clone();
    with_time(&mut expr);
    replace_clock(&mut expr, sql::parse_expr("TIMESTAMPTZ '2000-01-01 00:00:00+00'")?);
    let value = match sql_type {
        Some(sql_type) => format!("CAST(({expr}) AS {})", sql_type.in_cast()),
        None => format!("({expr})"),
    };
    let from = if stored.is_empty() {
        String::new()
    } else {
        format!(" FROM (SELECT {}) AS q", stored.join(", "))
    };
    let query = sql::parse_query(&format!("SELECT {value} AS value{from}"))?;
    let planned =
        cx.reads.plan(&query.query).await.map_err(|error| explained(error, place, defined))?;
    // Casts that cannot be are found when the plan is analysed.
    planned.optimized(&cx.reads.engine).await?;
    refuse_rows(&planned.plan, place)?;
    if !planned.used.is_empty() {
        refuse_hidden_clock(&planned.plan, place)?;
    }
    used.extend(&planned.used);
    let found = SqlType::from_field(planned.schema.field(0));
    match found {
        SqlType::Unknown => Err(Error::new(
            SqlState::IndeterminateType,
            format!("a constant in {place} has no type"),
        )
        .hint("Cast the expression, for example NULL::text.")),
        known => Ok(sql_type.cloned().unwrap_or(known)),
    }
}

/// A computed column may not use another one.
fn explained(error: Error, place: ExpressionPlace<'_>, defined: &[ColumnDef]) -> Error {
    let ExpressionPlace::Column(name) = place else { return error };
    let is_computed = defined
        .iter()
        .filter(|column| column.generated.is_some() && ident_name(&column.name) != name)
        .any(|column| error.message().contains(&format!("\"{}\"", ident_name(&column.name))));
    if error.state() == SqlState::UndefinedColumn && is_computed {
        Error::new(
            SqlState::InvalidObjectDefinition,
            format!("column \"{name}\" is computed from another computed column"),
        )
        .hint("Write the other column's expression out.")
    } else {
        error
    }
}

/// PROCTIME() is the time at which a row is taken.
fn with_time(expr: &mut Expr) {
    struct Time;
    impl VisitorMut for Time {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Function(call) = &*expr
                && function_name(call).as_deref() == Some("proctime")
                && let Ok(now) = sql::parse_expr("CAST(now() AS TIMESTAMPTZ(3))")
            {
                *expr = now;
            }
            ControlFlow::Continue(())
        }
    }
    // The visitor never breaks off.
    let _ = visit_mut(expr, &mut Time);
}

/// Whether an expression asks for the time at which a row is taken.
pub fn uses_proctime(text: &str) -> bool {
    text.to_lowercase().contains("proctime(")
}

const AGGREGATE: &str = "an aggregate";

/// An expression of one row has no aggregates, windows or subqueries.
fn refuse_rows(plan: &LogicalPlan, place: ExpressionPlace<'_>) -> Result<()> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        found = match node {
            LogicalPlan::Aggregate(_) => Some(AGGREGATE),
            LogicalPlan::Window(_) => Some("a window function"),
            LogicalPlan::Subquery(_) | LogicalPlan::TableScan(_) => Some("a subquery"),
            _ => found,
        };
        Ok(TreeNodeRecursion::Continue)
    })?;
    match found {
        Some(what) if what == AGGREGATE => {
            let what = format!("aggregate functions are not allowed in {place}");
            Err(Error::new(SqlState::Grouping, what).hint("Use the row's other columns only."))
        }
        Some(what) => Err(Error::unsupported(format!("{what} in {place} is not supported"))
            .hint("Use the row's other columns only.")),
        None => Ok(()),
    }
}

/// A row has the moment of the statement that writes it, which is put in the place of `now()` in the
/// expression; within a function it would not be.
fn refuse_hidden_clock(plan: &LogicalPlan, place: ExpressionPlace<'_>) -> Result<()> {
    if !reads_clock(plan)? {
        return Ok(());
    }
    let what = format!("a function that reads the clock in {place}");
    Err(Error::unsupported(format!("{what} is not supported"))
        .hint("Give now() to the function as an argument."))
}

/// The positions of the primary key's columns.
pub fn primary_key(columns: &mut [Column], names: &[Ident]) -> Result<Vec<usize>> {
    let positions = key_columns(columns, names, "primary key constraint")?;
    for at in &positions {
        columns[*at].not_null = true;
    }
    Ok(positions)
}

/// The positions of a key's columns.
pub fn key_columns(columns: &[Column], names: &[Ident], what: &str) -> Result<Vec<usize>> {
    let mut positions = Vec::new();
    for name in names {
        let name = ident_name(name);
        let Some(at) = columns.iter().position(|column| column.name == name) else {
            return Err(Error::new(
                SqlState::UndefinedColumn,
                format!("column \"{name}\" named in key does not exist"),
            ));
        };
        if positions.contains(&at) {
            let what = format!("column \"{name}\" appears twice in {what}");
            return Err(Error::new(SqlState::DuplicateColumn, what));
        }
        if matches!(columns[at].sql_type, SqlType::Array(_) | SqlType::Row(_) | SqlType::Json) {
            let what = format!("a {} in a {what} is not supported", columns[at].sql_type);
            return Err(Error::unsupported(what).hint("Use a column of a simple type."));
        }
        positions.push(at);
    }
    Ok(positions)
}
