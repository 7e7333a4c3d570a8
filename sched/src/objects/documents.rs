//! Objects of any kind, as documents: what the typed calls rest on.

use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::{Compare, RangeRequest, RequestOp, TxnRequest};
use api::mvccpb::KeyValue;
use bytes::Bytes;
use rand::Rng;
use serde_json::{Map, Value, json};

use super::kinds::Resource;
use super::{
    Error, ErrorKind, Listed, Objects, REGISTRY, Result, claims, clock, defaults, unreadable,
};
use crate::kv;

/// Keys asked for at a time.
const PAGE_KEYS: i64 = 1000;
/// How often a generated name may be taken.
const NAMES_MAX: u32 = 8;
/// What generated names end with: no vowels, so that no words come of it.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const GENERATED_LETTERS: usize = 5;

/// An object of any kind as it was at one revision, which `metadata.resourceVersion` has too.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub value: Value,
    pub revision: i64,
}

/// What is compared and written in the same transaction as an object, and what it hangs on.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The lease of the store that the object goes with; 0: none, and for an object that is there,
    /// the one it has.
    pub lease: i64,
    pub compare: Vec<Compare>,
    pub write: Vec<RequestOp>,
}

impl Beside {
    pub(super) fn is_empty(&self) -> bool {
        self.lease == 0 && self.compare.is_empty() && self.write.is_empty()
    }
}

/// A part of a kind.
#[derive(Clone, Debug)]
pub struct Page {
    pub items: Vec<Document>,
    /// The revision it was read at.
    pub revision: i64,
    /// Keys on this page that hold no object; see [`unreadable`].
    pub unreadable: usize,
    /// Where the next page begins, and how many keys come after this one.
    pub next: Option<(Bytes, i64)>,
}

/// The key of an object.
pub(super) fn key(plural: &str, namespace: Option<&str>, name: &str) -> Vec<u8> {
    match namespace {
        Some(namespace) => format!("{REGISTRY}/{plural}/{namespace}/{name}").into_bytes(),
        None => format!("{REGISTRY}/{plural}/{name}").into_bytes(),
    }
}

/// The prefix of the keys of a kind, in one namespace or in all.
pub(super) fn prefix(plural: &str, namespace: Option<&str>) -> Vec<u8> {
    match namespace {
        Some(namespace) => format!("{REGISTRY}/{plural}/{namespace}/").into_bytes(),
        None => format!("{REGISTRY}/{plural}/").into_bytes(),
    }
}

impl Document {
    /// # Errors
    /// The value is not a JSON object with metadata ([`ErrorKind::Unreadable`]): that is told of.
    pub fn read(kv: &KeyValue) -> Result<Self> {
        Self::parse(&kv.value, kv.mod_revision)
            .map_err(|reason| unreadable::told(&kv.key, kv.mod_revision, &reason))
    }

    /// What is stored as `text`, or why it is no object.
    pub(super) fn parse(text: &[u8], revision: i64) -> std::result::Result<Self, String> {
        let mut value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let object = value.as_object_mut().ok_or("not a JSON object")?;
        if !object.get("metadata").is_some_and(Value::is_object) {
            return Err("it has no metadata".into());
        }
        set_revision(object, revision);
        Ok(Self { value, revision })
    }

    pub fn metadata(&self) -> &Value {
        &self.value["metadata"]
    }

    pub fn name(&self) -> &str {
        self.metadata()["name"].as_str().unwrap_or_default()
    }

    pub fn namespace(&self) -> Option<&str> {
        self.metadata()["namespace"].as_str()
    }
}

