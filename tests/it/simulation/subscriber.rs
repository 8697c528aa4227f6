//! Those who follow a view: the changes that they are told sum to its rows, also over crashes.

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt};
use tidemill::clock::Clock;
use tidemill::exec::view::handle::Phase;
use tidemill::pgtypes::values::TextStyle;
use tidemill::server::{Caller, text_rows};
use tidemill::session::RowStream;

use super::run::Life;
use crate::oracle::batch;

/// What a subscriber knows; it outlives the process.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// The last epoch it was told of.
    epoch: u64,
    /// How often each row is there.
    rows: BTreeMap<String, i64>,
}

/// A subscription as long as the process lives.
pub struct Subscriber {
    _session: Caller,
    rows: RowStream,
}

impl Life<'_> {
    /// Begins to follow a view, or goes on. None: the process is gone.
    pub async fn subscribe(&mut self, name: &str) -> Option<()> {
        let seen = self.run.seen.get(name).cloned().unwrap_or_default();
        if seen.epoch > 0 && self.run.random.one_in(2) {
            let sql = format!("SUBSCRIBE {name} AS OF EPOCH {}", seen.epoch);
            if self.open(name, &sql, seen).await? {
                return Some(());
            }
        }
        let opened = self.open(name, &format!("SUBSCRIBE {name}"), Seen::default()).await?;
        if !opened {
            self.run.seen.remove(name);
        }
        Some(())
    }

    async fn open(&mut self, name: &str, sql: &str, seen: Seen) -> Option<bool> {
        self.run.note(format!("{sql};"));
        let mut session = self.engine.client().await.expect("a session");
        let opened = session.open(sql).await;
        self.look();
        if self.is_down() {
            return None;
        }
        match opened {
            Ok(rows) => {
                self.run.seen.insert(name.to_owned(), seen);
                self.subscribers.insert(name.to_owned(), Subscriber { _session: session, rows });
                Some(true)
            }
            // The epoch may be too old, the view may have failed or be gone: then it begins anew,
            // or not.
            Err(error) => {
                self.run.note(format!("-- {} {error}", error.state().code()));
                Some(false)
            }
        }
    }

    /// What the subscriber was told sums to these rows.
    pub async fn check_subscriber(&mut self, name: &str, expected: &[String]) {
        if !self.drain(name).await {
            self.subscribers.remove(name);
            return;
        }
        let seen = &self.run.seen[name];
        let mut found = Vec::new();
        for (row, count) in &seen.rows {
            if *count < 0 {
                self.run.fail(&format!("the subscriber of {name} has {row} {count} times"));
            }
            found.extend(std::iter::repeat_n(row.clone(), *count as usize));
        }
        self.compare(&format!("what the subscriber of {name} was told"), &found, expected);
    }

    /// A subscription ends with its view or its server, and not before.
    fn has_ended(&mut self, name: &str, why: &str) {
        self.run.note(format!("-- the subscription to {name} has ended: {why}"));
        let goes_on = !matches!(self.phase(name), None | Some(Phase::Failed(..) | Phase::Dropped));
        if goes_on && !self.is_down() {
            self.run.fail(&format!("the subscription to {name} has ended: {why}"));
        }
    }

    /// Takes what there is; false: nobody follows, or what was followed has ended.
    async fn drain(&mut self, name: &str) -> bool {
        let Some(mut subscriber) = self.subscribers.remove(name) else { return false };
        let mut seen = self.run.seen.remove(name).unwrap_or_default();
        let (style, schema) = (TextStyle::default(), subscriber.rows.schema.clone());
        loop {
            self.run.clock.settled().await;
            let mut has_more = false;
            while let Some(next) = subscriber.rows.stream.next().now_or_never() {
                has_more = true;
                let batch = match next {
                    Some(Ok(batch)) => batch,
                    ended => {
                        let why = ended.map(|ended| ended.map(|_| ()));
                        self.has_ended(name, &format!("{why:?}"));
                        return false;
                    }
                };
                for mut row in text_rows(&schema, &batch, &style) {
                    let number =
                        |cell: &Option<String>| cell.as_deref().unwrap_or_default().parse::<i64>();
                    let (epoch, diff) =
                        (number(&row[0]).expect("an epoch"), number(&row[1]).expect("a diff"));
                    if (epoch as u64) < seen.epoch {
                        self.run.fail(&format!("{name}: epoch {epoch} comes after {}", seen.epoch));
                    }
                    seen.epoch = epoch as u64;
                    let count = seen.rows.entry(batch::line(row.split_off(2))).or_default();
                    *count += diff;
                }
                seen.rows.retain(|_, count| *count != 0);
            }
            if !has_more {
                self.run.seen.insert(name.to_owned(), seen);
                self.subscribers.insert(name.to_owned(), subscriber);
                return true;
            }
        }
    }
}
