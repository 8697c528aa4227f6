//! Tests over whole statements: a text, and what it must become.
//!
//! What is expected is a part of the statement's debug form (with AST nodes printed as SQL by
//! [`show`]), or for errors `SQLSTATE position message`.

use datafusion::sql::sqlparser::ast::Expr;

use super::*;
use crate::error::Error;

/// A statement in one line: queries as SQL in normal form.
fn show(statement: &Statement) -> String {
    let query = |q: &ContinuousQuery| match q.emit {
        Some(emit) => format!("{} EMIT {emit:?}", q.query),
        None => q.query.to_string(),
    };
    let subscribe = |s: &Subscribe| {
        let what = match &s.what {
            SubscribeTo::Relation(name) => name.to_string(),
            SubscribeTo::Query(q) => query(q),
        };
        format!(
            "Subscribe {what} snapshot={} progress={} as_of={:?}",
            s.snapshot, s.progress, s.as_of
        )
    };
    let names = |names: &[datafusion::sql::sqlparser::ast::Ident]| {
        names.iter().map(|n| n.to_string()).collect::<Vec<_>>().join(",")
    };
    let arguments = |arguments: &[RoutineArgument]| {
        let argument = |a: &RoutineArgument| {
            let name = a.name.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
            format!("{name}{}", a.sql_type)
        };
        arguments.iter().map(argument).collect::<Vec<_>>().join(", ")
    };
    match statement {
        Statement::Query(q) => query(q),
        Statement::Explain(Explain::Query { analyze, verbose, query: q }) => {
            format!("Explain analyze={analyze} verbose={verbose} {}", query(q))
        }
        Statement::Subscribe(s) => subscribe(s),
        Statement::Insert(insert) => insert.to_string(),
        Statement::Update(update) => update.to_string(),
        Statement::Delete(delete) => delete.to_string(),
        Statement::CopyFrom(copy) => {
            format!("CopyFrom {}({}) {:?}", copy.name, names(&copy.columns), copy.options)
        }
        Statement::CopyTo(copy) => match &copy.source {
            CopySource::Relation { name, columns } => {
                format!("CopyTo {name}({}) {:?}", names(columns), copy.options)
            }
            CopySource::Query(q) => format!("CopyTo {} {:?}", query(q), copy.options),
            CopySource::Subscribe(s) => format!("CopyTo {} {:?}", subscribe(s), copy.options),
        },
        Statement::CreateStream(relation) => format!("Stream {}", show_relation(relation)),
        Statement::CreateTable(relation) => format!("Table {}", show_relation(relation)),
        Statement::CreateTableAs { name, if_not_exists, columns, query, with_data } => {
            format!("TableAs {name} {if_not_exists} ({}) {query} {with_data:?}", names(columns))
        }
        Statement::CreateView { name, or_replace, if_not_exists, columns, query, text } => {
            format!(
                "View {name} {or_replace} {if_not_exists} ({}) {query} [{text}]",
                names(columns)
            )
        }
        Statement::CreateMaterializedView {
            name,
            if_not_exists,
            columns,
            options,
            query: q,
            text,
        } => {
            format!(
                "MaterializedView {name} {if_not_exists} ({}) {:?} {} [{text}]",
                names(columns),
                options.0,
                query(q)
            )
        }
        Statement::CreateSink(s) => {
            let source = match &s.source {
                SinkSource::Relation(name) => format!("FROM {name}"),
                SinkSource::Query(q, text) => format!("AS {} [{text}]", query(q)),
            };
            format!("Sink {} {} {source} {:?}", s.name, s.if_not_exists, s.options.0)
        }
        Statement::CreateFunction(f) => format!(
            "Function {} {} ({}) {} {:?} {} {:?}",
            f.name,
            f.or_replace,
            arguments(&f.arguments),
            f.returns,
            f.body,
            f.strict,
            f.stability
        ),
        Statement::CreateAggregate(a) => {
            let function = |name: &Option<_>| name.as_ref().map(ToString::to_string);
            format!(
                "Aggregate {} {} ({}) {} {:?} {} {:?}",
                a.name,
                a.or_replace,
                arguments(&a.arguments),
                a.state,
                a.initial,
                a.transition,
                [&a.combine, &a.finish, &a.inverse].map(function)
            )
        }
        Statement::DropRoutines { kind, if_exists, routines, cascade } => {
            let named: Vec<String> =
                routines.iter().map(|r| format!("{}{:?}", r.name, r.types)).collect();
            format!("Drop {kind:?} {if_exists} {} {cascade:?}", named.join(", "))
        }
        Statement::Declare { name, binary, hold, source } => {
            let source = match source {
                CursorSource::Query(q) => query(q),
                CursorSource::Subscribe(s) => subscribe(s),
            };
            format!("Declare {name} binary={binary} hold={hold} {source}")
        }
        Statement::Fetch { name, count, timeout } => format!("Fetch {name} {count:?} {timeout:?}"),
        Statement::Move { name, count } => format!("Move {name} {count:?}"),
        Statement::Prepare { name, types, statement } => {
            format!("Prepare {name} {types:?} {}", show(statement))
        }
        Statement::Execute { name, values } => {
            let values: Vec<String> = values.iter().map(Expr::to_string).collect();
            format!("Execute {name} {}", values.join(", "))
        }
        Statement::Drop { kind, if_exists, names, cascade } => {
            let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
            format!("Drop {kind:?} {if_exists} {} {cascade:?}", names.join(","))
        }
        Statement::Rename { kind, name, to } => format!("Rename {kind:?} {name} {to}"),
        Statement::SetRunning { kind, name, run } => format!("{run:?} {kind:?} {name}"),
        Statement::ShowCreate(name) => format!("ShowCreate {name}"),
        Statement::Describe(name) => format!("Describe {name}"),
        Statement::Explain(Explain::View { analyze, name }) => {
            format!("ExplainView analyze={analyze} {name}")
        }
        Statement::Explain(Explain::Watermark(name)) => format!("ExplainWatermark {name}"),
        Statement::Truncate(names) => {
            format!(
                "Truncate {}",
                names.iter().map(|n| n.to_string()).collect::<Vec<_>>().join(",")
            )
        }
        Statement::Close(name) => format!("Close {:?}", name.as_ref().map(|n| n.to_string())),
        Statement::Deallocate(name) => {
            format!("Deallocate {:?}", name.as_ref().map(|n| n.to_string()))
        }
        Statement::Savepoint(name) => format!("Savepoint {name}"),
        Statement::RollbackTo(name) => format!("RollbackTo {name}"),
        Statement::Release(name) => format!("Release {name}"),
        other => format!("{other:?}"),
    }
}

