//! docs/recording-format.md has the schema of what is written: read with nothing but that, frames
//! are what the tool's own structures say they are.

use std::{collections::BTreeSet, fmt, path::Path};

use bytes::BytesMut;
use inotify_trace_model::event::BootTime;
use proptest::{
    collection::vec,
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind as Type, MessageDescriptor,
    ReflectMessage as _, Value,
};

use super::{boundaries, file, samples};
use crate::{
    limits::{Source, Sysctls},
    recording::{
        Header,
        frame::{HEAD, Kind, LARGEST, MAGIC, Packer, Unpacker},
        wire,
    },
};

const PACKAGE: &str = "inotify_trace.recording.v1";

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recording-format.md");
    std::fs::read_to_string(path).unwrap()
}

/// The document's schema.
fn schema() -> DescriptorPool {
    let document = document();
    let mut blocks = document.split("```proto\n").skip(1);
    let block = blocks.next().expect("the document has a schema").split("```").next().unwrap();
    assert_eq!(blocks.count(), 0, "the schema is in one piece");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("recording.proto"), block).unwrap();
    let files = protox::compile(["recording.proto"], [directory.path()]);
    let files = files.unwrap_or_else(|error| panic!("{error:?}"));
    DescriptorPool::from_file_descriptor_set(files).unwrap()
}

/// Shows a message as its Rust structure is shown: with names of fields, and values as they are
/// once read as their types.
struct Shown<'a>(&'a DynamicMessage);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptor = self.0.descriptor();
        let mut shown = f.debug_struct(descriptor.name());
        for field in descriptor.fields() {
            let is_choice = field.containing_oneof().is_some_and(|it| !it.is_synthetic());
            if !is_choice {
                let value = self.0.get_field(&field);
                let is_there = self.0.has_field(&field);
                let value = ShownValue { field: &field, value: &value };
                if field.supports_presence() {
                    shown.field(field.name(), &is_there.then_some(value));
                } else {
                    shown.field(field.name(), &value);
                }
            }
        }
        for choice in descriptor.oneofs().filter(|it| !it.is_synthetic()) {
            let chosen = choice.fields().find(|field| self.0.has_field(field));
            shown.field(choice.name(), &chosen.as_ref().map(|field| Chosen(self.0, field)));
        }
        shown.finish()
    }
}

/// The chosen field of a oneof.
struct Chosen<'a>(&'a DynamicMessage, &'a FieldDescriptor);

impl fmt::Debug for Chosen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(message, field) = self;
        let value = message.get_field(field);
        let value = ShownValue { field, value: &value };
        f.debug_tuple(&camel(field.name())).field(&value).finish()
    }
}

struct ShownValue<'a> {
    field: &'a FieldDescriptor,
    value: &'a Value,
}

impl fmt::Debug for ShownValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Value::Bool(it) => it.fmt(f),
            Value::I32(it) => it.fmt(f),
            Value::I64(it) => it.fmt(f),
            Value::U32(it) => it.fmt(f),
            Value::U64(it) => it.fmt(f),
            Value::String(it) => it.fmt(f),
            Value::Bytes(it) => it.fmt(f),
            Value::Message(it) => Shown(it).fmt(f),
            Value::List(list) => {
                let field = self.field;
                f.debug_list().entries(list.iter().map(|value| Self { field, value })).finish()
            }
            Value::EnumNumber(number) => {
                let Type::Enum(kind) = self.field.kind() else { return Err(fmt::Error) };
                let value = kind.get_value(*number).ok_or(fmt::Error)?;
                // Their names begin with that of the enumeration, as is usual.
                f.write_str(camel(value.name()).strip_prefix(kind.name()).ok_or(fmt::Error)?)
            }
            Value::F32(_) | Value::F64(_) | Value::Map(_) => Err(fmt::Error),
        }
    }
}

/// `CREATED_UNSEEN` and `created_unseen` as `CreatedUnseen`.
fn camel(name: &str) -> String {
    name.split('_')
        .flat_map(|word| {
            let (first, rest) = word.split_at(1);
            [first.to_uppercase(), rest.to_lowercase()]
        })
        .collect()
}

/// Fails if there are fields that the schema does not have; takes down those that there are.
fn look(message: &DynamicMessage, seen: &mut BTreeSet<String>) {
    let unknown: Vec<_> = message.unknown_fields().collect();
    assert!(unknown.is_empty(), "{}: {unknown:?}", message.descriptor().full_name());
    for (field, value) in message.fields() {
        match value {
            Value::EnumNumber(number) => {
                let Type::Enum(kind) = field.kind() else { panic!("{field:?}") };
                seen.insert(kind.get_value(*number).expect("a value there is").full_name().into());
            }
            Value::Message(inner) => look(inner, seen),
            Value::List(list) => {
                list.iter().filter_map(Value::as_message).for_each(|inner| look(inner, seen));
            }
            _ => {}
        }
        seen.insert(field.full_name().to_owned());
    }
}

