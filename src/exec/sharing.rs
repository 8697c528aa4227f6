//! Views with one query: a view whose query runs already is one more answer of it, and costs nothing
//! beside its name.
//!
//! ```text
//!  a ─┐
//!  b ─┼─▶ query (under a's id) ─▶ state, rows, position: once
//!  c ─┘
//! ```
//! Whether two queries are one is seen from their texts (spaces, comments and the case of words make
//! no difference) and from what they name. A query that would answer otherwise if it began now (it looks up
//! tables or the time, its streams have forgotten rows, it forgets keys) is run for each view.
//!
//! A view that is dropped leaves the query to the others. One that is paused keeps its rows while
//! the others go on: it parts from them with a copy of all that is stored, and is by itself from
//! then on.

use std::sync::Arc;

use super::codec::prefix;
use super::late::{put_late, read_late};
use super::messages::Command;
use super::progress::Progress;
use super::registry::Engine;
use super::stored::{copy_part, delete_stored};
use super::view::handle::{Phase, Published, ViewHandle};
use crate::catalog::{Kind, NameChange, Names, Relation, RelationId, StateOptions, ViewDef};
use crate::error::{Error, Result};
use crate::log::{StreamId, Transaction};
use crate::plan::Pipeline;
use crate::sql;
use crate::store::{Space, WriteBatch};

/// A view that is to part from the others with its query.
pub struct Parting {
    /// The query that all are the answer of.
    query: RelationId,
    /// As which the query of those that move is stored from now on.
    to: RelationId,
    /// Those that move: the one that parts, or all others if the query has its id.
    moved: Vec<Relation>,
}

impl Engine {
    /// The query that runs and whose answer a new view is, if there is one. Call it as the only one
    /// who defines.
    pub fn running_query(&self, new: &Relation, pipeline: &Pipeline) -> Option<RelationId> {
        let Kind::MaterializedView(def) = &new.kind else { return None };
        if !self.is_repeatable(new, def, pipeline) {
            return None;
        }
        let text = essence(def)?;
        let names = self.catalog.names();
        let is_equal = |other: &&Arc<Relation>| match &other.kind {
            Kind::MaterializedView(known) => {
                other.columns == new.columns
                    && other.depends_on == new.depends_on
                    && options(known) == options(def)
                    && essence(known).as_ref() == Some(&text)
                    && self.runs(other.query_id())
            }
            Kind::Stream(_) | Kind::Table(_) | Kind::View { .. } | Kind::Sink(_) => false,
        };
        names.all().filter(is_equal).map(|equal| equal.query_id()).min()
    }

    /// Whether a query gives the same answer whenever it begins.
    fn is_repeatable(&self, new: &Relation, def: &ViewDef, pipeline: &Pipeline) -> bool {
        let plain = def.state == StateOptions::default() && def.retention_ms.is_none();
        plain
            && !def.from_latest
            && pipeline.tables.is_empty()
            && pipeline.moment.is_none()
            && self.is_whole(&self.catalog.names(), new)
            // What a materialized view has been is asked of its streams.
            && pipeline.sources.iter().all(|source| self.has_all_rows(&source.scan.relation))
    }

    /// Whether a stream has forgotten nothing yet.
    fn has_all_rows(&self, relation: &Relation) -> bool {
        match &relation.kind {
            Kind::Stream(stream) if stream.connector.is_none() => {
                let stats = self.journal.stats(StreamId(relation.id.0));
                stats.is_ok_and(|stats| stats.first_offset == 0)
            }
            _ => true,
        }
    }

    /// Whether all that a relation is made of is there to be read from its beginning.
    fn is_whole(&self, names: &Names, relation: &Relation) -> bool {
        relation.depends_on.iter().all(|id| match names.by_id(*id) {
            // A function may have another body by now.
            None => false,
            Some(used) => match &used.kind {
                Kind::Stream(_) | Kind::Table(_) => self.has_all_rows(used),
                Kind::View { .. } => self.is_whole(names, used),
                Kind::Sink(_) => false,
                Kind::MaterializedView(base) => {
                    base.retention_ms.is_none() && base.state.ttl_ms.is_none()
                }
            },
        })
    }

    fn runs(&self, query: RelationId) -> bool {
        self.views.read().get(&query).is_some_and(|view| match &*view.phase().borrow() {
            Phase::CatchingUp | Phase::Running | Phase::Trailing | Phase::Stalled(_) => true,
            Phase::Paused | Phase::Failed(_) | Phase::Dropped => false,
        })
    }

    /// What it takes to pause a view without the others that have its query; None: there are none.
    pub fn parting(&self, view: &Relation) -> Option<Parting> {
        let (names, query) = (self.catalog.names(), view.query_id());
        let others: Vec<Relation> = names
            .answers_of(query)
            .filter(|other| other.id != view.id)
            .map(|other| Relation::clone(other))
            .collect();
        if others.is_empty() {
            return None;
        }
        let moved = if view.id == query { others } else { vec![view.clone()] };
        // What reads them has greater ids than any of them: bases stand before what is on them.
        let to = moved.iter().map(|view| view.id).min()?;
        let answers = Some(to);
        let moved = moved.into_iter().map(|view| match view.kind {
            Kind::MaterializedView(def) => {
                Relation { kind: Kind::MaterializedView(ViewDef { answers, ..def }), ..view }
            }
            _ => view,
        });
        Some(Parting { query, to, moved: moved.collect() })
    }

