package mizzen

// What the world `scheduler-plugin` exports, and what it imports of its own.

import "unsafe"

type rawPoints struct {
	points  uint8
	columns list[text]
	wakes   uint8
}

type rawColumn struct {
	name     text
	validity list[byte]
	tag      uint8
	// A list, or two for lists of texts.
	values [2]struct{ at, length uint32 }
}

type rawToleration struct{ key, operator, value, effect text }

type rawPod struct {
	cycle                uint64
	uid, namespace, name text
	labels, annotations  list[pair[text, text]]
	priority             int32
	requests, scoring    list[pair[text, int64]]
	nodeSelector         list[pair[text, text]]
	tolerations          list[rawToleration]
	affinity             option[text]
	owner                text
}

type rawRejection struct {
	reasons      list[text]
	unresolvable bool
}

// A result: the state, or a rejection.
type rawPreFiltered struct {
	rejected bool
	// The state's list is the beginning of it.
	rejection rawRejection
}

type rawVerdicts struct {
	nodes      list[uint32]
	rejections list[rawRejection]
}

// The cases of a permission.
const (
	permitted uint8 = iota
	waits
	refused
)

type rawPermission struct {
	tag  uint8
	rest [2]uint32
}

func (c rawColumn) change() columnChange {
	first, second := c.values[0], c.values[1]
	change := columnChange{name: c.name.String(), validity: c.validity.slice()}
	switch c.tag {
	case 0:
		change.values = list[int64](first).slice()
	case 1:
		change.values = list[float64](first).slice()
	case 2:
		change.values = list[bool](first).slice()
	case 3:
		change.values = indexes(list[uint32](first).slice())
	case 4:
		change.values = indexLists{list[uint32](first).slice(), list[uint32](second).slice()}
	}
	return change
}

func (p *rawPod) pod() *Pod {
	return &Pod{
		Cycle:        p.cycle,
		UID:          p.uid.String(),
		Namespace:    p.namespace.String(),
		Name:         p.name.String(),
		Labels:       named(p.labels),
		Annotations:  named(p.annotations),
		Priority:     p.priority,
		Requests:     amounts(p.requests),
		Scoring:      amounts(p.scoring),
		NodeSelector: named(p.nodeSelector),
		Tolerations: each(p.tolerations, func(t rawToleration) Toleration {
			return Toleration{t.key.String(), t.operator.String(), t.value.String(), t.effect.String()}
		}),
		Affinity: maybe(p.affinity),
		Owner:    p.owner.String(),
	}
}

func amounts(l list[pair[text, int64]]) map[string]int64 {
	items := make(map[string]int64, l.length)
	for _, item := range l.slice() {
		items[item.first.String()] = item.second
	}
	return items
}

func (r *Rejection) raw() rawRejection { return rawRejection{textsOf(r.Reasons), r.Unresolvable} }

func (p Permission) raw() rawPermission {
	switch {
	case p.Denied != "":
		why := textOf(p.Denied)
		return rawPermission{refused, [2]uint32{why.at, why.length}}
	case p.AskAgain > 0 || p.AtMost > 0:
		return rawPermission{waits, [2]uint32{p.AskAgain, p.AtMost}}
	default:
		return rawPermission{tag: permitted}
	}
}

// The plugin at work, once it is configured.
var scheduler *scheduling

//go:wasmexport mizzen:scheduler/plugin@0.2.0#configure
func exportStart(settings, length uint32) uint32 {
	defer trapped()
	it, err := startScheduler(settingsOf(settings, length))
	scheduler = it
	return answer(outcomeOf(err))
}

//go:wasmexport mizzen:scheduler/plugin@0.2.0#describe
func exportDescribe() uint32 {
	defer trapped()
	taken()
	return answer(rawPoints{scheduler.points(), textsOf(scheduler.cluster.columns.names), uint8(scheduler.wakes())})
}

//go:wasmexport mizzen:scheduler/plugin@0.2.0#update
func exportUpdate(since, generation uint64, removed, removedLength, changed, changedLength, dictionary, words, columns, count uint32) {
	defer trapped()
	change := delta{
		since:      since,
		generation: generation,
		removed:    list[uint32]{removed, removedLength}.slice(),
		changed:    list[uint32]{changed, changedLength}.slice(),
		dictionary: texts(list[text]{dictionary, words}),
		columns:    each(list[rawColumn]{columns, count}, rawColumn.change),
	}
	taken()
	scheduler.cluster.change(change)
}

//go:wasmexport mizzen:scheduler/plugin@0.2.0#pre-filter
func exportPreFilter(pod uint32) uint32 {
	defer trapped()
	given := (*rawPod)(pointer(pod)).pod()
	taken()
	state, rejection := scheduler.preFilter(given)
	if rejection != nil {
		return answer(rawPreFiltered{true, rejection.raw()})
	}
	return answer(rawPreFiltered{rejection: rawRejection{reasons: list[text](listOf(state))}})
}

