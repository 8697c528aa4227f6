//! Opens what is in a data directory, if all of it is there: looks it over, repairs it if that is
//! wished, opens it, and counts.
//!
//! ```text
//! marker ─▶ ledger ─▶ survey of the files ─▶ (repair) ─▶ fjall ─▶ has every space what the
//!                          │ damaged: refused by name,                ledger says? no: refused
//!                          ▼ and nothing is changed
//! ```

use std::fs;
use std::path::Path;
use std::sync::Arc;

use fjall::{AbstractTree, Database, Keyspace};

use super::Space;
use super::ledger::{self, Account, Lasts, NUMBER_KEY};
use super::lsm::{self, damaged, io};
use super::marker::{self, MarkerState, STORE, mark};
use super::repair::{self, Repaired};
use super::survey::{self, Damage, Remedy, Survey};
use crate::error::{Result, SqlState};
use crate::limits;

/// Says how many bytes are free where a directory is.
pub type FreeSpace = Arc<dyn Fn(&Path) -> std::io::Result<u64> + Send + Sync>;

/// How a data directory is opened.
#[derive(Clone)]
pub struct DiskOptions {
    /// Go on without what is lost, if something is.
    pub accept_loss: bool,
    /// Asks for the room on the disk.
    pub free_space: FreeSpace,
    /// How many files of tables are kept open at the most.
    pub open_files: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        let free_space = |dir: &Path| -> std::io::Result<u64> {
            let room = rustix::fs::statvfs(dir)?;
            Ok(room.f_bavail.saturating_mul(room.f_frsize))
        };
        DiskOptions {
            accept_loss: false,
            free_space: Arc::new(free_space),
            open_files: limits::STORE_FILES,
        }
    }
}

/// A store that has been opened, and how far it is.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) spaces: Vec<Keyspace>,
    pub(super) account: Account,
    /// The commit that the next one of each space names as the one before it.
    pub(super) chain: Lasts,
}

/// What the marker says; what a damaged one would have said, if that is accepted.
pub(super) fn marked(dir: &Path, accept_loss: bool) -> Result<MarkerState> {
    match marker::look(dir) {
        Err(error) if accept_loss && error.state() == SqlState::Corrupted => {
            tracing::warn!("--accept-loss: {error}");
            let has_store = dir.join(STORE).exists();
            let has_ledger = dir.join(ledger::LEDGER).exists();
            Ok(match (has_store, has_ledger) {
                (true, true) => MarkerState::Kept,
                (true, false) => MarkerState::Ready,
                (false, _) => MarkerState::Nothing,
            })
        }
        marked => marked,
    }
}

/// Makes a new store.
pub(super) fn create(dir: &Path, options: &DiskOptions) -> Result<Opened> {
    let path = dir.join(STORE);
    // A start that did not get as far as "ready" acknowledged nothing.
    if path.exists() {
        fs::remove_dir_all(&path).map_err(|e| io(&e, "clear", &path))?;
    }
    mark(dir, MarkerState::Nothing)?;
    let (database, spaces) =
        lsm::open(&path, lsm::WORKERS, options.open_files).map_err(|e| lsm::opening(e, &path))?;
    let account = Account { keyspaces: numbers(&spaces), ..Account::default() };
    Ok(Opened { database, spaces, account, chain: Lasts::default() })
}

/// Opens a store that has data. All that is wrong with it is told before anything is changed.
pub(super) fn reopen(dir: &Path, marked: MarkerState, options: &DiskOptions) -> Result<Opened> {
    let path = dir.join(STORE);
    if !path.exists() {
        let missing = damaged(&path, "it is missing, and all data with it");
        if !options.accept_loss {
            return Err(missing);
        }
        tracing::warn!("--accept-loss: {missing}");
        return create(dir, options);
    }
    let account = match marked {
        MarkerState::Kept => match ledger::read(dir) {
            Err(error) if options.accept_loss => {
                tracing::warn!("--accept-loss: {error}");
                None
            }
            account => Some(account?),
        },
        MarkerState::Nothing | MarkerState::Ready => None,
    };
    let mut found =
        survey::survey(&path, account.as_ref()).map_err(|e| io(&e, "look over", &path))?;
    check_doubtful(&path, &mut found, account.as_ref())?;
    let mut lost = account.map_or_else(Vec::new, |account| account.lost_spaces());
    let mut was_short = !found.damage.is_empty();
    if let Some(first) = found.damage.first() {
        if !options.accept_loss {
            return Err(damaged(&first.path, &first.why));
        }
        // In a new store the spaces are numbered in their order.
        let usual = Account { keyspaces: [1, 2, 3, 4, 5], ..Account::default() };
        match repair::repair(dir, &found, account.as_ref().unwrap_or(&usual))? {
            Repaired::Without(spaces) => lost.extend(spaces),
            Repaired::Nothing => return create(dir, options),
        }
    }
    let (database, spaces) =
        lsm::open(&path, lsm::WORKERS, options.open_files).map_err(|e| lsm::opening(e, &path))?;
    let reached = Reached::read(&spaces).map_err(|e| lsm::opening(e, &path))?;
    if let Some(short) = account.and_then(|account| reached.behind(&account, &found, &path)) {
        if !options.accept_loss {
            return Err(damaged(&short.path, &short.why));
        }
        repair::warn(&short);
        was_short = true;
    }
    if was_short {
        lost.extend(Space::ALL.into_iter().filter(|space| !reached.agrees(*space)));
    }
    let oldest = found.journals.files.first().map_or(0, |file| file.id);
    let chain = if was_short { Lasts::default() } else { reached.lasts };
    let known = account.map_or(0, |account| account.number);
    let account = Account {
        number: reached.lasts.into_iter().max().unwrap_or(0).max(known),
        lasts: reached.lasts,
        keyspaces: numbers(&spaces),
        oldest,
        newest: oldest,
        lost: ledger::bits(&lost),
        ..Account::default()
    };
    Ok(Opened { database, spaces, account, chain })
}

