package mizzen

import (
	"encoding/json"
	"fmt"
)

// Response is what becomes of a request: [Allow], [Deny], [Replace] or [Patch]. The zero value denies.
type Response struct {
	Allowed bool
	// Of a denial: an HTTP status (0 means 403), Kubernetes' status reason (empty means what fits the code), and why.
	Code            uint16
	Reason, Message string
	// Of a change: a JSON patch (RFC 6902), or the whole changed object. At most one of them is there.
	Patch, Object json.RawMessage
	// Shown to the user by kubectl.
	Warnings         []string
	AuditAnnotations map[string]string
}

// Allow lets the request through.
func Allow() Response { return Response{Allowed: true} }

// Deny refuses it with 403 Forbidden and a message as [fmt.Sprintf] makes it.
func Deny(format string, values ...any) Response {
	return Response{Code: 403, Message: fmt.Sprintf(format, values...)}
}

// Replace lets it through with this object in place of its own; see [Mutating].
func Replace(object any) Response { return Response{Allowed: true, Object: encoded(object)} }

// Patch lets it through changed by a JSON patch (RFC 6902), a list of operations; see [Mutating].
func Patch(operations any) Response { return Response{Allowed: true, Patch: encoded(operations)} }

// Warn adds a warning for the user.
func (r Response) Warn(format string, values ...any) Response {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, values...))
	return r
}

// What has no JSON (a channel, a cycle) is a mistake of the program.
func encoded(value any) json.RawMessage {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

// Need is a kind of which a policy asks: see [Needs].
type Need struct {
	APIVersion, Kind string
	// Empty for all namespaces, and for all objects.
	Namespace, LabelSelector string
	// Fields by which [ByIndex] finds, as paths such as `spec.host`.
	Indexes []string
}

// A policy with its settings.
type policy struct {
	mutating bool
	needs    []Need
	review   func(*Request) Response
}

// Makes the policy that the program registered.
var startPolicy = func(string) (*policy, error) { return nil, errNotRegistered }

// Option says more of a policy than its function does.
type Option[S any] func(*policy, *S)

// Mutating policies may answer [Replace] and [Patch].
func Mutating[S any](it *policy, _ *S) { it.mutating = true }

// Needs says of which kinds the policy asks, by its settings.
func Needs[S any](needs func(settings *S) []Need) Option[S] {
	return func(it *policy, settings *S) { it.needs = needs(settings) }
}

// Policy makes an admission policy of a function; call it in an init function:
//
//	func init() { mizzen.Policy(review) }
//
// The settings are the object's `settings`, read as JSON. Fields that S does not have are refused, and so is what its method
// `Validate() error` finds wrong; both keep the policy from being loaded.
func Policy[S any](review func(request *Request, settings *S) Response, options ...Option[S]) {
	startPolicy = func(text string) (*policy, error) {
		settings, err := settings[S](text)
		if err != nil {
			return nil, err
		}
		it := &policy{review: func(request *Request) Response { return review(request, settings) }}
		for _, option := range options {
			option(it, settings)
		}
		return it, nil
	}
}
