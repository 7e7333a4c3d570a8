//! Values that are stored sealed: confd's functions whose names begin with a `c`.

use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{Environment, Error, Value};

use super::functions::{missing, wrong};
use super::lookup::Helpers;
use super::values::{Pair, Values};

/// Adds all functions, looking at `values`.
pub(super) fn add(environment: &mut Environment<'_>, values: &Arc<Values>, helpers: &Arc<Helpers>) {
    let sealed = || Sealed { values: values.clone(), helpers: helpers.clone() };
    let seen = sealed();
    environment.add_function("cgetv", move |key: &str| seen.value(key));
    let seen = sealed();
    environment.add_function("cget", move |key: &str| {
        let (value, key) = (seen.value(key)?, key.to_owned());
        Ok::<_, Error>(Value::from(Serde(Pair { key, value })))
    });
    let seen = sealed();
    environment.add_function("cgets", move |pattern: &str| {
        seen.pairs(pattern).map(|pairs| Value::from(Serde(pairs)))
    });
    let seen = sealed();
    environment.add_function("cgetvs", move |pattern: &str| {
        let pairs = seen.pairs(pattern)?.into_iter();
        let mut all: Vec<String> = pairs.map(|pair| pair.value).collect();
        all.sort_unstable();
        Ok::<_, Error>(all)
    });
}

struct Sealed {
    values: Arc<Values>,
    helpers: Arc<Helpers>,
}

impl Sealed {
    fn value(&self, key: &str) -> Result<String, Error> {
        let value = self.values.get(key).ok_or_else(|| missing(key))?;
        self.unsealed(key, value)
    }

    fn pairs(&self, pattern: &str) -> Result<Vec<Pair>, Error> {
        let found = self.values.gets(pattern).map_err(wrong)?.into_iter();
        let unsealed = found.map(|Pair { key, value }| {
            let value = self.unsealed(&key, &value)?;
            Ok(Pair { key, value })
        });
        unsealed.collect()
    }

    /// What is not sealed is refused: whoever writes `cget` counts on it that nobody else can read
    /// the value.
    fn unsealed(&self, key: &str, value: &str) -> Result<String, Error> {
        let fail = |reason: &str| wrong(format!("{key}: {reason}"));
        let identities = self.helpers.identities.as_ref();
        let identities = identities.ok_or_else(|| fail("no identity to unseal it: --unseal"))?;
        if !crate::discovery::seal::is_sealed(value.as_bytes()) {
            return Err(fail("the value is not sealed"));
        }
        let plain = identities.unseal(value.as_bytes()).map_err(|reason| fail(&reason))?;
        String::from_utf8(plain).map_err(|_| fail("what was sealed is not text"))
    }
}

#[cfg(test)]
mod tests {
    use api::mvccpb::KeyValue;

    use super::*;
    use crate::discovery::seal::{Identities, generate, seal};

    #[test]
    fn sealed_values_are_read_by_who_may_and_no_others_pass_for_them() {
        // Proves all four functions, and what is said of a value that is not sealed, is sealed to
        // somebody else, is missing, or for which there is no identity.
        let (mine, other) = (generate(), generate());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), mine.0).unwrap();
        let sealed = |text: &str, to: &str| seal(text.as_bytes(), &[to.to_owned()]).unwrap();
        let mut values = Values::default();
        for (key, value) in [
            ("/s/a", sealed("two", &mine.1)),
            ("/s/b", sealed("one", &mine.1)),
            ("/plain", b"x".to_vec()),
            ("/other", sealed("x", &other.1)),
        ] {
            values.put(&KeyValue { key: key.into(), value: value.into(), ..Default::default() });
        }
        let values = Arc::new(values);
        let render = |text: &str, helpers: Helpers| {
            let mut environment = Environment::new();
            add(&mut environment, &values, &Arc::new(helpers));
            environment.render_str(text, ()).map_err(|error| format!("{error:#}"))
        };
        let mine = || Helpers {
            identities: Some(Identities::read(file.path()).unwrap()),
            ..Helpers::default()
        };
        for (text, wanted) in [
            ("{{ cgetv('/s/a') }} {{ cget('/s/b').key }}={{ cget('/s/b').value }}", "two /s/b=one"),
            ("{{ cgetvs('/s/*') | join(' ') }}", "one two"),
            (
                "{% for p in cgets('/s/*') %}{{ p.key }}={{ p.value }} {% endfor %}",
                "/s/a=two /s/b=one ",
            ),
        ] {
            assert_eq!(render(text, mine()).as_deref(), Ok(wanted), "{text}");
        }
        for (text, word) in [
            ("{{ cgetv('/plain') }}", "not sealed"),
            ("{{ cgetv('/other') }}", "/other"),
            ("{{ cgetv('/none') }}", "/none"),
        ] {
            let error = render(text, mine()).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let error = render("{{ cgetv('/s/a') }}", Helpers::default()).unwrap_err();
        assert!(error.contains("--unseal"), "{error}");
    }
}
