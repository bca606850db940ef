//! Hosts of a test's own: network namespaces that see this process, and nothing else.
//!
//! **Invariant**: a namespace does not outlive its test, however the test ends: a process holds it that ends with our pipe to it, and with the
//! namespace go its cables.

use std::{
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// Holds a namespace until the other end of its standard input is gone.
const HOLDER: &str = "echo held; exec cat >/dev/null";

/// Hosts on one network, whose hub is this process: what one sends to another goes through here or nowhere.
#[derive(Debug)]
pub struct Hosts {
    hosts: Vec<Host>,
    hub: Ipv4Addr,
}

#[derive(Debug)]
struct Host {
    holder: Child,
    address: Ipv4Addr,
}

impl Hosts {
    /// So many hosts, at most 60. `None`, with a line that says why, where this process may not make any.
    ///
    /// # Errors
    /// If one cannot be made although others can.
    pub fn start(count: u8) -> Result<Option<Self>> {
        if let Err(error) = run(Command::new("ip").arg("-V")) {
            println!("SKIPPED: network namespaces need iproute2: {error:#}");
            return Ok(None);
        }
        let mut last = None;
        // Somebody else may have the same network.
        for _ in 0..3 {
            let (a, b) = (rand::random_range(64..250), rand::random_range(0..250));
            let mut hosts = Self { hosts: Vec::new(), hub: Ipv4Addr::new(10, a, b, 1) };
            match (0..count).try_for_each(|number| hosts.add(number)) {
                Ok(()) => return Ok(Some(hosts)),
                Err(error) if hosts.hosts.is_empty() => {
                    println!("SKIPPED: network namespaces need root: {error:#}");
                    return Ok(None);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no host was tried")?)
    }

    fn add(&mut self, number: u8) -> Result<()> {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "sh", "-c", HOLDER]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = holder.spawn().context("unshare")?;
        let mut line = String::new();
        let said = holder.stdout.take().map(BufReader::new).map(|mut said| said.read_line(&mut line));
        if !matches!(said, Some(Ok(5))) {
            end(&mut holder);
            anyhow::bail!("unshare --net was refused");
        }
        let [a, b, c, _] = self.hub.octets();
        let (near, far) = (Ipv4Addr::new(a, b, c, 4 * number + 1), Ipv4Addr::new(a, b, c, 4 * number + 2));
        let id = holder.id().to_string();
        self.hosts.push(Host { holder, address: far });
        let cable = format!("sp{b}x{id}");
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &id])?;
        ip(&["address", "add", &format!("{near}/30"), "dev", &cable])?;
        ip(&["link", "set", &cable, "up"])?;
        let inside = |args: &[&str]| run(Command::new("nsenter").args(["--net", "--target", &id, "ip"]).args(args));
        inside(&["link", "set", "lo", "up"])?;
        inside(&["address", "add", &format!("{far}/30"), "dev", "eth0"])?;
        inside(&["link", "set", "eth0", "up"])?;
        // The hub answers at one address for all; nothing else is reached from there.
        if near == self.hub {
            Ok(())
        } else {
            inside(&["route", "add", &self.hub.to_string(), "via", &near.to_string()])
        }
    }

    /// The address at which this process is reached from every host.
    #[must_use]
    pub fn hub(&self) -> Ipv4Addr {
        self.hub
    }

    /// The address of a host, as this process reaches it.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn address(&self, host: usize) -> Result<Ipv4Addr> {
        self.hosts.get(host).map(|host| host.address).context("no such host")
    }

    /// `command`, to be run on a host.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn on(&self, host: usize, command: &Command) -> Result<Command> {
        let id = self.hosts.get(host).map(|host| host.holder.id().to_string()).context("no such host")?;
        // It becomes the command: signals to it are signals to that.
        let mut there = Command::new("nsenter");
        there.args(["--net", "--target", &id]).arg(command.get_program()).args(command.get_args());
        there.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(dir) = command.get_current_dir() {
            there.current_dir(dir);
        }
        Ok(there)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        end(&mut self.holder);
    }
}

fn end(holder: &mut Child) {
    // It may have ended by itself.
    drop(holder.kill());
    drop(holder.wait());
}

fn ip(args: &[&str]) -> Result<()> {
    run(Command::new("ip").args(args))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::TcpListener,
        process::{Command, Stdio},
    };

    use super::Hosts;

    /// Connects to each address, says who it is where somebody answers, and prints what became of each.
    const CALLS: &str = "import socket, sys\nfor a in sys.argv[1:]:\n  host, port = a.rsplit(':', 1)\n  try:\n    \
                         socket.create_connection((host, int(port)), 1).sendall(b'hello'); print('yes')\n  \
                         except OSError as e:\n    print('no')";

    #[test]
    fn hosts_reach_the_hub_and_not_each_other() {
        let Some(hosts) = Hosts::start(3).expect("hosts") else { return };
        let listener = TcpListener::bind((hosts.hub(), 0)).expect("a port of the hub");
        let hub = listener.local_addr().expect("its address").to_string();
        // Something listens on each host.
        let mut served = Vec::new();
        for host in 0..3 {
            let program =
                "import http.server as h\nh.HTTPServer(('0.0.0.0', 8000), h.SimpleHTTPRequestHandler).serve_forever()";
            let mut server = Command::new("python3");
            server.args(["-c", program]);
            let mut server = hosts.on(host, &server).expect("a host");
            served.push(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a server"));
        }
        let at = |host: usize| format!("{}:8000", hosts.address(host).expect("a host"));
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
        for host in 0..3 {
            while std::net::TcpStream::connect(at(host)).is_err() {
                assert!(std::time::Instant::now() < patience, "this process does not reach host {host}");
                std::thread::yield_now();
            }
        }
        for host in 0..3 {
            let mut calls = Command::new("python3");
            calls.args(["-c", CALLS, &hub, &at((host + 1) % 3), &at((host + 2) % 3), &at(host)]);
            let said = hosts.on(host, &calls).expect("a host").output().expect("python3");
            assert_eq!(String::from_utf8_lossy(&said.stdout), "yes\nno\nno\nyes\n", "host {host}");
            let (mut stream, from) = listener.accept().expect("a connection");
            assert_eq!(from.ip(), hosts.address(host).expect("a host"));
            let mut word = String::new();
            stream.read_to_string(&mut word).expect("a word");
            assert_eq!(word, "hello");
        }
        for mut server in served {
            server.kill().expect("it runs");
            server.wait().expect("it ends");
        }
    }
}