/// Asks the crate, without letting it do anything, whether all of a journal that is gone is in its
/// tables.
fn check_doubtful(path: &Path, found: &mut Survey, account: Option<&Account>) -> Result<()> {
    let (Some(journal), Some(account)) = (found.doubtful.clone(), account) else { return Ok(()) };
    let is_flushed = match (account.ended, found.damage.is_empty()) {
        // At a clean stop the ledger knew every journal.
        (true, _) => false,
        // Something else is wrong anyway.
        (false, false) => return Ok(()),
        (false, true) => is_flushed(path, found, account).map_err(|e| lsm::opening(e, path))?,
    };
    if !is_flushed {
        let why = "it is missing; commits in it, which were acknowledged, are lost".to_owned();
        found.damage.push(Damage { path: journal, why, remedy: Remedy::Nothing });
    }
    Ok(())
}

fn is_flushed(path: &Path, found: &Survey, account: &Account) -> fjall::Result<bool> {
    // No batch is left in the journals: then each space must simply be as far as the ledger says.
    let Some(first) = found.journals.first_seqno else { return Ok(true) };
    let (_database, spaces) = lsm::open(path, 0, limits::STORE_FILES)?;
    for space in Space::ALL {
        let keyspace = &spaces[space as usize];
        let left = found.journals.chains.get(&account.keyspaces[space as usize]);
        let needed = left.map_or(account.lasts[space as usize], |(first, _)| first.before);
        // Memtables are flushed in order, so what was flushed after the first batch that is left
        // shows that all before was, too.
        let is_beyond =
            keyspace.tree.get_highest_persisted_seqno().is_some_and(|seqno| seqno >= first);
        if is_beyond || needed == 0 {
            continue;
        }
        let before = keyspace.tree.get(NUMBER_KEY, first)?;
        let flushed = before.and_then(|value| ledger::decode_link(&value)).unwrap_or_default();
        if flushed.number < needed {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How far each space is.
struct Reached {
    lasts: Lasts,
    /// How far `Meta` says that they are.
    by_meta: Lasts,
}

impl Reached {
    fn read(spaces: &[Keyspace]) -> fjall::Result<Reached> {
        let mut reached = Reached { lasts: Lasts::default(), by_meta: Lasts::default() };
        for space in Space::ALL {
            let Some(value) = spaces[space as usize].get(NUMBER_KEY)? else { continue };
            reached.lasts[space as usize] = ledger::decode_link(&value).unwrap_or_default().number;
            if space == Space::Meta {
                reached.by_meta = ledger::decode_lasts(&value).unwrap_or_default();
            }
        }
        Ok(reached)
    }

    fn agrees(&self, space: Space) -> bool {
        self.lasts[space as usize] == self.by_meta[space as usize]
    }

    /// What is missing of that which was acknowledged.
    fn behind(&self, account: &Account, found: &Survey, path: &Path) -> Option<Damage> {
        let short = |space: &Space| self.lasts[*space as usize] < account.lasts[*space as usize];
        let space = Space::ALL.into_iter().find(short)?;
        let (is, must) = (self.lasts[space as usize], account.lasts[space as usize]);
        let what =
            format!("of the commits {} to {must}, which were acknowledged, some are lost", is + 1);
        // A space that is behind has lost tables; all of them together have lost the end of the
        // journal.
        let file = found.journals.files.last().filter(|_| space == Space::Meta);
        Some(match file {
            Some(file) => Damage {
                path: file.path.clone(),
                why: format!("byte {} cannot be read; {what}", file.end),
                remedy: Remedy::Nothing,
            },
            None => {
                let keyspace = account.keyspaces[space as usize].to_string();
                let path = path.join(survey::KEYSPACES).join(keyspace);
                Damage { path, why: what, remedy: Remedy::Nothing }
            }
        })
    }
}

/// The numbers of the spaces' directories.
fn numbers(spaces: &[Keyspace]) -> [u64; Space::ALL.len()] {
    let number = |keyspace: &Keyspace| keyspace.path().file_name()?.to_str()?.parse().ok();
    Space::ALL.map(|space| spaces.get(space as usize).and_then(number).unwrap_or_default())
}
