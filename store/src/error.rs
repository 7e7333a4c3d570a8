//! Why a request was refused, in the terms of etcd's contract.

use std::fmt;

/// The condition only: texts and gRPC codes of etcd live in the server, in one file.
///
/// All but [`Error::Engine`] are answers to a request, and a request so answered changed nothing.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No key was given.
    EmptyKey,
    /// `ignore_value` or `ignore_lease` on a key that does not exist.
    KeyNotFound,
    /// `ignore_value` together with a value.
    ValueProvided,
    /// `ignore_lease` together with a lease.
    LeaseProvided,
    /// More operations in a transaction than [`crate::Options::max_txn_ops`].
    TooManyOps,
    /// The same key is written twice in branches that can run together.
    DuplicateKey,
    /// A sort order or target this version does not know.
    InvalidSortOption,
    /// The revision asked for has been compacted.
    Compacted,
    /// The revision asked for has not happened yet.
    FutureRevision,
    /// No such lease.
    LeaseNotFound,
    /// A lease of that id exists.
    LeaseExists,
    /// A time to live above [`crate::LEASE_TTL_S_MAX`].
    LeaseTtlTooLarge,
    /// The NOSPACE alarm is raised.
    NoSpace,
    /// The CORRUPT alarm is raised.
    Corrupt,
    /// Enabling auth needs a user `root`.
    RootUserNotExist,
    /// Enabling auth needs `root` to hold the role `root`.
    RootRoleNotExist,
    /// A user of that name exists.
    UserExists,
    /// No user name: none was given, or the caller has not authenticated.
    UserEmpty,
    /// No such user.
    UserNotFound,
    /// A role of that name exists.
    RoleExists,
    /// No such role.
    RoleNotFound,
    /// No role name was given.
    RoleEmpty,
    /// Name and password do not match.
    AuthFailed,
    /// The caller may not do this.
    PermissionDenied,
    /// A grant without a permission.
    PermissionNotGiven,
    /// The user does not hold that role.
    RoleNotGranted,
    /// The role does not hold that permission.
    PermissionNotGranted,
    /// Auth is off.
    AuthNotEnabled,
    /// The caller's token was issued under an older auth revision.
    AuthOldRevision,
    /// A change that would break auth itself, such as deleting `root`.
    InvalidAuthManagement,
    /// No such member.
    MemberNotFound,
    /// A command that this version does not know. To go on after it would be to have another state
    /// than those who do: the server must stop.
    UnknownCommand,
    /// The state was replaced as a whole (a snapshot was installed) while it was being read: ask
    /// the one that took its place.
    Replaced,
    /// The engine failed or lost something. The state in memory can no longer be trusted to be
    /// written down: the server must stop, and rebuild the engine from its snapshot and log.
    Engine(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Engine(what) => write!(f, "storage engine: {what}"),
            condition => write!(f, "{condition:?}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::Engine(error.to_string())
    }
}
