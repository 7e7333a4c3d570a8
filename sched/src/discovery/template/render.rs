//! A template and values, made into text.

use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

use super::functions;
use super::resource::Resource;
use super::values::Values;

impl Resource {
    /// The text of the file, by the template as it is on disk now.
    ///
    /// # Errors
    /// What is wrong, with the line of the template.
    pub(super) async fn render(&self, values: &Values) -> Result<String, String> {
        let seen = values.below(&self.prefix, |key| self.is_made_of(key));
        let resource = self.clone();
        // Templates read files, and may ask DNS.
        let rendered = tokio::task::spawn_blocking(move || resource.render_blocking(seen)).await;
        rendered.map_err(|error| format!("the template ended before its time: {error}"))?
    }

    fn render_blocking(&self, seen: Values) -> Result<String, String> {
        let templates = self.templates.clone();
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(syntax().map_err(|error| told(&error))?);
        // Text files are no web pages, whatever their names end with.
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_loader(move |name| read(&templates, name));
        functions::add(&mut environment, &Arc::new(seen), &self.helpers);
        let template = environment.get_template(&self.fields.src).map_err(|error| told(&error))?;
        template.render(()).map_err(|error| told(&error))
    }
}

/// Lines that hold a statement alone leave nothing behind.
fn syntax() -> Result<SyntaxConfig, minijinja::Error> {
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()
}

/// For the template itself and what it includes; nothing outside of the directory.
fn read(templates: &std::path::Path, name: &str) -> Result<Option<String>, minijinja::Error> {
    let inside = std::path::Path::new(name)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if !inside {
        return Ok(None);
    }
    match std::fs::read_to_string(templates.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("{name}: {error}");
            Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message))
        }
    }
}

fn told(error: &minijinja::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
