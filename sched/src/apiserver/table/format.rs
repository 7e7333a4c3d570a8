//! Words and lengths of time as kubectl writes them.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

pub(super) const NONE: &str = "<none>";
const UNKNOWN: &str = "<unknown>";

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// How old an object is.
pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    since(&object["metadata"]["creationTimestamp"], now)
}

/// How long ago a time was.
pub(super) fn since(time: &Value, now: Timestamp) -> Value {
    match timestamp(time) {
        Some(time) => length(now.as_second() - time.as_second()).into(),
        None => UNKNOWN.into(),
    }
}

pub(super) fn timestamp(time: &Value) -> Option<Timestamp> {
    time.as_str()?.parse().ok()
}

/// A length of time with about two digits of precision: `5s`, `3m20s`, `4h`, `2d3h`, `400d`.
pub(super) fn length(seconds: i64) -> String {
    let two = |large: i64, unit: &str, small: i64, part: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{part}"),
    };
    let (minutes, hours, days) = (seconds / MINUTE, seconds / HOUR, seconds / DAY);
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % MINUTE, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// The text of a field, or `<none>`.
pub(super) fn or_none(value: &Value) -> Value {
    match value.as_str() {
        Some(text) if !text.is_empty() => text.into(),
        _ => NONE.into(),
    }
}

/// A number that is 0 where there is none, as text.
pub(super) fn count(value: &Value) -> Value {
    value.as_i64().unwrap_or(0).to_string().into()
}

pub(super) fn name(object: &Value) -> Value {
    object["metadata"]["name"].clone()
}

/// The elements of a list; none if it is no list.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Joined by commas, or `<none>`.
pub(super) fn join(words: impl Iterator<Item = String>) -> Value {
    let words: Vec<String> = words.collect();
    if words.is_empty() { NONE.into() } else { words.join(",").into() }
}

/// `a=b,c=d` of a map of labels.
pub(super) fn labels(map: &Value) -> Value {
    let pairs = map.as_object().into_iter().flatten();
    join(pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())))
}

/// The same of a selector with `matchLabels` and `matchExpressions`.
pub(super) fn selector(selector: &Value) -> Value {
    let pairs = selector["matchLabels"].as_object().into_iter().flatten();
    let equal = pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let others = list(&selector["matchExpressions"]).map(|one| {
        let key = one["key"].as_str().unwrap_or_default();
        let values: Vec<&str> = list(&one["values"]).filter_map(Value::as_str).collect();
        let values = values.join(",");
        match one["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        }
    });
    join(equal.chain(others))
}

/// One field of all containers of a template.
pub(super) fn containers(spec: &Value, field: &str) -> Value {
    let all = list(&spec["template"]["spec"]["containers"]);
    join(all.map(|container| container[field].as_str().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_short() {
        // Proves the steps at which Kubernetes drops precision.
        for (seconds, text) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (600, "10m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 60, "3h1m"),
            (8 * HOUR + 60, "8h"),
            (2 * DAY + HOUR, "2d1h"),
            (8 * DAY + HOUR, "8d"),
            (2 * 365 * DAY + DAY, "2y1d"),
            (9 * 365 * DAY, "9y"),
        ] {
            assert_eq!(length(seconds), text);
        }
    }
}
