//! What goes wrong with containers.

use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// What the agent can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The image is not here, or not to be had. Try again later.
    NoSuchImage,
    /// No such container, or it does not run.
    NoSuchContainer,
    /// What was asked for makes no sense, whenever it is tried.
    Invalid,
    /// It was tried and did not work.
    Failed,
}

/// An error for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    pub fn no_image(message: impl Into<String>) -> Self {
        Self::new(Kind::NoSuchImage, message)
    }

    pub fn no_container(id: &str) -> Self {
        Self::new(Kind::NoSuchContainer, format!("no container {id:?} is running"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Says what was being done when the system refused.
pub(crate) fn while_doing<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Error {
    move |error| Error::failed(format!("{what}: {error}"))
}
