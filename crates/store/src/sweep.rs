//! Sweeping: clears what dead processes left, and looks at what an earlier boot left unsynced. Cheap when
//! there is nothing to clear: five short directory listings and one query.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;

use oci::{ChainId, Digest};
use rustix::fs::FlockOperation;

use crate::broken::{Broken, apply_broken};
use crate::db::{Sql, parse};
use crate::lease::{Kind, forget, lock, owner};
use crate::remove::remove_tree;
use crate::schema::{CONTAINERS, DIRS, LEASES, TMP, WORK, make_dirs};
use crate::sync::unmark;
use crate::{Error, Hooks, Result, Snapshot, Store};

/// What a sweep cleared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Things that were being made or removed by processes that died.
    pub unfinished: u64,
    /// `--rm` containers whose process died, by ID.
    pub containers: Vec<String>,
    /// What an earlier boot left unsynced and was found broken or could not be verified, with what depended
    /// on it, in words.
    pub dropped: Vec<String>,
    /// How many unsynced things of an earlier boot were verified and kept.
    pub verified: u64,
}

impl Store {
    /// Clears what dead processes left, and verifies what an earlier boot left unsynced: with `hooks`, or by
    /// dropping the snapshots that no hook can verify. Every mutating verb calls it first. It never waits for
    /// another process's work.
    pub fn sweep(&self, hooks: &Hooks) -> Result<SweepReport> {
        let mut report = SweepReport::default();
        self.sweep_files(&mut report)?;
        self.sweep_unverified(hooks, &mut report)?;
        Ok(report)
    }

    /// All but what an earlier boot left unsynced.
    pub(crate) fn sweep_files(&self, report: &mut SweepReport) -> Result<()> {
        // A power cut may have taken an empty one; the first that is missing would fail all that follows.
        make_missing_dirs(self.root())?;
        self.sweep_leases(report)?;
        for dir in [WORK, TMP] {
            self.sweep_dir(dir, report)?;
        }
        self.sweep_partial(false)?;
        self.sweep_trash(report)?;
        report.unfinished += self.sweep_uploads()?;
        self.sweep_containers(report)
    }

    /// Leases of dead processes, with their rows. Their files in `work/` and `tmp/` are then nobody's.
    fn sweep_leases(&self, report: &mut SweepReport) -> Result<()> {
        let dir = self.root().join(LEASES);
        for name in names(&dir)? {
            let path = dir.join(&name);
            let Ok(file) = File::open(&path) else { continue };
            if lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            // Held until the file is gone, so that two sweeps do not do the same.
            self.db().write(|tx| forget(tx, &name))?;
            remove_leftover(&path, report)?;
        }
        Ok(())
    }

    /// Entries whose lease is not there. One whose process is being swept by another is there until that is
    /// done.
    fn sweep_dir(&self, dir: &str, report: &mut SweepReport) -> Result<()> {
        let path = self.root().join(dir);
        for name in names(&path)? {
            let lease = owner(&name);
            // A lease file exists before and after anything that bears its name.
            if lease.is_some_and(|l| self.root().join(LEASES).join(l).exists()) {
                continue;
            }
            remove_leftover(&path.join(&name), report)?;
        }
        Ok(())
    }

    fn sweep_trash(&self, report: &mut SweepReport) -> Result<()> {
        let count: u64 =
            self.db().read(|c| Ok(c.query_row("SELECT count(*) FROM trash", [], |row| row.get(0))?))?;
        if count > 0 {
            report.unfinished += count;
            let holding = self.hold()?;
            self.remove_trash(&holding)?;
        }
        Ok(())
    }

