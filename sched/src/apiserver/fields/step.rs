//! One step of a path into a document, in the form in which managed fields write it.

use serde_json::Value;

/// `f:NAME` (a field), `k:{...}` (the element of a list with these keys), `v:...` (the value in a
/// list of plain ones), or `i:N`. Equal steps have equal text: keys are in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step(String);

impl Step {
    pub(super) fn field(name: &str) -> Self {
        Self(format!("f:{name}"))
    }

    /// An element by the values of its keys.
    pub(super) fn element<'a>(keys: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_by_key(|(name, _)| *name);
        let keys: Vec<String> =
            keys.iter().map(|(name, value)| format!("{}:{value}", Value::from(*name))).collect();
        Self(format!("k:{{{}}}", keys.join(",")))
    }

    pub(super) fn value(value: &Value) -> Self {
        Self(format!("v:{value}"))
    }

    pub(super) fn is_field(&self) -> bool {
        self.0.starts_with("f:")
    }

    /// # Errors
    /// It is of no known form.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no step of a path");
        let (form, rest) = text.split_once(':').ok_or_else(wrong)?;
        let json = || serde_json::from_str::<Value>(rest).map_err(|_| wrong());
        match form {
            "f" => Ok(Self::field(rest)),
            "v" => Ok(Self::value(&json()?)),
            "i" if rest.parse::<u64>().is_ok() => Ok(Self(text.to_owned())),
            "k" => {
                let keys = json()?;
                let keys = keys.as_object().ok_or_else(wrong)?.iter();
                Ok(Self::element(keys.map(|(name, value)| (name.as_str(), value.clone()))))
            }
            _ => Err(wrong()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A path as people read it: `.spec.containers[name="web"].image`.
pub(super) fn show(path: &[Step]) -> String {
    path.iter().map(show_step).collect()
}

fn show_step(step: &Step) -> String {
    let (form, rest) = step.0.split_once(':').unwrap_or_default();
    match form {
        "f" => format!(".{rest}"),
        "v" => format!("[={rest}]"),
        "k" => {
            let keys = serde_json::from_str::<Value>(rest).unwrap_or_default();
            let keys = keys.as_object().into_iter().flatten();
            let keys: Vec<String> = keys.map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        _ => format!("[{rest}]"),
    }
}
