//! A write that says the whole object: who wrote it owns what is different.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::changes::compare;
use super::owners::{Owners, Writer};
use super::set::FieldSet;

/// What belongs to nobody: the server writes it, or the request names the object by it.
pub(super) static NOBODYS: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of(&[
        "apiVersion",
        "kind",
        "metadata",
        "metadata.name",
        "metadata.namespace",
        "metadata.creationTimestamp",
        "metadata.selfLink",
        "metadata.uid",
        "metadata.generation",
        "metadata.managedFields",
        "metadata.resourceVersion",
    ])
});

/// The owners once `after` has taken the place of `before` (`None`: of nothing).
///
/// An object that was stored without owners stays so: they begin when it is created through the
/// API, or applied. What controllers write is none of anybody's then.
pub(in super::super) fn update(
    before: Option<&Value>,
    after: &Value,
    mut owners: Owners,
    writer: &Writer,
) -> Owners {
    if owners.entries.is_empty() && before.is_some() {
        return owners;
    }
    let nothing = json!({});
    let mut changes = compare(before.unwrap_or(&nothing), after);
    if let Some(apart) = writer.apart {
        changes.ignore(apart);
    }
    owners.take(&changes.all());
    let own = changes.said().minus(&NOBODYS);
    if !own.is_empty() {
        match owners.entries.iter_mut().find(|entry| entry.is_of(writer)) {
            Some(entry) => *entry = writer.entry(entry.fields.union(&own)),
            None => owners.entries.push(writer.entry(own)),
        }
    }
    owners.cap();
    owners
}
