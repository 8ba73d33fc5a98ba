package mizzen

import "slices"

// Value is what can stand in a column.
type Value interface {
	int64 | float64 | bool | string | []string
}

// Column is one column of the cluster: a plugin asks for it once, and keeps it.
type Column[T Value] struct{ data *data[T] }

// Of is the node's value; none where it has none (the label is not set, the resource is unknown).
func (c Column[T]) Of(node Node) (value T, there bool) { return c.data.at(node.row) }

// Columns are those that a plugin reads. The contract (`wit/scheduler.wit`) lists their names.
type Columns struct {
	names []string
	kept  map[string]held
	// A handle to a name with `/*` is none: these bring a column for each resource.
	below map[string]*data[int64]
}

// Integer is `allocatable/cpu`, `requested/memory`, `pods` …
func (c *Columns) Integer(name string) Column[int64] { return column[int64](c, name) }

// Number is a column of floating point numbers.
func (c *Columns) Number(name string) Column[float64] { return column[float64](c, name) }

// Flag is `unschedulable`.
func (c *Columns) Flag(name string) Column[bool] { return column[bool](c, name) }

// Text is `name`, `label/KEY`, `annotation/KEY`.
func (c *Columns) Text(name string) Column[string] { return column[string](c, name) }

// Texts is `taints`, `images`, `labels`, `pods-labelled/KEY`.
func (c *Columns) Texts(name string) Column[[]string] { return column[[]string](c, name) }

// Below asks for the columns of all resources: `allocatable/` or `requested/`; [Node.Below] reads them.
func (c *Columns) Below(prefix string) { c.ask(prefix + "*") }

func (c *Columns) ask(name string) {
	if !slices.Contains(c.names, name) {
		c.names = append(c.names, name)
	}
}

func column[T Value](c *Columns, name string) Column[T] {
	c.ask(name)
	known, is := c.kept[name].(*data[T])
	if !is {
		known = &data[T]{}
		c.kept[name] = known
	}
	return Column[T]{known}
}

// Says what changed in a column: its values are int64, float64, bool, index or indexes.
type columnChange struct {
	name     string
	validity []byte
	values   any
}

// Texts of a column, as indexes into the dictionary.
type indexes []uint32

// Several texts a row: those of row n end at ends[n].
type indexLists struct{ ends, items []uint32 }

// A column's values by row.
type held interface {
	change(rows []uint32, column columnChange, dictionary []string)
	forget(row uint32)
	clear()
}

type data[T Value] struct {
	values []T
	valid  []bool
}

func (d *data[T]) at(row uint32) (value T, there bool) {
	if int(row) >= len(d.valid) || !d.valid[row] {
		return value, false
	}
	return d.values[row], true
}

func (d *data[T]) change(rows []uint32, column columnChange, dictionary []string) {
	read, is := reader(column.values, dictionary).(func(int) T)
	if !is {
		// The column is of another type than the plugin asked for.
		return
	}
	for n, row := range rows {
		if more := int(row) + 1 - len(d.valid); more > 0 {
			d.values = append(d.values, make([]T, more)...)
			d.valid = append(d.valid, make([]bool, more)...)
		}
		d.valid[row] = len(column.validity) == 0 || column.validity[n/8]>>(n%8)&1 == 1
		if d.valid[row] {
			d.values[row] = read(n)
		}
	}
}

func (d *data[T]) forget(row uint32) {
	if int(row) < len(d.valid) {
		d.valid[row] = false
	}
}

func (d *data[T]) clear() { clear(d.valid) }

// A function from a change's place to the value there, of the type that a column of such values has.
func reader(values any, dictionary []string) any {
	switch values := values.(type) {
	case []int64:
		return func(n int) int64 { return values[n] }
	case []float64:
		return func(n int) float64 { return values[n] }
	case []bool:
		return func(n int) bool { return values[n] }
	case indexes:
		return func(n int) string { return dictionary[values[n]] }
	case indexLists:
		return func(n int) []string {
			start := uint32(0)
			if n > 0 {
				start = values.ends[n-1]
			}
			texts := make([]string, 0, values.ends[n]-start)
			for _, index := range values.items[start:values.ends[n]] {
				texts = append(texts, dictionary[index])
			}
			return texts
		}
	}
	return nil
}
