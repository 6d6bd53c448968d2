//! Caches that machines share: what is taken from them, what is sent, and what becomes of a build whose cache is of no
//! use. Two stores are two machines.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Ran, TestStore, ran};
use crate::project::busybox_tar;
use crate::pull::registry::Registry;
use crate::s3::{KEY, S3, SECRET};
use crate::served::Served;

/// A context, a registry with the base image `app`, and a registry for caches and images.
struct Bed {
    context: tempfile::TempDir,
    base: Registry,
    /// Digest of the base's layer.
    layer: String,
    shared: Served,
}

impl Bed {
    fn new() -> Bed {
        let context = tempfile::Builder::new().prefix("strake-context-").tempdir().unwrap();
        let base = Registry::new();
        let tar = busybox_tar(context.path().parent().unwrap());
        let tar = fs::read(tar).unwrap();
        let mut gzip = snapshot::compress::GzipWriter::new(Vec::new(), 1, 1);
        gzip.write_all(&tar).unwrap();
        let layer = base.blob("application/vnd.oci.image.layer.v1.tar+gzip", &gzip.finish().unwrap());
        let diff_id = oci::Digest::sha256(&tar).to_string();
        let architecture = oci::Platform::host().architecture;
        base.tag(
            "latest",
            &base.image_of(&architecture, json!({}), &[diff_id], std::slice::from_ref(&layer)),
        );
        let layer = layer["digest"].as_str().unwrap().to_owned();
        let bed = Bed { context, base, layer, shared: Served::start() };
        bed.write(
            "Dockerfile",
            &format!(
                "FROM {0} AS tools\nCOPY tool /tool\nRUN cat /tool > /made; echo tools > /other\n\
             FROM {0}\nCOPY f /f\nRUN cat /f /f > /twice\nCOPY --from=tools /made /made\nENV A=1\n",
                bed.base.name("")
            ),
        );
        bed.write("tool", "a tool");
        bed.write("f", "a file");
        bed
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.context.path().join(name), text).unwrap();
    }

    fn build(&self, machine: &TestStore, args: &[&str]) -> Ran {
        ran(machine.command().arg("build").args(args).arg(".").current_dir(self.context.path()))
    }

    #[track_caller]
    fn built(&self, machine: &TestStore, args: &[&str]) -> String {
        let ran = self.build(machine, args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran.stderr
    }

    /// The options of a cache at the registry.
    fn cache(&self, rest: &str) -> String {
        format!("type=registry,ref={}{rest}", self.shared.name("cache/app"))
    }

    /// Blobs of the base that were fetched since the last call.
    fn base_layers(&self) -> usize {
        self.base.asked().iter().filter(|line| line.contains(&self.layer)).count()
    }
}

/// How many steps ran, and how many were cached.
fn counts(said: &str) -> (usize, usize) {
    let lines: Vec<&str> = said.lines().collect();
    let steps = lines.windows(2).filter(|pair| {
        pair[0]
            .split_once(" [")
            .is_some_and(|(number, name)| number.starts_with('#') && !name.starts_with("internal]"))
            // A base is no step that runs.
            && !pair[0].contains("] FROM ")
    });
    let (cached, ran): (Vec<_>, Vec<_>) = steps.partition(|pair| pair[1].ends_with(" CACHED"));
    (ran.len(), cached.len())
}

fn id(machine: &TestStore, name: &str) -> String {
    machine.ok(&["inspect", "-f", "{{.Id}}", name]).trim_end().to_owned()
}

#[test]
fn a_second_machine_needs_no_byte_of_the_base() {
    let bed = Bed::new();
    let (one, two) = (TestStore::new(), TestStore::new());
    let (image, cache) = (bed.shared.name("app:1"), bed.cache(",mode=max"));
    bed.built(&one, &["-t", &image, "--push", "--cache-to", &cache]);
    assert_eq!(bed.base_layers(), 1);
    let said = bed.built(&two, &["-t", &image, "--push", "--cache-from", &bed.cache("")]);
    assert_eq!(counts(&said), (0, 5), "{said}");
    assert_eq!(bed.base_layers(), 0, "{said}");
    // Nothing of it is here, and so there is no image.
    assert!(two.store().snapshots().unwrap().is_empty());
    assert_eq!(two.ok(&["images", "-q"]), "");
    // It is the same image, and whole.
    let three = TestStore::new();
    three.ok(&["pull", "-q", &image]);
    assert_eq!(id(&three, &image), {
        one.ok(&["tag", &image, "kept"]);
        id(&one, "kept")
    });
    assert_eq!(three.ok(&["run", "--rm", &image, "cat", "/twice"]), "a filea file");
}

