//! Users by bearer tokens, from a file as Kubernetes has it: `TOKEN,USER,UID[,"GROUP,GROUP"]`.

use std::collections::HashMap;
use std::path::Path;

use http::{HeaderMap, header};
use ring::digest::{SHA256, digest};
use sched::apiserver::User;

/// Whose token is which, by the tokens' digests: looking one up says nothing about the others.
#[derive(Default)]
pub(super) struct Tokens {
    users: HashMap<Vec<u8>, User>,
}

impl Tokens {
    /// # Errors
    /// The file cannot be read, or a line is malformed; the line's number is told, never the token.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|line| {
            format!("{}: line {line}: expected TOKEN,USER,UID[,\"GROUP,GROUP\"]", path.display())
        })
    }

    /// `Err`: the number of the line that is wrong.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut users = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (token, user) = entry(line).ok_or(at + 1)?;
            users.insert(key(token), user);
        }
        Ok(Self { users })
    }

    /// Who bears a token; `None`: it is not shown. A token that is not known is nobody's.
    pub(super) fn user_of(&self, headers: &HeaderMap) -> Option<Option<User>> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let token = value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer "))?;
        Some(self.users.get(&key(token.trim())).cloned())
    }
}

fn key(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

fn entry(line: &str) -> Option<(&str, User)> {
    let mut fields = line.splitn(4, ',').map(str::trim);
    let (token, name, _uid) = (fields.next()?, fields.next()?, fields.next()?);
    if token.is_empty() || name.is_empty() {
        return None;
    }
    let groups = fields.next().unwrap_or_default().trim_matches('"');
    let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
    let mut groups: Vec<String> = groups.map(str::to_owned).collect();
    groups.push("system:authenticated".to_owned());
    Some((token, User { name: name.to_owned(), groups }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearers_are_known_by_their_token() {
        // Proves the form of the file, and that an unknown token is nobody rather than anybody.
        let text = "# users\ns3cret,ann,1,\"dev,ops\"\nother,bob,2\n";
        let tokens = Tokens::parse(text).unwrap_or_default();
        let ask = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            tokens.user_of(&headers)
        };
        let ann = ask("Bearer s3cret").unwrap().unwrap();
        assert_eq!(ann.name, "ann");
        assert_eq!(ann.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(ask("Bearer wrong"), Some(None));
        assert_eq!(ask("Basic x"), None);
        assert_eq!(tokens.user_of(&HeaderMap::new()), None);
        assert!(matches!(Tokens::parse("token"), Err(1)));
    }
}
