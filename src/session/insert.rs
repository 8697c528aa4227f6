//! INSERTs of constants and parameters, which need no planning: kept ready between two runs of a
//! prepared statement.

use std::sync::Arc;

use super::client_session::{Outcome, Params, Prepared};
use super::read::query::on_cpu;
use super::session::{ParsedStatement, Session, done};
use super::write::PlainInsert;
use crate::error::Result;
use crate::sql::Statement;

impl Session {
    /// Runs an INSERT that needs no planning; None: it is not one.
    pub(super) async fn insert_plainly(
        &mut self,
        inner: &ParsedStatement,
        prepared: &Prepared,
        params: &Params,
    ) -> Result<Option<Outcome>> {
        let Some(plain) = self.plain_insert(inner, prepared) else {
            return Ok(None);
        };
        self.check_writable("INSERT")?;
        self.begin_statement();
        let (engine, transaction) = (Arc::clone(&self.engine), Arc::clone(&self.transaction));
        let (insert, params) = (Arc::clone(&plain), params.clone());
        let work = async move {
            let mut tx = transaction.lock().await;
            insert.run(&engine, &mut tx, &params).await
        };
        // What is computed may be deep, and these threads have room for it.
        let rows = if plain.computes { on_cpu(&self.engine, work).await? } else { work.await? };
        self.end_statement().await?;
        self.last_insert = Some(plain);
        done(format!("INSERT 0 {rows}")).map(Some)
    }

    /// The statement as an INSERT that needs no planning. What is wrong with it is left for the
    /// general way to say.
    fn plain_insert(
        &self,
        inner: &ParsedStatement,
        prepared: &Prepared,
    ) -> Option<Arc<PlainInsert>> {
        let Statement::Insert(insert) = &inner.statement else {
            return None;
        };
        let (names, style) = (self.engine.catalog.names(), self.settings.style());
        let mut kept = inner.insert.lock();
        if let Some(plain) = kept.as_ref().filter(|plain| plain.is_current(&names, &style)) {
            return Some(Arc::clone(plain));
        }
        let known = self.last_insert.as_deref();
        let plain = PlainInsert::new(&self.engine, &style, insert, &prepared.params, known);
        *kept = plain.ok().flatten().map(Arc::new);
        kept.clone()
    }
}
