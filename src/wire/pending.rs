//! Sockets that have not logged in: how many there may be, and which of them gives way.
//!
//! Anyone can open a socket and say nothing. So that those who do never keep out those who log in,
//! a new socket is always let in: where its address, or all of them together, hold as many as they
//! may, the one that has been there longest is dismissed. A login takes one or two messages, so
//! whoever means it is not the oldest for long.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::link::raised;

/// All sockets that have not logged in.
pub(super) struct PendingLogins {
    most: usize,
    by_age: Mutex<ByAge>,
}

#[derive(Default)]
struct ByAge {
    next: u64,
    /// By number: the oldest first.
    sockets: BTreeMap<u64, PendingSocket>,
}

struct PendingSocket {
    address: IpAddr,
    dismissed: watch::Sender<bool>,
}

/// A socket's place among those that have not logged in; dropping it makes room.
pub(super) struct PendingLogin {
    number: u64,
    dismissed: watch::Receiver<bool>,
    all: Arc<PendingLogins>,
}

impl PendingLogins {
    /// So many at the most, and half of them from one address.
    pub fn new(most: usize) -> Arc<PendingLogins> {
        Arc::new(PendingLogins { most, by_age: Mutex::default() })
    }

    /// Lets a socket in; where there are too many, an older one is dismissed for it.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> PendingLogin {
        let (sender, dismissed) = watch::channel(false);
        let mut by_age = self.by_age.lock();
        let of_address = by_age.sockets.values().filter(|socket| socket.address == address).count();
        if of_address >= self.most.div_ceil(2) {
            by_age.dismiss_oldest(|socket| socket.address == address);
        } else if by_age.sockets.len() >= self.most {
            by_age.dismiss_oldest(|_| true);
        }
        let number = by_age.next;
        by_age.next += 1;
        by_age.sockets.insert(number, PendingSocket { address, dismissed: sender });
        PendingLogin { number, dismissed, all: Arc::clone(self) }
    }

    /// Dismisses the older half, where the system has no room for more sockets.
    pub fn dismiss_half(&self) {
        let mut by_age = self.by_age.lock();
        for _ in 0..by_age.sockets.len().div_ceil(2) {
            by_age.dismiss_oldest(|_| true);
        }
    }
}

impl ByAge {
    fn dismiss_oldest(&mut self, is_asked: impl Fn(&PendingSocket) -> bool) {
        let oldest =
            self.sockets.iter().find(|(_, socket)| is_asked(socket)).map(|(number, _)| *number);
        if let Some(socket) = oldest.and_then(|number| self.sockets.remove(&number)) {
            socket.dismissed.send_replace(true);
        }
    }
}

impl PendingLogin {
    /// Ends when this socket is to give way to another.
    pub async fn dismissed(&mut self) {
        raised(&mut self.dismissed).await;
    }
}

impl Drop for PendingLogin {
    fn drop(&mut self) {
        self.all.by_age.lock().sockets.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::limits;

    fn address(n: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(n as u32))
    }

    fn is_dismissed(login: &PendingLogin) -> bool {
        *login.dismissed.borrow()
    }

    #[test]
    fn the_oldest_socket_of_an_address_gives_way_to_its_newest() {
        let all = PendingLogins::new(limits::PENDING_LOGINS);
        let other = all.enter(address(1));
        let mut own: Vec<_> =
            (0..limits::PENDING_LOGINS / 2).map(|_| all.enter(address(2))).collect();
        assert!(own.iter().all(|login| !is_dismissed(login)));
        own.push(all.enter(address(2)));
        assert!(is_dismissed(&own[0]) && own[1..].iter().all(|login| !is_dismissed(login)));
        assert!(!is_dismissed(&other), "another address pays for none of it");
        drop(own.split_off(2));
        own.push(all.enter(address(2)));
        assert!(!is_dismissed(&own[1]), "there is room again");
    }

    #[test]
    fn many_addresses_together_do_not_hold_more_sockets_than_there_may_be() {
        let all = PendingLogins::new(limits::PENDING_LOGINS);
        let logins: Vec<_> =
            (0..limits::PENDING_LOGINS + 2).map(|n| all.enter(address(n))).collect();
        let dismissed = logins.iter().filter(|login| is_dismissed(login)).count();
        assert_eq!(
            (dismissed, is_dismissed(&logins[0]), is_dismissed(&logins[1])),
            (2, true, true)
        );
        all.dismiss_half();
        let dismissed = logins.iter().filter(|login| is_dismissed(login)).count();
        assert_eq!(dismissed, 2 + limits::PENDING_LOGINS / 2);
    }
}
