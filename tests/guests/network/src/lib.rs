//! Tries whatever the network has, and says what came of it; a service of lines.

mod deeds;
mod hosted;
mod ledger;
mod lines;
mod queue;

use spout_guest::register;

register! {
    stream "deeds": deeds::Deeds, "one message for each deed: what came of it";
    stream "lines": lines::Lines, "lines of whoever connects";
    stream "queue": queue::Queue, "messages of a queue, acknowledged";
    spout "ledger": ledger::Ledger, "keeps the lines of whoever connects, and answers with the commit";
    stream "asking": deeds::Deeds, "the deeds, for whoever has everything granted",
        asks: {dirs: ["data"], net: ["api.example.com:443", "*"], listen: [8000], env: ["KEY"]};
    stream "using": deeds::Deeds, "the deeds, for whoever has an endpoint and a secret",
        asks: {endpoints: ["broker"], secrets: ["password"]};
}
