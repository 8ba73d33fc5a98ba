//! Several policies asked about one request: on more than one processor where there are many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mizzen_extensions::plugins::{self, Answer, Review};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::plugins::Plugin;

/// For so many questions another thread helps: with fewer, waking it takes about as long as it saves.
const EACH: usize = 8;
/// Threads that help with one request at most.
const HELPERS: usize = 3;

/// What one policy is asked.
pub(super) struct Question {
    pub(super) plugin: Arc<Plugin>,
    pub(super) policy: Arc<dyn plugins::Policy>,
    pub(super) review: Arc<Review>,
}

type Answered = Option<Result<Answer, String>>;

/// The questions of a request, which are taken in their order by whoever has time.
struct Panel {
    questions: Vec<Question>,
    answers: Vec<Mutex<Answered>>,
    /// The question that nobody has taken yet.
    next: AtomicUsize,
    /// How many are at work.
    working: AtomicUsize,
    idle: Notify,
}

/// Somebody is at work while this lives.
struct Working<'a>(&'a Panel);

/// Nobody takes another question once this is dropped: the request may be given up while it is answered.
struct Wanted<'a>(&'a Panel);

/// An answer to each question, in their order, up to one that refuses the request at least: what others say does not matter then.
/// `None` where there is none for that reason, or since the review broke down.
pub(super) async fn ask(questions: Vec<Question>) -> Vec<Answered> {
    let runtime = Handle::current();
    let helpers = (questions.len() / EACH).min(HELPERS).min(runtime.metrics().num_workers().saturating_sub(1));
    let answers = questions.iter().map(|_| Mutex::default()).collect();
    let panel = Panel { questions, answers, next: AtomicUsize::new(0), working: AtomicUsize::new(0), idle: Notify::new() };
    let panel = Arc::new(panel);
    let wanted = Wanted(&panel);
    for _ in 0..helpers {
        let (panel, handle) = (panel.clone(), runtime.clone());
        // Nobody waits for one that comes too late to help.
        drop(runtime.spawn_blocking(move || handle.block_on(panel.work())));
    }
    panel.work().await;
    // Whoever has taken a question has said before that they are at work.
    while panel.working.load(Ordering::SeqCst) > 0 {
        panel.idle.notified().await;
    }
    drop(wanted);
    panel.answers.iter().map(|answer| answer.lock().take()).collect()
}

impl Panel {
    async fn work(&self) {
        self.working.fetch_add(1, Ordering::SeqCst);
        let _working = Working(self);
        while let Some((question, answer)) = self.take() {
            let said = question.policy.review(&question.review).await;
            if question.plugin.refuses(&said) {
                self.stop();
            }
            *answer.lock() = Some(said);
        }
    }

    fn take(&self) -> Option<(&Question, &Mutex<Answered>)> {
        let at = self.next.fetch_add(1, Ordering::SeqCst);
        self.questions.get(at).zip(self.answers.get(at))
    }

    /// Those before what was taken last have all been taken.
    fn stop(&self) {
        self.next.fetch_max(self.questions.len(), Ordering::SeqCst);
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if self.0.working.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_one();
        }
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
