package mizzen

// What the world `admission-policy` exports.

type rawNames struct{ group, version, name text }

type rawRequest struct {
	uid             text
	kind, resource  rawNames
	subresource     option[text]
	name, namespace text
	operation       uint8
	user            rawUser
	dryRun          bool
	object          option[text]
	oldObject       option[text]
	options         option[text]
}

type rawUser struct {
	name, uid text
	groups    list[text]
	extra     list[pair[text, list[text]]]
}

type rawNeed struct {
	apiVersion, kind, namespace, labelSelector text
	indexes                                    list[text]
}

type rawDescription struct {
	mutating bool
	needs    list[rawNeed]
}

// The cases of a decision.
const (
	allowed uint8 = iota
	denied
	patched
	replaced
)

type rawDecision struct {
	tag uint8
	// A denial's code, reason and message; a change is a text from the first of them on.
	rest [5]uint32
}

type rawResponse struct {
	decision    rawDecision
	warnings    list[text]
	annotations list[pair[text, text]]
}

var operations = [...]Operation{OperationCreate, OperationUpdate, OperationDelete, OperationConnect}

func (r rawRequest) request() *Request {
	extra := make(map[string][]string, r.user.extra.length)
	for _, item := range r.user.extra.slice() {
		extra[item.first.String()] = texts(item.second)
	}
	return &Request{
		UID:           r.uid.String(),
		Kind:          GroupVersionKind{r.kind.group.String(), r.kind.version.String(), r.kind.name.String()},
		Resource:      GroupVersionResource{r.resource.group.String(), r.resource.version.String(), r.resource.name.String()},
		Subresource:   maybe(r.subresource),
		Name:          r.name.String(),
		Namespace:     r.namespace.String(),
		Operation:     operations[r.operation],
		User:          User{r.user.name.String(), r.user.uid.String(), texts(r.user.groups), extra},
		DryRun:        r.dryRun,
		ObjectJSON:    maybe(r.object),
		OldObjectJSON: maybe(r.oldObject),
		OptionsJSON:   maybe(r.options),
	}
}

func (r Response) raw() rawResponse {
	var annotations []pair[text, text]
	for key, value := range r.AuditAnnotations {
		annotations = append(annotations, pair[text, text]{textOf(key), textOf(value)})
	}
	return rawResponse{r.decision(), textsOf(r.Warnings), listOf(annotations)}
}

func (r Response) decision() rawDecision {
	change := func(tag uint8, json []byte) rawDecision {
		whole := textOf(string(json))
		return rawDecision{tag, [5]uint32{whole.at, whole.length}}
	}
	switch {
	case !r.Allowed:
		reason, message := textOf(r.Reason), textOf(r.Message)
		return rawDecision{denied, [5]uint32{uint32(r.Code), reason.at, reason.length, message.at, message.length}}
	case r.Patch != nil:
		return change(patched, r.Patch)
	case r.Object != nil:
		return change(replaced, r.Object)
	default:
		return rawDecision{tag: allowed}
	}
}

// The policy at work, once it is configured.
var running *policy

//go:wasmexport mizzen:policy/policy@0.2.0#validate-settings
func exportValidateSettings(settings, length uint32) uint32 {
	defer trapped()
	_, err := startPolicy(settingsOf(settings, length))
	return answer(outcomeOf(err))
}

//go:wasmexport mizzen:policy/policy@0.2.0#configure
func exportConfigure(settings, length uint32) uint32 {
	defer trapped()
	it, err := startPolicy(settingsOf(settings, length))
	if err != nil {
		panic(err)
	}
	running = it
	return answer(rawDescription{it.mutating, listFrom(it.needs, func(need Need) rawNeed {
		return rawNeed{
			textOf(need.APIVersion), textOf(need.Kind), textOf(need.Namespace), textOf(need.LabelSelector), textsOf(need.Indexes),
		}
	})})
}

//go:wasmexport mizzen:policy/policy@0.2.0#review
func exportReview(request uint32) uint32 {
	defer trapped()
	asked := (*rawRequest)(pointer(request)).request()
	taken()
	return answer(running.review(asked).raw())
}

//go:wasmexport mizzen:policy/policy@0.2.0#review-batch
func exportReviewBatch(requests, length uint32) uint32 {
	defer trapped()
	asked := each(list[rawRequest]{requests, length}, rawRequest.request)
	taken()
	responses := make([]Response, 0, len(asked))
	for _, request := range asked {
		responses = append(responses, running.review(request))
	}
	return answer(listFrom(responses, Response.raw))
}
