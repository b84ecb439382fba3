use super::*;

fn rate(count: u32) -> RateLimit {
    RateLimit {
        count,
        period_ms: 1_000,
        burst: count,
    }
}

/// So many sockets of the node, so many of an address, and rates a second of both.
fn door_with(total: usize, address: usize, rates: (u32, u32)) -> Arc<Door> {
    let limits = Limits {
        connections_per_address_max: address,
        accept_rate: rate(rates.0),
        accept_rate_per_address: rate(rates.1),
        limiter_keys_max: 50,
        ..Limits::default()
    };
    Door::new(&limits, total)
}

fn door(total: usize, address: usize) -> Arc<Door> {
    door_with(total, address, (1_000, 1_000_000))
}

/// One is kept for every socket.
#[test]
fn a_place_is_small() {
    assert!(size_of::<Admission>() <= 40, "{}", size_of::<Admission>());
}

#[test]
fn an_address_is_told_and_then_dropped() {
    let door = door(1_000, 2);
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let held: Vec<_> = (0..2 + REFUSED_AT_ONCE_MAX)
        .map(|_| door.admit(address, 0).unwrap())
        .collect();
    assert_eq!(
        held.iter().filter(|a| a.refusal().is_some()).count(),
        REFUSED_AT_ONCE_MAX
    );
    assert!(door.admit(address, 0).is_none());
    assert!(
        door.admit("192.0.2.2".parse().unwrap(), 0)
            .unwrap()
            .refusal()
            .is_none()
    );
    drop(held);
    assert_eq!(door.total(), 0);
    door.sweep(10_000);
    assert!(door.addresses.is_empty());
    assert!(door.admit(address, 10_000).unwrap().refusal().is_none());
}

#[test]
fn a_connection_that_a_proxy_announces_counts_where_it_comes_from() {
    let door = door(1_000, 2);
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let announced = |_| {
        let mut place = door.admit_proxy(Named::Now, 0).unwrap();
        let stays = place.becomes(address, 0);
        (place, stays)
    };
    let held: Vec<_> = (0..3 + REFUSED_AT_ONCE_MAX).map(announced).collect();
    let served = held.iter().filter(|(place, _)| place.refusal().is_none());
    assert_eq!(served.count(), 2);
    let dropped: Vec<_> = held.iter().map(|(_, stays)| !stays).collect();
    assert_eq!(dropped.iter().filter(|d| **d).count(), 1);
    // It is its whole life there: an answered request frees nothing.
    held[0].0.count_for_nobody();
    assert!(door.admit(address, 0).is_none());
    drop(held);
    assert!(door.admit(address, 10_000).unwrap().refusal().is_none());
}

#[test]
fn the_node_and_the_rate_are_bounded() {
    let full = door(1, 100);
    let _first = full.admit("192.0.2.1".parse().unwrap(), 0).unwrap();
    assert!(
        full.admit("192.0.2.2".parse().unwrap(), 0)
            .unwrap()
            .refusal()
            .is_some()
    );
    let slow = door_with(1_000, 1_000, (2, 1_000_000));
    let refused = (0..4).filter(|_| {
        let a = slow.admit("192.0.2.1".parse().unwrap(), 0).unwrap();
        a.refusal().is_some()
    });
    assert_eq!(refused.count(), 2);
}

#[test]
fn an_address_in_a_hurry_leaves_room_for_others() {
    let door = door_with(1_000, 1_000, (10, 2));
    let admitted = |address: &str| {
        let place = door.admit(address.parse().unwrap(), 0).unwrap();
        place.refusal().is_none()
    };
    assert_eq!((0..100).filter(|_| admitted("192.0.2.1")).count(), 2);
    assert!(
        admitted("192.0.2.2"),
        "what was refused did not count against the node"
    );
    door.sweep(0);
    assert_eq!(door.addresses.len(), 2, "not forgotten while it matters");
    door.sweep(10_000);
    assert!(door.addresses.is_empty());
}

#[test]
fn many_networks_of_a_site_share_a_bound() {
    let door = door_with(10_000, 2, (1_000, 1_000));
    let address = |n: u16| -> IpAddr { format!("2001:db8:1:{n:x}::1").parse().unwrap() };
    let held: Vec<_> = (0..20).filter_map(|n| door.admit(address(n), 0)).collect();
    assert_eq!(held.iter().filter(|place| place.refusal().is_none()).count(), 16);
    assert!(
        door.admit("2001:db8:2::1".parse().unwrap(), 0)
            .unwrap()
            .refusal()
            .is_none()
    );
    drop(held);
    let hurried = door_with(10_000, 1_000, (1_000, 2));
    let held: Vec<_> = (0..20).filter_map(|n| hurried.admit(address(n), 0)).collect();
    assert_eq!(held.iter().filter(|place| place.refusal().is_none()).count(), 16);
    drop(held);
    door.sweep(10_000);
    assert!(door.addresses.is_empty() && door.total() == 0);
}

