//! What others know: who is asked for a name, what was learnt of late, and one question outside for all who ask the same.
//!
//! That one question is what breaks a loop, too: when a server that is asked here asks us in turn, it waits for its own
//! answer, and everybody is told of the failure when the time is over.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, Record};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cache::{Cache, Key};
use crate::message::Reply;
use crate::upstream::Upstreams;
use crate::zone::parse_domain;
use crate::{DnsError, Settings};

/// Answers that are remembered.
const REMEMBERED: usize = 10_000;
/// `None` when no server could tell.
type Outcome = Option<Arc<Message>>;

pub(crate) struct Forwarder {
    /// The longest domain first.
    stubs: Vec<(Name, Upstreams)>,
    others: Upstreams,
    cache: Mutex<Cache>,
    asking: Mutex<HashMap<Key, watch::Receiver<Option<Outcome>>>>,
}

impl Forwarder {
    /// `own` is where this server listens.
    ///
    /// # Errors
    /// When a stub domain is no domain name.
    pub(crate) fn new(settings: &Settings, own: &[IpAddr]) -> Result<Self, DnsError> {
        let is_other = |server: &&SocketAddr| !own.contains(&server.ip());
        let fixed = |servers: &[SocketAddr]| {
            let others: Vec<_> = servers.iter().filter(is_other).copied().collect();
            Upstreams::fixed(&others)
        };
        let stubs = settings.stub_domains.iter().map(|(domain, servers)| Ok((parse_domain(domain)?, fixed(servers))));
        let mut stubs = stubs.collect::<Result<Vec<_>, DnsError>>()?;
        stubs.sort_by_key(|(domain, _)| std::cmp::Reverse(domain.iter().count()));
        let others = match settings.upstreams.is_empty() {
            true => Upstreams::of_file(settings.resolv_conf.clone(), own.to_vec()),
            false => fixed(&settings.upstreams),
        };
        Ok(Self { stubs, others, cache: Mutex::new(Cache::new(REMEMBERED)), asking: Mutex::default() })
    }

    fn servers_of(&self, name: &Name) -> &Upstreams {
        self.stubs.iter().find(|(domain, _)| domain.zone_of(name)).map_or(&self.others, |(_, servers)| servers)
    }

    /// What is remembered.
    pub(crate) fn known(&self, key: &Key) -> Option<Reply> {
        let (message, age) = self.cache.lock().get(key, Instant::now())?;
        Some(reply(&message, age))
    }

    /// What is remembered, or a server says.
    pub(crate) async fn ask(self: &Arc<Self>, key: &Key) -> Reply {
        if let Some(known) = self.known(key) {
            return known;
        }
        let Some(mut asked) = self.begin(key) else { return Reply::code(ResponseCode::ServFail) };
        // An error is that the task that asks has ended without a word.
        let outcome = asked.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone().flatten());
        outcome.map_or_else(|| Reply::code(ResponseCode::ServFail), |message| reply(&message, 0))
    }

    /// Joins those who ask the same already, or asks. `None` when too much is being asked of those who would know.
    fn begin(self: &Arc<Self>, key: &Key) -> Option<watch::Receiver<Option<Outcome>>> {
        let mut asking = self.asking.lock();
        if let Some(asked) = asking.get(key) {
            return Some(asked.clone());
        }
        let place = self.servers_of(&key.name).place()?;
        let (tell, asked) = watch::channel(None);
        asking.insert(key.clone(), asked.clone());
        let mine = Asking { forwarder: self.clone(), key: key.clone() };
        tokio::spawn(async move {
            let _place = place;
            let (forwarder, key) = (&mine.forwarder, &mine.key);
            let message = forwarder.servers_of(&key.name).ask(key).await.map(Arc::new);
            match &message {
                Some(message) => forwarder.cache.lock().put(key.clone(), message, Instant::now()),
                None => forwarder.cache.lock().put_failure(key.clone(), Instant::now()),
            }
            tell.send_replace(Some(message));
        });
        Some(asked)
    }
}

/// Ends with the task that asks, however that ends.
struct Asking {
    forwarder: Arc<Forwarder>,
    key: Key,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.forwarder.asking.lock().remove(&self.key);
    }
}

/// `age` is in seconds.
fn reply(message: &Message, age: u32) -> Reply {
    let aged = |records: &[Record]| {
        let mut records = records.to_vec();
        for record in &mut records {
            record.decrement_ttl(age);
        }
        records
    };
    let code = message.metadata.response_code;
    Reply {
        // What is wrong between us and a server is no business of the client's.
        code: if code.high() == 0 && code != ResponseCode::FormErr { code } else { ResponseCode::ServFail },
        authoritative: false,
        authentic: message.metadata.authentic_data,
        answers: aged(&message.answers),
        authorities: aged(&message.authorities),
        additionals: aged(&message.additionals),
    }
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
