//! The functions of `pg_catalog` that psql and drivers call.
//!
//! Those about relations look them up in the catalog. What Tidemill has no notion of
//! (triggers, privileges of its own) answers as a Postgres in which there are none.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::super::transaction::SystemContext;
use super::procedures;
use super::relations::{self, ADVANCE_WATERMARK, KeyEntry, RelationEntry};
use super::types::{format_type, operator_name, type_oid};
use crate::catalog::{DATABASE, Kind, RelationId};
use crate::error::{Error, Result, SqlState};
use crate::log::StreamId;
use crate::postgres::by_name::by_name;
use crate::postgres::functions::over_columns;
use crate::types::quote_name;

/// Where the lookup of one row begins: the arguments as texts.
type Texts<'a> = &'a [Option<&'a str>];

/// What a function does with one row.
#[derive(Clone, Copy)]
enum FunctionBody {
    True(fn(&SystemContext, Texts) -> Result<Option<bool>>),
    Text(fn(&SystemContext, Texts) -> Result<Option<String>>),
    Number(fn(&SystemContext, Texts) -> Result<Option<i64>>),
}

struct SystemFunction {
    name: &'static str,
    signature: Signature,
    call: FunctionBody,
    cx: SystemContext,
}

impl fmt::Debug for SystemFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

by_name!(SystemFunction);

impl ScalarUDFImpl for SystemFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(match self.call {
            FunctionBody::True(_) => DataType::Boolean,
            FunctionBody::Text(_) => DataType::Utf8,
            FunctionBody::Number(_) => DataType::Int64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        over_columns(&args.args, args.number_rows, |columns, rows| {
            let texts = columns
                .iter()
                .map(|column| Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone()))
                .collect::<DfResult<Vec<StringArray>>>()?;
            let row = |row: usize| -> Vec<Option<&str>> {
                texts.iter().map(|column| column.is_valid(row).then(|| column.value(row))).collect()
            };
            Ok(match self.call {
                FunctionBody::True(f) => Arc::new(
                    (0..rows).map(|at| f(&self.cx, &row(at))).collect::<Result<BooleanArray>>()?,
                ),
                FunctionBody::Text(f) => Arc::new(
                    (0..rows).map(|at| f(&self.cx, &row(at))).collect::<Result<StringArray>>()?,
                ),
                FunctionBody::Number(f) => Arc::new(
                    (0..rows).map(|at| f(&self.cx, &row(at))).collect::<Result<Int64Array>>()?,
                ),
            })
        })
    }
}

/// Answers true.
const TRUE: &[&str] = &[
    "pg_type_is_visible",
    "pg_function_is_visible",
    "pg_operator_is_visible",
    "pg_opclass_is_visible",
    "pg_opfamily_is_visible",
    "pg_conversion_is_visible",
    "pg_collation_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible",
    "pg_ts_template_is_visible",
    "pg_statistics_obj_is_visible",
    "has_tablespace_privilege",
    "has_language_privilege",
    "has_foreign_data_wrapper_privilege",
    "has_server_privilege",
    "pg_has_role",
];

/// Answers false.
const FALSE: &[&str] = &[
    "pg_is_other_temp_schema",
    "pg_is_in_recovery",
    "pg_relation_is_publishable",
    "row_security_active",
];

/// Answers NULL: there is no such thing here.
const NONE: &[&str] = &[
    "shobj_description",
    "pg_get_partkeydef",
    "pg_get_triggerdef",
    "pg_get_ruledef",
    "pg_get_statisticsobjdef",
    "pg_get_statisticsobjdef_columns",
    "pg_get_statisticsobjdef_expressions",
    "pg_get_serial_sequence",
    "pg_get_function_sqlbody",
    "inet_client_addr",
    "inet_server_addr",
    "pg_get_partition_constraintdef",
    "pg_tablespace_location",
];

/// Answers 0.
const ZERO: &[&str] =
    &["pg_indexes_size", "pg_stat_get_numscans", "pg_my_temp_schema", "pg_stat_get_live_tuples"];

