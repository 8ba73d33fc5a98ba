// Package mizzen makes a plugin for Mizzen of a Go program: see [Policy] for admission policies, [Scheduler] for scheduler
// plugins. It needs no module besides the standard library.
//
// A plugin is called, it never runs by itself: main stays empty, and goroutines go on only during a call. There are no files, no
// network and no variables; time.Now and crypto/rand do not tell the truth, [Now] does.
package mizzen

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Level is how much a line of the log matters.
type Level uint32

// The levels of [Log].
const (
	Debug Level = iota
	Info
	Warn
	Error
)

// The settings of a plugin; a method `Validate() error` says what is wrong with them, and keeps the plugin from being loaded.
func settings[S any](text string) (*S, error) {
	if text == "" {
		text = "{}"
	}
	read, into := json.NewDecoder(strings.NewReader(text)), new(S)
	read.DisallowUnknownFields()
	if err := read.Decode(into); err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	if it, validates := any(into).(interface{ Validate() error }); validates {
		if err := it.Validate(); err != nil {
			return nil, err
		}
	}
	return into, nil
}

var errNotRegistered = errors.New("the program registered no plugin: call mizzen.Policy or mizzen.Scheduler in an init function")