#[test]
fn an_image_that_stays_has_all_its_layers() {
    let bed = Bed::new();
    let (one, two) = (TestStore::new(), TestStore::new());
    bed.built(&one, &["-t", "t", "--cache-to", &bed.cache("")]);
    assert_eq!(bed.base_layers(), 1);
    // mode=min: what the image has, and not what only went into it.
    let said = bed.built(&two, &["-t", "t", "--cache-from", &bed.cache("")]);
    assert_eq!(counts(&said), (2, 3), "{said}");
    assert_eq!((id(&two, "t"), bed.base_layers()), (id(&one, "t"), 1));
    assert_eq!(two.ok(&["run", "--rm", "t", "cat", "/made"]), "a tool");
    // From now on it knows by itself, and asks nobody.
    let said = bed.built(&two, &["-t", "again"]);
    assert_eq!((counts(&said), bed.base.asked().len()), ((0, 5), 0), "{said}");
    assert_eq!(id(&two, "again"), id(&one, "t"));
    two.ok(&["system", "check"]);
}

#[test]
fn a_changed_step_runs_on_what_comes_from_the_cache() {
    let bed = Bed::new();
    let (one, two) = (TestStore::new(), TestStore::new());
    bed.built(&one, &["-t", "t", "--cache-to", &bed.cache(",mode=max,compression=zstd")]);
    bed.write("f", "another");
    let said = bed.built(&two, &["-t", "t", "--cache-from", &bed.cache("")]);
    assert_eq!(counts(&said), (3, 2), "{said}");
    assert_eq!(two.ok(&["run", "--rm", "t", "cat", "/twice", "/made"]), "anotheranothera tool");
}

#[test]
fn what_is_there_already_is_not_sent() {
    let bed = Bed::new();
    let one = TestStore::new();
    let cache = bed.cache(",mode=max");
    let digest = |said: &str| {
        said.lines()
            .find_map(|line| line.split_once("writing cache manifest "))
            .map(|(_, rest)| rest.to_owned())
    };
    assert!(digest(&bed.built(&one, &["-t", "t", "--cache-to", &cache])).is_some());
    let said = bed.built(&one, &["-t", "t", "--cache-to", &cache]);
    assert!(said.contains("the cache there is the same"), "{said}");
    // As a machine that had it from there finds it.
    let two = TestStore::new();
    let said = bed.built(&two, &["-t", "t", "--cache-from", &bed.cache(""), "--cache-to", &cache]);
    assert!(said.contains("the cache there is the same"), "{said}");
}

#[test]
fn caches_in_a_directory_and_within_the_image() {
    let bed = Bed::new();
    let one = TestStore::new();
    let dir = one.dir().join("cache");
    let to = format!("type=local,dest={},mode=max,image-manifest=false", dir.display());
    bed.built(&one, &["-t", "t", "--cache-to", &to]);
    let from = format!("type=local,src={}", dir.display());
    let two = TestStore::new();
    assert_eq!(counts(&bed.built(&two, &["-t", "t", "--cache-from", &from])), (0, 5));
    // Inline: the image itself is the cache.
    let image = bed.shared.name("inline:1");
    let said = bed.built(&one, &["-t", &image, "--push", "--build-arg", "BUILDKIT_INLINE_CACHE=1"]);
    assert_eq!(counts(&said), (0, 5));
    let config: Value = serde_json::from_str(&one.ok(&["inspect", &image])).unwrap();
    assert!(config.is_array());
    let three = TestStore::new();
    let said = bed.built(&three, &["-t", "t", "--cache-from", &image]);
    assert_eq!(counts(&said), (2, 3), "{said}");
    assert_eq!(id(&three, "t"), id(&two, "t"));
}

#[test]
fn a_cache_in_a_bucket() {
    let bed = Bed::new();
    let s3 = S3::start();
    let (one, two) = (TestStore::new(), TestStore::new());
    let key = format!(",access_key_id={KEY},secret_access_key={SECRET}");
    let to = format!("{},prefix=p/,name=a;b,mode=max{key}", s3.cache());
    let said = bed.built(&one, &["-t", "t", "--cache-to", &to]);
    assert!(!said.contains("WARNING"), "{said}");
    assert!(!said.contains(SECRET));
    let keys: Vec<String> = s3.objects.lock().unwrap().keys().cloned().collect();
    assert_eq!(keys.iter().filter(|key| key.starts_with("p/blobs/sha256:")).count(), 5, "{keys:?}");
    assert_eq!(keys[5..], ["p/manifests/a", "p/manifests/b"]);
    s3.asked();
    // The same again: questions, and nothing sent.
    bed.built(&one, &["-t", "t", "--cache-to", &to]);
    let asked = s3.asked();
    assert!(asked.iter().all(|line| !line.starts_with("PUT")) && asked.len() == 6, "{asked:?}");
    // Keys of the environment.
    let from = format!("{},prefix=p/,name=b", s3.cache());
    let mut command = two.command();
    command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
    let said =
        ran(command.args(["build", "-t", "t", "--cache-from", &from, "."]).current_dir(bed.context.path()));
    assert_eq!((said.code, counts(&said.stderr)), (0, (0, 5)), "{}", said.stderr);
    assert_eq!(id(&two, "t"), id(&one, "t"));
    // A wrong key, or none, is warned of.
    for (wrong, code) in
        [(",access_key_id=x,secret_access_key=y", "InvalidAccessKeyId"), ("", "AccessDenied")]
    {
        let said = bed.built(&one, &["-t", "t", "--cache-from", &format!("{from}{wrong}")]);
        assert!(said.contains("WARNING") && said.contains(code), "{said}");
    }
}

