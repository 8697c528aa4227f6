//! CREATE SINK: a query whose changes go outside; and INSERT into a stream whose connector only takes,
//! which is the same with columns to fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::view::{notices, once, runnable, running_options, without_emit};
use super::{Definer, Done, commit_new, is_taken, new_name, options};
use crate::catalog::{Column, Connector, Kind, Relation, RelationId, SinkDef, SinkForm, ViewDef};
use crate::connect::SINK_CONNECTORS;
use crate::error::{Error, Result, SqlState};
use crate::exec::define::{columns_of, emission};
use crate::exec::publishing::published_schema;
use crate::session::inspect::show;
use crate::session::read::continuous::{self, AtLimit, ContinuousPlan, Reading};
use crate::session::write;
use crate::sql::{self, ContinuousQuery, CreateSink, FeedSink, Options, RelationName, SinkSource};
use crate::types::quote_name;

/// A query that has been planned, as a sink or a stream is fed by it.
pub(super) struct Feeding {
    pub(super) query: ContinuousQuery,
    /// Without EMIT.
    pub(super) text: String,
    pub(super) reading: Reading,
    pub(super) plan: ContinuousPlan,
}

impl Feeding {
    /// Plans it, and sees to it that it can be run.
    pub(super) async fn of(
        cx: &Definer,
        query: ContinuousQuery,
        text: &str,
        options: &Options,
    ) -> Result<Feeding> {
        let reading = running_options(cx, options)?;
        let plan = continuous::plan(&cx.engine, &query, &reading, AtLimit::Keeps).await?;
        runnable(&cx.engine, &plan).await?;
        Ok(Feeding { query, text: without_emit(text), reading, plan })
    }

    /// Whether it takes no row back.
    pub(super) fn appends(&self) -> bool {
        self.plan.pipeline.is_append_only()
    }

    /// As it is stored.
    pub(super) fn definition(&self) -> ViewDef {
        ViewDef {
            query: self.text.clone(),
            emission: emission(self.query.emit, self.plan.pipeline.emission),
            lateness_ms: self.reading.lateness_ms,
            retention_ms: None,
            from_latest: self.reading.from_latest,
            paused: false,
            append_only: self.appends(),
            state: self.reading.state,
            answers: None,
        }
    }

    /// What is said when it has begun.
    pub(super) fn done(&self, tag: &str, id: RelationId) -> Done {
        Done {
            tag: tag.to_owned(),
            notices: notices(&self.plan.pipeline),
            from_now: self.reading.from_latest.then_some(id),
        }
    }
}

/// Makes a sink.
pub async fn create(cx: &Definer, create: CreateSink) -> Result<Done> {
    let tag = "CREATE SINK";
    let name = new_name(&cx.engine, &create.name)?;
    if let Some(notice) = is_taken(&cx.engine, &name, create.if_not_exists)? {
        return Ok(Done::with(tag, notice));
    }
    if options::get(&create.options, "connector").is_none() {
        let what = "a sink needs a connector";
        return Err(Error::new(SqlState::BadArgument, what).hint(format!(
            "Write WITH (connector = '…', …), with one of: {}.",
            SINK_CONNECTORS.join(", ")
        )));
    }
    let (query, text) = match create.source {
        SinkSource::Query(query, text) => (query, text),
        SinkSource::Relation(name) => {
            let relation = show::find(&cx.engine, &name)?;
            let text = format!("SELECT * FROM {}", relation.quoted_name());
            (sql::parse_query(&text)?, text)
        }
    };
    let feeding = Feeding::of(cx, query, &text, &create.options).await?;
    let columns = columns_of(&feeding.plan.schema, &[])?;
    let depends_on = once(feeding.plan.used.clone());
    let form = form(&create.options, feeding.appends())?;
    let connector = Connector { options: create.options.0 };
    let sink = SinkDef { query: feeding.definition(), connector, form };
    let id = commit(cx, name, columns, sink, depends_on).await?;
    Ok(feeding.done(tag, id))
}

/// INSERT INTO a stream whose connector only takes: its query feeds that from now on, as a sink with a
/// name of its own.
pub async fn feed(cx: &Definer, feed: FeedSink) -> Result<Done> {
    let into = show::find(&cx.engine, &feed.name)?;
    let Kind::Stream(def) = &into.kind else { return Err(no_sink(&into)) };
    let Some(connector) = def.connector.clone().filter(|_| write::is_sink(&into)) else {
        return Err(no_sink(&into));
    };
    let targets = match feed.columns.as_slice() {
        [] => (0..into.columns.len()).collect(),
        named => write::columns(&into, named)?,
    };
    let none = Options::default();
    let given = Feeding::of(cx, feed.query, &feed.text, &none).await?;
    let feeding = match fitted(&into, &targets, &given)? {
        None => given,
        Some(text) => {
            let query = ContinuousQuery { emit: given.query.emit, ..sql::parse_query(&text)? };
            Feeding::of(cx, query, &text, &none).await?
        }
    };
    let mut depends_on = feeding.plan.used.clone();
    depends_on.push(into.id);
    let options = Options(connector.options.clone());
    let form = form(&options, feeding.appends())?;
    let sink = SinkDef { query: feeding.definition(), connector, form };
    let name = free_name(cx, &into);
    let shown = quote_name(&name.name);
    let columns = into.columns.iter().map(|column| Column { not_null: false, ..column.clone() });
    let id = commit(cx, name, columns.collect(), sink, once(depends_on)).await?;
    let mut done = feeding.done("INSERT 0 0", id);
    let notice = Error::new(
        SqlState::Success,
        format!("the query feeds \"{}\" as the sink {shown}", into.name),
    )
    .hint(format!("DROP SINK {shown} ends it."));
    done.notices.push(("NOTICE", notice));
    Ok(done)
}

