// Asks for everything that the contract offers to scheduler plugins, for the table beside it.
package main

import (
	"errors"
	"fmt"
	"strings"

	"example.com/sample/mizzen"
)

type Settings struct {
	Score string `json:"score"`
}

type everything struct {
	score         string
	cpu           mizzen.Column[int64]
	unschedulable mizzen.Column[bool]
	zone          mizzen.Column[string]
	taints        mizzen.Column[[]string]
}

func start(settings *Settings, columns *mizzen.Columns) (*everything, error) {
	if settings.Score == "none" {
		return nil, errors.New("score: none")
	}
	columns.Below("allocatable/")
	return &everything{
		settings.Score, columns.Integer("allocatable/cpu"), columns.Flag("unschedulable"), columns.Text("label/zone"),
		columns.Texts("taints"),
	}, nil
}

// The cycle's state is the pod's name, and then how many nodes passed.
func (e *everything) PreFilter(pod *mizzen.Pod, cluster *mizzen.Cluster) ([]byte, *mizzen.Rejection) {
	if why := pod.Annotations["refuse"]; why != "" {
		return nil, &mizzen.Rejection{Reasons: []string{why, fmt.Sprintf("on %d nodes", len(cluster.Nodes()))}}
	}
	return []byte(pod.Name), nil
}

func (e *everything) Filter(cycle *mizzen.Cycle, node mizzen.Node) *mizzen.Rejection {
	if string(cycle.State) != cycle.Pod.Name {
		return mizzen.Reject("the state is %q", cycle.State)
	}
	if is, _ := e.unschedulable.Of(node); is {
		return mizzen.Reject("unschedulable")
	}
	if cpu, there := e.cpu.Of(node); !there || cpu < cycle.Pod.Requests["cpu"] {
		return mizzen.Reject("only %d of %d", cpu, cycle.Pod.Requests["cpu"])
	}
	taints, _ := e.taints.Of(node)
	for _, taint := range taints {
		if !tolerated(taint, cycle.Pod.Tolerations) {
			return mizzen.Reject("taint %s", taint)
		}
	}
	for key, value := range cycle.Pod.NodeSelector {
		if zone, _ := e.zone.Of(node); key != "zone" || zone != value {
			return mizzen.Reject("zone %q", zone)
		}
	}
	return nil
}

func tolerated(taint string, tolerations []mizzen.Toleration) bool {
	for _, it := range tolerations {
		if taint == it.Key+"="+it.Value+":"+it.Effect && it.Operator == "Equal" {
			return true
		}
	}
	return false
}

func (e *everything) PostFilter(cycle *mizzen.Cycle) string { return "none for " + cycle.Pod.Name }

func (e *everything) PreScore(cycle *mizzen.Cycle, feasible []mizzen.Node) []byte {
	return append(cycle.State, byte(len(feasible)))
}

func (e *everything) Scores(*mizzen.Cycle) bool { return e.score != "" }

func (e *everything) Score(cycle *mizzen.Cycle, node mizzen.Node) int64 {
	name, feasible := string(cycle.State[:len(cycle.State)-1]), cycle.State[len(cycle.State)-1]
	switch e.score {
	case "state":
		return int64(len(name)*10) + int64(feasible)
	case "node":
		return int64(strings.Count(node.JSON(), `"zone":"north"`))
	case "value":
		zone, image := node.Value("/metadata/labels/zone"), cycle.Pod.Value("/spec/containers/0/image")
		return int64(len(zone)*10 + len(image) + len(node.Value("/none")))
	case "pods":
		pods := node.Pods()
		return int64(len(pods)*10 + strings.Count(strings.Join(pods, ""), `"name":"old"`))
	case "pod":
		json := cycle.Pod.JSON()
		return int64(strings.Count(json, `"name":"web"`)*10+strings.Count(cycle.Pod.Affinity, "nodeAffinity")) + int64(cycle.Pod.Priority)
	case "below":
		return node.Below("allocatable/")["example.com/gpu"]
	}
	return 0
}

func (e *everything) Reserve(cycle *mizzen.Cycle, node mizzen.Node) error {
	if why := cycle.Pod.Annotations["reserve"]; why != "" {
		return fmt.Errorf("%s %d", why, node.Row())
	}
	return nil
}

func (e *everything) Unreserve(*mizzen.Cycle, mizzen.Node) {}

func (e *everything) Permit(cycle *mizzen.Cycle, node mizzen.Node) mizzen.Permission {
	switch why := cycle.Pod.Annotations["permit"]; why {
	case "":
		return mizzen.Permission{}
	case "wait":
		return mizzen.Permission{AskAgain: 100, AtMost: 1000}
	default:
		return mizzen.Permission{Denied: why + " " + cycle.Pod.Labels["app"]}
	}
}

func (e *everything) PreBind(*mizzen.Cycle, mizzen.Node) error { return nil }

func (e *everything) End(*mizzen.Pod) {}

func (e *everything) Wakes() mizzen.Wake { return mizzen.NodeAdded | mizzen.PodLeft }

func init() { mizzen.Scheduler(start) }

func main() {}
