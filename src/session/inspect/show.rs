//! SHOW and DESCRIBE.

use arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::ObjectName;
use std::sync::Arc;

use crate::catalog::{
    Column, Emission, Kind, Relation, Routine, SinkDef, StreamDef, TableDef, ViewDef,
};
use crate::error::{Error, Result};
use crate::exec::Engine;
use crate::limits;
use crate::session::client_session::Outcome;
use crate::session::read::rows::{text_rows, text_schema};
use crate::session::session::Session;
use crate::session::settings::name_of;
use crate::sql::{IntervalParts, Listing, Statement, relation_name};
use crate::types::quote_name;

const DESCRIBE: &[&str] = &["column", "type", "nullable", "default", "extra"];
const SETTINGS: &[&str] = &["name", "setting", "description"];
const STREAMS: &[&str] = &["name", "connector", "watermark"];
const SINKS: &[&str] = &["name", "connector", "state"];
const QUERIES: &[&str] = &["name", "state", "sql"];
const FUNCTIONS: &[&str] = &["name", "arguments", "returns", "kind"];

/// The columns of a statement of this file; None for any other.
pub fn schema(statement: &Statement) -> Option<SchemaRef> {
    match statement {
        Statement::ShowRelations(listing) => Some(text_schema(listing_columns(*listing))),
        Statement::ShowCreate(_) => Some(text_schema(&["name", "create_statement"])),
        Statement::Describe(_) => Some(text_schema(DESCRIBE)),
        Statement::ShowVariable(None) => Some(text_schema(SETTINGS)),
        Statement::ShowVariable(Some(name)) => Some(text_schema(&[name_of(name)])),
        _ => None,
    }
}

fn listing_columns(listing: Listing) -> &'static [&'static str] {
    match listing {
        Listing::Streams => STREAMS,
        Listing::Tables | Listing::Views => &["name"],
        Listing::Sinks => SINKS,
        Listing::MaterializedViews => &["name", "state"],
        Listing::Queries => QUERIES,
        Listing::Functions => FUNCTIONS,
    }
}

/// Runs SHOW or DESCRIBE.
pub fn show(session: &Session, statement: &Statement) -> Result<Outcome> {
    match statement {
        Statement::ShowRelations(listing) => {
            text_rows("SHOW", listing_columns(*listing), &listed(&session.engine, *listing)?)
        }
        Statement::ShowCreate(name) => {
            let relation = find(&session.engine, name)?;
            let row = vec![Some(relation.shown_name()), Some(create_text(&relation))];
            text_rows("SHOW", &["name", "create_statement"], &[row])
        }
        Statement::Describe(name) => {
            let relation = find(&session.engine, name)?;
            text_rows("DESCRIBE", DESCRIBE, &described(&relation))
        }
        Statement::ShowVariable(None) => {
            let rows: Vec<_> = session
                .settings
                .all()
                .into_iter()
                .map(|(n, v, about)| vec![Some(n), Some(v), Some(about)])
                .collect();
            text_rows("SHOW", SETTINGS, &rows)
        }
        Statement::ShowVariable(Some(name)) => {
            text_rows("SHOW", &[name_of(name)], &[vec![Some(session.settings.get(name)?)]])
        }
        _ => Err(Error::internal("a statement that shows nothing")),
    }
}

/// The users' relation of that name.
pub fn find(engine: &Engine, name: &ObjectName) -> Result<Arc<Relation>> {
    let found = relation_name(name)?;
    let names = engine.catalog.names();
    if found.is_of_system() {
        return Err(Error::unsupported("this is for relations that were made")
            .hint("Columns of system relations are in information_schema.columns."));
    }
    found.get(&names).cloned()
}

fn listed(engine: &Engine, listing: Listing) -> Result<Vec<Vec<Option<String>>>> {
    let names = engine.catalog.names();
    let mut rows = Vec::new();
    if listing == Listing::Functions {
        return Ok(names.routines().map(|routine| function_row(routine)).collect());
    }
    for relation in names.all() {
        let name = Some(relation.shown_name());
        match (listing, &relation.kind) {
            (Listing::Streams, Kind::Stream(stream)) => {
                let connector = stream.connector_name().map(str::to_owned);
                rows.push(vec![name, connector, watermark_text(relation, stream)]);
            }
            (Listing::Tables, Kind::Table(_)) | (Listing::Views, Kind::View { .. }) => {
                rows.push(vec![name])
            }
            (Listing::MaterializedViews, Kind::MaterializedView(_)) => {
                rows.push(vec![name, Some(state(engine, relation)?)]);
            }
            (Listing::Sinks, Kind::Sink(sink)) => {
                let connector = sink.connector.name().map(str::to_owned);
                rows.push(vec![name, connector, Some(state(engine, relation)?)]);
            }
            (Listing::Queries, _) if let Some(def) = relation.running() => {
                rows.push(vec![name, Some(state(engine, relation)?), Some(def.query.clone())]);
            }
            _ => {}
        }
    }
    if listing == Listing::Queries {
        let running = engine.temporary_queries();
        rows.extend(
            running
                .iter()
                .map(|query| vec![None, Some("running".to_owned()), Some(query.sql.clone())]),
        );
    }
    Ok(rows)
}

