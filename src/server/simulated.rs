//! An engine on one thread under a simulated clock, and clients that ask it in text: what SQL tests
//! and simulations run on.
//!
//! There is no socket and no other thread, so what happens is a function of what is asked. A client
//! does what the simple protocol does; where an answer goes on for ever it is given up when
//! [`limits::TEST_SECONDS`] have passed on the simulated clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::runtime::Handle;

use super::core::sessions;
use crate::clock::{Clock, SimulatedClock, Stopwatch, before};
use crate::error::{Error, Result, SqlState};
use crate::exec::{Engine, EngineOptions, Env};
use crate::limits;
use crate::pgtypes::values::{Encoder, TextStyle};
use crate::session::{
    ClientSession, Outcome, Params, Prepared, Protocol, RowStream, SessionFactory, Startup,
};
use crate::spawn::Spawn;
use crate::store::Store;

/// How much simulated time passes before it is looked whether too much of the machine's has.
const LOOK: Duration = Duration::from_secs(10);

/// A running engine.
pub struct Simulated {
    clock: SimulatedClock,
    engine: Arc<Engine>,
    sessions: Arc<dyn SessionFactory>,
}

/// What a text of one or several statements gives: of the last one.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The command tag.
    Done(String),
    /// Rows, each value as text.
    Rows {
        /// How many columns there are.
        columns: usize,
        /// The values; None for NULL.
        rows: Vec<Vec<Option<String>>>,
    },
    /// Lines of COPY … TO STDOUT.
    Copied(Vec<String>),
}

impl Simulated {
    /// Opens what the store holds. To be called on the clock's own runtime. `fold_bytes`: see
    /// [`EngineOptions::fold_bytes`].
    pub async fn open(
        clock: &SimulatedClock,
        store: Arc<dyn Store>,
        files: PathBuf,
        fold_bytes: u64,
    ) -> Result<Simulated> {
        let env =
            Env { clock: Arc::new(clock.clone()), store, spawn: Spawn::Inline(Handle::current()) };
        let options = EngineOptions {
            files,
            memory: limits::TEST_MEMORY_BYTES,
            threads: 1,
            bounded: false,
            common_epoch: Duration::from_millis(limits::COMMON_EPOCH_MS),
            fold_bytes,
            unread_bytes: limits::UNREAD_BYTES,
        };
        let engine = Engine::open(env, options).await?;
        let sessions = sessions(&engine);
        Ok(Simulated { clock: clock.clone(), engine, sessions })
    }

    /// Another session.
    pub async fn client(&self) -> Result<Caller> {
        let startup = Startup {
            user: "tidemill".to_owned(),
            database: "tidemill".to_owned(),
            settings: Vec::new(),
            id: 0,
        };
        let mut session = self.sessions.open(startup).await?;
        // What a session says of its settings at the beginning is for drivers.
        session.drain_messages();
        Ok(Caller { clock: self.clock.clone(), session })
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Ends it as a server ends: the running epoch is finished.
    pub async fn stop(self) {
        self.engine.stop().await;
    }
}

/// A session that is asked in text and answers in text.
pub struct Caller {
    clock: SimulatedClock,
    session: Box<dyn ClientSession>,
}

impl Caller {
    /// Runs a text as a simple query.
    pub async fn ask(&mut self, sql: &str) -> Result<Answer> {
        self.within(sql, None).await
    }

    /// Runs COPY … FROM STDIN with its data.
    pub async fn copy_in(&mut self, sql: &str, data: Bytes) -> Result<Answer> {
        self.within(sql, Some(data)).await
    }

    /// The rows of a query as they come.
    pub async fn open(&mut self, sql: &str) -> Result<RowStream> {
        let statement = self.session.prepare(sql, &[]).await?;
        match self.session.execute(&statement, Params::new(), Protocol::Extended).await? {
            Outcome::Rows(rows) => Ok(rows),
            Outcome::Done(_) | Outcome::CopyIn(_) | Outcome::CopyOut(_) => {
                Err(Error::internal("a statement that gives no rows"))
            }
        }
    }

    /// Whether a transaction block is open or has failed.
    pub fn is_idle(&self) -> bool {
        self.session.transaction() == crate::session::TransactionStatus::Idle
    }

    async fn within(&mut self, sql: &str, data: Option<Bytes>) -> Result<Answer> {
        let clock = self.clock.clone();
        let watch = Stopwatch::start();
        // Simulated time says nothing: a statement may let a year of it pass, which takes no time.
        let patience = async {
            while watch.ms() < limits::TEST_SECONDS as f64 * 1_000.0 {
                clock.sleep(LOOK).await;
            }
        };
        let answer = before(patience, self.run_text(sql, data)).await;
        let answer = answer.unwrap_or_else(|| {
            let message = format!("no answer in {} s", limits::TEST_SECONDS);
            Err(Error::new(SqlState::Cancelled, message))
        });
        if let Err(error) = &answer {
            self.session.failed(error);
        }
        // A failed implicit transaction ends here; its error has been told.
        let ended = self.session.sync().await;
        self.session.drain_messages();
        answer.and_then(|answer| ended.map(|()| answer))
    }

    async fn run_text(&mut self, sql: &str, mut data: Option<Bytes>) -> Result<Answer> {
        let statements = self.session.split(sql).await?;
        if statements.len() > 1 {
            self.session.begin_implicit();
        }
        let mut last = Answer::Done(String::new());
        for statement in &statements {
            last = self.run_one(statement, &mut data).await?;
        }
        Ok(last)
    }

    async fn run_one(&mut self, statement: &Prepared, data: &mut Option<Bytes>) -> Result<Answer> {
        match self.session.execute(statement, Params::new(), Protocol::Simple).await? {
            Outcome::Done(tag) => Ok(Answer::Done(tag)),
            Outcome::Rows(mut rows) => {
                let style = self.session.text_style();
                let mut all = Vec::new();
                while let Some(batch) = rows.stream.next().await.transpose()? {
                    all.extend(text_rows(&rows.schema, &batch, &style));
                }
                Ok(Answer::Rows { columns: rows.schema.fields().len(), rows: all })
            }
            Outcome::CopyIn(mut sink) => {
                let bytes =
                    data.take().ok_or_else(|| Error::unsupported("COPY has no data here"))?;
                sink.data(bytes).await?;
                Ok(Answer::Done(sink.finish().await?))
            }
            Outcome::CopyOut(mut source) => {
                let mut text = Vec::new();
                while let Some((bytes, _)) = source.stream.next().await.transpose()? {
                    text.extend_from_slice(&bytes);
                }
                let text = String::from_utf8_lossy(&text);
                Ok(Answer::Copied(text.lines().map(str::to_owned).collect()))
            }
        }
    }
}

/// The values of a batch as the simple protocol writes them.
pub fn text_rows(
    schema: &Schema,
    batch: &RecordBatch,
    style: &TextStyle,
) -> Vec<Vec<Option<String>>> {
    let encoders: Vec<Encoder> = schema.fields().iter().map(|field| Encoder::new(field)).collect();
    let cell = |row: usize, column: usize| {
        let (encoder, array) = (&encoders[column], batch.column(column));
        if encoder.is_null(array, row) {
            return None;
        }
        let mut out = BytesMut::new();
        encoder.text(array, row, style, &mut out);
        Some(String::from_utf8_lossy(&out).into_owned())
    };
    (0..batch.num_rows())
        .map(|row| (0..encoders.len()).map(|column| cell(row, column)).collect())
        .collect()
}
