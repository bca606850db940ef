//! Keys, as a terminal sends them.

use std::io::Read as _;

use tokio::sync::mpsc;

/// A key that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Enter,
    Back,
    Yes,
    No,
    Pause,
    Resume,
    Flush,
    Quit,
}

/// Keys from now on; none any more once the terminal is gone.
pub(super) fn listen() -> mpsc::UnboundedReceiver<Key> {
    let (sender, keys) = mpsc::unbounded_channel();
    // It waits in a read until the process ends.
    std::thread::spawn(move || {
        let (mut stdin, mut bytes) = (std::io::stdin().lock(), [0; 64]);
        while let Ok(count @ 1..) = stdin.read(&mut bytes) {
            let pressed = of(bytes.get(..count).unwrap_or_default());
            if pressed.into_iter().any(|key| sender.send(key).is_err()) {
                return;
            }
        }
    });
    keys
}

/// The keys that these bytes are.
fn of(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    loop {
        let (key, rest) = match bytes {
            [] => return keys,
            [0x1b, b'[' | b'O', b'A', rest @ ..] | [b'k', rest @ ..] => (Some(Key::Up), rest),
            [0x1b, b'[' | b'O', b'B', rest @ ..] | [b'j', rest @ ..] => (Some(Key::Down), rest),
            // Others of its kind say nothing here.
            [0x1b, b'[' | b'O', _, rest @ ..] => (None, rest),
            [0x1b | 0x7f | 0x08, rest @ ..] => (Some(Key::Back), rest),
            [b'\r' | b'\n', rest @ ..] => (Some(Key::Enter), rest),
            [b'y' | b'Y', rest @ ..] => (Some(Key::Yes), rest),
            [b'n' | b'N', rest @ ..] => (Some(Key::No), rest),
            [b'p', rest @ ..] => (Some(Key::Pause), rest),
            [b'r', rest @ ..] => (Some(Key::Resume), rest),
            [b'f', rest @ ..] => (Some(Key::Flush), rest),
            [b'q' | 0x03 | 0x04, rest @ ..] => (Some(Key::Quit), rest),
            [_, rest @ ..] => (None, rest),
        };
        keys.extend(key);
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_keys() {
        assert_eq!(of(b"\x1b[A\x1bOB\rp"), [Key::Up, Key::Down, Key::Enter, Key::Pause]);
        assert_eq!(of(b"\x1b[Cxq"), [Key::Quit]);
        assert_eq!(of(b"\x1b"), [Key::Back]);
        assert_eq!(of(b"\x03\x7fy"), [Key::Quit, Key::Back, Key::Yes]);
    }
}
