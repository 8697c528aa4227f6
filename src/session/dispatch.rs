//! Which statement does what, and the calls of a client protocol.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::sql::sqlparser::ast::{Expr, Ident};

use super::client_session::{
    ClientSession, Outcome, Params, Prepared, Protocol, RowStream, SideMessage, Timeouts,
    TransactionStatus,
};
use super::copy_in::IncomingCopy;
use super::gate::CommitGate;
use super::inspect::{explain, show};
use super::message_memory::MessageMemory;
use super::params;
use super::read::continuous::{self, AtLimit};
use super::read::copy_out::copy_out;
use super::read::cursor::Cursor;
use super::read::query::{named_in_change, on_cpu, placed};
use super::read::rows::{Batches, counted};
use super::read::subscribe;
use super::session::{ParsedStatement, PreparedStatement, Session, done, quoted_name, room};
use super::transaction::{TransactionMode, WriteResult};
use super::{cached_plan, calls, ddl, write};
use crate::error::{Error, Result, SqlState};
use crate::memory::MemoryPart;
use crate::pgtypes::copy;
use crate::pgtypes::values::TextStyle;
use crate::postgres::syntax::naming::shown_schema;
use crate::sql::{
    self, ContinuousQuery, CopyFrom, CopySource, CopyTo, CursorSource, FetchCount, SetScope,
    Statement, Subscribe,
};
use crate::types::SqlType;

impl Session {
    pub(super) async fn run(
        &mut self,
        statement: Statement,
        text: &Arc<str>,
        protocol: Protocol,
    ) -> Result<Outcome> {
        match statement {
            Statement::Query(query) => self.query(query, text).await,
            Statement::Subscribe(subscribe) => self.subscribe(&subscribe, text, protocol).await,
            Statement::Insert(insert) if write::feeds_sink(&self.engine, &insert) => {
                Box::pin(self.feed_sink(text)).await
            }
            Statement::InsertEmitting(_) => Box::pin(self.feed_sink(text)).await,
            Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Changes(_)
            | Statement::Truncate(_) => self.write(statement, text).await,
            Statement::CopyFrom(copy) => self.copy_from(&copy, text).await,
            Statement::CopyTo(copy) => self.copy_to(copy, text).await,
            Statement::Explain(what) => explain::explain(self, &what, text).await,
            Statement::ShowRelations(_)
            | Statement::ShowCreate(_)
            | Statement::Describe(_)
            | Statement::ShowVariable(_) => show::show(self, &statement),
            Statement::SetVariable { scope, name, value } => {
                self.set(scope, &name, value.as_deref())
            }
            Statement::Reset(name) => {
                let reports = self.settings.reset(name.as_deref())?;
                self.report(reports);
                done("RESET")
            }
            Statement::SetTransaction { scope, read_only } => {
                self.set_transaction(scope, read_only)?;
                done("SET")
            }
            Statement::Begin { .. }
            | Statement::Commit
            | Statement::Rollback
            | Statement::Savepoint(_)
            | Statement::RollbackTo(_)
            | Statement::Release(_) => self.control(&statement).await,
            Statement::Declare { name, binary, hold, source } => {
                self.declare(&name, binary, hold, source, text).await
            }
            Statement::Fetch { name, count, timeout } => self.fetch(&name, count, timeout).await,
            Statement::Move { name, count } => {
                let rows = self.cursor(&name)?.clone().skip(count).await?;
                done(format!("MOVE {rows}"))
            }
            Statement::Close(name) => self.close(name.as_ref()),
            Statement::Prepare { name, types, statement } => {
                self.prepare_named(&name, types, *statement, text)
            }
            Statement::Execute { name, values } => {
                Box::pin(self.execute_named(&name, &values, protocol)).await
            }
            Statement::Deallocate(name) => self.deallocate(name.as_ref()),
            Statement::Discard(tag) => self.discard(tag),
            Statement::CreateIndex { .. } | Statement::DropIndex => self.index(&statement),
            Statement::NotBuilt { what, hint } => {
                Err(Error::unsupported(format!("{what} is not supported")).hint(hint))
            }
            // The others define something.
            _ => Box::pin(self.define(statement, text)).await,
        }
    }

