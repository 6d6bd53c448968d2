//! `search`: an index that answers as Docker Hub does, and registries without one.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Auth, DockerRegistry, seed, store_with_image};
use crate::harness::{Ran, TestStore, ran};

/// Answers `/v1/search` with the same results always, and everything else with 404.
struct Index {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Index {
    fn start(results: &Value) -> Index {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let index = Index { address: listener.local_addr().unwrap().to_string(), asked: Arc::default() };
        let asked = index.asked.clone();
        let body = json!({ "num_results": 3, "query": "x", "results": results }).to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut first = String::new();
                // A greeting by TLS is no line of text.
                if reader.read_line(&mut first).is_err() {
                    continue;
                }
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    line.clear();
                }
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                let (status, body) = match path.starts_with("/v1/search?") {
                    true => ("200 OK", body.as_str()),
                    false => ("404 Not Found", "{}"),
                };
                asked.lock().unwrap().push(path);
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: \
                     close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        index
    }

    fn search(&self, store: &TestStore, args: &[&str]) -> Ran {
        ran(store.command().arg("search").args(args).env("STRAKE_SEARCH_HOST", &self.address))
    }
}

fn results() -> Value {
    json!([
        {
            "star_count": 12, "is_official": false, "name": "someone/alpine", "is_automated": false,
            "description": "A description\nthat is rather longer than the forty-five that are shown"
        },
        { "star_count": 11000, "is_official": true, "name": "alpine", "is_automated": false,
          "description": "A minimal Docker image based on Alpine Linux" },
        { "star_count": 0, "is_official": false, "name": "other/alpine", "description": null }
    ])
}

#[test]
fn columns_filters_and_limits_as_docker_has_them() {
    let store = TestStore::new();
    let index = Index::start(&results());
    let all = index.search(&store, &["alpine"]);
    assert_eq!(
        all.stdout,
        "NAME             DESCRIPTION                                     STARS     OFFICIAL\n\
         someone/alpine   A description that is rather longer than the…   12        \n\
         alpine           A minimal Docker image based on Alpine Linux    11000     [OK]\n\
         other/alpine                                                     0         \n",
        "{all:?}"
    );
    assert_eq!(index.asked.lock().unwrap().last().unwrap(), "/v1/search?q=alpine&n=25");
    let names = |args: &[&str]| {
        let mut all = vec!["--format", "{{.Name}}"];
        all.extend(args);
        let ran = index.search(&store, &all);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    };
    assert_eq!(names(&["--filter", "stars=12", "alpine"]), "someone/alpine\nalpine\n");
    assert_eq!(names(&["-f", "stars=1", "-f", "stars=100", "alpine"]), "alpine\n");
    assert_eq!(names(&["--filter", "is-official=true", "alpine"]), "alpine\n");
    assert_eq!(names(&["--filter", "is-official=false", "alpine"]), "someone/alpine\nother/alpine\n");
    assert_eq!(names(&["--filter", "is-automated=true", "alpine"]), "");
    assert_eq!(names(&["--limit", "1", "docker.io/library/a+b"]), "someone/alpine\n");
    assert_eq!(index.asked.lock().unwrap().last().unwrap(), "/v1/search?q=a%2Bb&n=1");
    // What is nothing or less is as if it were not there.
    assert_eq!(names(&["--limit", "-1", "alpine"]).lines().count(), 3);
    let long = index.search(&store, &["--no-trunc", "--format", "{{.Description}}", "alpine"]).stdout;
    assert!(
        long.contains("A description that is rather longer than the forty-five that are shown\n"),
        "{long}"
    );
    let line =
        index.search(&store, &["--format", "json", "alpine"]).stdout.lines().nth(1).unwrap().to_owned();
    assert_eq!(
        line,
        "{\"Description\":\"A minimal Docker image based on Alpine Linux\",\"IsOfficial\":\"true\",\"Name\":\"alpine\",\
         \"StarCount\":\"11000\"}"
    );
    for (args, expected) in [
        (vec!["--limit", "101", "x"], "limit 101 is outside the range of [1, 100]"),
        (vec!["--filter", "foo=1", "x"], "invalid filter 'foo'"),
        (vec!["--filter", "is-official=maybe", "x"], "invalid filter 'is-official=[maybe]'"),
        (vec!["--filter", "stars=many", "x"], "invalid filter 'stars=many'"),
        (vec!["https://index.docker.io/x"], "should not have a scheme"),
    ] {
        let ran = index.search(&store, &args);
        assert!(ran.code == 1 && ran.stderr.contains(expected), "{args:?}: {ran:?}");
    }
    // Another registry with such an index.
    let there =
        ran(store.command().args(["search", "--format", "{{.Name}}", &format!("{}/alpine", index.address)]));
    assert_eq!(there.stdout, "someone/alpine\nalpine\nother/alpine\n", "{there:?}");
}

#[test]
fn a_catalog_where_there_is_no_index() {
    let (store, registry) = (store_with_image(), DockerRegistry::start(&Auth::Nobody, None));
    for name in ["app:1", "app:2", "team/app-server:1", "web:1"] {
        seed(&store, &registry.name(name), None);
    }
    let found =
        store.ok(&["search", &registry.name("APP"), "--format", "{{.Name}}|{{.Description}}|{{.StarCount}}"]);
    let (app, server) = (registry.name("app"), registry.name("team/app-server"));
    assert_eq!(found, format!("{app}|2 tags|0\n{server}|1 tag|0\n"));
    assert_eq!(
        store.ok(&["search", "--limit", "1", "--format", "{{.Name}}", &registry.name("app")]),
        format!("{app}\n")
    );
    assert_eq!(store.ok(&["search", "--format", "{{.Name}}", &registry.name("nothing")]), "");
    assert!(store.fails(1, &["search", "localhost:1/x"]).contains("registry localhost:1 cannot be reached"));
}
