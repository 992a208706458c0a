//! The table of keys as a JSON schema and as a page for people.
//!
//! Adds nothing of its own: what is not in the table of keys is in neither.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::keys::{self, Absent, KEYS, Key, Kind};

/// The JSON schema (2020-12) of a policy file, as committed in `schema/tollgate-policy.schema.json`.
///
/// It holds types, ranges, names and defaults; what spans several keys is checked by [`parse`](crate::parse) alone.
#[must_use]
pub fn schema() -> Value {
    let mut schema = table("");
    let root = schema.as_object_mut().expect("a table's schema is an object");
    root.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    root.insert("title".to_owned(), json!("Tollgate policy"));
    schema
}

/// The reference of all keys in Markdown, as committed in `REFERENCE.md`.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Policy reference\n\nEvery key of the policy file. Generated from the table of keys in `src/keys.rs`; \
         a test keeps the two equal.\n",
    );
    let tables = KEYS
        .iter()
        .filter(|key| matches!(key.kind, Kind::Table | Kind::Tables(..)));
    section(&mut page, "Top of the file", "", "");
    for key in tables {
        let (heading, table) = match key.kind {
            Kind::Tables(min, max) => (
                format!("`[[{}]]`, {min} to {max}", key.path.replace("[]", "")),
                format!("{}[]", key.path),
            ),
            Kind::Table | Kind::Text(_) | Kind::Texts(_) | Kind::Choice(..) | Kind::Choices(..) => plain(key),
            Kind::Integer(..) | Kind::Integers(..) | Kind::Ratio(..) | Kind::Flag | Kind::Time => plain(key),
        };
        section(&mut page, &heading, &table, key.reason);
    }
    page
}

fn section(page: &mut String, heading: &str, table: &str, intro: &str) {
    let rows: Vec<&Key> = KEYS
        .iter()
        .filter(|key| keys::split(key.path).0 == table && !is_table(key))
        .collect();
    let _ = write!(page, "\n## {heading}\n");
    if !intro.is_empty() {
        let _ = write!(page, "\n{intro}\n");
    }
    if rows.is_empty() {
        return;
    }
    page.push_str("\n| key | value | default | what and why |\n| --- | --- | --- | --- |\n");
    for key in rows {
        let name = keys::split(key.path).1;
        let _ = writeln!(
            page,
            "| `{name}` | {} | {} | {} |",
            value(key),
            default(key),
            key.reason
        );
    }
}

/// Heading and path of a single table.
fn plain(key: &Key) -> (String, String) {
    (format!("`[{}]`", key.path.replace("[]", "")), key.path.to_owned())
}

fn is_table(key: &Key) -> bool {
    matches!(key.kind, Kind::Table | Kind::Tables(..))
}

fn value(key: &Key) -> String {
    let unit = if key.unit.is_empty() {
        String::new()
    } else {
        format!(" {}", key.unit)
    };
    match key.kind {
        Kind::Integer(min, max) => format!("{min} to {max}{unit}"),
        Kind::Integers(min, max) => format!("list of {min} to {max}{unit}"),
        Kind::Ratio(min, max) => format!("{min} to {max}"),
        Kind::Texts(form) | Kind::Choices(_, form) => format!("list, each {form}"),
        Kind::Text(_) | Kind::Choice(..) | Kind::Flag | Kind::Time | Kind::Table | Kind::Tables(..) => {
            key.kind.form().to_owned()
        }
    }
}

fn default(key: &Key) -> String {
    match key.default {
        Absent::Required => "required".to_owned(),
        Absent::Optional(words) => words.to_owned(),
        Absent::Value(literal) => format!("`{literal}`"),
    }
}

/// The schema of the table of a path.
fn table(path: &str) -> Value {
    let children = || KEYS.iter().filter(|key| keys::split(key.path).0 == path);
    let mut properties = Map::new();
    for key in children() {
        properties.insert(keys::split(key.path).1.to_owned(), property(key));
    }
    let is_required = |key: &&Key| matches!(key.default, Absent::Required);
    let required: Vec<&str> = children()
        .filter(is_required)
        .map(|key| keys::split(key.path).1)
        .collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

fn property(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Table => table(key.path),
        Kind::Tables(min, max) => {
            json!({ "type": "array", "minItems": min, "maxItems": max, "items": table(&format!("{}[]", key.path)) })
        }
        Kind::Text(_) => json!({ "type": "string" }),
        Kind::Time => json!({ "type": "string", "format": "date-time" }),
        Kind::Texts(_) => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Choice(names, _) => json!({ "type": "string", "enum": names }),
        Kind::Choices(names, _) => json!({ "type": "array", "items": { "type": "string", "enum": names } }),
        Kind::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Integers(min, max) => {
            json!({ "type": "array", "items": { "type": "integer", "minimum": min, "maximum": max } })
        }
        Kind::Ratio(min, max) => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Flag => json!({ "type": "boolean" }),
    };
    let unit = if key.unit.is_empty() {
        String::new()
    } else {
        format!(" Unit: {}.", key.unit)
    };
    let object = schema.as_object_mut().expect("every schema is an object");
    object.insert("description".to_owned(), json!(format!("{}{unit}", key.reason)));
    if let Absent::Value(literal) = key.default {
        let default: Value = serde_json::from_str(literal).expect("defaults are literals of TOML and JSON alike");
        object.insert("default".to_owned(), default);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_and_reference_are_those_of_the_table_of_keys() {
        let folder = env!("CARGO_MANIFEST_DIR");
        let schema_text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
        for (name, made) in [
            ("schema/tollgate-policy.schema.json", schema_text),
            ("REFERENCE.md", reference()),
        ] {
            let path = format!("{folder}/{name}");
            if std::env::var_os("UPDATE_REFERENCE").is_some() {
                std::fs::write(&path, &made).unwrap();
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                committed == made,
                "{name} is stale: run the tests once with UPDATE_REFERENCE=1"
            );
        }
    }

    #[test]
    fn defaults_lie_within_their_ranges() {
        for key in KEYS {
            let Absent::Value(literal) = key.default else {
                continue;
            };
            match key.kind {
                Kind::Integer(min, max) => assert!((min..=max).contains(&literal.parse().unwrap()), "{}", key.path),
                Kind::Choice(names, _) => assert!(names.contains(&literal.trim_matches('"')), "{}", key.path),
                Kind::Flag => assert!(["true", "false"].contains(&literal), "{}", key.path),
                // Texts with defaults are read by the tests of whole policies.
                Kind::Text(_) | Kind::Texts(_) | Kind::Choices(..) => {}
                Kind::Table | Kind::Tables(..) | Kind::Integers(..) | Kind::Ratio(..) | Kind::Time => {
                    panic!("{} needs a check of its own", key.path)
                }
            }
        }
    }
}
