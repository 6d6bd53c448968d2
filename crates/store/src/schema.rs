//! A store's format: its directories, its tables, its version, and how a new one comes to be.
//!
//! `version` is written last, so a store without it was never finished, and making one again goes on where
//! the other maker died. Opening a store that is complete reads this one file and no directory.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::FlockOperation;

use crate::db::{connect, fold, sql_error};
use crate::{Error, Result, reserve};

/// The format that this program reads and writes.
/// 2: `cache_mounts`, `settings` and `mounts/`.
const FORMAT: u64 = 2;

pub(crate) const VERSION: &str = "version";
pub(crate) const DATABASE: &str = "strake.db";
pub(crate) const BLOBS: &str = "blobs/sha256";
pub(crate) const SNAPSHOTS: &str = "snapshots";
pub(crate) const CONTAINERS: &str = "containers";
pub(crate) const CONTEXTS: &str = "contexts";
/// What past builds have to tell; made by the first build.
pub(crate) const BUILDS: &str = "builds";
pub(crate) const LEASES: &str = "leases";
/// Cache mounts.
pub(crate) const MOUNTS: &str = "mounts";
/// Blobs that are being uploaded to the registry served from this store; they outlive the server.
pub(crate) const UPLOADS: &str = "uploads";
pub(crate) const WORK: &str = "work";
pub(crate) const TMP: &str = "tmp";
/// What is being fetched: see `partial`.
pub(crate) const PARTIAL: &str = "partial";
/// Space held back so that a prune can write what it drops into the database when the disk is full.
pub(crate) const RESERVE: &str = "reserve";

/// Every directory of a store, parents first.
pub(crate) const DIRS: [&str; 11] =
    ["blobs", BLOBS, SNAPSHOTS, CONTAINERS, CONTEXTS, MOUNTS, LEASES, UPLOADS, WORK, TMP, PARTIAL];