fn no_sink(relation: &Relation) -> Error {
    let what = format!("a continuous INSERT into a {} is not supported", relation.kind_name());
    Error::unsupported(what)
        .hint("Leave out EMIT to insert the query's present rows, or use CREATE STREAM … AS, CREATE SINK or a materialized view.")
}

/// The query with the columns of what it goes to; None: it has them.
fn fitted(into: &Relation, targets: &[usize], given: &Feeding) -> Result<Option<String>> {
    let fields = given.plan.schema.fields();
    if fields.len() != targets.len() {
        let what = if fields.len() > targets.len() {
            "INSERT has more expressions than target columns"
        } else {
            "INSERT has more target columns than expressions"
        };
        return Err(Error::new(SqlState::Syntax, what));
    }
    for (field, target) in fields.iter().zip(targets) {
        write::check_assignable(field, field.data_type(), &into.columns[*target])?;
    }
    let is_type = |(field, target): (&arrow::datatypes::FieldRef, &usize)| {
        crate::types::SqlType::from_field(field) == into.columns[*target].sql_type
    };
    let in_order = targets.iter().copied().eq(0..into.columns.len());
    if in_order && fields.iter().zip(targets).all(is_type) {
        return Ok(None);
    }
    let column = |(at, column): (usize, &Column)| {
        let given = targets.iter().position(|target| *target == at);
        let value = given.map_or_else(|| "NULL".to_owned(), |given| format!("\"c{given}\""));
        let name = quote_name(&column.name);
        format!("CAST({value} AS {}) AS {name}", column.sql_type.in_cast())
    };
    let columns: Vec<String> = into.columns.iter().enumerate().map(column).collect();
    let names: Vec<String> = (0..targets.len()).map(|given| format!("\"c{given}\"")).collect();
    let (columns, names) = (columns.join(", "), names.join(", "));
    Ok(Some(format!("SELECT {columns} FROM ({}) AS \"given\" ({names})", given.text)))
}

/// The first name that is free of those with a number behind the stream's.
fn free_name(cx: &Definer, into: &Relation) -> RelationName {
    let names = cx.engine.catalog.names();
    let numbered = (1..).map(|number| RelationName {
        schema: Some(into.schema.clone()),
        name: format!("{}_{number}", into.name),
    });
    let mut free = numbered.filter(|name| name.find(&names).is_none());
    // There are fewer relations than numbers.
    free.next().unwrap_or(RelationName { schema: None, name: into.name.clone() })
}

/// Puts a sink in force.
async fn commit(
    cx: &Definer,
    name: RelationName,
    columns: Vec<Column>,
    sink: SinkDef,
    depends_on: Vec<RelationId>,
) -> Result<RelationId> {
    let relation = Relation {
        id: cx.engine.catalog.names().next_id(),
        schema: name.schema().to_owned(),
        name: name.name,
        columns,
        kind: Kind::Sink(sink.clone()),
        depends_on,
        sql: cx.reads.text.to_string(),
        created_ms: cx.engine.now_ms(),
        comments: BTreeMap::new(),
    };
    // Of a change the epoch is told, too: no column may have its name.
    columns_of(&published_schema(&relation, sink.form), &[])?;
    let (engine, opened, id) = (Arc::clone(&cx.engine), relation.clone(), relation.id);
    // What cannot be opened is refused now, and not found by the first change.
    let opening = tokio::task::spawn_blocking(move || engine.open_outside(&opened, &sink));
    opening.await.map_err(|error| Error::internal(error.to_string()))??;
    commit_new(&cx.engine, relation, |_, _| Ok(())).await?;
    Ok(id)
}

/// `form`: whether only rows go out, or changes.
fn form(options: &Options, appends: bool) -> Result<SinkForm> {
    let name = "form";
    match options::get(options, name).map(str::to_ascii_lowercase).as_deref() {
        None if appends => Ok(SinkForm::Rows),
        None | Some("changes") => Ok(SinkForm::Changes),
        Some("rows") if appends => Ok(SinkForm::Rows),
        Some("rows") => {
            let what = "a sink of rows alone is not supported where the query takes rows back";
            Err(Error::unsupported(what)
                .hint("Add EMIT ON WINDOW CLOSE, or leave out the form: then each row has an epoch and a diff."))
        }
        Some(other) => Err(options::wrong(name, other, "'rows' or 'changes'")),
    }
}
