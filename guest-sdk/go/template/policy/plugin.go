package main

import (
	"errors"
	"strings"

	"example.com/{{name}}/mizzen"
)

// Settings are the object's.
type Settings struct {
	// The labels that every object must have.
	Labels []string `json:"labels"`
}

// Validate keeps the policy from being loaded.
func (s *Settings) Validate() error {
	if s.Labels == nil {
		return errors.New("settings: labels is missing")
	}
	return nil
}

func review(request *mizzen.Request, settings *Settings) mizzen.Response {
	var missing []string
	for _, label := range settings.Labels {
		if request.Object().Label(label) == "" {
			missing = append(missing, label)
		}
	}
	if len(missing) > 0 {
		return mizzen.Deny("missing labels: %s", strings.Join(missing, ", "))
	}
	return mizzen.Allow()
}

func init() { mizzen.Policy(review) }

func main() {}
