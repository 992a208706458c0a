//! Queries and path parts of requests.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;
use tollgate_contract::E164;

use super::fault::Fault;
use crate::learned::Scope;

/// Entries of a page, unless asked otherwise.
const LIMIT: usize = 100;

/// Most entries of a page.
const LIMIT_MAX: usize = 1_000;

/// Whether a list is all there is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PutQuery {
    #[serde(default)]
    replace: bool,
}

/// What a list replaces: nothing, or all that the API told of its kind.
pub(super) fn scope(asked: Result<Query<PutQuery>, QueryRejection>, whole: Scope) -> Result<Scope, Fault> {
    let asked = read(asked)?;
    Ok(if asked.replace { whole } else { Scope::Delta })
}

/// The query, or what is wrong with it.
pub(super) fn read<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Fault> {
    query
        .map(|Query(query)| query)
        .map_err(|why| Fault::bad(&why.body_text()))
}

/// How many entries are shown.
pub(super) fn limit(asked: Option<usize>) -> usize {
    asked.unwrap_or(LIMIT).clamp(1, LIMIT_MAX)
}

/// A number of the query or the path. A `+` in a query is read as a space unless it is escaped, so that both are taken.
pub(super) fn number(text: &str) -> Result<E164, Fault> {
    let digits = text.trim_start_matches([' ', '+']);
    let number = format!("+{digits}").parse();
    number.map_err(|_| Fault::bad("not a +E.164 number"))
}

/// Something of the query that has a text form.
pub(super) fn parsed<T: std::str::FromStr>(what: &str, text: Option<&str>) -> Result<Option<T>, Fault> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|_| Fault::bad(&format!("{what} is not of its form")))
}