/// A function of the server and its text arguments, by name.
type NamedFunction<T> = (&'static str, fn(&SystemContext, Texts) -> Result<Option<T>>);

/// Everybody may do everything; what is asked for must be something.
const TRUTHS: &[NamedFunction<bool>] = &[
    ("has_table_privilege", |cx, args| {
        allowed(
            args,
            &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"],
        )?;
        known_relation(cx, args, 2)
    }),
    ("has_any_column_privilege", |cx, args| {
        allowed(args, &["SELECT", "INSERT", "UPDATE", "REFERENCES"])?;
        known_relation(cx, args, 2)
    }),
    ("has_column_privilege", |cx, args| {
        allowed(args, &["SELECT", "INSERT", "UPDATE", "REFERENCES"])?;
        known_relation(cx, args, 3)
    }),
    ("has_schema_privilege", |cx, args| {
        allowed(args, &["CREATE", "USAGE"])?;
        match behind(args, 2) {
            Some(name) if namespace_oid(cx, name).is_none() => Err(missing_schema(name)),
            _ => Ok(Some(true)),
        }
    }),
    ("has_database_privilege", |_, args| {
        allowed(args, &["CREATE", "CONNECT", "TEMPORARY", "TEMP"])?;
        match behind(args, 2) {
            Some(name) if name != DATABASE && name.parse::<u32>().is_err() => Err(Error::new(
                SqlState::UndefinedDatabase,
                format!("database \"{name}\" does not exist"),
            )),
            _ => Ok(Some(true)),
        }
    }),
    ("has_function_privilege", |_, args| allowed(args, &["EXECUTE"])),
    ("has_sequence_privilege", |_, args| allowed(args, &["USAGE", "SELECT", "UPDATE"])),
    ("has_type_privilege", |_, args| allowed(args, &["USAGE"])),
    ("pg_table_is_visible", |cx, args| {
        Ok(Some(oid(args, 0).is_some_and(|oid| relations::is_visible(cx, oid))))
    }),
    ("pg_cancel_backend", |_, _| Err(no_signal("pg_cancel_backend"))),
    ("pg_terminate_backend", |_, _| Err(no_signal("pg_terminate_backend"))),
];

/// The argument that stands so far from the end.
fn behind<'a>(args: Texts<'a>, from_end: usize) -> Option<&'a str> {
    text(args, args.len().checked_sub(from_end)?)
}

/// Looks at the privileges of the last argument.
fn allowed(args: Texts, known: &[&str]) -> Result<Option<bool>> {
    for wanted in behind(args, 1).into_iter().flat_map(|list| list.split(',')) {
        let upper = wanted.trim().to_uppercase();
        if !known.contains(&upper.strip_suffix(" WITH GRANT OPTION").unwrap_or(&upper)) {
            let message = format!("unrecognized privilege type: \"{}\"", wanted.trim());
            return Err(Error::new(SqlState::BadArgument, message)
                .hint(format!("There are {}.", known.join(", "))));
        }
    }
    Ok(Some(true))
}

fn known_relation(cx: &SystemContext, args: Texts, from_end: usize) -> Result<Option<bool>> {
    match behind(args, from_end) {
        Some(name) if name.parse::<u32>().is_err() && relations::find(cx, name).is_none() => {
            Err(missing_relation(name))
        }
        _ => Ok(Some(true)),
    }
}

fn missing_relation(name: &str) -> Error {
    Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"))
}

fn missing_schema(name: &str) -> Error {
    Error::new(SqlState::UndefinedSchema, format!("schema \"{name}\" does not exist"))
}

fn no_signal(function: &str) -> Error {
    Error::unsupported(format!("{function}() is not supported")).hint(
        "A client cancels its own statement; statement_timeout ends those that take too long.",
    )
}

