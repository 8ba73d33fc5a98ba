use std::net::SocketAddr;

use hickory_proto::op::{Message, MessageType};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::message::tests::question;
use crate::testing::{Manner, Upstream, cluster_ip, external, headless, ip, responder, settings, slice, zone};

fn world() -> Zone {
    let mut zone = zone();
    zone.set_service("n", "web", cluster_ip(&["10.96.0.5"], &[("http", "tcp", 80)]));
    zone.set_service("n", "site", external("www.example.com."));
    zone.set_service("n", "inner", external("web.n.svc.cluster.local."));
    zone.set_service("n", "self", external("self.n.svc.cluster.local."));
    zone
}

async fn ask(responder: &Responder, name: &str, kind: RecordType) -> Message {
    let bytes = question(name, kind, Some(1232));
    let answer = match responder.begin(&bytes, ip("10.0.0.1"), Transport::Datagram) {
        Step::Answer(answer) => answer,
        Step::Later(pending) => responder.finish(pending).await,
        Step::Nothing => panic!("no answer"),
    };
    Message::from_vec(&answer).unwrap()
}

fn said(message: &Message) -> (ResponseCode, bool, Vec<String>) {
    let answers = message.answers.iter().map(|record| format!("{} {}", record.name, record.data));
    (message.metadata.response_code, message.metadata.authoritative, answers.collect())
}

#[tokio::test]
async fn names_of_the_cluster_are_answered_with_authority_and_absence_with_the_zones_own_record() {
    let responder = responder(world(), &[]);
    let found = ask(&responder, "Web.n.svc.cluster.local.", RecordType::A).await;
    assert_eq!(said(&found), (ResponseCode::NoError, true, vec!["Web.n.svc.cluster.local. 10.96.0.5".to_owned()]));
    assert!(found.metadata.recursion_available && found.metadata.recursion_desired && found.edns.is_some());
    for (name, code) in [("web.n.svc.cluster.local.", ResponseCode::NoError), ("x.n.svc.cluster.local.", ResponseCode::NXDomain)]
    {
        let absent = ask(&responder, name, RecordType::AAAA).await;
        assert_eq!(said(&absent), (code, true, vec![]));
        assert_eq!(absent.authorities.iter().map(|r| r.record_type()).collect::<Vec<_>>(), [RecordType::SOA]);
    }
}

