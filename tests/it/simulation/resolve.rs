//! After a crash: what nobody was told of is looked for, and is there whole or not at all.

use std::collections::BTreeSet;

use super::run::{Change, Life, Pending, Told};
use super::world::rows_of;
use crate::oracle::case::Write;
use crate::oracle::rows;

impl Life<'_> {
    /// Looks for everything that was under way.
    pub async fn resolve_all(&mut self) -> Option<()> {
        while let Some(pending) = self.run.pending.first().cloned() {
            self.resolve(pending).await?;
            self.run.pending.remove(0);
        }
        Some(())
    }

    async fn resolve(&mut self, pending: Pending) -> Option<()> {
        match pending {
            Pending::Change(change) => {
                if self.was_made(&change).await? {
                    self.apply(change);
                }
            }
            Pending::Both(stream, writes) => self.resolve_both(stream, writes).await?,
            Pending::Create(view) => {
                if self.phase(&view.name).is_some() {
                    self.run.world.views.push(view);
                }
            }
            Pending::Drop(names) => {
                let left = names.iter().filter(|name| self.phase(name).is_some()).count();
                if left == 0 {
                    self.run.world.forget(&names);
                } else if left != names.len() {
                    self.run.fail(&format!("DROP … CASCADE was done in part: {names:?}"));
                }
            }
            Pending::Pause(name, rows) => {
                let paused = self.is_paused(&name);
                if let Some(view) = self.run.world.views.iter_mut().find(|view| view.name == name) {
                    view.frozen = paused.then_some(rows);
                }
            }
            Pending::Resume(name) => {
                let paused = self.is_paused(&name);
                if let Some(view) = self.run.world.views.iter_mut().find(|view| view.name == name)
                    && !paused
                {
                    view.frozen = None;
                }
            }
        }
        Some(())
    }

    /// Whether a change that nobody was told of is there: all of it or nothing.
    async fn was_made(&mut self, change: &Change) -> Option<bool> {
        let mut signs = Vec::new();
        for (stream, write) in &change.writes {
            if let Write::Advance(to) = write {
                let name = &self.run.world.streams[*stream].name;
                let sql = format!("SELECT watermark FROM tidemill.streams WHERE name = '{name}'");
                let found = self.rows(&sql).await?.remove(0).remove(0);
                let found = found.map(|text| rows::parse_time(&text));
                let before = self.run.world.watermark(*stream);
                if found != before && found != Some(*to) {
                    self.run.fail(&format!("the watermark is {found:?}, not {before:?} or {to}"));
                }
                if before < Some(*to) {
                    signs.push(found == Some(*to));
                }
                continue;
            }
            let wanted: BTreeSet<String> =
                rows_of(write).iter().map(|row| row.id.to_string()).collect();
            let found = self.ids(*stream).await?;
            let there = found.iter().filter(|id| wanted.contains(*id)).count();
            if there != 0 && there != wanted.len() {
                self.run
                    .fail(&format!("{there} of the {} rows of a write are there", wanted.len()));
            }
            signs.push(there > 0);
        }
        if let Some(version) = &change.version
            && Some(version) != self.run.world.versions.last()
        {
            signs.push(self.table().await? == *version);
        }
        if signs.iter().any(|sign| *sign != signs[0]) {
            self.run.fail(&format!("a transaction was done in part: {change:?}"));
        }
        Some(signs.first().copied().unwrap_or(false))
    }

    /// Takes in what several sessions wrote to one stream at once, in the order that the log has
    /// it.
    async fn resolve_both(&mut self, stream: usize, writes: Vec<(Write, Told)>) -> Option<()> {
        let log = self.ids(stream).await?;
        let mut found = Vec::new();
        for (write, told) in writes {
            let rows = rows_of(&write);
            let places: Vec<usize> = rows
                .iter()
                .filter_map(|row| log.iter().position(|id| *id == row.id.to_string()))
                .collect();
            let is_whole = places.len() == rows.len();
            let is_right = match told {
                Told::Done => is_whole,
                Told::Refused => places.is_empty(),
                Told::Nothing => is_whole || places.is_empty(),
            };
            if !is_right {
                self.run.fail(&format!(
                    "{told:?}, and {} of {} rows are there",
                    places.len(),
                    rows.len()
                ));
            }
            if is_whole {
                found.push((places[0], write));
            }
        }
        found.sort_by_key(|(place, _)| *place);
        self.run.world.streams[stream].writes.extend(found.into_iter().map(|(_, write)| write));
        Some(())
    }
}
