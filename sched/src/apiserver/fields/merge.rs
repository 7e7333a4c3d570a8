//! Putting an applied document into the live one.

use serde_json::{Map, Value};

use super::schema::{Place, Shape};
use super::step::Step;

/// The live document with all that the applied one says. Null says that a plain field goes.
pub(super) fn merge(live: &Value, config: &Value) -> Value {
    merge_at(Place::root(), Some(live), config).unwrap_or_else(|| live.clone())
}

fn merge_at(place: Place<'_>, live: Option<&Value>, config: &Value) -> Option<Value> {
    let live = live.filter(|value| !value.is_null());
    let shape = live.map(|value| place.shape(value));
    if config.is_null() {
        // Who says nothing of what others may have parts of leaves it to them.
        return live.filter(|_| shape != Some(Shape::Leaf)).cloned();
    }
    Some(match (place.shape(config), config) {
        (Shape::Object, Value::Object(config)) => {
            let live = live.filter(|_| shape == Some(Shape::Object)).and_then(Value::as_object);
            Value::Object(merge_object(place, live, config))
        }
        (Shape::List(steps), Value::Array(config)) => {
            let said: Vec<(Step, &Value)> = steps.into_iter().zip(config).collect();
            let there: Vec<(Step, &Value)> = match (shape, live) {
                (Some(Shape::List(steps)), Some(Value::Array(list))) => {
                    steps.into_iter().zip(list).collect()
                }
                _ => Vec::new(),
            };
            Value::Array(merge_list(place, &there, &said))
        }
        _ => config.clone(),
    })
}

fn merge_object(
    place: Place<'_>,
    live: Option<&Map<String, Value>>,
    config: &Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = live.cloned().unwrap_or_default();
    for (name, config) in config {
        match merge_at(place.field(name), merged.get(name), config) {
            Some(value) => drop(merged.insert(name.clone(), value)),
            None => drop(merged.shift_remove(name)),
        }
    }
    merged
}

/// Elements that both have come in the order of the applied list; those of the live one alone stay
/// behind what they followed.
fn merge_list(place: Place<'_>, live: &[(Step, &Value)], config: &[(Step, &Value)]) -> Vec<Value> {
    let find = |list: &[(Step, &Value)], step: &Step| list.iter().position(|(one, _)| one == step);
    let merged = |(step, value): &(Step, &Value)| {
        // Of several with one name none is the one that is meant.
        let mut same = live.iter().filter(|(one, _)| one == step).map(|(_, value)| *value);
        let was = same.next().filter(|_| same.next().is_none());
        merge_at(place.element(), was, value)
    };
    let (mut out, mut done) = (Vec::new(), 0);
    for (step, value) in live {
        if find(config, step).is_none() {
            out.push((*value).clone());
            continue;
        }
        let next = config[done..].iter().position(|(one, _)| find(live, one).is_some());
        if let Some(next) = next.map(|next| done + next)
            && config[next].0 == *step
        {
            out.extend(config[done..=next].iter().filter_map(merged));
            done = next + 1;
        }
    }
    out.extend(config[done..].iter().filter_map(merged));
    out
}
