package web

import (
	"bytes"
	"embed"
	"net/http"
	"path"
	"time"
)

// page is what a browser loads. page.js and page.css are built from page/src by
// `make page`; who builds this package needs nothing for that.
//
//go:embed page/page.html page/page.js page/page.css page/icon.svg page/licences.txt
var page embed.FS

var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// file serves one file of the page.
func file(name string) http.HandlerFunc {
	body, err := page.ReadFile("page/" + name)
	if err != nil {
		panic(err) // embedded at build time
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaTypes[path.Ext(name)])
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	}
}
