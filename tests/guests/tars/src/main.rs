//! A plain command of WASI that writes tar archives, as any program would: nothing here knows of the host.

mod archive;

use std::{
    env,
    fs::{self, File},
    io::{self, Read as _, Write},
    thread::sleep,
    time::Duration,
};

use archive::{END, entry, header};

const OUT: &str = "/pfs/out";

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
    match args[0].as_str() {
        // Opens, writes an archive and closes, so many times; between them it opens and writes nothing.
        "rapid" => (0..number(1)).try_for_each(|n| {
            File::create(OUT)?;
            fs::OpenOptions::new().append(true).open(OUT)?.write_all(&[0; 512 * 3])?;
            File::create(OUT)?.write_all(&archive(&[(&format!("file{n}"), "x\n"), ("all", &format!("{n}\n"))]))
        }),
        // Several archives on one handle.
        "one-handle" => {
            let mut out = File::create(OUT)?;
            (0..number(1)).try_for_each(|n| out.write_all(&archive(&[("all", &format!("{n}\n"))])))
        }
        // On standard output.
        "stdout" => (0..number(1)).try_for_each(|n| io::stdout().write_all(&archive(&[("all", &format!("{n}\n"))]))),
        "count" => count(number(1), number(2)),
        // One entry of so many bytes.
        "large" => {
            let mut out = File::create(OUT)?;
            out.write_all(&header("large", number(1) as u64))?;
            let piece: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
            (0..number(1) / piece.len()).try_for_each(|_| out.write_all(&piece))?;
            out.write_all(&END)
        }
        "many" => {
            let mut out = io::BufWriter::with_capacity(1 << 20, File::create(OUT)?);
            (0..number(1)).try_for_each(|n| out.write_all(&entry(&format!("d{}/f{n}", n / 1000), "1")))?;
            out.write_all(&END)?;
            out.flush()
        }
        "broken" => broken(&args[1]),
        "spin" => loop {
            std::hint::black_box(0);
        },
        "wait" => loop {
            sleep(Duration::from_millis(50));
        },
        "exit" => std::process::exit(number(1) as i32),
        // As Pachyderm's documented spout: `go run ./main.go`, which reads a topic of a broker and goes on at its marker.
        "run" => {
            let [host, topic, port] = ["HOST", "TOPIC", "PORT"].map(|name| env::var(name).unwrap_or_default());
            let next = fs::read_to_string("/pfs/offset").ok().map_or(0, |text| text.trim().parse().unwrap_or(0)) + 1;
            let messages = format!("message {next} from {host}:{port}\n");
            File::create(OUT)?.write_all(&archive(&[(&topic, &messages), ("offset", &format!("{next}\n"))]))
        }
        // What it was started with.
        "show" => {
            let mut stdin = String::new();
            io::stdin().read_to_string(&mut stdin)?;
            let env = env::var("COLOUR").unwrap_or_default();
            let marker = fs::read_to_string("/pfs/place/at").unwrap_or_default();
            let text = format!("{}|{env}|{stdin}|{marker}", args[1..].join(","));
            // The directory cannot be changed but through the output.
            assert!(fs::write("/pfs/other", "x").is_err() && fs::remove_file(OUT).is_err());
            assert!(fs::create_dir("/pfs/dir").is_err() && fs::rename(OUT, "/pfs/x").is_err());
            assert!(fs::write("/pfs/.commit", "x").is_err() && fs::read_dir("/").is_err());
            File::create(OUT)?.write_all(&archive(&[("shown", &text), ("place/at", "here"), ("places", "not here")]))
        }
        other => panic!("there is no mode {other}"),
    }
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes: Vec<u8> = files.iter().flat_map(|(name, content)| entry(name, content)).collect();
    bytes.extend_from_slice(&END);
    bytes
}

/// Counts from the marker to `end`: each number is in an archive of its own, with the marker after it. Waits for each commit if
/// `wait` is not 0.
fn count(end: usize, wait: usize) -> io::Result<()> {
    let newest = || fs::read_to_string("/pfs/.commit").unwrap_or_default();
    let mut next: usize = fs::read_to_string("/pfs/offset").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    while next < end {
        let before = newest();
        let files = [("numbers", format!("{next}\n")), ("offset", (next + 1).to_string())];
        File::create(OUT)?.write_all(&archive(&files.each_ref().map(|(name, text)| (*name, text.as_str()))))?;
        next += 1;
        while wait > 0 && newest() == before {
            sleep(Duration::from_millis(1));
        }
        if wait > 0 {
            assert_eq!(fs::read_to_string("/pfs/offset")?, next.to_string(), "the marker is that of the commit");
        }
    }
    Ok(())
}

/// Writes a good archive, if nothing was committed yet, and then a bad one, and goes on writing until the pipe breaks.
fn broken(how: &str) -> io::Result<()> {
    let good = archive(&[("good", "1\n")]);
    let bad = match how {
        "cut" => entry("bad", "half of it")[..600].to_vec(),
        "text" => b"this is no archive\n".repeat(60),
        "link" => archive::link("bad", "/etc/passwd"),
        "above" => archive(&[("../bad", "x")]),
        "clash" => archive(&[("good/bad", "x")]),
        "case" => archive(&[("GOOD", "x")]),
        "marker" => archive(&[("OFFSET", "x")]),
        other => panic!("there is no way {other}"),
    };
    let mut out = File::create(OUT)?;
    if fs::metadata("/pfs/.commit").is_err() {
        out.write_all(&good)?;
    }
    out.write_all(&bad)?;
    if how == "cut" {
        return Ok(());
    }
    for _ in 0..100_000 {
        if let Err(error) = out.write_all(&[0; 4096]) {
            eprintln!("the pipe: {:?} {error}", error.kind());
            drop(out);
            eprintln!("opened again: {:?}", File::create(OUT).map(drop).map_err(|error| error.kind()));
            return Ok(());
        }
    }
    panic!("nobody refused it")
}
