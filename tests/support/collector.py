# An OpenTelemetry collector that keeps what it is sent: by the messages of the `opentelemetry-proto` package, which are not ours. It
# reads Prometheus' text too, by the parser of `prometheus_client`.
import gzip
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

spans, figures, headers, resources = [], [], {}, []


def plain(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def traces(body):
    request = ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        resources.append(plain(resource.resource.attributes))
        for scope in resource.scope_spans:
            for span in scope.spans:
                assert len(span.trace_id) == 16 and len(span.span_id) == 8, span
                assert span.start_time_unix_nano <= span.end_time_unix_nano, span
                spans.append({
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "name": span.name,
                    "attributes": plain(span.attributes),
                    "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
                    "failed": span.status.code == 2,
                })


def metrics(body):
    request = ExportMetricsServiceRequest.FromString(body)
    found = []
    for resource in request.resource_metrics:
        resources.append(plain(resource.resource.attributes))
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                data = getattr(metric, kind)
                assert kind == "gauge" or (data.is_monotonic and data.aggregation_temporality == 2), metric
                for point in data.data_points:
                    labels = plain(point.attributes)
                    assert point.time_unix_nano > 0, point
                    found.append([metric.name, "counter" if kind == "sum" else kind, metric.description, labels, point.as_double])
    figures[:] = [sorted(found, key=str)]


def parsed(text):
    """What a text of Prometheus says; it has to be as the format wants it."""
    said = {"HELP": [], "TYPE": []}
    for line in text.splitlines():
        if line.startswith("#"):
            _, word, name, _ = line.split(" ", 3)
            said[word].append(name)
        else:
            assert re.fullmatch(r'[a-z_]+\{([a-z_]+="([^"\\\n]|\\[\\n"])*",?)+\} [-+0-9.e]+', line), line
    assert text.endswith("\n"), "the last line has no end"
    assert said["HELP"] == said["TYPE"] and len(set(said["TYPE"])) == len(said["TYPE"]), said
    found, seen = [], set()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert (sample.name, labels) not in seen, f"{sample} stands twice"
            seen.add((sample.name, labels))
            part = re.search("_(sum|count)$", sample.name) if family.type == "summary" else None
            assert (sample.name[:part.start()] if part else sample.name) in said["TYPE"], f"{sample} has no type"
            kind = "counter" if part else {"summary": "gauge"}.get(family.type, family.type)
            found.append([sample.name, kind, family.documentation, sample.labels, float(sample.value)])
    return sorted(found, key=str)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        answer = b""
        try:
            if self.path == "/parse":
                answer = json.dumps(parsed(body.decode())).encode()
            else:
                assert self.headers["Content-Type"] == "application/x-protobuf", self.headers
                headers.update({name.lower(): value for name, value in self.headers.items()})
                {"/v1/traces": traces, "/v1/metrics": metrics}[self.path](body)
            self.send_response(200)
        except Exception as error:
            answer = json.dumps({"wrong": repr(error)}).encode()
            print(repr(error), flush=True)
            self.send_response(400)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self):
        known = {"/spans": spans, "/figures": figures[0] if figures else [], "/headers": headers, "/resources": resources}
        answer = json.dumps(known[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
