package mizzen

import "strings"

// Create is the creation of an object, as a policy is asked in unit tests.
func Create(object Object) *Request { return asked(OperationCreate, object, nil) }

// Update is the change of an object.
func Update(old, new Object) *Request { return asked(OperationUpdate, new, old) }

// Delete is the deletion of an object.
func Delete(old Object) *Request { return asked(OperationDelete, nil, old) }

func asked(operation Operation, object, old Object) *Request {
	request := &Request{UID: "test", Operation: operation, User: User{Name: "tester"}}
	if old != nil {
		request.OldObjectJSON = string(encoded(old))
	}
	if object != nil {
		request.ObjectJSON = string(encoded(object))
	}
	it := request.Object()
	if it == nil {
		it = request.OldObject()
	}
	group, version, grouped := strings.Cut(it.Text("apiVersion"), "/")
	if !grouped {
		group, version = "", group
	}
	kind := it.Text("kind")
	request.Kind = GroupVersionKind{group, version, kind}
	request.Resource = GroupVersionResource{group, version, strings.ToLower(kind) + "s"}
	request.Name, request.Namespace = it.Text("metadata", "name"), it.Text("metadata", "namespace")
	return request
}
