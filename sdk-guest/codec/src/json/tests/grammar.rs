//! RFC 8259, case by case: what is JSON (`y`), what is not (`n`), and where the RFC leaves it to us, what we chose.

use super::*;

/// Each text stands alone as a message, and as a skipped and a stored value within an object.
#[track_caller]
fn check(sound: bool, texts: &[&str]) {
    for text in texts {
        check_bytes(sound, text.as_bytes());
    }
}

#[track_caller]
fn check_bytes(sound: bool, text: &[u8]) {
    let shown = String::from_utf8_lossy(text).into_owned();
    let alone = decode(r#"{"t":"utf8"}"#, "{}", &[text]);
    let is_json = alone.batch.rows() == 1 || codes(&alone) == [(0, "json.type")];
    assert_eq!(is_json, sound, "alone: {shown}: {:?}", alone.faults);
    for key in ["t", "skipped"] {
        let within = [format!("{{\"{key}\":").as_bytes(), text, b"}"].concat();
        let within = decode(r#"{"t":"utf8"}"#, "{}", &[within]);
        assert_eq!(within.batch.rows() == 1, sound, "within {key}: {shown}: {:?}", within.faults);
    }
}

#[test]
fn structures() {
    check(
        true,
        &[
            "[]",
            "{}",
            "[ ]",
            "{ }",
            " [] ",
            "\t[\n]\r",
            "[1]",
            "[1,2]",
            "[1 ,\n2]",
            "[[]]",
            "[[],[[]]]",
            "[null]",
            "[null,null]",
            "[{}]",
            "{\"a\":[]}",
            "{\"a\":1,\"b\":2}",
            "{ \"a\" : 1 }",
            "{\"\":0}",
            "{\"a\":{\"b\":{}}}",
            "{\"a\":1,\"a\":1}",
            "[1,null,true,\"x\",{}]",
            "{\"a\":null}",
            "[true]",
            "[false]",
            "true",
            "false",
            "null",
            "\"\"",
            "0",
            "{\"\\u0000\":1}",
            "{\"a\\u0062\":1}",
        ],
    );
    check(
        false,
        &[
            "[",
            "]",
            "{",
            "}",
            "[1,]",
            "[,1]",
            "[,]",
            "[1,,2]",
            "[1 2]",
            "[1",
            "[1,",
            "[\"a\"",
            "[}",
            "{]",
            "[1}",
            "{\"a\":1]",
            "[1]]",
            "[][]",
            "[]{}",
            "[] x",
            "{}}",
            "{},",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\" 1}",
            "{\"a\":1,}",
            "{,\"a\":1}",
            "{\"a\":1,,\"b\":2}",
            "{a:1}",
            "{'a':1}",
            "{1:1}",
            "{null:1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\"::1}",
            "{\"a\",1}",
            "{\"a\":1;\"b\":2}",
            "[\"a\":1]",
            "[1:2]",
            "{[]:1}",
            "{\"a\":\"b\"",
            "{\"a\"",
            "{\"",
            "[\"",
            ":",
            ",",
            "[:",
            "{\"a\":1/**/}",
            "[1]//",
            "#x",
            "/**/[]",
            "[<null>]",
            "[nul]",
            "[tru]",
            "[fals]",
            "[True]",
            "[NULL]",
            "nulll",
            "truefalse",
            "[*]",
            "\u{2060}[]",
            "[\u{a0}1]",
            "\u{c}[]",
            "[\u{b}1]",
            "[1\u{0}]",
            "[][",
            "{\"a\":[}",
            "undefined",
        ],
    );
}

#[test]
fn numbers() {
    check(
        true,
        &[
            "0",
            "-0",
            "1",
            "-1",
            "10",
            "123456789",
            "0.0",
            "0.1",
            "-0.1",
            "1.5",
            "0e1",
            "0e+1",
            "0E0",
            "1e5",
            "1E5",
            "1e+5",
            "1e-5",
            "1.5e5",
            "-1.5E-5",
            "123e65",
            "1E22",
            "1E-2",
            "123.456e78",
            "0.0000000000000000000000000000000000000000000000000000000000000000001",
            "100000000000000000000000000000",
            "1e9999",
            "-1e-9999",
            "[-0]",
            "[0,1]",
            "20e1",
            "1.000000",
        ],
    );
    check(
        false,
        &[
            "01",
            "-01",
            "00",
            "-00",
            "1.",
            "-1.",
            ".5",
            "-.5",
            "+1",
            "++1",
            "--1",
            "-",
            "+",
            "1e",
            "1e+",
            "1e-",
            "1E",
            "1.e5",
            "1.5e",
            "1ee5",
            "1e5e5",
            "1e5.5",
            "1.5.5",
            "1..5",
            "0x1",
            "0x",
            "1_000",
            "1,000",
            "1 000",
            "Infinity",
            "-Infinity",
            "NaN",
            "-NaN",
            "inf",
            "1f",
            "1d",
            "1L",
            "- 1",
            "-a",
            "1a",
            "0e",
            "0e+",
            "2.e3",
            "012",
            "-012",
            "0.1.2",
            "1+2",
            "1-2",
            "1/2",
            "e5",
            "-e5",
            "\u{ff11}",
            "1\u{ff11}",
            "[1e]",
            "[-]",
            "[0.]",
            "[012]",
            "{\"a\":-}",
            "9.e+",
        ],
    );
}

#[test]
fn strings() {
    check(
        true,
        &[
            r#""""#,
            r#""a""#,
            r#""\"""#,
            r#""\\""#,
            r#""\/""#,
            r#""\b\f\n\r\t""#,
            r#""\u0041""#,
            r#""\u00e9""#,
            r#""\u20AC""#,
            r#""\ud83d\ude00""#,
            r#""\uD834\uDd1e""#,
            r#""\u0000""#,
            r#""\uFFFF""#,
            r#""\uFDD0""#,
            r#""\u0022""#,
            r#""\u005C""#,
            "\"\u{7f}\"",
            "\"é\"",
            "\"€\"",
            "\"😀\"",
            "\"\u{2028}\u{2029}\"",
            "\"\u{feff}\"",
            "\"\u{fffd}\"",
            "\"a/b\"",
            "\"'\"",
            r#""\\u0061""#,
            r#""\\\"""#,
            r#""//""#,
            r#""/*x*/""#,
            "\"\u{10ffff}\"",
            r#""0123456789abcdef0123456789abcdef\n0123456789""#,
            r#""\uDBFF\uDFFF""#,
            r#""x\ud83d\ude00y""#,
        ],
    );
    check(
        false,
        &[
            "\"",
            "\"a",
            "\"\\\"",
            r#""\x""#,
            r#""\a""#,
            r#""\'""#,
            r#""\0""#,
            r#""\u""#,
            r#""\u1""#,
            r#""\u12""#,
            r#""\u123""#,
            r#""\u123g""#,
            r#""\u+123""#,
            r#""\u 123""#,
            r#""\U0041""#,
            "\"\\\n\"",
            "\"\n\"",
            "\"\t\"",
            "\"\r\"",
            "\"\u{0}\"",
            "\"\u{1}\"",
            "\"\u{1f}\"",
            "\"\u{1b}[0m\"",
            "'a'",
            "\"a\"b",
            "\"a\"\"b\"",
            "a",
            "\"\\",
            "\"\\u",
            "\"abc\\",
            "[\"a\u{0}b\"]",
            r#""\u{41}""#,
            r#""\u00A""#,
            "\"\\é\"",
            "\"\\😀\"",
            "`a`",
            "\u{201c}a\u{201d}",
            "\"0123456789abcdef0123456789abcde\u{1f}\"",
        ],
    );
    // The RFC leaves halves of a surrogate pair to us: no text has them.
    check(
        false,
        &[
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\uDFAA""#,
            r#""\ud800a""#,
            r#""\ud800\n""#,
            r#""\ud800\ud800""#,
            r#""\ud800\u0041""#,
            r#""\udc00\ud800""#,
            r#""\ud83d\u""#,
            r#""\ud83d\ude0""#,
            r#"{"\ud800":1}"#,
            r#""\ud800\ud800\udc00""#,
        ],
    );
}

#[test]
fn bytes_that_are_no_utf8() {
    let texts: [&[u8]; 14] = [
        b"\"\xff\"",
        b"\"\x80\"",
        b"\"\xc3\"",
        b"\"\xc3\x28\"",
        b"\"\xe2\x82\"",
        b"\"\xc0\xaf\"",
        b"\"\xe0\x80\xaf\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf4\xbf\xbf\xbf\"",
        b"\"\xf8\x88\x80\x80\x80\"",
        b"[\xe9]",
        b"\xff",
        b"{\"\xff\":1}",
        b"\xff\xfe[\0]\0",
    ];
    for text in texts {
        check_bytes(false, text);
    }
}

#[test]
fn depth_is_bounded_by_the_setting() {
    let nested = |depth: usize, open: &str, close: &str| open.repeat(depth) + &close.repeat(depth);
    check(true, &[&nested(100, "[", "]")]);
    check(false, &[&nested(129, "[", "]"), &nested(50_000, "[", ""), &nested(50_000, "{\"a\":", "")]);
    let objects = nested(120, "{\"a\":", "}").replacen("}", "1}", 1);
    check(true, &[&objects]);
}
