//! We read what Python's `csv` module reads in strict mode.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use spout_fuzz::Random;

use super::{Reader, Style, WrongKind, fuzz::text};

/// Reads one JSON string per line; writes the records of each, or null on an error.
const SCRIPT: &str = r#"
import csv, io, json, sys
for line in sys.stdin:
    text = json.loads(line)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=''), strict=True) if row]
    except csv.Error:
        rows = None
    print(json.dumps(rows))
"#;

fn python(texts: &[String]) -> Option<Vec<Option<Vec<Vec<String>>>>> {
    let mut command = Command::new("python3");
    let child = command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.inspect_err(|_| eprintln!("skipped: there is no python3")).ok()?;
    let lines: String = texts.iter().map(|text| format!("{}\n", serde_json::Value::from(text.as_str()))).collect();
    let mut input = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success(), "python failed");
    Some(String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn python_reads_the_same() {
    // What differs by rule: byte order marks are no values here, and older Pythons refuse NUL.
    let same = |text: &String| !text.contains(['\u{feff}', '\0']);
    let mut texts: Vec<String> =
        (0..9000).filter_map(|seed| String::from_utf8(text(&mut Random::new(seed), 16)).ok()).filter(same).collect();
    texts.extend(
        ["", "\n", "a,b\r\n\"c\nd\",\"e\"\"f\"\r\n", "\"\"\"\"", "a,", ",", "\"a\"\r", "x\r"].map(String::from),
    );
    let Some(theirs) = python(&texts) else { return };
    let (mut reader, mut sound, mut wrong) = (Reader::new(Style::default()), 0, 0);
    for (text, theirs) in texts.iter().zip(&theirs) {
        let bytes = text.as_bytes();
        let ours = match reader.read(bytes, 0, bytes.len()) {
            // A carriage return ends a record for Python, and is a fault here.
            Err(found) if found.kind == WrongKind::LoneReturn => continue,
            Err(_) => None,
            Ok(()) => {
                let value = |value: super::Value<'_>| String::from_utf8(value.bytes.to_vec()).unwrap();
                Some(
                    (0..reader.len())
                        .map(|record| reader.values(bytes, record).map(value).collect::<Vec<_>>())
                        .collect::<Vec<_>>(),
                )
            }
        };
        assert_eq!(ours, *theirs, "{text:?}");
        *(if ours.is_some() { &mut sound } else { &mut wrong }) += 1;
    }
    assert!(sound > 1000 && wrong > 1000, "{sound} sound and {wrong} wrong texts say little");
}
