//! All steps from values to a file in place.

use similar::TextDiff;

use super::commands;
use super::resource::Resource;
use super::stage::{Owner, Staged, is_current};
use super::values::Values;

/// What became of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The file is as it should be already.
    Unchanged,
    /// The file was written, and whoever reads it was told.
    Written,
    /// It would be written; how it would differ.
    Differs(String),
}

impl Outcome {
    pub(super) fn tell(&self, resource: &Resource) {
        let dest = resource.dest().display();
        match self {
            Self::Unchanged => tracing::debug!(%dest, "unchanged"),
            Self::Written => tracing::info!(%dest, "written"),
            Self::Differs(diff) => println!("{diff}"),
        }
    }
}

impl Resource {
    /// Renders, checks, puts in place and reloads, as far as that is needed; with `noop` only says
    /// what would be done. Must not be dropped half-way.
    ///
    /// `unread`: whether the file in place was checked but never loaded; kept from call to call.
    ///
    /// # Errors
    /// Which step failed, and why, and which file is in place.
    pub(super) async fn apply(
        &self,
        values: &Values,
        noop: bool,
        unread: &mut bool,
    ) -> Result<Outcome, String> {
        self.steps(values, noop, unread).await.map_err(|reason| match unread {
            false => format!("the old file stays: {reason}"),
            true => format!("the file in place is new and has not been loaded: {reason}"),
        })
    }

    async fn steps(
        &self,
        values: &Values,
        noop: bool,
        unread: &mut bool,
    ) -> Result<Outcome, String> {
        let text = self.render(values).await?;
        let owner = Owner { mode: self.mode()?, uid: self.fields.uid, gid: self.fields.gid };
        if is_current(self.dest(), &text, owner) {
            if !*unread {
                return Ok(Outcome::Unchanged);
            }
            self.reload().await?;
            *unread = false;
            return Ok(Outcome::Written);
        }
        if noop {
            return Ok(Outcome::Differs(self.diff(&text)));
        }
        let dest = self.dest().display();
        let written = |error: std::io::Error| format!("{dest} cannot be written: {error}");
        let staged = Staged::new(self.dest(), &text, owner).map_err(written)?;
        if let Some(check) = &self.fields.check_cmd {
            commands::run(check, staged.path()).await.map_err(|error| format!("check: {error}"))?;
        }
        let replaced = staged.commit().map_err(written)?;
        if let Err(error) = self.reload().await {
            // Without an old file that was in use the new one, which was checked, stays: whoever has
            // yet to start can start with it.
            if !*unread {
                let undone = replaced.undo();
                *unread = !undone.map_err(|undo| format!("{error}; and {dest}: {undo}"))?;
            }
            return Err(error);
        }
        *unread = false;
        Ok(Outcome::Written)
    }

    /// Tells whoever reads the file.
    async fn reload(&self) -> Result<(), String> {
        let Some(reload) = &self.fields.reload_cmd else { return Ok(()) };
        commands::run(reload, self.dest()).await.map_err(|error| format!("reload: {error}"))
    }

    fn diff(&self, text: &str) -> String {
        let before = std::fs::read_to_string(self.dest()).unwrap_or_default();
        let name = self.dest().display().to_string();
        let diff = TextDiff::from_lines(before.as_str(), text);
        diff.unified_diff().header(&name, &format!("{name} (new)")).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::discovery::template::resource;

    #[tokio::test]
    async fn a_first_file_stays_until_it_can_be_loaded() {
        // Proves that a checked file is not taken away because nobody was there to load it, and that
        // it is loaded later although it has not changed.
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for folder in ["conf.d", "templates"] {
            std::fs::create_dir(path(folder)).unwrap();
        }
        std::fs::write(path("templates/a"), "text").unwrap();
        let fields = "[template]\nsrc = \"a\"\ndest = \"DIR/out\"\nkeys = [\"/\"]\n\
                      reload_cmd = \"echo >> DIR/reloads; test -e DIR/up\"";
        let fields = fields.replace("DIR", &directory.path().display().to_string());
        std::fs::write(path("conf.d/a.toml"), fields).unwrap();
        let resource = resource::load(directory.path(), "", &Arc::default()).unwrap().remove(0);
        let mut unread = false;
        let mut apply = async || resource.apply(&Values::default(), false, &mut unread).await;
        for _ in 0..2 {
            let error = apply().await.unwrap_err();
            assert!(error.contains("not been loaded: reload: "), "{error}");
            assert_eq!(std::fs::read_to_string(path("out")).unwrap(), "text");
        }
        std::fs::write(path("up"), "").unwrap();
        assert_eq!(apply().await, Ok(Outcome::Written));
        assert_eq!(apply().await, Ok(Outcome::Unchanged));
        assert_eq!(std::fs::read_to_string(path("reloads")).unwrap().lines().count(), 3);
    }
}
