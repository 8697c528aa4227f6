//! One client's session: its settings, its transaction, its cursors, and what it gives its
//! statements to work with.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, Visit, VisitMut};
use tokio::sync::Mutex;

use super::cached_plan::CachedPlan;
use super::client_session::{Outcome, SideMessage, Startup};
use super::gate::CommitGate;
use super::params::{self, answer_functions, bind};
use super::pg_catalog;
use super::read::continuous::Reading;
use super::read::cursor::Cursor;
use super::read::query::ReadContext;
use super::settings::Settings;
use super::shared_settings::SharedSettings;
use super::transaction::{
    LOCK_WAIT, LOCK_WAIT_SETTING, SessionTransaction, SystemContext, TransactionMode, WriteContext,
};
use super::write::PlainInsert;
use crate::catalog::{SCHEMA, StateOptions};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::limits;
use crate::log::CommitNo;
use crate::sql::{self, CopySource, CopyTo, CursorSource, NameUse, Statement, Subscribe};
use crate::types::SqlType;

/// What `Prepared::inner` holds.
pub(super) struct ParsedStatement {
    /// The statement.
    pub statement: Statement,
    /// Its text.
    pub text: Arc<str>,
    /// If it is an INSERT that needs no planning: made ready, as of the last time it ran.
    pub insert: parking_lot::Mutex<Option<Arc<PlainInsert>>>,
    /// If it is a SELECT whose plan may be kept.
    pub plan: parking_lot::Mutex<Option<Arc<CachedPlan>>>,
}

impl ParsedStatement {
    pub fn new(statement: Statement, text: Arc<str>) -> Arc<ParsedStatement> {
        Arc::new(ParsedStatement {
            statement,
            text,
            insert: parking_lot::Mutex::default(),
            plan: parking_lot::Mutex::default(),
        })
    }
}

/// A statement of PREPARE.
#[derive(Clone)]
pub(super) struct PreparedStatement {
    pub statement: Statement,
    pub types: Vec<SqlType>,
    pub text: Arc<str>,
}

/// One client's side of the engine.
pub struct Session {
    pub(super) engine: Arc<Engine>,
    pub(super) startup: Startup,
    /// Shared with the statement that runs, which may call `set_config`.
    pub(super) settings: SharedSettings,
    pub(super) mode: TransactionMode,
    /// The open transaction has failed.
    pub(super) is_failed: bool,
    /// Shared with the task that writes, which may outlive a cancelled statement for a moment.
    pub(super) transaction: Arc<Mutex<SessionTransaction>>,
    pub(super) cursors: HashMap<String, Cursor>,
    pub(super) prepared: HashMap<String, PreparedStatement>,
    pub(super) messages: Vec<SideMessage>,
    /// What its commits pass.
    pub(super) gate: Arc<CommitGate>,
    /// The last commit of this session.
    pub(super) own: Arc<AtomicU64>,
    /// The last INSERT that needed no planning: what it knows of its relation may serve the next.
    pub(super) last_insert: Option<Arc<PlainInsert>>,
}

impl Session {
    pub(super) fn new(engine: Arc<Engine>, startup: Startup) -> Result<Session> {
        let mut settings = Settings::default();
        let reports = settings.start(&startup.user, &startup.settings)?;
        let messages =
            reports.into_iter().map(|(name, value)| SideMessage::Parameter(name, value)).collect();
        let transaction = SessionTransaction::new(LOCK_WAIT, engine.planner.accounts());
        Ok(Session {
            engine,
            startup,
            settings: SharedSettings::new(settings),
            mode: TransactionMode::Idle,
            is_failed: false,
            transaction: Arc::new(Mutex::new(transaction)),
            cursors: HashMap::new(),
            prepared: HashMap::new(),
            messages,
            gate: Arc::default(),
            own: Arc::default(),
            last_insert: None,
        })
    }

    pub(super) fn notice(&mut self, severity: &'static str, notice: Error) {
        self.messages.push(SideMessage::Notice(severity, notice));
    }

    pub(super) fn notices(&mut self, notices: Vec<String>) {
        for notice in notices {
            self.notice("NOTICE", Error::new(SqlState::Success, notice));
        }
    }

    pub(super) fn report(&mut self, changed: Vec<(String, String)>) {
        self.messages
            .extend(changed.into_iter().map(|(name, value)| SideMessage::Parameter(name, value)));
    }

    pub(super) fn lock_wait(&self) -> std::time::Duration {
        self.settings.time(LOCK_WAIT_SETTING).unwrap_or(LOCK_WAIT)
    }

    /// What this session reads with.
    pub(super) async fn reads(&self, text: &Arc<str>) -> ReadContext {
        let system = pg_catalog::lookup(self.system_context());
        ReadContext {
            engine: Arc::clone(&self.engine),
            overlay: self.transaction.lock().await.overlay(),
            system,
            text: Arc::clone(text),
            own: self.own(),
        }
    }

    /// The schemas in which names without one are looked for, in order; only those that there are.
    pub(super) fn search_path(&self) -> Vec<String> {
        self.system_context().search_path()
    }

    fn system_context(&self) -> SystemContext {
        SystemContext {
            engine: Arc::clone(&self.engine),
            user: self.startup.user.clone(),
            pid: self.startup.id,
            settings: self.settings.clone(),
        }
    }

