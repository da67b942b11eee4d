use proptest::prelude::*;

use super::*;

/// A kernel's BTF, cut down; see `inotify-trace/tests/btf/README.md`.
const FIXTURE: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../inotify-trace/tests/btf/debian-7.2.btf"
));

/// Members and variants that are in it.
const MEMBERS: [&str; 8] = [
    "task_struct.signal",
    "user_namespace.ns.inum",
    "user_namespace.ucount_max",
    "file.f_ref.refcnt",
    "fsnotify_group.inotify_data.ucounts",
    "fsnotify_mark_connector.obj",
    "mem_cgroup.css.cgroup",
    "kernfs_node.__parent",
];
const VARIANT: (&str, &str) = ("ucount_type", "UCOUNT_INOTIFY_WATCHES");

/// Writes BTF by hand. Names are given as they are and put into the string section.
struct Builder {
    types: Vec<u8>,
    names: Vec<u8>,
    count: u32,
}

impl Builder {
    fn new() -> Self {
        Self { types: Vec::new(), names: vec![0], count: 0 }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let offset = self.names.len() as u32;
        self.names.extend(name.as_bytes());
        self.names.push(0);
        offset
    }

    /// Adds a record; `info` is its kind, or more if the count and flag are not zero.
    fn add(&mut self, info: u32, name: &str, size_or_type: u32, body: &[u32]) -> u32 {
        let info = if info < 256 { info << 24 } else { info };
        let head = [self.name(name), info, size_or_type];
        self.types.extend(head.iter().chain(body).flat_map(|word| word.to_le_bytes()));
        self.count += 1;
        self.count
    }

    /// Adds a struct or union of members given as name, type, offset in bits.
    fn aggregate(&mut self, kind: u8, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let body: Vec<u32> =
            members.iter().flat_map(|(name, ty, bits)| [self.name(name), *ty, *bits]).collect();
        let flag = members.iter().any(|(.., bits)| bits >> 24 != 0);
        let info = u32::from(flag) << 31 | u32::from(kind) << 24 | members.len() as u32;
        self.add(info, name, size, &body)
    }

    fn int(&mut self, size: u32) -> u32 {
        self.add(u32::from(INT), "int", size, &[size * 8])
    }

    fn bytes(self) -> Vec<u8> {
        self.bytes_with_layouts(None)
    }

    fn bytes_with_layouts(self, layouts: Option<&[u8]>) -> Vec<u8> {
        let (types, names) = (self.types.len() as u32, self.names.len() as u32);
        let mut header = vec![0x0001_eb9f, 24, 0, types, types, names];
        if let Some(layouts) = layouts {
            header[1] = 32;
            header.extend([types + names, layouts.len() as u32]);
        }
        let mut data: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
        data.extend(self.types);
        data.extend(self.names);
        data.extend(layouts.unwrap_or_default());
        data
    }

    fn parse(self) -> Btf {
        Btf::parse(self.bytes()).unwrap()
    }
}

fn info(kind: u8, count: u32) -> u32 {
    u32::from(kind) << 24 | count
}

#[test]
fn steps_over_every_kind() {
    let mut b = Builder::new();
    let int = b.int(4);
    b.add(info(PTR, 0), "", int, &[]);
    b.add(info(ARRAY, 0), "", 0, &[int, int, 3]);
    b.aggregate(STRUCT, "s", 4, &[("m", int, 0)]);
    b.aggregate(UNION, "u", 4, &[("m", int, 0)]);
    b.add(info(ENUM, 2), "e", 4, &[0, 0, 0, 1]);
    for kind in [FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG] {
        b.add(info(kind, 0), "", int, &[]);
    }
    b.add(info(FUNC_PROTO, 2), "", int, &[0, int, 0, int]);
    b.add(info(VAR, 0), "v", int, &[1]);
    b.add(info(DATASEC, 2), "d", 8, &[int, 0, 4, int, 4, 4]);
    b.add(info(DECL_TAG, 0), "t", int, &[0]);
    b.add(info(ENUM64, 1), "e64", 8, &[0, 0, 0]);
    b.aggregate(STRUCT, "last", 8, &[("m", int, 32)]);
    let member = b.parse().member("last", "m");
    assert_eq!(member, Some(Member { offset: 4, size: 4, type_id: int }));
}

