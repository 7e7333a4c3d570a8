//! Names that spell an address: `10-0-0-7.addr.<domain>`, `2001-db8--7.addr.<domain>`.
//!
//! They are what SRV records point at, and need no table: the name is the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, RecordType};

/// The label that spells an address.
pub(super) fn label(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string().replace('.', "-"),
        // Without the short form, which may begin or end with a hyphen.
        IpAddr::V6(address) => {
            let segments = address.segments().map(|segment| format!("{segment:x}"));
            segments.join("-")
        }
    }
}

/// The address that a label spells.
pub(super) fn parse(label: &str) -> Option<IpAddr> {
    if let Ok(address) = label.replace('-', ".").parse::<Ipv4Addr>() {
        return Some(address.into());
    }
    label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::from)
}

/// The record data for an address.
pub(super) fn rdata(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// Whether a question of this type wants such an address.
pub(super) fn fits(qtype: RecordType, address: IpAddr) -> bool {
    match qtype {
        RecordType::A => address.is_ipv4(),
        RecordType::AAAA => address.is_ipv6(),
        RecordType::ANY => true,
        _ => false,
    }
}

/// The address that a name in `in-addr.arpa` or `ip6.arpa` asks about.
pub(super) fn of_reverse(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_a_label_that_is_one() {
        // Proves that what is written is read again, and is a label that resolvers accept.
        for text in ["10.0.0.7", "255.255.255.255", "::", "::1", "2001:db8::7", "fe80::1:0:0:1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(parse(&label(address)), Some(address), "{text}");
            assert!(crate::discovery::layout::is_label(&label(address)), "{text}");
        }
        for wrong in ["", "10-0-0", "10-0-0-256", "web"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn reverse_names_are_whole_addresses() {
        // Proves both families, and that the name of a network is no address.
        let of = |name: &str| of_reverse(&Name::from_ascii(name).unwrap());
        assert_eq!(of("7.0.0.10.in-addr.arpa."), "10.0.0.7".parse().ok());
        assert_eq!(of("0.0.10.in-addr.arpa."), None);
        assert_eq!(of("web.example."), None);
    }
}