    /// A statement with the schemas of its names, where its names are not all in `public` or have
    /// one; else None. See [`sql::with_schemas`].
    pub(super) fn in_search_path(
        &self,
        statement: &Statement,
        text: &Arc<str>,
    ) -> Result<Option<(Statement, Arc<str>)>> {
        let names = self.engine.catalog.names();
        if names.made_schemas().next().is_none() {
            return Ok(None);
        }
        let path = self.search_path();
        let is_public = |schema: &String| schema == SCHEMA;
        if path.iter().all(is_public) {
            return Ok(None);
        }
        let schema_of = |name: &str, used: NameUse| {
            let holds = |schema: &&String| names.find(schema, name).is_some();
            let schema = match used {
                NameUse::Made => path.first(),
                NameUse::Read => path.iter().find(holds).or_else(|| {
                    // It is not to be found where nobody looks for it.
                    let is_elsewhere =
                        !path.iter().any(is_public) && !pg_catalog::is_relation(name);
                    path.first().filter(|_| is_elsewhere)
                }),
            };
            schema.filter(|schema| !is_public(schema)).cloned()
        };
        let Some(text) = sql::with_schemas(text, statement, &schema_of) else { return Ok(None) };
        let parsed = sql::parse(&text)?.pop().map(|parsed| parsed.statement);
        Ok(parsed.map(|statement| (statement, text.into())))
    }

    fn own(&self) -> CommitNo {
        CommitNo(self.own.load(Ordering::Acquire))
    }

    pub(super) fn reading(&self, text: &Arc<str>) -> Result<Reading> {
        Ok(Reading {
            text: Arc::clone(text),
            lateness_ms: self.settings.lateness_ms()?,
            from_latest: self.settings.from_latest(),
            own: self.own(),
            state: StateOptions::default(),
        })
    }

    pub(super) async fn write_context(
        &self,
        text: &Arc<str>,
        wanted: &[ObjectName],
    ) -> Result<WriteContext> {
        Ok(WriteContext {
            names: self.engine.catalog.names(),
            scope: self.reads(text).await.scope(wanted).await?,
            engine: Arc::clone(&self.engine),
            given: HashMap::new(),
            style: self.settings.style(),
            text: Arc::clone(text),
            now_ms: self.engine.now_ms(),
        })
    }

    /// Puts the constants of this session and the parameters into a statement.
    pub(super) fn bind_constants(
        &self,
        statement: &mut Statement,
        values: &[Option<Expr>],
    ) -> Result<()> {
        let setting = |name: &str| self.settings.get(name);
        let path = || self.search_path();
        let session = params::SessionValues {
            user: &self.startup.user,
            pid: self.startup.id,
            path: &path,
            setting: &setting,
        };
        match statement {
            Statement::Query(query) => bind_constants(&mut *query.query, values, &session),
            Statement::Explain(sql::Explain::Query { query, .. }) => {
                bind_constants(&mut *query.query, values, &session)
            }
            Statement::Changes(changes) => {
                let named = changes.named.iter_mut().map(|(_, statement)| statement);
                named
                    .chain([&mut changes.last])
                    .try_for_each(|statement| self.bind_constants(statement, values))
            }
            Statement::Insert(insert) => bind_constants(insert, values, &session),
            Statement::Update(update) => bind_constants(update, values, &session),
            Statement::Delete(delete) => bind_constants(delete, values, &session),
            Statement::CreateTableAs { query, .. } => {
                bind_constants(&mut **query, values, &session)
            }
            Statement::Subscribe(Subscribe { what: sql::SubscribeTo::Query(query), .. })
            | Statement::Declare { source: CursorSource::Query(query), .. }
            | Statement::CopyTo(CopyTo { source: CopySource::Query(query), .. })
            | Statement::Declare {
                source:
                    CursorSource::Subscribe(Subscribe { what: sql::SubscribeTo::Query(query), .. }),
                ..
            }
            | Statement::CopyTo(CopyTo {
                source:
                    CopySource::Subscribe(Subscribe { what: sql::SubscribeTo::Query(query), .. }),
                ..
            }) => bind_constants(&mut *query.query, values, &session),
            Statement::Execute { values: given, .. } => {
                given.iter_mut().try_for_each(|value| bind_constants(value, values, &session))
            }
            // The others hold no expressions that are evaluated now.
            _ => Ok(()),
        }
    }
}

fn bind_constants<S: Visit + VisitMut>(
    syntax: &mut S,
    values: &[Option<Expr>],
    session: &params::SessionValues<'_>,
) -> Result<()> {
    bind(syntax, values);
    answer_functions(syntax, session)
}

pub(super) fn done(tag: impl Into<String>) -> Result<Outcome> {
    Ok(Outcome::Done(tag.into()))
}

/// A name in quotes.
pub(super) fn quoted_name(name: &Ident) -> String {
    format!("\"{}\"", sql::ident_name(name).replace('"', "\"\""))
}

/// Refuses one more of what a session may not hold without bound.
pub fn room(held: usize, what: &str) -> Result<()> {
    if held < limits::SESSION_OBJECTS {
        return Ok(());
    }
    let message = format!("too many {what}: a session holds at most {}", limits::SESSION_OBJECTS);
    Err(Error::new(SqlState::LimitExceeded, message)
        .hint("Close those that are not used any more."))
}
