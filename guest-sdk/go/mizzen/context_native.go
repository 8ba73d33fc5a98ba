//go:build !wasip1

package mizzen

import (
	"encoding/json"
	"slices"
	"strings"
)

var contextObjects []Object

// Context is what a policy finds in this test.
func Context(objects ...Object) { contextObjects = objects }

func contextGet(apiVersion, kind, namespace, name string) (string, bool) {
	found := find(apiVersion, kind, namespace, func(it Object) bool { return it.Text("metadata", "name") == name })
	if len(found) == 0 {
		return "", false
	}
	return found[0], true
}

func contextByLabel(apiVersion, kind, namespace, key, value string) []string {
	return find(apiVersion, kind, namespace, func(it Object) bool {
		labels, _ := it.Get("metadata", "labels").(map[string]any)
		return labels[key] == value
	})
}

func contextByIndex(apiVersion, kind, path, value string) []string {
	return find(apiVersion, kind, "", func(it Object) bool { return it.Get(strings.Split(path, ".")...) == value })
}

func contextNamespace(name string) (string, bool) { return contextGet("v1", "Namespace", "", name) }

func contextCount(apiVersion, kind, namespace string) uint64 {
	return uint64(len(find(apiVersion, kind, namespace, func(Object) bool { return true })))
}

func find(apiVersion, kind, namespace string, wanted func(Object) bool) []string {
	var found []string
	for _, it := range contextObjects {
		// As JSON and back, so that objects of the test's own types are maps here.
		text, _ := json.Marshal(it)
		it = object(string(text))
		right := []bool{it.Text("apiVersion") == apiVersion, it.Text("kind") == kind, wanted(it)}
		right = append(right, namespace == "" || it.Text("metadata", "namespace") == namespace)
		if !slices.Contains(right, false) {
			found = append(found, string(text))
		}
	}
	return found
}
