package mizzen

import (
	"slices"
	"strings"
)

// Bench is a plugin that was told of some nodes, for unit tests.
type Bench struct {
	scheduling *scheduling
	rows       []uint32
}

// NewBench starts a plugin with settings (JSON). Each node is its columns by name, with int, int64, bool, string or []string in them.
// It panics on settings that the plugin refuses.
func NewBench[S, P any](start func(*S, *Columns) (P, error), settings string, nodes ...map[string]any) *Bench {
	it, err := started(start, settings)
	if err != nil {
		panic(err)
	}
	bench := &Bench{scheduling: it}
	for row := range nodes {
		bench.rows = append(bench.rows, uint32(row))
	}
	it.cluster.change(deltaOf(nodes))
	return bench
}

// Scores are the nodes' scores for a pod, in their order; none where the plugin has no opinion on it.
func (b *Bench) Scores(pod *Pod) []int64 {
	cycle := b.begin(pod)
	defer b.scheduling.end(pod.Cycle)
	if it, does := b.scheduling.plugin.(PreScore); does {
		cycle.State = it.PreScore(cycle, b.scheduling.cluster.Nodes())
	}
	return b.scheduling.score(cycle, b.rows)
}

// Rejected is why each node is turned down for a pod, in their order; empty for those that pass.
func (b *Bench) Rejected(pod *Pod) []string {
	cycle := b.begin(pod)
	defer b.scheduling.end(pod.Cycle)
	verdicts, rejections := b.scheduling.filter(cycle, b.rows)
	reasons := make([]string, len(verdicts))
	for n, verdict := range verdicts {
		if verdict > 0 {
			reasons[n] = strings.Join(rejections[verdict-1].Reasons, ", ")
		}
	}
	return reasons
}

func (b *Bench) begin(pod *Pod) *Cycle {
	state, rejection := b.scheduling.preFilter(pod)
	if rejection != nil {
		panic(strings.Join(rejection.Reasons, ", "))
	}
	return b.scheduling.cycle(pod.Cycle, state)
}

// The first delta: all that there is to know of these nodes.
func deltaOf(nodes []map[string]any) delta {
	it := delta{generation: 1}
	var names []string
	for row, node := range nodes {
		it.changed = append(it.changed, uint32(row))
		for name := range node {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	index := func(text string) uint32 {
		it.dictionary = append(it.dictionary, text)
		return uint32(len(it.dictionary) - 1)
	}
	for _, name := range slices.Compact(names) {
		change := columnChange{name: name, validity: make([]byte, (len(nodes)+7)/8)}
		var integers []int64
		var flags []bool
		var texts indexes
		var lists indexLists
		for n, node := range nodes {
			if node[name] != nil {
				change.validity[n/8] |= 1 << (n % 8)
			}
			integers, flags, texts = append(integers, 0), append(flags, false), append(texts, 0)
			switch value := node[name].(type) {
			case int:
				integers[n] = int64(value)
				change.values = integers
			case int64:
				integers[n] = value
				change.values = integers
			case bool:
				flags[n] = value
				change.values = flags
			case string:
				texts[n] = index(value)
				change.values = texts
			case []string:
				for _, text := range value {
					lists.items = append(lists.items, index(text))
				}
			}
			lists.ends = append(lists.ends, uint32(len(lists.items)))
			if _, several := node[name].([]string); several {
				change.values = lists
			}
		}
		it.columns = append(it.columns, change)
	}
	return it
}
