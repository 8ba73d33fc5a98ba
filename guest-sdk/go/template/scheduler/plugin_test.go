package main

import (
	"slices"
	"testing"

	"example.com/{{name}}/mizzen"
)

func TestTheMostWantedValueScoresBest(t *testing.T) {
	bench := mizzen.NewBench(newPlugin, `{"label": "zone", "values": ["north", "south"]}`,
		map[string]any{"label/zone": "north"}, map[string]any{"label/zone": "south"}, map[string]any{})
	scores := bench.Scores(&mizzen.Pod{Cycle: 1, Name: "web"})
	if !slices.Equal(scores, []int64{100, 50, 0}) {
		t.Errorf("%v", scores)
	}
}
