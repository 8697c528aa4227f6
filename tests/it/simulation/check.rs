//! What was written is there once and in order, every view is its query, and every subscriber was
//! told so.

use tidemill::clock::Clock;
use tidemill::exec::view::handle::Phase;
use tidemill::server::Answer;

use super::run::{Life, Pending};
use super::world::{Base, View, lines};
use crate::oracle::batch;

impl Life<'_> {
    /// Everything that was written is there once and in order, and every view is as it must be.
    pub async fn check_all(&mut self) -> Option<()> {
        for stream in 0..self.run.world.streams.len() {
            let found = self.ids(stream).await?;
            let expected: Vec<String> =
                self.run.world.rows(stream).iter().map(|row| row.id.to_string()).collect();
            self.compare(&format!("the rows of stream {stream}"), &found, &expected);
        }
        let table = self.table().await?;
        let expected = self.run.world.versions.last().cloned().unwrap_or_default();
        if table != expected {
            self.run.fail(&format!("the table holds {table:?}\nand not {expected:?}"));
        }
        for name in self.names() {
            self.check_view(&name).await?;
        }
        Some(())
    }

    pub fn compare(&self, what: &str, found: &[String], expected: &[String]) {
        if found != expected {
            let (missing, surplus) = (
                crate::oracle::difference(expected, found),
                crate::oracle::difference(found, expected),
            );
            let (missing, surplus) = (missing.join("\n  "), surplus.join("\n  "));
            self.run.fail(&format!("{what}\nmissing:\n  {missing}\nnot expected:\n  {surplus}"));
        }
    }

    /// A view and those who follow it are as they must be. Some(false): it has failed and is
    /// dropped. None: the process is gone.
    pub async fn check_view(&mut self, name: &str) -> Option<bool> {
        let sql = format!("SELECT * FROM {name}");
        for _ in 0..20 {
            let Some(view) = self.run.world.view(name) else { return Some(false) };
            let chain = self.chain(view);
            self.run.clock.settled().await;
            self.run.world.now_ms = self.run.clock.now_ms();
            let answer = self.ask(&sql).await;
            if self.is_down() {
                return None;
            }
            if self.run.clock.now_ms() != self.run.world.now_ms {
                // Rows may have come and gone since.
                continue;
            }
            let phases: Vec<_> =
                chain.iter().map(|name| (name.clone(), self.phase(name))).collect();
            // What it stands on first: it has failed for that one's reason.
            if let Some((failed, phase)) =
                phases.iter().rev().find(|(_, p)| matches!(p, Some(Phase::Failed(..))))
            {
                if !self.run.excused.contains(failed) {
                    self.run.fail(&format!("{failed} failed without a reason: {phase:?}"));
                }
                self.drop_view(failed).await?;
                return Some(false);
            }
            if phases
                .iter()
                .any(|(_, phase)| matches!(phase, Some(Phase::Stalled(_) | Phase::CatchingUp)))
            {
                self.pass_time(1_500).await;
                continue;
            }
            let found = match answer {
                Ok(Answer::Rows { rows, .. }) => rows,
                Err(_) if !self.struck.is_empty() => continue,
                other => self.run.fail(&format!("{sql} gives {other:?}")),
            };
            for name in chain {
                self.run.world.has_read_all(&name);
                self.run.excused.remove(&name);
            }
            let mut found: Vec<String> = found.into_iter().map(batch::line).collect();
            found.sort();
            let expected = lines(&self.run.world.answer(name).await);
            self.compare(&sql, &found, &expected);
            self.check_subscriber(name, &expected).await;
            return if self.is_down() { None } else { Some(true) };
        }
        self.run.fail(&format!("{sql}: the view does not come back: {:?}", self.phase(name)));
    }

    /// The view and what it stands on.
    fn chain(&self, view: &View) -> Vec<String> {
        let mut all = vec![view.name.clone()];
        let mut base = &view.base;
        while let Base::View(name) = base {
            all.push(name.clone());
            let Some(view) = self.run.world.view(name) else { break };
            base = &view.base;
        }
        all
    }

    /// DROP … CASCADE.
    pub async fn drop_view(&mut self, name: &str) -> Option<()> {
        let names = self.run.world.with_dependants(name);
        let kind = self.kind(name);
        match self.must(&format!("DROP {kind} {name} CASCADE"), None).await {
            Some(true) => {
                for name in &names {
                    if self.phase(name).is_some() {
                        self.run.fail(&format!("{name} was dropped and is there"));
                    }
                    self.subscribers.remove(name);
                    self.run.seen.remove(name);
                }
                self.run.world.forget(&names);
                Some(())
            }
            Some(false) => {
                if let Some(gone) = names.iter().find(|name| self.phase(name).is_none()) {
                    self.run.fail(&format!("DROP was refused and {gone} is gone"));
                }
                Some(())
            }
            None => {
                self.run.pending.push(Pending::Drop(names));
                None
            }
        }
    }
}
