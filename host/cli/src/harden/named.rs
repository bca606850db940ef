//! The files and ports that a run needs: what the host has to read anywhere, and whatever its specs name.
//!
//! Specs are not asked component by component, which would forget one: every text and number of a spec that may be a file or a port
//! counts as one. So a hardened run has what an author wrote down, and what nobody wrote down it has not. Directories are granted, or
//! they are not there: a text such as `/`, which is a path within a repo, would open everything below it.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use spout_otlp::Signal;
use spout_producer::DecoderSpec;
use spout_spec::Loaded;

/// What is read on any machine: libraries, certificates, names, time zones, and what the runtime asks of the system.
const READ: [&str; 30] = [
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/nsswitch.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/passwd",
    "/etc/group",
    "/etc/ld.so.cache",
    "/proc/self",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/stat",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/proc/sys/net",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    "/sys/kernel/mm",
    "/dev/urandom",
    "/dev/random",
];
/// Where anything may be written: it is gone, or nobody else's.
const WRITE: [&str; 4] = ["/dev/null", "/dev/zero", "/var/tmp", "/tmp"];
/// How variables begin whose values name files of credentials and certificates.
const VARIABLES: [&str; 5] = ["AWS_", "AZURE_", "GOOGLE_", "SSL_CERT_", "SPOUT_"];
/// DNS by TCP, and where buckets and their credentials are.
const BUCKET_PORTS: [u16; 3] = [53, 80, 443];
/// Where the system takes ports from that nobody chose.
const CHOSEN: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// What a run needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) read: BTreeSet<PathBuf>,
    /// Read and run: this program, which compiles plugins in a process of its own.
    pub(super) run: BTreeSet<PathBuf>,
    pub(super) write: BTreeSet<PathBuf>,
    /// To listen at, and to connect to.
    pub(super) ports: BTreeSet<u16>,
    /// At any port.
    pub(super) listens_anywhere: bool,
    /// To any port.
    pub(super) connects_anywhere: bool,
}

/// Whether the spec runs a program of this machine, which needs whatever it needs.
pub(super) fn trusts(loaded: &Loaded) -> bool {
    spout_spec::reaches(&loaded.spec).iter().any(|(_, reach)| *reach == spout_base::reach::Reach::Commands)
}

impl Named {
    /// What a run needs whatever it is of.
    pub(super) fn of_host() -> Self {
        let mut named = Self::default();
        named.read.extend(READ.map(PathBuf::from));
        named.write.extend(WRITE.map(PathBuf::from));
        named.write.insert(env::temp_dir());
        named.run.extend(env::current_exe());
        named.run.extend(loaders());
        named.ports.insert(53);
        for (name, value) in env::vars_os() {
            let name = name.to_string_lossy();
            if VARIABLES.iter().any(|begin| name.starts_with(begin)) {
                named.reads(Path::new(&value));
            }
            if name.to_ascii_lowercase().ends_with("_proxy") {
                named.ports.extend(port(&value.to_string_lossy()).into_iter().flatten());
            }
        }
        named
    }

    /// Reads what is at `path`, and below it.
    pub(super) fn reads(&mut self, path: &Path) {
        if path.exists() {
            self.read.insert(path.to_path_buf());
        }
    }

    /// Reads the file at `path`, if that is one.
    fn reads_file(&mut self, path: &Path) {
        if path.is_file() {
            self.read.insert(path.to_path_buf());
        }
    }

    /// Writes below `dir`, which is made where it is not there, for this user alone: rules are about what is.
    pub(super) fn makes(&mut self, dir: &Path) {
        // What keeps it from being made is said by whoever needs it.
        drop(fs::DirBuilder::new().recursive(true).mode(0o700).create(dir));
        self.write.insert(dir.to_path_buf());
    }

    /// A store that is not of this machine, and whatever proves who asks it.
    pub(super) fn bucket(&mut self, url: &str) {
        self.ports.extend(BUCKET_PORTS);
        self.ports.extend(port(url).into_iter().flatten());
        for (name, value) in env::vars() {
            if VARIABLES.iter().any(|begin| name.starts_with(begin)) {
                self.ports.extend(port(&value).into_iter().flatten());
            }
        }
        if let Some(home) = env::home_dir() {
            [".aws", ".azure", ".config/gcloud"].iter().for_each(|dir| self.reads(&home.join(dir)));
        }
    }

    /// Connects to a collector, whose address whoever starts this process has named.
    pub(super) fn collector(&mut self, signal: &Signal) {
        self.ports.extend(port(signal.url.as_str()).into_iter().flatten());
        signal.certificate.iter().for_each(|file| self.reads(file));
    }

    /// Listens at `address`.
    pub(super) fn listens(&mut self, address: &str) {
        self.ports.extend(port(address).into_iter().flatten());
    }

    /// Reads the file at `path`, also when another takes its place.
    pub(super) fn reads_anew(&mut self, path: &Path) {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        self.reads(dir.unwrap_or(Path::new(".")));
    }

    /// What `loaded` names.
    pub(super) fn add(&mut self, loaded: &Loaded) {
        let spec = &loaded.spec;
        let grants = spec.producers().flat_map(|(_, producer)| &producer.grants).chain(&spec.grants);
        for (_, grant) in grants {
            for dir in grant.dirs.values() {
                let path = loaded.resolve(dir.path());
                if dir.writable() {
                    self.write.insert(path);
                } else {
                    self.reads(&path);
                }
            }
        }
        self.walk(&serde_json::to_value(spec).unwrap_or_default(), loaded);
        for consumer in &spec.consumers {
            let consumer = serde_json::to_value(consumer).unwrap_or_default();
            if let Some(file) = consumer.get("path").and_then(Value::as_str) {
                self.written(&loaded.resolve(Path::new(file)));
            }
        }
        for (_, producer) in spec.producers() {
            if let Some(DecoderSpec::Native(native)) = &producer.decoder {
                native.keeps().into_iter().for_each(|dir| self.makes(&loaded.resolve(dir)));
            }
        }
        if spec.spout.service.is_some() {
            // A guest's own port is one that the system chose, and clients are led there.
            self.chosen();
        }
    }

