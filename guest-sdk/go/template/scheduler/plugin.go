package main

import (
	"errors"
	"slices"

	"example.com/{{name}}/mizzen"
)

// Settings are the object's.
type Settings struct {
	// A label of nodes.
	Label string `json:"label"`
	// Its values, the most wanted first.
	Values []string `json:"values"`
}

// Validate keeps the plugin from being loaded.
func (s *Settings) Validate() error {
	if s.Label == "" {
		return errors.New("settings: label is missing")
	}
	if len(s.Values) == 0 {
		return errors.New("values: name at least one")
	}
	return nil
}

// PreferLabel prefers nodes by the value of a label.
type PreferLabel struct {
	values []string
	label  mizzen.Column[string]
}

func newPlugin(settings *Settings, columns *mizzen.Columns) (*PreferLabel, error) {
	return &PreferLabel{settings.Values, columns.Text("label/" + settings.Label)}, nil
}

// Score is from 0 to 100, the best.
func (p *PreferLabel) Score(_ *mizzen.Cycle, node mizzen.Node) int64 {
	value, there := p.label.Of(node)
	place := slices.Index(p.values, value)
	if !there || place < 0 {
		return 0
	}
	return int64(100 * (len(p.values) - place) / len(p.values))
}

func init() { mizzen.Scheduler(newPlugin) }

func main() {}