#[test]
fn a_proxys_socket_counts_for_whom_it_asks() {
    let door = door_with(1_000, 2, (1_000, 1_000));
    let (alice, bob): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let held: Vec<_> = (0..10)
        .map(|_| door.admit_proxy(Named::Now, 0).unwrap())
        .collect();
    assert!(held.iter().all(|place| place.refusal().is_none()));
    assert_eq!((door.total(), door.addresses.len()), (10, 0));
    assert!(
        held[0].count_for(alice, Stay::Long, 0).is_ok() && held[1].count_for(alice, Stay::Long, 0).is_ok()
    );
    let refused = held[2].count_for(alice, Stay::Long, 0).unwrap_err();
    assert_eq!(refused.code, countersign_protocol::ErrorCode::RateLimited);
    assert!(
        held[2].count_for(bob, Stay::Long, 0).is_ok(),
        "another is not concerned"
    );
    let own = door.admit(alice, 0).unwrap();
    assert!(own.refusal().is_some(), "with a proxy or without: one bound");
    drop(own);
    // The same socket for somebody else, and an answer that has been given, make room.
    assert!(held[1].count_for(bob, Stay::Long, 0).is_ok() && held[3].count_for(alice, Stay::Long, 0).is_ok());
    held[3].count_for_nobody();
    assert!(held[4].count_for(alice, Stay::Long, 0).is_ok());
    let own = door.admit("192.0.2.9".parse().unwrap(), 0).unwrap();
    assert!(
        own.count_for(bob, Stay::Long, 0).is_ok(),
        "who is no proxy speaks for nobody"
    );
    drop((held, own));
    door.sweep(10_000);
    assert_eq!((door.total(), door.addresses.len()), (0, 0));
}

#[test]
fn what_proxies_name_is_bounded() {
    let door = door_with(1_000, 1_000, (1_000, 1));
    let proxy = door.admit_proxy(Named::Now, 0).unwrap();
    for last in 0..50 {
        assert!(
            proxy
                .count_for(IpAddr::from([192, 0, 2, last]), Stay::Long, 0)
                .is_ok()
        );
    }
    assert!(
        proxy
            .count_for(IpAddr::from([192, 0, 2, 99]), Stay::Long, 0)
            .is_err()
    );
    assert!(
        proxy
            .count_for(IpAddr::from([192, 0, 2, 99]), Stay::Long, 10_000)
            .is_ok(),
        "idle ones go"
    );
}

#[test]
fn only_what_lasts_counts_as_new_over_a_proxys_socket() {
    let door = door_with(1_000, 2, (1_000, 3));
    let alice: IpAddr = "192.0.2.1".parse().unwrap();
    let places: Vec<_> = (0..3).map(|_| door.admit_proxy(Named::Now, 0).unwrap()).collect();
    for _ in 0..1_000 {
        assert!(places[0].count_for(alice, Stay::Brief, 0).is_ok());
    }
    assert!(places[1].count_for(alice, Stay::Brief, 0).is_ok());
    let held = places[2].count_for(alice, Stay::Brief, 0).unwrap_err();
    assert!(held.message.contains("too many connections"), "{}", held.message);
    places[1].count_for_nobody();
    for _ in 0..3 {
        assert!(places[0].count_for(alice, Stay::Long, 0).is_ok());
    }
    let hurried = places[0].count_for(alice, Stay::Long, 0).unwrap_err();
    assert!(hurried.message.contains("too many new"), "{}", hurried.message);
    assert!(places[0].count_for(alice, Stay::Brief, 0).is_ok());
}

#[test]
fn who_is_refused_behind_a_proxy_takes_no_place_of_the_node() {
    let door = door_with(1_000, 1_000, (3, 1));
    let (alice, bob): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let refused = |address| {
        let mut place = door.admit_proxy(Named::Later, 0).unwrap();
        assert!(place.refusal().is_none() && place.becomes(address, 0));
        place.refusal().is_some()
    };
    assert_eq!((0..20).filter(|_| refused(alice)).count(), 19);
    assert!(!refused(bob), "the others did not count against the node");
    let mut nested = door.admit_proxy(Named::Later, 0).unwrap();
    nested.stays_a_proxys(0);
    assert!(nested.refusal().is_none() && nested.is_a_proxys());
    let mut late = door.admit_proxy(Named::Later, 0).unwrap();
    late.stays_a_proxys(0);
    assert!(late.refusal().is_some(), "the node's own rate");
}

#[test]
fn a_faster_rate_begins_at_once() {
    let slow = Limits {
        accept_rate: RateLimit {
            count: 1,
            period_ms: 600_000,
            burst: 1,
        },
        ..Limits::default()
    };
    let door = Door::new(&slow, 100);
    let refused = || {
        door.admit("192.0.2.1".parse().unwrap(), 0)
            .unwrap()
            .refusal()
            .is_some()
    };
    assert!(!refused() && refused());
    door.renew(&Limits::default());
    assert!(!refused());
}
