//! Names of images: tags, and the digests that registries know them by.
//!
//! What text on a command line means is in `resolve`.

use oci::{Digest, ImageId, Reference};
use rusqlite::{Connection, OptionalExtension, params};

use crate::db::{Sql, parse};
use crate::manifest::delete_manifest;
use crate::{Error, Result, Store};

/// `name@digest`: the manifest by which a registry knows an image (Docker's RepoDigests).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepoDigest {
    /// `registry/repository`.
    pub name: String,
    /// Digest of a manifest or index there.
    pub digest: Digest,
}

impl Store {
    /// Lets `reference` (with a tag, `latest` is added where it has none; without a digest) name `id`, and
    /// returns what it named before. Atomic: this is the moment that a build's result becomes visible.
    /// [`Error::MissingImage`] when the image is not here.
    pub fn set_reference(&self, reference: &Reference, id: &ImageId) -> Result<Option<ImageId>> {
        if reference.digest.is_some() {
            return Err(Error::InvalidReference {
                reference: reference.familiar(),
                reason: "a name with a digest cannot be given to an image, only a tag can",
            });
        }
        let name = reference.clone().with_default_tag().to_string();
        self.db().write(|tx| {
            image_exists(tx, id)?;
            let before = tag_target(tx, &name)?;
            if before.as_ref() != Some(id) {
                delete_manifest(tx, &name)?;
            }
            tx.prepare_cached("INSERT OR REPLACE INTO tags (reference, image) VALUES (?1, ?2)")?
                .execute(params![name, id.0.as_str()])?;
            Ok(before)
        })
    }

    /// Takes the name away, and returns what it named. The image stays.
    pub fn remove_reference(&self, reference: &Reference) -> Result<Option<ImageId>> {
        if let Some(digest) = &reference.digest {
            return self.remove_repo_digest(&reference.name(), digest);
        }
        let name = reference.clone().with_default_tag().to_string();
        self.db().write(|tx| {
            let before = tag_target(tx, &name)?;
            delete_manifest(tx, &name)?;
            tx.prepare_cached("DELETE FROM tags WHERE reference = ?1")?.execute([&name])?;
            Ok(before)
        })
    }

    /// All tags, sorted by name.
    pub fn references(&self) -> Result<Vec<(Reference, ImageId)>> {
        self.db().read(|c| {
            pairs(c, "SELECT reference, image FROM tags ORDER BY reference", [])?
                .into_iter()
                .map(|(reference, image)| Ok((parse(&reference)?, parse(&image)?)))
                .collect()
        })
    }

    /// The image that `reference` names: by tag, or by digest where it has one (its tag is then ignored, as
    /// Docker does).
    pub fn reference(&self, reference: &Reference) -> Result<Option<ImageId>> {
        self.db().read(|c| named(c, reference))
    }

    /// The tags of one image, sorted.
    pub fn references_of(&self, id: &ImageId) -> Result<Vec<Reference>> {
        self.db().read(|c| {
            let sql = "SELECT reference, image FROM tags WHERE image = ?1 ORDER BY reference";
            pairs(c, sql, [id.0.as_str()])?.into_iter().map(|(reference, _)| parse(&reference)).collect()
        })
    }

    /// Remembers that the repository `name` (`registry/repository`) knows the image by the manifest or index
    /// `digest`.
    pub fn add_repo_digest(&self, name: &str, digest: &Digest, id: &ImageId) -> Result<()> {
        let is_name =
            Reference::parse(name).is_ok_and(|r| r.tag.is_none() && r.digest.is_none() && r.name() == name);
        if !is_name {
            return Err(Error::InvalidReference {
                reference: name.to_owned(),
                reason: "not a full repository name",
            });
        }
        self.db().write(|tx| {
            image_exists(tx, id)?;
            tx.prepare_cached(
                "INSERT OR REPLACE INTO repo_digests (name, digest, image) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![name, digest.as_str(), id.0.as_str()])?;
            Ok(())
        })
    }

    /// Forgets one; returns the image it named.
    pub fn remove_repo_digest(&self, name: &str, digest: &Digest) -> Result<Option<ImageId>> {
        self.db().write(|tx| {
            let image: Option<String> = tx
                .prepare_cached("DELETE FROM repo_digests WHERE name = ?1 AND digest = ?2 RETURNING image")?
                .query_row(params![name, digest.as_str()], |row| row.get(0))
                .optional()?;
            image.as_deref().map(parse).transpose()
        })
    }

    /// The repository digests of one image, sorted.
    pub fn repo_digests(&self, id: &ImageId) -> Result<Vec<RepoDigest>> {
        self.db().read(|c| {
            let sql = "SELECT name, digest FROM repo_digests WHERE image = ?1 ORDER BY name, digest";
            pairs(c, sql, [id.0.as_str()])?
                .into_iter()
                .map(|(name, digest)| Ok(RepoDigest { name, digest: parse(&digest)? }))
                .collect()
        })
    }

    /// All repository digests, sorted.
    pub fn all_repo_digests(&self) -> Result<Vec<(RepoDigest, ImageId)>> {
        self.db().read(|c| {
            let mut statement =
                c.prepare_cached("SELECT name, digest, image FROM repo_digests ORDER BY name, digest")?;
            let rows = statement.query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })?;
            let mut all = Vec::new();
            for row in rows {
                let (name, digest, image) = row?;
                all.push((RepoDigest { name, digest: parse(&digest)? }, parse(&image)?));
            }
            Ok(all)
        })
    }
}

/// The image that a reference names, by tag or by digest.
pub(crate) fn named(connection: &Connection, reference: &Reference) -> Sql<Option<ImageId>> {
    let Some(digest) = &reference.digest else {
        return tag_target(connection, &reference.clone().with_default_tag().to_string());
    };
    let name = reference.name();
    // A digest that the repository is known to have; or the manifest of an image that has a tag of that
    // repository.
    let image: Option<String> = connection
        .prepare_cached(
            "SELECT image FROM repo_digests WHERE name = ?1 AND digest = ?2
             UNION ALL
             SELECT i.id FROM images i JOIN tags t ON t.image = i.id
             WHERE (i.manifest = ?2 OR i.index_digest = ?2) AND substr(t.reference, 1, length(?1) + 1) = ?1 || ':'
             LIMIT 1",
        )?
        .query_row(params![name, digest.as_str()], |row| row.get(0))
        .optional()?;
    image.as_deref().map(parse).transpose()
}

fn tag_target(connection: &Connection, name: &str) -> Sql<Option<ImageId>> {
    let image: Option<String> = connection
        .prepare_cached("SELECT image FROM tags WHERE reference = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    image.as_deref().map(parse).transpose()
}

fn image_exists(connection: &Connection, id: &ImageId) -> Sql<()> {
    let exists = connection.prepare_cached("SELECT 1 FROM images WHERE id = ?1")?.exists([id.0.as_str()])?;
    if exists { Ok(()) } else { Err(Error::MissingImage(id.clone()).into()) }
}

fn pairs(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Sql<Vec<(String, String)>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
