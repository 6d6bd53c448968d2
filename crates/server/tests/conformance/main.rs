//! What the OCI's conformance program asks of a registry (main branch of the distribution specification), asked by our
//! own client, so that it is asked on every machine: the same calls in the same order on the same sorts of contents,
//! with everything turned on that the program can turn on. `scripts/conformance` runs the program itself.

#[path = "../support/mod.rs"]
mod support;

mod blobs;
mod contents;
mod generate;

use oci::Digest;
use server::Options;
use support::{Answer, Client, Registry};

const FIRST: &str = "conformance/repo1";
const SECOND: &str = "conformance/repo2";

/// Asks, and counts what passed.
struct Asker {
    client: Client,
    passed: usize,
    /// Which way the next blob is pushed.
    next: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    fn of(self, bytes: &[u8]) -> Digest {
        match self {
            Algorithm::Sha256 => Digest::sha256(bytes),
            Algorithm::Sha512 => Digest::sha512(bytes),
        }
    }
}

impl Asker {
    fn pass(&mut self) {
        self.passed += 1;
    }

    fn ping(&mut self) {
        assert_eq!(self.client.get("/v2/").status, 200);
        self.pass();
    }

    /// A repository that nothing was pushed to.
    fn empty(&mut self) {
        let answer = self.client.get(&format!("/v2/{FIRST}/tags/list"));
        assert!(matches!(answer.status, 200 | 404), "{answer:?}");
        self.pass();
        let subject = Digest::sha256(b"nothing");
        let answer = self.client.get(&format!("/v2/{FIRST}/referrers/{subject}"));
        is_referrers(&answer);
        self.pass();
    }

    fn errors(&mut self) {
        let missing = Digest::sha256(b"no manifest");
        for reference in [missing.as_str(), "missing-tag"] {
            let answer = self.client.get(&format!("/v2/{FIRST}/manifests/{reference}"));
            assert_eq!(answer.status, 404, "{answer:?}");
            self.pass();
        }
        let mut data = generate::Data::new("invalid digest", Algorithm::Sha256);
        data.image(&generate::Image { layers: 1, ..Default::default() });
        for (digest, bytes) in data.blobs.clone() {
            self.push_any(FIRST, &digest, &bytes);
        }
        let path = format!("/v2/{FIRST}/manifests/sha256:baddigeststring");
        let answer =
            self.client.send("PUT", &path, &[("Content-Type", support::IMAGE)], &data.manifests[0].1);
        assert_eq!(answer.status, 400, "{answer:?}");
        self.pass();
        let answer = self.client.get(&path);
        assert!(matches!(answer.status, 400 | 404), "{answer:?}");
        self.pass();
        self.delete_all(&data);
    }
}

/// Whether the answer is an index of referrers; its entries.
#[track_caller]
fn is_referrers(answer: &Answer) -> Vec<serde_json::Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some(support::INDEX));
    let index = answer.json();
    assert_eq!((&index["mediaType"], &index["schemaVersion"]), (&support::INDEX.into(), &2.into()));
    index["manifests"].as_array().unwrap().clone()
}

#[test]
fn all_of_it() {
    let registry = Registry::with(Options { sparse: true, ..Options::default() });
    let mut asker = Asker { client: registry.client.clone(), passed: 0, next: 0 };
    asker.ping();
    asker.empty();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        asker.blobs(algorithm);
    }
    for data in generate::all() {
        asker.contents(data);
    }
    asker.errors();
    println!("{} passed", asker.passed);
    // Everything that was pushed was deleted again.
    let usage = registry.store().usage().unwrap();
    assert_eq!((usage.registry_manifests, usage.in_progress), (0, 0), "{usage:?}");
    assert_eq!(registry.client.get("/v2/_catalog").json()["repositories"], serde_json::json!([]));
}