/// Where the query of a relation is in its life.
fn state(engine: &Engine, relation: &Relation) -> Result<String> {
    Ok(engine.view(relation.id)?.phase().borrow().name().to_owned())
}

fn function_row(routine: &Routine) -> Vec<Option<String>> {
    vec![
        Some(routine.name.clone()),
        Some(routine.declared_arguments()),
        Some(routine.returns.declaration()),
        Some(if routine.is_aggregate() { "aggregate" } else { "function" }.to_owned()),
    ]
}

fn watermark_text(relation: &Relation, stream: &StreamDef) -> Option<String> {
    let watermark = stream.watermark.as_ref()?;
    let column = quote_name(&relation.columns.get(watermark.column)?.name);
    Some(match &watermark.text {
        Some(text) if *text != column => format!("{column} AS {text}"),
        _ => column,
    })
}

fn described(relation: &Relation) -> Vec<Vec<Option<String>>> {
    let watermark = match &relation.kind {
        Kind::Stream(StreamDef { watermark: Some(watermark), .. }) => Some(watermark),
        _ => None,
    };
    let row = |(at, column): (usize, &Column)| {
        let mut extra = Vec::new();
        if let Some(text) = &column.generated {
            extra.push(format!("generated always as ({text})"));
        }
        if let Some(watermark) = watermark.filter(|watermark| watermark.column == at) {
            extra.push(format!("watermark {}", watermark.text.as_deref().unwrap_or(&column.name)));
        }
        if let Kind::Table(TableDef { primary_key, .. }) = &relation.kind
            && primary_key.contains(&at)
        {
            extra.push("primary key".to_owned());
        }
        vec![
            Some(column.name.clone()),
            Some(column.sql_type.declaration()),
            Some(if column.not_null { "no" } else { "yes" }.to_owned()),
            column.default.clone(),
            Some(extra.join(", ")),
        ]
    };
    relation.columns.iter().enumerate().map(row).collect()
}

/// What option names look like whose values are nobody's business.
const SECRETS: [&str; 4] = ["password", "secret", "token", "key"];

/// The statement that makes the relation again; secrets are left out.
pub fn create_text(relation: &Relation) -> String {
    match &relation.kind {
        Kind::Stream(stream) => match &stream.query {
            Some(query) => derived_text(relation, stream, query),
            None => stream_text(relation, stream),
        },
        Kind::Table(table) => table_text(relation, table),
        Kind::View { query } => {
            format!(
                "CREATE VIEW {} ({}) AS {query}",
                relation.quoted_name(),
                column_names(relation)
            )
        }
        Kind::MaterializedView(def) => view_text(relation, def),
        Kind::Sink(sink) => sink_text(relation, sink),
    }
}

fn column_names(relation: &Relation) -> String {
    relation.columns.iter().map(|column| quote_name(&column.name)).collect::<Vec<_>>().join(", ")
}

fn column_text(column: &Column) -> String {
    let mut text = format!("    {} {}", quote_name(&column.name), column.sql_type.declaration());
    if column.not_null {
        text.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        text.push_str(&format!(" DEFAULT {default}"));
    }
    if let Some(generated) = &column.generated {
        text.push_str(&format!(" GENERATED ALWAYS AS ({generated}) STORED"));
    }
    text
}

fn with_text(options: &[(String, String)]) -> String {
    if options.is_empty() {
        return String::new();
    }
    let options: Vec<String> = options
        .iter()
        .map(|(name, value)| {
            let is_secret = SECRETS.iter().any(|secret| name.contains(secret));
            let value = if is_secret { "********" } else { value.as_str() };
            format!("    {} = '{}'", quote_name(name), value.replace('\'', "''"))
        })
        .collect();
    format!(" WITH (\n{}\n)", options.join(",\n"))
}

/// Milliseconds as an option's value: `7 days`.
fn duration(ms: i64) -> String {
    IntervalParts::from_micros(ms.saturating_mul(1_000)).to_string()
}

