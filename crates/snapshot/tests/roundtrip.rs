//! `apply` and `diff` are each other's inverse: on canonical tars byte for byte, on layer directories file by file.

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use snapshot::{Depth, Entry, Kind, Mtime, Owner, tree_digest};
use support::*;

/// What a path of the tree is to be.
#[derive(Clone, Debug)]
enum Node {
    Directory(Meta, bool),
    File(Meta, Vec<u8>),
    Symlink(Meta, Vec<u8>),
    Fifo(Meta),
    Device(Meta, bool, u32, u32),
    /// The n-th of the files so far.
    Link(usize),
    Whiteout,
}

#[derive(Clone, Debug)]
struct Meta {
    mode: u32,
    owner: Owner,
    mtime: Mtime,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        // Few letters, so that paths share directories; the dot and the dash sort before the slash.
        6 => prop::collection::vec(prop::sample::select(&b"ab.-0"[..]), 1..4),
        1 => prop::collection::vec(1u8..=255, 1..20),
        1 => (90usize..=255).prop_map(|n| vec![b'n'; n]),
    ]
    .prop_filter("a name of a file, and of no whiteout", |name| {
        !name.contains(&b'/') && name != b"." && name != b".." && !name.starts_with(b".wh.")
    })
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(name(), 1..5).prop_map(|names| names.join(&b'/'))
}

fn meta() -> impl Strategy<Value = Meta> {
    let id = || prop_oneof![3 => Just(0u32), 1 => 0u32..70_000, 1 => 2_097_150..2_097_154u32, 1 => any::<u32>().prop_map(|n| n.min(u32::MAX - 1))];
    // What ext4 can hold.
    let sec =
        prop_oneof![Just(0i64), 0..2_000_000_000i64, -2_147_483_648..0i64, 8_589_934_590..8_589_934_594i64];
    let nsec = prop_oneof![Just(0u32), 0..1_000_000_000u32];
    let key = prop_oneof![
        "user\\.[a-z%. ]{1,8}",
        Just("user.overlay.opaque".to_owned()),
        Just("user.overlay.overlay.x".to_owned()),
        Just("user.overlay.origin".to_owned()),
    ];
    let xattrs = prop::collection::btree_map(
        key.prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
        0..3,
    );
    (0u32..0o10000, id(), id(), sec, nsec, xattrs).prop_map(|(mode, uid, gid, sec, nsec, xattrs)| Meta {
        mode,
        owner: Owner { uid, gid },
        mtime: Mtime { sec, nsec },
        xattrs,
    })
}

fn node() -> impl Strategy<Value = Node> {
    let content = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 1..1500),
        (0usize..600_000).prop_map(|n| vec![7; n]),
        Just([vec![0; 200_000], vec![1], vec![0; 70_000]].concat()),
    ];
    let target = prop::collection::vec(1u8..=255, 1..150);
    prop_oneof![
        3 => (meta(), any::<bool>()).prop_map(|(m, opaque)| Node::Directory(m, opaque)),
        5 => (meta(), content).prop_map(|(m, c)| Node::File(m, c)),
        2 => (meta(), target).prop_map(|(m, t)| Node::Symlink(m, t)),
        1 => meta().prop_map(Node::Fifo),
        1 => (meta(), any::<bool>(), 1u32..4095, 0u32..1_048_575).prop_map(|(m, c, ma, mi)| Node::Device(m, c, ma, mi)),
        2 => (0usize..8).prop_map(Node::Link),
        1 => Just(Node::Whiteout),
    ]
}

