//! The few query parameters that health checks take.

/// All values of a parameter, in order. The values in use are plain words, so nothing is decoded.
pub(super) fn values<'a>(query: Option<&'a str>, name: &str) -> Vec<&'a str> {
    pairs(query).filter(|(key, value)| *key == name && !value.is_empty()).map(|(_, v)| v).collect()
}

/// Whether the parameter is there at all, as in `?verbose`.
pub(super) fn has(query: Option<&str>, name: &str) -> bool {
    pairs(query).any(|(key, _)| key == name)
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    query.unwrap_or("").split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}
