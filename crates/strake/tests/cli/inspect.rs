//! `inspect` of images: Docker's JSON, and templates over it.

use oci::Digest;
use serde_json::{Value, json};

use crate::harness::{TestImage, TestStore};

fn some() -> (TestStore, oci::ImageId) {
    let store = TestStore::new();
    let image =
        TestImage::new(&["app:1", "b"]).layer("a", 5).layer("b", 6).base("docker.io/library/base:1").config(
            json!({
                "Env": ["PATH=/bin", "X=1"],
                "Cmd": ["/bin/sh", "-c", "true"],
                "Labels": {"a": "1", "b": "<2>"},
                "ExposedPorts": {"80/tcp": {}},
                "WorkingDir": "/w",
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000},
                "StopSignal": "SIGQUIT",
            }),
        );
    let id = store.put(&image);
    (store, id)
}

#[test]
fn fields_and_their_order() {
    let (store, id) = some();
    let digest = Digest::sha256(b"a manifest");
    store.store().add_repo_digest("docker.io/library/app", &digest, &id).unwrap();
    let text = store.ok(&["inspect", "app:1"]);
    assert!(text.starts_with("[\n    {\n        \"Id\": \"sha256:"), "{text}");
    let parsed: Value = serde_json::from_str(&text).unwrap();
    let image = &parsed[0];
    let keys: Vec<&str> = image.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "Id",
            "RepoTags",
            "RepoDigests",
            "Parent",
            "Comment",
            "Created",
            "DockerVersion",
            "Author",
            "Config",
            "Architecture",
            "Os",
            "Size",
            "GraphDriver",
            "RootFS",
            "Metadata",
            "Base"
        ]
    );
    assert_eq!(image["Id"], id.to_string());
    assert_eq!(image["RepoTags"], json!(["app:1", "b:latest"]));
    assert_eq!(image["RepoDigests"], json!([format!("app@{digest}")]));
    assert_eq!(image["Created"], "2024-01-02T03:04:05.678Z");
    assert_eq!(image["Size"], 11);
    assert_eq!(image["Comment"], "buildkit.dockerfile.v0");
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    assert_eq!(image["Base"]["Name"], "docker.io/library/base:1");
    let config: Vec<&str> = image["Config"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        config,
        [
            "Cmd",
            "Entrypoint",
            "Env",
            "ExposedPorts",
            "Healthcheck",
            "Labels",
            "OnBuild",
            "StopSignal",
            "User",
            "Volumes",
            "WorkingDir"
        ]
    );
}

#[test]
fn templates() {
    let (store, id) = some();
    for (template, expected) in [
        ("{{.Id}}", id.to_string()),
        ("{{.ID}}", id.to_string()),
        ("{{json .Config.Labels}}", r#"{"a":"1","b":"<2>"}"#.to_owned()),
        ("{{.Config.Cmd}} {{.Config.Entrypoint}}", "[/bin/sh -c true] []".to_owned()),
        ("{{json .Config.Entrypoint}}", "null".to_owned()),
        (
            "{{index .Config.Labels \"a\"}}|{{index .Config.Labels \"no\"}}|{{.Config.Labels.no}}",
            "1||<no value>".to_owned(),
        ),
        ("{{range .Config.Env}}{{println .}}{{end}}", "PATH=/bin\nX=1\n".to_owned()),
        ("{{range $p, $c := .Config.ExposedPorts}}{{$p}} {{end}}", "80/tcp ".to_owned()),
        ("{{len .RootFS.Layers}} {{.Size}} {{.Os}}", "2 11 linux".to_owned()),
        ("{{.Config.Volumes}} {{.Variant}}|{{join .RepoTags \",\"}}", "map[] |app:1,b:latest".to_owned()),
        ("{{if .Config.Healthcheck}}{{.Config.Healthcheck.Interval}}{{end}}", "1000000000".to_owned()),
    ] {
        assert_eq!(store.ok(&["inspect", "-f", template, "app:1"]), format!("{expected}\n"), "{template}");
    }
    let compact = store.ok(&["inspect", "--format", "json", "app:1"]);
    assert!(compact.starts_with("[{\"Id\":"), "{compact}");
    assert_eq!(compact.lines().count(), 1);
}

#[test]
fn errors() {
    let (store, _) = some();
    let ran = store.run(&["inspect", "nope", "app:1", "neither"]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stderr, "Error: No such object: nope\nError: No such object: neither\n");
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap().as_array().unwrap().len(), 1);
    let ran = store.run(&["inspect", "nope"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "[]\n"));
    assert!(store.fails(1, &["image", "inspect", "nope"]).contains("No such image: nope:latest"));
    assert!(
        store
            .fails(64, &["inspect", "-f", "{{.Foo", "app:1"])
            .contains("template parsing error: template: :1")
    );
    let stderr = store.fails(1, &["inspect", "-f", "{{.Foo}}", "app:1"]);
    assert!(stderr.contains("map has no entry for key \"Foo\""), "{stderr}");
    assert!(store.fails(1, &["inspect", "--type", "volume", "app:1"]).contains("unknown type: \"volume\""));
    assert_eq!(store.ok(&["inspect", "--type", "image", "-f", "{{.Os}}", "app:1"]), "linux\n");
}
