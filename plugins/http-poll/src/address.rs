//! Addresses of requests: parameters that are added, and where a link leads.

use spout_guest::net::escaped;

/// `url` with a parameter more.
pub(crate) fn with(url: &str, name: &str, value: &str) -> String {
    let (url, fragment) = url.split_once('#').map_or((url, ""), |(url, _)| (url, ""));
    let between = if !url.contains('?') {
        "?"
    } else if url.ends_with(['?', '&']) {
        ""
    } else {
        "&"
    };
    format!("{url}{between}{}={}{fragment}", escaped(name, b""), escaped(value, b""))
}

/// Scheme, host and port.
pub(crate) fn origin(url: &str) -> &str {
    let from = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(from..).unwrap_or_default();
    let end = rest.find(['/', '?', '#']).map_or(url.len(), |at| from + at);
    url.get(..end).unwrap_or(url)
}

/// Where `link` leads, seen from `base`; `None` if that is another server.
pub(crate) fn followed(base: &str, link: &str) -> Option<String> {
    let path = |base: &str| base.split(['?', '#']).next().unwrap_or_default().to_owned();
    let url = if link.starts_with("//") {
        return None;
    } else if link.contains("://") {
        link.to_owned()
    } else if link.starts_with('/') {
        format!("{}{link}", origin(base))
    } else if link.starts_with('?') {
        format!("{}{link}", path(base))
    } else {
        return None;
    };
    (origin(&url) == origin(base)).then_some(url)
}

/// The address of the next page in the values of `Link` headers: `<https://…>; rel="next"`.
pub(crate) fn next<'a>(headers: impl Iterator<Item = &'a str>) -> Option<String> {
    for header in headers {
        let mut rest = header;
        while let Some(from) = rest.find('<') {
            let tail = rest.get(from + 1..)?;
            let (url, after) = tail.split_once('>')?;
            // Parameters go on to the comma before the next address.
            let end = after.find(",").and_then(|_| after.find('<')).unwrap_or(after.len());
            let (parameters, more) = after.split_at_checked(end)?;
            let is_next = parameters.split([';', ',']).any(|one| {
                let (name, value) = one.split_once('=').unwrap_or((one, ""));
                let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
                name.trim().eq_ignore_ascii_case("rel") && relations.any(|word| word.eq_ignore_ascii_case("next"))
            });
            if is_next {
                return Some(url.trim().to_owned());
            }
            rest = more;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_added_and_encoded() {
        assert_eq!(with("http://a/b", "c", "d e&ä"), "http://a/b?c=d%20e%26%C3%A4");
        assert_eq!(with("http://a/b?x=1#f", "c", "1"), "http://a/b?x=1&c=1");
        assert_eq!(with("http://a/b?", "c", "1"), "http://a/b?c=1");
    }

    #[test]
    fn links_stay_on_their_server() {
        let from = |link| followed("http://a:1/b?c", link);
        assert_eq!(from("http://a:1/x?y"), Some("http://a:1/x?y".into()));
        assert_eq!(from("/x"), Some("http://a:1/x".into()));
        assert_eq!(from("?d=2"), Some("http://a:1/b?d=2".into()));
        for link in ["http://a:2/x", "https://a:1/x", "//evil/x", "http://a:1@evil/x", "x", "http://a:1.evil/"] {
            assert_eq!(from(link), None, "{link}");
        }
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        let of = |header| next([header].into_iter());
        assert_eq!(of(r#"<http://a/2>; rel="next""#), Some("http://a/2".into()));
        assert_eq!(
            of(r#"<http://a/1,5>; rel=prev, <http://a/3>; title="x, y"; rel="last next""#),
            Some("http://a/3".into())
        );
        for header in ["", "<http://a/2>", r#"<http://a/2>; rel="prev""#, "<http://a/2; rel=next", "rel=next"] {
            assert_eq!(of(header), None, "{header}");
        }
        assert_eq!(next(["<a>; rel=prev", "<b>; rel=NEXT"].into_iter()), Some("b".into()));
    }
}