    /// Containers: a directory without a row was being made; a row without a directory was lost in a power
    /// cut; one that was to go at its end, and that nobody runs, goes.
    fn sweep_containers(&self, report: &mut SweepReport) -> Result<()> {
        let here = names(&self.root().join(CONTAINERS))?;
        let records = self.containers()?;
        let known: HashSet<&str> = records.iter().map(|r| r.id.as_str()).collect();
        let unknown: Vec<String> = here
            .iter()
            .filter(|name| !known.contains(name.as_str()))
            .map(|name| format!("{CONTAINERS}/{name}"))
            .collect();
        if !unknown.is_empty() {
            report.unfinished += unknown.len() as u64;
            let holding = self.hold()?;
            self.remove_unowned(&holding, &unknown)?;
        }
        for record in records.iter().filter(|r| r.auto_remove) {
            match self.lock_container(&record.id) {
                Ok(Some(lock)) => {
                    self.remove_container(&record.id, lock)?;
                    report.containers.push(record.id.clone());
                }
                Ok(None) | Err(Error::MissingContainer(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sweep_unverified(&self, hooks: &Hooks, report: &mut SweepReport) -> Result<()> {
        if !self.db().read(|c| self.any_unverified(c))? {
            return Ok(());
        }
        let unverified: Vec<(String, String)> = self.db().read(|c| {
            let mut statement =
                c.prepare_cached("SELECT DISTINCT kind, key FROM unsynced WHERE boot <> ?1")?;
            let rows = statement.query_map([self.boot()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        let snapshots: HashMap<ChainId, Snapshot> =
            self.snapshots()?.into_iter().map(|s| (s.chain_id.clone(), s)).collect();
        let mut broken = Broken::default();
        let mut well = Vec::new();
        for (kind, key) in unverified {
            let digest = self.key(&key)?;
            if kind == Kind::Blob.as_str() {
                match self.blob_fault(&digest) {
                    None => well.push((Kind::Blob, key)),
                    Some(why) => broken.add_blob(digest, why),
                }
            } else if let Some(snapshot) = snapshots.get(&ChainId(digest)) {
                match self.snapshot_fault(snapshot, hooks, true)? {
                    None => well.push((Kind::Snapshot, key)),
                    Some(why) => broken.add_snapshot(snapshot.chain_id.clone(), why),
                }
            }
        }
        report.verified += well.len() as u64;
        let holding = self.hold()?;
        let problems = self.db().write_durable(|tx| {
            for (kind, key) in &well {
                unmark(tx, *kind, key)?;
            }
            // Somebody may have made it anew while we looked.
            broken.retain(
                |digest| self.is_unverified(tx, Kind::Blob, digest.as_str()),
                |chain_id| self.is_unverified(tx, Kind::Snapshot, chain_id.0.as_str()),
            )?;
            apply_broken(self, tx, &broken)
        })?;
        report.dropped.extend(problems.into_iter().map(|p| format!("{}: {}", p.subject, p.detail)));
        self.remove_trash(&holding)
    }

    fn key(&self, text: &str) -> Result<Digest> {
        let parsed: Sql<Digest> = parse(text);
        parsed.map_err(|fault| self.db().error(fault))
    }
}

/// The names in a directory of the store, sorted. Names that are not text are not ours, and are shown as well
/// as can be.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    loop {
        let list = || -> io::Result<Vec<String>> {
            fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        match list() {
            Ok(mut names) => {
                names.sort_unstable();
                return Ok(names);
            }
            // It was being replaced by an empty one: see `compact`.
            Err(e) if e.kind() == io::ErrorKind::NotFound && dir.exists() => {}
            Err(e) => return Err(Error::io("cannot list", dir, e)),
        }
    }
}

fn make_missing_dirs(root: &Path) -> Result<()> {
    if DIRS.iter().all(|dir| root.join(dir).is_dir()) { Ok(()) } else { make_dirs(root) }
}

/// What cannot be removed now (a dying process still writes to it) is left to the next sweep; only a lack of
/// permission is worth telling.
fn remove_leftover(path: &Path, report: &mut SweepReport) -> Result<()> {
    match remove_tree(path) {
        Ok(()) => report.unfinished += 1,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Error::io("cannot remove", path, e));
        }
        Err(_) => {}
    }
    Ok(())
}
