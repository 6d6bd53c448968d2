//! What texts name images: the rules one by one, and a property: the answer is that of a plain list of the
//! rules.

mod support;

use std::collections::BTreeMap;

use oci::{Digest, ImageId, Reference};
use proptest::prelude::*;
use store::{ImageMeta, ResolveError, Store};
use support::*;

/// Images without layers, told apart by a label.
fn put(store: &Store, label: &str) -> ImageId {
    store.put_image(&config(&[], label), &ImageMeta::default()).unwrap()
}

fn not_found(store: &Store, text: &str) -> String {
    match store.resolve(text) {
        Err(ResolveError::NotFound { text }) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn by_name_by_digest_by_id() {
    let t = temporary();
    let store = &t.store;
    let manifest = Digest::sha256(b"manifest");
    let meta = ImageMeta { manifest: Some(manifest.clone()), ..ImageMeta::default() };
    let id = store.put_image(&config(&[], "a"), &meta).unwrap();
    for name in ["app", "app:1", "example.com:5000/x/app:2"] {
        store.set_reference(&Reference::parse(name).unwrap(), &id).unwrap();
    }
    let pulled = Digest::sha256(b"pulled");
    store.add_repo_digest("docker.io/user/pulled", &pulled, &id).unwrap();
    let other = put(store, "b");
    store.set_reference(&Reference::parse("other").unwrap(), &other).unwrap();
    let hex = id.hex();
    for text in [
        "app",
        "app:latest",
        "app:1",
        "docker.io/library/app",
        "library/app:1",
        "example.com:5000/x/app:2",
        &format!("app@{manifest}"),
        &format!("app:whatever@{manifest}"),
        &format!("user/pulled@{pulled}"),
        &format!("{pulled}"),
        &format!("{manifest}"),
        manifest.hex(),
        &format!("sha256:{hex}"),
        hex,
        &hex[..12],
        &format!("sha256:{}", &hex[..7]),
    ] {
        assert_eq!(store.resolve(text).unwrap(), id, "{text}");
    }
    assert_eq!(not_found(store, "nothing"), "nothing:latest");
    assert_eq!(not_found(store, "app:2"), "app:2");
    assert_eq!(not_found(store, &format!("other@{manifest}")), format!("other@{manifest}"));
    assert_eq!(not_found(store, &"0".repeat(64)), "0".repeat(64));
    assert_eq!(not_found(store, "example.com/app"), "example.com/app:latest");
    for bad in ["", "APP", "app:", "a b", "../app", "sha256:"] {
        assert!(matches!(store.resolve(bad), Err(ResolveError::Invalid(_))), "{bad:?}");
    }
}

#[test]
fn a_name_wins_and_the_ambiguous_is_refused() {
    let t = temporary();
    let store = &t.store;
    // Until two begin with the same digit.
    let mut seen: BTreeMap<char, ImageId> = BTreeMap::new();
    let (one, two) = (0..)
        .find_map(|i| {
            let id = put(store, &i.to_string());
            let first = id.hex().chars().next().unwrap();
            seen.insert(first, id.clone()).map(|before| (before, id))
        })
        .unwrap();
    let prefix = one.hex()[..1].to_owned();
    match store.resolve(&prefix) {
        Err(error @ ResolveError::Ambiguous { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&one.hex()[..12]) && text.contains(&two.hex()[..12]), "{text}");
        }
        other => panic!("{other:?}"),
    }
    store.set_reference(&Reference::parse(&prefix).unwrap(), &two).unwrap();
    assert_eq!(store.resolve(&prefix).unwrap(), two);
    store.set_reference(&Reference::parse(&one.hex()[..12]).unwrap(), &two).unwrap();
    assert_eq!(store.resolve(&one.hex()[..12]).unwrap(), two);
    assert_eq!(store.resolve(&one.hex()[..13]).unwrap(), one);
    assert_eq!(store.resolve(one.hex()).unwrap(), one);
}

/// The rules, the slow way.
fn model(
    ids: &[ImageId],
    tags: &BTreeMap<String, ImageId>,
    text: &str,
) -> Result<ImageId, Option<Vec<ImageId>>> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = hex.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    if is_hex && hex.len() == 64 {
        return ids.iter().find(|id| id.hex() == hex).cloned().ok_or(None);
    }
    if let Ok(reference) = Reference::parse(text)
        && let Some(id) = tags.get(&reference.with_default_tag().to_string())
    {
        return Ok(id.clone());
    }
    if !is_hex || hex.is_empty() {
        return Err(None);
    }
    let mut found: Vec<ImageId> = ids.iter().filter(|id| id.hex().starts_with(hex)).cloned().collect();
    found.sort();
    match found.len() {
        0 => Err(None),
        1 => Ok(found.remove(0)),
        _ => Err(Some(found)),
    }
}

fn text() -> impl Strategy<Value = (u8, usize, String)> {
    (0u8..6, 0usize..64, "[0-9a-f]{1,3}(:[0-9a-f]{1,2})?|sha256:[0-9a-f]{0,3}|[a-z]{1,3}|.{0,6}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn resolves_as_the_rules_say(
        images in 1usize..40,
        tags in prop::collection::vec(("[0-9a-f]{1,3}|[a-z]{1,3}", "latest|[0-9a-f]{1,2}", 0usize..40), 0..12),
        texts in prop::collection::vec(text(), 1..40),
    ) {
        let t = temporary();
        let ids: Vec<ImageId> = (0..images).map(|i| put(&t.store, &i.to_string())).collect();
        let mut named = BTreeMap::new();
        for (name, tag, image) in tags {
            let reference = Reference::parse(&format!("{name}:{tag}")).unwrap();
            let id = &ids[image % ids.len()];
            let before = t.store.set_reference(&reference, id).unwrap();
            prop_assert_eq!(before, named.insert(reference.to_string(), id.clone()));
        }
        for (kind, length, text) in texts {
            let id = &ids[length % ids.len()];
            let text = match kind {
                0 => id.hex()[..1 + length % 3].to_owned(),
                1 => id.hex()[..length + 1].to_owned(),
                2 => format!("sha256:{}", &id.hex()[..length]),
                _ => text,
            };
            let wanted = model(&ids, &named, &text);
            match (t.store.resolve(&text), wanted) {
                (Ok(found), Ok(wanted)) => prop_assert_eq!(found, wanted, "{:?}", text),
                (Err(ResolveError::Ambiguous { candidates, .. }), Err(Some(wanted))) => {
                    prop_assert_eq!(candidates, wanted, "{:?}", text);
                }
                (Err(ResolveError::NotFound { .. } | ResolveError::Invalid(_)), Err(None)) => {}
                (found, wanted) => prop_assert!(false, "{:?}: {:?}, not {:?}", text, found, wanted),
            }
        }
    }
}
