//! `ETCD_*` variables: each flag's name in upper case. A flag given on the command line and in the
//! environment at once is an error, as in etcd; a variable that names no flag earns a warning.

use std::collections::BTreeMap;

use super::values::{SetError, Values};
use super::{aliases, table};

/// Variables that etcd's family of tools uses for itself, without a flag behind them.
const NOT_SETTINGS: &[&str] = &["ETCD_UNSUPPORTED_ARCH"];

/// Reads the variables into values for all flags that the command line did not set.
///
/// # Errors
/// etcd's line for a conflict, or for a value that is none.
pub(super) fn read(variables: &[(String, String)], values: &mut Values) -> Result<(), String> {
    let names = flag_names();
    let on_command_line: Vec<&str> = values.given().map(|flag| flag.name).collect();
    for (key, value) in variables.iter().filter(|(key, _)| key.starts_with("ETCD_")) {
        if NOT_SETTINGS.contains(&key.as_str()) {
            continue;
        }
        if key == "ETCD_VERSION" {
            values.warnings.push(format!("cannot set special environment variable {key}={value}"));
            continue;
        }
        let Some(name) = names.get(key) else {
            values.warnings.push(format!("unrecognized environment variable {key}={value}"));
            continue;
        };
        if on_command_line.contains(&name.as_str()) {
            return Err(format!(
                "conflicting environment variable {key:?} is shadowed by corresponding \
                 command-line flag (either unset environment variable or disable flag)"
            ));
        }
        // etcd takes an empty variable as one that is not there.
        if !value.is_empty() {
            values.set(name, value).map_err(|error| match error {
                SetError::Invalid(why) => format!("invalid value {value:?} for {key}: {why}"),
                SetError::Unknown => format!("unrecognized environment variable {key}"),
            })?;
        }
    }
    Ok(())
}

/// From the variable to the flag, old names too.
fn flag_names() -> BTreeMap<String, String> {
    let present = table::all().map(|flag| flag.name.to_owned());
    let variable = |name: &str| format!("ETCD_{}", name.to_uppercase().replace('-', "_"));
    aliases::names().chain(present).map(|name| (variable(&name), name)).collect()
}
