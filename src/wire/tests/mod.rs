//! The protocol against a session that is made up: real sockets, real drivers, statements whose
//! course a test controls.

mod driver;
mod psql;
mod raw;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{WireOptions, serve};
use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::TextStyle;
use crate::session::*;
use crate::types::SqlType;

/// What a test sees of, and does to, all sessions of its server.
struct World {
    /// Rows for `live`.
    feed: mpsc::UnboundedSender<i64>,
    fed: Mutex<Option<mpsc::UnboundedReceiver<i64>>>,
    /// How many statements wait now (`hang`, `idle`, `live`, `busy`).
    running: watch::Sender<usize>,
    /// What COPY brought, and what was begun and ended, in order.
    log: Mutex<Vec<String>>,
}

impl World {
    fn note(&self, what: impl Into<String>) {
        self.log.lock().push(what.into());
    }

    /// Waits until so many statements are running.
    async fn until_running(&self, count: usize) {
        let mut running = self.running.subscribe();
        let reached = running.wait_for(|running| *running == count);
        tokio::time::timeout(Duration::from_secs(20), reached)
            .await
            .expect("in time")
            .expect("alive");
    }
}

/// Counts a statement as running until it is dropped.
struct Guard(Arc<World>);

impl Guard {
    fn new(world: &Arc<World>) -> Self {
        world.running.send_modify(|count| *count += 1);
        Self(Arc::clone(world))
    }

    /// For a closure that is to hold the guard.
    fn keep(&self) {}
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.running.send_modify(|count| *count -= 1);
    }
}

struct Server {
    port: u16,
    world: Arc<World>,
    stop: watch::Sender<bool>,
    ended: JoinHandle<Result<()>>,
}

impl Server {
    async fn start(max_connections: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (feed, fed) = mpsc::unbounded_channel();
        let world = Arc::new(World {
            feed,
            fed: Mutex::new(Some(fed)),
            running: watch::channel(0).0,
            log: Mutex::default(),
        });
        let (stop, shutdown) = watch::channel(false);
        let sessions: Arc<dyn SessionFactory> = Arc::new(ScriptedSessions(Arc::clone(&world)));
        let ended = tokio::spawn(serve(
            listener,
            sessions,
            WireOptions {
                max_connections,
                pending_logins: crate::limits::PENDING_LOGINS,
                shutdown,
            },
        ));
        Self { port, world, stop, ended }
    }
}

struct ScriptedSessions(Arc<World>);

#[async_trait]
impl SessionFactory for ScriptedSessions {
    async fn open(&self, startup: Startup) -> Result<Box<dyn ClientSession>> {
        if startup.user == "nobody" {
            return Err(Error::new(SqlState::BadAuthorization, "role \"nobody\" does not exist"));
        }
        Ok(Box::new(ScriptedSession {
            world: Arc::clone(&self.0),
            startup,
            status: TransactionStatus::Idle,
            said: Vec::new(),
            timeouts: Timeouts::default(),
        }))
    }
}

struct ScriptedSession {
    world: Arc<World>,
    startup: Startup,
    status: TransactionStatus,
    said: Vec<SideMessage>,
    timeouts: Timeouts,
}

fn columns(sql: &str) -> Option<SchemaRef> {
    let first = sql.split(' ').next().unwrap_or_default();
    let fields = match first {
        "numbers" | "live" | "idle" | "busy" | "bad_rows" | "panic_rows" => {
            vec![Field::new("n", DataType::Int64, true)]
        }
        "echo" | "setting" => {
            vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)]
        }
        _ => return None,
    };
    Some(Arc::new(Schema::new(fields)))
}

fn batch(schema: &SchemaRef, from: i64, count: i64) -> Result<RecordBatch> {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + count));
    Ok(RecordBatch::try_new(Arc::clone(schema), vec![numbers])?)
}

fn prepared(sql: &str) -> Prepared {
    let params =
        if sql.starts_with("echo") { vec![SqlType::BigInt, SqlType::Text] } else { vec![] };
    let inner = Arc::new(sql.to_owned());
    Prepared { params, columns: columns(sql), is_empty: sql.is_empty(), inner }
}

type Batches = BoxStream<'static, Result<RecordBatch>>;

impl ScriptedSession {
    /// The rows of a statement that has some.
    fn rows(&self, verb: &str, rest: &str, schema: &SchemaRef, params: Params) -> Result<Batches> {
        let schema = Arc::clone(schema);
        let once =
            |columns| RecordBatch::try_new(Arc::clone(&schema), columns).map_err(Error::from);
        Ok(match verb {
            "numbers" => {
                let count = rest.parse::<i64>().unwrap();
                let batches = (0..count)
                    .step_by(3)
                    .map(move |from| batch(&schema, from, 3.min(count - from)));
                stream::iter(batches).boxed()
            }
            "bad_rows" => {
                let second = Err(Error::new(SqlState::DivisionByZero, "division by zero"));
                stream::iter([batch(&schema, 0, 2), second]).boxed()
            }
            "panic_rows" => stream::once(async { panic!("on purpose") }).boxed(),
            "live" => {
                let fed = self.world.fed.lock().take().unwrap();
                let state = (fed, Guard::new(&self.world), schema);
                stream::unfold(state, |mut state| async move {
                    let number = state.0.recv().await?;
                    Some((batch(&state.2, number, 1), state))
                })
                .boxed()
            }
            "idle" => {
                let guard = Guard::new(&self.world);
                stream::pending().inspect(move |_| guard.keep()).boxed()
            }
            "busy" => {
                let guard = Guard::new(&self.world);
                stream::repeat_with(move || batch(&schema, 7, 1))
                    .inspect(move |_| guard.keep())
                    .boxed()
            }
            "echo" => stream::iter([once(params)]).boxed(),
            _ => {
                let setting = self.startup.settings.iter().find(|(name, _)| name == rest);
                let value = StringArray::from(vec![setting.map(|(_, value)| value.clone())]);
                stream::iter([once(vec![Arc::new(Int64Array::from(vec![1])), Arc::new(value)])])
                    .boxed()
            }
        })
    }
}