impl Objects {
    /// # Errors
    /// The store fails, or what is there is no object.
    pub async fn get_document(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Document>> {
        let found = self.key_value(key(resource.plural, namespace, name)).await?;
        found.as_ref().map(Document::read).transpose()
    }

    pub(super) async fn key_value(&self, key: Vec<u8>) -> Result<Option<KeyValue>> {
        let request = RangeRequest { key: key.into(), ..RangeRequest::default() };
        Ok(self.store.range(request).await?.kvs.into_iter().next())
    }

    /// All objects of a kind at one revision. What cannot be read is passed over, told of and
    /// counted.
    ///
    /// # Errors
    /// The store fails.
    pub async fn list_documents(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
    ) -> Result<Listed<Document>> {
        let mut listed = Listed { items: Vec::new(), revision: 0, unreadable: 0 };
        let mut from = None;
        loop {
            let page = self.page(resource, namespace, from, PAGE_KEYS, listed.revision).await?;
            listed.items.extend(page.items);
            listed.revision = page.revision;
            listed.unreadable += page.unreadable;
            match page.next {
                Some((next, _)) => from = Some(next),
                None => return Ok(listed),
            }
        }
    }

    /// At most `limit` objects (0: all) of a kind from the key `from` on, at a revision (0: now).
    ///
    /// # Errors
    /// The store fails, also because the revision is compacted.
    pub async fn page(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        from: Option<Bytes>,
        limit: i64,
        revision: i64,
    ) -> Result<Page> {
        let mut request = kv::range(&prefix(resource.plural, namespace));
        if let Some(from) = from {
            // Never before the first key of the kind, whatever a client sends.
            request.key = from.max(request.key);
        }
        let answer = self.store.range(RangeRequest { limit, revision, ..request }).await?;
        let read = |kv| Document::read(kv).ok();
        let items: Vec<Document> = answer.kvs.iter().filter_map(read).collect();
        let now = answer.header.map_or(0, |header| header.revision);
        let next = answer.kvs.last().filter(|_| answer.more).map(|last| {
            let left = answer.count - i64::try_from(answer.kvs.len()).unwrap_or(i64::MAX);
            let mut next = last.key.to_vec();
            next.push(0);
            (Bytes::from(next), left)
        });
        let unreadable = answer.kvs.len() - items.len();
        Ok(Page { items, revision: if revision == 0 { now } else { revision }, unreadable, next })
    }

    /// Stores a new object; see [`Objects::create`].
    ///
    /// # Errors
    /// As there.
    pub async fn create_document(&self, resource: &Resource, value: Value) -> Result<Document> {
        self.create_beside(resource, value, &Beside::default()).await
    }

    /// Stores a new object together with something else.
    ///
    /// # Errors
    /// As for [`Objects::create`], and [`ErrorKind::Conflict`] if what `beside` compares is not so.
    pub async fn create_beside(
        &self,
        resource: &Resource,
        mut value: Value,
        beside: &Beside,
    ) -> Result<Document> {
        prepare(resource, &mut value)?;
        let generate = match value["metadata"]["name"].as_str() {
            Some(_) => None,
            None => value["metadata"]["generateName"].as_str().map(str::to_owned),
        };
        let mut tries = 0;
        loop {
            if let Some(prefix) = &generate {
                value["metadata"]["name"] = generated(prefix).into();
            }
            tries += 1;
            match self.insert(resource, &mut value, beside).await {
                Err(error)
                    if error.kind == ErrorKind::AlreadyExists
                        && generate.is_some()
                        && tries < NAMES_MAX => {}
                outcome => return outcome,
            }
        }
    }

    async fn insert(
        &self,
        resource: &Resource,
        value: &mut Value,
        beside: &Beside,
    ) -> Result<Document> {
        let key = own_key(resource, value)?;
        let absent = kv::is_absent(key.clone());
        match self
            .write(&key, absent, kv::put(key.clone(), bytes(value), beside.lease), beside)
            .await?
        {
            Ok(revision) => Ok(at(value.clone(), revision)),
            Err(Some(_)) => Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("{} \"{}\" already exists", resource.qualified(), name(value)),
            )),
            Err(None) => Err(changed_beside(resource, value)),
        }
    }

    /// Replaces an object that was read at `after.revision`, when it was `before`: counts its
    /// generation up if its spec is another, and lets it go if the last thing that held it back
    /// from being deleted is gone.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`], [`ErrorKind::NotFound`]; the store fails.
    pub async fn update_document(
        &self,
        resource: &Resource,
        before: &Value,
        after: Document,
    ) -> Result<Document> {
        self.update_beside(resource, before, after, &Beside::default()).await
    }

    /// The same, together with something else.
    ///
    /// # Errors
    /// As [`Objects::update_document`]; also a conflict if what `beside` compares is not so.
    pub async fn update_beside(
        &self,
        resource: &Resource,
        before: &Value,
        mut after: Document,
        beside: &Beside,
    ) -> Result<Document> {
        if before["spec"] != after.value["spec"] {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            after.value["metadata"]["generation"] = generation.into();
        }
        if super::delete::is_released(resource, before, &after.value) {
            self.erase(resource, &after).await?;
            return Ok(after);
        }
        self.overwrite(resource, after, beside).await
    }

    /// Replaces an object that was read at `after.revision`, whose metadata and spec the caller has
    /// left as they were: neither is looked at.
    ///
    /// # Errors
    /// As [`Objects::update_beside`].
    pub(super) async fn overwrite(
        &self,
        resource: &Resource,
        mut after: Document,
        beside: &Beside,
    ) -> Result<Document> {
        let key = own_key(resource, &after.value)?;
        let put = match beside.lease {
            0 => kv::put_keeping_lease(key.clone(), bytes(&mut after.value)),
            lease => kv::put(key.clone(), bytes(&mut after.value), lease),
        };
        self.replace(resource, after, key, put, beside).await
    }

    /// Removes the key of an object at the revision it was read at, with its claims.
    ///
    /// # Errors
    /// As [`Objects::update_document`].
    pub(super) async fn erase(&self, resource: &Resource, document: &Document) -> Result<()> {
        let key = own_key(resource, &document.value)?;
        let delete = kv::delete(key.clone());
        let claims = claims::of(resource, &document.value);
        let beside =
            Beside { write: claims.into_iter().map(kv::delete).collect(), ..Beside::default() };
        self.replace(resource, document.clone(), key, delete, &beside).await.map(|_| ())
    }

    async fn replace(
        &self,
        resource: &Resource,
        document: Document,
        key: Vec<u8>,
        write: RequestOp,
        beside: &Beside,
    ) -> Result<Document> {
        let unchanged = kv::unchanged_since(key.clone(), document.revision);
        let Document { value, revision } = document;
        match self.write(&key, unchanged, write, beside).await? {
            Ok(revision) => Ok(at(value, revision)),
            Err(None) => Err(Error::new(
                ErrorKind::NotFound,
                format!("{} \"{}\" not found", resource.qualified(), name(&value)),
            )),
            Err(Some(now)) if now == revision => Err(changed_beside(resource, &value)),
            Err(Some(_)) => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the object has been modified; please apply your changes to the latest \
                     version and try again ({} \"{}\")",
                    resource.qualified(),
                    name(&value)
                ),
            )),
        }
    }

    /// One transaction; `Ok` with its revision, or `Err` with the mod revision of the key as it is.
    async fn write(
        &self,
        key: &[u8],
        compare: Compare,
        write: RequestOp,
        beside: &Beside,
    ) -> Result<std::result::Result<i64, Option<i64>>> {
        let holds = |found: Option<i64>| match &compare.target_union {
            Some(kv::Target::ModRevision(revision)) => found == Some(*revision),
            _ => found.is_none(),
        };
        let mut compares = vec![compare.clone()];
        compares.extend(self.fence.iter().chain(&beside.compare).cloned());
        let mut success = vec![write];
        success.extend(beside.write.iter().cloned());
        let failure = vec![kv::get(Bytes::copy_from_slice(key))];
        let answer = self.store.txn(TxnRequest { compare: compares, success, failure }).await?;
        if answer.succeeded {
            return Ok(Ok(answer.header.map_or(0, |header| header.revision)));
        }
        let found = match answer.responses.into_iter().next().and_then(|one| one.response) {
            Some(Response::ResponseRange(range)) => range.kvs.first().map(|kv| kv.mod_revision),
            _ => None,
        };
        if holds(found) && !self.fence.is_empty() && beside.compare.is_empty() {
            let message = "somebody else has taken over: nothing was written";
            return Err(Error::new(ErrorKind::Fenced, message));
        }
        Ok(Err(found))
    }
}

