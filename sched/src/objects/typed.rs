//! Objects as Kubernetes' types.

use std::borrow::Cow;

use api::mvccpb::KeyValue;
use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::documents::{Beside, Document};
use super::fold::fold;
use super::kinds;
use super::{Delete, Error, ErrorKind, Objects, Result, unreadable};

/// How often a change is tried anew because somebody else was faster.
const TRIES_MAX: u32 = 16;

/// A kind of objects that is stored: every type of Kubernetes with metadata.
pub trait Kind:
    Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + Send + Sync + 'static
{
    /// Its line in the table of kinds.
    fn resource() -> Option<&'static kinds::Resource> {
        kinds::by_plural(Self::URL_PATH_SEGMENT)
    }
}

impl<T> Kind for T where
    T: Resource
        + Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// An object as it was at one revision.
#[derive(Clone, Debug)]
pub struct Stored<T> {
    pub object: T,
    /// The mod revision of its key, which `metadata.resourceVersion` has too.
    pub revision: i64,
    whole: Whole,
}

/// The document that an object was read from.
#[derive(Clone, Debug)]
enum Whole {
    /// As it is stored. Most are only looked at: what no type here knows is not read for that.
    Text(Bytes),
    /// Read already.
    Value(Value),
}

/// All objects of a kind at one revision, in the order of their keys.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// The revision of the store: a watch goes on from here.
    pub revision: i64,
    /// Keys that were passed over because they hold no object of the kind. Whoever would do harm
    /// by overlooking one must ask.
    pub unreadable: usize,
}

impl<T: Kind> Stored<T> {
    /// # Errors
    /// The document is not one of this kind ([`ErrorKind::Unreadable`]): that is told of.
    pub fn new(document: Document) -> Result<Self> {
        let object = T::deserialize(&document.value).map_err(|error| {
            let key = Objects::key::<T>(document.namespace(), document.name());
            let message = format!("not a {}: {error}", T::KIND);
            let error = Error::new(ErrorKind::Unreadable, message);
            unreadable::tell(&key.into(), document.revision, &error);
            error
        })?;
        Ok(Self { object, revision: document.revision, whole: Whole::Value(document.value) })
    }

    /// An object from its key, and of its document no more than the type knows.
    ///
    /// # Errors
    /// The value is no document of this kind ([`ErrorKind::Unreadable`]): that is told of.
    pub fn read(kv: &KeyValue) -> Result<Self> {
        match serde_json::from_slice::<T>(&kv.value) {
            Ok(mut object) if object.metadata().name.is_some() => {
                object.metadata_mut().resource_version = Some(kv.mod_revision.to_string());
                // A copy: what came is a part of something larger.
                let whole = Whole::Text(Bytes::copy_from_slice(&kv.value));
                Ok(Self { object, revision: kv.mod_revision, whole })
            }
            // Without metadata, which the types do not miss, or wrong: the document shows which.
            _ => Self::new(Document::read(kv)?),
        }
    }

    /// The whole document, with the fields that `T` does not know.
    ///
    /// # Errors
    /// One of those fields cannot be read ([`ErrorKind::Unreadable`]): that is told of.
    pub fn document(&self) -> Result<Cow<'_, Value>> {
        match &self.whole {
            Whole::Value(value) => Ok(Cow::Borrowed(value)),
            Whole::Text(text) => Document::parse(text, self.revision)
                .map(|document| Cow::Owned(document.value))
                .map_err(|reason| {
                    let metadata = self.object.metadata();
                    let name = metadata.name.as_deref().unwrap_or_default();
                    let key = Objects::key::<T>(metadata.namespace.as_deref(), name).into();
                    unreadable::told(&key, self.revision, &reason)
                }),
        }
    }
}

impl<T: Kind + PartialEq> PartialEq for Stored<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.revision, &self.object) == (other.revision, &other.object)
            && match (&self.whole, &other.whole) {
                (Whole::Text(one), Whole::Text(other)) => one == other,
                _ => self.document().is_ok_and(|one| other.document().is_ok_and(|it| it == one)),
            }
    }
}

