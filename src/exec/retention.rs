//! Forgets old rows of streams that have a retention, but none that a view or its recovery still needs.

use std::collections::HashMap;
use std::sync::Arc;

use super::engine::Engine;
use super::view::Phase;
use crate::catalog::{Kind, RelationId};
use crate::clock::now_ms;
use crate::error::Result;
use crate::log::StreamId;

/// Deletes what may be forgotten now. Blocks on the store.
pub fn forget_old_rows(engine: &Arc<Engine>) -> Result<()> {
    let names = engine.catalog.names();
    let streams: Vec<RelationId> = names
        .all()
        .filter(|relation| match &relation.kind {
            Kind::Stream(def) => {
                def.connector.is_none() && (def.retention_ms.is_some() || def.retention_bytes.is_some())
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
        engine.journal.retain(StreamId(stream.0), keep_from, now_ms())?;
    }
    Ok(())
}

/// The first offset of each stream that a view will read next; None while a view does not know its place yet.
fn needed(engine: &Engine) -> Option<HashMap<RelationId, u64>> {
    let mut needed = HashMap::new();
    for view in engine.views() {
        if matches!(*view.phase().borrow(), Phase::Failed(..) | Phase::Dropped) {
            continue;
        }
        let (stream, offset) = view.place()?;
        let least = needed.entry(stream).or_insert(offset);
        *least = offset.min(*least);
    }
    Some(needed)
}