const NUMBERS: &[NamedFunction<i64>] = &[
    ("pg_relation_size", |cx, args| Ok(relation_bytes(cx, args))),
    ("pg_table_size", |cx, args| Ok(relation_bytes(cx, args))),
    ("pg_total_relation_size", |cx, args| Ok(relation_bytes(cx, args))),
    ("pg_database_size", |cx, _| {
        Ok(Some(relations::users(cx).iter().map(|entry| bytes_of(cx, entry)).sum()))
    }),
    ("to_regclass", |cx, args| {
        Ok(text(args, 0).and_then(|name| relations::find(cx, name)).map(i64::from))
    }),
    ("to_regtype", |_, args| Ok(text(args, 0).and_then(type_oid).map(i64::from))),
    ("to_regnamespace", |cx, args| Ok(text(args, 0).and_then(|name| namespace_oid(cx, name)))),
    ("regclassin", |cx, args| {
        let Some(name) = text(args, 0) else { return Ok(None) };
        relations::find(cx, name).map(|oid| Some(oid.into())).ok_or_else(|| missing_relation(name))
    }),
    ("regtypein", |_, args| {
        let Some(name) = text(args, 0) else { return Ok(None) };
        type_oid(name).map(|oid| Some(oid.into())).ok_or_else(|| {
            Error::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"))
        })
    }),
    ("regnamespacein", |cx, args| {
        let Some(name) = text(args, 0) else { return Ok(None) };
        namespace_oid(cx, name).map(Some).ok_or_else(|| missing_schema(name))
    }),
    ("regoperatorin", |_, args| Ok(text(args, 0).and_then(|name| name.parse().ok()))),
    ("regprocin", |cx, args| {
        Ok(text(args, 0).map(|name| match name {
            "advance_watermark" => ADVANCE_WATERMARK.into(),
            other => procedures::oid_of(cx, other).or_else(|| other.parse().ok()).unwrap_or(0),
        }))
    }),
    ("pg_char_to_encoding", |_, args| {
        Ok(Some(match text(args, 0) {
            Some(name)
                if name.eq_ignore_ascii_case("utf8") || name.eq_ignore_ascii_case("unicode") =>
            {
                6
            }
            _ => -1,
        }))
    }),
    ("pg_tablespace_size", |cx, _| {
        Ok(Some(relations::users(cx).iter().map(|entry| bytes_of(cx, entry)).sum()))
    }),
    ("txid_current", |cx, _| Ok(i64::try_from(cx.engine.journal.last().0).ok())),
    ("pg_current_xact_id", |cx, _| Ok(i64::try_from(cx.engine.journal.last().0).ok())),
];

const TEXTS: &[NamedFunction<String>] = &[
    ("pg_get_expr", |_, args| Ok(text(args, 0).map(str::to_owned))),
    ("pg_get_userbyid", |cx, _| Ok(Some(cx.user.clone()))),
    ("pg_encoding_to_char", |_, args| {
        Ok(Some(if text(args, 0) == Some("6") { "UTF8" } else { "" }.to_owned()))
    }),
    ("pg_client_encoding", |_, _| Ok(Some("UTF8".to_owned()))),
    ("getdatabaseencoding", |_, _| Ok(Some("UTF8".to_owned()))),
    ("pg_get_viewdef", |cx, args| Ok(view_definition(cx, args))),
    ("pg_get_indexdef", |cx, args| Ok(index_text(cx, args))),
    ("pg_get_constraintdef", |cx, args| Ok(constraint_text(cx, args))),
    ("pg_get_function_result", |cx, args| {
        Ok(Some(oid(args, 0).map(|found| procedures::result(cx, found)).unwrap_or_default()))
    }),
    ("pg_get_function_arguments", |cx, args| Ok(arguments(cx, args))),
    ("pg_get_functiondef", |cx, args| {
        Ok(oid(args, 0).and_then(|found| procedures::definition(cx, found)))
    }),
    ("pg_get_function_identity_arguments", |cx, args| Ok(arguments(cx, args))),
    ("format_type", |_, args| Ok(oid(args, 0).map(|found| format_type(found, oid(args, 1))))),
    ("regclassout", |cx, args| {
        Ok(oid(args, 0)
            .map(|found| relations::name_of(cx, found).unwrap_or_else(|| or_dash(found))))
    }),
    ("regtypeout", |_, args| {
        Ok(oid(args, 0).map(|found| if found == 0 { "-".into() } else { format_type(found, None) }))
    }),
    ("regnamespaceout", |cx, args| {
        let schemas = relations::schemas(&cx.engine.catalog.names());
        let named = |oid: i64| schemas.iter().find(|(known, _)| i64::from(*known) == oid);
        Ok(oid(args, 0)
            .map(|found| named(found).map_or_else(|| or_dash(found), |(_, name)| quote_name(name))))
    }),
    ("regprocout", |cx, args| {
        Ok(oid(args, 0).map(|found| match procedures::routine(cx, found) {
            _ if found == i64::from(ADVANCE_WATERMARK) => "advance_watermark".to_owned(),
            Some(routine) => quote_name(&routine.name),
            None => or_dash(found),
        }))
    }),
    ("regoperatorout", |_, args| Ok(oid(args, 0).map(operator_name))),
    ("obj_description", |cx, args| match text(args, 1) {
        Some(other) if other != "pg_class" => Ok(None),
        _ => Ok(comment(cx, args, Some(0))),
    }),
    ("col_description", |cx, args| Ok(comment(cx, args, oid(args, 1)))),
    // There are no advisory locks; connection pools let go of all that a client may have taken.
    ("pg_advisory_unlock_all", |_, _| Ok(Some(String::new()))),
    ("textout", |_, args| Ok(text(args, 0).map(str::to_owned))),
    ("pg_size_pretty", |_, args| Ok(text(args, 0).and_then(|n| n.parse::<f64>().ok()).map(pretty))),
];

