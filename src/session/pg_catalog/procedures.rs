//! `pg_proc`: the functions that can be called, those of the user's among them, and what `\df` and
//! `\sf` ask of one.
//!
//! Of the system's functions only the names are known here; of the user's all that they declare.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use super::super::transaction::SystemContext;
use super::relations::{ADVANCE_WATERMARK, OWNER, PG_CATALOG, PUBLIC, object_oid};
use super::shape::{SystemValue, TableColumns, row};
use crate::catalog::{BodyText, FunctionDef, Routine, RoutineKind, Stability};
use crate::error::Result;
use crate::plan::relations::NoRelations;
use crate::types::quote_name;

/// Where the oids of the system's functions begin.
const FIRST_FUNCTION: u32 = 20_000_000;

/// The oids of the languages.
const INTERNAL: u32 = 12;
const SQL: u32 = 14;

/// What `\sf` shows of it.
const ADVANCE_WATERMARK_DEFINITION: &str = "CREATE OR REPLACE FUNCTION public.advance_watermark(stream text, \
    watermark timestamp without time zone)\n RETURNS timestamp without time zone\n LANGUAGE internal\n\
    AS $function$advance_watermark$function$\n";

/// A row of `pg_proc`, as far as rows differ.
struct Procedure<'a> {
    oid: u32,
    name: &'a str,
    namespace: u32,
    language: u32,
    kind: &'a str,
    strict: bool,
    stability: &'a str,
    returns: u32,
    types: Vec<u32>,
    names: Option<Vec<String>>,
    source: &'a str,
}

impl Procedure<'_> {
    fn system<'a>(oid: u32, name: &'a str, kind: &'a str) -> Procedure<'a> {
        Procedure {
            oid,
            name,
            namespace: PG_CATALOG,
            language: INTERNAL,
            kind,
            strict: false,
            stability: "s",
            returns: 0,
            types: Vec::new(),
            names: None,
            source: name,
        }
    }

    fn user(routine: &Routine) -> Procedure<'_> {
        let (strict, stability, source) = match &routine.kind {
            RoutineKind::Function(def) => {
                let (BodyText::Text(source) | BodyText::Return(source)) = &def.body;
                let stability = match def.stability {
                    Stability::Immutable => "i",
                    Stability::Stable => "s",
                    Stability::Volatile => "v",
                };
                (def.strict, stability, source.as_str())
            }
            RoutineKind::Aggregate(_) => (false, "i", "aggregate_dummy"),
        };
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        let names: Vec<String> = routine.arguments.iter().map(|a| name(&a.name)).collect();
        Procedure {
            oid: object_oid(routine.id),
            name: &routine.name,
            namespace: PUBLIC,
            language: if routine.is_aggregate() { INTERNAL } else { SQL },
            kind: if routine.is_aggregate() { "a" } else { "f" },
            strict,
            stability,
            returns: routine.returns.oid(),
            types: routine.arguments.iter().map(|a| a.sql_type.oid()).collect(),
            names: names.iter().any(|name| !name.is_empty()).then_some(names),
            source,
        }
    }

    fn row(self) -> Vec<SystemValue> {
        let list = |items: Vec<String>| format!("{{{}}}", items.join(","));
        let types = list(self.types.iter().map(ToString::to_string).collect());
        let quoted =
            |name: &String| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
        let names = match &self.names {
            Some(names) => SystemValue::from(list(names.iter().map(quoted).collect())),
            None => SystemValue::Null,
        };
        row![
            self.oid,
            self.name,
            self.namespace,
            OWNER,
            self.language,
            1.0,
            0.0,
            0,
            0,
            self.kind,
            false,
            false,
            self.strict,
            false,
            self.stability,
            "s",
            self.types.len(),
            0,
            self.returns,
            types,
            SystemValue::Null,
            SystemValue::Null,
            names,
            SystemValue::Null,
            SystemValue::Null,
            self.source,
        ]
    }
}

