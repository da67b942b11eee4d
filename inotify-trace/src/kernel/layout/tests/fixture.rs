//! Cuts a kernel's BTF down to the structures and enumerations that the table of fields names:
//! some 25 KB out of 5 MB.

use std::collections::{BTreeSet, HashMap};

use inotify_trace_btf::{Btf, Record, kind::*};

use super::FIELDS;

/// Length of the header that is written; the one read may be longer.
const HEADER_LEN: u32 = 24;

/// The flag of a record, where the format has it.
const FLAG: u32 = 1 << 31;

/// A copy of `btf` that has all members of what the table names, and of the rest what these need.
pub fn cut(btf: &Btf) -> Vec<u8> {
    let mut copy = Copy::new(btf);
    for (id, record) in btf.types() {
        let is_wanted = record.kind == STRUCT || record.is_enum();
        if is_wanted && copy.whole.contains(btf.name(record.name).unwrap()) {
            copy.add(id, Keep::Members);
        }
    }
    copy.finish()
}

/// The names of types whose members or variants the table names.
fn whole(btf: &Btf) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in FIELDS.iter().flat_map(|field| field.source.paths()) {
        let (outermost, path) = path.split_once('.').unwrap();
        names.insert(outermost.to_owned());
        // Structures on the way to the member, if this kernel has them.
        for (at, _) in path.match_indices('.') {
            let inner = btf.member(outermost, &path[..at]);
            let record = inner.and_then(|member| btf.record(btf.resolve(member.type_id)?));
            names.extend(record.and_then(|record| btf.name(record.name)).map(str::to_owned));
        }
    }
    names.remove("");
    names
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

/// The BTF being written.
struct Copy<'a> {
    source: &'a Btf,
    whole: BTreeSet<String>,
    types: Vec<u8>,
    type_count: u32,
    names: Vec<u8>,
    strings: HashMap<&'a str, u32>,
    done: HashMap<(u32, Keep), u32>,
}

impl<'a> Copy<'a> {
    fn new(source: &'a Btf) -> Self {
        Self {
            source,
            whole: whole(source),
            types: Vec::new(),
            type_count: 0,
            names: vec![0],
            strings: HashMap::from([("", 0)]),
            done: HashMap::new(),
        }
    }

    /// Copies a type and what it needs, unless that is done. Returns its new id, 0 for `void`.
    fn add(&mut self, id: u32, keep: Keep) -> u32 {
        if id == 0 {
            return 0;
        }
        let record = self.source.record(id).unwrap();
        let name = self.source.name(record.name).unwrap();
        let keep = match keep {
            Keep::Size if name.is_empty() || self.whole.contains(name) => Keep::Members,
            keep => keep,
        };
        if let Some(&new) = self.done.get(&(id, keep)) {
            return new;
        }
        let new = self.copy(&record, name, keep);
        self.done.insert((id, keep), new);
        new
    }

    fn copy(&mut self, record: &Record, name: &'a str, keep: Keep) -> u32 {
        let source = self.source;
        let word = |index| source.word(record, index).unwrap();
        let is_whole = keep == Keep::Members;
        let (mut kind, mut flag, mut count) = (record.kind, record.flag, 0);
        let mut size_or_type = record.size_or_type;
        let mut body = Vec::new();
        match record.kind {
            PTR => size_or_type = self.add(size_or_type, Keep::Name),
            TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => {
                let keep = if keep == Keep::Name { keep } else { Keep::Size };
                size_or_type = self.add(size_or_type, keep);
            }
            STRUCT | UNION if keep == Keep::Name => {
                // A forward declaration must have a name.
                if name.is_empty() {
                    return 0;
                }
                (kind, flag, size_or_type) = (FWD, record.kind == UNION, 0);
            }
            STRUCT | UNION if is_whole => {
                count = record.count;
                for member in (0..count).map(|index| index * 3) {
                    let member_name = source.name(word(member)).unwrap();
                    // Members of one without a name count as this structure's own.
                    let keep = if member_name.is_empty() { Keep::Members } else { Keep::Size };
                    let name = self.string(member_name);
                    body.extend([name, self.add(word(member + 1), keep), word(member + 2)]);
                }
            }
            ENUM | ENUM64 if is_whole => {
                count = record.count;
                let words = if record.kind == ENUM64 { 3 } else { 2 };
                for variant in (0..count).map(|index| index * words) {
                    body.push(self.string(source.name(word(variant)).unwrap()));
                    body.extend((1..words).map(|index| word(variant + index)));
                }
            }
            // Without its members, a type is nothing but its size.
            STRUCT | UNION | ENUM | ENUM64 | FLOAT | FWD => {}
            ARRAY if keep != Keep::Name => {
                body.push(self.add(word(0), Keep::Size));
                body.push(self.add(word(1), Keep::Size));
                body.push(word(2));
            }
            INT => body.push(word(0)),
            // Functions and arrays are seen through pointers only: `void *` will do.
            _ => return 0,
        }
        let count = u32::try_from(count).unwrap();
        let info = if flag { FLAG } else { 0 } | u32::from(kind) << 24 | count;
        let name = self.string(name);
        for word in [name, info, size_or_type].into_iter().chain(body) {
            self.types.extend(word.to_le_bytes());
        }
        self.type_count += 1;
        self.type_count
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
        let (types, names) = (self.types.len() as u32, self.names.len() as u32);
        let magic_version_flags = 0x0001_eb9f;
        [magic_version_flags, HEADER_LEN, 0, types, types, names]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .chain(self.types)
            .chain(self.names)
            .collect()
    }
}
