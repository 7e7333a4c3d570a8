//! A request for a key: its fields, checked in etcd's order, and the write it stands for.

use api::berthpb::V2Write;
use api::berthpb::v2_write::Action;
use axum::http::Method;
use bytes::Bytes;

use super::errors::{Code, Refused};
use super::form::Form;

const NS_PER_S: i64 = 1_000_000_000;

/// What a request for a key asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    Get {
        recursive: bool,
        /// Show everything that was acknowledged so far, by any member.
        quorum: bool,
    },
    Wait {
        recursive: bool,
        stream: bool,
        /// The first index that is wanted; 0: what comes now.
        since: u64,
    },
    Write {
        write: V2Write,
        /// Leave the nodes out of the answer to what succeeded.
        no_value: bool,
    },
}

/// Everything that the form may say.
struct Fields {
    prev_index: u64,
    since: u64,
    recursive: bool,
    wait: bool,
    dir: bool,
    quorum: bool,
    stream: bool,
    prev_value: Bytes,
    no_value: bool,
    ttl_s: Option<u64>,
    prev_exist: Option<bool>,
    refresh: bool,
}

impl Asked {
    /// Reads a request for the key `path`, made at `now_ns`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn read(
        method: &Method,
        path: &[u8],
        form: &Form,
        now_ns: i64,
    ) -> Result<Asked, Refused> {
        let is_get = *method == Method::GET;
        let fields = Fields::read(is_get, form)?;
        let Fields { recursive, quorum, stream, since, .. } = fields;
        if fields.wait {
            return Ok(Asked::Wait { recursive, stream, since });
        }
        let no_value = fields.no_value;
        match *method {
            Method::PUT | Method::POST | Method::DELETE => {
                let write = fields.write(method, path, form, now_ns);
                Ok(Asked::Write { write, no_value })
            }
            _ => Ok(Asked::Get { recursive, quorum: quorum && is_get }),
        }
    }
}

impl Fields {
    fn read(is_get: bool, form: &Form) -> Result<Fields, Refused> {
        let index = |name| form.number(name).ok_or_else(|| invalid(Code::IndexNotNumber, name));
        let flag = |name| form.bool(name).ok_or_else(|| invalid(Code::InvalidField, name));
        let (prev_index, since) = (index("prevIndex")?, index("waitIndex")?);
        let recursive = flag("recursive")?;
        flag("sorted")?;
        let (wait, dir) = (flag("wait")?, flag("dir")?);
        let (quorum, stream) = (flag("quorum")?, flag("stream")?);
        if wait && !is_get {
            return Err(Code::InvalidField.because("\"wait\" can only be used with GET requests"));
        }
        let prev_value = form.get("prevValue");
        if prev_value == Some(b"") {
            return Err(Code::PrevValueRequired.because("\"prevValue\" cannot be empty"));
        }
        let no_value = flag("noValueOnSuccess")?;
        let ttl_s = match form.get("ttl") {
            None | Some(b"") => None,
            Some(_) => {
                let ttl_s = form.number("ttl");
                Some(ttl_s.ok_or_else(|| invalid(Code::TtlNotNumber, "ttl"))?)
            }
        };
        let unquoted = |name| {
            let wrong = || Code::InvalidField.because(format!("invalid value for {name}"));
            form.bool(name).ok_or_else(wrong)
        };
        let prev_exist =
            form.get("prevExist").is_some().then(|| unquoted("prevExist")).transpose()?;
        let refresh = unquoted("refresh")?;
        if refresh && form.get("value").is_some_and(|value| !value.is_empty()) {
            return Err(Code::RefreshWithValue.because("A value was provided on a refresh"));
        }
        if refresh && ttl_s.is_none() {
            return Err(Code::RefreshWithoutTtl.because("No TTL value set"));
        }
        let prev_value = Bytes::copy_from_slice(prev_value.unwrap_or_default());
        Ok(Fields {
            prev_index,
            since,
            recursive,
            wait,
            dir,
            quorum,
            stream,
            prev_value,
            no_value,
            ttl_s,
            prev_exist,
            refresh,
        })
    }

