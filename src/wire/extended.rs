//! The extended protocol: Parse, Bind, Describe, Execute, Close, with Flush and Sync around them.
//!
//! A portal keeps the stream of a query between one Execute and the next, so a client can take a
//! live query a few rows at a time; while nobody executes it, nothing reads it.

use std::collections::HashMap;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    BindComplete, CloseComplete, ParseComplete, PortalSuspended,
};
use pgwire::messages::response::EmptyQueryResponse;

use super::connection::Connection;
use super::link::Stop;
use super::messages::{Bind, Message, MessageTarget, utf8};
use super::portal::{Portal, PortalProgress};
use super::report;
use super::rows::{Flow, Sent, ValueFormat, describe};
use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::{parse_binary, parse_text_in};
use crate::session::{Outcome, Params, Prepared, Protocol, RowStream, room};
use crate::types::{SqlType, Zone};

/// The type of a parameter that the client leaves to us: not said, or `unknown`.
const UNTYPED: [u32; 2] = [0, 705];

impl Connection {
    /// Does what one of the extended messages asks.
    pub(super) async fn extended(&mut self, message: Message) -> Result<(), Stop> {
        match message {
            Message::Parse { name, sql, types } => self.parse(name, &sql, &types).await,
            Message::Bind(bind) => Ok(self.bind(bind)?),
            Message::Describe(MessageTarget::Statement, name) => {
                Ok(self.describe_statement(&name)?)
            }
            Message::Describe(MessageTarget::Portal, name) => Ok(self.describe_portal(&name)?),
            Message::Execute { portal, max_rows } => self.execute(&portal, max_rows).await,
            Message::Close(MessageTarget::Statement, name) => {
                self.statements.remove(&name);
                self.parameters.remove(&name);
                Ok(self.link.put(&Reply::CloseComplete(CloseComplete::new()))?)
            }
            Message::Close(MessageTarget::Portal, name) => {
                self.portals.remove(&name);
                Ok(self.link.put(&Reply::CloseComplete(CloseComplete::new()))?)
            }
            Message::Flush => self.link.flush_between().await,
            Message::Query(_)
            | Message::Sync
            | Message::Terminate
            | Message::CopyData(_)
            | Message::CopyDone
            | Message::CopyFail(_)
            | Message::FunctionCall => Err(Stop::Error(Error::internal(
                "a message that is not extended went the extended way",
            ))),
        }
    }

