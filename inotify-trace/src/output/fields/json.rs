//! A record as a JSON object: absent fields are left out, and some are in objects of their own.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{Field, Form, Record, Value};

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Time(time) => serializer.collect_str(&format_args!("{time:.9}")),
            Self::Bool(value) => value.serialize(serializer),
            Self::I32(value) => value.serialize(serializer),
            Self::U32(value) => value.serialize(serializer),
            Self::U64(value) => value.serialize(serializer),
            Self::F64(value) => value.serialize(serializer),
            Self::Text(value) => value.serialize(serializer),
            Self::Names(value) => value.serialize(serializer),
            Self::Numbers(value) => value.serialize(serializer),
            Self::Object(value) => value.serialize(serializer),
            Self::Objects(value) => value.serialize(serializer),
        }
    }
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut last = None;
        for (field, value) in self.lines() {
            let Some((object, _)) = field.object() else {
                map.serialize_entry(field.name(), value)?;
                continue;
            };
            // Those of one object stand together.
            if last != Some(object) {
                map.serialize_entry(object, &Object { record: self, name: object })?;
                last = Some(object);
            }
        }
        map.end()
    }
}

/// One of the objects of a record.
pub(super) struct Object<'a> {
    pub(super) record: &'a Record<'a>,
    pub(super) name: &'static str,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.record.lines().filter_map(|(field, value)| {
            let (object, key) = field.object()?;
            (object == self.name).then_some((key, value))
        });
        serializer.collect_map(fields)
    }
}

impl Record<'_> {
    fn lines(&self) -> impl Iterator<Item = (Field, &Value<'_>)> {
        let all = Field::ALL.iter().filter(|field| field.form() != Form::Columns);
        all.filter_map(|&field| Some((field, self.get(field)?)))
    }
}
