//! From a question to its answer, whichever way it came.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::cache::Key;
use crate::forward::Forwarder;
use crate::message::{self, Question, Reply, Request, Transport};
use crate::places::{Place, Places};
use crate::zone::{self, Found, Zone};

/// Questions that wait for servers outside, of all clients and of each.
const WAITING: usize = 4096;
const WAITING_OF_ONE: usize = 512;
/// How long a question about the cluster waits for the first word from the API server.
const FIRST_WORD: Duration = Duration::from_secs(3);
/// Names that are only other names for each other are followed so far.
const LONGEST_CHAIN: usize = 8;

pub(crate) struct Responder {
    zone: Arc<RwLock<Zone>>,
    /// Whether the zone has everything that the API server knew when it was asked first.
    synced: watch::Receiver<bool>,
    forwarder: Arc<Forwarder>,
    places: Arc<Places>,
}

/// What comes of a message.
pub(crate) enum Step {
    Nothing,
    Answer(Vec<u8>),
    Later(Pending),
}

/// A question that cannot be answered at once.
pub(crate) struct Pending {
    question: Question,
    transport: Transport,
    /// Kept until the answer is there.
    _place: Place,
}

/// What is known here.
enum Local {
    Known(Reply),
    /// The rest is another's to say, about this name.
    Elsewhere(Reply, Name),
    NotYet,
}

impl Responder {
    pub(crate) fn new(zone: Arc<RwLock<Zone>>, synced: watch::Receiver<bool>, forwarder: Arc<Forwarder>) -> Self {
        Self { zone, synced, forwarder, places: Places::new(WAITING, WAITING_OF_ONE) }
    }

    /// Never waits.
    pub(crate) fn begin(&self, bytes: &[u8], client: IpAddr, transport: Transport) -> Step {
        let question = match message::read(bytes) {
            Request::Ignored => return Step::Nothing,
            Request::Refused(answer) => return Step::Answer(answer),
            Request::Asked(question) => question,
        };
        let reply = match self.local(&question) {
            Local::Known(reply) => Some(reply),
            Local::Elsewhere(so_far, name) => self.forwarder.known(&key(&question, &name)).map(|reply| joined(so_far, reply)),
            Local::NotYet => None,
        };
        if let Some(reply) = reply {
            return Step::Answer(message::write(&question, reply, transport));
        }
        match self.places.enter(client) {
            Some(place) => Step::Later(Pending { question, transport, _place: place }),
            None => Step::Answer(message::write(&question, Reply::code(ResponseCode::ServFail), transport)),
        }
    }

    pub(crate) async fn finish(&self, pending: Pending) -> Vec<u8> {
        let question = &pending.question;
        let mut local = self.local(question);
        if matches!(local, Local::NotYet) {
            let mut synced = self.synced.clone();
            let _ = timeout(FIRST_WORD, synced.wait_for(|synced| *synced)).await;
            local = self.local(question);
        }
        let reply = match local {
            Local::Known(reply) => reply,
            Local::Elsewhere(so_far, name) => joined(so_far, self.forwarder.ask(&key(question, &name)).await),
            Local::NotYet => Reply::code(ResponseCode::ServFail),
        };
        message::write(question, reply, pending.transport)
    }

    fn local(&self, question: &Question) -> Local {
        let zone = self.zone.read();
        let mut reply = Reply { authoritative: true, ..Reply::default() };
        let mut name = question.name.clone();
        let is_reverse = question.kind == RecordType::PTR;
        if (zone.has(&name) || is_reverse) && !*self.synced.borrow() {
            return Local::NotYet;
        }
        for _ in 0..LONGEST_CHAIN {
            match zone.lookup(&name, question.kind) {
                None => {
                    reply.authoritative = !reply.answers.is_empty();
                    return Local::Elsewhere(reply, name);
                }
                Some(Found::Records { answers, additionals }) => {
                    reply.answers.extend(answers);
                    reply.additionals = additionals;
                    return Local::Known(reply);
                }
                Some(Found::Alias(target)) => {
                    reply.answers.push(zone::alias(std::mem::replace(&mut name, target.clone()), target));
                    if matches!(question.kind, RecordType::CNAME | RecordType::ANY) {
                        return Local::Known(reply);
                    }
                }
                Some(found) => {
                    if found == Found::NoSuchName {
                        reply.code = ResponseCode::NXDomain;
                    }
                    reply.authorities.push(zone.authority());
                    return Local::Known(reply);
                }
            }
        }
        Local::Known(Reply::code(ResponseCode::ServFail))
    }
}

fn key(question: &Question, name: &Name) -> Key {
    Key {
        name: name.to_lowercase(),
        kind: question.kind,
        dnssec_ok: question.extensions.is_some_and(|extensions| extensions.dnssec_ok),
        checking_disabled: question.checking_disabled,
    }
}

/// What others say after what was known here: an alias, or nothing.
fn joined(mut so_far: Reply, rest: Reply) -> Reply {
    if so_far.answers.is_empty() {
        return rest;
    }
    so_far.answers.extend(rest.answers);
    Reply { code: rest.code, authentic: false, authorities: rest.authorities, additionals: rest.additionals, ..so_far }
}

#[cfg(test)]
#[path = "responder_tests.rs"]
mod tests;
