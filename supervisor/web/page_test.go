package web

import (
	"io/fs"
	"regexp"
	"testing"
)

func TestPageIsServedWithItsTypes(t *testing.T) {
	s := newServer(t, &fakeCalls{}, healthy)
	for target, want := range map[string]string{
		"/":         "text/html; charset=utf-8",
		"/page.js":  "text/javascript; charset=utf-8",
		"/page.css": "text/css; charset=utf-8",
		"/icon.svg": "image/svg+xml",
	} {
		w := do(s, "GET", target)
		if w.Code != 200 || w.Header().Get("Content-Type") != want || w.Body.Len() == 0 {
			t.Errorf("%s: got %d, %q, %d bytes", target, w.Code, w.Header().Get("Content-Type"), w.Body.Len())
		}
	}
}

// What the page shows was said by strangers, so nothing may turn text into
// elements or code, and nothing may ask another server.
func TestPageShowsTextOnly(t *testing.T) {
	forbidden := map[string]*regexp.Regexp{
		"page/page.js": regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|` +
			`createContextualFragment|setHTML|srcdoc|\beval\b|\bFunction\(|\bimport\b|javascript:|\.on[a-z]+\s*=|https?://|\.(src|href)\s*=`),
		"page/page.html": regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|https?://|//[a-z]|<script(?: [a-z]+="[^"]*")*>[^<]`),
		"page/page.css":  regexp.MustCompile(`(?i)url\(|@import|https?:`),
	}
	for name, pattern := range forbidden {
		body, err := fs.ReadFile(page, name)
		if err != nil {
			t.Fatal(err)
		}
		if m := pattern.Find(body); m != nil {
			t.Errorf("%s contains %q", name, m)
		}
	}
}
