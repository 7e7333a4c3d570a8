//! Addresses that a client is sent to.

/// What stays as it is in the path of an address, beside letters and digits.
const PLAIN: &[u8] = b"-_.~$&+,/:;=@";

/// A decoded path as it stands in a `Location`: nothing in it leads elsewhere.
pub(crate) fn location(path: &[u8], query: Option<&str>) -> String {
    let mut target = String::new();
    for byte in path {
        if byte.is_ascii_alphanumeric() || PLAIN.contains(byte) {
            target.push(char::from(*byte));
        } else {
            target.push_str(&format!("%{byte:02X}"));
        }
    }
    match query {
        Some(query) => format!("{target}?{query}"),
        None => target,
    }
}

#[cfg(test)]
mod tests {
    use super::location;

    #[test]
    fn a_path_leads_to_itself_alone() {
        // Shows that what browsers take for another host, or for the end of the path, is encoded.
        assert_eq!(
            location(b"/\\evil.example/a b?c", Some("x=1")),
            "/%5Cevil.example/a%20b%3Fc?x=1"
        );
        assert_eq!(location(b"/v3/kv/put", None), "/v3/kv/put");
    }
}
