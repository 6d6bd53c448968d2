//! Checking the whole store: bytes against digests, rows against directories, references down to layers.
//!
//! What is found broken on the disk goes through one function, [`apply_broken`], which drops it and, step by
//! step, all rows that cannot stand without it. Without `--repair` the same is done in a transaction that is
//! rolled back, so that both say the same.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use oci::{ChainId, DiffId, Digest, Document, ImageConfig, ImageId};
use rusqlite::Connection;

use crate::blob::hash_file;
use crate::broken::{Broken, Why, apply_broken};
use crate::collect::has_row;
use crate::db::{Sql, parse};
use crate::image::all_images;
use crate::lease::{is_live, owner};
use crate::schema::{
    BLOBS, CONTAINERS, DIRS, ENTRIES, LEASES, MOUNTS, SNAPSHOTS, TMP, UPLOADS, WORK, make_dirs,
};
use crate::snapshot::all_snapshots;
use crate::sweep::names;
use crate::{Error, HookError, Result, Snapshot, Store};

/// Derives something again from a snapshot's layer directory (`snapshots/HEX/fs`, on the host). May be called
/// from several threads.
pub type VerifyFn<'a, T> = dyn Fn(&Path, &Snapshot) -> Result<T, HookError> + Sync + 'a;

/// What the store cannot do itself: reading layer directories as layers.
#[derive(Default, Clone, Copy)]
pub struct Hooks<'a> {
    /// Derives the DiffID of a layer that was made here. Used for snapshots without a tree digest.
    pub diff_id: Option<&'a VerifyFn<'a, DiffId>>,
    /// Derives the tree digest, as the maker of the snapshot did. Used for snapshots that have one.
    pub tree_digest: Option<&'a VerifyFn<'a, Digest>>,
}

/// How much was checked, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Blobs hashed again.
    pub blobs: u64,
    /// Bytes hashed again.
    pub bytes: u64,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Those of them whose content was verified by a hook.
    pub snapshots_verified: u64,
    /// Images looked at.
    pub images: u64,
    /// References looked at.
    pub references: u64,
    /// Containers looked at.
    pub containers: u64,
    /// Cache records looked at.
    pub cache_records: u64,
    /// Manifests in the repositories of the registry served from this store, looked at.
    pub registry_manifests: u64,
    /// Everything that is wrong, what depends on it included.
    pub problems: Vec<Problem>,
    /// Left-overs of processes that died: no damage; the next sweep or prune, or `--repair`, clears them. In
    /// words.
    pub garbage: Vec<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is about, such as `blob sha256:…`, `reference docker.io/library/a:latest`.
    pub subject: String,
    /// What is wrong.
    pub detail: String,
    /// What `--repair` did about it; `None` without it, and where it can do nothing.
    pub action: Option<String>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether nothing is wrong, or all of it was repaired.
    pub fn is_sound_now(&self) -> bool {
        self.problems.iter().all(|p| p.action.is_some())
    }
}

