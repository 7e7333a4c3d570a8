//! Connections that others have open to a pod, as the kernel lists those of its network: proc_pid_net(5).

use std::collections::BTreeSet;

const LISTEN: &str = "0A";
/// Of these everything has been passed on: the other end's last word is all that is waited for.
const ANSWERED: [&str; 3] = ["05", "06", "07"];

/// To the ports that something listens on in the network of a process. `None`: it has ended.
pub(super) fn open(pid: i32) -> Option<usize> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{name}"));
    let ipv4 = read("tcp").ok()?;
    // A kernel may be without it.
    let ipv6 = read("tcp6").unwrap_or_default();
    Some(count(&format!("{ipv4}{ipv6}")))
}

/// A socket's ends as they are written, and its state.
struct Socket<'a> {
    address: &'a str,
    port: &'a str,
    peer: &'a str,
    state: &'a str,
}

fn count(table: &str) -> usize {
    let sockets: Vec<Socket<'_>> = table.lines().filter_map(socket).collect();
    let listening = sockets.iter().filter(|socket| socket.state == LISTEN);
    let ports: BTreeSet<&str> = listening.map(|socket| socket.port).collect();
    let is_open = |socket: &&Socket<'_>| {
        socket.state != LISTEN
            && !ANSWERED.contains(&socket.state)
            && ports.contains(socket.port)
            // Of the pod with itself.
            && socket.peer != socket.address
    };
    sockets.iter().filter(is_open).count()
}

/// `None`: a heading.
fn socket(line: &str) -> Option<Socket<'_>> {
    let mut fields = line.split_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    let (peer, _) = fields.next()?.split_once(':')?;
    Some(Socket { address, port, peer, state: fields.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0200F40A:1F90 0100F40A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 0200F40A:1F90 0100F40A:9C41 08 00000000:00000000 00:00000000 00000000     0        0 13 1
   3: 0200F40A:1F90 0100F40A:9C42 06 00000000:00000000 03:00000000 00000000     0        0 0 3
   4: 0200F40A:1F90 0200F40A:9C43 01 00000000:00000000 00:00000000 00000000     0        0 14 1
   5: 0200F40A:C350 0300F40A:0050 01 00000000:00000000 00:00000000 00000000     0        0 15 1
";

    #[test]
    fn those_that_others_wait_for_an_answer_on_are_counted() {
        // Proves that what others have open to a listening port counts, also when they have said
        // all; and not what is over, what the pod has with itself, or what it asks others.
        assert_eq!(count(TABLE), 2);
        assert_eq!(count(""), 0);
    }

    #[test]
    fn the_table_of_a_process_is_read() {
        // Proves on the kernel's own table that an open connection is seen, and that of a process
        // which is not there nothing is said. Others of this machine may be in it too.
        let listener = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
        let _asks = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(open(own).unwrap() >= 1);
        assert_eq!(open(i32::MAX), None);
    }
}
