//! As whom a container runs: numbers, or names that its image knows.

use std::path::{Path, PathBuf};

use crate::agent::runtime::{Error, Result, Security};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
}

/// `image`: as the image says it, `USER`, `USER:GROUP` or nothing. `layers`: the highest last.
///
/// # Errors
/// The image does not know the name.
pub(super) fn resolve(image: &str, security: &Security, layers: &[PathBuf]) -> Result<User> {
    let (name, group) = match image.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (image, None),
    };
    let passwd = Names::read(layers, "etc/passwd");
    let (uid, primary) = match security.user {
        Some(uid) => (uid, passwd.group_of(uid)),
        None => passwd.user(if name.is_empty() { "0" } else { name })?,
    };
    let gid = match (security.group, group) {
        (Some(gid), _) => gid,
        (None, Some(group)) if security.user.is_none() => {
            Names::read(layers, "etc/group").number(group)?
        }
        _ => primary,
    };
    Ok(User { uid, gid, groups: security.supplemental_groups.clone() })
}

/// Lines of `name:password:number:...`.
struct Names(String);

impl Names {
    fn read(layers: &[PathBuf], file: &str) -> Self {
        let read = |layer: &PathBuf| {
            let path = layer.join(file);
            // A link would lead out of the image.
            let is_file = std::fs::symlink_metadata(&path).is_ok_and(|data| data.is_file());
            is_file.then(|| std::fs::read_to_string(Path::new(&path)).ok()).flatten()
        };
        Self(layers.iter().rev().find_map(read).unwrap_or_default())
    }

    fn lines(&self) -> impl Iterator<Item = Vec<&str>> {
        self.0.lines().map(|line| line.split(':').collect())
    }

    fn number(&self, name: &str) -> Result<u32> {
        if let Ok(number) = name.parse() {
            return Ok(number);
        }
        let number = |line: Vec<&str>| {
            (line.first() == Some(&name)).then(|| line.get(2)?.parse().ok()).flatten()
        };
        self.lines()
            .find_map(number)
            .ok_or_else(|| Error::invalid(format!("the image knows no user or group {name:?}")))
    }

    fn user(&self, name: &str) -> Result<(u32, u32)> {
        let uid = self.number(name)?;
        Ok((uid, self.group_of(uid)))
    }

    fn group_of(&self, uid: u32) -> u32 {
        let uid = uid.to_string();
        let group = |line: Vec<&str>| {
            (line.get(2) == Some(&uid.as_str())).then(|| line.get(3)?.parse().ok()).flatten()
        };
        self.lines().find_map(group).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_image() {
        // Proves numbers, names, what the pod says first, and the error for a name nobody has.
        let layer = tempfile::tempdir().unwrap();
        std::fs::create_dir(layer.path().join("etc")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(layer.path().join(name), text).unwrap();
        write("etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n");
        write("etc/group", "root:x:0:\nlogs:x:50:\n");
        let layers = [layer.path().to_owned()];
        let of = |image: &str, security: &Security| {
            resolve(image, security, &layers).map(|user| (user.uid, user.gid))
        };
        let none = Security::default();
        assert_eq!(of("", &none), Ok((0, 0)));
        assert_eq!(of("web", &none), Ok((33, 34)));
        assert_eq!(of("web:logs", &none), Ok((33, 50)));
        assert_eq!(of("1000:1000", &none), Ok((1000, 1000)));
        let given = Security { user: Some(33), ..Security::default() };
        assert_eq!(of("root", &given), Ok((33, 34)));
        assert!(of("nobody", &none).unwrap_err().message.contains("nobody"));
    }
}