impl Store {
    /// Checks everything. With `repair`, drops what is broken together with all that depends on it, and says
    /// so. [`Error::Hook`] when a hook is not permitted to read a layer: that says nothing about the layer.
    pub fn check(&self, repair: bool, hooks: &Hooks) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        let database = self.check_database()?;
        if !database.is_empty() {
            report.problems.extend(database.into_iter().map(|detail| Problem {
                subject: format!("database {}", self.db().path().display()),
                detail,
                action: None,
            }));
            // Its rows are no ground to judge files by, far less to drop them.
            return Ok(report);
        }
        self.check_dirs(repair, &mut report)?;
        let holding = self.hold()?;
        let mut broken = Broken::default();
        self.check_blobs(&mut broken, &mut report)?;
        self.check_snapshots(hooks, &mut broken, &mut report)?;
        self.check_images(&mut broken, &mut report)?;
        self.check_containers(&mut broken, &mut report)?;
        self.count_rest(&mut report)?;
        let apply = |tx: &rusqlite::Transaction| {
            broken.retain_current(self, tx)?;
            apply_broken(self, tx, &broken)
        };
        let problems =
            if repair { self.db().write_durable(apply)? } else { self.db().write_and_undo(apply)? };
        let strip = |p: Problem| if repair { p } else { Problem { action: None, ..p } };
        report.problems.extend(problems.into_iter().map(strip));
        let orphans = self.orphans()?;
        self.list_garbage(&orphans, &mut report)?;
        if repair {
            self.remove_unowned(&holding, &orphans)?;
            self.remove_trash(&holding)?;
            self.sweep(hooks)?;
        }
        Ok(report)
    }

    fn check_database(&self) -> Result<Vec<String>> {
        self.db().read(|c| {
            let mut statement = c.prepare("PRAGMA integrity_check(20)")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            let lines: Vec<String> = rows.collect::<Result<_, _>>()?;
            Ok(if lines == ["ok"] { Vec::new() } else { lines })
        })
    }

    fn check_dirs(&self, repair: bool, report: &mut CheckReport) -> Result<()> {
        let missing: Vec<&str> = DIRS.into_iter().filter(|dir| !self.root().join(dir).is_dir()).collect();
        if !missing.is_empty() {
            // They are made even without `repair`: the check itself needs them, and an empty one loses
            // nothing.
            make_dirs(self.root())?;
        }
        report.problems.extend(missing.into_iter().map(|dir| Problem {
            subject: format!("directory {}", self.root().join(dir).display()),
            detail: "it is missing".to_owned(),
            action: Some("made again, empty".to_owned()),
        }));
        if repair {
            self.restore_reserve();
        }
        Ok(())
    }

    fn check_blobs(&self, broken: &mut Broken, report: &mut CheckReport) -> Result<()> {
        let rows: Vec<(String, u64)> = self.db().read(|c| {
            let mut statement = c.prepare("SELECT digest, size FROM blobs")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        report.blobs = rows.len() as u64;
        report.bytes = rows.iter().map(|(_, size)| size).sum();
        let digests: Vec<Digest> = self.parse_all(rows.iter().map(|(digest, _)| digest))?;
        for (digest, why) in in_parallel(&digests, |digest| Ok(self.blob_fault(digest)))? {
            broken.add_blob(digest, why);
        }
        Ok(())
    }

    fn check_snapshots(&self, hooks: &Hooks, broken: &mut Broken, report: &mut CheckReport) -> Result<()> {
        let all = self.db().read_all(all_snapshots)?;
        report.snapshots = all.len() as u64;
        report.snapshots_verified = all.iter().filter(|s| hooks.cover(s)).count() as u64;
        let found = in_parallel(&all, |snapshot| self.snapshot_fault(snapshot, hooks, false))?;
        for (snapshot, why) in found {
            broken.add_snapshot(snapshot.chain_id, why);
        }
        Ok(())
    }

    fn check_images(&self, broken: &mut Broken, report: &mut CheckReport) -> Result<()> {
        let rows = self.db().read_all(all_images)?;
        report.images = rows.len() as u64;
        for row in rows {
            if broken.has_blob(&row.id.0) {
                continue;
            }
            if let Some(why) = self.image_fault(&row.id)? {
                broken.add_image(row.id, why);
            }
        }
        Ok(())
    }

    /// Whether the config is what its digest says is the blobs' matter; here, whether its layers are those
    /// recorded.
    fn image_fault(&self, id: &ImageId) -> Result<Option<Why>> {
        let bytes = match self.read_blob(&id.0, u64::MAX) {
            Ok(bytes) => bytes,
            // A missing row is found by `apply_broken`.
            Err(Error::MissingBlob(_)) => return Ok(None),
            Err(error) => return Ok(Some(Why::content(error.to_string()))),
        };
        let config = match Document::<ImageConfig>::parse("image config", bytes) {
            Ok(config) => config.value,
            Err(error) => return Ok(Some(Why::content(error.to_string()))),
        };
        let chain = ChainId::prefixes(&config.rootfs.diff_ids);
        let wanted: Vec<(String, String)> = config
            .rootfs
            .diff_ids
            .iter()
            .zip(&chain)
            .map(|(diff_id, chain_id)| (diff_id.to_string(), chain_id.to_string()))
            .collect();
        let recorded: Vec<(String, String)> = self.db().read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT diff_id, chain_id FROM image_layers WHERE image = ?1 ORDER BY position",
            )?;
            let rows = statement.query_map([id.0.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        let differs = wanted != recorded;
        Ok(differs.then(|| Why::content("its recorded layers are not those of its config".to_owned())))
    }

    fn check_containers(&self, broken: &mut Broken, report: &mut CheckReport) -> Result<()> {
        let records = self.containers()?;
        report.containers = records.len() as u64;
        for record in records {
            let fs = self.container_dir(&record.id).join("fs");
            if !fs.is_dir() {
                broken.add_container(record.id, Why::missing(format!("{} is missing", fs.display())));
            }
        }
        Ok(())
    }

    fn count_rest(&self, report: &mut CheckReport) -> Result<()> {
        let count = |c: &Connection, table: &str| -> Sql<u64> {
            Ok(c.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?)
        };
        (report.references, report.cache_records) =
            self.db().read(|c| Ok((count(c, "tags")? + count(c, "repo_digests")?, count(c, "cache")?)))?;
        report.registry_manifests = self.db().read(|c| count(c, "registry_manifests"))?;
        Ok(())
    }

    /// Why the blob does not count as whole, if so.
    pub(crate) fn blob_fault(&self, digest: &Digest) -> Option<Why> {
        let path = self.blob_path(digest);
        match hash_file(&path) {
            Ok((found, _)) if found == *digest => None,
            Ok((found, size)) => Some(Why::content(format!("its {size} bytes have the digest {found}"))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Some(Why::missing(format!("{} is missing", path.display())))
            }
            Err(e) => Some(Why::content(format!("{}: {e}", path.display()))),
        }
    }

    /// Why the snapshot does not count as whole, if so. With `strict`, not being able to tell is a reason.
    pub(crate) fn snapshot_fault(
        &self,
        snapshot: &Snapshot,
        hooks: &Hooks,
        strict: bool,
    ) -> Result<Option<Why>> {
        if ChainId::extend(snapshot.parent.as_ref(), &snapshot.diff_id) != snapshot.chain_id {
            return Ok(Some(Why::content("its parent and layer do not make its ChainID".to_owned())));
        }
        let fs = self.snapshot_dir(&snapshot.chain_id);
        if !fs.is_dir() {
            return Ok(Some(Why::missing(format!("{} is missing", fs.display()))));
        }
        let compared = match (&snapshot.tree_digest, hooks.tree_digest, hooks.diff_id) {
            (Some(recorded), Some(derive), _) => derive(&fs, snapshot).map(|found| {
                (found != *recorded).then(|| format!("its tree has digest {found}, not {recorded}"))
            }),
            (None, _, Some(derive)) => derive(&fs, snapshot).map(|found| {
                let recorded = &snapshot.diff_id;
                (found != *recorded).then(|| format!("its layer has DiffID {found}, not {recorded}"))
            }),
            _ if strict => Ok(Some("it was not synced before a reboot, and nothing verifies it".to_owned())),
            _ => Ok(None),
        };
        match compared {
            Ok(found) => Ok(found.map(Why::content)),
            Err(source) if not_permitted(source.as_ref()) => {
                Err(Error::Hook { what: format!("snapshot {}", snapshot.chain_id), source })
            }
            Err(error) => Ok(Some(Why::content(format!("its layer cannot be read: {error}")))),
        }
    }

    /// Committed names without a row: a process died between its rename and its commit.
    pub(crate) fn orphans(&self) -> Result<Vec<String>> {
        let mut listed = Vec::new();
        for dir in [SNAPSHOTS, BLOBS, CONTAINERS, UPLOADS, MOUNTS] {
            let names = names(&self.root().join(dir))?;
            listed.extend(names.into_iter().map(|name| format!("{dir}/{name}")));
        }
        self.db().read_all(|c| {
            let mut orphans = Vec::new();
            for path in listed {
                if !has_row(c, &path)? {
                    orphans.push(path);
                }
            }
            Ok(orphans)
        })
    }

    fn list_garbage(&self, orphans: &[String], report: &mut CheckReport) -> Result<()> {
        report.garbage.extend(orphans.iter().map(|path| format!("{path} has no row")));
        for dir in [WORK, TMP] {
            for name in names(&self.root().join(dir))? {
                if !owner(&name).is_some_and(|lease| is_live(self.root(), lease)) {
                    report.garbage.push(format!("{dir}/{name} is of no live process"));
                }
            }
        }
        for name in names(&self.root().join(LEASES))? {
            if !is_live(self.root(), &name) {
                report.garbage.push(format!("{LEASES}/{name} is of no live process"));
            }
        }
        for name in names(self.root())? {
            if !ENTRIES.contains(&name.as_str()) && name != "lost+found" {
                report.garbage.push(format!("{name} is not the store's"));
            }
        }
        Ok(())
    }

    fn parse_all<'a>(&self, texts: impl Iterator<Item = &'a String>) -> Result<Vec<Digest>> {
        let parsed: Sql<Vec<Digest>> = texts.map(|text| parse(text)).collect();
        parsed.map_err(|fault| self.db().error(fault))
    }
}

impl Hooks<'_> {
    /// Whether the content of this snapshot can be verified.
    fn cover(&self, snapshot: &Snapshot) -> bool {
        if snapshot.tree_digest.is_some() { self.tree_digest.is_some() } else { self.diff_id.is_some() }
    }
}

fn not_permitted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut at = Some(error);
    while let Some(error) = at {
        let denied = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied);
        if denied {
            return true;
        }
        at = error.source();
    }
    false
}

/// Runs `look` over all items on as many threads as there are processors; returns those it found something
/// about, in order.
fn in_parallel<T, F>(items: &[T], look: F) -> Result<Vec<(T, Why)>>
where
    T: Clone + Send + Sync,
    F: Fn(&T) -> Result<Option<Why>> + Sync,
{
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        while let Some((i, item)) = {
            let i = next.fetch_add(1, Ordering::Relaxed);
            items.get(i).map(|item| (i, item))
        } {
            if let Some(why) = look(item)? {
                let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                found.push((i, why));
            }
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len().max(1));
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut result = work();
        for other in others {
            match other.join() {
                Ok(theirs) => result = result.and(theirs),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })?;
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.sort_by_key(|(i, _)| *i);
    Ok(found.into_iter().map(|(i, why)| (items[i].clone(), why)).collect())
}
