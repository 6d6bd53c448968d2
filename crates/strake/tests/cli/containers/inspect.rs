//! `inspect` of containers: Docker's JSON.

use serde_json::Value;

use super::{sleeper, store};

#[test]
fn the_fields_are_dockers() {
    let store = store();
    store.ok(&[
        "create",
        "--name",
        "cc",
        "-e",
        "A=b",
        "-l",
        "x=y",
        "-v",
        "./in:/in:ro",
        "-v",
        "/own",
        "--tmpfs",
        "/t:size=1m",
        "-w",
        "/tmp",
        "-u",
        "app",
        "--cap-add",
        "NET_ADMIN",
        "--add-host",
        "a:1.2.3.4",
        "-h",
        "box",
        "--stop-timeout",
        "3",
        "--expose",
        "80",
        "--ulimit",
        "nofile=10:20",
        "--shm-size",
        "1m",
        "bb",
        "sleep",
        "1000",
    ]);
    let json = store.ok(&["inspect", "cc"]);
    assert!(json.starts_with("[\n    {\n        \"Id\": \""), "indented as Docker does: {json}");
    let all: Value = serde_json::from_str(&json).unwrap();
    let c = &all[0];
    for (pointer, expected) in [
        ("/Path", "\"sleep\""),
        ("/Args", "[\"1000\"]"),
        ("/Name", "\"/cc\""),
        ("/State/Status", "\"created\""),
        ("/State/StartedAt", "\"0001-01-01T00:00:00Z\""),
        ("/State/Pid", "0"),
        ("/RestartCount", "0"),
        ("/Config/Hostname", "\"box\""),
        ("/Config/User", "\"app\""),
        ("/Config/Env", "[\"A=b\",\"PATH=/bin\"]"),
        ("/Config/Cmd", "[\"sleep\",\"1000\"]"),
        ("/Config/Entrypoint", "null"),
        ("/Config/Image", "\"bb\""),
        ("/Config/Labels", "{\"x\":\"y\"}"),
        ("/Config/ExposedPorts", "{\"80/tcp\":{}}"),
        ("/Config/Volumes", "{\"/own\":{}}"),
        ("/Config/WorkingDir", "\"/tmp\""),
        ("/Config/StopTimeout", "3"),
        ("/HostConfig/CapAdd", "[\"CAP_NET_ADMIN\"]"),
        ("/HostConfig/CapDrop", "null"),
        ("/HostConfig/ExtraHosts", "[\"a:1.2.3.4\"]"),
        ("/HostConfig/Tmpfs", "{\"/t\":\"size=1m\"}"),
        ("/HostConfig/ShmSize", "1048576"),
        ("/HostConfig/Ulimits/0", "{\"Name\":\"nofile\",\"Hard\":20,\"Soft\":10}"),
        ("/HostConfig/RestartPolicy/Name", "\"no\""),
        ("/HostConfig/Memory", "0"),
        ("/HostConfig/Privileged", "false"),
        ("/GraphDriver/Name", "\"overlay2\""),
        ("/Mounts/0/Destination", "\"/in\""),
        ("/Mounts/0/RW", "false"),
        ("/Mounts/1/Type", "\"volume\""),
        ("/NetworkSettings/Networks/host/IPAddress", "\"\""),
    ] {
        let found = c.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
        assert_eq!(found.to_string(), expected, "{pointer}");
    }
    assert_eq!(
        c["Mounts"].as_array().unwrap().len(),
        2,
        "directories in memory are not among Docker's mounts"
    );
}

#[test]
fn of_what_runs() {
    let store = store();
    sleeper(&store, "up");
    let state =
        store.ok(&["inspect", "-f", "{{.State.Status}} {{.State.Running}} {{gt .State.Pid 1}}", "up"]);
    assert_eq!(state, "running true true\n");
    assert_eq!(store.ok(&["container", "inspect", "-f", "{{.Name}}", "up"]), "/up\n");
    assert!(store.fails(1, &["image", "inspect", "up"]).contains("No such image: up"));
    assert!(store.fails(1, &["container", "inspect", "bb"]).contains("No such container: bb"));
    let sizes = store.ok(&["inspect", "-s", "-f", "{{.SizeRw}} {{gt .SizeRootFs 1000000}}", "up"]);
    assert_eq!(sizes, "0 true\n");
    store.ok(&["rm", "-f", "up"]);
}