/// `pg_proc`.
pub(super) fn table(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "oid:oid proname:name pronamespace:oid proowner:oid prolang:oid procost:float4 prorows:float4 provariadic:oid \
         prosupport:oid prokind:char prosecdef:bool proleakproof:bool proisstrict:bool proretset:bool provolatile:char \
         proparallel:char pronargs:int2 pronargdefaults:int2 prorettype:oid proargtypes:oid[] proallargtypes:oid[] \
         proargmodes:text[] proargnames:text[] proargdefaults:text protrftypes:oid[] prosrc:text probin:text \
         prosqlbody:text proconfig:text[] proacl:text[]",
    )?;
    // `advance_watermark` is a statement of its own.
    let advance = Procedure {
        namespace: PUBLIC,
        returns: 1114,
        types: vec![25, 1114],
        ..Procedure::system(ADVANCE_WATERMARK, "advance_watermark", "f")
    };
    let names = cx.engine.catalog.names();
    let mut rows = vec![advance.row()];
    rows.extend(names.routines().map(|routine| Procedure::user(routine).row()));
    let state = cx.engine.planner.snapshot_state(Arc::new(NoRelations::default()));
    let scalars = state.scalar_functions().keys().map(|name| (name.clone(), "f"));
    let aggregates = state.aggregate_functions().keys().map(|name| (name.clone(), "a"));
    let windows = state.window_functions().keys().map(|name| (name.clone(), "w"));
    let mut names: Vec<(String, &str)> = scalars.chain(aggregates).chain(windows).collect();
    names.retain(|(name, _)| !name.contains('.'));
    names.sort();
    names.dedup_by(|a, b| a.0 == b.0);
    let listed = names.iter().enumerate();
    rows.extend(
        listed.map(|(at, (name, kind))| {
            Procedure::system(FIRST_FUNCTION + at as u32, name, kind).row()
        }),
    );
    shape.table(rows)
}

/// The user's function of that oid.
pub(super) fn routine(cx: &SystemContext, oid: i64) -> Option<Arc<Routine>> {
    let names = cx.engine.catalog.names();
    names.routines().find(|routine| i64::from(object_oid(routine.id)) == oid).cloned()
}

/// The oid of the user's only function of that name.
pub(super) fn oid_of(cx: &SystemContext, name: &str) -> Option<i64> {
    let names = cx.engine.catalog.names();
    let name = name.split('(').next().unwrap_or(name);
    let name = name.strip_prefix("public.").unwrap_or(name);
    match names.routines_named(name) {
        [routine] => Some(object_oid(routine.id).into()),
        _ => None,
    }
}

/// `pg_get_function_arguments`.
pub(super) fn arguments(cx: &SystemContext, oid: i64) -> String {
    if oid == i64::from(ADVANCE_WATERMARK) {
        return "stream text, watermark timestamp without time zone".to_owned();
    }
    routine(cx, oid).map(|routine| routine.declared_arguments()).unwrap_or_default()
}

/// `pg_get_function_result`.
pub(super) fn result(cx: &SystemContext, oid: i64) -> String {
    if oid == i64::from(ADVANCE_WATERMARK) {
        return "timestamp without time zone".to_owned();
    }
    routine(cx, oid).map(|routine| routine.returns.to_string()).unwrap_or_default()
}

/// `pg_get_functiondef`: the statement that makes it.
pub(super) fn definition(cx: &SystemContext, oid: i64) -> Option<String> {
    if oid == i64::from(ADVANCE_WATERMARK) {
        return Some(ADVANCE_WATERMARK_DEFINITION.to_owned());
    }
    let routine = routine(cx, oid)?;
    match &routine.kind {
        RoutineKind::Function(def) => Some(create_text(&routine, def)),
        RoutineKind::Aggregate(_) => None,
    }
}

/// The statement that makes a function again.
fn create_text(routine: &Routine, def: &FunctionDef) -> String {
    let FunctionDef { body, strict, stability, .. } = def;
    let mut clauses = Vec::new();
    match stability {
        Stability::Immutable => clauses.push("IMMUTABLE"),
        Stability::Stable => clauses.push("STABLE"),
        Stability::Volatile => {}
    }
    if *strict {
        clauses.push("STRICT");
    }
    let clauses =
        if clauses.is_empty() { String::new() } else { format!(" {}\n", clauses.join(" ")) };
    let body = match body {
        BodyText::Text(text) if text.contains("$function$") => {
            format!("AS '{}'", text.replace('\'', "''"))
        }
        BodyText::Text(text) => format!("AS $function${text}$function$"),
        BodyText::Return(expr) => format!("RETURN {expr}"),
    };
    format!(
        "CREATE OR REPLACE FUNCTION public.{}({})\n RETURNS {}\n LANGUAGE sql\n{clauses}{body}\n",
        quote_name(&routine.name),
        routine.declared_arguments(),
        routine.returns.declaration()
    )
}
