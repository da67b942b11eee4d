use expected::EXPECTED;

use super::*;

mod expected;
mod fixture;

macro_rules! fixtures {
    ($($name:literal,)*) => {[$((
        $name,
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/btf/", $name, ".btf")) as &[u8],
    )),*]};
}

/// The kernels whose BTF is saved, in the order of [`EXPECTED`]'s columns.
const KERNELS: [(&str, &[u8]); 13] = fixtures![
    "debian-5.10",
    "debian-6.1",
    "debian-6.12",
    "6.18",
    "debian-7.2",
    "debian-7.3",
    "debian-5.10-arm64",
    "debian-6.1-arm64",
    "debian-6.12-arm64",
    "debian-7.2-arm64",
    "ubuntu-5.15",
    "ubuntu-6.8",
    "ubuntu-7.0",
];

fn btf(data: &[u8]) -> Btf {
    Btf::parse(data.to_vec()).unwrap()
}

/// The BTF of Linux 6.1 in which names are exchanged for others of the same length.
fn renamed(names: &[(&str, &str)]) -> Btf {
    let mut data = KERNELS[1].1.to_vec();
    let position = |name: &str| {
        let whole = format!("\0{name}\0");
        KERNELS[1].1.windows(whole.len()).position(|bytes| bytes == whole.as_bytes()).unwrap() + 1
    };
    for (from, to) in names {
        assert_eq!(from.len(), to.len());
        data[position(from)..][..to.len()].copy_from_slice(to.as_bytes());
    }
    btf(&data)
}

#[test]
fn saved_kernels_are_as_pahole_says() {
    for ((name, data), expected) in KERNELS.into_iter().zip(EXPECTED) {
        assert_same(resolve(&btf(data)).unwrap(), expected, name);
    }
}

/// Compares field by field, to name what differs.
fn assert_same(layout: Layout, expected: Layout, kernel: &str) {
    for field in FIELDS {
        let values = [layout, expected].map(|layout| (field.value)(&layout));
        assert_eq!(values[0], values[1], "{} of {kernel}", field.name);
    }
    assert_eq!(layout, expected, "{kernel}");
}

#[test]
fn the_table_has_each_field_once() {
    assert_eq!(FIELDS.len(), Layout::UNKNOWN.words().len());
    // Each number once, at the place of its field.
    let mut next = 0..;
    let numbered = fields::fill(|_| next.next().unwrap());
    for (number, field) in (0..).zip(FIELDS) {
        assert_eq!((field.value)(&numbered), number, "{}", field.name);
    }
}

#[test]
fn what_is_cut_down_resolves_to_the_same() {
    for ((name, data), expected) in KERNELS.into_iter().zip(EXPECTED) {
        let again = fixture::cut(&btf(data));
        assert!(again.len() <= data.len(), "{name}");
        assert_same(resolve(&btf(&again)).unwrap(), expected, name);
    }
}

/// The whole BTF of a kernel, and the name of the file that gets what it is cut down to.
const WHOLE: &str = "INOTIFY_TRACE_BTF";
const KERNEL: &str = "INOTIFY_TRACE_BTF_NAME";

#[test]
#[ignore = "writes a file of tests/btf, from the BTF that a variable names"]
fn remake_btf() {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} must be set"));
    let whole = std::fs::read(variable(WHOLE)).unwrap();
    let cut = fixture::cut(&btf(&whole));
    assert_same(resolve(&btf(&cut)).unwrap(), resolve(&btf(&whole)).unwrap(), "the copy");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/btf");
    std::fs::write(format!("{directory}/{}.btf", variable(KERNEL)), cut).unwrap();
}

#[test]
fn only_5_10_lacks_anything() {
    const LOST: &str = "how much of the limit a user has used when creating an instance fails \
                        (needs Linux 5.14 or later)";
    for ((name, _), layout) in KERNELS.into_iter().zip(EXPECTED) {
        let lost: Vec<_> = lost_features(&layout).iter().map(ToString::to_string).collect();
        let expected: &[&str] = if name.starts_with("debian-5.10") { &[LOST] } else { &[] };
        assert_eq!(lost, expected, "{name}");
    }
}

#[test]
fn names_all_that_is_missing() {
    let error = resolve(&renamed(&[
        ("tgid", "xxxx"),
        ("f_count", "x_count"),
        ("ucount_max", "ucount_xxx"),
        ("UCOUNT_INOTIFY_WATCHES", "UCOUNT_INOTIFY_XXXXXXX"),
        ("inotify_data", "inotify_xxxx"),
    ]))
    .unwrap_err();
    let expected = [
        "task_struct.tgid",
        "file.f_ref.refcnt or file.f_count",
        "user_namespace.ucount_max",
        "ucount_type.UCOUNT_INOTIFY_WATCHES",
        "fsnotify_group.inotify_data.ucounts",
    ];
    assert_eq!(error.missing, expected);
    assert!(expected.iter().all(|name| error.to_string().contains(name)), "{error}");
}

#[test]
fn loses_only_what_needs_the_missing_member() {
    let layout = resolve(&renamed(&[("i_fsnotify_marks", "i_fsnotify_xxxxx")])).unwrap();
    assert_eq!(layout, Layout { connector_obj_bias: ABSENT, ..EXPECTED[1] });
    let lost = lost_features(&layout);
    assert_eq!(lost.len(), 1);
    assert!(lost[0].feature.contains("watches"));
}

#[test]
fn a_member_of_another_size_is_absent() {
    let layout = resolve(&renamed(&[("q_len", "memcg"), ("memcg", "q_len")])).unwrap();
    let expected = Layout { group_q_len: ABSENT, group_memcg: ABSENT, ..EXPECTED[1] };
    assert_eq!(layout, expected);
}

#[test]
fn an_unknown_pointer_to_the_inode_is_not_guessed() {
    let layout = resolve(&renamed(&[("fsnotify_connp_t", "fsnotify_xxxxx_t")])).unwrap();
    assert_eq!(layout.connector_obj_bias, ABSENT);
}

#[test]
fn a_kernel_without_anything_loses_everything() {
    let features = lost_features(&Layout::UNKNOWN);
    assert_eq!(features.len(), 7);
}
