package main

import (
	"testing"

	"example.com/{{name}}/mizzen"
)

func TestAnObjectWithoutTheLabelIsDenied(t *testing.T) {
	settings := &Settings{Labels: []string{"team"}}
	pod := func(labels map[string]any) *mizzen.Request {
		metadata := map[string]any{"name": "web", "labels": labels}
		return mizzen.Create(mizzen.Object{"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
	}
	if answer := review(pod(map[string]any{"team": "shop"}), settings); !answer.Allowed {
		t.Errorf("denied: %s", answer.Message)
	}
	if answer := review(pod(nil), settings); answer.Allowed || answer.Message != "missing labels: team" {
		t.Errorf("%+v", answer)
	}
}
