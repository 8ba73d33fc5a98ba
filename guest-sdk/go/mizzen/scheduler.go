package mizzen

import (
	"fmt"
	"strings"
)

// Toleration is one of a pod's: an empty key stands for every key, an empty effect for every effect.
type Toleration struct{ Key, Operator, Value, Effect string }

// Pod is the pod of a cycle, as far as most plugins need it.
type Pod struct {
	// Names the cycle.
	Cycle                uint64
	UID, Namespace, Name string
	Labels, Annotations  map[string]string
	Priority             int32
	// The sum of its containers' requests (cpu in millicores, everything else in its unit), and what it counts for in the columns
	// `scoring/RESOURCE`.
	Requests, Scoring map[string]int64
	NodeSelector      map[string]string
	Tolerations       []Toleration
	// `spec.affinity` as JSON, empty without one.
	Affinity string
	// The uid of its controller, empty without one.
	Owner string
}

// JSON is the whole Pod. Empty in unit tests.
func (p *Pod) JSON() string { return clusterPod(p.Cycle) }

// Value is what stands at a JSON pointer of the Pod, as JSON, such as `/spec/containers/0/image`. Empty where there is nothing, and in
// unit tests.
func (p *Pod) Value(pointer string) string { return clusterPodValue(p.Cycle, pointer) }

// Cycle is the pod that is being placed, with the bytes that PreFilter or PreScore answered: the host keeps them, and copies them
// for the trials of preemption.
type Cycle struct {
	Pod     *Pod
	State   []byte
	Cluster *Cluster
}

// Rejection says why a node, or a pod as a whole, is turned down, in words such as `Insufficient cpu`.
type Rejection struct {
	Reasons []string
	// Removing other pods would not help.
	Unresolvable bool
}

// Reject turns down for one reason, as [fmt.Sprintf] makes it.
func Reject(format string, values ...any) *Rejection {
	return &Rejection{Reasons: []string{fmt.Sprintf(format, values...)}}
}

// Permission is what Permit answers; the zero value allows.
type Permission struct {
	// Ask again within so many milliseconds at the latest; after AtMost the pod is refused.
	AskAgain, AtMost uint32
	// Why binding is refused.
	Denied string
}

// A plugin has the methods of the extension points at which it does something, and is never called at others:
type (
	// PreFilter opens every cycle. It answers the cycle's state, or why no node will do.
	PreFilter interface {
		PreFilter(pod *Pod, cluster *Cluster) ([]byte, *Rejection)
	}
	// Filter answers nil, or why not this node.
	Filter interface {
		Filter(cycle *Cycle, node Node) *Rejection
	}
	// PostFilter is called when no node is left. It answers a note for the pod's event, or nothing.
	PostFilter interface{ PostFilter(cycle *Cycle) string }
	// PreScore sees all nodes that passed, and answers the cycle's new state.
	PreScore interface {
		PreScore(cycle *Cycle, feasible []Node) []byte
	}
	// Score is from 0 to 100, the best.
	Score interface {
		Score(cycle *Cycle, node Node) int64
	}
	// Scores says whether a plugin that scores has an opinion on this pod at all.
	Scores interface{ Scores(cycle *Cycle) bool }
	// Reserve takes what the pod needs outside of the chosen node, or says why it cannot be had.
	Reserve interface {
		Reserve(cycle *Cycle, node Node) error
	}
	// Unreserve gives it back; also called for what was never reserved.
	Unreserve interface{ Unreserve(cycle *Cycle, node Node) }
	// Permit holds the binding back, or refuses it; asked again after a wait.
	Permit interface {
		Permit(cycle *Cycle, node Node) Permission
	}
	// PreBind says why the pod must not be bound.
	PreBind interface {
		PreBind(cycle *Cycle, node Node) error
	}
	// End closes every cycle, the pod bound or not.
	End interface{ End(pod *Pod) }
	// Wakes says after what a pod that the plugin turned down is worth another try. Without it, after anything.
	Wakes interface{ Wakes() Wake }
)

// Wake is what happened in the cluster; they can be added.
type Wake uint8

// What can happen.
const (
	NodeAdded Wake = 1 << iota
	NodeChanged
	PodPlaced
	PodLeft
)

