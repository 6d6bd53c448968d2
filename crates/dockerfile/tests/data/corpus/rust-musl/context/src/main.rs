use std::os::unix::fs::MetadataExt;

fn main() {
    let user = std::fs::metadata("/proc/self").unwrap().uid();
    println!("tool 3: {} as {user}", std::env::args().nth(1).unwrap());
}