// A cycle's number, state and nodes.
func takeCycle(cycle uint64, state, length uint32) *Cycle {
	given := list[byte]{state, length}.slice()
	return scheduler.cycle(cycle, given)
}

//go:wasmexport mizzen:scheduler/plugin@0.2.0#filter
func exportFilter(cycle uint64, state, length, nodes, count uint32) uint32 {
	defer trapped()
	it, rows := takeCycle(cycle, state, length), list[uint32]{nodes, count}.slice()
	taken()
	verdicts, rejections := scheduler.filter(it, rows)
	return answer(rawVerdicts{listOf(verdicts), listFrom(rejections, (*Rejection).raw)})
}

//go:wasmexport mizzen:scheduler/plugin@0.2.0#post-filter
func exportPostFilter(cycle uint64, state, length uint32) uint32 {
	defer trapped()
	it := takeCycle(cycle, state, length)
	taken()
	note := scheduler.plugin.(PostFilter).PostFilter(it)
	return answer(option[text]{note != "", textOf(note)})
}

//go:wasmexport mizzen:scheduler/plugin@0.2.0#pre-score
func exportPreScore(cycle uint64, state, length, nodes, count uint32) uint32 {
	defer trapped()
	it, rows := takeCycle(cycle, state, length), list[uint32]{nodes, count}.slice()
	taken()
	return answer(listOf(scheduler.plugin.(PreScore).PreScore(it, scheduler.cluster.nodes(rows))))
}

//go:wasmexport mizzen:scheduler/plugin@0.2.0#score
func exportScore(cycle uint64, state, length, nodes, count uint32) uint32 {
	defer trapped()
	it, rows := takeCycle(cycle, state, length), list[uint32]{nodes, count}.slice()
	taken()
	return answer(listOf(scheduler.score(it, rows)))
}

//go:wasmexport mizzen:scheduler/plugin@0.2.0#reserve
func exportReserve(cycle uint64, state, length, node uint32) uint32 {
	defer trapped()
	it := takeCycle(cycle, state, length)
	taken()
	return answer(outcomeOf(scheduler.plugin.(Reserve).Reserve(it, Node{scheduler.cluster, node})))
}

//go:wasmexport mizzen:scheduler/plugin@0.2.0#unreserve
func exportUnreserve(cycle uint64, state, length, node uint32) {
	defer trapped()
	it := takeCycle(cycle, state, length)
	taken()
	scheduler.plugin.(Unreserve).Unreserve(it, Node{scheduler.cluster, node})
}

//go:wasmexport mizzen:scheduler/plugin@0.2.0#permit
func exportPermit(cycle uint64, state, length, node uint32) uint32 {
	defer trapped()
	it := takeCycle(cycle, state, length)
	taken()
	return answer(scheduler.plugin.(Permit).Permit(it, Node{scheduler.cluster, node}).raw())
}

//go:wasmexport mizzen:scheduler/plugin@0.2.0#pre-bind
func exportPreBind(cycle uint64, state, length, node uint32) uint32 {
	defer trapped()
	it := takeCycle(cycle, state, length)
	taken()
	return answer(outcomeOf(scheduler.plugin.(PreBind).PreBind(it, Node{scheduler.cluster, node})))
}

//go:wasmexport mizzen:scheduler/plugin@0.2.0#end
func exportEnd(cycle uint64) {
	defer trapped()
	taken()
	scheduler.end(cycle)
}

//go:wasmimport mizzen:scheduler/cluster@0.2.0 node
func importNode(row uint32, into unsafe.Pointer)

//go:wasmimport mizzen:scheduler/cluster@0.2.0 pod
func importPod(cycle uint64, into unsafe.Pointer)

//go:wasmimport mizzen:scheduler/cluster@0.2.0 pods-on
func importPodsOn(row uint32, into unsafe.Pointer)

//go:wasmimport mizzen:scheduler/cluster@0.2.0 node-value
func importNodeValue(row uint32, pointer string, into unsafe.Pointer)

//go:wasmimport mizzen:scheduler/cluster@0.2.0 pod-value
func importPodValue(cycle uint64, pointer string, into unsafe.Pointer)

func clusterNodeValue(row uint32, pointer string) string {
	found, _ := maybeTold(func(into unsafe.Pointer) { importNodeValue(row, pointer, into) })
	return found
}

func clusterPodValue(cycle uint64, pointer string) string {
	found, _ := maybeTold(func(into unsafe.Pointer) { importPodValue(cycle, pointer, into) })
	return found
}

func clusterNode(row uint32) string {
	found, _ := maybeTold(func(into unsafe.Pointer) { importNode(row, into) })
	return found
}

func clusterPod(cycle uint64) string {
	found, _ := maybeTold(func(into unsafe.Pointer) { importPod(cycle, into) })
	return found
}

func clusterPodsOn(row uint32) []string {
	return told(func(into unsafe.Pointer) { importPodsOn(row, into) })
}