/// A new object as it would be stored.
///
/// # Errors
/// It is no JSON object.
pub fn as_created(resource: &Resource, mut value: Value) -> Result<Value> {
    prepare(resource, &mut value)?;
    Ok(value)
}

/// The write of a new object, for the transaction of somebody to whom it does not matter whether
/// there is one already.
pub(super) fn put_new(resource: &Resource, mut value: Value, lease: i64) -> Result<RequestOp> {
    prepare(resource, &mut value)?;
    Ok(kv::put(own_key(resource, &value)?, bytes(&mut value), lease))
}

/// Fills in what every new object has.
fn prepare(resource: &Resource, value: &mut Value) -> Result<()> {
    let invalid = |message: &str| Error::new(ErrorKind::Invalid, message.to_owned());
    defaults::apply(resource, value);
    let object = value.as_object_mut().ok_or_else(|| invalid("an object is a JSON object"))?;
    object.insert("apiVersion".into(), resource.api_version().into());
    object.insert("kind".into(), resource.kind.into());
    let has_spec = object.get("spec").is_some_and(Value::is_object);
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    let metadata =
        metadata.as_object_mut().ok_or_else(|| invalid("metadata: expected an object"))?;
    let uid = uid();
    metadata.insert("uid".into(), uid.clone().into());
    metadata.insert("creationTimestamp".into(), clock::text(clock::now()).into());
    for name in ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        metadata.shift_remove(name);
    }
    if has_spec {
        metadata.insert("generation".into(), 1.into());
    }
    if resource.plural == "jobs" {
        defaults::own_pods_of_job(object, &uid);
    }
    Ok(())
}

