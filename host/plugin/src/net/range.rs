//! Ranges of IP addresses, and the addresses that neither a name nor a wide range opens.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    first: IpAddr,
    prefix: u32,
}

/// What a host talks to itself, its link or its cloud with: to reach one takes a grant that names it, or a range with nothing else
/// in it.
const GUARDED: [(&str, Range); 15] = [
    ("an address of this host", v4([0, 0, 0, 0], 8)),
    ("a loopback address", v4([127, 0, 0, 0], 8)),
    ("a link-local address", v4([169, 254, 0, 0], 16)),
    ("a multicast address", v4([224, 0, 0, 0], 4)),
    ("a reserved address", v4([240, 0, 0, 0], 4)),
    // Where the clouds keep credentials: AWS, GCP and Azure; Azure's agent; Alibaba; Oracle; AWS and GCP over IPv6.
    ("a metadata address", v4([169, 254, 169, 254], 32)),
    ("a metadata address", v4([168, 63, 129, 16], 32)),
    ("a metadata address", v4([100, 100, 100, 200], 32)),
    ("a metadata address", v4([192, 0, 0, 192], 32)),
    ("a metadata address", v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128)),
    ("a metadata address", v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128)),
    ("an address of this host", v6([0; 8], 128)),
    ("a loopback address", v6([0, 0, 0, 0, 0, 0, 0, 1], 128)),
    ("a link-local address", v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10)),
    ("a multicast address", v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8)),
];

const fn v4(octets: [u8; 4], prefix: u32) -> Range {
    let [a, b, c, d] = octets;
    Range { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
}

const fn v6(segments: [u16; 8], prefix: u32) -> Range {
    let [a, b, c, d, e, f, g, h] = segments;
    Range { first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix }
}

impl Range {
    /// Whether `ip` is in it; an IPv4 address is the same however it is written.
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        let (first, ip) = (bits(self.first), bits(ip.to_canonical()));
        let shift = first.1 - self.prefix;
        first.1 == ip.1 && first.0.checked_shr(shift).unwrap_or(0) == ip.0.checked_shr(shift).unwrap_or(0)
    }

    /// How many bits its addresses begin with.
    pub(super) fn bits(&self) -> usize {
        self.prefix as usize
    }

    /// The address, if it is only one.
    pub(super) fn single(&self) -> Option<IpAddr> {
        (self.prefix == bits(self.first).1).then_some(self.first)
    }

    /// Whether it opens `ip`: it contains it, and, if that is a guarded address, nothing beyond what is guarded with it.
    pub(super) fn opens(&self, ip: IpAddr) -> bool {
        let single = self.prefix == bits(self.first).1;
        let within = |range: &Self| self.prefix >= range.prefix && range.contains(self.first);
        self.contains(ip) && (single || guards(ip).all(|(_, range)| within(range)))
    }
}

/// What kind of guarded address `ip` is, if it is one.
pub(super) fn guarded(ip: IpAddr) -> Option<&'static str> {
    // The narrowest range says best what it is.
    guards(ip).max_by_key(|(_, range)| range.prefix).map(|(what, _)| what)
}

fn guards(ip: IpAddr) -> impl Iterator<Item = (&'static str, &'static Range)> {
    let faces = [Some(ip.to_canonical()), carried(ip)];
    GUARDED
        .iter()
        .filter(move |(_, range)| faces.iter().flatten().any(|face| range.contains(*face)))
        .map(|(what, range)| (*what, range))
}

/// The IPv4 address that packets to an IPv6 address end at, where a translator or tunnel takes it out: NAT64, 6to4, and the
/// deprecated compatible form.
fn carried(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(ip) = ip else { return None };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x64, 0xff9b, 1, _, _, _, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        _ => None,
    }
}