    /// CREATE INDEX and DROP INDEX.
    fn index(&mut self, statement: &Statement) -> Result<Outcome> {
        let (notice, tag) = match statement {
            Statement::CreateIndex { relation, columns } => {
                (ddl::index::create(&self.engine, relation, columns)?, "CREATE INDEX")
            }
            _ => (ddl::index::THERE_ARE_NONE, "DROP INDEX"),
        };
        self.notices(vec![notice.to_owned()]);
        done(tag)
    }

    async fn query(&mut self, query: ContinuousQuery, text: &Arc<str>) -> Result<Outcome> {
        if let Some(call) = calls::find(&query)? {
            return calls::run(self, call, text).await;
        }
        let (schema, stream) = self.read(&query, text).await?;
        Ok(Outcome::Rows(RowStream { schema, stream, tag: "SELECT", counted: true }))
    }

    /// Starts a query, continuous or not.
    pub(super) async fn read(
        &mut self,
        query: &ContinuousQuery,
        text: &Arc<str>,
    ) -> Result<(SchemaRef, Batches)> {
        if query.emit.is_none() {
            return self.reads(text).await.run(&query.query).await;
        }
        let reading = self.reading(text)?;
        let ready = continuous::plan(&self.engine, query, &reading, AtLimit::Ends).await?;
        self.notices(ready.pipeline.notices.clone());
        Ok(ready.select(&self.engine, &reading))
    }

    async fn read_changes(
        &mut self,
        subscribe: &Subscribe,
        text: &Arc<str>,
    ) -> Result<(SchemaRef, Batches)> {
        let reading = self.reading(text)?;
        let (schema, stream, notices) = subscribe::start(&self.engine, subscribe, &reading).await?;
        self.notices(notices);
        Ok((schema, stream))
    }

    async fn subscribe(
        &mut self,
        subscribe: &Subscribe,
        text: &Arc<str>,
        protocol: Protocol,
    ) -> Result<Outcome> {
        let (schema, stream) = self.read_changes(subscribe, text).await?;
        match protocol {
            Protocol::Extended => {
                Ok(Outcome::Rows(RowStream { schema, stream, tag: "SUBSCRIBE", counted: true }))
            }
            Protocol::Simple => {
                let options = copy::CopyOptions::text();
                Ok(Outcome::CopyOut(copy_out(&schema, stream, options, self.settings.style())))
            }
        }
    }

    async fn copy_to(&mut self, copy: CopyTo, text: &Arc<str>) -> Result<Outcome> {
        let (schema, stream) = match copy.source {
            CopySource::Relation { name, columns } => {
                let list = if columns.is_empty() {
                    "*".to_owned()
                } else {
                    columns.iter().map(quoted_name).collect::<Vec<_>>().join(", ")
                };
                let query = sql::parse_query(&format!("SELECT {list} FROM {name}"))?;
                self.read(&query, text).await?
            }
            CopySource::Query(query) => self.read(&query, text).await?,
            CopySource::Subscribe(subscribe) => self.read_changes(&subscribe, text).await?,
        };
        let options = copy.options.clone();
        Ok(Outcome::CopyOut(copy_out(&schema, stream, options, self.settings.style())))
    }

    async fn write(&mut self, statement: Statement, text: &Arc<str>) -> Result<Outcome> {
        let last = match &statement {
            Statement::Changes(changes) => &changes.last,
            other => other,
        };
        let tag = match last {
            Statement::Insert(_) => "INSERT 0",
            Statement::Update(_) => "UPDATE",
            Statement::Delete(_) => "DELETE",
            Statement::Query(_) => "SELECT",
            _ => "TRUNCATE TABLE",
        };
        let wanted = named_in_change(&statement);
        self.check_writable(tag.trim_end_matches(" 0"))?;
        self.begin_statement();
        let mut cx = self.write_context(text, &wanted).await?;
        let transaction = Arc::clone(&self.transaction);
        cx.now_ms = transaction.lock().await.begin_moment(&self.engine);
        let written = on_cpu(&self.engine, async move {
            let mut tx = transaction.lock().await;
            match &statement {
                Statement::Truncate(names) => {
                    write::truncate(&cx, &mut tx, names).await.map(|()| WriteResult::default())
                }
                change => write::change(&cx, &mut tx, change).await,
            }
        })
        .await?;
        self.end_statement().await?;
        match written.returning {
            Some((schema, batches)) => Ok(counted(tag, shown_schema(&schema), batches)),
            None if tag == "TRUNCATE TABLE" => done(tag),
            None => done(format!("{tag} {}", written.rows)),
        }
    }

