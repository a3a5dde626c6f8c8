package b2bua

import (
	"slices"
	"strconv"
)

// header is that of a message of ours: text from the start, as it goes out but
// for Content-Length. Next to nothing of it is looked at again.
type header []byte

// add appends a field.
func (h *header) add(name, value string) {
	*h = append(append(append(append(*h, name...), ": "...), value...), "\r\n"...)
}

// has says whether there is a field of this long name in lower case.
func (h header) has(name string) bool {
	for f := (fields{rest: h}); f.next(); {
		if fieldNamed(f.name).key == name {
			return true
		}
	}
	return false
}

// values are all values of a field, given its long name in lower case.
func (h header) values(name string) (all []string) {
	for f := (fields{rest: h}); f.next(); {
		if fieldNamed(f.name).key == name {
			all = append(all, string(f.value))
		}
	}
	return all
}

// value is the first of values, "" without one.
func (h header) value(name string) string {
	for _, v := range h.values(name) {
		return v
	}
	return ""
}

// edit gives each field the value that f makes of it, and takes it out where
// that is false. f is given long names in lower case.
func (h *header) edit(f func(name, value string) (string, bool)) {
	old := fields{rest: *h}
	*h = make([]byte, 0, len(old.rest))
	for old.next() {
		name := string(old.name)
		if value, ok := f(fieldNamed(name).key, string(old.value)); ok {
			h.add(name, value)
		}
	}
}

// without takes out every field of these names, long and in lower case.
func (h *header) without(names ...string) {
	if !slices.ContainsFunc(names, h.has) {
		return
	}
	h.edit(func(name, value string) (string, bool) { return value, !slices.Contains(names, name) })
}

// appendTo writes the header with its end, and the body behind it.
func (h header) appendTo(b, body []byte) []byte {
	b = append(append(b, h...), "Content-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n\r\n"...)
	return append(b, body...)
}
