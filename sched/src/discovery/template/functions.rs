//! What templates can call: confd's functions, and the layout's instances.

use std::sync::Arc;

use minijinja::value::{Rest, Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};

use super::lookup::{self, Helpers};
use super::values::{Pair, Values};
use super::{sealed, text};

/// Adds all functions, looking at `values`.
pub(super) fn add(environment: &mut Environment<'_>, values: &Arc<Values>, helpers: &Arc<Helpers>) {
    add_keys(environment, values);
    sealed::add(environment, values, helpers);
    lookup::add(environment, helpers);
    text::add(environment);
    environment.add_function("json", |text: &str| json(text, ValueKind::Map));
    environment.add_function("jsonArray", |text: &str| json(text, ValueKind::Seq));
    for name in ["env", "getenv"] {
        environment.add_function(name, |name: &str, default: Rest<String>| getenv(name, &default));
    }
    environment.add_function("fileExists", |path: &str| std::path::Path::new(path).exists());
    environment.add_function("datetime", |format: Rest<String>| datetime(&format));
    environment.add_function("add", |a: i64, b: i64| a.checked_add(b).ok_or_else(too_large));
    environment.add_function("sub", |a: i64, b: i64| a.checked_sub(b).ok_or_else(too_large));
    environment.add_function("mul", |a: i64, b: i64| a.checked_mul(b).ok_or_else(too_large));
    environment.add_function("div", |a: i64, b: i64| a.checked_div(b).ok_or_else(by_zero));
    environment.add_function("mod", |a: i64, b: i64| a.checked_rem(b).ok_or_else(by_zero));
    environment.add_function("seq", |first: i64, last: i64| (first..=last).collect::<Vec<_>>());
}

fn add_keys(environment: &mut Environment<'_>, values: &Arc<Values>) {
    let seen = values.clone();
    environment.add_function("getv", move |key: &str, default: Rest<Value>| {
        match (seen.get(key), default.first()) {
            (Some(value), _) => Ok(Value::from(value)),
            (None, Some(default)) => Ok(default.clone()),
            (None, None) => Err(missing(key)),
        }
    });
    let seen = values.clone();
    environment.add_function("get", move |key: &str| match seen.get(key) {
        Some(value) => {
            let (key, value) = (key.to_owned(), value.to_owned());
            Ok(Value::from(Serde(Pair { key, value })))
        }
        None => Err(missing(key)),
    });
    let seen = values.clone();
    environment.add_function("exists", move |key: &str| seen.get(key).is_some());
    let seen = values.clone();
    environment.add_function("gets", move |pattern: &str| {
        seen.gets(pattern).map(|pairs| Value::from(Serde(pairs))).map_err(wrong)
    });
    let seen = values.clone();
    environment.add_function("getvs", move |pattern: &str| {
        let found = seen.gets(pattern).map_err(wrong)?;
        let mut all: Vec<String> = found.into_iter().map(|pair| pair.value).collect();
        all.sort_unstable();
        Ok::<_, Error>(all)
    });
    let seen = values.clone();
    environment.add_function("ls", move |path: &str| seen.list(path, false));
    let seen = values.clone();
    environment.add_function("lsdir", move |path: &str| seen.list(path, true));
    let seen = values.clone();
    environment
        .add_function("passing", move |service: &str| Value::from(Serde(seen.passing(service))));
}

pub(super) fn missing(key: &str) -> Error {
    wrong(format!("there is no key {key:?}, and no default"))
}

pub(super) fn wrong(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}

fn too_large() -> Error {
    wrong("the result is too large")
}

fn by_zero() -> Error {
    wrong("division by zero")
}

fn json(text: &str, wanted: ValueKind) -> Result<Value, Error> {
    let parsed: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| wrong(format!("{text:?} is not JSON: {error}")))?;
    let value = Value::from(Serde(parsed));
    if value.kind() != wanted {
        return Err(wrong(format!("{text:?} is JSON, but not a {wanted}")));
    }
    Ok(value)
}

/// Without a default, a variable that is not set is empty, as confd has it.
fn getenv(name: &str, default: &[String]) -> String {
    let unset = default.first().cloned().unwrap_or_default();
    std::env::var(name).unwrap_or(unset)
}

