//! Taking fields out of a document.

use serde_json::Value;

use super::schema::{Place, Shape};
use super::set::FieldSet;
use super::step::Step;

/// The document without the fields of a set, and without what is empty then, unless that is owned
/// itself.
pub(super) fn remove(document: &Value, gone: &FieldSet, owned: &FieldSet) -> Value {
    let mut document = document.clone();
    remove_at(Place::root(), &mut document, gone, owned);
    document
}

/// Whether anything is left.
fn remove_at(place: Place<'_>, value: &mut Value, gone: &FieldSet, owned: &FieldSet) -> bool {
    let nothing = FieldSet::default();
    let keeps = |place: Place<'_>, step: &Step, value: &mut Value| match gone.at(step) {
        None => true,
        Some(set) if set.is_member => false,
        Some(set) => {
            let owned = owned.at(step).unwrap_or(&nothing);
            remove_at(place, value, set, owned) || owned.is_member
        }
    };
    match (place.shape(value), value) {
        (Shape::Object, Value::Object(fields)) => {
            fields.retain(|name, value| keeps(place.field(name), &Step::field(name), value));
            !fields.is_empty()
        }
        (Shape::List(steps), Value::Array(elements)) => {
            let mut steps = steps.iter();
            elements.retain_mut(|element| {
                steps.next().is_none_or(|step| keeps(place.element(), step, element))
            });
            !elements.is_empty()
        }
        _ => false,
    }
}
