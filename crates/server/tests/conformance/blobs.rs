//! Blobs: every way to push one, pulling whole and in part, deleting, and digests that are not of the bytes.

use oci::Digest;

use crate::support::noise;
use crate::{Algorithm, Asker, FIRST, SECOND};

/// How a blob is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    PostOnly,
    PostPut,
    Stream,
    Chunked { put_last: bool, out_of_order: bool },
}

const CHUNKED: Way = Way::Chunked { put_last: false, out_of_order: false };
const CHUNK: usize = 1024;
const OCTETS: (&str, &str) = ("Content-Type", "application/octet-stream");

impl Asker {
    pub fn blobs(&mut self, algorithm: Algorithm) {
        let seed = if algorithm == Algorithm::Sha256 { 256_000 } else { 512_000 };
        let blob = |n: u64, len: usize| {
            let bytes = noise(seed + n, len);
            (algorithm.of(&bytes), bytes)
        };
        let (missing, _) = blob(0, 512);
        assert_eq!(self.client.get(&format!("/v2/{FIRST}/blobs/{missing}")).status, 404);
        self.pass();

        let three = CHUNK * 3 - 5;
        for (n, (way, len)) in [
            (Way::PostOnly, 512),
            (Way::PostPut, 512),
            (CHUNKED, 512),
            (Way::Stream, 512),
            (CHUNKED, three),
            (Way::Chunked { put_last: true, out_of_order: false }, three),
            (Way::Chunked { put_last: false, out_of_order: true }, three),
            (Way::Chunked { put_last: true, out_of_order: true }, three),
        ]
        .into_iter()
        .enumerate()
        {
            let (digest, bytes) = blob(n as u64 + 1, len);
            self.push_way(way, FIRST, &digest, &bytes);
            self.there_and_gone(&digest, &bytes);
        }
        for (n, from) in [(20, format!("&from={SECOND}")), (21, String::new())] {
            let (digest, bytes) = blob(n, 512);
            self.push_any(SECOND, &digest, &bytes);
            let answer = self.client.post(&format!("/v2/{FIRST}/blobs/uploads/?mount={digest}{from}"));
            assert_eq!(answer.status, 201, "{answer:?}");
            self.created(answer.location(), answer.header("docker-content-digest"), &digest, &bytes);
            self.pass();
            self.there_and_gone(&digest, &bytes);
            self.delete_blob(SECOND, &digest);
        }
        let (digest, bytes) = blob(22, 512);
        let answer = self.client.post(&format!("/v2/{FIRST}/blobs/uploads/?mount={digest}&from={SECOND}"));
        assert_eq!(answer.status, 202, "{answer:?}");
        self.put(answer.location(), &digest, &bytes, 201);
        self.pass();
        self.there_and_gone(&digest, &bytes);

        let begun = self.begin(FIRST);
        assert_eq!(self.client.delete(&begun).status, 204);
        assert_eq!(self.client.get(&begun).status, 404);
        self.pass();
        self.delete_blob(FIRST, &missing);

        self.ranges(algorithm);
        for bytes in [&b""[..], b"{}"] {
            let digest = algorithm.of(bytes);
            self.push_any(FIRST, &digest, bytes);
            self.there_and_gone(&digest, bytes);
        }
        self.bad_digests(&blob(30, three).0);
    }

    fn there_and_gone(&mut self, digest: &Digest, bytes: &[u8]) {
        self.head_blob(FIRST, digest, bytes);
        self.pull_blob(FIRST, digest, bytes);
        self.delete_blob(FIRST, digest);
    }

    fn ranges(&mut self, algorithm: Algorithm) {
        let bytes = noise(77, 2048);
        let digest = algorithm.of(&bytes);
        self.push_any(FIRST, &digest, &bytes);
        for (range, expected) in [
            ("500-1499", Some(500..1500)),
            ("500-", Some(500..2048)),
            ("-500", Some(1548..2048)),
            ("2000-5000", Some(2000..2048)),
            ("500-0", None),
            ("5000-10000", None),
        ] {
            let path = format!("/v2/{FIRST}/blobs/{digest}");
            let answer = self.client.send("GET", &path, &[("Range", &format!("bytes={range}"))], b"");
            match expected {
                None => assert_eq!(answer.status, 416, "{range}"),
                Some(part) => {
                    assert_eq!(answer.status, 206, "{range}");
                    assert_eq!(answer.body, bytes[part.clone()], "{range}");
                    let told = format!("bytes {}-{}/2048", part.start, part.end - 1);
                    assert_eq!(answer.header("content-range"), Some(told.as_str()));
                    assert_eq!(answer.header("content-length"), Some(part.len().to_string().as_str()));
                }
            }
            self.pass();
        }
        self.delete_blob(FIRST, &digest);
    }

    fn bad_digests(&mut self, digest: &Digest) {
        let bytes = noise(78, CHUNK * 3);
        let post = format!("/v2/{FIRST}/blobs/uploads/?digest={digest}");
        assert_eq!(self.client.send("POST", &post, &[OCTETS], &bytes).status, 400);
        self.pass();
        let begun = self.begin(FIRST);
        self.put(&begun, digest, &bytes, 400);
        self.pass();
        for chunks in [3, 3, 1] {
            let mut at = self.begin(FIRST);
            for (n, chunk) in bytes.chunks(bytes.len() / chunks).enumerate() {
                let range = format!("{}-{}", n * CHUNK, n * CHUNK + chunk.len() - 1);
                let headers = [OCTETS, ("Content-Range", &range)];
                let answer = self.client.send("PATCH", &at, &headers, chunk);
                assert_eq!(answer.status, 202, "{answer:?}");
                at = answer.location().to_owned();
            }
            self.put(&at, digest, b"", 400);
            assert_eq!(self.client.get(&at).status, 404, "an upload that was refused is gone");
            self.pass();
        }
        assert_eq!(self.client.head(&format!("/v2/{FIRST}/blobs/{digest}")).status, 404);
    }

