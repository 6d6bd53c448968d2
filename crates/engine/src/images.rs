//! `images`: what is in the store, newest first, by Docker's filters.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use oci::{ImageId, Reference};
use store::{Base, Image, RepoDigest};

use crate::filter::Filters;
use crate::{Engine, Error, Result, glob};

/// What `images` is asked for.
#[derive(Debug, Clone, Default)]
pub struct ImagesRequest {
    /// Docker's `dangling`, `label`, `before`, `since`, `until`, `reference`.
    pub filters: Filters,
    /// Count the containers of every image.
    pub count_containers: bool,
}

/// One image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSummary {
    /// Digest of its config.
    pub id: ImageId,
    /// When it was made, in seconds since the Unix epoch, where its config says so.
    pub created: Option<i64>,
    /// Its tags, sorted; those that the `reference` filter let through.
    pub tags: Vec<Reference>,
    /// The digests that repositories know it by, sorted; filtered likewise.
    pub digests: Vec<RepoDigest>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Bytes of the regular files of all layers.
    pub size: u64,
    /// How many containers were made from it, if that was asked for.
    pub containers: Option<u64>,
    /// The image it was built on, where known.
    pub base: Option<Base>,
}

/// The images that pass the filters, newest first.
pub fn list(engine: &Engine, request: &ImagesRequest) -> Result<Vec<ImageSummary>> {
    let filters = &request.filters;
    filters.only(&["before", "dangling", "label", "reference", "since", "until"])?;
    let dangling = filters.boolean("dangling")?;
    let until = filters.until()?;
    let before = bound(engine, filters.get("before"))?;
    let since = bound(engine, filters.get("since"))?;
    let patterns = Patterns::new(filters.get("reference"))?;

    let mut tags: HashMap<ImageId, Vec<Reference>> = HashMap::new();
    for (reference, id) in engine.store.references()? {
        if patterns.let_through(&reference) {
            tags.entry(id).or_default().push(reference);
        }
    }
    let mut digests: HashMap<ImageId, Vec<RepoDigest>> = HashMap::new();
    for (digest, id) in engine.store.all_repo_digests()? {
        if patterns.let_through_digest(&digest) {
            digests.entry(id).or_default().push(digest);
        }
    }
    let containers = if request.count_containers { Some(counts(engine)?) } else { None };

    let mut found = Vec::new();
    for image in engine.store.images()? {
        let created = created_nanoseconds(&image);
        let config = &image.config.value.config;
        let at = created.unwrap_or(i64::MIN);
        let passes = before.is_none_or(|bound| at < bound)
            && since.is_none_or(|bound| at > bound)
            && until.is_none_or(|bound| at <= bound)
            && filters.labels(config.labels.as_ref());
        let tags = tags.remove(&image.id).unwrap_or_default();
        let digests = digests.remove(&image.id).unwrap_or_default();
        let shown = match (tags.is_empty(), digests.is_empty()) {
            // Nothing names it: or it was only the reference filter that left nothing.
            (true, true) => dangling != Some(false) && patterns.is_empty(),
            (has_no_tags, _) => dangling != Some(true) || has_no_tags,
        };
        if !(passes && shown) {
            continue;
        }
        found.push(ImageSummary {
            created: created.map(|n| n.div_euclid(1_000_000_000)),
            labels: config.labels.clone().unwrap_or_default(),
            size: image.size,
            containers: containers.as_ref().map(|counts| counts.get(&image.id).copied().unwrap_or(0)),
            base: image.meta.base.clone(),
            id: image.id,
            tags,
            digests,
        });
    }
    found.sort_by(|a, b| {
        b.created.cmp(&a.created).then_with(|| a.tags.cmp(&b.tags)).then_with(|| a.id.cmp(&b.id))
    });
    Ok(found)
}

/// When the image was made, by its config.
pub(crate) fn created_nanoseconds(image: &Image) -> Option<i64> {
    image.config.value.created.as_deref().and_then(nanoseconds)
}

/// RFC 3339 to nanoseconds since the Unix epoch. Go's zero time, which stands for "unknown", is none.
pub(crate) fn nanoseconds(text: &str) -> Option<i64> {
    i64::try_from(text.parse::<Timestamp>().ok()?.as_nanosecond()).ok()
}

/// The creation time of the image that `before` or `since` names.
fn bound(engine: &Engine, names: &[String]) -> Result<Option<i64>> {
    match names {
        [] => Ok(None),
        [name] => {
            let id = engine.store.resolve(name)?;
            let image = engine.store.image(&id)?;
            Ok(Some(image.as_ref().and_then(created_nanoseconds).unwrap_or(i64::MIN)))
        }
        _ => Err(Error::invalid("a before or since filter takes one image")),
    }
}

fn counts(engine: &Engine) -> Result<HashMap<ImageId, u64>> {
    let mut counts = HashMap::new();
    for container in engine.store.containers()? {
        *counts.entry(container.image).or_insert(0) += 1;
    }
    Ok(counts)
}

/// The `reference` filter: any of the patterns, against the familiar form with or without tag. A pattern that is
/// itself a reference also matches in full form (`docker.io/library/a` finds `a`).
struct Patterns<'a> {
    patterns: Vec<(&'a str, Option<Reference>)>,
}

impl<'a> Patterns<'a> {
    fn new(patterns: &'a [String]) -> Result<Patterns<'a>> {
        for pattern in patterns {
            if glob::matches(pattern, "").is_err() {
                return Err(Error::invalid(format!(
                    "invalid reference filter {pattern:?}: syntax error in pattern"
                )));
            }
        }
        Ok(Patterns { patterns: patterns.iter().map(|p| (p.as_str(), Reference::parse(p).ok())).collect() })
    }

    fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    fn any(&self, whole: &str, name: &str, same: impl Fn(&Reference) -> bool) -> bool {
        self.patterns.is_empty()
            || self.patterns.iter().any(|(pattern, reference)| {
                glob::matches(pattern, whole) == Ok(true)
                    || glob::matches(pattern, name) == Ok(true)
                    || reference.as_ref().is_some_and(&same)
            })
    }

    fn let_through(&self, reference: &Reference) -> bool {
        self.any(&reference.familiar(), &reference.familiar_name(), |pattern| {
            pattern.name() == reference.name()
                && pattern.digest.is_none()
                && (pattern.tag.is_none() || pattern.tag == reference.tag)
        })
    }

    fn let_through_digest(&self, digest: &RepoDigest) -> bool {
        let name = familiar_name(&digest.name);
        self.any(&format!("{name}@{}", digest.digest), &name, |pattern| {
            pattern.name() == digest.name
                && pattern.tag.is_none()
                && pattern.digest.as_ref().is_none_or(|wanted| *wanted == digest.digest)
        })
    }
}

/// `registry/repository` as Docker shows it.
pub fn familiar_name(name: &str) -> String {
    Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar_name())
}
