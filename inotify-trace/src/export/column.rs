//! The columns of flat formats. docs/export.md documents them, and a test holds it to this list.

use std::borrow::Cow;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A point in time: nanoseconds since 1970, UTC.
    Time,
    /// True or false.
    Bool,
    /// A number that may be negative, of 32 bits.
    I32,
    /// A number of 32 bits.
    U32,
    /// A number of 64 bits.
    U64,
    /// A number with a fraction.
    F64,
    /// Text.
    Text,
}

/// What a row has in a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nanoseconds since 1970, UTC.
    Time(i64),
    /// True or false.
    Bool(bool),
    /// A number that may be negative.
    I32(i32),
    /// A number of 32 bits.
    U32(u32),
    /// A number of 64 bits.
    U64(u64),
    /// A number with a fraction.
    F64(f64),
    /// Text.
    Text(Cow<'a, str>),
}

macro_rules! columns {
    ($($variant:ident $name:literal $kind:ident,)*) => {
        /// A column.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "docs/export.md says what each means")]
        pub enum Column { $($variant,)* }

        impl Column {
            /// All columns, in their order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it holds.
            #[must_use]
            pub fn kind(self) -> Type {
                match self { $(Self::$variant => Type::$kind,)* }
            }
        }
    };
}

columns! {
    Time "time" Time,
    BootNs "boot_ns" U64,
    Node "node" Text,
    BootId "boot_id" Text,
    Run "run" Text,
    Event "event" Text,
    Pid "pid" U32,
    Tid "tid" U32,
    Uid "uid" U32,
    Comm "comm" Text,
    CgroupId "cgroup_id" U64,
    Cgroup "cgroup" Text,
    ContainerId "container_id" Text,
    ContainerRuntime "container_runtime" Text,
    ContainerName "container_name" Text,
    PodUid "pod_uid" Text,
    PodName "pod_name" Text,
    Namespace "namespace" Text,
    Image "image" Text,
    Instance "instance" U64,
    Fd "fd" I32,
    Wd "wd" I32,
    Flags "flags" Text,
    Mask "mask" Text,
    Path "path" Text,
    Gone "gone" Bool,
    Inode "inode" U64,
    Dev "dev" Text,
    TargetCgroupId "target_cgroup_id" U64,
    TargetCgroup "target_cgroup" Text,
    TargetContainerId "target_container_id" Text,
    TargetContainerRuntime "target_container_runtime" Text,
    TargetContainerName "target_container_name" Text,
    TargetPodUid "target_pod_uid" Text,
    TargetPodName "target_pod_name" Text,
    TargetNamespace "target_namespace" Text,
    TargetImage "target_image" Text,
    Errno "errno" Text,
    LimitHit "limit_hit" Text,
    Counted "counted" Text,
    Used "used" U32,
    Limit "limit" U32,
    ChargedUid "charged_uid" U32,
    ChargedUser "charged_user" Text,
    ChargedUserns "charged_userns" U32,
    How "how" Text,
    LivedNs "lived_ns" U64,
    Watches "watches" U64,
    CreatorCgroupId "creator_cgroup_id" U64,
    Left "left" U32,
    Queued "queued" U32,
    First "first" I32,
    Last "last" I32,
    Child "child" U32,
    ContainerdVersion "containerd_version" Text,
    LostCount "lost_count" U64,
    LostWhat "lost_what" Text,
    Verdict "verdict" Text,
    Pattern "pattern" Text,
    Instances "instances" U64,
    Since "since" Time,
    WasFound "was_found" Bool,
    Certain "certain" Bool,
    PerMinute "per_minute" F64,
}

/// How many columns there are.
const COUNT: usize = Column::ALL.len();

/// A row. What does not apply, or is not known, is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a>([Option<Value<'a>>; COUNT]);

impl Default for Row<'_> {
    fn default() -> Self {
        Self([const { None }; COUNT])
    }
}

impl<'a> Row<'a> {
    /// What it has in a column.
    #[must_use]
    pub fn get(&self, column: Column) -> Option<&Value<'a>> {
        self.0[column as usize].as_ref()
    }

    /// All it has, in the order of the columns.
    pub fn values(&self) -> impl Iterator<Item = Option<&Value<'a>>> {
        self.0.iter().map(Option::as_ref)
    }

    pub(super) fn set(&mut self, column: Column, value: impl Into<Value<'a>>) {
        let value = value.into();
        debug_assert_eq!(value.kind(), column.kind(), "{column:?}");
        self.0[column as usize] = Some(value);
    }

    /// What is not known is absent.
    pub(super) fn maybe(&mut self, column: Column, value: Option<impl Into<Value<'a>>>) {
        if let Some(value) = value {
            self.set(column, value);
        }
    }

    pub(super) fn remove(&mut self, column: Column) {
        self.0[column as usize] = None;
    }
}

impl Value<'_> {
    fn kind(&self) -> Type {
        match self {
            Self::Time(_) => Type::Time,
            Self::Bool(_) => Type::Bool,
            Self::I32(_) => Type::I32,
            Self::U32(_) => Type::U32,
            Self::U64(_) => Type::U64,
            Self::F64(_) => Type::F64,
            Self::Text(_) => Type::Text,
        }
    }
}

macro_rules! from {
    ($($variant:ident $from:ty,)*) => {
        $(impl From<$from> for Value<'_> {
            fn from(value: $from) -> Self {
                Self::$variant(value)
            }
        })*
    };
}

from! { Bool bool, I32 i32, U32 u32, U64 u64, F64 f64, }

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::Text(Cow::Owned(value))
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(value: Cow<'a, str>) -> Self {
        Self::Text(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_is_documented_in_order() {
        let name = |line: &'static str| {
            let (names, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            let kind = rest.split(" |").next()?;
            Some(names.split("`, `").map(move |name| format!("{name} {kind}")))
        };
        let file = include_str!("../../../docs/export.md");
        let documented: Vec<_> = file.lines().filter_map(name).flatten().collect();
        let kind = |column: &Column| match column.kind() {
            Type::Time => "time",
            Type::Bool => "bool",
            Type::I32 => "int32",
            Type::U32 => "uint32",
            Type::U64 => "uint64",
            Type::F64 => "double",
            Type::Text => "text",
        };
        let there: Vec<_> =
            Column::ALL.iter().map(|it| format!("{} {}", it.name(), kind(it))).collect();
        assert_eq!(documented, there);
    }
}
