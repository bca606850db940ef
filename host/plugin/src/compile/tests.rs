//! What a child's end is taken for, and a program in its place that is none.

use super::*;

fn status(raw: i32) -> ExitStatus {
    ExitStatus::from_raw(raw)
}

#[test]
fn how_a_child_ended_is_told_apart() {
    let exit = |code: i32| status(code << 8);
    assert_eq!(end(exit(0), ""), End::Done);
    assert_eq!(end(exit(child::REFUSED), "invalid magic"), End::Refused);
    assert_eq!(end(status(Signal::XCPU.as_raw()), ""), End::Time);
    assert_eq!(end(status(Signal::ABORT.as_raw()), "memory allocation of 77 bytes failed"), End::Memory);
    assert_eq!(end(exit(101), "thread panicked: Os { code: 12, message: \"Cannot allocate memory\" }"), End::Memory);
    // Also a process that the system killed for want of memory.
    assert_eq!(end(status(Signal::KILL.as_raw()), ""), End::Crash);
    assert_eq!(end(status(Signal::SEGV.as_raw()), ""), End::Crash);
    assert_eq!(end(exit(101), "index out of bounds"), End::Crash);
}

#[test]
fn time_is_counted_in_whole_seconds_and_never_none() {
    let check = |millis: u64, expected: u64| assert_eq!(seconds(Duration::from_millis(millis)), expected);
    check(0, 1);
    check(1000, 1);
    check(1001, 2);
}

#[tokio::test]
async fn what_is_no_compiler_makes_no_code() {
    let engine = crate::engine::idle().unwrap();
    let wasm = Arc::new(vec![0; 1 << 20]);
    let ask = async |program: &str, argument: &str| {
        let limits = CompileLimits::default();
        let compiler = Compiler::Apart { program: program.into(), argument: argument.into(), limits };
        compiler.compile(&engine, ("p", Path::new("p.wasm")), &wasm).await.unwrap_err().to_string()
    };
    let error = ask("/bin/echo", "spout").await;
    assert!(error.contains("something else than code"), "{error}");
    let error = ask("/nowhere/spout", "compile-plugin").await;
    assert!(error.contains("the process that compiles plugins"), "{error}");
    let error = ask("/bin/sh", "-c").await;
    assert!(error.contains("the compiler crashed on plugin `p` (p.wasm)"), "{error}");
}