    /// Stops the query and copies what is stored of it; `transaction` gets what is left to be
    /// committed together with the new definitions ([`Parting::changes`]). If that, or this, fails,
    /// call [`Self::unparted`].
    pub async fn part(&self, parting: &Parting, transaction: &mut Transaction) -> Result<()> {
        let view = self.view(parting.query)?;
        self.halt(parting.query, &view).await;
        view.enter(Phase::CatchingUp);
        self.copy(parting.query, parting.to, &mut transaction.puts).await
    }

    /// Copies what is stored of a query as that of another one, which has nothing. Without the record
    /// of its progress, which is added to `last`, the copy is nothing: a crash leaves what the next
    /// copy, or a DROP, takes away.
    async fn copy(&self, from: RelationId, to: RelationId, last: &mut WriteBatch) -> Result<()> {
        let store = Arc::clone(self.store());
        let mut cleared = Transaction::at(self.now_ms());
        delete_stored(store.as_ref(), to, &mut cleared.puts)?;
        self.journal.commit(cleared).await?;
        for space in [Space::State, Space::Views] {
            let mut next = Some(prefix(from));
            while let Some(at) = next {
                let (part_of, mut part) = (Arc::clone(&store), Transaction::at(self.now_ms()));
                // It may be much, and is read from the disk.
                let read = move || {
                    let next = copy_part(part_of.as_ref(), space, at, (from, to), &mut part.puts);
                    next.map(|next| (next, part))
                };
                let stopped = || Error::internal("the server is going down");
                let (further, part) = self.spawn.blocking(read).await.ok_or_else(stopped)??;
                self.journal.commit(part).await?;
                next = further;
            }
        }
        let Some(progress) = Progress::read(store.as_ref(), from)? else { return Ok(()) };
        let late = read_late(store.as_ref(), from)?;
        put_late(to, &late, progress.counters.late_rows, last)?;
        progress.write(to, last)
    }

    /// The query goes on as if nothing had been.
    pub fn unparted(self: &Arc<Self>, parting: &Parting) -> Result<()> {
        self.restart_view(parting.query)
    }

    /// The definitions are in force: both queries go on, but that of `paused`.
    pub async fn parted(self: &Arc<Self>, parting: &Parting, paused: &Relation) -> Result<()> {
        let old = self.view(parting.query)?;
        let is_moved = |view: &Relation| parting.moved.iter().any(|moved| moved.id == view.id);
        let names = self.catalog.names();
        if let Some(left) = names.answers_of(parting.query).next() {
            old.redefine(Arc::new(left.as_query()));
        }
        let Some(moved) = names.answers_of(parting.to).next() else { return Ok(()) };
        let new = ViewHandle::new(Arc::new(moved.as_query()))?;
        let ids: Vec<RelationId> = parting.moved.iter().map(|view| view.id).collect();
        old.hand_over(&ids, &new);
        self.also_at(parting.query, parting.to);
        self.views.write().insert(parting.to, Arc::clone(&new));
        let (stays, goes_on) = if is_moved(paused) { (new, old) } else { (old, new) };
        stays.enter(Phase::Paused);
        self.start_view(goes_on);
        // What reads the one that stays is to wait for it no more.
        let _ = self.commands.send(Command::Look).await;
        Ok(())
    }
}

impl Engine {
    /// Who reads one of two queries stands in the other where it stands in this: until it says itself
    /// where that is, nothing that it may have to read is folded away.
    fn also_at(&self, query: RelationId, other: RelationId) {
        let also = |places: &[(RelationId, u64)]| {
            let there = places.iter().filter(|(source, _)| *source == query);
            let there: Vec<_> = there.map(|(_, epoch)| (other, *epoch)).collect();
            [places, &there].concat()
        };
        for view in self.views() {
            view.change(|published| Published {
                places: published.places.as_deref().map(also),
                ..published.clone()
            });
        }
        for temporary in self.temporary_queries() {
            let mut places = temporary.places.lock();
            *places = also(&places);
        }
    }
}

impl Parting {
    /// The new definitions, with that of the one that is paused.
    pub fn changes(&self, paused: &Relation) -> Vec<NameChange> {
        let mut changed = self.moved.clone();
        match changed.iter_mut().find(|view| view.id == paused.id) {
            Some(view) => {
                if let Kind::MaterializedView(def) = &mut view.kind {
                    def.paused = true;
                }
            }
            None => changed.push(paused.clone()),
        }
        changed.into_iter().map(|view| NameChange::Put(Arc::new(view))).collect()
    }
}

/// What of its text makes a query.
fn essence(def: &ViewDef) -> Option<String> {
    sql::essence(&def.query).ok()
}

/// What must be the same beside the query.
fn options(def: &ViewDef) -> ViewDef {
    ViewDef { query: String::new(), answers: None, ..def.clone() }
}
