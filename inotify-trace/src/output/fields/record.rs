//! The fields that one event or finding has.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Map;

use super::{Field, Type};

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A point in time.
    Time(Timestamp),
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
    /// Several names.
    Names(Vec<&'static str>),
    /// Several numbers.
    Numbers(&'a [i32]),
    /// An object.
    Object(Map<String, serde_json::Value>),
    /// Several objects.
    Objects(Vec<serde_json::Value>),
}

/// The number of fields.
const COUNT: usize = Field::ALL.len();

/// The fields of an event or a finding. Fields that do not apply, or are not known, are absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<'a>([Option<Value<'a>>; COUNT]);

impl Default for Record<'_> {
    fn default() -> Self {
        Self([const { None }; COUNT])
    }
}

impl<'a> Record<'a> {
    /// The value of a field.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&Value<'a>> {
        self.0[field as usize].as_ref()
    }

    /// The values of all columns, in their order.
    pub fn columns(&self) -> impl Iterator<Item = Option<&Value<'a>>> {
        Field::columns().map(|field| self.get(field))
    }

    /// The values of its columns, which borrow nothing: for another thread.
    #[must_use]
    pub fn to_row(&self) -> Row {
        let all = Field::columns().filter_map(|field| Some((field, self.get(field)?.to_static()?)));
        all.collect()
    }

    pub(super) fn set(&mut self, field: Field, value: impl Into<Value<'a>>) {
        let value = value.into();
        debug_assert_eq!(value.kind(), field.kind(), "{field:?}");
        self.0[field as usize] = Some(value);
    }

    /// Sets a field, unless its value is not known.
    pub(super) fn maybe(&mut self, field: Field, value: Option<impl Into<Value<'a>>>) {
        if let Some(value) = value {
            self.set(field, value);
        }
    }

    pub(super) fn remove(&mut self, field: Field) {
        self.0[field as usize] = None;
    }
}

/// The values of a record's columns.
pub type Row = Vec<(Field, Value<'static>)>;

impl FromIterator<(Field, Value<'static>)> for Record<'_> {
    fn from_iter<I: IntoIterator<Item = (Field, Value<'static>)>>(values: I) -> Self {
        let mut record = Self::default();
        for (field, value) in values {
            record.0[field as usize] = Some(value);
        }
        record
    }
}

impl Value<'_> {
    /// The same value, which borrows nothing. None for what no column has.
    fn to_static(&self) -> Option<Value<'static>> {
        Some(match self {
            Self::Time(value) => Value::Time(*value),
            Self::Bool(value) => Value::Bool(*value),
            Self::I32(value) => Value::I32(*value),
            Self::U32(value) => Value::U32(*value),
            Self::U64(value) => Value::U64(*value),
            Self::F64(value) => Value::F64(*value),
            Self::Text(value) => Value::Text(Cow::Owned(value.clone().into_owned())),
            Self::Names(value) => Value::Names(value.clone()),
            Self::Numbers(_) | Self::Object(_) | Self::Objects(_) => return None,
        })
    }

    fn kind(&self) -> Type {
        match self {
            Self::Time(_) => Type::Time,
            Self::Bool(_) => Type::Bool,
            Self::I32(_) => Type::I32,
            Self::U32(_) => Type::U32,
            Self::U64(_) => Type::U64,
            Self::F64(_) => Type::F64,
            Self::Text(_) => Type::Text,
            Self::Names(_) => Type::Names,
            Self::Numbers(_) => Type::Numbers,
            Self::Object(_) => Type::Object,
            Self::Objects(_) => Type::Objects,
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

from! {
    Time Timestamp, Bool bool, I32 i32, U32 u32, U64 u64, F64 f64, Names Vec<&'static str>,
    Object Map<String, serde_json::Value>, Objects Vec<serde_json::Value>,
}

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

impl<'a> From<&'a [i32]> for Value<'a> {
    fn from(value: &'a [i32]) -> Self {
        Self::Numbers(value)
    }
}