    async fn copy_from(&mut self, copy: &CopyFrom, text: &Arc<str>) -> Result<Outcome> {
        self.check_writable("COPY FROM")?;
        self.begin_statement();
        let mut cx = self.write_context(text, std::slice::from_ref(&copy.name)).await?;
        cx.now_ms = self.transaction.lock().await.begin_moment(&self.engine);
        let copy = copy.clone();
        let rows = on_cpu(&self.engine, async move { write::copy_in(&cx, &copy) }).await?;
        Ok(Outcome::CopyIn(Box::new(IncomingCopy {
            engine: Arc::clone(&self.engine),
            transaction: Arc::clone(&self.transaction),
            rows: Some(rows),
            commits: self.mode == TransactionMode::Idle,
            gate: Arc::clone(&self.gate),
            own: Arc::clone(&self.own),
        })))
    }

    fn set(&mut self, scope: SetScope, name: &str, value: Option<&str>) -> Result<Outcome> {
        let is_local = scope == SetScope::Local;
        if is_local && self.mode == TransactionMode::Idle {
            let warning = "SET LOCAL can only be used in transaction blocks";
            self.notice("WARNING", Error::new(SqlState::NoActiveTransaction, warning));
            // It is checked all the same.
            self.settings.copy().set(name, value, true)?;
            return done("SET");
        }
        let reports = self.settings.set(name, value, is_local)?;
        self.report(reports);
        done("SET")
    }

    async fn fetch(
        &self,
        name: &Ident,
        count: FetchCount,
        timeout: Option<Duration>,
    ) -> Result<Outcome> {
        let cursor = self.cursor(name)?.clone();
        let end = timeout.map(|time| self.engine.clock().sleep(time));
        let stream = cursor.fetch(count, end).await?;
        let schema = cursor.schema;
        Ok(Outcome::Rows(RowStream { schema, stream, tag: "FETCH", counted: true }))
    }

    pub(super) fn cursor(&self, name: &Ident) -> Result<&Cursor> {
        self.cursors.get(&name.value).ok_or_else(|| {
            Error::new(SqlState::NoSuchCursor, format!("cursor \"{}\" does not exist", name.value))
        })
    }

    async fn declare(
        &mut self,
        name: &Ident,
        binary: bool,
        hold: bool,
        source: CursorSource,
        text: &Arc<str>,
    ) -> Result<Outcome> {
        if !hold && self.mode != TransactionMode::Block {
            return Err(Error::new(
                SqlState::NoActiveTransaction,
                "DECLARE CURSOR can only be used in transaction blocks",
            )
            .hint("Send BEGIN first, or write WITH HOLD."));
        }
        if binary {
            return Err(Error::unsupported("binary cursors are not supported").hint(
                "Leave out BINARY; the extended protocol asks for the format of each result.",
            ));
        }
        if self.cursors.contains_key(&name.value) {
            let what = format!("cursor \"{}\" already exists", name.value);
            return Err(Error::new(SqlState::DuplicateCursor, what));
        }
        room(self.cursors.len(), "cursors")?;
        let is_endless = match &source {
            CursorSource::Query(query) => query.emit.is_some(),
            CursorSource::Subscribe(_) => true,
        };
        if hold && is_endless {
            return Err(Error::unsupported(
                "a cursor WITH HOLD on a continuous query is not supported",
            )
            .hint("Leave out WITH HOLD and fetch inside a transaction block."));
        }
        let (schema, stream) = match &source {
            CursorSource::Query(query) => self.read(query, text).await?,
            CursorSource::Subscribe(subscribe) => self.read_changes(subscribe, text).await?,
        };
        let mut cursor = Cursor::new(schema, stream, hold);
        if self.mode != TransactionMode::Block {
            cursor.keep().await?;
            cursor.is_new = false;
        }
        self.cursors.insert(name.value.clone(), cursor);
        done("DECLARE CURSOR")
    }

    fn close(&mut self, name: Option<&Ident>) -> Result<Outcome> {
        match name {
            Some(name) => {
                self.cursor(name)?;
                self.cursors.remove(&name.value);
                done("CLOSE CURSOR")
            }
            None => {
                self.cursors.clear();
                done("CLOSE CURSOR ALL")
            }
        }
    }

