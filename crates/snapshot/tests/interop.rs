//! Layers exchanged with other engines: ours unpacked by umoci and podman, theirs by us, to the same trees. Skipped
//! where a tool is missing, or without root.

mod support;

use std::collections::BTreeMap;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci::Digest;
use snapshot::{Entry, Kind, Mtime, Owner, View};
use support::*;

/// A directory whose name has no capitals, which podman takes for part of an image's name.
struct LowerCase(PathBuf);

impl LowerCase {
    fn new(name: &str) -> LowerCase {
        let path = std::env::temp_dir().join(format!("strake-interop-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        LowerCase(path)
    }
}

impl Drop for LowerCase {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn have(tool: &str) -> bool {
    let found =
        Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("no {tool}: skipped");
    }
    found && is_root()
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn blob(layout: &Path, bytes: &[u8]) -> serde_json::Value {
    let digest = Digest::sha256(bytes);
    std::fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    serde_json::json!({ "digest": digest.as_str(), "size": bytes.len() })
}

/// An OCI layout of one image, `image:latest`, of these layers, bottom layer first.
fn layout(at: &Path, layers: &[Vec<u8>]) {
    std::fs::create_dir_all(at.join("blobs/sha256")).unwrap();
    std::fs::write(at.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let with = |mut descriptor: serde_json::Value, media_type: &str| {
        descriptor["mediaType"] = media_type.into();
        descriptor
    };
    let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
    let blobs: Vec<_> = layers
        .iter()
        .map(|layer| {
            let mut gzip = snapshot::compress::GzipWriter::new(Vec::new(), 6, 2);
            std::io::Write::write_all(&mut gzip, layer).unwrap();
            with(blob(at, &gzip.finish().unwrap()), tar)
        })
        .collect();
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::sha256(layer).to_string()).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": layers.iter().map(|_| serde_json::json!({"created_by": "test"})).collect::<Vec<_>>(),
    });
    let config = with(blob(at, config.to_string().as_bytes()), "application/vnd.oci.image.config.v1+json");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": blobs,
    });
    let mut manifest =
        with(blob(at, manifest.to_string().as_bytes()), "application/vnd.oci.image.manifest.v1+json");
    manifest["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "latest" });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [manifest] });
    std::fs::write(at.join("index.json"), index.to_string()).unwrap();
}

/// The layers of `reference` in a layout, bottom layer first, as they are stored.
fn layers_of(layout: &Path, reference: &str) -> Vec<Vec<u8>> {
    let read = |digest: &serde_json::Value| {
        let digest: Digest = digest.as_str().unwrap().parse().unwrap();
        std::fs::read(layout.join("blobs/sha256").join(digest.hex())).unwrap()
    };
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let index = json(&std::fs::read(layout.join("index.json")).unwrap());
    let manifests = index["manifests"].as_array().unwrap();
    let named = |m: &&serde_json::Value| m["annotations"]["org.opencontainers.image.ref.name"] == reference;
    let manifest = json(&read(&manifests.iter().find(named).unwrap()["digest"]));
    manifest["layers"].as_array().unwrap().iter().map(|layer| read(&layer["digest"])).collect()
}

/// The merged tree, as the kernel shows it; the root itself apart, which no layer says anything of.
fn merged(layers: &Layers) -> BTreeMap<Vec<u8>, String> {
    let view = View::open(&layers.stack).unwrap();
    let mut found = tree(&PathBuf::from(format!("/proc/self/fd/{}/.", view.root().as_raw_fd())));
    found.remove(&b""[..]);
    found
}

fn without_root(path: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = tree(path);
    found.remove(&b""[..]);
    found
}

#[track_caller]
fn same(ours: &BTreeMap<Vec<u8>, String>, theirs: &BTreeMap<Vec<u8>, String>) {
    let differ: Vec<_> = ours
        .keys()
        .chain(theirs.keys())
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| format!("{}: {:?} and {:?}", path.escape_ascii(), ours.get(path), theirs.get(path)))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(ours.len() > 3);
}

