//! Data directories: what comes back, what is refused, and what can be gone on with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::store::FreeSpace;
use crate::store::lsm;
use crate::store::marker::{FORMAT, MARKER};

fn refused(dir: &Path) -> Error {
    match DiskStore::open(dir) {
        Ok(_) => panic!("{} was opened", dir.display()),
        Err(error) => error,
    }
}

fn accepting(dir: &Path) -> DiskStore {
    DiskStore::open_with(dir, DiskOptions { accept_loss: true, ..DiskOptions::default() }).unwrap()
}

fn put(store: &DiskStore, key: &str, value: &[u8]) {
    let mut batch = WriteBatch::default();
    batch.put(Space::Log, key, value.to_vec());
    batch.put(Space::Views, key, b"seen".to_vec());
    batch.put(Space::Meta, "last", key.as_bytes().to_vec());
    store.commit(batch).unwrap();
}

fn count(store: &DiskStore, space: Space) -> usize {
    store.keys(space, b"", b"").unwrap().map(Result::unwrap).count()
}

/// What is on the disk while the server runs, as if it were killed now.
///
/// The crate writes tables and deletes files when it has time for it, so that a copy of a directory
/// in use may hold the beginning of one moment and the end of another, which no crash leaves: then
/// it is made again.
fn copy(from: &Path, to: &Path) {
    for _ in 0..1_000 {
        let before = listing(from);
        let copied = copy_files(from, to);
        if copied.is_ok()
            && before.is_some_and(|before| listing(from).is_some_and(|after| after == before))
        {
            return;
        }
        fs::remove_dir_all(to).unwrap();
    }
    panic!("{} does not come to rest", from.display());
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?.path();
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy_files(&entry, &target)?;
        } else {
            fs::copy(&entry, &target)?;
        }
    }
    Ok(())
}

/// All files below, with their sizes and when they were written last; None: one of them went
/// meanwhile.
fn listing(dir: &Path) -> Option<BTreeMap<PathBuf, (u64, SystemTime)>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).ok()? {
        let entry = entry.ok()?;
        let known = entry.metadata().ok()?;
        if known.is_dir() {
            files.append(&mut listing(&entry.path())?);
        } else {
            files.insert(entry.path(), (known.len(), known.modified().ok()?));
        }
    }
    Some(files)
}

#[test]
fn what_is_committed_is_there_after_reopening_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new").join("data");
    let store = DiskStore::open(&path).unwrap();
    put(&store, "b", &[7; 5000]);
    put(&store, "a", b"small");
    assert_eq!(refused(&path).state(), SqlState::NotInState, "a second server");
    drop(store);
    let store = DiskStore::open(&path).unwrap();
    let all: Vec<_> = store.scan(Space::Log, b"", b"").unwrap().map(Result::unwrap).collect();
    assert_eq!(all[0], (b"a".to_vec(), Bytes::from_static(b"small")));
    assert_eq!(all[1], (b"b".to_vec(), Bytes::from(vec![7; 5000])));
    assert_eq!(all.len(), 2, "the number of the commit is the store's own");
    assert_eq!(store.get(Space::Meta, b"last").unwrap().unwrap(), "a");
    assert_eq!(store.floor(Space::Log, b"", b"b").unwrap().unwrap(), b"a");
    assert_eq!(store.floor(Space::Log, b"", b"a").unwrap(), None);
    assert!(store.bytes() > 0);
}

