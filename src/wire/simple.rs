//! The simple protocol: one text with any number of statements, answered in text.

use super::connection::Connection;
use super::link::Stop;
use super::report;
use super::rows::{Flow, Sent, ValueFormat, describe};
use crate::error::Result;
use crate::session::{Outcome, Params, Prepared, Protocol, RowStream, TransactionStatus};

use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::response::EmptyQueryResponse;

impl Connection {
    /// Runs a text. Errors are reported here: what follows a simple query is always ReadyForQuery.
    pub(super) async fn simple(&mut self, sql: &str) -> Result<(), Stop> {
        self.statements.remove("");
        self.portals.remove("");
        match self.run_text(sql).await {
            Err(Stop::Error(error)) => Ok(self.refuse(&error)?),
            other => other,
        }
    }

    async fn run_text(&mut self, sql: &str) -> Result<(), Stop> {
        self.link.limit(self.session.timeouts().statement);
        let statements = self.link.run(self.session.split(sql)).await?;
        let Some((last, before)) = statements.split_last() else {
            return Ok(self.link.put(&Reply::EmptyQueryResponse(EmptyQueryResponse::new()))?);
        };
        if before.is_empty() {
            let tag = self.run_one(last).await?;
            return self.complete(&tag).await;
        }
        self.session.begin_implicit();
        match self.run_several(before, last).await {
            Err(Stop::Error(error)) => {
                self.refuse(&error)?;
                // The failed implicit transaction ends here; its error has been told.
                match self.commit().await {
                    Err(Stop::Error(error)) => Ok(self.refuse(&error)?),
                    other => other,
                }
            }
            other => other,
        }
    }

    /// The last statement is only complete when the implicit transaction is committed.
    async fn run_several(&mut self, before: &[Prepared], last: &Prepared) -> Result<(), Stop> {
        for statement in before {
            let tag = self.run_one(statement).await?;
            self.complete(&tag).await?;
            self.link.limit(self.session.timeouts().statement);
        }
        let tag = self.run_one(last).await?;
        self.commit().await?;
        self.complete(&tag).await
    }

    async fn complete(&mut self, tag: &str) -> Result<(), Stop> {
        self.side_messages()?;
        self.link.put(&report::complete(tag))?;
        self.link.flush_if_large().await
    }

    /// Runs one statement and sends what it gives, all but its completion: that is the tag
    /// returned.
    async fn run_one(&mut self, statement: &Prepared) -> Result<String, Stop> {
        let before = self.session.transaction();
        let work = self.session.execute(statement, Params::new(), Protocol::Simple);
        let outcome = self.link.run(work).await?;
        self.transaction_may_have_ended(before);
        // What a query says when it starts must not wait for the end of one that has none.
        self.side_messages()?;
        match outcome {
            Outcome::Done(tag) => Ok(tag),
            Outcome::Rows(rows) => self.send_rows(rows).await,
            Outcome::CopyIn(sink) => self.copy_in(sink).await,
            Outcome::CopyOut(source) => self.copy_out(source).await,
        }
    }

    async fn send_rows(&mut self, rows: RowStream) -> Result<String, Stop> {
        let formats = vec![ValueFormat::Text; rows.schema.fields().len()];
        let style = self.session.text_style();
        self.link.put(&describe(&rows.schema, &formats)?)?;
        let mut flow = Flow::new(&rows.schema, &formats, rows.stream)?;
        match flow.send(&mut self.link, &style, None).await? {
            Sent::All(count) if rows.counted => Ok(format!("{} {count}", rows.tag)),
            Sent::All(_) | Sent::Enough => Ok(rows.tag.to_owned()),
        }
    }

    /// Portals do not outlive their transaction.
    pub(super) fn transaction_may_have_ended(&mut self, before: TransactionStatus) {
        let after = self.session.transaction();
        if before != TransactionStatus::Idle && after == TransactionStatus::Idle {
            self.portals.clear();
        }
    }
}