/// What may lie in a store's directory.
pub(crate) const ENTRIES: [&str; 17] = [
    VERSION,
    DATABASE,
    "strake.db-wal",
    "strake.db-shm",
    "strake.db-journal",
    RESERVE,
    "blobs",
    SNAPSHOTS,
    CONTAINERS,
    CONTEXTS,
    BUILDS,
    MOUNTS,
    LEASES,
    UPLOADS,
    WORK,
    TMP,
    PARTIAL,
];

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS blobs (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS layer_blobs (
    diff_id TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, PRIMARY KEY (diff_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS layer_blobs_digest ON layer_blobs (digest);

-- total: usage of this snapshot and all below it
CREATE TABLE IF NOT EXISTS snapshots (
    chain_id TEXT PRIMARY KEY, parent TEXT, diff_id TEXT NOT NULL, tar_size INTEGER NOT NULL,
    usage INTEGER NOT NULL, total INTEGER NOT NULL, inodes INTEGER NOT NULL, tree_digest TEXT,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- annotations: a JSON object
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY, chain_id TEXT, manifest TEXT, index_digest TEXT, base_name TEXT, base_digest TEXT,
    annotations TEXT NOT NULL, added INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS image_layers (
    image TEXT NOT NULL, position INTEGER NOT NULL, diff_id TEXT NOT NULL, chain_id TEXT NOT NULL,
    PRIMARY KEY (image, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS tags (reference TEXT PRIMARY KEY, image TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tags_image ON tags (image);

CREATE TABLE IF NOT EXISTS repo_digests (
    name TEXT NOT NULL, digest TEXT NOT NULL, image TEXT NOT NULL, PRIMARY KEY (name, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS repo_digests_image ON repo_digests (image);

-- names that stand for exactly this manifest or index, whose blob is here
CREATE TABLE IF NOT EXISTS manifests (
    reference TEXT PRIMARY KEY, digest TEXT NOT NULL, added INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- what those lead to: manifests, configs, layers; here or not
CREATE TABLE IF NOT EXISTS manifest_content (
    manifest TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (manifest, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS manifest_content_digest ON manifest_content (digest);

-- what came of layers that were compressed on their way out, and how; the bytes are not here
CREATE TABLE IF NOT EXISTS compressed (
    diff_id TEXT NOT NULL, method TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (diff_id, method)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS compressed_digest ON compressed (digest);

-- kind: 0 fast, 1 slow; diff_ids: separated by blanks
CREATE TABLE IF NOT EXISTS cache (
    key TEXT PRIMARY KEY, kind INTEGER NOT NULL, identity TEXT NOT NULL, chain_id TEXT, diff_ids TEXT NOT NULL,
    parts TEXT NOT NULL, step TEXT NOT NULL, created INTEGER NOT NULL, last_used INTEGER NOT NULL,
    uses INTEGER NOT NULL, duration_ms INTEGER NOT NULL, size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cache_identity ON cache (identity, last_used);

-- key: name and what it was first filled from; size: NULL where it has to be measured
CREATE TABLE IF NOT EXISTS cache_mounts (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, created INTEGER NOT NULL,
    last_used INTEGER NOT NULL, uses INTEGER NOT NULL, size INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cache_mounts_key ON cache_mounts (key, created);

CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- what steps of past builds depended on, for explaining; room: bytes of files
CREATE TABLE IF NOT EXISTS cache_steps (
    key TEXT PRIMARY KEY, place TEXT NOT NULL, shape TEXT NOT NULL, facts TEXT NOT NULL, seen INTEGER NOT NULL,
    room INTEGER NOT NULL, files BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS cache_steps_place ON cache_steps (place, seen);
CREATE INDEX IF NOT EXISTS cache_steps_shape ON cache_steps (shape, seen);
CREATE INDEX IF NOT EXISTS cache_steps_seen ON cache_steps (seen);
CREATE INDEX IF NOT EXISTS cache_steps_room ON cache_steps (seen) WHERE room > 0;

CREATE TABLE IF NOT EXISTS containers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, image TEXT NOT NULL, chain_id TEXT, created INTEGER NOT NULL,
    auto_remove INTEGER NOT NULL, state TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- what live processes use; kind: b blob, s snapshot, i image
CREATE TABLE IF NOT EXISTS leases (
    lease TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (lease, kind, key)
) STRICT, WITHOUT ROWID;

-- what no syncfs has covered yet; kinds as in leases. AUTOINCREMENT: a number is never used twice.
CREATE TABLE IF NOT EXISTS unsynced (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS unsynced_boot ON unsynced (boot);
CREATE INDEX IF NOT EXISTS unsynced_key ON unsynced (kind, key);

-- what the registry that is served from this store shows, repository by repository. digest: what it is addressed by,
-- which may be a sha512; blob: the row of `blobs` that has its bytes
CREATE TABLE IF NOT EXISTS registry_blobs (
    repository TEXT NOT NULL, digest TEXT NOT NULL, blob TEXT NOT NULL, added INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS registry_blobs_digest ON registry_blobs (digest);
CREATE INDEX IF NOT EXISTS registry_blobs_blob ON registry_blobs (blob);

-- subject, artifact_type: of a referrer
CREATE TABLE IF NOT EXISTS registry_manifests (
    repository TEXT NOT NULL, digest TEXT NOT NULL, blob TEXT NOT NULL, media_type TEXT NOT NULL,
    subject TEXT, artifact_type TEXT, added INTEGER NOT NULL, PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS registry_manifests_blob ON registry_manifests (blob);
CREATE INDEX IF NOT EXISTS registry_manifests_subject ON registry_manifests (repository, subject, digest)
    WHERE subject NOT NULL;

-- which blobs of its repository a manifest needs
CREATE TABLE IF NOT EXISTS registry_links (
    repository TEXT NOT NULL, digest TEXT NOT NULL, manifest TEXT NOT NULL,
    PRIMARY KEY (repository, digest, manifest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS registry_links_manifest ON registry_links (repository, manifest);

CREATE TABLE IF NOT EXISTS registry_tags (
    repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS registry_tags_digest ON registry_tags (repository, digest);

-- id: name of its file in uploads/
CREATE TABLE IF NOT EXISTS registry_uploads (
    id TEXT PRIMARY KEY, repository TEXT NOT NULL, started INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- paths under the store whose rows are gone, and that are still to be removed
CREATE TABLE IF NOT EXISTS trash (path TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

PRAGMA user_version = 2;
";

/// Makes sure that `root` is a complete store of our format: reads its version, adds what an older one lacks, or makes a
/// new one.
pub(crate) fn ensure(root: &Path) -> Result<()> {
    if version(root)? == Some(FORMAT) {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(root)
        .map_err(|e| Error::io("cannot create the store", root, e))?;
    // Many processes may come here at once; the lock is on the directory itself, so that it leaves nothing.
    let dir = File::open(root).map_err(|e| Error::io("cannot open the store", root, e))?;
    rustix::fs::flock(&dir, FlockOperation::LockExclusive)
        .map_err(|e| Error::io("cannot lock", root, e.into()))?;
    match version(root)? {
        Some(FORMAT) => return Ok(()),
        Some(_) => {}
        None => {
            refuse_foreign(root)?;
            reserve::require_space_for_new(root)?;
        }
    }
    make(root, &dir)
}

/// What `version` says, if it is there: our format or an older one; an error when it is another.
fn version(root: &Path) -> Result<Option<u64>> {
    let path = root.join(VERSION);
    let mut text = String::new();
    match File::open(&path) {
        Ok(file) => {
            let read = file.take(64).read_to_string(&mut text);
            read.map_err(|e| Error::io("cannot read", &path, e))?;
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::NotAStore { root: root.to_owned(), reason: "it is a file".to_owned() });
        }
        Err(e) => return Err(Error::io("cannot read", &path, e)),
    }
    match text.trim().parse::<u64>() {
        Ok(found @ 1..=FORMAT) => Ok(Some(found)),
        Ok(found) if found > FORMAT => {
            Err(Error::NewerFormat { root: root.to_owned(), found, known: FORMAT })
        }
        _ => Err(Error::NotAStore {
            root: root.to_owned(),
            reason: format!("its version file says {:?}", text.trim()),
        }),
    }
}

fn refuse_foreign(root: &Path) -> Result<()> {
    let list = |e| Error::io("cannot list", root, e);
    for entry in fs::read_dir(root).map_err(list)? {
        let name = entry.map_err(list)?.file_name();
        let ours = name.to_str().is_some_and(|n| ENTRIES.contains(&n) || n == "lost+found");
        if !ours {
            return Err(Error::NotAStore {
                root: root.to_owned(),
                reason: format!("it has no version file, and holds {:?}", name.to_string_lossy()),
            });
        }
    }
    Ok(())
}

fn make(root: &Path, dir: &File) -> Result<()> {
    make_dirs(root)?;
    make_database(root)?;
    reserve::make(root);
    let version = root.join(VERSION);
    let new = root.join(TMP).join("version");
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(format!("{FORMAT}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &version)?;
        dir.sync_all()
    };
    write().map_err(|e| Error::io("cannot write", &version, e))
}

/// Makes the directories that are missing.
pub(crate) fn make_dirs(root: &Path) -> Result<()> {
    for name in DIRS {
        let path = root.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("cannot create", &path, e));
            }
            _ => {}
        }
    }
    Ok(())
}

fn make_database(root: &Path) -> Result<()> {
    let path = root.join(DATABASE);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let run = || -> rusqlite::Result<u64> {
        let connection = connect(&path, flags)?;
        let found: u64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found <= FORMAT {
            fill(&connection)?;
        }
        Ok(found)
    };
    match run().map_err(|e| sql_error(&path, e))? {
        found if found > FORMAT => Err(Error::NewerFormat { root: root.to_owned(), found, known: FORMAT }),
        _ => Ok(()),
    }
}

fn fill(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} COMMIT;"))?;
    fold(connection)
}
