//! `tag`: one more name for an image.

use oci::{ImageId, Reference};

use crate::{Engine, Error, Result};

/// Lets `target` name the image that `source` names, and returns that image. What `target` named before loses it.
pub fn tag(engine: &Engine, source: &str, target: &str) -> Result<ImageId> {
    let target = parse_target(target)?;
    let _lease = engine.store.lease()?;
    let id = engine.store.resolve(source)?;
    engine.store.set_reference(&target, &id)?;
    // A name that stands for a whole index gives that on, too.
    if let Ok(source) = Reference::parse(source)
        && source.digest.is_none()
        && engine.store.reference(&source)?.as_ref() == Some(&id)
        && let Some(whole) = engine.store.manifest(&source)?
        && engine.store.has_blob(&whole)?
    {
        engine.store.set_manifest(&target, &whole)?;
    }
    Ok(id)
}

/// A name that an image may be given: a repository with an optional tag (`latest` is added), no digest, and not
/// what could be taken for an image ID.
pub fn parse_target(text: &str) -> Result<Reference> {
    let bad = |reason: String| Error::invalid(format!("{text:?} is not a valid repository/tag: {reason}"));
    if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(bad(format!(
            "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )));
    }
    let reference =
        Reference::parse(text).map_err(|error| bad(format!("invalid reference format: {}", error.reason)))?;
    if reference.digest.is_some() {
        return Err(bad("refusing to create a tag with a digest reference".to_owned()));
    }
    Ok(reference.with_default_tag())
}

#[cfg(test)]
mod tests {
    use super::parse_target;

    #[test]
    fn targets() {
        let hex = "a".repeat(64);
        assert_eq!(parse_target("x").map(|r| r.familiar()).as_deref(), Ok("x:latest"));
        for (bad, words) in [
            ("BAD", "is not a valid repository/tag: invalid reference format: "),
            ("", "\"\" is not a valid repository/tag: invalid reference format"),
            (hex.as_str(), "cannot specify 64-byte hexadecimal strings"),
            (&format!("a@sha256:{hex}"), "refusing to create a tag with a digest reference"),
        ] {
            let error = parse_target(bad).expect_err(bad);
            assert!(error.message.contains(words), "{error}");
        }
    }
}