/// An address as a number, and how many bits that has.
fn bits(ip: IpAddr) -> (u128, u32) {
    match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let first: IpAddr = address.parse().map_err(|_| format!("`{address}` is not an IP address"))?;
        if first.to_canonical() != first {
            return Err(format!("`{address}` is an IPv4 address in IPv6 notation; write {}", first.to_canonical()));
        }
        let all = bits(first).1;
        let prefix = match prefix {
            None => all,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= all)
                .ok_or_else(|| format!("`/{prefix}` is not the length of a prefix, 0 to {all}"))?,
        };
        let spare = bits(first).0.trailing_zeros().min(all);
        if spare < all - prefix {
            return Err(format!("`{text}` has bits beyond its prefix; write the first address of the range"));
        }
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        if self.prefix == bits(self.first).1 { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_begins_like_it() {
        let check = |range: &str, ip: &str, expected: bool| {
            let range: Range = range.parse().unwrap();
            assert_eq!(range.contains(ip.parse().unwrap()), expected, "{range} {ip}");
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("0.0.0.0/0", "203.0.113.7", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "2001:db8::1", true);
        check("::/0", "203.0.113.7", false);
        check("203.0.113.7", "203.0.113.7", true);
        check("203.0.113.7", "203.0.113.6", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
    }

    #[test]
    fn guarded_addresses_are_known_in_every_notation() {
        let check = |ip: &str, expected: Option<&str>| assert_eq!(guarded(ip.parse().unwrap()), expected, "{ip}");
        for ip in
            ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"]
        {
            check(ip, Some("a loopback address"));
        }
        for ip in ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe"] {
            check(ip, Some("a metadata address"));
        }
        for ip in ["fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"] {
            check(ip, Some("a metadata address"));
        }
        for ip in ["169.254.170.2", "fe80::1", "febf::1"] {
            check(ip, Some("a link-local address"));
        }
        for ip in ["0.0.0.0", "0.1.2.3", "::"] {
            check(ip, Some("an address of this host"));
        }
        for ip in ["224.0.0.1", "239.255.255.255", "ff02::1"] {
            check(ip, Some("a multicast address"));
        }
        check("255.255.255.255", Some("a reserved address"));
        for ip in ["10.0.0.1", "192.168.1.1", "203.0.113.7", "2001:db8::1", "fd00::1", "64:ff9b::cb00:7107"] {
            check(ip, None);
        }
    }

    #[test]
    fn a_wide_range_opens_no_guarded_address() {
        let check = |range: &str, ip: &str, expected: bool| {
            let range: Range = range.parse().unwrap();
            assert_eq!(range.opens(ip.parse().unwrap()), expected, "{range} {ip}");
        };
        check("0.0.0.0/0", "203.0.113.7", true);
        check("0.0.0.0/0", "127.0.0.1", false);
        check("0.0.0.0/0", "169.254.169.254", false);
        check("0.0.0.0/0", "::ffff:169.254.169.254", false);
        check("127.0.0.0/8", "127.0.0.1", true);
        check("127.0.0.1", "127.0.0.1", true);
        check("169.254.0.0/16", "169.254.1.1", true);
        check("169.254.0.0/16", "169.254.169.254", false);
        check("169.254.169.254", "169.254.169.254", true);
        check("::/0", "::1", false);
        check("::/0", "64:ff9b::7f00:1", false);
        check("64:ff9b::/96", "64:ff9b::a9fe:a9fe", false);
        check("64:ff9b::/96", "64:ff9b::cb00:7107", true);
        check("fd00::/8", "fd00:ec2::254", false);
        check("fd00:ec2::254", "fd00:ec2::254", true);
    }

    #[test]
    fn what_is_no_range_says_why() {
        let check = |text: &str, part: &str| {
            let error = text.parse::<Range>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("10.0.0.1/8", "beyond its prefix");
        check("10.0.0.0/33", "0 to 32");
        check("::ffff:10.0.0.1", "write 10.0.0.1");
        check("300.0.0.1", "not an IP address");
    }
}
