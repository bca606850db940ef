//! Numbers for people: thousands apart, with what they count.

/// `1 row`, `2,000 rows`.
#[must_use]
pub fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
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
}