/// All functions, for one session's statement.
pub(crate) fn all(cx: &SystemContext) -> Vec<Arc<ScalarUDF>> {
    let function = |name: &'static str, call: FunctionBody| {
        // What has an effect is not called before there is a row.
        let volatility =
            if name.ends_with("_backend") { Volatility::Volatile } else { Volatility::Stable };
        let signature =
            Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], volatility);
        Arc::new(ScalarUDF::from(SystemFunction { name, signature, call, cx: cx.clone() }))
    };
    let mut functions: Vec<Arc<ScalarUDF>> = Vec::new();
    let yes = FunctionBody::True(|_, _| Ok(Some(true)));
    let no = FunctionBody::True(|_, _| Ok(Some(false)));
    functions.extend(TRUE.iter().map(|name| function(name, yes)));
    functions.extend(FALSE.iter().map(|name| function(name, no)));
    functions.extend(TRUTHS.iter().map(|(name, call)| function(name, FunctionBody::True(*call))));
    functions.extend(NONE.iter().map(|name| function(name, FunctionBody::Text(|_, _| Ok(None)))));
    functions
        .extend(ZERO.iter().map(|name| function(name, FunctionBody::Number(|_, _| Ok(Some(0))))));
    functions
        .extend(NUMBERS.iter().map(|(name, call)| function(name, FunctionBody::Number(*call))));
    functions.extend(TEXTS.iter().map(|(name, call)| function(name, FunctionBody::Text(*call))));
    functions
}

/// Whether a function of that name is one of these.
pub(crate) fn is_known(name: &str) -> bool {
    TRUE.contains(&name)
        || FALSE.contains(&name)
        || NONE.contains(&name)
        || ZERO.contains(&name)
        || NUMBERS.iter().any(|(known, _)| *known == name)
        || TEXTS.iter().any(|(known, _)| *known == name)
        || TRUTHS.iter().any(|(known, _)| *known == name)
        || ["array_lower", "array_upper"].contains(&name)
        || super::variables::NAMES.contains(&name)
        || ["_pg_expandarray", "pg_get_keywords"].contains(&name)
}

fn text<'a>(args: Texts<'a>, at: usize) -> Option<&'a str> {
    args.get(at).copied().flatten()
}

fn oid(args: Texts, at: usize) -> Option<i64> {
    text(args, at)?.trim().parse().ok()
}

fn or_dash(oid: i64) -> String {
    if oid == 0 { "-".to_owned() } else { oid.to_string() }
}

fn namespace_oid(cx: &SystemContext, name: &str) -> Option<i64> {
    let known = relations::schema_oid(&cx.engine.catalog.names(), name).map(i64::from);
    known.or_else(|| name.parse().ok())
}

fn arguments(cx: &SystemContext, args: Texts) -> Option<String> {
    Some(oid(args, 0).map(|found| procedures::arguments(cx, found)).unwrap_or_default())
}

fn entry(cx: &SystemContext, args: Texts) -> Option<RelationEntry> {
    let oid = relations::find(cx, text(args, 0)?)?;
    relations::users(cx).into_iter().find(|entry| entry.oid == oid)
}

