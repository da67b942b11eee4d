//! Cuts a kernel's BTF down to what the layout tests need: some 25 KB out of 5 MB.
//!
//! `cargo xtask btf-fixture IN OUT` runs it. To add a kernel, take its `.BTF` section, which is also
//! what `/sys/kernel/btf/vmlinux` holds (`objcopy --dump-section .BTF=IN vmlinux /dev/null`, on the
//! image that the kernel source's `scripts/extract-vmlinux` unpacks), and put the result in
//! `inotify-trace/tests/btf`.
//!
//! It does not share the agent's reader, so that the tests check that reader against BTF that
//! another one has understood.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The structures whose members the agent looks up. They keep all their members.
const STRUCTS: [&str; 21] = [
    "task_struct",
    "signal_struct",
    "files_struct",
    "fdtable",
    "file",
    "cred",
    "user_namespace",
    "ns_common",
    "ucounts",
    "fsnotify_group",
    "inotify_group_private_data",
    "fsnotify_mark",
    "inotify_inode_mark",
    "fsnotify_mark_connector",
    "inode",
    "super_block",
    "mem_cgroup",
    "cgroup_subsys_state",
    "cgroup",
    "cgroup_root",
    "kernfs_node",
];
/// The enumerations whose values the agent looks up. They keep all their variants.
const ENUMS: [&str; 1] = ["ucount_type"];

/// Length of the header that is written; the one read may be longer.
const HEADER_LEN: usize = 24;
const FLAG: u32 = 1 << 31;

// Kinds of type, numbered as in `include/uapi/linux/btf.h`.
const INT: u8 = 1;
const PTR: u8 = 2;
const ARRAY: u8 = 3;
const STRUCT: u8 = 4;
const UNION: u8 = 5;
const ENUM: u8 = 6;
const FWD: u8 = 7;
const TYPEDEF: u8 = 8;
const RESTRICT: u8 = 11;
const FLOAT: u8 = 16;
const TYPE_TAG: u8 = 18;
const ENUM64: u8 = 19;

/// Reads the kernel's BTF at `input_btf` and writes the cut-down copy to `output`.
///
/// # Errors
/// If a file cannot be read or written, or the input is not BTF of a kernel with inotify.
pub fn run(input_btf: &Path, output: &Path) -> Result<()> {
    let data =
        std::fs::read(input_btf).with_context(|| format!("cannot read {}", input_btf.display()))?;
    let fixture = cut(&data).with_context(|| {
        format!("{} is not the .BTF section of a kernel with inotify", input_btf.display())
    })?;
    std::fs::write(output, fixture).with_context(|| format!("cannot write {}", output.display()))
}

fn cut(data: &[u8]) -> Result<Vec<u8>> {
    let source = Source::read(data)?;
    let mut copy = Copy::new(&source);
    for id in 1..=source.types.len() as u32 {
        let record = source.record(id)?;
        let wanted: &[&str] = match record.kind {
            STRUCT => &STRUCTS,
            ENUM | ENUM64 => &ENUMS,
            _ => continue,
        };
        if wanted.contains(&source.name(record.name)?) {
            copy.add(id, Keep::Members)?;
        }
    }
    ensure!(copy.strings.contains_key("fsnotify_group"), "there is no struct fsnotify_group");
    Ok(copy.finish())
}

/// How much of a type is copied.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Keep {
    /// All of it.
    Members,
    /// Its size, for a type embedded in another.
    Size,
    /// Its name, for the target of a pointer.
    Name,
}

/// The fixed part of a type.
#[derive(Clone, Copy)]
pub struct Record {
    kind: u8,
    count: usize,
    /// Where its name is.
    pub name: u32,
    info: u32,
    size_or_type: u32,
    body: usize,
}

impl Record {
    /// Whether it is a union.
    pub fn is_union(self) -> bool {
        self.kind == UNION
    }
}

/// BTF to be read.
pub struct Source<'a> {
    data: &'a [u8],
    types: Vec<usize>,
    strings: &'a [u8],
}

impl<'a> Source<'a> {
    /// Finds the types.
    pub fn read(data: &'a [u8]) -> Result<Self> {
        ensure!(data.starts_with(&[0x9f, 0xeb, 1]), "it does not begin like BTF version 1");
        let section = |field| -> Result<(usize, usize)> {
            let start = u32_at(data, 4)? as usize + u32_at(data, field)? as usize;
            Ok((start, start + u32_at(data, field + 4)? as usize))
        };
        let (strings, end) = section(16)?;
        let strings = data.get(strings..end).context("the names are cut short")?;

        let (mut at, end) = section(8)?;
        let mut types = Vec::new();
        while at < end {
            types.push(at);
            let record = record_at(data, at)?;
            at = record.body
                + match record.kind {
                    // 14 and 17 are variables and declaration tags.
                    INT | 14 | 17 => 4,
                    ARRAY => 12,
                    // 15 is a section of variables.
                    STRUCT | UNION | 15 | ENUM64 => 12 * record.count,
                    // 13 is a function's prototype.
                    ENUM | 13 => 8 * record.count,
                    kind => {
                        ensure!((1..=ENUM64).contains(&kind), "kind {kind} is unknown");
                        0
                    }
                };
        }
        Ok(Self { data, types, strings })
    }

    /// How many types there are; ids begin at 1.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Where the names begin.
    pub fn strings_start(&self) -> usize {
        self.strings.as_ptr() as usize - self.data.as_ptr() as usize
    }

