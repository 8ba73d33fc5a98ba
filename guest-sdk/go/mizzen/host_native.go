//go:build !wasip1

package mizzen

// What the host offers, in unit tests: lines go to stderr, and the rest stands still.

import (
	"fmt"
	"os"
	"time"
)

// Log writes one line to the server's log, with the plugin's name.
func Log(level Level, message string) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", [...]string{"debug", "info", "warn", "error"}[level], message)
}

// Now is the time, to the millisecond; 1970 in unit tests.
func Now() time.Time { return time.UnixMilli(0) }

// Count adds to a counter, shown at `/metrics` as `mizzen_plugin_user_<name>`.
func Count(name string, amount float64) {}

// Gauge sets a gauge, shown as the counters of [Count] are.
func Gauge(name string, value float64) {}
