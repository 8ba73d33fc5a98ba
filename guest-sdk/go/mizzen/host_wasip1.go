package mizzen

import "time"

//go:wasmimport mizzen:plugin/log@0.1.0 write
func logWrite(level uint32, message string)

//go:wasmimport mizzen:plugin/clock@0.1.0 now
func clockNow() uint64

//go:wasmimport mizzen:plugin/metrics@0.1.0 count
func metricsCount(name string, amount float64)

//go:wasmimport mizzen:plugin/metrics@0.1.0 gauge
func metricsGauge(name string, value float64)

// Log writes one line to the server's log, with the plugin's name.
func Log(level Level, message string) { logWrite(uint32(level), message) }

// Now is the time, to the millisecond.
func Now() time.Time { return time.UnixMilli(int64(clockNow())) }

// Count adds to a counter, shown at `/metrics` as `mizzen_plugin_user_<name>`.
func Count(name string, amount float64) { metricsCount(name, amount) }

// Gauge sets a gauge, shown as the counters of [Count] are.
func Gauge(name string, value float64) { metricsGauge(name, value) }
