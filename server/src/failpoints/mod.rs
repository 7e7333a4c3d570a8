//! Places where a harness can crash or delay this process, under etcd's names, served as etcd's
//! gofail serves them (`GOFAIL_HTTP`, `GOFAIL_FAILPOINTS`). See `docs/internals/failpoints.md`.
//!
//! A program without the feature `failpoints` has none of this, and says so when it is asked for.
//!
//! The places themselves are `fail_point!` of the crate `fail`, which is their table. What happens
//! at them is decided here: `fail` unwinds one thread at a panic, where Go ends the process; it
//! knows only points that are set, where gofail lists them all; and its terms are others.
//!
//! Start at [`start`]; then `points`, and `term` for what can be asked for.

#[cfg(feature = "failpoints")]
mod chain;
#[cfg(feature = "failpoints")]
mod gate;
#[cfg(feature = "failpoints")]
mod http;
// What these two say is tested in every build.
#[cfg(any(test, feature = "failpoints"))]
mod names;
#[cfg(feature = "failpoints")]
mod points;
#[cfg(any(test, feature = "failpoints"))]
mod term;

#[cfg(any(test, feature = "failpoints"))]
pub use names::NAMES;

/// Where to serve the points.
const HTTP: &str = "GOFAIL_HTTP";
/// What is set from the start: `name=term;name=term`.
const FAILPOINTS: &str = "GOFAIL_FAILPOINTS";

fn value<'a>(environment: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = environment.iter().find(|(key, value)| key == name && !value.is_empty());
    found.map(|(_, value)| value.as_str())
}

/// Does what the environment asks for.
///
/// # Errors
/// One line: a term is none, or the address cannot be had.
#[cfg(feature = "failpoints")]
pub fn start(environment: &[(String, String)]) -> Result<(), String> {
    tracing::warn!("this is a build for tests: it can be crashed by {HTTP} and {FAILPOINTS}");
    let points = points::Points::new();
    if let Some(set) = value(environment, FAILPOINTS) {
        points.set_first(set).map_err(|why| format!("{FAILPOINTS}: {why}"))?;
    }
    if let Some(address) = value(environment, HTTP) {
        http::serve(address, points).map_err(|error| format!("{HTTP}={address}: {error}"))?;
    }
    Ok(())
}

/// Says that what the environment asks for is not here.
///
/// # Errors
/// None: a harness finds nobody at the address and does without.
#[cfg(not(feature = "failpoints"))]
pub fn start(environment: &[(String, String)]) -> Result<(), String> {
    for name in [HTTP, FAILPOINTS] {
        if value(environment, name).is_some() {
            tracing::warn!(
                "{name} is ignored: this berth was built without failpoints \
                 (cargo build --features failpoints)"
            );
        }
    }
    Ok(())
}
