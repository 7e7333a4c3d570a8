//! Label and field selectors, as they are written in requests and in objects.

use serde_json::Value;

use super::status::{Failure, Result};

/// What labels must be like; all requirements hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Labels(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

impl Labels {
    /// Of `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    ///
    /// # Errors
    /// The text is not a selector.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let parts = split(text);
        let requirements = parts
            .iter()
            .map(|part| part.trim())
            .filter(|part| !part.is_empty())
            .map(|part| {
                requirement(part).ok_or_else(|| {
                    Failure::bad_request(format!("unable to parse requirement: \"{part}\""))
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self(requirements))
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|requirement| requirement.holds(labels[&requirement.key].as_str()))
    }
}

/// Whether a selector as objects have it, with `matchLabels` and `matchExpressions`, chooses
/// these labels. One without either chooses everything.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let mut equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut others = selector["matchExpressions"].as_array().into_iter().flatten();
    equal.all(|(key, value)| labels.get(key) == Some(value))
        && others.all(|one| {
            let value = one["key"].as_str().and_then(|key| labels.get(key));
            let has = || {
                let mut values = one["values"].as_array().into_iter().flatten();
                value.is_some_and(|value| values.any(|wanted| wanted == value))
            };
            match one["operator"].as_str() {
                Some("In") => has(),
                Some("NotIn") => !has(),
                Some("Exists") => value.is_some(),
                Some("DoesNotExist") => value.is_none(),
                _ => false,
            }
        })
}

/// At the commas that are in no parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0_i32, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

fn requirement(text: &str) -> Option<Requirement> {
    let requirement = |key: &str, test| {
        let key = key.trim();
        is_key(key).then(|| Requirement { key: key.to_owned(), test })
    };
    if let Some(key) = text.strip_prefix('!') {
        return requirement(key, Test::Absent);
    }
    if let Some((key, set)) = text.split_once(" notin ") {
        return requirement(key, Test::NotIn(values(set)?));
    }
    if let Some((key, set)) = text.split_once(" in ") {
        return requirement(key, Test::In(values(set)?));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return requirement(key, Test::NotIn(vec![value_of(value)?]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return requirement(key, Test::In(vec![value_of(value)?]));
    }
    if let Some((key, value)) = text.split_once('>') {
        return requirement(key, Test::Greater(value.trim().parse().ok()?));
    }
    if let Some((key, value)) = text.split_once('<') {
        return requirement(key, Test::Less(value.trim().parse().ok()?));
    }
    requirement(text, Test::Exists)
}

fn values(set: &str) -> Option<Vec<String>> {
    set.trim().strip_prefix('(')?.strip_suffix(')')?.split(',').map(value_of).collect()
}

fn value_of(text: &str) -> Option<String> {
    let text = text.trim();
    super::validate::names::is_label_value(text).then(|| text.to_owned())
}

fn is_key(key: &str) -> bool {
    super::validate::names::is_qualified(key)
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::In(list) => value.is_some_and(|value| list.iter().any(|one| one == value)),
            Test::NotIn(list) => value.is_none_or(|value| list.iter().all(|one| one != value)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Greater(bound) => number().is_some_and(|number| number > *bound),
            Test::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

/// Fields and the values that they must, or must not, have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(Vec<(String, String, bool)>);

/// Fields of a whole object that every kind can be asked for, and some of single kinds.
const FIELDS: [&str; 16] = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "spec.unschedulable",
    "status.phase",
    "status.podIP",
    "status.successful",
    "type",
    "reason",
    "involvedObject",
    "source",
    "reportingComponent",
];

impl Fields {
    /// Of `a.b=c,d!=e`.
    ///
    /// # Errors
    /// The text is not a selector, or asks for a field that no kind can be asked for.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut fields = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (field, value, wanted) = match (part.split_once("!="), part.split_once('=')) {
                (Some((field, value)), _) => (field, value, false),
                (_, Some((field, value))) => (field, value.trim_start_matches('='), true),
                _ => {
                    let message = format!(
                        "invalid selector: \"{part}\"; can't understand: expected field=value"
                    );
                    return Err(Failure::bad_request(message));
                }
            };
            let root = field.split('.').next().unwrap_or_default();
            if !FIELDS.contains(&field) && !FIELDS.contains(&root) {
                let message = format!("field label not supported: {field}");
                return Err(Failure::bad_request(message));
            }
            fields.push((field.to_owned(), value.to_owned(), wanted));
        }
        Ok(Self(fields))
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, value, wanted)| (text(object, field) == *value) == *wanted)
    }

    /// The one name that is asked for, if that is so.
    pub(super) fn name(&self) -> Option<&str> {
        let named =
            |(field, _, wanted): &&(String, String, bool)| field == "metadata.name" && *wanted;
        self.0.iter().find(named).map(|(_, value, _)| value.as_str())
    }
}

fn text(object: &Value, field: &str) -> String {
    let found = field.split('.').fold(object, |value, name| &value[name]);
    match found {
        Value::String(text) => text.clone(),
        Value::Null if field == "spec.unschedulable" || field == "spec.hostNetwork" => {
            "false".to_owned()
        }
        // Events have the component in one of two places.
        Value::Null if field == "source" => {
            object["source"]["component"].as_str().unwrap_or_default().to_owned()
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_choose() {
        // Proves each form of a requirement, on a label that is there and on one that is not, and
        // that what is no selector is refused.
        let object = json!({"metadata": {"labels": {"app": "web", "n": "3"}}});
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,n=3", true),
            ("app!=web", false),
            ("tier!=web", true),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("tier notin (db)", true),
            ("app", true),
            ("!app", false),
            ("!tier", true),
            ("n>2", true),
            ("n<3", false),
        ] {
            assert_eq!(Labels::parse(text).unwrap().matches(&object), expected, "{text}");
        }
        for text in ["a b", "app in web", "=x", "app=a b", "app in (a"] {
            assert!(Labels::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fields_choose() {
        // Proves that fields are compared as text, absent ones as nothing, and unknown ones refused.
        let object = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}});
        for (text, expected) in [
            ("metadata.name=a", true),
            ("spec.nodeName=n1,status.phase=", true),
            ("spec.nodeName!=n1", false),
            ("spec.unschedulable=false", true),
            ("involvedObject.uid=7", false),
        ] {
            assert_eq!(Fields::parse(text).unwrap().matches(&object), expected, "{text}");
        }
        assert!(Fields::parse("spec.replicas=1").is_err());
        assert!(Fields::parse("metadata.name").is_err());
    }
}
