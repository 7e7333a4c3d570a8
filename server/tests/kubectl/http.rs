//! The API by plain HTTP, with curl: for what kubectl never sends.

use std::path::PathBuf;

use serde_json::Value;
use testkit::{Finished, Script, require};

/// Somebody who sends requests.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    curl: PathBuf,
    api: String,
    /// Who it is: curl's flags.
    caller: Vec<String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// The head, in small letters.
    pub(crate) head: String,
    pub(crate) text: String,
    /// The body, if it is JSON.
    pub(crate) body: Value,
}

impl Http {
    pub(crate) fn new(api: &str, caller: &[String]) -> Self {
        Self { curl: require("curl", "curl"), api: api.to_owned(), caller: caller.to_vec() }
    }

    /// The same with something else to say who it is.
    pub(crate) fn with(&self, more: &[&str]) -> Self {
        let mut other = self.clone();
        other.caller.extend(more.iter().map(ToString::to_string));
        other
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, "application/json", &body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, "application/json", &body.to_string()).await
    }

    /// A merge patch.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, "application/merge-patch+json", &body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str, body: &Value) -> Answer {
        self.send("DELETE", path, "application/json", &body.to_string()).await
    }

    /// One request; without a media type it has no body.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: &str,
    ) -> Answer {
        let finished = self.run(method, path, media_type, body).await;
        let split = finished.stdout.split_once("\r\n\r\n");
        let (head, text) = split.unwrap_or_else(|| panic!("{finished:?}"));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Answer {
            code: code.unwrap_or_else(|| panic!("{head}")),
            head: head.to_lowercase(),
            text: text.to_owned(),
            body: serde_json::from_str(text).unwrap_or_default(),
        }
    }

    /// The same, with all that curl says.
    pub(crate) async fn run(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: &str,
    ) -> Finished {
        let url = format!("{}{path}", self.api);
        let media_type = (!media_type.is_empty()).then(|| format!("content-type: {media_type}"));
        let mut arguments =
            vec!["--silent", "--show-error", "--include", "--globoff", "-X", method];
        arguments.extend(self.caller.iter().map(String::as_str));
        if let Some(media_type) = &media_type {
            arguments.extend([
                "--header",
                media_type,
                "--header",
                "expect:",
                "--data-binary",
                "@-",
            ]);
        }
        arguments.push(&url);
        Script::new(&self.curl, &arguments).stdin(body).run().await
    }
}

impl Answer {
    /// Its code must be this one.
    #[track_caller]
    pub(crate) fn is(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{}", self.text);
        self
    }

    /// The same, for a `Status` with this reason whose message has this text.
    #[track_caller]
    pub(crate) fn fails(self, code: u16, reason: &str, text: &str) -> Self {
        assert_eq!(self.code, code, "{}", self.text);
        assert_eq!(self.body["kind"], "Status", "{}", self.text);
        assert_eq!(self.body["reason"], reason, "{}", self.text);
        let message = self.body["message"].as_str().unwrap_or_default();
        assert!(message.contains(text), "{text}: {message}");
        self
    }

    /// The fields that a 422 names.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let causes = self.body["details"]["causes"].as_array();
        causes.into_iter().flatten().filter_map(|cause| cause["field"].as_str()).collect()
    }

    /// The names of a list's items.
    pub(crate) fn names(&self) -> Vec<&str> {
        let items = self.body["items"].as_array();
        items.into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str()).collect()
    }

    pub(crate) fn version(&self) -> &str {
        self.body["metadata"]["resourceVersion"].as_str().unwrap_or_default()
    }
}