fn show_relation(relation: &CreateRelation) -> String {
    let mut out = format!("{} (", relation.name);
    for column in &relation.columns {
        out += &format!("{}", column.name);
        if let Some(sql_type) = &column.sql_type {
            out += &format!(" {sql_type:?}");
        }
        if column.not_null {
            out += " not null";
        }
        if let Some(default) = &column.default {
            out += &format!(" default {default}");
        }
        if let Some(generated) = &column.generated {
            out += &format!(" as {generated}");
        }
        out += "; ";
    }
    if let Some(watermark) = &relation.watermark {
        let expr = watermark.expr.as_ref().map(|e| e.to_string()).unwrap_or_default();
        out += &format!("watermark {} [{expr}] at {}; ", watermark.column, watermark.position);
    }
    if !relation.primary_key.is_empty() {
        let key: Vec<String> = relation.primary_key.iter().map(|k| k.to_string()).collect();
        out += &format!("key {}; ", key.join(","));
    }
    format!("{out}) {:?}", relation.options.0)
}

#[track_caller]
fn check(sql: &str, expect: &str) {
    match parse(sql) {
        Ok(parsed) => {
            let shown: Vec<String> = parsed.iter().map(|p| show(&p.statement)).collect();
            assert_eq!(shown.join(" | "), expect, "\nfor {sql}");
        }
        Err(error) => panic!("{sql}\n{}", show_error(&error)),
    }
}

/// It is read, whatever it becomes.
#[track_caller]
fn reads(sql: &str) {
    if let Err(error) = parse(sql) {
        panic!("{sql}\n{}", show_error(&error));
    }
}

fn show_error(error: &Error) -> String {
    let position = error.position().map_or("-".into(), |p| p.to_string());
    format!("{} {position} {}", error.state().code(), error.message())
}

#[track_caller]
fn fails(sql: &str, expect: &str) {
    match parse(sql) {
        Ok(parsed) => {
            panic!(
                "{sql}\nwas read as {:?}",
                parsed.iter().map(|p| show(&p.statement)).collect::<Vec<_>>()
            )
        }
        Err(error) => assert_eq!(show_error(&error), expect, "\nfor {sql}"),
    }
}

mod limits;
mod statements;
mod streaming;
