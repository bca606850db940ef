//! A spec to start from, with a word about every part.

/// A pipeline that reads a directory of NDJSON files. It is printed by `spout schema --example`.
pub const EXAMPLE: &str = r#"pipeline: {name: github-events}        # also the name of the output repo
description: pushes by hour
spout:
  overwrite: false                     # false: same-named files grow; true: they are replaced
  marker: offsets                      # optional: shows the marker as the file /offsets in every commit
producer:
  stream:
    plugin: files                      # plugins/files.wasm; pin it with files@sha256:…
    topic: events                      # the plugin defines what a topic is: here, a granted directory
    consumerType: lowlevel             # lowlevel: by partition; highlevel: the whole stream
    readers: 4                         # share the partitions, each with an instance of the plugin; left out: one a core
    start: earliest                    # earliest | latest | {time: 2026-01-01T00:00:00Z} | {ago: 1h} | {offset: {0: 12}}
    onOutOfRange: fail                 # fail | earliest | latest: when the source no longer has our offset
    settings: {pattern: "*.ndjson"}    # `spout plugin inspect files` lists them
  decoder: {type: json}                # native, or {plugin: …, settings: {…}}
node:
  - {id: pushes, type: filter, where: "type = 'PushEvent'"}
  - {id: hour, type: map, columns: {hour: "date_trunc('hour', cast(created_at as timestamp))"}}
commit:
  branch: master
  path: /events/                       # directory of the data files, or a template like /{commit}.parquet
  format: parquet                      # parquet | arrow | ndjson | csv
  flush: {rows: 100000, bytes: 64MiB, time: 5s}
  publish: delta                       # delta: parquet files are Delta tables for other programs too; none: they are not
consumers:
  - {type: print, rows: 5}
errors: {decode: dead-letter}          # fail | dead-letter | drop
grants:
  files: {dirs: {events: ./data}}      # by plugin: nothing, unless named here
limits: {memory: 256MiB, call: 10s}
guarantee: exactly-once
"#;
