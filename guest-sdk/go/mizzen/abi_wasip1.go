package mizzen

// The canonical ABI of the component model, as far as the contract needs it: https://github.com/WebAssembly/component-model.
// The structures of this package's `_wasip1` files stand in memory as the ABI says, since Go too puts a field at a multiple of
// its size.

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"
)

// What the host knows only as addresses, so that the garbage collector must be told of it: blocks that it filled for the call
// that comes, and the parts of the last answer.
var given, answered []unsafe.Pointer

//go:wasmexport cabi_realloc
func cabiRealloc(old, oldSize, align, size uint32) uint32 {
	if size == 0 {
		return align
	}
	// Eight is the greatest alignment that there is.
	block := unsafe.Pointer(unsafe.SliceData(make([]uint64, (uint64(size)+7)/8)))
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(block), size), unsafe.Slice((*byte)(pointer(old)), oldSize))
	}
	given = append(given, block)
	return address(block)
}

// The arguments of a call have been read: whatever of them is in use is known by pointers now. The answer before is not read any
// more either.
func taken() {
	clear(given)
	clear(answered)
	given, answered = given[:0], answered[:0]
}

// Lets the log say why the plugin trapped; to be deferred by every export.
func trapped() {
	if why := recover(); why != nil {
		Log(Error, fmt.Sprintf("panic: %v%s", why, place()))
		panic(why)
	}
}

// Where the panic under way began.
func place() string {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for {
		frame, more := frames.Next()
		if frame.Line > 0 && !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf(" (%s:%d)", frame.File, frame.Line)
		}
		if !more {
			return ""
		}
	}
}

func pointer(at uint32) unsafe.Pointer { return unsafe.Pointer(uintptr(at)) }

func address(block unsafe.Pointer) uint32 { return uint32(uintptr(block)) }

// A string.
type text struct{ at, length uint32 }

// Not a copy: the block belongs to whoever holds the string.
func (t text) String() string {
	if t.length == 0 {
		return ""
	}
	return unsafe.String((*byte)(pointer(t.at)), t.length)
}

// A list. Its elements may hold addresses themselves.
type list[T any] struct{ at, length uint32 }

// Not a copy either.
func (l list[T]) slice() []T {
	if l.length == 0 {
		return nil
	}
	return unsafe.Slice((*T)(pointer(l.at)), l.length)
}

func each[T, U any](l list[T], read func(T) U) []U {
	items := make([]U, 0, l.length)
	for _, item := range l.slice() {
		items = append(items, read(item))
	}
	return items
}

func texts(l list[text]) []string { return each(l, text.String) }

type option[T any] struct {
	some  bool
	value T
}

// The empty string where there is none.
func maybe(o option[text]) string {
	if !o.some {
		return ""
	}
	return o.value.String()
}

type pair[A, B any] struct {
	first  A
	second B
}

func named(l list[pair[text, text]]) map[string]string {
	items := make(map[string]string, l.length)
	for _, item := range l.slice() {
		items[item.first.String()] = item.second.String()
	}
	return items
}

// A result whose good case holds nothing.
type outcome struct {
	failed bool
	why    text
}

func outcomeOf(err error) outcome {
	if err == nil {
		return outcome{}
	}
	return outcome{true, textOf(err.Error())}
}

func keep(block unsafe.Pointer) uint32 {
	answered = append(answered, block)
	return address(block)
}

func textOf(s string) text {
	if s == "" {
		return text{}
	}
	return text{keep(unsafe.Pointer(unsafe.StringData(s))), uint32(len(s))}
}

func listOf[T any](items []T) list[T] {
	if len(items) == 0 {
		return list[T]{}
	}
	return list[T]{keep(unsafe.Pointer(unsafe.SliceData(items))), uint32(len(items))}
}

func listFrom[T, U any](items []T, lower func(T) U) list[U] {
	lowered := make([]U, 0, len(items))
	for _, item := range items {
		lowered = append(lowered, lower(item))
	}
	return listOf(lowered)
}

func textsOf(items []string) list[text] { return listFrom(items, textOf) }

// Where the host finds what does not fit into a number.
func answer[T any](value T) uint32 { return keep(unsafe.Pointer(&value)) }

// The settings that a call brings.
func settingsOf(at, length uint32) string {
	given := text{at, length}.String()
	taken()
	return given
}

// A text that the host writes where it is told to, and whether there is one.
func maybeTold(ask func(into unsafe.Pointer)) (string, bool) {
	into := new(option[text])
	ask(unsafe.Pointer(into))
	found := maybe(*into)
	taken()
	return found, into.some
}

// The texts that the host writes where it is told to.
func told(ask func(into unsafe.Pointer)) []string {
	into := new(list[text])
	ask(unsafe.Pointer(into))
	found := texts(*into)
	taken()
	return found
}
