package web

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sipvigil/store"
)

func TestPageIsServedWithItsTypes(t *testing.T) {
	s := newServer(t, &fakeCalls{}, healthy)
	for target, want := range map[string]string{
		"/":             "text/html; charset=utf-8",
		"/page.js":      "text/javascript; charset=utf-8",
		"/page.css":     "text/css; charset=utf-8",
		"/icon.svg":     "image/svg+xml",
		"/licences.txt": "text/plain; charset=utf-8",
	} {
		w := do(s, "GET", target)
		if w.Code != 200 || w.Header().Get("Content-Type") != want || w.Body.Len() == 0 {
			t.Errorf("%s: got %d, %q, %d bytes", target, w.Code, w.Header().Get("Content-Type"), w.Body.Len())
		}
	}
}

// What the page shows was said by strangers, so nothing in its sources may turn
// text into elements or code. The policy has the browser refuse it, too.
func TestSourcesOfThePageShowTextOnly(t *testing.T) {
	forbidden := regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|` +
		`setHTML|srcdoc|\beval\b|\bFunction\(|\bimport\(|javascript:|https?://`)
	sources, err := filepath.Glob("page/src/*.js*")
	if err != nil || len(sources) < 10 {
		t.Fatalf("%d sources, %v", len(sources), err)
	}
	for _, name := range sources {
		if strings.HasSuffix(name, ".json") {
			continue
		}
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := forbidden.Find(body); m != nil {
			t.Errorf("%s contains %q", name, m)
		}
	}
}

// Nothing of the page comes from another server, nor stands where the policy
// would have to allow what an attacker may write.
func TestPageIsItsOwnFilesOnly(t *testing.T) {
	names := regexp.MustCompile(`http://www\.w3\.org/[0-9]{4}/[A-Za-z/]+|http://www\.w3\.org/1998/Math/MathML`) // of XML, which nobody asks for
	for name, forbidden := range map[string]*regexp.Regexp{
		"page/page.js":   regexp.MustCompile(`(?i)https?://|\beval\(|\bimport\(`),
		"page/page.html": regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|https?://|//[a-z]|<script(?: [a-z]+="[^"]*")*>[^<]`),
		"page/page.css":  regexp.MustCompile(`(?i)url\(|@import|https?:`),
	} {
		body, err := fs.ReadFile(page, name)
		if err != nil {
			t.Fatal(err)
		}
		if m := forbidden.Find(names.ReplaceAll(body, nil)); m != nil {
			t.Errorf("%s contains %q", name, m)
		}
	}
}

func TestRecordsOfThePageCanBeNarrowedToEveryReason(t *testing.T) {
	js, err := fs.ReadFile(page, "page/page.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range store.Reasons() {
		if !strings.Contains(string(js), `"`+string(reason)+`"`) {
			t.Errorf("the page does not know %s", reason)
		}
	}
}