    /// A type.
    pub fn record(&self, id: u32) -> Result<Record> {
        let at = (id as usize).checked_sub(1).and_then(|index| self.types.get(index));
        record_at(self.data, *at.with_context(|| format!("there is no type {id}"))?)
    }

    /// A name.
    pub fn name(&self, offset: u32) -> Result<&'a str> {
        let rest = self.strings.get(offset as usize..).context("a name is missing")?;
        Ok(std::str::from_utf8(rest.split(|&byte| byte == 0).next().unwrap_or_default())?)
    }
}

/// The BTF being written.
struct Copy<'a> {
    source: &'a Source<'a>,
    types: Vec<u8>,
    type_count: u32,
    names: Vec<u8>,
    strings: HashMap<&'a str, u32>,
    done: HashMap<(u32, Keep), u32>,
}

impl<'a> Copy<'a> {
    fn new(source: &'a Source<'a>) -> Self {
        Self {
            source,
            types: Vec::new(),
            type_count: 0,
            names: vec![0],
            strings: HashMap::from([("", 0)]),
            done: HashMap::new(),
        }
    }

    /// Copies a type and what it needs, unless that is done. Returns its new id, 0 for `void`.
    fn add(&mut self, id: u32, keep: Keep) -> Result<u32> {
        if id == 0 {
            return Ok(0);
        }
        let record = self.source.record(id)?;
        let name = self.source.name(record.name)?;
        let keep = match keep {
            Keep::Size if name.is_empty() => Keep::Members,
            Keep::Size if STRUCTS.contains(&name) || ENUMS.contains(&name) => Keep::Members,
            keep => keep,
        };
        if let Some(&new) = self.done.get(&(id, keep)) {
            return Ok(new);
        }
        let new = self.copy(&record, name, keep)?;
        self.done.insert((id, keep), new);
        Ok(new)
    }

    fn copy(&mut self, record: &Record, name: &'a str, keep: Keep) -> Result<u32> {
        let data = self.source.data;
        let mut info = record.info;
        let mut size_or_type = record.size_or_type;
        let mut body = Vec::new();
        match record.kind {
            PTR => size_or_type = self.add(size_or_type, Keep::Name)?,
            TYPEDEF..=RESTRICT | TYPE_TAG => {
                let keep = if keep == Keep::Name { keep } else { Keep::Size };
                size_or_type = self.add(size_or_type, keep)?;
            }
            STRUCT | UNION if keep == Keep::Name => {
                // A forward declaration must have a name.
                if name.is_empty() {
                    return Ok(0);
                }
                info = u32::from(FWD) << 24 | if record.kind == UNION { FLAG } else { 0 };
                size_or_type = 0;
            }
            STRUCT | UNION | ENUM | ENUM64 if keep != Keep::Members => {
                info &= FLAG | 0x7f00_0000;
            }
            STRUCT | UNION => {
                for member in (0..record.count).map(|i| record.body + i * 12) {
                    let member_name = self.source.name(u32_at(data, member)?)?;
                    // Its members count as this structure's own.
                    let keep = if member_name.is_empty() { Keep::Members } else { Keep::Size };
                    let words = [
                        self.string(member_name),
                        self.add(u32_at(data, member + 4)?, keep)?,
                        u32_at(data, member + 8)?,
                    ];
                    body.extend(words);
                }
            }
            ENUM | ENUM64 => {
                let words = if record.kind == ENUM64 { 3 } else { 2 };
                for variant in (0..record.count).map(|i| record.body + i * words * 4) {
                    body.push(self.string(self.source.name(u32_at(data, variant)?)?));
                    for word in 1..words {
                        body.push(u32_at(data, variant + word * 4)?);
                    }
                }
            }
            ARRAY if keep != Keep::Name => {
                body.push(self.add(u32_at(data, record.body)?, Keep::Size)?);
                body.push(self.add(u32_at(data, record.body + 4)?, Keep::Size)?);
                body.push(u32_at(data, record.body + 8)?);
            }
            INT => body.push(u32_at(data, record.body)?),
            FLOAT | FWD => {}
            // Functions and arrays are seen through pointers only: `void *` will do.
            _ => return Ok(0),
        }
        let name = self.string(name);
        for word in [name, info, size_or_type].into_iter().chain(body) {
            self.types.extend(word.to_le_bytes());
        }
        self.type_count += 1;
        Ok(self.type_count)
    }

    fn string(&mut self, name: &'a str) -> u32 {
        *self.strings.entry(name).or_insert_with(|| {
            let offset = self.names.len() as u32;
            self.names.extend(name.as_bytes());
            self.names.push(0);
            offset
        })
    }

    fn finish(self) -> Vec<u8> {
        let types = self.types.len() as u32;
        let names = self.names.len() as u32;
        let magic_version_flags = 0x0001_eb9f;
        [magic_version_flags, HEADER_LEN as u32, 0, types, types, names]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .chain(self.types)
            .chain(self.names)
            .collect()
    }
}

fn record_at(data: &[u8], at: usize) -> Result<Record> {
    let info = u32_at(data, at + 4)?;
    Ok(Record {
        kind: (info >> 24) as u8 & 0x7f,
        count: (info & 0x00ff_ffff) as usize,
        name: u32_at(data, at)?,
        info,
        size_or_type: u32_at(data, at + 8)?,
        body: at + 12,
    })
}

fn u32_at(data: &[u8], at: usize) -> Result<u32> {
    let bytes = data.get(at..).and_then(<[u8]>::first_chunk);
    Ok(u32::from_le_bytes(*bytes.with_context(|| format!("it ends before byte {}", at + 4))?))
}
