//! The messages of `messages.txt`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// How often a field may be there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    One,
    List,
    Map,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    Text,
    Data,
    Boolean,
    Integer,
    Quantity,
    IntOrString,
    Time,
    Message(String),
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) kind: Type,
}

impl Field {
    /// Whether its fields stand in the message that it is in.
    pub(super) fn is_inline(&self) -> bool {
        self.name == "+"
    }
}

type Messages = HashMap<String, HashMap<u64, Field>>;

static MESSAGES: LazyLock<Messages> = LazyLock::new(|| {
    let lines = include_str!("messages.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(message).collect()
});

/// The message of a kind of objects.
pub(super) fn root(api_version: &str, kind: &str) -> Option<&'static str> {
    let exact = format!("{api_version}/{kind}");
    MESSAGES.get_key_value(&exact).or_else(|| MESSAGES.get_key_value(kind)).map(|(name, _)| &**name)
}

pub(super) fn field(message: &str, number: u64) -> Option<&'static Field> {
    MESSAGES.get(message)?.get(&number)
}

fn message(line: &str) -> Option<(String, HashMap<u64, Field>)> {
    let (name, fields) = line.split_once(": ")?;
    Some((name.to_owned(), fields.split(", ").filter_map(parse).collect()))
}

fn parse(text: &str) -> Option<(u64, Field)> {
    let mut words = text.split_whitespace();
    let number = words.next()?.parse().ok()?;
    let name = words.next()?.to_owned();
    let kind = words.next()?;
    let (kind, shape) = if let Some(kind) = kind.strip_suffix("[]") {
        (kind, Shape::List)
    } else if let Some(kind) = kind.strip_suffix("{}") {
        (kind, Shape::Map)
    } else {
        (kind, Shape::One)
    };
    let kind = match kind {
        "string" => Type::Text,
        "bytes" => Type::Data,
        "bool" => Type::Boolean,
        "int32" | "int64" => Type::Integer,
        "quantity" => Type::Quantity,
        "intstr" => Type::IntOrString,
        "time" => Type::Time,
        message => Type::Message(message.to_owned()),
    };
    Some((number, Field { name, shape, kind }))
}

/// Types that fields name and that are not there.
#[cfg(test)]
pub(super) fn undescribed() -> Vec<String> {
    let fields = MESSAGES.values().flat_map(HashMap::values);
    let named = fields.filter_map(|field| match &field.kind {
        Type::Message(name) if !MESSAGES.contains_key(name) => Some(name.clone()),
        _ => None,
    });
    named.collect()
}
