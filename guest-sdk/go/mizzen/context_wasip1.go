package mizzen

import "unsafe"

//go:wasmimport mizzen:policy/context@0.1.0 get
func importGet(apiVersion, kind, namespace, name string, into unsafe.Pointer)

//go:wasmimport mizzen:policy/context@0.1.0 by-label
func importByLabel(apiVersion, kind, namespace, key, value string, into unsafe.Pointer)

//go:wasmimport mizzen:policy/context@0.1.0 by-index
func importByIndex(apiVersion, kind, path, value string, into unsafe.Pointer)

//go:wasmimport mizzen:policy/context@0.1.0 count
func contextCount(apiVersion, kind, namespace string) uint64

func contextGet(apiVersion, kind, namespace, name string) (string, bool) {
	into := new(option[text])
	importGet(apiVersion, kind, namespace, name, unsafe.Pointer(into))
	found := maybe(*into)
	taken()
	return found, into.some
}

func contextByLabel(apiVersion, kind, namespace, key, value string) []string {
	into := new(list[text])
	importByLabel(apiVersion, kind, namespace, key, value, unsafe.Pointer(into))
	found := texts(*into)
	taken()
	return found
}

func contextByIndex(apiVersion, kind, path, value string) []string {
	into := new(list[text])
	importByIndex(apiVersion, kind, path, value, unsafe.Pointer(into))
	found := texts(*into)
	taken()
	return found
}
