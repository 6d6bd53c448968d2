//! What survives a power cut: marking what a `syncfs` covered, and knowing what an earlier boot left without
//! one.

use std::sync::atomic::Ordering;

use rusqlite::{Connection, params};

use crate::db::Sql;
use crate::lease::Kind;
use crate::{Error, Result, Store, now};

/// Nanoseconds after which the kernel has begun to write dirty pages back by itself, twice over.
const OLD: i64 = 60_000_000_000;

impl Store {
    /// Makes all that was committed until now survive a power cut, by one `syncfs`, and marks it so. What is
    /// never marked has to be verified, or is dropped, after the next reboot, so call it at the end of verbs
    /// that add much: after the last row was added, and best after the result was shown, since it waits for
    /// the disk.
    pub fn sync(&self) -> Result<()> {
        let last: Option<i64> = self.db().read(|c| {
            let boot = self.boot();
            Ok(c.prepare_cached("SELECT max(seq) FROM unsynced WHERE boot = ?1")?
                .query_row([boot], |row| row.get(0))?)
        })?;
        let root = self.root();
        let sync = || rustix::fs::syncfs(std::fs::File::open(root)?).map_err(std::io::Error::from);
        sync().map_err(|e| Error::io("cannot sync", root, e))?;
        if let Some(last) = last {
            self.db().write(|tx| {
                tx.execute("DELETE FROM unsynced WHERE boot = ?1 AND seq <= ?2", params![self.boot(), last])?;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Begins a [`Store::sync`] beside what this process does, the first time it is called, where something has
    /// waited for one long enough that the kernel has written most of it. Failing to is no loss but of the mark.
    pub(crate) fn sync_what_is_old(&self) {
        if self.inner.shared.looked_for_old.swap(true, Ordering::Relaxed) {
            return;
        }
        if self.unsynced_since().ok().flatten().is_some_and(|since| now() - since > OLD) {
            let store = self.clone();
            // Whoever ends first ends the process: nobody waits for it.
            std::thread::spawn(move || store.sync());
        }
    }

    /// Since when, in nanoseconds since the Unix epoch, something waits for a [`Store::sync`]; `None` when
    /// nothing does. The kernel writes everything back within a minute by itself, so that a sync of what is
    /// older costs little.
    pub fn unsynced_since(&self) -> Result<Option<i64>> {
        self.db().read(|c| {
            Ok(c.prepare_cached("SELECT min(since) FROM unsynced WHERE boot = ?1")?
                .query_row([self.boot()], |row| row.get(0))?)
        })
    }

    /// The boot that this process runs in.
    pub(crate) fn boot(&self) -> &str {
        self.inner.shared.boot.get_or_init(|| {
            // Without /proc, all boots are one: as good as a store that never marks anything.
            let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
            id.map(|id| id.trim().to_owned()).unwrap_or_default()
        })
    }

    /// Whether an earlier boot left something that no sync covered and no sweep verified. Asked once: it can
    /// only get better, and each thing is looked at again before it is refused.
    pub(crate) fn any_unverified(&self, connection: &Connection) -> Sql<bool> {
        if let Some(&known) = self.inner.shared.unverified.get() {
            return Ok(known);
        }
        let boot = self.boot();
        let found = connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM unsynced WHERE boot < ?1)
                     OR EXISTS (SELECT 1 FROM unsynced WHERE boot > ?1)",
            )?
            .query_row([boot], |row| row.get(0))?;
        Ok(*self.inner.shared.unverified.get_or_init(|| found))
    }

    /// Whether this thing is one that an earlier boot left unsynced, and so does not count yet.
    pub(crate) fn is_unverified(&self, connection: &Connection, kind: Kind, key: &str) -> Sql<bool> {
        if !self.any_unverified(connection)? {
            return Ok(false);
        }
        Ok(connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM unsynced WHERE kind = ?1 AND key = ?2 AND boot <> ?3)",
            )?
            .query_row(params![kind.as_str(), key, self.boot()], |row| row.get(0))?)
    }

    /// Records that no sync has covered this thing, made just now.
    pub(crate) fn mark_unsynced(&self, connection: &Connection, kind: Kind, key: &str) -> Sql<()> {
        connection
            .prepare_cached("INSERT INTO unsynced (boot, kind, key, since) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![self.boot(), kind.as_str(), key, now()])?;
        Ok(())
    }
}

/// Forgets that this thing is unsynced: it is gone, or was verified.
pub(crate) fn unmark(connection: &Connection, kind: Kind, key: &str) -> Sql<()> {
    connection
        .prepare_cached("DELETE FROM unsynced WHERE kind = ?1 AND key = ?2")?
        .execute(params![kind.as_str(), key])?;
    Ok(())
}