    async fn parse(&mut self, name: String, sql: &str, types: &[u32]) -> Result<(), Stop> {
        if name.is_empty() {
            self.statements.remove("");
        } else if self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Stop::Error(Error::new(SqlState::DuplicateStatement, message)));
        }
        room(self.statements.len(), "prepared statements")?;
        let hints = types.iter().map(|&oid| hint(oid)).collect::<Result<Vec<_>>>()?;
        self.link.limit(self.session.timeouts().statement);
        let prepared = self.link.run(self.session.prepare(sql, &hints)).await?;
        // A type that the client has named is told again by that name: JDBC says varchar, has text
        // as its answer, and ends.
        let own = prepared.params.iter().map(SqlType::oid);
        let given = types
            .iter()
            .map(|oid| Some(*oid).filter(|oid| !UNTYPED.contains(oid)))
            .chain(std::iter::repeat(None));
        let parameters = own.zip(given).map(|(own, given)| given.unwrap_or(own)).collect();
        self.parameters.insert(name.clone(), parameters);
        self.statements.insert(name, prepared);
        Ok(self.link.put(&Reply::ParseComplete(ParseComplete::new()))?)
    }

    fn bind(&mut self, bind: Bind) -> Result<()> {
        let statement = find_statement(&self.statements, &bind.statement)?.clone();
        if bind.portal.is_empty() {
            self.portals.remove("");
        } else if self.portals.contains_key(&bind.portal) {
            let message = format!("portal \"{}\" already exists", bind.portal);
            return Err(Error::new(SqlState::DuplicateCursor, message));
        }
        room(self.portals.len(), "portals")?;
        let zone = Zone::of_setting(&self.session.text_style().time_zone)?;
        let params = params(&statement.params, &bind, &zone)?;
        let columns = statement.columns.as_ref().map_or(0, |schema| schema.fields().len());
        let asked = bind.results.len();
        let formats = match (columns, asked) {
            // A statement without rows has no columns to format; drivers name a format all the
            // same.
            (0, 0 | 1) => Vec::new(),
            _ => ValueFormat::spread(&bind.results, columns, || {
                violation(format!(
                    "bind message has {asked} result formats but query has {columns} columns"
                ))
            })?,
        };
        self.portals.insert(
            bind.portal,
            Portal { statement, formats, progress: PortalProgress::Bound(params) },
        );
        self.link.put(&Reply::BindComplete(BindComplete::new()))
    }

    fn describe_statement(&mut self, name: &str) -> Result<()> {
        let statement = find_statement(&self.statements, name)?;
        let oids = self.parameters.get(name).cloned().unwrap_or_default();
        let rows = statement.columns.as_ref().map(|schema| {
            let formats = vec![ValueFormat::Text; schema.fields().len()];
            describe(schema, &formats)
        });
        let rows = rows.transpose()?;
        self.link.put(&Reply::ParameterDescription(ParameterDescription::new(oids)))?;
        self.link.put(&rows.unwrap_or_else(no_data))
    }

    fn describe_portal(&mut self, name: &str) -> Result<()> {
        let Some(portal) = self.portals.get(name) else {
            let schema = self.session.cursor_columns(name).ok_or_else(|| no_portal(name))?;
            let formats = vec![ValueFormat::Text; schema.fields().len()];
            return self.link.put(&describe(&schema, &formats)?);
        };
        let rows = portal
            .statement
            .columns
            .as_ref()
            .map(|schema| describe(schema, &portal.formats))
            .transpose()?;
        self.link.put(&rows.unwrap_or_else(no_data))
    }

    async fn execute(&mut self, name: &str, max_rows: i32) -> Result<(), Stop> {
        // Taken out while it runs: if it fails or is interrupted it is gone, and its query with it.
        let mut portal = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        if portal.statement.is_empty {
            self.portals.insert(name.to_owned(), portal);
            return Ok(self.link.put(&Reply::EmptyQueryResponse(EmptyQueryResponse::new()))?);
        }
        let most = u64::try_from(max_rows).ok().filter(|&most| most > 0);
        self.link.limit(self.session.timeouts().statement);
        let before = self.session.transaction();
        let (progress, tag) =
            self.advance(portal.progress, &portal.statement, &portal.formats, most).await?;
        self.side_messages()?;
        match tag {
            Some(tag) => self.link.put(&report::complete(&tag))?,
            None => self.link.put(&Reply::PortalSuspended(PortalSuspended::new()))?,
        }
        portal.progress = progress;
        self.portals.insert(name.to_owned(), portal);
        self.transaction_may_have_ended(before);
        Ok(())
    }

    /// Runs a portal on; no tag means that it is suspended.
    async fn advance(
        &mut self,
        progress: PortalProgress,
        statement: &Prepared,
        formats: &[ValueFormat],
        most: Option<u64>,
    ) -> Result<(PortalProgress, Option<String>), Stop> {
        match progress {
            PortalProgress::Bound(params) => {
                let work = self.session.execute(statement, params, Protocol::Extended);
                let outcome = self.link.run(work).await?;
                self.side_messages()?;
                match outcome {
                    Outcome::Done(tag) => Ok((PortalProgress::Over, Some(tag))),
                    Outcome::Rows(rows) => {
                        let RowStream { schema, stream, tag, counted } = rows;
                        check_columns(statement.columns.as_ref(), &schema)?;
                        let formats = fit(formats, schema.fields().len());
                        self.stream(Flow::new(&schema, &formats, stream)?, tag, counted, most).await
                    }
                    Outcome::CopyIn(sink) => {
                        Ok((PortalProgress::Over, Some(self.copy_in(sink).await?)))
                    }
                    Outcome::CopyOut(source) => {
                        Ok((PortalProgress::Over, Some(self.copy_out(source).await?)))
                    }
                }
            }
            PortalProgress::Flowing { flow, tag, counted } => {
                self.stream(flow, tag, counted, most).await
            }
            PortalProgress::Drained { tag, counted } => {
                Ok((PortalProgress::Drained { tag, counted }, Some(done(tag, counted, 0))))
            }
            PortalProgress::Over => {
                Err(Stop::Error(Error::new(SqlState::NotInState, "portal cannot be run any more")))
            }
        }
    }

    async fn stream(
        &mut self,
        mut flow: Flow,
        tag: &'static str,
        counted: bool,
        most: Option<u64>,
    ) -> Result<(PortalProgress, Option<String>), Stop> {
        let style = self.session.text_style();
        match flow.send(&mut self.link, &style, most).await? {
            Sent::Enough => Ok((PortalProgress::Flowing { flow, tag, counted }, None)),
            Sent::All(count) => {
                Ok((PortalProgress::Drained { tag, counted }, Some(done(tag, counted, count))))
            }
        }
    }
}

