//! Rows do not depend on how messages were cut into batches, nor on restarts between them.

use proptest::prelude::*;

use super::*;

/// The rows and dead letters of `values`, decoded in the batches that `cuts` make; at each cut the host may start again.
fn cut(spec: &str, values: &[Vec<u8>], cuts: &[(usize, bool)]) -> (Vec<String>, Vec<(u64, String)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut all = messages(values, Some(1_700_000_000_000));
    all.offsets = (10..10 + values.len() as u64).collect();
    let mut ends: Vec<(usize, bool)> = cuts.iter().copied().filter(|&(at, _)| at < values.len()).collect();
    ends.push((values.len(), false));
    ends.sort_unstable();
    let mut factory = factory(spec, std::path::Path::new(""));
    let (mut decoder, mut from, mut rows, mut dead) = (factory.decoder(), 0, Vec::new(), Vec::new());
    for (end, restart) in ends {
        let part = all.slice(from..end);
        let span = Span { partition: 0.into(), start: 10 + from as u64, next: Position::at(10 + end as u64) };
        let batch = runtime.block_on(decoder.decode(part, span)).unwrap();
        let (more, letters) = told(&batch);
        rows.extend(more);
        dead.extend(letters);
        from = end;
        if restart {
            let pinned = runtime.block_on(factory.pin.get());
            let text = pinned.map(|schema| SchemaText::print(&schema).unwrap());
            factory.pin = SchemaPin::new(text.map(|text| Arc::new(text.parse().unwrap())));
            decoder = factory.decoder();
        }
    }
    (rows, dead)
}

const TEXT: [&str; 4] =
    [r#"{"type":"csv","header":false}"#, r#"{"type":"graphite"}"#, r#"{"type":"influx"}"#, r#"{"type":"syslog"}"#];

/// Text that means something to one decoder or another.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let words = vec![
        "<34>",
        "Oct",
        " 11",
        " 22:14:15",
        "Feb 30",
        ">1 ",
        "-",
        "[a b=\"c\"",
        "]",
        "m",
        ",",
        "=",
        "\\",
        "\"",
        " ",
        "\n",
        "\r",
        "1",
        "e9",
        ";",
        ".",
        ":",
        "é",
    ];
    let word = prop_oneof![
        4 => prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(word, 0..16).prop_map(|words| words.concat())
}

fn cases() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let text = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
    let batch = super::binary::batch;
    vec![
        (r#"{"type":"csv"}"#, text(&["a,b", "1,x", "2,\"y\nz\"", "a,b", "3", "4,x\n5,y", "\"", "a,b\n6,z"])),
        (
            r#"{"type":"csv","schema":{"a":"int64","b":"utf8"}}"#,
            text(&["1,x", "b,a\ny,2\n", "a,b", "b,a", "\"", "3,\"z\n\"", "c,b\n1,w", "c\n1"]),
        ),
        (r#"{"type":"csv","header":false,"schema":{"a":"int64"}}"#, text(&["1", "x", "2\n3", "4\ny", ""])),
        (
            r#"{"type":"graphite","templates":["measurement.host"],"schema":{"measurement":"utf8","host":"utf8","value":"float64"}}"#,
            text(&["cpu.a 1 1", "cpu.b 2\ncpu.b 3", "cpu", "cpu.a x", "cpu.a 0.0"]),
        ),
        (
            r#"{"type":"influx","schema":{"time":"timestamp(ns, UTC)","host":"utf8","v":"float64"}}"#,
            text(&["m,host=a v=1 1", "m v=2i", "m v=\"x\"", "m w=1", "# nothing", "m,host=b v=3 5\nm v=4"]),
        ),
        (r#"{"type":"syslog"}"#, text(&["<34>Oct 11 22:14:15 h su: x", "nonsense", "<165>1 - h a - - - hello"])),
        (
            r#"{"type":"arrow"}"#,
            vec![super::binary::ipc(&[batch(&[0, 1])], None), b"x".to_vec(), super::binary::ipc(&[batch(&[2])], None)],
        ),
        (
            r#"{"type":"avro"}"#,
            vec![super::binary::ocf(&[batch(&[0, 1])], None), vec![], super::binary::ocf(&[batch(&[2])], None)],
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn cuts_and_restarts_do_not_matter(cuts in prop::collection::vec((0..9_usize, any::<bool>()), 0..6)) {
        for (spec, values) in cases() {
            prop_assert_eq!(cut(spec, &values, &cuts), cut(spec, &values, &[]), "{}", spec);
        }
    }

    #[test]
    fn strange_text_is_a_fault_and_nothing_else(lines in prop::collection::vec(line(), 1..5)) {
        for spec in TEXT {
            cut(spec, &lines, &[]);
        }
    }
}