    fn write(self, method: &Method, path: &[u8], form: &Form, now_ns: i64) -> V2Write {
        let compares = self.prev_index != 0 || !self.prev_value.is_empty();
        let action = match (method, self.prev_exist) {
            (&Method::POST, _) => Action::CreateInOrder,
            (&Method::DELETE, _) if compares => Action::CompareAndDelete,
            (&Method::DELETE, _) => Action::Delete,
            (_, Some(false)) => Action::Create,
            (_, Some(true)) if !compares => Action::Update,
            _ if compares => Action::CompareAndSwap,
            _ => Action::Set,
        };
        V2Write {
            action: action.into(),
            path: Bytes::copy_from_slice(path),
            value: Bytes::copy_from_slice(form.get("value").unwrap_or_default()),
            dir: self.dir,
            recursive: self.recursive,
            prev_value: self.prev_value,
            prev_index: self.prev_index,
            refresh: self.refresh,
            now_ns,
            deadline_ns: self.ttl_s.map(|ttl_s| deadline_ns(ttl_s, now_ns)),
        }
    }
}

fn invalid(code: Code, name: &str) -> Refused {
    code.because(format!("invalid value for \"{name}\""))
}

/// Where etcd's clock would be then: it counts in 64 bits and goes round.
fn deadline_ns(ttl_s: u64, now_ns: i64) -> i64 {
    ttl_s.cast_signed().wrapping_mul(NS_PER_S).wrapping_add(now_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &Method, query: &str) -> Result<Asked, Refused> {
        let form = Form::parse(Some(query), None, None).unwrap();
        Asked::read(method, b"/k", &form, 5)
    }

    fn action(method: &Method, query: &str) -> Action {
        match read(method, query).unwrap() {
            Asked::Write { write, .. } => write.action(),
            asked => panic!("{asked:?} is no write"),
        }
    }

    #[test]
    fn conditions_choose_the_write() {
        // Shows which write each combination of conditions stands for.
        for (query, expected) in [
            ("", Action::Set),
            ("prevExist=false&prevValue=x", Action::Create),
            ("prevExist=true", Action::Update),
            ("prevExist=true&prevIndex=3", Action::CompareAndSwap),
            ("prevValue=x", Action::CompareAndSwap),
            ("prevIndex=0", Action::Set),
        ] {
            assert_eq!(action(&Method::PUT, query), expected, "{query}");
        }
        assert_eq!(action(&Method::POST, "prevExist=true"), Action::CreateInOrder);
        assert_eq!(action(&Method::DELETE, "prevExist=false"), Action::Delete);
        assert_eq!(action(&Method::DELETE, "prevIndex=4"), Action::CompareAndDelete);
    }

    #[test]
    fn the_first_wrong_field_is_told() {
        // Shows the order in which fields are looked at, and their words.
        for (query, code, cause) in [
            ("recursive=x&prevIndex=x", Code::IndexNotNumber, "invalid value for \"prevIndex\""),
            ("dir=x&wait=x", Code::InvalidField, "invalid value for \"wait\""),
            ("prevValue=&ttl=x", Code::PrevValueRequired, "\"prevValue\" cannot be empty"),
            ("ttl=-1&prevExist=x", Code::TtlNotNumber, "invalid value for \"ttl\""),
            ("prevExist=", Code::InvalidField, "invalid value for prevExist"),
            ("refresh=1&value=x", Code::RefreshWithValue, "A value was provided on a refresh"),
            ("refresh=1&ttl=", Code::RefreshWithoutTtl, "No TTL value set"),
            ("wait=1", Code::InvalidField, "\"wait\" can only be used with GET requests"),
        ] {
            assert_eq!(read(&Method::PUT, query).unwrap_err(), code.because(cause), "{query}");
        }
    }

    #[test]
    fn a_deadline_is_counted_in_64_bits() {
        // Shows a deadline, and that one beyond the calendar goes round as in etcd.
        assert_eq!(deadline_ns(2, 5), 2_000_000_005);
        assert!(deadline_ns(10_000_000_000, 1_700_000_000 * NS_PER_S) < 0);
        assert_eq!(deadline_ns(u64::MAX, 0), -NS_PER_S);
    }
}
