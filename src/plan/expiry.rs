//! `WITH (state_ttl = '1 day')`: which operators forget keys that no row comes for.
//!
//! Those that keep something of each key for ever. What stands above takes back what is forgotten below,
//! and so forgets it too. What was answered for a key goes with it, as if its rows had never been; of a
//! join the rows stay that have been joined, and only what could still have been is forgotten.
//!
//! Rows may be taken back later that have been forgotten: that changes nothing. Which rows these are is
//! known where rows are kept, and not from the state of an aggregate: there a key that has begun anew
//! would lose what it never had. So an aggregate over rows that change keeps its rows, by key, when it
//! is to forget them ([`forgets_rows`]), and rows are kept as a whole ([`super::whole_rows`]).

use super::keys::EVER_SEEN;
use super::pipeline::{Giver, OperatorPlan, SourcePlan, Stateful};
use super::stage::{CutOptions, Open};
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
    let (mut answers, mut joins, mut changes, mut lasts) = (false, false, false, false);
    let changing = |input: &Giver, steps: &[OperatorPlan]| match *input {
        Giver::Source(at) => sources[at].scan.retracts(),
        Giver::Step(at) => steps[at].retracts,
    };
    for at in 0..steps.len() {
        let step = &steps[at];
        lasts |= matches!(step.operator, Stateful::Over { .. });
        if !keeps_keys_for_ever(&step.operator)
            || step.inputs.iter().all(|input| takes_back(steps, *input))
        {
            continue;
        }
        changes |= step.inputs.iter().any(|input| changing(input, steps));
        let is_join = matches!(step.operator, Stateful::AppendJoin { .. } | Stateful::Join(_));
        *(if is_join { &mut joins } else { &mut answers }) = true;
        steps[at].ttl_ms = Some(ttl_ms);
    }
    if !answers && !joins {
        let what =
            "state_ttl has no effect on this query: it keeps nothing by key that it could forget";
        return Err(Error::new(SqlState::BadArgument, what)
            .hint("It is for GROUP BY, joins, and OVER with EMIT CHANGES, without windows or bounds in time."));
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
    if changes {
        notices.push("what is taken back after it has been forgotten changes nothing".to_owned());
    }
    Ok(())
}

/// Whether an operator keeps something of every key it has ever seen.
fn keeps_keys_for_ever(operator: &Stateful) -> bool {
    match operator {
        Stateful::Aggregate { spec, .. } => spec.window.is_none() && !spec.keys.is_empty(),
        Stateful::PerKey(plan) => plan.closes.is_none() && plan.key > 0,
        Stateful::Join(plan) => plan.key > 0,
        Stateful::AppendJoin { asked, spec, .. } => spec.bounds.is_none() && asked.key > 0,
        _ => false,
    }
}

/// Whether all that comes from there is taken back once it has been forgotten.
fn takes_back(steps: &[OperatorPlan], giver: Giver) -> bool {
    let Giver::Step(at) = giver else { return false };
    let step = &steps[at];
    let answers = matches!(step.operator, Stateful::Aggregate { .. } | Stateful::PerKey(_));
    let below = || step.inputs.iter().all(|input| takes_back(steps, *input));
    answers && keeps_keys_for_ever(&step.operator) || !step.inputs.is_empty() && below()
}

/// Whether an aggregate over a part has to know its rows, so that it can forget them.
pub(super) fn forgets_rows(options: CutOptions, part: &Open) -> bool {
    let (steps, on) = part.given_by();
    options.state.ttl_ms.is_some() && part.edge.retracts && !takes_back(steps, on)
}
