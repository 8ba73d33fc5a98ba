//! What the server counts about itself, under Kubernetes' names, in Prometheus' text format.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use indexmap::{Equivalent, IndexMap};
use parking_lot::{Mutex, RwLock};

/// Upper bounds of `apiserver_request_duration_seconds`, in seconds.
const BOUNDS: [f64; 24] = [
    0.005,
    0.025,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    1.0,
    1.25,
    1.5,
    2.0,
    3.0,
    4.0,
    5.0,
    6.0,
    8.0,
    10.0,
    15.0,
    20.0,
    30.0,
    45.0,
    60.0,
    f64::INFINITY,
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

#[derive(Default)]
struct Series {
    /// How many requests were answered with which code.
    codes: Mutex<Vec<(u16, u64)>>,
    buckets: [AtomicU64; BOUNDS.len()],
    micros: AtomicU64,
    long_running: AtomicI64,
}

#[derive(Default)]
pub(crate) struct Metrics {
    series: RwLock<IndexMap<Labels, Arc<Series>>>,
    reading: Arc<AtomicI64>,
    mutating: Arc<AtomicI64>,
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

    /// A request that is being answered; streams are not among them.
    pub(crate) fn in_flight(&self, mutating: bool) -> Gauge<Arc<AtomicI64>> {
        Gauge::begin(if mutating { self.mutating.clone() } else { self.reading.clone() })
    }

    /// A stream that is open.
    pub(crate) fn long_running(&self, asked: &Asked<'_>) -> Gauge<Streams> {
        Gauge::begin(Streams(self.series(asked)))
    }

    /// A request that was answered. `took` is `None` for streams, which last as long as the client likes.
    pub(crate) fn answered(&self, asked: &Asked<'_>, code: u16, took: Option<Duration>) {
        let series = self.series(asked);
        let mut codes = series.codes.lock();
        match codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => codes.push((code, 1)),
        }
        drop(codes);
        if let Some(took) = took {
            let bucket = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len() - 1);
            series.buckets[bucket].fetch_add(1, Ordering::Relaxed);
            series.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
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
        self.gauges(&mut page, &series);
        process(&mut page);
        page
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
        let labels = format!("{labels},dry_run=\"{dry_run}\"");
        let mut count = 0;
        let mut lines = String::new();
        for (bound, bucket) in BOUNDS.iter().zip(&series.buckets) {
            count += bucket.load(Ordering::Relaxed);
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            line(&mut lines, &format!("{NAME}_bucket"), &format!("{labels},le=\"{bound}\""), count);
        }
        if count > 0 {
            page.push_str(&lines);
            let seconds = series.micros.load(Ordering::Relaxed) as f64 / 1e6;
            line(page, &format!("{NAME}_sum"), &labels, seconds);
            line(page, &format!("{NAME}_count"), &labels, count);
        }
    }
}

/// What the kernel says of this process, and which version it is.
fn process(page: &mut String) {
    heading(page, "kubernetes_build_info", "gauge", "Always 1; the labels say which version this is.");
    let labels = format!("major=\"1\",minor=\"36\",git_version=\"{}\"", crate::version::GIT_VERSION);
    line(page, "kubernetes_build_info", &labels, 1);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    if let Some(kib) = kib {
        heading(page, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
        let _ = writeln!(page, "process_resident_memory_bytes {}", kib * 1024);
    }
    let open = std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default();
    heading(page, "process_open_fds", "gauge", "Number of open file descriptors.");
    let _ = writeln!(page, "process_open_fds {open}");
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
            metrics.answered(&asked, code, Some(Duration::from_millis(30)));
        }
        let watch = metrics.long_running(&Asked { verb: "WATCH", ..asked });
        let page = metrics.page();
        let labels = "component=\"apiserver\",verb=\"GET\",group=\"\",version=\"v1\",resource=\"pods\",subresource=\"\",scope=\"resource\"";
        for wanted in [
            format!("apiserver_request_total{{{labels},code=\"200\",dry_run=\"\"}} 2\n"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},dry_run=\"\",le=\"0.025\"}} 0\n"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},dry_run=\"\",le=\"+Inf\"}} 3\n"),
            format!("apiserver_request_duration_seconds_sum{{{labels},dry_run=\"\"}} 0.09\n"),
            format!("apiserver_longrunning_requests{{{}}} 1\n", labels.replace("GET", "WATCH")),
        ] {
            assert!(page.contains(&wanted), "{wanted} in {page}");
        }
        drop(watch);
        assert!(!metrics.page().contains("apiserver_longrunning_requests{"));
    }
}
