//! `images`: Docker's columns, filters and templates.

use oci::Digest;
use serde_json::{Value, json};

use crate::harness::{TestImage, TestStore, short};

fn some() -> (TestStore, Vec<String>) {
    let store = TestStore::new();
    let ids = [
        TestImage::new(&["app:1", "app:latest", "example.com/team/app:1"])
            .created("2024-03-01T00:00:00Z")
            .config(json!({"Labels": {"tier": "web", "x": "1"}}))
            .layer("a", 1_982_259),
        TestImage::new(&["base"]).created("2024-02-01T00:00:00Z").layer("b", 5),
        TestImage::new(&[]).created("2024-01-01T00:00:00Z").layer("c", 1000),
    ]
    .map(|image| short(&store.put(&image)));
    (store, ids.to_vec())
}

#[test]
fn an_empty_store_shows_the_header() {
    assert_eq!(TestStore::new().ok(&["images"]), "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n");
}

#[test]
fn the_table_is_dockers() {
    let (store, ids) = some();
    let table = store.ok(&["images", "--format", "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Size}}"]);
    let expected = format!(
        "REPOSITORY             TAG       IMAGE ID       SIZE\n\
         app                    1         {0}   1.98MB\n\
         app                    latest    {0}   1.98MB\n\
         example.com/team/app   1         {0}   1.98MB\n\
         base                   latest    {1}   5B\n\
         <none>                 <none>    {2}   1kB\n",
        ids[0], ids[1], ids[2]
    );
    assert_eq!(table, expected);
    assert_eq!(store.ok(&["image", "ls"]), store.ok(&["images"]));
    let lines = store.ok(&["images"]);
    assert!(lines.starts_with("REPOSITORY             TAG       IMAGE ID       CREATED"), "{lines}");
    assert!(lines.contains(" ago "), "{lines}");
}

#[test]
fn quiet_and_whole_ids() {
    let (store, ids) = some();
    assert_eq!(
        store.ok(&["images", "-q"]).lines().collect::<Vec<_>>(),
        [&ids[0], &ids[0], &ids[0], &ids[1], &ids[2]]
    );
    for line in store.ok(&["images", "-q", "--no-trunc"]).lines() {
        assert!(line.starts_with("sha256:") && line.len() == 71, "{line}");
    }
}

#[test]
fn filters() {
    let (store, _) = some();
    let names = |filter: &[&str]| {
        let mut args = vec!["images", "--format", "{{.Repository}}:{{.Tag}}"];
        args.extend(filter);
        store.ok(&args).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = ["app:1", "app:latest", "example.com/team/app:1", "base:latest", "<none>:<none>"];
    assert_eq!(names(&[]), all);
    assert_eq!(names(&["-a"]), all);
    assert_eq!(names(&["-f", "dangling=true"]), ["<none>:<none>"]);
    assert_eq!(names(&["-f", "dangling=false"]), all[..4]);
    assert_eq!(names(&["-f", "label=tier"]), all[..3]);
    assert_eq!(names(&["-f", "label=tier=web", "-f", "label=x=1"]), all[..3]);
    assert!(names(&["-f", "label=tier=db"]).is_empty());
    assert_eq!(names(&["-f", "before=app:1"]), all[3..]);
    assert_eq!(names(&["-f", "since=base"]), all[..3]);
    assert_eq!(names(&["-f", "until=2024-02-15T00:00:00Z"]), all[3..]);
    assert_eq!(names(&["-f", "reference=app"]), all[..2]);
    assert_eq!(names(&["-f", "reference=*:1"]), ["app:1"]);
    assert_eq!(names(&["-f", "reference=*/*/*"]), ["example.com/team/app:1"]);
    assert_eq!(names(&["app"]), all[..2]);
    assert_eq!(names(&["app:1"]), ["app:1"]);
    assert_eq!(names(&["docker.io/library/app"]), all[..2]);
    assert!(names(&["nothing"]).is_empty());
}

#[test]
fn bad_filters() {
    let (store, _) = some();
    for (filter, message) in [
        ("foo=bar", "invalid filter 'foo'"),
        ("dangling=x", "invalid filter 'dangling=[x]'"),
        ("before=nope", "No such image: nope"),
        ("until=x", "invalid until filter"),
        ("reference=[", "syntax error in pattern"),
    ] {
        let stderr = store.fails(1, &["images", "-f", filter]);
        assert!(stderr.contains(message), "{filter}: {stderr}");
    }
}

#[test]
fn json_has_dockers_fields() {
    let (store, ids) = some();
    let line = store.ok(&["images", "--format", "json", "base"]);
    assert!(!line.contains('<'), "escaped as Go does: {line}");
    let row: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(row["ID"], ids[1]);
    assert_eq!(row["Repository"], "base");
    assert_eq!(row["Tag"], "latest");
    assert_eq!(row["Digest"], "<none>");
    assert_eq!(row["CreatedAt"], "2024-02-01 00:00:00 +0000 UTC");
    assert_eq!(row["Size"], "5B");
    assert_eq!(row["Containers"], "N/A");
}

#[test]
fn template_errors_say_what_there_is() {
    let (store, _) = some();
    let stderr = store.fails(1, &["images", "--format", "{{.Foo}}"]);
    assert!(stderr.contains(
        "template parsing error: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo"
    ));
    assert!(stderr.contains("Repository"), "{stderr}");
    assert!(store.fails(1, &["images", "--format", "{{.ID"]).contains("unclosed action"));
}

#[test]
fn digests_have_a_column_and_rows() {
    let store = TestStore::new();
    let id = store.put(&TestImage::new(&["app:1"]).layer("a", 5));
    let digest = Digest::sha256(b"a manifest");
    store.store().add_repo_digest("docker.io/library/app", &digest, &id).unwrap();
    store.store().add_repo_digest("example.com/other", &digest, &id).unwrap();
    assert_eq!(
        store.ok(&["images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"]),
        format!("app 1 {digest}\nexample.com/other <none> {digest}\n")
    );
    assert!(store.ok(&["images", "--digests"]).starts_with("REPOSITORY          TAG       DIGEST"));
    assert_eq!(
        store.ok(&["images", "--format", "{{.Repository}} {{.Tag}}"]),
        "app 1\nexample.com/other <none>\n"
    );
}
