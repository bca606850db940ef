//! A transformer that does with each file what the lines of the file say.

use std::io::{BufRead as _, Read as _, Write as _};

use spout_guest::{Columns, Error, InputFile, Output, Result, Transformer, register};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Copies of the whole file that are written piece by piece, instead of what its lines say.
    #[serde(default)]
    copies: u32,
}

struct Scripted;

impl Transformer for Scripted {
    type Settings = Settings;

    fn transform(settings: Settings, input: InputFile<'_>, output: &Output<'_>) -> Result<()> {
        if settings.copies > 0 { copy(settings.copies, input, output) } else { obey(input, output) }
    }
}

fn copy(copies: u32, mut input: InputFile<'_>, output: &Output<'_>) -> Result<()> {
    let mut file = output.open_file(&input.path())?;
    let (mut piece, mut total) = (vec![0; 64 << 10], 0);
    loop {
        match input.read(&mut piece)? {
            0 => break,
            read => {
                total += read as u64;
                let bytes = piece.get(..read).unwrap_or_default();
                (0..copies).try_for_each(|_| file.write_all(bytes))?;
            }
        }
    }
    assert_eq!((total, file.close()?), (input.size(), u64::from(copies) * input.size()));
    assert!(input.read_at(total, 10)?.is_empty(), "there is nothing behind its end");
    Ok(())
}

#[expect(clippy::panic, reason = "it is to crash")]
fn obey(input: InputFile<'_>, output: &Output<'_>) -> Result<()> {
    let from = input.path();
    for line in input.lines() {
        let line = line?;
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("put"), Some(path), Some(text)) => output.put(path, text)?,
            (Some("append"), Some(path), Some(text)) => output.append(path, text)?,
            (Some("ignore"), Some(path), Some(text)) => drop(output.put(path, text)),
            (Some("delete"), Some(path), None) => output.delete_file(path)?,
            (Some("table"), Some(path), None) => {
                output.put_table(path, Columns::new().str("from", [from.as_str()]).batch()?)?;
            }
            (Some("leak"), Some(path), None) => std::mem::forget(output.open_file(path)?),
            (Some("crash"), None, None) => panic!("as {from} says"),
            (Some("fail"), None, None) => return Err(Error::fatal("scripted.fail", format!("as {from} says"))),
            (Some("burn"), None, None) => loop {
                std::hint::spin_loop();
            },
            _ => return Err(Error::fatal("scripted.line", line)),
        }
    }
    Ok(())
}

register! { name: "scripted", summary: "does what the lines of a file say", transformer: Scripted }