/// Three layers with one of everything.
fn odd_layers() -> Vec<Vec<u8>> {
    let at = |mut entry: (Entry, &'static [u8]), id: u32, mode: u32, nsec: u32| {
        entry.0.owner = Owner { uid: id, gid: id };
        entry.0.mode = mode;
        entry.0.mtime = Mtime { sec: 1_600_000_000, nsec };
        entry
    };
    let mut capable = at(file("bin/ping", "elf"), 0, 0o755, 0);
    capable
        .0
        .xattrs
        .insert(b"security.capability".to_vec(), b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec());
    let long = "long-name/".repeat(20);
    let mut first = vec![
        at(dir("bin"), 0, 0o755, 0),
        capable,
        at(file("bin/su", "suid"), 0, 0o4755, 1),
        at(hard_link("bin/su2", "bin/su"), 0, 0o4755, 1),
        at(dir("d"), 0, 0o755, 0),
        at(file("d/deleted", "1"), 0, 0o644, 0),
        at(file("d/kept", "1"), 70_000, 0o640, 123_456_789),
        at((Entry::new("fifo", Kind::Fifo, 0), b""), 5, 0o620, 0),
        at((Entry::new("null", Kind::CharDevice { major: 1, minor: 3 }, 0), b""), 0, 0o666, 0),
        at(dir("opaque"), 0, 0o755, 0),
        at(file("opaque/old", "1"), 0, 0o644, 0),
        at(dir("replaced"), 0, 0o755, 0),
        at(file("replaced/inside", "1"), 0, 0o644, 0),
        at(symlink("sm\u{f6}r", "bin"), 1000, 0o777, 0),
        at(file("tree", "a file first"), 0, 0o644, 0),
    ];
    let mut path = String::new();
    for part in long.trim_end_matches('/').split('/') {
        path += part;
        first.push(at(dir(&path), 0, 0o755, 0));
        path += "/";
    }
    first.push(at(file(&format!("{path}file"), "deep"), 0, 0o600, 0));
    first.sort_by(|a, b| a.0.path.cmp(&b.0.path));
    let second = vec![
        at(dir("d"), 0, 0o750, 0),
        (Entry::new("d/.wh.deleted", Kind::File { size: 0 }, 0), &b""[..]),
        at(dir("opaque"), 0, 0o755, 0),
        (Entry::new("opaque/.wh..wh..opq", Kind::File { size: 0 }, 0), b""),
        at(file("opaque/new", "2"), 0, 0o644, 0),
        at(file("replaced", "a file now"), 0, 0o644, 0),
        at(dir("tree"), 0, 0o755, 0),
        at(file("tree/file", "2"), 0, 0o644, 0),
    ];
    let third = vec![
        (Entry::new(".wh.opaque", Kind::File { size: 0 }, 0), &b""[..]),
        at(dir("d"), 0, 0o755, 0),
        at(file("d/deleted", "again"), 0, 0o644, 0),
    ];
    [first, second, third].iter().map(|entries| tar(entries)).collect()
}

#[test]
fn umoci_unpacks_ours() {
    if !have("umoci") {
        return;
    }
    let mut layers = Layers::new();
    let tars = odd_layers();
    for tar in &tars {
        layers.push(tar);
    }
    let image = layers.dir.path().join("image");
    layout(&image, &tars);
    let rootfs = layers.dir.path().join("rootfs");
    run(Command::new("umoci")
        .args(["raw", "unpack", "--image"])
        .arg(format!("{}:latest", image.display()))
        .arg(&rootfs));
    same(&merged(&layers), &without_root(&rootfs));
}

