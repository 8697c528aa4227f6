//! Parameters and what else becomes a constant before a statement is planned.
//!
//! A bound parameter is put into the syntax tree as a typed constant, and so are the functions that
//! only the session can answer (`current_user`, `current_setting(…)`). After this a statement means
//! the same for everyone.

use std::collections::HashMap;
use std::ops::ControlFlow;

use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray};
use arrow::datatypes::Field;
use bytes::BytesMut;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, LimitClause, Query,
    Select, SelectItem, Value, Visit, VisitMut, VisitorMut,
};

use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::{Encoder, TextStyle, parse_text_in};
use crate::postgres::syntax::naming::column_name;
use crate::sql::{self, function_call, ident_name, parse_expr, visit_expressions, visit_mut};
use crate::types::{SqlType, Zone};

/// A text as an SQL constant.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A parameter's value as an expression.
pub fn constant(value: &ArrayRef, sql_type: &SqlType) -> Result<Expr> {
    let encoder = Encoder::new(&sql_type.to_field("", true));
    let declared = sql_type.in_cast();
    if value.is_empty() || encoder.is_null(value.as_ref(), 0) {
        return parse_expr(&format!("CAST(NULL AS {declared})"));
    }
    let mut bytes = BytesMut::new();
    encoder.text(value.as_ref(), 0, &TextStyle::default(), &mut bytes);
    let text = String::from_utf8(bytes.to_vec())
        .map_err(|_| Error::internal("a parameter that is not UTF-8"))?;
    match sql_type {
        SqlType::Bytea => {
            parse_expr(&format!("decode({}, 'hex')", quoted(text.trim_start_matches("\\x"))))
        }
        SqlType::SmallInt | SqlType::Int | SqlType::BigInt => {
            parse_expr(&format!("CAST({text} AS {declared})"))
        }
        SqlType::Array(_) => array_constant(value, sql_type, &declared, &text),
        _ => parse_expr(&format!("CAST({} AS {declared})", quoted(&text))),
    }
}

/// An array as `ARRAY[…]`: a cast from text does not take it apart.
fn array_constant(
    value: &ArrayRef,
    sql_type: &SqlType,
    declared: &str,
    text: &str,
) -> Result<Expr> {
    let (SqlType::Array(element), Some(list)) =
        (sql_type, value.as_any().downcast_ref::<arrow::array::ListArray>())
    else {
        return parse_expr(&format!("CAST({} AS {declared})", quoted(text)));
    };
    let items = list.value(0);
    let items = (0..items.len())
        .map(|at| Ok(element_constant(&items.slice(at, 1), element)?.to_string()))
        .collect::<Result<Vec<_>>>()?;
    parse_expr(&format!("CAST(ARRAY[{}] AS {declared})", items.join(", ")))
}

/// A value among others in an array, which is evaluated and not read as it is written.
fn element_constant(value: &ArrayRef, sql_type: &SqlType) -> Result<Expr> {
    match value.as_any().downcast_ref::<FixedSizeBinaryArray>() {
        Some(bytes) if *sql_type == SqlType::Uuid && value.is_valid(0) => {
            let hex: String = bytes.value(0).iter().map(|byte| format!("{byte:02x}")).collect();
            parse_expr(&format!("CAST(decode('{hex}', 'hex') AS uuid)"))
        }
        _ => constant(value, sql_type),
    }
}

/// The number of a placeholder.
fn placeholder(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// Puts values in place of parameters; those without one stay.
pub fn bind<S: VisitMut>(syntax: &mut S, values: &[Option<Expr>]) {
    struct Bind<'a>(&'a [Option<Expr>]);
    impl VisitorMut for Bind<'_> {
        type Break = ();
        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            name_items(select, |expr| placeholder(expr).is_some());
            ControlFlow::Continue(())
        }
        // After what is in it: a value may hold the parameter itself, as `CAST($1 AS INT)` does.
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Some(n) = placeholder(expr)
                && let Some(Some(value)) = self.0.get(n - 1)
            {
                *expr = value.clone();
            }
            ControlFlow::Continue(())
        }
    }
    if !values.is_empty() {
        // The visitor never breaks off.
        let _ = visit_mut(syntax, &mut Bind(values));
    }
}

/// Names the columns of a SELECT list that other expressions are put in place of: the name is that
/// of what the user wrote.
fn name_items(select: &mut Select, is_replaced: impl Fn(&Expr) -> bool) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = &*item
            && is_replaced(name_giver(expr))
        {
            let alias = Ident::with_quote('"', column_name(expr));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

/// The part of an expression that its column's name is of, if that is one part.
fn name_giver(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast { expr: inner, .. } if matches!(**inner, Expr::Value(_)) => expr,
        Expr::Cast { expr: inner, .. } | Expr::Nested(inner) => name_giver(inner),
        Expr::Case { else_result: Some(inner), .. } => name_giver(inner),
        Expr::CompoundFieldAccess { root, .. } => name_giver(root),
        other => other,
    }
}

