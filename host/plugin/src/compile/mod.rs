//! Compiles plugins in a process of their own: whoever wrote a component chooses how long that takes and how much memory it needs.
//!
//! The child is this very binary, started with a hidden argument ([`child`]). It limits itself before it reads the component, gets
//! nothing of this process but three pipes, and ends when the first of them does. What comes back is machine code of whoever asked,
//! which the caller seals before it keeps it: the child knows no key.
//!
//! **Invariant**: nothing of a component is compiled where pipelines run, but for tests and benches, which ask for it.

mod child;

use std::{
    ffi::OsString,
    fmt, io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    sync::{Arc, LazyLock},
    time::Duration,
};

use rustix::process::Signal;
use spout_data::ByteSize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    sync::Semaphore,
};
use wasmtime::Engine;

pub use self::child::compile_for_parent;
use super::Error;

/// What the child says before its code, so that another program in its place is noticed.
const GREETING: [u8; 8] = *b"spout/wc";

/// Most bytes of machine code that one component may become.
const CODE: u64 = 512 << 20;

/// Most bytes of what the child says of an error that are read.
const WORDS: u64 = 8 << 10;

/// The environment that a child needs to be started at all, where it is not linked statically.
const KEPT: [&str; 2] = ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// Children at once: each uses all cores.
static ROOM: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8)));

/// What compiling one component may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Processor time, of all threads together.
    pub time: Duration,
    /// Memory.
    pub memory: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), memory: 2 << 30 }
    }
}

/// What compiling a component takes more than.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooMuch {
    limit: String,
    what: &'static str,
    /// What to do.
    advice: &'static str,
}

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, what, advice } = self;
        write!(f, "the {limit} of {what} it may take; {advice}")
    }
}

/// Who compiles plugins.
#[derive(Clone, Debug, Default)]
pub enum Compiler {
    /// This process, as long as it takes: for those who trust their plugins.
    #[default]
    Here,
    /// Children of this process: a program that calls [`compile_for_parent`] when it gets this argument and the two limits.
    Apart {
        /// The program.
        program: PathBuf,
        /// Its first argument.
        argument: OsString,
        /// What each child may use up.
        limits: CompileLimits,
    },
}

impl Compiler {
    /// This binary in a process of its own, which has to call [`compile_for_parent`] when its first argument is `argument`.
    #[must_use]
    pub fn apart(argument: &str, limits: CompileLimits) -> Self {
        // Linux knows the binary that runs here also when its file was replaced meanwhile.
        let running = Path::new("/proc/self/exe");
        let program =
            if running.exists() { running.to_path_buf() } else { std::env::current_exe().unwrap_or_default() };
        Self::Apart { program, argument: argument.into(), limits }
    }

    /// The machine code of `wasm`, for engines with the settings of `engine`.
    pub(super) async fn compile(
        &self,
        engine: &Engine,
        (plugin, path): (&str, &Path),
        wasm: &Arc<Vec<u8>>,
    ) -> Result<Vec<u8>, Error> {
        match self {
            Self::Here => {
                let (engine, wasm, path) = (engine.clone(), Arc::clone(wasm), path.to_path_buf());
                let compile = move || engine.precompile_component(&wasm);
                let code = tokio::task::spawn_blocking(compile).await.map_err(|error| unstarted(&error))?;
                code.map_err(|error| Error::Compile { path, reason: format!("{error:#}") })
            }
            Self::Apart { program, argument, limits } => {
                let _room = ROOM.acquire().await.map_err(|error| unstarted(&error))?;
                let mut command = Command::new(program);
                command.arg(argument).args([seconds(limits.time).to_string(), limits.memory.to_string()]);
                let output = ask(&mut command, wasm).await.map_err(|error| unstarted(&error))?;
                understand(output, (plugin, path), *limits)
            }
        }
    }
}

/// Whole seconds, which is what the system counts in.
fn seconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
}

fn unstarted(why: &dyn fmt::Display) -> Error {
    Error::Runtime { reason: format!("the process that compiles plugins: {why}") }
}

/// Starts the child, hands it `wasm`, and waits for its end. It is killed if nobody waits any more.
async fn ask(command: &mut Command, wasm: &[u8]) -> io::Result<Output> {
    command.env_clear().envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Ctrl-C is for this process, which says what becomes of its children.
    let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
    let (Some(mut to), Some(code), Some(words)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("it has no pipes"));
    };
    let hand = async {
        // A child that ended early says itself why.
        let size = (wasm.len() as u64).to_le_bytes();
        drop(to.write_all(&size).await.and(to.write_all(wasm).await));
        to
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (mut code, mut words) = (code.take(CODE + GREETING.len() as u64 + 1), words.take(WORDS));
    let (to, code, words) = tokio::join!(hand, code.read_to_end(&mut stdout), words.read_to_end(&mut stderr));
    code.and(words)?;
    // Its end of the pipe tells the child that it is still waited for.
    drop(to);
    let status = child.wait().await?;
    Ok(Output { status, stdout, stderr })
}

/// What the child's end means.
fn understand(output: Output, (plugin, path): (&str, &Path), limits: CompileLimits) -> Result<Vec<u8>, Error> {
    let Output { status, mut stdout, stderr } = output;
    let words = super::log::clean(String::from_utf8_lossy(&stderr).trim(), 1000);
    let too_much = |limit: String, what: &'static str, advice: &'static str| {
        let (plugin, path) = (plugin.to_owned(), path.to_path_buf());
        Error::CompileLimit { plugin, path, much: TooMuch { limit, what, advice } }
    };
    if stdout.len() as u64 > CODE + GREETING.len() as u64 {
        return Err(too_much(ByteSize(CODE).to_string(), "machine code", "make the component smaller"));
    }
    match end(status, &words) {
        End::Done if stdout.starts_with(&GREETING) => {
            stdout.drain(..GREETING.len());
            Ok(stdout)
        }
        End::Done => Err(unstarted(&"it answered with something else than code")),
        End::Refused => Err(Error::Compile { path: path.to_path_buf(), reason: words }),
        End::Time => Err(too_much(
            format!("{}s", seconds(limits.time)),
            "processor time",
            "raise it with `--compile-time`, or make its functions smaller",
        )),
        End::Memory => Err(too_much(
            ByteSize(limits.memory).to_string(),
            "memory",
            "make its functions smaller, or leave out what it does not need",
        )),
        End::Crash => Err(Error::CompilerCrash {
            plugin: plugin.to_owned(),
            path: path.to_path_buf(),
            reason: if words.is_empty() { status.to_string() } else { format!("{status}: {words}") },
        }),
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    /// The component is no good.
    Refused,
    Time,
    Memory,
    Crash,
}

fn end(status: ExitStatus, words: &str) -> End {
    match (status.code(), status.signal()) {
        (Some(0), _) => End::Done,
        (Some(child::REFUSED), _) => End::Refused,
        (_, Some(signal)) if signal == Signal::XCPU.as_raw() => End::Time,
        // Also a thread that finds no memory for its stack, and a mapping that is refused.
        _ if ["memory allocation of", "Cannot allocate memory", "os error 12", "Resource temporarily unavailable"]
            .iter()
            .any(|part| words.contains(part)) =>
        {
            End::Memory
        }
        _ => End::Crash,
    }
}

#[cfg(test)]
mod tests;
