//! The fields that a document says.

use std::collections::BTreeSet;

use serde_json::Value;

use super::schema::{Place, Shape};
use super::set::FieldSet;
use super::step::{self, Step};

/// All leaves, the elements of lists, and what is empty.
pub(in super::super) fn collect(document: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    visit(Place::root(), document, &mut Vec::new(), &mut set);
    set.is_member = false;
    set
}

fn visit(place: Place<'_>, value: &Value, path: &mut Vec<Step>, set: &mut FieldSet) {
    match (place.shape(value), value) {
        (Shape::Object, Value::Object(fields)) if !fields.is_empty() => {
            for (name, value) in fields {
                path.push(Step::field(name));
                visit(place.field(name), value, path, set);
                path.pop();
            }
        }
        (Shape::List(steps), Value::Array(elements)) => {
            for (step, element) in steps.iter().zip(elements) {
                path.push(step.clone());
                set.insert(path);
                // Of elements that share a name nobody owns a part.
                if steps.iter().filter(|other| *other == step).count() == 1 {
                    visit(place.element(), element, path, set);
                }
                path.pop();
            }
        }
        _ => set.insert(path),
    }
}

/// Whether a document can be applied: its lists' elements have names, and no two the same.
///
/// # Errors
/// The path of the list, and what is wrong there.
pub(in super::super) fn check(document: &Value) -> Result<(), String> {
    check_at(Place::root(), document, &mut Vec::new())
}

fn check_at(place: Place<'_>, value: &Value, path: &mut Vec<Step>) -> Result<(), String> {
    match (place.shape(value), value) {
        (Shape::Object, Value::Object(fields)) => {
            for (name, value) in fields {
                path.push(Step::field(name));
                check_at(place.field(name), value, path)?;
                path.pop();
            }
            Ok(())
        }
        (Shape::List(steps), Value::Array(elements)) => {
            let mut seen = BTreeSet::new();
            for (step, element) in steps.iter().zip(elements) {
                if !seen.insert(step) {
                    let key = step::show(std::slice::from_ref(step));
                    return Err(format!("{}: duplicate entries for key {key}", step::show(path)));
                }
                path.push(step.clone());
                check_at(place.element(), element, path)?;
                path.pop();
            }
            Ok(())
        }
        (Shape::Leaf, Value::Array(_)) if place.has_elements() => Err(format!(
            "{}: an element of this list omits the fields that it is told apart by",
            step::show(path)
        )),
        _ => Ok(()),
    }
}
