//! What the server counts about itself, under Kubernetes' names, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use indexmap::{Equivalent, IndexMap};
use parking_lot::{Mutex, RwLock};

use crate::histogram::Histogram;
use crate::process_metrics;

/// Upper bounds of `apiserver_request_duration_seconds`, in seconds.
const BOUNDS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// Upper bounds of `apiserver_request_sli_duration_seconds`, in seconds.
const SERVICE_BOUNDS: [f64; 21] =
    [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];

/// Upper bounds of `apiserver_response_sizes`, in bytes.
const SIZES: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Upper bounds of `apiserver_client_certificate_expiration_seconds`, in seconds: half an hour to a year.
const LIFETIMES: [f64; 14] = [
    0.0,
    1_800.0,
    3_600.0,
    7_200.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    345_600.0,
    604_800.0,
    2_592_000.0,
    7_776_000.0,
    15_552_000.0,
    31_104_000.0,
];

/// What a request was about. Empty texts where it was about no resource that is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Asked<'a> {
    /// Upper case, as the metrics have it: `GET`, `LIST`, `WATCH`, `POST`, `APPLY`, ….
    pub(crate) verb: &'static str,
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    /// `resource`, `namespace` or `cluster`.
    pub(crate) scope: &'static str,
    pub(crate) dry_run: bool,
}

#[derive(PartialEq, Eq, Hash)]
struct Labels {
    verb: &'static str,
    group: Box<str>,
    version: Box<str>,
    resource: Box<str>,
    subresource: Box<str>,
    scope: &'static str,
    dry_run: bool,
}

impl Equivalent<Labels> for Asked<'_> {
    fn equivalent(&self, labels: &Labels) -> bool {
        (self.verb, self.scope, self.dry_run) == (labels.verb, labels.scope, labels.dry_run)
            && (self.group, self.version) == (&labels.group, &labels.version)
            && (self.resource, self.subresource) == (&labels.resource, &labels.subresource)
    }
}

struct Series {
    /// How many requests were answered with which code.
    codes: Mutex<Vec<(u16, u64)>>,
    took: Histogram<{ BOUNDS.len() }>,
    /// Without what it waited for others.
    served: Histogram<{ SERVICE_BOUNDS.len() }>,
    long_running: AtomicI64,
    /// Of answers to reads.
    sizes: Histogram<{ SIZES.len() }>,
    /// That watchers were sent.
    events: AtomicU64,
    /// Requests that flow control refused.
    refused: AtomicU64,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            codes: Mutex::default(),
            took: Histogram::new(&BOUNDS),
            served: Histogram::new(&SERVICE_BOUNDS),
            long_running: AtomicI64::default(),
            sizes: Histogram::new(&SIZES),
            events: AtomicU64::default(),
            refused: AtomicU64::default(),
        }
    }
}

pub(crate) struct Metrics {
    series: RwLock<IndexMap<Labels, Arc<Series>>>,
    reading: Arc<AtomicI64>,
    mutating: Arc<AtomicI64>,
    authenticated: AtomicU64,
    unauthenticated: AtomicU64,
    /// How long the certificates that clients show still hold.
    certificates: Histogram<{ LIFETIMES.len() }>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            series: RwLock::default(),
            reading: Arc::default(),
            mutating: Arc::default(),
            authenticated: AtomicU64::default(),
            unauthenticated: AtomicU64::default(),
            certificates: Histogram::new(&LIFETIMES),
        }
    }
}

/// How long an answer took.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    pub(crate) all: Duration,
    /// For others: part of `all`.
    pub(crate) waited: Duration,
}

/// Counts one as long as it lives.
pub(crate) struct Gauge<T: AsRef<AtomicI64>>(T);