/// All that the schema has: fields, and values of enumerations but for those that are absent.
fn all(schema: &DescriptorPool) -> BTreeSet<String> {
    let fields = |message: MessageDescriptor| {
        message.fields().map(|field| field.full_name().to_owned()).collect::<Vec<_>>()
    };
    let values = schema.all_enums().flat_map(|kind| {
        let values = kind.values().filter(|value| value.number() != 0);
        values.map(|value| value.full_name().to_owned()).collect::<Vec<_>>()
    });
    schema.all_messages().flat_map(fields).chain(values).collect()
}

/// A header with something in every field.
fn header() -> Header {
    let source = Source { path: "/etc/sysctl.conf".into(), text: "\n".to_owned() };
    Header {
        tool_version: "0.1.0".to_owned(),
        run: u64::MAX,
        sequence: u32::MAX,
        host: "node".to_owned(),
        machine: "hash".to_owned(),
        kernel: "6.12".to_owned(),
        boot_id: "id".to_owned(),
        booted: -1,
        started: BootTime(u64::MAX),
        backend: "fentry".to_owned(),
        command: vec!["inotify-trace".to_owned(), String::new()],
        unseen: vec!["some".to_owned()],
        users: [(0, "root".to_owned()), (u32::MAX, "nobody".to_owned())].into(),
        sysctls: Sysctls {
            live: [Some(0), Some(u64::MAX), Some(1)],
            files: vec![source],
            ends_with_sysctl_conf: true,
        },
        continues: true,
    }
}

/// A file with every kind of event and of state, several of each.
fn full() -> Vec<u8> {
    let mut runner = TestRunner::deterministic();
    let parts = vec(samples::part(), 300).new_tree(&mut runner).unwrap().current();
    let batches = vec(samples::batch(), 300).new_tree(&mut runner).unwrap().current();
    let mut out = BytesMut::from(&file(&parts, &batches)[..]);
    let mut packer = Packer::new().unwrap();
    packer.number = u16::try_from(boundaries(&out).len() - 1).unwrap();
    packer.pack(Kind::Header, &header().to_wire(), &mut out).unwrap();
    packer.pack(Kind::End, &wire::End { time: 7, goes_on: true }, &mut out).unwrap();
    out.to_vec()
}

#[test]
fn frames_are_what_the_document_says() {
    let schema = schema();
    let message = |name| schema.get_message_by_name(&format!("{PACKAGE}.{name}")).unwrap();
    let bytes = full();
    let mut frames = Unpacker::new(&bytes[..]).unwrap();
    let mut seen = BTreeSet::new();
    let mut count = 0;
    while let Some((kind, body)) = frames.next().unwrap() {
        let (name, ours) = match kind {
            Kind::Header => ("Header", format!("{:?}", wire::Header::decode(&body[..]).unwrap())),
            Kind::Frame => ("Frame", format!("{:?}", wire::Frame::decode(&body[..]).unwrap())),
            Kind::End => ("End", format!("{:?}", wire::End::decode(&body[..]).unwrap())),
            Kind::Unknown => panic!("a frame that the document does not know"),
        };
        let theirs = DynamicMessage::decode(message(name), &body[..]).unwrap();
        look(&theirs, &mut seen);
        let theirs = format!("{:?}", Shown(&theirs));
        assert!(ours == theirs, "{}", first_difference(&ours, &theirs));
        count += 1;
    }
    assert!(count > 4, "{count} frames");
    let all = all(&schema);
    let unseen: Vec<_> = all.difference(&seen).collect();
    assert!(unseen.is_empty(), "nobody writes {unseen:?}");
}

fn first_difference(ours: &str, theirs: &str) -> String {
    let at = ours.bytes().zip(theirs.bytes()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| {
        let bytes = &text.as_bytes()[at.saturating_sub(80)..text.len().min(at + 80)];
        String::from_utf8_lossy(bytes).into_owned()
    };
    format!("the tool says\n{}\nand the document\n{}", around(ours), around(theirs))
}

#[test]
fn numbers_outside_of_messages_are_those_of_the_document() {
    let document = document();
    let magic: Vec<_> = MAGIC[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    for said in [
        magic.join(" "),
        format!("format version {}", u16::from_le_bytes([MAGIC[8], MAGIC[9]])),
        format!("a head of {HEAD} bytes"),
        format!("at most {LARGEST} bytes"),
        format!("at most {} messages", super::super::bounds::MESSAGES),
        format!("after {}\n  events", super::super::encode::EVENTS),
        format!("{} KiB of text", super::super::encode::TEXT >> 10),
    ] {
        assert!(document.contains(&said), "{said}");
    }
}
