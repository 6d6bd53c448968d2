//! `ps`: columns, filters, formats.

use super::{sleeper, store, until};

#[test]
fn columns() {
    let store = store();
    assert_eq!(store.ok(&["ps"]), "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n");
    let id = sleeper(&store, "up");
    store.run(&["run", "--name", "down", "bb", "sh", "-c", "exit 3"]);
    let table = store.ok(&["ps"]);
    let line = table.lines().nth(1).unwrap();
    assert!(line.starts_with(&format!("{}   bb        \"sleep 1000\"   ", &id[..12])), "{table}");
    assert!(line.contains(" ago   Up ") && line.ends_with("up"), "{table}");
    assert_eq!(store.ok(&["ps", "-aq"]).lines().count(), 2);
    assert_eq!(store.ok(&["ps", "-q", "--no-trunc"]), format!("{id}\n"));
    assert_eq!(store.ok(&["container", "ls", "-aq"]), store.ok(&["ps", "-aq"]));
    assert_eq!(store.ok(&["ps", "-l", "--format", "{{.Names}}"]), "down\n");
    assert_eq!(store.ok(&["ps", "-n", "5", "--format", "{{.Names}}"]), "down\nup\n");
    let command = store.ok(&["ps", "-a", "--no-trunc", "--format", "{{.Command}}", "--filter", "name=down"]);
    assert_eq!(command, "\"sh -c 'exit 3'\"\n");
    let json = store.ok(&["ps", "--format", "json"]);
    let row: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((row["Names"].as_str(), row["State"].as_str()), (Some("up"), Some("running")));
    store.ok(&["rm", "-f", "up"]);
}

#[test]
fn filters() {
    let store = store();
    let names = |args: &[&str]| {
        let all: Vec<&str> = ["ps", "-a", "--format", "{{.Names}}"].iter().chain(args).copied().collect();
        store.ok(&all).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    store.ok(&["create", "--name", "first", "-l", "tier=web", "-l", "x", "bb"]);
    store.run(&["run", "--name", "second", "--expose", "80", "-v", "/vol", "bb", "sh", "-c", "exit 4"]);
    sleeper(&store, "third");
    store.ok(&["tag", "bb", "other"]);
    store.ok(&["create", "--name", "fourth", "--network", "none", "other"]);
    for (filter, expected) in [
        ("name=ir", &["third", "first"][..]),
        ("name=^third$", &["third"]),
        ("status=exited", &["second"]),
        ("status=created", &["fourth", "first"]),
        ("exited=4", &["second"]),
        ("exited=0", &[]),
        ("label=tier", &["first"]),
        ("label=tier=web", &["first"]),
        ("label=tier=db", &[]),
        ("ancestor=other", &["fourth", "third", "second", "first"]),
        ("ancestor=nosuch", &[]),
        ("before=second", &["first"]),
        ("since=second", &["fourth", "third"]),
        ("network=none", &["fourth"]),
        ("expose=80", &["second"]),
        ("volume=/vol", &["second"]),
        ("health=none", &["fourth", "third", "second", "first"]),
    ] {
        assert_eq!(names(&["--filter", filter]), expected, "{filter}");
    }
    assert_eq!(names(&["--filter", "label=tier=web", "--filter", "label=y"]), Vec::<String>::new());
    assert_eq!(store.ok(&["ps", "--filter", "status=exited", "--format", "{{.Names}}"]), "second\n");
    assert!(store.fails(1, &["ps", "--filter", "status=bogus"]).contains("invalid filter 'status=bogus'"));
    assert!(store.fails(1, &["ps", "--filter", "bogus=1"]).contains("invalid filter 'bogus'"));
    assert!(store.fails(1, &["ps", "--filter", "before=nosuch"]).contains("No such container: nosuch"));
    assert_eq!(store.ok(&["ps", "-a", "--format", "{{.Label \"tier\"}}", "--filter", "name=first"]), "web\n");
    store.ok(&["rm", "-f", "third"]);
}

#[test]
fn sizes() {
    let store = store();
    store.ok(&["run", "--name", "ss", "bb", "sh", "-c", "head -c 5000 /dev/zero > /x"]);
    let size = store.ok(&["ps", "-as", "--format", "{{.Size}}"]);
    assert!(size.starts_with("5kB (virtual "), "{size}");
}

#[test]
fn pruning_spares_what_runs() {
    let store = store();
    sleeper(&store, "up");
    store.ok(&["create", "--name", "aa", "-l", "keep", "bb"]);
    store.ok(&["create", "--name", "cc", "bb"]);
    store.ok(&["container", "prune", "-f", "--filter", "label!=keep"]);
    assert_eq!(store.ok(&["ps", "-a", "--format", "{{.Names}}"]), "aa\nup\n");
    store.ok(&["container", "prune", "-f"]);
    assert_eq!(store.ok(&["ps", "-a", "--format", "{{.Names}}"]), "up\n");
    store.ok(&["rm", "-f", "up"]);
    until("nothing is left", || store.ok(&["ps", "-aq"]).is_empty());
}
