//! How far a durable query has come: one record, written with every epoch that changes something.

use serde::{Deserialize, Serialize};

use super::codec::progress_key;
use super::failure::ViewFailure;
use super::position::FeedPosition;
use super::runner::Counters;
use crate::catalog::RelationId;
use crate::error::{Error, Result, SqlState};
use crate::store::codec::{decode_json, encode_json};
use crate::store::{Space, Store, WriteBatch};
use crate::time::Watermark;

/// The version of everything stored of a query. In version 1 the answer had no row numbers, and
/// state and answer were folded into a base as a whole; both are read, and replaced when state is
/// folded next. Up to version 2 DISTINCT aggregates, medians and array_agg had a row of state for
/// each group, and sums of floats were one number: such a state is told by the types of its columns
/// and refused, while every other is read.
const FORMAT: u32 = 3;

/// The version of the record itself.
const HEAD: u8 = 1;

/// How far a durable query has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    format: u32,
    /// Where the first source stands; None: at its beginning.
    pub position: Option<FeedPosition>,
    /// Where its other sources stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    further: Vec<SourcePlace>,
    /// Every commit up to this one has been read (embedded logs).
    pub commit: u64,
    /// The watermark of the first source, ticks.
    watermark: i64,
    /// What has been counted.
    pub counters: Counters,
    /// The last epoch that changed something.
    pub epoch: u64,
    /// Changes of the answer after this epoch are still there, one by one.
    pub base_epoch: u64,
    /// The last epoch that changed the answer.
    #[serde(default)]
    pub answer_epoch: u64,
    /// The last change of the answer that is no longer a change of its own.
    #[serde(default)]
    pub(super) base_answer: u64,
    /// Why it does not run any more.
    pub failed: Option<ViewFailure>,
    /// The bytes of the last complete sweep: about what state and answer take on disk.
    pub(super) base_bytes: u64,
    /// The bytes of changes written since that sweep began.
    pub(super) change_bytes: u64,
    /// The epoch in which that sweep began: what was written before it is not needed.
    #[serde(default)]
    pub(super) folded: u64,
    /// The last change of the answer before that epoch.
    #[serde(default)]
    pub(super) folded_answer: u64,
    /// The number of the answer's next row.
    #[serde(default)]
    pub(super) next_row: u64,
    /// A row of the answer has been taken back before.
    #[serde(default)]
    pub(super) retracts: bool,
    /// How far what each step has given is complete, ticks; empty if that follows from the watermarks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    frontiers: Vec<i64>,
    /// The time of the last epoch, milliseconds since 1970: that of the next is not before it.
    #[serde(default = "before_all", skip_serializing_if = "is_before_all")]
    pub(super) now_ms: i64,
}

fn before_all() -> i64 {
    i64::MIN
}

// As serde wants it.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_before_all(now_ms: &i64) -> bool {
    *now_ms == before_all()
}

/// Where a source stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SourcePlace {
    position: FeedPosition,
    /// Ticks.
    watermark: i64,
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            format: FORMAT,
            position: None,
            further: Vec::new(),
            commit: 0,
            watermark: i64::MIN,
            counters: Counters::default(),
            epoch: 0,
            base_epoch: 0,
            answer_epoch: 0,
            base_answer: 0,
            failed: None,
            base_bytes: 0,
            change_bytes: 0,
            folded: 0,
            folded_answer: 0,
            next_row: 0,
            retracts: false,
            frontiers: Vec::new(),
            now_ms: before_all(),
        }
    }
}

impl Progress {
    /// Where the source at this place stands; None: at its beginning.
    pub fn position_of(&self, source: usize) -> Option<&FeedPosition> {
        match source.checked_sub(1) {
            None => self.position.as_ref(),
            Some(further) => self.further.get(further).map(|place| &place.position),
        }
    }

    /// Whether there has been an epoch; one of constants stands nowhere.
    pub fn has_begun(&self) -> bool {
        self.position.is_some() || self.epoch > 0
    }

    /// The watermarks of its sources.
    pub fn watermarks(&self) -> Vec<Watermark> {
        let further = self.further.iter().map(|place| place.watermark);
        std::iter::once(self.watermark).chain(further).map(Watermark).collect()
    }

    /// How far what its steps have given is complete, if that does not follow from the watermarks.
    pub fn frontiers(&self) -> Vec<Watermark> {
        self.frontiers.iter().copied().map(Watermark).collect()
    }

    /// Its sources stand there now, and its steps are that far.
    pub fn stand_at(
        &mut self,
        places: impl Iterator<Item = (FeedPosition, Watermark)>,
        frontiers: &[Watermark],
    ) {
        self.frontiers = frontiers.iter().map(|frontier| frontier.0).collect();
        let mut places =
            places.map(|(position, watermark)| SourcePlace { position, watermark: watermark.0 });
        if let Some(first) = places.next() {
            (self.position, self.watermark) = (Some(first.position), first.watermark);
        }
        self.further = places.collect();
    }

    /// Reads a query's progress; None: it has never run.
    pub fn read(store: &dyn Store, id: RelationId) -> Result<Option<Progress>> {
        let Some(bytes) = store.get(Space::Meta, &progress_key(id))? else {
            return Ok(None);
        };
        let mut progress: Progress = decode_json(HEAD, bytes)
            .map_err(|error| error.context(format!("the progress of query {} is damaged", id.0)))?;
        if progress.format > FORMAT {
            let what =
                format!("the state of query {} was written by a later version of the server", id.0);
            return Err(
                Error::new(SqlState::Corrupted, what).hint("Start that version or a later one.")
            );
        }
        progress.format = FORMAT;
        Ok(Some(progress))
    }

    /// Adds the progress record to a commit.
    pub fn write(&self, id: RelationId, batch: &mut WriteBatch) -> Result<()> {
        batch.put(Space::Meta, progress_key(id), encode_json(HEAD, self)?);
        Ok(())
    }
}
