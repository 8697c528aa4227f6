//! The engine under a simulated clock and a store that fails: whatever breaks and whenever, every
//! acknowledged write counts once.
//!
//! From a seed are drawn statements of several sessions, how many commits fall into an epoch,
//! faults of the store and crashes; after them every view, and what every subscriber was told, is
//! compared with DataFusion's answer over the rows that were on time. Everything runs on one
//! thread, so a seed is a run: a failing one prints its statements and faults, and `TIDEMILL_SEED=n
//! cargo test simulation` runs it again. `TIDEMILL_SEEDS=n` changes how many there are.
//!
//! In half of the runs views fold their state after every few changes; in the others never, as a
//! view that has not changed much.
//!
//! | file | what it holds |
//! |---|---|
//! | [`shapes`] | the queries: an operator is a line there |
//! | [`draw`] | which step comes next |
//! | [`run`] | lives and crashes, statements and what must come of them |
//! | [`resolve`] | what nobody was told of before a crash |
//! | [`check`] | what was written, views and subscribers, against what must be there |
//! | [`world`] | what must be there |
//! | [`subscriber`] | those who follow a view |

mod check;
mod draw;
mod resolve;
mod run;
mod shapes;
mod subscriber;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use run::Run;

const SEEDS: u64 = 160;
const STEPS: usize = 60;
/// As many as the machine of the tests has cores.
const WORKERS: usize = 2;
/// Plans are trees: a thread needs the stack that planning needs.
const STACK_BYTES: usize = 64 << 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs a seed; what went wrong, with the script that leads there.
fn run(seed: u64) -> Result<Run, String> {
    let mut run = Run::new(seed, STEPS);
    match catch_unwind(AssertUnwindSafe(|| run.finish())) {
        Ok(()) => Ok(run),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let why = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            Err(format!("seed {seed}: {why}\n--- after\n{}", run.script.join("\n")))
        }
    }
}

fn on_deep_stacks<T: Send>(workers: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let spawn =
            |_| std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, &work);
        let threads: Vec<_> = (0..workers).map(spawn).collect();
        threads
            .into_iter()
            .map(|thread| thread.expect("a thread").join().expect("no panic"))
            .collect()
    })
}

#[test]
fn whatever_fails_and_whenever_each_acknowledged_write_counts_once_and_every_view_is_its_query() {
    let only = number("TIDEMILL_SEED");
    let end = only.map_or_else(|| number("TIDEMILL_SEEDS").unwrap_or(SEEDS), |seed| seed + 1);
    let next = AtomicU64::new(only.unwrap_or(0));
    let crashes = AtomicUsize::new(0);
    let (failures, used) = (Mutex::new(Vec::new()), Mutex::new(BTreeSet::new()));
    let begun = Instant::now();
    on_deep_stacks(WORKERS, || {
        while failures.lock().unwrap().len() < 3 {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            match run(seed) {
                Ok(run) => {
                    crashes.fetch_add(run.crashes, Ordering::Relaxed);
                    used.lock().unwrap().extend(run.used);
                }
                Err(why) => failures.lock().unwrap().push(why),
            }
        }
    });
    let (crashes, failures) = (crashes.into_inner(), failures.into_inner().unwrap());
    eprintln!(
        "{crashes} crashes in {} seeds, {:.1} s",
        next.into_inner().min(end),
        begun.elapsed().as_secs_f64()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    if only.is_none() && end >= SEEDS {
        assert!(crashes >= 1_000, "{crashes} crashes are too few");
        let unused: Vec<_> = shapes::SHAPES
            .iter()
            .map(|s| s.name)
            .filter(|name| !used.lock().unwrap().contains(name))
            .collect();
        assert!(unused.is_empty(), "these queries never ran: {unused:?}");
    }
}

#[test]
fn a_seed_runs_the_same_way_to_the_byte() {
    let twice = on_deep_stacks(2, || {
        (0..16).map(|seed| run(seed).map(|run| (run.disk_digest(), run.script))).collect::<Vec<_>>()
    });
    for (one, other) in twice[0].iter().zip(&twice[1]) {
        let (one, other) = (one.as_ref().expect("it runs"), other.as_ref().expect("it runs"));
        let differ = one.1.iter().zip(&other.1).find(|(a, b)| a != b);
        assert_eq!(differ, None, "the scripts part here");
        assert_eq!(one.0, other.0, "the same statements left another disk");
    }
}
