//! Label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

pub(crate) type Labels = BTreeMap<String, String>;

static NONE: Labels = Labels::new();

/// Labels that may be absent.
pub(crate) fn labels(labels: &Option<Labels>) -> &Labels {
    labels.as_ref().unwrap_or(&NONE)
}

/// Whether a selector takes an object with these labels. The empty selector takes everything.
pub(crate) fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    selector.match_labels.as_ref().is_none_or(|wanted| has_all(labels, wanted))
        && selector.match_expressions.iter().flatten().all(|wanted| holds(wanted, labels))
}

/// Whether a selector says anything at all: one that does not would take a whole namespace.
pub(crate) fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

pub(crate) fn has_all(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn holds(wanted: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let value = labels.get(&wanted.key);
    match wanted.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // The API server refuses others; what nobody understands takes nothing.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_read_as_kubernetes_reads_them() {
        // Proves each operator on a label that fits, that does not and that is absent.
        let has = Labels::from([("tier".to_owned(), "web".to_owned())]);
        let other = Labels::from([("tier".to_owned(), "db".to_owned())]);
        for (operator, expected) in [
            ("In", [true, false, false]),
            ("NotIn", [false, true, true]),
            ("Exists", [true, true, false]),
            ("DoesNotExist", [false, false, true]),
            ("Near", [false, false, false]),
        ] {
            let requirement = LabelSelectorRequirement {
                key: "tier".into(),
                operator: operator.into(),
                values: Some(vec!["web".into()]),
            };
            let selector = LabelSelector {
                match_expressions: Some(vec![requirement]),
                ..LabelSelector::default()
            };
            let found = [&has, &other, &Labels::new()].map(|labels| matches(&selector, labels));
            assert_eq!(found, expected, "{operator}");
        }
        assert!(matches(&LabelSelector::default(), &has));
    }
}
