package mizzen

import (
	"encoding/json"
	"strings"
)

// Operation is what is asked of the API.
type Operation string

// The operations.
const (
	OperationCreate  Operation = "CREATE"
	OperationUpdate  Operation = "UPDATE"
	OperationDelete  Operation = "DELETE"
	OperationConnect Operation = "CONNECT"
)

// GroupVersionKind names a kind.
type GroupVersionKind struct{ Group, Version, Kind string }

// GroupVersionResource names a resource.
type GroupVersionResource struct{ Group, Version, Resource string }

// User is who asks.
type User struct {
	Name, UID string
	Groups    []string
	Extra     map[string][]string
}

// Request is what is asked of the API, as Kubernetes' AdmissionRequest says it. Use [Request.Object], or [Request.Decode] where
// only a few fields matter: that is quicker.
type Request struct {
	UID      string
	Kind     GroupVersionKind
	Resource GroupVersionResource
	// Empty without one.
	Subresource string
	// The name is empty where the server makes it, the namespace for what stands in none.
	Name, Namespace string
	Operation       Operation
	User            User
	DryRun          bool
	// As JSON: the object after the request (empty for deletions), the one before it (empty for creations), and the options.
	ObjectJSON, OldObjectJSON, OptionsJSON string

	object, oldObject Object
}

// Object is what JSON makes of an object: whole numbers are int64, others float64, as in Kubernetes' own clients.
type Object map[string]any

// Object is the object after the request; nil for deletions. It is parsed once.
func (r *Request) Object() Object { return parsed(&r.object, r.ObjectJSON) }

// OldObject is the object before the request; nil for creations.
func (r *Request) OldObject() Object { return parsed(&r.oldObject, r.OldObjectJSON) }

// Decode reads the object after the request into a value, such as a struct of the fields that matter.
func (r *Request) Decode(into any) error { return json.Unmarshal([]byte(r.ObjectJSON), into) }

func parsed(it *Object, text string) Object {
	if *it == nil && text != "" {
		*it = object(text)
	}
	return *it
}

func object(text string) Object {
	read := json.NewDecoder(strings.NewReader(text))
	read.UseNumber()
	var it Object
	// The host gives only what is JSON.
	_ = read.Decode(&it)
	for key, value := range it {
		it[key] = exact(value)
	}
	return it
}

// A float64 does not hold every int64, and what a policy leaves alone must stay as it is. What an int64 does not hold either stays
// a [json.Number].
func exact(value any) any {
	switch it := value.(type) {
	case map[string]any:
		for key, inner := range it {
			it[key] = exact(inner)
		}
	case []any:
		for n, inner := range it {
			it[n] = exact(inner)
		}
	case json.Number:
		if whole, err := it.Int64(); err == nil {
			return whole
		}
		if fraction, err := it.Float64(); err == nil && strings.ContainsAny(it.String(), ".eE") {
			return fraction
		}
	}
	return value
}

// Get is the value at the end of a path of keys, nil where there is none.
func (o Object) Get(path ...string) any {
	value := any(map[string]any(o))
	for _, key := range path {
		inner, _ := value.(map[string]any)
		value = inner[key]
	}
	return value
}

// Text is the text there, empty where there is none.
func (o Object) Text(path ...string) string {
	text, _ := o.Get(path...).(string)
	return text
}

// Label is one of the object's labels, empty where it is not set.
func (o Object) Label(key string) string { return o.Text("metadata", "labels", key) }

// Annotation is one of the object's annotations, empty where it is not set.
func (o Object) Annotation(key string) string { return o.Text("metadata", "annotations", key) }

// Where each kind that runs pods holds a pod's specification.
var podSpecs = map[string][]string{
	"Pod":                   {"spec"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template", "spec"},
	"PodTemplate":           {"template", "spec"},
	"Deployment":            {"spec", "template", "spec"},
	"ReplicaSet":            {"spec", "template", "spec"},
	"StatefulSet":           {"spec", "template", "spec"},
	"DaemonSet":             {"spec", "template", "spec"},
	"Job":                   {"spec", "template", "spec"},
	"ReplicationController": {"spec", "template", "spec"},
}

// Containers are all containers of the object's pod, the init and ephemeral ones too; none for kinds that run no pods. What is
// changed in them is changed in [Request.Object].
func (r *Request) Containers() []Object {
	path, runs := podSpecs[r.Kind.Kind]
	if !runs {
		return nil
	}
	var containers []Object
	for _, list := range []string{"initContainers", "containers", "ephemeralContainers"} {
		items, _ := r.Object().Get(append(path[:len(path):len(path)], list)...).([]any)
		for _, item := range items {
			if container, is := item.(map[string]any); is {
				containers = append(containers, container)
			}
		}
	}
	return containers
}
