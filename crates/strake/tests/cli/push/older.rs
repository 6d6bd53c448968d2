//! A registry from before OCI's manifests.

use super::with_app;
use crate::web::{Answer, Web};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Takes all blobs, but only Docker's manifests, and no tag with `closed` in it.
fn older() -> Web {
    Web::serve(|asked| match (asked.method.as_str(), asked.path()) {
        ("HEAD", _) => Answer::new(404, ""),
        ("POST", path) => Answer::new(202, "").header("Location", &format!("{path}1")),
        ("PATCH", path) => Answer::new(202, "")
            .header("Location", path)
            .header("Range", &format!("0-{}", asked.body.len() - 1)),
        ("PUT", path) if path.contains("/manifests/") => match asked.header("content-type") {
            Some(DOCKER) if !path.contains("closed") => Answer::new(201, ""),
            _ => Answer::new(400, r#"{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid"}]}"#),
        },
        ("PUT", _) => Answer::new(201, ""),
        _ => Answer::new(200, "{}"),
    })
}

#[test]
fn it_is_sent_what_it_knows() {
    let (store, registry) = (with_app(), older());
    let name = format!("{}/app:1", registry.address);
    store.ok(&["tag", "app:1", &name]);
    let ran = store.run(&["push", &name]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("the registry takes no OCI manifest: a Docker manifest is pushed"),
        "{ran:?}"
    );
    let manifests: Vec<_> =
        registry.requests().into_iter().filter(|asked| asked.path().contains("/manifests/1")).collect();
    let kinds: Vec<_> = manifests.iter().filter_map(|asked| asked.header("content-type")).collect();
    assert_eq!(kinds, [OCI, DOCKER]);
    let sent: serde_json::Value = serde_json::from_slice(&manifests.last().unwrap().body).unwrap();
    assert_eq!(sent["config"]["mediaType"], "application/vnd.docker.container.image.v1+json");
    assert_eq!(sent["layers"][0]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar.gzip");

    // What was asked for is not changed, and one that takes neither says why.
    let ran = store.run(&["push", "-q", "--format", "oci", &name]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("answered 400") && ran.stderr.contains("manifest invalid"), "{ran:?}");
    let closed = format!("{}/app:closed", registry.address);
    store.ok(&["tag", "app:1", &closed]);
    let ran = store.run(&["push", "-q", &closed]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("manifest invalid"), "{ran:?}");
}
