//! Views that read a view of another group, at the moment at which that publishes an epoch.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::group::{EpochStart, ViewGroup};
use super::tables::PresentTables;
use super::tests::open;
use super::view::handle::{Phase, Published, ViewVersion};
use crate::catalog::Emission;
use crate::log::CommitNo;
use crate::store::MemoryStore;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_has_come_no_further_than_what_it_has_been_told_of_the_view_it_reads() {
    let bench = open(Arc::new(MemoryStore::new())).await;
    let s = bench.stream().await;
    let low = "SELECT k, count(*) AS n FROM s GROUP BY k";
    let low = bench.view("low", low, Emission::OnChange).await;
    let high = bench.view("high", "SELECT max(n) AS n FROM low", Emission::OnChange).await;
    bench.insert(&s, &[(Some("a"), 1, 1)]).await;
    assert_eq!(bench.rows(&high).await, ["1"]);
    bench.engine.pause_view(high.id).await.unwrap();
    let low = bench.engine.view(low.id).unwrap();
    low.phase().wait_for(|phase| *phase == Phase::Running).await.unwrap();

    // As in the loop, where the view below has left it.
    let high = bench.engine.view(high.id).unwrap();
    let run = bench.engine.recover(&high, CancellationToken::new()).await.unwrap();
    let mut group = ViewGroup { runs: vec![run], shared: None };
    let (was, epoch) = (low.published(), bench.engine.last_epoch() + 1);
    let commit = CommitNo(was.version.commit.0 + 1);
    let version = ViewVersion { epoch, commit, ..ViewVersion::clone(&was.version) };
    let published = Published { version: Arc::new(version), ..Published::clone(&was) };
    let start = EpochStart {
        cut: CommitNo(commit.0 + 10),
        now_ms: 0,
        tables: Arc::new(PresentTables::new(&bench.engine)),
        is_left: Arc::new(AtomicBool::new(false)),
    };
    let (tell, told) = channel();
    let engine = Arc::clone(&bench.engine);
    let looking = || {
        std::thread::spawn(move || {
            let idle = group.idle(&engine, &start);
            tell.send(idle.map(|done| done.changes[0].1.cut)).unwrap();
        });
        // Whoever looks sees the new version, but not yet what has changed in it.
        assert!(told.recv_timeout(Duration::from_millis(300)).is_err(), "it does not wait");
    };
    low.publish_with(published, epoch, Arc::default(), looking);
    assert_eq!(told.recv().unwrap(), None, "there is something to be read");
}