/// Words that are functions of the session without parentheses; the parser takes these for columns.
fn is_session_word(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(name) if name.quote_style.is_none()
        && ["current_schema", "current_role"].contains(&name.value.to_ascii_lowercase().as_str()))
}

/// Arguments that are whole numbers whatever the others are: the function, and which one (Postgres
/// manual, 9.3 and 9.4).
const WHOLE_ARGUMENTS: [(&str, usize); 12] = [
    ("round", 1),
    ("trunc", 1),
    ("left", 1),
    ("right", 1),
    ("repeat", 1),
    ("lpad", 1),
    ("rpad", 1),
    ("substr", 1),
    ("substr", 2),
    ("split_part", 2),
    ("chr", 0),
    ("to_hex", 0),
];

/// The parameters among a function's arguments that can only be whole numbers.
fn whole_arguments(function: &Function) -> Vec<usize> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(sql::ident_name);
    let Some(name) = name else { return Vec::new() };
    let is_whole = |at: usize| WHOLE_ARGUMENTS.contains(&(name.as_str(), at));
    let at_place = |(at, argument): (usize, &FunctionArg)| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if is_whole(at) => placeholder(expr),
        _ => None,
    };
    list.args.iter().enumerate().filter_map(at_place).collect()
}

/// The types that parameters have by where they stand: `$1::int`, `LIMIT $1`, `round(x, $1)`.
pub fn evident<S: VisitMut>(syntax: &mut S) -> HashMap<usize, SqlType> {
    struct Look(HashMap<usize, SqlType>);
    impl VisitorMut for Look {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Cast { expr: inner, data_type, .. } = expr
                && let Some(n) = placeholder(inner)
                && let Ok(known) = sql::sql_type(data_type)
            {
                self.0.entry(n).or_insert(known);
            }
            if let Expr::Function(function) = expr {
                for n in whole_arguments(function) {
                    self.0.entry(n).or_insert(SqlType::Int);
                }
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
                let offset = offset.as_ref().map(|offset| &offset.value);
                for n in limit.iter().chain(offset).filter_map(placeholder) {
                    self.0.entry(n).or_insert(SqlType::BigInt);
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut look = Look(HashMap::new());
    let _ = visit_mut(syntax, &mut look);
    look.0
}

/// What only the session knows.
pub struct SessionValues<'a> {
    /// The user.
    pub user: &'a str,
    /// The connection's number.
    pub pid: i32,
    /// The schemas in which names without one are looked for, in order.
    pub path: &'a (dyn Fn() -> Vec<String> + Sync),
    /// The value of a variable.
    pub setting: &'a (dyn Fn(&str) -> Result<String> + Sync),
}

/// Puts constants in place of the functions that only the session can answer.
pub fn answer_functions<S: Visit + VisitMut>(
    syntax: &mut S,
    session: &SessionValues<'_>,
) -> Result<()> {
    struct Answer<'a, 'b> {
        session: &'a SessionValues<'b>,
        settings_move: bool,
    }
    impl VisitorMut for Answer<'_, '_> {
        type Break = Error;
        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
            name_items(select, |expr| {
                is_session_word(expr) || matches!(answered(expr, self.session), Ok(Some(_)))
            });
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
            // A statement that changes settings reads them while it runs, before and after.
            if self.settings_move && calls(expr, "current_setting") {
                return ControlFlow::Continue(());
            }
            match answered(expr, self.session) {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(value)) => {
                    *expr = value;
                    ControlFlow::Continue(())
                }
                Err(error) => ControlFlow::Break(error),
            }
        }
    }
    let settings_move = visit_expressions(syntax, |expr| {
        if calls(expr, "set_config") { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match visit_mut(syntax, &mut Answer { session, settings_move: settings_move.is_break() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn calls(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Function(call) if function_name(call).as_deref() == Some(name))
}

/// The type of a parameter that stands where a value of this one does: not of its length, which what is
/// compared with it may have more than.
pub fn type_of(field: &Field) -> SqlType {
    match SqlType::from_field(field) {
        text @ (SqlType::Varchar(_) | SqlType::Bpchar(_)) => text.without_length(),
        _ => SqlType::from_field(&Field::new("", field.data_type().clone(), true)),
    }
}

/// The last part of a function's name, if it is a plain one or of `pg_catalog`.
pub fn function_name(call: &Function) -> Option<String> {
    let parts: Vec<String> =
        call.name.0.iter().filter_map(|part| part.as_ident()).map(ident_name).collect();
    match parts.as_slice() {
        [name] => Some(name.clone()),
        [schema, name] if schema == "pg_catalog" => Some(name.clone()),
        _ => None,
    }
}

/// The arguments of a call, if they are plain expressions.
pub fn arguments(call: &Function) -> Option<Vec<&Expr>> {
    match &call.args {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect(),
        FunctionArguments::Subquery(_) => None,
    }
}

/// The text of a string constant.
pub fn text_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Some(text.clone())
            }
            Value::Number(text, _) => Some(text.clone()),
            _ => None,
        },
        Expr::TypedString(typed) => match &typed.value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Some(text.clone())
            }
            _ => None,
        },
        Expr::Cast { expr, .. } | Expr::Nested(expr) => text_of(expr),
        _ => None,
    }
}

