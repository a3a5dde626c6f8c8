package web

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
)

// Media types of lists.
const (
	asJSON  = "application/json"
	asLines = "application/jsonl"
	asCSV   = "text/csv"
)

// format is the media type of a list that a client likes best, RFC 9110 section
// 12.5.1; JSON unless another is named.
func format(r *http.Request) string {
	best, quality := asJSON, 0.0
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q, err := strconv.ParseFloat(params["q"], 64)
		if params["q"] == "" || err != nil {
			q = 1
		}
		switch media {
		case "application/x-ndjson", "application/jsonlines":
			media = asLines
		case "*/*", "application/*":
			media = asJSON
		case asJSON, asLines, asCSV:
		default:
			continue
		}
		if q > quality {
			best, quality = media, q
		}
	}
	return best
}

// sheet writes records one a line, as JSON or CSV.
type sheet struct {
	w      http.ResponseWriter
	csv    *csv.Writer // nil for JSON
	headed bool
}

func newSheet(w http.ResponseWriter, media string) *sheet {
	s := &sheet{w: w}
	if media == asCSV {
		s.csv = csv.NewWriter(w)
		media += "; charset=utf-8; header=present" // RFC 4180 section 3
	}
	w.Header().Set("Content-Type", media)
	w.Header().Add("Vary", "Accept")
	return s
}

// write adds a record. Its error means that the client has left.
func (s *sheet) write(record any) error {
	if s.csv == nil {
		_, err := s.w.Write(encode(record))
		return err
	}
	names, values := Columns(record)
	if !s.headed {
		s.headed = true
		if err := s.csv.Write(names); err != nil {
			return err
		}
	}
	return s.csv.Write(values)
}

// end writes what is left; a sheet of nothing has the names of its columns.
func (s *sheet) end(empty any) {
	if s.csv == nil {
		return
	}
	if !s.headed {
		names, _ := Columns(empty)
		_ = s.csv.Write(names)
	}
	s.csv.Flush()
}

// Columns returns the names and values of a record of the API for CSV, those of
// a record within it behind its own name.
func Columns(record any) (names, values []string) { return columns("", reflect.ValueOf(record)) }

func columns(prefix string, v reflect.Value) (names, values []string) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		field := v.Field(i)
		if field.Kind() == reflect.Pointer {
			if field.IsNil() {
				field = reflect.New(field.Type().Elem())
			}
			field = field.Elem()
		}
		if t, ok := field.Interface().(Time); ok {
			names, values = append(names, prefix+name), append(values, t.Stamp())
		} else if field.Kind() == reflect.Struct {
			n, x := columns(prefix+name+"_", field)
			names, values = append(names, n...), append(values, x...)
		} else if list, ok := field.Interface().([]string); ok {
			names, values = append(names, prefix+name), append(values, Inert(strings.Join(list, " ")))
		} else {
			names, values = append(names, prefix+name), append(values, Inert(fmt.Sprint(field.Interface())))
		}
	}
	return names, values
}

// Inert keeps a spreadsheet from taking what a stranger said for a formula.
func Inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// linkNext names the next page, RFC 8288; there is none without a cursor.
func linkNext(w http.ResponseWriter, r *http.Request, cursor string) {
	if cursor == "" {
		return
	}
	query := r.URL.Query()
	query.Set("cursor", cursor)
	w.Header().Set("Link", "<"+r.URL.EscapedPath()+"?"+query.Encode()+`>; rel="next"`)
}

// replyTagged answers with a body in JSON, or with 304 to a client that has it
// already: RFC 9110 section 13.1.2.
func replyTagged(w http.ResponseWriter, r *http.Request, body any) {
	b := encode(body)
	sum := sha256.Sum256(b)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	w.Header().Set("ETag", tag)
	for have := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		if have = strings.TrimPrefix(strings.TrimSpace(have), "W/"); have == tag || have == "*" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.Header().Set("Content-Type", asJSON)
	w.Write(b) // an error here means that the client has left
}
