package mizzen

// Get is one of the objects that the policy needs (see [Needs]) by name, nil where there is none. The namespace is empty for
// kinds that stand in none.
func Get(apiVersion, kind, namespace, name string) Object {
	text, found := contextGet(apiVersion, kind, namespace, name)
	if !found {
		return nil
	}
	return object(text)
}

// ByLabel are those with a label of this value, at most 1,024.
func ByLabel(apiVersion, kind, namespace, key, value string) []Object {
	return objects(contextByLabel(apiVersion, kind, namespace, key, value))
}

// ByIndex are those with this value in a field that [Needs] names as an index, at most 1,024.
func ByIndex(apiVersion, kind, path, value string) []Object {
	return objects(contextByIndex(apiVersion, kind, path, value))
}

// Namespace is the one of the request under review, with its labels; [Needs] need not name it. Nil where there is none.
func Namespace(name string) Object {
	text, found := contextNamespace(name)
	if !found {
		return nil
	}
	return object(text)
}

// Total is how many there are; of every namespace where it is empty.
func Total(apiVersion, kind, namespace string) uint64 {
	return contextCount(apiVersion, kind, namespace)
}

func objects(texts []string) []Object {
	all := make([]Object, 0, len(texts))
	for _, text := range texts {
		all = append(all, object(text))
	}
	return all
}
