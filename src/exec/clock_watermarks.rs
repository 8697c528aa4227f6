//! Watermarks that follow the clock: those of `PROCTIME()`, and with `idle_advance` those of streams
//! that are silent.
//!
//! ```text
//!  a query has a window open that ends at e ─▶ when the clock has come to e plus the lag:
//!                                              the watermark moves on, by a commit like any other
//! ```
//! A watermark moves in the log, in order with the rows, so that which rows are late is the same for
//! every query and after every restart; and only when some query waits for it, so that a server with
//! nothing to do writes nothing. The *lag* is how far the watermark is behind the clock: of PROCTIME()
//! the delay; of a silent stream what it was behind when its last row came.
//!
//! No row of PROCTIME() is late by this: the clock is taken to stand where the oldest statement began
//! that still writes ([`super::moments`]). Only a clock that was set back while the server was down
//! gives rows that are behind a watermark; they count as late, as all such rows do.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow::datatypes::{DataType, TimeUnit};

use super::registry::Engine;
use super::view::handle::Phase;
use crate::catalog::{Kind, Names, Relation, RelationId, StreamDef, WatermarkSpec};
use crate::error::Result;
use crate::limits;
use crate::log::{StreamId, StreamStats, Transaction};
use crate::time::{Watermark, micros_of_ticks, ticks_of_millis};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(limits::CLOCK_WATERMARK_MS);

/// How a stream's watermark follows the clock.
struct ClockedStream {
    unit: TimeUnit,
    /// Where it stands in the log.
    stats: StreamStats,
    /// How far it is behind the clock, milliseconds.
    lag_ms: i64,
    /// It does not follow before, milliseconds since 1970.
    from_ms: i64,
}

impl Engine {
    /// Begins to move them.
    pub(super) fn start_clock_watermarks(self: &Arc<Self>) {
        self.cpu().spawn(follow(Arc::downgrade(self)));
    }

    /// A stream whose watermark follows the clock now.
    fn clocked(&self, relation: &Relation) -> Option<ClockedStream> {
        let Kind::Stream(stream) = &relation.kind else { return None };
        let watermark = stream.watermark.as_ref()?;
        if stream.connector.is_some() || !stream.follows_clock && !stream.idle_advance {
            return None;
        }
        let DataType::Timestamp(unit, _) = relation.columns[watermark.column].sql_type.data_type()
        else {
            return None;
        };
        let stats = self.journal.stats(StreamId(relation.id.0)).ok()?;
        let mut clocked = ClockedStream { unit, stats, lag_ms: 0, from_ms: i64::MIN };
        clocked.follow(stream, watermark)?;
        Some(clocked)
    }

    /// Moves the watermarks that queries wait for; when one is to be moved next.
    async fn move_watermarks(&self) -> Result<Option<i64>> {
        let names = self.catalog.names();
        let mut next: Option<i64> = None;
        for relation in names.all() {
            let Some(clocked) = self.clocked(relation) else { continue };
            let Some(wanted) = self.next_closing(relation.id, &names) else { continue };
            let wanted = wanted.div_euclid(1_000) + i64::from(wanted.rem_euclid(1_000) > 0);
            let stands = clocked.millis(clocked.stats.watermark).unwrap_or(i64::MIN);
            // One that has been reached closes what is above only later, or another stream holds it:
            // the steps grow, so that what is never closed costs next to nothing.
            let step = (stands.saturating_sub(wanted)).max(limits::CLOCK_STEP_MS);
            let wanted = if wanted > stands { wanted } else { stands.saturating_add(step) };
            let due = wanted.saturating_add(clocked.lag_ms).max(clocked.from_ms);
            let clock = if clocked.follows_always() {
                self.moments.passed(self.clock())
            } else {
                self.now_ms()
            };
            if clock < due {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            let reached = ticks_of_millis(clock - clocked.lag_ms, clocked.unit);
            // It has not been written to.
            let mut transaction = Transaction::at(clocked.stats.last_write_ms.unwrap_or(i64::MIN));
            transaction.advance(StreamId(relation.id.0), Watermark(reached));
            self.journal.commit(transaction).await?;
        }
        Ok(next)
    }

    /// The least watermark of a stream that closes something in a query that runs, microseconds since
    /// 1970.
    fn next_closing(&self, stream: RelationId, names: &Names) -> Option<i64> {
        let views: Vec<_> = self.views.read().values().cloned().collect();
        let of_views = views.iter().filter_map(|view| {
            let runs = matches!(
                *view.phase().borrow(),
                Phase::Running | Phase::Trailing | Phase::CatchingUp
            );
            let is_waiting = runs && is_made_of(names, &view.relation(), stream);
            if is_waiting { view.published().figures.closes_next } else { None }
        });
        let queries: Vec<_> = self.temporary.lock().values().cloned().collect();
        let of_queries = queries.iter().filter_map(|query| {
            let is_waiting =
                query.sources.iter().any(|id| *id == stream || reads(names, *id, stream));
            if is_waiting { query.figures.lock().closes_next } else { None }
        });
        of_views.chain(of_queries).min()
    }
}

/// Whether a relation is made of a stream.
fn reads(names: &Names, relation: RelationId, stream: RelationId) -> bool {
    names.by_id(relation).is_some_and(|relation| is_made_of(names, relation, stream))
}

fn is_made_of(names: &Names, relation: &Relation, stream: RelationId) -> bool {
    relation.depends_on.iter().any(|on| *on == stream || reads(names, *on, stream))
}

impl ClockedStream {
    /// The watermark is that of PROCTIME().
    fn follows_always(&self) -> bool {
        self.from_ms == i64::MIN
    }

    fn millis(&self, watermark: Watermark) -> Option<i64> {
        let is_finite = ![Watermark::NONE, Watermark::INFINITY].contains(&watermark);
        is_finite.then(|| micros_of_ticks(watermark.0, self.unit).div_euclid(1_000))
    }

    fn follow(&mut self, stream: &StreamDef, watermark: &WatermarkSpec) -> Option<()> {
        let delay = micros_of_ticks(watermark.delay, self.unit).div_euclid(1_000);
        if stream.follows_clock {
            self.lag_ms = delay;
            return Some(());
        }
        let (last, at) = (self.stats.last_event_time?, self.stats.last_write_ms?);
        let reached = micros_of_ticks(last.0, self.unit).div_euclid(1_000).saturating_sub(delay);
        self.lag_ms = at.saturating_sub(reached);
        self.from_ms = at.saturating_add(stream.idle_timeout_ms.unwrap_or(limits::IDLE_TIMEOUT_MS));
        Some(())
    }
}

/// Until the engine goes.
async fn follow(engine: Weak<Engine>) {
    loop {
        let Some(running) = engine.upgrade() else { return };
        let changed = Arc::clone(&running.closing);
        let clock = Arc::clone(&running.clock);
        let next = match running.move_watermarks().await {
            Ok(next) => next,
            Err(error) => {
                tracing::debug!("watermarks that follow the clock: {error}");
                None
            }
        };
        let until = next.map(|next| u64::try_from(next - running.now_ms()).unwrap_or(0));
        drop(running);
        clock.sleep(PAUSE).await;
        let rest = until.map(|ms| Duration::from_millis(ms).saturating_sub(PAUSE));
        tokio::select! {
            () = changed.notified() => {}
            () = async { clock.sleep(rest.unwrap_or_default()).await }, if rest.is_some() => {}
        }
    }
}
