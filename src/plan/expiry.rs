//! `WITH (state_ttl = '1 day')`: which operators forget keys that no row comes for.
//!
//! Those that keep something of each key for ever, and whose rows stay: a row that is taken back would
//! no longer find what it has to be taken from. What stands above takes back what is forgotten below,
//! and so forgets it too. What was answered for a key goes with it, as if its rows had never been; of a
//! join the rows stay that have been joined, and only what could still have been is forgotten.

use super::keys::EVER_SEEN;
use super::pipeline::{Giver, OperatorPlan, SourcePlan, Stateful};
use crate::error::{Error, Result, SqlState};
use crate::sql::IntervalParts;

/// Has operators forget.
///
/// # Errors
/// 22023 where none keeps anything for ever that it could forget.
pub(super) fn expire(
    ttl_ms: i64,
    sources: &[SourcePlan],
    steps: &mut [OperatorPlan],
    notices: &mut Vec<String>,
) -> Result<()> {
    if ttl_ms <= 0 {
        return Err(Error::new(SqlState::BadArgument, "state_ttl must be a time that passes")
            .hint("Write for example state_ttl = '1 day'."));
    }
    let retracts: Vec<bool> = steps.iter().map(|step| step.retracts).collect();
    let stays = |step: &OperatorPlan| {
        step.inputs.iter().all(|input| match *input {
            Giver::Source(at) => !sources[at].scan.retracts(),
            Giver::Step(at) => !retracts[at],
        })
    };
    let follows_changes = |step: &OperatorPlan| {
        step.inputs
            .iter()
            .any(|input| matches!(*input, Giver::Source(at) if sources[at].scan.retracts()))
    };
    let (mut answers, mut joins, mut lasts) = (false, false, false);
    for step in steps.iter_mut() {
        let is_kept_for_ever = match &step.operator {
            Stateful::Aggregate { spec, .. } => spec.window.is_none() && !spec.keys.is_empty(),
            Stateful::PerKey(plan) => plan.closes.is_none() && plan.key > 0,
            Stateful::AppendJoin { asked, spec, .. } => spec.bounds.is_none() && asked.key > 0,
            _ => false,
        };
        if is_kept_for_ever && stays(step) {
            step.ttl_ms = Some(ttl_ms);
            let is_join = matches!(step.operator, Stateful::AppendJoin { .. });
            *(if is_join { &mut joins } else { &mut answers }) = true;
        } else {
            lasts |= is_kept_for_ever && follows_changes(step);
        }
    }
    if !answers && !joins {
        let what =
            "state_ttl has no effect on this query: it keeps nothing by key for rows that stay";
        return Err(Error::new(SqlState::BadArgument, what).hint(
            "It is for GROUP BY, OVER and joins of streams without windows or bounds in time.",
        ));
    }
    if !lasts {
        notices.retain(|notice| !notice.ends_with(EVER_SEEN));
    }
    let time = IntervalParts::from_micros(ttl_ms.saturating_mul(1_000)).to_string();
    if answers {
        notices.push(format!("keys that no row comes for in {time} are forgotten, and what was answered for them goes"));
    }
    if joins {
        notices.push(format!("rows of keys that no row comes for in {time} are joined no more"));
    }
    Ok(())
}
