use std::collections::{BTreeMap, BTreeSet};

use inotify_trace_model::event::EventName;

use super::*;

/// The rows of the table in docs/fields.md.
fn documented() -> Vec<[String; 4]> {
    let file = include_str!("../../../../docs/fields.md");
    let row = |line: &str| {
        let cells: Vec<_> = line.strip_prefix("| ")?.split(" | ").collect();
        let [json, json_type, column, column_type, ..] = cells[..] else { return None };
        let names = |cell: &str| -> Vec<_> {
            cell.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
        };
        let (json, column) = (names(json), names(column));
        let rows = json.into_iter().zip(column);
        Some(
            rows.map(|(json, column)| [json, json_type.into(), column, column_type.into()])
                .collect::<Vec<_>>(),
        )
    };
    let table = file.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    table.map_while(row).flatten().collect()
}

#[test]
fn each_field_is_documented_in_order() {
    const NONE: &str = "–";
    let field = |field: &Field| {
        let (in_json, in_column) = match field.kind() {
            Type::Time => ("string", "time"),
            Type::Bool => ("boolean", "bool"),
            Type::I32 => ("number", "int32"),
            Type::U32 => ("number", "uint32"),
            Type::U64 => ("number", "uint64"),
            Type::F64 => ("number", "double"),
            Type::Text => ("string", "text"),
            Type::Names => ("array of strings", "text"),
            Type::Numbers => ("array of numbers", NONE),
            Type::Object => ("object", NONE),
            Type::Objects => ("array of objects", NONE),
        };
        let name = match field.object() {
            Some((object, key)) => format!("{object}.{key}"),
            None => field.name().to_owned(),
        };
        let (name, in_json) =
            if field.form() == Form::Columns { (NONE.to_owned(), NONE) } else { (name, in_json) };
        let (column, in_column) =
            if field.form() == Form::Lines { (NONE, NONE) } else { (field.name(), in_column) };
        [name, in_json.to_owned(), column.to_owned(), in_column.to_owned()]
    };
    let fields: Vec<_> = Field::ALL.iter().map(field).collect();
    assert_eq!(documented(), fields);
}

#[test]
fn fields_of_an_object_stand_together() {
    let objects = Field::ALL.iter().map(|field| field.object().map(|(object, _)| object));
    let mut objects: Vec<_> = objects.collect();
    objects.dedup();
    objects.retain(Option::is_some);
    assert_eq!(objects, [Some("container"), Some("target_container")]);
    for field in Field::ALL {
        let is_scalar = !matches!(field.kind(), Type::Numbers | Type::Object | Type::Objects);
        assert!(is_scalar || field.form() == Form::Lines, "{field:?} is in no column");
    }
}

/// The fields of events in docs/json.md: the words in code style of each row's last cell.
fn documented_of_events() -> BTreeMap<String, BTreeSet<String>> {
    let file = include_str!("../../../../docs/json.md");
    let words = |cell: &str| -> BTreeSet<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let (events, _, fields) = (cells.next()?, cells.next()?, cells.next()?);
        let events = words(&format!("`{events}"));
        Some(events.into_iter().map(move |event| (event, words(fields))).collect::<Vec<_>>())
    };
    file.lines().filter_map(row).flatten().collect()
}

/// The recording has every kind of event, each with all its possible fields.
#[test]
fn what_an_event_has_is_documented() {
    let common = [
        "time",
        "boot_ns",
        "event",
        "pid",
        "tid",
        "uid",
        "comm",
        "thread",
        "cgroup_id",
        "cgroup",
        "container",
        "instance",
        "used",
        "limit",
        "charged_uid",
        "charged_userns",
        "limit_level",
        "payer_uid",
        "payer_userns",
    ];
    let documented = documented_of_events();
    let mut seen = BTreeMap::new();
    for line in include_str!("../../../tests/recordings/v1.json").lines() {
        let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        let event = line["event"].as_str().unwrap().to_owned();
        if event != "summary" {
            let own = line.keys().filter(|name| !common.contains(&name.as_str())).cloned();
            seen.entry(event).or_insert_with(BTreeSet::new).extend(own);
        }
    }
    for name in EventName::ALL {
        let (documented, seen) = (&documented[name.as_str()], &seen[name.as_str()]);
        assert!(documented.is_superset(seen), "{name:?}: {documented:?}, and has {seen:?}");
    }
}

/// What some fields can say is listed in docs/json.md.
#[test]
fn what_a_field_can_say_is_documented() {
    let document = include_str!("../../../../docs/json.md");
    let mut seen = BTreeMap::new();
    for line in include_str!("../../../tests/recordings/v1.json").lines() {
        let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        for name in ["limit_hit", "lost_what", "how", "path_unknown", "verdict"] {
            if let Some(value) = line.get(name).and_then(|it| it.as_str()) {
                assert!(document.contains(&format!("`{value}`")), "{name}: {value}");
                *seen.entry(name).or_insert(0) += 1;
            }
        }
    }
    assert!(seen.contains_key("lost_what") && seen.contains_key("how"), "{seen:?}");
}