#[tokio::test]
async fn an_external_name_is_followed_inside_and_outside() {
    let upstream = Upstream::start(Manner::Answers).await;
    let responder = responder(world(), &[upstream.address]);
    let outside = ask(&responder, "site.n.svc.cluster.local.", RecordType::A).await;
    let expected = ["site.n.svc.cluster.local. www.example.com.", "www.example.com. 192.0.0.1"].map(str::to_owned);
    assert_eq!(said(&outside), (ResponseCode::NoError, true, expected.to_vec()));
    let again = ask(&responder, "site.n.svc.cluster.local.", RecordType::A).await;
    assert_eq!((said(&again), upstream.asked()), (said(&outside), 1));
    let inside = ask(&responder, "inner.n.svc.cluster.local.", RecordType::A).await;
    let expected =
        ["inner.n.svc.cluster.local. web.n.svc.cluster.local.", "web.n.svc.cluster.local. 10.96.0.5"].map(str::to_owned);
    assert_eq!(said(&inside), (ResponseCode::NoError, true, expected.to_vec()));
    let alone = ask(&responder, "site.n.svc.cluster.local.", RecordType::CNAME).await;
    assert_eq!(said(&alone).2, ["site.n.svc.cluster.local. www.example.com."]);
    assert_eq!(ask(&responder, "self.n.svc.cluster.local.", RecordType::A).await.metadata.response_code, ResponseCode::ServFail);
    let plain = ask(&responder, "www.example.com.", RecordType::A).await;
    assert_eq!(said(&plain), (ResponseCode::NoError, false, vec!["www.example.com. 192.0.0.1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn until_the_api_server_has_spoken_a_name_of_the_cluster_is_not_known_rather_than_absent() {
    let (tell, synced) = watch::channel(false);
    let forwarder = Arc::new(Forwarder::new(&settings(&[]), &[]).unwrap());
    let zone = Arc::new(RwLock::new(zone()));
    let responder = Responder::new(zone.clone(), synced, forwarder);
    let early = ask(&responder, "web.n.svc.cluster.local.", RecordType::A).await;
    assert_eq!(early.metadata.response_code, ResponseCode::ServFail);
    let told = async {
        *zone.write() = world();
        tell.send_replace(true);
    };
    let (answer, ()) = tokio::join!(ask(&responder, "web.n.svc.cluster.local.", RecordType::A), told);
    assert_eq!(said(&answer).2, ["web.n.svc.cluster.local. 10.96.0.5"]);
}

#[tokio::test]
async fn a_client_that_waits_for_too_much_is_refused_and_names_of_the_cluster_never_wait() {
    let silent = Upstream::start(Manner::Silent).await;
    let responder = responder(world(), &[silent.address]);
    let begin = |name: &str, client: &str| responder.begin(&question(name, RecordType::A, None), ip(client), Transport::Datagram);
    let waiting: Vec<_> = (0..WAITING_OF_ONE).map(|n| begin(&format!("x{n}.example."), "10.0.0.1")).collect();
    assert!(waiting.iter().all(|step| matches!(step, Step::Later(_))));
    assert!(
        matches!(begin("more.example.", "10.0.0.1"), Step::Answer(answer) if answer[3] & 0x0f == ResponseCode::ServFail.low())
    );
    assert!(matches!(begin("web.n.svc.cluster.local.", "10.0.0.1"), Step::Answer(answer) if answer[3] & 0x0f == 0));
    assert!(matches!(begin("more.example.", "10.0.0.2"), Step::Later(_)));
}

#[tokio::test]
async fn many_endpoints_are_cut_short_in_a_datagram_and_whole_in_a_stream() {
    let mut zone = zone();
    let addresses: Vec<String> = (0..500).map(|n| format!("10.0.{}.{}", n / 250, n % 250 + 1)).collect();
    let endpoints: Vec<_> = addresses.iter().map(|address| (address.as_str(), "", true)).collect();
    zone.set_service("n", "s", headless(false));
    zone.set_slice("n", "s", "1", slice(&endpoints, &[]));
    let responder = responder(zone, &[]);
    let asked = question("s.n.svc.cluster.local.", RecordType::A, None);
    let by = |transport| match responder.begin(&asked, ip("10.0.0.1"), transport) {
        Step::Answer(answer) => Message::from_vec(&answer).unwrap(),
        _ => panic!("answered at once"),
    };
    let (short, whole) = (by(Transport::Datagram), by(Transport::Stream));
    assert!(short.metadata.truncation && !short.answers.is_empty());
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 500));
}

/// Bytes that were a question once, or never: whatever comes in, nothing breaks, and what goes out is an answer to it.
#[tokio::test]
async fn whatever_comes_in_what_goes_out_is_an_answer_to_it() {
    let mut random = StdRng::seed_from_u64(0x6d69_7a7a);
    let responder = responder(world(), &[SocketAddr::from(([127, 0, 0, 1], 9))]);
    let names = ["web.n.svc.cluster.local.", "_http._tcp.web.n.svc.cluster.local.", "a.example.", "5.0.96.10.in-addr.arpa.", "."];
    let kinds = [RecordType::A, RecordType::SRV, RecordType::PTR, RecordType::ANY, RecordType::Unknown(65_280)];
    let (mut answered, mut later, mut ignored) = (0, 0, 0);
    for _ in 0..100_000 {
        let mut bytes = match random.random_range(0..4) {
            0 => (0..random.random_range(0..600)).map(|_| random.random()).collect(),
            _ => {
                let payload = random.random::<bool>().then(|| random.random());
                question(names[random.random_range(0..names.len())], kinds[random.random_range(0..kinds.len())], payload)
            }
        };
        for _ in 0..random.random_range(0..4) {
            if !bytes.is_empty() {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
        }
        if random.random_range(0..8) == 0 {
            bytes.truncate(random.random_range(0..=bytes.len()));
        }
        let transport = if random.random() { Transport::Datagram } else { Transport::Stream };
        match responder.begin(&bytes, ip("10.0.0.1"), transport) {
            Step::Answer(answer) => {
                answered += 1;
                assert!(transport == Transport::Stream || answer.len() <= 1232);
                let read = Message::from_vec(&answer).unwrap();
                assert_eq!(read.metadata.message_type, MessageType::Response);
                assert_eq!(read.metadata.id, u16::from_be_bytes([bytes[0], bytes[1]]));
            }
            Step::Later(_) => later += 1,
            Step::Nothing => {
                ignored += 1;
                assert!(bytes.len() < 12 || bytes[2] & 0x80 != 0);
            }
        }
    }
    assert!(answered > 1000 && later > 1000 && ignored > 1000, "{answered} {later} {ignored}");
}
