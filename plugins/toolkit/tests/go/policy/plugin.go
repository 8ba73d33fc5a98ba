// Asks for everything that the contract offers to policies, for the table beside it.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"time"

	"example.com/sample/mizzen"
)

type Settings struct {
	Do string `json:"do"`
}

func (s *Settings) Validate() error {
	if s.Do == "refuse" {
		return fmt.Errorf("do: %s", s.Do)
	}
	return nil
}

func review(request *mizzen.Request, settings *Settings) mizzen.Response {
	object := request.Object()
	switch settings.Do {
	case "repeat":
		kind, resource, user := request.Kind, request.Resource, request.User
		return mizzen.Deny("%s", fmt.Sprintln(
			request.UID, request.Operation, []string{kind.Group, kind.Version, kind.Kind},
			[]string{resource.Group, resource.Version, resource.Resource, request.Subresource},
			request.Namespace, request.Name, []string{user.Name, user.UID}, user.Groups, user.Extra, request.DryRun,
			object.Annotation("new"), request.OldObject().Label("old"), len(request.Containers()), request.OptionsJSON,
		))
	case "ask":
		team := mizzen.Get("v1", "Namespace", "", request.Namespace).Label("team")
		nobody := mizzen.Get("v1", "Namespace", "", "nobody") == nil
		alike := mizzen.ByLabel("v1", "ConfigMap", "shop", "team", team)
		hosts := mizzen.ByIndex("v1", "ConfigMap", "data.host", "a.example")
		// Of namespaces it sees that of the request, and no other.
		own, other := mizzen.Namespace(request.Namespace).Label("team"), mizzen.Namespace("other")
		return mizzen.Deny("%v %v %v %v %d %v %d", own, other == nil, team, nobody, len(alike), hosts[0].Text("metadata", "name"), mizzen.Total("v1", "ConfigMap", ""))
	case "replace":
		for _, container := range request.Containers() {
			container["image"] = container.Text("image") + "@sha256:aa"
		}
		return mizzen.Replace(object).Warn("%s was replaced", request.Name)
	case "patch":
		labels := map[string]string{"patched": "yes"}
		return mizzen.Patch([]any{map[string]any{"op": "add", "path": "/metadata/labels", "value": labels}})
	case "conflict":
		return mizzen.Response{Code: 409, Reason: "Conflict", Message: "taken", Warnings: []string{"one", "two"}}
	case "host":
		mizzen.Log(mizzen.Info, "here")
		mizzen.Count("seen", 1)
		mizzen.Gauge("size", 2.5)
		_, err := os.ReadFile("/etc/passwd")
		return mizzen.Deny("%v %v %q", mizzen.Now().Year() > 2024, err != nil, os.Args)
	case "work":
		return mizzen.Deny("%s", work())
	case "panic":
		var none *Settings
		return mizzen.Deny("%s", none.Do)
	}
	return mizzen.Allow()
}

// Goroutines that wait for each other, time that passes and 256 MB of garbage.
func work() string {
	texts := make(chan string)
	for n := range 4 {
		go func() {
			time.Sleep(time.Duration(n) * time.Hour)
			var waste []string
			for range 256 {
				waste = append(waste, strings.Clone(strings.Repeat("x", 1<<18)[:1]))
			}
			texts <- fmt.Sprintf("%d %x", n, sha256.Sum256([]byte(strings.Join(waste, ""))))[:6]
		}()
	}
	all := make([]string, 4)
	for range all {
		text := <-texts
		all[text[0]-'0'] = text
	}
	return strings.Join(all, ", ")
}

func init() {
	mizzen.Policy(review, mizzen.Mutating, mizzen.Needs(func(*Settings) []mizzen.Need {
		return []mizzen.Need{
			{APIVersion: "v1", Kind: "Namespace"},
			{APIVersion: "v1", Kind: "ConfigMap", Indexes: []string{"data.host"}},
		}
	}))
}

func main() {}
