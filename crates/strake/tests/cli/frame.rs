//! The command line itself: what is printed where, exit codes, unknown words.

use crate::harness::{TestImage, TestStore};

#[test]
fn version_is_said_as_docker_says_it() {
    let store = TestStore::new();
    let expected = format!("strake version {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(store.ok(&["--version"]), expected);
    assert_eq!(store.ok(&["-v"]), expected);
    assert_eq!(
        store.ok(&["version", "-f", "{{.Server.Version}}"]),
        format!("{}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn unknown_words_have_dockers_exit_codes_and_a_suggestion() {
    let store = TestStore::new();
    assert!(store.fails(1, &["imags"]).contains("Did you mean: "));
    assert!(store.fails(1, &["image", "nonsense"]).contains("unknown command: nonsense"));
    assert!(store.fails(125, &["images", "--nope"]).contains("--nope"));
    assert!(store.fails(125, &["images", "--filter", "x"]).contains("expected name=value"));
    assert!(store.fails(1, &["images", "a", "b"]).contains("'b'"));
    assert!(store.fails(1, &["rmi"]).contains("<IMAGE>"));
    assert!(store.fails(1, &["tag", "a"]).contains("TARGET_IMAGE"));
}

#[test]
fn help_is_data() {
    let store = TestStore::new();
    for args in [vec!["--help"], vec!["image", "--help"], vec!["image"], vec!["images", "--help"]] {
        let ran = store.run(&args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
        assert!(ran.stdout.contains("Usage: strake"), "{args:?}: {}", ran.stdout);
    }
}

#[test]
fn a_closed_pipe_is_quiet() {
    let store = TestStore::new();
    store.put(&TestImage::new(&["a:1"]).layer("a", 10));
    let script = r#""$0" images | true; echo "${PIPESTATUS[0]}""#;
    for _ in 0..5 {
        let mut command = store.command();
        let strake = command.get_program().to_owned();
        command = std::mem::replace(&mut command, std::process::Command::new("bash"));
        let output = std::process::Command::new("bash")
            .args(["-c", script])
            .arg(&strake)
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .output()
            .unwrap();
        let code = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(code == "0" || code == "141", "{code}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[test]
fn the_root_option_goes_before_and_behind_the_verb() {
    let store = TestStore::new();
    store.put(&TestImage::new(&["a:1"]).layer("a", 10));
    let root = store.root();
    let root = root.to_str().unwrap();
    let other = TestStore::new();
    assert_eq!(other.ok(&["images", "-q"]), "");
    assert_eq!(other.ok(&["--root", root, "images", "-q"]), store.ok(&["images", "-q"]));
    assert_eq!(other.ok(&["images", "-q", "--root", root]), store.ok(&["images", "-q"]));
}

#[test]
fn a_store_of_the_future_is_refused() {
    let store = TestStore::new();
    store.ok(&["images"]);
    std::fs::write(store.root().join("version"), "999\n").unwrap();
    assert!(store.fails(1, &["images"]).contains("use a newer strake"));
}

#[test]
fn shells_complete_it() {
    let store = TestStore::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(store.ok(&["completion", shell]).contains("strake"), "{shell}");
    }
}
