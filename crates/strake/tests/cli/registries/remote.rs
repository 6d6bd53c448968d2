//! `tags`, `inspect --remote`, `rmi --remote`.

use serde_json::{Value, json};

use super::{Auth, DockerRegistry, seed, store_with_image};
use crate::served::Served;

#[test]
fn tags_of_a_repository() {
    let (store, registry) = (store_with_image(), DockerRegistry::start(&Auth::Nobody, None));
    for tag in ["a", "b", "c"] {
        seed(&store, &registry.name(&format!("team/app:{tag}")), None);
    }
    let name = registry.name("team/app");
    // In the registry's order, which here is none.
    let sorted = |args: &[&str]| {
        let text = store.ok(args);
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join(" ")
    };
    assert_eq!(sorted(&["tags", &name]), "a b c");
    assert_eq!(store.ok(&["tags", "-n", "2", &name]).lines().count(), 2);
    let names = sorted(&["image", "tags", "--format", "{{.Name}}", &name]);
    assert_eq!(names, format!("{name}:a {name}:b {name}:c"));
    let lines = sorted(&["tags", "--format", "json", &name]);
    assert_eq!(
        serde_json::from_str::<Value>(lines.split(' ').next().unwrap()).unwrap(),
        json!({ "Name": format!("{name}:a"), "Repository": name, "Tag": "a" })
    );
    assert!(store.ok(&["tags", "--format", "table", &name]).starts_with("REPOSITORY"));
    let missing = store.fails(1, &["tags", &registry.name("none")]);
    assert!(missing.contains(&format!("repository {} was not found", registry.name("none"))), "{missing}");
    let tagged = store.fails(1, &["tags", &format!("{name}:a")]);
    assert!(tagged.contains("a repository is wanted"), "{tagged}");
}

#[test]
fn an_image_inspected_where_it_is() {
    let (store, registry) = (store_with_image(), DockerRegistry::start(&Auth::Nobody, None));
    let name = registry.name("app:1");
    seed(&store, &name, None);
    let local: Value = serde_json::from_str(&store.ok(&["inspect", "app:1"])).unwrap();
    let remote: Value = serde_json::from_str(&store.ok(&["inspect", "--remote", &name])).unwrap();
    for field in ["Created", "Architecture", "Os", "Config", "RootFS", "Author", "Comment"] {
        assert_eq!(remote[0][field], local[0][field], "{field}");
    }
    assert_eq!(remote[0]["RepoTags"], json!([name]));
    assert_eq!(remote[0]["Layers"].as_array().unwrap().len(), 3);
    let digest = remote[0]["Descriptor"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(remote[0]["RepoDigests"], json!([format!("{}@{digest}", registry.name("app"))]));
    let by_digest = registry.name(&format!("app@{digest}"));
    assert_eq!(
        store.ok(&["image", "inspect", "--remote", "-f", "{{.Id}} {{.Config.Labels.a}}", &by_digest]),
        format!("{} b\n", remote[0]["Id"].as_str().unwrap())
    );
    assert!(store.ok(&["images", "-q", &registry.name("app")]).is_empty(), "nothing comes into the store");
    let missing = store.fails(1, &["inspect", "--remote", &registry.name("app:none")]);
    assert!(missing.contains("manifest none was not found"), "{missing}");
    store.fails(1, &["inspect", "--remote", "--type", "container", &name]);
}

#[test]
fn deletion() {
    let (store, registry) = (store_with_image(), DockerRegistry::start(&Auth::Nobody, None));
    for tag in ["a", "b"] {
        seed(&store, &registry.name(&format!("app:{tag}")), None);
    }
    let (a, b) = (registry.name("app:a"), registry.name("app:b"));
    // This registry deletes no tags alone, and both are of one manifest.
    let refused = store.fails(1, &["rmi", "--remote", &a]);
    assert!(refused.contains("is also b\n") && refused.contains("--force"), "{refused}");
    assert_eq!(store.ok(&["tags", &registry.name("app")]).lines().count(), 2);
    let deleted = store.ok(&["rmi", "--remote", "-f", &a]);
    let digest = deleted.lines().nth(1).unwrap().rsplit('@').next().unwrap();
    assert_eq!(deleted, format!("Untagged: {a}\nDeleted: {}@{digest}\n", registry.name("app")));
    for gone in [&a, &b, &registry.name(&format!("app@{digest}"))] {
        store.fails(1, &["rmi", "--remote", gone]);
        store.fails(1, &["inspect", "--remote", gone]);
    }
    // One name alone needs no force, and by digest nothing is in doubt.
    seed(&store, &a, None);
    store.ok(&["rmi", "--remote", &a]);
    seed(&store, &b, None);
    let by_digest = registry.name(&format!("app@{digest}"));
    assert_eq!(store.ok(&["rmi", "--remote", &by_digest]), format!("Deleted: {by_digest}\n"));
    assert_eq!(store.ok(&["images", "-q", "app:1"]).lines().count(), 1, "what is here stays");
}

#[test]
fn a_tag_alone_where_the_registry_can() {
    let (store, registry) = (store_with_image(), Served::start());
    let (a, b) = (registry.name("app:a"), registry.name("app:b"));
    seed(&store, &a, None);
    seed(&store, &b, None);
    assert_eq!(store.ok(&["rmi", "--remote", &a]), format!("Untagged: {a}\n"));
    assert_eq!(store.ok(&["tags", &registry.name("app")]), "b\n");
    store.ok(&["inspect", "--remote", &b]);
    // What the other one has not is one failure, and the rest is done.
    let ran = store.run(&["rmi", "--remote", &a, &b]);
    assert_eq!((ran.code, ran.stdout), (1, format!("Untagged: {b}\n")), "{}", ran.stderr);
    let found = store.ok(&["search", "--format", "{{.Name}}", &registry.name("app")]);
    assert!(found.is_empty() || found == format!("{}\n", registry.name("app")), "{found}");
}
