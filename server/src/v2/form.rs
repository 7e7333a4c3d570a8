//! Forms: what stands in the query and in a body, as Go's `net/http` reads it.

/// The media type whose body is a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// What separates the names of media types.
const SEPARATORS: &[u8] = b"()<>@,;:\\\"/[]?= ";

/// Names and values; those of the body come before those of the query. They are bytes: nothing
/// says that they are text.
#[derive(Debug, Default)]
pub(super) struct Form {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Form {
    /// `body` is `None` for methods whose body is not looked at.
    ///
    /// # Errors
    /// The first thing that is wrong, in Go's words.
    pub(super) fn parse(
        query: Option<&str>,
        content_type: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<Form, String> {
        let mut form = Form::default();
        if let (Some(content_type), Some(body)) = (content_type, body)
            && media_type(content_type)?.eq_ignore_ascii_case(FORM)
        {
            form.read(body)?;
        }
        form.read(query.unwrap_or_default().as_bytes())?;
        Ok(form)
    }

    fn read(&mut self, text: &[u8]) -> Result<(), String> {
        if text.split(|byte| *byte == b'&').any(|pair| pair.contains(&b';')) {
            return Err("invalid semicolon separator in query".to_owned());
        }
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let middle = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let name = decode(&pair[..middle], true)?;
            let value = decode(pair.get(middle + 1..).unwrap_or_default(), true)?;
            self.pairs.push((name, value));
        }
        Ok(())
    }

    /// The first value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let pair = self.pairs.iter().find(|(found, _)| found == name.as_bytes());
        pair.map(|(_, value)| value.as_slice())
    }

    /// A yes or no as Go reads it; `None`: it is neither. What is not there is no.
    pub(super) fn bool(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            None => Some(false),
            Some(b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True") => Some(true),
            Some(b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False") => Some(false),
            Some(_) => None,
        }
    }

    /// A number; `None`: it is none, or too large. What is not there is 0.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            None => Some(0),
            // The standard library takes a sign, Go does not.
            Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
                std::str::from_utf8(digits).ok()?.parse().ok()
            }
            Some(_) => None,
        }
    }
}

/// The media type without its parameters.
fn media_type(content_type: &str) -> Result<&str, String> {
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let media_type = media_type.trim();
    let wrong = |what: &str| Err(format!("mime: {what}"));
    let (main, rest) = token(media_type);
    if main.is_empty() {
        return wrong("no media type");
    }
    if !rest.is_empty() {
        let Some(rest) = rest.strip_prefix('/') else {
            return wrong("expected slash after first token");
        };
        match token(rest) {
            ("", _) => return wrong("expected token after slash"),
            (_, "") => {}
            _ => return wrong("unexpected content after media subtype"),
        }
    }
    let mut parameters = parameters.split(';').map(str::trim).filter(|it| !it.is_empty());
    match parameters.find(|parameter| !parameter.contains('=')) {
        Some(_) => wrong("invalid media parameter"),
        None => Ok(media_type),
    }
}

/// The name that a text begins with, and the rest.
fn token(text: &str) -> (&str, &str) {
    let is_part = |byte: &u8| byte.is_ascii_graphic() && !SEPARATORS.contains(byte);
    let end = text.bytes().position(|byte| !is_part(&byte)).unwrap_or(text.len());
    text.split_at(end)
}

/// The text of a form, its parts not taken apart.
///
/// # Errors
/// Go's words for what is wrong with it.
pub(crate) fn decode_whole(form: &[u8]) -> Result<Vec<u8>, String> {
    decode(form, true)
}

/// Percent-decoding; `plus_is_space` in forms.
///
/// # Errors
/// Go's words for an escape that is none.
pub(super) fn decode(text: &[u8], plus_is_space: bool) -> Result<Vec<u8>, String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = match byte {
            b'%' => {
                let escape = behind.split_at_checked(2);
                let value = escape.and_then(|(digits, _)| hex(digits));
                let (Some((_, behind)), Some(value)) = (escape, value) else {
                    let escape = rest[..rest.len().min(3)].escape_ascii();
                    return Err(format!("invalid URL escape \"{escape}\""));
                };
                decoded.push(value);
                behind
            }
            b'+' if plus_is_space => {
                decoded.push(b' ');
                behind
            }
            byte => {
                decoded.push(*byte);
                behind
            }
        };
    }
    Ok(decoded)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let [high, low] = digits else { return None };
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Form, String> {
        Form::parse(Some(text), None, None)
    }

    #[test]
    fn the_body_comes_before_the_query() {
        // Shows which of several values counts, and that another body is not looked at.
        let form = |content_type, body: &'static [u8]| {
            Form::parse(Some("value=q&dir=true"), content_type, Some(body)).unwrap()
        };
        let both = form(Some("application/x-www-form-urlencoded; charset=UTF-8"), b"value=b%20+c");
        assert_eq!(both.get("value"), Some(&b"b  c"[..]));
        assert_eq!(both.bool("dir"), Some(true));
        assert_eq!(form(Some("text/plain"), b"value=b").get("value"), Some(&b"q"[..]));
        assert_eq!(form(None, b"value=b").get("value"), Some(&b"q"[..]));
    }

    #[test]
    fn what_is_wrong_is_told_in_gos_words() {
        // Shows the texts that stand in etcd's answers.
        assert_eq!(query("a=%zz").unwrap_err(), "invalid URL escape \"%zz\"");
        assert_eq!(query("a=%f").unwrap_err(), "invalid URL escape \"%f\"");
        assert_eq!(query("a;b").unwrap_err(), "invalid semicolon separator in query");
        for (content_type, text) in [
            ("", "mime: no media type"),
            ("a b", "mime: expected slash after first token"),
            ("a/", "mime: expected token after slash"),
            ("a/b c", "mime: unexpected content after media subtype"),
            ("a/b; c", "mime: invalid media parameter"),
        ] {
            let refused = Form::parse(None, Some(content_type), Some(b"")).unwrap_err();
            assert_eq!(refused, text, "{content_type:?}");
        }
    }

    #[test]
    fn numbers_and_booleans_are_gos() {
        // Shows the edges: no sign, 64 bits, and the spellings of yes and no.
        let form =
            query("a=18446744073709551615&b=18446744073709551616&c=+1&d=&e=T&f=yes").unwrap();
        assert_eq!(form.number("a"), Some(u64::MAX));
        for name in ["b", "c", "d"] {
            assert_eq!(form.number(name), None, "{name}");
        }
        assert_eq!((form.number("x"), form.bool("x")), (Some(0), Some(false)));
        assert_eq!((form.bool("e"), form.bool("f"), form.bool("d")), (Some(true), None, None));
    }
}