// A plugin with its settings, the cluster as it knows it and the cycles that are under way.
type scheduling struct {
	plugin  any
	cluster *Cluster
	pods    map[uint64]*Pod
}

// Makes the plugin that the program registered.
var startScheduler = func(string) (*scheduling, error) { return nil, errNotRegistered }

// Scheduler makes a scheduler plugin of a function that makes one of the settings, and asks for the columns that it reads; call
// it in an init function:
//
//	func init() { mizzen.Scheduler(newPlugin) }
//
// The settings are the object's `settings`, read as JSON. Fields that S does not have are refused, and so is what its method
// `Validate() error` or the function finds wrong; all keep the plugin from being loaded.
func Scheduler[S, P any](start func(settings *S, columns *Columns) (P, error)) {
	startScheduler = func(text string) (*scheduling, error) { return started(start, text) }
}

func started[S, P any](start func(settings *S, columns *Columns) (P, error), text string) (*scheduling, error) {
	settings, err := settings[S](text)
	if err != nil {
		return nil, err
	}
	columns := &Columns{kept: make(map[string]held), below: make(map[string]*data[int64])}
	plugin, err := start(settings, columns)
	if err != nil {
		return nil, err
	}
	return &scheduling{plugin, &Cluster{columns: columns}, make(map[uint64]*Pod)}, nil
}

// The extension points that do something, in the order of the contract's flags.
func (s *scheduling) points() (points uint8) {
	_, filter := s.plugin.(Filter)
	_, postFilter := s.plugin.(PostFilter)
	_, preScore := s.plugin.(PreScore)
	_, score := s.plugin.(Score)
	_, reserve := s.plugin.(Reserve)
	_, unreserve := s.plugin.(Unreserve)
	_, permit := s.plugin.(Permit)
	_, preBind := s.plugin.(PreBind)
	for n, has := range []bool{filter, postFilter, preScore, score, reserve, unreserve, permit, preBind} {
		if has {
			points |= 1 << n
		}
	}
	return points
}

func (s *scheduling) wakes() Wake {
	if it, says := s.plugin.(Wakes); says {
		return it.Wakes()
	}
	return 0
}

func (s *scheduling) cycle(number uint64, state []byte) *Cycle {
	pod, begun := s.pods[number]
	if !begun {
		panic(fmt.Sprintf("cycle %d did not begin", number))
	}
	return &Cycle{pod, state, s.cluster}
}

func (s *scheduling) preFilter(pod *Pod) (state []byte, rejection *Rejection) {
	s.pods[pod.Cycle] = pod
	if it, does := s.plugin.(PreFilter); does {
		return it.PreFilter(pod, s.cluster)
	}
	return nil, nil
}

// For each node 0 where it passes, otherwise one more than the place of its rejection.
func (s *scheduling) filter(cycle *Cycle, rows []uint32) (verdicts []uint32, rejections []*Rejection) {
	plugin := s.plugin.(Filter)
	known := make(map[string]uint32)
	for _, row := range rows {
		rejection := plugin.Filter(cycle, Node{s.cluster, row})
		if rejection == nil {
			verdicts = append(verdicts, 0)
			continue
		}
		same := fmt.Sprint(rejection.Unresolvable, strings.Join(rejection.Reasons, "\x00"))
		if known[same] == 0 {
			rejections = append(rejections, rejection)
			known[same] = uint32(len(rejections))
		}
		verdicts = append(verdicts, known[same])
	}
	return verdicts, rejections
}

// None where the plugin has no opinion on this pod.
func (s *scheduling) score(cycle *Cycle, rows []uint32) []int64 {
	if it, says := s.plugin.(Scores); says && !it.Scores(cycle) {
		return nil
	}
	plugin, scores := s.plugin.(Score), make([]int64, 0, len(rows))
	for _, row := range rows {
		scores = append(scores, plugin.Score(cycle, Node{s.cluster, row}))
	}
	return scores
}

func (s *scheduling) end(cycle uint64) {
	pod, begun := s.pods[cycle]
	delete(s.pods, cycle)
	if it, does := s.plugin.(End); does && begun {
		it.End(pod)
	}
}
