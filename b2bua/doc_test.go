package b2bua_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

var (
	folded = regexp.MustCompile(`\s*\n\s*(//)?\s*`)
	cited  = regexp.MustCompile(`RFC (\d+)(?:'s)? sections? (\d+(?:\.\d+)*)(?: and (\d+(?:\.\d+)*))?`)
)

// TestEveryCitedSectionIsInTheTableOfThePackage compares the table in doc.go
// with what the code cites, and where.
func TestEveryCitedSectionIsInTheTableOfThePackage(t *testing.T) {
	where := make(map[string][]string) // section → what cites it
	for _, dir := range []string{".", "dialog", "locate"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if !strings.HasSuffix(name, "_test.go") && name != "doc.go" {
				citations(t, dir, name, where)
			}
		}
	}
	var want []string
	for section, names := range where {
		slices.Sort(names)
		want = append(want, fmt.Sprintf("%s → %s", section, strings.Join(slices.Compact(names), ", ")))
	}
	slices.SortFunc(want, bySection)

	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		if row, ok := strings.CutPrefix(strings.TrimSpace(line), "//\tRFC "); ok {
			got = append(got, "RFC "+row)
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("the table in doc.go (-is to be +is):\n%s\nto be:\n//\t%s", diff, strings.Join(want, "\n//\t"))
	}
}

// citations adds the sections that one file cites, with the declaration that
// the comment belongs to or stands before.
func citations(t *testing.T, dir, name string, where map[string][]string) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Comments {
		var text strings.Builder
		for _, c := range group.List {
			text.WriteString(strings.TrimPrefix(c.Text, "//") + "\n")
		}
		holder := "package " + file.Name.Name
		if group.Pos() > file.Package {
			holder = declared(file, group.Pos())
			if dir != "." {
				holder = dir + "." + holder
			}
		}
		for _, m := range cited.FindAllStringSubmatch(folded.ReplaceAllString(text.String(), " "), -1) {
			for _, section := range m[2:] {
				if section != "" {
					key := fmt.Sprintf("RFC %s section %s", m[1], section)
					where[key] = append(where[key], holder)
				}
			}
		}
	}
}

// declared is the name of the declaration around or after a position.
func declared(file *ast.File, pos token.Pos) string {
	for _, d := range file.Decls {
		if d.End() <= pos {
			continue
		}
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				return d.Name.Name
			}
			kind := d.Recv.List[0].Type
			if star, ok := kind.(*ast.StarExpr); ok {
				kind = star.X
			}
			return fmt.Sprint(kind) + "." + d.Name.Name
		case *ast.GenDecl:
			if d.Tok == token.IMPORT {
				continue
			}
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					return s.Name.Name
				case *ast.ValueSpec:
					if s.End() > pos {
						return s.Names[0].Name
					}
				}
			}
		}
	}
	return "end of " + file.Name.Name
}

// bySection sorts by number of the RFC, then of the section.
func bySection(a, b string) int {
	numbers := regexp.MustCompile(`\d+`)
	head := func(s string) []string { s, _, _ = strings.Cut(s, " → "); return numbers.FindAllString(s, -1) }
	return slices.CompareFunc(head(a), head(b), func(x, y string) int {
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	})
}
