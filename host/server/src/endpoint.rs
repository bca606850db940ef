//! A route with all that is said about it.

use std::sync::Arc;

use axum::{
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::{Access, Service};

/// Makes a schema for the document.
pub(crate) type Described = fn(&mut SchemaGenerator) -> Schema;

/// What a request or an answer holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// JSON of this schema.
    Json(Described),
    /// Bytes of this media type.
    Bytes(&'static str),
    /// A form whose parts are files.
    Form,
}

/// A route.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    /// What its callers need; `None` lets in everyone.
    pub(crate) access: Option<Access>,
    pub(crate) query: Vec<Described>,
    pub(crate) body: Option<Content>,
    pub(crate) answer: Option<Content>,
    /// The JSON that it gives with status 503, where that is an answer like any other.
    pub(crate) unwell: Option<Described>,
    pub(crate) handler: MethodRouter<Arc<Service>>,
}

fn described<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The schema itself, whose properties are the parameters.
fn inlined<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

impl Endpoint {
    fn new<H: Handler<T, Arc<Service>>, T: 'static>(
        method: &'static str,
        filter: MethodFilter,
        access: Access,
        (path, summary): (&'static str, &'static str),
        handler: H,
    ) -> Self {
        let handler = on(filter, handler);
        Self {
            method,
            path,
            summary,
            access: Some(access),
            query: Vec::new(),
            body: None,
            answer: None,
            unwell: None,
            handler,
        }
    }

    /// A route for those who read.
    pub(crate) fn get<H: Handler<T, Arc<Service>>, T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new("get", MethodFilter::GET, Access::Read, (path, summary), handler)
    }

    /// A route for those who write.
    pub(crate) fn post<H: Handler<T, Arc<Service>>, T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new("post", MethodFilter::POST, Access::Write, (path, summary), handler)
    }

    /// A route for those who write.
    pub(crate) fn put<H: Handler<T, Arc<Service>>, T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new("put", MethodFilter::PUT, Access::Write, (path, summary), handler)
    }

    /// A route for those who write.
    pub(crate) fn delete<H: Handler<T, Arc<Service>>, T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new("delete", MethodFilter::DELETE, Access::Write, (path, summary), handler)
    }

    /// What its callers need.
    pub(crate) fn needs(self, access: Option<Access>) -> Self {
        Self { access, ..self }
    }

    /// What its query may say, with what else was said.
    pub(crate) fn asks<T: JsonSchema>(mut self) -> Self {
        self.query.push(inlined::<T>);
        self
    }

    /// The JSON that it takes.
    pub(crate) fn takes<T: JsonSchema>(self) -> Self {
        Self { body: Some(Content::Json(described::<T>)), ..self }
    }

    /// The bytes that it takes.
    pub(crate) fn takes_bytes(self, media: &'static str) -> Self {
        Self { body: Some(Content::Bytes(media)), ..self }
    }

    /// That it takes a form of files.
    pub(crate) fn takes_form(self) -> Self {
        Self { body: Some(Content::Form), ..self }
    }

    /// The JSON that it gives.
    pub(crate) fn gives<T: JsonSchema>(self) -> Self {
        Self { answer: Some(Content::Json(described::<T>)), ..self }
    }

    /// The JSON that it gives with status 503.
    pub(crate) fn says_503<T: JsonSchema>(self) -> Self {
        Self { unwell: Some(described::<T>), ..self }
    }

    /// The bytes that it gives.
    pub(crate) fn gives_bytes(self, media: &'static str) -> Self {
        Self { answer: Some(Content::Bytes(media)), ..self }
    }
}
