//! COPY … FROM STDIN, from the client's bytes to the transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;

use super::client_session::CopyIn;
use super::gate::CommitGate;
use super::read::query::on_cpu;
use super::transaction::SessionTransaction;
use super::write;
use crate::error::{Error, Result};
use crate::exec::Engine;

/// A COPY … FROM STDIN on its way into the transaction.
pub(super) struct IncomingCopy {
    pub engine: Arc<Engine>,
    pub transaction: Arc<Mutex<SessionTransaction>>,
    pub rows: Option<write::Copying>,
    pub commits: bool,
    pub gate: Arc<CommitGate>,
    /// The last commit of the session.
    pub own: Arc<AtomicU64>,
}

#[async_trait]
impl CopyIn for IncomingCopy {
    fn format(&self) -> i16 {
        self.rows.as_ref().map_or(0, write::Copying::format)
    }

    fn columns(&self) -> usize {
        self.rows.as_ref().map_or(0, write::Copying::columns)
    }

    async fn data(&mut self, bytes: Bytes) -> Result<()> {
        let mut rows =
            self.rows.take().ok_or_else(|| Error::internal("COPY data after its end"))?;
        // Decoding is computing: not on the thread that waits for sockets.
        self.rows = Some(
            on_cpu(&self.engine, async move {
                rows.data(&bytes)?;
                Ok(rows)
            })
            .await?,
        );
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<String> {
        let rows = self.rows.take().ok_or_else(|| Error::internal("COPY ended twice"))?;
        let (engine, transaction, commits) =
            (Arc::clone(&self.engine), Arc::clone(&self.transaction), self.commits);
        let (gate, own) = (Arc::clone(&self.gate), Arc::clone(&self.own));
        let count = on_cpu(&self.engine, async move {
            let mut tx = transaction.lock().await;
            let count = rows.finish(&mut tx).await?;
            if commits {
                let fresh = SessionTransaction::new(tx.lock_wait, engine.planner.accounts());
                tx.wait_for_views(&engine).await;
                let _passing = gate.pass()?;
                let commit = std::mem::replace(&mut *tx, fresh).commit(&engine).await?;
                own.store(commit.0, Ordering::Release);
            }
            Ok(count)
        })
        .await?;
        Ok(format!("COPY {count}"))
    }
}
