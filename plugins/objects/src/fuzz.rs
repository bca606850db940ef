//! A fuzz target: lists of objects, as services send them and as nobody should.

use spout_fuzz::{Corpus, Counting, Target};

use crate::listing::parse;

#[global_allocator]
static MEMORY: Counting = Counting;

/// A list, or what is wrong with it; what comes of it has a name each, and takes no more than was sent.
#[test]
fn objects_listing() {
    let one = "<Contents><Key>in%2Fa+b.ndjson</Key><LastModified>2026-01-01T00:00:01.000Z</LastModified><ETag>&quot;x&quot;</ETag><Size>5</Size><Owner><ID>1</ID></Owner></Contents>";
    let list = |inner: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>{inner}</ListBucketResult>"
        )
    };
    let inputs = [
        list(one),
        list(&format!(
            "{one}<IsTruncated>true</IsTruncated><NextContinuationToken>t&#x41;</NextContinuationToken>{one}"
        )),
        list("<![CDATA[x]]><!-- y --><Contents/>"),
        "<!DOCTYPE a [<!ENTITY b \"c\">]><ListBucketResult>&b;</ListBucketResult>".to_owned(),
        "<Error><Code>NoSuchBucket</Code></Error>".to_owned(),
        list(&"<a>".repeat(1000)),
    ];
    let words = [
        "<a>",
        "</a>",
        "<Contents>",
        "</Contents>",
        "<Key>",
        "</Key>",
        "&#x110000;",
        "&lol;",
        "%2",
        "%ff",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
    ];
    let corpus = Corpus::of(inputs).words(&words);
    Target::new("objects-listing", 10_000).within(8 << 20).bytes(&corpus, |bytes| {
        let Ok(listing) = parse(&String::from_utf8_lossy(bytes)) else { return false };
        let named: usize = listing.objects.iter().map(|object| object.key.len()).sum();
        assert!(listing.objects.iter().all(|object| !object.key.is_empty()) && named <= 3 * bytes.len(), "{listing:?}");
        true
    });
}

/// Elements within elements are no list, and are refused before they cost anything.
#[test]
fn elements_lie_in_each_other_a_few_deep() {
    for deep in [20, 500_000] {
        let xml = format!("<ListBucketResult>{}{}</ListBucketResult>", "<a>".repeat(deep), "</a>".repeat(deep));
        let why = parse(&xml).unwrap_err();
        assert!(why.contains("deep"), "{why}");
    }
}
