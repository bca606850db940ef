//! OTLP's messages, as far as they are sent: `opentelemetry-proto` 1.x, by the numbers of their fields.

use std::collections::BTreeMap;

use prost::{Message, Oneof};
use spout_base::{
    figures::{Families, Kind, Sample},
    trace::{Span as Done, Value},
};

/// Whose spans and figures these are.
const SCOPE: &str = "spout";

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(oneof = "Content", tags = "1, 3")]
    value: Option<Content>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Content {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Whole(i64),
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

/// A request with `ResourceSpans` or `ResourceMetrics`, which begin alike.
#[derive(Clone, PartialEq, Message)]
struct Traces {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    begun_ns: u64,
    #[prost(fixed64, tag = "8")]
    ended_ns: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Pair>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<Link>,
    #[prost(uint32, tag = "14")]
    more_links: u32,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Link {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Metrics {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(oneof = "Points", tags = "5, 7")]
    data: Option<Points>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Points {
    #[prost(message, tag = "5")]
    Gauge(Gauge),
    #[prost(message, tag = "7")]
    Sum(Sum),
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(message, repeated, tag = "1")]
    points: Vec<Point>,
}

#[derive(Clone, PartialEq, Message)]
struct Sum {
    #[prost(message, repeated, tag = "1")]
    points: Vec<Point>,
    #[prost(int32, tag = "2")]
    temporality: i32,
    #[prost(bool, tag = "3")]
    monotonic: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Point {
    #[prost(fixed64, tag = "2")]
    start_ns: u64,
    #[prost(fixed64, tag = "3")]
    at_ns: u64,
    #[prost(double, optional, tag = "4")]
    value: Option<f64>,
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<Pair>,
}

/// `SPAN_KIND_INTERNAL`, `STATUS_CODE_ERROR`, `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const INTERNAL: i32 = 1;
const FAILED: i32 = 2;
const CUMULATIVE: i32 = 2;

fn pair(key: &str, content: Content) -> Pair {
    Pair { key: key.to_owned(), value: Some(Any { value: Some(content) }) }
}

fn texts(pairs: &[(String, String)]) -> Vec<Pair> {
    pairs.iter().map(|(key, value)| pair(key, Content::Text(value.clone()))).collect()
}

fn scope() -> Option<Scope> {
    Some(Scope { name: SCOPE.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

fn resource(pairs: &[(String, String)]) -> Option<Resource> {
    Some(Resource { attributes: texts(pairs) })
}

fn span(done: Done) -> Span {
    let attribute = |(key, value): (&'static str, Value)| {
        let content = match value {
            Value::Text(text) => Content::Text(text),
            Value::Number(number) => Content::Whole(i64::try_from(number).unwrap_or(i64::MAX)),
        };
        pair(key, content)
    };
    let trace_id = done.context.trace.to_be_bytes().to_vec();
    let links = done
        .links
        .iter()
        .map(|link| Link { trace_id: link.trace.to_be_bytes().to_vec(), span_id: link.span.to_be_bytes().to_vec() });
    Span {
        trace_id,
        span_id: done.context.span.to_be_bytes().to_vec(),
        parent_span_id: done.parent.map_or_else(Vec::new, |parent| parent.to_be_bytes().to_vec()),
        name: done.name.to_owned(),
        kind: INTERNAL,
        begun_ns: done.begun_ns,
        ended_ns: done.ended_ns,
        links: links.collect(),
        more_links: done.more_links,
        attributes: done.attributes.into_iter().map(attribute).collect(),
        status: done.failed.map(|code| Status { message: code.to_owned(), code: FAILED }),
    }
}

/// A request with these spans.
pub(crate) fn traces(about: &[(String, String)], spans: Vec<Done>) -> Vec<u8> {
    let scopes = vec![ScopeSpans { scope: scope(), spans: spans.into_iter().map(span).collect() }];
    Traces { resources: vec![ResourceSpans { resource: resource(about), scopes }] }.encode_to_vec()
}

/// A request with these figures, as they are at `at_ns`; those that only rise do so since `start_ns`.
pub(crate) fn metrics(about: &[(String, String)], families: Families, start_ns: u64, at_ns: u64) -> Vec<u8> {
    let mut metrics: BTreeMap<String, (bool, &str, Vec<Point>)> = BTreeMap::new();
    for (name, family) in families {
        for Sample { part, labels, value } in family.samples {
            // The parts of a summary count; its quantiles do not.
            let counts = family.kind == Kind::Counter || !part.is_empty();
            let start_ns = if counts { start_ns } else { 0 };
            let point = Point { start_ns, at_ns, value: Some(value), attributes: texts(&labels) };
            metrics.entry(format!("{name}{part}")).or_insert((counts, family.help, Vec::new())).2.push(point);
        }
    }
    let metric = |(name, (counts, help, points)): (String, (bool, &str, Vec<Point>))| {
        let data = if counts {
            Points::Sum(Sum { points, temporality: CUMULATIVE, monotonic: true })
        } else {
            Points::Gauge(Gauge { points })
        };
        Metric { name, description: help.to_owned(), data: Some(data) }
    };
    let scopes = vec![ScopeMetrics { scope: scope(), metrics: metrics.into_iter().map(metric).collect() }];
    Metrics { resources: vec![ResourceMetrics { resource: resource(about), scopes }] }.encode_to_vec()
}
