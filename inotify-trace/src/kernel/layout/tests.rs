use super::*;

mod fixture;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/btf/", $name, ".btf"))
    };
}

/// The kernels whose BTF is saved, in the order of the columns below.
const KERNELS: [(&str, &[u8]); 5] = [
    ("debian-5.10", fixture!("debian-5.10")),
    ("debian-6.1", fixture!("debian-6.1")),
    ("debian-6.12", fixture!("debian-6.12")),
    ("6.18", fixture!("6.18")),
    ("debian-7.2", fixture!("debian-7.2")),
];

macro_rules! expected {
    ($($field:ident: $a:expr, $b:expr, $c:expr, $d:expr, $e:expr;)*) => {
        const EXPECTED: [Layout; 5] = [
            Layout { $($field: $a),* },
            Layout { $($field: $b),* },
            Layout { $($field: $c),* },
            Layout { $($field: $d),* },
            Layout { $($field: $e),* },
        ];
    };
}

// What pahole 1.24 (`pahole -C STRUCT`) prints for the same kernels' complete BTF; nested members
// are the sum of two of its lines, and the values of `enum ucount_type` are from bpftool 7.1
// (`bpftool btf dump file`).
expected! {
    task_tgid: 2236, 2420, 2436, 1268, 2812;
    task_pid: 2232, 2416, 2432, 1264, 2808;
    task_group_leader: 2296, 2480, 2496, 1328, 2872;
    task_comm: 2736, 2976, 2976, 1752, 3344;
    task_files: 2808, 3048, 3048, 1824, 3416;
    task_cred: 2720, 2960, 2960, 1736, 3328;
    task_signal: 2832, 3072, 3072, 1848, 3448;
    signal_live: 4, 4, 4, 4, 4;
    files_count: 0, 0, 0, 0, 0;
    signal_nofile: 784, 800, 792, 792, 816;
    files_fdt: 32, 32, 32, 32, 32;
    fdt_max_fds: 0, 0, 0, 0, 0;
    fdt_fd: 8, 8, 8, 8, 8;
    fdt_open_fds: 24, 24, 24, 24, 24;
    fdt_full_fds_bits: 32, 32, 32, 32, 32;
    file_f_op: 40, 40, 16, 8, 8;
    file_private_data: 200, 200, 32, 24, 24;
    file_refs: 56, 56, 0, 176, 168;
    file_refs_bias: 0, 0, 0, 1, 1;
    cred_euid: 24, 24, 24, 24, 24;
    cred_user_ns: 136, 136, 144, 144, 144;
    cred_ucounts: ABSENT, 144, 152, 152, 152;
    userns_ucount_max: 504, 496, 480, 536, 744;
    userns_ucounts: 496, 488, 472, 528, 736;
    userns_inum: 264, 256, 232, 240, 344;
    ucount_max_size: 4, 8, 8, 8, 8;
    ucounts_ns: 16, 16, 16, 16, 16;
    ucounts_uid: 24, 24, 24, 24, 24;
    ucounts_ucount: 32, 32, 32, 56, 56;
    ucount_size: 4, 8, 8, 8, 8;
    ucount_instances: 8, 8, 8, 8, 8;
    ucount_watches: 9, 9, 9, 9, 9;
    group_ucounts: 192, 192, 192, 200, 192;
    group_refcnt: 8, 8, 8, 8, 8;
    group_ops: 0, 0, 0, 0, 0;
    group_q_len: 56, 56, 56, 56, 56;
    group_max_events: 60, 60, 60, 60, 60;
    group_overflow_event: 144, 144, 144, 144, 136;
    group_shutdown: 68, 68, 68, 68, 68;
    group_memcg: 152, 152, 152, 152, 144;
    group_marks_list: 120, 120, 120, 120, 112;
    mark_g_list: 16, 16, 16, 16, 16;
    mark_connector: 56, 56, 56, 56, 56;
    mark_wd: 72, 72, 72, 72, 72;
    connector_obj: 16, 16, 8, 8, 8;
    connector_obj_bias: 568, 600, 0, 0, 0;
    inode_i_ino: 64, 64, 64, 64, 64;
    inode_i_mode: 0, 0, 0, 0, 0;
    inode_i_sb: 40, 40, 40, 40, 40;
    inode_i_private: 592, 624, 616, 608, 552;
    sb_s_dev: 16, 16, 16, 16, 16;
    sb_s_magic: 96, 96, 96, 96, 96;
    memcg_cgroup: 0, 0, 0, 0, 0;
    cgroup_kn: 248, 248, 256, 256, 296;
    cgroup_root: 480, 656, 720, 696, 808;
    root_hierarchy_id: 12, 12, 12, 12, 12;
    kn_id: 104, 104, 96, 96, 96;
    kn_parent: 8, 8, 8, 8, 8;
    kn_name: 16, 16, 16, 16, 16;
}

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
    let [oldest, others @ ..] = EXPECTED;
    let lost = lost_features(&oldest);
    assert_eq!(lost.len(), 1);
    assert_eq!(
        lost[0].to_string(),
        "how much of the limit a user has used when creating an instance fails \
         (needs Linux 5.14 or later)"
    );
    for layout in others {
        assert_eq!(lost_features(&layout), []);
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