#[test]
fn finds_members_in_unnamed_and_nested_types() {
    let mut b = Builder::new();
    let int = b.int(4);
    let leaf = b.aggregate(STRUCT, "leaf", 8, &[("pad", int, 0), ("value", int, 32)]);
    let alias = b.add(info(TYPEDEF, 0), "leaf_t", leaf, &[]);
    let constant = b.add(info(CONST, 0), "", alias, &[]);
    let tagged = b.add(info(TYPE_TAG, 0), "user", constant, &[]);
    let union =
        b.aggregate(UNION, "", 16, &[("first", int, 0), ("leaf", tagged, 0), ("", leaf, 64)]);
    b.aggregate(STRUCT, "outer", 24, &[("head", int, 0), ("", union, 64), ("tail", int, 192)]);
    let btf = b.parse();
    let offset = |path| btf.member("outer", path).map(|member| member.offset);
    assert_eq!(offset("head"), Some(0));
    assert_eq!(offset("tail"), Some(24));
    assert_eq!(offset("first"), Some(8));
    assert_eq!(offset("leaf.value"), Some(12));
    assert_eq!(offset("value"), Some(20), "of the member without a name whose type has one");
    assert_eq!(btf.member("outer", "leaf").map(|member| member.size), Some(8));
    for path in ["", "lea", "leaff", "leaf.", "leaf.value.x", "head.x", "nothing"] {
        assert_eq!(offset(path), None, "{path:?}");
    }
    assert_eq!(btf.member("oute", "head"), None);
    assert_eq!(btf.member("int", "head"), None);
    assert_eq!(btf.member("", "first"), None);
}

#[test]
fn bitfields_are_not_members() {
    let mut b = Builder::new();
    let int = b.int(4);
    b.aggregate(
        STRUCT,
        "s",
        8,
        &[("three_bits", int, 3 << 24), ("whole", int, 32), ("odd", int, 33)],
    );
    let btf = b.parse();
    assert_eq!(btf.member("s", "three_bits"), None);
    assert_eq!(btf.member("s", "odd"), None);
    assert_eq!(btf.member("s", "whole").map(|member| member.offset), Some(4));
}

#[test]
fn looks_at_all_structures_of_a_name() {
    let mut b = Builder::new();
    let int = b.int(4);
    b.aggregate(STRUCT, "s", 4, &[]);
    b.aggregate(STRUCT, "s", 4, &[("other", int, 0)]);
    b.add(info(ENUM, 0), "s", 4, &[]);
    b.aggregate(STRUCT, "s", 8, &[("wanted", int, 32)]);
    assert_eq!(b.parse().member("s", "wanted").map(|member| member.offset), Some(4));
}

#[test]
fn sizes_and_elements() {
    let mut b = Builder::new();
    let int = b.int(4);
    let pointer = b.add(info(PTR, 0), "", int, &[]);
    let row = b.add(info(ARRAY, 0), "", 0, &[pointer, int, 3]);
    let table = b.add(info(ARRAY, 0), "", 0, &[row, int, 5]);
    let huge = b.add(info(ARRAY, 0), "", 0, &[table, int, u32::MAX]);
    let function = b.add(info(FUNC_PROTO, 0), "", int, &[]);
    let btf = b.parse();
    assert_eq!(btf.size_of(pointer), Some(8));
    assert_eq!(btf.size_of(table), Some(120));
    assert_eq!(btf.element_size(table), Some(24));
    assert_eq!(btf.element_size(row), Some(8));
    assert_eq!(btf.element_size(pointer), None);
    for id in [0, huge, function, 99, u32::MAX] {
        assert_eq!(btf.size_of(id), None, "{id}");
    }
}

#[test]
fn names_what_a_pointer_points_to() {
    let mut b = Builder::new();
    let plain = b.aggregate(STRUCT, "plain", 4, &[]);
    let unnamed = b.aggregate(STRUCT, "", 4, &[]);
    let alias = b.add(info(TYPEDEF, 0), "alias_t", plain, &[]);
    let constant = b.add(info(CONST, 0), "", alias, &[]);
    let volatile_void = b.add(info(VOLATILE, 0), "", 0, &[]);
    let cases = [
        (0, Some("void")),
        (volatile_void, Some("void")),
        (plain, Some("plain")),
        (alias, Some("alias_t")),
        (constant, Some("alias_t")),
        (unnamed, None),
    ];
    let pointers = cases.map(|(target, _)| b.add(info(PTR, 0), "", target, &[]));
    let pointer_alias = b.add(info(TYPEDEF, 0), "pointer_t", pointers[0], &[]);
    let btf = b.parse();
    for (pointer, (_, name)) in pointers.into_iter().zip(cases) {
        assert_eq!(btf.pointee(pointer), name);
    }
    assert_eq!(btf.pointee(pointer_alias), Some("void"));
    assert_eq!(btf.pointee(plain), None);
}

