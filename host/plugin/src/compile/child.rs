//! The other side: a process that limits itself, compiles what it is handed, and ends.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    process::ExitCode,
    thread,
};

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

use super::GREETING;
use crate::{component::LARGEST, engine};

/// The status of a child whose component cannot be compiled.
pub(super) const REFUSED: i32 = 3;

/// How far behind pipelines a compiler stands in line for the processor.
const BEHIND: i32 = 5;

/// Compiles the component on standard input to standard output. `limits` are the two arguments that a parent gives after the one
/// that led here: seconds of processor time, and bytes of memory.
#[must_use]
pub fn compile_for_parent(limits: impl Iterator<Item = OsString>) -> ExitCode {
    match serve(limits) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Component(why)) => {
            drop(writeln!(io::stderr(), "{why}"));
            ExitCode::from(REFUSED.to_le_bytes()[0])
        }
        Err(Failed::Io(why)) => {
            drop(writeln!(io::stderr(), "{why}"));
            ExitCode::FAILURE
        }
    }
}

enum Failed {
    Component(String),
    Io(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn serve(mut limits: impl Iterator<Item = OsString>) -> Result<(), Failed> {
    let mut number = || limits.next().and_then(|text| text.to_str()?.parse::<u64>().ok());
    let (Some(seconds), Some(memory)) = (number(), number()) else {
        return Err(io::Error::other("this argument is for the host itself, which compiles plugins with it").into());
    };
    limit(seconds, memory)?;
    let wasm = read()?;
    // Whoever asked holds the other end open for as long as it waits.
    thread::Builder::new().spawn(|| {
        drop(io::stdin().read(&mut [0]));
        std::process::exit(i32::from(u8::MAX));
    })?;
    let failed = |error: &dyn std::fmt::Display| Failed::Component(format!("{error:#}"));
    let engine = engine::idle().map_err(|error| failed(&error))?;
    let code = engine.precompile_component(&wasm).map_err(|error| failed(&error))?;
    let mut out = io::stdout().lock();
    out.write_all(&GREETING)?;
    out.write_all(&code)?;
    Ok(out.flush()?)
}

/// From here on this process may use so much, and no file.
fn limit(seconds: u64, memory: u64) -> io::Result<()> {
    let most = |resource, most: u64| {
        // The system may allow less already, and then no more.
        let maximum = getrlimit(resource).maximum;
        let current = Some(maximum.map_or(most, |maximum| maximum.min(most)));
        setrlimit(resource, Rlimit { current, maximum })
    };
    most(Resource::Core, 0)?;
    most(Resource::Fsize, 0)?;
    most(Resource::Data, memory)?;
    most(Resource::Cpu, seconds)?;
    // Pipelines that run go first. Where this is not allowed, they share.
    let _allowed = nice(BEHIND);
    Ok(())
}

fn read() -> io::Result<Vec<u8>> {
    let mut stdin = io::stdin().lock();
    let mut size = [0; 8];
    stdin.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    if size > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut wasm = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    stdin.read_exact(&mut wasm)?;
    Ok(wasm)
}
