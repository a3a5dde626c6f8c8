package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decodeFile reads a configuration file into the defaults. It walks the YAML
// tree itself: the decoder of the library takes no "interval: 0" for a
// duration, speaks of Go types, and forgets the lines, which the faults that
// are found later need too.
func (l *loader) decodeFile(body []byte) {
	in := bytes.NewReader(body)
	dec := yaml.NewDecoder(in)
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) { // an empty file is the default
			l.syntax(body[:len(body)-in.Len()], err)
		}
		return
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		l.faultAt(more.Line, "", "a second YAML document: the file holds one")
	case !errors.Is(err, io.EOF):
		l.syntax(body[:len(body)-in.Len()], err)
	}
	l.decode("", doc.Content[0], reflect.ValueOf(&l.config).Elem())
}

// syntax notes an error of the YAML parser, which came when it had read so far.
// The fault is in the line behind the longest beginning that can be parsed: the
// line in the text of the error, if there is one, is some line before.
func (l *loader) syntax(read []byte, err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		_, text, _ = strings.Cut(rest, ": ")
	}
	for good := false; !good; good = isYAML(read) {
		read = read[:bytes.LastIndexByte(read[:len(read)-1], '\n')+1]
	}
	l.faultAt(1+bytes.Count(read, []byte("\n")), "", text)
}

// isYAML says whether a text can be parsed.
func isYAML(text []byte) bool {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		if err := dec.Decode(new(yaml.Node)); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

func (l *loader) faultAt(line int, path, text string) {
	if path != "" {
		text = path + ": " + text
	}
	where := l.file
	if line > 0 {
		where = fmt.Sprintf("%s:%d", l.file, line)
	}
	l.faults = append(l.faults, fault{line, where + ": " + text})
}

// decode reads one node into the value of a path. What is not there, or null,
// keeps its default.
func (l *loader) decode(path string, n *yaml.Node, v reflect.Value) {
	line := n.Line
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	var wrong string
	switch {
	case n.ShortTag() == "!!null":
	case v.Kind() == reflect.Pointer: // what makes a difference even if it is zero
		v.Set(reflect.New(v.Type().Elem()))
		l.decode(path, n, v.Elem())
	case v.Kind() == reflect.Struct:
		if n.Kind == yaml.MappingNode {
			l.decodeMapping(path, n, v)
			break
		}
		wrong = "is not a mapping with the keys " + strings.Join(keys(v), ", ")
		if s, ok := v.Addr().Interface().(interface{ short() any }); ok && n.Kind == yaml.ScalarNode {
			wrong = ""
			if err := setScalar(reflect.ValueOf(s.short()).Elem(), n.Value); err != nil {
				wrong = err.Error()
			}
		}
	case v.Kind() == reflect.Slice:
		if n.Kind == yaml.SequenceNode {
			l.decodeList(path, n, v)
		} else {
			wrong = "is not a list"
		}
	case n.Kind != yaml.ScalarNode:
		wrong = "is not a single value"
	default:
		if err := setScalar(v, n.Value); err != nil {
			wrong = err.Error()
		}
	}
	if wrong != "" {
		l.faultAt(line, path, wrong)
		l.broken[path] = true
	}
}

func (l *loader) decodeList(path string, n *yaml.Node, v reflect.Value) {
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, c := range n.Content {
		p := item(path, i)
		l.origins[p] = origin{line: c.Line}
		l.decode(p, c, v.Index(i))
	}
}

func (l *loader) decodeMapping(path string, n *yaml.Node, v reflect.Value) {
	lines := make(map[string]int)
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		p := strings.TrimPrefix(path+"."+key.Value, ".")
		f := field(v, key.Value)
		switch {
		case key.Kind != yaml.ScalarNode || !f.IsValid():
			l.faultAt(key.Line, path, fmt.Sprintf("unknown key %q, there are %s", key.Value, strings.Join(keys(v), ", ")))
		case lines[key.Value] > 0:
			l.faultAt(key.Line, p, fmt.Sprintf("is given already in line %d", lines[key.Value]))
		default:
			lines[key.Value] = key.Line
			l.origins[p] = origin{line: key.Line}
			l.decode(p, n.Content[i+1], f)
		}
	}
}

// set reads the values of a flag or of the environment.
func (l *loader) set(path string, v reflect.Value, values []string) {
	if v.Kind() == reflect.Slice {
		v.Set(reflect.ValueOf(values))
		return
	}
	if err := setScalar(v, strings.Join(values, ",")); err != nil {
		l.fault(path, "%v", err)
		l.broken[path] = true
	}
}

// setScalar reads a text into a string, a number, a truth or a duration.
func setScalar(v reflect.Value, text string) error {
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		*p = n
	case *float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		*p = f
	case *bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		*p = text == "true"
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a length of time such as 500ms, 30s or 3m", text)
		}
		*p = d
	default:
		panic(fmt.Sprintf("a configuration has no %T", p))
	}
	return nil
}

// field is the value of one key of a struct, invalid when there is none.
func field(v reflect.Value, key string) reflect.Value {
	if i := slices.Index(keys(v), key); i >= 0 {
		return v.Field(i)
	}
	return reflect.Value{}
}

// keys are the YAML names of a struct's fields, in their order.
func keys(v reflect.Value) []string {
	names := make([]string, v.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
	}
	return names
}
