//! Bounds of what an object may say, for all who read them: whoever checks an object on its way in
//! and whoever acts on it must mean the same.

/// How long a pod may take to stop if it does not say, in seconds.
pub const GRACE_S: i64 = 30;
/// Longer ones are taken for this: ten years, in seconds.
pub const GRACE_S_MAX: i64 = 10 * 365 * 24 * 3600;
/// Completions of an Indexed Job, each of which is kept on its own.
pub const INDEXES_MAX: i32 = 100_000;