#[test]
fn a_cache_that_is_not_there_is_done_without() {
    let bed = Bed::new();
    let one = TestStore::new();
    // A port that nobody listens at.
    let gone = "127.0.0.1:1/cache";
    let said = bed.built(&one, &["-t", "t", "--cache-from", gone, "--cache-to", gone]);
    assert_eq!(counts(&said), (5, 0), "{said}");
    assert_eq!(said.matches("WARNING").count(), 2, "{said}");
    assert!(said.contains("127.0.0.1:1 cannot be reached"), "{said}");
    // One that is not there yet is no warning.
    let said = bed.built(&one, &["-t", "t", "--cache-from", &bed.cache("")]);
    assert!(!said.contains("WARNING"), "{said}");
    // Who wants a cache or nothing says so.
    let to = format!("type=registry,ref={gone},ignore-error=false");
    let failed = bed.build(&one, &["-t", "t", "--cache-to", &to]);
    assert!(
        failed.code != 0 && failed.stderr.contains("the cache could not be written"),
        "{}",
        failed.stderr
    );
    let failed = bed.build(&one, &["-t", "t", "--cache-to", "type=gha"]);
    assert!(failed.code != 0 && failed.stderr.contains("gha"), "{}", failed.stderr);
}

/// Changes the cache of a layout: its config, as JSON, and its blobs.
fn poison(dir: &Path, change: impl FnOnce(&mut Value)) {
    let read = |path: &Path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let blob = |digest: &Value| dir.join("blobs").join(digest.as_str().unwrap().replace(':', "/"));
    let put = |value: &Value| {
        let bytes = value.to_string().into_bytes();
        let digest = oci::Digest::sha256(&bytes);
        fs::write(dir.join("blobs/sha256").join(digest.hex()), &bytes).unwrap();
        (Value::from(digest.to_string()), Value::from(bytes.len()))
    };
    let mut index = read(&dir.join("index.json"));
    let mut manifest = read(&blob(&index["manifests"][0]["digest"]));
    let mut config = read(&blob(&manifest["config"]["digest"]));
    change(&mut config);
    (manifest["config"]["digest"], manifest["config"]["size"]) = put(&config);
    (index["manifests"][0]["digest"], index["manifests"][0]["size"]) = put(&manifest);
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
}