    fn prepare_named(
        &mut self,
        name: &Ident,
        types: Vec<SqlType>,
        statement: Statement,
        text: &Arc<str>,
    ) -> Result<Outcome> {
        if self.prepared.contains_key(&name.value) {
            let what = format!("prepared statement \"{}\" already exists", name.value);
            return Err(Error::new(SqlState::DuplicateStatement, what));
        }
        room(self.prepared.len(), "prepared statements")?;
        self.prepared.insert(
            name.value.clone(),
            PreparedStatement { statement, types, text: Arc::clone(text) },
        );
        done("PREPARE")
    }

    pub(super) fn named(&self, name: &Ident) -> Result<PreparedStatement> {
        self.prepared.get(&name.value).cloned().ok_or_else(|| {
            Error::new(
                SqlState::NoSuchStatement,
                format!("prepared statement \"{}\" does not exist", name.value),
            )
        })
    }

    async fn execute_named(
        &mut self,
        name: &Ident,
        values: &[Expr],
        protocol: Protocol,
    ) -> Result<Outcome> {
        let PreparedStatement { mut statement, types, text } = self.named(name)?;
        if !types.is_empty() && types.len() != values.len() {
            return Err(Error::new(
                SqlState::Syntax,
                format!("wrong number of parameters for prepared statement \"{}\"", name.value),
            )
            .detail(format!(
                "Expected {} parameters but got {}.",
                types.len(),
                values.len()
            )));
        }
        let values = values
            .iter()
            .enumerate()
            .map(|(at, value)| match types.get(at) {
                Some(sql_type) => {
                    sql::parse_expr(&format!("CAST({value} AS {})", sql_type.in_cast())).map(Some)
                }
                None => Ok(Some(value.clone())),
            })
            .collect::<Result<Vec<_>>>()?;
        self.bind_constants(&mut statement, &values)?;
        self.run(statement, &text, protocol).await
    }

    fn deallocate(&mut self, name: Option<&Ident>) -> Result<Outcome> {
        match name {
            Some(name) => {
                self.named(name)?;
                self.prepared.remove(&name.value);
                done("DEALLOCATE")
            }
            None => {
                self.prepared.clear();
                done("DEALLOCATE ALL")
            }
        }
    }

    fn discard(&mut self, tag: &'static str) -> Result<Outcome> {
        if tag == "DISCARD ALL" {
            if self.mode == TransactionMode::Block {
                return Err(Error::new(
                    SqlState::ActiveTransaction,
                    "DISCARD ALL cannot run inside a transaction block",
                ));
            }
            self.cursors.clear();
            self.prepared.clear();
            let reports = self.settings.reset(None)?;
            self.report(reports);
        }
        done(tag)
    }

    /// INSERT INTO a sink: its query feeds it from now on.
    async fn feed_sink(&mut self, text: &Arc<str>) -> Result<Outcome> {
        let feeding = sql::feeding_insert(text)?;
        self.define(Statement::FeedSink(Box::new(feeding)), text).await
    }

    async fn define(&mut self, statement: Statement, text: &Arc<str>) -> Result<Outcome> {
        self.check_writable(ddl::tag(&statement))?;
        if self.mode == TransactionMode::Block {
            return Err(Error::new(
                SqlState::ActiveTransaction,
                format!("{} cannot run inside a transaction block", ddl::tag(&statement)),
            )
            .hint("Send it before BEGIN or after COMMIT."));
        }
        // What was written before in the same message is committed first: definitions are not part
        // of a transaction.
        self.commit_pending().await?;
        let cx = ddl::Definer {
            engine: Arc::clone(&self.engine),
            reads: self.reads(text).await,
            reading: self.reading(text)?,
        };
        let done = ddl::define(cx, statement).await?;
        self.messages.extend(
            done.notices
                .into_iter()
                .map(|(severity, notice)| SideMessage::Notice(severity, notice)),
        );
        Ok(Outcome::Done(done.tag))
    }

