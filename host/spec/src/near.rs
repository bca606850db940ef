//! The known word that a mistyped one is nearest to.

/// The one of `known` that `word` was probably meant to be.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let word = plain(word);
    let most = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&word, &plain(known)), known))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// What to do about an unknown word: the nearest known one, or all of them.
#[must_use]
pub fn advice<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "no keys are allowed here".into(),
        None => format!("known: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(nearest(word, ["plugin", "topic", "consumerType", "rows"]), expected, "{word}");
        };
        check("pluginn", Some("plugin"));
        check("consumertype", Some("consumerType"));
        check("consumer-type", Some("consumerType"));
        check("tpoic", Some("topic"));
        check("row", Some("rows"));
        check("password", None);
        assert_eq!(advice("zzz", ["a", "b"]), "known: a, b");
    }
}
