//! Contents: pushed, listed, looked at, pulled, asked for by subject, deleted.

use oci::Digest;

use crate::generate::Data;
use crate::{Asker, FIRST, is_referrers};

impl Asker {
    pub fn contents(&mut self, data: Data) {
        println!("{}", data.name);
        let tagged = self.push_all(&data);
        self.list(&data);
        self.head_all(&data);
        self.pull_all(&data);
        self.referrers(&data);
        for (tag, _) in tagged {
            let path = format!("/v2/{FIRST}/manifests/{tag}");
            self.deleted(&path);
        }
        self.delete_all(&data);
    }

    fn push_all(&mut self, data: &Data) -> Vec<(String, Digest)> {
        for (digest, bytes) in &data.blobs {
            self.push_any(FIRST, digest, bytes);
        }
        for (digest, manifest) in &data.manifests {
            let tags: Vec<&str> = data
                .tags
                .iter()
                .filter(|(_, tagged)| data.tag_parameters && tagged == digest)
                .map(|(tag, _)| tag.as_str())
                .collect();
            let mut path = format!("/v2/{FIRST}/manifests/{digest}");
            for (n, tag) in tags.iter().enumerate() {
                path.push_str(&format!("{}tag={tag}", if n == 0 { '?' } else { '&' }));
            }
            if data.bad_digest {
                let kind = Data::media_type(manifest);
                let answer = self.client.send("PUT", &path, &[("Content-Type", &kind)], manifest);
                assert_eq!(answer.status, 400, "{answer:?}");
                self.pass();
                continue;
            }
            let answered = self.put_manifest(&path, digest, manifest);
            for tag in tags {
                assert!(answered.contains(&tag.to_owned()), "no OCI-Tag: {tag}");
            }
        }
        if !data.tag_parameters {
            for (tag, digest) in &data.tags {
                let manifest = data.manifest(digest).to_vec();
                self.put_manifest(&format!("/v2/{FIRST}/manifests/{tag}"), digest, &manifest);
            }
        }
        data.tags.clone()
    }

    /// The tags that the answer says were set.
    fn put_manifest(&mut self, path: &str, digest: &Digest, manifest: &[u8]) -> Vec<String> {
        let kind = Data::media_type(manifest);
        let answer = self.client.send("PUT", path, &[("Content-Type", &kind)], manifest);
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
        if let Some(subject) = Data::subject(manifest) {
            assert_eq!(answer.header("oci-subject"), Some(subject.as_str()));
        }
        let there = self.client.get(answer.location());
        assert_eq!((there.status, there.header("content-type")), (200, Some(kind.as_str())));
        assert!(there.body == manifest);
        self.pass();
        let of_tags = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("oci-tag"));
        of_tags.map(|(_, value)| value.clone()).collect()
    }

    fn list(&mut self, data: &Data) {
        let path = format!("/v2/{FIRST}/tags/list");
        let answer = self.client.get(&path);
        if data.tags.is_empty() && answer.status == 404 {
            self.pass();
            return;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        let tags = |json: serde_json::Value| -> Vec<String> {
            json["tags"].as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()).collect()
        };
        let all = tags(answer.json());
        assert!(all.is_sorted());
        for (tag, _) in &data.tags {
            assert!(all.contains(tag), "{tag}");
        }
        if all.len() >= 2 {
            let half = all.len() / 2;
            let rest = tags(self.client.get(&format!("{path}?last={}", all[half - 1])).json());
            assert_eq!(rest, all[half..]);
        }
        self.pass();
    }

    fn head_all(&mut self, data: &Data) {
        self.for_each_name(data, |asker, name, digest, manifest| {
            let answer = asker.client.head(&format!("/v2/{FIRST}/manifests/{name}"));
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.header("content-type"), Some(Data::media_type(manifest).as_str()));
            assert_eq!(answer.header("content-length"), Some(manifest.len().to_string().as_str()));
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
            assert!(answer.body.is_empty());
        });
        for (digest, bytes) in &data.blobs {
            self.head_blob(FIRST, digest, bytes);
        }
    }

    fn pull_all(&mut self, data: &Data) {
        self.for_each_name(data, |asker, name, digest, manifest| {
            let answer = asker.client.get(&format!("/v2/{FIRST}/manifests/{name}"));
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.header("content-type"), Some(Data::media_type(manifest).as_str()));
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
            assert!(answer.body == manifest);
        });
        for (digest, bytes) in &data.blobs {
            self.pull_blob(FIRST, digest, bytes);
        }
    }

    fn for_each_name(&mut self, data: &Data, ask: impl Fn(&Asker, &str, &Digest, &[u8])) {
        if data.bad_digest {
            return;
        }
        for (tag, digest) in &data.tags {
            ask(self, tag, digest, data.manifest(digest));
            self.pass();
        }
        for (digest, manifest) in &data.manifests {
            ask(self, digest.as_str(), digest, manifest);
            self.pass();
        }
    }

    fn referrers(&mut self, data: &Data) {
        if data.referrers.is_empty() {
            return;
        }
        for (subject, expected) in &data.referrers {
            let path = format!("/v2/{FIRST}/referrers/{subject}");
            let found = is_referrers(&self.client.get(&path));
            assert_eq!(found.len(), expected.len());
            for entry in expected {
                assert!(found.contains(entry), "{entry} is not in {found:?}");
            }
            for entry in expected {
                let kind = entry["artifactType"].as_str().unwrap_or_default();
                if kind.is_empty() {
                    continue;
                }
                let answer = self.client.get(&format!("{path}?artifactType={}", kind.replace('+', "%2B")));
                assert_eq!(answer.header("oci-filters-applied"), Some("artifactType"));
                let found = is_referrers(&answer);
                assert!(found.contains(entry), "{entry} is not in {found:?}");
                assert!(found.iter().all(|found| found["artifactType"] == kind), "{found:?}");
            }
        }
        self.pass();
    }

    pub fn delete_all(&mut self, data: &Data) {
        for (digest, _) in data.manifests.iter().rev() {
            self.deleted(&format!("/v2/{FIRST}/manifests/{digest}"));
        }
        for digest in data.blobs.keys() {
            self.delete_blob(FIRST, digest);
        }
    }

    /// Deletes a manifest or tag that is there or not; it is gone at once.
    fn deleted(&mut self, path: &str) {
        let answer = self.client.delete(path);
        assert!(matches!(answer.status, 202 | 404), "{answer:?}");
        self.pass();
        assert_eq!(self.client.head(path).status, 404, "{path}");
        self.pass();
    }
}