impl<T: AsRef<AtomicI64>> Gauge<T> {
    fn begin(gauge: T) -> Self {
        gauge.as_ref().fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl<T: AsRef<AtomicI64>> Drop for Gauge<T> {
    fn drop(&mut self) {
        self.0.as_ref().fetch_sub(1, Ordering::Relaxed);
    }
}

/// The streams of one series.
pub(crate) struct Streams(Arc<Series>);

impl AsRef<AtomicI64> for Streams {
    fn as_ref(&self) -> &AtomicI64 {
        &self.0.long_running
    }
}

impl Gauge<Streams> {
    /// Counts events that the stream was sent.
    pub(crate) fn sent(&self, events: usize) {
        self.0.0.events.fetch_add(events as u64, Ordering::Relaxed);
    }
}

impl Metrics {
    fn series(&self, asked: &Asked<'_>) -> Arc<Series> {
        if let Some(series) = self.series.read().get(asked) {
            return series.clone();
        }
        let labels = Labels {
            verb: asked.verb,
            group: asked.group.into(),
            version: asked.version.into(),
            resource: asked.resource.into(),
            subresource: asked.subresource.into(),
            scope: asked.scope,
            dry_run: asked.dry_run,
        };
        self.series.write().entry(labels).or_default().clone()
    }

    /// Where it does not count whether a request was a dry run.
    fn plain(&self, asked: &Asked<'_>) -> Arc<Series> {
        self.series(&Asked { dry_run: false, ..*asked })
    }

    /// A request that is being answered; streams are not among them.
    pub(crate) fn in_flight(&self, mutating: bool) -> Gauge<Arc<AtomicI64>> {
        Gauge::begin(if mutating { self.mutating.clone() } else { self.reading.clone() })
    }

    /// A stream that is open.
    pub(crate) fn long_running(&self, asked: &Asked<'_>) -> Gauge<Streams> {
        Gauge::begin(Streams(self.plain(asked)))
    }

    /// Somebody said who they are, rightly or not.
    pub(crate) fn authenticated(&self, rightly: bool) {
        let counter = if rightly { &self.authenticated } else { &self.unauthenticated };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody showed a certificate that holds so many seconds more.
    pub(crate) fn certified(&self, seconds: i64) {
        self.certificates.observe(seconds as f64);
    }

    /// Flow control refused a request.
    pub(crate) fn refused(&self, asked: &Asked<'_>) {
        self.plain(asked).refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that was answered. `took` is `None` for streams, which last as long as the client likes; `bytes` are those
    /// of the answer to a read.
    pub(crate) fn answered(&self, asked: &Asked<'_>, code: u16, took: Option<Took>, bytes: Option<u64>) {
        let series = self.series(asked);
        let mut codes = series.codes.lock();
        match codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => codes.push((code, 1)),
        }
        drop(codes);
        if let Some(bytes) = bytes {
            self.plain(asked).sizes.observe(bytes as f64);
        }
        if let Some(Took { all, waited }) = took {
            series.took.took(all);
            let plain = if asked.dry_run { self.plain(asked) } else { series };
            plain.served.took(all.saturating_sub(waited));
        }
    }

    /// The whole page.
    pub(crate) fn page(&self) -> String {
        let series: Vec<(String, String, Arc<Series>)> = self
            .series
            .read()
            .iter()
            .map(|(labels, series)| (labels.text(), if labels.dry_run { "All" } else { "" }.to_owned(), series.clone()))
            .collect();
        let mut page = String::with_capacity(64 * 1024);
        self.requests(&mut page, &series);
        durations(&mut page, &series);
        sizes(&mut page, &series);
        self.gauges(&mut page, &series);
        process_metrics::report(&mut page);
        page
    }

    /// Of watches of the same resource, whatever their scope.
    fn events(&self) -> BTreeMap<String, u64> {
        let mut events = BTreeMap::new();
        for (Labels { group, version, resource, .. }, series) in self.series.read().iter() {
            let count = series.events.load(Ordering::Relaxed);
            if count > 0 {
                let labels = format!("group=\"{group}\",version=\"{version}\",resource=\"{resource}\"");
                *events.entry(labels).or_default() += count;
            }
        }
        events
    }

    fn requests(&self, page: &mut String, series: &[(String, String, Arc<Series>)]) {
        heading(page, "apiserver_request_total", "counter", "Requests answered, by verb, resource and HTTP code.");
        for (labels, dry_run, series) in series {
            for (code, count) in series.codes.lock().iter() {
                line(page, "apiserver_request_total", &format!("{labels},code=\"{code}\",dry_run=\"{dry_run}\""), count);
            }
        }
    }

    fn gauges(&self, page: &mut String, series: &[(String, String, Arc<Series>)]) {
        heading(page, "apiserver_current_inflight_requests", "gauge", "Requests that are being answered now.");
        for (kind, gauge) in [("mutating", &self.mutating), ("readOnly", &self.reading)] {
            let count = gauge.load(Ordering::Relaxed);
            line(page, "apiserver_current_inflight_requests", &format!("request_kind=\"{kind}\""), count);
        }
        heading(page, "authentication_attempts", "counter", "Requests, by whether their credentials were right.");
        for (result, count) in [("success", &self.authenticated), ("failure", &self.unauthenticated)] {
            line(page, "authentication_attempts", &format!("result=\"{result}\""), count.load(Ordering::Relaxed));
        }
        const LEFT: &str = "apiserver_client_certificate_expiration_seconds";
        heading(page, LEFT, "histogram", "How long the certificates that clients showed still held, in seconds.");
        self.certificates.report(page, LEFT, "");
        const ENDED: &str = "apiserver_request_terminations_total";
        heading(page, ENDED, "counter", "Requests that the server refused to protect itself.");
        for (labels, _, series) in series {
            let count = series.refused.load(Ordering::Relaxed);
            if count > 0 {
                line(page, ENDED, &format!("{labels},code=\"429\""), count);
            }
        }
        heading(page, "apiserver_watch_events_total", "counter", "Events sent to watchers.");
        for (labels, events) in self.events() {
            line(page, "apiserver_watch_events_total", &labels, events);
        }
        heading(page, "apiserver_longrunning_requests", "gauge", "Streams that are open now.");
        for (labels, _, series) in series {
            let count = series.long_running.load(Ordering::Relaxed);
            if count > 0 {
                line(page, "apiserver_longrunning_requests", labels, count);
            }
        }
    }
}

impl Labels {
    fn text(&self) -> String {
        let Self { verb, group, version, resource, subresource, scope, .. } = self;
        format!(
            "component=\"apiserver\",verb=\"{verb}\",group=\"{group}\",version=\"{version}\",resource=\"{resource}\",\
             subresource=\"{subresource}\",scope=\"{scope}\""
        )
    }
}

fn durations(page: &mut String, series: &[(String, String, Arc<Series>)]) {
    const NAME: &str = "apiserver_request_duration_seconds";
    heading(page, NAME, "histogram", "How long answers took, in seconds; streams are left out.");
    for (labels, dry_run, series) in series {
        series.took.report(page, NAME, &format!("{labels},dry_run=\"{dry_run}\""));
    }
    const SERVED: &str = "apiserver_request_sli_duration_seconds";
    heading(page, SERVED, "histogram", "The same without waiting for webhooks and for a turn by flow control.");
    for (labels, _, series) in series {
        series.served.report(page, SERVED, labels);
    }
}

fn sizes(page: &mut String, series: &[(String, String, Arc<Series>)]) {
    const NAME: &str = "apiserver_response_sizes";
    heading(page, NAME, "histogram", "Sizes of answers to reads, in bytes; streams are left out.");
    for (labels, _, series) in series {
        series.sizes.report(page, NAME, labels);
    }
}

pub(crate) fn heading(page: &mut String, name: &str, kind: &str, help: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

pub(crate) fn line(page: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(page, "{name}{{{labels}}} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_they_were_about() {
        let metrics = Metrics::default();
        let asked = Asked { verb: "GET", version: "v1", resource: "pods", scope: "resource", ..Asked::default() };
        for code in [200, 200, 404] {
            let took = Took { all: Duration::from_millis(90), waited: Duration::from_millis(60) };
            metrics.answered(&asked, code, Some(took), Some(5_000));
        }
        let tried = Took { all: Duration::from_millis(1), waited: Duration::ZERO };
        metrics.answered(&Asked { dry_run: true, ..asked }, 200, Some(tried), Some(1));
        let watch = metrics.long_running(&Asked { verb: "WATCH", ..asked });
        watch.sent(7);
        metrics.authenticated(true);
        metrics.certified(3_000);
        metrics.refused(&asked);
        let page = metrics.page();
        let labels = "component=\"apiserver\",verb=\"GET\",group=\"\",version=\"v1\",resource=\"pods\",subresource=\"\",scope=\"resource\"";
        for wanted in [
            format!("apiserver_request_total{{{labels},code=\"200\",dry_run=\"\"}} 2\n"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},dry_run=\"\",le=\"0.05\"}} 0\n"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},dry_run=\"\",le=\"+Inf\"}} 3\n"),
            format!("apiserver_request_duration_seconds_sum{{{labels},dry_run=\"\"}} 0.27\n"),
            format!("apiserver_request_sli_duration_seconds_bucket{{{labels},le=\"0.05\"}} 4\n"),
            format!("apiserver_request_terminations_total{{{labels},code=\"429\"}} 1\n"),
            "apiserver_client_certificate_expiration_seconds_bucket{le=\"3600\"} 1\n".to_owned(),
            "apiserver_client_certificate_expiration_seconds_count{} 1\n".to_owned(),
            format!("apiserver_response_sizes_bucket{{{labels},le=\"1000\"}} 1\n"),
            format!("apiserver_response_sizes_bucket{{{labels},le=\"10000\"}} 4\n"),
            format!("apiserver_response_sizes_sum{{{labels}}} 15001\n"),
            "apiserver_watch_events_total{group=\"\",version=\"v1\",resource=\"pods\"} 7\n".to_owned(),
            "authentication_attempts{result=\"success\"} 1\n".to_owned(),
            format!("apiserver_longrunning_requests{{{}}} 1\n", labels.replace("GET", "WATCH")),
        ] {
            assert!(page.contains(&wanted), "{wanted} in {page}");
        }
        let mut names: Vec<&str> = page.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1] || pair[0].starts_with('#')), "{page}");
        drop(watch);
        assert!(!metrics.page().contains("apiserver_longrunning_requests{"));
    }
}