#[test]
fn enum_values_of_all_widths() {
    let mut b = Builder::new();
    let (one, minus) = (b.name("ONE"), b.name("MINUS"));
    b.add(info(ENUM, 2), "unsigned", 4, &[one, 1, minus, u32::MAX]);
    b.add(1 << 31 | info(ENUM, 2), "signed", 4, &[one, 1, minus, u32::MAX]);
    b.add(1 << 31 | info(ENUM64, 2), "wide", 8, &[one, 1, 2, minus, u32::MAX, u32::MAX]);
    let btf = b.parse();
    assert_eq!(btf.enum_value("unsigned", "ONE"), Some(1));
    assert_eq!(btf.enum_value("unsigned", "MINUS"), Some(i64::from(u32::MAX)));
    assert_eq!(btf.enum_value("signed", "MINUS"), Some(-1));
    assert_eq!(btf.enum_value("wide", "ONE"), Some((2 << 32) + 1));
    assert_eq!(btf.enum_value("wide", "MINUS"), Some(-1));
    assert_eq!(btf.enum_value("wide", "TWO"), None);
    assert_eq!(btf.enum_value("none", "ONE"), None);
}

#[test]
fn cycles_end() {
    let mut b = Builder::new();
    b.add(info(TYPEDEF, 0), "a", 2, &[]);
    b.add(info(TYPEDEF, 0), "b", 1, &[]);
    b.add(info(ARRAY, 0), "", 0, &[3, 3, 1]);
    b.add(info(PTR, 0), "", 1, &[]);
    let itself = ("", 5, 0);
    b.aggregate(STRUCT, "s", 4, &[itself, itself, itself]);
    let btf = b.parse();
    assert_eq!(btf.size_of(1), None);
    assert_eq!(btf.size_of(3), None);
    assert_eq!(btf.member("s", "x"), None);
    assert_eq!(btf.pointee(4), Some("a"));
}

#[test]
fn unknown_kinds_need_a_layout() {
    let of_kind = |kind| {
        let mut b = Builder::new();
        // One fixed word and three of two words each.
        b.add(info(kind, 3), "", 0, &[9; 7]);
        let int = b.int(4);
        b.aggregate(STRUCT, "s", 4, &[("m", int, 0)]);
        b
    };
    let error = Btf::parse(of_kind(20).bytes()).unwrap_err();
    assert!(matches!(error, BtfError::Kind { id: 1, kind: 20 }), "{error}");

    let mut layouts = vec![0; 21 * 4];
    layouts[20 * 4..][..2].copy_from_slice(&[4, 8]);
    let btf = Btf::parse(of_kind(20).bytes_with_layouts(Some(&layouts))).unwrap();
    assert!(btf.member("s", "m").is_some());

    for kind in [0, 21] {
        let error = Btf::parse(of_kind(kind).bytes_with_layouts(Some(&layouts))).unwrap_err();
        assert!(matches!(error, BtfError::Kind { .. }), "{error}");
    }
}

#[test]
fn says_what_is_wrong_with_the_header() {
    let with = |at: usize, bytes: &[u8]| {
        let mut data = FIXTURE.to_vec();
        data[at..at + bytes.len()].copy_from_slice(bytes);
        Btf::parse(data).unwrap_err().to_string()
    };
    assert!(with(0, &[0xeb, 0x9f]).contains("big-endian"));
    assert!(with(0, b"\x7fE").contains("begins with 0x457f instead of 0xeb9f"));
    assert!(with(2, &[2]).contains("version 2"));
    assert!(with(4, &[0xff; 4]).contains("corrupt: the types"));
    assert!(with(20, &[0xff; 4]).contains("corrupt: the names"));
    assert!(with(FIXTURE.len() - 1, b"x").contains("corrupt: the end of the names"));
    let empty = Btf::parse(Vec::new()).unwrap_err().to_string();
    assert!(empty.contains("the header at byte 0 of 0"), "{empty}");
    assert!(BtfError::Missing.to_string().contains("no /sys/kernel/btf/vmlinux"));
}

/// Asks all there is to ask, for the sake of not panicking.
fn exercise(data: Vec<u8>) {
    let Ok(btf) = Btf::parse(data) else { return };
    for member in MEMBERS {
        let (structure, path) = member.split_once('.').unwrap();
        let _ = btf.member(structure, path);
    }
    let _ = btf.enum_value(VARIANT.0, VARIANT.1);
    for (_, record) in btf.types() {
        let _ =
            (btf.name(record.name), btf.name_range(record.name), btf.word(&record, record.count));
    }
    for id in 0..=btf.types.len() as u32 + 1 {
        let _ = (btf.size_of(id), btf.element_size(id), btf.pointee(id));
    }
    let _ = btf.functions(&["inotify_release"]);
}

