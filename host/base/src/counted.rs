//! Numbers for people: thousands apart, with what they count.

/// `1 row`, `2,000 rows`, `3 branches`.
#[must_use]
pub fn counted(number: u64, what: &str) -> String {
    let what = if number == 1 { what.to_owned() } else { plural(what) };
    format!("{} {what}", grouped(number))
}

/// More than one of `noun`, as regular nouns have it.
fn plural(noun: &str) -> String {
    let vowel = |letter: char| "aeiou".contains(letter);
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(vowel) => format!("{stem}ies"),
        _ if ["s", "x", "z", "ch", "sh"].iter().any(|end| noun.ends_with(end)) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// Thousands apart.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let check = |number, expected: &str| assert_eq!(counted(number, "row"), expected);
        check(0, "0 rows");
        check(1, "1 row");
        check(999, "999 rows");
        check(1_000, "1,000 rows");
        check(1_234_567, "1,234,567 rows");
    }

    #[test]
    fn more_than_one_has_a_plural() {
        let check = |noun, expected: &str| assert_eq!(counted(2, noun), expected);
        check("dead letter", "2 dead letters");
        check("entry", "2 entries");
        check("day", "2 days");
        check("branch", "2 branches");
        check("process", "2 processes");
        assert_eq!(counted(1, "entry"), "1 entry");
    }
}