/// Now, in UTC: RFC 3339, or in a format of the `time` crate (`[year]-[month]-[day]`).
fn datetime(format: &[String]) -> Result<String, Error> {
    let now = time::OffsetDateTime::now_utc();
    let formatted = match format.first() {
        None => now.format(&time::format_description::well_known::Rfc3339),
        Some(format) => {
            let parsed = time::format_description::parse_borrowed::<2>(format)
                .map_err(|error| wrong(format!("{format:?} is not a format: {error}")))?;
            now.format(&parsed)
        }
    };
    formatted.map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use api::mvccpb::KeyValue;

    use super::*;

    fn render(template: &str) -> Result<String, String> {
        let mut values = Values::default();
        for (key, value) in [
            ("/app/name", "shop"),
            ("/app/up/b", "10.0.0.2:80"),
            ("/app/up/a", "10.0.0.1:80"),
            ("/app/conf", r#"{"zone": {"id": 7}, "list": ["x", "y"]}"#),
            ("/services/web/1", r#"{"address":"10.0.0.1","port":8080,"weight":3}"#),
            ("/services/web/2", r#"{"address":"10.0.0.2","port":8080}"#),
            ("/health/web/2", r#"{"status":"critical"}"#),
        ] {
            let (key, value) = (key.into(), value.into());
            values.put(&KeyValue { key, value, ..KeyValue::default() });
        }
        let mut environment = Environment::new();
        add(&mut environment, &Arc::new(values), &Arc::default());
        environment.render_str(template, ()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn functions_do_what_confds_do() {
        // Proves each function by what it renders.
        for (template, wanted) in [
            ("{{ getv('/app/name') }} {{ getv('/app/no', 'none') }}", "shop none"),
            ("{{ get('/app/name').value }} {{ exists('/app/no') }}", "shop False"),
            (
                "{% for p in gets('/app/up/*') %}{{ p.key }}={{ p.value }};{% endfor %}",
                "/app/up/a=10.0.0.1:80;/app/up/b=10.0.0.2:80;",
            ),
            ("{{ join(getvs('/app/up/*'), ',') }}", "10.0.0.1:80,10.0.0.2:80"),
            ("{{ ls('/app') | join(' ') }}", "conf name up"),
            ("{{ lsdir('/app') | join(' ') }}", "up"),
            ("{{ json(getv('/app/conf')).zone.id }} {{ jsonArray('[1,2]')[1] }}", "7 2"),
            ("{{ base('/a/b') }} {{ dir('/a/b') }} {{ split('a:b', ':')[1] }}", "b /a b"),
            ("{{ toUpper('a') }}{{ toLower('B') }}{{ replace('aaa', 'a', 'b', 2) }}", "Abbba"),
            ("{{ contains('abc', 'b') }} {{ trimSuffix('a.b', '.b') }}", "True a"),
            ("{{ base64Encode('hi') }} {{ base64Decode('aGk=') }}", "aGk= hi"),
            (
                "{{ add(1, 2) }} {{ sub(1, 2) }} {{ mul(2, 3) }} {{ div(7, 2) }} {{ mod(7, 2) }}",
                "3 -1 6 3 1",
            ),
            ("{{ seq(1, 3) | join }} {{ atoi('7') + 1 }} {{ parseBool('true') }}", "123 8 True"),
            ("{{ map('a', 1, 'b', [2]).b[0] }} {{ lookupIfaceIPV4('lo') }}", "2 127.0.0.1"),
            (
                "{{ lookupIP('::1')[0] }} {{ lookupIPV4('127.0.0.1')[0] }} {{ lookupIPV6('10.0.0.1') }}",
                "::1 127.0.0.1 []",
            ),
            (
                "{% for p in sortKVByLength(gets('/app/*') | reverse) %}{{ p.key }} {% endfor %}",
                "/app/name /app/conf ",
            ),
            ("{{ reverse(['a', 'b']) | join }} {{ getenv('NO_SUCH', 'd') }}", "ba d"),
            ("{{ datetime('[year]') | length }} {{ fileExists('/') }}", "4 True"),
            (
                "{% for i in passing('web') %}{{ i.name }} {{ i.address }}:{{ i.port }} {{ i.weight }}{% endfor %}",
                "1 10.0.0.1:8080 3",
            ),
        ] {
            assert_eq!(render(template).as_deref(), Ok(wanted), "{template}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        // Proves that a missing key is no empty text, and that the message names it.
        for (template, word) in [
            ("{{ getv('/app/no') }}", "/app/no"),
            ("{{ json('{') }}", "JSON"),
            ("{{ json('[]') }}", "map"),
            ("{{ div(1, 0) }}", "zero"),
            ("{{ atoi('x') }}", "x"),
            ("{{ map('a') }}", "value"),
            ("{{ map(1, 2) }}", "text"),
            ("{{ lookupIfaceIPV4('nosuch') }}", "nosuch"),
            ("{{ cgetv('/app/name') }}", "--unseal"),
            ("{{ nothing() }}", "nothing"),
        ] {
            let error = render(template).unwrap_err();
            assert!(error.contains(word), "{template}: {error}");
        }
    }
}