#[test]
fn a_directory_that_is_not_ours_or_newer_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "mine").unwrap();
    assert!(refused(dir.path()).message().contains("no data directory"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

    let dir = tempfile::tempdir().unwrap();
    drop(DiskStore::open(dir.path()).unwrap());
    fs::write(dir.path().join(MARKER), "tidemill data directory\nformat 77\nready\n").unwrap();
    let error = refused(dir.path());
    assert!(
        error.message().contains("format 77")
            && error.message().contains(&format!("up to {FORMAT}")),
        "{error}"
    );
}

#[test]
fn an_older_server_is_told_that_a_newer_one_has_been_here() {
    let dir = tempfile::tempdir().unwrap();
    drop(DiskStore::open(dir.path()).unwrap());
    let marker = dir.path().join(MARKER);
    fs::write(&marker, "tidemill data directory\nformat 1\nready\nledger\n").unwrap();
    drop(DiskStore::open(dir.path()).unwrap());
    let said = fs::read_to_string(&marker).unwrap();
    assert_eq!(said, format!("tidemill data directory\nformat {FORMAT}\nready\nledger\n"));
}

#[test]
fn a_directory_of_an_older_server_opens_and_has_a_ledger_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    {
        // As that server made it: no ledger, no numbers in the commits.
        marker::mark(dir.path(), MarkerState::Ready).unwrap();
        let (database, spaces) =
            lsm::open(&dir.path().join(STORE), lsm::WORKERS, limits::STORE_FILES).unwrap();
        spaces[Space::Log as usize].insert("old", "row").unwrap();
        database.persist(PersistMode::SyncAll).unwrap();
    }
    let store = DiskStore::open(dir.path()).unwrap();
    assert_eq!(store.get(Space::Log, b"old").unwrap().unwrap(), "row");
    put(&store, "new", b"row");
    drop(store);
    fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("store/0.jnl"))
        .unwrap()
        .set_len(150)
        .unwrap();
    assert!(refused(dir.path()).message().contains("0.jnl"));
}

#[test]
fn nobody_else_can_read_a_data_directory() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    drop(DiskStore::open(&path).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    drop(DiskStore::open(&path).unwrap());
    drop(DiskStore::open(&path).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("store/keyspaces/1")), 0o700);
    assert_eq!(mode(&path.join("store/0.jnl")), 0o600);
    assert_eq!(mode(&path.join("store/keyspaces/1/current")), 0o600);
}

type Strike = fn(&Path);

fn cut(dir: &Path, file: &str, length: u64) {
    fs::OpenOptions::new().write(true).open(dir.join(file)).unwrap().set_len(length).unwrap();
}

fn zero_from(dir: &Path, file: &str, at: usize) {
    let mut bytes = fs::read(dir.join(file)).unwrap();
    bytes[at..].fill(0);
    fs::write(dir.join(file), bytes).unwrap();
}

/// About half of what the journal of [`five`] holds.
const HALF: usize = 700;

/// What is struck, how, and what the refusal says.
const DAMAGE: &[(&str, Strike, &str)] = &[
    (MARKER, |dir| fs::write(dir.join(MARKER), "x").unwrap(), "it does not name a format"),
    (MARKER, |dir| fs::remove_file(dir.join(MARKER)).unwrap(), "it is missing"),
    ("store", |dir| fs::remove_dir_all(dir.join(STORE)).unwrap(), "all data with it"),
    (ledger::LEDGER, |dir| fs::remove_file(dir.join(ledger::LEDGER)).unwrap(), "it is missing"),
    (ledger::LEDGER, |dir| zero_from(dir, ledger::LEDGER, 20), "byte 512 cannot be read"),
    ("version", |dir| fs::remove_file(dir.join("store/version")).unwrap(), "it is missing"),
    ("version", |dir| cut(dir, "store/version", 0), "it ends at byte 0"),
    ("0.jnl", |dir| cut(dir, "store/0.jnl", 0), "byte 0 cannot be read"),
    ("0.jnl", |dir| cut(dir, "store/0.jnl", 1), "byte 0 cannot be read"),
    ("0.jnl", |dir| cut(dir, "store/0.jnl", 100), "byte 0 cannot be read"),
    ("0.jnl", |dir| cut(dir, "store/0.jnl", HALF as u64), "to 5, which were acknowledged"),
    ("0.jnl", |dir| zero_from(dir, "store/0.jnl", HALF), "to 5, which were acknowledged"),
    ("0.jnl", |dir| fs::write(dir.join("store/0.jnl"), "9").unwrap(), "byte 0 cannot be read"),
    ("0.jnl", |dir| fs::remove_file(dir.join("store/0.jnl")).unwrap(), "there is no journal"),
    ("keyspaces/0/current", |dir| remove(dir, "0/current"), "it is missing"),
    ("keyspaces/1/current", |dir| remove(dir, "1/current"), "the keyspace \"meta\" holds is lost"),
    ("keyspaces/2/current", |dir| remove(dir, "2/current"), "the keyspace \"log\" holds is lost"),
    ("keyspaces/5/current", |dir| remove(dir, "5/current"), "the keyspace \"views\" holds is lost"),
    ("keyspaces/5/current", |dir| cut(dir, "store/keyspaces/5/current", 3), "it ends at byte 3"),
    ("keyspaces/3/v0", |dir| remove(dir, "3/v0"), "it is missing"),
    ("keyspaces/3/v0", |dir| cut(dir, "store/keyspaces/3/v0", 50), "its end is not there"),
    (
        "keyspaces/4/current",
        |dir| fs::remove_dir_all(dir.join("store/keyspaces/4")).unwrap(),
        "it is missing",
    ),
];

