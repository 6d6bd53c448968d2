//! `rmi`: what goes, what needs force, and Docker's words for both.

use oci::Digest;
use store::ContainerRecord;

use crate::harness::{TestImage, TestStore, short};

fn container(store: &TestStore, image: &oci::ImageId) -> String {
    let id = "c".repeat(64);
    let opened = store.store();
    let chain_id = opened.image(image).unwrap().unwrap().chain_id();
    let record = ContainerRecord {
        id: id.clone(),
        name: "box".to_owned(),
        image: image.clone(),
        chain_id,
        created: 1,
        auto_remove: false,
        state: "{}".to_owned(),
    };
    drop(opened.create_container(&record).unwrap());
    id
}

#[test]
fn the_last_name_takes_the_image_with_it() {
    let store = TestStore::new();
    let id = store.put(&TestImage::new(&["a:1", "a:2"]).layer("a", 5).layer("b", 6));
    let chain: Vec<String> = {
        let image = store.store().image(&id).unwrap().unwrap();
        oci::ChainId::prefixes(image.layers()).iter().rev().map(ToString::to_string).collect()
    };
    assert_eq!(store.ok(&["rmi", "a:1"]), "Untagged: a:1\n");
    assert_eq!(
        store.ok(&["image", "rm", "a:2"]),
        format!("Untagged: a:2\nDeleted: {id}\nDeleted: {}\nDeleted: {}\n", chain[0], chain[1])
    );
    assert_eq!(store.ok(&["images", "-q"]), "");
    store.ok(&["system", "check"]);
}

#[test]
fn a_shared_layer_stays() {
    let store = TestStore::new();
    let a = store.put(&TestImage::new(&["a"]).layer("shared", 5).layer("b", 6));
    store.put(&TestImage::new(&["b"]).layer("shared", 5));
    let out = store.ok(&["rmi", "a"]);
    assert_eq!(out.matches("Deleted: ").count(), 2, "{out}");
    assert!(out.contains(&format!("Deleted: {a}\n")));
    store.ok(&["system", "check"]);
}

#[test]
fn by_id_with_several_names_needs_force() {
    let store = TestStore::new();
    let id = store.put(&TestImage::new(&["a:1", "b:1"]).layer("a", 5));
    let stderr = store.fails(1, &["rmi", &short(&id)]);
    assert_eq!(
        stderr,
        format!(
            "Error: conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories\n",
            short(&id)
        )
    );
    let out = store.ok(&["rmi", "-f", &short(&id)]);
    assert!(out.starts_with(&format!("Untagged: a:1\nUntagged: b:1\nDeleted: {id}\n")), "{out}");
}

#[test]
fn by_id_with_one_name_goes() {
    let store = TestStore::new();
    let id = store.put(&TestImage::new(&["a:1"]).layer("a", 5));
    assert!(store.ok(&["rmi", id.hex()]).starts_with(&format!("Untagged: a:1\nDeleted: {id}\n")));
}

#[test]
fn a_stopped_container_needs_force() {
    let store = TestStore::new();
    let id = store.put(&TestImage::new(&["a:1"]).layer("a", 5));
    let container = container(&store, &id);
    assert_eq!(
        store.fails(1, &["rmi", "a:1"]),
        format!(
            "Error: conflict: unable to remove repository reference \"a:1\" (must force) - container {} is using its referenced image {}\n",
            &container[..12],
            short(&id)
        )
    );
    assert_eq!(
        store.fails(1, &["rmi", &short(&id)]),
        format!(
            "Error: conflict: unable to delete {} (must be forced) - image is being used by stopped container {}\n",
            short(&id),
            &container[..12]
        )
    );
    let out = store.ok(&["rmi", "-f", "a:1"]);
    assert_eq!(out, format!("Untagged: a:1\nDeleted: {id}\n"), "the container's layers stay");
    store.ok(&["system", "check"]);
}

#[test]
fn a_running_container_cannot_be_forced() {
    let store = TestStore::new();
    let id = store.put(&TestImage::new(&["a:1"]).layer("a", 5));
    let container = container(&store, &id);
    let opened = store.store();
    let _running = opened.lock_container(&container).unwrap().unwrap();
    assert_eq!(
        store.fails(1, &["rmi", "-f", &short(&id)]),
        format!(
            "Error: conflict: unable to delete {} (cannot be forced) - image is being used by running container {}\n",
            short(&id),
            &container[..12]
        )
    );
    // By name the name goes, and the image stays as long as it runs.
    assert_eq!(store.ok(&["rmi", "-f", "a:1"]), "Untagged: a:1\n");
    assert_eq!(store.ok(&["images", "-q"]), format!("{}\n", short(&id)));
}

#[test]
fn digests_go_with_the_last_tag_of_their_repository() {
    let store = TestStore::new();
    let id = store.put(&TestImage::new(&["a:1", "b:1"]).layer("a", 5));
    let digest = Digest::sha256(b"a manifest");
    store.store().add_repo_digest("docker.io/library/a", &digest, &id).unwrap();
    assert_eq!(store.ok(&["rmi", "a:1"]), format!("Untagged: a:1\nUntagged: a@{digest}\n"));
    assert!(store.ok(&["rmi", "b:1"]).contains("Deleted: "));
}

#[test]
fn what_is_not_there() {
    let store = TestStore::new();
    store.put(&TestImage::new(&["a:1"]).layer("a", 5));
    let ran = store.run(&["rmi", "nope", "a:1", "neither:2"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.starts_with("Untagged: a:1\n"));
    assert_eq!(ran.stderr, "Error: No such image: nope:latest\nError: No such image: neither:2\n");
    let ran = store.run(&["rmi", "-f", "nope"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "Error: No such image: nope:latest\n"));
}

#[test]
fn an_ambiguous_id_is_refused_with_the_candidates() {
    let store = TestStore::new();
    // Of 40 images, two begin with the same digit.
    let ids: Vec<_> = (0..40)
        .map(|n| store.put(&TestImage::new(&[]).created(&format!("2024-01-01T00:00:{n:02}Z")).layer("a", 1)))
        .collect();
    let digit =
        ('0'..='9').chain('a'..='f').find(|c| ids.iter().filter(|id| id.hex().starts_with(*c)).count() > 1);
    let stderr = store.fails(1, &["rmi", &digit.unwrap().to_string()]);
    assert!(stderr.contains("is ambiguous"), "{stderr}");
    assert!(stderr.contains("hint: one of: sha256:"), "{stderr}");
}
