//! The file as written: tables and values with their lines, read by key and checked against the table of keys.
//!
//! A read never stops at a mistake. It notes the error and returns a placeholder or nothing; a policy with errors is
//! never handed out, so placeholders are never seen.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::PolicyError;
use crate::forms;
use crate::keys::{self, Absent, Key, Kind};

/// The file being read, and the mistakes found in it so far.
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    pub(crate) folder: &'a Path,
    pub(crate) errors: RefCell<Vec<PolicyError>>,
}

impl Source<'_> {
    /// Notes a mistake at a byte offset.
    pub(crate) fn fault(&self, at: usize, key: &str, problem: impl Into<String>, mend: impl Into<String>) {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        self.errors.borrow_mut().push(PolicyError {
            file: self.name.to_owned(),
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            key: key.to_owned(),
            problem: problem.into(),
            mend: mend.into(),
        });
    }
}

/// One table of the file, or the place where it would stand.
pub(crate) struct Section<'a> {
    source: &'a Source<'a>,
    /// As errors show it: `inside.listeners[1]`.
    path: String,
    /// As the table of keys has it: `inside.listeners[]`.
    schema: String,
    table: Option<&'a DeTable<'a>>,
    at: usize,
}

impl<'a> Section<'a> {
    pub(crate) fn root(source: &'a Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self {
            source,
            path: String::new(),
            schema: String::new(),
            table: Some(table),
            at: 0,
        }
    }

    /// The table under a key; one that is absent has all its keys absent.
    pub(crate) fn section(&self, key: &str) -> Self {
        let value = self.value(key);
        let table = value.and_then(|value| value.get_ref().as_table());
        if value.is_some() && table.is_none() {
            self.fault(
                key,
                "is not a table",
                format!("write [{}] and its keys below it", join(&self.path, key)),
            );
        }
        self.child(
            join(&self.path, key),
            join(&self.schema, key),
            table,
            value.map_or(self.at, |value| value.span().start),
        )
    }

    /// The tables of an array of tables, their number checked.
    pub(crate) fn sections(&self, key: &str) -> Vec<Self> {
        let heading = format!("write [[{}]] and its keys below it", join(&self.path, key));
        let Kind::Tables(min, max) = self.spec(key).kind else {
            unreachable!("{key} is an array of tables")
        };
        let value = self.value(key);
        let array = value.and_then(|value| value.get_ref().as_array());
        if value.is_some() && array.is_none() {
            self.fault(key, "is not an array of tables", heading);
            return Vec::new();
        }
        let count = array.map_or(0, |array| array.len());
        if count < min {
            self.fault(key, format!("there are {count}, and at least {min} is needed"), heading);
        } else if count > max {
            self.fault(
                key,
                format!("there are {count}, and at most {max} are allowed"),
                format!("keep {max} of them"),
            );
        }
        let mut found = Vec::new();
        for (index, item) in array.into_iter().flat_map(|array| array.iter()).enumerate().take(max) {
            let (path, schema) = (
                format!("{}[{index}]", join(&self.path, key)),
                format!("{}[]", join(&self.schema, key)),
            );
            match item.get_ref().as_table() {
                Some(table) => found.push(self.child(path, schema, Some(table), item.span().start)),
                None => self
                    .source
                    .fault(item.span().start, &path, "is not a table", "put its keys into { }"),
            }
        }
        found
    }

    /// The table of a path below this one, such as `media.outside[0]`.
    pub(crate) fn at(&self, path: &str) -> Self {
        let (step, rest) = path.split_once('.').unwrap_or((path, ""));
        let (key, index) = step.trim_end_matches(']').split_once('[').unwrap_or((step, ""));
        let value = self.value(key);
        let item = match index.parse::<usize>() {
            Ok(index) => value.and_then(|value| value.get_ref().as_array()?.get(index)),
            Err(_) => value,
        };
        let schema = if index.is_empty() {
            key.to_owned()
        } else {
            format!("{key}[]")
        };
        let table = item.and_then(|item| item.get_ref().as_table());
        let at = item.map_or(self.at, |item| item.span().start);
        let found = self.child(join(&self.path, step), join(&self.schema, &schema), table, at);
        if rest.is_empty() { found } else { found.at(rest) }
    }

    /// Whether the table itself is written.
    pub(crate) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the key is written.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Notes a mistake about a key of this table, or about the table if `key` is empty.
    pub(crate) fn fault(&self, key: &str, problem: impl Into<String>, mend: impl Into<String>) {
        let at = self.value(key).map_or(self.at, |value| value.span().start);
        self.source.fault(at, &join(&self.path, key), problem, mend);
    }

    /// A text, or its default; `None` if it is optional and absent, or if an error was noted.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        let Some(value) = self.value(key) else {
            return self.default_text(key);
        };
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, value.get_ref());
        }
        text
    }

    /// A text read by `read`; if that finds nothing, the error tells the key's form.
    pub(crate) fn parsed<T>(&self, key: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(key)?;
        let read = read(text);
        if read.is_none() {
            let kind = self.spec(key).kind;
            self.fault(
                key,
                format!("\"{text}\" is not {}", kind.form()),
                format!("write {}", kind.form()),
            );
        }
        read
    }

    /// A list of texts, each read by `read`; empty if absent without default.
    pub(crate) fn list<T>(&self, key: &str, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let Some(value) = self.value(key) else {
            return self.default_list(key).into_iter().filter_map(read).collect();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value.get_ref());
            return Vec::new();
        };
        let mut found = Vec::new();
        for (index, item) in array.iter().enumerate() {
            match item.get_ref().as_str().and_then(&read) {
                Some(item) => found.push(item),
                None => {
                    let shown = item.get_ref().as_str().unwrap_or_else(|| item.get_ref().type_str());
                    let form = self.spec(key).kind.form();
                    let path = format!("{}[{index}]", join(&self.path, key));
                    let problem = format!("\"{shown}\" is not {form}");
                    self.source.fault(
                        item.span().start,
                        &path,
                        problem,
                        format!("write {form} in double quotes"),
                    );
                }
            }
        }
        found
    }

    /// A list of integers within the key's range; empty if absent.
    pub(crate) fn integers(&self, key: &str) -> Vec<u64> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value.get_ref());
            return Vec::new();
        };
        let Kind::Integers(min, max) = self.spec(key).kind else {
            unreachable!("{key} is a list of integers")
        };
        array
            .iter()
            .filter_map(|item| self.in_range(key, item, min, max))
            .collect()
    }

    /// One of the names of a choice.
    pub(crate) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.parsed(key, |text| {
            choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
        })
    }

    /// An integer within the key's range, or its default.
    pub(crate) fn integer(&self, key: &str) -> u64 {
        let Kind::Integer(min, max) = self.spec(key).kind else {
            unreachable!("{key} is an integer")
        };
        match self.value(key) {
            Some(value) => self.in_range(key, value, min, max).unwrap_or(min),
            None => self.default_text(key).and_then(|text| text.parse().ok()).unwrap_or(min),
        }
    }

    /// A number within the key's range; `None` if absent.
    pub(crate) fn ratio(&self, key: &str) -> Option<f64> {
        let Kind::Ratio(min, max) = self.spec(key).kind else {
            unreachable!("{key} is a ratio")
        };
        let value = self.value(key)?;
        let Some(found) = forms::number(value.get_ref()) else {
            self.wrong_type(key, value.get_ref());
            return None;
        };
        if !(min..=max).contains(&found) {
            self.fault(
                key,
                format!("{found} is not from {min} to {max}"),
                format!("write a number from {min} to {max}"),
            );
        }
        Some(found)
    }

    /// A boolean, or its default.
    pub(crate) fn flag(&self, key: &str) -> bool {
        let Some(value) = self.value(key) else {
            return self.default_text(key) == Some("true");
        };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong_type(key, value.get_ref());
            false
        })
    }

    /// A date and time with offset, as text or as TOML writes it, in time since 1970.
    pub(crate) fn time(&self, key: &str) -> Option<std::time::Duration> {
        let value = self.value(key)?;
        let read = match value.get_ref().as_datetime() {
            Some(time) => forms::unix_time(time),
            None => value
                .get_ref()
                .as_str()
                .and_then(|text| forms::unix_time(&text.parse().ok()?)),
        };
        if read.is_none() {
            let form = self.spec(key).kind.form();
            self.fault(key, format!("is not {form}"), format!("write {form}"));
        }
        read
    }

    /// The path of a file that must be there to read.
    pub(crate) fn file(&self, key: &str) -> Option<PathBuf> {
        let path = self.resolve(self.text(key)?);
        // Opened only if it is a file: to open a pipe would wait for its writer.
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() => match std::fs::File::open(&path) {
                Ok(_) => return Some(path),
                Err(why) => self.unreadable(key, &path, &why),
            },
            Ok(_) => self.fault(key, format!("{} is not a file", path.display()), "name a file"),
            Err(why) => self.unreadable(key, &path, &why),
        }
        None
    }

    /// The text of a small file, its size bounded.
    pub(crate) fn contents(&self, key: &str) -> Option<String> {
        let path = self.file(key)?;
        let size = std::fs::metadata(&path).map_or(0, |file| file.len());
        if size > MAX_CONTENTS_LEN {
            self.fault(
                key,
                format!("{} has {size} bytes", path.display()),
                format!("name a file of at most {MAX_CONTENTS_LEN} bytes"),
            );
            return None;
        }
        std::fs::read_to_string(&path)
            .map_err(|why| self.unreadable(key, &path, &why))
            .ok()
    }

    /// A path that, if relative, starts at the policy's folder.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        self.source.folder.join(path)
    }

    fn unreadable(&self, key: &str, path: &Path, why: &std::io::Error) {
        let mend = "put the file there and let this user read it; relative names start at the policy's folder";
        self.fault(key, format!("{} cannot be read: {why}", path.display()), mend);
    }

    /// Notes every key that is in no table of keys, here and below.
    pub(crate) fn refuse_unknown_keys(&self) {
        for (key, value) in self.table.into_iter().flat_map(|table| table.iter()) {
            let (name, schema) = (key.get_ref().as_ref(), join(&self.schema, key.get_ref()));
            if !keys::is_known(&schema) {
                let problem = "is not a key of the policy";
                self.source.fault(
                    key.span().start,
                    &join(&self.path, name),
                    problem,
                    keys::suggestion(&self.schema, name),
                );
                continue;
            }
            self.refuse_unknown_below(name, &schema, value);
        }
    }

    fn refuse_unknown_below(&self, name: &str, schema: &str, value: &'a Spanned<DeValue<'a>>) {
        let path = join(&self.path, name);
        let kind = keys::find(schema).map(|key| key.kind);
        if let (Some(Kind::Table), Some(table)) = (kind, value.get_ref().as_table()) {
            let below = self.child(path, schema.to_owned(), Some(table), value.span().start);
            return below.refuse_unknown_keys();
        }
        let (Some(Kind::Tables(..)), Some(array)) = (kind, value.get_ref().as_array()) else {
            return;
        };
        for (index, item) in array.iter().enumerate() {
            let Some(table) = item.get_ref().as_table() else {
                continue;
            };
            let (path, schema) = (format!("{path}[{index}]"), format!("{schema}[]"));
            self.child(path, schema, Some(table), item.span().start)
                .refuse_unknown_keys();
        }
    }

    fn in_range(&self, key: &str, value: &Spanned<DeValue<'_>>, min: u64, max: u64) -> Option<u64> {
        let Some(found) = value.get_ref().as_integer().and_then(forms::integer) else {
            self.wrong_type(key, value.get_ref());
            return None;
        };
        let unit = self.spec(key).unit;
        let unit = if unit.is_empty() {
            String::new()
        } else {
            format!(" {unit}")
        };
        let within = u64::try_from(found).ok().filter(|found| (min..=max).contains(found));
        if within.is_none() {
            let mend = format!("write a whole number from {min} to {max}{unit}");
            self.fault(key, format!("{found} is not from {min} to {max}{unit}"), mend);
        }
        within
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }

    fn default_text(&self, key: &str) -> Option<&'static str> {
        match self.spec(key).default {
            Absent::Value(literal) => Some(literal.trim_matches('"')),
            Absent::Optional(_) => None,
            Absent::Required => {
                self.fault(key, "is missing", format!("add it: {}", self.spec(key).kind.form()));
                None
            }
        }
    }

    fn default_list(&self, key: &str) -> Vec<&'static str> {
        let Some(literal) = self.default_text(key) else {
            return Vec::new();
        };
        let items = literal
            .trim_matches(['[', ']'])
            .split(',')
            .map(|item| item.trim().trim_matches('"'));
        items.filter(|item| !item.is_empty()).collect()
    }

    fn wrong_type(&self, key: &str, value: &DeValue<'_>) {
        let form = self.spec(key).kind.form();
        let detail = if let Kind::Integer(min, max) = self.spec(key).kind {
            format!(" from {min} to {max}, without quotes")
        } else if self.spec(key).kind.is_text() {
            " in double quotes".to_owned()
        } else {
            String::new()
        };
        self.fault(
            key,
            format!("is of type {}, not {form}", value.type_str()),
            format!("write {form}{detail}"),
        );
    }

    fn spec(&self, key: &str) -> &'static Key {
        keys::find(&join(&self.schema, key)).expect("every key that is read stands in the table of keys")
    }

    fn child(&self, path: String, schema: String, table: Option<&'a DeTable<'a>>, at: usize) -> Self {
        Self {
            source: self.source,
            path,
            schema,
            table,
            at,
        }
    }
}

/// Most bytes of a ticket or key file.
const MAX_CONTENTS_LEN: u64 = 65_536;

fn join(path: &str, key: &str) -> String {
    match (path, key) {
        ("", key) => key.to_owned(),
        (path, "") => path.to_owned(),
        (path, key) => format!("{path}.{key}"),
    }
}