fn remove(dir: &Path, file: &str) {
    fs::remove_file(dir.join("store/keyspaces").join(file)).unwrap();
}

/// A directory of five commits after a clean stop, and one of a server that was killed.
fn five(dir: &Path) -> [PathBuf; 2] {
    let (stopped, killed) = (dir.join("stopped"), dir.join("killed"));
    let store = DiskStore::open(&stopped).unwrap();
    (0..5).for_each(|n| put(&store, &n.to_string(), b"value"));
    copy(&stopped, &killed);
    drop(store);
    for dir in [&stopped, &killed] {
        // The unused end of a journal is 64 MiB of zeros; fewer are enough to be copied many times.
        cut(dir, "store/0.jnl", 1 << 16);
    }
    [stopped, killed]
}

#[test]
fn a_damaged_directory_is_refused_by_name_and_never_started_fresh() {
    let dir = tempfile::tempdir().unwrap();
    for whole in five(dir.path()) {
        for (number, (file, strike, why)) in DAMAGE.iter().enumerate() {
            let path = whole.with_extension(number.to_string());
            copy(&whole, &path);
            strike(&path);
            let what = format!("damage {number} of {file} in {}", whole.display());
            let error = refused(&path);
            assert_eq!(error.state(), SqlState::Corrupted, "{what}: {error}");
            assert!(
                error.message().contains(file) && error.message().contains(why),
                "{what}: {error}"
            );
            assert!(error.hint_text().unwrap().contains("--accept-loss"), "{what}");
            assert_eq!(refused(&path).message(), error.message(), "{what}: a second try");
        }
    }
}

#[test]
fn accepted_losses_go_on_with_what_is_left_and_are_not_asked_about_again() {
    let dir = tempfile::tempdir().unwrap();
    let [_, whole] = five(dir.path());
    for (number, (file, strike, _)) in DAMAGE.iter().enumerate() {
        let path = whole.with_extension(number.to_string());
        copy(&whole, &path);
        strike(&path);
        let what = format!("damage {number} of {file} in {}", whole.display());
        let store = accepting(&path);
        let left = count(&store, Space::Log);
        assert_eq!(left, count(&store, Space::Views), "{what}: the spaces agree");
        if *file != "store" && !file.ends_with(".jnl") {
            assert_eq!(left, 5, "{what}: the journal has it all");
        }
        put(&store, "more", b"value");
        drop(store);
        let store = DiskStore::open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(count(&store, Space::Log), left + 1, "{what}");
    }
}

