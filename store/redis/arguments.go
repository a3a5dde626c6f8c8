package redis

import (
	"strconv"

	"sipvigil/store"
)

// arguments makes the commands that run put.lua, each of some forty arguments.
// An argument is a pointer to a string, because a string itself would take room
// of its own to be one. What is written of a change is one text, of which values
// are parts. Commands share the room for the rest, which is used again when all
// have been answered. Where it is too small, what came before stays where it is.
type arguments struct {
	list    []any // of all commands; nil where a value is to be
	strings []string
	empty   []any // names of the fields without a value, of one command
	text    []byte
	ends    []int // of the values in text
}

// reset is called when no command is needed any more.
func (a *arguments) reset() { a.list, a.strings = a.list[:0], a.strings[:0] }

// What is the same in each command.
var (
	evalsha  = "evalsha"
	putHash  = putScript.Hash()
	keyCount = "4"
	setsKept = strconv.FormatInt(setTTL.Milliseconds(), 10)
)

// arguments returns the command that writes a change: the keys, then the
// arguments up to the last field that has a value, and the fields that have
// none. A part does not know the epoch of its call and goes under the highest of
// this process, but only to a call of this node.
func (s *Store) arguments(a *arguments, c *change, epoch int64) []any {
	node, keep := s.cfg.Node, activeTTL
	if c.call != nil {
		node, epoch = c.call.Node, c.call.Epoch
	}
	if c.final {
		keep = c.keep
	}
	a.text, a.ends, a.empty = a.text[:0], a.ends[:0], a.empty[:0]
	shard, first := shardOf(c.id), len(a.list)
	a.list = append(a.list, &evalsha, &putHash, &keyCount)
	a.add(s.keys.callIn(shard, c.id), s.keys.active(shard), s.keys.node(shard, node), s.keys.textIn(shard, c.id))
	keys := len(a.list)
	a.add(c.kind(), c.id)
	a.number(epoch)
	a.add(node, s.keys.node(shard, ""))
	a.number(keep.Milliseconds())
	a.list = append(a.list, &setsKept)
	a.number(int64(c.mark[store.Caller]))
	a.number(int64(c.mark[store.Callee]))
	if c.call != nil {
		before := len(a.text)
		a.text, c.sum = s.texts.encode(a.text, c.call)
		c.text = len(a.text) > before
	}
	a.value()
	last := len(a.list)
	a.list = append(a.list, nil)
	if c.call != nil {
		addAll(a, callFields, c.call)
		for i := range c.call.Legs {
			addAll(a, dialogFields[i], &c.call.Legs[i].Dialog)
		}
	}
	for i, h := range c.health {
		if h != nil {
			addAll(a, healthFields[i], h)
		}
	}
	a.list[last] = len(a.list) - keys // as Lua counts
	a.list = append(a.list, a.empty...)
	a.fill(a.list[first:])
	return a.list[first:len(a.list):len(a.list)]
}

// add adds arguments.
func (a *arguments) add(texts ...string) {
	for _, text := range texts {
		a.strings = append(a.strings, text)
		a.list = append(a.list, &a.strings[len(a.strings)-1])
	}
}

func (a *arguments) number(n int64) {
	a.text = strconv.AppendInt(a.text, n, 10)
	a.value()
}

// value adds what was appended to the text as an argument.
func (a *arguments) value() {
	a.ends = append(a.ends, len(a.text))
	a.list = append(a.list, nil)
}

// addAll adds the name and the value of each field.
func addAll[R any](a *arguments, fields []field[R], r *R) {
	for i := range fields {
		f, before := &fields[i], len(a.text)
		if a.text = f.append(a.text, r); len(a.text) == before {
			a.empty = append(a.empty, &f.name)
			continue
		}
		a.list = append(a.list, &f.name)
		a.value()
	}
}

// fill puts the values of a command where they are to be.
func (a *arguments) fill(list []any) {
	text, from, n := string(a.text), 0, 0
	for i := range list {
		if list[i] == nil {
			a.strings = append(a.strings, text[from:a.ends[n]])
			list[i] = &a.strings[len(a.strings)-1]
			from, n = a.ends[n], n+1
		}
	}
}
