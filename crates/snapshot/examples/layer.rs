//! A layer by hand: applies a tar to a directory, makes one of a directory, and says how long it took.
//!
//! `layer [--enter] apply TAR DIR [LOWER...]` · `layer [--enter] diff DIR TAR|-` · `layer [--enter] digest DIR`.
//! DIR is the layer directory itself (its sidecar goes beside it), made if need be. With `--enter` it runs in the
//! namespaces that strake would use.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Instant;

use snapshot::{ApplyOptions, Depth, DiffOptions, apply, diff, tree_digest};

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut ids = runtime::Mode::Root;
    if args.first().is_some_and(|arg| arg == "--enter") {
        args.remove(0);
        ids = runtime::enter().unwrap_or_else(|e| fail(&e));
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let start = Instant::now();
    match args[..] {
        ["apply", tar, dir, ref lowers @ ..] => {
            std::fs::create_dir_all(dir).unwrap_or_else(|e| fail(&e));
            let options = ApplyOptions {
                lowers: lowers.iter().map(PathBuf::from).collect::<Vec<_>>().into(),
                ..ApplyOptions::new(ids)
            };
            let file = File::open(tar).unwrap_or_else(|e| fail(&e));
            let applied = apply(BufReader::new(file), Path::new(dir), &options).unwrap_or_else(|e| fail(&e));
            report(start, &applied.stat);
            for line in applied.notes.lines() {
                eprintln!("warning: {line}");
            }
        }
        ["diff", dir, tar] => {
            let stat = match tar {
                "-" => diff(Path::new(dir), std::io::sink(), &DiffOptions::default()),
                _ => {
                    let file = File::create(tar).unwrap_or_else(|e| fail(&e));
                    diff(Path::new(dir), file, &DiffOptions::default())
                }
            };
            report(start, &stat.unwrap_or_else(|e| fail(&e)));
        }
        ["digest", dir] => {
            let digest = tree_digest(Path::new(dir), Depth::Content).unwrap_or_else(|e| fail(&e));
            println!("{digest}");
        }
        _ => fail(&"usage: layer [--enter] apply TAR DIR [LOWER...] | diff DIR TAR|- | digest DIR"),
    }
}

fn report(start: Instant, stat: &snapshot::LayerStat) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{} {} bytes, {} inodes", stat.diff_id, stat.tar_size, stat.inodes);
    eprintln!(
        "{seconds:.3} s, {:.0} entries/s, {:.0} MB/s",
        stat.inodes as f64 / seconds,
        stat.tar_size as f64 / seconds / 1e6
    );
}

fn fail(error: &dyn std::fmt::Display) -> ! {
    eprintln!("{error}");
    std::process::exit(1)
}
