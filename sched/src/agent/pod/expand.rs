//! `$(NAME)` in commands and variables. What is not known stays as it is; `$$` is one `$`.

/// Expands once: what comes of it is not looked at again.
pub(in crate::agent) fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        match name.map(|(name, after)| (lookup(name), after)) {
            Some((Some(value), after)) => {
                expanded.push_str(value);
                rest = after;
            }
            _ => expanded.push('$'),
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded_as_kubernetes_does() {
        // Proves known and unknown names, the escape, and what only looks like a variable.
        let lookup = |name: &str| (name == "A").then_some("1$(A)");
        for (text, expanded) in [
            ("x$(A)y", "x1$(A)y"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$A $( $", "$A $( $"),
            ("", ""),
            ("$$$(A)", "$1$(A)"),
        ] {
            assert_eq!(expand(text, lookup), expanded, "{text}");
        }
    }
}
