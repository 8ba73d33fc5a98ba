use std::io::Write as _;
use std::time::Duration;

use super::*;
use crate::testing::{Manner, Upstream, key, settings};
use crate::upstream::OUTSIDE;

fn forwarder(upstreams: &[&Upstream]) -> Arc<Forwarder> {
    let addresses: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    Arc::new(Forwarder::new(&settings(&addresses), &[]).unwrap())
}

#[tokio::test]
async fn an_answer_is_asked_for_once_and_grows_old() {
    let upstream = Upstream::start(Manner::Answers).await;
    let forwarder = forwarder(&[&upstream]);
    let first = forwarder.ask(&key("a.example.")).await;
    assert_eq!((first.code, first.answers[0].ttl), (ResponseCode::NoError, 60));
    forwarder.ask(&key("a.example.")).await;
    assert_eq!(upstream.asked(), 1);
    forwarder.ask(&key("b.example.")).await;
    assert_eq!(upstream.asked(), 2);
    let answered = forwarder.cache.lock().get(&key("a.example."), Instant::now() + Duration::from_secs(20)).unwrap();
    assert_eq!(reply(&answered.0, answered.1).answers[0].ttl, 60 - answered.1);
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_fails_or_says_nothing() {
    let (silent, failing) = (Upstream::start(Manner::Silent).await, Upstream::start(Manner::Fails).await);
    let good = Upstream::start(Manner::Answers).await;
    let forwarder = forwarder(&[&failing, &silent, &good]);
    assert_eq!(forwarder.ask(&key("a.example.")).await.code, ResponseCode::NoError);
    forwarder.ask(&key("b.example.")).await;
    assert_eq!((failing.asked(), silent.asked(), good.asked()), (1, 1, 2), "the good one is remembered");
}

#[tokio::test]
async fn when_all_fail_the_client_is_told_so() {
    let failing = Upstream::start(Manner::Fails).await;
    assert_eq!(forwarder(&[&failing]).ask(&key("a.example.")).await.code, ResponseCode::ServFail);
    assert_eq!(forwarder(&[]).ask(&key("a.example.")).await.code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_long_answer_comes_by_tcp_and_an_old_server_is_asked_in_its_own_way() {
    let (long, old) = (Upstream::start(Manner::AnswersAtLength).await, Upstream::start(Manner::Old).await);
    assert_eq!(forwarder(&[&long]).ask(&key("a.example.")).await.answers.len(), 300);
    assert_eq!(forwarder(&[&old]).ask(&key("a.example.")).await.answers.len(), 1);
    assert_eq!(old.asked(), 2);
}

#[tokio::test]
async fn a_stub_domain_has_its_own_servers_the_longest_first() {
    let [all, corp, deep] =
        [Upstream::start(Manner::Answers).await, Upstream::start(Manner::Answers).await, Upstream::start(Manner::Answers).await];
    let mut settings = settings(&[all.address]);
    settings.stub_domains = [("Corp.Example", &corp), ("deep.corp.example", &deep)]
        .map(|(domain, upstream)| (domain.to_owned(), vec![upstream.address]))
        .into();
    let forwarder = Arc::new(Forwarder::new(&settings, &[]).unwrap());
    for of in ["example.", "corp.example.", "a.corp.example.", "a.deep.corp.example.", "notcorp.example."] {
        forwarder.ask(&key(of)).await;
    }
    assert_eq!((all.asked(), corp.asked(), deep.asked()), (2, 2, 1));
}

#[tokio::test]
async fn many_who_ask_the_same_are_one_question_outside() {
    let upstream = Upstream::start(Manner::Answers).await;
    let forwarder = forwarder(&[&upstream]);
    let asked: Vec<_> = (0..100).map(|_| forwarder.begin(&key("a.example.")).unwrap()).collect();
    for mut asked in asked {
        asked.wait_for(Option::is_some).await.unwrap();
    }
    assert_eq!(upstream.asked(), 1);
    assert!(forwarder.asking.lock().is_empty());
}

#[tokio::test]
async fn questions_outside_are_bounded() {
    let silent = Upstream::start(Manner::Silent).await;
    let forwarder = forwarder(&[&silent]);
    let begun = (0..OUTSIDE + 10).filter(|number| forwarder.begin(&key(&format!("x{number}.example."))).is_some()).count();
    assert_eq!(begun, OUTSIDE);
    assert_eq!(forwarder.ask(&key("one.more.example.")).await.code, ResponseCode::ServFail, "at once");
}

#[tokio::test]
async fn servers_that_say_nothing_hold_up_no_name_that_others_know() {
    let (silent, corp) = (Upstream::start(Manner::Silent).await, Upstream::start(Manner::Answers).await);
    let mut settings = settings(&[silent.address]);
    settings.stub_domains.insert("corp.example".to_owned(), vec![corp.address]);
    let forwarder = Arc::new(Forwarder::new(&settings, &[]).unwrap());
    for number in 0..OUTSIDE {
        assert!(forwarder.begin(&key(&format!("x{number}.example."))).is_some());
    }
    assert_eq!(forwarder.ask(&key("db.corp.example.")).await.code, ResponseCode::NoError);
}

#[tokio::test]
async fn nobody_asks_itself() {
    let upstream = Upstream::start(Manner::Answers).await;
    let forwarder = Arc::new(Forwarder::new(&settings(&[upstream.address]), &[upstream.address.ip()]).unwrap());
    assert_eq!(forwarder.ask(&key("a.example.")).await.code, ResponseCode::ServFail);
    assert_eq!(upstream.asked(), 0);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"nameserver 127.0.0.1\n").unwrap();
    let settings = Settings { resolv_conf: file.path().to_owned(), ..settings(&[]) };
    let forwarder = Arc::new(Forwarder::new(&settings, &["127.0.0.1".parse().unwrap()]).unwrap());
    assert_eq!(forwarder.ask(&key("a.example.")).await.code, ResponseCode::ServFail);
}

#[test]
fn a_wrong_stub_domain_is_named() {
    let mut settings = settings(&[]);
    settings.stub_domains.insert("a..b".to_owned(), vec![]);
    let error = Forwarder::new(&settings, &[]).err().expect("is refused").to_string();
    assert!(error.starts_with("\"a..b\" is no domain name"), "{error}");
}
