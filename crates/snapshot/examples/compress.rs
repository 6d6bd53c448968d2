//! Compresses a file by each method and says how fast and how small: `compress FILE [THREADS]`.

use std::fs::File;
use std::io::{self, Write};
use std::time::Instant;

use oci::HashingWriter;
use snapshot::compress::Method;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("compress FILE [THREADS]")?;
    let threads = std::env::args().nth(2).map_or(Ok(2), |n| n.parse())?;
    for method in ["gzip:1", "gzip:2", "gzip:4", "gzip:6", "gzip:9", "zstd:1", "zstd:3", "zstd:9"] {
        let started = Instant::now();
        let mut out = method.parse::<Method>()?.writer(HashingWriter::new(io::sink()), threads)?;
        let size = io::copy(&mut File::open(&path)?, &mut out)? as f64;
        let (_, digest, len) = out.finish()?.finish();
        let speed = size / 1e6 / started.elapsed().as_secs_f64();
        writeln!(io::stdout(), "{method}: {speed:.0} MB/s, {:.3}, {}", len as f64 / size, digest.short())?;
    }
    Ok(())
}