    /// Runs a SELECT whose plan is kept; None: there is none that may be run with these values.
    pub(super) async fn query_cached(
        &self,
        inner: &ParsedStatement,
        prepared: &Prepared,
        params: &Params,
    ) -> Result<Option<Outcome>> {
        let Some(mut kept) = inner.plan.lock().clone() else { return Ok(None) };
        let reads = self.reads(&inner.text).await;
        let version = self.settings.version();
        if !kept.is_current(&self.engine.catalog.names(), version) {
            *inner.plan.lock() = None;
            let mut statement = inner.statement.clone();
            self.bind_constants(&mut statement, &[])?;
            let Statement::Query(query) = statement else { return Ok(None) };
            let planned = cached_plan::plan(&reads, &query.query, &prepared.params, version).await;
            // What cannot be planned any more is told the general way.
            let Ok((_, Some(renewed))) = planned else { return Ok(None) };
            kept = Arc::new(renewed);
            *inner.plan.lock() = Some(Arc::clone(&kept));
        }
        if !kept.takes(params) {
            return Ok(None);
        }
        let found = reads.run_cached(&kept, params.clone()).await?;
        Ok(found.map(|(schema, stream)| {
            Outcome::Rows(RowStream { schema, stream, tag: "SELECT", counted: true })
        }))
    }
}

#[async_trait]
impl ClientSession for Session {
    fn gate(&self) -> Arc<CommitGate> {
        Arc::clone(&self.gate)
    }

    fn message_memory(&self) -> MessageMemory {
        MessageMemory::new(self.engine.planner.accounts().reserve(MemoryPart::Messages))
    }

    async fn split(&mut self, sql: &str) -> Result<Vec<Prepared>> {
        let parsed = self.engine.planning.read(sql.to_owned(), sql::parse).await?;
        Ok(parsed
            .into_iter()
            .map(|parsed| Prepared {
                params: Vec::new(),
                columns: None,
                is_empty: false,
                inner: ParsedStatement::new(parsed.statement, parsed.text.into()),
            })
            .collect())
    }

    async fn prepare(&mut self, sql: &str, hints: &[Option<SqlType>]) -> Result<Prepared> {
        super::prepare::prepare(self, sql, hints).await.map_err(|error| placed(error, sql))
    }

    async fn execute(
        &mut self,
        prepared: &Prepared,
        params: Params,
        protocol: Protocol,
    ) -> Result<Outcome> {
        let Some(inner) = prepared.inner.downcast_ref::<ParsedStatement>() else {
            return done("");
        };
        self.check_failed(&inner.statement)?;
        let placed_in = self.in_search_path(&inner.statement, &inner.text)?;
        let placed_in = placed_in.map(|(statement, text)| ParsedStatement::new(statement, text));
        let inner = placed_in.as_deref().unwrap_or(inner);
        if protocol == Protocol::Extended && self.mode == TransactionMode::Idle {
            self.begin_implicit();
        }
        let plain = self.insert_plainly(inner, prepared, &params).await;
        if let Some(outcome) = plain.map_err(|error| placed(error, &inner.text))? {
            return Ok(outcome);
        }
        let cached = self.query_cached(inner, prepared, &params).await;
        if let Some(outcome) = cached.map_err(|error| placed(error, &inner.text))? {
            return Ok(outcome);
        }
        let values = params
            .iter()
            .zip(&prepared.params)
            .map(|(value, sql_type)| params::constant(value, sql_type).map(Some))
            .collect::<Result<Vec<_>>>()?;
        let mut statement = inner.statement.clone();
        self.bind_constants(&mut statement, &values)?;
        let text = Arc::clone(&inner.text);
        self.run(statement, &text, protocol).await.map_err(|error| placed(error, &text))
    }

    fn failed(&mut self, _: &Error) {
        self.fail();
    }

    fn transaction(&self) -> TransactionStatus {
        match (self.mode, self.is_failed) {
            (TransactionMode::Idle | TransactionMode::Implicit, _) => TransactionStatus::Idle,
            (TransactionMode::Block, false) => TransactionStatus::InBlock,
            (TransactionMode::Block, true) => TransactionStatus::Failed,
        }
    }

    fn cursor_columns(&self, name: &str) -> Option<SchemaRef> {
        self.cursors.get(name).map(|cursor| Arc::clone(&cursor.schema))
    }

    async fn sync(&mut self) -> Result<()> {
        self.end_implicit().await
    }

    fn begin_implicit(&mut self) {
        self.begin_implicitly();
    }

    fn drain_messages(&mut self) -> Vec<SideMessage> {
        let reports = self.settings.take_pending_reports();
        self.report(reports);
        std::mem::take(&mut self.messages)
    }

    fn text_style(&self) -> TextStyle {
        self.settings.style()
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts {
            statement: self.settings.time("statement_timeout"),
            idle_in_transaction: self.settings.time("idle_in_transaction_session_timeout"),
        }
    }
}
