//! What can be wrong with a command or a read, as etcd's contract distinguishes it.

/// Conditions of etcd's contract; texts and gRPC codes live at the server's edge.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    EmptyKey,
    KeyNotFound,
    ValueProvided,
    LeaseProvided,
    TooManyOps,
    DuplicateKey,
    InvalidSortOption,
    Compacted,
    FutureRevision,
    LeaseNotFound,
    LeaseExists,
    LeaseTtlTooLarge,
    NoSpace,
    Corrupt,
    RootUserNotExist,
    RootRoleNotExist,
    UserExists,
    UserEmpty,
    UserNotFound,
    RoleExists,
    RoleNotFound,
    RoleEmpty,
    AuthFailed,
    PermissionDenied,
    PermissionNotGiven,
    RoleNotGranted,
    PermissionNotGranted,
    AuthNotEnabled,
    AuthOldRevision,
    InvalidAuthManagement,
    MemberNotFound,
    /// The engine failed or lost something: the server must stop and rebuild.
    Engine(String),
}
