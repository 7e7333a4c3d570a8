//! `/etc/resolv.conf`: who is asked for names. That of this machine is read, those of pods are
//! written.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Where a machine has it, and a container.
pub(crate) const PATH: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;

/// What such a file says, as the C library reads it (resolv.conf(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    pub(crate) nameservers: Vec<IpAddr>,
    /// Domains in which a name without enough dots is looked for.
    pub(crate) searches: Vec<String>,
    /// Each as it is written: `ndots:5`, `rotate`.
    pub(crate) options: Vec<String>,
}

impl ResolvConf {
    /// This machine's, as it is now. Blocks for as long as a small file takes.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn of_machine() -> io::Result<Self> {
        std::fs::read_to_string(PATH).map(|text| Self::parse(&text))
    }

    /// What cannot be understood is passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let key = words.next().unwrap_or_default();
            let words = words.take_while(|word| !word.starts_with(['#', ';'])).map(str::to_owned);
            match key {
                "nameserver" => {
                    let address = words.take(1).filter_map(|word| word.parse::<IpAddr>().ok());
                    conf.nameservers.extend(address);
                }
                // The last one counts.
                "search" => conf.searches = words.collect(),
                "domain" => conf.searches = words.take(1).collect(),
                "options" => conf.options.extend(words),
                _ => {}
            }
        }
        conf
    }

    /// Where the nameservers are asked.
    pub(crate) fn resolvers(&self) -> Vec<SocketAddr> {
        self.nameservers.iter().map(|address| (*address, DNS_PORT).into()).collect()
    }
}

impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for nameserver in &self.nameservers {
            writeln!(f, "nameserver {nameserver}")?;
        }
        for (key, words) in [("search", &self.searches), ("options", &self.options)] {
            if !words.is_empty() {
                writeln!(f, "{key} {}", words.join(" "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_file_is_read_as_the_c_library_reads_it() {
        // Proves comments, tabs, that the last search list counts, and that what is not understood
        // is passed over; and that what is written is read again.
        let text = "# by hand\nnameserver 10.0.0.1 # first\nnameserver\t::1\nnameserver fe80::1%eth0\n\
                    ;nameserver 10.0.0.9\ndomain one\nsearch two three\noptions rotate\n\
                    sortlist 10.0.0.0\noptions ndots:2 timeout:1\n";
        let conf = ResolvConf::parse(text);
        let nameservers: Vec<IpAddr> = ["10.0.0.1", "::1"].map(|one| one.parse().unwrap()).into();
        assert_eq!(conf.nameservers, nameservers);
        assert_eq!(conf.searches, ["two", "three"]);
        assert_eq!(conf.options, ["rotate", "ndots:2", "timeout:1"]);
        assert_eq!(ResolvConf::parse(&conf.to_string()), conf);
        assert_eq!(conf.resolvers()[0].to_string(), "10.0.0.1:53");
        assert_eq!(ResolvConf::default().to_string(), "");
    }
}
