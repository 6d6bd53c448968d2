//! `--output`, `--push`, `--load`, `--annotation`, `--metadata-file`: where the result goes, and what is said of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Ran, ran};
use crate::project::Project;
use crate::served::Served;

const FILES: &str = "FROM scratch\nCOPY --chmod=4755 tool /bin/tool\nCOPY tree /tree\n";

/// A few files without a base, and links among them.
fn files() -> Project {
    let project =
        Project::new(&[("Dockerfile", FILES), ("tool", "tool"), ("tree/a", "a"), ("tree/d/b", "b")]);
    symlink("/etc/passwd", project.path("tree/link")).unwrap();
    fs::hard_link(project.path("tree/a"), project.path("tree/d/same")).unwrap();
    project
}

/// `build ARGS .`, without a name.
fn build(project: &Project, args: &[&str]) -> Ran {
    let mut command = project.store.command();
    ran(command.arg("build").args(args).arg(".").current_dir(project.path("")))
}

#[track_caller]
fn built(project: &Project, args: &[&str]) -> Ran {
    let ran = build(project, args);
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
    ran
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The JSON file `name` of a tar.
fn in_tar(tar: &Path, name: &str) -> Value {
    let out = Command::new("tar").arg("-xOf").arg(tar).arg(name).output().unwrap();
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn blob(tar: &Path, digest: &Value) -> Value {
    in_tar(tar, &format!("blobs/{}", digest.as_str().unwrap().replace(':', "/")))
}

#[test]
fn a_directory_gets_the_files() {
    let project = files();
    let out = project.path("out");
    fs::create_dir_all(out.join("tree/kept")).unwrap();
    fs::write(out.join("tree/kept/file"), "kept").unwrap();
    fs::write(out.join("tree/a"), "old").unwrap();
    // A link that is there leads nothing out.
    fs::create_dir(project.path("aside")).unwrap();
    symlink(project.path("aside"), out.join("bin")).unwrap();
    let refused = build(&project, &["-o", "out"]);
    assert!(refused.code != 0 && refused.stderr.contains("in the way"), "{refused:?}");
    assert_eq!(fs::read_dir(project.path("aside")).unwrap().count(), 0);
    fs::remove_file(out.join("bin")).unwrap();
    built(&project, &["--output", "type=local,dest=out"]);
    assert_eq!(fs::metadata(out.join("bin/tool")).unwrap().permissions().mode() & 0o7777, 0o4755);
    assert_eq!(fs::read_to_string(out.join("tree/kept/file")).unwrap(), "kept");
    assert_eq!(fs::read_to_string(out.join("tree/a")).unwrap(), "a");
    assert_eq!(fs::read_link(out.join("tree/link")).unwrap(), Path::new("/etc/passwd"));
    let user = rustix::process::geteuid().as_raw();
    assert_eq!(fs::metadata(out.join("tree/d/b")).unwrap().uid(), user);
    // A directory is not removed for a file.
    fs::remove_file(out.join("bin/tool")).unwrap();
    fs::create_dir(out.join("bin/tool")).unwrap();
    assert!(build(&project, &["-o", "out"]).stderr.contains("in the way"));
    assert_eq!(project.store.ok(&["images", "-aq"]).lines().count(), 1, "an image was left");
}

#[test]
fn links_stay_links_and_an_epoch_is_every_files_time() {
    let project =
        Project::new(&[("Dockerfile", "FROM busybox\nRUN echo x > /a && ln /a /b && mkfifo /pipe\n")]);
    built(&project, &["-o", "out", "--build-arg", "SOURCE_DATE_EPOCH=1000"]);
    let of = |name: &str| fs::symlink_metadata(project.path("out").join(name)).unwrap();
    assert_eq!((of("a").ino(), of("a").nlink()), (of("b").ino(), 2));
    assert_eq!([of("a").mtime(), of("bin/busybox").mtime(), of("etc").mtime(), of("lib").mtime()], [1000; 4]);
    assert_eq!(fs::read_link(project.path("out/lib")).unwrap(), Path::new("usr/lib"));
}

#[test]
fn a_tar_gets_the_files() {
    let project =
        Project::new(&[("Dockerfile", "FROM busybox\nRUN echo x > /a && chown 7:8 /a && ln /a /b\n")]);
    let piped = project
        .store
        .command()
        .args(["build", "-o", "-", "."])
        .current_dir(project.path(""))
        .output()
        .unwrap();
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
    fs::write(project.path("piped.tar"), &piped.stdout).unwrap();
    built(&project, &["-o", "type=tar,dest=file.tar"]);
    assert!(fs::read(project.path("file.tar")).unwrap() == piped.stdout);
    let list =
        ran(Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(project.path("piped.tar"))).stdout;
    assert!(
        list.contains("7/8") && list.contains(" b link to a\n") && list.contains(" bin/busybox"),
        "{list}"
    );
    let quiet = build(&project, &["-q", "-o", "-"]);
    assert!(!quiet.stdout.starts_with("sha256:") && !quiet.stdout.is_empty());
    for (option, why) in [("type=tar,dest=.", "is a directory"), ("type=local", "dest is required")] {
        assert!(build(&project, &["-o", option]).stderr.contains(why), "{option}");
    }
}

#[test]
fn several_outputs_of_one_build() {
    let project = files();
    built(
        &project,
        &[
            "-t",
            "app:1",
            "-o",
            "type=oci,dest=oci.tar",
            "-o",
            "type=docker,dest=docker.tar",
            "-o",
            "out",
            "-o",
            "type=oci,tar=false,dest=layout",
            "--load",
            "--metadata-file",
            "meta.json",
            "--iidfile",
            "iid",
        ],
    );
    let id = project.store.ok(&["images", "-q", "--no-trunc", "app:1"]);
    let metadata = json(&project.path("meta.json"));
    assert_eq!(metadata["containerimage.config.digest"], id.trim());
    assert_eq!(fs::read_to_string(project.path("iid")).unwrap(), id.trim());
    assert_eq!(metadata["image.name"], "docker.io/library/app:1");
    assert!(metadata["buildx.build.ref"].is_string());
    for tar in ["oci.tar", "docker.tar"] {
        let index = in_tar(&project.path(tar), "index.json");
        let entry = &index["manifests"][0];
        assert_eq!(entry["digest"], metadata["containerimage.digest"]);
        assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "1");
        assert_eq!(entry["annotations"]["io.containerd.image.name"], "docker.io/library/app:1");
        let manifest = blob(&project.path(tar), &entry["digest"]);
        assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
        project.store.ok(&["rmi", "app:1"]);
        project.store.ok(&["load", "-i", project.path(tar).to_str().unwrap()]);
        assert_eq!(project.store.ok(&["images", "-q", "--no-trunc", "app:1"]), id);
    }
    assert_eq!(
        json(&project.path("layout/index.json"))["manifests"][0]["digest"],
        metadata["containerimage.digest"]
    );
    assert!(project.path("out/tree/a").exists());
    // Written again, it is the same.
    let before = fs::read(project.path("oci.tar")).unwrap();
    built(&project, &["-t", "app:1", "-o", "type=oci,dest=oci.tar"]);
    assert!(fs::read(project.path("oci.tar")).unwrap() == before);
}

#[test]
fn layers_are_compressed_as_is_asked() {
    let project = files();
    for (option, suffix) in
        [("compression=uncompressed", "tar"), ("compression=zstd,compression-level=9", "tar+zstd")]
    {
        built(&project, &["-t", "app:1", "-o", &format!("type=oci,dest=x.tar,{option}")]);
        let tar = project.path("x.tar");
        let index = in_tar(&tar, "index.json");
        let manifest = blob(&tar, &index["manifests"][0]["digest"]);
        assert!(manifest["layers"][0]["mediaType"].as_str().unwrap().ends_with(suffix), "{manifest}");
        project.store.ok(&["load", "-i", tar.to_str().unwrap()]);
    }
    built(&project, &["-o", "type=docker,dest=x.tar,oci-mediatypes=false"]);
    let manifest =
        blob(&project.path("x.tar"), &in_tar(&project.path("x.tar"), "index.json")["manifests"][0]["digest"]);
    assert_eq!(manifest["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
}

#[test]
fn several_platforms() {
    let file = "FROM scratch\nARG TARGETARCH\nCOPY app-$TARGETARCH /app\n";
    let project = Project::new(&[("Dockerfile", file), ("app-amd64", "amd64"), ("app-arm64", "arm64")]);
    let both = "linux/amd64,linux/arm64";
    built(
        &project,
        &[
            "--platform",
            both,
            "-o",
            "out",
            "-o",
            "type=tar,dest=files.tar",
            "-o",
            "type=oci,dest=oci.tar",
            "--annotation",
            "index:title=both",
            "--annotation",
            "manifest[linux/arm64]:only=arm64",
            "--annotation",
            "index-descriptor,manifest-descriptor:of=entry",
            "--metadata-file",
            "meta.json",
            "--iidfile",
            "iid",
        ],
    );
    assert_eq!(fs::read_to_string(project.path("out/linux_arm64/app")).unwrap(), "arm64");
    assert_eq!(fs::read_to_string(project.path("out/linux_amd64/app")).unwrap(), "amd64");
    let list = ran(Command::new("tar").arg("-tf").arg(project.path("files.tar"))).stdout;
    assert_eq!(list, "linux_amd64/\nlinux_amd64/app\nlinux_arm64/\nlinux_arm64/app\n");
    let tar = project.path("oci.tar");
    let top = in_tar(&tar, "index.json");
    let root = &top["manifests"][0];
    assert_eq!(
        (&root["annotations"]["of"], top["manifests"].as_array().unwrap().len()),
        (&"entry".into(), 1)
    );
    let index = blob(&tar, &root["digest"]);
    assert_eq!(
        (&index["annotations"]["title"], &index["manifests"][1]["annotations"]["of"]),
        (&"both".into(), &"entry".into())
    );
    assert_eq!(index["manifests"][1]["platform"]["architecture"], "arm64");
    let only = |at: usize| blob(&tar, &index["manifests"][at]["digest"])["annotations"]["only"].clone();
    assert_eq!((only(0), only(1)), (Value::Null, "arm64".into()));
    let metadata = json(&project.path("meta.json"));
    assert_eq!(metadata["containerimage.digest"], root["digest"]);
    assert_eq!(fs::read_to_string(project.path("iid")).unwrap(), root["digest"].as_str().unwrap());
    built(&project, &["--platform", both, "-o", "type=local,dest=flat,platform-split=false"]);
    assert!(project.path("flat/app").exists());
    assert!(
        build(&project, &["--platform", both, "-o", "type=docker,dest=x"]).stderr.contains("oci exporter")
    );
}

#[test]
fn what_is_pushed_has_the_digest_of_the_archive() {
    let served = Served::start();
    let name = served.name("team/app:1");
    let project = files();
    built(
        &project,
        &[
            "-t",
            &name,
            "--push",
            "--annotation",
            "who=me",
            "--metadata-file",
            "pushed.json",
            "-o",
            "type=oci,dest=x.tar",
        ],
    );
    let digest = in_tar(&project.path("x.tar"), "index.json")["manifests"][0]["digest"].clone();
    let inspect = |at: &str| -> Value {
        serde_json::from_str(&project.store.ok(&["manifest", "inspect", at])).unwrap()
    };
    assert_eq!(inspect(&name)["annotations"]["who"], "me");
    assert_eq!(json(&project.path("pushed.json"))["containerimage.descriptor"]["digest"], digest);
    // The same image with other annotations is another manifest.
    built(&project, &["-t", &name, "--push", "--annotation", "who=you", "--metadata-file", "again.json"]);
    assert_eq!(inspect(&name)["annotations"]["who"], "you");
    let again = json(&project.path("again.json"))["containerimage.digest"].clone();
    assert_ne!(again, digest);
    // By its digest alone it has no name.
    let other = served.name("team/other");
    built(
        &project,
        &[
            "-o",
            &format!("type=image,name={other},push=true,push-by-digest=true"),
            "--metadata-file",
            "by.json",
        ],
    );
    let by = json(&project.path("by.json"))["containerimage.digest"].as_str().unwrap().to_owned();
    assert_eq!(project.store.run(&["pull", "-q", &format!("{other}@{by}")]).code, 0);
    assert_ne!(project.store.run(&["pull", "-q", &other]).code, 0);
}

/// The layers of the image at a registry.
fn layers(project: &Project, name: &str) -> Vec<Value> {
    let manifest: Value = serde_json::from_str(&project.store.ok(&["manifest", "inspect", name])).unwrap();
    manifest["layers"].as_array().unwrap().clone()
}

#[test]
fn plain_layers_are_pushed_where_that_is_asked_for() {
    let served = Served::start();
    let project = files();
    let kinds = |name: &str| -> Vec<String> {
        let of = |layer: &Value| layer["mediaType"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
        layers(&project, name).iter().map(of).collect()
    };
    let (plain, usual) = (served.name("app:plain"), served.name("app:usual"));
    built(&project, &["-t", &plain, "-o", "type=registry,compression=uncompressed"]);
    assert_eq!(kinds(&plain), ["tar", "tar"]);
    let diff_ids = project.store.ok(&["inspect", "-f", "{{json .RootFS.Layers}}", &plain]);
    let digests: Vec<Value> = layers(&project, &plain).iter().map(|layer| layer["digest"].clone()).collect();
    assert_eq!(serde_json::from_str::<Vec<Value>>(&diff_ids).unwrap(), digests);
    project.store.ok(&["tag", &plain, &usual]);
    project.store.ok(&["push", "-q", "--compression", "gzip", &usual]);
    assert_eq!(kinds(&usual), ["tar+gzip", "tar+gzip"]);
    project.store.ok(&["push", "-q", "--compression", "uncompressed", &usual]);
    assert_eq!(kinds(&usual), ["tar", "tar"]);
    // Another machine takes them, and sends them on as they came, or compressed.
    let other = crate::harness::TestStore::new();
    other.ok(&["pull", "-q", &plain]);
    let (on, zstd) = (served.name("app:on"), served.name("app:zstd"));
    for (to, how) in [(&on, vec![]), (&zstd, vec!["--compression", "zstd", "--force-compression"])] {
        other.ok(&["tag", &plain, to]);
        other.ok(&[&["push", "-q"], how.as_slice(), &[to]].concat());
    }
    assert_eq!((kinds(&on), kinds(&zstd)), (vec!["tar".into(); 2], vec!["tar+zstd".into(); 2]));
    // Layers that came compressed become plain, if that is forced.
    let third = crate::harness::TestStore::new();
    third.ok(&["pull", "-q", &zstd]);
    third.ok(&["push", "-q", "--compression", "uncompressed", "--force-compression", &zstd]);
    assert_eq!(
        layers(&project, &zstd).iter().map(|layer| layer["digest"].clone()).collect::<Vec<_>>(),
        digests
    );
    let said = build(&project, &["-t", &plain, "-o", "type=registry,compression=estargz"]);
    assert!(said.code == 1 && said.stderr.contains("estargz is not supported"), "{said:?}");
    assert!(project.store.fails(1, &["push", "--compression", "estargz", &plain]).contains("not supported"));
}

#[test]
fn what_is_not_to_stay_does_not() {
    let served = Served::start();
    let name = served.name("app:1");
    let project = files();
    let output = format!("type=image,name={name},push=true,store=false");
    let images = project.store.ok(&["images", "-aq"]);
    built(&project, &["-o", &output, "--metadata-file", "meta.json"]);
    assert_eq!(project.store.ok(&["images", "-aq"]), images);
    let digest = json(&project.path("meta.json"))["containerimage.digest"].clone();
    project.store.ok(&["pull", "-q", &name]);
    let pulled = project.store.ok(&["inspect", "-f", "{{index .RepoDigests 0}}", &name]);
    assert!(pulled.trim().ends_with(digest.as_str().unwrap()), "{pulled}");
    // What has that name here keeps it.
    project.write("tool", "another");
    built(&project, &["-o", &output, "--metadata-file", "meta.json"]);
    assert_eq!(project.store.ok(&["inspect", "-f", "{{index .RepoDigests 0}}", &name]), pulled);
    assert_ne!(json(&project.path("meta.json"))["containerimage.digest"], digest);
    // Of several platforms, too; and where nothing is pushed, nothing is made.
    let images = project.store.ok(&["images", "-aq"]);
    let file = "FROM scratch\nARG TARGETARCH\nCOPY tool /$TARGETARCH\n";
    project.write("Dockerfile", file);
    built(&project, &["--platform", "linux/amd64,linux/arm64", "-o", &output]);
    built(&project, &["-o", "type=image,store=false"]);
    assert_eq!(project.store.ok(&["images", "-aq"]), images);
    let list: Value = serde_json::from_str(&project.store.ok(&["manifest", "inspect", &name])).unwrap();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn options_of_images_have_an_effect_or_are_refused() {
    let project = files();
    for (options, why) in [
        (
            "type=image,name=x:1,push=true,push-by-digest=true",
            "can't push tagged ref docker.io/library/x:1 by digest",
        ),
        ("type=image,dangling-name-prefix=x", "dangling-name-prefix is not supported"),
        ("type=image,registry.insecure=perhaps", "non-bool value specified for registry.insecure"),
        ("type=image,unpack=perhaps", "non-bool value"),
    ] {
        let ran = build(&project, &["-o", options]);
        assert!(ran.code == 1 && ran.stderr.contains(why), "{options}: {ran:?}");
    }
    built(&project, &["-o", "type=image,\"name=one:1,two\",unpack=true,store=true,oci-mediatypes=false"]);
    let names = project.store.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(names.contains("one:1\n") && names.contains("two:latest\n"), "{names}");
}

#[test]
fn nothing_is_left_of_the_cache_alone() {
    let project = files();
    built(&project, &["-o", "type=cacheonly", "--metadata-file", "meta.json"]);
    assert_eq!(project.store.ok(&["images", "-aq"]).lines().count(), 1);
    assert!(json(&project.path("meta.json"))["containerimage.digest"].is_null());
    let again = built(&project, &["-o", "type=cacheonly"]);
    assert_eq!(again.stderr.matches("CACHED").count(), 2, "{again:?}");
}

/// What others make of our archives, where they are installed.
#[test]
fn others_load_the_archives() {
    let project = files();
    built(&project, &["-t", "app:1", "-o", "type=oci,dest=oci.tar", "-o", "type=docker,dest=docker.tar"]);
    let digest = in_tar(&project.path("oci.tar"), "index.json")["manifests"][0]["digest"].clone();
    for kind in ["oci-archive:oci.tar", "docker-archive:docker.tar"] {
        let Ok(out) = Command::new("skopeo").args(["inspect", kind]).current_dir(project.path("")).output()
        else {
            println!("skipped: there is no skopeo");
            return;
        };
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{kind}: {}", String::from_utf8_lossy(&out.stderr));
        if kind.starts_with("oci") {
            assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["Digest"], digest);
        }
    }
}
