package mizzen

import (
	"slices"
	"strings"
)

// Cluster is what the plugin knows of the nodes: the columns that it asked for, kept up to date.
type Cluster struct {
	columns    *Columns
	dictionary []string
	rows       []uint32
	generation uint64
}

// Node is one of them.
type Node struct {
	cluster *Cluster
	row     uint32
}

// Nodes are all nodes there are.
func (c *Cluster) Nodes() []Node { return c.nodes(c.rows) }

func (c *Cluster) nodes(rows []uint32) []Node {
	nodes := make([]Node, 0, len(rows))
	for _, row := range rows {
		nodes = append(nodes, Node{c, row})
	}
	return nodes
}

// Row is the node's number, which it keeps until it is removed.
func (n Node) Row() uint32 { return n.row }

// Below are the values of the columns that [Columns.Below] asked for: each resource with its amount.
func (n Node) Below(prefix string) map[string]int64 {
	amounts := make(map[string]int64)
	for name, column := range n.cluster.columns.below {
		if resource, below := strings.CutPrefix(name, prefix); below {
			if amount, there := column.at(n.row); there {
				amounts[resource] = amount
			}
		}
	}
	return amounts
}

// JSON is the whole Node; slower than a column. Empty in unit tests.
func (n Node) JSON() string { return clusterNode(n.row) }

// Value is what stands at a JSON pointer of the Node, as JSON; slower than a column. Empty where there is nothing, and in unit tests.
func (n Node) Value(pointer string) string { return clusterNodeValue(n.row, pointer) }

// Pods are the pods on the node as JSON, at most 1,024; slower than a column. None in unit tests.
func (n Node) Pods() []string { return clusterPodsOn(n.row) }

type delta struct {
	since, generation uint64
	removed, changed  []uint32
	dictionary        []string
	columns           []columnChange
}

func (c *Cluster) change(delta delta) {
	known := c.columns
	if delta.since == 0 {
		for _, column := range known.kept {
			column.clear()
		}
		clear(known.below)
		c.dictionary, c.rows = nil, nil
	} else if delta.since != c.generation {
		panic("a delta that builds on another generation")
	}
	c.generation = delta.generation
	c.dictionary = append(c.dictionary, delta.dictionary...)
	for _, row := range delta.removed {
		for _, column := range known.kept {
			column.forget(row)
		}
		for _, column := range known.below {
			column.forget(row)
		}
	}
	gone := func(row uint32) bool { return slices.Contains(delta.removed, row) }
	c.rows = append(slices.DeleteFunc(c.rows, gone), delta.changed...)
	slices.Sort(c.rows)
	c.rows = slices.Compact(c.rows)
	for _, change := range delta.columns {
		column, asked := known.kept[change.name]
		if !asked {
			if known.below[change.name] == nil {
				known.below[change.name] = &data[int64]{}
			}
			column = known.below[change.name]
		}
		column.change(delta.changed, change, c.dictionary)
	}
}
