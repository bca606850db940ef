//! What a file's name says: which log it belongs to, how old it is there, and how it is packed. No IO.

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As it is.
    Plain,
    /// `.gz`.
    Gzip,
    /// `.zst`.
    Zstd,
}

/// What a name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// The name of the log: that under which its newest lines are written.
    pub(crate) log: String,
    /// Whether this is that name.
    pub(crate) live: bool,
    /// How it is packed.
    pub(crate) packing: Packing,
    /// Among files of one log and one time: the oldest first.
    pub(crate) order: (u8, u64),
}

impl Name {
    /// `app.log.1`, `app.log-20260131`, `app.log.2026-01-31.gz` and `app.log.old` belong to `app.log`. A number before the
    /// extension (`part-0001.csv`) and one without a dot (`part-0001`) are part of the name.
    pub(crate) fn parse(path: &str) -> Self {
        let (packing, bare) = match path.rsplit_once('.') {
            Some((bare, "gz")) if !bare.is_empty() => (Packing::Gzip, bare),
            Some((bare, "zst" | "zstd")) if !bare.is_empty() => (Packing::Zstd, bare),
            _ => (Packing::Plain, path),
        };
        let mut log = bare;
        let mut order = (2, 0);
        while let Some((rest, age)) = rotated(log) {
            log = rest;
            order = age;
        }
        Self { live: log == path, log: log.to_owned(), packing, order }
    }

    /// As a file of its own, that has nothing to do with others.
    pub(crate) fn alone(path: &str) -> Self {
        let packing = Self::parse(path).packing;
        Self { log: path.to_owned(), live: true, packing, order: (2, 0) }
    }
}

/// The name without the last thing that rotation added to it, and the age that this says.
fn rotated(name: &str) -> Option<(&str, (u8, u64))> {
    let at = name.rfind(['.', '-', '_'])?;
    // `app.log-2026-01-31`: a date has separators of its own.
    let at = match name
        .get(..at)?
        .rfind(['.', '-', '_'])
        .and_then(|day| Some((day, name.get(..day)?.rfind(['.', '-', '_'])?)))
    {
        Some((_, year)) if date(name.get(year + 1..)?) => year,
        _ => at,
    };
    let (rest, mark) = (name.get(..at)?, name.get(at + 1..)?);
    if rest.is_empty() || rest.ends_with('/') {
        return None;
    }
    let dot = name.as_bytes().get(at) == Some(&b'.');
    let digits: String = mark.chars().filter(char::is_ascii_digit).collect();
    let number = digits.parse::<u64>().ok();
    match number {
        // The higher the number the older.
        Some(number) if dot && mark.len() == digits.len() && digits.len() <= 4 => Some((rest, (1, u64::MAX - number))),
        // The later the date the younger.
        Some(number) if digits.len() >= 8 && (mark.len() == digits.len() || date(mark)) => Some((rest, (1, number))),
        None if dot && mark == "old" => Some((rest, (0, 0))),
        _ => None,
    }
}

/// `2026-01-31`, maybe with a time behind it.
fn date(text: &str) -> bool {
    let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let separator = |at: usize| text.as_bytes().get(at).is_some_and(|byte| b"-_.".contains(byte));
    (0..4).all(digit)
        && separator(4)
        && (5..7).all(digit)
        && separator(7)
        && (8..10).all(digit)
        && text.bytes().skip(10).all(|byte| byte.is_ascii_digit() || b"-_:TZ".contains(&byte))
}

/// Whether `name` fits `pattern`, in which `*` stands for any run and `?` for one character.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // After a mismatch, the last star takes one character more.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(b'?') => (p, n) = (p + 1, n + width(name, n)),
            Some(&c) if Some(&c) == name.get(n) => (p, n) = (p + 1, n + 1),
            _ => match retry {
                Some((after, taken)) => {
                    retry = Some((after, taken + 1));
                    (p, n) = (after, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|&c| c == b'*'))
}

/// Bytes of the character that begins at `at`.
fn width(name: &[u8], at: usize) -> usize {
    1 + name.iter().skip(at + 1).take_while(|&&byte| byte & 0xc0 == 0x80).count()
}

/// The number of the log of that name: FNV-1a, folded to 32 bits. It depends on the name alone, so it stays the same
/// whatever else comes and goes.
pub(crate) fn number(log: &str) -> u32 {
    folded(hash(log.as_bytes()))
}

/// The numbers that the log of that name may have: its own, and those that it has where others have that.
pub(crate) fn numbers(log: &str) -> impl Iterator<Item = u32> {
    let further = |nth: u8| hash(&[log.as_bytes(), &[0, nth]].concat());
    std::iter::once(number(log)).chain((1..=NUMBERS).map(move |nth| folded(further(nth))))
}

/// Numbers that a name has beside its own.
const NUMBERS: u8 = 8;

fn folded(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

/// FNV-1a.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        };
        check("*", "a.log", true);
        check("*.ndjson", "events.ndjson", true);
        check("*.ndjson", "events.ndjson.gz", false);
        check("a?c*", "abcdef", true);
        check("?.log", "é.log", true);
        check("*a*b", "xxaxxbxb", true);
        check("", "x", false);
        check("x", "", false);
    }

    #[test]
    fn rotated_names_belong_to_their_log() {
        let check = |path: &str, log: &str, packing: Packing| {
            let name = Name::parse(path);
            assert_eq!((name.log.as_str(), name.packing, name.live), (log, packing, log == path), "{path}");
        };
        for rotated in [
            "app.log.1",
            "app.log.12",
            "app.log-20260131",
            "app.log-20260131-1769817600",
            "app.log.2026-01-31",
            "app.log.old",
        ] {
            check(rotated, "app.log", Packing::Plain);
            check(&format!("{rotated}.gz"), "app.log", Packing::Gzip);
            check(&format!("d/{rotated}.zst"), "d/app.log", Packing::Zstd);
        }
        check("app.log.2026-01-31.3", "app.log", Packing::Plain);
        check("app.log-2026-01-31T10:00:00Z", "app.log", Packing::Plain);
        check("app.log.gz", "app.log", Packing::Gzip);
        for own in [
            "app.log",
            "part-0001",
            "part-0001.csv",
            "a.12345",
            "app-20260131.log",
            ".1",
            "d/.old",
            "1",
            "x-1",
            "v1.2.json",
        ] {
            check(own, own, Packing::Plain);
        }
    }

    #[test]
    fn older_files_come_first() {
        let check = |names: &[&str]| {
            let mut sorted: Vec<&str> = names.to_vec();
            sorted.reverse();
            sorted.sort_by_key(|name| Name::parse(name).order);
            assert_eq!(sorted, names);
        };
        check(&["a.old", "a.10", "a.9.gz", "a.1", "a"]);
        check(&["a-20251231", "a-20260101.gz", "a-20260102", "a"]);
    }
}
