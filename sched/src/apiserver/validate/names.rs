//! Names, labels and annotations.

use serde_json::Value;

use super::super::status::FieldError;
use crate::objects::kinds::Resource;

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;
/// All annotations of an object together.
const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
                     or '-', and must start and end with an alphanumeric character, 63 characters \
                     at most";
pub(super) const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
                                    alphanumeric characters, '-' or '.', and must start and end \
                                    with an alphanumeric character, 253 characters at most";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and \
                         must start and end with an alphanumeric character, 63 characters at most, \
                         with an optional DNS subdomain prefix and '/'";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, \
                     '-', '_' or '.', and must start and end with an alphanumeric character, 63 \
                     characters at most";

pub(super) fn check_name(resource: &Resource, name: &str, errors: &mut Vec<FieldError>) {
    let (is_fine, why) = match resource.plural {
        "services" => {
            let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
            (is_label(name) && begins, LABEL)
        }
        "namespaces" => (is_label(name), LABEL),
        // Names of roles are paths of their own: `system:node`.
        "roles" | "clusterroles" | "rolebindings" | "clusterrolebindings" => {
            let is_path = name.contains(['/', '%']) || matches!(name, "." | ".." | "");
            (!is_path, "must be no path: not '.' or '..', and without '/' and '%'")
        }
        _ => (is_subdomain(name), SUBDOMAIN),
    };
    if !is_fine {
        errors.push(FieldError::invalid("metadata.name", &name.into(), why));
    }
}

pub(super) fn check_label(path: &str, name: &str, errors: &mut Vec<FieldError>) {
    if !is_label(name) {
        errors.push(FieldError::invalid(path, &name.into(), LABEL));
    }
}

pub(super) fn check_labels(path: &str, labels: &Value, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        if !is_qualified(key) {
            errors.push(FieldError::invalid(path, &key.as_str().into(), QUALIFIED));
        }
        if !value.as_str().is_some_and(is_label_value) {
            errors.push(FieldError::invalid(path, value, VALUE));
        }
    }
}

pub(super) fn check_annotations(annotations: &Value, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        size += key.len() + value.as_str().unwrap_or_default().len();
        if !is_qualified(&key.to_ascii_lowercase()) {
            let path = "metadata.annotations";
            errors.push(FieldError::invalid(path, &key.as_str().into(), QUALIFIED));
        }
    }
    if size > ANNOTATIONS_BYTES_MAX {
        let why = format!("must have at most {ANNOTATIONS_BYTES_MAX} bytes");
        errors.push(FieldError::forbidden("metadata.annotations", &why));
    }
}

/// RFC 1123: `web-1`.
pub(super) fn is_label(text: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    (1..=LABEL_MAX).contains(&text.len())
        && text.chars().all(|letter| is_letter(letter) || letter == '-')
        && text.starts_with(is_letter)
        && text.ends_with(is_letter)
}

/// RFC 1123: labels with dots between them.
pub(super) fn is_subdomain(text: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_part = |part: &str| {
        !part.is_empty()
            && part.chars().all(|letter| is_letter(letter) || letter == '-')
            && part.starts_with(is_letter)
            && part.ends_with(is_letter)
    };
    text.len() <= SUBDOMAIN_MAX && text.split('.').all(is_part)
}

/// A key of a label: `app`, `example.com/app`.
pub(in super::super) fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && !name.is_empty() && is_label_value(name),
        None => !key.is_empty() && is_label_value(key),
    }
}

/// A value of a label, which may be empty.
pub(in super::super) fn is_label_value(text: &str) -> bool {
    let is_end = |letter: char| letter.is_ascii_alphanumeric();
    let is_letter = |letter: char| is_end(letter) || matches!(letter, '-' | '_' | '.');
    text.is_empty()
        || text.len() <= LABEL_MAX
            && text.chars().all(is_letter)
            && text.starts_with(is_end)
            && text.ends_with(is_end)
}
