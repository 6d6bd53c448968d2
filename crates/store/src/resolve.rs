//! What a text on a command line names: an image by name, digest or ID. The order is Docker's: a whole ID is
//! always an ID (no name looks like one); a name wins over the beginning of an ID.

use oci::{Digest, ImageId, Reference};
use rusqlite::{Connection, params};

use crate::db::{Sql, parse};
use crate::{Error, Result, Store};

/// Why a text names no image.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nothing has that name or ID.
    #[error("no such image: {text}")]
    NotFound {
        /// The text, a name in familiar form and with its tag.
        text: String,
    },
    /// Several IDs begin with it.
    #[error("{text:?} is ambiguous, it is the beginning of {}", shortened(text, candidates.iter().map(ImageId::hex)))]
    Ambiguous {
        /// The text as given.
        text: String,
        /// The images whose IDs begin with it, sorted.
        candidates: Vec<ImageId>,
    },
    /// It is neither a reference nor an ID.
    #[error(transparent)]
    Invalid(#[from] oci::ReferenceError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Store {
    /// The image that `text` names: `name[:tag]` (`latest` by default), `name@digest` (a repository digest,
    /// or the manifest digest of an image of that name), a whole ID or manifest digest with or without
    /// `sha256:`, or the beginning of an ID (one hex digit or more). A name wins over the beginning of an ID.
    pub fn resolve(&self, text: &str) -> Result<ImageId, ResolveError> {
        if let Some(digest) = whole_digest(text) {
            let found = self.db().read(|c| by_digest(c, &digest))?;
            return found.ok_or_else(|| ResolveError::NotFound { text: text.to_owned() });
        }
        let reference = Reference::parse(text);
        if let Ok(reference) = &reference
            && let Some(id) = self.reference(reference)?
        {
            return Ok(id);
        }
        if let Some(prefix) = id_prefix(text) {
            let mut candidates = self.db().read(|c| by_prefix(c, prefix))?;
            match candidates.len() {
                0 => {}
                1 => return Ok(candidates.remove(0)),
                _ => return Err(ResolveError::Ambiguous { text: text.to_owned(), candidates }),
            }
        }
        match reference {
            Ok(reference) => Err(ResolveError::NotFound { text: reference.with_default_tag().familiar() }),
            Err(_) if id_prefix(text).is_some() => Err(ResolveError::NotFound { text: text.to_owned() }),
            Err(error) => Err(error.into()),
        }
    }
}

/// IDs that begin alike, long enough to be told apart in most cases.
pub(crate) fn shortened<'a>(text: &str, ids: impl Iterator<Item = &'a str>) -> String {
    let length = (text.len() + 6).clamp(12, 64);
    ids.map(|id| id.get(..length).unwrap_or(id)).collect::<Vec<_>>().join(", ")
}

/// `text` as a whole digest, with or without its algorithm.
fn whole_digest(text: &str) -> Option<Digest> {
    if let Ok(digest) = text.parse() {
        return Some(digest);
    }
    format!("sha256:{text}").parse().ok()
}

/// The hex digits, where `text` can be the beginning of an ID.
fn id_prefix(text: &str) -> Option<&str> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let fits = (1..64).contains(&hex.len()) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    fits.then_some(hex)
}

fn by_digest(connection: &Connection, digest: &Digest) -> Sql<Option<ImageId>> {
    let mut statement = connection.prepare_cached(
        "SELECT id FROM images WHERE id = ?1
         UNION ALL SELECT id FROM images WHERE manifest = ?1 OR index_digest = ?1
         UNION ALL SELECT image FROM repo_digests WHERE digest = ?1
         LIMIT 1",
    )?;
    let mut rows = statement.query([digest.as_str()])?;
    rows.next()?.map(|row| parse(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)).transpose()
}

fn by_prefix(connection: &Connection, prefix: &str) -> Sql<Vec<ImageId>> {
    // `g` is the character after the last hex digit.
    let mut statement =
        connection.prepare_cached("SELECT id FROM images WHERE id >= ?1 AND id < ?2 ORDER BY id")?;
    let bounds = params![format!("sha256:{prefix}"), format!("sha256:{prefix}g")];
    let mut ids = Vec::new();
    for id in statement.query_map(bounds, |row| row.get::<_, String>(0))? {
        ids.push(parse(&id?)?);
    }
    Ok(ids)
}
