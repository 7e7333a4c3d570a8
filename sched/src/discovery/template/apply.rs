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
    /// what would be done.
    ///
    /// # Errors
    /// Which step failed, and why. The old file is in place then.
    pub(super) async fn apply(&self, values: &Values, noop: bool) -> Result<Outcome, String> {
        let text = self.render(values)?;
        let owner = Owner { mode: self.mode()?, uid: self.fields.uid, gid: self.fields.gid };
        if is_current(self.dest(), &text, owner) {
            return Ok(Outcome::Unchanged);
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
        let Some(reload) = &self.fields.reload_cmd else { return Ok(Outcome::Written) };
        if let Err(error) = commands::run(reload, self.dest()).await {
            replaced.undo().map_err(|undo| format!("reload: {error}; and {dest}: {undo}"))?;
            return Err(format!("reload: {error}"));
        }
        Ok(Outcome::Written)
    }

    fn diff(&self, text: &str) -> String {
        let before = std::fs::read_to_string(self.dest()).unwrap_or_default();
        let name = self.dest().display().to_string();
        let diff = TextDiff::from_lines(before.as_str(), text);
        diff.unified_diff().header(&name, &format!("{name} (new)")).to_string()
    }
}