    fn begin(&self, name: &str) -> String {
        let answer = self.client.post(&format!("/v2/{name}/blobs/uploads/"));
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.location().to_owned()
    }

    fn put(&mut self, at: &str, digest: &Digest, bytes: &[u8], status: u16) {
        let answer = self.client.send("PUT", &format!("{at}?digest={digest}"), &[OCTETS], bytes);
        assert_eq!(answer.status, status, "{answer:?}");
        if status == 201 {
            self.created(answer.location(), answer.header("docker-content-digest"), digest, bytes);
        }
    }

    /// The location of a blob that was pushed has all of it.
    fn created(&self, location: &str, header: Option<&str>, digest: &Digest, bytes: &[u8]) {
        assert_eq!(header, Some(digest.as_str()));
        let answer = self.client.get(location);
        assert_eq!(answer.status, 200);
        assert!(bytes.is_empty() || answer.body == bytes, "{location}");
    }

    /// Pushes a blob in one of the four ways, each in turn.
    pub fn push_any(&mut self, name: &str, digest: &Digest, bytes: &[u8]) {
        let way = [Way::PostPut, Way::PostOnly, Way::Stream, CHUNKED][self.next % 4];
        self.next += 1;
        self.push_way(way, name, digest, bytes);
    }

    fn push_way(&mut self, way: Way, name: &str, digest: &Digest, bytes: &[u8]) {
        match way {
            Way::PostOnly => {
                let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
                let answer = self.client.send("POST", &path, &[OCTETS], bytes);
                assert_eq!(answer.status, 201, "{answer:?}");
                self.created(answer.location(), answer.header("docker-content-digest"), digest, bytes);
            }
            Way::PostPut => {
                let begun = self.begin(name);
                self.put(&begun, digest, bytes, 201);
            }
            Way::Stream => {
                let begun = self.begin(name);
                let answer = self.client.send("PATCH", &begun, &[OCTETS], bytes);
                assert_eq!(answer.status, 202, "{answer:?}");
                self.put(answer.location(), digest, b"", 201);
            }
            Way::Chunked { put_last, out_of_order } => {
                self.push_chunked(name, digest, bytes, put_last, out_of_order);
            }
        }
        self.pass();
    }

    fn push_chunked(
        &mut self,
        name: &str,
        digest: &Digest,
        bytes: &[u8],
        put_last: bool,
        out_of_order: bool,
    ) {
        let mut at = self.begin(name);
        let size = (bytes.len() / 3 + 1).max(CHUNK).min(bytes.len().max(1));
        let mut done = 0;
        while done < bytes.len() {
            if out_of_order {
                let start = if done + size < bytes.len() { done + size } else { 0 };
                let end = bytes.len().min(start + size);
                let last = put_last && end == bytes.len();
                let answer = self.chunk(&at, digest, bytes, start..end, last);
                assert_eq!(answer.status, 416, "{start}..{end}: {answer:?}");
                let answer = self.client.get(&at);
                assert_eq!(answer.status, 204);
                assert_eq!(answer.header("range"), Some(format!("0-{}", done.saturating_sub(1)).as_str()));
                at = answer.location().to_owned();
            }
            let end = bytes.len().min(done + size);
            let last = put_last && end == bytes.len();
            let answer = self.chunk(&at, digest, bytes, done..end, last);
            if last {
                assert_eq!(answer.status, 201, "{answer:?}");
                self.created(answer.location(), answer.header("docker-content-digest"), digest, bytes);
                return;
            }
            assert_eq!(answer.status, 202, "{answer:?}");
            assert_eq!(answer.header("range"), Some(format!("0-{}", end - 1).as_str()));
            at = answer.location().to_owned();
            done = end;
        }
        self.put(&at, digest, b"", 201);
    }

    fn chunk(
        &self,
        at: &str,
        digest: &Digest,
        bytes: &[u8],
        part: std::ops::Range<usize>,
        put: bool,
    ) -> crate::support::Answer {
        let range = format!("{}-{}", part.start, part.end - 1);
        let headers = [OCTETS, ("Content-Range", range.as_str())];
        match put {
            true => self.client.send("PUT", &format!("{at}?digest={digest}"), &headers, &bytes[part]),
            false => self.client.send("PATCH", at, &headers, &bytes[part]),
        }
    }

    pub fn head_blob(&mut self, name: &str, digest: &Digest, bytes: &[u8]) {
        let answer = self.client.head(&format!("/v2/{name}/blobs/{digest}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-length"), Some(bytes.len().to_string().as_str()));
        assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
        assert!(answer.body.is_empty());
        self.pass();
    }

    pub fn pull_blob(&mut self, name: &str, digest: &Digest, bytes: &[u8]) {
        let answer = self.client.get(&format!("/v2/{name}/blobs/{digest}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-length"), Some(bytes.len().to_string().as_str()));
        assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
        assert!(answer.body == bytes);
        self.pass();
    }

    /// Deletes a blob that is there or not; it is gone at once.
    pub fn delete_blob(&mut self, name: &str, digest: &Digest) {
        let path = format!("/v2/{name}/blobs/{digest}");
        let answer = self.client.delete(&path);
        assert!(matches!(answer.status, 202 | 404), "{answer:?}");
        self.pass();
        assert_eq!(self.client.head(&path).status, 404);
        self.pass();
    }
}