#[async_trait]
impl ClientSession for ScriptedSession {
    async fn split(&mut self, sql: &str) -> Result<Vec<Prepared>> {
        Ok(sql.split(';').map(str::trim).filter(|sql| !sql.is_empty()).map(prepared).collect())
    }

    async fn prepare(&mut self, sql: &str, _: &[Option<SqlType>]) -> Result<Prepared> {
        match sql.strip_prefix("unparsable ") {
            Some(rest) => {
                Err(Error::new(SqlState::Syntax, format!("no: {rest}")).at(3).hint("Say yes."))
            }
            None => Ok(prepared(sql.trim())),
        }
    }

    async fn execute(
        &mut self,
        statement: &Prepared,
        params: Params,
        _: Protocol,
    ) -> Result<Outcome> {
        let sql = statement.inner.downcast_ref::<String>().unwrap().clone();
        self.world.note(&sql);
        let (verb, rest) = sql.split_once(' ').unwrap_or((&sql, ""));
        if let Some(schema) = columns(&sql) {
            let stream = self.rows(verb, rest, &schema, params)?;
            return Ok(Outcome::Rows(RowStream { schema, stream, tag: "SELECT", counted: true }));
        }
        let world = Arc::clone(&self.world);
        let done = |tag: &str| Ok(Outcome::Done(tag.to_owned()));
        match verb {
            "hang" => {
                let _guard = Guard::new(&world);
                std::future::pending().await
            }
            "copy_in" => Ok(Outcome::CopyIn(Box::new(Sink { world, got: Vec::new() }))),
            "copy_out" => {
                let data = Bytes::from("1\tone\n2\ttwo\n");
                let stream = stream::iter([Ok((data, 2))]).boxed();
                Ok(Outcome::CopyOut(CopyOut { format: 0, columns: 2, stream, tag: "COPY" }))
            }
            "begin" => {
                self.status = TransactionStatus::InBlock;
                done("BEGIN")
            }
            "commit" => {
                self.status = TransactionStatus::Idle;
                done("COMMIT")
            }
            "timeout" => {
                let time = Some(Duration::from_millis(rest.parse().unwrap()));
                self.timeouts = Timeouts { statement: time, idle_in_transaction: time };
                done("SET")
            }
            "notice" => {
                let text = Error::new(SqlState::Success, rest);
                self.said.push(SideMessage::Notice("NOTICE", text));
                self.said.push(SideMessage::Parameter("TimeZone".into(), "Europe/Berlin".into()));
                done("NOTICE")
            }
            "panic" => panic!("on purpose"),
            _ => {
                Err(Error::new(SqlState::Syntax, format!("syntax error at or near \"{verb}\""))
                    .at(1))
            }
        }
    }

    fn failed(&mut self, error: &Error) {
        self.world.note(format!("failed {}", error.state().code()));
        if self.status == TransactionStatus::InBlock {
            self.status = TransactionStatus::Failed;
        }
    }

    fn gate(&self) -> Arc<crate::session::CommitGate> {
        Arc::default()
    }

    fn transaction(&self) -> TransactionStatus {
        self.status
    }

    async fn sync(&mut self) -> Result<()> {
        self.world.note("sync");
        Ok(())
    }

    fn begin_implicit(&mut self) {
        self.world.note("implicit");
    }

    fn drain_messages(&mut self) -> Vec<SideMessage> {
        std::mem::take(&mut self.said)
    }

    fn text_style(&self) -> TextStyle {
        TextStyle::in_zone("UTC")
    }

    fn timeouts(&self) -> Timeouts {
        self.timeouts
    }
}

struct Sink {
    world: Arc<World>,
    got: Vec<u8>,
}

#[async_trait]
impl CopyIn for Sink {
    fn format(&self) -> i16 {
        0
    }

    fn columns(&self) -> usize {
        2
    }

    async fn data(&mut self, bytes: Bytes) -> Result<()> {
        if bytes.starts_with(b"bad") {
            return Err(Error::new(SqlState::BadCopyFormat, "missing data for column \"t\""));
        }
        self.got.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<String> {
        let lines = self.got.iter().filter(|&&byte| byte == b'\n').count();
        self.world.note(format!("copied {}", String::from_utf8_lossy(&self.got)));
        Ok(format!("COPY {lines}"))
    }
}