fn done(tag: &str, counted: bool, count: u64) -> String {
    if counted { format!("{tag} {count}") } else { tag.to_owned() }
}

/// Refuses rows that are not as the client was told: the relation has been made anew with other
/// columns meanwhile.
fn check_columns(described: Option<&SchemaRef>, found: &SchemaRef) -> Result<()> {
    let oids = |schema: &SchemaRef| -> Vec<u32> {
        schema.fields().iter().map(|field| SqlType::from_field(field).oid()).collect()
    };
    match described {
        Some(described) if oids(described) != oids(found) => {
            Err(Error::unsupported("cached plan must not change result type")
                .hint("What the statement reads has changed: prepare it again."))
        }
        Some(_) | None => Ok(()),
    }
}

/// Formats for the columns that came, should they not be those that were described.
fn fit(formats: &[ValueFormat], columns: usize) -> Vec<ValueFormat> {
    let mut formats = formats.to_vec();
    formats.resize(columns, ValueFormat::Text);
    formats
}

/// The type a client gave for a parameter; None: to be inferred.
fn hint(oid: u32) -> Result<Option<SqlType>> {
    if UNTYPED.contains(&oid) {
        return Ok(None);
    }
    SqlType::from_oid(oid).map(Some).ok_or_else(|| {
        Error::new(SqlState::UndefinedObject, format!("type with OID {oid} does not exist"))
            .hint("Leave the parameter's type open (OID 0), or cast it in the statement.")
    })
}

/// The values of a Bind, by their formats and types; a time without a zone is in the session's.
fn params(types: &[SqlType], bind: &Bind, zone: &Zone) -> Result<Params> {
    let (given, wanted) = (bind.values.len(), types.len());
    let formats = ValueFormat::spread(&bind.formats, given, || {
        let formats = bind.formats.len();
        violation(format!("bind message has {formats} parameter formats but {given} parameters"))
    })?;
    if given != wanted {
        let name = &bind.statement;
        return Err(violation(format!(
            "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {wanted}"
        )));
    }
    let values = types.iter().zip(&bind.values).zip(formats);
    values.map(|((sql, value), format)| param(sql, value.as_ref(), format, zone)).collect()
}

fn param(
    sql: &SqlType,
    value: Option<&Bytes>,
    format: ValueFormat,
    zone: &Zone,
) -> Result<ArrayRef> {
    match (value, format) {
        (None, _) => Ok(new_null_array(&sql.data_type(), 1)),
        (Some(bytes), ValueFormat::Text) => parse_text_in(sql, utf8(bytes)?, zone),
        (Some(bytes), ValueFormat::Binary) => parse_binary(sql, bytes),
    }
}

fn find_statement<'a>(held: &'a HashMap<String, Prepared>, name: &str) -> Result<&'a Prepared> {
    held.get(name).ok_or_else(|| {
        let message = match name {
            "" => "unnamed prepared statement does not exist".to_owned(),
            name => format!("prepared statement \"{name}\" does not exist"),
        };
        Error::new(SqlState::NoSuchStatement, message)
    })
}

fn no_portal(name: &str) -> Error {
    Error::new(SqlState::NoSuchCursor, format!("portal \"{name}\" does not exist"))
}

fn no_data() -> Reply {
    Reply::NoData(NoData::new())
}

fn violation(message: String) -> Error {
    Error::new(SqlState::ProtocolViolation, message)
}