#[test]
fn the_members_of_a_real_kernel_are_found() {
    let btf = Btf::parse(FIXTURE.to_vec()).unwrap();
    for member in MEMBERS {
        let (structure, path) = member.split_once('.').unwrap();
        assert!(btf.member(structure, path).is_some(), "{member}");
    }
    assert_eq!(btf.enum_value(VARIANT.0, VARIANT.1), Some(9));
}

#[test]
fn records_are_told_as_they_are_written() {
    let mut b = Builder::new();
    let int = b.int(4);
    let union = b.aggregate(UNION, "either", 4, &[("left", int, 0), ("right", int, 0)]);
    let alias = b.add(info(TYPEDEF, 0), "alias_t", union, &[]);
    let bytes = b.bytes();
    let btf = Btf::parse(bytes.clone()).unwrap();
    let kinds: Vec<_> = btf.types().map(|(id, record)| (id, record.kind)).collect();
    assert_eq!(kinds, [(int, INT), (union, UNION), (alias, TYPEDEF)]);
    assert_eq!(btf.resolve(alias), Some(union));
    let record = btf.record(union).unwrap();
    assert_eq!(btf.name(record.name), Some("either"));
    assert_eq!(&bytes[btf.name_range(record.name).unwrap()], b"either");
    let right = btf.word(&record, 3).unwrap();
    assert_eq!((btf.name(right), btf.word(&record, 4)), (Some("right"), Some(int)));
    assert_eq!(btf.word(&record, usize::MAX), None);
}

#[test]
fn functions_are_found_by_their_whole_names_in_the_order_of_ids() {
    let mut b = Builder::new();
    let int = b.int(4);
    b.aggregate(STRUCT, "open", 4, &[("m", int, 0)]);
    let longer = b.add(info(FUNC, 0), "open_at", int, &[]);
    let open = b.add(info(FUNC, 0), "open", int, &[]);
    b.add(info(FUNC, 0), "open", int, &[]);
    let last = b.add(info(FUNC, 0), "close", int, &[]);
    let btf = b.parse();
    assert_eq!(btf.functions(&["close", "ope", "open"]), [(open, "open"), (last, "close")]);
    assert_eq!(btf.functions(&["open_at"]), [(longer, "open_at")]);
    assert_eq!(btf.functions(&[]), []);
}

#[test]
fn the_running_kernels_types_are_the_same_mapped_or_read() {
    let Ok(read) = std::fs::read(PATH) else {
        return eprintln!("not run: this kernel does not describe its types");
    };
    let kernel = Btf::from_running_kernel().unwrap();
    if matches!(kernel.data, Bytes::Read(_)) {
        eprintln!("this kernel's types cannot be mapped: read twice");
    }
    assert!(*kernel.data == *read, "{} and {} bytes", kernel.data.len(), read.len());
}

#[test]
fn every_truncation_is_an_error() {
    for len in 0..FIXTURE.len() {
        let error = Btf::parse(FIXTURE[..len].to_vec()).unwrap_err();
        assert!(matches!(error, BtfError::Corrupt { .. }), "{len}: {error}");
    }
}

#[test]
fn types_cut_short_do_not_panic() {
    let type_len = u32_at(FIXTURE, 12).unwrap();
    for len in 0..type_len {
        let mut data = FIXTURE.to_vec();
        data[12..16].copy_from_slice(&len.to_le_bytes());
        exercise(data);
    }
}

proptest! {
    #[test]
    fn flipped_bytes_do_not_panic(
        flips in proptest::collection::vec((0..FIXTURE.len(), 1u8..), 1..20),
    ) {
        let mut data = FIXTURE.to_vec();
        for (at, mask) in flips {
            data[at] ^= mask;
        }
        exercise(data);
    }

    /// Ids and lengths are what goes wrong most, and a random byte rarely makes a valid one.
    #[test]
    fn swapped_words_do_not_panic(
        swaps in proptest::collection::vec((6..FIXTURE.len() / 4, 6..FIXTURE.len() / 4), 1..50),
    ) {
        let mut data = FIXTURE.to_vec();
        for (a, b) in swaps {
            for byte in 0..4 {
                data.swap(a * 4 + byte, b * 4 + byte);
            }
        }
        exercise(data);
    }

    #[test]
    fn noise_does_not_panic(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        exercise(noise.clone());
        let mut data = FIXTURE[..8].to_vec();
        data.extend(noise);
        exercise(data);
    }
}