/// The array type with as many dimensions as the text has: all of them are `int[]` to Postgres.
fn with_dimensions_of(text: &str, of: SqlType) -> SqlType {
    let written = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let written = written.take_while(|byte| *byte == b'{').count();
    let mut declared = 0;
    let mut inner = &of;
    while let SqlType::Array(element) = inner {
        (inner, declared) = (element, declared + 1);
    }
    (declared..written).fold(of, |of, _| SqlType::Array(Box::new(of)))
}

fn answered(expr: &Expr, session: &SessionValues<'_>) -> Result<Option<Expr>> {
    if let Expr::Cast { expr: inner, data_type, .. } = expr
        && let Some(text) = text_of(inner).filter(|_| matches!(**inner, Expr::Value(_)))
        && let Ok(sql_type @ SqlType::Array(_)) = sql::sql_type(data_type)
    {
        // `'{1,2}'::int[]`: a cast does not take the text apart, nor does it know the session's zone.
        let sql_type = with_dimensions_of(&text, sql_type);
        let zone = Zone::of_setting(&(session.setting)("TimeZone")?)?;
        return constant(&parse_text_in(&sql_type, &text, &zone)?, &sql_type).map(Some);
    }
    if let Expr::Identifier(name) = expr
        && is_session_word(expr)
    {
        return answered(&function_call(&name.value.to_ascii_lowercase(), Vec::new()), session);
    }
    let Expr::Function(call) = expr else {
        return Ok(None);
    };
    let (Some(name), Some(args)) = (function_name(call), arguments(call)) else {
        return Ok(None);
    };
    let text = |value: &str| parse_expr(&format!("CAST({} AS text)", quoted(value))).map(Some);
    match (name.as_str(), args.as_slice()) {
        ("current_user" | "session_user" | "user" | "current_role", []) => text(session.user),
        ("current_schema", []) => match (session.path)().first() {
            Some(schema) => text(schema),
            None => parse_expr("CAST(NULL AS text)").map(Some),
        },
        ("current_schemas", [implicit]) => {
            let is_implicit = !implicit.to_string().eq_ignore_ascii_case("false");
            let implied = is_implicit.then(|| "pg_catalog".to_owned());
            let schemas = implied.into_iter().chain((session.path)());
            let schemas: Vec<String> = schemas.map(|schema| quoted(&schema)).collect();
            parse_expr(&format!("CAST(ARRAY[{}] AS text[])", schemas.join(", "))).map(Some)
        }
        ("pg_backend_pid", []) => {
            parse_expr(&format!("CAST({} AS integer)", session.pid)).map(Some)
        }
        ("txid_current" | "pg_current_xact_id", []) => parse_expr("CAST(1 AS bigint)").map(Some),
        ("txid_current_if_assigned" | "pg_current_xact_id_if_assigned", []) => {
            parse_expr("CAST(NULL AS bigint)").map(Some)
        }
        ("pg_is_in_recovery", []) => parse_expr("false").map(Some),
        ("inet_server_addr" | "inet_client_addr", []) => parse_expr("CAST(NULL AS text)").map(Some),
        // A name that is computed is looked up for each row.
        ("current_setting", [name, ..]) if text_of(name).is_none() => Ok(None),
        ("current_setting", [name]) => {
            text(&(session.setting)(&text_of(name).unwrap_or_default())?)
        }
        ("current_setting", [name, missing]) => {
            let is_ok = missing.to_string().eq_ignore_ascii_case("true");
            match (session.setting)(&text_of(name).unwrap_or_default()) {
                Err(error) if error.state() == SqlState::UndefinedObject && is_ok => {
                    parse_expr("CAST(NULL AS text)").map(Some)
                }
                value => text(&value?),
            }
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Int32Array, StringArray};

    use super::*;

    #[test]
    fn parameters_become_typed_constants() {
        let check = |value: ArrayRef, sql_type: SqlType, expect: &str| {
            assert_eq!(constant(&value, &sql_type).unwrap().to_string(), expect);
        };
        check(Arc::new(Int32Array::from(vec![-7])), SqlType::Int, "CAST(-7 AS INTEGER)");
        check(Arc::new(StringArray::from(vec!["it's"])), SqlType::Text, "CAST('it''s' AS TEXT)");
        check(
            Arc::new(BinaryArray::from(vec![b"\x01".as_slice()])),
            SqlType::Bytea,
            "decode('01', 'hex')",
        );
        check(Arc::new(StringArray::from(vec![None::<&str>])), SqlType::Text, "CAST(NULL AS TEXT)");
    }

    #[test]
    fn a_parameter_has_the_type_it_is_cast_to() {
        let mut parsed = sql::parse_query("SELECT $2::int LIMIT $1").unwrap();
        let types = evident(&mut *parsed.query);
        assert_eq!((types.get(&1), types.get(&2)), (Some(&SqlType::BigInt), Some(&SqlType::Int)));
    }
}