fn own_key(resource: &Resource, value: &Value) -> Result<Vec<u8>> {
    let metadata = &value["metadata"];
    let absent = |field: &str| {
        let message = format!("{}: metadata.{field} is not set", resource.kind);
        Error::new(ErrorKind::Invalid, message)
    };
    let name = metadata["name"].as_str().ok_or_else(|| absent("name"))?;
    let namespace = match resource.namespaced {
        true => Some(metadata["namespace"].as_str().ok_or_else(|| absent("namespace"))?),
        false => None,
    };
    Ok(key(resource.plural, namespace, name))
}

fn name(value: &Value) -> &str {
    value["metadata"]["name"].as_str().unwrap_or_default()
}

fn changed_beside(resource: &Resource, value: &Value) -> Error {
    let message = format!(
        "what {} \"{}\" depends on has changed; please try again",
        resource.qualified(),
        name(value)
    );
    Error::new(ErrorKind::Conflict, message)
}

/// As it is stored: without its revision, which is the key's, and which it loses here.
fn bytes(value: &mut Value) -> Vec<u8> {
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.shift_remove("resourceVersion");
    }
    serde_json::to_vec(value).expect("names are texts, and a vector takes what is written to it")
}

fn at(mut value: Value, revision: i64) -> Document {
    if let Some(object) = value.as_object_mut() {
        set_revision(object, revision);
    }
    Document { value, revision }
}

fn set_revision(object: &mut Map<String, Value>, revision: i64) {
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("resourceVersion".into(), revision.to_string().into());
    }
}

fn generated(prefix: &str) -> String {
    let mut random = rand::rng();
    let letter = |_| char::from(LETTERS[random.random_range(0..LETTERS.len())]);
    let letters: String = (0..GENERATED_LETTERS).map(letter).collect();
    format!("{prefix}{letters}")
}

/// A random UUID (RFC 9562, version 4).
fn uid() -> String {
    let random: u128 = rand::rng().random();
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
