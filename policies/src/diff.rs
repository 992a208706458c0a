//! What differs between two policy files, key by key, and which of it a running edge can take on.
//!
//! Compares texts, not the files they name; a value is shown as the file writes it, and the file holds no secret.

use std::collections::BTreeMap;
use std::fmt;

use toml::Value;

/// A key that the two files give different values.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// Its path, such as `calls.fallback_code` or `routes[3].peer`.
    pub key: String,
    /// The old value; `None` if the key is new.
    pub old: Option<String>,
    /// The new value; `None` if the key is gone.
    pub new: Option<String>,
    /// Whether the edge must be started anew for it: it is about sockets and threads, which are made at start.
    pub needs_restart: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restart = if self.needs_restart { " (needs a restart)" } else { "" };
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "~ {} = {new}, was {old}{restart}", self.key),
            (None, Some(new)) => write!(f, "+ {} = {new}{restart}", self.key),
            (Some(old), None) => write!(f, "- {} = {old}{restart}", self.key),
            (None, None) => write!(f, "  {}", self.key),
        }
    }
}

/// Every difference, in the order of keys. Texts that are not TOML differ in nothing; they are no policies.
#[must_use]
pub fn diff(old: &str, new: &str) -> Vec<Change> {
    let (old, new) = (leaves(old), leaves(new));
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let change = |key: &String| Change {
        key: key.clone(),
        old: old.get(key).cloned(),
        new: new.get(key).cloned(),
        needs_restart: needs_restart(key),
    };
    let changes = keys.into_iter().map(change);
    changes.filter(|change| change.old != change.new).collect()
}

/// Whether a key is about what exists from start to end.
fn needs_restart(key: &str) -> bool {
    let is_under = |place: &str| {
        let rest = key.strip_prefix(place);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    MADE_AT_START.iter().any(|place| is_under(place))
}

/// Tables and keys behind sockets, threads, files kept open, and what they were sized by.
const MADE_AT_START: &[&str] = &[
    "mode",
    "inside.listeners",
    "outside.listeners",
    "mapping",
    "inline",
    "state",
    "validator",
    "learned.file",
    "media.workers",
    "media.max_calls",
    "media.inside",
    "media.outside",
    "admin",
    "logging",
];

fn leaves(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        for (key, value) in table {
            walk(key, value, &mut found);
        }
    }
    found
}

fn walk(path: String, value: Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                walk(format!("{path}.{key}"), value, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for (index, item) in items.into_iter().enumerate() {
                walk(format!("{path}[{index}]"), item, found);
            }
        }
        Value::Array(_)
        | Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => drop(found.insert(path, value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_new_and_missing_keys_are_told_apart() {
        let old = "domain = \"a.example\"\n[calls]\nfallback_code = 503\n[[routes]]\nnumber = \"+1\"";
        let new = "domain = \"a.example\"\n[calls]\nfallback_code = 480\n[[routes]]\nnumber = \"+1\"\npeer = \"b:1\"";
        let lines = |old, new| -> Vec<String> { diff(old, new).iter().map(ToString::to_string).collect() };
        assert_eq!(
            lines(old, new),
            ["~ calls.fallback_code = 480, was 503", "+ routes[0].peer = \"b:1\""]
        );
        assert_eq!(lines(new, old).last().unwrap(), "- routes[0].peer = \"b:1\"");
        assert!(lines(old, old).is_empty());
    }

    #[test]
    fn what_is_about_sockets_and_threads_needs_a_restart() {
        for (key, restart) in [
            ("media.max_calls", true),
            ("media.inside[0].ports", true),
            ("admin.listen", true),
            ("media.suites", false),
            ("inside.agent.address", false),
            ("outside.tls.certificate", false),
            ("modem", false),
        ] {
            assert_eq!(needs_restart(key), restart, "{key}");
        }
    }
}