/// A canonical tar of these nodes: parents that are missing are directories, what is below a file is left out.
fn canonical(nodes: BTreeMap<Vec<u8>, Node>) -> Vec<u8> {
    let mut tree: BTreeMap<Vec<u8>, Node> = BTreeMap::new();
    for (path, node) in nodes {
        let mut fits = true;
        for (at, byte) in path.iter().enumerate() {
            if *byte == b'/' && fits {
                let plain = Meta {
                    mode: 0o755,
                    owner: Owner::ROOT,
                    mtime: Mtime::default(),
                    xattrs: BTreeMap::new(),
                };
                let above = tree.entry(path[..at].to_vec()).or_insert(Node::Directory(plain, false));
                fits = matches!(above, Node::Directory(..));
            }
        }
        if fits && path.len() < 4000 {
            tree.entry(path).or_insert(node);
        }
    }
    let mut entries: BTreeMap<Vec<u8>, (Entry, Vec<u8>)> = BTreeMap::new();
    let mut files: Vec<Vec<u8>> = Vec::new();
    let put = |entries: &mut BTreeMap<_, _>, path: &[u8], kind: Kind, meta: Meta, content: Vec<u8>| {
        let is_plain = matches!(kind, Kind::File { .. } | Kind::Directory);
        let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { meta.mode };
        let xattrs = if is_plain { meta.xattrs } else { BTreeMap::new() };
        let entry = Entry { path: path.to_vec(), kind, mode, owner: meta.owner, mtime: meta.mtime, xattrs };
        entries.insert(path.to_vec(), (entry, content));
    };
    for (path, node) in tree {
        let (directory, base) = match path.iter().rposition(|b| *b == b'/') {
            Some(slash) => (&path[..=slash], &path[slash + 1..]),
            None => (&b""[..], &path[..]),
        };
        match node {
            Node::Directory(meta, opaque) => {
                put(&mut entries, &path, Kind::Directory, meta, Vec::new());
                if opaque {
                    let mark = [&path[..], b"/.wh..wh..opq"].concat();
                    entries.insert(mark.clone(), (Entry::new(mark, Kind::File { size: 0 }, 0), Vec::new()));
                }
            }
            Node::File(meta, content) => {
                files.push(path.clone());
                put(&mut entries, &path, Kind::File { size: content.len() as u64 }, meta, content);
            }
            Node::Symlink(meta, target) => put(&mut entries, &path, Kind::Symlink(target), meta, Vec::new()),
            Node::Fifo(meta) => put(&mut entries, &path, Kind::Fifo, meta, Vec::new()),
            Node::Device(meta, true, major, minor) => {
                put(&mut entries, &path, Kind::CharDevice { major, minor }, meta, Vec::new())
            }
            Node::Device(meta, false, major, minor) => {
                put(&mut entries, &path, Kind::BlockDevice { major, minor }, meta, Vec::new())
            }
            Node::Link(n) => {
                if let Some(first) = files.get(n) {
                    let (mut entry, _) = entries[first].clone();
                    entry.kind = Kind::HardLink(first.clone());
                    entry.path = path.clone();
                    entry.xattrs.clear();
                    entries.insert(path, (entry, Vec::new()));
                }
            }
            Node::Whiteout if base.len() < 250 => {
                let mark = [directory, b".wh.", base].concat();
                entries.insert(mark.clone(), (Entry::new(mark, Kind::File { size: 0 }, 0), Vec::new()));
            }
            Node::Whiteout => {}
        }
    }
    let entries: Vec<(Entry, &[u8])> = entries.values().map(|(e, c)| (e.clone(), c.as_slice())).collect();
    tar(&entries)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn diff_of_apply_is_the_tar(nodes in prop::collection::btree_map(path(), node(), 0..20)) {
        if is_root() {
            let bytes = canonical(nodes);
            let (mut layers, fs, applied) = apply_one(&bytes).unwrap();
            prop_assert!(applied.notes.lines().is_empty());
            let again = diff_bytes(&fs);
            prop_assert!(again == bytes, "{}", first_difference(&again, &bytes));
            // And apply of diff is the directory.
            let (copy, applied_again) = layers.push(&again);
            prop_assert_eq!(tree(&copy), tree(&fs));
            prop_assert_eq!(&applied_again.stat, &applied.stat);
            let digest = |fs| tree_digest(fs, Depth::Content).unwrap();
            prop_assert_eq!(digest(&copy), digest(&fs));
            let again = layers.empty();
            let options = snapshot::ApplyOptions { tree_digest: true, ..snapshot::ApplyOptions::new(layers.ids) };
            let applied = snapshot::apply(&bytes[..], &again, &options).unwrap();
            prop_assert_eq!(applied.tree_digest, Some(digest(&fs)));
            prop_assert_eq!(tree_digest(&copy, Depth::Metadata).unwrap(), tree_digest(&fs, Depth::Metadata).unwrap());
        }
    }

    #[test]
    fn one_id_gives_the_same_tar(nodes in prop::collection::btree_map(path(), node(), 0..12)) {
        if is_root() {
            let bytes = canonical(nodes);
            let mut layers = Layers::new();
            layers.ids = runtime::Mode::SingleId;
            let (fs, _) = layers.push(&bytes);
            let again = diff_bytes(&fs);
            prop_assert!(again == bytes, "{}", first_difference(&again, &bytes));
        }
    }

    #[test]
    fn damaged_tars_do_no_harm(
        nodes in prop::collection::btree_map(path(), node(), 1..8),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = canonical(nodes);
        for (at, byte) in &damage {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        // Headers whose checksum is right again are the ones that get further.
        for block in bytes.chunks_exact_mut(512) {
            if block[257..262] == *b"ustar" {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
                block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let layers = Layers::new();
        let fs = layers.empty();
        let mut options = snapshot::ApplyOptions::new(ids());
        options.limits.bytes = 64 << 20;
        let _ = snapshot::apply(&bytes[..], &fs, &options);
        let left: Vec<_> = std::fs::read_dir(layers.dir.path()).unwrap().collect();
        prop_assert_eq!(left.len(), 1);
    }
}

fn first_difference(ours: &[u8], want: &[u8]) -> String {
    let at = ours.iter().zip(want).position(|(a, b)| a != b).unwrap_or(ours.len().min(want.len()));
    let from = at / 512 * 512;
    let show = |bytes: &[u8]| {
        bytes[from.min(bytes.len())..(from + 512).min(bytes.len())]
            .escape_ascii()
            .to_string()
            .replace("\\x00", "")
    };
    format!("at {at} of {} and {}: {} instead of {}", ours.len(), want.len(), show(ours), show(want))
}