fn stream_text(relation: &Relation, stream: &StreamDef) -> String {
    let mut items: Vec<String> = relation.columns.iter().map(column_text).collect();
    if let Some(watermark) = watermark_text(relation, stream) {
        items.push(format!("    WATERMARK FOR {watermark}"));
    }
    let options = match &stream.connector {
        Some(connector) => connector.options.clone(),
        None => {
            let fed = stream.feeder.iter().flat_map(|feeder| feeder.options.clone());
            fed.chain(log_options(stream)).collect()
        }
    };
    format!(
        "CREATE STREAM {} (\n{}\n){}",
        relation.quoted_name(),
        items.join(",\n"),
        with_text(&options)
    )
}

/// The options of an embedded log.
fn log_options(stream: &StreamDef) -> Vec<(String, String)> {
    let is_fed = stream.feeder.is_some();
    let max_future = match stream.max_future_ms {
        None if is_fed => Some(("max_future".to_owned(), "none".to_owned())),
        Some(limits::MAX_FUTURE_MS) if is_fed => None,
        ms => ms.map(|ms| ("max_future".to_owned(), duration(ms))),
    };
    let time = |name: &str, ms: Option<i64>| ms.map(|ms| (name.to_owned(), duration(ms)));
    let bytes =
        stream.retention_bytes.map(|bytes| ("retention_bytes".to_owned(), bytes.to_string()));
    let all = [
        time("retention", stream.retention_ms),
        bytes,
        time("idle_timeout", stream.idle_timeout_ms),
        stream.idle_advance.then(|| ("idle_advance".to_owned(), "true".to_owned())),
        max_future,
        time("max_lag", stream.max_lag_ms),
    ];
    all.into_iter().flatten().collect()
}

fn derived_text(relation: &Relation, stream: &StreamDef, query: &ViewDef) -> String {
    let mut options = log_options(stream);
    options.extend(running_options(query));
    format!(
        "CREATE STREAM {} ({}){} AS {}{}",
        relation.quoted_name(),
        column_names(relation),
        with_text(&options),
        query.query,
        emit_text(query)
    )
}

fn table_text(relation: &Relation, table: &TableDef) -> String {
    let mut items: Vec<String> = relation.columns.iter().map(column_text).collect();
    items.extend(relation.keys().into_iter().map(|key| {
        let columns = key.columns.iter().filter_map(|at| relation.columns.get(*at));
        let columns: Vec<String> = columns.map(|column| quote_name(&column.name)).collect();
        let list = columns.join(", ");
        if key.is_primary {
            format!("    PRIMARY KEY ({list})")
        } else {
            format!("    CONSTRAINT {} UNIQUE ({list})", quote_name(&key.constraint))
        }
    }));
    items.extend(table.checks.iter().map(|check| {
        format!("    CONSTRAINT {} CHECK ({})", quote_name(&check.name), check.condition)
    }));
    format!("CREATE TABLE {} (\n{}\n)", relation.quoted_name(), items.join(",\n"))
}

/// The options of how a query runs.
fn running_options(def: &ViewDef) -> Vec<(String, String)> {
    let option = |name: &str, value: String| Some((name.to_owned(), value));
    let time = |name: &str, ms: Option<i64>| option(name, duration(ms?));
    let all = [
        time("allowed_lateness", Some(def.lateness_ms).filter(|ms| *ms > 0)),
        time("retention", def.retention_ms),
        def.from_latest.then(|| option("scan_startup", "latest".to_owned())).flatten(),
        time("state_ttl", def.state.ttl_ms),
        def.state.revises.then(|| option("table_changes", "revise".to_owned())).flatten(),
    ];
    all.into_iter().flatten().collect()
}

fn view_text(relation: &Relation, def: &ViewDef) -> String {
    let options = running_options(def);
    format!(
        "CREATE MATERIALIZED VIEW {} ({}){} AS {}{}",
        relation.quoted_name(),
        column_names(relation),
        with_text(&options),
        def.query,
        emit_text(def)
    )
}

fn emit_text(def: &ViewDef) -> &'static str {
    match def.emission {
        Emission::OnClose => " EMIT ON WINDOW CLOSE",
        Emission::OnChange => "",
    }
}

fn sink_text(relation: &Relation, sink: &SinkDef) -> String {
    let query = &sink.query;
    format!(
        "CREATE SINK {} AS {}{}{}",
        relation.quoted_name(),
        query.query,
        emit_text(query),
        with_text(&sink.connector.options)
    )
}