#[test]
fn a_killed_server_has_every_commit_and_a_torn_last_one_is_not_there_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("running");
    let running = DiskStore::open(&path).unwrap();
    (10..29).for_each(|n| put(&running, &n.to_string(), b"some value"));
    let ledger = fs::read(path.join(ledger::LEDGER)).unwrap();
    put(&running, "29", b"some value");
    let opened = |dir: &Path| count(&DiskStore::open(dir).unwrap(), Space::Log);

    let killed = dir.path().join("killed");
    copy(&path, &killed);
    assert_eq!(opened(&killed), 20);

    // Nobody was told of the last commit: the process died before it wrote the ledger.
    let torn = dir.path().join("torn");
    copy(&path, &torn);
    fs::write(torn.join(ledger::LEDGER), &ledger).unwrap();
    assert_eq!(opened(&torn), 20, "it may be there");
    let torn = dir.path().join("in part");
    copy(&path, &torn);
    fs::write(torn.join(ledger::LEDGER), &ledger).unwrap();
    let journal = torn.join("store/0.jnl");
    let bytes = fs::read(&journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    fs::write(&journal, &bytes[..end - 20]).unwrap();
    assert_eq!(opened(&torn), 19);
    assert_eq!(opened(&torn), 19, "and once more");
}

/// Commits until the journal has been rotated and the tables have been written.
fn two_journals(store: &DiskStore, dir: &Path) {
    let value: Vec<u8> =
        (0..4 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for n in 0..64 {
        put(store, &format!("{n:03}"), &value);
        if dir.join("store/1.jnl").exists() {
            return;
        }
    }
    panic!("the journal was not rotated");
}

#[test]
fn a_journal_may_be_gone_only_when_its_commits_are_in_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("running");
    let running = DiskStore::open(&path).unwrap();
    two_journals(&running, &path);
    put(&running, "last", b"value");
    let killed = dir.path().join("killed");
    copy(&path, &killed);
    drop(running);

    // Meta is small and is in no table yet.
    let gone = dir.path().join("gone");
    copy(&killed, &gone);
    fs::remove_file(gone.join("store/0.jnl")).unwrap();
    let error = refused(&gone);
    assert!(
        error.message().contains("0.jnl") && error.message().contains("it is missing"),
        "{error}"
    );

    let newest = dir.path().join("newest");
    copy(&killed, &newest);
    fs::remove_file(newest.join("store/1.jnl")).unwrap();
    let error = refused(&newest);
    assert!(
        error.message().contains("1.jnl") && error.message().contains("it is missing"),
        "{error}"
    );

    let table = dir.path().join("table");
    copy(&path, &table);
    let tables = table.join("store/keyspaces/2/tables");
    let first = fs::read_dir(&tables).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&first).unwrap();
    let error = refused(&table);
    assert!(error.message().contains("keyspaces/2/tables/"), "{error}");

    let store = DiskStore::open(&killed).unwrap();
    let all = count(&store, Space::Log);
    for space in Space::ALL {
        // What the crate does when it has time for it; then nothing is left in the old journal.
        store.space(space).rotate_memtable_and_wait().unwrap();
    }
    put(&store, "one more", b"value");
    drop(store);
    assert_eq!(count(&DiskStore::open(&killed).unwrap(), Space::Log), all + 1);
}

#[test]
fn a_disk_that_is_full_refuses_writes_but_not_what_makes_room() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(limits::DISK_RESERVE_BYTES + (1 << 20)));
    let asked = Arc::clone(&free);
    let free_space: FreeSpace = Arc::new(move |_| Ok(asked.load(Ordering::Relaxed)));
    let store =
        DiskStore::open_with(dir.path(), DiskOptions { free_space, ..DiskOptions::default() })
            .unwrap();
    put(&store, "a", b"value");
    free.store(limits::DISK_RESERVE_BYTES - 1, Ordering::Relaxed);
    let mut write = WriteBatch::default();
    write.put(Space::Meta, "counter", b"1".to_vec());
    assert_eq!(store.commit(write.clone()).unwrap_err().state(), SqlState::DiskFull);
    write.delete(Space::Log, "a");
    store.commit(write.clone()).unwrap();
    assert_eq!(count(&store, Space::Log), 0);
    write.put(Space::Log, "b", b"value".to_vec());
    assert_eq!(store.commit(write).unwrap_err().state(), SqlState::DiskFull);
    free.store(limits::DISK_LAST_RESERVE_BYTES - 1, Ordering::Relaxed);
    let mut delete = WriteBatch::default();
    delete.delete(Space::Views, "a");
    assert_eq!(store.commit(delete).unwrap_err().state(), SqlState::DiskFull);
}