#[test]
fn a_cache_that_lies_is_found_out() {
    let bed = Bed::new();
    let one = TestStore::new();
    let dir = one.dir().join("cache");
    let fresh = || {
        let _ = fs::remove_dir_all(&dir);
        bed.built(&one, &["-t", "t", "--cache-to", &format!("type=local,dest={},mode=max", dir.display())]);
    };
    let from = format!("type=local,src={}", dir.display());
    let check = |what: &str, warned: &str| {
        let two = TestStore::new();
        let said = bed.built(&two, &["-t", "t", "--cache-from", &from]);
        assert!(said.contains("WARNING") && said.contains(warned), "{what}: {said}");
        assert_eq!(two.ok(&["run", "--rm", "t", "cat", "/twice", "/made"]), "a filea filea tool", "{what}");
        let said = bed.built(&two, &["-t", "t"]);
        assert_eq!(counts(&said), (0, 5), "{what}: {said}");
    };
    // Each key leads to another step's layer: the DiffID of what comes is not what was promised.
    fresh();
    poison(&dir, |config| {
        let layers = config["layers"].as_array_mut().unwrap();
        let first = layers[0]["annotations"]["diffID"].clone();
        for at in 0..layers.len() {
            let next =
                layers.get(at + 1).map_or(first.clone(), |layer| layer["annotations"]["diffID"].clone());
            layers[at]["annotations"]["diffID"] = next;
        }
    });
    check("other layers", "is not used any more");
    // Blobs that are gone, cut, or something else.
    for (what, change) in [
        ("gone", (|path| fs::remove_file(path).unwrap()) as fn(&Path)),
        ("cut", |path| fs::write(path, &fs::read(path).unwrap()[..20]).unwrap()),
        ("changed", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[30] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
    ] {
        fresh();
        poison(&dir, |config| {
            for layer in config["layers"].as_array().unwrap() {
                change(&dir.join("blobs").join(layer["blob"].as_str().unwrap().replace(':', "/")));
            }
        });
        check(what, "is not used any more");
    }
    // Documents that are none.
    fresh();
    poison(&dir, |config| *config = Value::from("no cache"));
    check("no document", "a cache is not used");
    fresh();
    poison(&dir, |config| config["padding"] = Value::from("x".repeat(20 << 20)));
    check("a large document", "more than the");
    fs::write(dir.join("index.json"), "{").unwrap();
    check("no index", "a cache is not used");
    // Records that lead nowhere are none.
    fresh();
    poison(&dir, |config| {
        config["records"] =
            json!([{ "digest": oci::Digest::sha256(b"").to_string(), "layers": [{ "layer": 99 }] }])
    });
    let said = bed.built(&TestStore::new(), &["-t", "t", "--cache-from", &from]);
    assert_eq!(counts(&said), (5, 0), "{said}");
}

#[test]
fn cache_mounts_go_along() {
    let bed = Bed::new();
    bed.write(
        "Dockerfile",
        &format!(
            "FROM {}\nARG N\nRUN --mount=type=cache,id=down,target=/c,mode=0700 ls -A /c > /seen; \
         echo $N > /c/$N; ln -sf $N /c/link; chmod 640 /c/$N\n",
            bed.base.name("")
        ),
    );
    let (one, two) = (TestStore::new(), TestStore::new());
    let to = bed.cache(",mounts=down;unheard-of");
    let said = bed.built(&one, &["-t", "t", "--build-arg", "N=1", "--cache-to", &to]);
    assert!(!said.contains("WARNING") && said.contains("there is no cache mount unheard-of"), "{said}");
    bed.built(&two, &["-t", "t", "--build-arg", "N=2", "--cache-from", &bed.cache(""), "--cache-to", &to]);
    assert_eq!(two.ok(&["run", "--rm", "t", "cat", "/seen"]), "1\nlink\n");
    // What is here is not overwritten, and what is asked for alone comes.
    let said = bed.built(&one, &["-t", "t", "--build-arg", "N=3", "--cache-from", &bed.cache("")]);
    assert_eq!(one.ok(&["run", "--rm", "t", "cat", "/seen"]), "1\nlink\n", "{said}");
    let three = TestStore::new();
    bed.built(&three, &["-t", "t", "--build-arg", "N=3", "--cache-from", &bed.cache(",mounts=other")]);
    assert_eq!(three.ok(&["run", "--rm", "t", "cat", "/seen"]), "");
    // Modes and links are kept; a machine that does not use the mount leaves it as it is.
    let four = TestStore::new();
    bed.write("Dockerfile.other", &format!("FROM {}\nRUN true\n", bed.base.name("")));
    bed.built(&four, &["-t", "t", "-f", "Dockerfile.other", "--cache-to", &to]);
    bed.write("Dockerfile", &format!(
        "FROM {}\nRUN --mount=type=cache,id=down,target=/c,mode=0700 stat -c '%n %a %F' /c /c/* > /seen; readlink /c/link >> /seen\n",
        bed.base.name("")
    ));
    bed.built(&four, &["-t", "t", "--cache-from", &bed.cache("")]);
    assert_eq!(
        four.ok(&["run", "--rm", "t", "cat", "/seen"]),
        "/c 700 directory\n/c/1 640 regular file\n/c/2 640 regular file\n/c/link 777 symbolic link\n2\n"
    );
    // One that is here and empty is filled, too.
    let five = TestStore::new();
    let list = |store: &TestStore, n: &str, from: &[&str]| {
        bed.write(
            "Dockerfile",
            &format!(
                "FROM {}\nRUN --mount=type=cache,id=down,target=/c,mode=0700 ls /c > /seen; : {n}\n",
                bed.base.name("")
            ),
        );
        bed.built(store, &[&["-t", "t"], from].concat());
        store.ok(&["run", "--rm", "t", "cat", "/seen"])
    };
    assert_eq!(list(&five, "without", &[]), "");
    assert_eq!(list(&five, "with", &["--cache-from", &bed.cache("")]), "1\n2\nlink\n");
    assert_eq!(list(&five, "again", &[]), "1\n2\nlink\n");
}
