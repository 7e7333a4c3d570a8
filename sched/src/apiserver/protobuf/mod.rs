//! Reading the protobuf bodies that kubectl's generators send, as JSON documents.
//!
//! A body is `k8s\0` and a `runtime.Unknown`, which names the kind and holds the object. The
//! messages are described in `messages.txt`, so that no generated code is needed. Fields that are
//! not described are passed over, as protobuf has it. Untrusted bytes: depth and lengths are bounded.
//!
//! Start at [`decode`].

#[cfg(any(test, feature = "fuzz"))]
pub(super) mod fuzz;
mod schema;
mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::schema::{Field, Shape, Type};
use self::wire::{Reader, Wire};
use crate::objects::clock;

/// What every body begins with.
pub(super) const MAGIC: &[u8] = b"k8s\0";
/// Messages within messages.
const DEPTH_MAX: u32 = 32;

type Result<T> = std::result::Result<T, String>;

/// # Errors
/// The bytes are no such body, or of a kind that is not described.
pub(super) fn decode(body: &[u8]) -> Result<Value> {
    let body = body.strip_prefix(MAGIC).ok_or("the body does not begin with k8s\\0")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = Reader::new(body);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(meta)) => (api_version, kind) = type_meta(meta)?,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let message = schema::root(&api_version, &kind)
        .ok_or_else(|| format!("{api_version} {kind} cannot be sent as protobuf: send JSON"))?;
    let mut object = Map::new();
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    read_message(message, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

fn type_meta(bytes: &[u8]) -> Result<(String, String)> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(text)) => api_version = utf8(text)?,
            (2, Wire::Bytes(text)) => kind = utf8(text)?,
            _ => {}
        }
    }
    Ok((api_version, kind))
}

fn utf8(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "text that is not UTF-8".to_owned())
}

fn read_message(
    message: &str,
    bytes: &[u8],
    object: &mut Map<String, Value>,
    depth: u32,
) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(format!("messages are nested more than {DEPTH_MAX} deep"));
    }
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        let Some(field) = schema::field(message, number) else { continue };
        let bad = |reason: String| format!("{message}.{}: {reason}", field.name);
        if field.is_inline() {
            let (Type::Message(inner), Wire::Bytes(bytes)) = (&field.kind, wire) else {
                return Err(bad("expected a message".to_owned()));
            };
            read_message(inner, bytes, object, depth + 1)?;
            continue;
        }
        put(field, wire, object, depth).map_err(bad)?;
    }
    Ok(())
}

fn put(field: &Field, wire: Wire<'_>, object: &mut Map<String, Value>, depth: u32) -> Result<()> {
    let name = field.name.clone();
    match field.shape {
        Shape::One => {
            let value = read_value(field, wire, depth)?;
            // Go writes the zero value of what is not set.
            let is_unset = value == json!("")
                || value.is_null()
                || field.name == "targetPort" && value == json!(0);
            if !is_unset {
                object.insert(name, value);
            }
        }
        Shape::List => {
            let value = read_value(field, wire, depth)?;
            let list = object.entry(name).or_insert_with(|| json!([]));
            list.as_array_mut().ok_or("twice, and different")?.push(value);
        }
        Shape::Map => {
            let Wire::Bytes(entry) = wire else { return Err("expected an entry".to_owned()) };
            let (key, value) = read_entry(field, entry, depth)?;
            let map = object.entry(name).or_insert_with(|| json!({}));
            map.as_object_mut().ok_or("twice, and different")?.insert(key, value);
        }
    }
    Ok(())
}

fn read_entry(field: &Field, bytes: &[u8], depth: u32) -> Result<(String, Value)> {
    let (mut key, mut value) = (String::new(), None);
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(text)) => key = utf8(text)?,
            (2, wire) => value = Some(read_value(field, wire, depth)?),
            _ => {}
        }
    }
    Ok((key, value.unwrap_or_else(|| json!(""))))
}

fn read_value(field: &Field, wire: Wire<'_>, depth: u32) -> Result<Value> {
    Ok(match (&field.kind, wire) {
        (Type::Text, Wire::Bytes(text)) => utf8(text)?.into(),
        (Type::Data, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Type::Boolean, Wire::Number(number)) => (number != 0).into(),
        (Type::Integer, Wire::Number(number)) => number.cast_signed().into(),
        (Type::Quantity, Wire::Bytes(bytes)) => quantity(bytes)?,
        (Type::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (Type::Time, Wire::Bytes(bytes)) => time(bytes)?,
        (Type::Message(message), Wire::Bytes(bytes)) => {
            let mut object = Map::new();
            read_message(message, bytes, &mut object, depth + 1)?;
            Value::Object(object)
        }
        _ => return Err("written in another way than its type is".to_owned()),
    })
}

fn quantity(bytes: &[u8]) -> Result<Value> {
    let mut text = String::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        if let (1, Wire::Bytes(bytes)) = (number, wire) {
            text = utf8(bytes)?;
        }
    }
    Ok(text.into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((field, wire)) = reader.next()? {
        match (field, wire) {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(bytes)) => text = utf8(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

/// Null if it is not set, which is written as an empty message.
fn time(bytes: &[u8]) -> Result<Value> {
    let mut seconds = None;
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        if let (1, Wire::Number(value)) = (number, wire) {
            seconds = Some(value.cast_signed());
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let time = Timestamp::from_second(seconds).map_err(|error| error.to_string())?;
    Ok(clock::text(time).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend(bytes);
        out
    }

    #[test]
    fn a_body_becomes_a_document() {
        // Proves the parts of the format: text, data in a map, a message, what is not set.
        let meta = [field(1, b"v1"), field(2, b"Secret")].concat();
        let entry = [field(1, b"key"), field(2, b"value")].concat();
        let metadata = [field(1, b"a"), field(2, b""), field(8, b"")].concat();
        let secret = [field(1, &metadata), field(2, &entry), field(3, b"Opaque")].concat();
        let unknown = [field(1, &meta), field(2, &secret)].concat();
        let body = [MAGIC, &unknown].concat();
        let expected = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
            "data": {"key": "dmFsdWU="}, "type": "Opaque",
        });
        assert_eq!(decode(&body).unwrap(), expected);
        for cut in 0..body.len() {
            // Whatever is cut off, it ends with an answer.
            let _ = decode(&body[..cut]);
        }
        assert!(decode(b"{}").is_err());
    }

    #[test]
    fn every_message_is_described() {
        // Proves that `messages.txt` has no hole: each type that a field names is there.
        assert_eq!(schema::undescribed(), Vec::<String>::new());
    }
}
