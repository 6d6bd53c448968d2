//! Times the copy engine against `cp -a`: many small files (20,000 in 400 MB), cold; the same with one file changed
//! and the earlier layer at hand; one large file.
//!
//! Run as `cargo run --release -p strake-snapshot --example copy_bench -- DIR [PAIRS]`. Every run writes to a new
//! directory below DIR and nothing is removed between runs: file systems are slow to reuse what was just removed.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use snapshot::Mtime;
use snapshot::copy::{Placing, Plan, Source, Visit, Writing, walk};

fn main() {
    let mut args = std::env::args().skip(1);
    let top = PathBuf::from(args.next().expect("usage: copy_bench DIR [PAIRS]"));
    let pairs = args.next().map_or(5, |n| n.parse().expect("PAIRS is a number"));
    let many = top.join("many");
    if !many.exists() {
        println!("making {} ...", many.display());
        make_many(&many);
    }
    let new = |name: &str| {
        let path =
            top.join(format!("{name}-{}-{:?}", std::process::id(), Instant::now()).replace([' ', ':'], ""));
        std::fs::create_dir_all(&path).expect("a directory can be made");
        path
    };

    println!("20,000 files, cold:");
    let mut last = None;
    for _ in 0..pairs {
        let cp = cp(&many, &new("cp"));
        let out = new("layer").join("fs");
        std::fs::create_dir(&out).expect("a directory can be made");
        let (ours, _) = copy(&many, &out, None);
        report(cp, ours, "");
        last = Some(out);
    }

    println!("20,000 files, one changed:");
    let changed = many.join("d007/f00042");
    for n in 0..pairs {
        std::fs::write(&changed, format!("changed {n} {}\n", std::process::id()))
            .expect("a file can be written");
        let cp = cp(&many, &new("cp"));
        let out = new("layer").join("fs");
        std::fs::create_dir(&out).expect("a directory can be made");
        let (ours, linked) = copy(&many, &out, last.as_deref());
        report(cp, ours, &format!("{linked} linked"));
        last = Some(out);
    }

    let large = top.join("large");
    if !large.exists() {
        std::fs::create_dir(&large).expect("a directory can be made");
        let mut file = std::fs::File::create(large.join("file")).expect("a file can be made");
        let block: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for _ in 0..1024 {
            file.write_all(&block).expect("a file can be written");
        }
    }
    println!("one file of 1 GiB:");
    for _ in 0..pairs.min(3) {
        let cp = cp(&large, &new("cp"));
        let out = new("layer").join("fs");
        std::fs::create_dir(&out).expect("a directory can be made");
        let (ours, _) = copy(&large, &out, None);
        report(cp, ours, "");
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("");
    println!("peak memory: {}", peak.trim_start_matches("VmHWM:").trim());
}

fn report(cp: Duration, ours: Duration, note: &str) {
    let ratio = ours.as_secs_f64() / cp.as_secs_f64();
    println!("  cp -a {:.3} s  copy {:.3} s  ratio {ratio:.2}  {note}", cp.as_secs_f64(), ours.as_secs_f64());
}

fn cp(from: &Path, to: &Path) -> Duration {
    let start = Instant::now();
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success());
    start.elapsed()
}

fn copy(from: &Path, out: &Path, previous: Option<&Path>) -> (Duration, usize) {
    let start = Instant::now();
    let root = runtime::beneath::open_root(from).expect("the source opens");
    let source = Source::host(root.as_fd(), "the build context");
    let found = walk(&source, b"", &|_, _| Visit::Keep).expect("the source can be listed");
    let walked = start.elapsed();
    let mut plan =
        Plan::new(None, Mtime { sec: 1_700_000_000, nsec: 0 }, None).expect("there is nothing underneath");
    let number = plan.add_source(source);
    let top = source.lstat(b"").expect("the source is there").expect("the source is there");
    plan.make_dir(b"app", 0o755, snapshot::Owner::ROOT).expect("a directory can be planned");
    let how = Placing { source: number, owner: None, mode: None, digest: &|_, _| None };
    plan.place_content(&found, &top, b"app", &how).expect("the files can be planned");
    let planned = start.elapsed();
    let how = Writing { out, mode: runtime::Mode::Root, previous, stop: &Default::default() };
    let written = plan.write(&how).expect("the layer can be written");
    let all = start.elapsed();
    if std::env::var_os("VERBOSE").is_some() {
        println!("    walk {walked:?}, plan {:?}, write {:?}", planned - walked, all - planned);
    }
    assert!(written.stat.is_some());
    (all, written.linked)
}

fn make_many(many: &Path) {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    for dir in 0..200 {
        let dir_path = many.join(format!("d{dir:03}"));
        std::fs::create_dir_all(&dir_path).expect("a directory can be made");
        for file in 0..100 {
            let len = 1000 + random() as usize % 39_000;
            let bytes: Vec<u8> = (0..len).map(|_| random() as u8).collect();
            std::fs::write(dir_path.join(format!("f{file:05}")), bytes).expect("a file can be written");
        }
    }
}