    /// Every path and port in `value`.
    fn walk(&mut self, value: &Value, loaded: &Loaded) {
        match value {
            Value::Object(map) => map.values().for_each(|inner| self.walk(inner, loaded)),
            Value::Array(list) => list.iter().for_each(|inner| self.walk(inner, loaded)),
            Value::Number(number) => {
                let port = number.as_u64().and_then(|number| u16::try_from(number).ok());
                self.ports.extend(port.filter(|port| *port > 0));
            }
            Value::String(text) => {
                self.ports.extend(port(text).into_iter().flatten());
                match text.strip_prefix("ipc://") {
                    Some(socket) => self.written(&loaded.resolve(Path::new(socket))),
                    None => self.reads_file(&loaded.resolve(Path::new(text))),
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// A file that is made beside where it is to be, as is the directory that it lies in; its name may be a template.
    fn written(&mut self, file: &Path) {
        let Some(dir) = file.parent() else { return };
        let plain: PathBuf =
            dir.components().take_while(|part| !part.as_os_str().to_string_lossy().contains('{')).collect();
        drop(fs::create_dir_all(&plain));
        self.write.insert(plain);
    }

    fn chosen(&mut self) {
        let range = fs::read_to_string(CHOSEN).unwrap_or_default();
        let mut ends = range.split_whitespace().filter_map(|end| end.parse::<u16>().ok());
        let (from, to) = (ends.next().unwrap_or(32_768), ends.next().unwrap_or(60_999));
        self.ports.insert(0);
        self.ports.extend(from..=to);
    }
}

/// The ports at the end of an address, or of a URL.
fn port(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let said = authority.rsplit_once(':').and_then(|(_, ports)| {
        let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
        Some(from.parse().ok()?..=to.parse().ok()?)
    });
    said.or(match scheme {
        "http" => Some(80..=80),
        "https" | "s3" | "gs" | "az" => Some(443..=443),
        _ => None,
    })
}

/// What the system starts programs with: where a process may run this one, it has to run that.
fn loaders() -> Vec<PathBuf> {
    let linkers = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-x86_64.so.1"];
    linkers.iter().map(PathBuf::from).filter(|path| path.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(spec: &str, place: &Path) -> Named {
        let path = place.join("spec.yaml");
        let loaded = spout_spec::parse(spec, &path, place).unwrap();
        let mut named = Named::default();
        loaded.iter().for_each(|loaded| named.add(loaded));
        named
    }

    #[test]
    fn whatever_a_spec_names_it_has() {
        let place = tempfile::tempdir().unwrap();
        for name in ["in", "out", "made", "other"] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        fs::write(place.path().join("secret"), "s").unwrap();
        let found = named(
            "pipeline: {name: p}
producer:
  stream: {plugin: files, topic: t}
  decoder: {type: raw}
grants:
  files: {dirs: {t: ./in, o: {path: ./out, write: true}}, net: ['broker:9092-9094'], listen: [8000], env: {A: {file: secret}}}
commit: {path: /}
consumers:
  - {type: file, path: 'made/{pipeline}/rows.csv'}
  - {type: http, url: 'https://example.com/x'}
  - {type: publish, address: 'ipc://other/rows.sock'}
",
            place.path(),
        );
        let at = |name: &str| place.path().join(name);
        assert!(found.read.contains(&at("in")) && found.read.contains(&at("secret")), "{found:?}");
        assert!(["out", "made", "other"].iter().all(|dir| found.write.contains(&at(dir))), "{found:?}");
        // Paths within repos are no directories of this machine.
        assert!(found.read.iter().all(|path| *path == at("in") || path.is_file()), "{found:?}");
        assert!(!found.write.contains(&at("in")) && !found.write.contains(&at("")), "{found:?}");
        assert!([9092, 9093, 9094, 8000, 443].iter().all(|port| found.ports.contains(port)), "{:?}", found.ports);
        assert!(found.ports.len() < 100, "{:?}", found.ports);
    }

    #[test]
    fn ports_stand_at_the_end_of_an_address() {
        let check =
            |text: &str, expected: Option<std::ops::RangeInclusive<u16>>| assert_eq!(port(text), expected, "{text}");
        check("127.0.0.1:80", Some(80..=80));
        check("[::1]:9092-9094", Some(9092..=9094));
        check("tcp://*:0", Some(0..=0));
        check("https://example.com/a:5", Some(443..=443));
        check("http://example.com:8080/a", Some(8080..=8080));
        check("a:b", None);
        check("text", None);
    }

    #[test]
    fn a_program_that_is_trusted_cannot_be_hardened() {
        let loaded =
            |spec: &str| spout_spec::parse(spec, Path::new("s.yaml"), Path::new("/nowhere")).unwrap().remove(0);
        assert!(trusts(&loaded("pipeline: {name: p}\ntransform: {cmd: [./x], trusted: true}\n")));
        assert!(!trusts(&loaded("pipeline: {name: p}\nproducer: {repo: {repo: other}}\n")));
    }
}