impl<T> std::ops::Deref for Stored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl Objects {
    /// # Errors
    /// The store fails, or what is there is not one of this kind.
    pub async fn get<T: Kind>(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Stored<T>>> {
        resource::<T>()?;
        let found = self.key_value(Self::key::<T>(namespace, name)).await?;
        found.as_ref().map(Stored::read).transpose()
    }

    /// All objects of a kind, in one namespace or in all. What cannot be read is passed over, told
    /// of and counted.
    ///
    /// # Errors
    /// The store fails.
    pub async fn list<T: Kind>(&self, namespace: Option<&str>) -> Result<Listed<Stored<T>>> {
        let found = self.list_documents(resource::<T>()?, namespace).await?;
        let count = found.items.len();
        let items: Vec<_> =
            found.items.into_iter().filter_map(|one| Stored::new(one).ok()).collect();
        let unreadable = found.unreadable + count - items.len();
        Ok(Listed { items, revision: found.revision, unreadable })
    }

    /// Stores a new object; fills in its uid, its time of creation, its name if it has only
    /// `generateName`, and what Kubernetes has as defaults. Returns it as stored.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`]; it has no name; the store fails.
    pub async fn create<T: Kind>(&self, object: &T) -> Result<Stored<T>> {
        self.create_with(object, &Beside::default()).await
    }

    /// The same, together with something else.
    ///
    /// # Errors
    /// As [`Objects::create`], and [`ErrorKind::Conflict`] if what `beside` compares is not so.
    pub async fn create_with<T: Kind>(&self, object: &T, beside: &Beside) -> Result<Stored<T>> {
        Stored::new(self.create_beside(resource::<T>()?, value(object)?, beside).await?)
    }

    /// Replaces an object by what `change` makes of it, if nobody wrote it since it was read. A
    /// change that changes nothing writes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`], [`ErrorKind::NotFound`]; the store fails.
    pub async fn update<T: Kind>(
        &self,
        stored: &Stored<T>,
        change: impl FnOnce(&mut T),
    ) -> Result<Stored<T>> {
        self.update_with(stored, change, &Beside::default()).await
    }

    /// The same, together with something else; this writes even if nothing changes.
    ///
    /// # Errors
    /// As [`Objects::update`]; also a conflict if what `beside` compares is not so.
    pub async fn update_with<T: Kind>(
        &self,
        stored: &Stored<T>,
        change: impl FnOnce(&mut T),
        beside: &Beside,
    ) -> Result<Stored<T>> {
        let mut after = stored.object.clone();
        change(&mut after);
        let before = stored.document()?;
        let mut document = before.clone().into_owned();
        fold(&value(&stored.object)?, &value(&after)?, &mut document);
        if document == *before && beside.is_empty() {
            return Ok(stored.clone());
        }
        let after = Document { value: document, revision: stored.revision };
        let resource = resource::<T>()?;
        Stored::new(self.update_beside(resource, &before, after, beside).await?)
    }

    /// Replaces the status of an object alone, as [`Objects::update`] would; cheaper, as nothing else
    /// is looked at. `before` is its status as it was read; `set` puts the new one in its place.
    ///
    /// # Errors
    /// As [`Objects::update`].
    pub async fn update_status<T: Kind, S: Serialize>(
        &self,
        stored: &Stored<T>,
        before: &S,
        after: S,
        set: impl FnOnce(&mut T, S),
    ) -> Result<Stored<T>> {
        let (was, is) = (part::<T>(before)?, part::<T>(&after)?);
        if was == is {
            return Ok(stored.clone());
        }
        let resource = resource::<T>()?;
        let mut value = stored.document()?.into_owned();
        fold(&was, &is, &mut value["status"]);
        let document = Document { value, revision: stored.revision };
        let written = self.overwrite(resource, document, &Beside::default()).await?;
        let mut object = stored.object.clone();
        set(&mut object, after);
        object.metadata_mut().resource_version = Some(written.revision.to_string());
        Ok(Stored { object, revision: written.revision, whole: Whole::Value(written.value) })
    }

    /// Changes an object as it is now, as often as somebody else is faster; bounded. `change` says
    /// whether there is anything to write. `None`: there is no such object.
    ///
    /// # Errors
    /// Somebody else was faster each time; the store fails.
    pub async fn modify<T: Kind>(
        &self,
        namespace: Option<&str>,
        name: &str,
        change: impl Fn(&mut T) -> bool,
    ) -> Result<Option<Stored<T>>> {
        let mut last = Error::new(ErrorKind::Conflict, "");
        for _ in 0..TRIES_MAX {
            let Some(stored) = self.get::<T>(namespace, name).await? else { return Ok(None) };
            let mut after = stored.object.clone();
            if !change(&mut after) {
                return Ok(Some(stored));
            }
            match self.update(&stored, |object| *object = after).await {
                Err(error) if error.kind == ErrorKind::Conflict => last = error,
                Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
                outcome => return outcome.map(Some),
            }
        }
        Err(last)
    }

    /// Deletes an object, or begins to; see [`Objects::delete_document`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Conflict`] (another uid or revision than `delete`
    /// asks for); the store fails.
    pub async fn delete<T: Kind>(
        &self,
        namespace: Option<&str>,
        name: &str,
        delete: &Delete,
    ) -> Result<()> {
        self.delete_document(resource::<T>()?, namespace, name, delete).await.map(|_| ())
    }
}

pub(super) fn resource<T: Kind>() -> Result<&'static kinds::Resource> {
    T::resource().ok_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("objects of the kind {} are not kept", T::KIND))
    })
}

pub(super) fn value<T: Kind>(object: &T) -> Result<Value> {
    part::<T>(object)
}

/// Of an object of the kind, or the whole of it.
fn part<T: Kind>(part: &impl Serialize) -> Result<Value> {
    serde_json::to_value(part)
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("not a {}: {error}", T::KIND)))
}
