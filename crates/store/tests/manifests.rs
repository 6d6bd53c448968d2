//! Names that stand for exactly one manifest or index: what they keep, and when they go.

mod support;

use oci::{Descriptor, Digest, Document, Index, Manifest, Reference, media_type};
use store::{Compressed, Error, ImageMeta, LayerBlob, PruneImages, PruneOptions, Store};
use support::*;

fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

fn described(media_type: &str, digest: &Digest) -> Descriptor {
    Descriptor::new(media_type, digest.clone(), 1)
}

fn manifest(store: &Store, config: &Digest, layer: &Digest) -> Digest {
    let manifest = Manifest {
        schema_version: 2,
        media_type: None,
        artifact_type: None,
        config: described(media_type::OCI_CONFIG, config),
        layers: vec![described(media_type::OCI_LAYER, layer)],
        subject: None,
        annotations: Default::default(),
    };
    store.put_blob(&Document::of(manifest).bytes).unwrap()
}

fn index(store: &Store, entries: &[(&str, &Digest)]) -> Digest {
    let index = Index {
        schema_version: 2,
        media_type: None,
        artifact_type: None,
        manifests: entries.iter().map(|(media_type, digest)| described(media_type, digest)).collect(),
        subject: None,
        annotations: Default::default(),
    };
    store.put_blob(&Document::of(index).bytes).unwrap()
}

fn prune(store: &Store, images: PruneImages) {
    store.prune(&PruneOptions { images, ..PruneOptions::default() }).unwrap();
}

#[test]
fn a_name_keeps_all_that_its_index_leads_to() {
    let t = temporary();
    let store = &t.store;
    let layer = store.put_blob(b"layer").unwrap();
    let config = store.put_blob(b"{}").unwrap();
    let child = manifest(store, &config, &layer);
    let missing = Digest::sha256(b"not here");
    let top = index(store, &[(media_type::OCI_MANIFEST, &child), (media_type::OCI_MANIFEST, &missing)]);
    store.set_manifest(&name("list"), &top).unwrap();
    assert_eq!(store.manifest(&name("list:latest")).unwrap().as_ref(), Some(&top));
    assert_eq!(store.manifests().unwrap(), [(name("list:latest"), top.clone())]);
    prune(store, PruneImages::Unused);
    for digest in [&layer, &config, &child, &top] {
        assert!(store.has_blob(digest).unwrap(), "{digest}");
    }
    assert_clean(store);
    assert_eq!(store.remove_manifest(&name("list")).unwrap().as_ref(), Some(&top));
    assert_eq!(store.remove_manifest(&name("list")).unwrap(), None);
    prune(store, PruneImages::None);
    for digest in [&layer, &config, &child, &top] {
        assert!(!store.has_blob(digest).unwrap(), "{digest}");
    }
    assert!(matches!(store.set_manifest(&name("list"), &top), Err(Error::MissingBlob(_))));
    assert_clean(store);
}

#[test]
fn it_goes_when_the_tag_comes_to_name_another_image() {
    let t = temporary();
    let store = &t.store;
    let (one, two) = (name("app:1"), name("app:2"));
    let first = image(store, Some("app:1"), &["a"]).unwrap();
    let second = image(store, None, &["b"]).unwrap();
    let sent = manifest(store, &first.0, &Digest::sha256(b"x"));
    store.set_manifest(&one, &sent).unwrap();
    store.set_reference(&one, &first).unwrap();
    assert_eq!(store.manifest(&one).unwrap().as_ref(), Some(&sent));
    store.set_reference(&one, &second).unwrap();
    assert_eq!(store.manifest(&one).unwrap(), None);
    store.set_reference(&two, &first).unwrap();
    store.set_manifest(&two, &sent).unwrap();
    store.remove_reference(&two).unwrap();
    assert_eq!(store.manifest(&two).unwrap(), None);
    store.set_reference(&two, &first).unwrap();
    store.set_manifest(&two, &sent).unwrap();
    store.remove_image(&first).unwrap();
    assert_eq!(store.manifests().unwrap(), []);
    assert!(!store.has_blob(&sent).unwrap());
    assert_clean(store);
}

#[test]
fn an_image_in_anothers_index_is_in_use() {
    let t = temporary();
    let store = &t.store;
    let ours = image(store, Some("app"), &["a"]).unwrap();
    let other = image(store, None, &["b"]).unwrap();
    let top = index(store, &[(media_type::OCI_CONFIG, &ours.0), (media_type::OCI_CONFIG, &other.0)]);
    store.set_manifest(&name("app"), &top).unwrap();
    prune(store, PruneImages::Dangling);
    assert!(store.image(&other).unwrap().is_some());
    prune(store, PruneImages::Unused);
    assert!(store.image(&ours).unwrap().is_none(), "its own index is no reason to keep it");
    prune(store, PruneImages::Unused);
    assert!(store.image(&other).unwrap().is_none());
    assert_clean(store);
}

#[test]
fn what_layers_became_is_remembered_as_long_as_they_are_here() {
    let t = temporary();
    let store = &t.store;
    let id = image(store, Some("app"), &["a"]).unwrap();
    let layer = diff_id("a");
    let compressed = Compressed {
        diff_id: layer.clone(),
        method: "gzip:2".into(),
        digest: Digest::sha256(b"smaller"),
        size: 7,
    };
    store.add_compressed(&compressed).unwrap();
    assert_eq!(store.compressed(&layer, "gzip:2").unwrap(), Some(compressed.clone()));
    assert_eq!(store.compressed(&layer, "gzip:9").unwrap(), None);
    assert_eq!(store.compressed_to(&compressed.digest).unwrap(), Some(compressed.clone()));
    store.remove_image(&id).unwrap();
    assert_eq!(store.compressed_to(&compressed.digest).unwrap(), None);
}

#[test]
fn repositories_that_have_a_layer() {
    let t = temporary();
    let store = &t.store;
    let layer = store.put_blob(b"layer").unwrap();
    let blob = LayerBlob { digest: layer, size: 5, media_type: media_type::OCI_LAYER.into() };
    store.add_layer_blob(&diff_id("a"), &blob).unwrap();
    let first = store.put_image(&config(&[diff_id("a")], "1"), &ImageMeta::default()).unwrap();
    let second = store.put_image(&config(&[diff_id("a")], "2"), &ImageMeta::default()).unwrap();
    let digest = Digest::sha256(b"m");
    for (name, id) in [("h:1/a/b", &first), ("h:1/c", &second), ("h:10/d", &first)] {
        store.add_repo_digest(name, &digest, id).unwrap();
    }
    assert_eq!(store.repositories_with_layer("h:1", &diff_id("a")).unwrap(), ["c", "a/b"]);
    assert_eq!(store.repositories_with_layer("h:10", &diff_id("a")).unwrap(), ["d"]);
    assert_eq!(store.repositories_with_layer("h:1", &diff_id("b")).unwrap(), [""; 0]);
}
