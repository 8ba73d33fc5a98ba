package mizzen

import "unsafe"

//go:wasmimport mizzen:policy/context@0.2.0 get
func importGet(apiVersion, kind, namespace, name string, into unsafe.Pointer)

//go:wasmimport mizzen:policy/context@0.2.0 by-label
func importByLabel(apiVersion, kind, namespace, key, value string, into unsafe.Pointer)

//go:wasmimport mizzen:policy/context@0.2.0 by-index
func importByIndex(apiVersion, kind, path, value string, into unsafe.Pointer)

//go:wasmimport mizzen:policy/context@0.2.0 count
func contextCount(apiVersion, kind, namespace string) uint64

//go:wasmimport mizzen:policy/context@0.2.0 namespace
func importNamespace(name string, into unsafe.Pointer)

func contextNamespace(name string) (string, bool) {
	return maybeTold(func(into unsafe.Pointer) { importNamespace(name, into) })
}

func contextGet(apiVersion, kind, namespace, name string) (string, bool) {
	return maybeTold(func(into unsafe.Pointer) { importGet(apiVersion, kind, namespace, name, into) })
}

func contextByLabel(apiVersion, kind, namespace, key, value string) []string {
	return told(func(into unsafe.Pointer) { importByLabel(apiVersion, kind, namespace, key, value, into) })
}

func contextByIndex(apiVersion, kind, path, value string) []string {
	return told(func(into unsafe.Pointer) { importByIndex(apiVersion, kind, path, value, into) })
}
