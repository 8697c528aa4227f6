//! The threads on which statements are read and planned.
//!
//! Planning a statement is computing that never waits, on deep stacks, for seconds when the
//! statement is large. On the threads that compute answers it would keep others' answers waiting,
//! and on those of the sockets all clients. So it has threads of its own, a bounded number of them:
//!
//! ```text
//!   text ──▶ short ──parse, name──▶ small plan ──────────────▶ planned
//!              ▲                        │ large
//!     a place given back ◀──────────────┴──▶ wait for long ──▶ planned
//! ```
//! Every statement begins in the short lane. One whose plan turns out to be
//! [large](crate::postgres::budget::Allowance::weigh) gives its place back and waits for one of the
//! long lane, so that statements of the usual size are planned however many large ones wait. There
//! is a thread for each place: whoever has a place need not wait for a thread. Queries that compute
//! [little](crate::postgres::light) are also run here.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, Result, panicked};
use crate::limits;
use crate::postgres::budget::{self, Allowance};
use crate::spawn::Spawn;

/// The threads and who may be on them.
#[derive(Debug)]
pub struct Planning {
    /// None: it is being dropped, or has never been.
    runtime: Option<Runtime>,
    handle: Handle,
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl Planning {
    /// Threads of its own, or none in a simulation, where there is one for everything.
    pub fn of(spawn: &Spawn, threads: usize) -> Result<Planning> {
        match spawn {
            Spawn::Threads(_) => Planning::start(threads),
            Spawn::Inline(handle) => Ok(Planning::on(handle.clone(), None, threads)),
        }
    }

    fn on(handle: Handle, runtime: Option<Runtime>, threads: usize) -> Planning {
        let lane = || Arc::new(Semaphore::new(threads.max(limits::PLANNING_PLACES)));
        Planning { runtime, handle, short: lane(), long: lane() }
    }

    /// So many places in each lane as there are threads that compute.
    fn start(threads: usize) -> Result<Planning> {
        let places = threads.max(limits::PLANNING_PLACES);
        let runtime = Builder::new_multi_thread()
            .worker_threads(2 * places)
            .thread_name("plan")
            .thread_stack_size(limits::PLANNING_STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| Error::from(error).context("cannot start the threads that plan"))?;
        Ok(Planning::on(runtime.handle().clone(), Some(runtime), threads))
    }

    /// Where queries that compute little are run.
    pub fn threads(&self) -> &Handle {
        &self.handle
    }

    /// Reads a text, which may be long.
    pub async fn read<T: Send + 'static>(
        &self,
        text: String,
        work: impl FnOnce(&str) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let is_short = text.len() <= limits::SHORT_STATEMENT_BYTES;
        let lane = if is_short { &self.short } else { &self.long };
        let place = Arc::clone(lane).acquire_owned().await.map_err(|_| budget::shutting_down())?;
        let task = self.handle.spawn(async move {
            let _place = place;
            work(&text)
        });
        ended(AbortOnDropHandle::new(task).await)
    }

    /// Plans. Dropping the future cancels the allowance's token, which ends the planning soon
    /// after.
    pub async fn plan<T: Send + 'static>(
        &self,
        allowance: Allowance,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let wanted = allowance.token.clone().drop_guard();
        let place =
            Arc::clone(&self.short).acquire_owned().await.map_err(|_| budget::shutting_down())?;
        let (allowance, leaving) = allowance.among_short(place, Arc::clone(&self.long));
        let task = self.handle.spawn(async move {
            let _leaving = leaving;
            budget::under(allowance, work).await
        });
        let done = ended(AbortOnDropHandle::new(task).await);
        wanted.disarm();
        done
    }

    /// Plans something that ends with this.
    pub async fn plan_once<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.plan(Allowance::new(CancellationToken::new()), work).await
    }
}

impl Drop for Planning {
    fn drop(&mut self) {
        // The last of its holders may be a task, in which nothing may wait for threads to end.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A panic is an error of this statement.
fn ended<T>(done: Result<Result<T>, JoinError>) -> Result<T> {
    match done {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(panicked("the statement", &*error.into_panic())),
        Err(_) => Err(budget::shutting_down()),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, lit};
    use tokio::sync::{mpsc, watch};

    use super::*;

    fn plan(nodes: usize) -> LogicalPlan {
        let mut builder = LogicalPlanBuilder::empty(true);
        for _ in 1..nodes {
            builder = builder.project(vec![lit(1)]).unwrap();
        }
        builder.build().unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn small_statements_do_not_wait_for_large_ones() {
        let planning = Arc::new(Planning::start(1).unwrap());
        let (begun, mut has_begun) = mpsc::channel(4);
        let (finish, finished) = watch::channel(false);
        let large = (0..4).map(|_| {
            let (planning, begun, mut finished) =
                (Arc::clone(&planning), begun.clone(), finished.clone());
            tokio::spawn(async move {
                let work = async move {
                    Allowance::current().weigh(&plan(limits::SHORT_PLAN_NODES + 1)).await?;
                    begun.send(()).await.unwrap();
                    finished.wait_for(|is_over| *is_over).await.unwrap();
                    Ok(())
                };
                planning.plan_once(work).await
            })
        });
        let large: Vec<_> = large.collect();
        for _ in 0..limits::PLANNING_PLACES {
            has_begun.recv().await.unwrap();
        }
        for _ in 0..3 {
            let small = async {
                Allowance::current().weigh(&plan(3)).await?;
                Ok(7)
            };
            assert_eq!(planning.plan_once(small).await.unwrap(), 7);
        }
        assert!(has_begun.try_recv().is_err(), "there are no more places for large ones");
        finish.send(true).unwrap();
        for done in large {
            done.await.unwrap().unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn planning_that_nobody_waits_for_is_told_to_stop() {
        let planning = Planning::start(1).unwrap();
        let allowance = Allowance::new(CancellationToken::new());
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let work = async move {
            begun.send(()).unwrap();
            std::future::pending::<Result<()>>().await
        };
        let plan = planning.plan(allowance.clone(), work);
        tokio::select! {
            biased;
            _ = plan => panic!("it never ends by itself"),
            begun = has_begun => begun.unwrap(),
        }
        assert!(allowance.check().is_err());
        let done =
            planning.plan(Allowance::default(), async { Ok(Allowance::current().check().is_ok()) });
        assert!(done.await.unwrap(), "a place was given back");
    }
}
