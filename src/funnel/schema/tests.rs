//! The schemas: every kind is in them, and every reference leads somewhere.

use super::*;
use std::collections::BTreeSet;

fn schemas() -> Vec<(&'static str, Json)> {
    let titled = |title: &str| json!({ "type": "object", "title": title });
    let store = json!({ "grant": reference("store_booking"), "lookup": reference("store_lookup") });
    let store = json!({ "type": "object", "title": "store", "properties": store });
    let store = Store { store, booking: titled("booking"), lookup: titled("lookup") };
    all(titled("provider"), titled("source"), titled("service"), store)
}

/// Calls `see` with every object of a document.
fn walk<'a>(json: &'a Json, see: &mut dyn FnMut(&'a Map<String, Json>)) {
    match json {
        Json::Object(map) => {
            see(map);
            map.values().for_each(|value| walk(value, see));
        }
        Json::Array(items) => items.iter().for_each(|item| walk(item, see)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_definition_is_used() {
    for (file, schema) in schemas() {
        let mut used = BTreeSet::new();
        walk(&schema, &mut |map| {
            if let Some(target) = map.get("$ref").and_then(Json::as_str) {
                let pointer = target.strip_prefix('#').expect("references stay in the file");
                assert!(schema.pointer(pointer).is_some(), "{file}: {target}");
                used.insert(target.trim_start_matches("#/$defs/"));
            }
        });
        let there: BTreeSet<&str> =
            schema.get("$defs").and_then(Json::as_object).into_iter().flat_map(Map::keys).map(String::as_str).collect();
        assert_eq!(used, there, "{file}");
        assert_eq!((schema["$schema"].as_str(), schema["title"].is_string()), (Some(DIALECT), true), "{file}");
    }
}

#[test]
fn every_kind_of_step_and_trigger_is_named_with_its_fields() {
    let schema = funnel_schema();
    for kind in step::KINDS {
        let def = &schema["$defs"][format!("step_{}", kind.name)];
        for field in kind.fields.iter().chain(step::COMMON) {
            assert!(def["properties"][field.name].is_object(), "{}: {}", kind.name, field.name);
        }
        assert_eq!(def["required"][0], kind.name);
        assert!(def["examples"].is_array() != kind.example.contains('…'), "{}: {}", kind.name, kind.example);
        let target = json!({ "$ref": format!("#/$defs/step_{}", kind.name) });
        assert!(schema["$defs"]["step"]["anyOf"].as_array().unwrap().contains(&target));
    }
    let arms = schema["$defs"]["trigger"]["anyOf"].as_array().unwrap();
    for kind in trigger::KINDS {
        let arm = arms.iter().find(|arm| arm["required"][0] == kind.name).expect(kind.name);
        assert!(kind.fields.iter().all(|field| arm["properties"][field.name].is_object()), "{}", kind.name);
        assert!(arm["examples"][0].get(kind.name).is_some(), "{}: {}", kind.name, arm["examples"]);
        assert_eq!(kind.bare, arms.iter().any(|arm| arm["const"] == kind.name), "{}", kind.name);
    }
}

#[test]
fn every_field_of_a_file_is_there_and_what_is_required_is_said() {
    let schemas = schemas();
    let tables = [draft::FIELDS, settings::FIELDS, &[], catalog::FIELDS, &[]];
    for ((file, schema), table) in schemas.iter().zip(tables) {
        for field in table {
            assert!(
                schema["properties"][field.name]["description"].as_str().is_some_and(|text| text.starts_with(field.doc)),
                "{file}"
            );
            let required = schema["required"].as_array().is_some_and(|names| names.contains(&json!(field.name)));
            assert_eq!(required, field.required, "{file}: {}", field.name);
        }
    }
    let when = &segments_schema()["additionalProperties"]["properties"]["when"];
    assert!(when["description"].is_string());
}

#[test]
fn an_event_of_a_test_takes_properties_and_nothing_else_does() {
    let defs = &tests_schema()["$defs"];
    let open: Vec<&Json> =
        defs["test_event"]["anyOf"].as_array().unwrap().iter().filter(|arm| arm["additionalProperties"] == true).collect();
    assert_eq!(open.iter().map(|arm| &arm["title"]).collect::<Vec<_>>(), ["event"]);
    assert_eq!(defs["test"]["additionalProperties"], false);
}