#[test]
fn podman_unpacks_ours() {
    if !have("podman") {
        return;
    }
    let mut layers = Layers::new();
    let tars = odd_layers();
    for tar in &tars {
        layers.push(tar);
    }
    let lower_case = LowerCase::new("podman");
    let image = lower_case.0.join("image");
    layout(&image, &tars);
    let podman = || {
        let mut command = Command::new("podman");
        for (option, dir) in [("--root", "storage"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(layers.dir.path().join(dir));
        }
        command.args(["--storage-driver", "vfs"]);
        command
    };
    let id = run(podman().args(["pull", "-q"]).arg(format!("oci:{}:latest", image.display())));
    let mounted = run(podman().args(["image", "mount"]).arg(&id));
    same(&merged(&layers), &without_root(Path::new(&mounted)));
    run(podman().args(["image", "unmount", "-f"]).arg(&id));
}

#[test]
fn skopeo_takes_ours() {
    if !have("skopeo") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    layout(&image, &odd_layers());
    let archive = format!("docker-archive:{}/image.tar:test:latest", dir.path().display());
    run(Command::new("skopeo")
        .args(["copy", "-q", "--insecure-policy"])
        .arg(format!("oci:{}:latest", image.display()))
        .arg(archive));
    let entries = run(Command::new("tar").arg("-tf").arg(dir.path().join("image.tar")));
    assert!(entries.contains("manifest.json"), "{entries}");
}

/// What umoci makes of changes to an unpacked image, applied by us.
#[test]
fn umocis_layers_are_ours() {
    if !have("umoci") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (image, bundle) = (dir.path().join("image"), dir.path().join("bundle"));
    layout(&image, &odd_layers());
    let reference = |tag: &str| format!("{}:{tag}", image.display());
    run(Command::new("umoci").args(["unpack", "--image", &reference("latest")]).arg(&bundle));
    let rootfs = bundle.join("rootfs");
    std::fs::remove_file(rootfs.join("d/kept")).unwrap();
    std::fs::remove_dir_all(rootfs.join("tree")).unwrap();
    std::fs::write(rootfs.join("tree"), "a file again").unwrap();
    std::fs::create_dir(rootfs.join("new")).unwrap();
    std::fs::write(rootfs.join("new/n".to_owned() + &"a".repeat(150)), "new").unwrap();
    std::fs::write(rootfs.join("caf\u{e9}"), "new").unwrap();
    std::fs::hard_link(rootfs.join("caf\u{e9}"), rootfs.join("cafe")).unwrap();
    std::os::unix::fs::lchown(rootfs.join("fifo"), Some(3_000_000), Some(2_097_152)).unwrap();
    run(Command::new("umoci").args(["repack", "--image", &reference("changed")]).arg(&bundle));
    let mut layers = Layers::new();
    for layer in layers_of(&image, "changed") {
        layers.push(&layer);
    }
    assert_eq!(layers.stack.len(), 4);
    let again = dir.path().join("again");
    run(Command::new("umoci").args(["raw", "unpack", "--image", &reference("changed")]).arg(&again));
    same(&merged(&layers), &without_root(&again));
}

/// What buildah commits, applied by us.
#[test]
fn buildahs_layers_are_ours() {
    if !have("buildah") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lower_case = LowerCase::new("buildah");
    let image = lower_case.0.join("image");
    layout(&image, &odd_layers());
    let buildah = || {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(dir.path().join("storage")).arg("--runroot").arg(dir.path().join("run"));
        command.args(["--storage-driver", "vfs"]);
        command
    };
    let container =
        run(buildah().args(["from", "-q", "--pull-always"]).arg(format!("oci:{}:latest", image.display())));
    let rootfs = PathBuf::from(run(buildah().args(["mount", &container])));
    std::fs::remove_dir_all(rootfs.join("long-name")).unwrap();
    std::fs::remove_file(rootfs.join("bin/su2")).unwrap();
    std::fs::create_dir(rootfs.join("new")).unwrap();
    std::fs::write(rootfs.join("new/file"), "new").unwrap();
    std::os::unix::fs::symlink("new/file", rootfs.join("link")).unwrap();
    let target = format!("oci:{}:changed", image.display());
    run(buildah().args(["commit", "-q", "--disable-compression=false", &container]).arg(&target));
    let want = without_root(&rootfs);
    run(buildah().args(["umount", &container]));
    let mut layers = Layers::new();
    for layer in layers_of(&image, "changed") {
        layers.push(&layer);
    }
    // Its tars have whole seconds, and the time of commit for directories.
    let no_times = |tree: BTreeMap<Vec<u8>, String>| -> BTreeMap<Vec<u8>, String> {
        let cut = |line: String| {
            line.split(' ').enumerate().filter(|(n, _)| *n != 2).map(|(_, w)| w.to_owned() + " ").collect()
        };
        tree.into_iter().map(|(path, line)| (path, cut(line))).collect()
    };
    same(&no_times(merged(&layers)), &no_times(want));
}
