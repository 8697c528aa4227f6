//! Looks after what is stored: forgets old rows of streams that have a retention, but none that a
//! view or its recovery still needs, joins small blocks, and writes large tables anew.

use std::collections::HashMap;
use std::sync::Arc;

use super::progress::Progress;
use super::registry::Engine;
use super::view::handle::Phase;
use crate::catalog::{Kind, RelationId};
use crate::error::Result;
use crate::log::StreamId;

/// What is done in the background now and then. Blocks on the store.
pub fn keep_stored(engine: &Arc<Engine>) -> Result<()> {
    forget_old_rows(engine)?;
    engine.journal.join_blocks()?;
    for table in engine.tables() {
        table.write_image(&engine.journal)?;
    }
    Ok(())
}

/// Deletes what may be forgotten now. Blocks on the store.
fn forget_old_rows(engine: &Arc<Engine>) -> Result<()> {
    let names = engine.catalog.names();
    let streams: Vec<RelationId> = names
        .all()
        .filter(|relation| match &relation.kind {
            Kind::Stream(def) => {
                def.connector.is_none()
                    && (def.retention_ms.is_some() || def.retention_bytes.is_some())
            }
            _ => false,
        })
        .map(|relation| relation.id)
        .collect();
    if streams.is_empty() {
        return Ok(());
    }
    let Some(needed) = needed(engine) else {
        return Ok(());
    };
    for stream in streams {
        let keep_from = needed.get(&stream).copied().unwrap_or(u64::MAX);
        engine.journal.retain(StreamId(stream.0), keep_from, engine.now_ms())?;
    }
    Ok(())
}

fn is_failed_for_good(engine: &Engine, view: RelationId) -> Option<bool> {
    let progress = Progress::read(engine.store().as_ref(), view).ok()?;
    Some(progress.is_some_and(|progress| progress.failed.is_some()))
}

/// The first offset of each stream that a view will read next; None while a view does not know its
/// place yet.
fn needed(engine: &Engine) -> Option<HashMap<RelationId, u64>> {
    let mut needed = HashMap::new();
    for view in engine.views() {
        let phase = view.phase().borrow().clone();
        match phase {
            Phase::Dropped => continue,
            // One that has failed for good reads no more. One that only found no memory goes on
            // after the next start.
            Phase::Failed(_) if is_failed_for_good(engine, view.relation().id)? => continue,
            _ => {}
        }
        for (stream, offset) in view.places()? {
            let least = needed.entry(stream).or_insert(offset);
            *least = offset.min(*least);
        }
    }
    Some(needed)
}
