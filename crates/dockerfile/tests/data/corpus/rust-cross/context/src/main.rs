fn main() {
    println!("crossed from {}", env!("CARGO_MANIFEST_DIR"));
}
