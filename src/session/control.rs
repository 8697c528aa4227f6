//! Transaction blocks: BEGIN, COMMIT, ROLLBACK, savepoints, and the transactions nobody began.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Mutex;

use super::client_session::Outcome;
use super::session::{Session, done};
use super::settings::{READ_ONLY, READ_ONLY_DEFAULT};
use super::transaction::{SessionTransaction, TransactionMode};
use crate::error::{Error, Result, SqlState};
use crate::sql::{SetScope, Statement};

impl Session {
    /// In a failed transaction only its end is possible.
    pub(super) fn check_failed(&self, statement: &Statement) -> Result<()> {
        let ends =
            matches!(statement, Statement::Commit | Statement::Rollback | Statement::RollbackTo(_));
        if self.is_failed && self.mode == TransactionMode::Block && !ends {
            Err(Error::new(
                SqlState::FailedTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            ))
        } else {
            Ok(())
        }
    }

    pub(super) fn fail(&mut self) {
        match self.mode {
            TransactionMode::Idle => self.forget(),
            TransactionMode::Implicit | TransactionMode::Block => self.is_failed = true,
        }
    }

    fn fresh_transaction(&self) -> SessionTransaction {
        SessionTransaction::new(self.lock_wait(), self.engine.planner.accounts())
    }

    /// Takes everything back that is not committed.
    fn forget(&mut self) {
        self.transaction = Arc::new(Mutex::new(self.fresh_transaction()));
    }

    /// A statement that writes begins.
    pub(super) fn begin_statement(&mut self) {
        if self.mode == TransactionMode::Idle {
            self.forget();
        }
    }

    /// It has ended well: on its own, it is committed.
    pub(super) async fn end_statement(&mut self) -> Result<()> {
        match self.mode {
            TransactionMode::Idle => self.commit_pending().await,
            TransactionMode::Implicit | TransactionMode::Block => {
                self.transaction.lock().await.end_moment();
                Ok(())
            }
        }
    }

    /// Commits what has been written.
    pub(super) async fn commit_pending(&mut self) -> Result<()> {
        let fresh = self.fresh_transaction();
        let written = std::mem::replace(&mut *self.transaction.lock().await, fresh);
        if written.is_empty() {
            Ok(())
        } else {
            written.wait_for_views(&self.engine).await;
            let _passing = self.gate.pass()?;
            let commit = written.commit(&self.engine).await?;
            self.own.store(commit.0, Ordering::Release);
            Ok(())
        }
    }

    pub(super) fn begin_implicitly(&mut self) {
        if self.mode == TransactionMode::Idle {
            self.forget();
            self.mode = TransactionMode::Implicit;
            self.is_failed = false;
            self.settings.begin();
        }
    }

    pub(super) async fn end_implicit(&mut self) -> Result<()> {
        match self.mode {
            TransactionMode::Implicit => self.end(!self.is_failed).await,
            TransactionMode::Idle | TransactionMode::Block => Ok(()),
        }
    }

    /// Ends the transaction; the session is idle afterwards, whatever comes of it.
    async fn end(&mut self, commits: bool) -> Result<()> {
        let kept = if commits { self.keep_cursors().await } else { Ok(()) };
        let commits = commits && kept.is_ok();
        self.cursors.retain(|_, cursor| cursor.hold && (commits || !cursor.is_new));
        self.cursors.values_mut().for_each(|cursor| cursor.is_new = false);
        self.mode = TransactionMode::Idle;
        self.is_failed = false;
        let result = if commits { self.commit_pending().await } else { kept };
        let reports = self.settings.end(commits && result.is_ok());
        self.report(reports);
        self.forget();
        result
    }

    /// Cursors WITH HOLD get all their rows now.
    async fn keep_cursors(&mut self) -> Result<()> {
        for cursor in self.cursors.values().filter(|cursor| cursor.hold && cursor.is_new) {
            cursor.keep().await?;
        }
        Ok(())
    }

    pub(super) async fn control(&mut self, statement: &Statement) -> Result<Outcome> {
        match statement {
            Statement::Begin { read_only } => {
                match self.mode {
                    TransactionMode::Block => {
                        let warning = "there is already a transaction in progress";
                        self.notice("WARNING", Error::new(SqlState::ActiveTransaction, warning));
                    }
                    TransactionMode::Implicit => self.mode = TransactionMode::Block,
                    TransactionMode::Idle => {
                        self.begin_implicitly();
                        self.mode = TransactionMode::Block;
                    }
                }
                self.set_transaction(SetScope::Local, *read_only)?;
                done("BEGIN")
            }
            Statement::Commit => {
                self.warn_outside();
                let commits = !self.is_failed;
                self.end(commits).await?;
                done(if commits { "COMMIT" } else { "ROLLBACK" })
            }
            Statement::Rollback => {
                self.warn_outside();
                self.end(false).await?;
                done("ROLLBACK")
            }
            Statement::Savepoint(name) => {
                self.only_in_block("SAVEPOINT")?;
                self.transaction.lock().await.savepoint(&name.value);
                done("SAVEPOINT")
            }
            Statement::RollbackTo(name) => {
                self.only_in_block("ROLLBACK TO SAVEPOINT")?;
                self.transaction.lock().await.rollback_to(&name.value)?;
                self.is_failed = false;
                done("ROLLBACK")
            }
            Statement::Release(name) => {
                self.only_in_block("RELEASE SAVEPOINT")?;
                self.transaction.lock().await.release(&name.value)?;
                done("RELEASE")
            }
            _ => Err(Error::internal("a statement that controls no transaction")),
        }
    }

    /// READ ONLY or READ WRITE of this transaction, or of those to come.
    pub(super) fn set_transaction(
        &mut self,
        scope: SetScope,
        read_only: Option<bool>,
    ) -> Result<()> {
        let value = read_only.map(|is_on| if is_on { "on" } else { "off" });
        match (scope, value) {
            (SetScope::Local, _) if self.mode != TransactionMode::Block => {
                let warning = "SET TRANSACTION can only be used in transaction blocks";
                self.notice("WARNING", Error::new(SqlState::NoActiveTransaction, warning));
            }
            (SetScope::Local, Some(_)) => {
                self.settings.set(READ_ONLY, value, true)?;
            }
            (SetScope::Session, Some(_)) => {
                self.settings.set(READ_ONLY_DEFAULT, value, false)?;
            }
            (_, None) => {}
        }
        Ok(())
    }

    /// 25006 in a transaction that only reads, for what this command writes.
    pub(super) fn check_writable(&self, command: &str) -> Result<()> {
        let setting = match self.mode {
            TransactionMode::Block => READ_ONLY,
            TransactionMode::Idle | TransactionMode::Implicit => READ_ONLY_DEFAULT,
        };
        if self.settings.get(setting)? != "on" {
            return Ok(());
        }
        let message = format!("cannot execute {command} in a read-only transaction");
        Err(Error::new(SqlState::ReadOnlyTransaction, message)
            .hint("Begin the transaction with READ WRITE."))
    }

    fn warn_outside(&mut self) {
        if self.mode != TransactionMode::Block {
            let warning = "there is no transaction in progress";
            self.notice("WARNING", Error::new(SqlState::NoActiveTransaction, warning));
        }
    }

    fn only_in_block(&self, what: &str) -> Result<()> {
        match self.mode {
            TransactionMode::Block => Ok(()),
            TransactionMode::Idle | TransactionMode::Implicit => Err(Error::new(
                SqlState::NoActiveTransaction,
                format!("{what} can only be used in transaction blocks"),
            )),
        }
    }
}
