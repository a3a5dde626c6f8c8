package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// Limits of what a carrier's list may hold.
const (
	mostCSV    = 64 << 20 // bytes
	mostCallID = 1024     // bytes of one Call-ID
)

// readCallIDs reads the carrier's list.
func readCallIDs(in io.Reader, name, column string) ([]string, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("--csv: %w", err)
		}
		defer f.Close()
		in = f
	} else {
		name = "standard input"
	}
	ids, err := parseCallIDs(in, column)
	if err != nil {
		return nil, fmt.Errorf("--csv: %s: %w", name, err)
	}
	return ids, nil
}

// parseCallIDs reads a column of Call-IDs, each once.
func parseCallIDs(in io.Reader, column string) ([]string, error) {
	text, err := io.ReadAll(io.LimitReader(in, mostCSV+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > mostCSV:
		return nil, fmt.Errorf("is longer than %d MiB: that is no list of calls that go on", mostCSV>>20)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) || bytes.IndexByte(text, 0) >= 0 {
		return nil, errors.New("is UTF-16 or no text at all: save it as CSV in UTF-8")
	}
	if !utf8.Valid(text) {
		return nil, errors.New("is not UTF-8: save it as CSV in UTF-8")
	}
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	names, _, _ := bytes.Cut(text, []byte("\n"))
	r := csv.NewReader(bytes.NewReader(text))
	r.Comma, r.FieldsPerRecord = separator(string(names)), -1
	all, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("cannot be read as CSV: %w", err)
	}
	at, rows, err := findColumn(all, column)
	if err != nil {
		return nil, err
	}
	first := len(all) - len(rows) + 1
	var ids []string
	seen := make(map[string]bool)
	for i, row := range rows {
		id := ""
		if at < len(row) {
			id = strings.TrimSpace(row[at])
		}
		switch {
		case id == "" && strings.TrimSpace(strings.Join(row, "")) == "": // an empty line
		case id == "":
			return nil, fmt.Errorf("row %d has no Call-ID", first+i)
		case len(id) > mostCallID || strings.ContainsAny(id, " \t\n"):
			return nil, fmt.Errorf("row %d: %.40q is no Call-ID: is it another column? name it with --column", first+i, id)
		case !seen[id]:
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// separator is what stands most often between columns.
func separator(line string) rune {
	best, most := ',', 0
	for _, r := range ",;\t" {
		if n := strings.Count(line, string(r)); n > most {
			best, most = r, n
		}
	}
	return best
}

// findColumn finds where the Call-IDs are, and returns the rows below the names.
func findColumn(rows [][]string, column string) (at int, rest [][]string, err error) {
	if len(rows) == 0 {
		return 0, nil, nil
	}
	plain := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(strings.TrimSpace(s)))
	}
	var found []int
	for i, name := range rows[0] {
		if column != "" && plain(name) == plain(column) || column == "" && (plain(name) == "callid" || plain(name) == "sipcallid") {
			found = append(found, i)
		}
	}
	names := strings.Join(rows[0], ", ")
	switch {
	case len(found) == 1:
		return found[0], rows[1:], nil
	case len(found) > 1:
		return 0, nil, fmt.Errorf("has %d columns of Call-IDs: %.200s", len(found), names)
	case column != "":
		return 0, nil, fmt.Errorf("has no column %q, there are %.200s", column, names)
	case len(rows[0]) == 1:
		return 0, rows, nil
	default:
		return 0, nil, fmt.Errorf("does not say which column holds the Call-IDs, name it with --column: %.200s", names)
	}
}
