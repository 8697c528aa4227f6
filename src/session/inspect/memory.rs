//! `tidemill.memory`: what the server's memory is used for.
//!
//! The parts up to `other` add up to `resident`, what the system says that the process has. Those
//! that are reserved under `--memory-limit` are figures of the pool
//! ([`Accounts`](crate::memory::Accounts)); the others are what the store and the system tell.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use super::super::transaction::SystemContext;
use crate::error::Result;
use crate::memory::allocated::allocated;
use crate::memory::{MemoryPart, process};
use crate::session::pg_catalog::shape::{TableColumns, row};

/// One part.
struct Line {
    part: &'static str,
    bytes: u64,
    detail: String,
}

/// The table.
pub(super) fn memory(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let mut lines: Vec<Line> = MemoryPart::ALL.into_iter().map(|part| reserved(cx, part)).collect();
    let queued = cx.engine.views().iter().map(|view| view.queued_bytes()).sum::<usize>();
    let detail = "changes that wait for subscribers, up to subscription_bytes for each";
    lines.push(Line { part: "subscriptions", bytes: queued as u64, detail: detail.to_owned() });
    let store = cx.engine.store().memory().into_iter();
    lines.extend(store.map(|(what, bytes)| Line { part: "store", bytes, detail: what.to_owned() }));
    if let Some(resident) = process::resident() {
        let detail = "pages of the program and its libraries".to_owned();
        lines.push(Line { part: "program", bytes: resident.mapped, detail });
        if let Some(allocated) = allocated() {
            let bytes = resident.allocated.saturating_sub(allocated);
            let detail = "stacks, and pages that the allocator holds ready".to_owned();
            lines.push(Line { part: "allocator", bytes, detail });
        }
        let known: u64 = lines.iter().map(|line| line.bytes).sum();
        let detail = "plans, the catalog, what is allocated besides".to_owned();
        lines.push(Line { part: "other", bytes: resident.all.saturating_sub(known), detail });
        let detail =
            format!("what the process has in memory; the most was {} bytes", resident.peak);
        lines.push(Line { part: "resident", bytes: resident.all, detail });
    }
    let accounts = cx.engine.planner.accounts();
    let reserved = MemoryPart::ALL.into_iter().map(|part| accounts.part(part)).sum::<usize>();
    let detail = format!("under the limit; the most was {} bytes", accounts.peak());
    lines.push(Line { part: "reserved", bytes: reserved as u64, detail });
    lines.push(Line {
        part: "limit",
        bytes: accounts.limit() as u64,
        detail: "memory_limit".to_owned(),
    });
    let rows = lines.into_iter().map(|Line { part, bytes, detail }| row![part, bytes, detail]);
    TableColumns::new("part:text bytes:int8 detail:text")?.table(rows.collect())
}

/// What the pool knows of a part.
fn reserved(cx: &SystemContext, part: MemoryPart) -> Line {
    let (name, detail) = match part {
        MemoryPart::LogTails => {
            let tails = cx.engine.journal.tails();
            ("log tails", format!("{} blocks of {} streams", tails.blocks, tails.streams))
        }
        MemoryPart::Tables => {
            let tables = cx.engine.tables();
            let largest = tables.iter().max_by_key(|table| table.bytes());
            let largest = largest.map(|table| (table.spec().name.clone(), table.bytes()));
            ("table rows", counted(tables.len(), "tables", largest))
        }
        MemoryPart::Views => {
            let views = cx.engine.views();
            let largest = views.iter().max_by_key(|view| view.figures().state_bytes);
            let largest =
                largest.map(|view| (view.relation().name.clone(), view.figures().state_bytes));
            ("view rows", counted(views.len(), "views, with their state", largest))
        }
        MemoryPart::State => ("query state", "state of continuous queries".to_owned()),
        MemoryPart::Messages => {
            ("messages", "what clients have sent and that is not done with".to_owned())
        }
        MemoryPart::Writes => ("transactions", "rows that are not committed".to_owned()),
        MemoryPart::Queries => ("running queries", "sorts, joins and aggregates".to_owned()),
    };
    Line { part: name, bytes: cx.engine.planner.accounts().part(part) as u64, detail }
}

fn counted(count: usize, what: &str, largest: Option<(String, usize)>) -> String {
    match largest {
        Some((name, bytes)) => {
            format!("{count} {what}; the largest is \"{name}\" with {bytes} bytes")
        }
        None => format!("{count} {what}"),
    }
}