/// What COMMENT says of a relation or of one of its columns.
fn comment(cx: &SystemContext, args: Texts, place: Option<i64>) -> Option<String> {
    let (found, place) = (oid(args, 0)?, usize::try_from(place?).ok()?);
    let names = cx.engine.catalog.names();
    let relation = names.all().find(|relation| i64::from(relations::oid(relation)) == found)?;
    relation.comments.get(&place).cloned()
}

fn view_definition(cx: &SystemContext, args: Texts) -> Option<String> {
    match &entry(cx, args)?.relation?.kind {
        Kind::View { query } => Some(query.clone()),
        Kind::MaterializedView(view) => Some(view.query.clone()),
        Kind::Stream(_) | Kind::Table(_) | Kind::Sink(_) => None,
    }
}

/// CREATE INDEX of a key.
pub(crate) fn index_definition(key: &KeyEntry) -> String {
    format!(
        "CREATE UNIQUE INDEX {} ON {}.{} USING btree ({})",
        quote_name(&key.name),
        quote_name(&key.relation.schema),
        quote_name(&key.relation.name),
        key_list(key)
    )
}

fn key_list(key: &KeyEntry) -> String {
    key.column_names().map(quote_name).collect::<Vec<_>>().join(", ")
}

fn index_text(cx: &SystemContext, args: Texts) -> Option<String> {
    let index = u32::try_from(oid(args, 0)?).ok()?;
    let key = relations::keys(cx).into_iter().find(|key| key.index == index)?;
    match oid(args, 1).and_then(|at| usize::try_from(at).ok()).and_then(|at| at.checked_sub(1)) {
        Some(at) => key.column_names().nth(at).map(quote_name),
        None => Some(index_definition(&key)),
    }
}

fn constraint_text(cx: &SystemContext, args: Texts) -> Option<String> {
    let constraint = u32::try_from(oid(args, 0)?).ok()?;
    if let Some(key) = relations::keys(cx).iter().find(|key| key.constraint == constraint) {
        let what = if key.is_primary { "PRIMARY KEY" } else { "UNIQUE" };
        return Some(format!("{what} ({})", key_list(key)));
    }
    relations::users(cx).iter().find_map(|entry| {
        let mut checks = relations::checks(entry).iter().enumerate();
        let (_, check) =
            checks.find(|(at, _)| relations::check_oid(entry.oid, *at) == constraint)?;
        Some(format!("CHECK ({})", check.condition))
    })
}

/// Bytes that a relation takes: of a stream on disk, of a view in memory.
fn bytes_of(cx: &SystemContext, entry: &RelationEntry) -> i64 {
    let Some(relation) = &entry.relation else { return 0 };
    let bytes = match &relation.kind {
        Kind::Stream(_) => {
            cx.engine.journal.stats(StreamId(relation.id.0)).map_or(0, |stats| stats.bytes)
        }
        Kind::MaterializedView(_) => {
            let id: RelationId = relation.id;
            cx.engine.view(id).map_or(0, |view| view.figures().state_bytes as u64)
        }
        Kind::Table(_) | Kind::View { .. } | Kind::Sink(_) => 0,
    };
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn relation_bytes(cx: &SystemContext, args: Texts) -> Option<i64> {
    entry(cx, args).map(|entry| bytes_of(cx, &entry))
}

/// How many rows a stream or table has.
pub(crate) fn rows_of(cx: &SystemContext, entry: &RelationEntry) -> Option<u64> {
    let relation = entry.relation.as_ref()?;
    match &relation.kind {
        Kind::Stream(_) => {
            cx.engine.journal.stats(StreamId(relation.id.0)).ok().map(|stats| stats.rows)
        }
        Kind::Table(_) => {
            cx.engine.table(relation.id).ok().map(|table| table.version().rows() as u64)
        }
        Kind::View { .. } | Kind::MaterializedView(_) | Kind::Sink(_) => None,
    }
}

/// `pg_size_pretty`: the largest unit of which there are at least ten.
fn pretty(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if value.abs() < 10_240.0 {
            return format!("{value:.0} {unit}");
        }
        value /= 1_024.0;
    }
    format!("{value:.0} PB")
}
